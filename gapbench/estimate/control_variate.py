"""A dear measurement on some of the data, steadied by a cheap one on all of it.

Where a cheap number is known on every prompt and the dear one on a random part of them, the mean of the dear one is
corrected by how far the cheap one's mean on that part is from its mean on all (a control variate; in the words of
Angelopoulos et al. 2023, arXiv 2311.01453, prediction-powered inference). The same holds within a prompt, where the
cheap number can be had both from the responses that the dear one saw and from all responses. Whatever the cheap number
is, the correction has mean 0, since its coefficient is learnt on the other half of the prompts.

>>> rng = np.random.default_rng(0)
>>> cheap = rng.normal(size=400)
>>> dear = np.where(np.arange(400) < 100, cheap + 0.1 * rng.normal(size=400), np.nan)
>>> from gapbench.estimate.intervals import estimate
>>> bool(estimate(controlled(dear, cheap)).se < 0.6 * estimate(mean(dear)).se)
True
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gapbench.estimate.chosen import halves
from gapbench.estimate.coverage import coverage_order
from gapbench.estimate.quantity import Quantity, Term, mean
from gapbench.estimate.selection import BestOf, mean_response
from gapbench.panel import Bool, Float, Int

PROMPTS_PER_CONTROL = 10  # in each half, below which no coefficient is learnt
ROUND_OFF = 1e-10


def controlled(
    target: Float,
    control: Float,
    everywhere: Float | None = None,
    *,
    clusters: Int | None = None,
    low: float = -np.inf,
    high: float = np.inf,
    seed: int | Sequence[int] = 0,
) -> Quantity:
    """Mean of `target` over all prompts, from those where it was measured.

    Parameters
    ----------
    target
        [prompt]; NaN where it was not measured. Which prompts were measured must not depend on anything but what
        decides `control` for none of them: a random part of the prompts.
    control
        Cheap numbers [prompt] or [prompt, control], had from the same responses as `target`.
    everywhere
        The same numbers had from all responses of the prompt, in the mean equal to `control`; `control` itself where
        None. NaN for a prompt that is not in the sample at all.
    clusters
        Cluster code of each prompt; None where each prompt is its own.
    low, high
        Natural range of the quantity.
    seed
        Seed of the split into halves.

    Returns
    -------
    A quantity: mean over measured prompts of target - control b, plus mean over all prompts of everywhere b.

    Notes
    -----
    With n of P prompts measured, b = A^-1 B minimises the variance (the power tuning of Angelopoulos et al. 2023, arXiv
    2311.01453, section 6, for controls that also differ within a prompt):
    A = (1/n - 1/P) Cov(c) + Cov(c - e)/P, B = (1/n - 1/P) Cov(c, t) + Cov(c - e, t)/P.
    """
    cheap = control.reshape(len(target), -1)
    whole = cheap if everywhere is None else everywhere.reshape(len(target), -1)
    there = ~np.isnan(whole).any(axis=1)
    measured = there & ~np.isnan(target) & ~np.isnan(cheap).any(axis=1)
    codes = np.arange(len(target)) if clusters is None else clusters
    first = _alike_halves(codes, measured, seed)
    total, count = int(there.sum()), int(measured.sum())
    of_measured, of_all = np.zeros(len(target)), np.zeros(len(target))
    for half in (first, ~first):
        slope = _coefficient(target, cheap, whole, measured & ~half, 1 / max(count, 1), 1 / max(total, 1))
        of_measured[half], of_all[half] = cheap[half] @ slope, whole[half] @ slope
    of_all[~there] = np.nan
    if count == total:
        return mean(target + (of_all - of_measured), low, high)
    used = np.where(there, measured.astype(float), np.nan)
    residual = np.where(measured, target - of_measured, np.where(there, 0.0, np.nan))
    return Quantity((Term(1.0, residual, used), Term(1.0, of_all, None)), low, high)


def _alike_halves(clusters: Int, measured: Bool, seed: int | Sequence[int]) -> Bool:
    """Halves with as many measured clusters in the one as in the other, and as many without."""
    own = np.isin(clusters, clusters[measured])
    first = np.zeros(len(clusters), dtype=bool)
    for part in (own, ~own):
        first[part] = halves(clusters[part], seed=seed)
    return first


def _coefficient(
    target: Float, cheap: Float, whole: Float, rows: Bool, per_measured: float, per_prompt: float
) -> Float:
    """Coefficient of each control, learnt on `rows`; 0 where they are too few."""
    controls = cheap.shape[1]
    if rows.sum() < PROMPTS_PER_CONTROL * controls:
        return np.zeros(controls)
    t, c = target[rows] - target[rows].mean(), cheap[rows] - cheap[rows].mean(axis=0)
    within = c - (whole[rows] - whole[rows].mean(axis=0))
    between = per_measured - per_prompt
    a = between * c.T @ c + per_prompt * within.T @ within
    b = between * c.T @ t + per_prompt * within.T @ t
    scale = np.sqrt(np.maximum(np.diag(a), np.finfo(float).tiny))
    found = np.linalg.lstsq(a / np.outer(scale, scale), b / scale, rcond=ROUND_OFF)[0]
    return np.asarray(found / scale)


def grade_controls(utility: Float, n: int) -> Float:
    """What grades alone say about how much there is to gain: controls that cost no verdict [prompt, 3].

    Whether a prompt's responses differ at all, their variance, and the gap of best@n by a perfect verifier; all are 0
    where the responses are unanimous, as the gap is.
    """
    present = ~np.isnan(utility)
    size = present.sum(axis=1)
    centred = np.where(present, utility - mean_response(utility, present)[:, None], 0.0)
    variance = (centred**2).sum(axis=1) / np.maximum(size - 1, 1)
    mixed = (variance > 0).astype(float)
    oracle = coverage_order(utility).rank(utility).gap([BestOf(n)])[:, 0]
    return np.column_stack([mixed, variance, oracle])
