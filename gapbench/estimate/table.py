"""Panels to a table of estimates: a row for each quantity by task, by domain and over all domains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gapbench.errors import UserError
from gapbench.estimate.filters import asked_filters
from gapbench.estimate.intervals import Method
from gapbench.estimate.levels import OVERALL, Task, levels
from gapbench.estimate.quantities import Key, pool_size, powers_of_two
from gapbench.estimate.results import Estimate, Estimates, Target
from gapbench.estimate.rows import chosen_rows, row_of
from gapbench.panel import Panel

__all__ = ["OVERALL", "estimate_panels"]

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

    Tasks of a domain weigh equally, and so do domains in the overall rows (`domain="all"`). A verifier need not apply to
    every task: its rows over several tasks are over those that have it, and flagged `partial:<k> of <K> tasks` where
    others do not. Of what only some of those have, such as best@n beyond the N of one, there is no such row.

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
            for level in levels(tasks, key):
                if level.holds(key):
                    rows.append(row_of(key, level, model, method))
    if over_optimisation and target == "population":
        for name in dict.fromkeys(verifier for task in tasks for verifier in task.curves):
            for level in levels(tasks, Key(name, "", "", None, None)):
                if all(name in member.curves for member in level.members):
                    rows += chosen_rows(name, level, model, method)
    rows.sort(key=lambda row: (row.domain == OVERALL, row.domain, row.task == "", row.task))
    return Estimates(rows)
