"""Rank filters: a name and a weight over ranks (measurement.md, section 4).

>>> BestOf(2).weights(4).round(3).tolist(), TopOf(1, 2).weights(4).round(3).tolist()
([0.0, 0.167, 0.333, 0.5], [0.0, 0.167, 0.333, 0.5])
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.special import gammaln

from gapbench.panel import Float, Int


class RankFilter(Protocol):
    """A name and a weight over ranks."""

    @property
    def label(self) -> str:
        """Name under which the filter is reported."""

    def weights(self, size: int) -> Float:
        """Weight of ranks 1..size, lowest score first; they sum to 1. NaN where `size` responses are too few."""


def log_choose(n: Int | int, k: Int | int) -> Float:
    """Log of the binomial coefficient C(n, k), -inf where it is 0."""
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
        log = log_choose(above, better) + log_choose(size - 1 - above, self.n - 1 - better)
        chance = np.exp(log - log_choose(size - 1, self.n - 1)).sum(axis=1)
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
