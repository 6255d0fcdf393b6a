"""Where a loop would settle if its judge improved along with it: a scenario, since one frozen model cannot show that.

A frozen judge already moves along its own curve: from accuracy A a round leads to V(A), read off the measured path of
rounds. A judge that improves adds rho (A - A_0), and nothing where A is below A_0. The loop A <- min(V(A) + rho (A - A_0) - G, coverage) is followed to its fixed
point, where a gap of G is left. Past the end of the path a frozen judge raises nothing any further, so that without G the fixed
point is A_0 + (A_end - A_0)/(1 - rho), where coverage allows it (projection.md, section 2).

>>> path, coverage = np.array([0.3, 0.4, 0.45]), np.array(0.9)
>>> [round(float(plateau(path, np.arange(3.0), coverage, rho=rho)), 3) for rho in (0.0, 0.5)]
[0.45, 0.6]
"""

from __future__ import annotations

import numpy as np

from gapbench.panel import Float

RHOS = (0.0, 0.25, 0.5)
MOST_STEPS = 2000
SETTLED = 1e-10


def plateau(path: Float, rounds: Float, coverage: Float, *, rho: float, residual: float = 0.0) -> Float:
    """Accuracy at which the loop settles.

    Parameters
    ----------
    path
        Accuracy after `rounds` rounds with the frozen judge [..., point], from the start (0 rounds) on.
    rounds
        Increasing from 0; they need not be whole [point].
    coverage
        What no selection can exceed [...].
    rho
        What the judge gains for each point of accuracy, in [0, 1).
    residual
        Gap at which the loop stops gaining; one whose first round gains no more than that does not start.

    Returns
    -------
    Array [...] in [0, 1].
    """
    start, gain_of_first = path[..., 0], frozen_judge(path, rounds, path[..., 0]) - path[..., 0]
    at = start.copy()
    for _ in range(MOST_STEPS):
        step = frozen_judge(path, rounds, at) + rho * np.maximum(at - start, 0.0) - residual
        step = np.clip(np.minimum(step, coverage), 0.0, 1.0)
        moved = np.nanmax(np.abs(step - at), initial=0.0)
        at = step
        if moved < SETTLED:
            break
    return np.asarray(np.where((gain_of_first <= residual) & (residual > 0), start, at))


def frozen_judge(path: Float, rounds: Float, accuracy: Float) -> Float:
    """V(A): accuracy one round after the point of the path at which it is A; its end where that is passed.

    A path that falls somewhere has no such point for each A. All that is said of it is where it ends.

    Parameters
    ----------
    path, rounds
        As for `plateau`.
    accuracy
        [...].
    """
    rising = (np.diff(path, axis=-1) >= 0).all(axis=-1)
    when = _interpolated(path, np.broadcast_to(rounds, path.shape), accuracy)
    after = _interpolated(np.broadcast_to(rounds, path.shape), path, when + 1.0)
    return np.where(rising, after, path[..., -1])


def _interpolated(x: Float, y: Float, at: Float) -> Float:
    """Piecewise linear y at x = `at`, row by row, constant outside; x ascending, the last of equal x counts."""
    place = np.clip((x <= at[..., None]).sum(axis=-1) - 1, 0, x.shape[-1] - 2)[..., None]
    x0, x1, y0, y1 = (
        np.take_along_axis(one, place + step, axis=-1)[..., 0] for one in (x, y) for step in (0, 1)
    )
    share = np.divide(at - x0, x1 - x0, out=np.ones_like(at), where=x1 > x0)
    return np.asarray(y0 + np.clip(share, 0.0, 1.0) * (y1 - y0))
