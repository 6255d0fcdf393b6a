r"""Runs Python source that nobody trusts in a process that can compute, print and end, and do nothing else.

What each layer gives:

* A fresh interpreter in a session and process group of its own, with an empty environment, no packages, and no open
  file but its pipes. The parent reads its output up to a limit and kills it at the end of its wall time; the kernel
  kills it when the parent dies.
* Hard resource limits: processor time (rounded up to whole seconds), address space, open files, and none at all for
  the size of files, new processes and core dumps. The limit on processes does not bind root; the next layer does.
* Root's capabilities are given up, and a seccomp filter lets through some forty system calls: reading and writing
  what is open, memory, clocks, waiting. Files cannot be opened, even for reading, so that neither another process's
  environment in `/proc` nor a test's data can be had. Starting a process, opening a network connection, sending a signal and
  changing a file or opening one for writing kill the program at once; all else fails with `PermissionError`. Threads
  cannot be started either, so one process is all there ever is to kill.

Modules of the standard library that the source names in `import` statements, and that functions have a use for, are loaded
before the filter; nothing else can be imported, but for what the interpreter itself has loaded (`ctypes` among it: a raw
system call meets the same filter).

What remains: the program uses processor time and memory up to its limits, it knows the time and the version of Python,
and a hole in one of the allowed system calls is a hole in this. Linux on x86-64 or arm64 only: elsewhere, and where a
container forbids seccomp, code is not run at all.

>>> run("print(6 * 7)").stdout  # doctest: +SKIP
'42\n'
"""

from __future__ import annotations

import json
import math
import os
import platform
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gapbench.errors import UserError
from gapbench.isolation._sandbox_child import AUDIT_ARCH, READY, REFUSED

Status = Literal["ok", "error", "time", "output", "forbidden", "crashed"]

_CHILD = Path(__file__).with_name("_sandbox_child.py")
# Sets come in the same order every time; nothing of the caller's environment is passed on.
_ENVIRONMENT = {"PYTHONHASHSEED": "0"}
_CHUNK = 1 << 16
_GRACE = 2.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may use.

    Attributes
    ----------
    seconds
        Processor time, rounded up to a whole second; about .03 of it goes to starting.
    wall
        Time on the clock, in seconds; for programs that wait, so much longer than `seconds`.
    memory_bytes
        Address space.
    output_bytes
        What it may print.
    """

    seconds: float = 4.0
    wall: float = 30.0
    memory_bytes: int = 512 << 20
    output_bytes: int = 1 << 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program ended.

    Attributes
    ----------
    status
        `ok`; `error` (an exception or an exit code other than 0); `time`, `output` (over a limit); `forbidden` (it
        tried what kills); `crashed` (by another signal).
    stdout
        What it printed, up to the limit.
    """

    status: Status
    stdout: str


class Sandboxed:
    """A program that runs in the sandbox. Use it as a context manager: it does not outlive the block.

    Parameters
    ----------
    source
        Python source, run as `__main__`.
    limits
        What it may use.
    stdin
        What it reads from standard input.
    scan
        Further source whose imports it needs.
    fds
        Open file descriptors that it inherits, under the same numbers.

    Raises
    ------
    UserError
        If this system has no means to lock a process.
    """

    def __init__(
        self,
        source: str,
        limits: Limits,
        *,
        stdin: str = "",
        scan: Sequence[str] = (),
        fds: Sequence[int] = (),
    ) -> None:
        _check_system()
        self.limits = limits
        self.output = bytearray()
        self._over: Status | None = None
        job = {
            "source": source,
            "scan": list(scan),
            "seconds": max(1, math.ceil(limits.seconds)),
            "memory_bytes": limits.memory_bytes,
            "parent": os.getpid(),
        }
        job_fd, stdin_fd = _file(json.dumps(job)), _file(stdin)
        self.stdout, stdout_fd = os.pipe()
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-s", "-S", "-B", "-X", "utf8", str(_CHILD), str(job_fd)],
                stdin=stdin_fd,
                stdout=stdout_fd,
                stderr=subprocess.DEVNULL,
                env=_ENVIRONMENT,
                cwd="/",
                pass_fds=[job_fd, *fds],
                start_new_session=True,
            )
        except BaseException:
            os.close(self.stdout)
            raise
        finally:
            os.close(job_fd)
            os.close(stdin_fd)
            os.close(stdout_fd)

    def __enter__(self) -> Sandboxed:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Kill what still runs."""
        self.kill()
        self.process.wait()
        os.close(self.stdout)

    def kill(self, status: Status | None = None) -> None:
        """Kill the whole process group; `status` says for what."""
        if self.process.poll() is None:
            self._over = self._over or status
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def leave(self, seconds: float = 1.0) -> None:
        """Let it end by itself within a moment, or else kill it."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill("error")

    def read(self) -> bool:
        """Take in what it has printed, and kill it when that is too much; False at the end of its output."""
        chunk = os.read(self.stdout, _CHUNK)
        room = len(READY) + self.limits.output_bytes - len(self.output)
        self.output += chunk[:room]
        if len(chunk) > room:
            self.kill("output")
        return bool(chunk)

    def outcome(self) -> Outcome:
        """How it ended; call it when it has.

        Raises
        ------
        UserError
            If a lock could not be put on and so nothing was run.
        """
        code = self.process.wait()
        # A program runs only after READY is printed, so it cannot feign a refusal.
        locked, text = (
            self.output.startswith(READY),
            self.output.removeprefix(READY).decode("utf-8", "replace"),
        )
        if code == REFUSED and not locked:
            raise UserError(
                f"code cannot be run here: a process cannot be locked ({text[:200]}); use a machine, or a container, that "
                "allows seccomp filters"
            )
        ended: dict[int, Status] = {0: "ok", -signal.SIGSYS: "forbidden"}
        ended |= dict.fromkeys((-signal.SIGKILL, -signal.SIGXCPU), "time")
        return Outcome(self._over or ended.get(code, "error" if code > 0 else "crashed"), text)


def run(source: str, limits: Limits = Limits(), *, stdin: str = "") -> Outcome:
    """Run Python source to its end, or to the end of its limits.

    Raises
    ------
    UserError
        If this system has no means to lock a process.
    """
    with Sandboxed(source, limits, stdin=stdin) as program:
        finish([program], limits.wall)
        return program.outcome()


def finish(programs: Sequence[Sandboxed], wall: float) -> None:
    """Read what programs print until the first of them ends, or all are killed.

    Parameters
    ----------
    programs
        The one to wait for first. At the end of the wall time the others are killed; it gets a moment to see that.
    wall
        Seconds on the clock.
    """
    first, *others = programs
    deadline = time.monotonic() + wall
    with selectors.DefaultSelector() as selector:
        for program in programs:
            selector.register(program.stdout, selectors.EVENT_READ, program)
        while first.stdout in selector.get_map():
            left = deadline - time.monotonic()
            if left > 0:
                for key, _ in selector.select(left if left < math.inf else None):
                    if not key.data.read():
                        selector.unregister(key.fileobj)
            elif others:
                for program in others:
                    program.kill("time")
                deadline, others = deadline + _GRACE, []
            else:
                first.kill("time")
                deadline = math.inf
    try:
        first.process.wait(max(0.0, deadline - time.monotonic()) if deadline < math.inf else None)
    except subprocess.TimeoutExpired:  # it closed its output and goes on
        first.kill("time")


def _file(text: str) -> int:
    """A file in memory that holds the text, to be read from its start."""
    descriptor = os.memfd_create("gapbench")
    data = memoryview(text.encode("utf-8", "replace"))
    while data:
        data = data[os.write(descriptor, data) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _check_system() -> None:
    if sys.platform != "linux" or platform.machine() not in AUDIT_ARCH:
        raise UserError(
            f"code is graded only in a sandbox of Linux on {' or '.join(AUDIT_ARCH)}, not on {sys.platform} "
            f"{platform.machine()}; run `gapbench grade` there, or leave the code tasks out"
        )
