"""Single elimination: responses meet in pairs, the better one goes on, and the score is how far it got.

>>> cup = Tournament()
>>> cup.pairs([0, 1, 2], won={})
[(0, 1)]
>>> cup.pairs([0, 1, 2], won={(0, 1): 0.2})
[(2, 1)]
>>> cup.scores([0, 1, 2], {(0, 1): 0.2, (1, 2): 0.4}).tolist()
[0.0, 0.5, 1.0]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from gapbench.verifiers._pairs import LabelledPairs
from gapbench.verifiers.base import Pair, verifiers


@verifiers.register("tournament")
class Tournament(LabelledPairs):
    """Share of the rounds that a response came through: 0 for a first-round loss, 1 for the champion.

    In each round the responses left meet in order, first with second and so on. Where their number is odd the last one
    has a bye, comes through, and opens the next round, so that nobody has two in a row. After a tie, or a comparison
    that came to nothing, the response with the lower index goes on. A response that has no one to meet is the champion. Which of the two is shown first alternates within and between rounds.

    Responses drawn later make a new bracket; comparisons made before are used wherever the same two meet again. One
    winner is all a bracket is made for: among the others there are as many scores as rounds, and many ties.

    Parameters
    ----------
    instruction, question, least_mass
        As described in `gapbench.verifiers._pairs.LabelledPairs`.
    """

    cost = "1 generated token for each comparison, one less than there are distinct responses"

    def pairs(self, entrants: Sequence[int], won: Mapping[Pair, float]) -> list[Pair]:
        """The pairs to be compared whose two responses are both known, in all rounds."""
        _, waiting = self._play(entrants, won)
        return waiting

    def scores(self, entrants: Sequence[int], won: Mapping[Pair, float]) -> NDArray[np.float64]:
        """Rounds survived so far, of all rounds; never NaN."""
        survived, _ = self._play(entrants, won)
        rounds = (len(entrants) - 1).bit_length()
        return np.array([survived[entrant] / rounds if rounds else 1.0 for entrant in entrants])

    def _play(self, entrants: Sequence[int], won: Mapping[Pair, float]) -> tuple[dict[int, int], list[Pair]]:
        """Rounds survived by each entrant, and the pairs that wait for a comparison."""
        survived = dict.fromkeys(entrants, 0)
        waiting: list[Pair] = []
        left: list[int | None] = [*entrants]  # None for whoever wins a pair that waits
        played = 0
        while len(left) > 1:
            through: list[int | None] = [left.pop()] if len(left) % 2 else []
            for place, pair in enumerate(zip(left[::2], left[1::2], strict=True)):
                winner, asked = _meet(pair, won)
                if asked:
                    waiting.append(asked[::-1] if (place + played) % 2 else asked)
                through.append(winner)
            for entrant in through:
                if entrant is not None:
                    survived[entrant] += 1
            left, played = through, played + 1
        return survived, waiting


def _meet(pair: tuple[int | None, int | None], won: Mapping[Pair, float]) -> tuple[int | None, Pair | None]:
    """The winner of a pair, None while it is open; and the pair itself if it can be compared now."""
    if pair[0] is None or pair[1] is None:
        return None, None
    low, high = min(pair), max(pair)  # type: ignore[type-var]
    assert low is not None
    assert high is not None
    if (low, high) not in won:
        return None, (low, high)
    return (high if won[low, high] < 0.5 else low), None
