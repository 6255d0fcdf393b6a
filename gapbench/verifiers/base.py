"""Verifiers: named ways of producing verdicts on responses, without sight of the ground truth.

Two kinds. A `PoolVerifier` computes scores from the responses themselves and costs no tokens. A `ModelVerifier`
asks a model about one response at a time: it writes the request and reads the reply.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from gapbench.engines.base import Result, Sampling
from gapbench.records import SCORED, Message, Prompt
from gapbench.registry import Registry

Capability = Literal["labels", "logprobs"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A response as a verifier may see it: no utility, no grader status."""

    response: int
    text: str
    cluster: str | None
    logprob: float | None
    n_tokens: int


@dataclass(frozen=True, slots=True)
class Judgement:
    """A parsed verdict. `score` is None exactly when `status` is not `scored`."""

    score: float | None
    status: str = SCORED
    text: str = ""


class Verifier(ABC):
    """What both kinds declare.

    Attributes
    ----------
    scale
        `probability` (scores in [0, 1]) or `logprob` (scores at most 0); says which soft weight fits.
    threshold
        Score from which a response passes, fixed before seeing data; None where no natural one exists.
    whole_pool
        True where a score depends on the other responses of the prompt, so that it may not be thinned to n < N.
    deterministic
        True where a replicate would only repeat the score.
    needs
        What the engine must offer.
    cost
        One line for users: tokens per response.
    """

    name: ClassVar[str]
    scale: ClassVar[Literal["probability", "logprob"]] = "probability"
    threshold: ClassVar[float | None] = 0.5
    whole_pool: ClassVar[bool] = False
    deterministic: ClassVar[bool] = True
    needs: ClassVar[frozenset[Capability]] = frozenset()
    cost: ClassVar[str]


class PoolVerifier(Verifier):
    """Scores all responses to a prompt from the responses alone."""

    @abstractmethod
    def judge(self, prompt: Prompt, candidates: Sequence[Candidate]) -> list[Judgement]:
        """Return one judgement for each candidate, in order."""


class ModelVerifier(Verifier):
    """Asks a model about one response at a time."""

    labels: ClassVar[tuple[str, ...]] = ()
    sampling: ClassVar[Sampling] = Sampling(max_tokens=1, temperature=1.0)

    @abstractmethod
    def messages(self, prompt: Prompt, text: str) -> tuple[Message, ...]:
        """Return the conversation that asks for a verdict on reply `text`; what varies comes last."""

    @abstractmethod
    def parse(self, result: Result) -> Judgement:
        """Read the verdict from the judge's reply."""


verifiers: Registry[Verifier] = Registry("verifier", "gapbench.verifiers")
