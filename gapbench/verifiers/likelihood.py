"""Likelihood: how probable the model found its own response, for each token.

>>> from gapbench.records import Message
>>> prompt = Prompt("sums", "p0", "arithmetic", (Message("user", "2 + 2?"),), ("4",))
>>> Likelihood().judge(prompt, [Candidate(0, "4", "4", logprob=-1.0, n_tokens=2)])[0].score
-0.5
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from gapbench.records import NO_ANSWER, Prompt, error_status
from gapbench.verifiers.base import Candidate, Judgement, PoolVerifier, verifiers

_MISSING = Judgement(None, error_status("the response has no log-probability"))


@verifiers.register("likelihood")
class Likelihood(PoolVerifier):
    """Mean log-probability of a response's tokens at temperature 1, in nats.

    A response without tokens is `no_answer`; one whose log-probability the engine did not give, or that is not finite,
    is an error. Neither gets a score.
    """

    scale = "logprob"
    threshold = None
    needs = frozenset({"logprobs"})
    cost = "no tokens"

    def judge(self, prompt: Prompt, candidates: Sequence[Candidate]) -> list[Judgement]:
        """Score each response by itself."""
        return [self._judge(candidate) for candidate in candidates]

    def score(self, candidate: Candidate, logprob: float) -> float:
        """Divide by the number of tokens, so that long responses are not at a disadvantage."""
        return logprob / candidate.n_tokens

    def _judge(self, candidate: Candidate) -> Judgement:
        if candidate.n_tokens == 0:
            return Judgement(None, NO_ANSWER)
        if candidate.logprob is None or not isfinite(candidate.logprob):
            return _MISSING
        return Judgement(self.score(candidate, candidate.logprob))
