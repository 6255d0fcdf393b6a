"""What is said of series, checkpoints and the forecasts made of them, each sentence with the sort of statement that it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from gapbench.report.text import interval, number
from gapbench.report.view import OVERALL
from gapbench.trajectory.checkpoints import Outcome
from gapbench.trajectory.projection import SeriesProjection, Status
from gapbench.trajectory.scored import ForecastScore, counted, skill_over_last

STATUS: dict[Status, str] = {
    "too_few_points": "fewer than 4 points in time: no projection",
    "declining": "the series is declining: no plateau ahead",
    "plateaued_or_no_signal": "a constant fits: plateaued, or no signal",
    "lower_bound_only": "only a lower bound of the plateau is identified",
    "identified": "plateau identified",
}

Sort = Literal["measurement", "projection", "scenario"]


def series_sentences(found: SeriesProjection) -> list[tuple[Sort, str]]:
    """What there is to say of a series, and what sort of statement each sentence is."""
    said: list[tuple[Sort, str]] = []
    if math.isfinite(found.value_now):
        said.append(
            ("measurement", f"At t = {found.now:g} the {found.kind} stands at {number(found.value_now)}.")
        )
    said.append(("projection", f"{STATUS[found.status][0].upper()}{STATUS[found.status][1:]}."))
    if found.status == "identified":
        ends = interval(found.plateau_low, found.plateau_high)
        said.append(("projection", f"Plateau {number(found.plateau)} {ends}."))
    if math.isfinite(found.t95):
        said.append(
            (
                "projection",
                f"95 % of the reserve is spent by t = {found.t95:.3g} [{found.t95_low:.3g}, {found.t95_high:.3g}].",
            )
        )
    if found.status == "lower_bound_only":
        said.append(("projection", f"The plateau is at least {number(found.plateau_low)}; no date is given."))
    if "claims_withheld" in found.flags:
        said.append(
            (
                "measurement",
                f"Forecasts from earlier points did no better than the last value (MASE {number(found.rolling.mase)}): no date is given.",
            )
        )
    return said


def outcome_sentences(found: Outcome) -> list[tuple[Sort, str]]:
    """What there is to say of a domain's checkpoints, and what sort of statement each sentence is."""
    parts = found.decomposition
    shares = ", ".join(
        f"{name} {number(share.value)} {interval(share.low, share.high)}"
        for name in ("sharpened", "beyond", "regressed")
        if math.isfinite((share := getattr(parts, name)).value)
    )
    said: list[tuple[Sort, str]] = [
        ("measurement", f"{found.domain}: gain {number(parts.gain.value, signed=True)} = {shares}.")
    ]
    test = found.test
    if test.M:
        said.append(
            (
                "measurement",
                f"{found.label}: mean excess over the worth of {test.M} base responses {number(test.difference)}, {_p(test.p_adjusted)}.",
            )
        )
    else:
        said.append(("measurement", f"{found.label}."))
    if test.note:
        said.append(("measurement", f"{test.note[0].upper()}{test.note[1:]}."))
    said += [
        (
            "measurement",
            f"Alarm, {one.name.replace('_', ' ')}: checkpoint {one.checkpoint} against {one.since}, {_p(one.p)}.",
        )
        for one in found.alarms
        if one.rung
    ]
    return said


def forecast_sentences(scores: Sequence[ForecastScore]) -> list[tuple[Sort, str]]:
    """What became of the forecasts that were kept in the runs."""
    said: list[tuple[Sort, str]] = []
    for one in scores:
        where = "all domains" if one.domain == OVERALL else one.domain
        held = {True: "the interval held", False: "the interval did not hold", None: "it had no interval"}
        late = "" if one.beforehand else " It was made after that run was begun, and proves nothing."
        said.append(
            (
                "measurement",
                f"{where}, {one.verifier or 'no verifier'}: forecast {one.forecast} from t = {one.origin:g} for t = {one.t:g}, "
                f"{one.filter}: {number(one.value)} {interval(one.low, one.high)}; measured {number(one.outcome)}, error "
                f"{number(one.error, signed=True)} (nothing changes: {number(one.last, signed=True)}); {held[one.inside]}.{late}",
            )
        )
    skill = skill_over_last(scores)
    if math.isfinite(skill):
        count = len(counted(scores))
        said.append(
            (
                "measurement",
                f'Over {count} such forecasts for single domains, made beforehand, the skill against "nothing changes" is {number(skill, signed=True)} '
                "(above 0 is better; those of one run share their prompts).",
            )
        )
    return said


def _p(value: float) -> str:
    return "p < .001" if value < 0.001 else f"p {number(value)}"
