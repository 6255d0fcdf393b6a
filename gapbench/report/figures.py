"""Whole figures: the plots of a report with a panel for each domain, in sizes that keep labels apart.

>>> save_figure(gap_figure(estimates), "plots/gap_by_domain")  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from gapbench.estimate.results import Estimates
from gapbench.panel import Panel
from gapbench.report.panels import label_below, legend_above, panels
from gapbench.report.plots import plot_gap_by_domain, plot_score_distributions, plot_selection_curves
from gapbench.report.style import right_style, styled, wrong_style
from gapbench.report.view import OVERALL, View


@styled
def gap_figure(data: Estimates | pd.DataFrame) -> Figure:
    """`plot_gap_by_domain` in a figure of fitting height."""
    view = View(data)
    figure = Figure(figsize=(7.5, 1.3 + (len(view.domains) + 1) * max(0.32, 0.2 * len(view.judging))))
    plot_gap_by_domain(view.estimates, figure.subplots())
    return figure


@styled
def selection_figure(data: Estimates | pd.DataFrame) -> Figure:
    """`plot_selection_curves` for every domain and for all of them, one panel each."""
    view = View(data)
    domains = [*view.domains, OVERALL]
    figure, axes = panels(len(domains), 3.0, 2.2, more=0.9)
    for ax, domain in zip(axes, domains, strict=True):
        plot_selection_curves(view.estimates, ax, domain=domain)
    label_below(axes, "n, responses drawn for a prompt")
    figure.supylabel("accuracy after choosing", fontsize="medium")
    legend_above(figure, columns=min(4, len(axes) + 1))
    return figure


@styled
def score_figure(panels: Sequence[Panel], data: Estimates | pd.DataFrame) -> Figure:
    """`plot_score_distributions`, a row of panels for each domain and a column for each verifier."""
    view = View(data)
    verifiers = view.judging or view.verifiers or [""]
    figure = Figure(figsize=(max(2.9 * len(verifiers), 4.0), 0.8 + 1.75 * len(view.domains)))
    grid = figure.subplots(len(view.domains), len(verifiers), squeeze=False, sharex="col")
    for row, domain in zip(grid, view.domains, strict=True):
        for ax, verifier in zip(row, verifiers, strict=True):
            plot_score_distributions(panels, ax, verifier=verifier, domain=domain, estimates=view.estimates)
    figure.supxlabel("score", fontsize="medium")
    figure.supylabel("share of right, share of wrong responses", fontsize="medium")
    patches = [Patch(label="right", **right_style()), Patch(label="wrong", **wrong_style())]
    figure.legend(handles=patches, loc="outside upper left", ncols=2)
    return figure


def report_figures(data: Estimates | pd.DataFrame, panels: Sequence[Panel]) -> dict[str, Figure]:
    """The three figures of a report by the name of their file."""
    return {
        "gap_by_domain": gap_figure(data),
        "selection_curves": selection_figure(data),
        "score_distributions": score_figure(panels, data),
    }
