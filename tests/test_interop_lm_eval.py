"""Samples of lm-evaluation-harness: a real log is regraded, what comes in goes out again, and a bad line is named."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import load_dataset

from gapbench.cli.interchange import import_
from gapbench.errors import UserError
from gapbench.interop.export import export_run
from gapbench.interop.into_run import ImportedLog, import_log
from gapbench.interop.lm_eval import read_lm_eval
from gapbench.panel import build_panels
from gapbench.run import Run
from gapbench.verifiers.base import PoolVerifier
from gapbench.verifiers.likelihood import Likelihood
from gapbench.verifiers.likelihood_sum import LikelihoodSum
from gapbench.verifiers.majority import Majority
from tests.conftest import Cli, document
from tests.interop import LOGS, assert_same_estimates, assert_same_rows, panel_of, rows, simulated

REAL = LOGS / "lm_eval"
SUMS = next(REAL.rglob("samples_sums_*.jsonl"))


def imported(path: Path, out: Path, **options: Any) -> ImportedLog:
    return import_log(read_lm_eval(path), out, **options)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> ImportedLog:
    return imported(REAL, tmp_path_factory.mktemp("lm") / "run")


def samples(path: Path) -> list[dict[str, Any]]:
    with path.open(
        encoding="utf-8"
    ) as file:  # whose lines end at a line feed only; a real log has U+2028 in a text
        return [json.loads(line) for line in file]


def test_repeats_become_responses_each_graded_by_itself(real: ImportedLog) -> None:
    assert (real.prompts, real.responses) == (24, 96)
    assert dict(real.graders) == {"capitals": "exact", "sums": "numeric"}
    assert real.run.model == "smollm2-135m"
    logged = samples(SUMS)
    texts = {
        (str(one["doc_id"]), place): text for one in logged for place, text in enumerate(one["resps"][0])
    }
    found = real.run.store.read("responses").to_pylist()
    assert {(r["prompt_id"], r["response"]): r["text"] for r in found if r["task"] == "sums"} == texts
    assert all(one["exact_match"] == 0 for one in logged), "what the harness made of them"
    panel = panel_of(real.run, "sums")
    wanted = [[float(text.strip() == one["target"]) for text in one["resps"][0]] for one in logged]
    right = np.array(wanted) == 1
    assert right.any()
    assert (panel.utility[right] == 1).all()
    assert panel.utility.mean() < 0.5


def test_an_ending_that_is_not_logged_is_unknown_and_not_complete(real: ImportedLog) -> None:
    assert set(real.run.store.read("responses")["finish_reason"].to_pylist()) == {"unknown"}
    assert real.flags["ending_unknown"] == 96
    assert not any(panel.censored.any() for panel in real.run.panels())


def test_examples_are_part_of_the_prompt_and_not_of_the_question(real: ImportedLog) -> None:
    (task,) = (one for one in read_lm_eval(SUMS).tasks)
    first = next(iter(task.prompts))
    assert first.question == "What is 2 + 3?"
    assert first.prompt.question.startswith("Q: What is 3 + 6?")
    assert first.prompt.reference == ("5",)


def test_the_gap_of_an_old_log_needs_no_new_sampling(cli: Cli, tmp_path: Path) -> None:
    done = cli("import", REAL, "--from", "lm-eval", "--out", "run")
    assert done.returncode == 0, done.stderr
    assert "task sums: graded by numeric" in done.stderr
    found = document(cli("estimate", "run", "--json"))["estimates"]
    gap = next(
        row for row in found
        if (row["task"], row["quantity"], row["filter"]) == ("capitals", "gap", "majority@4")
    )  # fmt: skip
    assert gap["value"] > 0.1
    refused = cli("verify", "run")
    assert refused.returncode == 2
    assert "imported from" in refused.stderr


def test_import_export_import_is_the_same_run(real: ImportedLog, tmp_path: Path) -> None:
    export_run(real.run, "lm-eval", tmp_path / "out")
    again = imported(tmp_path / "out", tmp_path / "again")
    assert set(again.graders.values()) == {"as recorded"}
    for table in ("prompts", "responses", "grades", "verdicts"):
        assert rows(again.run, table) == rows(real.run, table)
    assert_same_estimates(again.run, real.run)


def test_several_filters_and_a_chat_template_with_repeats(tmp_path: Path) -> None:
    done = imported(LOGS / "lm_eval_chat", tmp_path / "run")
    (file,) = (LOGS / "lm_eval_chat").rglob("samples_*.jsonl")
    logged = samples(file)
    assert (len(logged), {one["filter"] for one in logged}) == (12, {"first", "maj"})
    assert (done.prompts, done.responses) == (6, 18)
    texts = {row["text"] for row in done.run.store.read("responses").to_pylist()}
    assert texts == {text for one in logged for text in one["resps"][0]}
    questions = {next(iter(task.prompts)).question for task in read_lm_eval(file).tasks}
    assert questions == {"Opposite of hot?"}, "the examples before it are not part of it"
    export_run(done.run, "lm-eval", tmp_path / "out")
    again = imported(tmp_path / "out", tmp_path / "again")
    assert_same_rows(again.run, done.run)
    assert_same_estimates(again.run, done.run)


def test_a_model_from_a_folder_is_called_what_the_folder_is(tmp_path: Path) -> None:
    shutil.copytree(REAL, tmp_path / "logs")
    (results,) = (tmp_path / "logs").rglob("results_*.json")
    results.write_text(json.dumps(json.loads(results.read_text()) | {"model_name": "/home/me/models/tiny"}))
    assert read_lm_eval(tmp_path / "logs").model == "tiny"


def test_verifiers_that_need_lengths_do_without(real: ImportedLog) -> None:
    pools: list[PoolVerifier] = [Majority(), Likelihood(), LikelihoodSum()]
    for panel in build_panels(real.run.store, pools):
        assert set(panel.scores) == {"majority", "likelihood", "likelihood-sum"}
        assert not np.isnan(panel.scores["majority"].mean).all()
        assert np.isnan(panel.scores["likelihood"].mean).all()
        assert np.isnan(panel.scores["likelihood-sum"].mean).all()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return simulated(tmp_path_factory.mktemp("simulated") / "run")


def test_a_run_with_verifiers_goes_out_and_comes_back(made: Run, tmp_path: Path) -> None:
    done = export_run(made, "lm-eval", tmp_path / "out")
    again = imported(tmp_path / "out", tmp_path / "again")
    for table in ("prompts", "responses", "grades"):
        assert rows(again.run, table) == rows(made, table)
    stored = [row for row in rows(again.run, "verdicts") if row[3] != '"majority"']
    assert stored == rows(made, "verdicts")
    assert_same_estimates(again.run, made)
    assert {path.suffix for path in done.files} == {".jsonl", ".json"}


def test_what_is_written_reads_as_the_harness_reads_its_own(made: Run, tmp_path: Path) -> None:
    done = export_run(made, "lm-eval", tmp_path / "out")
    written = [path for path in done.files if path.suffix == ".jsonl"]
    table = load_dataset(
        "json", data_files=[str(path) for path in written], split="train", cache_dir=str(tmp_path)
    )
    assert len(table) == 12
    assert {
        "doc_id",
        "doc",
        "target",
        "arguments",
        "resps",
        "filtered_resps",
        "filter",
        "metrics",
        "doc_hash",
    } <= set(table.column_names)
    real_keys = set(samples(SUMS)[0]) - {"exact_match"}
    assert real_keys <= set(table.column_names)
    utils = pytest.importorskip("lm_eval.utils", reason="lm-eval is not installed")
    named = utils.get_sample_results_filenames([str(path) for path in done.files])
    assert {utils.get_file_task_name(Path(name).name) for name in named} == {"sums", "capitals"}


def test_the_user_says_which_grader(tmp_path: Path) -> None:
    done = imported(REAL, tmp_path / "run", graders=["sums=exact"])
    assert done.graders["sums"] == "exact"
    with pytest.raises(
        UserError, match=r"--grader sum=exact: the log has no such task; did you mean 'sums'\?"
    ):
        imported(REAL, tmp_path / "other", graders=["sum=exact"])
    with pytest.raises(UserError, match="unknown grader 'numerik'"):
        imported(REAL, tmp_path / "other", graders=["numerik"])
    with pytest.raises(
        UserError, match=r"task 'capitals': grader 'numeric' cannot be used on it .*--grader NAME"
    ):
        imported(REAL, tmp_path / "other", graders=["numeric"])
    assert not (tmp_path / "other").exists()


def spoil(tmp_path: Path, change: Callable[[dict[str, Any]], object], line: int = 2) -> Path:
    logged = samples(SUMS)
    change(logged[line])
    path = tmp_path / "samples_sums_2026-01-01T00-00-00.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in logged), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda s: s.pop("resps"), "resps: field required"),
        (lambda s: s.update(resps="5"), "resps: input should be a valid list"),
        (lambda s: s.update(resps=[]), "resps: list should have at least 1 item"),
        (lambda s: s.update(resps=[[]]), "resps: holds no response"),
        (lambda s: s.update(resps=[[["-3.2", "False"]], [["-1.2", "True"]]]), "no generated texts, but log-likelihoods"),
        (lambda s: s.update(resps=[[None, 3]]), "no generated texts"),
        (lambda s: s.update(doc_id=None), "doc_id"),
        (lambda s: s.update(doc_id=float("nan")), "doc_id"),
        (lambda s: s.update(doc_id=0), "doc_id 0 is there twice"),
        (lambda s: s.update(arguments="?"), "arguments"),
        (lambda s: s.update(arguments={}), "arguments: holds no prompt"),
        (lambda s: s.update(arguments={"gen_args_0": {"arg_0": 7}}), "the prompt is no text"),
        (lambda s: s.update(gapbench={"task": "sums"}), "prompt_id: field required"),
        (lambda s: s.update(gapbench=[1]), "gapbench: input should be a valid dictionary"),
    ],
)  # fmt: skip
def test_a_line_at_fault_is_named(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], why: str
) -> None:
    path = spoil(tmp_path, change)
    with pytest.raises(UserError) as told:
        imported(path, tmp_path / "run")
    message = str(told.value)
    assert message.startswith(f"{path}, line 3: ")
    assert why in message
    assert "\n" not in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"[1, 2]\n", "line 1: is no JSON object"),
        (b"\xff\xfe\x00", "line 1: is not UTF-8 text"),
        (b'{"doc_id": 0, "resps": [["4', "line 1: is not JSON"),
        (b"[" * 100_000 + b"]" * 100_000, "line 1: is nested deeper than"),
        (b'{"a":' * 500 + b"1" + b"}" * 500, "line 1: is nested deeper than"),
        (b"9" * 10_000, "line 1: is not JSON"),
        (b"PAR1" + bytes(1000), "is a Parquet table and no text; it is read with --from table"),
        (gzip.compress(b'{"doc_id": 0}'), "is packed with gzip; unpack it first"),
        (
            b"PK\x03\x04" + bytes(100),
            "is an archive and no text; a log of inspect (.eval) is read with --from inspect",
        ),
    ],
)
def test_a_file_at_fault_is_named(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "samples_sums_2026-01-01T00-00-00.jsonl"
    path.write_bytes(content)
    with pytest.raises(UserError) as told:
        imported(path, tmp_path / "run")
    assert str(told.value).startswith(f"{path}")
    assert why in str(told.value)


def test_hostile_text_is_data(tmp_path: Path) -> None:
    hostile = ["5\x00\x1b[31m\u2028\x85\u2029\x1e", "<script>alert(1)</script> 5", "\ud800 5", "5 " * 500_000]
    path = spoil(
        tmp_path, lambda s: s.update(resps=[hostile], target=float("nan"), doc={"question": "\udfff"}), line=0
    )
    with pytest.raises(UserError, match=r"task 'sums', prompt '0': the log has no target to grade against"):
        imported(path, tmp_path / "run")
    path = spoil(tmp_path, lambda s: s.update(resps=[hostile], target="5"), line=0)
    done = imported(path, tmp_path / "run")
    first = [r["text"] for r in done.run.store.read("responses").to_pylist() if r["prompt_id"] == "0"]
    assert first[0] == hostile[0]
    assert first[2] == "\ufffd 5"
    assert len(first[3]) == 1_000_000
    lines, _ = export_run(done.run, "lm-eval", tmp_path / "out").files
    assert len(lines.read_text("utf-8").splitlines()) == 12, (
        "no text ends a line, however a reader splits them"
    )
    again = imported(tmp_path / "out", tmp_path / "again")
    assert rows(again.run, "responses") == rows(done.run, "responses")


def kept(change: Callable[[dict[str, Any]], object], made: Run, tmp_path: Path) -> Path:
    export_run(made, "lm-eval", tmp_path / "out")
    path = next((tmp_path / "out").rglob("samples_sums_*.jsonl"))
    first, *rest = path.read_text(encoding="utf-8").splitlines(keepends=True)
    sample = json.loads(first)
    change(sample["gapbench"])
    path.write_text(json.dumps(sample) + "\n" + "".join(rest), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda k: k["responses"][0].update(utility=float("inf"), status="scored"), "has a utility exactly when"),
        (lambda k: k["responses"][0].update(utility=2.0), "responses.0.utility: input should be less than or equal to 1"),
        (lambda k: k["responses"][0].update(status="fine"), "is no status of a response"),
        (lambda k: k["responses"].pop(), "are told of"),
        (lambda k: k["responses"][1].update(response=0), "responses: response 0 is there twice"),
        (lambda k: k["responses"][0].update(response=2**40), "responses.0.response"),
        (lambda k: k["verdicts"].append(k["verdicts"][0]), "is there twice"),
        (lambda k: k["verdicts"][0].update(response=99), "there is no response 99"),
        (lambda k: k["verdicts"][0].update(score=float("nan"), status="scored"), "has a score exactly when"),
        (lambda k: k.update(metadata="[1"), "metadata: is not a JSON object"),
        (lambda k: k.update(messages=[]), "messages: list should have at least 1 item"),
        (lambda k: k["messages"][0].update(role="tool"), "messages.0.role"),
        (lambda k: k["verifiers"].update(yesno={"scale": "log"}), "verifiers.yesno.scale"),
        (lambda k: k.update(task="other"), "is of task 'sums', and those above of 'other'"),
    ],
)  # fmt: skip
def test_what_gapbench_kept_is_checked_too(
    made: Run, tmp_path: Path, change: Callable[[dict[str, Any]], object], why: str
) -> None:
    path = kept(change, made, tmp_path)
    with pytest.raises(UserError, match=r", line [12]: ") as told:
        imported(path, tmp_path / "run")
    assert why in str(told.value)


def test_a_response_far_out_does_not_take_the_memory(made: Run, tmp_path: Path) -> None:
    path = kept(
        lambda k: k["responses"][-1].update(response=2**31 - 1) or k["verdicts"].clear(), made, tmp_path
    )
    with pytest.raises(
        UserError, match=r"has a response number 2,147,483,647; number the responses of a prompt 0, 1"
    ):
        imported(path, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_tasks_whose_names_make_one_file_name_stay_apart(tmp_path: Path) -> None:
    folder = tmp_path / "logs" / "model"
    folder.mkdir(parents=True)
    for name in ("a b", "a_b"):
        shutil.copy(SUMS, folder / f"samples_{name}_2026-01-01T00-00-00.jsonl")
    done = imported(folder, tmp_path / "run")
    files = export_run(done.run, "lm-eval", tmp_path / "out").files
    assert len({*files}) == 3
    assert {task.name for task in read_lm_eval(tmp_path / "out").tasks} == {"a b", "a_b"}


def test_the_same_responses_through_several_filters_are_one_sample(tmp_path: Path) -> None:
    logged = samples(SUMS)
    for one in logged:
        one["resps"] = [one["resps"][0][:1]]
        one["filter"] = "strict"
    more = [{**one, "filter": "flexible", "exact_match": 1.0} for one in logged]
    path = tmp_path / "samples_sums_2026-01-01T00-00-00.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in [*logged, *more]), encoding="utf-8")
    assert imported(path, tmp_path / "graded").responses == 12
    strict = import_log(read_lm_eval(path, utility="exact_match"), tmp_path / "strict")
    assert panel_of(strict.run, "sums").utility.sum() == 0
    flexible = import_log(read_lm_eval(path, utility="exact_match,flexible"), tmp_path / "flexible")
    assert panel_of(flexible.run, "sums").utility.sum() == 12
    with pytest.raises(UserError, match=r"there is no number of that name; did you mean 'exact_match'\?"):
        read_lm_eval(path, utility="exact_matches")
    with pytest.raises(UserError, match="not every sample has a filter of that name"):
        read_lm_eval(path, utility="exact_match,loose")
    path.write_text(json.dumps(logged[0] | {"exact_match": float("nan")}) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"--utility exact_match: is no number here \(NaN or null\)"):
        read_lm_eval(path, utility="exact_match")
    with pytest.raises(UserError, match="line 1: --utility exact_match: the score is of 4 responses at once"):
        read_lm_eval(SUMS, utility="exact_match")


def test_of_a_folder_the_latest_log_of_each_task_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    shutil.copy(SUMS, folder / "samples_sums_2027-01-01T00-00-00.000001.jsonl")
    (folder / "samples_sums_2026-01-01T00-00-00.jsonl").write_text("not read")
    (task,) = read_lm_eval(folder).tasks
    assert task.name == "sums"
    shutil.copytree(folder, tmp_path / "other")
    (tmp_path / "other" / "samples_sums_2027-01-01T00-00-00.000001.jsonl").rename(
        tmp_path / "other" / "samples_more_2027-01-01T00-00-00.000001.jsonl"
    )
    with pytest.raises(UserError, match="holds logs of several models"):
        read_lm_eval(tmp_path)
    with pytest.raises(UserError, match=r"no such file or folder"):
        read_lm_eval(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="run lm_eval with --log_samples"):
        read_lm_eval(tmp_path / "empty")


def test_options_that_do_not_belong_are_refused(cli: Cli, tmp_path: Path) -> None:
    for options, why in [
        ({"source": "csv"}, "--from csv: there are: table, lm-eval, inspect"),
        ({"source": "lm-eval", "verdict": ["x"]}, "--verdict: has no meaning with --from lm-eval"),
        ({"source": "table", "grader": ["exact"]}, "--grader: has no meaning with --from table"),
        ({"source": "lm-eval", "grader": ["exact"], "utility": "m"}, "leave one of the two out"),
        ({"source": "lm-eval", "threshold": ["judge=0.5"]}, "no verdict is of that verifier"),
        ({"source": "lm-eval", "threshold": ["judge"]}, "write it as VERIFIER=SCORE"),
    ]:
        with pytest.raises(UserError, match=re.escape(why)):
            import_(REAL, out=tmp_path / "run", **options)  # type: ignore[arg-type]
    done = cli("import", REAL, "--from", "lm-eval", "--verdict", "x", "--out", "run")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
