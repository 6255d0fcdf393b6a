"""A run as logs of Inspect, one a task, written through its own API: `inspect view` shows them like any other.

Response i of a prompt is the sample's epoch i + 1. Utilities are the scores of a scorer `utility`; the mean of a verifier's
verdicts on a response is the score of a scorer of its name. All of it is in each sample's metadata once more, unrounded.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gapbench
from gapbench.interop.inspect_logs import need_inspect
from gapbench.interop.kept import KEY, keep
from gapbench.interop.logs import Exported, Log, LoggedPrompt, LoggedTask, new_folder, safe_name
from gapbench.records import Grade, Message, Response, is_error

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample
    from inspect_ai.model import ChatMessage
    from inspect_ai.scorer import Score

SCORER = "utility"
_STOPPED = {"stop": "stop", "length": "max_tokens"}


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
    from inspect_ai.log import write_eval_log

    when = created or datetime.now(UTC)
    files = []
    with new_folder(Path(out)) as folder:
        for task in log.tasks:
            made = _log(log, task, when)
            mark = hashlib.sha256(f"{log.model}\n{task.name}".encode()).hexdigest()[:22]
            name = (
                f"{when.isoformat(timespec='seconds').replace(':', '-')}_{safe_name(task.name)}_{mark}.eval"
            )
            write_eval_log(made, str(folder / name), format="eval")
            files.append(Path(out) / name)
    return Exported(Path(out), tuple(files), tuple(log.notes))


def _log(log: Log, task: LoggedTask, when: datetime) -> EvalLog:
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

    samples = [sample for logged in task.prompts for sample in _samples(log, logged)]
    utilities = [one for sample in samples for one in [_value(sample, SCORER)] if not math.isnan(one)]
    mean = math.fsum(utilities) / len(utilities) if utilities else math.nan
    score = EvalScore(name=SCORER, scorer=SCORER, metrics={"mean": EvalMetric(name="mean", value=mean)})
    ids = list(dict.fromkeys(str(sample.id) for sample in samples))
    stamp = when.isoformat(timespec="seconds")
    return EvalLog(
        status="success",
        eval=EvalSpec(
            created=stamp,
            task=task.name,
            model=log.model,
            dataset=EvalDataset(name=task.name, samples=len(ids), sample_ids=ids),
            config=EvalConfig(epochs=max((sample.epoch for sample in samples), default=1)),
            packages={"gapbench": gapbench.__version__},
        ),
        results=EvalResults(total_samples=len(samples), completed_samples=len(samples), scores=[score]),
        stats=EvalStats(started_at=stamp, completed_at=stamp),
        samples=samples,
    )


def _value(sample: EvalSample, scorer: str) -> float:
    value: Any = (sample.scores or {})[scorer].value
    return float(value)


def _samples(log: Log, logged: LoggedPrompt) -> Iterator[EvalSample]:
    from inspect_ai.log import EvalError, EvalSample
    from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, ModelOutput, ModelUsage

    turns = [_turn(message) for message in logged.prompt.messages]
    for response, grade in zip(logged.responses, logged.grades, strict=True):
        reason: Any = _STOPPED.get(response.finish_reason, "unknown")
        said = ChatMessageAssistant(content=response.text, source="generate", model=log.model)
        tokens = response.n_tokens
        failed = is_error(response.finish_reason)
        yield EvalSample(
            id=logged.prompt.prompt_id,
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
            scores=_scores(logged, response, grade),
            metadata={KEY: keep(logged, log.verifiers, [response.response])},
            error=EvalError(message=response.finish_reason, traceback="", traceback_ansi="")
            if failed
            else None,
        )


def _turn(message: Message) -> ChatMessage:
    from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser

    kinds: dict[str, Any] = {
        "system": ChatMessageSystem,
        "user": ChatMessageUser,
        "assistant": ChatMessageAssistant,
    }
    turn: ChatMessage = kinds[message.role](content=message.content)
    return turn


def _scores(logged: LoggedPrompt, response: Response, grade: Grade) -> dict[str, Score]:
    from inspect_ai.scorer import Score

    by_verifier: dict[str, list[float]] = {}
    for verdict in logged.verdicts:
        if verdict.response == response.response:
            by_verifier.setdefault(verdict.verifier, []).extend(
                [] if verdict.score is None else [verdict.score]
            )
    scores = {
        name: Score(value=math.fsum(own) / len(own) if own else math.nan) for name, own in by_verifier.items()
    }
    utility = math.nan if grade.utility is None else grade.utility
    return scores | {SCORER: Score(value=utility, answer=grade.answer, explanation=grade.status)}
