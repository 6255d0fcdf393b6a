"""The public function behind `gapbench scale`: points to slopes by domain and family, pooled, and their differences.

>>> from gapbench.scaling.points import read_points
>>> scale(read_points("points.csv")).slopes.to_frame()  # doctest: +SKIP
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from gapbench.errors import UserError
from gapbench.plain import plain
from gapbench.scaling.contrasts import SlopeContrasts, between_domains, between_families
from gapbench.scaling.control import Control, absolute_gap
from gapbench.scaling.points import REASONS, Points, inconsistent, over_domains
from gapbench.scaling.slopes import ALL, Fit, Prediction, Slope, Slopes, fit_slope
from gapbench.scaling.two_stage import across_families


@dataclass(frozen=True, eq=False)
class Scaling:
    """How a quantity grows with pretraining compute.

    Attributes
    ----------
    points
        What was fitted, and what was left out.
    slopes
        For every domain: one for each family, one pooled with family intercepts and one over families in two stages
        (`family="all"`); of several domains also their mean (`domain="all"`).
    domain_contrasts, family_contrasts
        Differences of slopes; each kind is adjusted apart.
    control
        The absolute gap, by domain.
    predictions
        For a new model of each family at the compute asked for.
    fits
        By domain and family, to draw from.
    """

    points: Points
    slopes: Slopes
    domain_contrasts: SlopeContrasts
    family_contrasts: SlopeContrasts
    control: tuple[Control, ...]
    predictions: tuple[Prediction, ...]
    fits: Mapping[tuple[str, str], Fit]

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out and why, a sentence each."""
        by_reason: dict[str, list[str]] = {}
        for one in self.points.left_out:
            by_reason.setdefault(one.reason, []).append(one.model)
        return (
            *(
                f"Left out ({len(models)}): {', '.join(dict.fromkeys(models))}: {REASONS[reason]}."
                for reason, models in by_reason.items()
            ),
            *self.points.notes,
        )

    def to_frame(self) -> pd.DataFrame:
        """One row a slope."""
        return self.slopes.to_frame()

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`; a number that is not finite becomes null."""
        return {
            "quantity": self.points.quantity,
            "slopes": self.slopes.to_json(),
            "domain_contrasts": self.domain_contrasts.to_json(),
            "family_contrasts": self.family_contrasts.to_json(),
            "adjust": "holm",
            "control": [row.to_json() for row in self.control],
            "predictions": [plain(row._asdict()) for row in self.predictions],
            "left_out": [one._asdict() for one in self.points.left_out],
            "notes": list(self.notes),
        }


def scale(points: Points, *, flops: Sequence[float] = ()) -> Scaling:
    """Fit every scaling law that the points hold.

    Parameters
    ----------
    points
        As `gapbench.scaling.points` or `gapbench.scaling.runs` reads them.
    flops
        Compute at which a new model of each family is foretold.

    Raises
    ------
    UserError
        If no domain has a law that can be fitted, a model is not the same in two domains, or `flops` are not positive and finite.
    """
    if wrong := next(inconsistent(points), None):
        raise UserError(f"{wrong}: make its rows agree")
    if wrong_flops := [one for one in flops if not 0 < one < math.inf]:
        raise UserError(f"flops {wrong_flops[0]:g}: compute is above 0 and finite, such as 1e24")
    fits: dict[tuple[str, str], Fit] = {}
    rows: list[Slope] = []
    control: list[Control] = []
    mean = over_domains(points)
    for domain in [name for name in points.domains if name != ALL]:
        here = points.where(domain=domain)
        for family in here.families:
            fits[domain, family] = fit_slope(here.where(family=family), domain, family)
        rows += [fits[domain, family].slope for family in here.families]
        rows += _pooled(here, domain, fits)
        control += absolute_gap(here, domain)
    if mean is not None and len(mean):
        rows += _pooled(mean, ALL, fits)
    lost = len(points.left_out)
    rows = [replace(row, flags=(*row.flags, *_left_out(points, row))) for row in rows] if lost else rows
    if not any(row.estimable for row in rows):
        raise UserError(_nothing(rows))
    return Scaling(
        points,
        Slopes(rows),
        between_domains(points, fits),
        between_families(points, fits),
        tuple(control),
        tuple(_foretold(fits, flops)),
        fits,
    )


def _pooled(points: Points, domain: str, fits: dict[tuple[str, str], Fit]) -> list[Slope]:
    fit = fit_slope(points, domain, ALL)
    if len(points.families) == 1:
        slope = replace(fit.slope, flags=(*fit.slope.flags, "one_family"))
        fits[domain, ALL] = replace(fit, slope=slope)
        return [slope]
    fits[domain, ALL] = fit
    return [fit.slope, across_families(points, domain)]


def _left_out(points: Points, row: Slope) -> list[str]:
    count = sum(
        row.domain in (one.domain, ALL) and row.family in (one.family, ALL) for one in points.left_out
    )
    return [f"left_out:{count}"] if count else []


def _nothing(rows: Sequence[Slope]) -> str:
    """Why nothing can be fitted, in one line."""
    flags = {flag for row in rows for flag in row.flags}
    if "equal_flops" in flags:
        return "no slope can be fitted: within every family all models have the same flops; add models of other sizes"
    if "perfect_fit" in flags:
        return "no slope can be judged: the points lie on a line exactly; measured values do not, so check the table"
    return (
        "no slope can be fitted: a family needs 3 models or more of different flops (several families, 2 each and one "
        "more); add models"
    )


def _foretold(fits: Mapping[tuple[str, str], Fit], flops: Sequence[float]) -> list[Prediction]:
    pooled = [fit for (_, family), fit in fits.items() if family == ALL]
    return [fit.predict(one, family) for one in flops for fit in pooled for family in fit.families]
