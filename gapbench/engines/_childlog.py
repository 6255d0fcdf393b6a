r"""What an engine and the processes that it starts print, kept away from standard output.

Libraries that start processes write their logs to standard output, where a `--json` document is to stand alone. The
processes inherit file descriptors, so nothing short of the descriptors themselves is enough.

>>> log = ChildLog()
>>> with log.capture():
...     _ = os.write(1, b"(EngineCore pid=7) ERROR 11-23 07:41:43 [core.py:1512] ValueError: no room for the cache\n")
>>> log.cause()
'no room for the cache'
"""

from __future__ import annotations

import os
import re
import sys
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from threading import Thread

_LINE = re.compile(rb"(?<=[\r\n])")
# Who says it and when, as vLLM writes it: `(EngineCore pid=7) ERROR 11-23 07:41:43 [core.py:12] `.
_PREFIX = re.compile(r"^(?:\([^()]*\bpid=\d+\)\s*)?(?:[A-Z]+ [\d-]+ [\d:]+ \[[^\]]*\] ?)?")
_RAISED = re.compile(r"^(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:Error|Exception|Interrupt): *(.+)")
# Told by one process of another that failed.
_SECOND_HAND = re.compile(r"(?i)initialization failed|see (?:the )?(?:stack trace|root cause)")
# Of what is printed while a model is loaded: warnings, and how far it is.
_SHOWN = re.compile(r"\bWARNING\b|\d% ?(?:Completed)?\s*\|")
_KEPT = 1000
# Put among what is printed, so that no line from before is taken for one from after.
_LOADED = b"\0loaded\n"


class ChildLog:
    """Takes what is printed and passes it on to standard error.

    Until `loaded`, only warnings and bars of progress are passed on; the rest is kept, as where loading fails one line
    of it is worth more than the whole.

    Parameters
    ----------
    verbose
        Pass on everything at once.
    hushed
        Warnings with one of these words are not passed on while loading.
    """

    def __init__(self, verbose: bool = False, hushed: Collection[str] = ()) -> None:
        self._quiet, self._hushed = not verbose, hushed
        self._kept: deque[str] = deque(maxlen=_KEPT)
        self._writing: int | None
        self._reading, self._writing = os.pipe()
        self._terminal = os.dup(2)
        self._thread = Thread(target=self._pump, daemon=True)
        self._thread.start()

    @contextmanager
    def capture(self) -> Iterator[None]:
        """Take what this process prints, and for good what the processes print that are started meanwhile.

        It can be done once.
        """
        assert self._writing is not None
        saved = os.dup(1), os.dup(2)
        _flush()
        for own in (1, 2):
            os.dup2(self._writing, own)
        try:
            yield
        finally:
            _flush()
            for own, before in zip((1, 2), saved, strict=True):
                os.dup2(before, own)
                os.close(before)

    def loaded(self) -> None:
        """From now on pass on everything."""
        assert self._writing is not None
        os.write(self._writing, b"\n" + _LOADED)
        self._end()

    def cause(self) -> str | None:
        """The message of the first exception that was printed, once all the processes have ended."""
        self.close()
        told = (_RAISED.match(_PREFIX.sub("", line)) for line in self._kept)
        causes = [found[1].strip() for found in told if found]
        first_hand = [cause for cause in causes if not _SECOND_HAND.search(cause)]
        return next(iter(first_hand or causes), None)

    def close(self) -> None:
        """Wait for what is still to be passed on; a process that lives on is not waited for long."""
        self._end()
        self._thread.join(timeout=10)

    def _end(self) -> None:
        """Let the pipe end with the last process that prints into it."""
        if self._writing is not None:
            os.close(self._writing)
            self._writing = None

    def _pump(self) -> None:
        rest = b""
        while chunk := os.read(self._reading, 1 << 16):
            *lines, rest = _LINE.split(rest + chunk)
            for line in lines:
                self._take(line)
        self._take(rest)
        os.close(self._reading)
        os.close(self._terminal)

    def _take(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        if line == _LOADED:
            self._quiet = False
        elif self._quiet and (not _SHOWN.search(text) or any(word in text for word in self._hushed)):
            self._kept.append(text)
        else:
            os.write(self._terminal, line)


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
