"""Coverage beyond the data: what pass@k may be at k > N.

The point is a straight line of log(-log pass@k) on log k over k = 1, 2, 4, ..., N, unweighted (a power law of -log pass@k;
Brown et al. 2024, arXiv:2407.21787, section 3.1); its band is the 5-95 % range of that line over resampled prompts. Two
models of how the prompts' pass rates are spread are shown beside it as sensitivity: beta-binomial, and the same with a share
of prompts that cannot be solved at all. Which of the three is right the data below N cannot tell: where a fifth of the prompts are
impossible, the line and the beta-binomial promise them all the same.

>>> ks = np.array([1, 2, 4, 8])
>>> law = np.exp(-0.9 * ks**-0.4)
>>> round(float(extended(law, ks, [64])[0]), 4) == round(float(np.exp(-0.9 * 64**-0.4)), 4)
True
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import betaln, expit, logit

from gapbench.panel import Float, Int

BAND = (0.05, 0.95)
BOUND = 12.0  # of the logs of the beta's parameters, and of the logit of the impossible share


def extended(curve: Float, ks: Int, beyond: Sequence[int]) -> Float:
    """pass@k at larger k by the straight line.

    Parameters
    ----------
    curve
        pass@k at `ks` [..., k].
    ks
        1, 2, 4, ... up to N.
    beyond
        Where it is wanted.

    Returns
    -------
    Array [..., beyond]; never below the last measured point. 1 where that is 1; NaN where fewer than two points of the curve
    lie between 0 and 1, which has no line.
    """
    curve = np.asarray(curve, dtype=float)
    usable = (curve > 0) & (curve < 1)
    y = np.log(-np.log(np.where(usable, curve, 0.5)))
    x = np.broadcast_to(np.log(ks), y.shape)
    count = usable.sum(axis=-1, keepdims=True)
    weight = usable / np.maximum(count, 1)
    x_mean, y_mean = ((weight * one).sum(axis=-1, keepdims=True) for one in (x, y))
    spread = (weight * (x - x_mean) ** 2).sum(axis=-1, keepdims=True)
    slope = (weight * (x - x_mean) * (y - y_mean)).sum(axis=-1, keepdims=True) / np.where(
        spread > 0, spread, 1.0
    )
    line = y_mean + slope * ([math.log(k) for k in beyond] - x_mean)  # n^T may exceed every float
    found = np.maximum(np.exp(-np.exp(np.minimum(line, 700.0))), curve[..., -1:])
    found = np.where(count >= 2, found, np.nan)
    return np.asarray(np.where(curve[..., -1:] >= 1, 1.0, found))


@dataclass(frozen=True, slots=True)
class PassRates:
    """Pass rates spread as (1 - impossible) Beta(a, b), the rest being 0."""

    a: float
    b: float
    impossible: float = 0.0

    def coverage(self, ks: Sequence[int]) -> Float:
        """pass@k [k] = (1 - impossible) (1 - B(a, b + k)/B(a, b))."""
        missed = np.exp(betaln(self.a, self.b + np.asarray(ks, dtype=float)) - betaln(self.a, self.b))
        return np.asarray((1.0 - self.impossible) * (1.0 - missed))


def fitted_rates(right: Int, size: Int, weight: Float | None = None, *, impossible: bool) -> PassRates | None:
    """Pass rates by maximum likelihood.

    Parameters
    ----------
    right, size
        Right responses of each prompt, and all of them [prompt].
    weight
        Of each prompt in the likelihood; equal where None.
    impossible
        Whether a share of prompts may have a rate of 0 (zero-inflated).

    Returns
    -------
    None where all responses are right or all wrong, or no prompt has two of them: nothing says how the rates are spread.
    """
    kept = size > 0
    pairs, place = np.unique(np.column_stack([right[kept], size[kept]]), axis=0, return_inverse=True)
    held = np.bincount(place.ravel(), weights=None if weight is None else weight[kept]).astype(float)
    c, n = pairs.T.astype(float) if len(pairs) else np.zeros((2, 0))
    if not (c > 0).any() or (c == n).all() or n.max() < 2:
        return None

    def loss(parameters: Float) -> float:
        a, b = np.exp(parameters[:2])
        log = betaln(a + c, b + n - c) - betaln(a, b)
        if impossible:
            share = expit(parameters[2])
            log = np.logaddexp(np.log1p(-share) + log, np.where(c == 0, np.log(share), -np.inf))
        return float(-(held @ log) / held.sum())

    rate = float(np.clip((held @ c) / (held @ n), 1e-4, 1 - 1e-4))
    starts = [np.log([scale * rate, scale * (1 - rate)]) for scale in (0.5, 4.0)]
    if impossible:
        none = float(held[c == 0].sum() / held.sum())
        starts = [
            np.append(one, logit(np.clip(share * none, 0.01, 0.95))) for one in starts for share in (0.1, 0.9)
        ]
    fits = [minimize(loss, one, method="L-BFGS-B", bounds=[(-BOUND, BOUND)] * len(one)) for one in starts]
    best = min(fits, key=lambda fit: float(fit.fun)).x
    a, b = (float(one) for one in np.exp(best[:2]))
    return PassRates(a, b, float(expit(best[2])) if impossible else 0.0)
