"""Within-family permutation test of a slope, by enumeration, for at most eight models.

>>> round(permutation_p(np.array([0.0, 1.0, 2.0, 3.0]), np.arange(4.0), None, np.zeros(4, dtype=int)), 4)
0.0833
"""

from __future__ import annotations

from functools import lru_cache
from itertools import permutations, product

import numpy as np

from gapbench.panel import Float, Int
from gapbench.scaling.regression import regress

MOST = 8  # models: 8! = 40,320 orders at most


def permutation_p(y: Float, x: Float, variance: Float | None, groups: Int) -> float:
    """Share of all orders of the compute within families that give a slope as large in size; NaN beyond `MOST` models.

    Outcomes keep their weights, taken from the model without compute, so that every order is judged alike; the
    statistic is the size of the weighted slope in standard errors, which rises with (x'Wy)^2/(x'Wx). With a joint covariance the
    outcomes are not exchangeable to the letter, and the test is approximate.

    Parameters
    ----------
    y, x, groups
        Outcomes, log10 FLOPs and family codes from 0 without gaps [point].
    variance
        Known error variances [point], their covariance [point, point], or None.
    """
    if len(y) > MOST:
        return float("nan")
    dummies = np.eye(int(groups.max()) + 1)[groups]
    null = (
        1.0 if variance is None else regress(y, np.empty((len(y), 0)), variance=variance, groups=groups).tau2
    )
    known = np.zeros(len(y)) if variance is None else variance
    weights = np.linalg.pinv((np.diag(known) if known.ndim == 1 else known) + null * np.eye(len(y)))
    removed = weights @ dummies
    weights = weights - removed @ np.linalg.solve(dummies.T @ removed, removed.T)
    orders = x[_orders(tuple(groups.tolist()))]
    top = (orders @ (weights @ y)) ** 2
    bottom = np.einsum("ij,jk,ik->i", orders, weights, orders)
    statistic = top / np.maximum(bottom, np.finfo(float).tiny)
    return float(np.mean(statistic >= statistic[0] * (1 - 1e-9)))


@lru_cache(maxsize=64)
def _orders(groups: tuple[int, ...]) -> Int:
    """Every order of the places within groups, the observed one first [order, place]."""
    places = [[i for i, one in enumerate(groups) if one == group] for group in sorted(set(groups))]
    rows = []
    for choice in product(*(permutations(own) for own in places)):
        row = np.empty(len(groups), dtype=np.int64)
        for own, order in zip(places, choice, strict=True):
            row[own] = order
        rows.append(row)
    return np.stack(rows)
