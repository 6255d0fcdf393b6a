"""The documentation does what it says: its code runs, its commands exist, its links lead somewhere, and it builds.

A page is read from top to bottom in an empty folder of its own that has `results/` in it:

- a block with a title is a file of that name; one called `pyproject.toml` also installs what stands beside it;
- a block of Python without a title is run, in one namespace for the whole page;
- in a block of `console`, lines that begin with `$ gapbench` are run, and what follows them must be what they print, `...`
  standing for anything;
- after `<!-- not run: REASON -->` nothing is run, but the command lines of the block are parsed.
"""

from __future__ import annotations

import doctest
import json
import os
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from shutil import copytree

import pytest
from typer.testing import CliRunner

from gapbench.cli import app
from gapbench.report.definitions import DEFINITIONS
from tests.commands import COMMANDS, GROUP, parse
from tests.conftest import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
QUICK = ("how-to/add-a", "how-to/own-table")  # what users copy, and what takes seconds
BLOCK = re.compile(
    r"(?:<!-- not run: (?P<why>.+?) -->\n+)?^(?P<indent> *)```(?P<kind>\w+)?(?: title=\"(?P<title>[^\"]+)\")?\n"
    r"(?P<body>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
OPTIONS = {
    name: {option for one in command.params for option in (*one.opts, *one.secondary_opts)} | {"--help", "-h"}
    for name, command in (("", GROUP), *COMMANDS.items())
}
ASSIGNED = re.compile(r"[A-Z_]+=\S*")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    kind: str
    title: str | None
    body: str
    runs: bool


def blocks(page: str) -> Iterator[Block]:
    text = (DOCS / page).read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        indent = found["indent"]
        body = "".join(line.removeprefix(indent) for line in found["body"].splitlines(keepends=True))
        line = text.count("\n", 0, found.start("body"))
        yield Block(page, line, found["kind"] or "", found["title"], body, found["why"] is None)


@dataclass(frozen=True)
class Command:
    """A command line in a block, split into words, and what is said to come of it."""

    words: list[str]
    variables: dict[str, str]
    told: str


def commands(block: Block) -> Iterator[Command]:
    body = block.body.replace("\\\n", " ")
    for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        line, _, told = part.partition("\n")
        words = shlex.split(line, comments=True)
        set_ = [word for word in words if ASSIGNED.fullmatch(word)]
        yield Command(words[len(set_) :], dict(word.split("=", 1) for word in set_), told)


def shown(page: str) -> Iterator[list[str]]:
    """Every command line of ours in the page's blocks, without `gapbench` itself."""
    for block in blocks(page):
        if block.kind == "console":
            yield from (one.words[1:] for one in commands(block) if one.words[:1] == ["gapbench"])


def mentioned(page: str) -> Iterator[list[str]]:
    """Every mention of a command in running text, which may leave out what it does not speak of."""
    text = BLOCK.sub("", (DOCS / page).read_text(encoding="utf-8"))
    for said in re.findall(r"`gapbench ([^`\n]+)`", text):
        yield shlex.split(said)


class Reader:
    """Someone who does what a page says, in an empty folder."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.patch = folder, patch
        self.names: dict[str, object] = {"__name__": "page"}
        (folder / "results").symlink_to(ROOT / "results")
        patch.chdir(folder)
        patch.setenv("COLUMNS", "100")
        patch.syspath_prepend(str(folder))

    def read(self, block: Block) -> None:
        if block.title:
            path = self.folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.body, encoding="utf-8")
            if path.name == "pyproject.toml":
                self._install(block.body)
        elif block.kind == "python" and block.runs:
            code = compile("\n" * block.line + block.body, block.page, "exec")
            exec(code, self.names)
        elif block.kind == "console" and block.runs:
            for one in commands(block):
                if one.words[:1] == ["gapbench"]:
                    self._run(block, one)
                elif one.words[:2] == ["cp", "-r"]:
                    copytree(one.words[2], one.words[3])

    def _run(self, block: Block, command: Command) -> None:
        done = CliRunner(env=command.variables).invoke(app, command.words[1:], prog_name="gapbench")
        where = f"docs/{block.page}, line {block.line}: {shlex.join(command.words)}"
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise AssertionError(where) from done.exception
        assert done.exit_code == 0, f"{where}\n{done.output}"
        if command.told.strip():
            same = doctest.OutputChecker().check_output
            flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            told, said = (_plain(text) for text in (command.told, done.output))
            assert same(told, said, flags), f"{where}\nprints\n{done.output}"

    def _install(self, said: str) -> None:
        """What `pip install .` leaves of a package with entry points."""
        project = tomllib.loads(said)["project"]
        about = self.folder / f"{project['name'].replace('-', '_')}-1.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 1\n")
        points = [
            f"[{group}]\n" + "\n".join(f"{name} = {target}" for name, target in named.items())
            for group, named in project["entry-points"].items()
        ]
        (about / "entry_points.txt").write_text("\n".join(points) + "\n")


def _plain(text: str) -> str:
    """Without the lines and the padding of tables."""
    return re.sub(r"[─━]+", "", text).strip() + "\n"


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    before = set(sys.modules)
    yield Reader(tmp_path, monkeypatch)
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def runnable(page: str) -> bool:
    return any(block.runs and block.kind in ("python", "console") for block in blocks(page))


def marked(page: str) -> object:
    return page if page.startswith(QUICK) else pytest.param(page, marks=pytest.mark.slow)


@pytest.mark.parametrize("page", [marked(page) for page in PAGES if runnable(page)])
def test_a_page_does_what_it_says(page: str, reader: Reader) -> None:
    for block in blocks(page):
        reader.read(block)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_line_exists(page: str) -> None:
    for words in shown(page):
        assert words[0] in COMMANDS, f"docs/{page}: gapbench {shlex.join(words)}"
        parse(words)
    for words in mentioned(page):
        name, *rest = words
        if name.startswith("-"):
            assert name in OPTIONS[""], f"docs/{page}: gapbench {name}"
            continue
        assert name in COMMANDS, f"docs/{page}: gapbench {shlex.join(words)}"
        unknown = {word for word in rest if word.startswith("-")} - OPTIONS[name]
        assert not unknown, f"docs/{page}: gapbench {shlex.join(words)}"


def test_every_command_is_shown_somewhere() -> None:
    assert set(COMMANDS) <= {words[0] for page in PAGES for words in (*shown(page), *mentioned(page))}


def test_every_quantity_that_is_estimated_has_an_entry() -> None:
    found: set[str] = set()
    for path in (ROOT / "results").rglob("estimates.json"):
        said = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(said, list):
            found |= {row["quantity"] for row in said}
    assert found
    assert found <= set(DEFINITIONS)


def test_every_flag_that_is_given_has_an_entry() -> None:
    found: set[str] = set()
    for path in (ROOT / "results").rglob("estimates.json"):
        said = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(said, list):
            found |= {re.split("[:=]", flag)[0] for row in said for flag in row["flags"]}
    page = part("generated").filled((DOCS / "reference/flags.md").read_text(encoding="utf-8"))
    assert not {flag for flag in found if f"`{flag}" not in page}


def test_every_variable_has_an_entry() -> None:
    told = part("generated").filled((DOCS / "reference/environment.md").read_text(encoding="utf-8"))
    named: set[str] = set()
    for path in (ROOT / "gapbench").rglob("*.py"):
        named |= set(re.findall(r"\bGAPBENCH_[A-Z_]+\b", path.read_text(encoding="utf-8")))
    assert not {name for name in named if f"`{name}`" not in told}


def part(name: str):  # type: ignore[no-untyped-def]
    """A module of docs/_build."""
    folder = str(DOCS / "_build")
    if folder not in sys.path:
        sys.path.append(folder)
    return import_module(name)


def test_generated_parts_are_all_used_and_all_there() -> None:
    generated = part("generated")
    used = {
        found for page in PAGES for found in generated.MARK.findall((DOCS / page).read_text(encoding="utf-8"))
    }
    assert used == set(generated.PARTS)
    commands = generated.commands()
    assert all(f"## `gapbench {name}`" in commands for name in COMMANDS)
    assert "Example:" not in commands
    modules = [module for listed in generated.packages().values() for module in listed]
    assert {"gapbench.run", "gapbench.estimate.selection", "gapbench.verifiers.base"} <= set(modules)
    assert len(modules) == len(set(modules))


def test_docstrings_become_markdown() -> None:
    pytest.importorskip(
        "griffe", reason="the documentation's tools are not installed: pip install -e '.[docs]'"
    )
    markdown = part("doctests").markdown
    text = "Add.\n\n>>> 1 + 1  # doctest: +SKIP\n2\n\nReturns\n-------\nThe sum,\nalways.\n\nRaises\n------\nUserError\n    If."
    assert markdown(text) == (
        "Add.\n\n```pycon\n>>> 1 + 1\n2\n```\n\nReturns\n-------\n:\n    The sum,\n    always.\n\nRaises\n------\nUserError\n    If."
    )
    typed = "Returns\n-------\ndict\n    By name."
    assert markdown(typed) == typed
    assert (
        markdown("sum [a] [b], `x[a][b]`\n\n>>> x[0][1]")
        == "sum [a] \\[b], `x[a][b]`\n\n```pycon\n>>> x[0][1]\n```"
    )
    assert markdown("===  ===\na    b\n===  ===") == "```text\n===  ===\na    b\n===  ===\n```"


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_fetches_nothing(tmp_path: Path) -> None:
    pytest.importorskip(
        "mkdocs", reason="the documentation's tools are not installed: pip install -e '.[docs]'"
    )
    import subprocess

    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env={
            **os.environ,
            "http_proxy": "http://127.0.0.1:9",
            "https_proxy": "http://127.0.0.1:9",
            "NO_MKDOCS_2_WARNING": "1",  # of a theme, about a release that is not there
        },
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    for page in (tmp_path / "site").rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        fetched = re.findall(r"<(?:script|img|iframe|source)[^>]+src=[\"']?(https?:[^\"' >]+)", text)
        fetched += re.findall(
            r"<link[^>]+(?:stylesheet|preload|preconnect|icon)[^>]*(https?:[^\"' >]+)", text
        )
        assert not fetched, f"{page}: {fetched}"
        assert "<!-- generated:" not in text, page
