"""What `gapbench compare` sets side by side: a quantity of a run, verifier, filter and domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from gapbench.errors import UserError
from gapbench.estimate.contrast import Strata
from gapbench.estimate.filters import parse_filter
from gapbench.estimate.quantities import Key, Measured, Measures, TaskMeasures
from gapbench.estimate.quantity import Curve, Quantity
from gapbench.estimate.resampling import Resampling
from gapbench.estimate.selection import BestOf
from gapbench.estimate.table import OVERALL
from gapbench.panel import Panel
from gapbench.registry import suggest

Axis = Literal["run", "verifier", "filter", "domain"]
AXES: tuple[Axis, ...] = get_args(Axis)


class Asked(NamedTuple):
    """What is wanted of each task; None and empty where the default is."""

    quantity: str
    filters: tuple[str, ...]
    verifiers: tuple[str, ...]
    verdicts: int | None


class Task(NamedTuple):
    """One task of one run, measured."""

    name: str
    domain: str
    prompts: int
    measures: Measures
    resampling: Resampling


@dataclass(frozen=True, eq=False)
class Side:
    """A run under the name by which it is compared."""

    label: str
    tasks: tuple[Task, ...]
    flags: tuple[str, ...] = ()

    @property
    def domains(self) -> list[str]:
        """Domains in order of appearance."""
        return list(dict.fromkeys(task.domain for task in self.tasks))


class Cell(NamedTuple):
    """One thing that can be compared; the fields are the axes."""

    run: Side
    verifier: str
    filter: str | None
    domain: str

    def members(self) -> tuple[list[Task], list[float]]:
        """Its tasks and their weights: domains weigh equally, and so do the tasks of one."""
        tasks = [task for task in self.run.tasks if self.domain in (task.domain, OVERALL)]
        held = {name: sum(task.domain == name for task in tasks) for name in self.run.domains}
        return tasks, [1.0 / held[task.domain] for task in tasks]

    def label(self, axis: Axis) -> str:
        """Its name on an axis."""
        return self.run.label if axis == "run" else getattr(self, axis) or ""


def find(task: Task, cell: Cell, asked: Asked, n: int) -> Key | None:
    """What names a cell's quantity in a task; without a filter asked for, the most usual of those it has."""
    keys = [
        key
        for key in task.measures
        if key.quantity == asked.quantity and (asked.verdicts is None or key.m in (asked.verdicts, None))
    ]
    if cell.filter is not None:
        keys = [key for key in keys if key.filter == cell.filter and key.verifier in (cell.verifier, "")]
    else:
        keys = [key for key in keys if key.verifier == cell.verifier and (cell.verifier or not key.filter)]

    def rank(key: Key) -> int:
        """Best@n first, then that of the whole pool, then what has no filter, then the others as they come."""
        return [key.filter == f"best@{n}", key.filter.startswith("best@"), not key.filter, True].index(True)

    return min(keys, key=rank, default=None)


def usable(axes: Mapping[str, Sequence[Any]], by: Axis, asked: Asked, n: int, notes: list[str]) -> list[str]:
    """The verifiers that can be compared; the others go to `notes`, or are an error where they were asked for."""
    everywhere = [(side, task) for side in axes["run"] for task in side.tasks]
    keys = [key for _, task in everywhere for key in task.measures]
    if asked.quantity not in (known := {key.quantity for key in keys}):
        raise UserError(f"no quantity '{asked.quantity}' here{suggest(asked.quantity, sorted(known))}")

    def found(name: str) -> list[tuple[Side, Task, str | None, Key | None]]:
        return [
            (side, task, label, find(task, Cell(side, name, label, task.domain), asked, n))
            for side, task in everywhere
            for label in axes["filter"]
        ]

    if by != "verifier" and not asked.verifiers and all(key for *_, key in found("")):
        return [""]
    names = list(dict.fromkeys(key.verifier for key in keys if key.verifier))
    for name in asked.verifiers:
        if name not in names:
            raise UserError(f"no verifier '{name}' in these runs{suggest(name, names)}")
    kept, left_out = [], []
    for name in asked.verifiers or names:
        cells = found(name)
        lacking = next(((side, task, label) for side, task, label, key in cells if key is None), None)
        pool = any(
            flag.startswith("pool=") for _, task, _, key in cells if key for flag in task.measures[key].flags
        )
        if lacking is not None:
            side, task, label = lacking
            at = f"[{label}]" if label else ""
            at += f" at m={asked.verdicts}" if asked.verdicts else ""
            left_out.append(f"{name} has no {asked.quantity}{at} for task {task.name} of {side.label}")
        elif pool and (by == "verifier" or len({key.n for *_, key in cells if key}) > 1):
            left_out.append(f"{name} sees all N responses, so that its n is N and no other's")
        else:
            kept.append(name)
    if left_out and (asked.verifiers or not kept):
        raise UserError(f"{left_out[0]}: leave it out, or name others with --verifier")
    notes += [f"{reason}; it is left out." for reason in left_out]
    return kept


def measures_of(cell: Cell, asked: Asked, n: int) -> list[tuple[Key, Measured]]:
    """The cell's quantity on each of its tasks."""
    found = []
    for task in cell.members()[0]:
        key = find(task, cell, asked, n)
        assert key is not None  # `usable` has looked
        found.append((key, task.measures[key]))
    return found


def check_comparable(a: Cell, b: Cell | None, by: Axis, keys: Sequence[Key]) -> None:
    """Two gaps compare only at equal n and m (measurement.md, section 3)."""
    names = a.label(by) if b is None else f"{a.label(by)} and {b.label(by)}"
    ns = list(dict.fromkeys(key.n for key in keys))
    if len(ns) > 1:
        spent = " and ".join("all responses" if one is None else f"n={one}" for one in ns)
        raise UserError(
            f"{names} differ in n ({spent}), and only equal n compare: name --filter of one n, such as best@4 and majority@4"
        )
    ms = sorted({key.m for key in keys if key.m is not None})
    if len(ms) > 1:
        raise UserError(
            f"{names} differ in verdicts a response (m={' and m='.join(map(str, ms))}), and only equal m compare: "
            f"add --verdicts {ms[0]}, which thins the gap to it"
        )


def strata_of(cell: Cell, found: Sequence[tuple[Key, Measured]]) -> Strata | None:
    """The cell's quantity on its tasks; None where a verifier gave no verdict."""
    tasks, weights = cell.members()
    quantities = []
    for key, one in found:
        if isinstance(one.quantity, Curve):
            raise UserError(
                f"{key.quantity} is read off a fitted curve and has no paired difference: compare gap"
            )
        if isinstance(one.quantity, Quantity):
            quantities.append(one.quantity)
    if len(quantities) < len(tasks):
        return None
    return Strata(quantities, [task.resampling for task in tasks], weights)


def measured(
    label: str, panels: Sequence[Panel], seed: int, n: int, asked: Asked, flags: tuple[str, ...]
) -> Side:
    """Measure a run's panels at the n and filters that are compared."""
    filters = [parse_filter(name) for name in asked.filters]
    ns = sorted({n, *(one.n for one in filters if isinstance(one, BestOf))})

    def task(panel: Panel) -> Task:
        measures = TaskMeasures(
            panel, ns=ns, headline=n, seed=seed, filters=filters, verdict_counts=asked.verdicts is not None
        ).all()
        prompts = int((~np.isnan(panel.utility)).any(axis=1).sum())
        resampling = Resampling(panel.clusters, seed=seed, task=panel.task)
        return Task(panel.task, panel.domain, prompts, measures, resampling)

    return Side(label, tuple(task(panel) for panel in panels), flags)
