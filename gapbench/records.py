"""The rows that a run is made of, their Arrow schemas, and the words for their status.

Rows are keyed and appended as they finish; a row is never rewritten. That is why what the grader found is a
table of its own (`grades`) and not two more columns of `responses`: a response is on disk before it is graded.

>>> Grade("sums", "p0", 3, answer="12", cluster="12", utility=1.0, status=SCORED).utility
1.0
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, Self, get_args

import pyarrow as pa

SCORED = "scored"
NO_ANSWER = "no_answer"
TRUNCATED = "truncated"
UNPARSED = "unparsed"


def error_status(reason: str) -> str:
    """Status of a row that failed for a technical reason; such rows leave the sample size N."""
    return "error:" + " ".join(reason.split())[:200]


def is_error(status: str) -> bool:
    """Whether `status` (or a finish reason) is one of `error:<reason>`."""
    return status.startswith("error:")


Role = Literal["system", "user", "assistant"]
Style = Literal["plain", "chat"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


class Row:
    """What every table's row type has: a table name, a schema and a key."""

    __slots__ = ()
    table: ClassVar[str]
    schema: ClassVar[pa.Schema]
    key_columns: ClassVar[tuple[str, ...]]

    @property
    def key(self) -> tuple[Any, ...]:
        """The values of the key columns, in order."""
        return tuple(getattr(self, name) for name in self.key_columns)

    def to_record(self) -> dict[str, Any]:
        """The row as plain values that fit the Arrow schema."""
        return {column.name: getattr(self, column.name) for column in fields(self)}  # type: ignore[arg-type]

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        """The inverse of `to_record`."""
        return cls(**record)


@dataclass(frozen=True, slots=True)
class Prompt(Row):
    """A question as the model sees it, with the reference that the grader holds it to.

    Attributes
    ----------
    messages
        The few-shot turns, if any, and the question as the last user turn.
    reference
        Right answer first, then its aliases.
    metadata
        JSON-able facts the grader or a reader may need (source row, rendering style).
    cluster
        Prompts that share a passage or a template share a cluster, the unit of the intervals.
    """

    table: ClassVar[str] = "prompts"
    key_columns: ClassVar[tuple[str, ...]] = ("task", "prompt_id")
    schema: ClassVar[pa.Schema] = pa.schema(
        [
            ("task", pa.string()),
            ("prompt_id", pa.string()),
            ("domain", pa.string()),
            ("messages", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
            ("reference", pa.list_(pa.string())),
            ("metadata", pa.string()),
            ("cluster", pa.string()),
        ]
    )

    task: str
    prompt_id: str
    domain: str
    messages: tuple[Message, ...]
    reference: tuple[str, ...]
    metadata: dict[str, Any] = field(default_factory=dict)
    cluster: str = ""

    @property
    def question(self) -> str:
        """The last user turn: the question without its few-shot examples."""
        return self.messages[-1].content

    @property
    def shots(self) -> list[tuple[str, str]]:
        """The worked examples shown before the question, as (question, answer) pairs."""
        turns = [message for message in self.messages[:-1] if message.role != "system"]
        return [(q.content, a.content) for q, a in zip(turns[::2], turns[1::2], strict=True)]

    @property
    def style(self) -> Style:
        """`plain` (`Q:`/`A:` text) or `chat` (the model's own template)."""
        return "chat" if self.metadata.get("style") == "chat" else "plain"

    def to_record(self) -> dict[str, Any]:
        """The row as plain values; metadata becomes JSON text."""
        return {
            "task": self.task,
            "prompt_id": self.prompt_id,
            "domain": self.domain,
            "messages": [{"role": m.role, "content": m.content} for m in self.messages],
            "reference": list(self.reference),
            "metadata": json.dumps(self.metadata, sort_keys=True, default=str),
            "cluster": self.cluster or self.prompt_id,
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        """The inverse of `to_record`.

        Raises
        ------
        ValueError
            If the messages or the metadata are not such as `to_record` gives.
        """
        metadata = json.loads(record["metadata"] or "{}")
        if not isinstance(metadata, dict):
            raise ValueError("its metadata is not a JSON object")
        if not record["messages"]:
            raise ValueError("it has no messages")
        for message in record["messages"]:
            if message is None or message["role"] not in get_args(Role) or message["content"] is None:
                raise ValueError("a message of it has no content, or an unknown role")
        return cls(
            task=record["task"],
            prompt_id=record["prompt_id"],
            domain=record["domain"],
            messages=tuple(Message(m["role"], m["content"]) for m in record["messages"]),
            reference=tuple(record["reference"]),
            metadata=metadata,
            cluster=record["cluster"],
        )


@dataclass(frozen=True, slots=True)
class Response(Row):
    """One answer drawn from the model.

    Attributes
    ----------
    response
        Index of the response within its prompt, from 0.
    token_ids
        What was generated, the stop token included, or None where the engine does not say.
    logprob
        Sum of the log-probabilities of `token_ids` under the model at temperature 1, in nats.
    finish_reason
        `stop`, `length` (cut at the token limit: censored) or `error:<reason>`.
    round
        Which round of a self-improvement loop it belongs to; 0 for a single measurement.
    """

    table: ClassVar[str] = "responses"
    key_columns: ClassVar[tuple[str, ...]] = ("task", "prompt_id", "response")
    schema: ClassVar[pa.Schema] = pa.schema(
        [
            ("task", pa.string()),
            ("prompt_id", pa.string()),
            ("response", pa.int32()),
            ("text", pa.string()),
            ("token_ids", pa.list_(pa.int32())),
            ("n_tokens", pa.int32()),
            ("logprob", pa.float64()),
            ("finish_reason", pa.string()),
            ("seed", pa.int64()),
            ("round", pa.int32()),
        ]
    )

    task: str
    prompt_id: str
    response: int
    text: str
    token_ids: tuple[int, ...] | None
    n_tokens: int
    logprob: float | None
    finish_reason: str
    seed: int | None
    round: int = 0


@dataclass(frozen=True, slots=True)
class Grade(Row):
    """What the grader found in one response.

    Attributes
    ----------
    answer
        The answer extracted from the text, or None.
    cluster
        Normal form of the answer; two responses agree when their clusters are equal. None never agrees.
    utility
        Ground-truth utility in [0, 1]; None only where `status` is an error.
    """

    table: ClassVar[str] = "grades"
    key_columns: ClassVar[tuple[str, ...]] = ("task", "prompt_id", "response")
    schema: ClassVar[pa.Schema] = pa.schema(
        [
            ("task", pa.string()),
            ("prompt_id", pa.string()),
            ("response", pa.int32()),
            ("answer", pa.string()),
            ("cluster", pa.string()),
            ("utility", pa.float64()),
            ("status", pa.string()),
        ]
    )

    task: str
    prompt_id: str
    response: int
    answer: str | None
    cluster: str | None
    utility: float | None
    status: str


@dataclass(frozen=True, slots=True)
class Verdict(Row):
    """One judgement of one response. `score` is None exactly when `status` is not `scored`."""

    table: ClassVar[str] = "verdicts"
    key_columns: ClassVar[tuple[str, ...]] = ("task", "prompt_id", "response", "verifier", "replicate")
    schema: ClassVar[pa.Schema] = pa.schema(
        [
            ("task", pa.string()),
            ("prompt_id", pa.string()),
            ("response", pa.int32()),
            ("verifier", pa.string()),
            ("replicate", pa.int32()),
            ("score", pa.float64()),
            ("status", pa.string()),
            ("text", pa.string()),
            ("n_tokens", pa.int32()),
            ("judge", pa.string()),
            ("seed", pa.int64()),
        ]
    )

    task: str
    prompt_id: str
    response: int
    verifier: str
    replicate: int
    score: float | None
    status: str
    text: str
    n_tokens: int
    judge: str
    seed: int | None


@dataclass(frozen=True, slots=True)
class Comparison(Row):
    """One judgement of a pair of responses to the same prompt, a before b by index.

    Attributes
    ----------
    first_shown
        `a` or `b`.
    preferred
        `a`, `b` or `tie`; None exactly when `status` is not `scored`.
    score
        How probably `a` is the better one, in [0, 1]; None as `preferred`.
    """

    table: ClassVar[str] = "comparisons"
    key_columns: ClassVar[tuple[str, ...]] = (
        "task",
        "prompt_id",
        "response_a",
        "response_b",
        "verifier",
        "replicate",
    )
    schema: ClassVar[pa.Schema] = pa.schema(
        [
            ("task", pa.string()),
            ("prompt_id", pa.string()),
            ("response_a", pa.int32()),
            ("response_b", pa.int32()),
            ("verifier", pa.string()),
            ("replicate", pa.int32()),
            ("first_shown", pa.string()),
            ("preferred", pa.string()),
            ("score", pa.float64()),
            ("status", pa.string()),
            ("text", pa.string()),
            ("n_tokens", pa.int32()),
            ("judge", pa.string()),
            ("seed", pa.int64()),
        ]
    )

    task: str
    prompt_id: str
    response_a: int
    response_b: int
    verifier: str
    replicate: int
    first_shown: str
    preferred: str | None
    score: float | None
    status: str
    text: str
    n_tokens: int
    judge: str
    seed: int | None


INDEX_COLUMNS = frozenset({"response", "response_a", "response_b", "replicate"})
"""Columns that count from 0."""

NEVER_NULL = INDEX_COLUMNS | {
    "task", "prompt_id", "domain", "messages", "reference", "metadata", "text", "finish_reason", "verifier", "status",
}  # fmt: skip
"""Columns that have a value in every row of their tables."""

ROWS: dict[str, type[Row]] = {row.table: row for row in (Prompt, Response, Grade, Verdict, Comparison)}
