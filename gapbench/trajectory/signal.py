"""Whether a series says anything: whether it falls, and whether a constant describes it.

A chi-square with one degree of freedom is no reference for "does any law of any shape fit better than a constant": the
shape is not identified where there is no rise. The null distribution is therefore simulated, which is cheap: for a
given shape the gain in squared residual is the square of one projection of white noise.
"""

from __future__ import annotations

import numpy as np

from gapbench.panel import Float
from gapbench.trajectory.fitting import Observed, Profile, profile
from gapbench.trajectory.laws import EXPONENTIAL, PLATEAU_LAWS, Law, Shapes

SIMULATED = 2000
THINNED = 8  # every so many shapes are enough for the null
FALLING = 2.326347874040841  # one-sided 1 %
COLLAPSE = 6.634896601021213  # chi-square(1), 1 %


def constant_fits(series: Observed, seed: int = 0, *, scale: float = 1.0) -> float:
    """P-value that the series is constant, against any rise that a plateau law can describe.

    The likelihood ratio of the best plateau law against a constant, referred to its distribution over simulated constant
    series of the same times and covariance.

    Parameters
    ----------
    scale
        What squared residuals are divided by where the standard errors are too small for any law to fit
        (`gapbench.trajectory.fitting.rescaled`).
    """
    ones = series.whitened(np.ones_like(series.t))
    ones = ones / np.linalg.norm(ones)
    directions = np.concatenate([_directions(law, series, ones) for law in PLATEAU_LAWS])
    noise = np.random.default_rng(seed).standard_normal((len(ones), SIMULATED))
    null = np.maximum(directions @ noise, 0.0).max(axis=0)
    seen = max(0.0, float((directions @ series.whitened(series.value)).max())) / np.sqrt(scale)
    return float((1 + np.count_nonzero(null >= seen)) / (1 + SIMULATED))


def _directions(law: Law, series: Observed, ones: Float) -> Float:
    """Unit vectors of the rise of each shape, whitened and free of the constant [shape, point]."""
    shapes = law.grid(series.clock)
    thinned = Shapes(shapes.scale[::THINNED], shapes.second[::THINNED])
    columns = series.whitened(-law.falls(series.t, thinned, series.clock)[..., 0])
    columns = columns - (columns @ ones)[:, None] * ones
    size = np.linalg.norm(columns, axis=1, keepdims=True)
    kept = size[:, 0] > 1e-9 * size.max()
    return np.asarray(columns[kept] / size[kept])


def slope(series: Observed) -> tuple[float, float, float]:
    """Slope of the least-squares line over the whole span of the clock, its standard error, and the squared residual."""
    clock = series.clock
    rows = series.whitened(np.stack([np.ones_like(series.t), (series.t - clock.first) / clock.span]))
    target = series.whitened(series.value)
    spread = np.linalg.inv(rows @ rows.T)
    line = spread @ rows @ target
    return float(line[1]), float(np.sqrt(spread[1, 1])), float(((target - line @ rows) ** 2).sum())


def declines(series: Observed, rise_and_fall: Profile | None, best: float) -> bool:
    """Whether the series falls as a whole, or has passed a peak.

    Parameters
    ----------
    rise_and_fall
        Fit of the law of a collapse.
    best
        Least squared residual of the plateau laws and the constant.
    """
    rate, error, straight = slope(series)
    fall = profile(EXPONENTIAL, Observed(series.t, -series.value, series.covariance), np.inf, refine=False)
    # Nothing but a fall describes a series that falls: by the misfit of what rises its errors would seem too small.
    described = [best, straight, *(fit.least for fit in (rise_and_fall, fall) if fit is not None)]
    free = max(1, len(series.t) - 4)
    scale = max(1.0, min(described) / free)  # errors that are too small must not make a fall of noise
    if rate < -FALLING * error * np.sqrt(scale):
        return True
    if rise_and_fall is None or rise_and_fall.least > best - COLLAPSE * scale:
        return False
    curve = rise_and_fall.curve(series.t)
    peak = int(np.argmax(curve))
    drop = np.zeros(len(curve))
    drop[peak], drop[-1] = 1.0, -1.0
    return bool(curve[peak] - curve[-1] > FALLING * np.sqrt(scale * (drop @ series.covariance @ drop)))
