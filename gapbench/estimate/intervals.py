"""Standard errors and 95 % intervals for any quantity, over prompts or clusters of them, in one task or several.

The unit is the cluster. A task is a stratum: a domain's mean is the weighted mean of its tasks' means, and
resampling stays within a task. The default interval is the hull of the cluster-t interval and the studentised
bootstrap (measurement.md, section 5).

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
from scipy import stats

from gapbench.estimate.quantity import Quantity
from gapbench.estimate.resampling import Moments, Resampling
from gapbench.panel import Float, Int

Method = Literal["hull", "t", "bootstrap"]

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
    quantity: Quantity, *, clusters: Int | None = None, seed: int = 0, method: Method = "hull"
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
        `hull` (default), `t` or `bootstrap`.
    """
    units = np.arange(len(quantity.terms[0].top)) if clusters is None else clusters
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
        `hull` (default), `t` or `bootstrap`.

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
    n_prompts, n_clusters = sum(s.n_prompts for s in strata), sum(s.n_clusters for s in strata)
    flags = ["descriptive"] if n_clusters < DESCRIPTIVE_BELOW else []
    means = np.asarray(share @ np.stack([stratum.mean for stratum in strata]))
    bottoms = [bottom for _, _, bottom in form.terms if bottom > 0]
    empty = bool((means[bottoms] == 0).any())
    point, gradient = form.evaluate(means)
    value = form.when_empty if empty else float(point)
    if min(s.n_prompts for s in strata) == 0 or not np.isfinite(value):
        nan = float("nan")
        return Interval(nan, nan, nan, nan, nan, n_prompts, n_clusters, (*flags, "not_estimable"))
    if min(s.n_clusters for s in strata) < 2:
        nan = float("nan")
        return Interval(value, nan, nan, nan, nan, n_prompts, n_clusters, (*flags, "not_estimable"))

    influence = [
        w / s.n_prompts * (s.residual @ (np.zeros_like(gradient) if empty else gradient))
        for w, s in zip(share, strata, strict=True)
    ]
    parts = np.array([s.correction * (psi**2).sum() for psi, s in zip(influence, strata, strict=True)])
    flat = np.array(
        [np.abs(psi).max() * s.n_clusters <= ROUND_OFF for psi, s in zip(influence, strata, strict=True)]
    )
    df = float(n_clusters - len(strata))
    if flat.all():
        unseen = float(sum(w * _unseen(s.n_clusters) for w, s in zip(share, strata, strict=True)))
        se, low, high = 0.0, value - _span(unseen, value - form.low), value + _span(unseen, form.high - value)
        flags.append("degenerate")
    else:
        if flat.any():
            flags.append("degenerate_task")
        psi = np.concatenate(influence)
        if np.abs(psi).sum() ** 2 / (psi**2).sum() < EFFECTIVE_BELOW:
            flags.append("low_effective_prompts")
        se = float(np.sqrt(parts.sum()))
        df = float(
            parts.sum() ** 2 / sum(v**2 / (s.n_clusters - 1) for v, s in zip(parts, strata, strict=True))
        )
        ends = []
        if method in ("hull", "t"):
            reach = float(stats.t.ppf(1 - ALPHA / 2, df)) * se
            ends.append((value - reach, value + reach))
        if method in ("hull", "bootstrap"):
            lowest, highest = _studentised(strata, share, means, value, se)
            ends.append((value - highest * se, value - lowest * se))
        low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    low, high = max(low, form.low), min(high, form.high)
    span = form.high - form.low
    if high - low > (span / 2 if np.isfinite(span) else 1.0):
        flags.append("not_estimable")
    return Interval(value, se, low, high, df, n_prompts, n_clusters, tuple(flags))


def _unseen(clusters: int) -> float:
    """Largest share of other values that all `clusters` equal ones leave possible at 95 %."""
    return float(1.0 - (ALPHA / 2) ** (1.0 / clusters))


def _span(share: float, room: float) -> float:
    return share * room if room > 0 else 0.0


def _studentised(
    strata: Sequence[Moments], share: Float, means: Float, value: float, se: float
) -> tuple[float, float]:
    """2.5 % and 97.5 % points of (resampled value - value) / (resampled se), infinite values included.

    A resample without variance counts as infinite with the sign of its deviation. One in which the quantity is
    undefined has no deviation, and counts as infinite on whichever side is being looked at.
    """
    form = strata[0].form
    shifts, drawn_means = [], np.zeros_like(strata[0].first)
    undefined = np.zeros(len(drawn_means), dtype=bool)
    for weight, stratum in zip(share, strata, strict=True):
        count = stratum.first[:, :1]
        undefined |= count[:, 0] == 0
        shift = stratum.first / np.maximum(count, 1.0)
        shift[:, 0] = 0.0
        shifts.append(shift)
        drawn_means += weight * (stratum.mean + shift)
    for _, _, bottom in form.terms:
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
    lowest = np.sort(np.where(undefined, -np.inf, t))[rank - 1]
    highest = np.sort(np.where(undefined, np.inf, t))[-rank]
    return float(lowest), float(highest)
