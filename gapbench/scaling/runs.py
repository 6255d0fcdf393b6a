"""Runs as points: the relative gap and gap of each domain, with the covariance that shared prompts give them.

Errors of two runs on the same prompts are correlated. Their covariance is that of the influence values of the
clusters that they share, sum psi_a psi_b G/(G - 1), whose diagonal is the square of the standard error that `gapbench estimate` gives.

>>> from gapbench.run import Run
>>> points_from_runs([Run("runs/small"), Run("runs/large")]).to_frame()  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from gapbench.catalog import find_model, training_flops
from gapbench.catalog.entries import VARIABLE
from gapbench.comparing.cells import Asked, Cell, Side, find, measured, strata_of
from gapbench.comparing.compare import aligned, common_n, run_labels
from gapbench.errors import UserError
from gapbench.estimate.contrast import Strata, point
from gapbench.estimate.filters import parse_filter
from gapbench.estimate.quantity import Form
from gapbench.estimate.resampling import Moments
from gapbench.panel import Float
from gapbench.run import Run
from gapbench.scaling.points import LeftOut, Points, known_quantity

SIMULATED = "simulated:"  # what the simulated engine puts before the name it pretends to be


class Compute(NamedTuple):
    """What the registry says of a model."""

    family: str
    flops: float


def compute_of(model: str, known: Mapping[str, Any] | None = None) -> Compute:
    """Family and pretraining FLOPs of a model: the catalog's, else those that a run's manifest has.

    Base and post-trained models are families of their own, because post-training may change the law. FLOPs are NaN where
    parameters or tokens are not known. A simulated model has the compute of the one it pretends to be, in a family that says so.

    Parameters
    ----------
    model
        Its id.
    known
        What the manifest of a run says of it (`engine.model`).
    """
    entry = find_model(model)
    if entry is None and model.startswith(SIMULATED):
        pretended = compute_of(model.removeprefix(SIMULATED))
        return Compute(f"{SIMULATED}{pretended.family}", pretended.flops)
    if entry is not None:
        return Compute(f"{entry.family} {entry.kind}", float("nan") if entry.flops is None else entry.flops)
    held = known or {}
    flops = training_flops(
        held.get("active_parameters") or held.get("parameters"), held.get("training_tokens")
    )
    return Compute(model, float("nan") if flops is None else flops)


def points_from_runs(
    runs: Sequence[Run],
    *,
    verifier: str | None = None,
    filter: str | None = None,
    quantity: str = "relative_gap",
    verdicts: int | None = None,
) -> Points:
    """Measure every run on the prompts that all have in common, one point for each domain.

    Parameters
    ----------
    verifier
        By which responses are judged; by default the first that every run has.
    filter
        `best@n` and the like; by default best@n at the largest power of two that is at most half of the responses.
    quantity
        `relative_gap` or `gap`.
    verdicts
        Number m of verdicts behind a score; what more there are is thinned (for the gap only).

    Raises
    ------
    UserError
        If runs have no prompt, or no verifier, in common, two are of one model, or no model's compute is known.
    """
    known_quantity(quantity)
    _once(runs)
    labels = run_labels(runs)
    panels, notes = aligned({label: run.panels() for label, run in zip(labels, runs, strict=True)}, runs)
    everything = [panel for own in panels.values() for panel in own]
    filters = () if filter is None else (filter,)
    n = getattr(parse_filter(filter), "n", None) if filter else None
    n = n or common_n(everything, filters)
    sides = [
        measured(label, panels[label], run.config.seed, n, Asked("gap", filters, (), verdicts), ())
        for label, run in zip(labels, runs, strict=True)
    ]
    name = verifier or _common_verifier(sides)
    wanted = {one: Asked(one, filters, (name,), verdicts) for one in ("accuracy", "gap", quantity)}
    _same_n_and_m(sides, name, filter, wanted["gap"], n)
    kept: list[_Point] = []
    left_out: list[LeftOut] = []
    for run, side in zip(runs, sides, strict=True):
        compute = compute_of(run.model, run.manifest.get("engine", {}).get("model"))
        for domain in side.domains:
            found = {one: _strata(side, name, filter, domain, asked, n) for one, asked in wanted.items()}
            why = _why_not(found, compute)
            if why is not None:
                left_out.append(LeftOut(domain, side.label, compute.family, why))
                continue
            kept.append(
                _Point(domain, side.label, compute, {k: one for k, one in found.items() if one is not None})
            )
    if not kept:
        raise UserError(_none(left_out, name))
    value = np.array([point(one.strata[quantity]) for one in kept])
    gap = np.array([point(one.strata["gap"]) for one in kept])
    joint = {one: covariance([place.strata[one] for place in kept]) for one in {"gap", quantity}}
    se = np.sqrt(np.diag(joint[quantity]))
    return _without_certainty(
        Points(
            tuple(one.domain for one in kept),
            tuple(one.model for one in kept),
            tuple(one.compute.family for one in kept),
            np.log10([one.compute.flops for one in kept]),
            value,
            se,
            np.array([point(one.strata["accuracy"]) for one in kept]),
            gap,
            joint[quantity],
            joint["gap"],
            quantity,
            tuple(left_out),
            (f"{name}, {filter or f'best@{n}'}.", *notes),
        )
    )


class _Point(NamedTuple):
    domain: str
    model: str
    compute: Compute
    strata: Mapping[str, Strata]


def _once(runs: Sequence[Run]) -> None:
    """Refuse a model that is there twice: it would count twice."""
    seen: dict[str, Run] = {}
    for run in runs:
        before = seen.setdefault(run.model, run)
        if before is not run:
            raise UserError(
                f"{before.store.path} and {run.store.path}: both are of {run.model}; leave one out, since a law counts models"
            )


def _common_verifier(sides: Sequence[Side]) -> str:
    """The first verifier that every run has."""
    names = [
        dict.fromkeys(key.verifier for task in side.tasks for key in task.measures if key.quantity == "gap")
        for side in sides
    ]
    for name in names[0]:
        if name and all(name in own for own in names):
            return name
    raise UserError(
        "these runs have no verifier in common: name runs made with the same -V, or one with --verifier"
    )


def _same_n_and_m(sides: Sequence[Side], verifier: str, filter: str | None, asked: Asked, n: int) -> None:
    """Gaps compare only at equal n and m (measurement.md, section 3)."""
    found = {
        (key.n, key.m): side.label
        for side in sides
        for task in side.tasks
        if (key := find(task, Cell(side, verifier, filter, task.domain), asked, n)) is not None
    }
    if len(found) > 1:
        told = " and ".join(f"n={own[0]}, m={own[1]} for {label}" for own, label in found.items())
        ms = [own[1] for own in found if own[1] is not None]
        raise UserError(
            f"'{verifier}' has {told}; only equal n and m compare: add --filter best@N or --verdicts {min(ms, default=1)}"
        )


def _strata(
    side: Side, verifier: str, filter: str | None, domain: str, asked: Asked, n: int
) -> Strata | None:
    """A quantity of a run in a domain; None where the verifier gave nothing to measure."""
    accuracy = asked.quantity == "accuracy"
    cell = Cell(side, "" if accuracy else verifier, None if accuracy else filter, domain)
    found = []
    for task in cell.members()[0]:
        key = find(task, cell, asked, n)
        if key is None:
            return None
        found.append((key, task.measures[key]))
    strata = strata_of(cell, found)
    return None if strata is None or not np.isfinite(point(strata)) else strata


def _why_not(found: Mapping[str, Strata | None], compute: Compute) -> str | None:
    if any(one is None for one in found.values()):
        return "no_value"
    return None if np.isfinite(compute.flops) else "no_flops"


def _none(left_out: Sequence[LeftOut], verifier: str) -> str:
    if all(one.reason == "no_flops" for one in left_out):
        names = ", ".join(dict.fromkeys(one.model for one in left_out))
        return f"no training compute is known for {names}: give parameters and tokens of each in a YAML file named by {VARIABLE}"
    return f"no run has a gap by '{verifier}' to fit; name another --verifier, or a --filter or --verdicts that asks for less"


def covariance(places: Sequence[Strata]) -> Float:
    """Joint covariance of quantities over clusters [place, place]; those without a common task are independent.

    Parameters
    ----------
    places
        Each on tasks whose prompts and clusters are in one order for all places, as `gapbench compare` aligns them.
    """
    columns: dict[str, dict[int, Float]] = {}
    factor: dict[str, float] = {}
    for row, place in enumerate(places):
        share = np.asarray(place.weights) / np.sum(place.weights)
        moments = [
            drawn.moments([one])[0] for one, drawn in zip(place.quantities, place.resampling, strict=True)
        ]
        for moment, drawn, psi in zip(moments, place.resampling, _influence(moments, share), strict=True):
            columns.setdefault(drawn.task, {})[row] = psi
            factor[drawn.task] = moment.correction if moment.n_clusters > 1 else float("nan")
    joint = np.zeros((len(places), len(places)))
    for task, own in columns.items():
        rows = list(own)
        stacked = np.stack([own[row] for row in rows])
        joint[np.ix_(rows, rows)] += factor[task] * (stacked @ stacked.T)
    return joint


def _influence(moments: Sequence[Moments], share: Float) -> list[Float]:
    """Influence values of the clusters of each task [cluster] (`gapbench.estimate.intervals.combine`)."""
    form = moments[0].form
    assert isinstance(form, Form)
    _, gradient = form.evaluate(np.asarray(share @ np.stack([one.mean for one in moments])))
    gradient = np.where(np.isfinite(gradient), gradient, 0.0)
    return [w / one.n_prompts * (one.residual @ gradient) for w, one in zip(share, moments, strict=True)]


def _without_certainty(points: Points) -> Points:
    """Leave out points whose error is 0: all their prompts are alike, which says nothing of others."""
    certain = points.se <= 0
    if not certain.any():
        return points
    if certain.all():
        raise UserError(
            "every prompt gives the same gap in every run: there is nothing to fit; name another --verifier"
        )
    lost = [
        LeftOut(points.domain[row], points.model[row], points.family[row], "zero_se")
        for row in np.flatnonzero(certain)
    ]
    return replace(points.take(~certain), left_out=(*points.left_out, *lost))
