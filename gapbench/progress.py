"""Progress on standard error, with rate and time left; standard output stays clean for `--json`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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


class RateColumn(ProgressColumn):
    """Rows a second."""

    def render(self, task: Task) -> Text:
        """The rate over the recent past, or over the whole once finished."""
        speed = task.finished_speed or task.speed
        return Text("-- /s" if speed is None else f"{speed:,.1f} /s")


def track(stage: str, rows: Iterable[T], total: int) -> Iterator[T]:
    """Pass `rows` through, drawing a bar; a stage with nothing to do says so."""
    console = Console(stderr=True)
    if total == 0:
        console.print(f"{stage:<7} nothing left to do")
        yield from rows
        return
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
