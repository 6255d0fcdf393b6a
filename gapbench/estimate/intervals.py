"""Standard errors and 95 % intervals for any quantity, over prompts or clusters of them, in one task or several.

The unit is the cluster. A task is a stratum: a domain's mean is the weighted mean of its tasks' means, and
resampling stays within a task. The default interval is the hull of the cluster-t interval (`t`) and the studentised
bootstrap (`bootstrap`; measurement.md, section 5). `betting` (`gapbench.estimate.betting`) is for plain means of one
task: where it does not apply the hull is given, with the flag `hull`, and where it does it stands in for an infinite
end of the hull.

>>> from gapbench.estimate.quantity import mean
>>> found = estimate(mean(np.ones(40), 0, 1))
>>> found.value, round(found.low, 3), found.flags
(1.0, 0.912, ('degenerate',))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import stdtrit

from gapbench.estimate.betting import betting_interval
from gapbench.estimate.quantity import Curve, CurveForm, Form, Quantity
from gapbench.estimate.resampling import Moments, Resampling
from gapbench.panel import Float, Int

Method = Literal["hull", "t", "bootstrap", "betting"]

ALPHA = 0.05
DESCRIPTIVE_BELOW = 20
EFFECTIVE_BELOW = 10.0
ROUND_OFF = 1e-12


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its standard error, 95 % interval and what qualifies it. NaN where not defined.

    Attributes
    ----------
    df
        Degrees of freedom: clusters - 1 in one task, Welch-Satterthwaite over several.
    n_prompts, n_clusters
        How many have the quantity.
    """

    value: float
    se: float
    low: float
    high: float
    df: float
    n_prompts: int
    n_clusters: int
    flags: tuple[str, ...] = ()


def estimate(
    quantity: Quantity | Curve, *, clusters: Int | None = None, seed: int = 0, method: Method = "hull"
) -> Interval:
    """Estimate a quantity on the prompts of one task.

    Parameters
    ----------
    quantity
        Its columns have shape [prompt].
    clusters
        Cluster code of each prompt; None where each prompt is its own.
    seed
        Seed of the bootstrap.
    method
        `hull` (default), `t`, `bootstrap` or `betting`.
    """
    units = np.arange(len(quantity.columns()[0])) if clusters is None else clusters
    return combine(Resampling(units, seed=seed).moments([quantity]), method=method)


def combine(
    strata: Sequence[Moments], weights: Sequence[float] | None = None, method: Method = "hull"
) -> Interval:
    """Estimate a quantity over tasks whose prompt means are weighed together.

    Parameters
    ----------
    strata
        The quantity's moments on each task.
    weights
        Weight of each task's mean; equal where None. They are scaled to sum to 1.
    method
        `hull` (default), `t`, `bootstrap` or `betting`.

    Raises
    ------
    ValueError
        If the strata do not hold the same quantity.
    """
    form = strata[0].form
    if any(stratum.form != form for stratum in strata):
        raise ValueError("the strata hold different quantities")
    share = np.ones(len(strata)) if weights is None else np.asarray(weights, dtype=float)
    share = share / share.sum()
    flags = ["descriptive"] if sum(s.n_clusters for s in strata) < DESCRIPTIVE_BELOW else []
    fewest = min(s.n_prompts for s in strata), min(s.n_clusters for s in strata)
    means = np.asarray(share @ np.stack([stratum.mean for stratum in strata]))
    if isinstance(form, CurveForm):
        value = float(form.function(means[1:])) if fewest[0] else float("nan")
        gradient, empty = np.zeros_like(means), False
        gradient[-1] = 1.0  # of the curve's last point, which says how far the prompts differ
    else:
        empty = bool((means[form.bottoms] == 0).any())
        point, gradient = form.evaluate(means)
        value = form.when_empty if empty else float(point)
    if fewest[0] == 0 or fewest[1] < 2 or not np.isfinite(value):
        kept = value if fewest[0] and np.isfinite(value) else float("nan")
        nan = float("nan")
        return _interval(strata, kept, nan, nan, nan, nan, [*flags, "not_estimable"])
    if empty:
        gradient = np.zeros_like(gradient)

    influence = [w / s.n_prompts * (s.residual @ gradient) for w, s in zip(share, strata, strict=True)]
    parts = np.array([s.correction * (psi**2).sum() for psi, s in zip(influence, strata, strict=True)])
    flat = np.array(
        [np.abs(psi).max() * s.n_clusters <= ROUND_OFF for psi, s in zip(influence, strata, strict=True)]
    )
    unseen = np.array(
        [
            _unseen(s, form, w, value, gradient)
            for w, s, alike in zip(share, strata, flat, strict=True)
            if alike
        ]
    ).reshape(-1, 2)
    below, above = np.sqrt((unseen**2).sum(axis=0))
    se, df = 0.0, float(sum(s.n_clusters for s in strata) - len(strata))
    if flat.all():
        flags.append("degenerate")
        ends = [(value, value)]
    else:
        psi = np.concatenate(influence)
        if _effective_number(psi) < EFFECTIVE_BELOW:
            flags.append("low_effective_prompts")
        se = float(np.sqrt(parts.sum()))
        df = float(
            parts.sum() ** 2 / sum(v**2 / (s.n_clusters - 1) for v, s in zip(parts, strata, strict=True))
        )
        if isinstance(form, CurveForm):
            se, ends = _of_curve(strata, share, form, value, df)
            flags += form.flags(means[1:])
        elif method == "betting" and (units := _units(strata, form)) is not None:
            ends = [betting_interval(units, form.low, form.high)]
        else:
            carrying = _effective(strata, share, psi)
            if form.carriers:
                df = max(1.0, min(df, _fewest(strata, share, form.carriers) - 1.0))
            ends = _hull(strata, share, means, value, se, df, method)
            if (
                method == "hull"
                and not np.isfinite(ends).all()
                and (units := _units(strata, form)) is not None
            ):
                ends = _finite(ends, betting_interval(units, form.low, form.high))
            if form.reach and carrying < DESCRIPTIVE_BELOW:
                away = form.reach * np.sqrt(
                    sum((w * _unseen_share(s)) ** 2 for w, s in zip(share, strata, strict=True))
                )
                ends.append((value - away, value + away))
            if method == "betting":
                flags.append("hull")
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    if flat.any():
        low, high = value - np.hypot(value - low, below), value + np.hypot(high - value, above)
        if not flat.all():
            flags.append("degenerate_task")
    low, high = max(low, form.low), min(high, form.high)
    span = form.high - form.low
    if high - low > (span / 2 if np.isfinite(span) else 1.0):
        flags.append("not_estimable")
    value = min(max(value, form.low), form.high)  # which corrections for bias may leave
    return _interval(strata, value, se, float(low), float(high), df, flags)


def _interval(
    strata: Sequence[Moments], value: float, se: float, low: float, high: float, df: float, flags: list[str]
) -> Interval:
    prompts, clusters = sum(s.n_prompts for s in strata), sum(s.n_clusters for s in strata)
    return Interval(value, se, low, high, df, prompts, clusters, tuple(flags))


def _unseen(
    stratum: Moments, form: Form | CurveForm, weight: float, value: float, gradient: Float
) -> tuple[float, float]:
    """How far down and up the value may go for what a task whose prompts are all alike has not shown.

    What is different may differ by all the room that the natural range leaves. Where the range is open, columns are
    taken to lie within 1 of what was seen, as utilities, weights and gaps do.
    """
    share = weight * _unseen_share(stratum)
    at = float(stratum.mean[form.terms[0][1]]) if isinstance(form, Form) and form.is_mean else value
    reach = float(np.abs(gradient[1:]).sum())
    down, up = at - form.low, form.high - at
    return share * (down if np.isfinite(down) else reach), share * (up if np.isfinite(up) else reach)


def _unseen_share(stratum: Moments) -> float:
    """Share pi = 1 - .025^(1/clusters) of a population that clusters may all miss (measurement.md, section 5)."""
    return float(1.0 - (ALPHA / 2) ** (1.0 / stratum.n_clusters))


def _effective_number(values: Float) -> float:
    """How many equally large values would weigh as these do: (sum|x|)^2 / sum x^2."""
    square = float((values**2).sum())
    return float(np.abs(values).sum() ** 2 / square) if square > 0 else np.inf


def _effective(strata: Sequence[Moments], share: Float, psi: Float) -> float:
    """Effective number of clusters behind the value, or behind the column that has fewest."""
    columns = np.concatenate(
        [w / s.n_prompts * s.residual[:, 1:] for w, s in zip(share, strata, strict=True)]
    )
    return min(_effective_number(psi), *(_effective_number(column) for column in columns.T))


def _fewest(strata: Sequence[Moments], share: Float, columns: Sequence[int]) -> float:
    """Effective number of clusters that hold the total of a column, of the column that has fewest."""
    held = [
        np.concatenate(
            [
                w / s.n_prompts * (s.residual[:, c] + s.count * s.mean[c])
                for w, s in zip(share, strata, strict=True)
            ]
        )
        for c in columns
    ]
    return min(_effective_number(column) for column in held)


def _units(strata: Sequence[Moments], form: Form) -> Float | None:
    """Independent bounded values whose plain mean is estimated, or None where the quantity is no such thing."""
    stratum = strata[0]
    count = stratum.count[stratum.count > 0]
    bounded = np.isfinite(form.high - form.low)
    if len(strata) > 1 or not form.is_mean or not bounded or np.ptp(count) > 0:
        return None
    column = form.terms[0][1]
    values = np.asarray(stratum.mean[column] + stratum.residual[stratum.count > 0, column] / count)
    # A correction for bias may take one prompt's value out of the range, and a bet on it could lose more than all.
    inside = (values >= form.low - ROUND_OFF).all() and (values <= form.high + ROUND_OFF).all()
    return np.clip(values, form.low, form.high) if inside else None


def _hull(
    strata: Sequence[Moments], share: Float, means: Float, value: float, se: float, df: float, method: Method
) -> list[tuple[float, float]]:
    ends = []
    if method != "bootstrap":
        reach = float(stdtrit(df, 1 - ALPHA / 2)) * se
        ends.append((value - reach, value + reach))
    if method != "t":
        lowest, highest = _studentised(strata, share, means, value, se)
        ends.append((value - highest * se, value - lowest * se))
    return ends


def _finite(ends: list[tuple[float, float]], bound: tuple[float, float]) -> list[tuple[float, float]]:
    """Ends with what holds at any sample size in place of what is infinite."""
    return [
        (low if np.isfinite(low) else bound[0], high if np.isfinite(high) else bound[1]) for low, high in ends
    ]


def _of_curve(
    strata: Sequence[Moments], share: Float, form: CurveForm, value: float, df: float
) -> tuple[float, list[tuple[float, float]]]:
    """Standard error over resamples; the t interval with it, and the percentiles of the resampled value.

    A function of a curve that may switch from one rule to another has no standard error in each resample, which a
    studentised interval would need.
    """
    drawn = np.zeros_like(strata[0].first)
    for weight, stratum in zip(share, strata, strict=True):
        shift = stratum.first / np.maximum(stratum.first[:, :1], 1.0)
        shift[:, 0] = 0.0
        drawn += weight * (stratum.mean + shift)
    values = form.function(drawn[:, 1:])
    se = float(values.std(ddof=1))
    reach = float(stdtrit(df, 1 - ALPHA / 2)) * se
    low, high = np.quantile(values, [ALPHA / 2, 1 - ALPHA / 2])
    return se, [(value - reach, value + reach), (float(low), float(high))]


def _studentised(
    strata: Sequence[Moments], share: Float, means: Float, value: float, se: float
) -> tuple[float, float]:
    """2.5 % and 97.5 % points of (resampled value - value) / (resampled se), infinite values included.

    A resample without variance counts as infinite with the sign of its deviation. One in which the quantity is
    undefined has no deviation, and counts as infinite on whichever side is being looked at.
    """
    form = strata[0].form
    assert isinstance(form, Form)
    shifts, drawn_means = [], np.zeros_like(strata[0].first)
    undefined = np.zeros(len(drawn_means), dtype=bool)
    for weight, stratum in zip(share, strata, strict=True):
        count = stratum.first[:, :1]
        undefined |= count[:, 0] == 0
        shift = stratum.first / np.maximum(count, 1.0)
        shift[:, 0] = 0.0
        shifts.append(shift)
        drawn_means += weight * (stratum.mean + shift)
    for bottom in form.bottoms:
        undefined |= np.abs(drawn_means[:, bottom]) <= ROUND_OFF * abs(means[bottom])
    drawn, gradient = form.evaluate(drawn_means)
    drawn[undefined], gradient[undefined] = value, 0.0

    variance = np.zeros(len(drawn))
    for weight, stratum, shift in zip(share, strata, shifts, strict=True):
        slope = gradient.copy()
        slope[:, 0] = -(gradient * shift).sum(axis=1)  # the residuals are taken about the resample's own mean
        square = np.einsum("bi,bij,bj->b", slope, stratum.second, slope)
        variance += stratum.correction * square * (weight / np.maximum(stratum.first[:, 0], 1.0)) ** 2

    deviation = drawn - value
    deviation[np.abs(deviation) <= ROUND_OFF * max(1.0, abs(value))] = 0.0
    still = variance <= ROUND_OFF * se**2
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(still, np.where(deviation == 0, 0.0, np.sign(deviation) * np.inf), deviation)
        t = np.where(still, t, deviation / np.sqrt(np.where(still, 1.0, variance)))
    rank = max(1, int((len(t) + 1) * ALPHA / 2))
    lowest = np.partition(np.where(undefined, -np.inf, t), rank - 1)[rank - 1]
    highest = np.partition(np.where(undefined, np.inf, t), -rank)[-rank]
    return float(lowest), float(highest)
