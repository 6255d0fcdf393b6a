"""What to add to a run next: prompts, responses or verdicts, whichever buys most precision for a token.

Precision is one over the variance of the mean over prompts. More prompts raise it in proportion to their tokens; what more
responses or verdicts of every prompt would do is foretold from the run itself (`gapbench.design.forecast`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from gapbench.design.forecast import FURTHEST, Design, Forecast
from gapbench.savings import Savings

MOST_PROMPTS = 3.0  # times, in one step: early widths are rough
LEAST_PROMPTS = 1.03  # times, in the last step that a budget allows
MORE_RESPONSES = (1.1, 1.25, 1.5, 2.0)  # times, in one step
MARGIN = 1.05
WORTH_A_STEP = 0.98  # of the width, above which a step is not worth its tokens
MOST_OF_START = 16  # times the responses or verdicts at the start
KNOWN_FROM = 40  # prompts in all, below which only more prompts are added while there are any
TINY = 1e-9
DOUBT = 1.25  # how far the narrowest width that is foretold may be off


class Size(NamedTuple):
    """Prompts of each task, responses of a prompt, verdicts of a response."""

    prompts: int
    responses: int
    verdicts: int


class Step(NamedTuple):
    """A larger size, with the half-width and the tokens in all to be expected there."""

    size: Size
    half_width: float
    tokens: float


@dataclass(frozen=True, eq=False)
class Growth:
    """Where a run stands, and what limits it.

    Attributes
    ----------
    size, start
        Now, and before anything was added to it.
    most_prompts
        Prompts that a task may have at most; infinite where that is not known.
    half_width, tokens
        Reached and spent; the width is infinite where there is no interval yet.
    forecasts
        Learnt from each task of the run.
    savings
        What it leaves unverified.
    wanted, budget
        Half-width and tokens to stop at; 0 and infinite where they do not matter.
    """

    size: Size
    start: Size
    most_prompts: float
    half_width: float
    tokens: int
    forecasts: Sequence[Forecast]
    savings: Savings
    wanted: float
    budget: float

    def following(self) -> Step | None:
        """The step that gains most precision for a token; None where nothing can be added, or nothing helps."""
        prompts = self._prompts()
        known = sum(len(one.task.utility) for one in self.forecasts) >= KNOWN_FROM
        steps = [] if prompts is None else [prompts]
        if math.isfinite(self.half_width) and (known or prompts is None) and not self.out_of_reach(prompts):
            steps += [*self._best(self._responses()), *self._best(self._verdicts())]
        return max(steps, key=self._gain, default=None)

    def why_not(self) -> Literal["budget", "exhausted"]:
        """Why there is no following step: it would cost too much, or there is nothing left that helps."""
        unbound = replace(self, budget=math.inf, wanted=0.0)
        return "budget" if math.isfinite(self.budget) and unbound.following() is not None else "exhausted"

    def out_of_reach(self, prompts: Step | None) -> bool:
        """Whether the prompts are spent and no number of responses and verdicts would do."""
        if prompts is not None or not self.wanted or math.isfinite(self.budget):
            return False
        size = Size(
            self.size.prompts,
            min(FURTHEST * self.size.responses, *(one.most_responses for one in self.forecasts)),
            min(FURTHEST * self.size.verdicts, *(one.most_verdicts for one in self.forecasts)),
        )
        return self._step(size).half_width > DOUBT * self.wanted

    def _gain(self, step: Step) -> float:
        before, after = (max(width, TINY) ** -2 for width in (self.half_width, step.half_width))
        return (after - before) / max(step.tokens - self.tokens, 1.0)

    def _prompts(self) -> Step | None:
        now = self.size.prompts
        needed = math.inf
        if self.wanted and math.isfinite(self.half_width):
            needed = now * (self.half_width / self.wanted) ** 2 * MARGIN
        affordable = self.budget / max(self.tokens, 1) * now
        more = math.floor(min(max(needed, now + 1), MOST_PROMPTS * now, affordable, self.most_prompts))
        if more <= now or (affordable < more + 1 and more < LEAST_PROMPTS * now):
            return None
        return Step(
            self.size._replace(prompts=more),
            self.half_width * math.sqrt(now / more),
            self.tokens * more / now,
        )

    def _responses(self) -> Iterator[Size]:
        most = min(MOST_OF_START * self.start.responses, *(one.most_responses for one in self.forecasts))
        for times in MORE_RESPONSES:
            more = math.ceil(self.size.responses * times)
            if more <= most:
                yield self.size._replace(responses=more)

    def _verdicts(self) -> Iterator[Size]:
        more = 2 * self.size.verdicts
        most = min(MOST_OF_START * self.start.verdicts, *(one.most_verdicts for one in self.forecasts))
        if more <= most:
            yield self.size._replace(verdicts=more)

    def _best(self, sizes: Iterator[Size]) -> list[Step]:
        """The first step that reaches the wanted width, or the last that can be paid; none where it hardly helps."""
        steps = [step for step in map(self._step, sizes) if step.tokens <= self.budget]
        enough = [step for step in steps if step.half_width * math.sqrt(MARGIN) <= self.wanted]
        chosen = [*enough[:1], *steps[-1:]][:1]
        return [step for step in chosen if step.half_width < WORTH_A_STEP * self.half_width]

    def _step(self, size: Size) -> Step:
        variance, tokens = self._sums(self.size)
        other, dearer = self._sums(size)
        ratio = other / variance if variance > 0 else 1.0
        return Step(size, self.half_width * math.sqrt(ratio), self.tokens * dearer / max(tokens, 1.0))

    def _sums(self, size: Size) -> tuple[float, float]:
        """Variance of the mean over tasks of a prompt's gap, and tokens of a prompt of each task."""
        costs = [  # a verifier that does not sample gives one verdict whatever is asked
            one.cost(Design(size.responses, min(size.verdicts, one.most_verdicts), self.savings))
            for one in self.forecasts
        ]
        weights = np.array([one.task.weight for one in self.forecasts])
        weights = weights / weights.sum()
        variance = sum(w**2 * cost.variance for w, cost in zip(weights.tolist(), costs, strict=True))
        return float(variance), float(sum(cost.tokens for cost in costs))
