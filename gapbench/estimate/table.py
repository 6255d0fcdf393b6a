"""Panels to a table of estimates: a row for each quantity by task, by domain and over all domains."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from gapbench.errors import UserError
from gapbench.estimate.chosen import best_points, cross_fitted, likely_best
from gapbench.estimate.filters import Filter, asked_filters
from gapbench.estimate.intervals import Interval, Method, combine
from gapbench.estimate.jackknife import Spread, combine_spreads, leave_one_out, without_benchmark_interval
from gapbench.estimate.quantities import (
    REPORT_ABOVE,
    Key,
    Measured,
    Measures,
    TaskMeasures,
    pool_size,
    powers_of_two,
)
from gapbench.estimate.quantity import mean
from gapbench.estimate.resampling import Moments, Resampling
from gapbench.estimate.results import Estimate, Estimates, Target
from gapbench.panel import Panel

OVERALL = "all"
KEYS_AT_ONCE = 64


def estimate_panels(
    panels: Sequence[Panel],
    *,
    model: str,
    seed: int = 0,
    ns: Sequence[int] | None = None,
    method: Method = "hull",
    filters: Sequence[str] = (),
    verdict_counts: bool = False,
    over_optimisation: bool = False,
    target: Target = "population",
) -> Estimates:
    """Estimate every quantity of measurement.md section 3 with its interval.

    Tasks of a domain weigh equally, and so do domains in the overall rows (`domain="all"`). A domain has a row for
    what all its tasks have, and `all` for what every domain has.

    Parameters
    ----------
    panels
        One for each task.
    model
        Written into every row.
    seed
        Seed of the bootstrap and of the permutations; the same seed gives the same table.
    ns
        Numbers of responses of the curves; powers of two up to N, and N, where None. Single numbers such as `relative_gap`
        are given at the largest of them that is at most N/2, N being the smallest of the tasks', and no larger than the
        numbers of right and of wrong responses verified, where not all were.
    method
        Interval of the `population` target: `hull`, `t`, `bootstrap` or `betting`.
    filters
        Filters beyond the default ones, as `gapbench.estimate.filters.parse_filter` reads them; `all` for one of each.
    verdict_counts
        Adds the headline gap at every number m of verdicts up to M, and `gap_inf`, at endlessly many.
    over_optimisation
        Adds `n_star`, the n at which the best@n curve is highest, gap[best@n_star] and the test that best@N is lower
        (population target only).
    target
        `population`, where the prompts are a sample, or `benchmark`, where they are all there is and only response
        and verdict noise counts; what has no benchmark interval is flagged `not_estimable`.

    Raises
    ------
    UserError
        If a task appears twice, none has a graded response, every n asked for is beyond a task's N, or a filter is
        not known.
    """
    names = [panel.task for panel in panels]
    for name in names:
        if names.count(name) > 1:
            raise UserError(
                f"task '{name}' appears twice: estimate each run on its own, or rename one of the two"
            )
    panels = [panel for panel in panels if not np.isnan(panel.utility).all()]
    if not panels:
        raise UserError("there is no graded response to estimate from: run `gapbench grade` first")

    sizes = {panel.task: pool_size(panel) for panel in panels}
    curves = {
        task: [n for n in (ns or sorted({*powers_of_two(size), size})) if n <= size]
        for task, size in sizes.items()
    }
    for name, curve in curves.items():
        if not curve:
            raise UserError(
                f"task '{name}' has {sizes[name]} responses a prompt, fewer than any n asked for ({ns}): ask for less"
            )
    common = min(sizes.values())
    verified = [one.most for panel in panels for one in panel.verified.values() if one.most is not None]
    largest = max(min([max(common // 2, min(common, 2)), *verified]), 1)
    headline = max((n for n in min(curves.values(), key=len) if n <= largest), default=1)
    asked = asked_filters(filters, headline)

    tasks = [
        Task(panel, curves[panel.task], headline, seed, asked, verdict_counts, target) for panel in panels
    ]
    keys = list(dict.fromkeys(key for task in tasks for key in task.measures))
    rows: list[Estimate] = []
    for start in range(0, len(keys), KEYS_AT_ONCE):
        batch = keys[start : start + KEYS_AT_ONCE]
        for task in tasks:
            task.resample(batch)
        for key in batch:
            for level in _levels(tasks):
                if all(key in member.measures for member in level.members):
                    rows.append(_row(key, level, model, method))
    if over_optimisation and target == "population":
        for name in dict.fromkeys(verifier for task in tasks for verifier in task.curves):
            for level in _levels(tasks):
                if all(name in member.curves for member in level.members):
                    rows += _chosen_rows(name, level, model, method, seed)
    rows.sort(key=lambda row: (row.domain == OVERALL, row.domain, row.task == "", row.task))
    return Estimates(rows)


class Task:
    """A task's measures, and their moments for the keys at hand."""

    def __init__(
        self,
        panel: Panel,
        ns: Sequence[int],
        headline: int,
        seed: int,
        filters: Sequence[Filter],
        verdict_counts: bool,
        target: Target,
    ) -> None:
        def measure(part: Panel) -> TaskMeasures:
            return TaskMeasures(
                part, ns=ns, headline=headline, seed=seed, filters=filters, verdict_counts=verdict_counts
            )

        self.task, self.domain, self.target = panel.task, panel.domain, target
        self.ns = list(ns)
        self.pool = pool_size(panel)
        self.responses = (~np.isnan(panel.utility)).sum(axis=1)
        measured = measure(panel)
        self.censored, self.asked = measured.unknown_count, measured.asked_count
        self.measures: Measures = measured.all()
        self.curves, self.first_half = measured.curves, measured.first_half
        self.accuracy = measured.accuracy
        self.resampling = Resampling(panel.clusters, seed=seed, task=panel.task)
        self.moments: dict[Key, Moments] = {}
        self.spreads: dict[Key, Spread] = {}
        if target == "benchmark":
            self.spreads = leave_one_out(panel, lambda part: measure(part).all(votes=False))

    def responses_behind(self, key: Key) -> int:
        """Responses of the prompts that have a quantity."""
        quantity = self.measures[key].quantity
        return 0 if quantity is None else int(self.responses[quantity.columns()[0][:, 0] > 0].sum())

    def resample(self, keys: Sequence[Key]) -> None:
        """Replace the moments by those of `keys`."""
        held = {key: self.measures[key].quantity for key in keys if key in self.measures}
        wanted = {key: quantity for key, quantity in held.items() if quantity is not None}
        self.moments = dict(zip(wanted, self.resampling.moments(list(wanted.values())), strict=True))


class Level(NamedTuple):
    """A task, a domain or all of them, and the weight of each member's mean."""

    domain: str
    task: str
    members: list[Task]
    weights: list[float]


def _levels(tasks: Sequence[Task]) -> Iterator[Level]:
    for task in tasks:
        yield Level(task.domain, task.task, [task], [1.0])
    domains = list(dict.fromkeys(task.domain for task in tasks))
    for domain in domains:
        members = [task for task in tasks if task.domain == domain]
        yield Level(domain, "", members, [1.0] * len(members))
    held = {domain: sum(task.domain == domain for task in tasks) for domain in domains}
    yield Level(OVERALL, "", list(tasks), [1.0 / held[task.domain] for task in tasks])


def _row(key: Key, level: Level, model: str, method: Method) -> Estimate:
    members = level.members
    measured = [member.measures[key] for member in members]
    flags = dict.fromkeys(flag for one in measured for flag in one.flags)
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


def _chosen_rows(name: str, level: Level, model: str, method: Method, seed: int) -> list[Estimate]:
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
    )
    responses = int(sum(member.responses.sum() for member in members))
    selected, _ = cross_fitted(curves, level.weights, [member.first_half for member in members])
    first, last = likely_best(
        curves, level.weights, [member.resampling.clusters for member in members], seed=seed
    )
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
        columns = [mean(one - other, -1.0, 1.0) for one, other in zip(selected, less, strict=True)]
        moments = [
            member.resampling.moments([column])[0] for member, column in zip(members, columns, strict=True)
        ]
        found = combine(moments, level.weights, method)
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
