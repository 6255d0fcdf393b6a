"""A run as records of Every Eval Ever, the shared schema of the EvalEval Coalition (arXiv 2606.14516).

One aggregate record and one file with a line for each response, in the folders that its data store has:
`BENCHMARK/DEVELOPER/MODEL/UUID.json` and `UUID.jsonl`. Written after version 0.2.2 of `eval.schema.json` and of
`instance_level_eval.schema.json` (github.com/evaleval/every_eval_ever); the schema has no place for verdicts.
"""

from __future__ import annotations

import hashlib
import json
import math
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gapbench
from gapbench.estimate.results import Estimate
from gapbench.interop.logs import Exported, Log, LoggedPrompt, new_folder, safe_name
from gapbench.records import Grade, Response, is_error
from gapbench.run import IMPORTED, Run

SCHEMA_VERSION = "0.2.2"
RANGES = {"accuracy": (0.0, 1.0), "pass@k": (0.0, 1.0), "gap": (-1.0, 1.0)}
"""Quantities that are written, and the range in which each must lie."""

_MEANING = {
    "accuracy": "Mean utility of a prompt's responses (of those a filter keeps), averaged over prompts",
    "pass@k": "Chance that one of k responses is right, averaged over prompts",
    "gap": "Rise of accuracy when a verifier's scores choose among a prompt's responses, averaged over prompts",
}


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
    stamp = f"{(now or datetime.now(UTC)).timestamp():.0f}"
    benchmark = f"gapbench_{safe_name(run.manifest['suite']['name'])}"
    developer, _, model = log.model.rpartition("/")
    identity = f"{benchmark}/{log.model}/{stamp}"
    name = str(uuid.UUID(bytes=hashlib.sha256(identity.encode()).digest()[:16], version=4))
    place = Path(benchmark, safe_name(developer or "unknown"), safe_name(model))
    with new_folder(Path(out)) as folder:
        (folder / place).mkdir(parents=True)
        lines = folder / place / f"{name}.jsonl"
        total = 0
        with lines.open("x", encoding="utf-8") as file:
            for line in _instances(log, identity):
                file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
                total += 1
        with lines.open("rb") as content:
            checksum = hashlib.file_digest(content, "sha256").hexdigest()
        record = _record(run, log, identity, stamp) | {
            "detailed_evaluation_results": {
                "format": "jsonl",
                "file_path": lines.name,
                "hash_algorithm": "sha256",
                "checksum": checksum,
                "total_rows": total,
            }
        }
        aggregate = lines.with_suffix(".json")
        aggregate.write_text(
            json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n", "utf-8"
        )
    files = tuple(Path(out) / place / f"{name}{suffix}" for suffix in (".json", ".jsonl"))
    notes = [*log.notes]
    if log.verifiers:
        notes.append(
            "left out the verdicts, for which the schema has no place; what they come to is in the gaps"
        )
    return Exported(Path(out), files, tuple(notes))


def _record(run: Run, log: Log, identity: str, stamp: str) -> dict[str, Any]:
    manifest = run.manifest
    source = {
        "source_name": "gapbench",
        "source_type": "evaluation_run",
        "source_organization_name": "unknown",
        "evaluator_relationship": "other",
    }
    model: dict[str, Any] = {"name": log.model, "id": log.model}
    if "/" in log.model:
        model["developer"] = log.model.rpartition("/")[0]
    engine = manifest.get("engine", {}).get("engine")
    if engine and engine != IMPORTED:
        model["inference_engine"] = {
            "name": str(engine),
            "version": str(manifest.get("libraries", {}).get(engine, "unknown")),
        }
    tasks = {task.name: task for task in log.tasks}
    results = [
        _result(one, dict(tasks[one.task].facts))
        for one in run.estimate()
        if one.task in tasks and one.quantity in RANGES and math.isfinite(one.value)
    ]
    return {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": identity,
        "evaluation_timestamp": str(manifest.get("created", stamp)),
        "retrieved_timestamp": stamp,
        "source_metadata": source,
        "eval_library": {"name": "gapbench", "version": gapbench.__version__},
        "model_info": model,
        "evaluation_results": results,
    }


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
    parameters = {"filter": one.filter, "n": one.n, "m": one.m, "verifier": one.verifier}
    result: dict[str, Any] = {
        "evaluation_result_id": f"{one.task}/{label}",
        "evaluation_name": one.task,
        "source_data": _source(one.task, facts.get("source")),
        "metric_config": {
            "evaluation_description": _MEANING[one.quantity],
            "metric_id": one.quantity
            if one.quantity == "accuracy" and not one.filter
            else f"gapbench.{one.quantity}",
            "metric_name": label,
            "metric_kind": one.quantity,
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


def _source(task: str, source: Any) -> dict[str, Any]:
    """Where the questions come from."""
    if isinstance(source, dict) and isinstance(source.get("datasets"), str):
        split = {"hf_split": source["split"]} if isinstance(source.get("split"), str) else {}
        return {"dataset_name": task, "source_type": "hf_dataset", "hf_repo": source["datasets"], **split}
    return {"dataset_name": task, "source_type": "other"}


def _instances(log: Log, identity: str) -> Iterator[dict[str, Any]]:
    for task in log.tasks:
        for logged in task.prompts:
            for response, grade in zip(logged.responses, logged.grades, strict=True):
                yield _instance(log, identity, logged, response, grade)


def _instance(
    log: Log, identity: str, logged: LoggedPrompt, response: Response, grade: Grade
) -> dict[str, Any]:
    prompt = logged.prompt
    shown = "\n\n".join(message.content for message in prompt.messages)
    hashed = hashlib.sha256((logged.question + "".join(prompt.reference)).encode()).hexdigest()
    choices = prompt.metadata.get("choices")
    extracted = {
        "turn_idx": 0,
        "source": "output.raw",
        "extracted_value": grade.answer or "",
        "extraction_method": "gapbench grader",
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
        "schema_version": f"instance_level_eval_{SCHEMA_VERSION}",
        "evaluation_id": identity,
        "model_id": log.model,
        "evaluation_name": prompt.task,
        "evaluation_result_id": f"{prompt.task}/accuracy",
        "sample_id": prompt.prompt_id,
        "sample_hash": hashed,
        "interaction_type": "single_turn",
        "input": {
            "raw": logged.question,
            "formatted": shown,
            "reference": list(prompt.reference),
            "choices": [str(one) for one in choices] if isinstance(choices, list) else None,
        },
        "output": {"raw": [response.text]},
        "messages": None,
        "answer_attribution": [extracted] if grade.answer is not None else [],
        "evaluation": {"score": utility, "is_correct": utility == 1.0},
        "error": grade.status if is_error(grade.status) else None,
        "metadata": told,
    }
