"""What a run is written as: plain tables, a data set for the hub, Every Eval Ever records."""

from __future__ import annotations

import hashlib
import json
import sys
import uuid
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pandas as pd
import pytest
import yaml
from datasets import load_dataset

from gapbench.cli.interchange import export
from gapbench.errors import UserError
from gapbench.interop.every_eval import RANGES
from gapbench.interop.export import export_run
from gapbench.interop.hub_folder import _plain
from gapbench.interop.inspect_logs import read_inspect
from gapbench.interop.into_run import import_log
from gapbench.interop.lm_eval import read_lm_eval
from gapbench.interop.logs import safe_name
from gapbench.interop.table import import_table
from gapbench.run import Run, RunConfig, execute
from gapbench.savings import Savings
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


TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
SOURCES = {
    "url": ["dataset_name", "url"], "hf_dataset": ["dataset_name"], "other": ["dataset_name"],
}  # fmt: skip
NUMBER, TEXT, WHOLE = {"type": "number"}, {"type": "string"}, {"type": "integer"}


def closed(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


# What eval.schema.json and instance_level_eval.schema.json, version 0.2.2, ask of the fields that are written here, in our
# words; stricter, since no field is allowed that is not named.
INTERVAL = closed(["lower", "upper"], lower=NUMBER, upper=NUMBER, confidence_level={"type": "number", "maximum": 1}, method=TEXT)  # fmt: skip
RESULT = closed(
    ["evaluation_name", "source_data", "metric_config", "score_details"],
    evaluation_result_id=TEXT,
    evaluation_name=TEXT,
    source_data={
        "oneOf": [
            closed([*needed, "source_type"], dataset_name=TEXT, source_type={"const": kind}, url={"type": "array"}, hf_repo=TEXT, hf_split=TEXT)
            for kind, needed in SOURCES.items()
        ]
    },
    metric_config=closed(
        ["lower_is_better", "min_score", "max_score"],
        evaluation_description=TEXT, metric_id=TEXT, metric_name=TEXT, metric_kind=TEXT, metric_unit=TEXT,
        metric_parameters={"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "null"]}},
        lower_is_better={"type": "boolean"}, score_type={"enum": ["binary", "continuous", "levels"]},
        min_score=NUMBER, max_score=NUMBER,
    ),
    score_details=closed(
        ["score"],
        score=NUMBER,
        details=TEXTS,
        uncertainty=closed(
            [], standard_error=closed(["value"], value=NUMBER, method=TEXT), confidence_interval=INTERVAL, num_samples=WHOLE
        ),
    ),
    generation_config=closed(
        [], generation_args=closed([], temperature={"type": ["null", "number"]}, top_p={"type": ["null", "number"]}, max_tokens={"type": "integer", "minimum": 1})
    ),
)  # fmt: skip
AGGREGATE = closed(
    ["schema_version", "evaluation_id", "retrieved_timestamp", "source_metadata", "model_info", "eval_library", "evaluation_results"],
    schema_version=TEXT, evaluation_id=TEXT, evaluation_timestamp=TEXT, retrieved_timestamp=TEXT,
    source_metadata=closed(
        ["source_type", "source_organization_name", "evaluator_relationship"],
        source_name=TEXT, source_type={"enum": ["documentation", "evaluation_run"]}, source_organization_name=TEXT,
        evaluator_relationship={"enum": ["first_party", "third_party", "collaborative", "other"]},
    ),
    model_info=closed(["name", "id"], name=TEXT, id=TEXT, developer=TEXT, inference_engine=closed([], name=TEXT, version=TEXT)),
    eval_library=closed(["name", "version"], name=TEXT, version=TEXT),
    evaluation_results={"type": "array", "items": RESULT, "minItems": 1},
    detailed_evaluation_results=closed(
        [], format={"enum": ["jsonl", "json"]}, file_path=TEXT, hash_algorithm={"enum": ["sha256", "md5"]}, checksum=TEXT, total_rows=WHOLE
    ),
)  # fmt: skip
INSTANCE = closed(
    ["schema_version", "evaluation_id", "model_id", "evaluation_name", "sample_id", "interaction_type", "input", "answer_attribution", "evaluation", "output"],
    schema_version=TEXT, evaluation_id=TEXT, model_id=TEXT, evaluation_name=TEXT, evaluation_result_id=TEXT, sample_id=TEXT, sample_hash=TEXT,
    interaction_type={"const": "single_turn"},
    input=closed(["raw", "reference"], raw=TEXT, formatted=TEXT, reference={"type": "array", "items": TEXT}, choices={"type": ["array", "null"], "items": TEXT}),
    output=closed(["raw"], raw={"type": "array", "items": TEXT}),
    messages={"type": "null"},
    answer_attribution={
        "type": "array",
        "items": closed(
            ["turn_idx", "source", "extracted_value", "extraction_method", "is_terminal"],
            turn_idx=WHOLE, source=TEXT, extracted_value=TEXT, extraction_method=TEXT, is_terminal={"type": "boolean"},
        ),
    },
    evaluation=closed(["score", "is_correct"], score=NUMBER, is_correct={"type": "boolean"}),
    error={"type": ["string", "null"]},
    metadata=TEXTS,
)  # fmt: skip


def records(done: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    aggregate, lines = done.files
    return json.loads(aggregate.read_text("utf-8")), [
        json.loads(line) for line in lines.read_text("utf-8").splitlines()
    ]


@pytest.mark.parametrize("which", ["made", "real"])
def test_every_eval_ever_records_keep_to_the_schema(
    which: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    run: Run = request.getfixturevalue(which)
    done = export_run(run, "every-eval", tmp_path / "out")
    aggregate, instances = records(done)
    jsonschema.validate(aggregate, AGGREGATE)
    for instance in instances:
        jsonschema.validate(instance, INSTANCE)
    path, lines = done.files
    assert uuid.UUID(path.stem).version == 4
    developer, model = (
        ("HuggingFaceTB", "SmolLM2-135M-Instruct") if which == "real" else ("unknown", "simulated")
    )
    assert path.relative_to(tmp_path / "out").parts[1:3] == (developer, model)
    told = aggregate["detailed_evaluation_results"]
    assert (told["total_rows"], told["checksum"]) == (
        len(instances),
        hashlib.sha256(lines.read_bytes()).hexdigest(),
    )
    assert {one["evaluation_id"] for one in instances} == {aggregate["evaluation_id"]}
    ids = [one["evaluation_result_id"] for one in aggregate["evaluation_results"]]
    assert len(set(ids)) == len(ids)
    assert {one["evaluation_result_id"] for one in instances} <= set(ids)


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
        key = (
            result["evaluation_name"],
            config["metric_kind"],
            *(told[one] for one in ("filter", "verifier", "n", "m")),
        )
        assert result["score_details"]["score"] == wanted[key].value
        assert config["min_score"] <= wanted[key].value <= config["max_score"]
    scores = sorted(one["evaluation"]["score"] for one in instances)
    assert scores == sorted(u or 0.0 for u in made.store.read("grades")["utility"].to_pylist())
    failed = [one for one in instances if one["error"]]
    assert (
        len(failed)
        == sum(s.startswith("error:") for s in made.store.read("grades")["status"].to_pylist())
        > 0
    )


def test_every_eval_ever_accepts_its_records(made: Run, tmp_path: Path) -> None:
    package = pytest.importorskip("every_eval_ever", reason="every-eval-ever is not installed")
    schemas = resources.files(package) / "schemas"
    aggregate, instances = records(export_run(made, "every-eval", tmp_path / "out"))
    jsonschema.validate(aggregate, json.loads((schemas / "eval.schema.json").read_text("utf-8")))
    of_lines = json.loads((schemas / "instance_level_eval.schema.json").read_text("utf-8"))
    for instance in instances:
        jsonschema.validate(instance, of_lines)


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
