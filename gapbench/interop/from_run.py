"""A run as a log, for the writers of foreign formats: prompt by prompt, so that a large run need not be in memory as rows.

Scores that gapbench computes when it reads a run (agreement, comparisons, ensembles) are part of the log as verdicts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa

from gapbench.interop.logs import Log, LoggedPrompt, LoggedTask, model_name
from gapbench.panel import Panel
from gapbench.records import SCORED, Grade, Prompt, Response, Row, Verdict
from gapbench.run import Run
from gapbench.store.manifest import VerifierFacts
from gapbench.verifiers.base import DerivedVerifier, PairVerifier, PoolVerifier

_COMPUTED = (PoolVerifier, PairVerifier, DerivedVerifier)
_DRAWN = [name for name in Response.schema.names if name != "token_ids"]

Key = tuple[str, str]
Indices = dict[Key, Any]


def read_run(run: Run) -> Log:
    """The log of a run.

    Raises
    ------
    UserError
        If nothing in it is graded.
    """
    panels = run.panels()
    verifiers = run.verifiers()
    partial = sorted({name for panel in panels for name in panel.verified})
    notes = [
        f"left out verifier {name}: it was not asked about every response, to save tokens, and no other format can say so"
        for name in partial
    ]
    facts = {
        one.name: VerifierFacts(scale=one.scale, threshold=one.threshold, whole_pool=one.whole_pool)
        for one in verifiers
        if one.name not in partial
    }
    computed = {one.name for one in verifiers if isinstance(one, _COMPUTED)} & set(facts)
    graded = _table(run, Grade, Grade.schema.names)
    drawn = _table(run, Response, _DRAWN)
    if drawn.rows.num_rows > graded.rows.num_rows:
        missing = drawn.rows.num_rows - graded.rows.num_rows
        notes.append(f"left out {missing:,} responses that are not graded yet")
    judged = _table(run, Verdict, [name for name in Verdict.schema.names if name not in ("n_tokens", "seed")])
    prompts: dict[str, list[Prompt]] = {}
    for prompt in run.store.rows(Prompt):
        prompts.setdefault(prompt.task, []).append(prompt)
    of_panel = {panel.task: panel for panel in panels}
    tasks = [
        LoggedTask(
            task,
            own[0].domain,
            _Prompts(own, drawn, graded, judged, set(facts) - computed, of_panel.get(task), computed),
            _facts(run, task),
        )
        for task, own in prompts.items()
    ]
    return Log("run", [run.store.path], model_name(run.model), tasks, facts, notes=notes)


def _facts(run: Run, task: str) -> dict[str, Any]:
    known = dict(run.manifest["tasks"].get(task, {}))
    return {
        name: known[name] for name in ("title", "card", "source", "sampling", "generation") if name in known
    }


@dataclass(frozen=True)
class _Rows:
    """A table, and where the rows of each prompt are."""

    rows: pa.Table
    at: Indices

    def of(self, key: Key) -> list[dict[str, Any]]:
        """The rows of a prompt."""
        places = self.at.get(key)
        return [] if places is None else cast(list[dict[str, Any]], self.rows.take(places).to_pylist())


def _table(run: Run, row: type[Row], columns: Sequence[str]) -> _Rows:
    rows = run.store.read(row.table, list(columns))
    keys = rows.select(["task", "prompt_id"]).to_pandas(categories=["task", "prompt_id"])
    found = keys.groupby(["task", "prompt_id"], sort=False, observed=True).indices
    return _Rows(
        rows, {(str(task), str(prompt)): np.sort(places) for (task, prompt), places in found.items()}
    )


@dataclass(frozen=True)
class _Prompts(Iterable[LoggedPrompt]):
    """The prompts of a task that have a graded response."""

    prompts: Sequence[Prompt]
    drawn: _Rows
    graded: _Rows
    judged: _Rows
    stored: set[str]
    panel: Panel | None
    computed: set[str]

    def __iter__(self) -> Iterator[LoggedPrompt]:
        place = {one: row for row, one in enumerate(self.panel.prompt_ids)} if self.panel is not None else {}
        for prompt in self.prompts:
            key = prompt.task, prompt.prompt_id
            grades = {row["response"]: Grade(**row) for row in self.graded.of(key)}
            rows = sorted(self.drawn.of(key), key=lambda row: int(row["response"]))
            responses = [Response(token_ids=None, **row) for row in rows if row["response"] in grades]
            if not responses:
                continue
            verdicts = [
                Verdict(n_tokens=cast(int, None), seed=None, **row)
                for row in self.judged.of(key)
                if row["verifier"] in self.stored and row["response"] in grades
            ]
            verdicts.sort(key=lambda one: (one.response, one.verifier, one.replicate))
            if self.panel is not None:
                verdicts += _computed(self.panel, self.computed, key, place[prompt.prompt_id], responses)
            ordered = [grades[one.response] for one in responses]
            yield LoggedPrompt(prompt, prompt.question, responses, ordered, verdicts)


def _computed(
    panel: Panel, names: set[str], key: Key, row: int, responses: Sequence[Response]
) -> Iterator[Verdict]:
    """Scores that no verdict of the store has."""
    for name in sorted(names & set(panel.scores)):
        scores = panel.scores[name].mean[row]
        for response in responses:
            score = float(scores[response.response])
            if not np.isnan(score):
                yield Verdict(*key, response.response, name, 0, score, SCORED, "", cast(int, None), "", None)
