"""Verifiers: named ways of producing verdicts on responses, without sight of the ground truth.

A verifier is one short file and one of five kinds, by what it looks at:

- `PoolVerifier`: the prompt's responses themselves; costs no tokens, computed when a run is read.
- `ToolVerifier`: one response, with a program in place of a model; an external anchor, not self-verification.
- `ModelVerifier`: asks a model about one response at a time.
- `PairVerifier`: asks a model which of two responses is better, and makes scores of the comparisons.
- `DerivedVerifier`: the scores of other verifiers, its members; computed when a run is read.

Options, templates first of all, are keyword arguments of the class, so that a YAML file can replace them
(`gapbench.judging`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

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
    """A parsed verdict. `score` is None exactly when `status` is not `scored`.

    Of a comparison the score is how probably the response shown first is the better one; 0.5 is a tie.
    """

    score: float | None
    status: str = SCORED
    text: str = ""


class Verifier(ABC):
    """What all kinds declare.

    Attributes
    ----------
    name
        What its verdicts are filed under: the registered name, or the one that a YAML file gives.
    scale
        `probability` (scores in [0, 1]), `logprob` (scores at most 0) or `real`; says which soft weight fits.
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

    name: str
    scale: ClassVar[Literal["probability", "logprob", "real"]] = "probability"
    threshold: float | None = 0.5
    whole_pool: bool = False
    deterministic: ClassVar[bool] = True
    needs: ClassVar[frozenset[Capability]] = frozenset()
    cost: ClassVar[str]

    def applies(self, prompt: Prompt) -> bool:
        """Whether it can judge responses to this prompt; a unit test has nothing to say of a capital."""
        return True


class PoolVerifier(Verifier):
    """Scores all responses to a prompt from the responses alone."""

    @abstractmethod
    def judge(self, prompt: Prompt, candidates: Sequence[Candidate]) -> list[Judgement]:
        """Return one judgement for each candidate, in order."""


class ToolVerifier(Verifier):
    """Runs what can be run on one response."""

    @abstractmethod
    def check(self, prompt: Prompt, text: str) -> Judgement:
        """Judge reply `text`; whatever stands in it, a judgement comes back."""


class AskingVerifier(Verifier):
    """What verifiers that ask a model have in common.

    Attributes
    ----------
    labels
        Words whose probability as the first token is wanted, the favourable one first.
    verdicts
        Texts that a judge who reasons first may commit to, the most favourable first. A simulated engine draws from
        them; real ones are told in words.
    """

    labels: tuple[str, ...] = ()
    verdicts: tuple[str, ...] = ()
    sampling: Sampling = Sampling(max_tokens=1, temperature=1.0)

    def labels_for(self, prompt: Prompt) -> tuple[str, ...]:
        """The labels as this prompt's requests have them; `Result.label_logprobs` comes in their order."""
        return self.labels

    def sampling_for(self, prompt: Prompt) -> Sampling:
        """How this prompt's replies are drawn."""
        return self.sampling

    @abstractmethod
    def parse(self, result: Result) -> Judgement:
        """Read the verdict from the judge's reply; an undecided one is `unparsed`, its text kept."""


class ModelVerifier(AskingVerifier):
    """Asks a model about one response at a time."""

    @abstractmethod
    def messages(self, prompt: Prompt, text: str) -> tuple[Message, ...]:
        """Return the conversation that asks for a verdict on reply `text`; what varies comes last."""


Pair = tuple[int, int]


class PairVerifier(AskingVerifier):
    """Asks a model which of two responses to a prompt is better.

    Responses with the same text enter once, as the first of them, and share its score.
    """

    whole_pool = True

    @abstractmethod
    def messages(self, prompt: Prompt, first: str, second: str) -> tuple[Message, ...]:
        """Return the conversation that shows two replies in this order and asks which is better."""

    @abstractmethod
    def pairs(self, entrants: Sequence[int], won: Mapping[Pair, float]) -> list[Pair]:
        """Return the comparisons to make now, in the order in which each pair is to be shown.

        Parameters
        ----------
        entrants
            Responses that take part, in increasing order.
        won
            Outcomes so far: for (a, b) with a < b how probably a is the better one; NaN where the reply was undecided.
        """

    @abstractmethod
    def scores(self, entrants: Sequence[int], won: Mapping[Pair, float]) -> NDArray[np.float64]:
        """Return the score of each entrant; NaN for one without a comparison that counts."""


class DerivedVerifier(Verifier):
    """Scores from the scores of other verifiers.

    Attributes
    ----------
    members
        Those verifiers; a run that has this one asks for their verdicts too.
    """

    members: tuple[Verifier, ...]

    @abstractmethod
    def combine(self, scores: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return scores [prompt, response] from those of the members that apply to a task, by name.

        Parameters
        ----------
        scores
            Member's name to its mean scores [prompt, response]; NaN where there is no valid verdict.
        """


verifiers: Registry[Verifier] = Registry("verifier", "gapbench.verifiers")
