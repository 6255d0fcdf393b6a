"""Thresholds and soft weights: what weighing responses by score does to their utility, one number per prompt.

Arrays are [prompt, response]; a NaN utility is a response that is not in the sample, and a NaN score one without a valid
verdict, which has no weight.

>>> utility, score = np.array([[1.0, 0.0, 1.0, 0.0]]), np.array([[0.9, 0.9, 0.1, np.nan]])
>>> weighted_gap(utility, passes(score, 0.5)).tolist(), threshold_at_n(utility, score, 0.95, 2).tolist()
([0.0], [0.5])
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from gapbench.estimate.rank_filters import log_choose
from gapbench.panel import Bool, Float

ROUND_OFF = 1e-14


def mean_response(values: Float, present: Bool) -> Float:
    """Mean over the responses of each prompt [prompt]; NaN where there is none."""
    size = present.sum(axis=1)
    return np.where(size > 0, np.where(present, values, 0.0).sum(axis=1) / np.maximum(size, 1), np.nan)


def passes(score: Float, threshold: float) -> Float:
    """Weight 1 where the score reaches the threshold, 0 where it does not or is missing."""
    return (score >= threshold).astype(float)


def soft_weights(score: Float, scale: Literal["probability", "logprob"], *, per_prompt: bool) -> Float:
    """Weight each response by its score, or by exp(score) on a log scale; a missing score weighs 0.

    Weights are divided by their largest, of the prompt or of all: ratios do not change, exp cannot underflow in
    all of a prompt, and equal scores weigh exactly 1.
    """
    valid = np.where(np.isnan(score), -np.inf, score)
    top = np.max(valid, axis=1, keepdims=True) if per_prompt else np.max(valid, keepdims=True)
    if scale == "logprob":
        return np.asarray(np.exp(valid - np.where(np.isfinite(top), top, 0.0)))
    return np.maximum(valid, 0.0) / np.where(top > 0, top, 1.0)


def weighted_gap(utility: Float, weights: Float) -> Float:
    """E[w u]/E[w] - E[u] for each prompt; 0 where nothing has weight (measurement.md, section 3)."""
    present = ~np.isnan(utility)
    mean = mean_response(utility, present)
    chosen = mean_response(weights * utility, present)
    total = mean_response(weights, present)
    return np.where(
        total > 0, chosen / np.where(total > 0, total, 1.0) - mean, np.where(np.isnan(mean), mean, 0.0)
    )


def corrected_gap(utility: Float, weights: Float) -> Float:
    """`weighted_gap` without its bias of order 1/N.

    E[w u]/E[w] is a ratio of two means over the same N responses, and so is biased. Leaving out each response in turn
    gives the bias and takes it away (the jackknife; Quenouille 1956, Biometrika 43). It is for weights that no
    response can be without, such as soft ones; a threshold that nothing passes cannot be mended so.
    """
    present = ~np.isnan(utility)
    size = present.sum(axis=1, keepdims=True)
    mean = mean_response(utility, present)
    weight = np.where(present, weights, 0.0)
    centred = np.where(present, utility - mean[:, None], 0.0)
    centred[np.abs(centred) < ROUND_OFF] = 0.0
    chosen = (weight * centred).sum(axis=1, keepdims=True)
    total = weight.sum(axis=1, keepdims=True)
    others = total - weight
    left = others > ROUND_OFF * total
    shift = -centred / np.maximum(size - 1, 1)  # of the mean, when one is left out
    without = np.where(left, (chosen - weight * centred) / np.where(left, others, 1.0) - shift, 0.0)
    whole = np.where(total > 0, chosen / np.where(total > 0, total, 1.0), 0.0)[:, 0]
    count = size[:, 0]
    bias = (count - 1) * (np.where(present, without, 0.0).sum(axis=1) / np.maximum(count, 1) - whole)
    gap = np.where(count > 1, whole - bias, 0.0)
    gap[np.abs(gap) < ROUND_OFF] = 0.0
    return np.where(count > 0, gap, np.nan)


def threshold_at_n(utility: Float, score: Float, threshold: float, n: int) -> Float:
    """Draw up to n responses until one passes, else keep any of them: expected utility of each prompt.

    (1-h) mean(u | pass) + h mean(u | fail) with h = C(N-c, n)/C(N, n), c the number that pass.

    Returns
    -------
    Array [prompt]; NaN where the prompt has fewer than n responses.
    """
    present = ~np.isnan(utility)
    passed = present & (score >= threshold)
    known = np.where(present, utility, 0.0)
    right, total = np.where(passed, known, 0.0).sum(axis=1), known.sum(axis=1)
    count, size = passed.sum(axis=1), present.sum(axis=1)
    if_pass = right / np.maximum(count, 1)
    if_fail = (total - right) / np.maximum(size - count, 1)
    none = np.exp(log_choose(size - count, n) - np.where(size >= n, log_choose(size, n), 0.0))
    return np.where(size >= n, (1 - none) * if_pass + none * if_fail, np.nan)
