"""Plots of what training did: series with their forecast, rounds of a loop, parts of a gain, pass@k before and after."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from gapbench.errors import UserError
from gapbench.estimate.results import Estimate, Estimates
from gapbench.interop.frame import need
from gapbench.loop.scoring import Point, Score
from gapbench.plots.frames import Document, estimates_of, outcomes_of
from gapbench.plots.layout import key
from gapbench.report import trajectory
from gapbench.report.style import colour, dashes, domain_label, label, marker, styled
from gapbench.report.view import OVERALL, View, drawable
from gapbench.trajectory.checkpoints import Checkpoints, Outcome
from gapbench.trajectory.forecast import Forecast
from gapbench.trajectory.projection import SeriesProjection

METHODS = ("series", "filter")  # the later one stands where both say something
SERIES = ("series", "t", "value", "se")
POINT = ("arm", "prompts", "domain", "t", "accuracy", "se")
SCORE = ("arm", "prompts", "domain", "origin", "t", "method", "value", "low", "high")


@styled
def plot_series(
    found: SeriesProjection, table: pd.DataFrame, ax: Axes, *, outcome: Sequence[tuple[float, float]] = ()
) -> Axes:
    """Draw a series, its forecast fan, plateau band and arrival, with its status in words.

    Parameters
    ----------
    found
        One of those that `gapbench.trajectory.series.project_series` gave.
    table
        What it was given: columns `series, t, value, se`, maybe `kind`.
    ax
        Drawn into.
    outcome
        What was measured later, as (time, value), drawn over the forecast.

    Raises
    ------
    UserError
        If the table lacks a column, or holds no such series.
    """
    need(table, SERIES, "series", "read_series(file)")
    kind = table["kind"].fillna("solver") if "kind" in table else pd.Series("solver", index=table.index)
    own = table[(table["series"].astype(str) == found.series) & (kind == found.kind)].sort_values("t")
    if own.empty:
        raise UserError(
            f"no series '{found.series}' of kind {found.kind} in the table; give the one that was projected"
        )
    t, value, se = (own[name].to_numpy(dtype=float) for name in SERIES[1:])
    return trajectory.plot_forecast(found, t, value, se, ax, outcome=outcome)


@styled
def plot_loop(
    points: pd.DataFrame | Sequence[Point],
    scores: pd.DataFrame | Sequence[Score],
    ax: Axes,
    *,
    arm: str,
    prompts: str = "held-out",
    domain: str = OVERALL,
) -> Axes:
    """Draw the accuracy that a loop's rounds had over the forecasts that were frozen before them.

    Parameters
    ----------
    points, scores
        `points.csv` and `scores.csv` of a loop's directory as frames, or `LoopResult.points` and `.scores`.
    ax
        Drawn into.
    arm
        Such as `gold`.
    prompts
        `practice` or `held-out`.
    domain
        A domain's name, or `all`.

    Raises
    ------
    UserError
        If a column is missing, or there is no such arm, set of prompts or domain.
    """
    measured, made = (one if isinstance(one, pd.DataFrame) else pd.DataFrame(one) for one in (points, scores))
    need(measured, POINT, "points", "pd.read_csv('LOOP/points.csv')")
    own = _of(measured, arm, prompts, domain).sort_values("t")
    if own.empty:
        held = measured[["arm", "prompts", "domain"]].drop_duplicates().to_records(index=False).tolist()
        raise UserError(f"no arm '{arm}' with {prompts} prompts in domain '{domain}'; there are: {held}")
    rounds = list(zip(*(own[name].astype(float).tolist() for name in ("t", "accuracy", "se")), strict=True))
    forecasts = []
    if len(made):
        need(made, SCORE, "scores", "pd.read_csv('LOOP/scores.csv')")
        ahead = _of(made, arm, prompts, domain)
        ahead = ahead[ahead["method"].isin(METHODS)]
        forecasts = [(origin, _from(ahead, origin, now)) for origin, now, _ in rounds]
    trajectory.plot_loop_outcome(rounds, [one for one in forecasts if len(one[1]) > 1], ax)
    ax.set_ylabel(f"accuracy, {domain_label(domain)}")
    return ax


def _from(ahead: pd.DataFrame, origin: float, now: float) -> list[Forecast]:
    """What was forecast at a round for later ones, from what was measured then."""
    found = {origin: Forecast(origin, now, now, now, "measured")}
    for method in METHODS:
        own = ahead[(ahead["origin"] == origin) & (ahead["method"] == method)]
        for t, value, low, high in own[["t", "value", "low", "high"]].to_numpy(dtype=float).tolist():
            found[t] = Forecast(t, value, low, high, method)
    return [found[t] for t in sorted(found)]


def _of(table: pd.DataFrame, arm: str, prompts: str, domain: str) -> pd.DataFrame:
    return table[(table["arm"] == arm) & (table["prompts"] == prompts) & (table["domain"] == domain)]


@styled
def plot_decomposition(data: Sequence[Outcome] | Document, ax: Axes) -> Axes:
    """Draw the gain of each domain as sharpened plus beyond less regressed, with 95 % intervals and the verdict.

    Parameters
    ----------
    data
        What `gapbench.trajectory.outcome.trajectory` gave, or the document of `gapbench trajectory --json`.
    ax
        Drawn into; about 0.8 inch of height a domain keep the bars apart.

    Raises
    ------
    UserError
        If the document holds no domains.
    """
    return trajectory.plot_decomposition(outcomes_of(data), ax)


@styled
def plot_pass_crossing(
    data: Checkpoints | Estimates | pd.DataFrame | Document,
    ax: Axes,
    *,
    tuned: Estimates | pd.DataFrame | Document | None = None,
    domain: str = OVERALL,
    names: tuple[str, str] = ("base", "tuned"),
) -> Axes:
    """Draw pass@k of a base and a tuned model, and where the base overtakes.

    Parameters
    ----------
    data
        Checkpoints of one domain (`gapbench.trajectory.runs.checkpoints_of`); or the base's estimates, their frame, or the
        document of `gapbench estimate --json`.
    ax
        Drawn into.
    tuned
        The same of the tuned model, where `data` are estimates.
    domain
        Of estimates: a domain's name, or `all`.
    names
        Of both models in the key, where `data` are estimates.

    Raises
    ------
    UserError
        If estimates of one model alone are given, or the two have no k in common.
    """
    if isinstance(data, Checkpoints):
        return trajectory.plot_pass_crossing(data, ax)
    if tuned is None:
        raise UserError("estimates of the base alone; give those of the tuned model as tuned=")
    sides = [_coverage(one, domain) for one in (data, tuned)]
    ks = sorted(sides[0].keys() & sides[1].keys())
    if not ks:
        raise UserError(f"no pass@k that both models have in domain '{domain}'")
    for index, (name, side) in enumerate(zip(names, sides, strict=True)):
        rows = [side[k] for k in ks]
        ax.fill_between(
            ks, [row.low for row in rows], [row.high for row in rows], color=colour(index), alpha=0.13, linewidth=0
        )  # fmt: skip
        line = (0, dashes(index)) if index else "-"
        ax.plot(
            ks, [row.value for row in rows], marker(index), color=colour(index), linestyle=line, markersize=4,
            label=f"{label(name)} (95 %)",
        )  # fmt: skip
    ahead = [
        k for place, k in enumerate(ks) if all(sides[0][j].value > sides[1][j].value for j in ks[place:])
    ]
    told = f"{label(names[0])} ahead from k = {ahead[0]}" if ahead else f"no crossing up to k = {ks[-1]}"
    ax.set_title(f"{domain_label(domain)}: {told}", fontsize="small", fontweight="normal")
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_locator(FixedLocator(ks))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    ax.set_xlabel("k, responses drawn for a prompt")
    ax.set_ylabel("pass@k")
    return key(ax, loc="lower right")


def _coverage(data: Estimates | pd.DataFrame | Document, domain: str) -> dict[int, Estimate]:
    rows = View(estimates_of(data)).curve(domain, "pass@k")
    return {row.n: row for row in rows if row.n is not None and drawable(row)}
