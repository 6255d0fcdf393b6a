"""Plots of what one frozen model's run says of later rounds: reserves, forecast and coverage beyond the responses drawn.

Filled and drawn through is measured, dashed or hatched is projected, dotted on grey is a scenario.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from gapbench.plots.frames import Document, projection_of, reserves_of
from gapbench.plots.layout import key
from gapbench.projection.results import Projection
from gapbench.report import projection as projected
from gapbench.report.style import INK, PAPER, label, styled
from gapbench.report.view import OVERALL


@styled
def plot_reserves(data: Projection | pd.DataFrame | Document, ax: Axes, *, verifier: str) -> Axes:
    """Draw the reserves of every domain for one verifier: by coverage, as measured, and identified for the loop.

    Parameters
    ----------
    data
        What `gapbench.projection.project.project_run` gave, its frame, or the document of `gapbench project RUN --json`.
    ax
        Drawn into; about 0.5 inch of height a domain keep the bars apart.
    verifier
        Whose scores choose.

    Raises
    ------
    UserError
        If the frame lacks a column, or the document holds no projection.
    """
    projected.plot_reserves(reserves_of(data), ax, verifier=verifier)
    ax.set_xlabel("gain in accuracy (95 % interval)")
    (_, _, grey), (_, _, blue), (_, _, orange) = projected.RESERVES
    bars = [
        Patch(facecolor=grey, edgecolor=grey, alpha=0.75, label="coverage (measured)"),
        Patch(facecolor=blue, edgecolor=blue, alpha=0.75, label="best@n (measured)"),
        Patch(facecolor=PAPER, edgecolor=orange, hatch="////", label="loop (projected)"),
    ]
    return key(ax, more=bars, beside=True)


@styled
def plot_forecast(data: Projection | Document, ax: Axes, *, domain: str = OVERALL) -> Axes:
    """Draw accuracy against rounds of the loop in one domain, up to the horizon that the responses show, and past it.

    Up to the horizon a line with its band for each verifier; past it, on grey, scenarios: the judge held at what was seen,
    coverage as a cap, and at the right edge where a judge would end that improves by 0, .25 or .5 for each point of accuracy.

    Parameters
    ----------
    data
        What `gapbench.projection.project.project_run` gave, or the document of `gapbench project RUN --json`. Of a forecast
        kept in a run, `read_forecast(file).projection`.
    ax
        Drawn into; the key stands to its right.
    domain
        A domain's name, or `all`.

    Raises
    ------
    UserError
        If the document holds no projection.
    """
    found = projection_of(data)
    projected.plot_forecast(found, ax, domain=domain)
    ax.set_xlabel(f"rounds of {label(found.filter)}")
    ax.set_ylabel("accuracy")
    if not ax.lines:
        return ax
    dotted = Line2D(
        [], [], color=INK, linestyle=(0, (1, 1.5)), linewidth=1.2, label="held at best@N (scenario)"
    )
    rhos = [
        Line2D(
            [], [], color=INK, marker=sign, markerfacecolor=PAPER, markersize=4, linestyle="none",
            label=f"judge gains {rho:g} a point (scenario)",
        )
        for rho, sign in projected.MARKS.items()
    ]  # fmt: skip
    return key(ax, more=[dotted, *rhos], beside=True)


@styled
def plot_coverage(data: Projection | Document, ax: Axes, *, domain: str = OVERALL) -> Axes:
    """Draw pass@k in one domain: measured up to N, and beyond it, on grey, the line with its 90 % band and other models.

    Parameters
    ----------
    data
        As for `plot_forecast`; points beyond N are there where they were asked for (`ks`, `--k`).
    ax
        Drawn into.
    domain
        A domain's name, or `all`.

    Raises
    ------
    UserError
        If the document holds no projection.
    """
    projected.plot_coverage(projection_of(data), ax, domain=domain)
    ax.set_xlabel("k, responses drawn for a prompt")
    ax.set_ylabel("coverage, pass@k")
    return key(ax, loc="lower right")


def reserve_figure(data: Projection | pd.DataFrame | Document) -> Figure:
    """`plot_reserves`, one panel a verifier."""
    return projected.reserve_figure(reserves_of(data))


def forecast_figure(data: Projection | Document) -> Figure:
    """`plot_forecast` for every domain and all of them, one panel each, with one key."""
    return projected.forecast_figure(projection_of(data))


def coverage_figure(data: Projection | Document) -> Figure:
    """`plot_coverage` for every domain and all of them, one panel each, with one key."""
    return projected.coverage_figure(projection_of(data))
