"""Likelihood of the whole response: how probable the model found its own words, without regard to their number.

>>> from gapbench.records import Message, Prompt
>>> prompt = Prompt("sums", "p0", "arithmetic", (Message("user", "2 + 2?"),), ("4",))
>>> LikelihoodSum().judge(prompt, [Candidate(0, "4", "4", logprob=-1.0, n_tokens=2)])[0].score
-1.0
"""

from __future__ import annotations

from gapbench.verifiers.base import Candidate, verifiers
from gapbench.verifiers.likelihood import Likelihood


@verifiers.register("likelihood-sum")
class LikelihoodSum(Likelihood):
    """Log-probability of a response at temperature 1, in nats; short responses are at an advantage."""

    def score(self, candidate: Candidate, logprob: float) -> float:
        """The sum as it is."""
        return logprob
