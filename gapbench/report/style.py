"""How gapbench figures look: the style file, and colour, marker and line of each verifier."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import matplotlib.style

from gapbench.report.text import one_line
from gapbench.report.view import OVERALL

STYLE = Path(__file__).with_name("gapbench.mplstyle")
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES: tuple[tuple[float, ...], ...] = ((), (5, 1.5), (1.5, 1.2), (6, 1.5, 1.5, 1.5), (3, 1), (8, 2))
# As in the style file; the page exchanges them for its own in light and dark.
INK, GREY, GRID, PAPER = "#1f2328", "#6e7781", "#d8dee4", "#ffffff"

P = ParamSpec("P")
T = TypeVar("T")


def styled(draw: Callable[P, T]) -> Callable[P, T]:
    """Run a function under the style file, and restore the caller's settings after it."""

    @wraps(draw)
    def inside(*args: P.args, **kwargs: P.kwargs) -> T:
        with matplotlib.style.context(STYLE):
            return draw(*args, **kwargs)

    return inside


def label(name: str, limit: int = 28) -> str:
    """A name that stands in a figure as it is: no control characters, and `$` starts no formula."""
    shown = re.sub(
        "[\u2400-\u2421]", "\ufffd", one_line(name, limit)
    )  # control pictures, which few fonts have
    return shown.replace("$", r"\$")


def colour(index: int) -> str:
    """Colour of the verifier at this place."""
    return COLOURS[index % len(COLOURS)]


def marker(index: int) -> str:
    """Marker of the verifier at this place."""
    return MARKERS[index % len(MARKERS)]


def dashes(index: int) -> tuple[float, ...]:
    """Line style of the verifier at this place."""
    return DASHES[index % len(DASHES)]


def domain_label(domain: str, limit: int = 28) -> str:
    """A domain's name as a label."""
    return "all domains" if domain == OVERALL else label(domain, limit)


def right_style() -> dict[str, Any]:
    """Bars of right responses: filled."""
    return {"facecolor": "#56b4e9", "edgecolor": "#56b4e9", "alpha": 0.75}


def wrong_style() -> dict[str, Any]:
    """Bars of wrong responses: hatched."""
    return {"facecolor": "none", "edgecolor": "#d55e00", "hatch": "////", "linewidth": 1.2}
