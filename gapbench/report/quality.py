"""What is missing from a run, counted from its panels, and what its manifest says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gapbench.panel import Panel


@dataclass(frozen=True)
class ResponseQuality:
    """The responses of a task.

    Attributes
    ----------
    counted
        Those with a utility; they are the sample.
    errors
        Asked for and lost; they leave the sample.
    absent
        Not drawn or not graded yet, of as many responses to each prompt as the most asked one has.
    censored
        Cut at the token limit; utility 0, and counted.
    no_answer
        Complete replies in which the grader found no answer; utility 0, and counted.
    """

    domain: str
    task: str
    prompts: int
    counted: int
    errors: int
    absent: int
    censored: int
    no_answer: int


@dataclass(frozen=True)
class VerdictQuality:
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


def response_quality(panels: Sequence[Panel]) -> list[ResponseQuality]:
    """One row a task."""
    rows = []
    for panel in panels:
        counted = ~np.isnan(panel.utility)
        silent = counted & ~panel.censored & (panel.answers < 0)
        rows.append(
            ResponseQuality(
                panel.domain,
                panel.task,
                prompts=len(panel.prompt_ids),
                counted=int(counted.sum()),
                errors=int((panel.censored & ~counted).sum()),
                absent=int((~panel.censored & ~counted).sum()),
                censored=int((panel.censored & counted).sum()),
                no_answer=int(silent.sum()),
            )
        )
    return rows


def verdict_quality(panels: Sequence[Panel]) -> list[VerdictQuality]:
    """One row a task and verifier."""
    rows = []
    for panel in panels:
        counted = ~np.isnan(panel.utility)
        for verifier, scores in panel.scores.items():
            valid = ~np.isnan(scores.mean)
            judged = int((counted & valid).sum())
            rows.append(
                VerdictQuality(panel.domain, panel.task, verifier, judged, int(counted.sum()) - judged)
            )
    return rows


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
        return [(name, json.dumps(value, ensure_ascii=False, default=str))]
    return [(name, str(value))]
