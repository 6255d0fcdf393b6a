"""Values under the pointer: every marker of a figure gets its numbers as an SVG title, which needs no script.

What a marker means is read off the figure itself: the legend by colour and marker, a row by its label, an interval by the
line that runs through the point.

>>> words = mark(figure)  # doctest: +SKIP
>>> svg = titled(svg, words)  # doctest: +SKIP
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from markupsafe import escape
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gapbench.panel import Float
from gapbench.report.page.cells import minus

PREFIX = "point-"
NO_MARKER = ("", " ", None, "None")
NAMELESS = ("_", "hollow")
NUMBER = re.compile(r"[+\u2212-]?[\d.,]+(e[+-]?\d+)?")
DRAWN = re.compile(r"<use ([^>]*)/>")


def mark(figure: Figure) -> dict[str, list[str]]:
    """Name the lines that have a marker at every point; what to show at each of their points, by the id of the line in the SVG."""
    shared = dict(
        one for legend in figure.legends for one in _handles(legend.legend_handles, legend.get_texts())
    )
    found: dict[str, list[str]] = {}
    for ax in figure.axes:
        reader = _Reader(ax, shared)
        for line in ax.lines:
            whole = line.get_marker() not in NO_MARKER and line.get_markevery() is None
            words = list(reader.words(line)) if whole else []
            if words:
                name = f"{PREFIX}{len(found)}"
                line.set_gid(name)
                found[name] = words
    return found


def titled(svg: str, words: dict[str, list[str]]) -> str:
    """An SVG whose markers carry their words."""
    parts = re.split(rf'<g id="({PREFIX}\d+)">', svg)
    for place in range(1, len(parts), 2):
        own = words[parts[place]]
        shown = iter(own)

        def with_title(drawn: re.Match[str], shown: Iterator[str] = shown) -> str:
            return f"<use {drawn[1]}><title>{escape(next(shown))}</title></use>"

        # A group is not closed before the next one begins here, but its own markers come first.
        parts[place + 1] = DRAWN.sub(with_title, parts[place + 1], count=len(own))
        parts[place] = f'<g id="{parts[place]}">'
    return "".join(parts)


def _handles(handles: object, labels: object) -> Iterator[tuple[tuple[str, str], str]]:
    """(colour, marker) to the words of a legend."""
    for handle, label in zip(handles, labels, strict=True):  # type: ignore[call-overload]
        line = handle.lines[0] if isinstance(handle, ErrorbarContainer) else handle
        text = label if isinstance(label, str) else label.get_text()
        if isinstance(line, Line2D) and line.get_marker() not in NO_MARKER and not text.startswith(NAMELESS):
            yield _look(line), text


def _look(line: Line2D) -> tuple[str, str]:
    return to_hex(line.get_color()), str(line.get_marker())


def _points(line: Line2D) -> Float:
    """Where a line goes [x or y, point]."""
    return np.array([np.asarray(one, dtype=float) for one in line.get_data()])


class _Reader:
    """What the points of one plot mean."""

    def __init__(self, ax: Axes, shared: dict[tuple[str, str], str]) -> None:
        self.names = shared | dict(_handles(*ax.get_legend_handles_labels()))
        if (legend := ax.get_legend()) is not None:
            self.names |= dict(_handles(legend.legend_handles, legend.get_texts()))
        self.title = ax.get_title(loc="left").partition("\n")[0]
        places = [float(y) for y in ax.get_yticks()]
        labels = ax.yaxis.get_major_formatter().format_ticks(places)
        ticks = {round(y): text for y, text in zip(places, labels, strict=True)}
        is_category = any(text and not NUMBER.fullmatch(text) for text in ticks.values())
        self.rows = ticks if is_category else {}
        bare = [line for line in ax.lines if line.get_marker() in NO_MARKER]
        ends = [(to_hex(line.get_color()), _points(line)) for line in bare]
        self.bars = [(hue, points) for hue, points in ends if points.shape[1] == 2]

    def words(self, line: Line2D) -> Iterator[str]:
        """What to show at each point that is drawn, in order."""
        own = str(line.get_label())
        name = self.names.get(_look(line), "") if own.startswith("_") else own
        for x, y in _points(line).T:
            if np.isfinite(x) and np.isfinite(y):
                if self.rows:
                    parts = self.rows.get(round(y), ""), name, f"{x:+.3f}{self._interval(line, x, y)}"
                else:
                    parts = self.title, name, f"{x:.4g}: {y:.3f}{self._interval(line, x, y)}"
                yield minus(", ".join(part.replace(r"\$", "$") for part in parts if part))

    def _interval(self, line: Line2D, x: float, y: float) -> str:
        """The ends of the bar of the line's colour that runs through a point."""
        for hue, ((x0, x1), (y0, y1)) in self.bars:
            if hue == to_hex(line.get_color()):
                if y0 == y1 == y and x0 <= x <= x1:
                    return f" [{x0:+.3f}, {x1:+.3f}]"
                if x0 == x1 == x and y0 <= y <= y1:
                    return f" [{y0:.3f}, {y1:.3f}]"
        return ""
