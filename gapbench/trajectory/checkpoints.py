"""Checkpoints of one domain, and what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from gapbench.estimate.coverage import pass_at_k
from gapbench.panel import Bool, Float, Int
from gapbench.trajectory.alarms import Alarm
from gapbench.trajectory.guards import Guard
from gapbench.trajectory.judge import MovingJudge
from gapbench.trajectory.measured import over_strata, within
from gapbench.trajectory.projection import SeriesProjection

Verdict = Literal["BEYOND-BASE", "REGRESSION", "MIXED", "SHARPENING-CONSISTENT", "UNDERPOWERED", "REFUSED"]


@dataclass(frozen=True, eq=False)
class Checkpoints:
    """One domain at two or more points of training, on the same prompts in the same order.

    Attributes
    ----------
    domain
        Its name.
    utility
        Of each checkpoint [prompt, response], the base first and the tuned model last; NaN where a response does not count.
    clock
        Time of each checkpoint; 0, 1, 2, ... where None.
    proxy
        The training signal or the verifier's score of the same responses, of each checkpoint; NaN where missing.
    clusters
        Cluster of each prompt.
    tasks
        Task of each prompt. Tasks weigh alike in the accuracy over the checkpoints, as in every estimate; test and
        decomposition are about prompts, which weigh alike there.
    censored
        True where a response was cut at the token limit, of each checkpoint.
    fresh_gap
        Gap of each prompt of a fresh set, of each checkpoint [prompt].
    forms
        Base utilities under other prompt forms [prompt, response].
    guess
        Chance that a guess is right, such as .25 for four choices.
    false_positive
        Rate at which the grader passes wrong answers, where it was measured.
    """

    domain: str
    utility: Sequence[Float]
    clock: Sequence[float] | None = None
    proxy: Sequence[Float] | None = None
    clusters: Int | None = None
    tasks: Int | None = None
    censored: Sequence[Bool] | None = None
    fresh_gap: Sequence[Float] | None = None
    forms: Sequence[Float] = field(default_factory=tuple)
    guess: float = 0.0
    false_positive: float | None = None

    @property
    def times(self) -> Float:
        """Time of each checkpoint."""
        given = range(len(self.utility)) if self.clock is None else self.clock
        return np.asarray(given, dtype=float)

    def accuracy(self) -> tuple[Float, Float]:
        """Accuracy [checkpoint] with the covariance that shared prompts give it [checkpoint, checkpoint].

        Of a single cluster nothing is known but the luck of the responses.
        """
        rates = np.stack([np.nanmean(one, axis=1) for one in self.utility])
        prompts = np.arange(rates.shape[1])
        clusters = prompts if self.clusters is None else self.clusters
        tasks = np.zeros_like(prompts) if self.tasks is None else self.tasks
        members = [tasks == one for one in np.unique(tasks)]
        parts = [(1 / len(members), rates[:, one], clusters[one]) for one in members]
        mean, covariance, groups = over_strata(parts)
        return mean, np.diag([within(one) for one in self.utility]) if groups < 2 else covariance


@dataclass(frozen=True, slots=True)
class Share:
    """A part of the gain, or another number, with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Test:
    """The one-sided test of H0(M): no prompt's tuned pass rate exceeds 1 - (1 - p)^M.

    Attributes
    ----------
    difference, low
        Mean excess over the prompts, cross-fitted, and its one-sided 95 % lower bound.
    p, p_adjusted
        Before and after Holm over the domains; NaN where no test was made.
    M
        What one tuned response is worth under the null; 0 where no test was made.
    note
        Why M is lower than asked for, or why there is no test.
    """

    __test__ = False  # not one of pytest's

    difference: float
    low: float
    p: float
    p_adjusted: float
    M: int
    note: str


@dataclass(frozen=True, slots=True)
class Decomposition:
    """gain = sharpened + beyond - regressed, exactly.

    Attributes
    ----------
    beyond
        Cross-fitted; NaN where no test could be made, and then what would be beyond is in `sharpened`.
    beyond_at_most
        Plug-in mean of max(q - C(M), 0), biased upwards: the safe bound, with one-sided 95 % ends.
    """

    gain: Share
    sharpened: Share
    beyond: Share
    regressed: Share
    beyond_at_most: Share


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is said of one domain; the fields are the `--json` contract.

    Attributes
    ----------
    verdict
        BEYOND-BASE where the test rejects, REGRESSION where the lower bound of `regressed` exceeds delta, MIXED for
        both, SHARPENING-CONSISTENT where neither and at most delta can be beyond, else UNDERPOWERED, always so below 20
        prompts; REFUSED where
        guessing makes the null meaningless.
    sensitivity
        The test at other M.
    plateau
        Projection of accuracy over the checkpoints; its status says what it is worth.
    judge
        None with fewer than 3 checkpoints or without a proxy.
    replenishment
        Gap on fresh prompts at the last checkpoint less that at the base; None where it was not measured.
    crossing
        Responses from which the base's pass@k is the higher; NaN where it never is.
    """

    domain: str
    verdict: Verdict
    test: Test
    sensitivity: tuple[Test, ...]
    decomposition: Decomposition
    guards: tuple[Guard, ...]
    plateau: SeriesProjection
    judge: MovingJudge | None
    alarms: tuple[Alarm, ...]
    replenishment: Share | None
    crossing: float

    @property
    def label(self) -> str:
        """The verdict with M, as in `BEYOND-BASE@64`."""
        return f"{self.verdict}@{self.test.M}" if self.verdict == "BEYOND-BASE" else self.verdict


def pass_curves(data: Checkpoints) -> tuple[list[int], Float, Float]:
    """Mean pass@k of base and tuned model for k = 1, 2, 4, ... [k]."""
    sides = data.utility[0], data.utility[-1]
    most = min(int((~np.isnan(one)).sum(axis=1).min()) for one in sides)
    ks = [2**power for power in range(most.bit_length())]
    base, tuned = (pass_at_k(one, ks).mean(axis=0) for one in sides)
    return ks, base, tuned
