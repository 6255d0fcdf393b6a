"""Runs against each other, or the verifiers, filters or domains of a run: the public function behind `gapbench compare`.

>>> from gapbench.run import Run
>>> compare([Run("runs/small"), Run("runs/large")]).to_frame()  # doctest: +SKIP
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, product
from typing import Any, TypeVar, get_args

import numpy as np

from gapbench.comparing.cells import (
    AXES,
    Asked,
    Axis,
    Cell,
    Side,
    check_comparable,
    measured,
    measures_of,
    strata_of,
    usable,
)
from gapbench.errors import UserError
from gapbench.estimate.contrast import (
    Contrast,
    Contrasts,
    detectable,
    independent,
    judged,
    p_equivalence,
    p_value,
    paired,
    point,
    single,
)
from gapbench.estimate.filters import parse_filter
from gapbench.estimate.intervals import Interval
from gapbench.estimate.multiplicity import Adjust
from gapbench.estimate.quantities import pool_size, powers_of_two
from gapbench.estimate.selection import BestOf
from gapbench.estimate.table import OVERALL
from gapbench.panel import Panel, Scores
from gapbench.records import Message, Prompt
from gapbench.registry import suggest
from gapbench.run import Run

ADJUSTMENTS: tuple[Adjust, ...] = get_args(Adjust)
Word = TypeVar("Word", bound=str)
ZERO = "zero"
ZERO_WITHOUT_SIGNAL = (
    "gap", "gap_pooled", "relative_gap", "relative_gap_per_prompt", "oracle_share", "verifier_gain", "youden",
    "gap_permuted", "gap_pooled_permuted",
)  # fmt: skip


def compare(
    runs: Sequence[Run],
    *,
    by: str | None = None,
    quantity: str = "gap",
    filters: Sequence[str] = (),
    verifiers: Sequence[str] = (),
    verdicts: int | None = None,
    against: str | None = None,
    adjust: str = "holm",
    equivalence: float | None = None,
) -> Contrasts:
    """Compare a quantity between runs, verifiers, filters or domains.

    Runs, verifiers and filters are compared paired, on the prompts they have in common; domains have none in common.
    All comparisons over all domains are one family, those of single domains another.

    Parameters
    ----------
    by
        What is compared; `run` where there are several runs and `verifier` where there is one, by default.
    quantity
        A name of measurement.md section 3, such as `gap`, `accuracy`, `relative_gap` or `auc_within`.
    filters
        `best@n` and the like (`gapbench.estimate.filters.parse_filter`). By default best@n at the largest power of two
        that is at most half of the responses that every task has; when filters are compared, one of each kind at that n.
    verifiers
        Those to look at; by default all that can be compared.
    verdicts
        Number m of verdicts behind a score; what more there are is thinned (for the gap only).
    against
        `zero`, or the name of the one that all others are held against; None for all pairs.
    adjust
        `holm` for a few planned comparisons, `bh` for an exploratory grid.
    equivalence
        Margin below which a difference does not matter: verdict `equivalent` where it is shown to be smaller.

    Raises
    ------
    UserError
        If nothing can be compared, or a comparison asked for would be of different n or m.
    """
    axis = _one_of("by", by or ("run" if len(runs) > 1 else "verifier"), AXES)
    method = _one_of("adjust", adjust, ADJUSTMENTS)
    _check(runs, axis, quantity, against)
    if equivalence is not None and not 0 < equivalence < math.inf:
        raise UserError(f"--equivalence {equivalence:g}: give a margin above 0, in units of {quantity}")
    panels = {label: run.panels() for label, run in zip(run_labels(runs), runs, strict=True)}
    notes: list[str] = []
    flags: tuple[str, ...] = ()
    if axis == "run" and len(runs) > 1:
        panels, notes = aligned(panels, runs)
        if len({run.manifest.get("suite", {}).get("digest") for run in runs}) > 1:
            flags = ("different_suites",)
        if notes:
            flags = (*flags, "common_prompts")
    n = common_n([panel for own in panels.values() for panel in own], filters)
    if axis == "filter":
        several = [f"top {n // 4} of {n}"] if n >= 8 else []  # top 1 of n is best@n
        filters = filters or [f"best@{n}", f"majority@{n}", f"threshold@{n}", *several]
    asked = Asked(quantity, tuple(filters), tuple(verifiers), verdicts)
    sides = [
        measured(label, own, run.config.seed, n, asked, flags)
        for (label, own), run in zip(panels.items(), runs, strict=True)
    ]
    axes: dict[str, Sequence[Any]] = {
        "run": sides,
        "filter": list(dict.fromkeys(filters)) or [None],
        "domain": [*dict.fromkeys(name for side in sides for name in side.domains), OVERALL],
    }
    if axis == "domain":
        axes["domain"] = axes["domain"][:-1]
    axes["verifier"] = usable(axes, axis, asked, n, notes)
    contrasts = [_held_to(row, equivalence) for row in _contrasts(axes, axis, asked, n, against)]
    if not contrasts:
        raise UserError(f"there is only one {axis} to compare; {_INSTEAD[axis]}, or hold it --against zero")
    for broad in (False, True):
        family = [place for place, row in enumerate(contrasts) if (row.domain == OVERALL) is broad]
        for place, row in zip(family, judged([contrasts[i] for i in family], method), strict=True):
            contrasts[place] = row
    return Contrasts(contrasts, method, notes)


_INSTEAD: dict[Axis, str] = {
    "run": "name another RUN",
    "verifier": "name another --by",
    "filter": "give two or more --filter",
    "domain": "name another --by",
}


def _one_of(option: str, value: str, known: Sequence[Word]) -> Word:
    for word in known:
        if word == value:
            return word
    raise UserError(f"--{option} {value}: there are: {', '.join(known)}")


def _check(runs: Sequence[Run], by: Axis, quantity: str, against: str | None) -> None:
    if not runs:
        raise UserError("nothing to compare: name one RUN or more")
    if by == "run" and len(runs) == 1 and against != ZERO:
        raise UserError("one run has none to be compared with: name another RUN, or another --by")
    if against == ZERO and quantity not in ZERO_WITHOUT_SIGNAL:
        raise UserError(
            f"{quantity} is not 0 where nothing is known, so that --against zero says nothing of it; it is for: "
            f"{', '.join(ZERO_WITHOUT_SIGNAL)}"
        )


def run_labels(runs: Sequence[Run]) -> list[str]:
    """Model names where they tell the runs apart, else directories; a number where even these are the same."""
    names = [run.model for run in runs]
    if len(set(names)) < len(names):
        names = [str(run.store.path) for run in runs]
    return [
        f"{name} ({names[: place + 1].count(name)})" if names.count(name) > 1 else name
        for place, name in enumerate(names)
    ]


def aligned(
    panels: Mapping[str, list[Panel]], runs: Sequence[Run]
) -> tuple[dict[str, list[Panel]], list[str]]:
    """Every run's panels on the prompts that all runs have, in one order, and what that leaves out."""
    asked: list[dict[tuple[str, str], tuple[Message, ...]]] = []
    for run, own in zip(runs, panels.values(), strict=True):
        answered = {
            (panel.task, panel.prompt_ids[row])
            for panel in own
            for row in np.flatnonzero((~np.isnan(panel.utility)).any(axis=1))
        }
        prompts = (prompt for prompt in run.store.rows(Prompt) if prompt.key in answered)
        asked.append({(prompt.task, prompt.prompt_id): prompt.messages[-1:] for prompt in prompts})
    common = [key for key, text in asked[0].items() if all(other.get(key) == text for other in asked)]
    if not common:
        raise UserError(
            f"{' and '.join(panels)} have no prompt in common: compare runs of the same suite and split"
        )
    kept: dict[str, list[Panel]] = {label: [] for label in panels}
    for task in dict.fromkeys(name for name, _ in common):
        ids = [prompt_id for name, prompt_id in common if name == task]
        for label, own in panels.items():
            panel = next(one for one in own if one.task == task)
            place = {prompt_id: row for row, prompt_id in enumerate(panel.prompt_ids)}
            kept[label].append(prompts_of(panel, [place[prompt_id] for prompt_id in ids]))
    most = max(len(own) for own in asked)
    if len(common) == most:
        return kept, []
    return kept, [f"Compared on the {len(common)} prompts that all runs have answered, of {most}."]


def prompts_of(panel: Panel, rows: list[int]) -> Panel:
    """A panel of these prompts, in this order."""
    scores = {
        name: replace(own, values=own.values[rows])
        if isinstance(own, Scores)
        else replace(own, yes=own.yes[rows], valid=own.valid[rows])
        for name, own in panel.scores.items()
    }
    verified = {
        name: replace(own, responses=own.responses[rows], prompts=own.prompts[rows])
        for name, own in panel.verified.items()
    }
    return replace(
        panel,
        prompt_ids=tuple(panel.prompt_ids[row] for row in rows),
        clusters=panel.clusters[rows],
        utility=panel.utility[rows],
        censored=panel.censored[rows],
        answers=panel.answers[rows],
        scores=scores,
        verified=verified,
    )


def common_n(panels: Sequence[Panel], filters: Sequence[str]) -> int:
    """The n of best@n that is asked for, or the largest power of two that every run can tell of.

    That is at most half of every task's responses, and at most the right and the wrong responses that were verified.
    """
    least = min(pool_size(panel) for panel in panels)
    parsed = [parse_filter(label) for label in filters]
    for one in parsed:
        n = getattr(one, "n", 1)
        if n > least:
            raise UserError(
                f"filter '{one.label}' needs {n} responses a prompt and there are {least}: ask for n of at most {least}"
            )
    best = [one.n for one in parsed if isinstance(one, BestOf)]
    few = [one.most for panel in panels for one in panel.verified.values() if one.most is not None]
    return max(best, default=powers_of_two(max(min([least // 2, *few]), 1))[-1])


def _contrasts(
    axes: Mapping[str, Sequence[Any]], by: Axis, asked: Asked, n: int, against: str | None
) -> Iterator[Contrast]:
    """Compare the cells that differ on one axis only."""
    names = [item.label if isinstance(item, Side) else str(item) for item in axes[by]]
    if against not in (None, ZERO, *names):
        raise UserError(f"--against {against}: no such {by}{suggest(str(against), [ZERO, *names])}")
    others = [axis for axis in AXES if axis != by]
    for context in product(*(axes[axis] for axis in others)):
        fixed = dict(zip(others, context, strict=True))
        cells = [Cell(**fixed, **{by: item}) for item in axes[by]]
        cells = [cell for cell in cells if cell.members()[0]]
        pairs: list[tuple[Cell, Cell | None]] = list(combinations(cells, 2))
        if against == ZERO:
            pairs = [(cell, None) for cell in cells]
        elif against is not None:
            pairs = [(a, b) for b in cells if b.label(by) == against for a in cells if a is not b]
        for a, b in pairs:
            yield _contrast(a, b, by, asked, n)


def _held_to(row: Contrast, margin: float | None) -> Contrast:
    """The comparison with its margin; no claim is made where there is no p-value."""
    if margin is None or math.isnan(row.p):
        return replace(row, margin=margin)
    p = p_equivalence(row.difference, row.low, row.high, row.df, margin)
    return replace(row, margin=margin, p_equivalence=p)


def _contrast(a: Cell, b: Cell | None, by: Axis, asked: Asked, n: int) -> Contrast:
    found = [measures_of(cell, asked, n) for cell in (a, b) if cell is not None]
    # A verifier without any verdict has neither n nor filter; its comparison is not estimable.
    keys = [key for own in found for key, one in own if one.quantity] or [found[0][0][0]]
    check_comparable(a, b, by, keys)
    flags = dict.fromkeys(
        flag for own in found for _, one in own for flag in one.flags if not flag.startswith("pool=")
    )
    flags |= dict.fromkeys(a.run.flags)
    strata = [strata_of(cell, own) for cell, own in zip((a, b), found, strict=False) if cell is not None]
    nan = float("nan")
    values = [nan, nan]
    if any(one is None for one in strata):
        result = Interval(nan, nan, nan, nan, nan, 0, 0, ("not_estimable",))
    else:
        sides = [one for one in strata if one is not None]
        values = [point(one) for one in sides] + [0.0] * (2 - len(sides))
        if len(sides) == 1:
            result = single(*sides)
        else:
            result = independent(*sides) if by == "domain" else paired(*sides)
        held = [cell.members()[0] for cell in (a, b if by == "domain" else None) if cell is not None]
        if result.n_prompts < sum(task.prompts for tasks in held for task in tasks):
            flags["fewer_prompts"] = None
    flags |= dict.fromkeys(result.flags)
    claimed = not {"not_estimable", "descriptive"} & set(flags)
    return Contrast(
        a=a.label(by),
        b=ZERO if b is None else b.label(by),
        model="" if by == "run" else a.run.label,
        domain="" if by == "domain" else a.domain,
        verifier="" if by == "verifier" else a.verifier,
        quantity=asked.quantity,
        filter="" if by == "filter" else keys[0].filter,
        n=keys[0].n,
        m=next((key.m for key in keys if key.m is not None), None),
        value_a=values[0],
        value_b=values[1],
        difference=result.value,
        se=result.se,
        low=result.low,
        high=result.high,
        df=result.df,
        p=p_value(result) if claimed else nan,
        n_prompts=result.n_prompts,
        mde=detectable(result.se, result.df),
        flags=tuple(flags),
    )
