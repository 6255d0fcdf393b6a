"""Numbers of responses and thresholds chosen on the data: chosen on one half of the prompts, scored on the other.

What looks best on the data at hand looks better than it is. Every prompt is therefore scored at the choice that the
other half of the prompts made, so that the mean over all prompts is free of it (cross-fitting).

>>> curve = np.repeat([[0.4, 0.6, 0.5]], 40, axis=0)
>>> halves(np.arange(40), seed=0).mean(), best_points([curve], [1.0])
(np.float64(0.5), 1)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gapbench.panel import Bool, Float, Int

RESAMPLES = 1999
ROUND_OFF = 1e-12


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


def likely_best(
    curves: Sequence[Float],
    weights: Sequence[float],
    clusters: Sequence[Int],
    *,
    seed: int,
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
    clusters
        Cluster of each prompt of each task [prompt].
    seed
        Seed of the bootstrap.
    """
    share = np.asarray(weights) / np.sum(weights)
    means = _mean_curve(curves, share)
    rng = np.random.default_rng(seed)
    points = len(means)
    noise, covariance = np.zeros((RESAMPLES, points)), np.zeros((points, points))
    for weight, curve, codes in zip(share, curves, clusters, strict=True):
        whole = ~np.isnan(curve).any(axis=1)
        number, code = np.unique(codes[whole], return_inverse=True)
        size = len(number)
        if size < 2:
            return 0, points - 1
        sums = np.zeros((size, points))
        np.add.at(sums, code.ravel(), curve[whole] - curve[whole].mean(axis=0))
        sums *= weight / whole.sum()
        noise += rng.multinomial(size, np.full(size, 1.0 / size), size=RESAMPLES) @ sums
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
