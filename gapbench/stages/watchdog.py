"""Stops a sitting whose engine has fallen silent, so that nobody waits all night for a machine that hangs."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from gapbench.errors import UserError

VARIABLE = "GAPBENCH_STALL"
STALL_SECONDS = 1800.0
_GRACE_SECONDS = 20.0


def stall_seconds() -> float:
    """How long an engine may be silent: GAPBENCH_STALL, in seconds; 0 for ever.

    Raises
    ------
    UserError
        If that is no such number.
    """
    said = os.environ.get(VARIABLE, "")
    if not said:
        return STALL_SECONDS
    try:
        seconds = float(said)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise UserError(f"{VARIABLE}={said}: give the seconds an engine may be silent, or 0 for no limit")
    return seconds


class Watchdog:
    """Interrupts the main thread when `heard` has not been called for too long; use as a context manager.

    An engine that sleeps or waits is interrupted as by Ctrl-C, and the sitting ends in order. One that hangs where Python
    cannot reach it keeps the main thread; then what is finished is brought to the disk and the process ends.

    Parameters
    ----------
    save
        Brings what is finished to the disk.
    seconds
        How long the engine may be silent; 0 for ever.

    Attributes
    ----------
    fired
        Whether it was too long.
    """

    def __init__(self, save: Callable[[], None], seconds: float) -> None:
        self.seconds = seconds
        self.fired = False
        self._save = save
        self._last = time.monotonic()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        # Only the main thread can be interrupted; elsewhere the caller has means of its own.
        if self.seconds and threading.current_thread() is threading.main_thread():
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        if self._thread is not None:
            self._thread.join()

    def heard(self) -> None:
        """The engine has given something, or could not: it was waiting for us."""
        self._last = time.monotonic()

    @property
    def message(self) -> str:
        """What is told when it fires."""
        return (
            f"the engine gave nothing for {self.seconds:g} s; every finished row is kept, go on with the same command and "
            f"--resume, or allow it more time with {VARIABLE}"
        )

    def _watch(self) -> None:
        while not self._end.wait(max(self._last + self.seconds - time.monotonic(), 0.01)):
            if time.monotonic() - self._last < self.seconds:
                continue
            self.fired = True
            main = threading.main_thread().ident
            assert main is not None
            signal.pthread_kill(main, signal.SIGINT)
            if not self._end.wait(_GRACE_SECONDS):
                try:
                    self._save()
                finally:  # a disk that refuses must not leave the process hanging
                    print(f"gapbench: {self.message}", file=sys.stderr, flush=True)
                    os._exit(1)
            return
