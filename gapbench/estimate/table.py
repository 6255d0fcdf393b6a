"""Panels to a table of estimates: a row for each quantity by task, by domain and over all domains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gapbench.errors import UserError
from gapbench.estimate.intervals import Interval, Method, combine
from gapbench.estimate.quantities import (
    REPORT_ABOVE,
    Key,
    Measured,
    Measures,
    TaskMeasures,
    pool_size,
    powers_of_two,
)
from gapbench.estimate.resampling import Moments, Resampling
from gapbench.estimate.results import Estimate, Estimates
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
) -> Estimates:
    """Estimate every quantity of measurement.md section 3 with its population interval.

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
        Numbers of responses of the curves; powers of two up to N where None. Single numbers such as `relative_gap`
        are given at the largest of them that is at most N/2, N being the smallest of the tasks'.
    method
        Interval: `hull`, `t` or `bootstrap`.

    Raises
    ------
    UserError
        If a task appears twice, none has a graded response, or every n asked for is beyond a task's N.
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
    curves = {task: [n for n in (ns or powers_of_two(size)) if n <= size] for task, size in sizes.items()}
    for name, curve in curves.items():
        if not curve:
            raise UserError(
                f"task '{name}' has {sizes[name]} responses a prompt, fewer than any n asked for ({ns}): ask for less"
            )
    common = min(sizes.values())
    headline = max((n for n in min(curves.values(), key=len) if n <= max(common // 2, 1)), default=1)

    tasks = [_Task(panel, curves[panel.task], headline, seed) for panel in panels]
    keys = list(dict.fromkeys(key for task in tasks for key in task.measures))
    rows: list[Estimate] = []
    for start in range(0, len(keys), KEYS_AT_ONCE):
        batch = keys[start : start + KEYS_AT_ONCE]
        for task in tasks:
            task.resample(batch)
        for key in batch:
            for domain, name, members, weights in _levels(tasks):
                if all(key in member.measures for member in members):
                    rows.append(_row(key, members, weights, model, domain, name, method))
    rows.sort(key=lambda row: (row.domain == OVERALL, row.domain, row.task == "", row.task))
    return Estimates(rows)


class _Task:
    """A task's measures, and their moments for the keys at hand."""

    def __init__(self, panel: Panel, ns: Sequence[int], headline: int, seed: int) -> None:
        self.task, self.domain = panel.task, panel.domain
        self.responses = (~np.isnan(panel.utility)).sum(axis=1)
        measured = TaskMeasures(panel, ns=ns, headline=headline, seed=seed)
        self.censored, self.asked = measured.unknown_count, measured.asked_count
        self.measures: Measures = measured.all()
        self.resampling = Resampling(panel.clusters, seed=seed, task=panel.task)
        self.moments: dict[Key, Moments] = {}

    def responses_behind(self, key: Key) -> int:
        """Responses of the prompts that have a quantity."""
        quantity = self.measures[key].quantity
        return 0 if quantity is None else int(self.responses[quantity.columns()[0][:, 0] > 0].sum())

    def resample(self, keys: Sequence[Key]) -> None:
        """Replace the moments by those of `keys`."""
        held = {key: self.measures[key].quantity for key in keys if key in self.measures}
        wanted = {key: quantity for key, quantity in held.items() if quantity is not None}
        self.moments = dict(zip(wanted, self.resampling.moments(list(wanted.values())), strict=True))


def _levels(tasks: Sequence[_Task]) -> Iterator[tuple[str, str, list[_Task], list[float]]]:
    """Each task, each domain and all of them: (domain, task, members, weight of each member's mean)."""
    for task in tasks:
        yield task.domain, task.task, [task], [1.0]
    domains = list(dict.fromkeys(task.domain for task in tasks))
    for domain in domains:
        members = [task for task in tasks if task.domain == domain]
        yield domain, "", members, [1.0] * len(members)
    held = {domain: sum(task.domain == domain for task in tasks) for domain in domains}
    yield OVERALL, "", list(tasks), [1.0 / held[task.domain] for task in tasks]


def _row(
    key: Key,
    members: Sequence[_Task],
    weights: Sequence[float],
    model: str,
    domain: str,
    task: str,
    method: Method,
) -> Estimate:
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
        found = combine([member.moments[key] for member in members], weights, method)
        flags |= dict.fromkeys(found.flags)
        if found.n_prompts < n_prompts:
            flags["fewer_prompts"] = None
            n_responses = sum(member.responses_behind(key) for member in members)
        if sum(member.censored for member in members) > REPORT_ABOVE * sum(
            member.asked for member in members
        ):
            flags["censored"] = None
            bounds = _bounds(measured, weights)
    return Estimate(
        model=model,
        domain=domain,
        task=task,
        verifier=key.verifier,
        quantity=key.quantity,
        filter=key.filter,
        n=key.n,
        m=key.m,
        target="population",
        value=found.value,
        se=found.se,
        low=found.low,
        high=found.high,
        n_prompts=found.n_prompts,
        n_responses=n_responses,
        flags=tuple(flags),
        bound_low=bounds[0],
        bound_high=bounds[1],
    )


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
