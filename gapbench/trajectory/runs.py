"""From runs of a model's checkpoints to what the tests take: one domain at a time, on the prompts that all runs have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gapbench.comparing.compare import aligned, common_n, prompts_of, run_labels
from gapbench.errors import UserError
from gapbench.estimate.selection import BestOf, Order
from gapbench.panel import Float, Panel
from gapbench.run import Run
from gapbench.trajectory.checkpoints import Checkpoints

FEWEST = 2
"""Responses of a prompt that can be split into halves."""


def checkpoints_of(
    runs: Sequence[Run],
    *,
    clock: Sequence[float] = (),
    verifier: str | None = None,
    fresh: Sequence[Run] = (),
    forms: Sequence[Run] = (),
    false_positive: float | None = None,
) -> tuple[list[Checkpoints], list[str]]:
    """Set checkpoints beside each other.

    Parameters
    ----------
    runs
        The base's first, then those of the same model as it was trained on.
    clock
        Time of each (round, epoch, step, FLOPs); 0, 1, 2, ... where empty.
    verifier
        Whose scores are the proxy that training followed; none where None.
    fresh
        Of each checkpoint a run on prompts that nothing was trained on, others each time: they tell whether the gap is
        replenished, as the verifier sees it.
    forms
        Runs of the base that ask the same questions in other forms (shots, style, temperature, instruction): what it solves
        there, training has only brought out.
    false_positive
        Rate at which the grader passes wrong answers, where it was measured.

    Returns
    -------
    list of Checkpoints
        One a domain.
    list of str
        What was left out to make the prompts equal.

    Raises
    ------
    UserError
        If there are fewer than two runs, or one is given twice, they share no prompt, there is not a time for each or
        time runs backwards, the verifier is missing somewhere or did not judge all responses, or a run of another form has none of the
        base's questions.
    """
    if len(runs) < 2:
        raise UserError("one run is no trajectory; give the base's and at least one of a tuned model")
    _check_times(clock, len(runs))
    gaps = _fresh_gaps(fresh, len(runs), verifier)
    places = [run.store.path.resolve() for run in (*runs, *forms)]
    for run, place in zip((*runs, *forms), places, strict=True):
        if places.count(place) > 1:
            raise UserError(
                f"{run.store.path}: given twice, and the same responses say nothing of change; "
                "for a placebo, draw again from the same model with another --seed"
            )
    labels = run_labels(runs)
    panels, notes = aligned({label: run.panels() for label, run in zip(labels, runs, strict=True)}, runs)
    sides, dropped = _answered_often(list(panels.values()))
    if dropped:
        notes.append(f"Left out {dropped} prompts with fewer than {FEWEST} graded responses in some run.")
    elsewhere = _forms(forms, sides[0])
    # An imported run says nothing of guessing.
    chances = {
        name: task.get("card", {}).get("chance") for name, task in runs[0].manifest.get("tasks", {}).items()
    }
    found = []
    for domain in dict.fromkeys(panel.domain for panel in sides[0]):
        # The base's run says what belongs together, whatever the others call it.
        members = [place for place, panel in enumerate(sides[0]) if panel.domain == domain]
        own = [[side[place] for place in members] for side in sides]
        sizes = [len(panel.prompt_ids) for panel in own[0]]
        found.append(
            Checkpoints(
                domain,
                utility=[_stacked([panel.utility for panel in side], np.nan) for side in own],
                clock=list(clock) or None,
                proxy=None if verifier is None else [_proxy(side, verifier) for side in own],
                clusters=_clusters(own[0]),
                tasks=np.repeat(np.arange(len(sizes)), sizes),
                censored=[_stacked([panel.censored for panel in side], False) for side in own],
                fresh_gap=gaps.get(domain),
                forms=[_asked_otherwise(own[0], told) for told in elsewhere],
                false_positive=false_positive,
                guess=max(chances.get(panel.task) or 0.0 for panel in own[0]),
            )
        )
    return found, notes


def _check_times(clock: Sequence[float], runs: int) -> None:
    if clock and len(clock) != runs:
        raise UserError(f"--clock: {len(clock)} times for {runs} runs; give one for each")
    if not all(map(math.isfinite, clock)):
        raise UserError("--clock: a time must be a finite number")
    if list(clock) != sorted(clock):
        raise UserError(
            "--clock: time runs backwards; give RUNs and times in order of training, the base first"
        )


def _answered_often(sides: list[list[Panel]]) -> tuple[list[list[Panel]], int]:
    """The panels without prompts of which some run has too few responses to be split, and how many those are."""
    kept: list[list[Panel]] = [[] for _ in sides]
    dropped = 0
    for panels in zip(*sides, strict=True):
        enough = np.min([(~np.isnan(panel.utility)).sum(axis=1) for panel in panels], axis=0) >= FEWEST
        dropped += int(np.count_nonzero(~enough))
        if enough.any():
            for side, panel in zip(kept, panels, strict=True):
                side.append(panel if enough.all() else prompts_of(panel, np.flatnonzero(enough).tolist()))
    if not kept[0]:
        raise UserError(f"no prompt has {FEWEST} graded responses in every run; draw more, with a larger -n")
    return kept, dropped


def _proxy(side: Sequence[Panel], verifier: str) -> NDArray[Any]:
    for panel in side:
        if verifier in panel.verified:
            raise UserError(
                f"task '{panel.task}': '{verifier}' judged a part of the responses, chosen by the grader; "
                "take a verifier that judged all"
            )
        if verifier not in panel.scores:
            raise UserError(
                f"task '{panel.task}' has no verifier '{verifier}'; there are: {', '.join(panel.scores) or 'none'}"
            )
    return _stacked([panel.scores[verifier].mean for panel in side], np.nan)


def _fresh_gaps(fresh: Sequence[Run], runs: int, verifier: str | None) -> dict[str, list[Float]]:
    """By domain, for each checkpoint the gap of every fresh prompt that has one, at the largest n that all tell of."""
    if not fresh:
        return {}
    if len(fresh) != runs:
        raise UserError(f"--fresh: {len(fresh)} runs for {runs} checkpoints; give one for each")
    if verifier is None:
        raise UserError("--fresh: say whose gap it is, with --verifier")
    sides = [run.panels() for run in fresh]
    for panels in sides:
        _proxy(panels, verifier)
    n = common_n([panel for panels in sides for panel in panels], [])
    found: dict[str, list[Float]] = {}
    for panels in sides:
        own: dict[str, list[Float]] = {}
        for panel in panels:
            order = Order.of(panel.scores[verifier].mean, ~np.isnan(panel.utility))
            gap = order.rank(panel.utility).gap([BestOf(n)])[:, 0]
            own.setdefault(panel.domain, []).append(gap[~np.isnan(gap)])
        for domain, parts in own.items():
            found.setdefault(domain, []).append(np.concatenate(parts))
    return {domain: one for domain, one in found.items() if len(one) == runs and min(map(len, one))}


Asked = dict[tuple[str, str], NDArray[Any]]


def _forms(runs: Sequence[Run], sides: Sequence[Panel]) -> list[Asked]:
    """Of each run, the utilities of the responses to every question that it shares with the base."""
    known = {(panel.task, prompt_id) for panel in sides for prompt_id in panel.prompt_ids}
    found = []
    for run in runs:
        told = {
            (panel.task, prompt_id): own
            for panel in run.panels()
            for prompt_id, own in zip(panel.prompt_ids, panel.utility, strict=True)
        }
        if not known & set(told):
            raise UserError(
                f"{run.store.path}: none of its questions is one of the base's; ask the same tasks in another form"
            )
        found.append(told)
    return found


def _asked_otherwise(base: Sequence[Panel], told: Asked) -> Float:
    """Utility of the responses to the base's prompts [prompt, response]; NaN where a prompt was not asked."""
    keys = [(panel.task, prompt_id) for panel in base for prompt_id in panel.prompt_ids]
    found = np.full((len(keys), max(len(own) for own in told.values())), np.nan)
    for place, key in enumerate(keys):
        if key in told:
            found[place, : len(told[key])] = told[key]
    return found


def _stacked(parts: Sequence[NDArray[Any]], absent: object) -> NDArray[Any]:
    """Prompts of all tasks [prompt, response], as wide as the widest."""
    wide = max(part.shape[1] for part in parts)
    return np.concatenate(
        [np.pad(part, ((0, 0), (0, wide - part.shape[1])), constant_values=absent) for part in parts]  # type: ignore[call-overload]
    )


def _clusters(side: Sequence[Panel]) -> NDArray[np.int64]:
    """Cluster of each prompt, those of different tasks apart."""
    found: list[NDArray[np.int64]] = []
    above = 0
    for panel in side:
        found.append(panel.clusters + above)
        above += int(panel.clusters.max(initial=-1)) + 1
    return np.concatenate(found)
