"""Loops that ask for new verdicts in every round: each round brings evidence that the first one did not have.

A score made of few verdicts is part merit and part luck. The rule that T rounds are one stronger filter
(`gapbench.projection.loops`) lets a response's score stand for good, and with it the luck. Where a loop draws M new verdicts
on every response in every round, that rule understates what the rounds reach, and a forecast has to integrate over the
verdicts: each response has a chance pi that a verdict on it says yes, and a round weighs it by what a score of M verdicts at that
chance weighs on average.

The chances are not seen. Their spread within a prompt, apart for right and for wrong responses, is estimated from the
counts of yes without any assumption on its shape: by maximum likelihood over all prompts (Kiefer and Wolfowitz 1956, Annals of
Mathematical Statistics 27(4); by the EM steps of Laird 1978, JASA 73), which then serves every prompt as a prior worth `PRIOR`
responses. In the mid scenario (M = 8, N = 32 or 64) this finds four fifths of what fresh verdicts add.

>>> from gapbench.projection.loops import BestLoop
>>> merit = Chances(np.array([0.2, 0.8]), np.array([[0.5, 0.5]]), np.array([[0.0, 0.5]]))
>>> loop = BestLoop(8)
>>> fixed, fresh = after_rounds(merit, loop, 1, 3, fresh=False), after_rounds(merit, loop, 1, 3, fresh=True)
>>> fixed.round(2).tolist(), fresh.round(2).tolist()
([[0.5, 0.8, 0.8, 0.8]], [[0.5, 0.8, 0.94, 0.98]])
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, log_expit
from scipy.stats import binom

from gapbench.panel import Float, VerdictCounts
from gapbench.projection.loops import Loop, SoftLoop

GRID: Float = np.linspace(-8.0, 8.0, 65)  # logits of the chances
PRIOR = 16.0  # responses of a prompt and class that the pooled distribution counts as
POOLED_STEPS, OWN_STEPS = 300, 60


@dataclass(frozen=True, eq=False)
class Chances:
    """How the responses of each prompt are spread over chances to be told yes.

    Attributes
    ----------
    chance
        The values there are [chance].
    mass
        Share of the prompt's responses with each [prompt, chance]; all 0 for a prompt without responses.
    right
        The same, each response counting by its utility [prompt, chance].
    """

    chance: Float
    mass: Float
    right: Float


def after_rounds(chances: Chances, loop: Loop, m: int, rounds: int, *, fresh: bool) -> Float:
    """Expected utility of what is left after 0, 1, ..., `rounds` rounds [prompt, round].

    Parameters
    ----------
    m
        Verdicts behind every score.
    fresh
        Whether every round has its own verdicts, or the first ones stand.
    """
    yes = np.arange(m + 1)
    of_yes = binom.pmf(yes, m, chances.chance[:, None])  # [chance, yes]
    mass, right = chances.mass, chances.right
    found = [_share(mass, right)]
    start = mass @ of_yes, right @ of_yes
    for done in range(1, rounds + 1):
        if fresh:
            weight = _weights(mass @ of_yes, loop, 1) @ of_yes.T
            mass, right = mass * weight, right * weight
            total = mass.sum(axis=1, keepdims=True)
            mass, right = (np.divide(one, total, out=one, where=total > 0) for one in (mass, right))
            found.append(_share(mass, right))
        else:
            weight = _weights(start[0], loop, done)
            found.append(_share(start[0] * weight, start[1] * weight))
    return np.column_stack(found)


def _share(mass: Float, right: Float) -> Float:
    total = mass.sum(axis=1)
    found: Float = np.divide(right.sum(axis=1), total, out=np.full(len(total), np.nan), where=total > 0)
    return found


def _weights(shares: Float, loop: Loop, rounds: int) -> Float:
    """Weight of a response with each number of yes, given how many there are of each [prompt, yes]."""
    if isinstance(loop, SoftLoop):
        score = np.arange(shares.shape[1]) / max(shares.shape[1] - 1, 1)
        weight: Float = np.broadcast_to(score**rounds, shares.shape)
        return weight
    cdf = np.minimum(np.cumsum(shares, axis=1), 1.0)
    kept = np.diff(loop.below(cdf, rounds), axis=1, prepend=0.0)
    return np.divide(kept, shares, out=np.zeros_like(kept), where=shares > 0)


def estimated_chances(utility: Float, counts: VerdictCounts, prior: float = PRIOR) -> Chances:
    """Spread of the chances on the prompts of a task.

    Parameters
    ----------
    utility
        [prompt, response], NaN for a response that is not in the sample. Those of .5 and more make the class of right ones.
    counts
        Verdicts on them; a response without any counts as its class does.
    """
    present = ~np.isnan(utility)
    prompts, responses = np.nonzero(present)
    own = utility[prompts, responses]
    pairs = np.column_stack([counts.yes[prompts, responses], counts.valid[prompts, responses]]).astype(
        np.int64
    )
    kinds, kind = np.unique(pairs, axis=0, return_inverse=True)
    likely = np.exp(kinds[:, :1] * log_expit(GRID) + (kinds[:, 1:] - kinds[:, :1]) * log_expit(-GRID))
    size = np.maximum(present.sum(axis=1), 1)[:, None]
    mass, right = np.zeros((2, len(utility), len(GRID)))
    for is_right in (True, False):
        cells = (own >= 0.5) == is_right
        if not cells.any():
            continue
        shape = len(utility), len(kinds)
        flat = prompts[cells] * shape[1] + kind.ravel()[cells]
        held = np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape).astype(float)
        spread = _spread(held, likely, prior)
        number = held.sum(axis=1, keepdims=True)
        worth = np.bincount(prompts[cells], weights=own[cells], minlength=len(utility))[:, None]
        mass += spread * number / size
        right += spread * worth / size
    return Chances(expit(GRID), mass, right)


def _spread(held: Float, likely: Float, prior: float) -> Float:
    """Distribution over the grid for each prompt [prompt, chance], from counts of each kind [prompt, kind]."""
    pooled = np.full((1, likely.shape[1]), 1.0 / likely.shape[1])
    for _ in range(POOLED_STEPS):
        pooled = _step(pooled, held.sum(axis=0, keepdims=True), likely, pooled, 0.0)
    own = np.repeat(pooled, len(held), axis=0)
    for _ in range(OWN_STEPS):
        own = _step(own, held, likely, pooled, prior)
    return own


def _step(spread: Float, held: Float, likely: Float, pooled: Float, prior: float) -> Float:
    expected = np.maximum(spread @ likely.T, np.finfo(float).tiny)
    found = spread * ((held / expected) @ likely) + prior * pooled
    return np.asarray(found / np.maximum(found.sum(axis=1, keepdims=True), np.finfo(float).tiny))
