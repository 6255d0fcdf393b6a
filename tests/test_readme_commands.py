"""Every command of the README works as written, from an installed wheel, in a folder with what the command speaks of.

`RUN` stands for a run directory; a command in which nothing else has to be replaced needs no entry below. A new command
that cannot be run as it stands needs one in `SMALLER`, or in `ELSEWHERE` where it cannot be run here at all.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml

from gapbench.models import resolve
from tests.commands import COMMANDS, parse
from tests.conftest import ROOT
from tests.installed import Installed, backend, installed  # noqa: F401

pytestmark = pytest.mark.timeout(3600)  # a busy machine is no failure

README = (ROOT / "README.md").read_text("utf-8")

# What is added to a command, and what of it is replaced, to have it done in seconds and without a network.
FEW = "--limit 1 -n 2"
SMALLER: dict[str, tuple[str, dict[str, str]]] = {
    "gapbench run starter -m Qwen/Qwen2.5-0.5B-Instruct -n 32": (
        FEW,
        {"Qwen/Qwen2.5-0.5B-Instruct": "smollm2-135m"},
    ),
    "gapbench run core -m ./my-checkpoint --data ./datasets": (f"{FEW} -t gsm8k", {}),
    "gapbench run core -m ./my-checkpoint --skip-missing": (f"{FEW} -t chain-sum -t gsm8k", {}),
    "gapbench loop starter -t sums -t reversal --rounds 3": (
        "--rounds 1 -n 4 --filter best@2 --prompts 2 --held-out 2 --fresh 0 --most 2 --arm self:likelihood",
        {},
    ),
}

# What needs what no test can count on. These have to parse.
ELSEWHERE = {
    "gapbench run core -m Qwen/Qwen3-8B --engine vllm --engine-option tensor_parallel_size=2": "two GPUs",
    "gapbench run core -m my-model --engine openai --engine-option base_url=http://localhost:8000/v1": "a server",
}
OTHERS = {"make demo": "installs", "make test": "is what runs this"}


def console_lines() -> list[str]:
    """What the README has its reader type, without the comments."""
    blocks = re.findall(r"^```console\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    typed = [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    return [shlex.join(shlex.split(line, comments=True)) for line in typed]


LINES = console_lines()
OURS = [line for line in LINES if line.startswith("gapbench ")]


def test_every_line_is_accounted_for() -> None:
    assert len(OURS) > 15
    assert set(LINES) - set(OURS) == set(OTHERS), "another program: say in OTHERS why it is not run here"
    stale = {*SMALLER, *ELSEWHERE} - set(OURS)
    assert not stale, "no longer in the README"
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {line.split()[1] for line in OTHERS} <= set(targets)


@pytest.mark.parametrize("line", OURS)
def test_it_parses(line: str) -> None:
    parse(shlex.split(line)[1:])


def test_commands_within_sentences_exist() -> None:
    named = re.findall(r"`gapbench ([a-z|]+)[^`]*`", README)
    assert {word for words in named for word in words.split("|")} <= set(COMMANDS)
    options = re.findall(
        r"`(?:gapbench )?(run|compare|estimate|report|plan|project|scale) (--[a-z-]+)", README
    )
    for name, option in options:
        assert any(option in parameter.opts for parameter in COMMANDS[name].params), f"{name} {option}"


@pytest.mark.parametrize(
    "page", ["README.md", "results/README.md", "results/loop/README.md", "CONTRIBUTING.md"]
)
def test_every_link_leads_somewhere(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if not target.startswith("https://"):
            assert ((ROOT / page).parent / target).exists(), target


@pytest.fixture(scope="session")
def folder(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """A folder with everything that the README's commands name."""
    here = tmp_path_factory.mktemp("readme")
    for name in ("one", "two", "three"):
        words = f"run starter --engine simulated -m {name} -n 8 --limit 8 -V yesno -V likelihood -V yesno@judge --until verify"
        done = installed.gapbench(*words.split(), "--out", f"runs/{name}", cwd=here)
        assert done.returncode == 0, done.stderr
    models = [
        {"id": f"simulated:{name}", "family": "made up", "kind": "base", "parameters": size, "tokens": "1T"}
        for name, size in (("one", "100M"), ("two", "1B"), ("three", "10B"))
    ]
    (here / "models.yaml").write_text(yaml.safe_dump({"models": models}))
    (here / "datasets").mkdir()
    rows = [{"question": f"What is {n} + {n}?", "answer": f"{2 * n} #### {2 * n}"} for n in range(10, 60)]
    (here / "datasets" / "gsm8k_test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    keys = [(prompt, response) for prompt in range(20) for response in range(4)]
    (here / "responses.csv").write_text(
        "domain,task,prompt_id,response,utility\n"
        + "".join(f"sums,sums,p{p},{r},{int((p + r) % 3 == 0)}\n" for p, r in keys)
    )
    (here / "verdicts.csv").write_text(
        "task,prompt_id,response,verifier,replicate,score\n"
        + "".join(f"sums,p{p},{r},judge,0,{(p * r) % 5 / 4}\n" for p, r in keys)
    )
    return here


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for line in OURS if line not in ELSEWHERE])
def test_it_works_as_written(
    line: str,
    folder: Path,
    installed: Installed,  # noqa: F811
    tmp_path: Path,
) -> None:
    here = shutil.copytree(folder, tmp_path / "here")
    if "./my-checkpoint" in line:
        (here / "my-checkpoint").symlink_to(resolve("smollm2-135m").source)
    more, replaced = SMALLER.get(line, ("", {}))
    runs = iter(("runs/one", "runs/two", "runs/three"))
    words = [replaced.get(word, word) for word in shlex.split(line)[1:]]
    words = [
        "runs/new"
        if place and words[place - 1] == "--out" and word == "RUN"
        else next(runs)
        if word == "RUN"
        else word
        for place, word in enumerate(words)
    ]
    words += more.split()
    done = installed.gapbench(*words, cwd=here, GAPBENCH_MODELS=str(here / "models.yaml"))
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    if "--json" in words:
        assert json.loads(done.stdout)
    if words[0] == "run":
        (made,) = (path for path in (here / "runs").iterdir() if path.name not in ("one", "two", "three"))
        assert (made / "report.html").is_file()
        assert len((made / "estimates.json").read_text()) > 100
