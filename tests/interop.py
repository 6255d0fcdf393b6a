"""What the tests of interchange share: the real logs, runs that are compared, and logs that are spoiled."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from gapbench.panel import Panel
from gapbench.run import Run, RunConfig, execute

LOGS = Path(__file__).parent / "data" / "interop"
TABLES = {
    "prompts": ["task", "prompt_id", "domain", "messages", "reference", "metadata", "cluster"],
    "responses": ["task", "prompt_id", "response", "text", "n_tokens", "logprob", "finish_reason"],
    "grades": ["task", "prompt_id", "response", "answer", "cluster", "utility", "status"],
    "verdicts": [
        "task",
        "prompt_id",
        "response",
        "verifier",
        "replicate",
        "score",
        "status",
        "text",
        "judge",
    ],
}


def rows(run: Run, table: str, columns: Iterable[str] = ()) -> list[tuple[Any, ...]]:
    """The rows of a table, in the order of their keys."""
    names = list(columns) or TABLES[table]
    found = [
        tuple(json.dumps(row[name]) for name in names) for row in run.store.read(table, names).to_pylist()
    ]
    return sorted(found)


def assert_same_estimates(one: Run, other: Run, without: Iterable[str] = ()) -> None:
    """Every estimate of one run is that of the other, but for the order in which sums were taken."""
    left, right = (
        {
            (e.domain, e.task, e.verifier, e.quantity, e.filter, e.n, e.m): e
            for e in run.estimate()
            if e.verifier not in without
        }
        for run in (one, other)
    )
    assert set(left) == set(right)
    for key, estimate in left.items():
        again = right[key]
        assert again.flags == estimate.flags, key
        assert (again.n_prompts, again.n_responses) == (estimate.n_prompts, estimate.n_responses), key
        for name in ("value", "se", "low", "high", "bound_low", "bound_high", "p"):
            wanted = getattr(estimate, name)
            expected = wanted if wanted is None else pytest.approx(wanted, abs=1e-9, nan_ok=True)
            assert getattr(again, name) == expected, (key, name)


def panel_of(run: Run, task: str) -> Panel:
    """The panel of a task."""
    return next(panel for panel in run.panels() if panel.task == task)


def assert_same_rows(one: Run, other: Run, tables: Iterable[str] = TABLES) -> None:
    """Every row of one run is in the other, and no further one."""
    for table in tables:
        assert rows(one, table) == rows(other, table), table


def simulated(out: Path) -> Run:
    """A run with verifiers of every kind: asked once, asked repeatedly, computed; with missing verdicts and censoring."""
    config = RunConfig(
        suite="starter",
        model="simulated",
        engine="simulated",
        engine_options={"unparsed": 0.2, "long": 0.1, "failures": 0.15},
        n=4,
        verifiers=("yesno", "majority", "cot-binary"),  # type: ignore[arg-type]
        verdicts=3,
        tasks=("sums", "capitals"),
        limit=6,
    )
    return execute(config, out)
