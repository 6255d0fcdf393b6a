"""What fewer verdicts, or endlessly many, would find: gap[best@n, m] for m = 1..M and its limit.

M verdicts a response say what any m <= M of them would have done: binary verdicts are thinned,
k_m ~ Hypergeometric(k, M - k, m), and other scores are averaged over m of the M replicates. Both are unbiased for the
gap at m verdicts, whatever the number of thinnings; more of them only lower the noise.

>>> rng = np.random.default_rng(0)
>>> utility = np.repeat([[1.0, 1.0, 0.0, 0.0]], 500, axis=0)
>>> verdicts = (rng.random((500, 4, 2)) < 0.3 + 0.4 * utility[:, :, None]).astype(float)
>>> curve = gap_by_verdicts(utility, Scores(verdicts), 2).mean(axis=0)
>>> bool(0 < curve[0] < curve[1])
True
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from gapbench.estimate.quantity import Columns
from gapbench.estimate.selection import BestOf, Order
from gapbench.panel import Float, Int, Scores

THINNINGS = 16
CELLS_IN_ALL = 100_000_000  # responses x verdict numbers x thinnings; more than this and thinnings are saved
OFFSETS: Float = np.concatenate([[0.0], np.geomspace(0.05, 64.0, 48)])


def gap_by_verdicts(utility: Float, scores: Scores, n: int, *, seed: int | Sequence[int] = 0) -> Float:
    """Gap of best@n at every number of verdicts up to M.

    Parameters
    ----------
    utility
        [prompt, response], NaN for a response that is not in the sample.
    scores
        M replicates for each response. A response with fewer than m valid ones uses those it has.
    n
        Of best@n.
    seed
        Seed of the thinnings. The number of thinnings is 16, or less for very large arrays.

    Returns
    -------
    Array [prompt, m] for m = 1..M; NaN where a prompt has fewer than n responses.
    """
    total = scores.replicates
    rng = np.random.default_rng(seed)
    thinnings = int(np.clip(CELLS_IN_ALL // (utility.size * total), 1, THINNINGS))
    counted = scores.counts
    gaps = np.zeros((len(utility), total))
    uses = np.zeros(total)
    for m, score in (
        _by_counts(*counted, total, thinnings, rng)
        if counted is not None
        else _by_replicates(scores.values, thinnings, rng)
    ):
        order = Order.of(score, ~np.isnan(utility))
        gaps[:, m - 1] += order.rank(utility).gap([BestOf(n)])[:, 0]
        uses[m - 1] += 1
    return np.asarray(gaps / uses)


def _by_counts(
    yes: Int, valid: Int, total: int, thinnings: int, rng: np.random.Generator
) -> Iterator[tuple[int, Float]]:
    """Take one verdict of each response away after the other: yields (m, mean of the m that are left)."""
    for thinning in range(thinnings):
        left, size = yes.astype(np.int16), valid.astype(np.int16)
        for m in range(total, 0, -1):
            if m == total and thinning:
                continue  # nothing is taken away, so that one time is enough
            over = size > m
            left -= over & (rng.random(left.shape, dtype=np.float32) * size < left)
            size -= over
            yield m, np.where(size > 0, left / np.maximum(size, 1), np.nan)


def _by_replicates(values: Float, thinnings: int, rng: np.random.Generator) -> Iterator[tuple[int, Float]]:
    """Average over subsets of the replicates, all of them where they are few."""
    total = values.shape[2]
    for m in range(1, total + 1):
        if math.comb(total, m) <= thinnings:
            subsets = [list(chosen) for chosen in combinations(range(total), m)]
        else:
            subsets = [list(rng.choice(total, m, replace=False)) for _ in range(thinnings)]
        for chosen in subsets:
            yield m, Scores(values[:, :, chosen]).mean


@dataclass(frozen=True)
class Fit:
    """g(m) = limit + b/(m + c) for each curve.

    Attributes
    ----------
    limit, b, c
        Each [...]. Where the curve does not fit, `limit` is g(M), and b and c are 0.
    rising
        Whether the curve is increasing and concave, as the model has it, so that it could be fitted.
    """

    limit: Float
    b: Float
    c: Float
    rising: NDArrayBool


def extrapolate(curve: Float) -> Fit:
    """Fit g(m) = g_inf + b/(m + c), c >= 0, by least squares over m = 1..M, and take m to infinity.

    Parameters
    ----------
    curve
        g(1), ..., g(M) [..., m].

    Notes
    -----
    For given c the model is linear; c is searched on a grid from 0 to 64. A curve counts as increasing and concave
    when the best straight line in 1/(m + c) rises (b < 0) and c is not at the upper end of the grid, where the curve
    is straight and has no limit. Otherwise g_inf = g(M) (measurement.md, section 4).
    """
