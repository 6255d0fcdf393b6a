"""The figures of `gapbench project --series` and `gapbench trajectory`, by the name of their file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gapbench.report.panels import grid, legend_above
from gapbench.report.style import domain_label, styled
from gapbench.report.trajectory import (
    plot_decomposition,
    plot_forecast,
    plot_loop_outcome,
    plot_pass_crossing,
)
from gapbench.report.view import OVERALL
from gapbench.trajectory.checkpoints import Checkpoints, Outcome
from gapbench.trajectory.forecast import Forecast
from gapbench.trajectory.projection import SeriesProjection
from gapbench.trajectory.scored import ForecastScore

T = TypeVar("T")


def series_figures(table: pd.DataFrame, found: Sequence[SeriesProjection]) -> dict[str, Figure]:
    """Every series of a table with its forecast, plateau and arrival.

    Parameters
    ----------
    table, found
        What `gapbench.trajectory.series.project_series` was given, and what it gave.
    """
    kinds = table["kind"].fillna("solver") if "kind" in table else pd.Series("solver", index=table.index)

    def draw(one: SeriesProjection, ax: Axes) -> None:
        own = table[(table["series"].astype(str) == one.series) & (kinds == one.kind)].sort_values("t")
        t, value, se = (own[name].to_numpy(float) for name in ("t", "value", "se"))
        plot_forecast(one, t, value, se, ax)
        ax.set_ylabel(f"{domain_label(one.series)}, {one.kind}")

    return {"series": _grid(found, draw)}


def trajectory_figures(
    domains: Sequence[Checkpoints], found: Sequence[Outcome], scores: Sequence[ForecastScore]
) -> dict[str, Figure]:
    """Decomposition of the gain, pass@k of base and tuned, accuracy over the checkpoints, and what forecasts came to.

    Parameters
    ----------
    domains, found
        What `gapbench.trajectory.outcome.trajectory` was given, and what it gave.
    scores
        Of forecasts, maybe none: then there is no figure of them.
    """
    pairs = list(zip(domains, found, strict=True))

    def accuracy(pair: tuple[Checkpoints, Outcome], ax: Axes) -> None:
        plot_forecast(pair[1].plateau, *_series(pair[0]), ax)
        ax.set_ylabel(f"accuracy, {domain_label(pair[0].domain)}")

    def forecasts(case: tuple[Checkpoints, str], ax: Axes) -> None:
        data, verifier = case
        own = [one for one in scores if (one.domain, one.verifier) == (data.domain, verifier)]
        plot_loop_outcome(np.stack(_series(data), axis=1).tolist(), _by_origin(own), ax)
        ax.set_xlabel("t, on the clock of the checkpoints")
        ax.set_ylabel(f"accuracy, {domain_label(data.domain)}\nforecasts by {verifier or 'no verifier'}")

    figures = {
        "decomposition": _decomposition(found),
        "pass_crossing": _grid(domains, plot_pass_crossing),
        "checkpoints": _grid(pairs, accuracy),
    }
    cases = [
        (data, verifier)
        for data in domains
        for verifier in dict.fromkeys(one.verifier for one in scores if one.domain == data.domain != OVERALL)
    ]
    if cases:
        figures["forecasts"] = _one_legend(_grid(cases, forecasts))
    return figures


@styled
def _decomposition(found: Sequence[Outcome]) -> Figure:
    figure = Figure(figsize=(5.4, 1.2 + 0.75 * len(found)))
    plot_decomposition(found, figure.subplots())
    return figure


@styled
def _grid(cases: Sequence[T], draw: Callable[[T, Axes], object]) -> Figure:
    return grid(cases, draw, panel=(4.4, 3.4))


@styled
def _one_legend(figure: Figure) -> Figure:
    legend_above(figure, columns=4)
    return figure


def _series(data: Checkpoints) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Time, accuracy and standard error over prompts of each checkpoint."""
    value, covariance = data.accuracy()
    return data.times, value, np.sqrt(np.diag(covariance))


def _by_origin(scores: Sequence[ForecastScore]) -> list[tuple[float, list[Forecast]]]:
    """Of each origin the forecasts of its last projection, and before them what was measured there."""
    found: dict[float, dict[float, Forecast]] = {}
    for one in sorted(scores, key=lambda one: one.made):
        now = one.outcome + one.last  # where the band begins, so that a single forecast has one
        own = found.setdefault(one.origin, {one.origin: Forecast(one.origin, now, now, now, "measured")})
        own[one.t] = Forecast(one.t, one.value, one.low, one.high, one.filter)
    return [(origin, [own[t] for t in sorted(own)]) for origin, own in sorted(found.items())]
