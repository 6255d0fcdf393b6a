"""How many prompts, responses and verdicts reach a wanted half-width at least tokens, learnt from a pilot run.

Nothing is assumed about the model or the verifier: what a design of N' responses, M' verdicts and some savings would
have found on the pilot's prompts is computed from part of the pilot's rows, and how much it differs from prompt to prompt is
the variance that its interval will have. Prompts needed go with that variance, tokens with prompts.

>>> from gapbench.synthetic import SCENARIOS, draw
>>> data = draw(SCENARIOS["mid"], 200, 16, seed=0)
>>> task = PilotTask("sums", data.utility, data.panel().scores["binary"], answer_tokens=50, verdict_tokens=50)
>>> found = plan([task], half_width=0.02)
>>> found.best.tokens < found.plain.tokens / 2
True
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import NamedTuple

import numpy as np
from scipy import stats

from gapbench.errors import UserError
from gapbench.estimate.case_control import case_control, case_control_gap, unanimous
from gapbench.estimate.control_variate import PROMPTS_PER_CONTROL, grade_controls
from gapbench.estimate.filters import parse_filter
from gapbench.estimate.intervals import ALPHA
from gapbench.estimate.selection import BestOf
from gapbench.panel import Bool, Float, Int, Scores, VerdictCounts
from gapbench.savings import Savings

BLOCKS = 4  # disjoint parts of the pilot's responses that a smaller design is tried on
SHARES = (1.0, 0.75, 0.5)
PROMPTS_PER_CONTROL_PLANNED = 40  # of the pilot, below which what controls explain is not counted on
RESAMPLES = 400
FEW_PROMPTS = 50
FEW_IN_PILOT = 100
CONTROLS = 3  # of `grade_controls`


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
        One verifier's verdicts on every response of every prompt that is not unanimous.
    answer_tokens, verdict_tokens
        Mean numbers of generated tokens of a response and of a verdict.
    weight
        Of the task's mean in the mean over tasks.
    control
        A cheaper verifier, if one may be asked about everything to steady the estimate.
    """

    name: str
    utility: Float
    scores: Scores | VerdictCounts
    answer_tokens: float
    verdict_tokens: float
    weight: float = 1.0
    control: Control | None = None


@dataclass(frozen=True, slots=True)
class Design:
    """What is drawn for each prompt: responses, verdicts for each response asked about, and who is asked about."""

    responses: int
    verdicts: int
    savings: Savings


@dataclass(frozen=True, slots=True)
class Option:
    """A design with as many prompts as the wanted half-width needs.

    Attributes
    ----------
    prompts
        For each task.
    prompts_low, prompts_high
        95 % range of `prompts`, for what a pilot of this size cannot know.
    verdicts_per_prompt
        Verdicts asked for, mean over prompts.
    tokens
        Generated tokens, all tasks together.
    """

    design: Design
    prompts: int
    prompts_low: int
    prompts_high: int
    verdicts_per_prompt: float
    tokens: float
    tokens_low: float
    tokens_high: float


@dataclass(frozen=True, slots=True)
class Noise:
    """Where the variance of one prompt's gap comes from, at the pilot's design; mean over tasks.

    Attributes
    ----------
    between
        True gaps differ from prompt to prompt: only more prompts help.
    responses
        Which responses were drawn.
    verdicts
        What the verifier happened to say; None where each response has one verdict only.
    unanimous
        Share of prompts whose responses are all right or all wrong.
    """

    between: float
    responses: float
    verdicts: float | None
    unanimous: float


@dataclass(frozen=True, slots=True)
class Plan:
    """The cheapest option, others to compare it with, and what qualifies it.

    Attributes
    ----------
    best
        Least tokens.
    plain
        The pilot's own numbers of responses and verdicts without savings.
    options
        The cheapest of each number of responses, best first.
    warnings
        Sentences for the reader.
    """

    filter: str
    m: int
    half_width: float
    best: Option
    plain: Option
    options: tuple[Option, ...]
    noise: Noise
    warnings: tuple[str, ...]


def plan(
    pilot: Sequence[PilotTask],
    *,
    half_width: float,
    n: int = 4,
    m: int | None = None,
    most_prompts: int | None = None,
    seed: int = 0,
) -> Plan:
    """Find the design that reaches a half-width of gap[best@n, m] at least tokens.

    Parameters
    ----------
    pilot
        The tasks over which the gap is to be averaged, by their weights; each will get the same number of prompts.
    half_width
        Half of the wanted 95 % interval.
    n, m
        Of the quantity; m is the pilot's number of verdicts where None.
    most_prompts
        As many as a task has.
    seed
        Seed of the bootstrap over the pilot's prompts.

    Raises
    ------
    UserError
        If the pilot cannot tell, or no design reaches the half-width.
    """
    have = min(task.scores.replicates for task in pilot)
    m = have if m is None else m
    pool = min(int((~np.isnan(task.utility)).sum(axis=1).max(initial=0)) for task in pilot)
    if not 0 < half_width < 1:
        raise UserError(f"--half-width {half_width:g}: give a number between 0 and 1")
    if m > have or n > pool:
        raise UserError(
            f"the pilot has {pool} responses x {have} verdicts, too few for gap[best@{n}, m={m}]: draw a larger pilot"
        )
    trials = {(N, M): [Trial(task, n, m, N, M) for task in pilot] for N, M in _sizes(n, m, pool, have)}
    tried = [
        _option(trials[N, M], Design(N, M, savings), half_width)
        for N, M in trials
        for savings in _all_savings(n, N, pilot[0].control)
    ]
    tried = [one for one in tried if _can_learn(one)]

    def ranged(one: Option) -> Option:
        return _ranged(trials[one.design.responses, one.design.verdicts], one, half_width, seed)

    plain = ranged(_option(trials[pool, m], Design(pool, m, Savings()), half_width))
    within = [one for one in tried if most_prompts is None or one.prompts <= most_prompts]
    if not within:
        fewest = min(tried, key=lambda one: one.prompts)
        raise UserError(
            f"a half-width of {half_width:g} needs {fewest.prompts} prompts a task with {fewest.design.responses} "
            f"responses each, and there are {most_prompts}: ask for a wider interval, or make a pilot with more responses"
        )
    cheapest: dict[int, Option] = {}
    for one in sorted(within, key=lambda one: one.tokens):
        cheapest.setdefault(one.design.responses, one)
    options = tuple(map(ranged, cheapest.values()))
    warnings = tuple(_warnings(pilot, options[0], pool))
    return Plan(f"best@{n}", m, half_width, options[0], plain, options, _noise(pilot, n, m, pool), warnings)


def best_n(label: str) -> int:
    """The n of `best@n`, the filter that can be planned for.

    Raises
    ------
    UserError
        If it is another filter.
    """
    found = parse_filter(label)
    if not isinstance(found, BestOf):
        raise UserError(f"--filter {label}: a plan is for best@n; give one such as best@4")
    return found.n


def _sizes(n: int, m: int, pool: int, have: int) -> Iterator[tuple[int, int]]:
    """Numbers of responses and verdicts to try: from n by half steps of a doubling, and m by doublings."""
    steps = [round(2 ** (half / 2)) for half in range(2, 2 * pool.bit_length() + 1)]
    for size in sorted({n, pool, *(step for step in steps if n <= step <= pool)}):
        yield from ((size, m * 2**power) for power in range(8) if m * 2**power <= have)


def _all_savings(n: int, responses: int, control: Control | None) -> Iterator[Savings]:
    few = [r for r in (n, n + n // 2, 2 * n) if n <= r < responses]
    for r, share in product([None, *dict.fromkeys(few)], SHARES):
        without = Savings(skip_unanimous=True, case_control=r, verified_share=share)
        yield without
        if control is not None and share < 1:
            yield without.model_copy(update={"control": control.name})


def _can_learn(option: Option) -> bool:
    """Whether enough prompts are verified for the coefficients of the controls."""
    share = option.design.savings.verified_share
    controls = CONTROLS + (option.design.savings.control is not None)
    return share == 1 or option.prompts * share >= 2 * PROMPTS_PER_CONTROL * controls


class Trial:
    """What N responses and M verdicts would have found on a task of the pilot.

    Parameters
    ----------
    task
        The task.
    n, m
        Of gap[best@n, m].
    responses, verdicts
        N and M, M a multiple of m.
    """

    def __init__(self, task: PilotTask, n: int, m: int, responses: int, verdicts: int) -> None:
        self.task, self.n, self.responses, self.verdicts = task, n, responses, verdicts
        size = task.utility.shape[1]
        blocks = min(size // responses, BLOCKS)
        self.parts = [slice(k * responses, (k + 1) * responses) for k in range(blocks)]
        self.scores = verdict_blocks(task.scores, m, verdicts // m)
        self._found: dict[int | None, list[_Columns]] = {}

    def columns(self, r: int | None) -> list[_Columns]:
        """For each block of responses."""
        if r not in self._found:
            self._found[r] = [self._columns(part, r) for part in self.parts]
        return self._found[r]

    def gaps(self, r: int | None = None) -> list[list[Float]]:
        """Gap of each prompt by each block of verdicts and of responses."""
        return [[self._gap(score, part, r) for part in self.parts] for score in self.scores]

    def _gap(self, score: Float, part: slice, r: int | None) -> Float:
        utility = self.task.utility[:, part]
        return case_control_gap(utility, score[:, part], _asked(utility, r), [self.n])[:, 0]

    def _columns(self, part: slice, r: int | None) -> _Columns:
        utility = self.task.utility[:, part]
        asked = _asked(utility, r)
        gap = np.mean([self._gap(score, part, r) for score in self.scores], axis=0)
        there = ~np.isnan(gap)
        mixed = ~unanimous(utility)
        cheap = np.empty((len(gap), 0))
        if self.task.control is not None:
            cheap = self._gap(self.task.control.score, part, None)[:, None]
        size = (~np.isnan(utility)).sum(axis=1)
        columns = (grade_controls(utility, self.n), cheap, asked.sum(axis=1), size, mixed)
        return _Columns(gap[there], *(column[there] for column in columns))

    def cost(self, savings: Savings, uniform: Float | None = None) -> Cost:
        """What a prompt costs, on resampled prompts of the pilot where uniform numbers are given for them."""
        costs = []
        for own in self.columns(savings.case_control):
            one = own if uniform is None else own.resampled(uniform)
            counts = one.mixed if savings.skip_unanimous else np.ones(len(one.gap))
            verdicts = float((one.asked * counts).mean()) * self.verdicts * savings.verified_share
            tokens = self.responses * self.task.answer_tokens + verdicts * self.task.verdict_tokens
            if savings.control is not None and self.task.control is not None:
                tokens += float((one.size * counts).mean()) * self.task.control.tokens
            costs.append((one.variance(savings), verdicts, tokens))
        return Cost(*np.mean(costs, axis=0).tolist())


class Cost(NamedTuple):
    """Of one prompt, in the mean: variance of its gap, verdicts asked for, tokens generated."""

    variance: float
    verdicts: float
    tokens: float


@dataclass(frozen=True, eq=False)
class _Columns:
    """By prompt: gap, controls by grades and by the cheap verifier, responses asked about and all, whether mixed."""

    gap: Float
    grades: Float
    cheap: Float
    asked: Int
    size: Int
    mixed: Bool

    def resampled(self, uniform: Float) -> _Columns:
        rows = (uniform[: len(self.gap)] * len(self.gap)).astype(int)
        columns = (self.gap, self.grades, self.cheap, self.asked, self.size, self.mixed)
        return _Columns(*(column[rows] for column in columns))

    def variance(self, savings: Savings) -> float:
        """Variance that an interval over P prompts has, times P.

        With a share s verified it is Var(t) + (1/s - 1) Var(t | controls), the second term being what the verified part
        may differ from all prompts by (see `controlled`).
        """
        total, share = float(self.gap.var(ddof=1)), savings.verified_share
        if share == 1:
            return total
        rest = self._by_all if savings.control is not None else self._by_grades
        return total + (1 / share - 1) * rest

    @cached_property
    def _by_grades(self) -> float:
        return self._unexplained(self.grades)

    @cached_property
    def _by_all(self) -> float:
        return self._unexplained(np.hstack([self.grades, self.cheap]))

    def _unexplained(self, controls: Float) -> float:
        count, number = controls.shape
        if count < PROMPTS_PER_CONTROL_PLANNED * number:
            return float(self.gap.var(ddof=1))
        centred = controls - controls.mean(axis=0)
        gap = self.gap - self.gap.mean()
        rest = gap - centred @ np.linalg.lstsq(centred, gap, rcond=1e-10)[0]
        return float((rest**2).sum() / (count - 1 - number))


def _asked(utility: Float, r: int | None) -> Bool:
    return ~np.isnan(utility) if r is None else case_control(utility, r)


def verdict_blocks(scores: Scores | VerdictCounts, m: int, blocks: int, seed: int = 0) -> list[Float]:
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


def prompts_needed(variance: float, half_width: float, tasks: int = 1) -> int:
    """Prompts a task for which t(df = tasks (P - 1)) sqrt(variance/P) is at most the half-width."""
    if variance <= 0:
        return 2
    count = max(2.0, variance * (stats.norm.ppf(1 - ALPHA / 2) / half_width) ** 2)
    while True:
        reach = stats.t.ppf(1 - ALPHA / 2, tasks * (count - 1)) * np.sqrt(variance / count)
        if reach <= half_width * (1 + 1e-9):
            return int(np.ceil(count))
        count = max(count * (reach / half_width) ** 2, count + 1e-3)


def _option(trials: list[Trial], design: Design, half_width: float) -> Option:
    prompts, asked, tokens = _needed(trials, design, half_width)
    return Option(design, prompts, prompts, prompts, asked, tokens, tokens, tokens)


def _ranged(trials: list[Trial], option: Option, half_width: float, seed: int) -> Option:
    """The option with the range that its numbers have over resampled pilots."""
    rng = np.random.default_rng(seed)
    drawn = np.array([_needed(trials, option.design, half_width, rng) for _ in range(RESAMPLES)])
    low, high = np.quantile(drawn, [ALPHA / 2, 1 - ALPHA / 2], axis=0)
    return replace(
        option,
        prompts_low=int(low[0]),
        prompts_high=int(np.ceil(high[0])),
        tokens_low=float(low[2]),
        tokens_high=float(high[2]),
    )


def _needed(
    trials: list[Trial], design: Design, half_width: float, rng: np.random.Generator | None = None
) -> tuple[int, float, float]:
    """Prompts a task, verdicts a prompt, and tokens in all; from resampled prompts of the pilot with `rng`."""
    weights = np.array([trial.task.weight for trial in trials])
    weights = weights / weights.sum()
    variance, asked, per_prompt = 0.0, 0.0, 0.0
    for weight, trial in zip(weights, trials, strict=True):
        uniform = None if rng is None else rng.random(len(trial.task.utility))
        own = trial.cost(design.savings, uniform)
        variance += weight**2 * own.variance
        asked += own.verdicts / len(trials)
        per_prompt += own.tokens
    prompts = prompts_needed(variance, half_width, len(trials))
    return prompts, asked, prompts * per_prompt


def _noise(pilot: Sequence[PilotTask], n: int, m: int, pool: int) -> Noise:
    """Covariances of the gaps that separate responses, or separate verdicts on the same responses, find."""
    found = []
    for task in pilot:
        total = Trial(task, n, m, pool, m).cost(Savings()).variance
        between = verdicts = np.nan
        if pool // 2 >= n:
            one, other = Trial(task, n, m, pool // 2, m).gaps()[0][:2]
            between = _covariance(one, other)
        half = m if task.scores.replicates >= 2 * m else m // 2
        if half:
            (one,), (other,) = (gaps[:1] for gaps in Trial(task, n, half, pool, 2 * half).gaps())
            verdicts = (one.var(ddof=1) - _covariance(one, other)) * half / m  # it falls like 1/m
        found.append((total, between, verdicts, unanimous(task.utility).mean()))
    total, between, verdicts, share = np.mean(found, axis=0)
    known = 0.0 if np.isnan(verdicts) else max(float(verdicts), 0.0)
    return Noise(
        float(between),
        max(float(total - between) - known, 0.0) if np.isfinite(between) else float("nan"),
        None if np.isnan(verdicts) else known,
        float(share),
    )


def _covariance(one: Float, other: Float) -> float:
    there = ~np.isnan(one) & ~np.isnan(other)
    return float(np.cov(one[there], other[there])[0, 1])


def _warnings(pilot: Sequence[PilotTask], best: Option, pool: int) -> Iterator[str]:
    fewest = min(len(task.utility) for task in pilot)
    if fewest < FEW_IN_PILOT:
        yield (
            f"the pilot has {fewest} prompts in a task: variances of so few are rough; "
            f"what is planned may come out a fifth too wide, as it seldom does from {FEW_IN_PILOT} or more"
        )
    if best.tokens_high > 2 * best.tokens_low:
        yield "the plan is uncertain by more than a factor of 2: run part of it and plan again from that"
    if best.design.responses == pool:
        yield f"the best number of responses is the pilot's own, {pool}: more may be cheaper still"
    if best.prompts < FEW_PROMPTS and best.prompts * len(pilot) < FEW_PROMPTS:
        yield (
            f"the plan has {best.prompts} prompts a task: "
            "intervals over so few may be wider than planned, and fewer than 20 only describe"
        )
