"""What several test modules share."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


def command(*words: object) -> list[str]:
    """The command line as a user's shell would run it."""
    return [sys.executable, "-c", "from gapbench.cli import main; main()", *map(str, words)]


# A shell that starts us in the background has us, and so what we start, ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Run `gapbench WORDS...` in an empty folder."""

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command(*words), cwd=tmp_path, capture_output=True, text=True, timeout=600)

    return run


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one JSON document a `--json` command printed."""
    assert done.returncode == 0, done.stderr
    parsed: dict[str, Any] = json.loads(done.stdout)
    return parsed


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of small public data sets, or a skip."""
    if not SHARED_DATA.is_dir():
        pytest.skip("../shared/data is not here")
    return SHARED_DATA
