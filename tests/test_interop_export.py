"""What a run is written as: plain tables, a data set for the hub, Every Eval Ever records."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pandas as pd
import pytest
import yaml
from datasets import load_dataset
from huggingface_hub import DatasetCard

from gapbench.cli.interchange import export
from gapbench.errors import UserError
from gapbench.interop.every_eval import RANGES
from gapbench.interop.export import export_run
from gapbench.interop.export_table import left_out
from gapbench.interop.folders import MARK, new_folder
from gapbench.interop.from_run import read_run
from gapbench.interop.hub_folder import _plain
from gapbench.interop.inspect_logs import read_inspect
from gapbench.interop.into_run import import_log
from gapbench.interop.lm_eval import read_lm_eval
from gapbench.interop.logs import Exported, safe_name
from gapbench.interop.table import import_table
from gapbench.run import Run, RunConfig, execute
from gapbench.savings import Savings
from gapbench.store.manifest import VerifierFacts
from tests.conftest import Cli
from tests.interop import LOGS, assert_same_estimates, rows, simulated


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return simulated(tmp_path_factory.mktemp("simulated") / "run")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Of a real log, under the name of a model on the hub."""
    log = read_lm_eval(LOGS / "lm_eval", model="HuggingFaceTB/SmolLM2-135M-Instruct")
    return import_log(log, tmp_path_factory.mktemp("real") / "run").run


GRADES = ["task", "prompt_id", "response", "cluster", "utility", "status"]
VERDICTS = ["task", "prompt_id", "response", "verifier", "replicate", "score", "status", "judge"]


def test_tables_come_back_as_the_same_run(made: Run, tmp_path: Path) -> None:
    done = export_run(made, "table", tmp_path / "out")
    again = import_table(*done.files, out=tmp_path / "again").run
    assert rows(again, "grades", GRADES) == rows(made, "grades", GRADES)
    assert rows(again, "verdicts", VERDICTS) == rows(made, "verdicts", VERDICTS)
    assert_same_estimates(again, made, without=["majority"])
    assert "left out verifier majority" in done.notes[0]
    twice = export_run(again, "table", tmp_path / "twice")
    for one, other in zip(done.files, twice.files, strict=True):
        left, right = (pd.read_parquet(path).drop(columns=["text"], errors="ignore") for path in (one, other))
        same = [name for name in left if name != "finish_reason"]
        pd.testing.assert_frame_equal(left[same], right[same])


def test_a_real_log_as_a_table_is_the_same_run(real: Run, tmp_path: Path) -> None:
    (file,) = export_run(real, "table", tmp_path / "out").files
    again = import_table(file, out=tmp_path / "again").run
    assert rows(again, "grades", GRADES) == rows(real, "grades", GRADES)
    assert_same_estimates(again, real)


def test_what_a_table_cannot_say_of_scores_is_told(made: Run, tmp_path: Path) -> None:
    facts = {
        "likelihood": VerifierFacts(scale="logprob", threshold=None, whole_pool=False),
        "judge": VerifierFacts(scale="probability", threshold=0.7, whole_pool=False),
        "yesno": VerifierFacts(scale="probability", threshold=0.5, whole_pool=False),
    }
    one, other = left_out(replace(read_run(made), verifiers=facts))
    assert "verifier likelihood: its scores are log-probabilities" in one
    assert other.endswith("import it with --threshold judge=0.7")


def test_what_was_not_asked_on_purpose_is_not_passed_off_as_a_miss(tmp_path: Path) -> None:
    config = RunConfig(
        suite="starter", model="simulated", engine="simulated", n=4, tasks=("sums",), limit=6,
        verifiers=("yesno", "cot-binary"), verdicts=2, savings=Savings(skip_unanimous=True),  # type: ignore[arg-type]
    )  # fmt: skip
    done = export_run(execute(config, tmp_path / "run"), "table", tmp_path / "out")
    assert len(done.files) == 1
    assert any("it was not asked about every response" in note for note in done.notes)


def test_the_hub_folder_loads_and_its_card_says_what_is_in_it(made: Run, tmp_path: Path) -> None:
    done = export_run(made, "hub", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    _, header, body = card.split("---\n", 2)
    facts = yaml.safe_load(header)
    read = DatasetCard.load(tmp_path / "out" / "README.md").data.to_dict()
    assert read == facts, "what the hub's own library makes of the card"
    names = [one["config_name"] for one in facts["configs"]]
    assert names == ["prompts", "responses", "verdicts", "estimates"]
    counts = {"prompts": 12, "responses": 48, "verdicts": made.store.count("verdicts")}
    counts["estimates"] = len(made.estimate())
    for name in names:
        loaded = load_dataset(str(tmp_path / "out"), name, split="train", cache_dir=str(tmp_path / "cache"))
        assert len(loaded) == counts[name], name
    assert "| accuracy |" in body
    assert "written for gapbench" in body
    tables = tmp_path / "out" / "data"
    again = import_table(
        tables / "responses.parquet", tables / "verdicts.parquet", out=tmp_path / "again"
    ).run
    assert_same_estimates(again, made, without=["majority"])
    assert all(path.is_file() for path in done.files)


def test_names_cannot_break_the_card_or_leave_the_folder(real: Run, tmp_path: Path) -> None:
    hostile = "../../x: |\n---\n<script>alert(1)</script> \u202e[a](b)"
    manifest = real.manifest
    log = read_lm_eval(LOGS / "lm_eval", model=hostile)
    run = import_log(log, tmp_path / "run").run
    assert manifest["config"]["model"] != run.model == hostile
    for form in ("hub", "every-eval", "lm-eval"):
        done = export_run(run, form, tmp_path / "outs" / form)  # type: ignore[arg-type]
        assert all(path.resolve().is_relative_to(tmp_path / "outs" / form) for path in done.files)
        assert all(path.is_file() for path in done.files)
    card = (tmp_path / "outs" / "hub" / "README.md").read_text(encoding="utf-8")
    facts = yaml.safe_load(card.split("---\n", 2)[1])
    assert set(facts) == {"pretty_name", "license", "task_categories", "size_categories", "tags", "configs"}
    assert "<script>" not in card.split("---\n", 2)[2]
    assert _plain("a|b`c\n<d>") == r"a\|b\`c \<d\>"
    assert safe_name("..") == "_"


def instances_of(lines: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.read_text("utf-8").splitlines()]


NAMES = ["../../a/b ü 日本 \u202e", "..", "t\x00x/..", "日" * 300, "con.", "-rf ~"]


@pytest.mark.parametrize("form", ["table", "lm-eval", "inspect", "hub", "every-eval"])
def test_no_name_leads_out_of_the_folder_or_gets_lost(form: Any, tmp_path: Path) -> None:
    if form == "inspect":
        pytest.importorskip(
            "inspect_ai", reason="inspect-ai is not installed: pip install 'gapbench[inspect]'"
        )
    drawn = [
        {"domain": name, "task": name, "prompt_id": f"{prompt}{name}", "response": i, "utility": float(i % 2)}
        for name in NAMES for prompt in range(2) for i in range(2)
    ]  # fmt: skip
    pd.DataFrame(drawn).assign(model="../" + "名" * 200).to_parquet(tmp_path / "r.parquet")
    run = import_table(tmp_path / "r.parquet", out=tmp_path / "run").run
    there = {*tmp_path.iterdir()}
    out = tmp_path / "out"
    files = export_run(run, form, out).files
    assert {*tmp_path.iterdir()} - there == {out}
    assert {path for path in out.rglob("*") if path.is_file()} == {*files}
    assert all(len(path.name.encode()) <= 255 for path in out.rglob("*"))
    if form == "every-eval":
        assert sorted({one["evaluation_name"] for one in instances_of(files[1])}) == sorted(NAMES)
        return
    log = {"lm-eval": read_lm_eval, "inspect": read_inspect}.get(form)
    again = (
        import_log(log(out), tmp_path / "again").run
        if log
        else import_table(next(out.rglob("responses.parquet")), out=tmp_path / "again").run
    )
    assert rows(again, "grades", GRADES) == rows(run, "grades", GRADES)
    assert_same_estimates(again, run)


def test_a_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    out, working = tmp_path / "out", tmp_path / "out.writing"

    def write(failure: BaseException | None = None) -> None:
        with new_folder(out) as folder:
            (folder / "part").mkdir()
            (folder / "part" / "file").write_text("done")
            if failure:
                raise failure

    for failure in (KeyboardInterrupt(), OSError("disk full"), UserError("no")):
        with pytest.raises(type(failure)):
            write(failure)
        assert not list(tmp_path.iterdir())
    working.mkdir()
    (working / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"out\.writing: is in the way"):
        write()
    assert (working / "notes.txt").read_text() == "mine"
    (working / MARK).touch()  # as one leaves it that was killed
    out.mkdir()
    write()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [path.name for path in out.iterdir()] == ["part"]
    with pytest.raises(UserError, match=r"out: is there already; name a new folder"):
        write()
    with (
        pytest.raises(UserError, match=r"file/out: cannot be made \(Not a directory\)"),
        new_folder(out / "part" / "file" / "out"),
    ):
        pass
    with (
        new_folder(tmp_path / "twice"),
        pytest.raises(UserError, match="another process is writing it"),
        new_folder(tmp_path / "twice"),
    ):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "twice"]


# The schema itself, version 0.3.0 of its package (see tests/data/interop/README.md): the package needs Python 3.12 and an older
# huggingface-hub than datasets does, so that it cannot be installed beside gapbench.
SCHEMAS = {
    name: jsonschema.Draft7Validator(json.loads((LOGS / "every_eval_ever" / f"{name}.schema.json").read_text("utf-8")))
    for name in ("eval", "instance_level_eval")
}  # fmt: skip
STORED = re.compile(
    r"data/[^/]+/[^/]+/[^/]+/[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}(_samples\.jsonl|\.json)"
)


def records(done: Exported) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    aggregate, lines = done.files
    return json.loads(aggregate.read_text("utf-8")), instances_of(lines)


@pytest.fixture(scope="module")
def of_inspect(tmp_path_factory: pytest.TempPathFactory) -> Run:
    pytest.importorskip("inspect_ai", reason="inspect-ai is not installed: pip install 'gapbench[inspect]'")
    log = read_inspect(LOGS / "inspect", utility="includes", verdicts=["selfcheck"])
    return import_log(log, tmp_path_factory.mktemp("inspect") / "run").run


@pytest.mark.parametrize(
    ("which", "model"),
    [
        ("made", "unknown/simulated"),
        ("real", "HuggingFaceTB/SmolLM2-135M-Instruct"),
        ("of_inspect", "hf/smollm2-135m"),
    ],
)
def test_every_eval_ever_records_keep_to_the_schema(
    which: str, model: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    run: Run = request.getfixturevalue(which)
    done = export_run(run, "every-eval", tmp_path / "out")
    aggregate, instances = records(done)
    SCHEMAS["eval"].validate(aggregate)
    for instance in instances:
        SCHEMAS["instance_level_eval"].validate(instance)
        assert list(instance["metadata"].values()) == [str(one) for one in instance["metadata"].values()]
    assert {aggregate["schema_version"], *(one["schema_version"] for one in instances)} == {
        schema.schema["version"] for schema in SCHEMAS.values()
    }
    # What the data store asks for beyond the schema.
    path, lines = (file.relative_to(tmp_path / "out").as_posix() for file in done.files)
    assert STORED.fullmatch(path)
    assert STORED.fullmatch(lines)
    assert lines == path.replace(".json", "_samples.jsonl")
    assert path.split("/", 2)[2].rpartition("/")[0] == model
    told = aggregate["detailed_evaluation_results"]
    content = done.files[1].read_bytes()
    assert told["file_path"] == lines
    assert (told["total_rows"], told["checksum"]) == (len(instances), hashlib.sha256(content).hexdigest())
    assert len(content.decode().splitlines()) == len(instances), (
        "whatever a reader takes for the end of a line"
    )
    assert {one["evaluation_id"] for one in instances} == {aggregate["evaluation_id"]}
    assert {one["model_id"] for one in instances} == {aggregate["model_info"]["id"]}
    ids = [one["evaluation_result_id"] for one in aggregate["evaluation_results"]]
    assert len(set(ids)) == len(ids)
    assert {one["evaluation_result_id"] for one in instances} <= set(ids)
    asked = {"raw": instances[0]["input"]["raw"], "reference": instances[0]["input"]["reference"]}
    recipe = json.dumps(asked, sort_keys=True, separators=(",", ":")).encode()
    assert instances[0]["sample_hash"] == hashlib.sha256(recipe).hexdigest()
    for result in aggregate["evaluation_results"]:
        config, score = result["metric_config"], result["score_details"]["score"]
        assert config["min_score"] <= score <= config["max_score"]


def test_every_eval_ever_gives_the_same_run_the_same_id(real: Run, tmp_path: Path) -> None:
    one, other = (export_run(real, "every-eval", tmp_path / name) for name in ("one", "other"))
    assert [path.name for path in one.files] == [path.name for path in other.files]
    assert records(one)[0]["evaluation_id"] == records(other)[0]["evaluation_id"]


def test_the_validator_of_every_eval_ever_passes_the_records(real: Run, tmp_path: Path) -> None:
    validator = shutil.which("every_eval_ever")
    if validator is None:
        pytest.skip(
            "the command every_eval_ever is not on the path; it may live in an environment of its own"
        )
    done = export_run(real, "every-eval", tmp_path / "out")
    files = [path.relative_to(tmp_path / "out").as_posix() for path in done.files]
    said = subprocess.run(
        [validator, "validate", *files], cwd=tmp_path / "out", capture_output=True, text=True
    )
    assert said.returncode == 0, said.stdout


def test_every_eval_ever_records_say_what_the_run_says(made: Run, tmp_path: Path) -> None:
    aggregate, instances = records(export_run(made, "every-eval", tmp_path / "out"))
    wanted = {
        (e.task, e.quantity, e.filter, e.verifier, e.n, e.m): e
        for e in made.estimate()
        if e.task and e.quantity in RANGES
    }
    assert len(aggregate["evaluation_results"]) == len(wanted)
    for result in aggregate["evaluation_results"]:
        config = result["metric_config"]
        told = {"filter": "", "verifier": "", "n": None, "m": None} | config["metric_parameters"]
        told["n"] = told.get("k", told["n"])
        key = (
            result["evaluation_name"],
            {"pass_rate": "pass@k"}.get(config["metric_kind"], config["metric_kind"]),
            *(told[one] for one in ("filter", "verifier", "n", "m")),
        )
        assert result["score_details"]["score"] == wanted[key].value
    scores = sorted(one["evaluation"]["score"] for one in instances)
    assert scores == sorted(u or 0.0 for u in made.store.read("grades")["utility"].to_pylist())
    failed = [one for one in instances if one["error"]]
    assert (
        len(failed)
        == sum(s.startswith("error:") for s in made.store.read("grades")["status"].to_pylist())
        > 0
    )


def test_bad_wishes_get_one_line(cli: Cli, made: Run, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_text("mine")
    with pytest.raises(UserError, match="--to csv: there are: table, lm-eval, inspect, hub, every-eval"):
        export(made.store.path, "csv", tmp_path / "x")
    done = cli("export", made.store.path, "--to", "table", "--out", "there")
    assert done.returncode == 2
    assert done.stderr == "gapbench: --out there: is there already; name a new folder\n"
    assert (tmp_path / "there" / "file").read_text() == "mine"
    config = RunConfig(suite="starter", model="simulated", engine="simulated", n=2, limit=2, tasks=("sums",))
    ungraded = execute(config, tmp_path / "raw", upto="sample")
    with pytest.raises(UserError, match="no graded responses yet"):
        export_run(ungraded, "table", tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_without_inspect_its_formats_say_what_to_install(
    made: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "inspect_ai", None)
    monkeypatch.setitem(sys.modules, "inspect_ai.log", None)
    with pytest.raises(UserError, match=r"need the library 'inspect_ai.*pip install 'gapbench\[inspect\]'"):
        export_run(made, "inspect", tmp_path / "out")
    with pytest.raises(UserError, match=r"pip install 'gapbench\[inspect\]'"):
        read_inspect(tmp_path)
