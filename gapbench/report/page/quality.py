"""What is missing from a run, counted from its panels, and what its manifest says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gapbench.panel import Panel
from gapbench.report.page.cells import Cell, Table, count_cell, texts
from gapbench.report.text import one_line, percent


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
    """The verdicts of one verifier on a task.

    Attributes
    ----------
    judged, missing
        Counted responses with and without a valid verdict.
    not_asked
        Counted responses that the run's savings left unverified; they are not missing.
    """

    domain: str
    task: str
    verifier: str
    judged: int
    missing: int
    not_asked: int = 0

    @property
    def share(self) -> float:
        """Share of the responses asked about that have no valid verdict."""
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
            asked = counted
            if verifier in panel.verified:
                asked = counted & (panel.verified[verifier].responses | valid)
            judged = int((counted & valid).sum())
            missing = int(asked.sum()) - judged
            not_asked = int(counted.sum()) - int(asked.sum())
            rows.append(VerdictQuality(panel.domain, panel.task, verifier, judged, missing, not_asked))
    return rows


def response_table(found: Sequence[ResponseQuality], id: str = "t-responses") -> Table:
    """What is missing of the responses, a line each task."""
    rows = tuple(
        (
            *texts(one_line(row.domain, 60), one_line(row.task, 60)),
            *map(count_cell, (row.prompts, row.counted, row.errors, row.absent, row.censored, row.no_answer)),
        )
        for row in found
    )
    return Table(id, f"Responses by task. {OF_RESPONSES}", ("Domain", "Task", *COUNTED), rows, 2)


def verdict_table(found: Sequence[VerdictQuality], id: str = "t-verdicts") -> Table:
    """What is missing of the verdicts, a line each task and verifier."""
    rows = tuple(
        (
            *texts(one_line(row.domain, 60), one_line(row.task, 60), one_line(row.verifier, 40)),
            *map(count_cell, (row.judged, row.missing, row.not_asked)),
            Cell(percent(row.share, 1), kind="num", order=row.share),
        )
        for row in found
    )
    caption = (
        "Verdicts by task and verifier: counted responses with and without a valid one. Without: the reply could not be parsed, "
        "the request failed, or there was nothing to judge. Such a response ranks last in its prompt; it is never taken for a "
        "“no”. Not asked: left unverified to save tokens, and allowed for."
    )
    headings = ("Domain", "Task", "Verifier", "With", "Without", "Not asked", "Share without")
    return Table(id, caption, headings, rows, 3)


def quality_by_run(
    runs: Sequence[tuple[str, Sequence[ResponseQuality], Sequence[VerdictQuality]]],
) -> Table:
    """The sums over all tasks and verifiers, a line each run."""
    rows = []
    for label, responses, verdicts in runs:
        names = ("prompts", "counted", "errors", "absent", "censored", "no_answer")
        sums = (sum(getattr(row, name) for row in responses) for name in names)
        judged, missing = (sum(getattr(row, name) for row in verdicts) for name in ("judged", "missing"))
        share = missing / max(judged + missing, 1)
        rows.append((Cell(label), *map(count_cell, sums), Cell(percent(share, 1), kind="num", order=share)))
    caption = f"Responses of each run, and the share of them without a valid verdict. {OF_RESPONSES}"
    return Table("t-quality-runs", caption, ("Run", *COUNTED, "Without verdict"), tuple(rows))


COUNTED = ("Prompts", "Counted", "Errors", "Absent", "Truncated", "No answer")
OF_RESPONSES = (
    "Counted: in the sample. Errors: asked for and lost to a technical failure; they leave the sample. Absent: not drawn or graded. "
    "Truncated: cut at the token limit. No answer: complete, but the grader found none. Truncated and no answer count with "
    "utility 0."
)


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
