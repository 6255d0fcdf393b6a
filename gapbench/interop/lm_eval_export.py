"""A run as samples that lm-evaluation-harness might have logged, for the tools that read those.

One `samples_TASK_DATE.jsonl` a task, one `results_DATE.json`, in a folder that is named after the model, as the harness
writes them. What the harness has no field for (the grade of each response, verdicts) is under the key `gapbench`.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import gapbench
from gapbench.interop.folders import new_folder
from gapbench.interop.jsonlines import line_of
from gapbench.interop.kept import KEY, keep
from gapbench.interop.logs import Exported, Log, LoggedPrompt, LoggedTask, safe_name, shortened

METRIC = "utility"
FILTER = "none"


def export_lm_eval(log: Log, out: str | Path, *, created: datetime | None = None) -> Exported:
    """Write the samples.

    Parameters
    ----------
    out
        The folder to make.
    created
        When the run was made, for the names of the files; now where None.

    Raises
    ------
    UserError
        If something is at `out`.
    """
    date = (created or datetime.now(UTC)).replace(tzinfo=None).isoformat().replace(":", "-")
    # As the harness makes it; only names that lead out of the folder are none.
    name = shortened(re.sub(r"[\"<>:/|\\?*\[\]\x00-\x1f]+", "__", log.model), 200)
    name = name if name.strip(".") else "model"
    files: list[str] = []
    with new_folder(Path(out)) as folder:
        (folder / name).mkdir()
        results: dict[str, Any] = {}
        for task in log.tasks:
            path = folder / name / f"samples_{_label(task.name)}_{date}.jsonl"
            means: list[float] = []
            with path.open("x", encoding="utf-8") as file:
                for place, logged in enumerate(task.prompts):
                    sample = _sample(place, task, logged, log)
                    means += [] if sample[METRIC] is None else [sample[METRIC]]
                    file.write(line_of(sample))
            results[task.name] = _result(task.name, np.array(means))
            files.append(f"{name}/{path.name}")
        described = _described(log, results, date) | {"model_name_sanitized": name}
        path = folder / name / f"results_{date}.json"
        path.write_text(json.dumps(described, indent=2, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
        files.append(f"{name}/{path.name}")
    return Exported(Path(out), tuple(Path(out) / file for file in files), tuple(log.notes))


def _label(task: str) -> str:
    """The task in the name of a file; no two tasks share one."""
    safe = safe_name(task)
    return safe if safe == task else f"{safe}-{_hash(task)[:8]}"


def _sample(place: int, task: LoggedTask, logged: LoggedPrompt, log: Log) -> dict[str, Any]:
    prompt = logged.prompt
    texts = [one.text for one in logged.responses]
    doc = prompt.metadata.get("doc", {"question": logged.question, "answer": list(prompt.reference)})
    asked = prompt.messages[0].content
    if len(prompt.messages) > 1 or prompt.messages[0].role != "user":
        asked = json.dumps([{"role": one.role, "content": one.content} for one in prompt.messages])
    target = prompt.reference[0] if len(prompt.reference) == 1 else str(list(prompt.reference))
    utilities = [one.utility for one in logged.grades if one.utility is not None]
    return {
        "doc_id": place,
        "doc": doc,
        "target": target,
        "arguments": {"gen_args_0": {"arg_0": asked, "arg_1": task.facts.get("generation", {})}},
        "resps": [texts],
        "filtered_resps": [texts],
        "filter": FILTER,
        "metrics": [METRIC],
        "doc_hash": _hash(json.dumps(doc, indent=2, ensure_ascii=False)),
        "prompt_hash": _hash(asked),
        "target_hash": _hash(target),
        METRIC: float(np.mean(utilities)) if utilities else None,
        KEY: keep(logged, log.verifiers),
    }


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _result(task: str, means: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, Any]:
    error = float(means.std(ddof=1) / np.sqrt(len(means))) if len(means) > 1 else None
    return {
        "alias": task,
        "sample_len": len(means),
        f"{METRIC},{FILTER}": float(means.mean()) if len(means) else None,
        f"{METRIC}_stderr,{FILTER}": error,
    }


def _described(log: Log, results: dict[str, Any], date: str) -> dict[str, Any]:
    sizes = {task: result["sample_len"] for task, result in results.items()}
    return {
        "results": results,
        "group_subtasks": {task: [] for task in results},
        "configs": {task.name: {"task": task.name, "output_type": "generate_until"} for task in log.tasks},
        "versions": dict.fromkeys(results, gapbench.__version__),
        "n-shot": dict.fromkeys(results, 0),
        "higher_is_better": {task: {METRIC: True} for task in results},
        "n-samples": {task: {"original": size, "effective": size} for task, size in sizes.items()},
        "config": {"model": log.model, "model_args": None},
        "model_name": log.model,
        "model_source": "gapbench",
        "date": date,
    }
