"""What is said of series, checkpoints and the forecasts made of them, each sentence with the sort of statement that it is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

from gapbench.estimate.intervals import DESCRIPTIVE_BELOW
from gapbench.report.text import interval, number
from gapbench.report.view import OVERALL
from gapbench.trajectory.alarms import Name
from gapbench.trajectory.checkpoints import Outcome
from gapbench.trajectory.guards import Guard, State
from gapbench.trajectory.projection import NOTHING_LEFT, Kind, SeriesProjection, Status
from gapbench.trajectory.scored import ForecastScore, counted, skill_over_last

STATUS: dict[Status, str] = {
    "too_few_points": "fewer than 4 points in time: no projection",
    "declining": "the series is declining: no plateau ahead",
    "plateaued_or_no_signal": "a constant fits: plateaued, or no signal",
    "lower_bound_only": "only a lower bound of the plateau is identified",
    "identified": "plateau identified",
}
GAP_STATUS: dict[Status, str] = {
    **STATUS,
    "declining": "the gap is growing: no plateau ahead",
    "lower_bound_only": "only an upper bound of the plateau is identified",
}
"""A gap falls to its plateau."""

SUBJECT: dict[Kind, str] = {"solver": "accuracy", "verifier": "the verifier", "gap": "the gap"}

ALARMS: dict[Name, str] = {
    "reward_hacking": "the verifier's score has risen and accuracy has not",
    "diversity_collapse": "coverage at the largest k has fallen",
}

Sort = Literal["measurement", "projection", "scenario", "simulation", "not measured"]
"""What a sentence rests on; `simulation` where pass rates like the measured ones were drawn from."""


def status_words(found: SeriesProjection) -> str:
    """The status of a series in words."""
    return (GAP_STATUS if found.kind == "gap" else STATUS)[found.status]


def series_sentences(found: SeriesProjection) -> list[tuple[Sort, str]]:
    """What there is to say of a series, and what sort of statement each sentence is."""
    said: list[tuple[Sort, str]] = []
    if math.isfinite(found.value_now):
        said.append(
            (
                "measurement",
                f"At t = {found.now:g} {SUBJECT[found.kind]} stands at {number(found.value_now)}.",
            )
        )
    words = status_words(found)
    return [*said, ("projection", f"{words[0].upper()}{words[1:]}."), *plateau_sentences(found)]


def plateau_sentences(found: SeriesProjection) -> list[tuple[Sort, str]]:
    """Plateau, date and forecasts of a series, as far as they are known, and what they are worth."""
    said: list[tuple[Sort, str]] = [("projection", sentence) for sentence in _where(found)]
    if "claims_withheld" in found.flags:
        mase = number(found.rolling.mase)
        said.append(
            (
                "measurement",
                f"Forecasts from earlier points did no better than the last value (MASE {mase}): no date is given.",
            )
        )
    if "descriptive" in found.flags:
        said.append(("measurement", f"Fewer than {DESCRIPTIVE_BELOW} prompts: all of this is descriptive."))
    if found.joint is not None and not found.joint.used:
        said.append(
            (
                "measurement",
                f"Solver and verifier move at different rates, {_p(found.joint.p)}: a sign of an anchor outside the loop.",
            )
        )
    said += [
        ("projection", f"At t = {one.t:g}: {number(one.value)} {interval(one.low, one.high)} ({one.law}).")
        for one in found.forecast
    ]
    return said


def _where(found: SeriesProjection) -> Iterator[str]:
    """The plateau and its date, as far as they are known."""
    ends = interval(found.plateau_low, found.plateau_high)
    if found.status == "identified":
        yield (
            f"Plateau {number(found.plateau)} {ends}."
            if math.isfinite(found.plateau)
            else f"Plateau within {ends}."
        )
    elif found.status == "lower_bound_only":
        bound = (
            f"at most {number(found.plateau_high)}"
            if found.kind == "gap"
            else f"at least {number(found.plateau_low)}"
        )
        yield f"The plateau is {bound}; no date is given."
    if found.status == "identified" and abs(found.reserve) < NOTHING_LEFT:
        most = max(abs(found.reserve_low), abs(found.reserve_high))
        yield f"By the law that fits best nothing is left (at most {number(most)}), so that there is no date."
    if math.isfinite(found.t95):
        unproved = "; no earlier forecast puts it to the test" if "not_scored" in found.flags else ""
        when = f"{found.t95:.3g} [{found.t95_low:.3g}, {found.t95_high:.3g}]"
        yield f"95 % of the reserve is spent by t = {when}{unproved}."


def outcome_sentences(found: Outcome) -> list[tuple[Sort, str]]:
    """What there is to say of a domain's checkpoints, and what sort of statement each sentence is."""
    parts, test = found.decomposition, found.test
    words = {"sharpened": "sharpened" if test.M else "sharpened or beyond"}
    shares = ", ".join(
        f"{words.get(name, name)} {number(share.value)} {interval(share.low, share.high)}"
        for name in ("sharpened", "beyond", "regressed")
        if math.isfinite((share := getattr(parts, name)).value)
    )
    facts = [f"{found.domain}: gain {number(parts.gain.value, signed=True)} = {shares}."]
    if test.M:
        facts.append(
            f"{found.label}: mean excess over the worth of {test.M} base responses {number(test.difference)}, {_p(test.p_adjusted)}."
        )
    else:
        facts.append(f"{found.label}.")
    return [("measurement", fact) for fact in facts] + further_sentences(found) + _guards(found.guards)


def further_sentences(found: Outcome) -> list[tuple[Sort, str]]:
    """What there is to say of a domain's checkpoints beside verdict, decomposition and guards."""
    facts = [f"{found.test.note[0].upper()}{found.test.note[1:]}."] if found.test.note else []
    if found.judge is not None:
        ends = interval(found.judge.low, found.judge.high)
        facts.append(
            f"The judge gains {number(found.judge.rho)} {ends} for each point of accuracy: {found.judge.word}."
        )
    if found.replenishment is not None:
        share = found.replenishment
        change = f"{number(share.value, signed=True)} {interval(share.low, share.high, signed=True)}"
        facts.append(f"The gap on fresh prompts has changed by {change}.")
    if math.isfinite(found.crossing):
        facts.append(f"From k = {found.crossing:g} on the measured pass@k of the base is the higher.")
    facts += [
        f"Alarm, {one.name.replace('_', ' ')}: {ALARMS[one.name]}, checkpoint {one.checkpoint} against {one.since}, {_p(one.p)}."
        for one in found.alarms
        if one.rung
    ]
    return [("measurement", fact) for fact in facts]


def _guards(guards: Sequence[Guard]) -> list[tuple[Sort, str]]:
    """Every guard, those that could not be looked at in one sentence."""
    sorts: dict[State, Sort] = {"measured": "measurement", "simulated": "simulation"}
    said: list[tuple[Sort, str]] = []
    for one in guards:
        if one.state in sorts:
            name = one.name.replace("_", " ")
            said.append(
                (sorts[one.state], f"Guard, {name}: {guard_word(one)}, {number(one.value)}, {one.note}.")
            )
    missing = [one.name.replace("_", " ") for one in guards if one.state == "not_measured"]
    if missing:
        said.append(("not measured", f"Guards: {', '.join(missing)}."))
    return said


def guard_word(guard: Guard) -> str:
    """Whether a guard holds."""
    return {True: "holds", False: "FAILS", None: "shown"}[guard.passed]


def forecast_sentences(scores: Sequence[ForecastScore]) -> list[tuple[Sort, str]]:
    """What became of the forecasts that were kept in the runs."""
    said: list[tuple[Sort, str]] = []
    for one in scores:
        where = "all domains" if one.domain == OVERALL else one.domain
        held = {True: "the interval held", False: "the interval did not hold", None: "it had no interval"}
        late = (
            ""
            if one.beforehand
            else " It is not known to have been made before that run, and proves nothing."
        )
        said.append(
            (
                "measurement",
                f"{where}, {one.verifier or 'no verifier'}: forecast {one.forecast} from t = {one.origin:g} for t = {one.t:g}, "
                f"{one.filter}: {number(one.value)} {interval(one.low, one.high)}; measured {number(one.outcome)}, error "
                f"{number(one.error, signed=True)} (nothing changes: {number(one.last, signed=True)}); {held[one.inside]}.{late}",
            )
        )
    return said + skill_sentences(scores)


def skill_sentences(scores: Sequence[ForecastScore]) -> list[tuple[Sort, str]]:
    """What the forecasts were worth, where any counts."""
    said: list[tuple[Sort, str]] = []
    skill = skill_over_last(scores)
    if math.isfinite(skill):
        count = len(counted(scores))
        said.append(
            (
                "measurement",
                f"Over the {count} forecasts for single domains that were made beforehand, the skill against “nothing changes” is "
                f"{number(skill, signed=True)}: 1 less the ratio of their mean absolute errors, above 0 is better. Forecasts of one run "
                "share their prompts.",
            )
        )
    return said


def _p(value: float) -> str:
    return "p < .001" if value < 0.001 else f"p = {number(value)}"
