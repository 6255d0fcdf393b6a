"""A run as records of Every Eval Ever, the shared schema of the EvalEval Coalition (arXiv 2606.14516).

One aggregate record and one file with a line for each response, where its data store has them:
`data/COLLECTION/DEVELOPER/MODEL/UUID.json` and `UUID_samples.jsonl`. They keep to version 0.3.0 of `eval.schema.json` and
`instance_level_eval.schema.json` (github.com/evaleval/every_eval_ever, MIT) and pass `every_eval_ever validate`, run where
the folder `data` is.

The same run always gets the same id and file names, so that writing it again replaces a record and adds none. The schema has
no place for verdicts, and asks for a score of every response: one that failed, which no estimate counts, has score 0 and
says so under `error`.
"""

from __future__ import annotations

import hashlib
import json
import math
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gapbench
from gapbench.estimate.results import Estimate
from gapbench.interop.folders import new_folder
from gapbench.interop.jsonlines import line_of
from gapbench.interop.logs import Exported, Log, LoggedPrompt, safe_name
from gapbench.models import EMBEDDED
from gapbench.records import Grade, Response, is_error
from gapbench.run import IMPORTED, Run

SCHEMA_VERSION = "0.3.0"
RANGES = {"accuracy": (0.0, 1.0), "pass@k": (0.0, 1.0), "gap": (-1.0, 1.0)}
"""Quantities that are written, and the range in which each must lie."""

_MEANING = {
    "accuracy": "Mean utility of a prompt's responses (of those a filter keeps), averaged over prompts",
    "pass@k": "Chance that one of k responses is right, averaged over prompts",
    "gap": "Rise of accuracy when a verifier's scores choose among a prompt's responses, averaged over prompts",
}
_KINDS = {"accuracy": "accuracy", "pass@k": "pass_rate", "gap": "gap"}
_LOCAL = ("transformers", "vllm", "ray")  # engines that load the weights themselves


def export_every_eval(run: Run, log: Log, out: str | Path, *, now: datetime | None = None) -> Exported:
    """Write the records.

    Parameters
    ----------
    run
        The run, for its estimates and manifest.
    log
        The same run as a log.
    out
        The folder to make.
    now
        When the record is made; the present where None.

    Raises
    ------
    UserError
        If something is at `out`.
    """
    manifest = run.manifest
    name = log.tasks[0].name if len(log.tasks) == 1 else manifest["suite"]["name"]
    collection = _part(f"gapbench_{name}")
    made = hashlib.sha256(json.dumps(manifest["config"], sort_keys=True).encode()).hexdigest()[:12]
    identity = f"{collection}/{log.model}/{manifest.get('created', 'unknown')}-{made}"
    record_id = str(uuid.UUID(bytes=hashlib.sha256(identity.encode()).digest()[:16], version=4))
    developer, model = _addressed(log.model)
    place = Path("data", collection, developer, model)
    record = _record(run, log, identity, now or datetime.now(UTC))
    linked = {one["evaluation_result_id"] for one in record["evaluation_results"]}
    with new_folder(Path(out)) as folder:
        (folder / place).mkdir(parents=True)
        lines = folder / place / f"{record_id}_samples.jsonl"
        total = 0
        with lines.open("x", encoding="utf-8") as file:
            for instance in _instances(log, manifest["tasks"], identity, linked):
                file.write(line_of(instance))
                total += 1
        with lines.open("rb") as content:
            checksum = hashlib.file_digest(content, "sha256").hexdigest()
        record["detailed_evaluation_results"] = {
            "format": "jsonl",
            "file_path": (place / lines.name).as_posix(),
            "hash_algorithm": "sha256",
            "checksum": checksum,
            "total_rows": total,
        }
        text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        (folder / place / f"{record_id}.json").write_text(text, "utf-8")
    files = tuple(Path(out) / place / f"{record_id}{suffix}" for suffix in (".json", "_samples.jsonl"))
    notes = [*log.notes]
    if "/" not in log.model:
        notes.append(
            f"the data store files records under DEVELOPER/MODEL, and {log.model!r:.60} names no developer: this one is under "
            "'unknown'"
        )
    if log.verifiers:
        notes.append(
            "left out the verdicts, for which the schema has no place; what they come to is in the gaps"
        )
    return Exported(Path(out), files, tuple(notes))


def _addressed(model: str) -> tuple[str, str]:
    """The folders of the developer and of the model: the first part of its id, and the rest as one name."""
    developer, _, name = model.strip("/").partition("/")
    return (_part(developer), _part(name)) if name else ("unknown", _part(developer))


def _part(name: str) -> str:
    """A part of a path on any system; none may end with a full stop."""
    return safe_name(name).rstrip(".") or "_"


def _record(run: Run, log: Log, identity: str, now: datetime) -> dict[str, Any]:
    manifest = run.manifest
    tasks = {task.name: task for task in log.tasks}
    results = [
        _result(one, dict(tasks[one.task].facts))
        for one in run.estimate()
        if one.task in tasks and one.quantity in RANGES and math.isfinite(one.value)
    ]
    imported = manifest.get("imported", {}).get("from")
    record: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": identity,
        "retrieved_timestamp": f"{now.timestamp():.0f}",
        "source_metadata": {
            "source_name": "gapbench",
            "source_type": "evaluation_run",
            "source_organization_name": "unknown",
            "evaluator_relationship": "other",
        },
        "eval_library": {"name": "gapbench", "version": gapbench.__version__},
        "model_info": _model(manifest.get("engine", {}), log.model),
        "evaluation_results": results,
    }
    if imported:  # when somebody else's evaluation was run is not known here
        record["eval_library"]["additional_details"] = {"imported_from": str(imported)}
    elif "created" in manifest:
        record["evaluation_timestamp"] = str(manifest["created"])
    return record


def _model(engine: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What was run, and on what; for what is not known the schema has the word `unknown`."""
    told = engine.get("model", {})
    facts = {key: str(told[key]) for key in ("revision", "parameters", "training_tokens") if told.get(key)}
    local = engine.get("engine") in _LOCAL
    published = name in {one.id for one in EMBEDDED.values()}
    model: dict[str, Any] = {
        "name": name,
        "id": name,
        "additional_details": {
            "deployment_type": "self_deployed" if local else "unknown",
            "model_availability": "open_weights" if published else "unknown",
            **facts,
        },
    }
    if "/" in name.strip("/"):
        model["developer"] = name.strip("/").partition("/")[0]
    if engine.get("engine") not in (None, IMPORTED):
        model["inference_engine"] = {
            "name": str(engine["engine"]),
            "version": str(engine.get("version", "unknown")),
        }
    return model


def _label(one: Estimate) -> str:
    """The quantity with all that is part of it, as measurement.md writes it."""
    parts = [one.filter or (f"k={one.n}" if one.n else ""), one.verifier, f"m={one.m}" if one.m else ""]
    inside = ", ".join(part for part in parts if part)
    return f"{one.quantity}[{inside}]" if inside else one.quantity


def _result(one: Estimate, facts: dict[str, Any]) -> dict[str, Any]:
    low, high = RANGES[one.quantity]
    label = _label(one)
    uncertainty: dict[str, Any] = {"num_samples": one.n_prompts}
    if math.isfinite(one.se):
        uncertainty["standard_error"] = {"value": one.se, "method": "over clusters of prompts"}
    if math.isfinite(one.low) and math.isfinite(one.high) and "not_estimable" not in one.flags:
        uncertainty["confidence_interval"] = {
            "lower": one.low,
            "upper": one.high,
            "confidence_level": 0.95,
            "method": "hull of the cluster-t interval and the studentised bootstrap",
        }
    plain = one.quantity == "accuracy" and not one.filter
    metric = "accuracy" if plain else "pass_at_k" if one.quantity == "pass@k" else f"gapbench.{one.quantity}"
    size = "k" if one.quantity == "pass@k" else "n"
    parameters = {"filter": one.filter, size: one.n, "m": one.m, "verifier": one.verifier}
    result: dict[str, Any] = {
        "evaluation_result_id": f"{one.task}/{label}",
        "evaluation_name": one.task,
        "source_data": _source(one.task, facts.get("source"), facts.get("card", {})),
        "metric_config": {
            "evaluation_description": _MEANING[one.quantity],
            "metric_id": metric,
            "metric_name": label,
            "metric_kind": _KINDS[one.quantity],
            "metric_unit": "proportion",
            "metric_parameters": {
                name: value for name, value in parameters.items() if value not in (None, "")
            },
            "lower_is_better": False,
            "score_type": "continuous",
            "min_score": low,
            "max_score": high,
        },
        "score_details": {
            "score": one.value,
            "uncertainty": uncertainty,
            "details": {
                "domain": one.domain,
                "n_responses": str(one.n_responses),
                "target": one.target,
                "flags": " ".join(one.flags),
            },
        },
    }
    if sampling := facts.get("sampling"):
        drawn = {name: sampling[name] for name in ("temperature", "top_p", "max_tokens")}
        result["generation_config"] = {"generation_args": drawn}
    return result


def _source(task: str, source: Any, card: Mapping[str, Any]) -> dict[str, Any]:
    """Where the questions come from."""
    told = {name: str(card[name]) for name in ("source", "licence") if card.get(name)}
    details = {"additional_details": told} if told else {}
    if isinstance(source, dict) and isinstance(source.get("datasets"), str):
        split = {"hf_split": source["split"]} if isinstance(source.get("split"), str) else {}
        return {
            "dataset_name": task,
            "source_type": "hf_dataset",
            "hf_repo": source["datasets"],
            **split,
            **details,
        }
    return {"dataset_name": task, "source_type": "other", **details}


def _instances(
    log: Log, tasks: Mapping[str, Any], identity: str, linked: set[str]
) -> Iterator[dict[str, Any]]:
    """A record for each response, of the accuracy that it is part of where that is among the results."""
    for task in log.tasks:
        known = tasks.get(task.name, {})
        grader = known.get("grader", {}).get("name") or known.get("graded_by") or "gapbench"
        accuracy = f"{task.name}/accuracy"
        link = {"evaluation_result_id": accuracy} if accuracy in linked else {}
        for logged in task.prompts:
            for response, grade in zip(logged.responses, logged.grades, strict=True):
                yield link | _instance(log, identity, str(grader), logged, response, grade)


def _instance(
    log: Log, identity: str, grader: str, logged: LoggedPrompt, response: Response, grade: Grade
) -> dict[str, Any]:
    prompt = logged.prompt
    asked = {"raw": logged.question, "reference": list(prompt.reference)}
    # The recipe of the data store's own converters, so that equal questions have equal hashes across tools.
    hashed = json.dumps(asked, sort_keys=True, separators=(",", ":"))
    choices = prompt.metadata.get("choices")
    extracted = {
        "turn_idx": 0,
        "source": "output.raw",
        "extracted_value": grade.answer or "",
        "extraction_method": grader,
        "is_terminal": True,
    }
    told = {
        "response": str(response.response),
        "status": grade.status,
        "finish_reason": response.finish_reason,
        "domain": prompt.domain,
        "cluster": prompt.cluster,
    }
    utility = 0.0 if grade.utility is None else grade.utility
    return {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": identity,
        "model_id": log.model,
        "evaluation_name": prompt.task,
        "sample_id": prompt.prompt_id,
        "sample_hash": hashlib.sha256(hashed.encode()).hexdigest(),
        "interaction_type": "single_turn",
        "input": {
            **asked,
            "formatted": "\n\n".join(message.content for message in prompt.messages),
            "choices": [str(one) for one in choices] if isinstance(choices, list) else None,
        },
        "output": {"raw": [response.text]},
        "messages": None,
        "answer_attribution": [extracted] if grade.answer is not None else [],
        "evaluation": {"score": utility, "is_correct": utility == 1.0},
        "error": grade.status if is_error(grade.status) else None,
        "metadata": told,
    }
