"""Plots of scaling laws: a quantity against pretraining compute, its slopes, and what the absolute gap does meanwhile."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gapbench.plots.frames import Document, scaling_of, slopes_of
from gapbench.plots.layout import key
from gapbench.report import scaling_plots
from gapbench.report.style import GREY, INK, colour, dashes, label, marker, styled
from gapbench.scaling.crossed import CrossedCompute
from gapbench.scaling.points import Points
from gapbench.scaling.scale import Scaling
from gapbench.scaling.slopes import Slopes


@styled
def plot_scaling(data: Scaling | Points | pd.DataFrame, ax: Axes, *, domain: str, gap: bool = False) -> Axes:
    """Draw a domain's points against pretraining FLOPs, each family with its line and 95 % band.

    Parameters
    ----------
    data
        What `gapbench.scaling.scale.scale` gave; or points, or their table (`domain, model, family, flops, value`, maybe `se`
        and `accuracy`), which are fitted first.
    ax
        Drawn into.
    domain
        One of the points' domains.
    gap
        Draw the absolute gap, without lines.

    Raises
    ------
    UserError
        If the table lacks a column or nothing in it can be fitted.
    """
    scaling = scaling_of(data)
    scaling_plots.plot_scaling(scaling, ax, domain=domain, gap=gap)
    ax.set_xlabel("pretraining FLOPs")
    families = [
        Line2D(
            [], [], color=colour(place), marker=marker(place), label=label(family),
            linestyle="none" if gap else (0, dashes(place)) if dashes(place) else "-",
        )
        for place, family in enumerate(scaling.points.families)
        if family in scaling.points.where(domain=domain).families
    ]  # fmt: skip
    ax.legend(handles=families, fontsize="small")
    return ax


@styled
def plot_slopes(data: Scaling | Slopes | pd.DataFrame | Document, ax: Axes) -> Axes:
    """Draw every slope per decade of FLOPs with its 95 % interval: families, pooled (square), over families (diamond).

    Hollow: the interval includes 0. An arrow: the interval goes on beyond the axis.

    Parameters
    ----------
    data
        What `gapbench.scaling.scale.scale` gave, its slopes, their frame, or the document of `gapbench scale --json`.
    ax
        Drawn into; about 0.25 inch of height a row keep labels apart (`slopes_figure`).

    Raises
    ------
    UserError
        If the frame lacks a column.
    """
    return scaling_plots.plot_slopes(slopes_of(data), ax)


@styled
def plot_absolute_gap(data: Scaling | Points | pd.DataFrame, ax: Axes, *, domain: str) -> Axes:
    """Draw the absolute gap of a domain against p(1 - p), families by marker and compute from light to dark.

    Parameters
    ----------
    data, ax, domain
        As for `plot_scaling`.

    Raises
    ------
    UserError
        As for `plot_scaling`.
    """
    scaling = scaling_of(data)
    scaling_plots.plot_absolute_gap(scaling, ax, domain=domain)
    ax.set_xlabel("p(1 − p), room to choose")
    families = [
        Line2D([], [], linestyle="none", marker=marker(place), color=GREY, label=label(family))
        for place, family in enumerate(scaling.points.families)
    ]
    shade = Line2D([], [], linestyle="none", label="lighter: less compute")
    return key(ax, more=[*families, shade])


@styled
def plot_crossed_compute(data: CrossedCompute, ax: Axes, *, title: str = "gap") -> Axes:
    """Draw the gap against the judge's compute, a line for each generator, light for little compute and dark for much.

    Parameters
    ----------
    data
        What `gapbench.scaling.crossed.crossed_compute` gave.
    ax
        Drawn into.
    title
        What the cells hold.
    """
    scaling_plots.plot_crossed_compute(data, ax, title=title)
    ring = Line2D(
        [], [], linestyle="none", marker="o", color=INK, markerfacecolor="none", markersize=10, label="judges itself"
    )  # fmt: skip
    return key(ax, more=[ring])


def scaling_figure(data: Scaling | Points | pd.DataFrame) -> Figure:
    """`plot_scaling` for every domain: what was fitted above, the absolute gap below where it is known."""
    return scaling_plots.scaling_figure(scaling_of(data))


def slopes_figure(data: Scaling | Slopes | pd.DataFrame | Document) -> Figure:
    """`plot_slopes` in a figure of fitting height."""
    return scaling_plots.slopes_figure(slopes_of(data))


def absolute_gap_figure(data: Scaling | Points | pd.DataFrame) -> Figure:
    """`plot_absolute_gap` for every domain, with the scale of its colours."""
    return scaling_plots.absolute_gap_figure(scaling_of(data))


def crossed_figure(data: CrossedCompute, *, title: str = "gap") -> Figure:
    """`plot_crossed_compute` with its key."""
    return scaling_plots.crossed_figure(data, title=title)
