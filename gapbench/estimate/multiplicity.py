"""Many comparisons at once: adjusted p-values, and estimates that borrow from one another.

>>> adjusted([0.01, 0.04, 0.03], "holm").round(3).tolist()
[0.03, 0.06, 0.06]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from gapbench.panel import Float

Adjust = Literal["holm", "bh"]

SHRINK_FROM = 4  # rows


def adjusted(p: Sequence[float], method: Adjust = "holm") -> Float:
    """p-values adjusted for how many there are [comparison]; NaN is no member of the family and stays.

    Parameters
    ----------
    method
        `holm` bounds the chance of any false positive (Holm 1979, Scandinavian Journal of Statistics 6(2)), `bh` the
        share of false ones among the positives (Benjamini and Hochberg 1995, JRSS B 57(1)).
    """
    found = np.asarray(p, dtype=float).copy()
    members = np.flatnonzero(~np.isnan(found))
    order = members[np.argsort(found[members], kind="stable")]
    ranks = np.arange(1, len(order) + 1)
    if method == "holm":
        stepped = np.maximum.accumulate(found[order] * (len(order) + 1 - ranks))
    else:
        stepped = np.minimum.accumulate((found[order] * len(order) / ranks)[::-1])[::-1]
    found[order] = np.minimum(stepped, 1.0)
    return found


def shrunken(values: Sequence[float], errors: Sequence[float], *, towards_zero: bool) -> Float:
    """Empirical-Bayes means of noisy values, for display only [value].

    value_i ~ N(theta_i, se_i^2) with theta_i ~ N(mu, tau^2); given is the estimate of E[theta_i | value_i]. tau^2 by the
    method of moments (DerSimonian and Laird 1986, Controlled Clinical Trials 7(3)). The errors are taken as independent.

    Parameters
    ----------
    towards_zero
        Take mu = 0, for differences whose sign is a matter of naming; by default mu is estimated.

    Returns
    -------
    NaN where a value has no standard error, and everywhere where fewer than 4 have one.
    """
    value, variance = np.asarray(values, dtype=float), np.asarray(errors, dtype=float) ** 2
    result = np.full(len(value), np.nan)
    usable = np.isfinite(value) & (variance > 0)
    if np.count_nonzero(usable) < SHRINK_FROM:
        return result
    y, v = value[usable], variance[usable]
    w = 1 / v
    centre = 0.0 if towards_zero else float((w * y).sum() / w.sum())
    freedom = len(y) if towards_zero else len(y) - 1
    scale = w.sum() if towards_zero else w.sum() - (w**2).sum() / w.sum()
    tau2 = max(0.0, float(((w * (y - centre) ** 2).sum() - freedom) / scale))
    if not towards_zero:
        centre = float((y / (v + tau2)).sum() / (1 / (v + tau2)).sum())
    result[usable] = centre + tau2 / (tau2 + v) * (y - centre)
    return result
