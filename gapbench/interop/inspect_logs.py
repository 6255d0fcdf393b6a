"""Logs of Inspect (`inspect eval`), read through its own API; needs `pip install 'gapbench[inspect]'`.

Epochs are repeats: the same sample in epochs 1 to 4 is a prompt with four responses. A scorer's score of each is its
utility, unless a grader is asked for; the scores of another scorer, such as a model that grades, can be taken as verdicts.

Inspect says `unknown` of a response when the provider does not tell why it ended, at the token limit too: such a response
is neither complete nor known to be cut.

A log is read whole, at about 1 ms and 18 KB of memory a sample: 2 GB for 100,000.

>>> import_log(read_inspect("logs/x.eval", utility="includes", verdicts=["selfcheck"]), "runs/x")  # doctest: +SKIP
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from gapbench.errors import UserError
from gapbench.graders._text import LONGEST_ANSWER, normalise
from gapbench.interop.jsonlines import whole
from gapbench.interop.kept import KEY, Kept, check
from gapbench.interop.logs import UNKNOWN, Log, LoggedPrompt, LoggedTask
from gapbench.records import (
    NO_ANSWER,
    SCORED,
    TRUNCATED,
    UNPARSED,
    Grade,
    Message,
    Prompt,
    Response,
    Verdict,
    error_status,
    is_error,
)
from gapbench.registry import suggest
from gapbench.store.manifest import VerifierFacts

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample

_LETTERS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
_FINISHED = {"stop": "stop", "max_tokens": "length", "model_length": "length"}


def need_inspect() -> None:
    """Check that Inspect is installed.

    Raises
    ------
    UserError
        If it is not.
    """
    try:
        import inspect_ai.log  # noqa: F401
    except ModuleNotFoundError as missing:
        raise UserError(
            f"inspect logs need the library '{missing.name}': pip install 'gapbench[inspect]'"
        ) from missing


def read_inspect(
    path: str | Path,
    *,
    model: str | None = None,
    utility: str | None = None,
    verdicts: Sequence[str] = (),
    graded: bool = False,
) -> Log:
    """Read one log, or all of a folder.

    Parameters
    ----------
    path
        A `.eval` or `.json` log, or a folder of logs of one model, of a task each.
    model
        Its name, in place of the log's own.
    utility
        The scorer whose scores are the ground truth; may be left out where there is only one besides `verdicts`.
    verdicts
        Scorers whose scores are verdicts of a verifier of that name.
    graded
        Whether a grader will grade, so that no scorer is needed.

    Raises
    ------
    UserError
        If Inspect is not installed or cannot read the log, or the log does not fit.
    """
    need_inspect()
    files = _files(Path(path))
    reader = _Reader(utility, tuple(verdicts), graded)
    models: dict[str, Path] = {}
    tasks: dict[str, LoggedTask] = {}
    unfinished = 0
    for file in files:
        log = _read(file)
        try:
            task = reader.task(log)
        except UserError as wrong:
            raise UserError(f"{file}: {wrong}") from None
        if task.name in tasks:
            raise UserError(f"{file}: task '{task.name}' is in another log of the folder too; name one log")
        tasks[task.name] = task
        models.setdefault(str(whole(log.eval.model)), file)
        unfinished += log.status != "success"
    if len(models) > 1 and model is None:
        raise UserError(f"{path}: holds logs of several models ({', '.join(models)}); name one log")
    name = model or next(iter(models))
    return Log("inspect", files, name, list(tasks.values()), reader.verifiers, {"log_unfinished": unfinished})


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"{path}: no such file or folder; name an inspect log (.eval or .json)")
    found = sorted(
        one for one in path.iterdir() if one.suffix == ".eval" or (one.suffix == ".json" and "_" in one.name)
    )
    if not found:
        raise UserError(f"{path}: there is no inspect log (.eval or .json) in it")
    return found


def _read(path: Path) -> EvalLog:
    from inspect_ai.log import read_eval_log

    try:
        with path.open("rb") as file:  # whatever it is called
            kind: Literal["eval", "json"] = (
                "eval" if path.suffix == ".eval" or file.read(4) == b"PK\x03\x04" else "json"
            )
        log = read_eval_log(
            str(path), resolve_attachments="core", format=kind, exclude_fields={"events", "store"}
        )
    except (
        Exception
    ) as failure:  # whatever a foreign reader raises at a file that is damaged or none of its own
        why = " ".join(f"{type(failure).__name__}: {failure}".split())
        raise UserError(f"{path}: inspect cannot read it as a log ({why:.200}); copy it again") from None
    if not log.samples:
        raise UserError(f"{path}: holds no samples; nothing was logged")
    return log


@dataclass
class _Pool:
    """The responses to a prompt, gathered over epochs."""

    prompt: Prompt
    question: str
    responses: list[Response] = field(default_factory=list)
    grades: list[Grade] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)


class _Reader:
    """Reads logs that are to become one run."""

    def __init__(self, utility: str | None, verdicts: tuple[str, ...], graded: bool) -> None:
        self._utility = utility
        self._verdicts = verdicts
        self._graded = graded
        self.verifiers: dict[str, VerifierFacts] = {}

    def task(self, log: EvalLog) -> LoggedTask:
        """The task of a log."""
        samples = log.samples or []
        again, times = Counter((str(one.id), one.epoch) for one in samples).most_common(1)[0]
        if times > 1:
            raise UserError(f"sample {again[0]!r:.60} is there twice in epoch {again[1]}; name another log")
        kept = [one.metadata.get(KEY) for one in samples]
        pools: dict[str, _Pool] = {}
        scorer = None if all(kept) else self._scorer(samples)
        for sample, own in zip(samples, kept, strict=True):
            try:
                self._take(sample, whole(own), str(whole(log.eval.task)), scorer, pools)
            except UserError as wrong:
                raise UserError(f"sample {sample.id!r:.60}, epoch {sample.epoch}: {wrong}") from None
        first = next(iter(pools.values())).prompt
        if any(pool.prompt.task != first.task for pool in pools.values()):
            raise UserError("holds samples of several tasks; split it")
        generation = {
            name: value
            for config in (log.plan.config, log.eval.model_generate_config)
            for name, value in config.model_dump(mode="json", exclude_none=True).items()
        }
        # Inspect hands samples on by id; the data set had them in another order.
        place = {str(one): row for row, one in enumerate(log.eval.dataset.sample_ids or [])}
        ordered = sorted(pools, key=lambda one: place.get(one, len(place)))
        prompts = [self._whole_pool(pools[one]) for one in ordered]
        return LoggedTask(first.task, first.domain, prompts, {"generation": generation})

    def _whole_pool(self, pool: _Pool) -> LoggedPrompt:
        order = sorted(range(len(pool.responses)), key=lambda place: pool.responses[place].response)
        grades = [pool.grades[place] for place in order] if pool.grades else []
        return LoggedPrompt(
            pool.prompt, pool.question, [pool.responses[place] for place in order], grades, pool.verdicts
        )

    def _scorer(self, samples: Sequence[EvalSample]) -> str | None:
        """The scorer whose scores are utilities."""
        names = list(dict.fromkeys(name for sample in samples for name in sample.scores or {}))
        for name in (*self._verdicts, *filter(None, [self._utility])):
            if name not in names:
                raise UserError(f"no scorer is called '{name}'{suggest(name, names)}")
        if self._graded:
            return None
        left = [name for name in names if name not in self._verdicts]
        if self._utility is None and len(left) != 1:
            there = f"there are: {', '.join(left)}; " if left else ""
            raise UserError(
                f"which scorer tells what is right? {there}name it with --utility SCORER, or name a grader with --grader"
            )
        return self._utility or left[0]

    def _take(
        self, sample: EvalSample, own: Any, task: str, scorer: str | None, pools: dict[str, _Pool]
    ) -> None:
        if sample.epoch < 1:
            raise UserError("epochs are counted from 1; name another log")
        if own is not None:
            kept = check(Kept, own)
            rows = kept.rows([str(whole(sample.output.completion))])
            self.verifiers.update(kept.verifiers)
            pool = pools.setdefault(kept.prompt_id, _Pool(rows.prompt, kept.question))
            if rows.prompt != pool.prompt:
                raise UserError("its prompt is another than in an earlier epoch; name another log")
            pool.responses += rows.responses
            pool.grades += rows.grades
            pool.verdicts += rows.verdicts
            return
        prompt_id = str(sample.id)
        if prompt_id not in pools:
            prompt, question = _prompt(sample, task)
            pools[prompt_id] = _Pool(prompt, question)
        pool = pools[prompt_id]
        key = task, prompt_id, sample.epoch - 1
        response = _response(sample, key)
        pool.responses.append(response)
        if scorer is not None:
            pool.grades.append(_grade(sample, scorer, response))
        pool.verdicts += [
            _verdict(sample, name, key) for name in self._verdicts if name in (sample.scores or {})
        ]


def _prompt(sample: EvalSample, task: str) -> tuple[Prompt, str]:
    """What the model was shown before it first answered, and the question as the data set has it."""
    shown = []
    for message in sample.messages:
        if (
            message.role not in ("system", "user", "assistant")
            or getattr(message, "source", None) == "generate"
        ):
            break
        shown.append(message)
    given = sample.input if isinstance(sample.input, list) else []
    turns = [one for one in shown or given if one.role in ("system", "user", "assistant")]
    messages = tuple(Message(cast(Any, one.role), str(whole(one.text))) for one in turns)
    question = sample.input if isinstance(sample.input, str) else given[-1].text if given else ""
    question = str(whole(question))
    target = sample.target if isinstance(sample.target, list) else [sample.target]
    metadata: dict[str, Any] = {"style": "chat", "metadata": whole(sample.metadata)}
    if sample.choices:
        metadata["choices"] = whole(sample.choices)
    reference = tuple(str(whole(one)) for one in target if one)
    prompt = Prompt(task, str(sample.id), task, messages or (Message("user", question),), reference, metadata)
    return prompt, question


def _response(sample: EvalSample, key: tuple[str, str, int]) -> Response:
    """What the model said; an error of Inspect's stays an error, and what a limit halted was cut."""
    failure = sample.error.message if sample.error is not None else sample.output.error
    usage = sample.output.usage
    if failure is not None:
        reason = error_status(str(whole(failure)))
    elif sample.limit is not None:  # Inspect may halt a sample before it takes down what the model said
        reason = "length"
    elif not sample.output.choices:
        reason = error_status("no output")
    else:
        reason = _FINISHED.get(sample.output.choices[0].stop_reason, UNKNOWN)
    tokens = cast(int, usage.output_tokens if usage is not None else None)
    return Response(*key, str(whole(sample.output.completion)), None, tokens, None, reason, None)


def _grade(sample: EvalSample, scorer: str, response: Response) -> Grade:
    """The scorer's score as a grade; what was cut has utility 0, as everywhere in gapbench."""
    key = response.task, response.prompt_id, response.response
    if is_error(response.finish_reason):
        return Grade(*key, None, None, None, response.finish_reason)
    if response.finish_reason == "length":
        return Grade(*key, None, None, 0.0, TRUNCATED)
    score = (sample.scores or {}).get(scorer)
    value = None if score is None else _number(score.value, scorer)
    if score is None or value is None:
        return Grade(*key, None, None, None, error_status(f"scorer {scorer} gave no score"))
    if not 0 <= value <= 1:
        raise UserError(
            f"scorer {scorer} gave {value:g}; a utility lies in [0, 1]: name another scorer with --utility, or a --grader"
        )
    if score.value == "N":
        return Grade(*key, None, None, 0.0, NO_ANSWER)
    answer = str(whole(score.answer))[:LONGEST_ANSWER] if score.answer else None
    return Grade(*key, answer, (normalise(answer) or None) if answer else None, value, SCORED)


def _verdict(sample: EvalSample, name: str, key: tuple[str, str, int]) -> Verdict:
    """A scorer's score as a verdict; one that is not a number is missing, never a no."""
    score = (sample.scores or {})[name]
    value = _number(score.value, name)
    text = str(whole(score.explanation or ""))
    status = UNPARSED if value is None else SCORED
    return Verdict(*key, name, 0, value, status, text, cast(int, None), "", None)


def _number(value: Any, scorer: str) -> float | None:
    """A score as a number; None for Inspect's mark of what was not scored."""
    if isinstance(value, str):
        if value in _LETTERS:
            return _LETTERS[value]
        try:
            value = float(value)
        except ValueError:
            raise UserError(f"scorer {scorer} gave {value!r:.40}, which is no number; name another") from None
    if not isinstance(value, bool | int | float):
        raise UserError(f"scorer {scorer} gives several numbers at once; name another, or a --grader")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if math.isinf(number):
        raise UserError(f"scorer {scorer} gave an infinite score; name another, or a --grader")
    return None if math.isnan(number) else number
