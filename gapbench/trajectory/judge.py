"""A judge that moves with its solver: the slope of selected accuracy V on accuracy A over checkpoints.

With V = A_0 + G_0 + rho (A - A_0) a closed loop ends at A_0 + (G_0 - G_inf)/(1 - rho), if rho < 1; at 1 there is no
plateau. rho is a ratio of two slopes over time, and its interval is Fieller's, which may be unbounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import stdtrit

from gapbench.errors import UserError
from gapbench.panel import Float, Int

Word = Literal["plateau", "no plateau identified"]


@dataclass(frozen=True, slots=True)
class MovingJudge:
    """rho with its 95 % Fieller interval.

    Attributes
    ----------
    rho, low, high
        Infinite ends where accuracy's own slope is not shown to differ from 0.
    word
        `plateau` where the interval is bounded and below 1.
    """

    rho: float
    low: float
    high: float
    word: Word


def moving_judge(t: Float, selected: Float, accuracy: Float, clusters: Int | None = None) -> MovingJudge:
    """Rho = sum c_t V_t / sum c_t A_t, c_t = t - mean(t).

    V and A must come from disjoint halves of the responses: what the same responses have in common would pull rho
    towards 1. They may share prompts, whose covariance is taken into account.

    Parameters
    ----------
    t
        Clock [checkpoint], at least 3.
    selected, accuracy
        V and A of each prompt [prompt, checkpoint].
    clusters
        Cluster of each prompt.

    Raises
    ------
    UserError
        If there are fewer than 3 checkpoints.
    """
    if len(np.unique(t)) < 3:
        raise UserError("a moving judge needs at least 3 checkpoints at different times; add checkpoints")
    centred = t - t.mean()
    slopes = np.stack([selected @ centred, accuracy @ centred])  # of each prompt
    means = slopes.mean(axis=1)
    codes = np.arange(slopes.shape[1]) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    units = np.stack([np.bincount(codes, weights=row) for row in slopes - means[:, None]])
    count = units.shape[1]
    covariance = units @ units.T * count / (count - 1) / slopes.shape[1] ** 2
    return fieller(means, covariance, float(stdtrit(count - 1, 0.975)))


def fieller(means: Float, covariance: Float, reach: float) -> MovingJudge:
    """Fieller's interval of a ratio of two means (Fieller 1954, JRSS B 16(2)).

    Parameters
    ----------
    means, covariance
        Of numerator and denominator.
    reach
        Quantile of the reference distribution, such as 1.96.
    """
    top, bottom = float(means[0]), float(means[1])
    g = reach**2 * covariance
    lead, half, rest = bottom**2 - g[1, 1], bottom * top - g[0, 1], top**2 - g[0, 0]
    rho = top / bottom if bottom else float("nan")
    if lead <= 0:  # the denominator is not shown to differ from 0
        return MovingJudge(rho, -np.inf, np.inf, "no plateau identified")
    root = float(np.sqrt(max(half**2 - lead * rest, 0.0)))
    low, high = float((half - root) / lead), float((half + root) / lead)
    return MovingJudge(rho, low, high, "plateau" if high < 1 else "no plateau identified")
