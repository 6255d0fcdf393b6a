"""What must hold before a verdict is believed, each shown with how it was come by, or as not measured or not applicable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gapbench.estimate.intervals import estimate
from gapbench.estimate.quantity import mean
from gapbench.panel import Bool, Float, Int
from gapbench.trajectory.beyond import (
    ALPHA,
    RIGHT,
    SOLVED,
    Halves,
    cross_fitted,
    excess_test,
    halves,
    worth_allowed,
)

State = Literal["measured", "simulated", "applied", "not_measured", "not_applicable"]

TRIALS = 200
SPIKED = 0.05
POWER = 0.8
FALSE_SOLVED = 0.05


@dataclass(frozen=True, slots=True)
class Guard:
    """One guard.

    Attributes
    ----------
    state
        `measured` from responses, `simulated` with pass rates like theirs, `applied` where it corrects; or why not: there
        was not what it takes, or nothing to look at.
    passed
        None where it was not measured, or has no bound to pass.
    value
        The number behind it; NaN where there is none.
    note
        What the number is, in a sentence.
    """

    name: str
    state: State
    passed: bool | None
    value: float
    note: str


def placebo(base: Float, clusters: Int | None, most: int, seed: int) -> Guard:
    """The test with one half of the base responses in the role of tuned ones: it must not reject."""
    name = "placebo"
    parts = halves(base, seed)
    roles = [_part(parts, one) for one in (0, 1)]
    first, second = (halves(role, seed + 1) for role in roles)
    worth = worth_allowed(first, most)
    if worth == 0:
        return _missing(
            name, "half of the base responses are too few for the test; draw at least 64 a prompt"
        )
    p = float(excess_test(cross_fitted(first, second, worth), second, clusters)[2])
    return Guard(
        name, "measured", p > ALPHA, p, f"p of base against base at M = {worth}, which must exceed .05"
    )


def positive_control(base: Float, tuned: Halves, worth: int, seed: int) -> Guard:
    """How often the test finds what is put into it: 5 % of prompts out of reach of the base, solved half the time after.

    The other prompts have the base's own pass rates and q = C(M), the most that the null allows.
    """
    rng = np.random.default_rng([seed, 7])
    whole = halves(base, seed)
    p = np.tile(whole.rate.mean(axis=-1), (TRIALS, 1))
    q = 1.0 - (1.0 - p) ** worth
    spiked = rng.random(p.shape).argsort(axis=1) < max(1, round(SPIKED * p.shape[1]))
    p[spiked], q[spiked] = 0.0, 0.5
    found = [
        Halves(
            rng.binomial(sizes, np.repeat(rate[..., None], 2, axis=-1)),
            np.broadcast_to(sizes, (*rate.shape, 2)),
        )
        for rate, sizes in ((p, whole.total), (q, tuned.total))
    ]
    rejected = excess_test(cross_fitted(found[0], found[1], worth), found[1])[2] <= ALPHA
    power = float(rejected.mean())
    note = (
        f"share of {TRIALS} simulated runs in which the test finds 5 % of prompts that the base cannot solve"
    )
    return Guard("positive_control", "simulated", power >= POWER, power, note)


def elicitation(base: Float, tuned: Float, forms: Sequence[Float]) -> Guard:
    """Prompts that only the tuned model solves must also defeat the base under every other prompt form.

    Parameters
    ----------
    forms
        Utilities of base responses to other forms of the same prompts [prompt, response]; prompts that were asked in no
        other form do not count.
    """
    name = "elicitation"
    if not forms:
        return _missing(name, "give a run of the base on the same questions asked otherwise (--elicitation)")
    new = ~_solved(base) & (np.nanmean(tuned >= RIGHT, axis=1, where=~np.isnan(tuned)) >= SOLVED)
    new &= np.any([~np.isnan(form).all(axis=1) for form in forms], axis=0)
    if not new.any():
        return Guard(
            name,
            "not_applicable",
            None,
            float("nan"),
            "no prompt that was asked in another form is one that the base never solves and the tuned model solves often",
        )
    elsewhere = np.any([_solved(form) for form in forms], axis=0)
    share = float(elsewhere[new].mean())
    return Guard(
        name,
        "measured",
        share == 0.0,
        share,
        "share of newly solved prompts that the base solves in another form",
    )


def false_positives(rate: float | None, responses: int) -> Guard:
    """Chance that the grader passes some response to a prompt that nothing solves: 1 - (1 - f)^K."""
    if rate is None:
        return _missing(
            "false_positives",
            "give the rate at which the grader passes wrong answers, from a regrade (--false-positives)",
        )
    bound = 1.0 - (1.0 - rate) ** responses
    note = f"chance that one of {responses} wrong responses is graded right"
    return Guard("false_positives", "measured", bound <= FALSE_SOLVED, bound, note)


def truncation(base: Bool | None, tuned: Bool | None, clusters: Int | None, delta: float) -> Guard:
    """Both models must be cut at the token limit alike: the difference of shares lies within `delta`.

    Parameters
    ----------
    base, tuned
        True where a response was cut [prompt, response].
    """
    if base is None or tuned is None:
        return _missing("truncation", "the finish reasons are not known")
    note = "share of tuned responses cut at the token limit, less that of base responses"
    if not (base.any() or tuned.any()):  # an interval for other prompts would be too wide to pass
        return Guard("truncation", "measured", True, 0.0, note)
    found = estimate(mean(tuned.mean(axis=1) - base.mean(axis=1), -1, 1), clusters=clusters)
    return Guard("truncation", "measured", bool(-delta < found.low and found.high < delta), found.value, note)


def multiplicity(domains: int) -> Guard:
    """Holm over the domains."""
    if domains < 2:
        return Guard("holm", "not_applicable", None, float(domains), "there is one domain")
    return Guard("holm", "applied", None, float(domains), "domains over which p is adjusted by Holm's method")


def _missing(name: str, note: str) -> Guard:
    return Guard(name, "not_measured", None, float("nan"), note)


def _solved(utility: Float) -> Bool:
    return np.asarray((np.nan_to_num(utility) >= RIGHT).any(axis=1))


def _part(parts: Halves, half: int) -> Float:
    """Right and wrong responses of one half, as utilities: which is which has no meaning [prompt, response]."""
    size = int(parts.total.max())
    place = np.arange(size)
    right = place < parts.right[:, half, None]
    return np.where(place < parts.total[:, half, None], right.astype(float), np.nan)
