"""Engines that fail amid a run, each in its own way: a clear stop, nothing lost, and the run goes on."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gapbench.errors import EngineFailure, UserError
from gapbench.records import ROWS, Comparison, Grade, Response, Verdict, is_error
from gapbench.run import Run, RunConfig, execute
from gapbench.stages import flow, watchdog
from gapbench.stages.watchdog import STALL_SECONDS, Watchdog, stall_seconds
from gapbench.store import RunStore
from tests.sittings import FAULT, Server

TABLES = (Response, Grade, Verdict, Comparison)
WORDS = ("starter", "--engine", "faulty", "-m", "simulated", "-n", "4", "--limit", "4", "--task", "capitals", "--task", "sums")  # fmt: skip


def config(**changes: Any) -> RunConfig:
    base: dict[str, Any] = {
        "suite": "starter", "model": "simulated", "engine": "faulty", "n": 4, "limit": 4, "verdicts": 2,
        "tasks": ("capitals", "sums"), "verifiers": ("yesno", "cot-binary", "tournament", "majority"),
    }  # fmt: skip
    return RunConfig(**base | changes)


def rows(path: Path) -> dict[str, list[Any]]:
    store = RunStore(path)
    return {kind.table: sorted(store.rows(kind), key=lambda row: row.key) for kind in TABLES}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """The rows of a run in which nothing went wrong."""
    path = tmp_path_factory.mktemp("whole") / "run"
    execute(config(), path)
    return rows(path)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("sittings")) as started:
        yield started


def assert_resumed(path: Path, whole: dict[str, list[Any]], before: dict[str, list[Any]]) -> None:
    """Going on keeps every row and ends where a run without a fault does."""
    execute(config(), path, resume=True)
    after = rows(path)
    assert after == whole
    for table, kept in before.items():
        assert all(row in after[table] for row in kept)


# ---- engines that break


@pytest.mark.parametrize("after", [0, 60])
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("oom", "the engine broke (OutOfMemoryError: CUDA out of memory.; more in "),
        ("memory", "the engine broke (MemoryError: without a word; more in "),
        ("full", "the engine broke (OSError: [Errno 28] No space left on device; more in "),
        ("unknown", "which it was not asked for or had given before"),
        ("other-task", "which it was not asked for or had given before"),
        ("no-key", "under (), which it was not asked for or had given before"),
        ("twice", "which it was not asked for or had given before"),
        ("early", "the engine ended and owes "),
    ],
)
def test_a_broken_engine_is_a_clear_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, list[Any]], fault: str, after: int, said: str
) -> None:  # fmt: skip
    monkeypatch.setenv(FAULT, f"{fault}:{after}")
    monkeypatch.setattr(flow, "BURST", 16)
    with pytest.raises(EngineFailure) as failure:
        execute(config(), tmp_path / "run")
    told = str(failure.value)
    assert said in told
    assert told.endswith("every finished row is kept, go on with the same command and --resume")
    assert "\n" not in told
    kept = rows(tmp_path / "run")
    drawn = len(kept["responses"]) + len(kept["verdicts"]) + len(kept["comparisons"])
    assert drawn == after + (fault == "twice"), "what the engine had given is on the disk, once"
    if fault in ("oom", "memory"):
        text = (tmp_path / "run" / flow.FAILURE_FILE).read_text()
        assert "Traceback" in text
        assert {"oom": "Tried to allocate 7 GiB", "memory": "MemoryError"}[fault] in text
    monkeypatch.delenv(FAULT)
    assert_resumed(tmp_path / "run", whole, kept)


def test_a_model_that_does_not_fit_is_a_clear_stop(server: Server) -> None:
    done = server.run("run", *WORDS, "--out", "start", **{FAULT: "start"})
    assert done.code == 1
    (line,) = done.stderr.strip().splitlines()
    assert (
        "the engine broke (OutOfMemoryError: CUDA out of memory.; more in start/engine-failure.txt)" in line
    )
    assert server.run("run", *WORDS, "--out", "start", "--resume").code == 0


def test_on_the_command_line_it_is_one_line_and_exit_code_1(server: Server) -> None:
    done = server.run("run", *WORDS, "--out", "oom", "--json", **{FAULT: "oom:20"})
    assert done.code == 1
    assert done.stdout == ""
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("gapbench: the engine broke (OutOfMemoryError: CUDA out of memory.; more in oom/")
    assert "Traceback" not in done.stderr
    assert RunStore(server.folder / "oom").count("responses") == 20


def test_a_full_disk_is_not_called_the_engine_s_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, list[Any]]
) -> None:
    def full(descriptor: int) -> None:
        if len(calls) > 8:
            raise OSError(28, "No space left on device")
        calls.append(descriptor)
        fsync(descriptor)

    calls: list[int] = []
    fsync = os.fsync
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left on device"):
            execute(config(engine_options={"delay": 0.02}), tmp_path / "run")
    kept = rows(tmp_path / "run")
    execute(config(engine_options={"delay": 0.02}), tmp_path / "run", resume=True)
    after = rows(tmp_path / "run")
    assert after == whole
    assert sum(map(len, kept.values())) < sum(map(len, after.values()))
    for table in kept:
        assert all(row in after[table] for row in kept[table])


def test_an_engine_that_keeps_a_result_to_itself_is_stopped(server: Server) -> None:
    """It goes on asking for work while it holds nothing, which it never may."""
    done = server.run("run", *WORDS, "--out", "kept", GAPBENCH_STALL="3", **{FAULT: "all-but:9"})
    assert done.code == 1
    assert "gave nothing for 3 s" in done.stderr.strip().splitlines()[-1]
    assert server.run("run", *WORDS, "--out", "kept", "--resume").code == 0
    assert RunStore(server.folder / "kept").count("responses") == 32


def test_a_model_that_emits_nothing_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FAULT, "empty")
    run = execute(config(), tmp_path / "run")
    assert {row.text for row in run.store.rows(Response)} == {""}
    assert {(row.utility, row.status) for row in run.store.rows(Grade)} == {(0.0, "no_answer")}
    assert run.store.rows(Verdict) == run.store.rows(Comparison) == []
    (accuracy,) = run.estimate().where(quantity="accuracy", filter="", domain="factual", task="capitals")
    assert accuracy.value == 0.0
    assert accuracy.n_responses == 16


class TornVerifier(Exception):
    """A plug-in's bug."""


def test_a_verifier_that_breaks_costs_its_rows_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gapbench.verifiers.cot_binary import CotBinary
    from gapbench.verifiers.tool import Tool

    def broken(*_: object) -> None:
        raise TornVerifier("torn\nin two")

    monkeypatch.setattr(CotBinary, "parse", broken)
    monkeypatch.setattr(Tool, "check", broken)
    monkeypatch.setattr(Tool, "applies", lambda self, prompt: True)
    run = execute(config(verifiers=("cot-binary", "tool", "yesno")), tmp_path / "run")
    statuses = {(row.verifier, row.status) for row in run.store.rows(Verdict)}
    broke = "error:verifier TornVerifier: torn in two"
    assert statuses == {("cot-binary", broke), ("tool", broke), ("yesno", "scored")}


# ---- engines that hang


@pytest.mark.parametrize("after", [0, 45])
def test_an_engine_that_sleeps_is_woken(server: Server, after: int) -> None:
    out = f"sleep{after}"
    done = server.run("run", *WORDS, "--out", out, GAPBENCH_STALL="3", **{FAULT: f"sleep:{after}"})
    assert done.code == 1
    line = done.stderr.strip().splitlines()[-1]
    assert line == (
        "gapbench: the engine gave nothing for 3 s; every finished row is kept, go on with the same command and --resume, "
        "or allow it more time with GAPBENCH_STALL"
    )
    store = RunStore(server.folder / out)
    assert store.count("responses") + store.count("verdicts") == after
    assert not list(server.folder.glob(f"{out}/*/*.arrows")), "it ended in order"
    assert server.run("run", *WORDS, "--out", out, "--resume").code == 0


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["deaf", "blocked"])
def test_an_engine_that_cannot_be_woken_is_left_with_what_is_finished(server: Server, fault: str) -> None:
    began = time.monotonic()
    done = server.run("run", *WORDS, "--out", fault, GAPBENCH_STALL="3", **{FAULT: f"{fault}:20"})
    assert time.monotonic() - began > 20, "it is given a while to end in order"
    assert done.code == 1
    assert "gave nothing for 3 s" in done.stderr.strip().splitlines()[-1]
    before = {row.key: row for row in RunStore(server.folder / fault).rows(Response)}
    assert len(before) == 20
    assert server.run("run", *WORDS, "--out", fault, "--resume").code == 0
    after = {row.key: row for row in RunStore(server.folder / fault).rows(Response)}
    assert len(after) == 32
    assert after | before == after


@pytest.mark.parametrize("said", ["-1", "soon", "nan", "inf", "1e999", "10 s", " "])
def test_a_wrong_number_of_seconds_is_one_line_before_any_model_time(server: Server, said: str) -> None:
    out = f"wrong{said!r}"
    done = server.run("run", *WORDS, "--out", out, GAPBENCH_STALL=said, **{FAULT: "start"})
    assert done.code == 2
    (line,) = done.stderr.strip().splitlines()
    assert (
        line
        == f"gapbench: GAPBENCH_STALL={said}: give the seconds an engine may be silent, or 0 for no limit"
    )
    assert RunStore(server.folder / out).count("responses") == 0


def test_seconds_that_are_no_limit_or_not_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for said, seconds in (("", STALL_SECONDS), ("0", 0.0), ("2.5", 2.5)):
        monkeypatch.setenv(watchdog.VARIABLE, said)
        assert stall_seconds() == seconds
    monkeypatch.setenv(watchdog.VARIABLE, "-0.5")
    with pytest.raises(UserError):
        stall_seconds()


def test_an_engine_that_speaks_now_and_then_is_left_alone() -> None:
    watched = Watchdog(lambda: None, 0.4)
    with watched:
        for _ in range(8):
            time.sleep(0.1)
            watched.heard()
    assert not watched.fired


def test_it_wakes_the_main_thread_once_and_only_while_it_watches() -> None:
    watched = Watchdog(lambda: None, 0.2)
    with pytest.raises(KeyboardInterrupt), watched:
        time.sleep(30)
    assert watched.fired
    time.sleep(0.5)
    assert threading.active_count() == len(threading.enumerate())
    idle = Watchdog(lambda: None, 0.0)
    with idle:
        time.sleep(0.3)
    assert not idle.fired


def test_a_disk_that_refuses_does_not_keep_a_hung_process(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []

    def leave(code: int) -> None:
        ended.append(code)
        raise SystemExit

    def refuse() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(watchdog, "_GRACE_SECONDS", 0.1)
    monkeypatch.setattr(watchdog.os, "_exit", leave)
    with Watchdog(refuse, 0.1):
        with pytest.raises(KeyboardInterrupt):
            time.sleep(30)
        time.sleep(0.5)
    assert ended == [1]


def test_only_the_main_thread_is_watched() -> None:
    watched = Watchdog(lambda: None, 0.1)

    def work() -> None:
        with watched:
            time.sleep(0.5)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not watched.fired


# ---- prompts that are too long


@pytest.mark.model
def test_a_prompt_over_the_context_is_an_error_row_and_the_run_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "rows.jsonl").write_text(
        '{"q": "1 + 1?", "a": "2"}\n{"q": "' + "again and " * 9_000 + '1 + 1?", "a": "2"}\n'
    )
    (tmp_path / "one.yaml").write_text(
        "name: one\ntitle: sums\ntasks:\n  - name: sum\n    domain: arithmetic\n    title: sums\n"
        "    source: {file: rows.jsonl}\n    question: '{q}'\n    reference: a\n    calibrate: 0\n    grader: numeric\n"
        "    card: {source: here, licence: CC0-1.0, answer_space: integers, chance: 0.0, limits: none}\n"
    )
    own = RunConfig(
        suite=str(tmp_path / "one.yaml"), model="smollm2-135m", n=2, verifiers=("yesno", "majority")
    )
    run = execute(own, tmp_path / "run")
    responses = run.store.rows(Response)
    failed = [row for row in responses if is_error(row.finish_reason)]
    assert len(responses) == 4
    assert len(failed) == 2
    assert len({row.prompt_id for row in failed}) == 1
    assert all(row.text == "" and "context" in row.finish_reason for row in failed)
    lost = {(row.prompt_id, row.response) for row in failed}
    for grade in run.store.rows(Grade):
        assert is_error(grade.status) == ((grade.prompt_id, grade.response) in lost)
        assert (grade.utility is None) == is_error(grade.status)
    assert not lost & {(row.prompt_id, row.response) for row in run.store.rows(Verdict)}
    before = rows(tmp_path / "run")
    execute(own, tmp_path / "run", resume=True)
    assert rows(tmp_path / "run") == before
    assert set(ROWS) >= {kind.table for kind in TABLES}
    assert Run(tmp_path / "run").estimate().where(quantity="accuracy", filter="")
