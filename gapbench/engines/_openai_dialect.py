"""Which part of the OpenAI protocol a server speaks: asked once at the start, by a call of a few tokens for each API."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from gapbench.engines._openai_replies import read_choices, read_first
from gapbench.engines._openai_server import Refused, Server
from gapbench.engines.base import Request, Sampling, render_plain
from gapbench.records import Message

Api = Literal["chat", "completions"]
PATHS: dict[Api, str] = {"chat": "/chat/completions", "completions": "/completions"}

# What vLLM and llama.cpp would else fill in from the model's folder or from habits of their own (top-k 40, min-p 0.05),
# so that what is measured were not the sampling that was asked for.
_NEUTRAL = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}

_QUESTION = Request(
    (Message("user", "Count: one, two,"),), "chat", (("probe",),), (0,), Sampling(max_tokens=4)
)


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one API of one server is spoken to.

    Attributes
    ----------
    limit
        What the limit on generated tokens is called.
    neutral
        Whether `top_p` and the extensions of vLLM and llama.cpp that switch every other sampling off are understood.
    top
        Most first tokens whose log-probabilities can be had; 0 where there are no log-probabilities.
    """

    api: Api
    limit: str = "max_tokens"
    neutral: bool = True
    top: int = 20

    def body(
        self, model: str, request: Request, n: int, seed: int | None, extra: dict[str, Any]
    ) -> dict[str, Any]:
        """One call for `n` generations."""
        sampling = request.sampling
        body: dict[str, Any] = {
            "model": model,
            self.limit: sampling.max_tokens,
            "temperature": sampling.temperature,
            "n": n,
        }
        if self.api == "chat":
            body["messages"] = [{"role": one.role, "content": one.content} for one in request.messages]
            if self.top:
                body["logprobs"] = True
            if self.top and request.labels:
                body["top_logprobs"] = self.top
        else:
            body["prompt"] = render_plain(request.messages)
            if self.top:
                body["logprobs"] = self.top if request.labels else 1
        if self.neutral or sampling.top_p != 1:
            body["top_p"] = sampling.top_p
        if self.neutral:
            body |= _NEUTRAL
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if seed is not None:
            body["seed"] = seed
        return body | extra

    def simpler(self, refusal: str) -> Iterator[Dialect]:
        """Dialects that ask for less, those first that the server's words point to."""
        refusal = refusal.lower()
        less = {20: 5, 5: 1, 1: 0}
        steps = [
            (
                self.limit == "max_tokens",
                ("max_completion_tokens",),
                replace(self, limit="max_completion_tokens"),
            ),
            (self.top > 0, ("logprobs",), replace(self, top=less.get(self.top, 0))),
            (self.neutral, ("top_k", "min_p", "repetition_penalty", "top_p"), replace(self, neutral=False)),
        ]
        for possible, words, other in steps:
            if possible and any(word in refusal for word in words):
                yield other
        for possible, words, other in reversed(steps):
            if possible and not any(word in refusal for word in words):
                yield other


@dataclass(frozen=True, slots=True)
class Spoken:
    """A dialect that a server answered to, and what it then said of itself.

    Attributes
    ----------
    model
        The model's id in the reply.
    fingerprint
        What the server calls its configuration, if it says.
    """

    dialect: Dialect
    model: str | None
    fingerprint: str | None


async def find_dialect(
    server: Server, api: Api, model: str, extra: dict[str, Any], *, seeds: bool, logprobs: bool
) -> Spoken:
    """Ask until the server does not refuse.

    Raises
    ------
    Refused
        If it refuses whatever is left out.
    Exhausted
        If it fails.
    """
    waiting = [Dialect(api, top=20 if logprobs else 0)]
    tried: set[Dialect] = set()
    first: Refused | None = None
    request = replace(_QUESTION, labels=("three", "four"))
    while waiting:
        dialect = waiting.pop(0)
        tried.add(dialect)
        body = dialect.body(model, request, 1, 0 if seeds else None, extra)
        try:
            reply = await server.post(PATHS[api], body)
        except Refused as refusal:
            if refusal.status not in (400, 422):
                raise
            first = first or refusal
            # Depth first: what the words point to is likely to be it.
            waiting = [one for one in dialect.simpler(str(refusal)) if one not in tried] + waiting
            continue
        if dialect.top and not read_first(read_choices(reply)[0]):
            dialect = replace(dialect, top=0)
        said = [reply.get(name) for name in ("model", "system_fingerprint")]
        return Spoken(dialect, *(one if isinstance(one, str) and one else None for one in said))
    assert first is not None
    raise first
