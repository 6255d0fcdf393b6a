"""What a foreign format has no field for, and a run needs to be the same again: kept beside its own fields, checked on
the way in.

lm-evaluation-harness samples have it under the key `gapbench`, inspect samples in their metadata.

>>> check(Kept, {"prompt_id": "p0", "task": "sums", "domain": "sums", "cluster": "p0", "question": "2 + 2?",
...     "messages": [{"role": "user", "content": "2 + 2?"}], "reference": ["4"], "metadata": "{}", "verdicts": [],
...     "responses": [{"response": 0, "finish_reason": "stop", "n_tokens": 1, "logprob": None, "seed": None,
...                    "utility": 2, "status": "scored", "answer": "4", "cluster": "4"}]})
Traceback (most recent call last):
    ...
gapbench.errors.UserError: responses.0.utility: input should be less than or equal to 1
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gapbench.errors import UserError
from gapbench.interop.logs import LoggedPrompt
from gapbench.records import (
    NO_ANSWER,
    SCORED,
    TRUNCATED,
    UNPARSED,
    Grade,
    Message,
    Prompt,
    Response,
    Role,
    Verdict,
    is_error,
)
from gapbench.store.manifest import VerifierFacts

KEY = "gapbench"
Index = Annotated[int, Field(ge=0, lt=2**31)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1)]


class Checked(BaseModel):
    """A piece of somebody's log whose types are what they should be."""

    model_config = ConfigDict(extra="ignore", strict=True)


C = TypeVar("C", bound=Checked)


def check(kind: type[C], value: Any) -> C:
    """Read a piece of a log.

    Raises
    ------
    UserError
        That names the first field at fault.
    """
    try:
        return kind.model_validate(value)
    except ValidationError as bad:
        first = bad.errors()[0]
        place = ".".join(map(str, first["loc"]))
        why = first["msg"].removeprefix("Value error, ")
        why = why[:1].lower() + why[1:]
        raise UserError(f"{place}: {why}" if place else why) from None


class KeptMessage(Checked):
    """As `gapbench.records.Message`."""

    role: Role
    content: str


class KeptResponse(Checked):
    """A response without its text, and what the grader found in it."""

    allowed: ClassVar[tuple[str, ...]] = (SCORED, NO_ANSWER, TRUNCATED)

    response: Index
    finish_reason: Name
    n_tokens: Index | None
    logprob: Finite | None
    seed: int | None = Field(ge=-(2**63), lt=2**63)
    utility: Annotated[float, Field(ge=0, le=1)] | None
    status: str
    answer: str | None
    cluster: str | None

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if not is_error(self.status) and self.status not in self.allowed:
            raise ValueError(f"{self.status!r:.40} is no status of a response")
        if (self.utility is None) != is_error(self.status):
            raise ValueError("a response has a utility exactly when its status is no error")
        return self


class KeptVerdict(Checked):
    """A verdict on one of the responses."""

    allowed: ClassVar[tuple[str, ...]] = (SCORED, UNPARSED, NO_ANSWER, TRUNCATED)

    response: Index
    verifier: Name
    replicate: Annotated[int, Field(ge=0, lt=2**16)]
    score: Finite | None
    status: str
    text: str
    judge: str

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if not is_error(self.status) and self.status not in self.allowed:
            raise ValueError(f"{self.status!r:.40} is no status of a verdict")
        if (self.score is None) != (self.status != SCORED):
            raise ValueError("a verdict has a score exactly when its status is 'scored'")
        return self


class Kept(Checked):
    """A prompt and its responses."""

    task: Name
    prompt_id: Name
    domain: Name
    cluster: str
    question: str
    messages: Annotated[list[KeptMessage], Field(min_length=1)]
    reference: list[str]
    metadata: str
    responses: list[KeptResponse]
    verdicts: list[KeptVerdict]
    verifiers: dict[str, VerifierFacts] = {}

    def prompt(self) -> Prompt:
        """The prompt.

        Raises
        ------
        UserError
            If its metadata is not a JSON object.
        """
        try:
            metadata = json.loads(self.metadata)
        except (ValueError, RecursionError):
            metadata = None
        if not isinstance(metadata, dict):
            raise UserError("metadata: is not a JSON object")
        messages = tuple(Message(one.role, one.content) for one in self.messages)
        return Prompt(
            self.task, self.prompt_id, self.domain, messages, tuple(self.reference), metadata, self.cluster
        )

    def rows(self, texts: Sequence[str]) -> LoggedPrompt:
        """The rows, given the texts of the responses in their order.

        Raises
        ------
        UserError
            If there are more or fewer texts than responses, or a verdict is of no response.
        """
        if len(texts) != len(self.responses):
            raise UserError(f"responses: {len(self.responses)} are told of, and {len(texts)} are there")
        key = self.task, self.prompt_id
        _once([one.response for one in self.responses], "responses: response")
        _once([(one.response, one.verifier, one.replicate) for one in self.verdicts], "verdicts: key")
        known = {one.response for one in self.responses}
        for verdict in self.verdicts:
            if verdict.response not in known:
                raise UserError(f"verdicts: there is no response {verdict.response}")
        responses = [
            Response(
                *key,
                one.response,
                text,
                None,
                cast(int, one.n_tokens),  # null in the table where it is not known
                one.logprob,
                one.finish_reason,
                one.seed,
            )
            for one, text in zip(self.responses, texts, strict=True)
        ]
        grades = [
            Grade(*key, one.response, one.answer, one.cluster, one.utility, one.status)
            for one in self.responses
        ]
        verdicts = [
            Verdict(
                *key, one.response, one.verifier, one.replicate, one.score, one.status, one.text,
                cast(int, None), one.judge, None,
            )
            for one in self.verdicts
        ]  # fmt: skip
        return LoggedPrompt(self.prompt(), self.question, responses, grades, verdicts)


def _once(keys: Sequence[object], what: str) -> None:
    for key, times in Counter(keys).most_common(1):
        if times > 1:
            raise UserError(f"{what} {key} is there twice")


def keep(logged: LoggedPrompt, verifiers: Mapping[str, VerifierFacts]) -> dict[str, Any]:
    """Plain values that `Kept` reads, the texts of the responses left out.

    Parameters
    ----------
    verifiers
        What is known of those whose verdicts are there.
    """
    prompt = logged.prompt
    record = prompt.to_record()
    pairs = zip(logged.responses, logged.grades, strict=True)
    return {
        **{name: record[name] for name in ("task", "prompt_id", "domain", "cluster", "messages", "metadata")},
        "question": logged.question,
        "reference": list(prompt.reference),
        "responses": [
            {
                "response": response.response,
                **{
                    name: getattr(response, name) for name in ("finish_reason", "n_tokens", "logprob", "seed")
                },
                **{name: getattr(grade, name) for name in ("utility", "status", "answer", "cluster")},
            }
            for response, grade in pairs
        ],
        "verdicts": [
            {name: getattr(verdict, name) for name in KeptVerdict.model_fields} for verdict in logged.verdicts
        ],
        "verifiers": {name: facts.model_dump() for name, facts in verifiers.items()},
    }
