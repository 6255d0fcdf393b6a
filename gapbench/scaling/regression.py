"""Mixed-effects meta-regression: y = X beta + u + e, Var(e) known, Var(u) = tau^2 by REML, Knapp-Hartung intervals.

A full covariance of the errors is turned into a diagonal one by its eigenvectors, V + tau^2 I = Q (L + tau^2) Q', so
that there is one way to compute. Group intercepts of independent points are taken out by weighted means and cost
nothing however many groups there are.

>>> x, y = np.arange(5.0), np.array([0.0, 1.1, 1.9, 3.2, 3.9])
>>> found = regress(y, x[:, None], variance=np.full(5, 0.01))
>>> round(found.slope, 3), found.df
(0.99, 3)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import stdtr, stdtrit

from gapbench.panel import Float, Int

LEVEL = 0.95
DENSE = 300  # points up to which a full decomposition is quicker
SMALLEST = 1e-150  # variance that stands for none where a weight is its reciprocal
GRID = 16  # places where the restricted likelihood is looked at before it is refined


class Data:
    """Points of a regression with an intercept for each group, their errors independent after a rotation.

    Parameters
    ----------
    y
        Outcomes [point].
    covariates
        [point, covariate].
    variance
        Known error variances [point] or their covariance [point, point]; None where they are not known, which
        leaves one residual variance for all.
    groups
        Code of the group of each point, from 0 without gaps; None for one intercept.
    """

    def __init__(
        self, y: Float, covariates: Float, variance: Float | None = None, groups: Int | None = None
    ) -> None:
        codes = np.zeros(len(y), dtype=np.int64) if groups is None else groups
        self.n_groups = int(codes.max()) + 1
        self.known = variance is not None
        known = np.zeros(len(y)) if variance is None else variance
        self.rotation: Float | None = None
        self.groups: Int | None = codes
        self.y, self.x = y, covariates
        self.variance = known
        self.n, self.rank = len(y), self.n_groups + covariates.shape[1]
        if known.ndim == 2:
            values, vectors = np.linalg.eigh(known)
            self.variance, self.rotation, self.groups = np.maximum(values, 0.0), vectors.T, None
            self.y = self.rotation @ y
            self.x = self.rotation @ np.column_stack([np.eye(self.n_groups)[codes], covariates])

    def at(self, tau2: float) -> Weighted:
        """Weighted least squares at this tau^2."""
        return Weighted(self, 1.0 / (self.variance + tau2))

    def centred(self) -> Float:
        """Covariates less the means of their groups [point, covariate]."""
        assert self.groups is not None
        counts = np.bincount(self.groups, minlength=self.n_groups)
        sums = np.zeros((self.n_groups, self.x.shape[1]))
        np.add.at(sums, self.groups, self.x)
        return np.asarray(self.x - (sums / counts[:, None])[self.groups])

    def restricted(self, tau2: float) -> float:
        """Restricted log-likelihood at this tau^2, up to a constant (Viechtbauer 2005, JEBS 30(3), eq. 12)."""
        fit = self.at(tau2)
        return 0.5 * (float(np.log(fit.weights).sum()) - fit.log_determinant - fit.rss)

    def tau2(self) -> float:
        """REML estimate of Var(u); the residual variance where errors are not known."""
        if not self.known:
            return float(self.at(1.0).rss / (self.n - self.rank))
        if self.n > DENSE:
            return reml(self.restricted, self.at(1.0).rss / (self.n - self.rank), self.variance)
        # With K spanning what the design cannot reach, K'y ~ N(0, K'VK + tau^2), whose eigenvectors serve every tau^2.
        design = (
            self.x if self.groups is None else np.column_stack([np.eye(self.n_groups)[self.groups], self.x])
        )
        spare = np.linalg.qr(design, mode="complete")[0][:, self.rank :]
        values, vectors = np.linalg.eigh((spare.T * self.variance) @ spare)
        square = (vectors.T @ (spare.T @ self.y)) ** 2

        def restricted(tau2: float) -> float:
            spread = values + tau2
            return -0.5 * float(np.log(spread).sum() + (square / spread).sum())

        return reml(restricted, float(square.mean()), np.maximum(values, 0.0))


def reml(restricted: Callable[[float], float], most: float, variance: Float) -> float:
    """Where a restricted log-likelihood of tau^2 is largest.

    Parameters
    ----------
    restricted
        The restricted log-likelihood.
    most
        Unweighted residual variance.
    variance
        Known error variances [point].
    """
    floor = max(float(np.median(variance)), most) * 1e-9
    if most <= floor:
        return 0.0 if variance.min() > floor else floor
    # A likelihood may have several optima: it is looked at from nothing to more than all scatter there is. At 0 it
    # exists only where every variance is positive, which a rank-deficient covariance's are not.
    start = 0.0 if variance.min() > floor else floor
    grid = np.concatenate([[start], np.geomspace(max(most * 1e-5, 2 * floor), most * 4.0, GRID)])
    values = [restricted(one) for one in grid]
    best = int(np.argmax(values))
    ends = grid[max(best - 1, 0)], grid[min(best + 1, GRID)]
    found = minimize_scalar(
        lambda tau2: -restricted(tau2), bounds=ends, method="bounded", options={"xatol": most * 1e-9}
    )
    return float(found.x) if -found.fun > values[best] else float(grid[best])


class Weighted:
    """Weighted least squares at given weights; `rss`, `log_determinant` of X'WX and what the slopes need."""

    def __init__(self, data: Data, weights: Float) -> None:
        self.data, self.weights = data, weights
        self.x = self._within(data.x)
        self.y = self._within(data.y[:, None])[:, 0]
        self.information = self.x.T @ (weights[:, None] * self.x)
        self.inverse = np.linalg.inv(self.information)
        self.beta = self.inverse @ (self.x.T @ (weights * self.y))
        self.residual = self.y - self.x @ self.beta
        self.rss = float(weights @ self.residual**2)

    @cached_property
    def totals(self) -> Float:
        """Sum of the weights of each group; none where intercepts are among the columns."""
        if self.data.groups is None:
            return np.empty(0)
        return np.bincount(self.data.groups, self.weights, self.data.n_groups).astype(float)

    @property
    def log_determinant(self) -> float:
        """Log det X'WX, the intercepts included."""
        return float(np.log(self.totals).sum() + np.linalg.slogdet(self.information)[1])

    def means(self, columns: Float) -> Float:
        """Weighted mean of each column in each group [group, column]."""
        assert self.data.groups is not None
        found = np.empty((self.data.n_groups, columns.shape[1]))
        for place, column in enumerate(columns.T):
            found[:, place] = np.bincount(self.data.groups, self.weights * column, self.data.n_groups)
        return found / self.totals[:, None]

    def _within(self, columns: Float) -> Float:
        """Columns less their group's weighted mean."""
        if self.data.groups is None:
            return columns
        return columns - self.means(columns)[self.data.groups]

    def typical_variance(self) -> float:
        """(n - p) / tr P, the error variance of a typical point (Higgins and Thompson 2002, eq. 9)."""
        w = self.weights
        trace = w.sum() - np.trace(self.inverse @ (self.x.T @ ((w**2)[:, None] * self.x)))
        if self.data.groups is not None:
            trace -= (np.bincount(self.data.groups, w**2, self.data.n_groups) / self.totals).sum()
        return float((self.data.n - self.data.rank) / trace)


@dataclass(frozen=True, eq=False)
class Regression:
    """A fitted meta-regression; the slope is the first covariate's.

    Attributes
    ----------
    data
        What was fitted.
    tau2
        Var(u); with unknown errors, the residual variance.
    scale
        Knapp-Hartung factor, residual mean square at the fitted weights (Knapp and Hartung 2003, Statistics in Medicine
        22(17)).
    df
        Points less coefficients.
    """

    data: Data
    tau2: float
    scale: float
    df: int

    @cached_property
    def _fit(self) -> Weighted:
        return self.data.at(self.tau2)

    @property
    def _first(self) -> int:
        """Place of the slope among the columns."""
        return self.data.n_groups if self.data.groups is None else 0

    @property
    def slope(self) -> float:
        """Of the first covariate."""
        return float(self._fit.beta[self._first])

    @property
    def se(self) -> float:
        """Knapp-Hartung standard error of the slope."""
        return math.sqrt(self.scale) * self.se_known

    @property
    def se_known(self) -> float:
        """Standard error of the slope were tau^2 known, for which a z interval would be right."""
        return math.sqrt(float(self._fit.inverse[self._first, self._first]))

    @property
    def quantile(self) -> float:
        """Of the t distribution, for 95 % intervals."""
        return float(stdtrit(self.df, 0.5 + LEVEL / 2))

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the slope."""
        reach = self.quantile * self.se
        return self.slope - reach, self.slope + reach

    @property
    def p(self) -> float:
        """Two-sided p-value for a slope of 0."""
        return float(2 * stdtr(self.df, -abs(self.slope) / self.se)) if self.se > 0 else float("nan")

    @property
    def i2(self) -> float:
        """Share of the scatter about the line that is Var(u) (Higgins and Thompson 2002); NaN with unknown errors."""
        if not self.data.known or self.data.variance.min() <= 0:
            return float("nan")
        return self.tau2 / (self.tau2 + self.data.at(0.0).typical_variance())

    @cached_property
    def operator(self) -> Float:
        """Matrix that gives the coefficients from the outcomes: intercepts, then slopes [coefficient, point]."""
        fit = self._fit
        slopes = fit.inverse @ (fit.x * fit.weights[:, None]).T
        if self.data.groups is None:
            assert self.data.rotation is not None
            return np.asarray(slopes @ self.data.rotation)
        mean = np.zeros((self.data.n_groups, self.data.n))
        mean[self.data.groups, np.arange(self.data.n)] = fit.weights
        mean /= fit.totals[:, None]
        return np.vstack([mean - fit.means(self.data.x) @ slopes, slopes])

    @cached_property
    def coefficients(self) -> Float:
        """Intercepts of the groups, then slopes [coefficient]."""
        fit = self._fit
        if self.data.groups is None:
            return fit.beta
        level = fit.means(self.data.y[:, None])[:, 0] - fit.means(self.data.x) @ fit.beta
        return np.concatenate([level, fit.beta])

    def variance_of(self, row: Float) -> float:
        """Variance of a combination of the coefficients [coefficient] were tau^2 known."""
        fit = self._fit
        if self.data.groups is None:
            return float(row @ fit.inverse @ row)
        share, slopes = row[: self.data.n_groups], row[self.data.n_groups :]
        away = slopes - share @ fit.means(self.data.x)
        return float(share**2 @ (1.0 / fit.totals) + away @ fit.inverse @ away)

    def line(self, group: int, covariates: Float) -> tuple[Float, Float]:
        """Fitted means and their Knapp-Hartung standard errors at new covariates [place, covariate] of a group."""
        rows = np.column_stack([np.tile(np.eye(self.data.n_groups)[group], (len(covariates), 1)), covariates])
        variance = np.array([self.variance_of(row) for row in rows])
        return rows @ self.coefficients, np.sqrt(self.scale * variance)


def regress(
    y: Float,
    covariates: Float,
    *,
    variance: Float | None = None,
    groups: Int | None = None,
    tau2: float | None = None,
) -> Regression:
    """Fit by REML.

    Parameters
    ----------
    y, covariates, variance, groups
        As of `Data`.
    tau2
        Var(u) where it is given and not to be estimated.

    Raises
    ------
    ValueError
        If there are no more points than coefficients, or the covariates do not vary within groups.
    """
    data = Data(y, covariates, variance, groups)
    if data.n <= data.rank:
        raise ValueError(f"{data.n} points cannot tell of {data.rank} coefficients")
    if covariates.shape[1]:
        within = Data(y, covariates, None, groups).centred()
        size = np.abs(covariates - covariates.mean(axis=0)).max()
        if np.linalg.matrix_rank(within, tol=max(size, 1e-300) * 1e-9) < covariates.shape[1]:
            raise ValueError("the covariates do not vary within groups")
    found = data.tau2() if tau2 is None else tau2
    if data.variance.min() <= 0:
        found = max(found, SMALLEST)
    df = data.n - data.rank
    return Regression(data, found, data.at(found).rss / df, df)
