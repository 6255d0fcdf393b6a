"""Who judges whose answers how well: a matrix of generators and judges, and the differences within it.

Every run is a generator; a run made with `-V yesno -V yesno@OTHER` has two judges, itself and the other.

>>> from gapbench.run import Run
>>> cross([Run("runs/small"), Run("runs/large")]).to_frame()  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import combinations
from typing import Any, NamedTuple

import pandas as pd

from gapbench.comparing.cells import Asked, Cell, Side, find, measured, measures_of, strata_of
from gapbench.comparing.compare import compare
from gapbench.comparing.judged_runs import generator_labels, judged_runs
from gapbench.errors import UserError
from gapbench.estimate.contrast import Contrast, Contrasts, judged, single
from gapbench.estimate.filters import parse_filter
from gapbench.estimate.quantities import pool_size, powers_of_two
from gapbench.estimate.table import OVERALL
from gapbench.plain import plain
from gapbench.registry import suggest
from gapbench.run import Run

MISSING = "missing"


@dataclass(frozen=True, slots=True)
class CrossCell:
    """A quantity of one generator's responses under one judge; the fields are part of the `--json` contract.

    Attributes
    ----------
    generator, judge
        Full model ids; of several runs of one model, the generator's directory too.
    domain
        `all` over domains.
    verifier
        Name of the verifier in the generator's run; empty where the run has no such judge.
    itself
        Whether generator and judge are the same model.
    filter, n, m
        As in `gapbench.estimate.results.Estimate`.
    value, se, low, high
        The estimate over the generator's own prompts, as `gapbench estimate` gives it; NaN where there is none.
    flags
        `missing` where the generator's responses were not judged by this judge.
    """

    generator: str
    judge: str
    domain: str
    verifier: str
    itself: bool
    quantity: str
    filter: str = ""
    n: int | None = None
    m: int | None = None
    value: float = float("nan")
    se: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    n_prompts: int = 0
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Cross:
    """The matrix and its differences.

    Attributes
    ----------
    mechanism, quantity, filter
        What the cells hold; `filter` is empty for a quantity without one.
    generators, judges, domains
        Rows and columns of the matrix in order of appearance; `all` is the last domain.
    cells
        One for each generator, judge and domain, the missing ones among them.
    between_judges
        Differences between the judges of one generator (`model`), paired on the same responses.
    between_generators
        Differences between two generators under one judge (`verifier` is `MECHANISM@JUDGE`), paired on common prompts.
    self_preference
        How much more a generator gets out of judging itself (a) than out of another judge (b), paired on the same
        responses. A better judge makes it negative as well as a model that is blind to its own mistakes does.
    notes
        What was left out and why, a sentence each.
    """

    mechanism: str
    quantity: str
    filter: str
    generators: tuple[str, ...]
    judges: tuple[str, ...]
    domains: tuple[str, ...]
    cells: tuple[CrossCell, ...]
    between_judges: Contrasts
    between_generators: Contrasts
    self_preference: Contrasts
    notes: tuple[str, ...] = ()

    def cell(self, generator: str, judge: str, domain: str = OVERALL) -> CrossCell:
        """The cell of a generator, a judge and a domain.

        Raises
        ------
        KeyError
            If the matrix has no such row, column or domain.
        """
        for cell in self.cells:
            if (cell.generator, cell.judge, cell.domain) == (generator, judge, domain):
                return cell
        raise KeyError((generator, judge, domain))

    def to_frame(self) -> pd.DataFrame:
        """One row a cell, `flags` joined by spaces; what is missing is NaN."""
        records = [{**asdict(cell), "flags": " ".join(cell.flags)} for cell in self.cells]
        return pd.DataFrame.from_records(records, columns=[column.name for column in fields(CrossCell)])

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`; a number that is not finite becomes null."""
        return {
            "mechanism": self.mechanism,
            "quantity": self.quantity,
            "filter": self.filter,
            "generators": list(self.generators),
            "judges": list(self.judges),
            "cells": plain(self.cells),
            "between_judges": self.between_judges.to_json()["contrasts"],
            "between_generators": self.between_generators.to_json()["contrasts"],
            "self_preference": self.self_preference.to_json()["contrasts"],
            "adjust": self.self_preference.adjust,
            "notes": list(self.notes),
        }


class _Wanted(NamedTuple):
    """What each cell holds."""

    mechanism: str
    quantity: str
    filter: str | None
    verdicts: int | None
    n: int

    @property
    def asked(self) -> Asked:
        filters = () if self.filter is None else (self.filter,)
        return Asked(self.quantity, filters, (self.mechanism,), self.verdicts)


def cross(
    runs: Sequence[Run],
    *,
    mechanism: str = "yesno",
    quantity: str = "gap",
    filter: str | None = None,
    verdicts: int | None = None,
) -> Cross:
    """Compare judges over generators and generators over judges.

    Parameters
    ----------
    runs
        One for each generator.
    mechanism
        The verifier by which all judges judge.
    quantity
        A name of measurement.md section 3, such as `gap`, `relative_gap` or `auc_within`.
    filter
        `best@n` and the like; by default best@n at the largest power of two that is at most half of the responses that
        every task of every run has.
    verdicts
        Number m of verdicts behind a score; what more there are is thinned (for the gap only).

    Raises
    ------
    UserError
        If no run has the mechanism or the quantity, or cells differ in n or m.
    """
    if not runs:
        raise UserError("nothing to cross: name one RUN or more")
    notes: list[str] = []
    labels = generator_labels(runs)
    views = [
        view
        for run, label in zip(runs, labels, strict=True)
        for view in judged_runs(run, label, mechanism, notes)
    ]
    if not views:
        known = sorted({spec.verifier for run in runs for spec in run.config.verifiers})
        raise UserError(f"no verdicts by '{mechanism}' in these runs{suggest(mechanism, known)}")
    judges = tuple(dict.fromkeys(view.judge for view in views))
    least = min(pool_size(panel) for view in views for panel in view.panels())
    n = getattr(parse_filter(filter), "n", None) if filter else None
    wanted = _Wanted(mechanism, quantity, filter, verdicts, n or powers_of_two(max(least // 2, 1))[-1])
    sides = {
        (view.generator, view.judge): measured(
            view.model, view.panels(), view.config.seed, wanted.n, wanted.asked, ()
        )
        for view in views
    }
    wanted = _settled(wanted, sides.values())
    domains = (*dict.fromkeys(name for side in sides.values() for name in side.domains), OVERALL)
    models = dict(zip(labels, (run.model for run in runs), strict=True))
    verifiers = {(view.generator, view.judge): view.verifier for view in views}
    cells = [
        _cell(
            CrossCell(
                generator,
                judge,
                domain,
                verifiers.get((generator, judge), ""),
                models[generator] == judge,
                quantity,
            ),
            sides.get((generator, judge)),
            wanted,
        )
        for domain in domains
        for generator in labels
        for judge in judges
    ]
    same_generator = [pair for pair in combinations(views, 2) if pair[0].generator == pair[1].generator]
    same_judge = [pair for pair in combinations(views, 2) if pair[0].judge == pair[1].judge]
    between_judges = [
        replace(row, a=a.judge, b=b.judge, model=a.generator)
        for a, b in same_generator
        for row in _differences(a, b, wanted, notes)
    ]
    between_generators = [
        replace(row, a=a.generator, b=b.generator, verifier=f"{mechanism}@{a.judge}")
        for a, b in same_judge
        for row in _differences(a, b, wanted, notes)
    ]
    own = [row for row in between_judges if row.a == models[row.model]]
    return Cross(
        mechanism,
        quantity,
        next((cell.filter for cell in cells if cell.filter), ""),
        tuple(labels),
        judges,
        domains,
        tuple(cells),
        _families(between_judges),
        _families(between_generators),
        _families(own),
        tuple(dict.fromkeys(notes)),
    )


def _settled(wanted: _Wanted, sides: Iterable[Side]) -> _Wanted:
    """With the filter that all comparisons are to have, where the quantity has one."""
    keys = [
        (task, find(task, Cell(side, wanted.mechanism, wanted.filter, task.domain), wanted.asked, wanted.n))
        for side in sides
        for task in side.tasks
    ]
    for task, key in keys:
        if key is None:
            known = sorted({one.quantity for one in task.measures})
            if wanted.quantity not in known:
                raise UserError(f"no quantity '{wanted.quantity}' here{suggest(wanted.quantity, known)}")
            at = f"[{wanted.filter}]" if wanted.filter else ""
            raise UserError(
                f"'{wanted.mechanism}' has no {wanted.quantity}{at} for task {task.name}; name another --filter"
            )
    label = f"best@{wanted.n}"
    return wanted._replace(filter=label) if all(key and key.filter == label for _, key in keys) else wanted


def _cell(cell: CrossCell, side: Side | None, wanted: _Wanted) -> CrossCell:
    if side is None or cell.domain not in (*side.domains, OVERALL):
        return replace(cell, flags=(MISSING,))
    place = Cell(side, wanted.mechanism, wanted.filter, cell.domain)
    found = measures_of(place, wanted.asked, wanted.n)
    strata = strata_of(place, found)
    flags = [flag for _, one in found for flag in one.flags]
    key = found[0][0]
    cell = replace(cell, filter=key.filter, n=key.n, m=key.m)
    if strata is None:
        return replace(cell, flags=tuple(dict.fromkeys([*flags, "not_estimable"])))
    result = single(strata)
    return replace(
        cell,
        value=result.value,
        se=result.se,
        low=result.low,
        high=result.high,
        n_prompts=result.n_prompts,
        flags=tuple(dict.fromkeys([*flags, *result.flags])),
    )


def _differences(a: Run, b: Run, wanted: _Wanted, notes: list[str]) -> list[Contrast]:
    found = compare(
        [a, b],
        by="run",
        quantity=wanted.quantity,
        filters=wanted.asked.filters,
        verifiers=wanted.asked.verifiers,
        verdicts=wanted.verdicts,
    )
    notes += [f"{a.model}, {b.model}: {note}" for note in found.notes]
    return list(found)


def _families(rows: Sequence[Contrast]) -> Contrasts:
    """Adjust over all domains and by domain apart, as `compare` does, over all rows and not each pair's alone."""
    found = list(rows)
    for broad in (False, True):
        places = [place for place, row in enumerate(found) if (row.domain == OVERALL) is broad]
        for place, row in zip(places, judged([found[i] for i in places]), strict=True):
            found[place] = row
    return Contrasts(found)
