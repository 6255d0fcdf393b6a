"""Frozen forecasts held against what happened: error, whether the interval held, and skill.

An interval is for the accuracy that is to be expected; what is measured brings the luck of its own responses. An outcome
counts as inside where it lies in the interval widened by 1.96 standard errors of that luck, in quadrature.

Skill is 1 - MAE / MAE of a benchmark, over the same forecasts: above 0 is better than the benchmark. Domains count alike, and
their sum `all` not beside them. Scenarios are shown with their errors and have no skill, for they claim nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from gapbench.estimate.levels import OVERALL
from gapbench.loop.forecasts import BENCHMARK, GAIN, LAST, Foretold
from gapbench.trajectory.scored import holds

NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Point:
    """What a round measured on one set of prompts.

    Attributes
    ----------
    t
        The round; 0 is the base model.
    accuracy, low, high, se
        With its 95 % interval and standard error over prompts.
    noise
        Standard error that the responses alone bring.
    gap, gap_low, gap_high
        What one more round of the filter would gain by the arm's own judge.
    """

    arm: str
    prompts: str
    domain: str
    t: int
    accuracy: float
    low: float
    high: float
    se: float
    noise: float
    gap: float
    gap_low: float
    gap_high: float


@dataclass(frozen=True, slots=True)
class Score:
    """One forecast and its outcome.

    Attributes
    ----------
    error
        Forecast less outcome.
    inside
        Whether the widened interval held; None without one.
    error_low, error_high
        95 % interval of the error over the prompts that forecast and outcome share (`gapbench.loop.paired`); NaN where the
        forecast says nothing of single prompts.
    """

    arm: str
    prompts: str
    domain: str
    origin: int
    t: int
    method: str
    kind: str
    value: float
    low: float
    high: float
    outcome: float
    error: float
    inside: bool | None
    error_low: float = NAN
    error_high: float = NAN


@dataclass(frozen=True, slots=True)
class Skill:
    """How a method did, over the forecasts of an arm (`all` over arms) on one set of prompts.

    Attributes
    ----------
    forecasts
        Number of them.
    mae, bias
        Mean absolute and mean error.
    coverage
        Share of intervals that held.
    sound
        Share of the errors whose own interval includes 0, of those that have one.
    last, gain
        Skill against "last value" and "gap = gain"; NaN where the benchmark has no error or says nothing.
    """

    arm: str
    prompts: str
    method: str
    forecasts: int
    mae: float
    bias: float
    coverage: float
    sound: float
    last: float
    gain: float


def score(forecasts: Sequence[Foretold], points: Sequence[Point]) -> list[Score]:
    """Hold every forecast whose round has been measured against it."""
    seen = {(one.arm, one.prompts, one.domain, one.t): one for one in points}
    return [
        _scored(one, seen[key])
        for one in forecasts
        if (key := (one.arm, one.prompts, one.domain, one.t)) in seen
    ]


def _scored(one: Foretold, point: Point) -> Score:
    inside = holds(one.value, one.low, one.high, point.accuracy, point.noise)
    return Score(**asdict(one), outcome=point.accuracy, error=one.value - point.accuracy, inside=inside)


def skills(scores: Sequence[Score]) -> list[Skill]:
    """The skill of each method that claims something, by arm and set of prompts, and over the arms."""
    counted = _counted(scores)
    benchmarks = {
        name: {_place(one): abs(one.error) for one in counted if one.method == name} for name in (LAST, GAIN)
    }
    claims = [one for one in counted if one.kind not in (BENCHMARK, "scenario")]
    groups: dict[tuple[str, str, str], list[Score]] = {}
    for one in claims:
        for arm in (one.arm, OVERALL):
            groups.setdefault((arm, one.prompts, one.method), []).append(one)
    several = len({one.arm for one in claims}) > 1
    return [_skill(key, own, benchmarks) for key, own in groups.items() if several or key[0] != OVERALL]


def _counted(scores: Sequence[Score]) -> list[Score]:
    """Without the sum over domains, which is there only beside the domains."""
    return [one for one in scores if one.domain != OVERALL]


def _place(one: Score) -> tuple[str, str, str, int, int]:
    return one.arm, one.prompts, one.domain, one.origin, one.t


def _skill(
    key: tuple[str, str, str],
    own: Sequence[Score],
    benchmarks: Mapping[str, Mapping[tuple[str, str, str, int, int], float]],
) -> Skill:
    errors = np.array([one.error for one in own])
    held = [one.inside for one in own if one.inside is not None]
    sound = [one.error_low <= 0 <= one.error_high for one in own if math.isfinite(one.error_low)]
    against = []
    for name in (LAST, GAIN):
        pairs = [
            (abs(one.error), known) for one in own if (known := benchmarks[name].get(_place(one))) is not None
        ]
        mine, theirs = (float(np.mean(side)) for side in zip(*pairs, strict=True)) if pairs else (NAN, NAN)
        against.append(1 - mine / theirs if theirs > 0 else NAN)
    return Skill(
        *key,
        len(own),
        float(np.abs(errors).mean()),
        float(errors.mean()),
        float(np.mean(held)) if held else NAN,
        float(np.mean(sound)) if sound else NAN,
        *against,
    )
