"""Comparisons of pairs turned into scores of responses: win rate, and Bradley-Terry strength.

A comparison says which of two responses to the same prompt is preferred, or that they tie. Scores made of them depend
on the other responses of the prompt, so they are scores of the whole pool (`Scores.whole_pool`).

>>> games = Games.of(prompt=[0, 0, 0], a=[0, 0, 1], b=[1, 2, 2], won=[1.0, 1.0, 0.5], shape=(1, 4))
>>> win_rate(games).round(2).tolist()
[[1.0, 0.25, 0.25, nan]]
>>> bradley_terry(games).round(2).tolist()
[[1.25, -0.57, -0.57, nan]]
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from gapbench.errors import UserError
from gapbench.panel import Float, Int

PRIOR = 1.0
ITERATIONS = 50
CLOSE = 1e-10
CELLS_PER_BATCH = 4_000_000


@dataclass(frozen=True, eq=False)
class Games:
    """Comparisons as flat arrays, one entry a comparison.

    Attributes
    ----------
    a, b
        The two responses, as places in the flattened [prompt, response] array.
    won
        1 where a is preferred, 0 where b is, 0.5 for a tie.
    shape
        (prompts, responses).
    """

    a: Int
    b: Int
    won: Float
    shape: tuple[int, int]

    @classmethod
    def of(
        cls, prompt: ArrayLike, a: ArrayLike, b: ArrayLike, won: ArrayLike, shape: tuple[int, int]
    ) -> Games:
        """Games from index arrays [comparison]; a NaN in `won` is a comparison without a valid outcome.

        Raises
        ------
        UserError
            If an index is out of range, a response is compared with itself, or an outcome is not in [0, 1].
        """
        rows, left, right = (np.asarray(index, dtype=np.int64) for index in (prompt, a, b))
        outcome = np.asarray(won, dtype=float)
        prompts, responses = shape
        wrong = (rows < 0) | (rows >= prompts) | (left == right)
        wrong |= (np.minimum(left, right) < 0) | (np.maximum(left, right) >= responses)
        wrong |= (outcome < 0) | (outcome > 1)
        if wrong.any():
            at = int(np.argmax(wrong))
            raise UserError(
                f"comparison {at} (prompt {rows[at]}, responses {left[at]} and {right[at]}, outcome {outcome[at]:g}): "
                "it must be of two different responses of the panel, with an outcome from 0 to 1"
            )
        kept = ~np.isnan(outcome)
        base = rows * responses
        return cls((base + left)[kept], (base + right)[kept], outcome[kept], (prompts, responses))

    def _sum(self, for_a: Float, for_b: Float) -> Float:
        """Sum over the games of each response [prompt x response]."""
        cells = self.shape[0] * self.shape[1]
        return np.asarray(np.bincount(self.a, for_a, cells) + np.bincount(self.b, for_b, cells), dtype=float)

    @property
    def played(self) -> Float:
        """Comparisons of each response [prompt x response]."""
        ones = np.ones(len(self.won))
        return self._sum(ones, ones)


def win_rate(games: Games) -> Float:
    """Share of its comparisons that a response won, ties half [prompt, response]; NaN where it has none."""
    played = games.played
    wins = games._sum(games.won, 1.0 - games.won)
    return np.where(played > 0, wins / np.maximum(played, 1), np.nan).reshape(games.shape)


def bradley_terry(games: Games, *, prior: float = PRIOR) -> Float:
    """Bradley-Terry strength of each response on the logit scale [prompt, response]; NaN where it has no game.

    P(a beats b) = logistic(s_a - s_b) (Bradley and Terry 1952), ties counting half for either. Every response also
    has `prior` drawn games against one of strength 0, which keeps a response that won or lost all its games finite and
    the strengths of unconnected groups comparable. Fitted by Newton steps, all prompts at once; the log-likelihood is
    concave, and no step is longer than 1, so that none overshoots.

    Parameters
    ----------
    games
        The comparisons.
    prior
        Drawn games with the fixed opponent, above 0.
    """
    prompts, responses = games.shape
    strength = np.zeros((prompts, responses))
    order = np.argsort(games.a, kind="stable")
    batch = max(1, CELLS_PER_BATCH // responses**2)
    for start in range(0, prompts, batch):
        stop = min(start + batch, prompts)
        first, last = np.searchsorted(games.a[order], [start * responses, stop * responses])
        own, shift = order[first:last], start * responses
        part = Games(games.a[own] - shift, games.b[own] - shift, games.won[own], (stop - start, responses))
        strength[start:stop] = _newton(part, prior)
    return np.where(games.played.reshape(games.shape) > 0, strength, np.nan)


def _newton(games: Games, prior: float) -> Float:
    prompts, responses = games.shape
    strength = np.zeros(prompts * responses)
    prompt, place_a = np.divmod(games.a, responses)
    place_b = games.b % responses
    cells = prompts * responses**2
    diagonal = np.arange(responses)
    for _ in range(ITERATIONS):
        chance = expit(strength[games.a] - strength[games.b])
        even = expit(strength)
        slope = games._sum(games.won - chance, chance - games.won) + prior * (0.5 - even)
        pull = chance * (1.0 - chance)
        # Of nothing, bincount counts in whole numbers.
        cross = np.bincount((prompt * responses + place_a) * responses + place_b, pull, cells).astype(float)
        curvature = -cross.reshape(prompts, responses, responses)
        curvature = curvature + curvature.transpose(0, 2, 1)
        own = games._sum(pull, pull) + prior * even * (1.0 - even)
        curvature[:, diagonal, diagonal] = own.reshape(prompts, responses)
        step = np.linalg.solve(curvature, slope.reshape(prompts, responses, 1)).ravel()
        strength += np.clip(step, -1.0, 1.0)
        if np.abs(step).max(initial=0.0) < CLOSE:
            break
    return strength.reshape(prompts, responses)
