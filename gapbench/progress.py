"""Progress on standard error, with rate and time left; standard output stays clean for `--json`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

T = TypeVar("T")

LOG_SECONDS = 15.0


class RateColumn(ProgressColumn):
    """Rows a second."""

    def render(self, task: Task) -> Text:
        """The rate over the recent past, or over the whole once finished."""
        speed = task.finished_speed or task.speed
        return Text("-- /s" if speed is None else f"{speed:,.1f} /s")


def track(stage: str, rows: Iterable[T], total: int) -> Iterator[T]:
    """Pass `rows` through and show how far they are: a bar in a terminal, now and then a line in a log."""
    console = Console(stderr=True)
    if total == 0:
        console.print(f"{stage:<7} nothing left to do")
        yield from rows
    elif console.is_terminal:
        yield from _bar(stage, rows, total, console)
    else:
        yield from _lines(stage, rows, total, console)


def _bar(stage: str, rows: Iterable[T], total: int, console: Console) -> Iterator[T]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, speed_estimate_period=60) as progress:
        bar = progress.add_task(f"{stage:<7}", total=total)
        for row in rows:
            yield row
            progress.advance(bar)


def _lines(stage: str, rows: Iterable[T], total: int, console: Console) -> Iterator[T]:
    start = last = time.monotonic()
    for done, row in enumerate(rows, start=1):
        yield row
        now = time.monotonic()
        if now - last >= LOG_SECONDS or done == total:
            last = now
            rate = done / max(now - start, 1e-9)
            left = timedelta(seconds=round((total - done) / rate))
            console.print(
                f"{stage:<7} {done:,}/{total:,}  {rate:,.1f} /s  {left} left",
                highlight=False,
                soft_wrap=True,
            )
