"""Filters: what choosing responses by score does to their utility, one number per prompt.

Every rank filter is one dot product. Sort a prompt's responses by score, ascending, replace each utility by the
mean of its tie group, and weigh the ranks: this equals the average over all subsets and all ways of breaking ties
(measurement.md, section 4). The sort is done once (`Order.of`) and serves every filter, every utility and the AUC.

Throughout, arrays are [prompt, response]; a NaN utility is a response that is not in the sample, so that prompts
may have different numbers of responses N_i; a NaN score is a response without a valid verdict, which joins the
lowest tie group of its prompt.

>>> utility, score = np.array([[1.0, 0.0, 1.0, 0.0]]), np.array([[0.9, 0.9, 0.1, np.nan]])
>>> ranked = Order.of(score, ~np.isnan(utility)).rank(utility)
>>> ranked.select([BestOf(1), BestOf(4)]).round(3).tolist()
[[0.5, 0.5]]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gapbench.estimate.rank_filters import (
    BestOf,
    Random,
    RankFilter,
    TopFraction,
    TopOf,
    TopQuantile,
    log_choose,
)
from gapbench.estimate.weighting import (
    ROUND_OFF,
    corrected_gap,
    mean_response,
    passes,
    soft_weights,
    threshold_at_n,
    weighted_gap,
)
from gapbench.panel import Bool, Float, Int

__all__ = [
    "ROUND_OFF",
    "BestOf",
    "Order",
    "Random",
    "RankFilter",
    "Ranked",
    "TopFraction",
    "TopOf",
    "TopQuantile",
    "by_size",
    "corrected_gap",
    "log_choose",
    "mean_response",
    "passes",
    "soft_weights",
    "threshold_at_n",
    "weighted_gap",
]


def by_size(size: Int) -> Iterator[tuple[int, slice | Int]]:
    """Prompts grouped by their number of responses, those with none left out: (N, rows)."""
    distinct = np.unique(size[size > 0])
    for n in distinct:
        yield int(n), (slice(None) if len(distinct) == 1 and size.min() > 0 else np.flatnonzero(size == n))


@dataclass(frozen=True, eq=False)
class Ranked:
    """Utilities of each prompt in ascending order of score, ties averaged.

    Attributes
    ----------
    centred
        Tie-group mean less the prompt's mean [prompt, rank]; 0 beyond N_i. It is centred so that a constant
        score, or a prompt whose responses are all right or all wrong, has a gap of exactly 0.
    mean
        Mean utility of each prompt; NaN where it has no response.
    size
        N_i.
    """

    centred: Float
    mean: Float
    size: Int

    def gap(self, filters: Sequence[RankFilter]) -> Float:
        """Selected less mean utility [prompt, filter]; NaN where the prompt has too few responses."""
        gap = np.full((len(self.mean), len(filters)), np.nan)
        for n, rows in by_size(self.size):
            weights = np.stack([f.weights(n) for f in filters], axis=1)
            gap[rows] = self.centred[rows, :n] @ weights
        return gap

    def select(self, filters: Sequence[RankFilter]) -> Float:
        """Expected utility of what each filter selects [prompt, filter]."""
        return self.mean[:, None] + self.gap(filters)


@dataclass(frozen=True, eq=False)
class Order:
    """The responses of each prompt in ascending order of score, and where their tie groups begin.

    Attributes
    ----------
    index
        Response at each rank [prompt, rank]; responses that are not in the sample come last.
    size
        N_i.
    starts
        Position in the flattened [prompt, rank] array at which each tie group begins.
    first
        Number of each prompt's first tie group.
    """

    index: Int
    size: Int
    starts: Int
    first: Int

    @classmethod
    def of(cls, score: Float, present: Bool) -> Order:
        """Sort by score; a missing score ties with the other missing ones, below every valid score."""
        key = np.where(np.isnan(score), -np.inf, score)
        key[~present] = np.nan  # which numpy sorts last
        index = np.argsort(key, axis=1)
        key = np.take_along_axis(key, index, axis=1)
        new = np.ones(key.shape, dtype=bool)
        new[:, 1:] = (key[:, 1:] != key[:, :-1]) & ~np.isnan(key[:, :-1])
        first = np.concatenate([[0], np.cumsum(new.sum(axis=1))[:-1]])
        return cls(index, present.sum(axis=1), np.flatnonzero(new), first)

    @property
    def counts(self) -> Int:
        """Number of responses in each tie group."""
        return np.diff(self.starts, append=self.index.size)

    @property
    def prompts(self) -> Int:
        """Prompt of each tie group."""
        return np.repeat(np.arange(len(self.first)), np.diff(self.first, append=len(self.starts)))

    def gather(self, values: Float) -> Float:
        """Bring [prompt, response] into rank order; 0 for responses that are not in the sample."""
        values = np.take_along_axis(values, self.index, axis=1)
        values[np.arange(values.shape[1]) >= self.size[:, None]] = 0.0
        return values

    def group_sums(self, values: Float) -> Float:
        """Sum of values [prompt, response] over each tie group."""
        return np.asarray(np.add.reduceat(self.gather(values).ravel(), self.starts))

    def spread(self, groups: Float) -> Float:
        """Give every rank the value of its tie group: [group] to [prompt, rank]."""
        return np.repeat(groups, self.counts).reshape(self.index.shape)

    def rank(self, utility: Float) -> Ranked:
        """Utilities in rank order with ties averaged. Cost is linear; the sort is already done."""
        sums = self.group_sums(utility)
        total = np.add.reduceat(sums, self.first)
        mean = np.where(self.size > 0, total / np.maximum(self.size, 1), np.nan)
        prompts = self.prompts
        absent = self.starts - prompts * self.index.shape[1] >= self.size[prompts]
        centred = sums / self.counts - mean[prompts]
        centred[absent | (np.abs(centred) < ROUND_OFF)] = 0.0
        return Ranked(self.spread(centred), mean, self.size)

    def tie_averaged(self, rank_filter: RankFilter) -> Float:
        """Weight that a rank filter puts on each response, ties sharing alike [prompt, rank].

        Selected utility is linear in each response's utility with this coefficient.
        """
        weights = np.zeros(self.index.shape)
        for n, rows in by_size(self.size):
            weights[rows, :n] = rank_filter.weights(n)
        return self.spread(np.add.reduceat(weights.ravel(), self.starts) / self.counts)
