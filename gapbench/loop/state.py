"""What a loop has done so far, on disk: `loop.json`, replaced whole after every step.

A step that is listed is done, and one that is not is done again: every step may be killed at any moment and repeated.
"""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import gapbench
from gapbench.errors import UserError
from gapbench.loop.config import LoopConfig
from gapbench.run import now
from gapbench.store.jsonfile import read_object, write_atomic

FILE = "loop.json"
FORMAT = "gapbench-loop-1"


class State:
    """The state file of one loop, held with a lock; use as a context manager.

    Parameters
    ----------
    path
        The loop's directory.
    config
        What is asked for now.
    suites
        Digest of each split of the suite, which may not change between sittings.
    resume
        Go on with what is there.

    Raises
    ------
    UserError
        On entering, if something else is in the way, the loop was begun otherwise, or another process is at it.
    """

    def __init__(self, path: Path, config: LoopConfig, suites: dict[str, str], *, resume: bool) -> None:
        self.path = path
        self._config = config
        self._suites = suites
        self._resume = resume
        self._held: dict[str, Any] = {}

    def __enter__(self) -> Self:
        file = self.path / FILE
        if file.exists() and not self._resume:
            raise UserError(
                f"{self.path}: a loop is already here; add --resume to go on with it, or name another --out"
            )
        if not file.exists() and self.path.exists() and (not self.path.is_dir() or any(self._strange())):
            raise UserError(f"{self.path}: exists and is not a loop; name another --out")
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = (self.path / ".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise UserError(
                f"{self.path}: another process is at this loop; wait for it, or stop it"
            ) from None
        try:
            self._held = self._opened(file)
        except BaseException:
            self._lock.close()
            raise
        self._write()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.close()

    def step(self, name: str, do: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Do a step unless it is done.

        Parameters
        ----------
        do
            May be called again after a kill; what it returns is kept with the step.

        Returns
        -------
        What is kept of the step, now or since an earlier sitting.
        """
        steps: dict[str, dict[str, Any]] = self._held["steps"]
        if name in steps:
            return steps[name]
        began, start = now(), time.monotonic()
        facts = do()
        seconds = round(time.monotonic() - start, 3)
        steps[name] = {"started": began, "ended": now(), "seconds": seconds, **facts}
        self._write()
        return steps[name]

    def _strange(self) -> list[Path]:
        return [path for path in self.path.iterdir() if path.name not in (".lock", FILE + ".tmp")]

    def _opened(self, file: Path) -> dict[str, Any]:
        fresh = {
            "format": FORMAT,
            "gapbench": gapbench.__version__,
            "created": now(),
            "config": self._config.model_dump(mode="json"),
            "suites": self._suites,
            "steps": {},
        }
        if not file.exists():
            return fresh
        held = read_state(self.path)
        self._config.grown_from(config_of(self.path), self.path)
        if held["suites"] != self._suites:
            raise UserError(
                f"{self.path}: suite '{self._config.suite}' has changed since the loop began; name a new --out"
            )
        return {**held, "config": fresh["config"]}

    def _write(self) -> None:
        write_atomic(self.path / FILE, json.dumps(self._held, indent=1, default=str) + "\n")


def read_state(path: str | Path) -> dict[str, Any]:
    """What `loop.json` says.

    Raises
    ------
    UserError
        If there is no loop, or its file is none.
    """
    file = Path(path) / FILE
    if not file.is_file():
        raise UserError(f"{path}: no loop here (no {FILE}); `gapbench loop` makes one")
    held = read_object(file, "start a new loop elsewhere")
    if (
        held.get("format") != FORMAT
        or not isinstance(held.get("steps"), dict)
        or not isinstance(held.get("suites"), dict)
    ):
        raise UserError(f"{file}: not a loop of format {FORMAT}; restore it, or start a new loop elsewhere")
    return held


def config_of(path: str | Path) -> LoopConfig:
    """The configuration of a loop.

    Raises
    ------
    UserError
        As `read_state`.
    """
    try:
        return LoopConfig.model_validate(read_state(path).get("config"))
    except ValueError as bad:
        reason = str(bad).splitlines()[0]
        raise UserError(
            f"{Path(path) / FILE}: its configuration cannot be read ({reason}); restore it"
        ) from None
