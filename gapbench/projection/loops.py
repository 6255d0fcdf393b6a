"""Rounds of self-improvement by a filter, folded into one: T rounds of a filter are one stronger filter.

If every round draws from what the last one kept, then T rounds of best@n are one best@(n^T), T rounds of the top fraction q
one top fraction q^T, and T rounds of a weight w one weight w^T (projection.md, section 2). This holds exactly in
distribution, ties included, under `ASSUMPTIONS`. N responses show only as many rounds as the stronger filter leaves enough
of them: the identified horizon.

>>> loop_of("best@4").horizon(64), loop_of("best@8").horizon(64), loop_of("top 0.25").horizon(64)
(3, 2, 1)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gapbench.errors import UserError
from gapbench.estimate.filters import parse_filter
from gapbench.estimate.selection import BestOf, Order, TopQuantile, corrected_gap, soft_weights
from gapbench.panel import Float

SoftScale = Literal["probability", "logprob"]

ASSUMPTIONS = (
    "each round trains the model to answer exactly as the responses that were kept are spread (perfect distillation)",
    "the prompts stay the same",
    "the filter works on each prompt by itself (a vote over the pool does not)",
    "ties are broken at random",
    "a response's score does not change between rounds, nor what its verdicts would say",
)

LEAST_KEPT = 5.0  # responses of a prompt that a top fraction must be made of
LEAST_EFFECTIVE = 3.0  # (sum w)^2 / sum w^2 that nine prompts in ten must have
ROUND_OFF = 1e-9
MOST_ROUNDS = 64


@dataclass(frozen=True, slots=True)
class BestLoop:
    """Every round keeps the best of n responses."""

    n: int

    @property
    def label(self) -> str:
        """`best@n`."""
        return f"best@{self.n}"

    def horizon(self, size: int) -> int:
        """Largest T with n^T <= N."""
        rounds = 0
        while self.n ** (rounds + 1) <= size:
            rounds += 1
        return rounds

    def folded(self, rounds: int) -> BestOf:
        """The one filter that so many rounds are."""
        return BestOf(self.n**rounds)

    def below(self, cdf: Float, rounds: int = 1) -> Float:
        """Share of what is kept that lies at or below scores with this cdf."""
        return np.asarray(cdf ** (self.n**rounds))


@dataclass(frozen=True, slots=True)
class TopLoop:
    """Every round keeps the best fraction q of the responses."""

    q: float

    @property
    def label(self) -> str:
        """`top q`."""
        return f"top {self.q:g}"

    def horizon(self, size: int) -> int:
        """Largest T with q^T N >= 5."""
        rounds = 0
        while size * self.q ** (rounds + 1) >= LEAST_KEPT - ROUND_OFF and rounds < MOST_ROUNDS:
            rounds += 1
        return rounds

    def folded(self, rounds: int) -> TopQuantile:
        """The one filter that so many rounds are."""
        return TopQuantile(self.q**rounds)

    def below(self, cdf: Float, rounds: int = 1) -> Float:
        """Share of what is kept that lies at or below scores with this cdf."""
        kept = self.q**rounds
        return np.maximum(cdf - (1.0 - kept), 0.0) / kept


@dataclass(frozen=True, slots=True)
class SoftLoop:
    """Every round weighs the responses by their score, or by its exponential on a log scale."""

    label: str = "soft"


Loop = BestLoop | TopLoop | SoftLoop


def loop_of(label: str) -> Loop:
    """The filter of a loop from its name: `best@n` from n = 2, `top q` with q < 1, or `soft`.

    Raises
    ------
    UserError
        If there is no such filter, or it keeps everything.
    """
    if label == "soft":
        return SoftLoop()
    found = parse_filter(label)
    if isinstance(found, BestOf) and found.n >= 2:
        return BestLoop(found.n)
    if isinstance(found, TopQuantile) and found.q < 1:
        return TopLoop(found.q)
    raise UserError(
        f"--filter {label}: rounds of it cannot be forecast; take best@n (n >= 2), top q (q < 1) or soft"
    )


def soft_horizon(weights: Float) -> int:
    """Rounds T up to which w^T leaves (sum w^T)^2 / sum w^2T of at least 3 in nine prompts of ten.

    Parameters
    ----------
    weights
        [prompt, response], with 0 where there is none and the largest of each prompt at 1.
    """
    there = weights[(weights > 0).any(axis=1)]
    if not len(there):
        return 0
    rounds = 0
    while rounds < MOST_ROUNDS:
        powered = there ** (rounds + 1)
        effective = powered.sum(axis=1) ** 2 / (powered**2).sum(axis=1)
        if np.quantile(effective, 0.1) < LEAST_EFFECTIVE:
            break
        rounds += 1
    return rounds


def prompt_weights(utility: Float, score: Float, scale: SoftScale) -> Float:
    """Soft weights of the responses that are in the sample [prompt, response], each prompt's largest being 1."""
    return np.where(np.isnan(utility), 0.0, soft_weights(score, scale, per_prompt=True))


def gaps_by_round(
    loop: Loop,
    utility: Float,
    score: Float,
    rounds: Sequence[int],
    scale: SoftScale = "probability",
) -> Float:
    """Gap after rounds with the scores that are there [prompt, round]; NaN where a prompt has too few responses.

    Parameters
    ----------
    utility, score
        [prompt, response].
    rounds
        Numbers of rounds T, 0 among them or not.
    scale
        Of the score; matters to `SoftLoop` only, whose estimate is corrected for bias by the jackknife.
    """
    if isinstance(loop, SoftLoop):
        weights = prompt_weights(utility, score, scale)
        columns = [corrected_gap(utility, weights**t if t else np.ones_like(weights)) for t in rounds]
        return np.column_stack(columns)
    filters = [BestOf(1) if t == 0 else loop.folded(t) for t in rounds]
    gaps = Order.of(score, ~np.isnan(utility)).rank(utility).gap(filters)
    gaps[:, np.asarray(rounds) == 0] *= 0.0  # without round-off
    return gaps
