"""Ctrl-C while the libraries load, which takes a second: one line and exit code 130, no traceback.

Importing this module sets the handler as `watch` does; `ready` takes it back. Nothing is lost by leaving at once, and an
exception in the middle of an import may be swallowed or come out as another one.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType


def _leave(number: int, frame: FrameType | None) -> None:
    os.write(2, b"gapbench: stopped before anything was begun\n")
    os._exit(128 + number)


def watch() -> None:
    """Let Ctrl-C end the program at once; a program that has a handler of its own keeps it."""
    if (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ):
        signal.signal(signal.SIGINT, _leave)


def ready() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


watch()
