"""Scaling laws drawn: each function takes an `ax`, draws one thing and gives the `ax` back; figures put them together.

>>> save_figure(scaling_figure(scaling), "scaling")  # doctest: +SKIP
>>> save_figure(slopes_figure(scaling), "slopes")  # doctest: +SKIP
"""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from gapbench.panel import Float
from gapbench.report.panels import COLUMNS, label_below, panels
from gapbench.report.style import (
    GREY,
    INK,
    PAPER,
    colour,
    dashes,
    domain_label,
    label,
    marker,
    styled,
)
from gapbench.scaling.crossed import CrossedCompute
from gapbench.scaling.points import Points
from gapbench.scaling.scale import Scaling
from gapbench.scaling.slopes import ALL, Fit, Slope

NAMES = {"relative_gap": "relative gap", "gap": "gap"}
REACH = 1.96


@styled
def plot_scaling(scaling: Scaling, ax: Axes, *, domain: str, gap: bool = False) -> Axes:
    """Draw a domain's points against compute, families by colour and marker, each with its line and 95 % band.

    A family of fewer than three models has points alone. Bars are 95 % intervals of the points.

    Parameters
    ----------
    gap
        Draw the absolute gap, without lines, in place of what was fitted.
    """
    points = scaling.points.where(domain=domain)
    values = points.gap if gap else points.value
    errors = _errors(points, gap)
    for family in points.families:
        place = scaling.points.families.index(family)
        own = np.array(points.family) == family
        fit = scaling.fits.get((domain, family))
        if not gap and fit is not None and fit.slope.estimable:
            _band(ax, fit, family, place)
        ax.errorbar(
            points.x[own],
            values[own],
            yerr=None if np.isnan(errors[own]).all() else REACH * errors[own],
            fmt=marker(place),
            color=colour(place),
            markersize=5.5,
            elinewidth=1.0,
            label=label(family),
            zorder=3,
        )
    ax.axhline(0.0, color=GREY, linewidth=1.0, zorder=1)
    everywhere = scaling.points.gap if gap else scaling.points.value
    drawn = everywhere[~np.isnan(everywhere)]
    if len(drawn):
        room = 0.25 * max(float(np.ptp(drawn)), 0.02)
        ax.set_ylim(drawn.min() - room, drawn.max() + room)
    _flops_axis(ax.xaxis, points.x)
    ax.set_title(domain_label(domain))
    ax.set_ylabel("gap" if gap else NAMES[points.quantity])
    return ax


def _band(ax: Axes, fit: Fit, family: str, place: int) -> None:
    x = np.linspace(fit.points.x.min(), fit.points.x.max(), 60)
    mean, low, high = fit.band(x, family)
    ax.fill_between(x, low, high, color=colour(place), alpha=0.11, linewidth=0, zorder=1.2)
    ax.plot(x, mean, color=colour(place), dashes=dashes(place), linewidth=1.5, zorder=2)


def _errors(points: Points, gap: bool) -> Float:
    variance = points.variance(gap)
    if variance is None:
        return np.full(len(points), np.nan)
    return np.sqrt(variance if variance.ndim == 1 else np.diag(variance))


def _flops_axis(axis: mpl.axis.Axis, x: Float) -> None:
    """Powers of ten as tick labels of log10 FLOPs."""
    axis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=2))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"$10^{{{value:.0f}}}$"))
    if len(x) and np.ptp(x) < 1.2:
        axis.set_major_locator(MaxNLocator(4))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"$10^{{{value:.1f}}}$"))


@styled
def scaling_figure(scaling: Scaling) -> Figure:
    """`plot_scaling` for every domain: what was fitted above, the absolute gap below where it is known."""
    domains = [name for name in scaling.points.domains if name != ALL] or scaling.points.domains
    below = scaling.points.quantity != "gap" and not np.isnan(scaling.points.gap).all()
    kinds = (False, True) if below else (False,)  # whether the absolute gap is drawn
    columns = min(COLUMNS, len(domains))
    lines = -(-len(domains) // columns) * len(kinds)
    figure = Figure(figsize=(max(3.1 * columns, 5.6), 1.0 + 2.5 * lines))
    grid = figure.subplots(lines, columns, squeeze=False, sharey="row")
    last: dict[int, Axes] = {}
    for place, domain in enumerate(domains):
        line, column = divmod(place, columns)
        for kind, gap in enumerate(kinds):
            ax = last[column] = grid[line * len(kinds) + kind, column]
            plot_scaling(scaling, ax, domain=domain, gap=gap)
            if gap:
                ax.set_title("")
                ax.set_xlim(grid[line * len(kinds), column].get_xlim())
            if column:
                ax.set_ylabel("")
    for place in range(len(domains), lines // len(kinds) * columns):
        line, column = divmod(place, columns)
        for kind in range(len(kinds)):
            grid[line * len(kinds) + kind, column].remove()
    for ax in last.values():
        ax.set_xlabel("pretraining FLOPs")
    figure.legend(
        handles=_families(scaling),
        loc="outside upper left",
        ncols=min(5, max(2, int(figure.get_figwidth() / 1.6))),
    )
    return figure


@styled
def plot_slopes(scaling: Scaling, ax: Axes) -> Axes:
    """Draw every slope with its 95 % interval: families, pooled (square) and over families (diamond), by domain.

    Hollow: the interval includes 0. An arrow: the interval goes on beyond the axis, which ends a little beyond what is
    pooled. What is not estimable stands in words.
    """
    rows = list(scaling.slopes)
    places = _rows(rows)
    ends = [abs(end) for row in rows if row.estimable and row.family == ALL for end in (row.low, row.high)]
    ends += [abs(row.value) for row in rows if row.estimable]
    limit = 1.5 * max(ends, default=1.0)
    for row, y in zip(rows, places, strict=True):
        if not row.estimable:
            ax.annotate(
                _why(row), (0.0, y), xytext=(5, 0), textcoords="offset points", va="center", color=GREY,
                fontsize="small", fontstyle="italic",
            )  # fmt: skip
            continue
        hue, shape, size = _look(scaling, row)
        ax.plot([max(row.low, -limit), min(row.high, limit)], [y, y], color=hue, linewidth=1.6)
        for end, side, arrow in ((row.low, -limit, "<"), (row.high, limit, ">")):
            if abs(end) > limit:
                ax.plot(side, y, arrow, color=hue, markersize=5, clip_on=False)
        hollow = row.low <= 0 <= row.high
        ax.plot(row.value, y, shape, color=hue, markersize=size, markerfacecolor=PAPER if hollow else hue)
    ax.axvline(0.0, color=GREY, linewidth=1.0, zorder=1.5)
    lows = [max(row.low, -limit) for row in rows if row.estimable]
    highs = [min(row.high, limit) for row in rows if row.estimable]
    left, right = min([0.0, *lows]), max([0.0, *highs])
    room = 0.04 * (right - left)
    ax.set_xlim(left - room, right + room)
    ax.set_yticks(places, [_name(row) for row in rows])
    for text, row in zip(ax.get_yticklabels(), rows, strict=True):
        text.set_fontweight("bold" if row.family == ALL else "normal")
    ax.set_ylim(min(places) - 0.7, max(places) + 1.3)
    for domain in dict.fromkeys(row.domain for row in rows):
        top = max(y for row, y in zip(rows, places, strict=True) if row.domain == domain)
        title = "mean of domains" if domain == ALL else domain_label(domain)
        ax.annotate(
            title, (0, top + 0.62), xycoords=("axes fraction", "data"), xytext=(4, 0),
            textcoords="offset points", va="center", fontweight="bold", color=INK,
        )  # fmt: skip
    ax.tick_params(axis="y", length=0)
    ax.grid(False, axis="y")
    ax.set_xlabel(f"{NAMES[scaling.points.quantity]} per decade of pretraining FLOPs (95 % interval)")
    ax.xaxis.set_major_formatter(
        FuncFormatter(lambda x, _: "0" if abs(x) < 1e-9 else f"{x:+.3g}".replace("-", "−"))
    )
    return ax


@styled
def slopes_figure(scaling: Scaling) -> Figure:
    """`plot_slopes` in a figure of fitting height."""
    count = len(scaling.slopes) + len({row.domain for row in scaling.slopes})
    figure = Figure(figsize=(7.0, 0.9 + 0.25 * count))
    plot_slopes(scaling, figure.subplots())
    return figure


def _rows(rows: list[Slope]) -> list[float]:
    """Heights from the top down, with room for each domain's name."""
    y, places, domain = 0.0, [], None
    for row in rows:
        y -= 1.0 if row.domain == domain else 2.1 if domain is not None else 1.0
        domain = row.domain
        places.append(y)
    return places


def _look(scaling: Scaling, row: Slope) -> tuple[str, str, float]:
    if row.family != ALL:
        place = scaling.points.families.index(row.family)
        return colour(place), marker(place), 6.0
    return INK, "D" if row.method == "two_stage" else "s", 7.0


def _name(row: Slope) -> str:
    if row.family != ALL:
        return label(row.family)
    return "over families" if row.method == "two_stage" else "pooled"


def _why(row: Slope) -> str:
    if "equal_flops" in row.flags:
        return "all models have the same compute"
    if "too_few_families" in row.flags:
        return "fewer than 3 families with a slope"
    if "perfect_fit" in row.flags:
        return "residuals are 0"
    return "too few models"


@styled
def plot_absolute_gap(scaling: Scaling, ax: Axes, *, domain: str) -> Axes:
    """Draw the absolute gap of a domain against p(1 - p), families by marker and compute by colour.

    Parameters
    ----------
    ax
        Drawn into; `compute_colours` is the scale of its colours.
    """
    points = scaling.points.where(domain=domain)
    colours = compute_colours(scaling)
    room = points.accuracy * (1.0 - points.accuracy)
    errors = _errors(points, True)
    for at, (x, y, error) in enumerate(zip(room, points.gap, errors, strict=True)):
        place = scaling.points.families.index(points.family[at])
        hue = colours.to_rgba(np.array([points.x[at]]))[0]
        if not np.isnan(error):
            ax.plot([x, x], [y - REACH * error, y + REACH * error], color=GREY, linewidth=0.9, zorder=2)
        ax.plot(x, y, marker(place), color=hue, markeredgecolor=INK, markeredgewidth=0.5, zorder=3)
    ax.axhline(0.0, color=GREY, linewidth=1.0, zorder=1)
    ax.set_xlim(0.0, 0.26)
    ax.set_title(domain_label(domain))
    ax.set_ylabel("gap")
    return ax


def compute_colours(scaling: Scaling) -> ScalarMappable:
    """Light for little compute, dark for much, over all domains."""
    x = scaling.points.x
    return ScalarMappable(Normalize(float(x.min()), float(x.max()) + 1e-9), mpl.colormaps["cividis_r"])


@styled
def absolute_gap_figure(scaling: Scaling) -> Figure:
    """`plot_absolute_gap` for every domain."""
    domains = [name for name in scaling.points.domains if name != ALL] or scaling.points.domains
    figure, axes = panels(len(domains), 3.1 if len(domains) > 1 else 6.0, 2.5, more=1.0)
    for place, (ax, domain) in enumerate(zip(axes, domains, strict=True)):
        plot_absolute_gap(scaling, ax, domain=domain)
        ax.sharey(axes[0])
        if place % COLUMNS:
            ax.set_ylabel("")
    label_below(axes, "p(1 − p): room to choose")
    bar = figure.colorbar(compute_colours(scaling), ax=axes, fraction=0.05, pad=0.02)
    bar.outline.set_visible(False)
    bar.set_label("pretraining FLOPs")
    _flops_axis(bar.ax.yaxis, scaling.points.x)
    handles = [
        Line2D([], [], linestyle="none", marker=marker(place), color=GREY, label=label(family))
        for place, family in enumerate(scaling.points.families)
    ]
    figure.legend(
        handles=handles, loc="outside upper left", ncols=min(5, max(2, int(figure.get_figwidth() / 1.6)))
    )
    return figure


def _families(scaling: Scaling) -> list[Line2D]:
    return [
        Line2D([], [], color=colour(place), marker=marker(place), dashes=dashes(place), label=label(family))
        for place, family in enumerate(scaling.points.families)
    ]


@styled
def plot_crossed_compute(crossed: CrossedCompute, ax: Axes, *, title: str = "gap") -> Axes:
    """Draw the gap against the judge's compute, one line for each generator, light for little compute.

    A ring marks a model that judges itself; bars are 95 % intervals.
    """
    colours = mpl.colormaps["cividis_r"]
    span = np.ptp(crossed.generator_x) or 1.0
    for row, generator in enumerate(crossed.generators):
        share = (crossed.generator_x[row] - crossed.generator_x.min()) / span
        hue = colours(0.25 + 0.75 * float(share))
        shift = 0.02 * (row - (len(crossed.generators) - 1) / 2) * max(float(np.ptp(crossed.judge_x)), 0.5)
        x, y = crossed.judge_x + shift, crossed.value[row]
        known = ~np.isnan(y)
        ax.plot(x[known], y[known], color=hue, linewidth=1.3, zorder=2)
        bars = np.abs(np.stack([y - crossed.low[row], crossed.high[row] - y]))[:, known]
        name = f"{label(_short(generator), 24)}, {10 ** crossed.generator_x[row]:.0e}"
        ax.errorbar(
            x[known], y[known], yerr=bars, fmt=marker(row), color=hue, elinewidth=1.0, label=name, zorder=3
        )
        for column, judge in enumerate(crossed.judges):
            if judge == generator and known[column]:
                ax.plot(x[column], y[column], "o", color=INK, markerfacecolor="none", markersize=11, zorder=4)
    ax.axhline(0.0, color=GREY, linewidth=1.0, zorder=1)
    ax.xaxis.set_major_locator(FixedLocator(crossed.judge_x.tolist()))
    ax.set_xticks(
        crossed.judge_x,
        [
            f"{label(_short(name), 24)}\n{10**x:.0e}"
            for name, x in zip(crossed.judges, crossed.judge_x, strict=True)
        ],
    )
    ax.margins(x=0.15)
    ax.set_xlabel("judge, pretraining FLOPs (to scale)")
    ax.set_ylabel(title)
    ax.set_title(domain_label(crossed.domain))
    return ax


@styled
def crossed_figure(crossed: CrossedCompute, *, title: str = "gap") -> Figure:
    """`plot_crossed_compute` with its legend."""
    figure = Figure(figsize=(max(1.9 * len(crossed.judges) + 1.6, 5.8), 3.9))
    ax = figure.subplots()
    plot_crossed_compute(crossed, ax, title=title)
    handles, names = ax.get_legend_handles_labels()
    handles.append(
        Line2D([], [], linestyle="none", marker="o", color=INK, markerfacecolor="none", markersize=10)
    )
    figure.legend(
        handles,
        [*names, "ring: judges itself"],
        title="generator",
        loc="outside upper left",
        ncols=2 if len(crossed.judges) < 4 else 3,
    )
    return figure


def _short(name: str) -> str:
    return name.rpartition("/")[2]
