"""Plots of differences: between runs, verifiers, filters or domains, and between judges."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from gapbench.comparing.cross import Cross
from gapbench.errors import UserError
from gapbench.estimate.contrast import Contrast, Contrasts
from gapbench.plots.frames import Document, contrasts_of, cross_of
from gapbench.report import cross as crossing
from gapbench.report.style import GREY, GRID, INK, PAPER, domain_label, label, styled
from gapbench.report.view import OVERALL

COLOUR = {"higher": "#0072b2", "lower": "#d55e00", "equivalent": "#009e73"}
OWNER = re.compile(r"(?<![\w.-])[\w.-]+/")  # of a model id, also after the @ of a verifier's judge
SIGN = {"higher": "^", "lower": "v", "equivalent": "s"}


@styled
def plot_contrasts(data: Contrasts | pd.DataFrame | Document, ax: Axes) -> Axes:
    """Draw differences with their 95 % intervals, those over all domains below those of single ones.

    Triangles point up or down where a is higher or lower than b after adjustment, a square means equivalent, a hollow circle
    not shown to differ. The grey bar behind is the minimum detectable effect: within it a true difference would often be
    missed. An arrow: the interval goes on beyond the axis.

    Parameters
    ----------
    data
        Contrasts, their frame, or the document of `gapbench compare --json`.
    ax
        Drawn into; about 0.28 inch of height a row keep labels apart (`contrast_figure`).

    Raises
    ------
    UserError
        If there is no row, or a column is missing.
    """
    rows = sorted(contrasts_of(data), key=lambda row: row.domain == OVERALL)
    if not rows:
        raise UserError(
            "nothing was compared, so that there is nothing to draw; give contrasts with a row at least"
        )
    names = [_names(row) for row in rows]
    varies = [kind for kind in names[0] if len({name[kind] for name in names}) > 1] or ["pair"]
    heads = [kind for kind in varies if kind != "domain"] if "domain" in varies else []
    groups: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        groups.setdefault(_head(name, heads), []).append(index)
    ticks, y = {}, 0.0
    reach = [abs(row.difference) + _detectable(row) for row in rows if _shown(row)]
    limit = 1.15 * max(reach, default=0.0) or 1.0
    for head, members in groups.items():
        if head:
            ax.annotate(
                head, (0, y), xycoords=("axes fraction", "data"), xytext=(4, 0), textcoords="offset points",
                va="center", fontweight="bold", color=INK,
            )  # fmt: skip
            y -= 0.9
        for index in members:
            _difference(ax, rows[index], y, limit)
            own = [names[index][kind] for kind in varies if kind not in heads]
            ticks[y] = ", ".join(one for one in own if one)
            y -= 1.0
        y -= 0.4 if head else 0.0
    ax.axvline(0.0, color=GREY, linewidth=1.0, zorder=1.5)
    ax.set_yticks(list(ticks), list(ticks.values()))
    for text in ax.get_yticklabels():
        text.set_fontweight("bold" if text.get_text() == domain_label(OVERALL) else "normal")
    ax.set_ylim(min(ticks) - 0.6, 0.6)
    ax.set_xlim(-limit, limit)
    ax.tick_params(axis="y", length=0)
    ax.grid(False, axis="y")
    fixed = [names[0][kind] for kind in names[0] if kind not in varies and names[0][kind]]
    ax.set_title(", ".join(fixed), fontsize="medium", fontweight="normal")
    ax.set_xlabel(f"{_quantity(rows[0])} (95 % interval)")
    ax.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    ax.xaxis.set_major_formatter(
        FuncFormatter(lambda x, _: "0" if abs(x) < 1e-9 else f"{x:+.3g}".replace("-", "−"))
    )
    return ax


def _head(name: dict[str, str], kinds: Sequence[str]) -> str:
    words = [name[kind] for kind in kinds if name[kind]]
    return f"{words[0]} ({', '.join(words[1:])})" if len(words) > 1 else "".join(words)


def _shown(row: Contrast) -> bool:
    return all(map(math.isfinite, (row.low, row.high))) and "not_estimable" not in row.flags


def _detectable(row: Contrast) -> float:
    """0 where nothing varies."""
    return row.mde if math.isfinite(row.mde) else 0.0


def _difference(ax: Axes, row: Contrast, y: float, limit: float) -> None:
    """A row: what could be detected, the interval up to the axis' ends, and the difference."""
    if not _shown(row):
        ax.annotate(
            "not estimable", (0.0, y), (4, 0), textcoords="offset points", va="center", color=GREY,
            fontsize="small", fontstyle="italic",
        )  # fmt: skip
        return
    hue, told = COLOUR.get(row.verdict, INK), row.verdict in SIGN
    ax.barh(y, 2 * _detectable(row), 0.62, left=-_detectable(row), color=GRID, linewidth=0, zorder=0.5)
    ax.plot([max(row.low, -limit), min(row.high, limit)], [y, y], color=hue, linewidth=1.8, zorder=2)
    for end, side, arrow in ((row.low, -limit, "<"), (row.high, limit, ">")):
        if abs(end) > limit:
            ax.plot(side, y, arrow, color=hue, markersize=5, clip_on=False)
    ax.plot(
        row.difference, y, SIGN.get(row.verdict, "o"), color=hue, markerfacecolor=hue if told else PAPER,
        markeredgewidth=1.4, zorder=3,
    )  # fmt: skip


def _quantity(row: Contrast) -> str:
    what = label(row.quantity.replace("_", " "))
    return what if row.b == "zero" else f"difference in {what}"


def _names(row: Contrast) -> dict[str, str]:
    """What tells a row from others, by kind."""
    a, b = (label(name if not row.domain else OWNER.sub("", name), 28) for name in (row.a, row.b))
    inside = [row.filter or (f"n={row.n}" if row.n else ""), f"m={row.m}" if row.m else ""]
    return {
        "domain": domain_label(row.domain) if row.domain else "",
        "pair": a if row.b == "zero" else f"{a} − {b}",
        "model": label(OWNER.sub("", row.model)),
        "verifier": label(OWNER.sub("", row.verifier)),
        "what": label(", ".join(one for one in inside if one)),
    }


@styled
def contrast_figure(data: Contrasts | pd.DataFrame | Document) -> Figure:
    """`plot_contrasts` in a figure of fitting height, with its key."""
    found = contrasts_of(data)
    figure = Figure()
    ax = plot_contrasts(found, figure.subplots())
    figure.set_size_inches(7.5, 1.2 + 0.26 * abs(ax.get_ylim()[1] - ax.get_ylim()[0]))
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=COLOUR[word], marker=SIGN[word], label=word)
        for word in SIGN
        if any(row.verdict == word for row in found)
    ]
    if any(row.verdict not in SIGN for row in found):
        handles.append(
            Line2D([], [], color=INK, marker="o", markerfacecolor=PAPER, label="not shown to differ")
        )
    handles.append(Patch(facecolor=GRID, label="minimum detectable effect"))
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    return figure


@styled
def plot_cross(data: Cross | pd.DataFrame | Document, ax: Axes, *, domain: str = OVERALL) -> Axes:
    """Draw the matrix of generators (down) and judges (across) in one domain as a heat-map with its numbers.

    Colours diverge, orange below and purple above, from what a blind judge gives. A ring: the interval includes that value;
    a frame: the model judges itself. What was not measured is white and says why.

    Parameters
    ----------
    data
        A `Cross`, its frame, or the document of `gapbench cross --json`.
    ax
        Drawn into; about 1.5 by 0.8 inches a cell keep the numbers apart (`cross_figure`).
    domain
        A domain's name, or `all`.

    Raises
    ------
    UserError
        If there is no row, or a column is missing.
    """
    return crossing.plot_cross(cross_of(data), ax, domain=domain)


def cross_figure(data: Cross | pd.DataFrame | Document, *, domain: str = OVERALL) -> Figure:
    """`plot_cross` in a figure of fitting size, with its scale and a line that explains the marks."""
    return crossing.cross_figure(cross_of(data), domain=domain)
