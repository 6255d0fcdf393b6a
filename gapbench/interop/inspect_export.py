"""A run as logs of Inspect, one a task: `inspect view` shows them like any other, and its own API reads them.

Response i of a prompt is the sample's epoch i + 1. Utilities are the scores of a scorer `utility`; the mean of a verifier's
verdicts on a response is the score of a scorer of its name. All of it is in each sample's metadata once more, unrounded.

Every record is an object of Inspect's own. Its `write_eval_log` (0.3.285) wants all samples of a log at once and takes time
that grows with the square of their number, so it writes the log without samples here, and these are put into its archive one
by one: memory does not grow with their number but for a few bytes each. Whoever reads such a log whole has it in memory.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_DEFLATED, ZipFile

from pydantic_core import to_json

import gapbench
from gapbench.interop.folders import new_folder
from gapbench.interop.inspect_logs import need_inspect
from gapbench.interop.kept import KEY, keep
from gapbench.interop.logs import Exported, Log, LoggedPrompt, LoggedTask, safe_name
from gapbench.records import Grade, Message, Verdict, is_error

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample
    from inspect_ai.model import ChatMessage
    from inspect_ai.scorer import Score

SCORER = "utility"
_STOPPED = {"stop": "stop", "length": "max_tokens"}
_SUMMARIES = "summaries.json"


def export_inspect(log: Log, out: str | Path, *, created: datetime | None = None) -> Exported:
    """Write the logs.

    Parameters
    ----------
    out
        The folder to make.
    created
        When the run was made; now where None.

    Raises
    ------
    UserError
        If Inspect is not installed, or something is at `out`.
    """
    need_inspect()
    when = created or datetime.now(UTC)
    files = []
    with new_folder(Path(out)) as folder:
        for task in log.tasks:
            mark = hashlib.sha256(f"{log.model}\n{task.name}".encode()).hexdigest()[:22]
            name = (
                f"{when.isoformat(timespec='seconds').replace(':', '-')}_{safe_name(task.name)}_{mark}.eval"
            )
            _write(folder / name, log, task, when)
            files.append(Path(out) / name)
    return Exported(Path(out), tuple(files), tuple(log.notes))


def _write(path: Path, log: Log, task: LoggedTask, when: datetime) -> None:
    from inspect_ai.log import write_eval_log

    ids: dict[str, None] = {}
    utilities: list[float] = []
    total, epochs = 0, 1
    with (
        ZipFile(path, "x", ZIP_DEFLATED) as archive,
        TemporaryFile() as summaries,
        TemporaryDirectory() as folder,
    ):
        for logged in task.prompts:
            for sample, grade in zip(_samples(log, logged), logged.grades, strict=True):
                ids[str(sample.id)] = None
                utilities += [] if grade.utility is None else [grade.utility]
                epochs = max(epochs, sample.epoch)
                archive.writestr(f"samples/{sample.id}_epoch_{sample.epoch}.json", _json(sample))
                summaries.write(b"," if total else b"[")
                summaries.write(_json(sample.summary()))
                total += 1
        with archive.open(_SUMMARIES, "w", force_zip64=True) as member:
            summaries.write(b"]" if total else b"[]")
            summaries.seek(0)
            while block := summaries.read(1 << 20):
                member.write(block)
        empty = Path(folder) / path.name
        write_eval_log(_log(log, task, when, list(ids), utilities, total, epochs), str(empty), format="eval")
        with ZipFile(empty) as rest:
            for name in rest.namelist():
                if name != _SUMMARIES:
                    archive.writestr(name, rest.read(name))


def _json(record: Any) -> bytes:
    """As Inspect writes its records: what is not set is left out, and NaN is a number."""
    return to_json(record, exclude_none=True)


def _log(
    log: Log,
    task: LoggedTask,
    when: datetime,
    ids: list[str],
    utilities: list[float],
    total: int,
    epochs: int,
) -> EvalLog:
    """The log without its samples."""
    from inspect_ai.log import (
        EvalConfig,
        EvalDataset,
        EvalLog,
        EvalMetric,
        EvalResults,
        EvalScore,
        EvalSpec,
        EvalStats,
    )

    mean = math.fsum(utilities) / len(utilities) if utilities else math.nan
    score = EvalScore(name=SCORER, scorer=SCORER, metrics={"mean": EvalMetric(name="mean", value=mean)})
    stamp = when.isoformat(timespec="seconds")
    return EvalLog(
        status="success",
        eval=EvalSpec(
            created=stamp,
            task=task.name,
            model=log.model,
            dataset=EvalDataset(name=task.name, samples=len(ids), sample_ids=list(ids)),
            config=EvalConfig(epochs=epochs),
            packages={"gapbench": gapbench.__version__},
        ),
        results=EvalResults(total_samples=total, completed_samples=total, scores=[score]),
        stats=EvalStats(started_at=stamp, completed_at=stamp),
    )


def _samples(log: Log, logged: LoggedPrompt) -> Iterator[EvalSample]:
    """A sample for each response."""
    from inspect_ai.log import EvalError, EvalSample
    from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, ModelOutput, ModelUsage

    turns = [_turn(message) for message in logged.prompt.messages]
    verdicts: dict[int, list[Verdict]] = {}
    for verdict in logged.verdicts:
        verdicts.setdefault(verdict.response, []).append(verdict)
    for response, grade in zip(logged.responses, logged.grades, strict=True):
        own = verdicts.get(response.response, [])
        alone = replace(logged, responses=[response], grades=[grade], verdicts=own)
        reason: Any = _STOPPED.get(response.finish_reason, "unknown")
        said = ChatMessageAssistant(content=response.text, source="generate", model=log.model)
        tokens = response.n_tokens
        failed = is_error(response.finish_reason)
        yield EvalSample(
            id=_sample_id(logged.prompt.prompt_id),
            epoch=response.response + 1,
            input=logged.question if len(turns) == 1 else turns,
            choices=logged.prompt.metadata.get("choices"),
            target=list(logged.prompt.reference),
            messages=[*turns, said],
            output=ModelOutput(
                model=log.model,
                choices=[ChatCompletionChoice(message=said, stop_reason=reason)],
                usage=None
                if tokens is None
                else ModelUsage(input_tokens=0, output_tokens=tokens, total_tokens=tokens),
            ),
            scores=_scores(own, grade),
            metadata={KEY: keep(alone, log.verifiers)},
            error=EvalError(message=response.finish_reason, traceback="", traceback_ansi="")
            if failed
            else None,
        )


def _sample_id(prompt_id: str) -> str:
    """The prompt's own id, unless it cannot be part of the name of a file in an archive."""
    parts = prompt_id.split("/")
    fits = prompt_id.isprintable() and len(prompt_id.encode()) <= 200 and "\\" not in prompt_id
    if fits and not {"", ".", ".."} & set(parts):
        return prompt_id
    return f"{safe_name(prompt_id)}-{hashlib.sha256(prompt_id.encode()).hexdigest()[:12]}"


def _turn(message: Message) -> ChatMessage:
    from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser

    kinds: dict[str, Any] = {
        "system": ChatMessageSystem,
        "user": ChatMessageUser,
        "assistant": ChatMessageAssistant,
    }
    turn: ChatMessage = kinds[message.role](content=message.content)
    return turn


def _scores(verdicts: list[Verdict], grade: Grade) -> dict[str, Score]:
    from inspect_ai.scorer import Score

    by_verifier: dict[str, list[float]] = {}
    for verdict in verdicts:
        own = by_verifier.setdefault(verdict.verifier, [])
        own += [] if verdict.score is None else [verdict.score]
    scores = {
        name: Score(value=math.fsum(own) / len(own) if own else math.nan) for name, own in by_verifier.items()
    }
    utility = math.nan if grade.utility is None else grade.utility
    return scores | {SCORER: Score(value=utility, answer=grade.answer, explanation=grade.status)}
