"""What `gapbench project` finds: frozen values that say of every number what kind of statement it is.

`measurement`: an estimate from the responses that are there. `projection`: what follows from it under stated assumptions, and can
be proved wrong later. `scenario`: what would follow from something that the data do not show.

Numbers that are not to be had are NaN (null in JSON) and a flag says why.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import BeforeValidator

from gapbench.plain import plain
from gapbench.projection.loops import ASSUMPTIONS

Kind = Literal["measurement", "projection", "scenario"]
MEASUREMENT: Kind = "measurement"
PROJECTION: Kind = "projection"
SCENARIO: Kind = "scenario"

NAN = float("nan")


def _number(value: Any) -> Any:
    return NAN if value is None else value


Number = Annotated[float, BeforeValidator(_number)]
"""A float that JSON has as null where it is NaN."""


@dataclass(frozen=True, slots=True)
class Value:
    """A number with its interval.

    Attributes
    ----------
    value, low, high
        The estimate and its 95 % interval.
    """

    value: Number = NAN
    low: Number = NAN
    high: Number = NAN
    kind: Kind = MEASUREMENT
    flags: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        """Whether it may be printed or drawn with its interval."""
        return (
            all(map(math.isfinite, (self.value, self.low, self.high))) and "not_estimable" not in self.flags
        )


@dataclass(frozen=True, slots=True)
class CurvePoint(Value):
    """Accuracy after best@n, scores as they are."""

    n: int = 1


@dataclass(frozen=True, slots=True)
class CoveragePoint(Value):
    """pass@k.

    Attributes
    ----------
    measured
        Whether k <= N. If not, the interval is the 5-95 % band of the line (`gapbench.projection.coverage`).
    beta_binomial, zero_inflated
        What other models say beyond the data (sensitivity).
    """

    k: int = 1
    measured: bool = True
    beta_binomial: Number = NAN
    zero_inflated: Number = NAN


@dataclass(frozen=True, slots=True)
class Signal(Value):
    """Share of prompts that give a learner from groups of g any signal: E[1 - p^g - (1 - p)^g]."""

    g: int = 2


@dataclass(frozen=True, slots=True)
class Plateau:
    """Where the loop settles if the judge gains `rho` for each point of accuracy."""

    rho: float
    plateau: Number
    low: Number
    high: Number
    kind: Kind = SCENARIO


@dataclass(frozen=True, slots=True)
class OverOptimisation:
    """How far best@N falls short of best@n_star, cross-fitted, and the one-sided p-value of that."""

    difference: Number = NAN
    low: Number = NAN
    high: Number = NAN
    p: Number = NAN
    kind: Kind = MEASUREMENT


@dataclass(frozen=True, slots=True)
class Corner:
    """What decides the limit of filtering: the responses with the highest scores of all.

    Attributes
    ----------
    n
        N.
    best
        Accuracy after best@N.
    share
        Share right among the top 1/N of all scores.
    floor
        3/N: answers rarer than that may be missing among a prompt's N responses 19 times in 20 and more.
    """

    n: int
    best: Value
    share: Value
    floor: float


@dataclass(frozen=True, slots=True)
class Round:
    """Accuracy after t rounds of the loop.

    Attributes
    ----------
    t
        Number of rounds; 0 is now.
    filter
        The one filter that they are.
    identified
        Whether N responses show it. If not, `fixed` and `fresh` hold no number.
    fixed
        If the scores stand for good.
    fresh
        If every round draws its own verdicts; None where the verifier draws none, or what they add cannot be told: then `fixed` understates.
    held, cap
        Past the horizon only: the last accuracy on the measured path, and coverage at as many responses (best@n only).
    kind
        `measurement` at t = 0, `projection` up to the horizon, `scenario` past it.
    """

    t: int
    filter: str
    identified: bool
    fixed: Value
    fresh: Value | None
    held: Number
    cap: Number
    kind: Kind

    @property
    def expected(self) -> Value:
        """The forecast that a loop is to be held against: with fresh verdicts where the verifier draws them."""
        return self.fresh or self.fixed


@dataclass(frozen=True, slots=True)
class DomainProjection:
    """What one frozen model's run says of one domain (`all` over all domains) and verifier.

    Attributes
    ----------
    verifier, m
        Whose scores, and the number of verdicts behind each; empty and None in a run without verifiers.
    n_prompts, n_responses
        P, and N as at least half of the prompts of every task have.
    reserve_measured
        Best measured point of the best@n curve less accuracy, chosen on one half of the prompts and scored on the other.
    reserve_identified
        What the loop gains up to the horizon: a projection.
    reserve_coverage
        pass@N less accuracy: what a perfect verifier would get from the same responses.
    n_star, n_star_low, n_star_high
        Where the curve is highest, and every n that may be it.
    horizon_rounds
        Largest number of rounds that N responses show; None where no rounds of this filter can be folded.
    flags
        Words that qualify all of this; numbers carry their own.
    """

    domain: str
    verifier: str
    m: int | None
    n_prompts: int
    n_responses: int
    accuracy: Value
    reserve_measured: Value
    reserve_identified: Value
    reserve_coverage: Value
    n_star: int | None
    n_star_low: int | None
    n_star_high: int | None
    over_optimisation: OverOptimisation
    horizon_rounds: int | None
    curve: tuple[CurvePoint, ...]
    rounds: tuple[Round, ...]
    corner: Corner | None
    coverage: tuple[CoveragePoint, ...]
    moving_judge: tuple[Plateau, ...]
    signal: tuple[Signal, ...]
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Projection:
    """What one frozen model's run says of every domain and verifier.

    Attributes
    ----------
    filter
        What the loop keeps in each round.
    residual
        Gap that the moving-judge scenarios leave.
    rows
        By domain and verifier.
    assumptions
        Under which `rounds` are forecasts.
    """

    model: str
    filter: str
    residual: float
    rows: tuple[DomainProjection, ...]
    assumptions: tuple[str, ...] = ASSUMPTIONS

    def __iter__(self) -> Iterator[DomainProjection]:
        return iter(self.rows)

    def row(self, domain: str, verifier: str) -> DomainProjection | None:
        """What is said of a domain and verifier, if anything."""
        found = (row for row in self.rows if (row.domain, row.verifier) == (domain, verifier))
        return next(found, None)

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`; a number that is not finite becomes null."""
        found: dict[str, Any] = plain(self)
        return found

    def to_frame(self) -> pd.DataFrame:
        """One row a domain and verifier with the single numbers; `flags` joined by spaces."""
        records = []
        for row in self.rows:
            record: dict[str, Any] = {
                "model": self.model,
                "domain": row.domain,
                "verifier": row.verifier,
                "m": row.m,
            }
            for name in ("accuracy", "reserve_measured", "reserve_identified", "reserve_coverage"):
                value: Value = getattr(row, name)
                record |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
            record |= {"n_star": row.n_star, "horizon_rounds": row.horizon_rounds}
            record |= {
                f"over_optimisation_{one.name}": getattr(row.over_optimisation, one.name)
                for one in fields(row.over_optimisation)
                if one.name != "kind"
            }
            record |= {f"plateau_rho_{one.rho:g}": one.plateau for one in row.moving_judge}
            records.append({**record, "flags": " ".join(row.flags)})
        return pd.DataFrame.from_records(records)
