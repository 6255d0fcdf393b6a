"""Tab completes what can be named, without loading an engine; and every command shows how it is used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gapbench.cli import app
from gapbench.engines.base import engines
from gapbench.models import EMBEDDED
from gapbench.run import STAGES
from gapbench.tasks import list_suites, load_suite
from gapbench.verifiers.base import verifiers
from tests.commands import COMMANDS, examples, parse
from tests.conftest import ROOT

SUITES = {suite.name for suite in list_suites()}


def offered(line: str) -> list[str]:
    """What Tab offers at the end of a line."""
    words = line.split(" ")
    env = {"_GAPBENCH_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = CliRunner().invoke(app, [], env=env, prog_name="gapbench", standalone_mode=False)
    assert done.exit_code == 0, done.output
    return done.stdout.split()


@pytest.mark.parametrize("line", ["gapbench run ", "gapbench loop ", "gapbench validate "])
def test_suites(line: str) -> None:
    assert set(offered(line)) >= SUITES
    assert "starter" in offered(line + "star")
    assert "core" not in offered(line + "star")


def test_tasks_are_those_of_the_suite_that_is_named() -> None:
    starter = {task.name for task in load_suite("starter").tasks}
    assert set(offered("gapbench run starter -t ")) == starter
    assert set(offered("gapbench loop starter -n 4 --task ")) == starter
    assert set(offered("gapbench run code --task ")) == {task.name for task in load_suite("code").tasks}
    assert set(offered("gapbench run starter -t su")) == {"sums", "successor"}
    assert set(offered("gapbench validate starter/su")) == {"starter/sums", "starter/successor"}


def test_models_verifiers_and_engines() -> None:
    models = offered("gapbench run starter -m ")
    assert set(models) >= {*EMBEDDED, "Qwen/Qwen2.5-0.5B-Instruct"}
    assert offered("gapbench run starter --model smollm") == ["smollm2-135m"]
    assert set(offered("gapbench run starter -V ")) == set(verifiers.names())
    assert offered("gapbench run starter -V yesno@gemma3-270") == ["yesno@gemma3-270m"]
    assert set(offered("gapbench run starter --engine ")) == set(engines.names())
    assert "frozen:yesno" in offered("gapbench loop starter --arm frozen:")
    assert offered("gapbench loop starter --arm self:yesno@gemma3-270") == ["self:yesno@gemma3-270m"]
    assert offered("gapbench run starter --until ") == list(STAGES)
    assert offered("gapbench run starter --split cal") == ["calibrate"]
    assert offered("gapbench ls ver") == ["verifiers"]


def test_commands_and_options() -> None:
    assert set(offered("gapbench ")) == set(COMMANDS)
    assert "--half-width" in offered("gapbench run starter --ha")


def test_what_cannot_be_known_offers_nothing_and_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert offered("gapbench run nosuch -t ") == []
    assert offered("gapbench run ./no/such.yaml -t ") == []
    assert offered("gapbench run -t ") == []
    assert offered("gapbench run ./my") == []  # left to the shell, which knows files
    monkeypatch.setenv("GAPBENCH_DATA", "/no/such/folder")
    monkeypatch.setenv("GAPBENCH_MODELS", "/no/such/file.yaml")
    assert offered("gapbench run starter -t ") == []
    assert set(offered("gapbench run starter -m ")) == set(EMBEDDED)


def test_help_and_tab_load_no_statistics_and_no_engine() -> None:
    """In a process of their own: this one has loaded everything."""
    program = """
import sys
from typer.testing import CliRunner
from gapbench.cli import app

def asked(*words, **env):
    return CliRunner().invoke(app, words, env=env, prog_name="gapbench", standalone_mode=False).stdout

def offered(line):
    count = str(len(line.split(" ")) - 1)
    return asked(_GAPBENCH_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=count)

HEAVY = {"scipy", "pandas", "matplotlib", "pyarrow.compute", "datasets", "torch", "transformers", "vllm", "ray", "openai"}
ARRAYS = {"numpy", "pyarrow"}
assert "gapbench" in asked("--version")
for command in offered("gapbench ").split():
    assert "Example: gapbench " in asked(command, "--help"), command
print(sorted((HEAVY | ARRAYS) & set(sys.modules)))
for line in ("run ", "run starter -t ", "run starter -m ", "run starter -V yesno@", "run starter --engine ", "run starter --until ",
             "run starter --split ", "loop starter --arm ", "validate ", "ls "):
    assert offered("gapbench " + line), line
assert "starter" in asked("ls", "suites")
assert "gemma3-270m" in asked("ls", "models")
print(sorted(HEAVY & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert (done.stdout, done.stderr) == ("[]\n[]\n", "")


@pytest.mark.slow
def test_install_completion_teaches_bash(tmp_path: Path) -> None:
    bindir = tmp_path / "bin"
    bindir.mkdir()
    program = bindir / "gapbench"
    program.write_text(f"#!{sys.executable}\nfrom gapbench.cli import main\nmain()\n")
    program.chmod(0o755)
    home = tmp_path / "home"
    home.mkdir()
    env = {**os.environ, "HOME": str(home), "PATH": f"{bindir}{os.pathsep}{os.environ['PATH']}"}
    # Which shell it is, is read from the process above: so a shell has to start it, and not by exec.
    installed = subprocess.run(
        ["bash", "--norc", "-c", "gapbench --install-completion; exit $?"],
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert installed.returncode == 0, installed.stderr
    assert "completion installed" in installed.stdout
    asked = (
        "source ~/.bashrc; complete -p gapbench; COMP_WORDS=(gapbench run star); COMP_CWORD=2; "
        '_gapbench_completion gapbench; echo "offered: ${COMPREPLY[*]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", asked], env=env, capture_output=True, text=True, timeout=300
    )
    assert done.stdout.splitlines()[-1] == "offered: starter", done.stdout + done.stderr
    assert "-o default" in done.stdout, "where nothing is offered, files are"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_shows_an_example_that_parses(name: str) -> None:
    shown = CliRunner().invoke(app, [name, "--help"]).stdout
    assert "Example: gapbench " in shown
    assert examples(name)
    for words in examples(name):
        assert words[0] == name
        parse(words)
