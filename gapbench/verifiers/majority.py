"""Agreement: how many of the prompt's other answers are the same.

>>> from gapbench.records import Message
>>> prompt = Prompt("sums", "p0", "arithmetic", (Message("user", "2 + 2?"),), ("4",))
>>> pool = [Candidate(i, text, text or None, None, 1) for i, text in enumerate(["4", "4", "5", ""])]
>>> [judgement.score for judgement in Majority().judge(prompt, pool)]
[0.6666666666666666, 0.6666666666666666, 0.3333333333333333, 0.0]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from gapbench.records import Prompt
from gapbench.verifiers.base import Candidate, Judgement, PoolVerifier, verifiers


@verifiers.register("majority")
class Majority(PoolVerifier):
    """Share of the answering responses, itself among them, whose answer is this one's.

    A response without an answer has no vote, and nobody agrees with it: its share is 0. The score sees all N responses, so that it is not that
    of a best@n with n < N; for a vote among n responses see majority@n.
    """

    threshold = 0.5
    whole_pool = True
    cost = "no tokens"

    def judge(self, prompt: Prompt, candidates: Sequence[Candidate]) -> list[Judgement]:
        """Count the clusters."""
        votes = Counter(candidate.cluster for candidate in candidates if candidate.cluster is not None)
        answering = votes.total()
        return [
            Judgement(0.0 if candidate.cluster is None else votes[candidate.cluster] / answering)
            for candidate in candidates
        ]
