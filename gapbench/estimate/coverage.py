"""What is in the sample to be found: pass@k, and what a vote over the answers finds.

>>> pass_at_k(np.array([[1.0, 0.0, 0.0, 0.0]]), [1, 2, 4]).tolist()
[[0.25, 0.5, 1.0]]
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from gapbench.estimate.selection import BestOf, Order, by_size
from gapbench.panel import Float, Int

PERMUTATIONS = 200
CELLS_PER_BATCH = 2_000_000
CELLS_IN_ALL = 200_000_000


def pass_at_k(utility: Float, ks: Sequence[int]) -> Float:
    """Expected best utility among k responses drawn without replacement [prompt, k].

    For binary utilities it is 1 - C(N-c, k)/C(N, k) with c right of N (Chen et al. 2021, arXiv 2107.03374,
    eq. 1), and it is the ceiling of best@k for any utility in [0, 1]. NaN where N_i < k.
    """
    return coverage_order(utility).rank(utility).select([BestOf(k) for k in ks])


def coverage_order(utility: Float) -> Order:
    """Responses in order of their utility, as an oracle would rank them."""
    return Order.of(utility, ~np.isnan(utility))


def majority_at_n(utility: Float, answers: Int, ns: Sequence[int], *, seed: int | Sequence[int] = 0) -> Float:
    """Expected utility of the answer that most of n responses give [prompt, n].

    Ties are split equally. A response without an answer (code -1) does not vote; where none of the n votes, one
    of them is taken at random. Responses that agree may differ in utility: their mean counts.

    All subsets are averaged where there are at most 200; else 200 seeded permutations, whose prefixes serve
    every n (fewer for very large arrays, where averaging over prompts makes up for it; never biased, and the
    added noise is part of the spread between prompts that the interval is made of).

    Parameters
    ----------
    utility
        [prompt, response], NaN for a response that is not in the sample.
    answers
        Codes [prompt, response], equal within a prompt where answers agree.
    ns
        Numbers of responses that vote.
    seed
        Seed of the permutations.

    Returns
    -------
    Array [prompt, n]; NaN where N_i < n.
    """
    present = ~np.isnan(utility)
    in_front = np.argsort(~present, axis=1, kind="stable")
    rng = np.random.default_rng(seed)
    out = np.full((len(utility), len(ns)), np.nan)
    for size, rows in by_size(present.sum(axis=1)):
        index = in_front[rows, :size]
        clusters, means = _clusters(
            np.take_along_axis(answers[rows], index, axis=1), np.take_along_axis(utility[rows], index, axis=1)
        )
        found = np.full((len(clusters), len(ns)), np.nan)
        sampled = []
        for column, n in enumerate(ns):
            if n <= size and math.comb(size, n) <= PERMUTATIONS:
                subsets = [clusters[:, list(chosen)] for chosen in combinations(range(size), n)]
                found[:, column] = np.mean(
                    [_elect(_count(subset, means), means) for subset in subsets], axis=0
                )
            elif n <= size:
                sampled.append(column)
        if sampled:
            draws = int(np.clip(CELLS_IN_ALL // clusters.size, 16, PERMUTATIONS))
            total = np.zeros((len(clusters), len(sampled)))
            for shuffled in _permuted(clusters, draws, rng):
                total += _prefixes(shuffled, means, [ns[column] for column in sampled])
            found[:, sampled] = total / draws
        out[rows] = found
    return out


def _clusters(answers: Int, utility: Float) -> tuple[Int, Float]:
    """Number the answers of each prompt 1, 2, ... (0: none) and average the utility of each number."""
    index = np.argsort(answers, axis=1, kind="stable")
    ordered = np.take_along_axis(answers, index, axis=1)
    number = np.concatenate(
        [(ordered[:, :1] >= 0).astype(int), (ordered[:, 1:] != ordered[:, :-1]).astype(int)], axis=1
    ).cumsum(axis=1)
    clusters = np.empty_like(number)
    np.put_along_axis(clusters, index, number, axis=1)
    width = max(2, int(number.max()) + 1)
    flat = (clusters + np.arange(len(clusters))[:, None] * width).ravel()
    sums = np.bincount(flat, weights=utility.ravel(), minlength=len(clusters) * width)
    counts = np.bincount(flat, minlength=len(clusters) * width)
    return clusters, (sums / np.maximum(counts, 1)).reshape(-1, width)


def _count(drawn: Int, means: Float) -> Int:
    """How many of the drawn responses [prompt, n] are in each cluster [prompt, cluster]."""
    rows, width = means.shape
    flat = (drawn + np.arange(rows)[:, None] * width).ravel()
    return np.bincount(flat, minlength=rows * width).reshape(rows, width)


def _elect(counts: Int, means: Float) -> Float:
    """Mean utility of the clusters with most votes; of those who do not vote where nobody does."""
    votes = counts[:, 1:]
    top = votes.max(axis=1)
    winners = votes == top[:, None]
    elected = (winners * means[:, 1:]).sum(axis=1) / winners.sum(axis=1)
    return np.where(top > 0, elected, means[:, 0])


def _permuted(clusters: Int, draws: int, rng: np.random.Generator) -> Iterator[Int]:
    """Yield permutations [repeat, prompt, response] of each prompt's responses, `draws` in all."""
    batch = max(1, CELLS_PER_BATCH // clusters.size)
    for start in range(0, draws, batch):
        repeats = min(batch, draws - start)
        yield rng.permuted(np.broadcast_to(clusters, (repeats, *clusters.shape)), axis=2)


def _prefixes(shuffled: Int, means: Float, ns: Sequence[int]) -> Float:
    """Sum over repeats of what the first n responses elect [prompt, n]."""
    repeats, prompts, _ = shuffled.shape
    tiled = np.tile(means, (repeats, 1))
    drawn = shuffled.reshape(repeats * prompts, -1)
    counts = np.zeros(tiled.shape, dtype=np.int64)
    total = np.empty((prompts, len(ns)))
    done = 0
    for column in np.argsort(ns, kind="stable"):
        counts += _count(drawn[:, done : ns[column]], tiled)
        done = ns[column]
        total[:, column] = _elect(counts, tiled).reshape(repeats, prompts).sum(axis=0)
    return total
