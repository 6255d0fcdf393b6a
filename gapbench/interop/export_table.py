"""A run as the two plain tables that `gapbench import --from table` reads, as Parquet.

Answers are written in their normal form, in which two that agree are equal; that is what counts when the table is read
again. The text of each response stands beside, for people.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gapbench.interop.folders import new_folder
from gapbench.interop.logs import Exported, Log, LoggedPrompt

RESPONSES = pa.schema(
    [
        ("domain", pa.string()),
        ("task", pa.string()),
        ("prompt_id", pa.string()),
        ("response", pa.int32()),
        ("utility", pa.float64()),
        ("status", pa.string()),
        ("answer", pa.string()),
        ("cluster", pa.string()),
        ("model", pa.string()),
        ("n_tokens", pa.int32()),
        ("finish_reason", pa.string()),
        ("text", pa.string()),
    ]
)
VERDICTS = pa.schema(
    [
        ("task", pa.string()),
        ("prompt_id", pa.string()),
        ("response", pa.int32()),
        ("verifier", pa.string()),
        ("replicate", pa.int32()),
        ("score", pa.float64()),
        ("status", pa.string()),
        ("judge", pa.string()),
    ]
)
PROMPTS_AT_ONCE = 200


def export_table(log: Log, out: str | Path) -> Exported:
    """Write `responses.parquet` and, where there are verdicts, `verdicts.parquet`.

    Parameters
    ----------
    out
        The folder to make.

    Raises
    ------
    UserError
        If something is at `out`.
    """
    with new_folder(Path(out)) as folder:
        names = write_tables(log, folder)
    return Exported(Path(out), tuple(Path(out) / name for name in names), (*log.notes, *left_out(log)))


def left_out(log: Log) -> list[str]:
    """What a plain table cannot say, in sentences."""
    notes = []
    for name, facts in log.verifiers.items():
        if facts.whole_pool:
            notes.append(
                f"left out verifier {name}: its scores depend on all responses of a prompt, which a plain table cannot say"
            )
            continue
        if facts.scale == "logprob":
            notes.append(
                f"verifier {name}: its scores are log-probabilities, which a plain table cannot say; read again they have "
                "ranks but no soft weights"
            )
        assumed = 0.5 if facts.scale == "probability" else None
        if facts.threshold not in (None, assumed):
            notes.append(
                f"verifier {name}: a plain table has no threshold; import it with --threshold {name}={facts.threshold:g}"
            )
    return notes


def write_tables(log: Log, folder: Path) -> list[str]:
    """Write the tables into a folder; the names of the files come back."""
    files = {"responses.parquet": RESPONSES}
    if any(not facts.whole_pool for facts in log.verifiers.values()):
        files["verdicts.parquet"] = VERDICTS
    writers = {
        name: pq.ParquetWriter(folder / name, schema, compression="zstd") for name, schema in files.items()
    }
    try:
        for chunk in _chunks(log):
            rows = {
                "responses.parquet": _responses(chunk, log.model),
                "verdicts.parquet": _verdicts(chunk, log),
            }
            for name, schema in files.items():
                writers[name].write_table(pa.Table.from_pylist(rows[name], schema=schema))
    finally:
        for writer in writers.values():
            writer.close()
    return list(files)


def _chunks(log: Log) -> Iterator[list[LoggedPrompt]]:
    for task in log.tasks:
        chunk: list[LoggedPrompt] = []
        for logged in task.prompts:
            chunk.append(logged)
            if len(chunk) == PROMPTS_AT_ONCE:
                yield chunk
                chunk = []
        if chunk:
            yield chunk


def _responses(chunk: list[LoggedPrompt], model: str) -> list[dict[str, Any]]:
    return [
        {
            "domain": logged.prompt.domain,
            "task": response.task,
            "prompt_id": response.prompt_id,
            "response": response.response,
            "utility": grade.utility,
            "status": grade.status,
            "answer": grade.cluster,
            "cluster": logged.prompt.cluster or logged.prompt.prompt_id,
            "model": model,
            "n_tokens": response.n_tokens,
            "finish_reason": response.finish_reason,
            "text": response.text,
        }
        for logged in chunk
        for response, grade in zip(logged.responses, logged.grades, strict=True)
    ]


def _verdicts(chunk: list[LoggedPrompt], log: Log) -> list[dict[str, Any]]:
    names = VERDICTS.names
    return [
        {name: getattr(verdict, name) for name in names}
        for logged in chunk
        for verdict in logged.verdicts
        if not log.verifiers[verdict.verifier].whole_pool
    ]
