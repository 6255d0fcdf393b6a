"""Any server of the OpenAI protocol: a hosted model, vLLM, SGLang, llama.cpp, Ollama and others.

`gapbench run starter --engine openai -m MODEL --engine-option base_url=http://localhost:8000/v1`. A key comes from the
environment alone (OPENAI_API_KEY, or the variable that `key_env` names) and is written nowhere.
"""

from __future__ import annotations

import json
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Any

import openai

from gapbench.engines._openai_dialect import PATHS, Api, Spoken, find_dialect
from gapbench.engines._openai_loop import LoopThread
from gapbench.engines._openai_replies import read_results
from gapbench.engines._openai_server import Exhausted, Refused, Server
from gapbench.engines._secrets import refuse_secrets
from gapbench.engines.base import Capabilities, Engine, Key, ModelInfo, Request, Result, engines
from gapbench.errors import UserError
from gapbench.records import Message, Style, error_status
from gapbench.registry import suggest

_API_OF: dict[Style, Api] = {"chat": "chat", "plain": "completions"}
_TRIVIAL = (Message("user", "1 + 1?"),)
_OPTIONS = (
    "base_url", "key_env", "api", "concurrency", "max_retries", "timeout", "seeds", "n_at_once", "logprobs",
    "extra_body",
)  # fmt: skip

# So many calls that fail one after the other, each with all its retries, mean that the server does.
_MOST_FAILURES = 16


@dataclass(frozen=True, slots=True)
class _Call:
    """Generations to be asked for at once."""

    request: Request
    keys: tuple[Key, ...]
    seed: int | None


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of a call; `failed` where it is nothing but failures that another time may not meet."""

    results: list[Result]
    failed: bool


@engines.register("openai")
class OpenAIEngine(Engine):
    """Asks a server of the OpenAI protocol, many calls at once.

    Prompts of chat style go to chat, which applies the model's template; those of plain style go to completions as
    `Q:`/`A:` text. What the server offers is found out at the start by a call of four tokens to each.

    A call that fails is tried again after doubling, spread waits, or after what the server asks (`Retry-After`); what
    fails after that is `error:<reason>` in its own result. What no retry can mend stops the run: a refused key, an unknown
    model, a request refused for what all requests have in common. So does a server that has stopped answering; the
    failures that led to this are then no results, so that a resumed run asks again.

    Parameters
    ----------
    model
        As the server calls it.
    base_url
        Address up to and including `/v1`; by default OPENAI_BASE_URL, or OpenAI's own.
    key_env
        Environment variable that holds the key; by default OPENAI_API_KEY, which a local server does not need.
    api
        `chat` or `completions` for every prompt, whatever its style.
    concurrency
        Calls at once.
    max_retries
        Tries of a call after the first.
    timeout
        Seconds that one try may take, whole reply included.
    seeds
        The server draws each generation from the seed in its request (vLLM and llama.cpp do): one call for each. Else
        generations of a prompt are asked for together, and the run cannot be drawn again.
    n_at_once
        Generations of a prompt asked for in one call, without `seeds`.
    logprobs
        Whether log-probabilities are asked for.
    extra_body
        Further fields of every request, such as `{chat_template_kwargs: {enable_thinking: false}}`.

    Raises
    ------
    UserError
        If the server cannot be reached, or refuses the key, the model or the requests; for an option that is none.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        key_env: str | None = None,
        api: Api | None = None,
        concurrency: int = 64,
        max_retries: int = 6,
        timeout: float = 600.0,
        seeds: bool = False,
        n_at_once: int = 16,
        logprobs: bool = True,
        extra_body: dict[str, Any] | None = None,
        **unknown: Any,
    ) -> None:
        refuse_secrets({"base_url": base_url, "extra_body": extra_body or {}, **unknown})
        for name in unknown:
            raise UserError(f"engine 'openai' has no option '{name}'{suggest(name, list(_OPTIONS))}")
        _check("api", api, "chat or completions", api in (None, *PATHS))
        _check("concurrency", concurrency, "a whole number from 1 to 1000", _whole(concurrency, 1, 1000))
        _check("max_retries", max_retries, "a whole number from 0 to 100", _whole(max_retries, 0, 100))
        _check("n_at_once", n_at_once, "a whole number from 1 to 128", _whole(n_at_once, 1, 128))
        positive = isinstance(timeout, int | float) and 0 < timeout < float("inf")
        _check("timeout", timeout, "a number of seconds", positive)
        for name, value in (("seeds", seeds), ("logprobs", logprobs)):
            _check(name, value, "true or false", isinstance(value, bool))
        for name, text in (("base_url", base_url), ("key_env", key_env)):
            if not isinstance(text, str | None):
                raise UserError(f"option '{name}' of engine 'openai' must be a text")
        _check("extra_body", extra_body, "a mapping", isinstance(extra_body, dict | None))
        self._name, self._concurrency, self._n_at_once = model, concurrency, n_at_once
        self._seeds, self._extra = seeds, extra_body or {}
        self._server = Server(base_url, key_env, concurrency, float(timeout), max_retries)
        self._shapes: dict[str, bool] = {}
        self._lacking: dict[Api, str] = {}
        self._loop = LoopThread()
        try:
            listed = self._loop.submit(self._server.models()).result()
            self._spoken = {
                one: spoken
                for one in ((api,) if api else PATHS)
                if (spoken := self._ask_for(one, logprobs)) is not None
            }
            self._check_spoken(listed)
        except BaseException:
            self.close()
            raise
        self._api = api
        told = next(iter(self._spoken.values()))
        self._fingerprint = told.fingerprint
        probabilities = all(one.dialect.top > 0 for one in self._spoken.values())
        if logprobs and not probabilities:
            warnings.warn(
                f"the server {self._server.url} gives no log-probabilities for '{model}': no verifier can use any",
                stacklevel=2,
            )
        self.capabilities = Capabilities(seeds=seeds, logprobs=probabilities, labels=probabilities)
        entry = next((one for one in listed if one.get("id") == model), {})
        context = entry.get("max_model_len")
        self.model = ModelInfo(
            id=told.model or model,
            context=context if _whole(context, 1, 1 << 40) else None,
            chat_template="chat" in self._spoken,
        )

    def run(self, requests: Iterable[Request | None]) -> Iterator[Result]:
        """Yield one result for each key of each request, as it arrives.

        Raises
        ------
        UserError
            If the server refuses what every request has, or lacks the API that a request needs.
        EngineFailure
            If the server has stopped answering.
        """
        source = iter(requests)
        calls: deque[_Call] = deque()
        running: set[Future[_Outcome]] = set()
        finished: SimpleQueue[Future[_Outcome]] = SimpleQueue()
        held: list[
            Result
        ] = []  # failures since the last success: none of the model's if the server is failing
        failures = 0
        more = True
        try:
            while True:
                waits = False
                # As many again wait in the loop, which has work while the caller is busy with a result.
                while len(running) < 2 * self._concurrency and not waits:
                    if calls:
                        future = self._loop.submit(self._answer(calls.popleft()))
                        running.add(future)
                        future.add_done_callback(finished.put)
                        continue
                    if not more:
                        break
                    try:
                        request = next(source)
                    except StopIteration:
                        more = False
                        break
                    waits = request is None
                    if request is not None:
                        calls.extend(self._calls(request))
                if not running:
                    yield from held
                    held = []
                    if not more:
                        return
                    continue
                future = finished.get()
                running.discard(future)
                outcome = future.result()
                if outcome.failed:
                    failures += 1
                    held += outcome.results
                    if failures >= _MOST_FAILURES:
                        reason = held[-1].finish_reason.removeprefix("error:")
                        self._server.give_up(f"{failures} calls failed, the last one with {reason}")
                    continue
                yield from held
                held, failures = [], 0
                yield from outcome.results
        finally:
            for future in running:
                future.cancel()

    def close(self) -> None:
        """Give up what is on its way, and close the connections."""
        if not self._loop.closed:
            self._loop.submit(self._server.close()).result()
            self._loop.close()

    def describe(self) -> dict[str, Any]:
        """Server, and how it is spoken to, beside the usual facts."""
        dialects = {
            api: {"neutral_sampling": one.dialect.neutral, "top_logprobs": one.dialect.top}
            for api, one in self._spoken.items()
        }
        return {
            **super().describe(),
            "version": openai.__version__,
            "server": self._server.url,
            "system_fingerprint": self._fingerprint,
            "apis": dialects,
            "n_at_once": 1 if self._seeds else self._n_at_once,
        }

    def _ask_for(self, api: Api, logprobs: bool) -> Spoken | None:
        """Find out how an API is spoken to; None where the server lacks it."""
        asking = find_dialect(
            self._server, api, self._name, self._extra, seeds=self._seeds, logprobs=logprobs
        )
        try:
            return self._loop.submit(asking).result()
        except Refused as refusal:
            if refusal.status in (401, 403):
                self._server.refuse(refusal)
            self._lacking[api] = str(refusal)
        except Exhausted as failure:
            self._lacking[api] = str(failure)
        return None

    def _check_spoken(self, listed: Sequence[dict[str, Any]]) -> None:
        if self._spoken:
            return
        known = [str(one.get("id"))[:80] for one in listed]
        hint = "; does its address end in /v1?"
        if known:
            hint = suggest(self._name, known[:20]) if self._name not in known else ""
        reasons = "; ".join(f"{api}: {reason}" for api, reason in self._lacking.items())
        raise UserError(f"the server {self._server.url} does not serve '{self._name}' ({reasons}){hint}")

    def _calls(self, request: Request) -> Iterator[_Call]:
        self._spoken_for(request)
        if self._seeds:
            for key, seed in zip(request.keys, request.seeds, strict=True):
                yield _Call(request, (key,), seed)
        else:
            for start in range(0, len(request.keys), self._n_at_once):
                yield _Call(request, request.keys[start : start + self._n_at_once], None)

    def _spoken_for(self, request: Request) -> Spoken:
        api = self._api or _API_OF[request.style]
        if api not in self._spoken:
            other = next(iter(self._spoken))
            raise UserError(
                f"the server {self._server.url} has no {api} for '{self._name}' ({self._lacking[api]}), where prompts of "
                f"{request.style} style go; --engine-option api={other} sends all to {other}"
            )
        return self._spoken[api]

    async def _answer(self, call: _Call) -> _Outcome:
        """Ask until every key has its generation, or no retry is left."""
        results: list[Result] = []
        while left := call.keys[len(results) :]:
            try:
                results += await self._ask(call, left)
            except (Refused, Exhausted) as failure:
                if isinstance(failure, Exhausted) and failure.silent:
                    await self._server.check_alive(str(failure))
                status = error_status(str(failure))
                failed = not results and not isinstance(failure, Refused)
                results += [Result(key, "", None, 0, None, status) for key in left]
                return _Outcome(results, failed)
        return _Outcome(results, False)

    async def _ask(self, call: _Call, keys: Sequence[Key]) -> list[Result]:
        dialect = self._spoken_for(call.request).dialect
        body = dialect.body(self._name, call.request, len(keys), call.seed, self._extra)
        try:
            reply = await self._server.post(PATHS[dialect.api], body)
        except Refused as refusal:
            if refusal.status in (401, 404):
                self._server.refuse(refusal)
            await self._check_shape(call, dialect.api, refusal)
            raise
        return read_results(call.request, keys, reply)

    async def _check_shape(self, call: _Call, api: Api, refusal: Refused) -> None:
        """Ask the same of a trivial question: what is refused then too is refused to every request.

        Raises
        ------
        UserError
            If it is.
        """
        request = replace(call.request, messages=_TRIVIAL)
        body = self._spoken[api].dialect.body(self._name, request, len(call.keys), call.seed, self._extra)
        shape = json.dumps({name: value for name, value in body.items() if name != "seed"}, default=str)
        if self._shapes.get(shape):
            return
        try:
            await self._server.post(PATHS[api], body)
        except Refused as again:
            self._server.refuse(again)
        except Exhausted:
            return
        self._shapes[shape] = True


def _whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _check(name: str, value: object, what: str, sound: bool) -> None:
    if not sound:
        raise UserError(f"option '{name}' of engine 'openai' must be {what}, not {value!r}")
