"""A run read as the pilot of a plan, and the plan as a document.

>>> from gapbench.design.plan import plan
>>> found = plan(read_pilot(Run("runs/pilot"), "yesno"), half_width=0.02)  # doctest: +SKIP
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from gapbench.design.plan import Control, Option, PilotTask, Plan, planned_filter
from gapbench.errors import UserError
from gapbench.estimate.case_control import unanimous
from gapbench.estimate.filters import MajorityAt
from gapbench.panel import Bool, Panel, Scores, VerdictCounts
from gapbench.registry import suggest
from gapbench.run import Run
from gapbench.verifiers.base import ModelVerifier

MOST_MISSING = 0.05


def read_pilot(
    run: Run, verifier: str | None = None, control: str | None = None, filter: str = "best@4"
) -> list[PilotTask]:
    """Read utilities, verdicts and lengths, one task at a time; domains weigh equally, and so do tasks within one.

    Parameters
    ----------
    run
        A run whose responses are verified, but for unanimous prompts.
    verifier
        One of the run's that asks a model; its first where None.
    control
        A cheaper one of the run's, or one that costs no tokens, that could steady the estimate.
    filter
        What is planned for; a vote needs no verifier.

    Raises
    ------
    UserError
        If there is no such verifier, or responses were left unverified.
    """
    panels = run.panels()
    answers = _mean_tokens(run, "responses", [])
    if isinstance(planned_filter(filter), MajorityAt):
        if verifier is not None or control is not None:
            raise UserError(
                f"--filter {filter}: a vote of the answers asks no verifier; leave --verifier and --control out"
            )
        return [
            PilotTask(
                panel.task, panel.utility, None, answers[panel.task,], 0.0, weight, answers=panel.answers
            )
            for panel, weight in zip(panels, weights_of(panels), strict=True)
        ]
    name = verifier_asked(run, verifier)
    if control is not None and control not in set(run.config.names) - {name}:
        raise UserError(f"--control {control}: the pilot needs verdicts by it, beside those of '{name}'")
    verdicts = _mean_tokens(run, "verdicts", ["verifier"])
    tasks = []
    for panel, weight in zip(panels, weights_of(panels), strict=True):
        scores = panel.scores[name]
        mixed = ~np.isnan(panel.utility) & ~unanimous(panel.utility)[:, None]
        wanted = int(np.count_nonzero(mixed))
        missing = int(np.count_nonzero(mixed & np.isnan(scores.mean))) / max(wanted, 1)
        if missing > MOST_MISSING or not wanted:
            lack = (
                f"{missing:.0%} of its responses have no verdict by '{name}'"
                if wanted
                else "all are unanimous"
            )
            raise UserError(
                f"{run.store.path}: task '{panel.task}' cannot be planned from, {lack}; make a pilot with "
                + ("no case-control savings" if wanted else "more prompts or responses")
            )
        tokens = verdicts.get((panel.task, name), 0.0)
        steady = None
        if control is not None:
            steady = Control(control, panel.scores[control].mean, verdicts.get((panel.task, control), 0.0))
        tasks.append(
            PilotTask(panel.task, panel.utility, scores, answers[panel.task,], tokens, weight, steady)
        )
    return tasks


def read_partial(run: Run, panels: Sequence[Panel], verifier: str) -> list[PilotTask]:
    """Read a run that saves verdicts, to foretell what more of the same would find: `PilotTask.most` says how few."""
    answers = _mean_tokens(run, "responses", [])
    verdicts = _mean_tokens(run, "verdicts", ["verifier"])
    saved = run.config.savings
    tasks = []
    for panel, weight in zip(panels, weights_of(panels), strict=True):
        scores, rows = panel.scores[verifier], np.ones(len(panel.utility), dtype=bool)
        most, steady = None, None
        if verifier in panel.verified:
            rows, most = panel.verified[verifier].prompts, panel.verified[verifier].most
        if saved.control is not None and saved.control != verifier:
            tokens = verdicts.get((panel.task, saved.control), 0.0)
            steady = Control(saved.control, panel.scores[saved.control].mean[rows], tokens)
        tasks.append(
            PilotTask(
                panel.task,
                panel.utility[rows],
                of_prompts(scores, rows),
                answers[panel.task,],
                verdicts.get((panel.task, verifier), 0.0),
                weight,
                steady,
                most=most,
            )
        )
    return tasks


def verifier_asked(run: Run, name: str | None = None) -> str:
    """The verifier of that name, or the run's first, that asks a model about one response at a time.

    Raises
    ------
    UserError
        If there is none.
    """
    asking = [one.name for one in run.verifiers() if isinstance(one, ModelVerifier)]
    if not asking:
        raise UserError(
            f"{run.store.path}: no verifier of this run asks a model about a response, so that no verdicts are to be planned"
        )
    if name is not None and name not in asking:
        raise UserError(f"{run.store.path}: no verifier '{name}' that asks a model{suggest(name, asking)}")
    return asking[0] if name is None else name


def weights_of(panels: Sequence[Panel]) -> list[float]:
    """Weight of each task's mean: domains weigh equally, and so do the tasks of one."""
    domains = Counter(panel.domain for panel in panels)
    return [1.0 / domains[panel.domain] for panel in panels]


def of_prompts(scores: Scores | VerdictCounts, rows: Bool) -> Scores | VerdictCounts:
    """The verdicts on these prompts."""
    if isinstance(scores, Scores):
        return replace(scores, values=scores.values[rows])
    return replace(scores, yes=scores.yes[rows], valid=scores.valid[rows])


def _mean_tokens(run: Run, table: str, by: list[str]) -> dict[tuple[str, ...], float]:
    frame = run.store.read(table, ["task", *by, "n_tokens"]).to_pandas()
    means = frame.groupby(["task", *by])["n_tokens"].mean()
    return {(key if isinstance(key, tuple) else (key,)): float(value) for key, value in means.items()}


def plan_document(plan: Plan) -> dict[str, Any]:
    """The plan as plain values for `json.dumps`; a number that is not known becomes null."""

    def option(one: Option) -> dict[str, Any]:
        return {
            "prompts_per_task": one.prompts,
            "prompts_low": one.prompts_low,
            "prompts_high": one.prompts_high,
            "responses": one.design.responses,
            "verdicts": one.design.verdicts,
            **one.design.savings.model_dump(),
            "verdicts_per_prompt": one.verdicts_per_prompt,
            "tokens": one.tokens,
            "tokens_low": one.tokens_low,
            "tokens_high": one.tokens_high,
            "flags": list(one.flags),
        }

    return {
        "quantity": "gap",
        "filter": plan.filter,
        "m": plan.m,
        "half_width": plan.half_width,
        "best": option(plan.best),
        "plain": option(plan.plain),
        "options": [option(one) for one in plan.options],
        "noise": {
            name: value if value is not None and math.isfinite(value) else None
            for name, value in asdict(plan.noise).items()
        },
        "warnings": list(plan.warnings),
    }
