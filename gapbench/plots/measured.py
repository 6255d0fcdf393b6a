"""Plots of what one run measured: gaps, selection curves, ROC curves and distributions of scores."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from gapbench.errors import UserError
from gapbench.estimate.results import Estimates
from gapbench.estimate.roc import roc_pooled, roc_within, scored
from gapbench.panel import Panel
from gapbench.plots.frames import Document, estimates_of, panels_of
from gapbench.plots.layout import key
from gapbench.report import figures, plots
from gapbench.report.panels import grid
from gapbench.report.style import (
    GREY,
    PAPER,
    colour,
    dashes,
    domain_label,
    label,
    marker,
    right_style,
    styled,
    wrong_style,
)
from gapbench.report.view import OVERALL, View, drawable

Kind = Literal["within", "pooled"]
ROC_COLUMNS = ("domain", "verifier", "kind", "fpr", "tpr", "low", "high", "blind", "auc")


@styled
def plot_gap_by_domain(data: Estimates | pd.DataFrame | Document, ax: Axes) -> Axes:
    """Draw the headline gap of every domain and verifier with its 95 % interval.

    Domains are sorted by their largest gap, all of them together below. A hollow marker: the interval includes 0. What is not
    estimable stands in words.

    Parameters
    ----------
    data
        Estimates of one model, their frame, or the document of `gapbench estimate RUN --json`.
    ax
        Drawn into; about 0.2 inch of height for each domain and verifier keep labels apart (`gap_figure`).

    Raises
    ------
    UserError
        If `data` holds no or several models, or lacks a column.
    """
    return plots.plot_gap_by_domain(estimates_of(data), ax)


@styled
def plot_selection_curves(
    data: Estimates | pd.DataFrame | Document, ax: Axes, *, domain: str = OVERALL
) -> Axes:
    """Draw accuracy against n in one domain: best@n of each verifier, majority@n, and pass@n, the ceiling.

    Bands are 95 % intervals. A verifier that sees the whole pool is a single point at n = N.

    Parameters
    ----------
    data
        As for `plot_gap_by_domain`.
    ax
        Drawn into; the key stands to its right.
    domain
        A domain's name, or `all`.

    Raises
    ------
    UserError
        If `data` holds no or several models, or lacks a column.
    """
    plots.plot_selection_curves(estimates_of(data), ax, domain=domain)
    ax.set_xlabel("n, responses drawn for a prompt")
    ax.set_ylabel("accuracy after choosing")
    return key(ax, beside=True)


@styled
def plot_score_distributions(
    data: Sequence[Panel] | pd.DataFrame,
    ax: Axes,
    *,
    verifier: str,
    domain: str,
    estimates: Estimates | pd.DataFrame | Document | None = None,
) -> Axes:
    """Draw how a verifier's scores are distributed for right responses (filled) and for wrong ones (hatched).

    Parameters
    ----------
    data
        Panels (`Run(...).panels()`), or a frame with a row for each verdict and the columns `domain, prompt_id, utility,
        verifier, score`; optionally `task`, `response` and `cluster`.
    ax
        Drawn into.
    estimates
        Gives the AUC within prompts for the title.

    Raises
    ------
    UserError
        If the frame lacks a column, or holds what is no number.
    """
    held = None if estimates is None else estimates_of(estimates)
    plots.plot_score_distributions(panels_of(data), ax, verifier=verifier, domain=domain, estimates=held)
    if ax.patches:
        ax.set_xlabel("score")
        ax.set_ylabel("share of right, of wrong")
        patches = [Patch(label="right", **right_style()), Patch(label="wrong", **wrong_style())]
        ax.legend(handles=patches, loc="upper left", bbox_to_anchor=(0.0, 0.93), fontsize="small")
    return ax


def roc_frame(
    data: Sequence[Panel] | pd.DataFrame,
    *,
    domain: str = OVERALL,
    verifiers: Sequence[str] | None = None,
    kind: Kind = "within",
) -> pd.DataFrame:
    """ROC curves as a frame, for `plot_roc` or any other use.

    Parameters
    ----------
    data
        As for `plot_score_distributions`.
    domain
        A domain's name, or `all`: domains weigh equally, and the tasks of a domain do.
    verifiers
        Only these; all where None.
    kind
        `within`: the mean of the prompts' own curves, weighed by pairs, whose area is `auc_within`. `pooled`: one threshold
        for all prompts.

    Returns
    -------
    Columns `domain, verifier, kind, fpr, tpr, low, high, blind, auc`, 201 rows a curve; `low` and `high` are pointwise 95 %
    intervals (within prompts only), `blind` is what random scores would give, `auc` the area under the curve. A verifier without right-wrong pairs has no rows.

    Raises
    ------
    UserError
        If there is no such domain or verifier.
    """
    panels = [panel for panel in panels_of(data) if domain in (OVERALL, panel.domain)]
    if not panels:
        raise UserError(f"no domain '{domain}' here; name one of the panels' domains, or '{OVERALL}'")
    known = list(dict.fromkeys(name for panel in panels for name in panel.scores))
    if absent := [name for name in verifiers or () if name not in known]:
        raise UserError(f"no verifier '{absent[0]}' in domain '{domain}'; there are: {', '.join(known)}")
    curves = []
    for verifier in known if verifiers is None else verifiers:
        own = [panel for panel in panels if verifier in panel.scores]
        tasks = Counter(panel.domain for panel in own)
        weights = [1.0 / tasks[panel.domain] for panel in own]
        draw = roc_within if kind == "within" else roc_pooled
        curve = draw([scored(panel, verifier) for panel in own], weights)
        if curve is not None:
            words = {"domain": domain, "verifier": verifier, "kind": kind}
            numbers = {"fpr": curve.fpr, "tpr": curve.tpr, "low": curve.low, "high": curve.high}
            area = {"blind": curve.blind, "auc": curve.area}
            curves.append(pd.DataFrame({**words, **numbers, **area}))
    return pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(columns=list(ROC_COLUMNS))


@styled
def plot_roc(
    data: Sequence[Panel] | pd.DataFrame,
    ax: Axes,
    *,
    domain: str = OVERALL,
    verifiers: Sequence[str] | None = None,
    kind: Kind = "within",
    estimates: Estimates | pd.DataFrame | Document | None = None,
) -> Axes:
    """Draw ROC curves of the verifiers in one domain, with 95 % bands within prompts.

    The grey line is what random scores would give: the diagonal if pooled, within prompts a little flatter, the more so the
    fewer responses a prompt has. Pooled curves have a marker where the verifier's own threshold lies, with the intervals of
    both rates, if `estimates` are given.

    Parameters
    ----------
    data
        As for `plot_score_distributions`, or a frame by `roc_frame`.
    ax
        Drawn into, as a square.
    domain, verifiers, kind
        As for `roc_frame`.
    estimates
        Gives the AUC within prompts with its interval for the key, in place of the area that is drawn, and the rates.

    Raises
    ------
    UserError
        As `roc_frame` does.
    """
    if isinstance(data, pd.DataFrame) and "fpr" in data.columns:
        known = list(dict.fromkeys(data["verifier"]))
        curves = data[(data["domain"] == domain) & (data["kind"] == kind)]
        if verifiers is not None:
            curves = curves[curves["verifier"].isin(verifiers)]
    else:
        panels = panels_of(data)
        known = list(dict.fromkeys(name for panel in panels for name in panel.scores))
        curves = roc_frame(panels, domain=domain, verifiers=verifiers, kind=kind)
    view = None if estimates is None else View(estimates_of(estimates))
    for place, (name, curve) in enumerate(curves.groupby("verifier", sort=False)):
        if not place:
            ax.plot(curve["fpr"], curve["blind"], color=GREY, linewidth=1.0, zorder=1)
        index = known.index(name)  # a verifier looks the same whatever others are drawn
        hue, line = colour(index), dashes(index)
        fpr, tpr, low, high = (curve[one].to_numpy(dtype=float) for one in ("fpr", "tpr", "low", "high"))
        if kind == "within":
            ax.fill_between(fpr, low, high, color=hue, alpha=0.12, linewidth=0)
        ax.plot(
            fpr, tpr, color=hue, linestyle=(0, line) if line else "-", marker=marker(index), markersize=4,
            markevery=(8 + 3 * index, 40), label=f"{label(str(name))}: {_area(view, domain, str(name), kind, curve)}",
        )  # fmt: skip
        if view is not None and kind == "pooled":
            _threshold(ax, view, domain, str(name), index)
    if curves.empty:
        ax.text(
            0.5, 0.4, "no prompt has right and wrong responses", ha="center", color=GREY, fontstyle="italic"
        )
    ax.set_aspect("equal")
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    ax.set_xlabel("share of wrong responses that pass")
    ax.set_ylabel("share of right responses that pass")
    ax.set_title(f"{domain_label(domain)}, {'within prompts' if kind == 'within' else 'pooled'}")
    return key(ax, loc="lower right")


def _area(view: View | None, domain: str, verifier: str, kind: Kind, curve: pd.DataFrame) -> str:
    row = None if view is None or kind == "pooled" else view.get(domain, "auc_within", verifier)
    if row is not None and drawable(row):
        return f"AUC {row.value:.2f} [{row.low:.2f}, {row.high:.2f}]"
    return f"AUC {float(curve['auc'].iloc[0]):.2f}"


def _threshold(ax: Axes, view: View, domain: str, verifier: str, index: int) -> None:
    tpr, fpr = (view.get(domain, name, verifier, filter="threshold") for name in ("tpr", "fpr"))
    if tpr is None or fpr is None or not math.isfinite(tpr.value + fpr.value):
        return
    hue = colour(index)
    for rate, ends in ((tpr, [fpr.value] * 2), (fpr, [tpr.value] * 2)):
        if drawable(rate):
            across = (ends, [rate.low, rate.high]) if rate is tpr else ([rate.low, rate.high], ends)
            ax.plot(*across, color=hue, linewidth=1.2)
    ax.plot(fpr.value, tpr.value, marker(index), color=hue, markerfacecolor=PAPER, markersize=8, zorder=4)


def gap_figure(data: Estimates | pd.DataFrame | Document) -> Figure:
    """`plot_gap_by_domain` in a figure of fitting height."""
    return figures.gap_figure(estimates_of(data))


def selection_figure(data: Estimates | pd.DataFrame | Document) -> Figure:
    """`plot_selection_curves` for every domain and for all of them, one panel each, with one key."""
    return figures.selection_figure(estimates_of(data))


def score_figure(
    data: Sequence[Panel] | pd.DataFrame, estimates: Estimates | pd.DataFrame | Document
) -> Figure:
    """`plot_score_distributions`, a row of panels for each domain and a column for each verifier."""
    return figures.score_figure(panels_of(data), estimates_of(estimates))


@styled
def roc_figure(
    data: Sequence[Panel] | pd.DataFrame,
    estimates: Estimates | pd.DataFrame | Document | None = None,
    *,
    kind: Kind = "within",
) -> Figure:
    """`plot_roc` for every domain and for all of them, one panel each."""
    panels = panels_of(data)
    held = None if estimates is None else estimates_of(estimates)
    domains = list(dict.fromkeys(panel.domain for panel in panels))

    def draw(domain: str, ax: Axes) -> None:
        plot_roc(panels, ax, domain=domain, kind=kind, estimates=held)
        ax.set(xlabel="", ylabel="")

    figure = grid([*domains, OVERALL] if len(domains) > 1 else domains, draw, panel=(3.3, 3.2))
    figure.supxlabel("share of wrong responses that pass", fontsize="medium")
    figure.supylabel("share of right responses that pass", fontsize="medium")
    return figure
