"""Intervals for the mean of bounded values that hold at any sample size, by betting.

Waudby-Smith and Ramdas (2024), "Estimating means of bounded random variables by betting", JRSS B 86(1), arXiv
2010.09686: the hedged capital process of their section 4 with predictable plug-in bets tuned to the sample size. Its coverage is at least 95 % for any distribution on the range, which no t or bootstrap interval can
promise; the price is width. It applies to plain means of independent values with a known range: to accuracy,
gap, pass@k and shortfall in one task, and not to ratios or pooled gaps, to clusters of unequal size, or to sums over tasks.

>>> low, high = betting_interval(np.repeat([0.0, 1.0], [40, 60]), 0.0, 1.0)
>>> 0.4 < low < 0.6 < high < 0.8
True
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gapbench.panel import Float

LARGEST_BET = 0.5  # of what the next value could lose
HALVINGS = 40


def betting_interval(
    values: Float, low: float, high: float, *, seed: int = 0, alpha: float = 0.05
) -> tuple[float, float]:
    """Interval for the mean of independent values in [low, high].

    Bets depend on the order of the values, which is drawn at random once, by `seed`.

    Parameters
    ----------
    values
        [unit].
    low, high
        Range of a value, finite.
    alpha
        1 - coverage.

    Returns
    -------
    Ends of the interval.
    """
    x = (np.random.default_rng(seed).permutation(values) - low) / (high - low)
    count = np.arange(1, len(x) + 1)
    running = (0.5 + np.cumsum(x)) / (count + 1)
    variance = (0.25 + np.cumsum((x - running) ** 2)) / (count + 1)
    before = np.concatenate([[0.25], variance[:-1]])
    bet = np.sqrt(2.0 * np.log(2.0 / alpha) / (before * len(x)))

    def capital(mean: float, side: int) -> float:
        """Log of what betting that the mean is above (side 1) or below (-1) `mean` has gained."""
        room = mean if side > 0 else 1.0 - mean
        stake = np.minimum(bet, LARGEST_BET / max(room, np.finfo(float).tiny))
        return float(np.log1p(side * stake * (x - mean)).sum())

    # Half of the capital bets on each side, and either half may reach 1/alpha by itself. What betting on a higher
    # mean gains falls as the supposed mean rises, term by term, and the other way round: each side has one edge.
    bound = np.log(2.0 / alpha)
    lower = _crossing(lambda mean: capital(mean, 1) < bound)
    upper = _crossing(lambda mean: capital(mean, -1) >= bound)
    centre = float(x.mean())
    return low + (high - low) * min(lower, centre), low + (high - low) * max(upper, centre)


def _crossing(above: Callable[[float], bool]) -> float:
    """Point of [0, 1] from which a monotone condition holds; an end where it holds everywhere or nowhere."""
    if above(0.0):
        return 0.0
    if not above(1.0):
        return 1.0
    below, beyond = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (below + beyond) / 2
        below, beyond = (below, middle) if above(middle) else (middle, beyond)
    return beyond
