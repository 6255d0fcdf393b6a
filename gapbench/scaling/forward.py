"""How well the law foretells the largest models from the smaller ones.

>>> x = np.arange(8.0)
>>> y = np.where(x < 6, 0.1 * x, 0.0) + 0.01 * (-1) ** np.arange(8)
>>> forward_z(y, x, None, np.zeros(8, dtype=int)) < -3
True
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from gapbench.panel import Float, Int
from gapbench.scaling.regression import regress

MOST = 2
SPARE = 3  # degrees of freedom that must be left where two models are held out


def forward_z(y: Float, x: Float, variance: Float | None, groups: Int) -> float:
    """Mean error of forecasting the one or two largest models from the others, in standard errors.

    The error's t statistic is turned into the normal deviate of the same tail, so that |z| > 2 is as rare at few models as
    at many. A model is held out only if its family stays; NaN where nothing could be fitted.

    Parameters
    ----------
    y, x, groups
        Outcomes, log10 FLOPs and family codes from 0 without gaps [point].
    variance
        Known error variances [point], their covariance [point, point], or None.
    """
    counts = np.bincount(groups)
    spare = len(y) - len(counts) - 1
    chosen: list[int] = []
    for place in np.argsort(-x, kind="stable"):
        if len(chosen) < (MOST if spare - MOST >= SPARE else 1) and counts[groups[place]] > 1:
            chosen.append(int(place))
            counts[groups[place]] -= 1
    held = np.array(chosen, dtype=np.int64)
    kept = np.setdiff1d(np.arange(len(y)), held)
    known = (
        None if variance is None else variance[kept] if variance.ndim == 1 else variance[np.ix_(kept, kept)]
    )
    try:
        fit = regress(y[kept], x[kept, None], variance=known, groups=groups[kept])
    except ValueError:
        return float("nan")
    share = np.full(len(held), 1.0 / len(held))
    rows = np.column_stack([np.eye(len(counts))[groups[held]], x[held]])
    error = float(share @ (y[held] - rows @ fit.coefficients))
    spread = fit.tau2 / len(held) + fit.scale * fit.variance_of(share @ rows)
    if variance is not None and variance.ndim == 2:
        spread += share @ variance[np.ix_(held, held)] @ share
        spread -= 2 * share @ rows @ fit.operator @ variance[np.ix_(kept, held)] @ share
    elif variance is not None:
        spread += float(share**2 @ variance[held])
    if not spread > 0:
        return float("nan")
    t = error / np.sqrt(spread)
    return float(np.copysign(stats.norm.isf(max(stats.t.sf(abs(t), fit.df), 1e-300)), t))
