"""One row of the table: a quantity at one level, with its interval, bounds and flags."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from scipy import stats

from gapbench.estimate.chosen import best_points, cross_fitted, likely_best, with_points
from gapbench.estimate.intervals import Interval, Method, combine
from gapbench.estimate.jackknife import combine_spreads, without_benchmark_interval
from gapbench.estimate.levels import Level
from gapbench.estimate.quantities import REPORT_ABOVE, Key, Measured
from gapbench.estimate.quantity import mean
from gapbench.estimate.results import Estimate
from gapbench.panel import Float


def row_of(key: Key, level: Level, model: str, method: Method) -> Estimate:
    """The row of a quantity that every member of the level has."""
    members = level.members
    measured = [member.measures[key] for member in members]
    flags = dict.fromkeys([*(flag for one in measured for flag in one.flags), *level.flags])
    n_prompts = sum(np.count_nonzero(member.responses) for member in members)
    n_responses = int(sum(member.responses.sum() for member in members))
    bounds: tuple[float | None, float | None] = (None, None)
    if any(one.quantity is None for one in measured):
        nan = float("nan")
        found = Interval(nan, nan, nan, nan, nan, 0, 0)
        n_responses = 0
    else:
        found = _interval(key, level, measured, method)
        flags |= dict.fromkeys(found.flags)
        if found.n_prompts < n_prompts:
            flags["fewer_prompts"] = None
            n_responses = sum(member.responses_behind(key) for member in members)
        if sum(member.censored for member in members) > REPORT_ABOVE * sum(
            member.asked for member in members
        ):
            flags["censored"] = None
            bounds = _bounds(measured, level.weights)
    return _estimate(key, level, model, found, n_responses, flags, bounds)


def _interval(key: Key, level: Level, measured: Sequence[Measured], method: Method) -> Interval:
    if level.members[0].target == "population":
        return combine([member.moments[key] for member in level.members], level.weights, method)
    if all(
        key in member.spreads and not without_benchmark_interval(key, one, member.pool)
        for member, one in zip(level.members, measured, strict=True)
    ):
        return combine_spreads([member.spreads[key] for member in level.members], level.weights)
    found = combine([member.moments[key] for member in level.members], level.weights, "t")
    nan = float("nan")
    return Interval(found.value, nan, nan, nan, nan, found.n_prompts, found.n_clusters, ("not_estimable",))


def _estimate(
    key: Key,
    level: Level,
    model: str,
    found: Interval,
    n_responses: int,
    flags: Iterable[str],
    bounds: tuple[float | None, float | None] = (None, None),
    p: float | None = None,
) -> Estimate:
    return Estimate(
        model=model,
        domain=level.domain,
        task=level.task,
        verifier=key.verifier,
        quantity=key.quantity,
        filter=key.filter,
        n=key.n,
        m=key.m,
        target=level.members[0].target,
        value=found.value,
        se=found.se,
        low=found.low,
        high=found.high,
        n_prompts=found.n_prompts,
        n_responses=n_responses,
        flags=tuple(flags),
        bound_low=bounds[0],
        bound_high=bounds[1],
        p=p,
    )


def chosen_rows(name: str, level: Level, model: str, method: Method) -> list[Estimate]:
    """What follows from the n at which the best@n curve is highest.

    `n_star` is that n, and its interval all n that may be it. For the rest each half of the prompts is scored at the n
    that the other half chose: gap[best@n_star], and `over_optimisation`, how far best@N falls short of best@n_star.
    """
    members = level.members
    ns = [n for n in members[0].ns if all(n in member.ns for member in members)]
    if len(ns) < 2:
        return []
    curves = [member.curves[name][:, [member.ns.index(n) for n in ns]] for member in members]
    m = next(key.m for key in members[0].measures if key.verifier == name)
    flags = dict.fromkeys(
        flag
        for member in members
        for key, one in member.measures.items()
        if key.verifier == name and key.filter == f"best@{ns[0]}"
        for flag in one.flags
    ) | dict.fromkeys(level.flags)
    responses = int(sum(member.responses.sum() for member in members))
    selected, choices = cross_fitted(curves, level.weights, [member.first_half for member in members])
    first, last = likely_best(curves, level.weights, [member.resampling for member in members])
    star = ns[best_points(curves, level.weights)]
    prompts = sum(int((~np.isnan(curve)).all(axis=1).sum()) for curve in curves)
    nan = float("nan")
    rows = [
        _estimate(
            Key(name, "n_star", "best@n", None, m),
            level,
            model,
            Interval(float(star), nan, float(ns[first]), float(ns[last]), nan, prompts, prompts),
            responses,
            flags,
        )
    ]
    last_points = [curve[:, -1] for curve in curves]
    accuracies = [member.accuracy for member in members]
    wanted = {"gap": accuracies, "over_optimisation": last_points}
    for quantity, less in wanted.items():

        def over(columns: Sequence[Float], less: Sequence[Float] = less) -> Interval:
            moments = [
                member.resampling.moments([mean(one - other, -1.0, 1.0)])[0]
                for member, one, other in zip(members, columns, less, strict=True)
            ]
            return combine(moments, level.weights, method)

        points = [over([curve[:, point] for curve in curves]) for point in choices]
        found = with_points(over(selected), points)
        p = None
        if quantity == "over_optimisation":
            p = float(stats.t.sf(found.value / found.se, found.df)) if found.se > 0 else 1.0
        key = Key(name, quantity, "best@n_star", None, m)
        rows.append(
            _estimate(key, level, model, found, responses, {**flags, **dict.fromkeys(found.flags)}, p=p)
        )
    return rows


def _bounds(measured: Sequence[Measured], weights: Sequence[float]) -> tuple[float | None, float | None]:
    """Weighted mean of the tasks' bounds; a task without censored rows has its value for both."""
    if all(one.bounds is None for one in measured):
        return None, None
    share = np.asarray(weights) / np.sum(weights)
    ends = []
    for one in measured:
        value = one.quantity.value() if one.quantity is not None else float("nan")
        ends.append(
            (value, value) if one.bounds is None else tuple(float(np.nanmean(end)) for end in one.bounds)
        )
    low, high = share @ np.array(ends)
    return float(low), float(high)
