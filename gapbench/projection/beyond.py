"""Curves of a domain resampled whole, and what is read off them: coverage beyond N, and moving-judge scenarios."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gapbench.panel import Bool, Float
from gapbench.projection.coverage import BAND, PassRates, extended, fitted_rates
from gapbench.projection.judge import RHOS, plateau
from gapbench.projection.measured import ProjectedTask
from gapbench.projection.results import NAN, PROJECTION, CoveragePoint, Plateau, Value

INTERVAL = (0.025, 0.975)
NOT_EXTRAPOLATED = "not_extrapolated"


@dataclass(frozen=True, eq=False)
class Resampled:
    """Mean curve of a domain [point], and the same in each of the run's resamples [resample, point].

    `drawn` is None where a task has fewer than two clusters to resample.
    """

    mean: Float
    drawn: Float | None

    def range(self, values: Float | None, ends: tuple[float, float]) -> tuple[float, float]:
        """Quantiles of a function of the resamples; NaN where there is none."""
        if values is None or np.isnan(values).all():
            return NAN, NAN
        low, high = np.nanquantile(values, ends)
        return float(low), float(high)


def resampled(
    tasks: Sequence[ProjectedTask], weights: Sequence[float], columns: Sequence[Float]
) -> Resampled | None:
    """Weighted mean over tasks of mean curves, by the resamples that all estimates of the run share.

    Parameters
    ----------
    columns
        For each task [prompt, point]; a prompt where any point is NaN leaves.

    Returns
    -------
    None where a task has no prompt with all points.
    """
    share = np.asarray(weights, dtype=float) / np.sum(weights)
    means, drawn, few = [], [], False
    for task, points in zip(tasks, columns, strict=True):
        whole: Bool = np.asarray(~np.isnan(points).any(axis=1))
        if not whole.any():
            return None
        sums = task.resampling.sums(
            np.column_stack([whole, np.where(whole[:, None], points, 0.0)]).astype(float)
        )
        means.append(sums[:, 1:].sum(axis=0) / sums[:, 0].sum())
        few |= int(np.count_nonzero(sums[:, 0])) < 2
        total = task.resampling.weights @ sums
        drawn.append(
            np.divide(
                total[:, 1:], total[:, :1], out=np.full_like(total[:, 1:], np.nan), where=total[:, :1] > 0
            )
        )
    together = np.einsum("t,tbp->bp", share, np.stack(drawn))
    return Resampled(share @ np.stack(means), None if few else together)


def coverage_beyond(
    covering: Resampled | None, tasks: Sequence[ProjectedTask], weights: Sequence[float], ns: Sequence[int],
    ks: Sequence[int], last: Value,
) -> list[CoveragePoint]:  # fmt: skip
    """pass@k at k > N with its band, and what other models of the pass rates say.

    Parameters
    ----------
    covering
        pass@k at `ns`.
    last
        pass@N. Where every prompt is solved within N no resample differs, and its interval is all that is known.
    """
    if not ks:
        return []
    if covering is None:
        return [CoveragePoint(kind=PROJECTION, flags=(NOT_EXTRAPOLATED,), k=k, measured=False) for k in ks]
    points = extended(covering.mean, np.asarray(ns), ks)
    drawn = None
    if covering.drawn is not None:  # a resample in which nothing is right promises nothing
        drawn = extended(covering.drawn, np.asarray(ns), ks)
        drawn[covering.drawn[:, -1] <= 0] = 0.0
    others = [_rates(tasks, weights, impossible=one) for one in (False, True)]
    plain, inflated = (np.full(len(ks), np.nan) if one is None else one.coverage(ks) for one in others)
    found = []
    for place, k in enumerate(ks):
        low, high = covering.range(None if drawn is None else drawn[:, place], BAND)
        value = float(points[place])
        flags: tuple[str, ...] = ()
        if np.isnan(value):
            low, high, flags = NAN, NAN, (NOT_EXTRAPOLATED,)
        elif covering.mean[-1] >= 1.0:
            low, high, flags = last.low, last.high, ("degenerate",)
        models = float(plain[place]), float(inflated[place])
        ends = min(low, value), max(high, value)
        found.append(CoveragePoint(value, *ends, PROJECTION, flags, k, False, *models))
    return found


def _rates(tasks: Sequence[ProjectedTask], weights: Sequence[float], *, impossible: bool) -> PassRates | None:
    """Pass rates of a domain, each task weighing as in its mean; None for utilities between right and wrong."""
    right, size, weight = [], [], []
    for task, share in zip(tasks, weights, strict=True):
        utility = task.panel.utility
        if not ((utility == 0) | (utility == 1) | np.isnan(utility)).all():
            return None
        held = (~np.isnan(utility)).sum(axis=1)
        right.append(np.nansum(utility, axis=1).astype(np.int64))
        size.append(held)
        weight.append(np.full(len(held), share / max(int(np.count_nonzero(held)), 1)))
    return fitted_rates(
        np.concatenate(right), np.concatenate(size), np.concatenate(weight), impossible=impossible
    )


def frozen_path(
    tasks: Sequence[ProjectedTask], weights: Sequence[float], verifier: str
) -> tuple[Float, Resampled] | None:
    """Rounds, and accuracy along the path of the frozen judge, at the points that all tasks have."""
    paths = [task.paths[verifier] for task in tasks]
    common = [one for one in paths[0][0] if all(np.isclose(rounds, one).any() for rounds, _ in paths)]
    if len(common) < 2:
        return None
    columns = [
        points[:, [int(np.argmin(np.abs(rounds - one))) for one in common]] for rounds, points in paths
    ]
    found = resampled(tasks, weights, columns)
    return None if found is None else (np.array(common), found)


def moving_judges(path: tuple[Float, Resampled], covering: Resampled, residual: float) -> tuple[Plateau, ...]:
    """Where the loop settles for several rates at which the judge may improve."""
    rounds, along = path
    found = []
    for rho in RHOS:
        value = plateau(along.mean, rounds, covering.mean[-1], rho=rho, residual=residual)
        drawn = (
            None
            if along.drawn is None or covering.drawn is None
            else plateau(along.drawn, rounds, covering.drawn[:, -1], rho=rho, residual=residual)
        )
        found.append(Plateau(rho, float(value), *along.range(drawn, INTERVAL)))
    return tuple(found)
