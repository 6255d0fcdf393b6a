"""Compare responses in pairs, and score each by the comparisons it was in.

>>> Pairwise(opponents=2).pairs([0, 1, 2, 3], won={})
[(0, 1), (2, 0), (1, 2), (3, 0), (2, 3)]
>>> Pairwise(scores="win-rate").scores([0, 1, 2], {(0, 1): 0.75, (0, 2): 0.5, (1, 2): float("nan")}).tolist()
[0.625, 0.25, 0.5]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from gapbench.engines.base import derive_seed
from gapbench.errors import UserError
from gapbench.estimate.comparisons import Games, bradley_terry, win_rate
from gapbench.verifiers._asking import LEAST_MASS, number
from gapbench.verifiers._pairs import INSTRUCTION, QUESTION, LabelledPairs
from gapbench.verifiers.base import Pair, verifiers

OPPONENTS = 4
SCORES = ("bradley-terry", "win-rate")


@verifiers.register("pairwise")
class Pairwise(LabelledPairs):
    """Each response is compared with up to `opponents` earlier ones, which a hash of the two indices chooses.

    So the comparisons connect all responses, responses drawn later add comparisons and change none, and two responses
    meet once at most. Which of the two is shown first alternates: half of a prompt's pairs, give or take one, are shown
    in swapped order, and so are half of each response's comparisons with earlier ones.

    Parameters
    ----------
    instruction, question, least_mass
        As described in `gapbench.verifiers._pairs.LabelledPairs`.
    opponents
        Most earlier responses that each is compared with.
    scores
        `bradley-terry`: the fitted probability of beating an average response of the prompt (Bradley and Terry 1952);
        it allows for the strength of the opponents. `win-rate`: the mean probability of being the better one.

    Raises
    ------
    UserError
        If a template lacks a field, or an option is of the wrong type or value.
    """

    cost = "1 generated token for each comparison, about 4 (option opponents) for each distinct response"

    def __init__(
        self,
        instruction: str = INSTRUCTION,
        question: str = QUESTION,
        least_mass: float = LEAST_MASS,
        opponents: int = OPPONENTS,
        scores: str = SCORES[0],
    ) -> None:
        super().__init__(instruction, question, least_mass)
        self.opponents = int(number(self.name, "opponents", opponents, 1, 1_000_000, whole=True))
        if scores not in SCORES:
            raise UserError(
                f"verifier '{self.name}': option 'scores' must be {' or '.join(SCORES)}, not {scores!r}"
            )
        self.measure = scores

    def pairs(self, entrants: Sequence[int], won: Mapping[Pair, float]) -> list[Pair]:
        """Every pair that has no outcome yet; none depends on the outcomes of others."""
        drawn: list[Pair] = []
        for place, entrant in enumerate(entrants):
            earlier = sorted(entrants[:place], key=lambda other: derive_seed("pairwise", entrant, other))
            drawn += [(other, entrant) for other in sorted(earlier[: self.opponents])]
        return [
            (high, low) if place % 2 else (low, high)
            for place, (low, high) in enumerate(drawn)
            if (low, high) not in won
        ]

    def scores(self, entrants: Sequence[int], won: Mapping[Pair, float]) -> NDArray[np.float64]:
        """Fit the outcomes; in [0, 1] for either measure."""
        place = {entrant: index for index, entrant in enumerate(entrants)}
        known = [
            (place[a], place[b], p) for (a, b), p in won.items() if a in place and b in place and not isnan(p)
        ]
        if not known:
            return np.full(len(entrants), np.nan)
        a, b, outcome = (np.array(column) for column in zip(*known, strict=True))
        games = Games.of(np.zeros(len(known)), a, b, outcome, (1, len(entrants)))
        fitted = win_rate(games) if self.measure == "win-rate" else expit(bradley_terry(games))
        return np.asarray(fitted[0])
