"""The stages together, on the simulated engine: resume, growth, refusals, and what counts as what."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gapbench.engines.base import Capabilities, Engine, ModelInfo, Request, Result, engines
from gapbench.errors import UserError
from gapbench.graders.base import Graded, Grader, graders
from gapbench.records import Grade, Prompt, Response, Verdict
from gapbench.run import Run, RunConfig, execute
from gapbench.store import RunStore
from tests.conftest import Cli, command, document

SIMULATED = ("starter", "--engine", "simulated", "-m", "simulated", "-n", "8", "--limit", "20")


def config(**changes: Any) -> RunConfig:
    base: dict[str, Any] = {
        "suite": "starter", "model": "simulated", "engine": "simulated", "n": 4, "limit": 5,
    }  # fmt: skip
    return RunConfig(**base | changes)


def test_every_row_is_there_once_and_graded(tmp_path: Path) -> None:
    run = execute(config(), tmp_path / "run")
    prompts, responses = run.store.rows(Prompt), run.store.rows(Response)
    assert {row.key for row in responses} == {(*p.key, i) for p in prompts for i in range(4)}
    assert {row.key for row in run.store.rows(Grade)} == {row.key for row in responses}
    judged = {row.key[:3] for row in run.store.rows(Verdict)}
    assert judged == {row.key for row in responses if row.text.strip()}
    assert len({row.seed for row in responses}) == len(responses), "two responses share a noise stream"


def test_a_second_run_draws_nothing_and_says_the_same(cli: Cli) -> None:
    first = cli("run", *SIMULATED, "--out", "run", "--resume", "--json")
    second = cli("run", *SIMULATED, "--out", "run", "--resume", "--json")
    assert document(first)["estimates"] == document(second)["estimates"]
    assert second.stderr.count("nothing left to do") == 3
    assert len(document(second)["run"]["sessions"]) == len(document(first)["run"]["sessions"])


def test_killed_at_random_moments_it_ends_where_an_uninterrupted_run_does(cli: Cli, tmp_path: Path) -> None:
    whole = document(cli("run", *SIMULATED, "--out", "whole", "--json"))
    again = ("run", *SIMULATED, "--out", "killed", "--resume", "--json", "--engine-option", "delay=0.002")
    dice = random.Random(0)
    kept: set[Any] = set()
    kills = 0
    while kills < 6:
        child = subprocess.Popen(
            command(*again), cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        store = RunStore(tmp_path / "killed")
        before = len(kept)
        while child.poll() is None and (not store.exists or len(store.keys(Response)) <= before):
            time.sleep(0.1)
        time.sleep(dice.uniform(0, 0.8))
        if child.poll() is None:
            os.kill(child.pid, signal.SIGKILL)
            kills += 1
        child.wait()
        keys = [row.key for row in store.rows(Response)]
        assert len(keys) == len(set(keys)), "a response was drawn twice"
        assert kept <= set(keys), "a finished response was lost"
        kept = set(keys)
        if child.returncode == 0:
            break
    assert kills >= 2, "the run was too short to be killed"
    ended = document(cli(*again))
    assert ended["estimates"] == whole["estimates"]


def test_each_stage_runs_alone(cli: Cli) -> None:
    whole = document(cli("run", *SIMULATED, "--out", "whole", "--json"))
    assert cli("run", *SIMULATED, "--out", "run", "--until", "sample").returncode == 0
    early = cli("estimate", "run")
    assert early.returncode == 2
    assert "no graded responses" in early.stderr
    for stage in ("grade", "verify"):
        assert cli(stage, "run").returncode == 0
    assert document(cli("estimate", "run", "--json"))["estimates"] == whole["estimates"]


def test_a_run_can_grow_but_not_change(tmp_path: Path) -> None:
    out = tmp_path / "run"
    small = {row.key: row for row in execute(config(), out).store.rows(Response)}
    grown = execute(config(n=6, limit=7, verifiers=("yesno", "majority", "likelihood")), out, resume=True)
    rows = {row.key: row for row in grown.store.rows(Response)}
    assert all(rows[key] == row for key, row in small.items())
    assert len(rows) == len({p.task for p in grown.store.rows(Prompt)}) * 7 * 6
    fresh = execute(config(n=6, limit=7), tmp_path / "fresh")
    assert {row.key: row for row in fresh.store.rows(Response)} == rows
    for change in ({"n": 4}, {"limit": 5}, {"seed": 1}, {"temperature": 0.5}, {"verifiers": ("majority",)}):
        with pytest.raises(UserError, match=f"made with {next(iter(change))}="):
            execute(config(**{"n": 6, "limit": 7, **change}), out, resume=True)


def one_task(folder: Path, rows: list[dict[str, str]], **changes: str) -> Path:
    """A suite of one numeric task in a file of its own."""
    task = {"name": "sum", "domain": "arithmetic", "temperature": "1.0"} | changes
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = folder / "one.yaml"
    path.write_text(
        f"name: one\ntitle: sums\ntasks:\n  - name: {task['name']}\n    domain: {task['domain']}\n    title: sums\n"
        "    source: {file: rows.jsonl}\n    question: '{q}'\n    reference: a\n    calibrate: 0\n    grader: numeric\n"
        f"    sampling: {{temperature: {task['temperature']}}}\n"
        "    card: {source: here, licence: CC0-1.0, answer_space: integers, chance: 0.0, limits: none}\n"
    )
    return path


SUMS = [{"q": f"{i} + {i}?", "a": str(2 * i)} for i in range(30)]


@pytest.mark.parametrize("change", [{"temperature": "0.5"}, {"rows": "other answers"}])
def test_a_suite_that_changed_is_not_mixed_into_its_old_run(tmp_path: Path, change: dict[str, str]) -> None:
    suite = one_task(tmp_path, SUMS)
    execute(config(suite=str(suite)), tmp_path / "run")
    manifest = (tmp_path / "run" / "manifest.json").read_text()
    rows = [{**row, "a": str(int(row["a"]) + 1)} for row in SUMS] if change.pop("rows", None) else SUMS
    one_task(tmp_path, rows, **change)
    with pytest.raises(UserError, match="has changed since this run"):
        execute(config(suite=str(suite), n=8, limit=10), tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "manifest.json").read_text() == manifest


def test_another_choice_of_tasks_is_refused_as_that_and_their_order_does_not_count(tmp_path: Path) -> None:
    execute(config(tasks=("capitals", "sums")), tmp_path / "run", upto="sample")
    execute(config(tasks=("sums", "capitals")), tmp_path / "run", upto="sample", resume=True)
    with pytest.raises(UserError, match="made with tasks=sums, capitals and cannot go on with capitals;"):
        execute(config(tasks=("capitals",)), tmp_path / "run", resume=True)
    fewer = config(tasks=("capitals", "sums"), verifiers=("yesno",))
    with pytest.raises(
        UserError, match="made with verifiers=yesno, majority, likelihood and cannot go on with yesno;"
    ):
        execute(fewer, tmp_path / "run", resume=True)


def test_a_process_that_is_refused_leaves_no_trace(tmp_path: Path) -> None:
    run = execute(config(), tmp_path / "run", upto="sample")
    manifest = (run.store.path / "manifest.json").read_text()
    with run.store.writing(), pytest.raises(UserError, match="another process"):
        execute(config(n=8), tmp_path / "run", resume=True)
    assert (run.store.path / "manifest.json").read_text() == manifest


def test_a_bad_engine_option_does_not_spoil_the_directory(cli: Cli) -> None:
    words = ("run", *SIMULATED, "--out", "run", "--resume", "--json")
    for bad in ("scenario=foo", "colour=red", "failures=lots"):
        refused = cli(*words, "--engine-option", bad)
        assert refused.returncode == 2, refused.stderr
        assert len(refused.stderr.strip().splitlines()) == 1, refused.stderr
    assert document(cli(*words))["estimates"]


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    child = subprocess.Popen(
        command("run", *SIMULATED, "--out", "run", "--engine-option", "delay=0.05"),
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    store = RunStore(tmp_path / "run")
    while child.poll() is None and not (store.exists and store.keys(Response)):
        time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    _, told = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "--resume" in told.splitlines()[-1]
    assert "Traceback" not in told
    assert store.keys(Response)


def test_the_curve_reaches_n_when_n_is_no_power_of_two(tmp_path: Path) -> None:
    found = execute(config(n=6), tmp_path / "run").estimate()
    assert {row.n for row in found.where(quantity="pass@k")} == {1, 2, 4, 6}
    assert {row.n for row in found.where(quantity="relative_gap", verifier="yesno")} == {2}


def test_half_a_character_is_stored_as_a_question_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(engines._classes, "scripted", Scripted)
    Scripted.replies = [("2 \ud83d", "stop"), ("2", "stop")]
    run = execute(
        config(suite=str(one_task(tmp_path, SUMS)), engine="scripted", n=2, limit=1, verifiers=("majority",)),
        tmp_path / "run",
    )
    assert [row.text for row in run.store.rows(Response)] == ["2 ?", "2"]


def test_when_every_response_failed_the_failure_is_named(cli: Cli) -> None:
    done = cli("run", *SIMULATED, "--out", "run", "--engine-option", "failures=1")
    assert done.returncode == 2
    assert "every response failed" in done.stderr
    assert "error:" in done.stderr


def test_an_existing_run_is_not_touched_without_resume(tmp_path: Path) -> None:
    execute(config(), tmp_path / "run", upto="sample")
    with pytest.raises(UserError, match="--resume"):
        execute(config(), tmp_path / "run")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("run", "startr"), "did you mean 'starter'"),
        (("run", "starter", "-m", "smollm2-135n"), "smollm2-135m"),
        (("run", "starter", "--engine", "simulatd", "-m", "x"), "did you mean 'simulated'"),
        (("run", "starter", "-V", "yesnoo", "--engine", "simulated"), "did you mean 'yesno'"),
        (("run", "starter", "-n", "0", "--engine", "simulated"), "greater than or equal to 1"),
        (("run", "starter", "-n", "four"), "valid integer"),
        (("run", "starter", "--nope"), "--nope"),
        (("run", "starter", "--until", "lunch", "--engine", "simulated"), "not a stage"),
        (("run", "starter", "--engine", "simulated", "--engine-option", "delay"), "KEY=VALUE"),
        (("run", "starter", "--engine", "simulated", "--engine-option", "color=red"), "color"),
        (("run", "starter", "--engine", "simulated", "--seed", "-1"), "seed"),
        (("run", "starter", "--engine", "simulated", "--temperature", "inf"), "finite"),
        (("run", "starter", "--engine", "simulated", "--engine-option", "x=[1"), "not YAML"),
        (("estimate", "nowhere"), "no run here"),
        (("ls", "fruit"), "there are: suites"),
        (("rum",), "rum"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(cli: Cli, words: tuple[str, ...], told: str) -> None:
    done = cli(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "Traceback" not in done.stderr


class Scripted(Engine):
    """Replies as the test says: text of a prompt's question, or an error."""

    name = "scripted"
    replies: list[tuple[str, str]] = []  # noqa: RUF012 (set by the test)

    def __init__(self, model: str, **options: Any) -> None:
        self.capabilities = Capabilities()
        self.model = ModelInfo(model)

    def run(self, requests: Iterable[Request]) -> Iterator[Result]:
        for request in requests:
            for key, (text, reason) in zip(request.keys, self.replies, strict=False):
                yield Result(key, text, None, len(text), None, reason)


def test_what_a_reply_counts_as(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(engines._classes, "scripted", Scripted)
    suite = tmp_path / "one.yaml"
    (tmp_path / "rows.jsonl").write_text('{"q": "1 + 1?", "a": "2"}\n')
    suite.write_text(
        "name: one\ntitle: one prompt\ntasks:\n  - name: sum\n    domain: arithmetic\n    title: one sum\n"
        "    source: {file: rows.jsonl}\n    question: '{q}'\n    reference: a\n    calibrate: 0\n    grader: numeric\n"
        "    card: {source: here, licence: CC0-1.0, answer_space: integers, chance: 0.0, limits: none}\n"
    )
    Scripted.replies = [
        ("2", "stop"), ("3", "stop"), ("", "stop"), ("hm", "stop"), ("2", "length"), ("", "error:out of memory"),
    ]  # fmt: skip
    run = execute(
        config(suite=str(suite), engine="scripted", model="m", n=6, limit=None, verifiers=("majority",)),
        tmp_path / "run",
    )
    grades = {row.response: (row.utility, row.status) for row in run.store.rows(Grade)}
    assert grades == {
        0: (1.0, "scored"),
        1: (0.0, "scored"),
        2: (0.0, "no_answer"),
        3: (0.0, "no_answer"),
        4: (0.0, "truncated"),
        5: (None, "error:out of memory"),
    }
    panel = run.panels()[0]
    accuracy = run.estimate().where(quantity="accuracy", filter="", task="sum")[0]
    assert accuracy.value == pytest.approx(1 / 5), "an error must leave N, a truncated reply must not"
    assert accuracy.n_responses == 5
    assert "descriptive" in accuracy.flags
    votes = panel.scores["majority"].values[0, :, 0]
    assert votes[:2].tolist() == [0.5, 0.5]
    assert votes[2:5].tolist() == [0.0, 0.0, 0.0], "no answer is no vote, and nobody agrees with it"
    assert votes[5] != votes[5], "an error leaves the pool"


class Broken(Grader):
    """A plug-in with a bug."""

    name = "broken"

    def grade(self, prompt: Prompt, text: str) -> Graded:
        raise ZeroDivisionError("bug")


def test_a_grader_that_breaks_costs_its_rows_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = execute(config(), tmp_path / "run", upto="sample")
    monkeypatch.setattr(run, "graders", lambda: dict.fromkeys(run.manifest["tasks"], Broken()))
    run.advance(only="grade")
    assert {row.status for row in run.store.rows(Grade)} == {"error:grader ZeroDivisionError: bug"}
    assert all(row.utility is None for row in run.store.rows(Grade))


def test_an_engine_that_cannot_give_what_a_verifier_needs_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(engines._classes, "scripted", Scripted)
    with pytest.raises(UserError, match="'yesno' needs labels"):
        execute(config(engine="scripted", verifiers=("yesno",)), tmp_path / "run")
    assert not RunStore(tmp_path / "run").keys(Response), "refused only after model time was spent"


def test_the_manifest_says_how_to_repeat_the_run(tmp_path: Path) -> None:
    manifest = Run(execute(config(seed=3), tmp_path / "run").store.path).manifest
    assert RunConfig.model_validate(manifest["config"]) == config(seed=3)
    assert manifest["suite"]["digest"]
    assert manifest["engine"]["model"]["id"]
    assert manifest["hardware"]["cores"]
    assert [session["stage"] for session in manifest["sessions"]] == ["sample", "grade", "verify"]
    assert all(session["seconds"] >= 0 and session["rows"] for session in manifest["sessions"])


def test_analysis_needs_no_torch() -> None:
    probe = (
        "import sys; import gapbench.cli, gapbench.run, gapbench.estimate.table; "
        "sys.exit(bool({'torch', 'transformers', 'vllm', 'datasets', 'reasoning_gym'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", probe]).returncode == 0


def test_registries_find_what_is_filed() -> None:
    assert {"exact", "numeric", "choice", "math", "procedural"} <= set(graders.names())
    assert {"transformers", "simulated"} <= set(engines.names())
