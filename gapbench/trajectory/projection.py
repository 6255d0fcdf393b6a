"""From a series to its status, reserve, plateau and arrival: never a bare number.

>>> t = np.arange(12.0)
>>> found = project_one(t, 0.7 - 0.4 * np.exp(-0.4 * t), np.full(12, 0.01))
>>> found.status, round(found.plateau, 3)
('identified', 0.7)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from scipy.special import chdtrc

from gapbench.errors import UserError
from gapbench.panel import Float
from gapbench.trajectory.fitting import CUT, Observed, Profile, profile, rescaled, survivors
from gapbench.trajectory.forecast import FEWEST, PERSISTENCE, Forecast, Rolling, forecasts, rolling
from gapbench.trajectory.laws import ARRIVED, EXPONENTIAL, PLATEAU_LAWS, RISE_AND_FALL
from gapbench.trajectory.signal import constant_fits, declines

Status = Literal["too_few_points", "declining", "plateaued_or_no_signal", "lower_bound_only", "identified"]
Kind = Literal["solver", "verifier", "gap"]

ALPHA = 0.05
HALF_A_POINT = 0.005
NOTHING_LEFT = 5e-4
"""A reserve that prints as .000: a series that has arrived, as after a step, and a date for what is left would be round-off."""
NO_ERROR = 1e-9  # a standard error up to this is round-off
CAP: dict[Kind, float] = {"solver": 1.0, "verifier": 1.0, "gap": 0.0}
"""What A_inf cannot exceed; a gap is fitted upside down, so that it cannot fall below 0."""

NAN = float("nan")
Ends = tuple[float, float, float]
NONE: Ends = (NAN, NAN, NAN)


@dataclass(frozen=True, slots=True)
class LawFit:
    """How one plateau law did.

    Attributes
    ----------
    chi2
        Least squared residual, whitened.
    kept
        Whether it is within 3.84 of the best law's, and so part of the union.
    plateau, plateau_low, plateau_high
        A_inf with the law's own profile-likelihood interval.
    """

    law: str
    chi2: float
    kept: bool
    plateau: float
    plateau_low: float
    plateau_high: float


@dataclass(frozen=True, slots=True)
class Joint:
    """The series of the same name that is of the other kind, solver or verifier.

    Attributes
    ----------
    used
        Whether both were fitted with one shape.
    p
        Of the likelihood ratio of one exponential rate against two (chi-square with 1 degree of freedom). In a closed
        loop beta U_s - alpha U_v is conserved, so both move at one rate; a small p is evidence of an external anchor.
    """

    used: bool
    p: float


@dataclass(frozen=True, slots=True)
class SeriesProjection:
    """What a series can say; the fields are the `--json` contract.

    Attributes
    ----------
    status
        In this order: `too_few_points` (fewer than 4 distinct times), `declining`, `plateaued_or_no_signal` (a constant
        fits), `lower_bound_only` (the plateau's interval reaches its cap), `identified`.
    now, value_now
        Last time and its measured value.
    reserve, plateau
        A_inf - A(now) and A_inf, with 95 % intervals: the union of the plateau laws' profile-likelihood intervals. With
        `lower_bound_only` there is a lower end alone. For a gap the reserve is what it has still to fall, below 0.
    t95, t_practical
        When 95 % of the reserve is spent, and when what is left is less than 5 % of it or half a point: on the series'
        own clock. NaN unless identified, better forecast than by the last value, and with something left; where
        the last value forecasts as well, `reserve` and `plateau` keep their intervals alone.
    flags
        `claims_withheld` (rolling MASE at least 1), `not_scored` (no earlier origin), `poor_fit`, `joint_fit`,
        `external_anchor`, `repeated_times`, `descriptive` (fewer than 20 prompts).
    """

    series: str
    kind: Kind
    status: Status
    n_points: int
    now: float
    value_now: float
    reserve: float = NAN
    reserve_low: float = NAN
    reserve_high: float = NAN
    plateau: float = NAN
    plateau_low: float = NAN
    plateau_high: float = NAN
    t95: float = NAN
    t95_low: float = NAN
    t95_high: float = NAN
    t_practical: float = NAN
    t_practical_low: float = NAN
    t_practical_high: float = NAN
    laws: tuple[LawFit, ...] = ()
    rolling: Rolling = field(default_factory=Rolling)
    forecast: tuple[Forecast, ...] = ()
    joint: Joint | None = None
    p_constant: float = NAN
    flags: tuple[str, ...] = ()


def project_one(
    t: Float,
    value: Float,
    se: Float,
    *,
    correlation: float | Float = 0.0,
    kind: Kind = "solver",
    partner: Observed | None = None,
    horizon: Sequence[float] = (),
    name: str = "",
) -> SeriesProjection:
    """Project one series.

    Parameters
    ----------
    t, value, se
        Times on the user's clock, values and standard errors [point], in any order.
    correlation
        Of the errors of any two points, or all correlations [point, point].
    kind
        `solver` and `verifier` rise to a plateau, `gap` falls to one.
    partner
        The verifier's series for a solver's and the reverse: fitted jointly where one rate describes both.
    horizon
        Times to forecast, after the last one.

    Raises
    ------
    UserError
        If a time to forecast is past already.
    """
    series = observed(t, value, se, correlation)
    for one in horizon:
        if not series.t[-1] < one < np.inf:
            raise UserError(
                f"--horizon {one:g}: '{name}' has come to t = {series.t[-1]:g}; give a later time"
            )
    flags = ["repeated_times"] if len(np.unique(series.t)) < len(series.t) else []
    empty = SeriesProjection(
        name,
        kind,
        "too_few_points",
        len(series.t),
        float(series.t[-1]),
        float(series.value[-1]),
        flags=tuple(flags),
    )
    if len(np.unique(series.t)) < FEWEST:
        return empty
    sign = -1.0 if kind == "gap" else 1.0
    series = Observed(series.t, sign * series.value, series.covariance)
    cap = CAP[kind]
    fits, joint = _fits(series, cap, partner)
    scale = max((fit.scale for fit in fits), default=1.0)
    p_constant = constant_fits(series, scale=scale)
    scored = rolling(series, cap)
    level = _constant_chi2(series)
    best = min([fit.least for fit in fits], default=level)
    status: Status = "identified"
    if declines(series, profile(RISE_AND_FALL, series, cap, refine=False), min(best, level)):
        status = "declining"
    elif p_constant > ALPHA or not fits:
        status = "plateaued_or_no_signal"
    union = survivors(fits)
    plateau, reserve, t95, practical = (_plateau(union), _reserve(union), NONE, NONE) if union else [NONE] * 4
    if status == "identified" and plateau[2] >= cap - 1e-9:
        status = "lower_bound_only"
    withheld = status == "identified" and scored.mase >= 1
    if status == "identified" and not withheld and reserve[0] >= NOTHING_LEFT:
        t95, practical = _arrivals(union)
    if status == "lower_bound_only":
        plateau, reserve = (NAN, plateau[1], NAN), (NAN, reserve[1], NAN)
        t95 = (NAN, _arrivals(union)[0][1], NAN)
    elif status != "identified":
        plateau = reserve = NONE
    elif withheld:
        reserve, plateau = (NAN, *reserve[1:]), (NAN, *plateau[1:])
    joint_word = "joint_fit" if joint and joint.used else "external_anchor"
    marks = {
        "claims_withheld": withheld,
        "not_scored": scored.scored == 0,
        "poor_fit": scale > 1,
        joint_word: joint is not None,
    }
    reserve, plateau = _turned(reserve, sign), _turned(plateau, sign)
    law = scored.chosen or (union[0].law.name if union else PERSISTENCE)
    if status == "plateaued_or_no_signal" or scored.mase >= 1:
        law = PERSISTENCE
    return replace(
        empty,
        status=status,
        reserve=reserve[0],
        reserve_low=reserve[1],
        reserve_high=reserve[2],
        plateau=plateau[0],
        plateau_low=plateau[1],
        plateau_high=plateau[2],
        t95=t95[0],
        t95_low=t95[1],
        t95_high=t95[2],
        t_practical=practical[0],
        t_practical_low=practical[1],
        t_practical_high=practical[2],
        laws=tuple(_law(fit, fit in union, sign) for fit in fits),
        rolling=replace(scored, bias=sign * scored.bias),
        forecast=tuple(_turned_forecast(one, sign) for one in forecasts(series, cap, horizon, law)),
        joint=joint,
        p_constant=p_constant,
        flags=(*flags, *(word for word, is_so in marks.items() if is_so)),
    )


def plateau_interval(series: Observed, cap: float = 1.0) -> Ends:
    """A_inf by the best plateau law, and the union of the laws' 95 % profile-likelihood intervals.

    NaN where no law rises.
    """
    fits = survivors(_fits(series, cap, None)[0])
    return _plateau(fits) if fits else NONE


def observed(t: Float, value: Float, se: Float, correlation: float | Float = 0.0) -> Observed:
    """A series in order of time, with the covariance that its standard errors and correlations imply.

    A standard error of 0 (all responses alike) is replaced by the smallest that is not, or by half a point.
    """
    order = np.argsort(t, kind="stable")
    positive = se[se > NO_ERROR]
    error = np.where(se > NO_ERROR, se, positive.min() if len(positive) else HALF_A_POINT)[order]
    matrix = np.asarray(correlation, dtype=float)
    if matrix.ndim == 0:
        matrix = np.full((len(t), len(t)), float(matrix))
        np.fill_diagonal(matrix, 1.0)
    else:
        matrix = matrix[np.ix_(order, order)]
    return Observed(t[order], value[order], matrix * np.outer(error, error))


def _fits(series: Observed, cap: float, partner: Observed | None) -> tuple[list[Profile], Joint | None]:
    """Every plateau law that can rise, fitted with the partner where one rate describes both."""
    alone = [fit for law in PLATEAU_LAWS if (fit := profile(law, series, cap)) is not None]
    points = len(series.t)
    if partner is None or len(np.unique(partner.t)) < FEWEST:
        return rescaled(alone, points), None
    own, other = profile(EXPONENTIAL, series, cap), profile(EXPONENTIAL, partner)
    both = profile(EXPONENTIAL, series, cap, partner=partner)
    if own is None or other is None or both is None:
        return rescaled(alone, points), None
    p = float(chdtrc(1, max(0.0, both.least - own.least - other.least)))
    if p < ALPHA:
        return rescaled(alone, points), Joint(False, p)
    together = [profile(law, series, cap, partner=partner) for law in PLATEAU_LAWS]
    # The partner's two parameters are not among those that `rescaled` counts.
    return rescaled([fit for fit in together if fit is not None], points + len(partner.t) - 2), Joint(True, p)


def _constant_chi2(series: Observed) -> float:
    ones, value = series.whitened(np.stack([np.ones_like(series.t), series.value]))
    return float(((value - ones * (ones @ value) / (ones @ ones)) ** 2).sum())


def _hull(ends: Sequence[Ends]) -> Ends:
    return ends[0][0], min(one[1] for one in ends), max(one[2] for one in ends)


def _plateau(fits: Sequence[Profile]) -> Ends:
    return _hull([fit.interval(fit.plateau()) for fit in fits])


def _reserve(fits: Sequence[Profile]) -> Ends:
    best, low, high = _hull([fit.interval(fit.remaining()) for fit in fits])
    return best, max(low, 0.0), high  # a rising law has something left


def _arrivals(fits: Sequence[Profile]) -> tuple[Ends, Ends]:
    """t95 and t_practical over the shapes inside the profile likelihood of each law."""
    both = [_arrival(fit) for fit in fits]
    return _hull([one[0] for one in both]), _hull([one[1] for one in both])


def _arrival(fit: Profile) -> tuple[Ends, Ends]:
    arrives = fit.law.arrives
    assert arrives is not None
    kept, best = fit.kept, fit.best

    def when(share: Float) -> Float:
        return np.asarray(arrives(np.minimum(share, 1.0), fit.shapes, fit.clock))

    def practical(reserve: Float) -> Float:
        return when(np.maximum(ARRIVED, HALF_A_POINT / np.maximum(reserve, 1e-12)))

    weights = fit.remaining()
    value = np.einsum("gc,gc->g", weights, fit.beta)
    variance = np.einsum("gc,gcd,gd->g", weights, fit.spread, weights)
    room = np.where(kept, fit.least + CUT * fit.scale - np.where(kept, fit.chi2, 0.0), 0.0)
    reach = np.sqrt(np.maximum(variance, 0.0) * np.maximum(room, 0.0))
    full, middle = when(np.full(len(value), ARRIVED)), practical(value)
    early, late = practical(value - reach), practical(value + reach)
    return (
        (float(full[best]), float(full[kept].min()), float(full[kept].max())),
        (float(middle[best]), float(early[kept].min()), float(late[kept].max())),
    )


def _law(fit: Profile, kept: bool, sign: float) -> LawFit:
    return LawFit(fit.law.name, fit.least, kept, *_turned(fit.interval(fit.plateau()), sign))


def _turned(ends: Ends, sign: float) -> Ends:
    best, low, high = ends
    return (best, low, high) if sign > 0 else (-best, -high, -low)


def _turned_forecast(one: Forecast, sign: float) -> Forecast:
    value, low, high = _turned((one.value, one.low, one.high), sign)
    return replace(one, value=value, low=low, high=high)
