"""Fits of a law to a series by generalised least squares on a grid of shapes, and profile-likelihood intervals.

For a Gaussian series with known covariance, -2 log likelihood of a linear function of the parameters is, at a fixed shape,
a parabola with its minimum at the least-squares estimate. The profile-likelihood interval {value: -2 log L <= minimum +
3.84} is therefore the union over shapes of [estimate -+ sqrt(v (threshold - chi2))], and no search is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import chdtrc

from gapbench.panel import Bool, Float
from gapbench.trajectory.laws import Clock, Law, Shapes

CUT = 3.841458820694124
"""95 % point of chi-square with one degree of freedom."""

RIDGE, TINY = 1e-12, 1e-300
POOR = 0.01
CLOSE = 0.01  # a closer look that loses more than this squared residual has missed the minimum


@dataclass(frozen=True, eq=False)
class Observed:
    """A series whose errors are Gaussian with known covariance.

    Attributes
    ----------
    t, value
        Times, not decreasing, and values [point].
    covariance
        Of the errors [point, point]; not diagonal where the points share prompts.
    """

    t: Float
    value: Float
    covariance: Float

    @property
    def clock(self) -> Clock:
        """First and last time."""
        return Clock(float(self.t[0]), float(self.t[-1]))

    def first(self, count: int) -> Observed:
        """The first points alone."""
        return Observed(self.t[:count], self.value[:count], self.covariance[:count, :count])

    def whitened(self, rows: Float) -> Float:
        """Rows [..., point] divided by the Cholesky factor of the covariance, so that their errors are independent."""
        return np.asarray(rows @ self._whitening.T)

    @cached_property
    def _whitening(self) -> Float:
        factor = np.linalg.cholesky(self.covariance)
        return np.asarray(solve_triangular(factor, np.eye(len(factor)), lower=True))


@dataclass(frozen=True, eq=False)
class Profile:
    """A law's fit at every shape.

    Attributes
    ----------
    shapes
        The grid [shape].
    chi2
        Squared residual, whitened [shape]; infinite for a shape that the series rules out (it would fall).
    beta, spread
        Estimates of the linear parameters [shape, column], A_inf first, and their covariance [shape, column, column].
    scale
        What squared residuals are divided by where none of the laws fits (at least 1).
    """

    law: Law
    clock: Clock
    shapes: Shapes
    chi2: Float
    beta: Float
    spread: Float
    scale: float = 1.0

    @property
    def best(self) -> int:
        """Index of the best shape."""
        return int(np.argmin(self.chi2))

    @property
    def least(self) -> float:
        """Squared residual of the best shape."""
        return float(self.chi2[self.best])

    @property
    def kept(self) -> Bool:
        """Shapes inside the 95 % profile likelihood [shape]."""
        return np.asarray(self.chi2 <= self.least + CUT * self.scale)

    def interval(self, weights: Float) -> tuple[float, float, float]:
        """Best estimate and profile-likelihood interval of a linear function, weights [shape, column]."""
        low, high = self._union(weights[self.kept][:, None], np.zeros(1))
        return float(weights[self.best] @ self.beta[self.best]), float(low[0]), float(high[0])

    def band(self, t: Float, noise: Float) -> tuple[Float, Float]:
        """Interval of A(t) at times [time], with what is added to it, such as the error of a measurement.

        Parameters
        ----------
        noise
            Variance of what is added [time].
        """
        kept = Shapes(self.shapes.scale[self.kept], self.shapes.second[self.kept])
        return self._union(self.law.design(t, kept, self.clock), noise)

    def curve(self, t: Float) -> Float:
        """A(t) of the best shape at times [time]."""
        one = slice(self.best, self.best + 1)
        shape = Shapes(self.shapes.scale[one], self.shapes.second[one])
        return np.asarray(self.law.design(t, shape, self.clock)[0] @ self.beta[self.best])

    def _union(self, weights: Float, noise: Float) -> tuple[Float, Float]:
        """Lowest and highest end over the kept shapes, weights [kept shape, function, column]."""
        beta, spread = self.beta[self.kept], self.spread[self.kept]
        value = np.einsum("gfc,gc->gf", weights, beta)
        variance = np.maximum(((weights @ spread) * weights).sum(axis=2), 0.0)
        room = np.maximum(self.least + CUT * self.scale - self.chi2[self.kept], 0.0)
        reach = np.sqrt((variance + noise) * room[:, None])
        return (value - reach).min(axis=0), (value + reach).max(axis=0)

    def plateau(self) -> Float:
        """Weights of A_inf."""
        weights = np.zeros_like(self.beta)
        weights[:, 0] = 1.0
        return weights

    def at(self, t: float) -> Float:
        """Weights of A(t)."""
        return self.law.design(np.array([t]), self.shapes, self.clock)[:, 0]

    def remaining(self) -> Float:
        """Weights of the reserve A_inf - A(last): the contrast, in which what the points share cancels."""
        return self.plateau() - self.at(self.clock.last)


def profile(
    law: Law,
    series: Observed,
    cap: float = 1.0,
    *,
    partner: Observed | None = None,
    refine: bool = True,
) -> Profile | None:
    """Fit a law at all its shapes; None where no shape rises.

    Parameters
    ----------
    cap
        A_inf is at most this.
    partner
        A series of the same shape and other parameters, fitted jointly: given the shape the two have no parameter in
        common, so their squared residuals add. Errors of the two are taken as independent of each other.
    refine
        Look again, closer, at the shapes inside the profile likelihood.
    """

    def fit(shapes: Shapes) -> Profile:
        found = _fit(law, series, shapes, cap, series.clock)
        if partner is None:
            return found
        return replace(found, chi2=found.chi2 + _fit(law, partner, shapes, 1.0, series.clock).chi2)

    found = fit(law.grid(series.clock))
    if not np.isfinite(found.least):
        return None
    if refine:
        closer = fit(law.finer(found.shapes, found.kept))
        found = closer if closer.least < found.least + CLOSE else found
    return found


def survivors(fits: Sequence[Profile]) -> list[Profile]:
    """The laws whose squared residual is within 3.84 of the best law's, which is the first."""
    ordered = sorted(fits, key=lambda fit: fit.least)
    return [fit for fit in ordered if fit.least <= ordered[0].least + CUT * fit.scale]


def rescaled(fits: Sequence[Profile], points: int) -> list[Profile]:
    """The fits, their thresholds multiplied by chi2/df of the best where it is too large for chance (p < .01).

    Then the standard errors are too small or no law is right, and neither may make intervals narrow (Birge 1932, Physical
    Review 40, p. 213).
    """
    if not fits:
        return []
    best = min(fits, key=lambda fit: fit.least)
    free = points - best.beta.shape[1] - 1
    if free < 1 or chdtrc(free, best.least) >= POOR:
        return list(fits)
    return [replace(fit, scale=best.least / free) for fit in fits]


def _fit(law: Law, series: Observed, shapes: Shapes, cap: float, clock: Clock) -> Profile:
    """Least squares at every shape, the constant projected out first, which keeps slow shapes well conditioned."""
    ones, target = series.whitened(np.ones_like(series.t)), series.whitened(series.value)
    falling = series.whitened(np.swapaxes(law.falls(series.t, shapes, clock), 1, 2))  # [shape, column, point]
    weight = ones @ ones
    level, centre = (ones @ target) / weight, falling @ ones / weight
    rest, turned = target - level * ones, falling - centre[..., None] * ones
    gram = turned @ np.swapaxes(turned, 1, 2)
    size = np.sqrt(np.maximum(np.einsum("gcc->gc", gram), TINY))
    inverse = np.linalg.inv(gram / (size[:, :, None] * size[:, None, :]) + RIDGE * np.eye(gram.shape[1]))
    inverse = inverse / (size[:, :, None] * size[:, None, :])
    drops = turned @ rest
    falls = -np.einsum("gcd,gd->gc", inverse, drops)
    beta = np.concatenate([(level + (centre * falls).sum(axis=1))[:, None], falls], axis=1)
    across = np.einsum("gcd,gd->gc", inverse, centre)
    corner = 1.0 / weight + (across * centre).sum(axis=1)
    spread = np.empty((len(beta), beta.shape[1], beta.shape[1]))
    spread[:, 0, 0], spread[:, 0, 1:], spread[:, 1:, 0], spread[:, 1:, 1:] = corner, across, across, inverse
    chi2 = np.maximum(rest @ rest + (drops * falls).sum(axis=1), 0.0)

    # A_inf is held at its cap where it would exceed it.
    over = np.maximum(beta[:, 0] - cap, 0.0)
    chi2 = chi2 + over**2 / spread[:, 0, 0]
    share = spread[:, :, 0] / spread[:, 0, 0, None]
    beta = beta - share * over[:, None]
    held = spread - share[:, :, None] * spread[:, None, :, 0]
    spread = np.where((over > 0)[:, None, None], held, spread)
    rises = (beta[:, 1:] > 0).all(axis=1)
    return Profile(law, clock, shapes, np.where(rises, chi2, np.inf), beta, spread)
