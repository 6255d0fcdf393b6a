"""What a user has set up for every program holds for gapbench: folders, devices, colours."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gapbench.models import resolve
from gapbench.store import RunStore
from tests.conftest import ROOT, command, document

SNAPSHOT = "0123456789abcdef0123456789abcdef01234567"
NOWHERE = "http://127.0.0.1:9"
COLOUR = re.compile(rb"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;\d+)*m")


def cached(home: Path, source: Path | None = None) -> None:
    """Put a model into the hub's cache below a home, as a download would."""
    folder = home / "hub" / "models--me--copy"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(SNAPSHOT)
    snapshot = folder / "snapshots" / SNAPSHOT
    snapshot.mkdir(parents=True)
    if source is None:
        (snapshot / "config.json").write_text("{}")
    else:
        for path in source.iterdir():
            (snapshot / path.name).symlink_to(path)


def environment(**variables: str) -> dict[str, str]:
    given = ("HF_", "HUGGINGFACE_", "GAPBENCH_DATA", "NO_COLOR", "FORCE_COLOR", "TERM", "COLUMNS")
    return {name: value for name, value in os.environ.items() if not name.startswith(given)} | variables


def test_models_come_from_hf_home(tmp_path: Path) -> None:
    cached(tmp_path)
    program = (
        "from gapbench.models import resolve; from gapbench.doctor.places import folders\n"
        "print({one.use: str(one.path) for one in folders()})\n"
        "print(resolve('me/copy').source)"
    )
    for home, found in ((tmp_path, True), (tmp_path / "other", False)):
        env = environment(HF_HOME=str(home), HF_ENDPOINT=NOWHERE)
        done = subprocess.run(
            [sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=300
        )
        assert f"'models from the hub': '{home}/hub'" in done.stdout
        assert f"'data sets from the hub': '{home}/datasets'" in done.stdout
        assert (done.returncode == 0) is found, done.stderr
        assert done.stdout.endswith("\nme/copy\n") is found


@pytest.mark.slow
@pytest.mark.model
def test_a_run_loads_what_is_in_hf_home(tmp_path: Path) -> None:
    cached(tmp_path / "home", Path(resolve("smollm2-135m").source))
    words = ("run", "starter", "-t", "sums", "-m", "me/copy", "--limit", "1", "-n", "1", "--until", "sample")
    done = subprocess.run(
        command(*words, "--out", "run", "--json"),
        cwd=tmp_path,
        env=environment(HF_HOME=str(tmp_path / "home"), HF_HUB_OFFLINE="1", HF_ENDPOINT=NOWHERE),
        capture_output=True,
        text=True,
        timeout=600,
    )
    told = document(done)["run"]["engine"]["model"]
    assert told["id"] == "me/copy"
    assert told["revision"] == SNAPSHOT
    assert RunStore(tmp_path / "run").count("responses") == 1


def test_which_gpus_there_are_is_for_the_user_to_say() -> None:
    """Nothing in the package sets CUDA_VISIBLE_DEVICES; torch, vLLM and Ray read it."""
    setting = re.compile(
        r"(environ|env)\b[^\n]*CUDA_VISIBLE_DEVICES[^\n]*\]\s*\|?=[^=]|putenv|\.setdefault\([^\n]*CUDA"
    )
    for path in (ROOT / "gapbench").rglob("*.py"):
        assert not setting.search(path.read_text("utf-8")), path


def on_a_terminal(words: list[str], cwd: Path, **variables: str) -> bytes:
    """What a program writes to a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        words,
        cwd=cwd,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(TERM="xterm-256color", COLUMNS="120", **variables),
    ) as child:
        os.close(theirs)
        shown = b""
        try:
            while block := os.read(ours, 1 << 16):
                shown += block
        except OSError:  # Linux's way to say that nobody writes any more
            pass
        finally:
            os.close(ours)
        assert child.wait(timeout=300) == 0, shown
    return shown


@pytest.mark.slow
def test_no_color(tmp_path: Path) -> None:
    words = ("run", "starter", "-t", "sums", "--engine", "simulated", "--limit", "4", "-n", "4", "--out")
    coloured = on_a_terminal(command(*words, "one"), tmp_path)
    assert COLOUR.search(coloured), "nothing is ever coloured, so that this test shows nothing"
    plain = on_a_terminal(command(*words, "two"), tmp_path, NO_COLOR="1")
    assert not COLOUR.search(plain), plain
    assert "accuracy" in plain.decode("utf-8", "replace")
