"""Tasks, domains and all of them: what a row of the table is over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from gapbench.estimate.filters import Filter
from gapbench.estimate.jackknife import Spread, leave_one_out
from gapbench.estimate.quantities import Key, Measures, TaskMeasures, pool_size
from gapbench.estimate.resampling import Moments, Resampling
from gapbench.estimate.results import Target
from gapbench.panel import Panel

OVERALL = "all"


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
        self.families = {_family(key) for key in self.measures}
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

    def has(self, key: Key) -> bool:
        """Whether the task has the verifier of a key, or, for a vote, any answers to vote for."""
        return _family(key) in self.families


class Level(NamedTuple):
    """A task, a domain or all of them, and the weight of each member's mean.

    Attributes
    ----------
    missing
        Tasks of the domain, or of all, that are not members because they lack the verifier.
    """

    domain: str
    task: str
    members: list[Task]
    weights: list[float]
    missing: int = 0

    @property
    def flags(self) -> tuple[str, ...]:
        """Says where tasks are missing."""
        held = len(self.members)
        return (f"partial:{held} of {held + self.missing} tasks",) if self.missing else ()

    def holds(self, key: Key) -> bool:
        """Whether every member has a quantity, and in one form.

        Forms differ where a verifier was asked about all prompts of one task and about a share of another's.
        """
        forms = [member.moments[key].form for member in self.members if key in member.moments]
        return all(key in member.measures for member in self.members) and all(
            form == forms[0] for form in forms
        )


def levels(tasks: Sequence[Task], key: Key) -> Iterator[Level]:
    """Each task, each domain and all domains, over the tasks that have the verifier of a key.

    The tasks of a domain weigh equally, and so do the domains that have such a task.
    """
    members = [task for task in tasks if task.has(key)]
    for task in members:
        yield Level(task.domain, task.task, [task], [1.0])
    held: dict[str, list[Task]] = {}
    for task in members:
        held.setdefault(task.domain, []).append(task)
    for domain, own in held.items():
        missing = sum(task.domain == domain for task in tasks) - len(own)
        yield Level(domain, "", own, [1.0] * len(own), missing)
    if members:
        weights = [1.0 / len(held[task.domain]) for task in members]
        yield Level(OVERALL, "", members, weights, len(tasks) - len(members))


def _family(key: Key) -> tuple[str, bool]:
    """What a task has or lacks as a whole: a verifier, or answers that can be voted for."""
    return key.verifier, not key.verifier and key.filter.startswith("majority@")
