"""Keys of single plots."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes


def key(ax: Axes, *, more: Sequence[Artist] = (), beside: bool = False, loc: str = "best") -> Axes:
    """Add the key of what is labelled, and of `more`, where there is anything: inside, or beside where it is long."""
    handles, _ = ax.get_legend_handles_labels()
    if handles or more:
        place = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)} if beside else {"loc": loc}
        ax.legend(handles=[*handles, *more], fontsize="small", **place)
    return ax
