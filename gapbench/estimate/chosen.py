"""Numbers of responses and thresholds chosen on the data: chosen on one half of the prompts, scored on the other.

What looks best on the data at hand looks better than it is. Every prompt is therefore scored at the choice that the
other half of the prompts made, so that the mean over all prompts is free of it (cross-fitting).

>>> curve = np.repeat([[0.4, 0.6, 0.5]], 40, axis=0)
>>> halves(np.arange(40), seed=0).mean(), best_points([curve], [1.0])
(np.float64(0.5), 1)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gapbench.estimate.intervals import Interval
from gapbench.estimate.resampling import Resampling
from gapbench.estimate.selection import passes, weighted_gap
from gapbench.panel import Bool, Float, Int

CANDIDATES = 32  # thresholds among which the best is looked for
ROUND_OFF = 1e-12
WIDEST = 1.0  # half the range of a difference of accuracies: an interval beyond it says nothing


def halves(clusters: Int, *, seed: int | Sequence[int]) -> Bool:
    """Split prompts at random into two halves of equally many clusters: True for the first [prompt]."""
    codes = np.unique(clusters, return_inverse=True)[1].ravel()
    count = int(codes.max(initial=-1)) + 1
    first = np.random.default_rng(seed).permutation(count) < (count + 1) // 2
    return np.asarray(first[codes])


def best_points(
    curves: Sequence[Float], weights: Sequence[float], among: Sequence[Bool] | None = None
) -> int:
    """Where the weighted mean of the tasks' mean curves is highest; the first such point.

    Parameters
    ----------
    curves
        For each task [prompt, point], NaN where a prompt has no such point.
    weights
        Weight of each task.
    among
        The prompts of each task that decide [prompt]; all where None.
    """
    chosen = among or [np.ones(len(curve), dtype=bool) for curve in curves]
    return int(np.argmax(_mean_curve([c[a] for c, a in zip(curves, chosen, strict=True)], weights)))


def cross_fitted(
    curves: Sequence[Float], weights: Sequence[float], first: Sequence[Bool]
) -> tuple[list[Float], tuple[int, int]]:
    """Score every prompt at the point that is best on the other half.

    Parameters
    ----------
    curves, weights
        As for `best_points`.
    first
        The half that each prompt of each task is in [prompt].

    Returns
    -------
    One column [prompt] for each task, and the points that the first and the second half chose.
    """
    by_first = best_points(curves, weights, first)
    by_second = best_points(curves, weights, [~half for half in first])
    columns = [
        np.where(half, curve[:, by_second], curve[:, by_first])
        for curve, half in zip(curves, first, strict=True)
    ]
    return columns, (by_first, by_second)


def with_points(found: Interval, points: Sequence[Interval]) -> Interval:
    """The interval of a cross-fitted quantity, widened to hold that of the points chosen.

    A half may hold so few prompts that carry the quantity (one in thirty, at accuracy .02) that the scored column hides
    how uncertain it is: where the half with those prompts was scored at a point without a gap, hardly anything varies.
    At a point held fixed all prompts tell. The mean of the two points' intervals holds the mean of their gaps whatever
    their correlation.

    Parameters
    ----------
    found
        The cross-fitted estimate.
    points
        The estimates at the points that the two halves chose, each over all prompts.
    """
    ends = np.array([[one.low, one.high] for one in points]).mean(axis=0)
    if np.isnan([found.low, *ends]).any():
        return found
    low, high = float(min(found.low, ends[0])), float(max(found.high, ends[1]))
    flags = dict.fromkeys(found.flags) | dict.fromkeys(("not_estimable",) if high - low > WIDEST else ())
    return replace(found, low=low, high=high, flags=tuple(flags))


def gap_at_chosen_threshold(utility: Float, score: Float, first: Bool) -> tuple[Float, tuple[float, float]]:
    """Gap of each prompt at the threshold that is best on the other half of the prompts.

    Parameters
    ----------
    utility, score
        [prompt, response].
    first
        The half that each prompt is in [prompt].

    Returns
    -------
    Array [prompt], and the thresholds that the first and the second half chose.
    """
    valid = score[~np.isnan(utility) & ~np.isnan(score)]
    thresholds = np.unique(np.quantile(valid, np.linspace(0, 1, CANDIDATES), method="nearest"))
    curve = np.column_stack([weighted_gap(utility, passes(score, t)) for t in thresholds])
    (column,), (by_first, by_second) = cross_fitted([curve], [1.0], [first])
    return column, (float(thresholds[by_first]), float(thresholds[by_second]))


def likely_best(
    curves: Sequence[Float],
    weights: Sequence[float],
    resampling: Sequence[Resampling],
    *,
    alpha: float = 0.05,
) -> tuple[int, int]:
    """First and last of the points that may be the best.

    A point stays if no other is better than it by more than chance: its largest studentised shortfall is held
    against the distribution of that maximum when the tasks' clusters are resampled about their means. The true best
    point stays with probability 1 - alpha, wherever the others lie.

    Parameters
    ----------
    curves, weights
        As for `best_points`.
    resampling
        The clusters of each task, and how they are resampled.
    """
    share = np.asarray(weights) / np.sum(weights)
    means = _mean_curve(curves, share)
    points = len(means)
    noise, covariance = np.zeros((resampling[0].resamples, points)), np.zeros((points, points))
    for weight, curve, drawn in zip(share, curves, resampling, strict=True):
        whole = np.asarray(~np.isnan(curve).any(axis=1))
        size = int(np.count_nonzero(drawn.sums(whole[:, None].astype(float))))
        if size < 2:
            return 0, points - 1
        centred = np.where(whole[:, None], curve - curve[whole].mean(axis=0), 0.0)
        sums = drawn.sums(centred) * weight / whole.sum()
        noise += drawn.weights @ sums
        covariance += sums.T @ sums * size / (size - 1)
    variance = np.diag(covariance)
    error = np.sqrt(np.maximum(variance[:, None] + variance - 2 * covariance, 0.0))
    best = int(np.argmax(means))
    stays = {best}
    for point in range(points):
        rivals = np.flatnonzero(error[point] > ROUND_OFF)
        behind = (means[rivals] - means[point]) / error[point, rivals]
        chance = (noise[:, rivals] - noise[:, [point]]) / error[point, rivals]
        bound = np.quantile(chance.max(axis=1, initial=-np.inf), 1 - alpha) if len(rivals) else 0.0
        if means[point] >= means[best] - ROUND_OFF or (len(rivals) and (behind <= bound).all()):
            stays.add(point)
    return min(stays), max(stays)


def _mean_curve(curves: Sequence[Float], weights: Sequence[float]) -> Float:
    """Weighted mean of mean curves; a point that some task has for no prompt is never the best."""
    total = np.zeros(curves[0].shape[1])
    for weight, curve in zip(weights, curves, strict=True):
        there = ~np.isnan(curve)
        count = there.sum(axis=0)
        mean = np.where(there, curve, 0.0).sum(axis=0) / np.maximum(count, 1)
        total += weight * np.where(count > 0, mean, -np.inf)
    return total
