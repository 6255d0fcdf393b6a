"""The designs that a plan chooses from, each with the prompts it needs for a half-width and what they cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from scipy.special import ndtri, stdtrit

from gapbench.design.forecast import Design, Forecast
from gapbench.design.trial import Control, Planned
from gapbench.estimate.control_variate import PROMPTS_PER_CONTROL
from gapbench.estimate.intervals import ALPHA
from gapbench.estimate.selection import BestOf, TopOf
from gapbench.panel import Float
from gapbench.savings import Savings

SHARES = (1.0, 0.75, 0.5)
RESAMPLES = 200
CONTROLS = 3  # of `grade_controls`
EXTRAPOLATED = "extrapolated"


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
    flags
        `extrapolated` where the design has more responses or verdicts than the pilot.
    """

    design: Design
    prompts: int
    prompts_low: int
    prompts_high: int
    verdicts_per_prompt: float
    tokens: float
    tokens_low: float
    tokens_high: float
    flags: tuple[str, ...] = ()


def sizes(forecasts: Sequence[Forecast], n: int, m: int) -> Iterator[tuple[int, int]]:
    """Numbers of responses and verdicts to try: from n by half steps of a doubling, and m by doublings."""
    pool = min(one.pool for one in forecasts)
    most = min(one.most_responses for one in forecasts)
    steps = {round(2 ** (half / 2)) for half in range(2, 2 * most.bit_length() + 1)}
    doublings = range((min(one.most_verdicts for one in forecasts) // m).bit_length() if m else 1)
    for size in sorted({n, pool, *(step for step in steps if n <= step <= most)}):
        yield from ((size, m * 2**power) for power in doublings)


def all_savings(filter: Planned, responses: int, pool: int, control: Control | None) -> Iterator[Savings]:
    """Savings to try with so many responses, the pilot having `pool`; other filters than best@n allow few."""
    if not isinstance(filter, BestOf):
        yield Savings(skip_unanimous=isinstance(filter, TopOf))
        return
    n = filter.n
    # Half of the pilot's responses at most, beyond it: from more, what leaving some out adds cannot be seen.
    limit = responses - 1 if responses <= pool else pool // 2
    few = [r for r in (n, n + n // 2, 2 * n) if r <= limit]
    for r, share in product([None, *dict.fromkeys(few)], SHARES):
        without = Savings(skip_unanimous=True, case_control=r, verified_share=share)
        yield without
        if control is not None and share < 1:
            yield without.model_copy(update={"control": control.name})


def can_learn(option: Option) -> bool:
    """Whether enough prompts are verified for the coefficients of the controls."""
    share = option.design.savings.verified_share
    controls = CONTROLS + (option.design.savings.control is not None)
    return share == 1 or option.prompts * share >= 2 * PROMPTS_PER_CONTROL * controls


def prompts_needed(variance: float, half_width: float, tasks: int = 1) -> int:
    """Prompts a task for which t(df = tasks (P - 1)) sqrt(variance/P) is at most the half-width."""
    if variance <= 0:
        return 2
    count = max(2.0, variance * (ndtri(1 - ALPHA / 2) / half_width) ** 2)
    while True:
        reach = stdtrit(tasks * (count - 1), 1 - ALPHA / 2) * np.sqrt(variance / count)
        if reach <= half_width * (1 + 1e-9):
            return int(np.ceil(count))
        count = max(count * (reach / half_width) ** 2, count + 1e-3)


def priced(forecasts: Sequence[Forecast], design: Design, half_width: float) -> Option:
    """A design with the prompts that it needs and what they cost."""
    [(prompts, asked, tokens)] = _needed(
        forecasts, design, half_width, [np.ones((1, len(one.task.utility))) for one in forecasts]
    )
    flags = (EXTRAPOLATED,) if any(one.extrapolated(design) for one in forecasts) else ()
    return Option(design, prompts, prompts, prompts, asked, tokens, tokens, tokens, flags)


def ranged(forecasts: Sequence[Forecast], option: Option, half_width: float, seed: int) -> Option:
    """The option with the range that its numbers have over resampled pilots."""
    rng = np.random.default_rng(seed)
    sizes = [len(one.task.utility) for one in forecasts]
    drawn = [rng.multinomial(size, np.full(size, 1 / size), RESAMPLES).astype(float) for size in sizes]
    found = np.array(_needed(forecasts, option.design, half_width, drawn))
    low, high = np.quantile(found, [ALPHA / 2, 1 - ALPHA / 2], axis=0)
    return replace(
        option,
        prompts_low=int(low[0]),
        prompts_high=int(np.ceil(high[0])),
        tokens_low=float(low[2]),
        tokens_high=float(high[2]),
    )


def _needed(
    forecasts: Sequence[Forecast], design: Design, half_width: float, resamples: Sequence[Float]
) -> list[tuple[int, float, float]]:
    """Prompts a task, verdicts a prompt, and tokens in all, for each resample of the pilot's prompts."""
    weights = np.array([one.task.weight for one in forecasts])
    weights = weights / weights.sum()
    costs = [one.costs(design, drawn) for one, drawn in zip(forecasts, resamples, strict=True)]
    variance = sum(weight**2 * cost[0] for weight, cost in zip(weights, costs, strict=True))
    asked, per_prompt = np.mean([cost[1] for cost in costs], axis=0), sum(cost[2] for cost in costs)
    found = []
    for own, verdicts, tokens in zip(np.asarray(variance), asked, np.asarray(per_prompt), strict=True):
        prompts = prompts_needed(float(own), half_width, len(forecasts))
        found.append((prompts, float(verdicts), prompts * float(tokens)))
    return found
