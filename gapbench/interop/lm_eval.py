"""Samples that lm-evaluation-harness logs (`lm_eval run --log_samples`).

With `repeats: 4` in a task's YAML each sample holds four responses (`resps: [[r1, r2, r3, r4]]`), yet the harness (0.4.13)
scores at most one of them: the first, or whatever the task's filters make of the list, which may be the list itself and
so never right. Its scores are therefore left alone, and every response is graded by one of our graders. Whether a response
was cut at the token limit is not logged.

>>> import_log(read_lm_eval("results/my__model"), "runs/mine", graders=["gsm8k=numeric"])  # doctest: +SKIP
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from pydantic import Field

from gapbench.errors import UserError
from gapbench.graders._text import LONGEST_ANSWER, normalise
from gapbench.interop.jsonlines import read_lines, read_object
from gapbench.interop.kept import KEY, Checked, Kept, KeptMessage, check
from gapbench.interop.logs import UNKNOWN, Log, LoggedPrompt, LoggedTask, model_name
from gapbench.records import SCORED, Grade, Message, Prompt, Response
from gapbench.registry import suggest
from gapbench.store.manifest import VerifierFacts

SAMPLES = re.compile(r"samples_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\dT[\d.:+-]+)\.jsonl")
_HASHES = "####"


class Sample(Checked):
    """A line of a samples file, as `lm_eval.result_schema.SampleResult` has it."""

    doc_id: int | str
    doc: Any = None
    target: Any = None
    arguments: dict[str, Any] | list[Any]
    resps: list[Any] = Field(min_length=1)
    filter: str = "none"
    gapbench: dict[str, Any] | None = Field(default=None, alias=KEY)


def read_lm_eval(path: str | Path, *, model: str | None = None, utility: str | None = None) -> Log:
    """Read one file of samples, or the latest of each task in a folder.

    Parameters
    ----------
    path
        `samples_TASK_DATE.jsonl`, or the folder that the harness wrote.
    model
        Its name, where the harness's own `results_DATE.json` does not stand beside the samples or has another.
    utility
        A metric of the log (`exact_match`, or `exact_match,strict-match` of that filter) to take in place of a grader.
        It must be of single responses: no repeats.

    Raises
    ------
    UserError
        If the file or a line of it is at fault, or holds no generated responses.
    """
    files = _files(Path(path))
    described = _results(next(iter(files.values())))
    folder = next(iter(files.values())).resolve().parent.name
    name = model or model_name(str(described.get("model_name") or folder))
    facts: dict[str, VerifierFacts] = {}
    tasks = [_read_task(task, file, utility, facts) for task, file in files.items()]
    return Log("lm-eval", list(files.values()), name, tasks, facts)


def _files(path: Path) -> dict[str, Path]:
    """Task to its file."""
    if path.is_file():
        named = SAMPLES.fullmatch(path.name)
        return {named["task"] if named else path.stem: path}
    if not path.is_dir():
        raise UserError(
            f"{path}: no such file or folder; name samples_TASK_DATE.jsonl or the folder it is in"
        )
    found: dict[str, tuple[str, Path]] = {}
    for file in sorted(path.rglob("samples_*.jsonl")):
        if named := SAMPLES.fullmatch(file.name):
            found[named["task"]] = max(found.get(named["task"], ("", file)), (named["date"], file))
    if not found:
        raise UserError(
            f"{path}: there is no samples_TASK_DATE.jsonl in it; run lm_eval with --log_samples and --output_path"
        )
    folders = {file.parent for _, file in found.values()}
    if len(folders) > 1:
        one, other = sorted(map(str, folders))[:2]
        raise UserError(f"{path}: holds logs of several models ({one}, {other}); name one of these folders")
    return {task: file for task, (_, file) in found.items()}


def _results(samples: Path) -> dict[str, Any]:
    """What the harness says of the run whose samples these are; nothing where that file is not there."""
    named = SAMPLES.fullmatch(samples.name)
    beside = samples.with_name(f"results_{named['date']}.json") if named else samples
    if not named or not beside.is_file():
        return {}
    return read_object(beside.read_bytes(), str(beside))


def _read_task(task: str, path: Path, utility: str | None, facts: dict[str, VerifierFacts]) -> LoggedTask:
    read = _TaskReader(task, utility)
    for line, content in read_lines(path):
        try:
            read.take(check(Sample, content), content)
        except UserError as wrong:
            raise UserError(f"{path}, line {line}: {wrong}") from None
    if utility and not all(one.grades for one in read.prompts.values()):
        raise UserError(
            f"{path}: --utility {utility}: not every sample has a filter of that name; write METRIC,FILTER"
        )
    facts.update(read.verifiers)
    domain = next(iter(read.prompts.values())).prompt.domain
    return LoggedTask(read.task or task, domain, list(read.prompts.values()), {"generation": read.generation})


class _TaskReader:
    """Takes the samples of a file one by one."""

    def __init__(self, name: str, utility: str | None) -> None:
        self._name = name
        self._metric, _, self._filter = (utility or "").partition(",")
        self._seen: dict[
            str, tuple[str, int, str]
        ] = {}  # doc_id to filter, hash of the responses and prompt_id
        self.task = ""
        self.prompts: dict[str, LoggedPrompt] = {}
        self.verifiers: dict[str, VerifierFacts] = {}
        self.generation: Any = {}

    def take(self, sample: Sample, content: Mapping[str, Any]) -> None:
        """Take a sample; the same responses through another filter add at most the metric that is asked for."""
        doc, drawn = str(sample.doc_id), hash(repr(sample.resps))
        first = doc not in self._seen
        if first:
            logged = self._kept(sample) if sample.gapbench is not None else self._plain(sample)
            if logged.prompt.prompt_id in self.prompts:
                raise UserError(f"prompt_id {logged.prompt.prompt_id!r:.60} is there twice; rename one")
            if self.task not in ("", logged.prompt.task):
                raise UserError(
                    f"is of task {logged.prompt.task!r:.60}, and those above of {self.task!r:.60}; split the file"
                )
            self.task = logged.prompt.task
            self.prompts[logged.prompt.prompt_id] = logged
            self._seen[doc] = sample.filter, drawn, logged.prompt.prompt_id
        elif self._seen[doc][0] == sample.filter or self._seen[doc][1] != drawn:
            raise UserError(f"doc_id {doc} is there twice; name a file of one run")
        logged = self.prompts[self._seen[doc][2]]
        if self._metric and self._filter in ("", sample.filter) and (first or self._filter):
            self.prompts[logged.prompt.prompt_id] = replace(
                logged, grades=[self._measured(sample, content, logged)]
            )

    def _kept(self, sample: Sample) -> LoggedPrompt:
        kept = check(Kept, sample.gapbench)
        self.verifiers.update(kept.verifiers)
        return kept.rows(_texts(sample))

    def _plain(self, sample: Sample) -> LoggedPrompt:
        texts = _texts(sample)
        (context, generation) = _argument(sample.arguments)
        self.generation = generation
        messages = _messages(context)
        key = self._name, str(sample.doc_id)
        metadata = {"doc": sample.doc} | _choices(sample.doc)
        answers = references(sample.target)
        prompt = Prompt(*key, self._name, messages, answers, metadata)
        responses = [
            Response(*key, place, text, None, cast(int, None), None, UNKNOWN, None)
            for place, text in enumerate(texts)
        ]
        return LoggedPrompt(prompt, _question(messages[-1].content, sample.doc, answers), responses)

    def _measured(self, sample: Sample, content: Mapping[str, Any], logged: LoggedPrompt) -> Grade:
        """The log's own score of a sample with one response."""
        if len(logged.responses) != 1:
            raise UserError(
                f"--utility {self._metric}: the score is of {len(logged.responses)} responses at once; leave it out, and "
                "each is graded by itself"
            )
        value = content.get(self._metric)
        if value is None and self._metric in content:
            raise UserError(
                f"--utility {self._metric}: is no number here (NaN or null); let a grader grade it"
            )
        if isinstance(value, bool) or not isinstance(value, int | float):
            there = content.get("metrics")
            known = [one for one in there if isinstance(one, str)] if isinstance(there, list) else []
            raise UserError(
                f"--utility {self._metric}: there is no number of that name{suggest(self._metric, known)}"
            )
        if not 0 <= value <= 1:
            raise UserError(f"{self._metric} is {value:g}; a utility lies in [0, 1]: let a grader grade it")
        (response,) = logged.responses
        filtered = content.get("filtered_resps")
        answer = filtered[0] if isinstance(filtered, list) and filtered else None
        answer = answer[:LONGEST_ANSWER] if isinstance(answer, str) else None
        key = response.task, response.prompt_id, response.response
        return Grade(*key, answer, normalise(answer) if answer else None, float(value), SCORED)


def _texts(sample: Sample) -> list[str]:
    """The responses of a sample."""
    (texts, *more) = sample.resps
    if more or not isinstance(texts, list) or not all(isinstance(one, str) for one in texts):
        raise UserError(
            "resps: no generated texts, but log-likelihoods of given answers; there is nothing to choose from but a task "
            "of output_type generate_until"
        )
    if not texts:
        raise UserError("resps: holds no response; take that line out")
    return list(texts)


def _argument(arguments: Mapping[str, Any] | Sequence[Any]) -> tuple[Any, Any]:
    """The prompt and how tokens were drawn; {"gen_args_0": {"arg_0": ..., "arg_1": ...}}, or lists of them in old logs."""
    request: Any = arguments.get("gen_args_0") if isinstance(arguments, Mapping) else (arguments or [None])[0]
    if isinstance(request, Mapping):
        request = [request.get("arg_0"), request.get("arg_1")]
    if not isinstance(request, Sequence) or isinstance(request, str) or not request:
        raise UserError("arguments: holds no prompt; log the samples anew")
    return request[0], request[1] if len(request) > 1 else {}


def _messages(context: Any) -> tuple[Message, ...]:
    """A prompt as text, or as the JSON of a conversation where the harness asked a chat interface."""
    text = context[0] if isinstance(context, list) and len(context) == 1 else context
    if not isinstance(text, str):
        raise UserError("arguments: the prompt is no text; log the samples anew")
    if text.startswith("["):
        try:
            turns = [check(KeptMessage, turn) for turn in json.loads(text)]
        except (ValueError, RecursionError, UserError):
            turns = []
        if turns:
            return tuple(Message(turn.role, turn.content) for turn in turns)
    return (Message("user", text),)


def _question(prompt: str, doc: Any, answers: Sequence[str]) -> str:
    """What ends last in a prompt of all that the document says, its answer apart: the question, behind its examples."""
    texts = [text.strip() for text in doc.values() if isinstance(text, str)] if isinstance(doc, dict) else []
    asked = [text for text in texts if text and text in prompt and text not in answers]
    return max(asked, key=lambda text: (prompt.rindex(text) + len(text), len(text)), default=prompt)


def references(target: Any) -> tuple[str, ...]:
    """The right answer and its aliases: the harness writes a list of them as Python does.

    >>> references("Half of 24 is 12. #### 12"), references("['Rome', 'Roma']"), references(7)
    (('12',), ('Rome', 'Roma'), ('7',))
    """
    if isinstance(target, str) and target.startswith("["):
        with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            target = ast.literal_eval(target)
    texts = target if isinstance(target, list) else [target]
    if not all(isinstance(one, str | int | float) for one in texts):
        return ()
    found = (str(one).rpartition(_HASHES)[2].strip() for one in texts)
    return tuple(text for text in found if text)


def _choices(doc: Any) -> dict[str, list[str]]:
    """Options of a multiple choice, for the grader that needs them."""
    choices = doc.get("choices") if isinstance(doc, dict) else None
    choices = choices.get("text") if isinstance(choices, dict) else choices
    if isinstance(choices, list) and choices and all(isinstance(one, str) for one in choices):
        return {"choices": choices}
    return {}
