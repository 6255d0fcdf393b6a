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

from gapbench.estimate.quantity import Curve, CurveForm
from gapbench.estimate.selection import BestOf, Order
from gapbench.estimate.tally import Tally
from gapbench.panel import Bool, Float, Scores, VerdictCounts

ROUND_OFF = 1e-12
THINNINGS = 64
"""With as many the Monte-Carlo error widens no interval by more than 4 % at any m < M = 8 and N = 32, 128 or 1000 in any
scenario of `gapbench.synthetic`: in the mid scenario by .4 % (m = 1, N = 32) and less, without signal by most."""
COSTLY_THINNINGS = 16  # where every response is thinned and sorted
CELLS_IN_ALL = 100_000_000
TALLIES_PER_RESPONSE = 2  # up to which tallies cost less than responses
OFFSETS: Float = np.concatenate([[0.0], np.geomspace(0.05, 64.0, 48)])


def gap_by_verdicts(
    utility: Float, scores: Scores | VerdictCounts, n: int, *, seed: int | Sequence[int] = 0
) -> Float:
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
        Seed of the thinnings. Their number is 64 where utilities and verdicts take few values; else 16, or less for very
        large arrays.

    Returns
    -------
    Array [prompt, m] for m = 1..M; NaN where a prompt has fewer than n responses.
    """
    total = scores.replicates
    rng = np.random.default_rng(seed)
    counted = scores.counts
    if counted is not None:
        values = np.unique(utility[~np.isnan(utility)])
        if len(values) * (total + 1) <= TALLIES_PER_RESPONSE * utility.shape[1]:
            return _tallied(Tally.of(utility, values, counted), n, rng)
    thinnings = int(np.clip(CELLS_IN_ALL // (utility.size * total), 1, COSTLY_THINNINGS))
    if counted is not None:
        thinned = _by_counts(counted, thinnings, rng)
    else:
        assert isinstance(scores, Scores)
        thinned = _by_replicates(scores.values, thinnings, rng)
    gaps = np.zeros((len(utility), total))
    uses = np.zeros(total)
    for m, score in thinned:
        order = Order.of(score, ~np.isnan(utility))
        gaps[:, m - 1] += order.rank(utility).gap([BestOf(n)])[:, 0]
        uses[m - 1] += 1
    return np.asarray(gaps / uses)


def _tallied(tally: Tally, n: int, rng: np.random.Generator) -> Float:
    total = len(tally.planes) - 1
    curve = np.zeros((len(tally.planes[0]), total))
    curve[:, -1] = tally.gap(n)
    for _ in range(THINNINGS):
        left = tally
        for m in range(total - 1, 0, -1):
            left = left.thinned(rng)
            curve[:, m - 1] += left.gap(n) / THINNINGS
    return curve


def _by_counts(
    counts: VerdictCounts, thinnings: int, rng: np.random.Generator
) -> Iterator[tuple[int, Float]]:
    """Take one verdict of each response away after the other: yields (m, mean of the m that are left)."""
    yield counts.replicates, counts.mean
    for _ in range(thinnings):
        yes, valid = counts.yes.astype(np.int32), counts.valid.astype(np.int32)
        for m in range(counts.replicates - 1, 0, -1):
            over = valid > m
            yes -= over & (rng.random(yes.shape) * valid < yes)
            valid -= over
            yield m, VerdictCounts(yes, valid, m).mean


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


@dataclass(frozen=True, eq=False)
class Limit:
    """g(m) = limit + b/(m + c), fitted to each curve.

    Attributes
    ----------
    limit, b, c
        Each [...]. Where the curve does not rise as the model has it, the limit is g(M), and b and c are 0.
    rising
        Whether the curve is increasing and concave [...].
    """

    limit: Float
    b: Float
    c: Float
    rising: Bool


def extrapolate(curve: Float) -> Limit:
    """Take m to infinity by g(m) = g_inf + b/(m + c), c >= 0, fitted by least squares to g(1), ..., g(M).

    Parameters
    ----------
    curve
        [..., m].

    Notes
    -----
    For a given c the model is linear, so that c is searched on a grid. The fitted curve is increasing and concave
    exactly if b < 0; at the largest c of the grid it is as good as straight, and has no limit to speak of. Either way
    g_inf = g(M) (measurement.md, section 4).
    """
    total = curve.shape[-1]
    if total == 1:
        none = np.zeros(curve.shape[:-1])
        return Limit(curve[..., 0], none, none, none.astype(bool))
    offsets = OFFSETS if total > 2 else OFFSETS[:1]  # two points leave c open
    x = 1.0 / (np.arange(1, total + 1)[:, None] + offsets)
    spread = x - x.mean(axis=0)
    level = curve.mean(axis=-1, keepdims=True)
    slopes = (curve - level) @ (spread / (spread**2).sum(axis=0))
    explained = slopes**2 * (spread**2).sum(axis=0)
    chosen = explained.argmax(axis=-1)
    slope = np.take_along_axis(slopes, chosen[..., None], axis=-1)[..., 0]
    rising = (slope < -ROUND_OFF) & ((chosen < len(offsets) - 1) | (total == 2))
    limit = level[..., 0] - slope * x.mean(axis=0)[chosen]
    return Limit(
        np.where(rising, limit, curve[..., -1]),
        np.where(rising, slope, 0.0),
        np.where(rising, offsets[chosen], 0.0),
        rising,
    )


def limit_of(curve: Float) -> Curve:
    """gap[best@n] at endlessly many verdicts, from its values [prompt, m] at m = 1..M; to be resampled whole."""
    return Curve(curve, CurveForm(_limit, _limit_flags, -1.0, 1.0))


def _limit(curve: Float) -> Float:
    return extrapolate(curve).limit


def _limit_flags(curve: Float) -> tuple[str, ...]:
    return () if extrapolate(curve).rising else ("not_extrapolated",)
