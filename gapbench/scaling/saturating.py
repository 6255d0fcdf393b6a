"""The saturating law y = L logistic(kappa (x - x0)) beside the straight line; shown, never used to choose.

For given kappa and x0 the law is linear in L and in family intercepts, so that the likelihood is computed on a grid of
(tau^2, kappa, x0) without any search that could end in the wrong place.

>>> x = np.linspace(21, 25, 9)
>>> y = 0.4 / (1 + np.exp(-3 * (x - 22.5))) + 0.005 * np.cos(7 * x)
>>> found = saturating(y, x, np.full(9, 1e-4), np.zeros(9, dtype=int))
>>> round(found.ceiling, 2), found.low > 0.37, found.high < 0.43
(0.4, True, True)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from gapbench.panel import Float, Int
from gapbench.scaling.regression import Data

CELLS = 4e6  # shapes times points times tau^2 that the grid may cost
MANY = 100  # points from which tau^2 of the line is near enough
ENDLESS = 32.0  # an L of so many times the rise in the data is as good as none
STEPS = (18, 26, 8)  # of kappa, x0 and tau^2
ZOOM = 9  # places a side of the finer grid about the best
FLATTEST = 0.02  # times the data's span: a line, to the eye and to the likelihood
STEEPEST = 12.0  # per decade: from 12 % to 88 % of the ceiling within a third of a decade
OUTSIDE = 1.5  # decades beyond the data in which the midpoint may lie, at least
TAIL = 6.0  # and as far as brings the data to logistic(-6) or logistic(6)


@dataclass(frozen=True, slots=True)
class Saturating:
    """The saturating law of one fit.

    Attributes
    ----------
    ceiling, low, high
        L and its 95 % profile-likelihood interval, infinite where the data set no bound. With several families, L is the
        whole rise above each family's own intercept. The interval supposes that the law holds.
    kappa, midpoint
        Steepness per decade, and x0 in log10 FLOPs.
    aicc, aicc_linear
        Small-sample AIC of this law and of the line, both by maximum likelihood; the lower is the better description,
        which at few points does not tell which law is true.
    flags
        `no_ceiling` where the interval is not bounded.
    """

    ceiling: float
    low: float
    high: float
    kappa: float
    midpoint: float
    aicc: float
    aicc_linear: float
    flags: tuple[str, ...] = ()


def saturating(y: Float, x: Float, variance: Float | None, groups: Int) -> Saturating | None:
    """Fit the law; None where there are too few points for AICc to exist.

    The profile interval holds every L whose deviance exceeds the least by at most n log(1 + t^2/(n - p)), t the 97.5 %
    point with n - p degrees of freedom, which is exact for a linear law with unknown variance and tends to 3.84.

    Parameters
    ----------
    y, x, groups
        Outcomes, log10 FLOPs and family codes from 0 without gaps [point].
    variance
        Known error variances [point], their covariance [point, point], or None.
    """
    n, n_groups = len(y), int(groups.max()) + 1
    # A single family has no intercept beside L: the law starts from 0.
    intercepts = n_groups if n_groups > 1 else 0
    coefficients = intercepts + 3
    if n < coefficients + 3:
        return None
    line = Data(y, x[:, None], variance, groups)
    inner = [_Inner(line, tau2, groups, intercepts) for tau2 in _taus(line)]
    many = [max(6, int(step * min(1.0, (CELLS / (n * np.prod(STEPS))) ** 0.5))) for step in STEPS[:2]]
    kappa = np.geomspace(FLATTEST / max(float(np.ptp(x)), 1e-9), STEEPEST, many[0])
    share = np.linspace(0.0, 1.0, many[1])
    grid = _grid(kappa, share, x)
    cross, square = _products(inner, line, x, grid)
    total = np.array([one.total for one in inner])[:, None]
    logs = np.array([one.log_weights for one in inner])[:, None]

    def deviance(rss: Float) -> Float:
        found = rss - logs if line.known else n * np.log(np.maximum(rss, 1e-300) / n)
        return np.asarray(found)

    def best(cross: Float, square: Float) -> tuple[Float, Float, int]:
        with np.errstate(divide="ignore", invalid="ignore"):
            height = np.where(square > 1e-12 * square.max(), cross / square, 0.0)
        values = deviance(total - height * cross)
        return height, values, int(values.argmin())

    near = best(cross, square)[2] % len(grid)
    row, column = divmod(near, many[1])
    zoom = _grid(_between(kappa, row), _between(share, column), x)
    grid = np.vstack([grid, zoom])
    cross, square = (
        np.hstack(pair) for pair in zip((cross, square), _products(inner, line, x, zoom), strict=True)
    )
    height, values, place = best(cross, square)
    least = float(values.min())
    t, shape = divmod(place, len(grid))
    df = n - coefficients
    cut = least + n * np.log1p(float(stats.t.ppf(0.975, df)) ** 2 / df)

    # Along x0 the best L changes smoothly: between two neighbours of the grid lies an x0 whose best L is the one in hand.
    ridge = [one[:, : many[0] * many[1]].reshape(-1, *many) for one in (height, values)]

    def profile(level: float) -> float:
        on_grid = float(deviance(total - 2 * level * cross + level**2 * square).min())
        return min(on_grid, _between_neighbours(ridge[0], ridge[1], level))

    ceiling = float(height[t, shape])
    farthest = ENDLESS * max(float(np.ptp(y)), 1e-12)
    low, high = (_end(profile, ceiling, side * farthest, cut) for side in (-1.0, 1.0))
    straight = min(_line_deviance(one, line) for one in inner)
    parameters = coefficients + 1
    return Saturating(
        ceiling,
        low,
        high,
        float(grid[shape, 0]),
        float(grid[shape, 1]),
        _aicc(least, n, parameters),
        _aicc(straight, n, n_groups + 2),
        () if np.isfinite([low, high]).all() else ("no_ceiling",),
    )


class _Inner:
    """Inner products at one tau^2, the intercepts taken out."""

    def __init__(self, line: Data, tau2: float, groups: Int, intercepts: int) -> None:
        self.tau2 = tau2
        weights = 1.0 / (line.variance + tau2) if line.known else np.ones(line.n)
        self.log_weights = float(np.log(weights).sum())
        dummies = np.eye(intercepts)[groups] if intercepts else np.empty((line.n, 0))
        root = np.sqrt(weights)
        if line.rotation is not None:
            self.basis = np.linalg.qr(root[:, None] * (line.rotation @ dummies))[0]
        else:
            scaled = root[:, None] * dummies
            self.basis = scaled / np.sqrt((scaled**2).sum(axis=0))
        self.root = root
        self.y = self._out((root * line.y)[None])[0]
        self.total = float(self.y @ self.y)

    def _out(self, rows: Float) -> Float:
        return np.asarray(rows - (rows @ self.basis) @ self.basis.T)

    def products(self, columns: Float) -> tuple[Float, Float]:
        """Of each shape with y and with itself [shape]."""
        out = self._out(columns * self.root)
        return out @ self.y, np.einsum("ij,ij->i", out, out)


def _grid(kappa: Float, share: Float, x: Float) -> Float:
    """Every kappa with midpoints from before to behind the data, the farther the flatter the law [shape, 2]."""
    away = np.maximum(OUTSIDE, TAIL / kappa)[:, None]
    x0 = x.min() - away + share * (float(np.ptp(x)) + 2 * away)
    return np.stack([np.broadcast_to(kappa[:, None], x0.shape), x0], axis=-1).reshape(-1, 2)


def _between(values: Float, place: int) -> Float:
    """A finer grid between the neighbours of a place."""
    return np.linspace(values[max(place - 1, 0)], values[min(place + 1, len(values) - 1)], ZOOM)


def _products(inner: Sequence[_Inner], line: Data, x: Float, grid: Float) -> tuple[Float, Float]:
    """Inner products of logistic(kappa (x - x0)) with y and with itself, at each tau^2 [tau2, shape]."""
    shapes = 0.5 * (1.0 + np.tanh(0.5 * grid[:, :1] * (x - grid[:, 1:])))
    columns = shapes if line.rotation is None else shapes @ line.rotation.T
    cross, square = zip(*(one.products(columns) for one in inner), strict=True)
    return np.array(cross), np.array(square)


def _taus(line: Data) -> Float:
    if not line.known:
        return np.zeros(1)
    found = line.tau2()
    if line.n >= MANY:
        return np.array([max(found, 1e-9 * float(np.median(line.variance)))])
    most = max(found, float(np.median(line.variance)))
    return np.concatenate([[1e-9 * most], np.geomspace(0.01 * most, 4 * most, STEPS[2])])


def _line_deviance(inner: _Inner, line: Data) -> float:
    rss = line.at(inner.tau2 if line.known else 1.0).rss
    return rss - inner.log_weights if line.known else line.n * float(np.log(max(rss, 1e-300) / line.n))


def _between_neighbours(height: Float, values: Float, level: float) -> float:
    """Least deviance, interpolated, of the places along x0 where the best L passes a level; infinite if none."""
    left, right = height[..., :-1] - level, height[..., 1:] - level
    passed = (left * right <= 0) & (left != right)
    if not passed.any():
        return float("inf")
    share = left[passed] / (left[passed] - right[passed])
    return float(((1 - share) * values[..., :-1][passed] + share * values[..., 1:][passed]).min())


def _end(profile: Callable[[float], float], best: float, farthest: float, cut: float) -> float:
    """Where the profile deviance passes the cut, by bisection; infinite if it does not before the farthest L."""
    beyond = (best - farthest) * np.sign(farthest) >= 0
    if beyond or profile(farthest) <= cut:
        return float(np.copysign(np.inf, farthest))
    inside, outside = best, farthest
    for _ in range(36):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if profile(middle) <= cut else (inside, middle)
    return float((inside + outside) / 2)


def _aicc(deviance: float, n: int, parameters: int) -> float:
    """Hurvich and Tsai 1989, Biometrika 76(2)."""
    return deviance + 2 * parameters + 2 * parameters * (parameters + 1) / (n - parameters - 1)
