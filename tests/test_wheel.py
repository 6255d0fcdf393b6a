"""A wheel and a source distribution install and run where there is no checkout."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from email import message_from_string
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

import gapbench
from gapbench.tasks import list_suites
from tests.conftest import ROOT, document
from tests.installed import Installed, backend, finish, from_sdist, installed, other_python, sdist  # noqa: F401
from tests.test_sandbox import AT_FIRST_USE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]  # a busy machine is no failure

SMALL = ("run", "starter", "--engine", "simulated", "-m", "simulated", "-n", "4", "--limit", "4")


def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


def test_a_wheel_has_the_package_its_suites_and_nothing_beside(installed: Installed) -> None:  # noqa: F811
    names = contents(installed.wheel)
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"gapbench", f"gapbench-{gapbench.__version__}.dist-info"}
    assert "gapbench/py.typed" in names
    assert {Path(name).name for name in names if name.startswith("gapbench/suites/")} >= {
        path.name for path in (ROOT / "tasks").glob("*.yaml")
    }
    # What git knows of the package, and no more: caches and notes stay behind, templates and lists come along.
    known = finish(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "gapbench"], ROOT
    ).stdout.split()
    assert {name for name in names if name.startswith("gapbench/")} - {
        name for name in names if name.startswith("gapbench/suites/")
    } == {name for name in known if (ROOT / name).is_file()}


def test_its_metadata_name_the_versions_of_python_it_runs_on(installed: Installed) -> None:  # noqa: F811
    with zipfile.ZipFile(installed.wheel) as archive:
        text = archive.read(f"gapbench-{gapbench.__version__}.dist-info/METADATA").decode()
    told = message_from_string(text)
    wanted = SpecifierSet(told["Requires-Python"])
    named = {one.rpartition(" ")[2] for one in told.get_all("Classifier", []) if ":: Python :: 3." in one}
    assert (
        named == {f"3.{minor}" for minor in range(40) if f"3.{minor}" in wanted} == {"3.11", "3.12", "3.13"}
    )


@pytest.mark.parametrize("minor", [11, 12, 13])
def test_another_python_takes_it(minor: int, installed: Installed, tmp_path: Path) -> None:  # noqa: F811
    """Without the libraries, which are this Python's: it installs and compiles, and runs what needs none."""
    finish([other_python(minor), "-m", "venv", "--without-pip", str(tmp_path / "env")], tmp_path)
    python = str(tmp_path / "env" / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
    finish([*pip, "install", "--no-deps", "--no-index", "--no-compile", str(installed.wheel)], tmp_path)
    where = finish([python, "-c", "import gapbench; print(gapbench.__path__[0])"], tmp_path, installed.env)
    package = Path(where.stdout.strip())
    assert package.is_relative_to(tmp_path)
    finish([python, "-W", "error", "-m", "compileall", "-q", str(package)], tmp_path)
    if sys.platform == "linux":
        program = (
            "import json, sys\nfrom gapbench.isolation.sandbox import run\n"
            "found = {name: run(source) for name, source in json.load(sys.stdin).items()}\n"
            "print({name: one for name, one in found.items() if one.status != 'ok' or not one.stdout})"
        )
        done = subprocess.run(
            [python, "-c", program],
            input=json.dumps(AT_FIRST_USE),
            cwd=tmp_path,
            env=installed.env,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.stdout == "{}\n", done.stderr


def test_both_ways_to_a_wheel_give_the_same(installed: Installed, from_sdist: Installed) -> None:  # noqa: F811
    assert contents(installed.wheel) == contents(from_sdist.wheel)


@pytest.mark.parametrize("way", ["installed", "from_sdist"])
def test_it_runs_in_an_empty_folder(way: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    here: Installed = request.getfixturevalue(way)
    where = finish([str(here.python), "-c", "import gapbench; print(gapbench.__file__)"], tmp_path, here.env)
    assert Path(where.stdout.strip()).is_relative_to(here.folder), "it is the checkout that runs"
    for name in ("tasks", "tests", "benchmarks", "suites"):
        program = f"from importlib.util import find_spec; print(find_spec({name!r}))"
        found = finish([str(here.python), "-c", program], tmp_path, here.env).stdout.strip()
        assert str(ROOT) not in found
        assert str(here.folder) not in found
    assert here.gapbench("--version", cwd=tmp_path).stdout == f"gapbench {gapbench.__version__}\n"
    listed = here.gapbench("ls", "suites", cwd=tmp_path)
    assert {line.split()[0] for line in listed.stdout.splitlines()} >= {suite.name for suite in list_suites()}
    found = document(here.gapbench(*SMALL, "--json", cwd=tmp_path))
    path = tmp_path / "runs" / "starter-simulated-simulated"
    assert found["run"]["gapbench"] == gapbench.__version__
    assert (path / "report.html").stat().st_size > 10_000
    again = document(here.gapbench("estimate", path, "--json", cwd=tmp_path))
    assert again["estimates"] == found["estimates"]
    done = here.gapbench("report", path, "--out", "page.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "gap" in (tmp_path / "page.html").read_text("utf-8")
    assert {one.name for one in tmp_path.iterdir()} == {"runs", "page.html"}


def test_types_are_seen_from_outside(installed: Installed, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "use.py").write_text(
        "from gapbench.run import Run\nrun = Run('x')\nreveal_type(run.model)\nnumber: int = run.model\n"
    )
    words = ["-m", "mypy", "--python-executable", str(installed.python), "--config-file=", "use.py"]
    done = subprocess.run(
        [str(installed.python), *words],
        cwd=tmp_path,
        env=installed.env,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert 'Revealed type is "str"' in done.stdout or 'Revealed type is "builtins.str"' in done.stdout, (
        done.stdout
    )
    assert "Incompatible types in assignment" in done.stdout


@pytest.mark.model
def test_the_first_thing_anyone_does(installed: Installed, tmp_path: Path) -> None:  # noqa: F811
    done = installed.gapbench("run", "starter", "--limit", "4", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    path = tmp_path / "runs" / "starter-smollm2-135m"
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["engine"]["model"]["id"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert "all" in done.stdout
    page = installed.gapbench("report", "runs/starter-smollm2-135m", "--out", "report.html", cwd=tmp_path)
    assert page.returncode == 0, page.stderr
    assert (tmp_path / "report.html").is_file()
