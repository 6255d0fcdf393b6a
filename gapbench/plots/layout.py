"""Keys of single plots, and grids of panels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gapbench.report.panels import panels

Item = TypeVar("Item")


def key(ax: Axes, *, more: Sequence[Artist] = (), beside: bool = False, loc: str = "best") -> Axes:
    """Add the key of what is labelled, and of `more`, where there is anything: inside, or beside where it is long."""
    handles, _ = ax.get_legend_handles_labels()
    if handles or more:
        place = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)} if beside else {"loc": loc}
        ax.legend(handles=[*handles, *more], fontsize="small", **place)
    return ax


def grid(
    items: Sequence[Item], draw: Callable[[Item, Axes], object], *, panel: tuple[float, float]
) -> Figure:
    """One panel for each item, at most three in a row, of the given width and height in inches."""
    figure, axes = panels(len(items), *panel)
    for item, ax in zip(items, axes, strict=True):
        draw(item, ax)
    return figure
