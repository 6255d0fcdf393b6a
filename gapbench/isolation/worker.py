"""Calls functions of ours in one child process that the system kills when a call takes too much.

Model output reaches libraries that were not made for it: `9**9**9**9` or a nest of LaTeX keeps sympy busy for ever, and
some generators of puzzles never end under a narrow configuration. An alarm inside Python cannot interrupt a
multiplication of huge integers, and signals do not work off the main thread. So the child arms a timer of processor
time whose default action ends it, even amid C code and even after its parent is gone; the parent sees the pipe close.
Processor time and not wall time, so that a busy machine grades as an idle one does.

>>> Worker().call("math:gcd", 12, 18, seconds=5)
6
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import pkgutil
import resource
import signal
import subprocess
import sys
import threading
from functools import cache
from typing import Any

MEMORY_BYTES = 4 << 30


class WorkerDied(Exception):
    """The child ended during a call: it took too much time or memory, or crashed."""


class CallFailed(Exception):
    """The called function raised; the message is the name of its exception and its text."""


class Worker:
    """One child process, started at the first call and again after one that killed it. Threads may share it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._mutex = threading.Lock()

    def call(self, function: str, *args: Any, seconds: float) -> Any:
        """Call a function by its name, `module:name`.

        Parameters
        ----------
        args
            Values that JSON can carry; so is the result, and tuples come back as lists.
        seconds
            Processor time the call may take, importing its module not counted.

        Raises
        ------
        WorkerDied
            If the call took too much time or memory, or crashed the child.
        CallFailed
            If the function raised.
        ImportError
            If there is no such function, or its module needs a library that is not installed.
        """
        request = json.dumps([function, args, seconds]).encode() + b"\n"
        with self._mutex:
            whole = False
            try:
                reply = self._exchange(request)
                whole = reply.endswith(b"\n")
            finally:
                if not whole:  # also on Ctrl-C: a reply still to come would answer the next call
                    self._stop()
        if not whole:
            raise WorkerDied(f"{function} was stopped: over {seconds} s of processor time, or out of memory")
        outcome = json.loads(reply)
        if "missing" in outcome:
            raise ImportError(outcome["missing"])
        if "error" in outcome:
            raise CallFailed(outcome["error"])
        return outcome["value"]

    def _exchange(self, request: bytes) -> bytes:
        if self._process is None:
            self._process = _start()
            atexit.register(self._stop)
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(request)
            self._process.stdin.flush()
        except BrokenPipeError:
            return b""
        return self._process.stdout.readline()

    def _stop(self) -> None:
        if self._process is not None:
            atexit.unregister(self._stop)
            self._process.kill()
            # Closing may want to flush what the dead child did not read.
            with contextlib.suppress(BrokenPipeError), self._process:
                pass
            self._process = None


@cache
def shared_worker() -> Worker:
    """The worker that graders and task sources share."""
    return Worker()


def _start() -> subprocess.Popen[bytes]:
    paths = os.pathsep.join(path for path in sys.path if path)
    # BLAS reserves address space for each thread, which would count against the memory limit.
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return subprocess.Popen(
        [sys.executable, "-P", "-c", "from gapbench.isolation.worker import serve; serve()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **single, "PYTHONPATH": paths},
    )


def serve() -> None:
    """Answer calls until the parent closes the pipe: the child's side."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "r+b") as nothing:
        os.dup2(nothing.fileno(), 0)  # what a library reads or prints must not mix with the calls
        os.dup2(nothing.fileno(), 1)
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    with contextlib.suppress(ValueError, OSError):  # macOS has no such limit
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in requests:
        outcome = json.dumps(_outcome(*json.loads(line)), default=str)
        replies.write(outcome.encode() + b"\n")
        replies.flush()


def _outcome(name: str, args: list[Any], seconds: float) -> dict[str, Any]:
    try:
        function = pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as failure:
        return {"missing": f"{name}: {failure}"}
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        return {"value": function(*args)}
    except Exception as failure:  # carried to the caller, whatever it is
        return {"error": f"{type(failure).__name__}: {failure}"[:500]}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
