"""How many prompts, responses and verdicts reach a wanted half-width at least tokens, learnt from a pilot run.

What a design would have found on the pilot's prompts is tried on the pilot's rows (`gapbench.design.trial`), and extrapolated
where it asks for more of them than there are (`gapbench.design.forecast`). Prompts needed go with the variance, tokens with prompts.

>>> from gapbench.synthetic import SCENARIOS, draw
>>> data = draw(SCENARIOS["mid"], 200, 16, seed=0)
>>> task = PilotTask("sums", data.utility, data.panel().scores["binary"], answer_tokens=50, verdict_tokens=50)
>>> found = plan([task], half_width=0.02)
>>> found.best.tokens < found.plain.tokens / 2
True
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gapbench.design.candidates import Option, all_savings, can_learn, priced, prompts_needed, ranged, sizes
from gapbench.design.forecast import FURTHEST, Design, Forecast, Noise
from gapbench.design.trial import Control, PilotTask, Planned, Trial, verdict_blocks
from gapbench.errors import UserError
from gapbench.estimate.filters import MajorityAt, parse_filter
from gapbench.estimate.selection import BestOf, TopOf
from gapbench.savings import Savings

__all__ = [
    "Control", "Design", "Noise", "Option", "PilotTask", "Plan", "Trial", "plan", "planned_filter", "prompts_needed",
    "verdict_blocks",
]  # fmt: skip

WORTH_SHOWING = 2.0  # times the tokens of the best
FEW_PROMPTS = 50
FEW_IN_PILOT = 100


@dataclass(frozen=True, slots=True)
class Plan:
    """The cheapest option, others to compare it with, and what qualifies it.

    Attributes
    ----------
    m
        Verdicts behind a score; None for a vote, which has none.
    best
        Least tokens.
    plain
        The pilot's own numbers of responses and verdicts without savings.
    options
        The cheapest of each number of responses, best first, up to twice the tokens of the best.
    warnings
        Sentences for the reader.
    """

    filter: str
    m: int | None
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
    filter: str = "best@4",
    m: int | None = None,
    most_prompts: int | None = None,
    seed: int = 0,
) -> Plan:
    """Find the design that reaches a half-width of a gap at least tokens.

    Parameters
    ----------
    pilot
        The tasks over which the gap is to be averaged, by their weights; each will get the same number of prompts.
    half_width
        Half of the wanted 95 % interval.
    filter
        `best@n`, `top k of n` or `majority@n`. Only best@n can do with few right and wrong responses verified, or with part
        of the prompts; a vote asks for no verdict.
    m
        Verdicts behind a score; the pilot's number where None.
    most_prompts
        As many as a task has.
    seed
        Seed of the bootstrap over the pilot's prompts.

    Raises
    ------
    UserError
        If the pilot cannot tell, or no design reaches the half-width.
    """
    wanted = planned_filter(filter)
    n = wanted.n
    have = min(task.replicates for task in pilot)
    pool = min(task.pool for task in pilot)
    voting = isinstance(wanted, MajorityAt)
    if not 0 < half_width < 1:
        raise UserError(f"--half-width {half_width:g}: give a number between 0 and 1")
    if voting and m is not None:
        raise UserError(
            f"--verdicts {m}: {filter} is a vote of the answers and asks for no verdict; leave it out"
        )
    m = 0 if voting else m or have
    if m > have or n > pool:
        named = filter if voting else f"{filter}, m={m}"
        raise UserError(
            f"the pilot has {pool} responses x {have} verdicts, too few for gap[{named}]: draw a larger pilot"
        )
    forecasts = [Forecast(task, wanted, m) for task in pilot]
    tried = [
        priced(forecasts, Design(size, verdicts, savings), half_width)
        for size, verdicts in sizes(forecasts, n, m)
        for savings in all_savings(wanted, size, pool, pilot[0].control)
    ]
    tried = [one for one in tried if can_learn(one)]
    within = [one for one in tried if most_prompts is None or one.prompts <= most_prompts]
    if not within:
        fewest = min(tried, key=lambda one: one.prompts)
        raise UserError(
            f"a half-width of {half_width:g} needs {fewest.prompts} prompts a task with {fewest.design.responses} "
            f"responses each, and there are {most_prompts}: ask for a wider interval, or make a pilot with more responses"
        )
    cheapest: dict[int, Option] = {}
    for one in sorted(within, key=lambda one: one.tokens):
        if one.tokens <= WORTH_SHOWING * min(other.tokens for other in within):
            cheapest.setdefault(one.design.responses, one)
    options = tuple(ranged(forecasts, one, half_width, seed) for one in cheapest.values())
    plain = priced(forecasts, Design(pool, m, Savings()), half_width)
    return Plan(
        wanted.label,
        m or None,
        half_width,
        options[0],
        ranged(forecasts, plain, half_width, seed),
        options,
        _mean_noise(forecasts),
        tuple(_warnings(forecasts, options[0], pool)),
    )


def planned_filter(label: str) -> Planned:
    """A filter that can be planned for, from its name.

    Raises
    ------
    UserError
        If it is another filter, or one response leaves it no choice.
    """
    found = parse_filter(label)
    if not isinstance(found, BestOf | TopOf | MajorityAt) or found.n == 1:
        raise UserError(
            f"--filter {label}: a plan is for best@n, top k of n or majority@n with n above 1; give one such as best@4"
        )
    return found


def _mean_noise(forecasts: Sequence[Forecast]) -> Noise:
    found = [one.noise() for one in forecasts]
    verdicts = [one.verdicts for one in found if one.verdicts is not None]
    between, responses, share = np.mean(
        [(one.between, one.responses, one.unanimous) for one in found], axis=0
    ).tolist()
    return Noise(between, responses, float(np.mean(verdicts)) if verdicts else None, share)


def _warnings(forecasts: Sequence[Forecast], best: Option, pool: int) -> Iterator[str]:
    fewest = min(len(one.task.utility) for one in forecasts)
    if fewest < FEW_IN_PILOT:
        yield (
            f"the pilot has {fewest} prompts in a task: variances of so few are rough; "
            f"what is planned may come out a fifth too wide, as it seldom does from {FEW_IN_PILOT} or more"
        )
    if best.tokens_high > 2 * best.tokens_low:
        yield "the plan is uncertain by more than a factor of 2: run part of it and plan again from that"
    if best.flags:
        yield "the plan asks for more responses or verdicts than the pilot has, which is extrapolated"
    most = min(one.most_responses for one in forecasts)
    if best.design.responses == most:
        beyond = "the pilot's own" if most == pool else f"{FURTHEST} times the pilot's"
        yield f"the best number of responses is {beyond}, {most}: more may be cheaper still"
    if best.prompts < FEW_PROMPTS and best.prompts * len(forecasts) < FEW_PROMPTS:
        yield (
            f"the plan has {best.prompts} prompts a task: "
            "intervals over so few may be wider than planned, and fewer than 20 only describe"
        )
