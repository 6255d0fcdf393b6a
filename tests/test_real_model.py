"""Every suite and every verifier on the real embedded model: one engine, a few prompts each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

from gapbench.judging import make_verifier, read_spec
from gapbench.launch import Engines
from gapbench.records import SCORED, TRUNCATED, UNPARSED, Comparison, Grade, Response, Verdict
from gapbench.run import RunConfig, execute
from gapbench.tasks import load_suite
from gapbench.verifiers.base import DerivedVerifier, PoolVerifier, ToolVerifier, verifiers

pytestmark = [pytest.mark.model, pytest.mark.slow]

SUITES = ("starter", "math", "code", "factual", "reasoning", "science", "open")


@pytest.fixture(scope="module")
def pool() -> Iterator[Engines]:
    with Engines() as pool:
        yield pool


def test_the_other_suites_are_made_of_these(shared_data: Path) -> None:
    def tasks(*names: str) -> set[str]:
        return {
            task.name
            for name in names
            for task in load_suite(name, limit=1, data_dir=str(shared_data), skip_missing=True).tasks
        }

    assert tasks("core", "all") <= tasks(*SUITES)


@pytest.mark.parametrize("suite", SUITES)
def test_every_task_of_a_suite_ends(tmp_path: Path, shared_data: Path, pool: Engines, suite: str) -> None:
    config = RunConfig(suite=suite, n=2, limit=4, data_dir=str(shared_data), skip_missing=True)
    run = execute(config, tmp_path / "run", engines=pool)
    assert run.manifest["tasks"]
    responses = run.store.rows(Response)
    assert Counter(row.task for row in responses) == dict.fromkeys(run.manifest["tasks"], 4 * 2)
    assert not [row.finish_reason for row in responses if row.finish_reason not in ("stop", "length")]
    assert {row.key for row in run.store.rows(Grade)} == {row.key for row in responses}
    judged = {row.key[:3] for row in run.store.rows(Verdict)}
    assert judged == {row.key for row in responses if row.text.strip()}
    accuracy = {row.task: row.value for row in run.estimate() if row.quantity == "accuracy" and row.task}
    assert accuracy.keys() == set(run.manifest["tasks"])
    assert all(0 <= value <= 1 for value in accuracy.values())


def test_every_verifier_judges(tmp_path: Path, pool: Engines) -> None:
    specs = [name for name in verifiers.names() if name != "ensemble"]
    short = []
    for name in specs:
        if name.startswith(
            "cot-"
        ):  # the same questions, with replies that a small model on a processor ends soon
            file = tmp_path / f"{name}.yaml"
            file.write_text(yaml.safe_dump({"name": name, "verifier": name, "options": {"max_tokens": 48}}))
            short.append(str(file))
        else:
            short.append(name)
    member = tmp_path / "ensemble.yaml"
    member.write_text(
        yaml.safe_dump(
            {"name": "ensemble", "verifier": "ensemble", "options": {"members": ["yesno", "choice"]}}
        )
    )
    config = RunConfig(
        suite="code",
        tasks=("python-basics",),
        n=4,
        limit=4,
        verdicts=2,
        verifiers=tuple(map(read_spec, [*short, str(member)])),
        skip_missing=True,
    )
    run = execute(config, tmp_path / "run", engines=pool)
    found: dict[str, list[Verdict | Comparison]] = {}
    for row in [*run.store.rows(Verdict), *run.store.rows(Comparison)]:
        found.setdefault(row.verifier, []).append(row)
    for spec in config.verifiers:
        verifier = make_verifier(spec)
        if isinstance(verifier, DerivedVerifier | PoolVerifier):
            continue
        rows = found.get(spec.name, [])
        assert rows or spec.name.startswith("rubric"), f"{spec.name} asked nothing"
        assert {row.status for row in rows} <= {SCORED, UNPARSED, TRUNCATED}, spec.name
        for row in rows:
            assert (row.score is None) == (row.status != SCORED)
            assert row.text or not isinstance(verifier, ToolVerifier) or row.status == SCORED
    (panel,) = run.panels()
    for name, scores in panel.scores.items():
        assert np.isfinite(scores.mean).any() or name.startswith(("cot-", "rubric")), f"{name} scored nothing"
