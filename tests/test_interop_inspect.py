"""Logs of Inspect: epochs are repeats, scorers are the truth or a verifier, and what goes out is read by Inspect itself."""

from __future__ import annotations

import json
import math
import re
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gapbench.cli.interchange import import_
from gapbench.errors import UserError
from gapbench.interop.export import export_run
from gapbench.interop.inspect_export import export_inspect
from gapbench.interop.inspect_logs import read_inspect
from gapbench.interop.into_run import ImportedLog, import_log
from gapbench.interop.lm_eval import read_lm_eval
from gapbench.interop.logs import Log, LoggedPrompt, LoggedTask
from gapbench.records import SCORED, TRUNCATED, Grade, Message, Prompt, Response
from gapbench.run import Run
from tests.conftest import Cli
from tests.interop import LOGS, assert_same_estimates, assert_same_rows, panel_of, rows, simulated

log_api = pytest.importorskip(
    "inspect_ai.log", reason="inspect-ai is not installed: pip install 'gapbench[inspect]'"
)

ModelOutput = pytest.importorskip("inspect_ai.model").ModelOutput

REAL = LOGS / "inspect"
(FILE,) = REAL.glob("*.eval")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> ImportedLog:
    log = read_inspect(REAL, utility="includes", verdicts=["selfcheck"])
    return import_log(log, tmp_path_factory.mktemp("inspect") / "run")


def test_epochs_are_repeats_and_scorers_are_truth_and_verifier(real: ImportedLog) -> None:
    logged = log_api.read_eval_log(str(FILE))
    assert (real.prompts, real.responses) == (10, 40)
    found = {(r["prompt_id"], r["response"]): r for r in real.run.store.read("responses").to_pylist()}
    grades = {(r["prompt_id"], r["response"]): r for r in real.run.store.read("grades").to_pylist()}
    verdicts = {(r["prompt_id"], r["response"]): r for r in real.run.store.read("verdicts").to_pylist()}
    assert {row["verifier"] for row in verdicts.values()} == {"selfcheck"}
    for sample in logged.samples:
        key = sample.id, sample.epoch - 1
        assert found[key]["text"] == sample.output.completion
        assert grades[key]["utility"] == float(sample.scores["includes"].value == "C")
        score = sample.scores["selfcheck"].value
        assert verdicts[key]["score"] == (None if math.isnan(score) else score)
        assert verdicts[key]["status"] == ("unparsed" if math.isnan(score) else "scored")
    assert 0 < panel_of(real.run, "capitals").utility.mean() < 1


def test_a_stop_reason_that_is_unknown_stays_unknown(real: ImportedLog) -> None:
    assert {s.output.stop_reason for s in log_api.read_eval_log(str(FILE)).samples} == {"unknown"}
    assert set(real.run.store.read("responses")["finish_reason"].to_pylist()) == {"unknown"}
    assert real.flags["ending_unknown"] == 40


def test_the_conversation_is_what_the_model_was_shown(real: ImportedLog) -> None:
    (first, *_) = real.run.store.read("prompts").to_pylist()
    assert [turn["role"] for turn in first["messages"]] == ["system", "user"]
    assert first["messages"][1]["content"] == "What is the capital of France?"
    assert first["reference"] == ["Paris"]


def test_a_grader_of_ours_can_grade_anew(tmp_path: Path, real: ImportedLog) -> None:
    log = read_inspect(FILE, verdicts=["selfcheck"], graded=True)
    done = import_log(log, tmp_path / "run", graders=["exact"])
    assert done.graders == {"capitals": "exact"}
    ours, theirs = (panel_of(one.run, "capitals").utility for one in (done, real))
    assert (ours <= theirs).all(), "includes() takes any mention for an answer, exact only an answer"


def test_which_scorer_is_the_truth_must_be_said_where_there_are_several(tmp_path: Path) -> None:
    several = "which scorer tells what is right? there are: includes, selfcheck; name it with --utility"
    for options, why in [
        ({}, several),
        ({"utility": "include"}, "no scorer is called 'include'; did you mean 'includes'?"),
        ({"verdict": ["includes", "selfcheck"]}, "which scorer tells what is right? name it with"),
        ({"verdict": ["self"]}, "no scorer is called 'self'"),
    ]:
        with pytest.raises(UserError, match=re.escape(why)):
            import_(FILE, source="inspect", out=tmp_path / "run", **options)  # type: ignore[arg-type]


def test_from_the_command_line_to_a_gap(cli: Cli, tmp_path: Path) -> None:
    words = ["--from", "inspect", "--verdict", "selfcheck", "--threshold", "selfcheck=0.7"]
    done = cli("import", FILE, *words, "--out", "run")
    assert done.returncode == 0, done.stderr
    run = Run(tmp_path / "run")
    assert run.manifest["verifiers"]["selfcheck"] == {
        "scale": "probability",
        "threshold": 0.7,
        "whole_pool": False,
    }
    assert any(one.verifier == "selfcheck" and one.quantity == "gap" for one in run.estimate())


def test_import_export_import_is_the_same_run(real: ImportedLog, tmp_path: Path) -> None:
    export_run(real.run, "inspect", tmp_path / "out")
    again = import_log(read_inspect(tmp_path / "out"), tmp_path / "again")
    for table in ("prompts", "responses", "grades", "verdicts"):
        assert rows(again.run, table) == rows(real.run, table)
    assert_same_estimates(again.run, real.run)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return simulated(tmp_path_factory.mktemp("simulated") / "run")


def test_a_run_with_verifiers_goes_out_and_comes_back(made: Run, tmp_path: Path) -> None:
    done = export_run(made, "inspect", tmp_path / "out")
    again = import_log(read_inspect(tmp_path / "out"), tmp_path / "again")
    for table in ("prompts", "responses", "grades"):
        assert rows(again.run, table) == rows(made, table)
    assert_same_estimates(again.run, made)
    assert len(log_api.list_eval_logs(str(tmp_path / "out"))) == len(done.files) == 2
    for path in done.files:
        log = log_api.read_eval_log(str(path))
        assert log.status == "success"
        panel = panel_of(made, log.eval.task)
        for sample in log.samples:
            utility = sample.scores["utility"].value
            wanted = panel.utility[panel.prompt_ids.index(sample.id), sample.epoch - 1]
            assert utility == pytest.approx(wanted, nan_ok=True)
            assert sample.output.stop_reason in ("stop", "max_tokens", "unknown")
            assert set(sample.scores) <= {"utility", "yesno", "majority", "cot-binary"}


def test_both_ways_at_once(made: Run, tmp_path: Path) -> None:
    """From one tool's format into the other's and back."""
    export_run(made, "lm-eval", tmp_path / "first")
    one = import_log(read_lm_eval(tmp_path / "first"), tmp_path / "one").run
    export_run(one, "inspect", tmp_path / "second")
    two = import_log(read_inspect(tmp_path / "second"), tmp_path / "two").run
    for table in ("prompts", "responses", "grades", "verdicts"):
        assert rows(two, table) == rows(one, table)
    assert_same_estimates(two, made)


ODD = LOGS / "inspect_odd" / "odd.eval"


def test_a_limit_cuts_what_it_halts_and_names_like_paths_stay_inside(tmp_path: Path) -> None:
    halted = log_api.read_eval_log(str(ODD)).samples
    assert {(one.limit.type, len(one.output.choices)) for one in halted} == {("token", 0)}
    done = import_log(read_inspect(ODD, utility="match", verdicts=["includes"]), tmp_path / "run")
    assert (done.prompts, done.statuses) == (3, {TRUNCATED: 12})
    assert panel_of(done.run, "dir/../odd name ü").utility.sum() == 0
    (path,) = export_run(done.run, "inspect", tmp_path / "out").files
    assert path.parent == tmp_path / "out"
    with zipfile.ZipFile(path) as archive:
        assert not any(".." in name.split("/") for name in archive.namelist())
    again = import_log(read_inspect(path), tmp_path / "again")
    assert_same_rows(again.run, done.run)
    assert_same_estimates(again.run, done.run)


def test_a_log_written_piece_by_piece_reads_as_one_that_inspect_wrote(made: Run, tmp_path: Path) -> None:
    for number, path in enumerate(export_run(made, "inspect", tmp_path / "out").files):
        theirs = str(tmp_path / f"{number}.eval")
        log_api.write_eval_log(log_api.read_eval_log(str(path)), theirs)
        ours, wanted = (
            log_api.read_eval_log(one).model_dump_json(exclude={"location"}) for one in (str(path), theirs)
        )
        assert ours == wanted
        told = [
            sorted(one.model_dump_json() for one in log_api.read_eval_log_sample_summaries(file))
            for file in (str(path), theirs)
        ]
        assert told[0] == told[1]
        assert len(told[0]) == len(list(log_api.read_eval_log_samples(str(path)))) == 24


def test_memory_does_not_grow_with_the_number_of_samples(tmp_path: Path) -> None:
    def prompts() -> Iterator[LoggedPrompt]:
        for number in range(60):
            prompt = Prompt("t", f"p{number}", "d", (Message("user", "?"),), ("x",))
            drawn = Response("t", prompt.prompt_id, 0, "x" * 1_000_000, None, 1, None, "stop", None)
            grade = Grade("t", prompt.prompt_id, 0, "x", "x", 1.0, SCORED)
            yield LoggedPrompt(prompt, "?", [drawn], [grade])

    log = Log("run", [tmp_path], "m", [LoggedTask("t", "d", prompts())])
    tracemalloc.start()
    try:
        (path,) = export_inspect(log, tmp_path / "out").files
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 30_000_000, "60 MB of text went by"
    assert log_api.read_eval_log(str(path), header_only=True).results.total_samples == 60


def test_a_log_of_any_name_is_read(tmp_path: Path) -> None:
    renamed = tmp_path / "log.zip"
    renamed.write_bytes(FILE.read_bytes())
    (task,) = read_inspect(renamed, utility="includes").tasks
    assert task.name == "capitals"


def written(tmp_path: Path, change: Callable[[Any], object]) -> Path:
    log = log_api.read_eval_log(str(FILE))
    change(log)
    path = tmp_path / "changed.eval"
    log_api.write_eval_log(log, str(path))
    return path


def test_what_was_cut_or_failed_is_not_complete(tmp_path: Path) -> None:
    def change(log: Any) -> None:
        log.status = "cancelled"
        first, second, third, fourth, *_ = log.samples
        first.output.choices[0].stop_reason = "max_tokens"
        second.limit = log_api.EvalSampleLimit(type="token", limit=5)
        third.error = log_api.EvalError(message="out of\nmemory", traceback="", traceback_ansi="")
        fourth.scores["includes"].value = "N"

    path = written(tmp_path, change)
    done = import_log(read_inspect(path, utility="includes"), tmp_path / "run")
    assert done.statuses[TRUNCATED] == 2
    assert done.statuses["error:out of memory"] == 1
    assert done.statuses["no_answer"] == 1
    assert done.flags["log_unfinished"] == 1
    assert panel_of(done.run, "capitals").censored.sum() == 3
    export_run(done.run, "inspect", tmp_path / "out")
    again = import_log(read_inspect(tmp_path / "out"), tmp_path / "again")
    assert rows(again.run, "grades") == rows(done.run, "grades")
    assert_same_estimates(again.run, done.run)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda log: log.samples[3].scores["includes"].__dict__.update(value="?"), "gave '?', which is no number"),
        (lambda log: log.samples[3].scores["includes"].__dict__.update(value=7), "gave 7; a utility lies in [0, 1]"),
        (lambda log: log.samples[3].scores["includes"].__dict__.update(value={"a": 1}), "gives several numbers at once"),
        (lambda log: log.samples[3].scores["includes"].__dict__.update(value=10**400), "infinite"),
        (lambda log: log.samples[3].__dict__.update(metadata={"gapbench": {"task": 3}}), "task: input should be"),
        (lambda log: setattr(log.samples[3], "epoch", 0), "epochs are counted from 1"),
        (lambda log: setattr(log.samples[3], "epoch", 10**9), "has a response number 999,999,999"),
        (lambda log: log.samples.clear(), "holds no samples"),
    ],
)  # fmt: skip
def test_a_sample_at_fault_is_named(tmp_path: Path, change: Callable[[Any], object], why: str) -> None:
    path = written(tmp_path, change)
    with pytest.raises(UserError) as told:
        import_log(read_inspect(path, utility="includes"), tmp_path / "run")
    assert why in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"PK\x03\x04" + bytes(100)),
        lambda path: path.write_bytes(FILE.read_bytes()[:2000]),
        lambda path: path.write_bytes(b'{"version": 2, "status": "suc'),
        lambda path: zipfile.ZipFile(path, "w").close(),
    ],
)
@pytest.mark.parametrize("suffix", [".eval", ".json"])
def test_a_file_at_fault_gives_one_line(tmp_path: Path, spoil: Callable[[Path], object], suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    spoil(path)
    with pytest.raises(UserError, match=r"inspect cannot read it as a log|holds no samples") as told:
        read_inspect(path)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("value", [None, 3, [], "x", {"id": 1}])
@pytest.mark.parametrize("field", ["samples", "eval", "status", "version"])
def test_wrong_types_give_one_line(tmp_path: Path, field: str, value: Any) -> None:
    document = json.loads(log_api.read_eval_log(str(FILE)).model_dump_json()) | {field: value}
    path = tmp_path / "x.json"
    path.write_text(json.dumps(document))
    if (field, value) in (("version", None), ("version", 3)):
        return  # Inspect reads what it can of a later version
    with pytest.raises(UserError) as told:
        read_inspect(path, utility="includes")
    assert "\n" not in str(told.value)


def test_hostile_text_is_data(tmp_path: Path) -> None:
    hostile = "\x1b[31m<script>alert(1)</script>\u202e" + "x" * 1_000_000

    def change(log: Any) -> None:
        log.samples[0].output = ModelOutput.from_content("x", hostile)

    done = import_log(read_inspect(written(tmp_path, change), utility="includes"), tmp_path / "run")
    assert hostile in done.run.store.read("responses")["text"].to_pylist()


def test_a_folder_must_hold_one_log_of_each_task_and_one_model(tmp_path: Path) -> None:
    (tmp_path / "a.eval").write_bytes(FILE.read_bytes())
    (tmp_path / "b.eval").write_bytes(FILE.read_bytes())
    with pytest.raises(UserError, match="task 'capitals' is in another log of the folder too"):
        read_inspect(tmp_path, utility="includes")
    log = log_api.read_eval_log(str(FILE))
    log.eval.task, log.eval.model = "more", "other"
    log_api.write_eval_log(log, str(tmp_path / "b.eval"))
    with pytest.raises(UserError, match="holds logs of several models"):
        read_inspect(tmp_path, utility="includes")
    assert len(read_inspect(tmp_path, utility="includes", model="both").tasks) == 2
