"""What is missing from a run and what it cost: counted from its panels and its manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gapbench.panel import Panel


@dataclass(frozen=True)
class ResponseCounts:
    """The responses of a task.

    Attributes
    ----------
    counted
        Those with a utility; they are the sample.
    left_out
        Places of the prompts-by-responses grid without one: errors, or not drawn or graded yet.
    censored
        Cut at the token limit; utility 0, and counted.
    no_answer
        Complete replies in which the grader found no answer; utility 0, and counted.
    """

    domain: str
    task: str
    prompts: int
    counted: int
    left_out: int
    censored: int
    no_answer: int


@dataclass(frozen=True)
class VerdictCounts:
    """The verdicts of one verifier on a task: counted responses with and without a valid one."""

    domain: str
    task: str
    verifier: str
    judged: int
    missing: int

    @property
    def share(self) -> float:
        """Share of the counted responses that have no valid verdict."""
        return self.missing / max(self.judged + self.missing, 1)


@dataclass
class StageCost:
    """What a stage took, summed over its sittings; a sitting that was killed has counted nothing."""

    stage: str
    sittings: int = 0
    unfinished: int = 0
    rows: int = 0
    requests: int = 0
    tokens: int = 0
    seconds: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)


def response_counts(panels: Sequence[Panel]) -> list[ResponseCounts]:
    """One row a task."""
    rows = []
    for panel in panels:
        counted = ~np.isnan(panel.utility)
        silent = counted & ~panel.censored & (panel.answers < 0)
        rows.append(
            ResponseCounts(
                panel.domain,
                panel.task,
                prompts=len(panel.prompt_ids),
                counted=int(counted.sum()),
                left_out=int((~counted).sum()),
                censored=int(panel.censored.sum()),
                no_answer=int(silent.sum()),
            )
        )
    return rows


def verdict_counts(panels: Sequence[Panel]) -> list[VerdictCounts]:
    """One row a task and verifier."""
    rows = []
    for panel in panels:
        counted = ~np.isnan(panel.utility)
        for verifier, scores in panel.scores.items():
            valid = ~np.isnan(scores.values).all(axis=2)
            judged = int((counted & valid).sum())
            rows.append(
                VerdictCounts(panel.domain, panel.task, verifier, judged, int(counted.sum()) - judged)
            )
    return rows


def stage_costs(manifest: Mapping[str, Any]) -> list[StageCost]:
    """One row a stage, from the `sessions` of a run's manifest."""
    costs: dict[str, StageCost] = {}
    for session in manifest.get("sessions", []):
        name = str(session.get("stage", ""))
        cost = costs.setdefault(name, StageCost(name))
        cost.sittings += 1
        if "seconds" not in session:
            cost.unfinished += 1
            continue
        cost.rows += int(session.get("rows", 0))
        cost.requests += int(session.get("requests", 0))
        cost.tokens += int(session.get("tokens", 0))
        cost.seconds += float(session["seconds"])
        cost.statuses.update(session.get("statuses", {}))
    return list(costs.values())


def temperatures(manifest: Mapping[str, Any]) -> list[float]:
    """The sampling temperatures of a run, as its manifest has them."""
    override = manifest.get("config", {}).get("temperature")
    if override is not None:
        return [float(override)]
    tasks = manifest.get("tasks", {}).values()
    found = {task.get("sampling", {}).get("temperature") for task in tasks}
    return sorted(float(value) for value in found if value is not None)


def flatten(value: Any, name: str = "") -> list[tuple[str, str]]:
    """A manifest as (dotted name, value) pairs, without its sessions, which the cost table has."""
    if isinstance(value, Mapping) and value:
        pairs: list[tuple[str, str]] = []
        for key, inner in value.items():
            if name or key != "sessions":
                pairs += flatten(inner, f"{name}.{key}" if name else str(key))
        return pairs
    if isinstance(value, Mapping) or value is None or value == []:
        return [(name, "none")]
    if isinstance(value, (list, tuple)):
        return [(name, ", ".join(str(item) for item in value))]
    return [(name, str(value))]
