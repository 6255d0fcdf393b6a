"""What a design would have found on a pilot's prompts: part of its rows, put through the estimator of the real thing.

Nothing is assumed about the model or the verifier. How much the gaps so found differ from prompt to prompt is the variance
that an interval over prompts will have.

>>> from gapbench.synthetic import SCENARIOS, draw
>>> data = draw(SCENARIOS["mid"], 200, 16, seed=0)
>>> task = PilotTask("sums", data.utility, data.panel().scores["binary"], answer_tokens=50, verdict_tokens=50)
>>> few, many = (Trial(task, BestOf(4), 8, size, 8).cost(Savings()) for size in (8, 16))
>>> few.variance > many.variance, few.tokens < many.tokens
(True, True)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from gapbench.estimate.case_control import case_control, case_control_gap, unanimous
from gapbench.estimate.control_variate import grade_controls
from gapbench.estimate.coverage import majority_at_n
from gapbench.estimate.filters import MajorityAt
from gapbench.estimate.selection import BestOf, Order, TopOf, mean_response
from gapbench.panel import Bool, Float, Int, Scores, VerdictCounts
from gapbench.savings import Savings

BLOCKS = 4  # disjoint parts of the pilot's responses that a smaller design is tried on
PROMPTS_PER_CONTROL_PLANNED = 40  # of the pilot, below which what controls explain is not counted on

Planned = BestOf | TopOf | MajorityAt
"""Filters whose gap is one unbiased number a prompt, whatever the number of responses from n on."""


@dataclass(frozen=True, eq=False)
class Control:
    """A cheap verifier: its name, scores [prompt, response], and mean tokens of a verdict."""

    name: str
    score: Float
    tokens: float


@dataclass(frozen=True, eq=False)
class PilotTask:
    """One task of a pilot run.

    Attributes
    ----------
    utility
        [prompt, response]; NaN where there is no graded response.
    scores
        One verifier's verdicts on every response of every prompt that is not unanimous; None for a vote.
    answer_tokens, verdict_tokens
        Mean numbers of generated tokens of a response and of a verdict.
    weight
        Of the task's mean in the mean over tasks.
    control
        A cheaper verifier, if one may be asked about everything to steady the estimate.
    answers
        Codes of the answers [prompt, response], for a vote.
    most
        At most so many right and so many wrong responses of a prompt have verdicts, the first ones; None where all have.
    """

    name: str
    utility: Float
    scores: Scores | VerdictCounts | None
    answer_tokens: float
    verdict_tokens: float
    weight: float = 1.0
    control: Control | None = None
    answers: Int | None = None
    most: int | None = None

    @property
    def pool(self) -> int:
        """Responses of a prompt that has all."""
        return int((~np.isnan(self.utility)).sum(axis=1).max(initial=0))

    @property
    def replicates(self) -> int:
        """Verdicts of a response; 0 for a vote."""
        return 0 if self.scores is None else self.scores.replicates


class Cost(NamedTuple):
    """Of one prompt, in the mean: variance of its gap, verdicts asked for, tokens generated."""

    variance: float
    verdicts: float
    tokens: float


class Trial:
    """What N responses and M verdicts would have found on a task of the pilot.

    Parameters
    ----------
    task
        The task.
    filter, m
        Of the gap; m is 0 for a vote.
    responses, verdicts
        N, at most the pilot's, and M, a multiple of m.
    """

    def __init__(self, task: PilotTask, filter: Planned, m: int, responses: int, verdicts: int) -> None:
        self.task, self.filter, self.responses, self.verdicts = task, filter, responses, verdicts
        # Where not all is verified, the first right and wrong responses are, which lie in the first part only.
        blocks = min(task.utility.shape[1] // responses, BLOCKS) if task.most is None else 1
        self.parts = [slice(k * responses, (k + 1) * responses) for k in range(blocks)]
        blocked = [] if task.scores is None else verdict_blocks(task.scores, m, verdicts // m)
        self.scores: list[Float | None] = [*blocked] or [None]
        self._found: dict[int | None, list[Columns]] = {}

    def columns(self, r: int | None) -> list[Columns]:
        """For each block of responses, with at most r right and r wrong ones verified."""
        if r not in self._found:
            self._found[r] = [self._columns(part, r) for part in self.parts]
        return self._found[r]

    def gaps(self, r: int | None = None) -> list[list[Float]]:
        """Gap of each prompt by each block of verdicts and of responses."""
        return [[self._gap(score, part, r) for part in self.parts] for score in self.scores]

    def _gap(self, score: Float | None, part: slice, r: int | None) -> Float:
        utility = self.task.utility[:, part]
        present = ~np.isnan(utility)
        if score is None or isinstance(self.filter, MajorityAt):
            assert self.task.answers is not None
            voted = majority_at_n(utility, self.task.answers[:, part], [self.filter.n])[:, 0]
            return np.asarray(voted - mean_response(utility, present))
        if isinstance(self.filter, BestOf):
            return case_control_gap(utility, score[:, part], _asked(utility, r), [self.filter.n])[:, 0]
        return Order.of(score[:, part], present).rank(utility).gap([self.filter])[:, 0]

    def _columns(self, part: slice, r: int | None) -> Columns:
        utility = self.task.utility[:, part]
        cheap = np.empty((len(utility), 0))
        if self.task.control is not None:
            cheap = self._gap(self.task.control.score, part, None)[:, None]
        gap = np.mean([self._gap(score, part, r) for score in self.scores], axis=0)
        asked, size = _asked(utility, r).sum(axis=1), (~np.isnan(utility)).sum(axis=1)
        return Columns(gap, grade_controls(utility, self.filter.n), cheap, asked, size, ~unanimous(utility))

    def cost(self, savings: Savings) -> Cost:
        """What a prompt costs, by the prompts of the pilot."""
        return Cost(*self.costs(savings, np.ones((1, len(self.task.utility))))[:, 0].tolist())

    def costs(self, savings: Savings, weights: Float) -> Float:
        """The fields of `Cost` [field, resample] on resampled prompts; `weights` [resample, prompt] says how often each."""
        found = []
        for one in self.columns(savings.case_control):
            counts = one.mixed if savings.skip_unanimous else np.ones(len(one.gap))
            rows = one.there * weights
            size = rows.sum(axis=1)
            verdicts = rows @ (one.asked * counts) / size * self.verdicts * savings.verified_share
            tokens = self.responses * self.task.answer_tokens + verdicts * self.task.verdict_tokens
            if savings.control is not None and self.task.control is not None:
                tokens = tokens + rows @ (one.size * counts) / size * self.task.control.tokens
            found.append((one.variance(savings, weights), verdicts, tokens))
        return np.asarray(np.mean(found, axis=0))


@dataclass(frozen=True, eq=False)
class Columns:
    """By prompt: gap or NaN, controls by grades and by `cheap`, responses asked about and all, whether utilities differ."""

    gap: Float
    grades: Float
    cheap: Float
    asked: Int
    size: Int
    mixed: Bool

    @cached_property
    def there(self) -> Bool:
        """Prompts that have a gap."""
        return ~np.isnan(self.gap)

    def variance(self, savings: Savings, weights: Float) -> Float:
        """Variance that an interval over P prompts has, times P [resample]; `weights` as for `Trial.costs`.

        With a share s verified it is Var(t) + (1/s - 1) Var(t | controls), the second term being what the verified part
        may differ from all prompts by (see `gapbench.estimate.control_variate.controlled`).
        """
        total, share = covariance(self.gap, self.gap, weights), savings.verified_share
        if share == 1:
            return total
        rest = self._by_all if savings.control is not None else self._by_grades
        if rest is None:
            return total / share
        rows = self.there * weights
        return np.asarray(total + (1 / share - 1) * (rows @ rest) / rows.sum(axis=1))

    @cached_property
    def _by_grades(self) -> Float | None:
        return self._unexplained(self.grades)

    @cached_property
    def _by_all(self) -> Float | None:
        return self._unexplained(np.hstack([self.grades, self.cheap]))

    def _unexplained(self, controls: Float) -> Float | None:
        """Squared residual of each prompt, its mean unbiased; None where prompts are too few to learn from."""
        count, number = int(self.there.sum()), controls.shape[1]
        if count < PROMPTS_PER_CONTROL_PLANNED * number:
            return None
        known, gap = controls[self.there], self.gap[self.there]
        centred, gap = known - known.mean(axis=0), gap - gap.mean()
        square = np.zeros(len(self.gap))
        square[self.there] = (gap - centred @ np.linalg.lstsq(centred, gap, rcond=1e-10)[0]) ** 2
        return np.asarray(square * count / (count - 1 - number))


def covariance(one: Float, other: Float, weights: Float) -> Float:
    """Unbiased covariance of two columns [resample], over the prompts that have both."""
    both = ~np.isnan(one + other)
    rows = both * weights
    count = rows.sum(axis=1)
    centre = np.mean(one[both]), np.mean(other[both])
    a, b = (np.where(both, column - mean, 0.0) for column, mean in zip((one, other), centre, strict=True))
    mean = (rows @ (a * b)) / count - (rows @ a) * (rows @ b) / count**2
    return np.asarray(mean * count / np.maximum(count - 1, 1.0))


def _asked(utility: Float, r: int | None) -> Bool:
    return ~np.isnan(utility) if r is None else case_control(utility, r)


def verdict_blocks(scores: Scores | VerdictCounts, m: int, blocks: int, seed: int = 0) -> Sequence[Float]:
    """Scores by the first m verdicts of each response, by the next m, and so on [prompt, response]."""
    if isinstance(scores, Scores):
        own = [scores.values[:, :, k * m : (k + 1) * m] for k in range(blocks)]
        return [replace(scores, values=values).mean for values in own]
    if scores.replicates == m:
        return [scores.mean]
    rng = np.random.default_rng(seed)
    yes, valid = scores.yes.astype(np.int64), scores.valid.astype(np.int64)
    found = []
    for _ in range(blocks):
        drawn = np.minimum(m, valid)
        taken = rng.hypergeometric(yes, valid - yes, drawn)
        found.append(VerdictCounts(taken, drawn, m).mean)
        yes, valid = yes - taken, valid - drawn
    return found
