"""Forecasts of a series, and how the same procedure would have done at every earlier point of it.

At each origin the forecast law is the one whose earlier forecasts, of points already seen by then, were best; so the
score is of the procedure and not of the law that hindsight prefers. A forecast is of what will be measured, on the same
prompts where the points share them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtri

from gapbench.panel import Bool, Float, Int
from gapbench.trajectory.fitting import Observed, Profile, profile, rescaled, survivors
from gapbench.trajectory.laws import FORECAST_LAWS, PLATEAU_LAWS

PERSISTENCE = "persistence"
FEWEST = 4
"""Points from which a law is fitted."""

MOST_ORIGINS = 12
JUDGED_FROM = 3  # forecasts already scored from which they choose the law
REACH = float(ndtri(0.975))


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is expected at one time, with a 95 % interval.

    Attributes
    ----------
    law
        The law of the value; the interval is the hull of its own and those of the plateau laws that fit.
    """

    t: float
    value: float
    low: float
    high: float
    law: str


@dataclass(frozen=True, slots=True)
class Rolling:
    """How forecasts from earlier origins did.

    Attributes
    ----------
    mase
        Mean absolute error over that of the last value before the origin; NaN where there is nothing to score.
    coverage
        Share of forecast points inside their 95 % interval.
    bias
        Mean of forecast less outcome.
    scored
        Forecast points, over all origins.
    by_law
        `mase` of each law on the same points.
    chosen
        The law that the next forecast uses.
    """

    mase: float = float("nan")
    coverage: float = float("nan")
    bias: float = float("nan")
    scored: int = 0
    by_law: dict[str, float] = field(default_factory=dict)
    chosen: str = ""


def rolling(series: Observed, cap: float) -> Rolling:
    """Forecast every later point from each of up to 12 origins, evenly spread, and score it."""
    count = len(series.t)
    evenly = np.unique(np.linspace(FEWEST, count - 1, MOST_ORIGINS).round().astype(int))
    # A clock with repeated values must have moved before a law can be fitted.
    origins = [int(one) for one in evenly if count > one and len(np.unique(series.t[:one])) >= FEWEST]
    if not origins:
        return Rolling()
    names = [law.name for law in FORECAST_LAWS] + [PERSISTENCE]
    errors: list[Float] = []  # of each law [law, later point]
    places: list[Int] = []
    own: list[Float] = []
    inside: list[Bool] = []
    for origin in origins:
        fits = _fits(series.first(origin), cap)
        later = np.arange(origin, count)
        values = np.stack([_values(fits, series.first(origin), series.t[later], name) for name in names])
        name = _choice(names, errors, places, origin, fits)
        shared = series.covariance[origin:, :origin].mean(axis=1)
        made = _forecasts(
            fits, series.first(origin), series.t[later], np.diag(series.covariance)[later], shared, name
        )
        truth = series.value[later]
        errors.append(np.abs(values - truth))
        places.append(later)
        own.append(np.array([one.value for one in made]) - truth)
        inside.append(np.array([one.low <= y <= one.high for one, y in zip(made, truth, strict=True)]))
    off, missed = np.concatenate(own), np.concatenate(errors, axis=1).mean(axis=1)
    last = missed[-1]
    relative = {
        name: float(one / last) if last > 0 else float("nan") for name, one in zip(names, missed, strict=True)
    }
    mase = float(np.abs(off).mean() / last) if last > 0 else float("nan")
    chosen = _choice(names, errors, places, count, _fits(series, cap))
    return Rolling(mase, float(np.concatenate(inside).mean()), float(off.mean()), len(off), relative, chosen)


def forecasts(series: Observed, cap: float, times: Sequence[float], law: str) -> list[Forecast]:
    """What the series will be at later times, by a law or by persistence.

    A later point is taken to be measured as well as the last one, and to share as much with the others.
    """
    if not times:
        return []
    own = float(series.covariance[-1, -1])
    shared = float(series.covariance[-1, :-1].mean())
    size = len(times)
    at = np.asarray(times, dtype=float)
    return _forecasts(_fits(series, cap), series, at, np.full(size, own), np.full(size, shared), law)


def _fits(series: Observed, cap: float) -> dict[str, Profile]:
    found = [profile(law, series, cap, refine=False) for law in FORECAST_LAWS]
    return {fit.law.name: fit for fit in rescaled([fit for fit in found if fit is not None], len(series.t))}


def _choice(
    names: Sequence[str],
    errors: Sequence[Float],
    places: Sequence[Int],
    origin: int,
    fits: dict[str, Profile],
) -> str:
    """The law with the least mean error so far; before there is one, the plateau law that fits best."""
    seen = [one[:, place < origin] for one, place in zip(errors, places, strict=True)]
    known = np.concatenate(seen, axis=1) if seen else np.empty((len(names), 0))
    if known.shape[1] >= JUDGED_FROM:
        return names[int(np.argmin(known.mean(axis=1)))]
    plateau = [fits[law.name] for law in PLATEAU_LAWS if law.name in fits]
    return survivors(plateau)[0].law.name if plateau else PERSISTENCE


def _values(fits: dict[str, Profile], series: Observed, times: Float, name: str) -> Float:
    if name not in fits:
        return np.full(len(times), series.value[-1])
    return np.clip(fits[name].curve(times), -1.0, 1.0)


def _forecasts(
    fits: dict[str, Profile], series: Observed, times: Float, own: Float, shared: Float, name: str
) -> list[Forecast]:
    value = _values(fits, series, times, name)
    plateau = survivors([fits[law.name] for law in PLATEAU_LAWS if law.name in fits])
    # What a new point adds: its noise, less what it has in common with the points of the fit. That is exact where all
    # standard errors are equal; it is never less than the curve's own uncertainty.
    added = np.maximum(own - 2.0 * shared, 0.0)
    bands = [fit.band(times, added) for fit in plateau]
    if name in fits:
        bands.append(fits[name].band(times, added))
    else:
        bands.append(_persistence_band(series, times, own, shared))
    low, high = np.min([one[0] for one in bands], axis=0), np.max([one[1] for one in bands], axis=0)
    low, high = np.clip(low, -1.0, 1.0), np.clip(high, -1.0, 1.0)
    return [
        Forecast(float(t), float(v), float(a), float(b), name if name in fits else PERSISTENCE)
        for t, v, a, b in zip(times, value, low, high, strict=True)
    ]


def _persistence_band(series: Observed, times: Float, own: Float, shared: Float) -> tuple[Float, Float]:
    """A random walk whose steps are as large as the series' differences are beyond their noise."""
    noise = np.diag(series.covariance)
    steps = np.diff(series.value) ** 2 - noise[1:] - noise[:-1] + 2 * np.diag(series.covariance, 1)
    rate = max(0.0, float(steps.sum())) / series.clock.span
    spread = own + noise[-1] - 2 * shared + rate * np.maximum(times - series.t[-1], 0.0)
    reach = REACH * np.sqrt(np.maximum(spread, 0.0))
    return series.value[-1] - reach, series.value[-1] + reach
