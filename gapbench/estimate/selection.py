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
from typing import Literal, Protocol

import numpy as np
from scipy.special import gammaln

from gapbench.panel import Bool, Float, Int

ROUND_OFF = 1e-14


class RankFilter(Protocol):
    """A name and a weight over ranks."""

    @property
    def label(self) -> str:
        """Name under which the filter is reported."""

    def weights(self, size: int) -> Float:
        """Weight of ranks 1..size, lowest score first; they sum to 1. NaN where `size` responses are too few."""


def _log_choose(n: Int | int, k: Int | int) -> Float:
    """Log of the binomial coefficient, -inf where it is 0."""
    inside = (np.asarray(k) >= 0) & (np.asarray(k) <= np.asarray(n))
    top, bottom = np.where(inside, n, 0), np.where(inside, k, 0)
    log: Float = gammaln(top + 1) - gammaln(bottom + 1) - gammaln(top - bottom + 1)
    return np.where(inside, log, -np.inf)


@dataclass(frozen=True, slots=True)
class BestOf:
    """The response with the best score among n drawn without replacement: w_j = C(j-1, n-1) / C(N, n)."""

    n: int

    @property
    def label(self) -> str:
        """`best@n`."""
        return f"best@{self.n}"

    def weights(self, size: int) -> Float:
        """Weight of each rank, from w_N = n/N down by w_{j-1} = w_j (j-n)/(j-1), which cannot overflow."""
        if size < self.n:
            return np.full(size, np.nan)
        ranks = np.arange(size, 1, -1)
        steps = np.maximum(ranks - self.n, 0) / (ranks - 1)
        return (self.n / size * np.cumprod(np.concatenate([[1.0], steps])))[::-1]


@dataclass(frozen=True, slots=True)
class TopOf:
    """The mean of the best k among n drawn: w_j = (n/N) P(Hypergeom(N-1, N-j, n-1) <= k-1) / k."""

    k: int
    n: int

    @property
    def label(self) -> str:
        """`top k of n`."""
        return f"top {self.k} of {self.n}"

    def weights(self, size: int) -> Float:
        """Weight of each rank."""
        if size < self.n:
            return np.full(size, np.nan)
        above = np.arange(size - 1, -1, -1)[:, None]  # responses that rank higher
        better = np.arange(self.k)[None, :]  # how many of them are among the other n-1 drawn
        log = _log_choose(above, better) + _log_choose(size - 1 - above, self.n - 1 - better)
        chance = np.exp(log - _log_choose(size - 1, self.n - 1)).sum(axis=1)
        return np.asarray(self.n / size * chance / self.k)


@dataclass(frozen=True, slots=True)
class TopFraction:
    """The best fraction q of a prompt's N responses: w_j = clip(j - (N - qN), 0, 1) / (qN).

    As an estimate of the population quantile it is biased low at small N; `TopQuantile` corrects it.
    """

    q: float

    @property
    def label(self) -> str:
        """`top q of N`."""
        return f"top {self.q:g} of N"

    def weights(self, size: int) -> Float:
        """Weight of each rank."""
        kept = self.q * size
        return np.asarray(np.clip(np.arange(1, size + 1) - (size - kept), 0.0, 1.0) / kept)


@dataclass(frozen=True, slots=True)
class TopQuantile:
    """The best fraction q of all responses that could be drawn: 2 T(N) - T(N/2), T(N) the `TopFraction` of N.

    T(N) falls short by a term of order 1/N, which the difference cancels (measurement.md, section 4). T(N/2), over
    all halves of the N, is exact: with k = qN/2 = f + d, f whole, the best f and a share d of the next.
    """

    q: float

    @property
    def label(self) -> str:
        """`top q`."""
        return f"top {self.q:g}"

    def weights(self, size: int) -> Float:
        """Weight of each rank, some of them below 0; NaN where there is one response only."""
        half = size // 2
        if half == 0:
            return np.full(size, np.nan)
        kept = self.q * half
        whole = int(kept)
        part = kept - whole
        smaller = np.zeros(size)
        if whole:
            smaller += (1 - part) * whole / kept * TopOf(whole, half).weights(size)
        if part:
            smaller += part * (whole + 1) / kept * TopOf(whole + 1, half).weights(size)
        larger = TopFraction(self.q).weights(size)
        return np.asarray(larger + (larger - smaller) * half / (size - half))


@dataclass(frozen=True, slots=True)
class Random:
    """Any response, each as likely as any other: the reference that every filter is measured against."""

    label: str = "random"

    def weights(self, size: int) -> Float:
        """1/N for every rank."""
        return np.full(size, 1.0 / size)


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
    none = np.exp(_log_choose(size - count, n) - np.where(size >= n, _log_choose(size, n), 0.0))
    return np.where(size >= n, (1 - none) * if_pass + none * if_fail, np.nan)
