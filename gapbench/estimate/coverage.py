"""What is in the sample to be found: pass@k, and what a vote over the answers finds.

>>> pass_at_k(np.array([[1.0, 0.0, 0.0, 0.0]]), [1, 2, 4]).tolist()
[[0.25, 0.5, 1.0]]
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import comb

import numpy as np

from gapbench.estimate.selection import BestOf, Order, by_size, log_choose
from gapbench.panel import Float, Int

ENUMERATED = 200  # subsets up to which all are averaged
CELLS_PER_BATCH = 500_000
MOST_PERMUTATIONS, FEWEST_PERMUTATIONS, WINDOWS = 200, 20, 1600
"""Permutations for a pool that is cut into few windows, for one cut into many, and the windows in all.

With them the Monte-Carlo error of majority@n is at most 6 % of the standard error over prompts at every n > 2 and N = 32,
128 or 1000 in the mid scenario, so that it widens no interval by more than .2 %; and at most 12 % (.7 %) at accuracy .02,
where few prompts vary. Both errors fall alike with the number of prompts. One prefix of each of 200 permutations, the
cost of which grows as fast, leaves 25 % and 78 %.
"""


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

    One and two responses elect any voter among them, which is exact, and all subsets are averaged where there are at
    most 200. Else up to 200 seeded permutations are cut into windows of n, each of which is a random subset: never
    biased, and the added noise is part of the spread between prompts that the interval is made of.

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
            if n > size:
                continue
            if n <= 2:
                found[:, column] = _any_voter(clusters, means, n)
            elif comb(size, n) <= ENUMERATED:
                subsets = np.array(list(combinations(range(size), n)))
                votes = [_count(clusters[:, None, one], means.shape[1]) for one in subsets]
                found[:, column] = np.mean([_elected(one, means)[:, 0] for one in votes], axis=0)
            else:
                sampled.append(column)
        if sampled:
            found[:, sampled] = _sampled(clusters, means, [ns[column] for column in sampled], rng)
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


def _any_voter(clusters: Int, means: Float, n: int) -> Float:
    """Elected by one or two responses: any that votes, as likely as any other; any at all where none does."""
    size = clusters.shape[1]
    silent = (clusters == 0).sum(axis=1)
    total = np.take_along_axis(means, clusters, axis=1).sum(axis=1)
    voters = (total - silent * means[:, 0]) / np.maximum(size - silent, 1)
    none = np.exp(log_choose(silent, n) - log_choose(size, n))
    return np.asarray((1.0 - none) * voters + none * means[:, 0])


def _sampled(clusters: Int, means: Float, ns: Sequence[int], rng: np.random.Generator) -> Float:
    """Mean over permutations, and over the windows that each is cut into [prompt, n]."""
    prompts, size = clusters.shape
    at_once = max(
        1, 2 * size // means.shape[1]
    )  # windows, whose counts take no more than twice the responses' room
    draws = int(np.clip(WINDOWS // at_once, FEWEST_PERMUTATIONS, MOST_PERMUTATIONS))
    total = np.zeros((prompts, len(ns)))
    batch = max(1, CELLS_PER_BATCH // size)
    for start in range(0, prompts, batch):
        rows = slice(start, start + batch)
        for _ in range(draws):
            shuffled = rng.permuted(clusters[rows], axis=1)
            votes, smaller = np.empty((0, 0, 0), dtype=np.int64), 1
            for column in np.argsort(ns, kind="stable"):
                n = ns[column]
                count, step = min(size // n, at_once), n // smaller
                if count == 1:  # the first n and the last, which overlap as little as they can
                    windows = np.stack([shuffled[:, :n], shuffled[:, size - n :]], axis=1)
                    votes = _count(windows, means.shape[1])
                elif n % smaller == 0 and votes.shape[2] >= count * step:  # they are made of smaller windows
                    votes = np.add.reduce([votes[:, :, part : count * step : step] for part in range(step)])
                else:
                    votes = _count(shuffled[:, : count * n].reshape(-1, count, n), means.shape[1])
                smaller = n
                total[rows, column] += _elected(votes, means[rows]).mean(axis=1)
    return total / draws


def _count(drawn: Int, width: int) -> Int:
    """How many of the responses drawn [prompt, window, n] are in each cluster [cluster, prompt, window]."""
    rows, windows, _ = drawn.shape
    flat = drawn * (rows * windows) + np.arange(rows * windows).reshape(rows, windows, 1)
    return np.bincount(flat.ravel(), minlength=width * rows * windows).reshape(width, rows, windows)


def _elected(counts: Int, means: Float) -> Float:
    """Mean utility of the clusters with most votes; of those who do not vote where nobody does.

    Parameters
    ----------
    counts
        Responses drawn that are in each cluster [cluster, prompt, window].
    means
        Mean utility of each cluster [prompt, cluster].

    Returns
    -------
    Array [prompt, window].
    """
    votes = counts[1:]
    top = votes.max(axis=0)
    winners = votes == top
    elected = (winners * means.T[1:, :, None]).sum(axis=0) / winners.sum(axis=0)
    return np.where(top > 0, elected, means[:, :1])
