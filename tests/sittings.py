"""Sittings that are killed, starved and hung: command lines forked from one warm process, and an engine that fails.

A fork starts in a moment where a new interpreter takes seconds, so that many sittings fit into a test.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gapbench.engines.base import Request, Result, engines
from gapbench.engines.simulated import SimulatedEngine

ROOT = Path(__file__).parent.parent
FAULT = "GAPBENCH_TEST_FAULT"
"""What goes wrong and after how many results, as `oom:40`; not an engine option, since those may not change."""


class OutOfMemoryError(RuntimeError):
    """As torch's."""


@engines.register("faulty")
class Faulty(SimulatedEngine):
    """The simulated engine, until the result at which something goes wrong."""

    def __init__(self, model: str = "simulated", **options: Any) -> None:
        super().__init__(model, **options)
        if self._fault[0] == "start":
            raise OutOfMemoryError("CUDA out of memory.\nTried to allocate 7 GiB")

    @property
    def _fault(self) -> tuple[str, int]:
        kind, _, after = os.environ.get(FAULT, "none").partition(":")
        return kind, int(after or 0)

    def run(self, requests: Iterable[Request | None]) -> Iterator[Result]:
        kind, after = self._fault
        for number, result in enumerate(super().run(requests)):
            if kind == "empty":
                yield replace(result, text="", n_tokens=1)
            elif kind == "all-but" and number == after:
                continue
            elif number == after and kind in FAULTS:
                yield from FAULTS[kind](result)
                if kind == "early":
                    return
            else:
                yield result


def _raise(error: BaseException) -> Callable[[Result], Iterator[Result]]:
    def fault(result: Result) -> Iterator[Result]:
        raise error
        yield result

    return fault


def _sleep(result: Result) -> Iterator[Result]:
    time.sleep(10_000)
    yield result


def _deaf(result: Result) -> Iterator[Result]:
    while True:
        with contextlib.suppress(KeyboardInterrupt):
            time.sleep(10_000)
    yield result


def _blocked(result: Result) -> Iterator[Result]:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    ctypes.CDLL(None).pause()
    yield result


FAULTS: dict[str, Callable[[Result], Iterator[Result]]] = {
    "oom": _raise(OutOfMemoryError("CUDA out of memory.\nTried to allocate 7 GiB")),
    "memory": _raise(MemoryError()),
    "full": _raise(OSError(errno.ENOSPC, "No space left on device")),
    "unknown": lambda result: iter([replace(result, key=(*result.key[:2], 10_000, *result.key[3:]))]),
    "other-task": lambda result: iter([replace(result, key=("nowhere", *result.key[1:]))]),
    "no-key": lambda result: iter([replace(result, key=())]),
    "twice": lambda result: iter([result, result]),
    "early": lambda result: iter([]),
    "sleep": _sleep,
    "deaf": _deaf,
    "blocked": _blocked,
}


@dataclass
class Sitting:
    """A command line under way in a process group of its own."""

    server: Server
    pid: int
    folder: Path
    code: int | None = None

    def wait(self, seconds: float) -> int | None:
        """The exit code, -9 for a kill; None if it still runs after so long."""
        if self.code is None:
            self.code = self.server.ask({"wait": self.pid, "seconds": seconds})
        return self.code

    def kill(self) -> None:
        """Kill the process group as `kill -9` does."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
            os.killpg(self.pid, signal.SIGKILL)
        assert self.wait(60) is not None

    @property
    def stdout(self) -> str:
        return (self.folder / f"{self.pid}.out").read_text()

    @property
    def stderr(self) -> str:
        return (self.folder / f"{self.pid}.err").read_text()


class Server:
    """Forks command lines on demand; use as a context manager.

    Parameters
    ----------
    folder
        Where they run, and where what they print is kept.
    preload
        Further modules to import at once.
    model
        A model to load at once, with the engine `transformers`.
    """

    def __init__(self, folder: Path, *preload: str, model: str = "") -> None:
        self.folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.sittings", "serve", model, *preload],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=60)

    def ask(self, order: dict[str, Any]) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(
        self,
        *words: object,
        trip: tuple[str, int] | None = None,
        as_root: bool = True,
        file_size: int | None = None,
        **env: str,
    ) -> Sitting:
        """Start `gapbench WORDS...`.

        Parameters
        ----------
        trip
            Kill the group just before or after (`before`, `after`) so many disk operations, or so many `rows`; or have
            the disk `full` from so many operations on.
        as_root
            Whether root may do what root may; without, modes concern it as anybody.
        file_size
            Bytes that a file may have.
        """
        order = {"words": [str(word) for word in words], "trip": trip, "as_root": as_root, "env": env}
        order["file_size"] = file_size
        return Sitting(self, self.ask(order), self.folder)

    def run(self, *words: object, seconds: float = 500, **more: Any) -> Sitting:
        """`start`, and wait for its end."""
        sitting = self.start(*words, **more)
        if sitting.wait(seconds) is None:
            sitting.kill()
            raise AssertionError(f"still running after {seconds} s: {words}")
        return sitting


def _serve(model: str, *preload: str) -> None:
    for name in ("gapbench.cli", "gapbench.run", "gapbench.report.summary", *preload):
        importlib.import_module(name)
    if model:
        launch = importlib.import_module("gapbench.launch")
        loaded = engines.get("transformers")(model)
        launch.start_engine = lambda spec: loaded
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            answer = _wait(order["wait"], order["seconds"])
        else:
            answer = os.fork()
            if not answer:
                _sit(order)
        print(json.dumps(answer), flush=True)


def _wait(pid: int, seconds: float) -> int | None:
    end = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            return None
        time.sleep(0.005)


def _sit(order: dict[str, Any]) -> None:
    code = 70
    try:
        os.setsid()
        for number, mode, name in (
            (0, "r", os.devnull),
            (1, "w", f"{os.getpid()}.out"),
            (2, "w", f"{os.getpid()}.err"),
        ):
            with open(name, mode) as file:
                os.dup2(file.fileno(), number)
        os.environ |= order["env"]
        if order["file_size"] is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (order["file_size"], order["file_size"]))
        if not order["as_root"]:
            _drop_capabilities()
        if order["trip"]:
            _set_trip(*order["trip"])
        sys.argv = ["gapbench", *order["words"]]
        from gapbench.cli import main

        main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _drop_capabilities() -> None:
    version, own = 0x20080522, 0
    ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(version, own), (ctypes.c_uint32 * 6)())


def _set_trip(kind: str, left: int) -> None:
    """Kill the whole group at a certain operation, or fail from then on."""

    def tripped(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            nonlocal left
            left -= 1
            if left <= 0 and kind == "full":
                raise OSError(errno.ENOSPC, "No space left on device")
            if left == 0 and kind != "after":
                os.killpg(0, signal.SIGKILL)
            done = function(*args, **more)
            if left == 0 and kind == "after":
                os.killpg(0, signal.SIGKILL)
            return done

        return call

    import pyarrow.parquet

    from gapbench.store.run_store import Writer

    if kind == "rows":
        Writer.append = tripped(Writer.append)  # type: ignore[method-assign]
        return
    operations: list[tuple[Any, str]] = [
        (os, "fsync"),
        (os, "replace"),
        (os, "unlink"),
        (pyarrow.parquet, "write_table"),
    ]
    for module, name in operations[: 1 if kind == "full" else None]:
        setattr(module, name, tripped(getattr(module, name)))


if __name__ == "__main__":
    # One copy of the classes above, under one name.
    sys.modules["tests.sittings"] = sys.modules["__main__"]
    _serve(*sys.argv[2:])
