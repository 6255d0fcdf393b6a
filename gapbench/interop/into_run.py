"""A log as a run: its responses graded, what it lacks counted, everything else as the log has it."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import gapbench
from gapbench.errors import UserError
from gapbench.graders.base import Grader
from gapbench.interop import table
from gapbench.interop.choosing import choose_grader
from gapbench.interop.folders import new_folder
from gapbench.interop.logs import UNKNOWN, Log, LoggedPrompt, LoggedTask
from gapbench.interop.responses import EMPTY_CELLS, FREE_CELLS
from gapbench.interop.table import Imported, check_vacant
from gapbench.interop.verdicts import ImportedVerifier, check_thresholds
from gapbench.judging import VerifierSpec
from gapbench.records import Grade, Message, Prompt
from gapbench.registry import suggest
from gapbench.run import IMPORTED, Run, RunConfig, hardware, libraries, now
from gapbench.stages.grading import Grading
from gapbench.stages.jobs import Jobs
from gapbench.store import RunStore
from gapbench.store.manifest import VerifierFacts

FLAGS = table.FLAGS | {
    "ending_unknown": "responses of which the log does not say whether they were cut; they count as they stand",
    "gold_refused": "prompts whose own reference the grader does not accept; look at them, or name another --grader",
    "log_unfinished": "logs of an evaluation that did not run to its end",
}
RECORDED = "as recorded"


@dataclass(frozen=True)
class ImportedLog(Imported):
    """What was imported from a log.

    Attributes
    ----------
    graders
        Task to the grader that graded it, or `as recorded`.
    """

    graders: Mapping[str, str]

    def lines(self) -> list[str]:
        """The same in words."""
        said = replace(self, flags={}).counts()
        said += [f"task {task}: graded by {name}" for task, name in self.graders.items() if name != RECORDED]
        return said + [f"{FLAGS[name]}: {count:,}" for name, count in self.flags.items()]

    def counts(self) -> list[str]:
        """How much there is."""
        return super().lines()


class GraderChoice:
    """Which tasks a user wants graded by what.

    Parameters
    ----------
    words
        `NAME` for every task, or `TASK=NAME` for one.
    """

    def __init__(self, words: Sequence[str] = ()) -> None:
        self._of = {task: name for task, _, name in (word.rpartition("=") for word in words)}

    def of(self, task: str) -> str | None:
        """The grader asked for; None where none was."""
        return self._of.get(task, self._of.get(""))

    def check(self, tasks: Sequence[str]) -> None:
        """Check that every task named is there.

        Raises
        ------
        UserError
            If one is not.
        """
        for task in self._of:
            if task and task not in tasks:
                raise UserError(
                    f"--grader {task}={self._of[task]}: the log has no such task{suggest(task, list(tasks))}"
                )


def import_log(
    log: Log,
    out: str | Path,
    *,
    graders: Sequence[str] = (),
    thresholds: Mapping[str, float] | None = None,
) -> ImportedLog:
    """Make a run of a log.

    Parameters
    ----------
    out
        The run directory.
    graders
        `NAME` for all tasks or `TASK=NAME` for one; those tasks are graded anew even where the log has grades. A task
        without either is graded by what its references look like.
    thresholds
        Verifier to the score from which a response passes.

    Raises
    ------
    UserError
        If the log does not fit, with the remedy; nothing is left behind.
    """
    start, begun = time.monotonic(), now()
    check_vacant(out)
    choice = GraderChoice(graders)
    names = [task.name for task in log.tasks]
    choice.check(names)
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"task '{name}' is there twice; name the log of one run")
    with new_folder(Path(out), "importing") as folder:
        store = RunStore(folder)
        store.write_manifest({})
        counts = _Counts(log)
        with store.writing() as writer, Jobs() as jobs:
            for task in log.tasks:
                for prompt in task.prompts:
                    writer.append(prompt.prompt)
            for task in log.tasks:
                grading = _Graded(task, choice.of(task.name), jobs, counts)
                for logged, grades in grading:
                    counts.take(logged, grades)
                    for rows in (logged.responses, grades, logged.verdicts):
                        writer.extend(rows)
        counts.check_width()
        verifiers = _verifiers(counts.verifiers, log.verifiers, thresholds or {})
        flags = {name: count for name, count in (counts.flags() | dict(log.flags)).items() if count}
        session = {
            "stage": "import",
            "started": begun,
            "rows": counts.responses + counts.verdicts,
            "seconds": round(time.monotonic() - start, 3),
            "statuses": dict(counts.statuses),
        }
        manifest = _manifest(log, counts, verifiers, flags)
        store.write_manifest(manifest | {"created": begun, "sessions": [session]})
    return ImportedLog(
        Run(out), counts.prompts, counts.responses, dict(counts.statuses), verifiers, flags, counts.graders
    )


class _Counts:
    """What went by."""

    def __init__(self, log: Log) -> None:
        self.prompts = self.responses = self.verdicts = self.unknown = self.gold_refused = 0
        self.one_response = self.unanimous = self.widest = 0
        self._widest_prompt = ("", "")
        self.statuses: Counter[str] = Counter()
        self.graders: dict[str, str] = {}
        self.verifiers = {name: ImportedVerifier() for name in log.verifiers}

    def take(self, logged: LoggedPrompt, grades: Sequence[Grade]) -> None:
        """Count a prompt."""
        self.prompts += 1
        self.responses += len(logged.responses)
        self.verdicts += len(logged.verdicts)
        self.unknown += sum(one.finish_reason == UNKNOWN for one in logged.responses)
        width = max((one.response + 1 for one in logged.responses), default=0)
        if width > self.widest:
            self.widest, self._widest_prompt = width, (logged.prompt.task, logged.prompt.prompt_id)
        self.statuses.update(one.status for one in grades)
        utilities = [one.utility for one in grades if one.utility is not None]
        self.one_response += len(utilities) == 1
        self.unanimous += len(utilities) > 1 and len(set(utilities)) == 1
        for verdict in logged.verdicts:
            one = self.verifiers.setdefault(verdict.verifier, ImportedVerifier())
            one.verdicts += 1
            one.replicates = max(one.replicates, verdict.replicate + 1)
            if verdict.score is None:
                one.missing += 1
            else:
                one.low, one.high = min(one.low, verdict.score), max(one.high, verdict.score)

    def check_width(self) -> None:
        """Check that the responses of a prompt are numbered without gaps, but for some: arrays have a cell for each."""
        if self.widest * self.prompts > EMPTY_CELLS * self.responses + FREE_CELLS:
            task, prompt_id = self._widest_prompt
            raise UserError(
                f"task '{task}', prompt {prompt_id!r:.60}: has a response number {self.widest - 1:,}; number the responses of "
                "a prompt 0, 1, 2, ..."
            )

    def flags(self) -> dict[str, int]:
        """Counts of what limits the analysis."""
        return {
            "one_response": self.one_response,
            "unanimous": self.unanimous,
            "ending_unknown": self.unknown,
            "gold_refused": self.gold_refused,
        }


class _Graded:
    """The prompts of a task, each with its grades: those of the log, or a grader's."""

    def __init__(self, task: LoggedTask, wanted: str | None, jobs: Jobs, counts: _Counts) -> None:
        self._prompts = list(task.prompts)
        recorded = all(one.grades or not one.responses for one in self._prompts)
        self._grader: Grader | None = None
        counts.graders[task.name] = RECORDED
        if wanted or not recorded:
            asked = [_asked(one) for one in self._prompts]
            name, self._grader, refused = choose_grader(task.name, asked, wanted)
            counts.graders[task.name] = name
            counts.gold_refused += refused
            self._grading = Grading({task.name: self._grader}, jobs)
            self._jobs = jobs

    def __iter__(self) -> Iterator[tuple[LoggedPrompt, Sequence[Grade]]]:
        for logged in self._prompts:
            if self._grader is None:
                yield logged, logged.grades
                continue
            found: list[Grade] = []
            for response in logged.responses:
                self._grading.grade(_asked(logged), response, found.append)
            while len(self._jobs):
                self._jobs.hand_on(wait=True)
            yield logged, sorted(found, key=lambda grade: grade.response)


def _asked(logged: LoggedPrompt) -> Prompt:
    """The prompt as a grader is to see it: the question alone, since replies repeat that and not the examples."""
    return replace(logged.prompt, messages=(Message("user", logged.question),))


def _verifiers(
    seen: Mapping[str, ImportedVerifier], told: Mapping[str, VerifierFacts], thresholds: Mapping[str, float]
) -> dict[str, ImportedVerifier]:
    check_thresholds(thresholds, seen)
    for name, one in seen.items():
        try:
            VerifierSpec.model_validate(name)
        except ValidationError:
            raise UserError(
                f"verifier {name!r:.60}: cannot be the name of one; rename it in the log"
            ) from None
        known = told[name].threshold if name in told else 0.5 if one.scale == "probability" else None
        one.threshold = thresholds.get(name, known)
    return dict(seen)


def _manifest(
    log: Log, counts: _Counts, verifiers: Mapping[str, ImportedVerifier], flags: Mapping[str, int]
) -> dict[str, Any]:
    name = log.files[0].name if len(log.files) == 1 else log.files[0].parent.name
    config = RunConfig(
        suite=name,
        model=log.model,
        engine=IMPORTED,
        n=max(counts.widest, 1),
        verifiers=tuple(VerifierSpec.model_validate(one) for one in verifiers),
        verdicts=max((one.replicates for one in verifiers.values()), default=1),
    )
    files = [{"file": str(path), "sha256": _digest(path), "bytes": path.stat().st_size} for path in log.files]
    facts = {
        name: (
            log.verifiers[name].model_dump()
            if name in log.verifiers
            else {"scale": one.scale, "whole_pool": False}
        )
        | {"threshold": one.threshold}
        for name, one in verifiers.items()
    }
    return {
        "gapbench": gapbench.__version__,
        "config": config.model_dump(mode="json"),
        "engine": {"engine": IMPORTED, "model": {"id": log.model}},
        "imported": {
            "from": log.source,
            "responses": {**files[0], "rows": counts.responses, "files": files},
            "verdicts": {"file": files[0]["file"], "rows": counts.verdicts},
            "flags": dict(flags),
        },
        "verifiers": facts,
        "suite": {
            "name": name,
            "digest": hashlib.sha256("".join(str(one["sha256"]) for one in files).encode()).hexdigest(),
        },
        "tasks": {
            task.name: {
                "domain": task.domain,
                "title": task.name,
                **task.facts,
                "graded_by": counts.graders[task.name],
            }
            for task in log.tasks
        },
        "hardware": hardware(),
        "libraries": libraries(),
    }


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
