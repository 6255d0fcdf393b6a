"""Figures of several panels, in sizes that keep their labels apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLUMNS = 3
Item = TypeVar("Item")


def panels(count: int, width: float, height: float, *, more: float = 0.0) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels, at most three in a row.

    Parameters
    ----------
    width, height
        Of a panel, in inches.
    more
        Height for what stands above or below them all.
    """
    columns = min(COLUMNS, count)
    lines = -(-count // columns)
    figure = Figure(figsize=(width * columns, more + height * lines))
    axes = list(figure.subplots(lines, columns, squeeze=False).flat)
    for ax in axes[count:]:
        ax.remove()
    return figure, axes[:count]


def grid(
    items: Sequence[Item], draw: Callable[[Item, Axes], object], *, panel: tuple[float, float]
) -> Figure:
    """One panel for each item, at most three in a row, of the given width and height in inches."""
    figure, axes = panels(len(items), *panel)
    for item, ax in zip(items, axes, strict=True):
        draw(item, ax)
    return figure


def label_below(axes: Sequence[Axes], words: str) -> None:
    """Name the x axis under the lowest panel of each column, which need not be in the last row."""
    for ax in axes[-COLUMNS:]:
        ax.set_xlabel(words)


def legend_above(figure: Figure, columns: int, more: Iterable[Artist] = ()) -> None:
    """One legend for all panels in place of their own, each name once."""
    handles: dict[str, Artist] = {}
    for ax in figure.axes:
        if (own := ax.get_legend()) is not None:
            own.remove()
        handles |= {str(name): handle for handle, name in zip(*ax.get_legend_handles_labels(), strict=True)}
    handles |= {str(one.get_label()): one for one in more}
    if handles:
        figure.legend(handles.values(), handles.keys(), loc="outside upper left", ncols=columns)
