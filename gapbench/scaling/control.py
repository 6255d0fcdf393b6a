"""Is it the gap that grows, or only what is left to gain that shrinks? The absolute gap beside p(1 - p)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from gapbench.plain import plain
from gapbench.scaling.points import Points, codes
from gapbench.scaling.regression import Regression, regress
from gapbench.scaling.slopes import ALL, NAN, fit_slope

Term = Literal["gap", "gap_at_equal_room", "room"]


@dataclass(frozen=True, slots=True)
class Control:
    """The absolute gap of a domain against compute.

    The relative gap is divided by 1 - accuracy, which shrinks as models grow; a verifier whose rates stay as they are has
    gap p(1 - p)(TPR - FPR)/A, which falls with p(1 - p) alone.

    Attributes
    ----------
    term
        `gap`: its slope per decade; `gap_at_equal_room`: the same at equal p(1 - p), which is in the regression;
        `room`: the coefficient of p(1 - p) in it.
    value, se, low, high, p
        By REML and Knapp-Hartung, with family intercepts; NaN where not estimable.
    """

    domain: str
    term: Term
    value: float = NAN
    se: float = NAN
    low: float = NAN
    high: float = NAN
    p: float = NAN
    n_models: int = 0
    flags: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`."""
        found: dict[str, Any] = plain(asdict(self))
        return found


def absolute_gap(points: Points, domain: str) -> list[Control]:
    """The control of one domain; empty where no accuracy or gap is known.

    Parameters
    ----------
    points
        Of the domain. Points whose accuracy is not known, 0 or 1 leave: there is no gap to be had.
    """
    inside = (points.accuracy > 0) & (points.accuracy < 1)
    points = points.take(inside & ~np.isnan(points.gap))
    if not len(points):
        return []
    alone = fit_slope(points, domain, ALL, gap=True, full=False).slope
    rows = [
        Control(
            domain, "gap", alone.value, alone.se, alone.low, alone.high, alone.p, alone.n_models, alone.flags
        )
    ]
    room = points.accuracy * (1.0 - points.accuracy)
    groups, _ = codes(points.family)
    try:
        fits = [
            regress(points.gap, np.column_stack(pair), variance=points.variance(gap=True), groups=groups)
            for pair in ((points.x, room), (room, points.x))
        ]
    except ValueError:
        fits = []
    terms: tuple[Term, ...] = ("gap_at_equal_room", "room")
    return rows + [_row(domain, term, fit, len(points)) for term, fit in zip(terms, fits, strict=False)]


def _row(domain: str, term: Term, fit: Regression, count: int) -> Control:
    low, high = fit.interval
    return Control(domain, term, fit.slope, fit.se, low, high, fit.p, count)
