"""Figures of series and checkpoints: forecast, outcome, decomposition, pass@k.

Each function takes an `ax`, draws one thing and gives the `ax` back. A measurement is a point or a full line, a
projection is dashed with a band, and what is not identified is named in words and never drawn as a number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from gapbench.estimate.coverage import pass_at_k
from gapbench.panel import Float
from gapbench.report.style import GREY, INK, PAPER, colour, domain_label, marker, styled
from gapbench.report.trajectory_text import status_words
from gapbench.trajectory.beyond import RIGHT
from gapbench.trajectory.checkpoints import Checkpoints, Outcome, pass_curves
from gapbench.trajectory.forecast import Forecast
from gapbench.trajectory.projection import NOTHING_LEFT, SeriesProjection

REACH = 1.96
MEASURED, PROJECTED, OUTCOME, PLATEAU = colour(0), colour(0), colour(1), colour(2)
PARTS = (("sharpened", colour(5), ""), ("beyond", colour(2), ""), ("regressed", colour(1), "////"))


@styled
def plot_forecast(
    found: SeriesProjection,
    t: Float,
    value: Float,
    se: Float,
    ax: Axes,
    *,
    outcome: Sequence[tuple[float, float]] = (),
) -> Axes:
    """Draw a series, its forecast fan, plateau band and arrival.

    Parameters
    ----------
    found
        The projection, with forecasts where there are any.
    t, value, se
        The series [point].
    outcome
        What was measured later, as (time, value), drawn over the forecast.
    """
    ax.errorbar(
        t,
        value,
        REACH * se,
        fmt="o",
        color=MEASURED,
        markersize=4,
        linewidth=1.2,
        label="measured (95 %)",
        zorder=3,
    )
    if found.forecast:
        _fan(ax, found, float(t[-1]), float(value[-1]))
    if math.isfinite(found.plateau_low) and math.isfinite(found.plateau_high):
        ax.axhspan(
            found.plateau_low,
            found.plateau_high,
            color=PLATEAU,
            alpha=0.13,
            linewidth=0,
            label="plateau (95 %)",
        )
    else:
        for bound, name in ((found.plateau_low, "plateau at least"), (found.plateau_high, "plateau at most")):
            if math.isfinite(bound):
                ax.axhline(bound, color=PLATEAU, linestyle=(0, (5, 1.5)), linewidth=1.2, label=name)
    last = max([float(t[-1]), *(one.t for one in found.forecast), *(one[0] for one in outcome)])
    words = [status_words(found)]
    if "claims_withheld" in found.flags:
        words.append(f"no date: the last value forecast better (MASE {found.rolling.mase:.2f})")
    if found.status == "identified" and abs(found.reserve) < NOTHING_LEFT:
        words.append("nothing is left by the best law")
    if math.isfinite(found.t95):
        words.append(
            f"95 % of the reserve by t = {found.t95:.3g} [{found.t95_low:.3g}, {found.t95_high:.3g}]"
        )
        if found.t95 <= last:
            ax.axvline(found.t95, color=PLATEAU, linewidth=1.0, linestyle=(0, (1.5, 1.2)))
    if outcome:
        times, seen = zip(*outcome, strict=True)
        ax.plot(
            times,
            seen,
            "s",
            color=OUTCOME,
            markersize=5,
            markerfacecolor=PAPER,
            label="measured later",
            zorder=4,
        )
    ax.set_title("\n".join(words), fontsize="small", fontweight="normal")
    ax.set_xlabel("t, on the clock of the series")
    ax.set_ylabel("gap" if found.kind == "gap" else "accuracy")
    ax.yaxis.set_major_locator(MaxNLocator(5))
    ax.legend(loc="lower right")
    return ax


def _fan(ax: Axes, found: SeriesProjection, last: float, value: float) -> None:
    made = sorted(found.forecast, key=lambda one: one.t)
    times = [last, *(one.t for one in made)]
    ax.fill_between(
        times,
        [value, *(one.low for one in made)],
        [value, *(one.high for one in made)],
        color=PROJECTED,
        alpha=0.16,
        linewidth=0,
        label="forecast (95 %)",
    )
    ax.plot(times, [value, *(one.value for one in made)], color=PROJECTED, linestyle=(0, (5, 1.5)))


@styled
def plot_loop_outcome(
    measured: Sequence[tuple[float, float, float]],
    forecasts: Sequence[tuple[float, Sequence[Forecast]]],
    ax: Axes,
) -> Axes:
    """Draw what a loop did over the forecasts that were frozen before it did.

    Parameters
    ----------
    measured
        (round, value, standard error), in order.
    forecasts
        (round it was made at, its forecasts).
    """
    rounds, values, errors = (np.array(one, dtype=float) for one in zip(*measured, strict=True))
    for place, (origin, made) in enumerate(forecasts):
        hue = colour(place + 1)
        times = [one.t for one in made]
        ax.fill_between(
            times, [one.low for one in made], [one.high for one in made], color=hue, alpha=0.12, linewidth=0
        )
        start = float(np.interp(origin, rounds, values))
        ax.plot(
            [origin, *times],
            [start, *(one.value for one in made)],
            color=hue,
            linestyle=(0, (5, 1.5)),
            marker=marker(place + 1),
            markersize=4,
            label=f"forecast from round {origin:g}",
        )
    ax.errorbar(
        rounds, values, REACH * errors, fmt="o-", color=INK, markersize=4, label="measured (95 %)", zorder=4
    )
    ax.set_xlabel("round")
    ax.set_ylabel("accuracy")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return ax


@styled
def plot_decomposition(outcomes: Sequence[Outcome], ax: Axes) -> Axes:
    """Draw the gain of each domain as sharpened plus beyond less regressed, with 95 % intervals and the verdict.

    Beyond that could not be tested is named, and not drawn as 0.
    """
    step = 0.26
    for place, found in enumerate(reversed(outcomes)):
        parts = found.decomposition
        for index, (name, hue, hatch) in enumerate(PARTS):
            share, sign = getattr(parts, name), -1.0 if name == "regressed" else 1.0
            y = place + step * (1 - index) + 0.08
            if not math.isfinite(share.value):
                ax.annotate(
                    f"{name}: not tested",
                    (0, y),
                    (4, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize="small",
                    color=GREY,
                )
                continue
            ax.barh(
                y,
                sign * share.value,
                step * 0.85,
                facecolor=hue if not hatch else "none",
                edgecolor=hue,
                hatch=hatch,
            )
            ax.plot([sign * share.low, sign * share.high], [y, y], color=INK, linewidth=1.2)
        gain = parts.gain
        ax.plot([gain.value] * 2, [place - 0.32, place + 0.46], color=INK, linewidth=1.6)
    ax.axvline(0.0, color=GREY, linewidth=1.0)
    ax.set_yticks(
        range(len(outcomes)), [f"{domain_label(one.domain, 20)}\n{one.label}" for one in reversed(outcomes)]
    )
    ax.tick_params(axis="y", length=0)
    ax.grid(False, axis="y")
    ax.set_xlabel("part of the gain in accuracy (95 % interval); black line: gain")
    handles = [
        Patch(facecolor=hue if not hatch else "none", edgecolor=hue, hatch=hatch, label=name)
        for name, hue, hatch in PARTS
    ]
    ax.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    return ax


@styled
def plot_pass_crossing(data: Checkpoints, ax: Axes) -> Axes:
    """Draw pass@k of base and tuned model, and where the base overtakes.

    The band is 1.96 standard errors over prompts.
    """
    ks, base, tuned = pass_curves(data)
    for index, (name, mean, utility) in enumerate(
        (("base", base, data.utility[0]), ("tuned", tuned, data.utility[-1]))
    ):
        error = REACH * _coverage_error(utility, ks)
        ax.fill_between(ks, mean - error, mean + error, color=colour(index), alpha=0.13, linewidth=0)
        ax.plot(
            ks,
            mean,
            "os"[index],
            color=colour(index),
            linestyle=("-", (0, (5, 1.5)))[index],
            markersize=4,
            label=name,
        )
    above = base > tuned
    lasting = [k for place, k in enumerate(ks) if above[place:].all()]
    ax.set_title(
        f"{domain_label(data.domain)}: "
        + (f"base ahead from k = {lasting[0]}" if lasting else "no crossing up to k = N"),
        fontsize="small",
        fontweight="normal",
    )
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_locator(FixedLocator(ks))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    ax.set_xlabel("k, responses drawn for a prompt")
    ax.set_ylabel("pass@k")
    ax.legend(loc="lower right")
    return ax


def _coverage_error(utility: Float, ks: Sequence[int]) -> Float:
    found = pass_at_k(np.where(np.isnan(utility), np.nan, utility >= RIGHT), ks)
    if len(found) < 2:
        return np.full(len(ks), np.nan)
    return np.asarray(found.std(axis=0, ddof=1) / np.sqrt(len(found)))
