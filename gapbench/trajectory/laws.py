"""Laws of a series: accuracy over a clock as a few columns that are linear once their shape is fixed.

A plateau law is A(t) = A_inf - D f(t), with f falling from 1 at the first point to 0. Given the shape of f (a time scale,
and for the logistic an exponent) it is linear in (A_inf, D), so that a fit is a least-squares problem at every point of
a grid of shapes, and a profile likelihood is the lower envelope of parabolas.

=============  =======================================  =====================================================
exponential    exp(-t/s)                                Sun et al. 2025, arXiv 2507.00075
hyperbolic     1/(1 + t/s)                              a power law of exponent 1
logistic       1/(1 + (t/s)^b), 1 <= b <= 4             a sigmoid in log t: Khatri et al. 2025, arXiv 2510.13786
sigmoid        1/(1 + exp((t - m)/s)), m <= T           the same where the clock is log compute already
power          (1 + t/s)^-b                             forecast only: a free exponent dates no plateau
two_rates      exp(-t/s) and exp(-t/(b s))              forecast only
rise_and_fall  exp(-t/s), less c t                      forecast only: a collapse
=============  =======================================  =====================================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gapbench.panel import Bool, Float

SHORTEST, LONGEST = 0.01, 300.0
"""Time scales considered, in spans of the clock: beyond them the curve is a step, or straight."""

ARRIVED = 0.05
"""Share of the reserve that is left at t95."""


@dataclass(frozen=True, slots=True)
class Clock:
    """What shapes are relative to: the first and the last time of a series, in the user's unit."""

    first: float
    last: float

    @property
    def span(self) -> float:
        """Last less first time."""
        return self.last - self.first

    @property
    def zero(self) -> float:
        """Origin of log time: that of the clock, or the first point where that is negative."""
        return min(self.first, 0.0)


@dataclass(frozen=True, slots=True)
class Shapes:
    """Points of a law's grid [shape].

    Attributes
    ----------
    scale
        Time scale, in the unit of the clock.
    second
        Exponent, midpoint in spans after the first point, or ratio of two scales.
    """

    scale: Float
    second: Float


Falls = Callable[[Float, Shapes, Clock], Float]
"""Columns at times [time] that fall as the plateau is neared [shape, time, column]."""

Arrives = Callable[[Float, Shapes, Clock], Float]
"""Time at which a share [shape] of what is left at the last point is left [shape]."""


@dataclass(frozen=True, slots=True)
class Law:
    """A law by its shapes.

    Attributes
    ----------
    name
        As in the table of this module.
    scales, seconds
        Number of time scales, and values of the second parameter, that are tried.
    falls
        Its columns but the constant.
    arrives
        None for a law that dates no plateau.
    """

    name: str
    scales: int
    seconds: tuple[float, ...]
    falls: Falls
    arrives: Arrives | None = None

    def grid(self, clock: Clock) -> Shapes:
        """All shapes to try."""
        return self._grid(clock.span * SHORTEST, clock.span * LONGEST)

    def finer(self, shapes: Shapes, kept: Bool) -> Shapes:
        """As many shapes again between the outermost scales that are kept [shape], and one step beyond."""
        step = (LONGEST / SHORTEST) ** (1.0 / (self.scales - 1))
        inside = shapes.scale[kept]
        return self._grid(inside.min() / step, inside.max() * step)

    def _grid(self, low: float, high: float) -> Shapes:
        scale, second = np.meshgrid(np.geomspace(low, high, self.scales), self.seconds, indexing="ij")
        return Shapes(scale.ravel(), second.ravel())

    def design(self, t: Float, shapes: Shapes, clock: Clock) -> Float:
        """Columns of the linear parameters at times [time]; the first is A_inf's [shape, time, column]."""
        falling = self.falls(t, shapes, clock)
        return np.concatenate([np.ones_like(falling[..., :1]), -falling], axis=-1)


def _decay(t: Float, scale: Float, clock: Clock) -> Float:
    return np.asarray(np.exp(-np.minimum((t - clock.first) / scale[:, None], 700.0)))


def _exponential(t: Float, shapes: Shapes, clock: Clock) -> Float:
    return _decay(t, shapes.scale, clock)[..., None]


def _exponential_arrival(share: Float, shapes: Shapes, clock: Clock) -> Float:
    return np.asarray(clock.last - shapes.scale * np.log(share))


def _hyperbolic(t: Float, shapes: Shapes, clock: Clock) -> Float:
    return np.asarray(1.0 / (1.0 + (t - clock.first) / shapes.scale[:, None]))[..., None]


def _hyperbolic_arrival(share: Float, shapes: Shapes, clock: Clock) -> Float:
    return np.asarray(clock.first + (shapes.scale + clock.span) / share - shapes.scale)


def _odds(t: Float, shapes: Shapes, clock: Clock) -> Float:
    return np.asarray(((t - clock.zero) / shapes.scale[:, None]) ** shapes.second[:, None])


def _logistic(t: Float, shapes: Shapes, clock: Clock) -> Float:
    start = _odds(np.array([clock.first]), shapes, clock)
    return np.asarray((1.0 + start) / (1.0 + _odds(t, shapes, clock)))[..., None]


def _logistic_arrival(share: Float, shapes: Shapes, clock: Clock) -> Float:
    odds = (1.0 + _odds(np.array([clock.last]), shapes, clock)[:, 0]) / share - 1.0
    return np.asarray(clock.zero + shapes.scale * odds ** (1.0 / shapes.second))


def _rest(t: Float, shapes: Shapes, clock: Clock) -> Float:
    middle = clock.first + clock.span * shapes.second
    return np.asarray((t - middle[:, None]) / shapes.scale[:, None])


def _sigmoid(t: Float, shapes: Shapes, clock: Clock) -> Float:
    start = _rest(np.array([clock.first]), shapes, clock)
    return np.asarray(np.exp(np.logaddexp(0.0, start) - np.logaddexp(0.0, _rest(t, shapes, clock))))[
        ..., None
    ]


def _sigmoid_arrival(share: Float, shapes: Shapes, clock: Clock) -> Float:
    end = np.logaddexp(0.0, _rest(np.array([clock.last]), shapes, clock)[:, 0]) - np.log(share)
    return np.asarray(
        clock.first + clock.span * shapes.second + shapes.scale * (end + np.log(-np.expm1(-end)))
    )


def _power(t: Float, shapes: Shapes, clock: Clock) -> Float:
    base = 1.0 + (t - clock.first) / shapes.scale[:, None]
    return np.asarray(base ** -shapes.second[:, None])[..., None]


def _two_rates(t: Float, shapes: Shapes, clock: Clock) -> Float:
    return np.stack([_decay(t, shapes.scale, clock), _decay(t, shapes.scale * shapes.second, clock)], axis=-1)


def _rise_and_fall(t: Float, shapes: Shapes, clock: Clock) -> Float:
    rise = _decay(t, shapes.scale, clock)
    return np.stack([rise, np.broadcast_to((t - clock.first) / clock.span, rise.shape)], axis=-1)


EXPONENTIAL = Law("exponential", 160, (1.0,), _exponential, _exponential_arrival)
HYPERBOLIC = Law("hyperbolic", 160, (1.0,), _hyperbolic, _hyperbolic_arrival)
LOGISTIC = Law("logistic", 100, tuple(np.linspace(1.0, 4.0, 13).tolist()), _logistic, _logistic_arrival)
SIGMOID = Law("sigmoid", 60, tuple(np.linspace(-0.2, 1.0, 37).tolist()), _sigmoid, _sigmoid_arrival)
POWER = Law("power", 40, (0.1, 0.2, 0.35, 0.5, 0.75, 1.5, 2.0, 3.0), _power)
TWO_RATES = Law("two_rates", 40, (3.0, 10.0, 30.0), _two_rates)
RISE_AND_FALL = Law("rise_and_fall", 60, (1.0,), _rise_and_fall)

PLATEAU_LAWS = (EXPONENTIAL, HYPERBOLIC, LOGISTIC, SIGMOID)
FORECAST_LAWS = (*PLATEAU_LAWS, POWER, TWO_RATES, RISE_AND_FALL)
