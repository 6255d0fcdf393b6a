"""Progress on standard error, with rate and time left; standard output stays clean for `--json`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

LOG_SECONDS = 15.0


class RateColumn(ProgressColumn):
    """Rows a second."""

    def render(self, task: Task) -> Text:
        """The rate over the recent past, or over the whole once finished."""
        speed = task.finished_speed or task.speed
        return Text("-- /s" if speed is None else f"{speed:,.1f} /s")


@dataclass
class _Line:
    """One stage in a log: how far it is, and when it was first heard of."""

    total: int
    done: int = 0
    began: float = field(default_factory=time.monotonic)
    said: float = field(default_factory=time.monotonic)
    said_done: int = 0


class Progress:
    """How far several stages are at once: bars in a terminal, now and then a line in a log.

    Parameters
    ----------
    stages
        Their names.
    totals
        Rows expected of each; `expect` corrects them.
    """

    def __init__(self, stages: Sequence[str], totals: Sequence[int]) -> None:
        self._console = Console(stderr=True)
        self._lines = {stage: _Line(total) for stage, total in zip(stages, totals, strict=True)}
        self._bars: Bars | None = None
        self._ids: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bars = Bars(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                RateColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=self._console,
                speed_estimate_period=60,
            )
            for stage in self._lines:
                self.expect(stage, 0)
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()
        for stage, line in self._lines.items():
            if self._bars is None and line.done != line.said_done:
                self._say(stage, line)
            if kind is None and not line.done:
                self._console.print(f"{stage:<7} nothing left to do")

    def expect(self, stage: str, more: int) -> None:
        """Correct a stage's total by so many rows."""
        line = self._lines[stage]
        line.total += more
        if self._bars is None or not line.total:
            return
        if stage not in self._ids:
            self._ids[stage] = self._bars.add_task(f"{stage:<7}", total=line.total)
        self._bars.update(self._ids[stage], total=line.total)

    def advance(self, stage: str) -> None:
        """Count one row."""
        line = self._lines[stage]
        line.done += 1
        if self._bars is not None:
            if stage in self._ids:
                self._bars.advance(self._ids[stage])
        elif time.monotonic() - line.said >= LOG_SECONDS or line.done == line.total:
            self._say(stage, line)

    def _say(self, stage: str, line: _Line) -> None:
        now = time.monotonic()
        rate = line.done / max(now - line.began, 1e-9)
        left = timedelta(seconds=round(max(line.total - line.done, 0) / rate)) if rate else "unknown"
        self._console.print(
            f"{stage:<7} {line.done:,}/{line.total:,}  {rate:,.1f} /s  {left} left",
            highlight=False,
            soft_wrap=True,
        )
        line.said, line.said_done = now, line.done
