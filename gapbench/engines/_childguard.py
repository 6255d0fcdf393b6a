"""Ends the processes that an engine started, should the process that started it be killed.

vLLM's engine process waits for work for ever once nobody is left to give it any, and keeps the device's memory: the run
could not go on before somebody looks for it. No process can clean up after its own SIGKILL, so another one watches: it
holds the end of a pipe, and when that closes without a word it kills what was started.
"""

from __future__ import annotations

import importlib
import os
import select
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

_EVERY, _GRACE = 0.5, 5.0
_STARTED, _CLOSED = b"s", b"c"


class ChildGuard:
    """Watches over every process that this one starts until `started` is called."""

    def __init__(self) -> None:
        # A session of its own, because Ctrl-C and a killed group are what it has to outlive.
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._heard()

    def started(self) -> None:
        """Say that all processes are there."""
        self._say(_STARTED)
        self._heard()

    def close(self) -> None:
        """Say that the processes are gone, or will go by themselves."""
        self._say(_CLOSED)
        self._process.wait()

    def _heard(self) -> None:
        """Wait until the guard has looked at what processes there are."""
        assert self._process.stdout is not None
        self._process.stdout.read(1)

    def _say(self, word: bytes) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # somebody killed the guard: nothing is lost but the watch
            self._process.stdin.write(word)
            self._process.stdin.flush()


def _watch() -> None:
    """Run as a process of its own; psutil comes with vLLM and tells a process from another one of the same number."""
    psutil: Any = importlib.import_module("psutil")
    parent = psutil.Process(os.getppid())
    before = {child.pid for child in parent.children(recursive=True)}
    print("r", end="", flush=True)
    seen: dict[int, Any] = {}
    word = None
    while word is None:
        word = _word(parent.pid)
        with suppress(psutil.NoSuchProcess):
            seen |= {child.pid: child for child in parent.children(recursive=True) if child.pid not in before}
    if word == _STARTED:
        print("s", end="", flush=True)
        word = None
    while word is None:
        word = _word(parent.pid)
    if word == _CLOSED:
        return
    # Python's resource tracker sees to shared memory, and ends by itself.
    left = [child for child in seen.values() if not _is(child, "resource_tracker", psutil)]
    for end in ("terminate", "kill"):
        for child in left:
            with suppress(psutil.NoSuchProcess):
                getattr(child, end)()
        left = psutil.wait_procs(left, _GRACE)[1]


def _word(parent: int) -> bytes | None:
    """What the parent said; nothing where it is gone, None where it said nothing for a while.

    A forked child holds a copy of the pipe, which then does not close: whoever's parent is gone gets another one.
    """
    if select.select([sys.stdin], [], [], _EVERY)[0]:
        return os.read(0, 1)
    return b"" if os.getppid() != parent else None


def _is(process: Any, word: str, psutil: Any) -> bool:
    try:
        return any(word in part for part in process.cmdline())
    except psutil.Error:
        return False


if __name__ == "__main__":
    _watch()
