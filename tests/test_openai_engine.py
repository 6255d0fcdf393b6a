"""The openai engine against a server of our own that misbehaves over real sockets."""

from __future__ import annotations

import itertools
import json
import logging
import math
import os
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai", reason="the openai engine's library is not installed")

from gapbench.engines import _openai_server
from gapbench.engines._openai_replies import label_logprobs, read_results
from gapbench.engines._secrets import refuse_secrets
from gapbench.engines.base import Capabilities, Request, Result, Sampling
from gapbench.engines.openai import OpenAIEngine
from gapbench.errors import EngineFailure, UserError
from gapbench.launch import EngineSpec, start_engine
from gapbench.records import UNPARSED, Message, Response, Style
from gapbench.store import RunStore
from gapbench.thinking import strip_thinking
from gapbench.verifiers._asking import label_share
from tests.conftest import Cli, command, document
from tests.serving import MODEL, REPORTED, Call, ToyServer, free_port, text_of

KEY = "sk-geheim-0123456789"


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key and no address but the test's own, and short waits."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(_openai_server, "_FIRST_WAIT", 0.01)
    monkeypatch.setattr(_openai_server, "_LONGEST_WAIT", 0.1)


def ask(
    number: int, keys: int = 1, style: Style = "plain", labels: tuple[str, ...] = (), **sampling: Any
) -> Request:
    return Request(
        (Message("user", f"question {number}"),),
        style,
        tuple((number, index) for index in range(keys)),
        tuple(1000 * number + index for index in range(keys)),
        Sampling(**sampling),
        labels,
    )


def engine(server: ToyServer, **options: Any) -> OpenAIEngine:
    return OpenAIEngine(MODEL, base_url=server.url, **options)


def answers(server: ToyServer, requests: list[Request | None], **options: Any) -> list[Result]:
    asking = engine(server, **options)
    try:
        return list(asking.run(requests))
    finally:
        asking.close()


def each_once(results: list[Result], requests: list[Request]) -> bool:
    return sorted(one.key for one in results) == sorted(key for request in requests for key in request.keys)


def on_first_try(trouble: int | str, share: int = 1) -> Any:
    """Trouble at the first try of every call, or of one in `share`; none for the engine's own probes."""
    return lambda call: (
        trouble if not call.probe and call.tries == 1 and hash(call.prompt) % share == 0 else None
    )


@pytest.mark.parametrize("seeds", [False, True])
def test_every_key_has_the_text_the_server_drew_for_it(seeds: bool) -> None:
    requests = [ask(i, 5, "chat" if i % 2 else "plain") for i in range(20)]
    with ToyServer() as server:
        results = answers(server, [None, *requests], seeds=seeds, n_at_once=5, concurrency=8)
    assert each_once(results, requests)
    for one in results:
        number, index = one.key
        drawn = (1000 * number + index, 0) if seeds else (None, index)
        assert one.text == text_of(f"question {number}", *drawn)
        assert (one.finish_reason, one.n_tokens, one.n_prompt) == ("stop", 3, 10)
        assert one.logprob == pytest.approx(-1.5)
        # The prompt of a call is computed once, less what the server had in its cache.
        assert one.n_cached == (4 if seeds or index == 0 else 10)
    assert len(server.real) == (100 if seeds else 20)
    paths = {call.prompt: call.path for call in server.real}
    assert all(("chat" in path) == int(prompt[-1]) % 2 for prompt, path in paths.items())


@pytest.mark.parametrize("trouble", [429, 500, 503, "stall", "stall-body", "truncate", "reset", "empty"])
def test_a_call_that_fails_is_made_again_and_counts_once(trouble: int | str) -> None:
    requests = [ask(i, 4) for i in range(12)]
    with ToyServer(trouble=on_first_try(trouble)) as server:
        timeout = 1.0 if str(trouble).startswith("stall") else 60.0
        results = answers(server, requests, n_at_once=4, timeout=timeout)
    assert each_once(results, requests)
    assert {one.finish_reason for one in results} == {"stop"}
    assert all(one.text == text_of(f"question {one.key[0]}", None, one.key[1]) for one in results)
    assert len(server.real) == 24


def test_what_the_server_asks_to_wait_is_waited() -> None:
    with ToyServer(trouble=on_first_try(429), retry_after="1") as server:
        begun = time.monotonic()
        assert answers(server, [ask(0)])[0].finish_reason == "stop"
        assert time.monotonic() - begun >= 1
    for told, seconds in (("0", 0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("9999999", 600), ("soon", None)):
        assert _openai_server._asked(_status_error({"retry-after": told})) == seconds
    assert _openai_server._asked(_status_error({"retry-after-ms": "250"})) == 0.25


def _status_error(headers: dict[str, str]) -> Any:
    class Response:
        pass

    failure, response = Response(), Response()
    response.headers = headers  # type: ignore[attr-defined]
    failure.response = response  # type: ignore[attr-defined]
    return failure


def test_failures_that_last_are_told_in_their_own_results() -> None:
    requests = [ask(i, 2) for i in range(40)]
    broken = {f"question {i}" for i in range(0, 40, 4)}
    with ToyServer(trouble=lambda call: 500 if call.prompt in broken else None) as server:
        results = answers(server, requests, max_retries=2, concurrency=4)
    assert each_once(results, requests)
    for one in results:
        if one.key[0] % 4:
            assert one.finish_reason == "stop"
        else:
            assert one.finish_reason == "error:HTTP 500, trouble 500"
            assert one.text == ""
            assert one.logprob is None
    tries = [call for call in server.real if call.prompt == "question 0"]
    assert len(tries) == 3


def test_a_server_that_only_fails_stops_the_run_and_leaves_no_rows() -> None:
    requests = [ask(i) for i in range(200)]
    with ToyServer() as server:
        asking = engine(server, max_retries=1, concurrency=4)
        results: list[Result] = []
        server.trouble = lambda call: 500 if int(call.prompt.split()[-1]) >= 50 else None
        with pytest.raises(EngineFailure, match=r"no answers any more.*--resume") as stopped:
            results.extend(asking.run(requests))
        asking.close()
    assert "\n" not in str(stopped.value)
    assert {one.finish_reason for one in results} == {"stop"}
    assert len({one.key for one in results}) == len(results) == 50


def test_a_server_that_dies_stops_the_run() -> None:
    with ToyServer(delay=0.01) as server:
        asking = engine(server, max_retries=2, concurrency=4)
        running = asking.run(ask(i) for i in range(100_000))
        results = list(itertools.islice(running, 20))
        server.die()
        with pytest.raises(EngineFailure, match="no answers any more"):
            results.extend(running)
        asking.close()
    assert {one.finish_reason for one in results} == {"stop"}
    assert len({one.key for one in results}) == len(results) < 1000


def test_a_storm_of_every_trouble_loses_and_repeats_nothing() -> None:
    luck = random.Random(0)
    kinds: list[int | str | None] = [429, 500, "truncate", "reset", "empty", *[None] * 5]
    requests = [ask(i, 1 + i % 7, "chat" if i % 3 else "plain") for i in range(60)]
    with ToyServer(trouble=lambda call: None if call.probe else luck.choice(kinds), most=3) as server:
        results = answers(server, requests, n_at_once=5, concurrency=16, max_retries=30)
        assert server.busiest <= 16
    assert each_once(results, requests)
    assert {one.finish_reason for one in results} == {"stop"}


def test_fewer_choices_than_asked_for_are_made_up_for() -> None:
    requests = [ask(i, 7) for i in range(3)]
    with ToyServer(most=3) as server:
        results = answers(server, requests)
    assert each_once(results, requests)
    assert [call.body["n"] for call in server.real if call.prompt == "question 0"] == [7, 4, 1]


@pytest.mark.parametrize("concurrency", [1, 5])
def test_the_bound_on_calls_is_met_and_never_passed(concurrency: int) -> None:
    def change(call: Call, good: dict[str, Any]) -> dict[str, Any]:
        deadline = time.monotonic() + 20
        while server.busiest < concurrency and not call.probe and time.monotonic() < deadline:
            time.sleep(0.001)
        return good

    with ToyServer(trouble=on_first_try(500, 3), change=change) as server:
        answers(server, [ask(i) for i in range(20)], concurrency=concurrency)
        assert server.busiest == concurrency


def test_requests_are_taken_in_the_callers_thread_as_places_come_free() -> None:
    taken: list[int] = []

    def source() -> Iterator[Request]:
        for number in range(200):
            assert threading.current_thread() is threading.main_thread()
            taken.append(number)
            yield ask(number)

    with ToyServer() as server:
        asking = engine(server, concurrency=4)
        results = asking.run(source())
        assert not taken
        for seen in range(1, 60):
            next(results)
            assert len(taken) <= seen + 2 * 4
        results.close()
        asking.close()


def test_none_waits_for_a_result_and_then_asks_again() -> None:
    """Requests that are made of earlier results, as a tournament's are."""
    seen: list[Result] = []

    def source() -> Iterator[Request | None]:
        yield ask(0)
        for number in range(1, 6):
            while len(seen) < number:
                yield None
            yield ask(number)
        yield None

    with ToyServer() as server:
        asking = engine(server)
        for one in asking.run(source()):
            seen.append(one)
        asking.close()
    assert [one.key for one in seen] == [(number, 0) for number in range(6)]


def test_failures_are_given_where_the_source_waits_for_them() -> None:
    seen: list[Result] = []

    def source() -> Iterator[Request | None]:
        yield ask(0)
        while not seen:
            yield None

    with ToyServer(trouble=lambda call: None if call.probe else 500) as server:
        asking = engine(server, max_retries=0)
        seen.extend(asking.run(source()))
        asking.close()
    assert seen[0].finish_reason == "error:HTTP 500, trouble 500"


def test_a_request_the_server_refuses_costs_itself_alone() -> None:
    def refuse(call: Call) -> str | None:
        return "maximum context length is 512 tokens" if call.prompt == "question 3" else None

    requests = [ask(i, 2) for i in range(8)]
    with ToyServer(refuse=refuse) as server:
        results = answers(server, requests, seeds=True)
    failed = {one.key[0]: one.finish_reason for one in results if one.finish_reason != "stop"}
    assert failed == {3: "error:HTTP 400, maximum context length is 512 tokens"}
    assert each_once(results, requests)
    # A trivial question of the same shape was asked, to know whether all are refused.
    assert 1 <= sum(call.prompt == "1 + 1?" for call in server.calls) <= 2


def test_a_request_that_all_would_be_refused_for_stops_the_run() -> None:
    def refuse(call: Call) -> str | None:
        return "stop strings: at most 4" if len(call.body.get("stop", ())) > 4 else None

    with ToyServer(refuse=refuse) as server:
        asking = engine(server)
        with pytest.raises(UserError, match=r"refuses: HTTP 400, stop strings: at most 4"):
            list(asking.run([ask(0, stop=tuple("abcde"))]))
        asking.close()


def test_no_credit_left_stops_the_run_without_retries() -> None:
    with ToyServer() as server:
        asking = engine(server)
        server.trouble = lambda call: "insufficient_quota"
        with pytest.raises(UserError, match="refuses: HTTP 429, you owe us"):
            list(asking.run([ask(0)]))
        asking.close()
    assert len(server.real) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": "toy-2"}, r"does not serve 'toy-2' .*did you mean 'toy-1'"),
        ({"concurrency": 0}, "option 'concurrency' .* from 1 to 1000"),
        ({"api": "responses"}, "option 'api' .* chat or completions"),
        ({"concurency": 3}, "no option 'concurency'; did you mean 'concurrency'"),
        ({"key_env": "GAPBENCH_NO_SUCH"}, "key_env=GAPBENCH_NO_SUCH: there is no such environment variable"),
        ({"base_url": "localhost:8000"}, "not an address; it looks like"),
        ({"timeout": "long"}, "option 'timeout' .* number of seconds"),
    ],
)
def test_a_mistake_is_one_line_at_the_start(options: dict[str, Any], said: str) -> None:
    with ToyServer() as server:
        model = options.pop("model", MODEL)
        with pytest.raises(UserError, match=said) as refused:
            start_engine(EngineSpec("openai", model, {"base_url": server.url, **options}))
        assert "\n" not in str(refused.value)
    assert not [thread for thread in threading.enumerate() if thread.name == "gapbench-calls"]


def test_nobody_at_the_address_is_told_at_once() -> None:
    begun = time.monotonic()
    with pytest.raises(UserError, match="no server answers at"):
        OpenAIEngine(MODEL, base_url=f"http://127.0.0.1:{free_port()}/v1")
    assert time.monotonic() - begun < 5


def test_an_api_that_the_server_lacks_is_told_in_one_line() -> None:
    with ToyServer(apis=("chat",)) as server:
        asking = engine(server)
        assert asking.model.chat_template
        with pytest.raises(
            UserError, match=r"has no completions .*--engine-option api=chat sends all to chat"
        ):
            list(asking.run([ask(0)]))
        asking.close()
        assert each_once(answers(server, [ask(0, 3)], api="chat"), [ask(0, 3)])
        assert server.real[-1].body["messages"] == [{"role": "user", "content": "question 0"}]


def test_plain_prompts_are_sent_as_the_text_that_other_engines_see() -> None:
    turns = (
        Message("system", "Sums."),
        Message("user", "1?"),
        Message("assistant", "1"),
        Message("user", "2?"),
    )
    with ToyServer() as server:
        answers(server, [Request(turns, "plain", ((0,),), (0,), Sampling(9, 0.5, 0.9, ("\n",)))])
    body = server.real[0].body
    assert body["prompt"] == "Sums.\n\nQ: 1?\nA: 1\n\nQ: 2?\nA:"
    assert (body["max_tokens"], body["temperature"], body["top_p"], body["stop"]) == (9, 0.5, 0.9, ["\n"])


def test_other_sampling_is_switched_off_where_the_server_has_any() -> None:
    def strict(call: Call) -> str | None:
        if "max_tokens" in call.body:
            return "Unsupported parameter: use 'max_completion_tokens' instead"
        unknown = {"top_k", "min_p", "repetition_penalty"} & set(call.body)
        return f"Unrecognized request arguments supplied: {', '.join(sorted(unknown))}" if unknown else None

    with ToyServer() as server:
        answers(server, [ask(0)])
        assert server.real[0].body | {"top_k": 0, "min_p": 0, "repetition_penalty": 1} == server.real[0].body
    with ToyServer(refuse=strict) as server:
        answers(server, [ask(0, style="chat")])
        assert server.real[0].body["max_completion_tokens"] == 32
        assert "top_p" not in server.real[0].body


def test_fewer_likeliest_tokens_where_the_server_allows_fewer() -> None:
    def five(call: Call) -> str | None:
        asked = call.body.get("top_logprobs", call.body.get("logprobs", 0))
        return "logprobs must be at most 5" if asked is not True and asked > 5 else None

    with ToyServer(refuse=five) as server:
        results = answers(server, [ask(0, labels=("yes", "no")), ask(1, 1, "chat", ("yes", "no"))])
    assert [one.label_logprobs is not None for one in results] == [True, True]
    assert {call.body.get("top_logprobs", call.body["logprobs"]) for call in server.real} == {5}


def test_a_server_without_log_probabilities_is_told_of() -> None:
    with ToyServer(logprobs=False) as server:
        with pytest.warns(UserWarning, match="gives no log-probabilities"):
            asking = engine(server, seeds=True)
        assert asking.capabilities == Capabilities(seeds=True)
        assert [one.logprob for one in asking.run([ask(0)])] == [None]
        asking.close()
        asking = engine(server, logprobs=False)
        assert not asking.capabilities.labels
        asking.close()
    assert not [call for call in server.real if "logprobs" in call.body]


def test_labels_are_summed_over_their_spellings() -> None:
    with ToyServer() as server:
        (one,) = answers(server, [ask(0, 1, "chat", ("yes", "NO"))])
        (other,) = answers(server, [ask(0, 1, "plain", ("yes", "NO"))])
    assert one.label_logprobs == other.label_logprobs == pytest.approx((math.log(0.7), math.log(0.1)))


def _judged(probabilities: dict[str, float], least_mass: float = 0.01) -> Any:
    top = [(token, math.log(p)) for token, p in probabilities.items()]
    said = label_logprobs(("yes", "no"), top)
    return label_share(Result((0,), "", None, 1, 0.0, "stop", said), least_mass)


def test_a_label_that_is_not_listed_is_bounded_and_never_makes_a_verdict_of_nothing() -> None:
    # What is left beside the list bounds it more closely than the least of the list.
    assert _judged({"Yes": 0.9, "Sure": 0.099}).score == pytest.approx(0.9 / 0.901)
    assert _judged({"No": 0.9, "Sure": 0.01}).score == pytest.approx(0.01 / 0.91)
    # A flat list: no label in it, though the bounds add up to more than the least mass.
    flat = {f"word{i}": 0.045 for i in range(20)}
    assert _judged(flat).status == UNPARSED
    # The whole probability is listed.
    everything = _judged({"Yes": 0.75, "Maybe": 0.25})
    assert everything.score == pytest.approx(1, abs=1e-6)
    assert everything.score < 1
    # Little of it: with the bound the mass is no more than twice what is listed.
    few = {"The": 0.9, **{f"word{i}": 0.004 for i in range(17)}, "yes": 0.004, "Hm": 0.004}
    assert _judged(few).status == UNPARSED
    assert label_logprobs(("yes",), []) is None


def test_label_bounds_hold_against_the_full_distribution() -> None:
    """Random distributions, of which the top 20 are seen: the truth is never above the bound."""
    luck = random.Random(1)
    words = ["Yes", " yes", "No", " no", *(f"w{i}" for i in range(200))]
    for _ in range(300):
        sharpness = luck.choice([1, 3, 8])
        weights = [luck.random() ** sharpness * math.exp(luck.gauss(0, 2)) for _ in words]
        total = sum(weights)
        full = {word: weight / total for word, weight in zip(words, weights, strict=True)}
        top = sorted(full.items(), key=lambda one: -one[1])[:20]
        said = label_logprobs(("yes", "no"), [(word, math.log(p)) for word, p in top])
        assert said is not None
        listed = {word.strip().lower() for word, _ in top}
        for label, value in zip(("yes", "no"), said, strict=True):
            truth = sum(p for word, p in full.items() if word.strip().lower() == label)
            seen = sum(p for word, p in top if word.strip().lower() == label)
            if math.isnan(value):
                assert not listed & {"yes", "no"}
            elif label in listed:
                assert seen == pytest.approx(math.exp(value))
                assert seen <= truth + 1e-12
            else:
                # Each spelling apart is below the least listed one.
                spelled = max(p for word, p in full.items() if word.strip().lower() == label)
                assert spelled <= math.exp(value) + 1e-12 <= min(p for _, p in top) + 2e-12


def reply(**choice: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "finish_reason": "stop", **choice}], "usage": {"completion_tokens": 5}}


@pytest.mark.parametrize(
    ("choice", "text", "reason"),
    [
        ({"message": {"content": "4"}}, "4", "stop"),
        ({"message": {"content": None}}, "", "stop"),
        ({"message": {"content": None, "refusal": "I cannot."}}, "I cannot.", "stop"),
        ({"message": {"content": "4"}, "finish_reason": "length"}, "4", "length"),
        (
            {"message": {"content": "4"}, "finish_reason": "content_filter"},
            "",
            "error:the server's content filter withheld the reply",
        ),
        (
            {"message": {"content": None, "tool_calls": []}, "finish_reason": "tool_calls"},
            "",
            "error:the model called a tool in place of answering",
        ),
        (
            {"message": {"content": "4"}, "finish_reason": None},
            "",
            "error:the server ended the reply for the reason 'None'",
        ),
        ({"text": "4\nQ: 5?"}, "4", "stop"),
        ({"text": "4\nQ: 5?", "finish_reason": "length"}, "4", "stop"),
        ({"text": ["4"]}, "", "stop"),
        ({"message": "4"}, "", "stop"),
        ({"text": "4" * 200_000}, "", "error:a reply of 200000 characters, for at most 32 tokens"),
        (
            {"message": {"content": "4", "reasoning_content": "2 and 2"}},
            "<think>2 and 2</think>4",
            "stop",
        ),
        (
            {"message": {"content": "", "reasoning": "2 an"}, "finish_reason": "length"},
            "<think>2 an",
            "length",
        ),
    ],
)
def test_what_a_server_may_say_has_an_honest_status(choice: dict[str, Any], text: str, reason: str) -> None:
    (one,) = read_results(ask(0, stop=("\nQ:",)), [(0, 0)], reply(**choice))
    assert (one.text, one.finish_reason, one.n_tokens) == (text, reason, 5)


def test_reasoning_set_apart_is_kept_and_not_parsed() -> None:
    message = {"content": "The answer is 4", "reasoning": "is it 5? </think> The answer is 5"}
    (one,) = read_results(ask(0), [(0, 0)], reply(message=message))
    assert "5" in one.text
    assert strip_thinking(one.text) == ("The answer is 4", False)
    (cut,) = read_results(
        ask(0), [(0, 0)], reply(message={"content": None, "reasoning": "is it 5"}, finish_reason="length")
    )
    assert strip_thinking(cut.text) == ("", True)


def test_log_probabilities_that_miss_tokens_are_none_of_the_reply() -> None:
    def listed(*values: Any) -> dict[str, Any]:
        return {"content": [{"token": "x", "logprob": value} for value in values]}

    def read(logprobs: Any, completion: Any = 5) -> Result:
        said = reply(message={"content": "4"}, logprobs=logprobs) | {
            "usage": {"completion_tokens": completion}
        }
        return read_results(ask(0), [(0, 0)], said)[0]

    five = read(listed(*[-1.0] * 5))
    assert (five.logprob, five.n_tokens) == (-5.0, 5)
    # The end is a token that some servers count and do not list.
    assert (read(listed(*[-1.0] * 4)).logprob, read(listed(*[-1.0] * 4)).n_tokens) == (-4.0, 4)
    assert read(listed(-1.0, -1.0), 300).logprob is None  # hidden reasoning
    assert read(listed(-1.0, -1.0), 300).n_tokens == 300
    for hostile in (listed(-1.0, None), listed(-1.0, float("-inf")), listed("-1"), {"content": 3}, [], "x"):
        assert read(hostile).logprob is None
    assert read(listed(-1.0), "many").n_tokens == 1


def test_tokens_of_a_shared_call_sum_to_what_the_server_counts() -> None:
    choices = [{"finish_reason": "stop", "text": "a" * n} for n in (1, 10, 100, 0)]
    said = {"choices": choices, "usage": {"completion_tokens": 37, "prompt_tokens": 9}}
    results = read_results(ask(0, 4), [(0, i) for i in range(4)], said)
    tokens = [one.n_tokens for one in results]
    assert sum(tokens) == 37
    assert tokens[2] == max(tokens)
    assert [one.n_cached for one in results] == [None, 9, 9, 9]


def test_bytes_that_are_no_text_and_replies_without_end() -> None:
    def change(call: Call, good: dict[str, Any]) -> Any:
        if call.prompt == "question 0":
            good["choices"][0]["text"] = "caf\udce9"  # sent as the single byte E9
        if call.prompt == "question 1":
            good["choices"][0]["text"] = "x" * 20_000_000
        return good

    with ToyServer(change=change) as server:
        results = {one.key[0]: one for one in answers(server, [ask(i) for i in range(4)])}
    assert results[0].text == "caf\ufffd"
    assert results[1].finish_reason == "error:a reply of 20000000 characters, for at most 32 tokens"
    assert {results[2].finish_reason, results[3].finish_reason} == {"stop"}


def test_a_refused_key_is_named_by_its_variable_and_never_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MY_KEY", KEY)
    with ToyServer(key="another") as server:
        with pytest.raises(UserError, match=r"refuses the key in MY_KEY \(HTTP 401\)") as refused:
            engine(server, key_env="MY_KEY")
        with pytest.raises(UserError, match=r"asks for a key, which would be in OPENAI_API_KEY"):
            engine(server)
        server.key = KEY
        asking = engine(server, key_env="MY_KEY")
        assert [one.finish_reason for one in asking.run([ask(0)])] == ["stop"]
        server.key = "changed meanwhile"
        with pytest.raises(UserError, match="refuses the key in MY_KEY") as later:
            list(asking.run([ask(1)]))
        told = [
            repr(asking),
            str(asking.describe()),
            repr(vars(asking)),
            *map(repr, (refused.value, later.value)),
        ]
        asking.close()
    assert KEY not in "".join([*told, caplog.text, *capfd.readouterr()])


@pytest.mark.parametrize(
    "options",
    [
        {"base_url": "https://me:geheim@host/v1"},
        {"base_url": "http://host/v1?key=geheim"},
        {"api_key": "geheim"},
        {"extra_body": {"auth": {"api-key": "geheim"}}},
    ],
)
def test_an_option_that_holds_a_secret_is_refused_without_repeating_it(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="options are kept with a run") as refused:
        start_engine(EngineSpec("openai", MODEL, options))
    assert "geheim" not in str(refused.value)


def test_options_that_only_sound_like_keys_are_none() -> None:
    refuse_secrets(
        {"key_env": "A", "max_tokens": 3, "tokenizer": "x", "max_num_batched_tokens": 8, "url": "http://h/v1"}
    )


def test_secrets_in_the_address_reach_the_server_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    def echo(call: Call) -> str | None:
        return f"no, {KEY} geheim" if call.prompt == "question 1" else None

    with ToyServer(refuse=echo) as server:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_BASE_URL", server.url.replace("//", "//me:geheim@") + "?token=geheim")
        asking = OpenAIEngine(MODEL)
        results = list(asking.run([ask(0), ask(1)]))
        said = repr(results) + str(asking.describe())
        asking.close()
        assert all("token=geheim" in one["path"] for one in server.headers)
        assert all(one["authorization"].startswith("Basic ") for one in server.headers)
    assert "error:HTTP 400, no, *** ***" in said
    assert "geheim" not in said + caplog.text
    assert KEY not in said + caplog.text


SUITE = """\
name: toy
title: Questions that a toy answers
tasks:
  - name: sums
    domain: arithmetic
    title: sums
    source: {file: rows.jsonl}
    question: "{q}"
    reference: a
    calibrate: 0
    grader: exact
    sampling: {max_tokens: 8}
    card: {source: here, licence: CC0-1.0, answer_space: integers, chance: 0.0, limits: none}
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Twenty questions."""
    rows = [{"q": f"question {i}", "a": str(i)} for i in range(20)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "toy.yaml").write_text(SUITE)
    return tmp_path / "toy.yaml"


def half_right(call: Call, good: dict[str, Any]) -> dict[str, Any]:
    """Every other answer is the number of the question."""
    for choice in good["choices"]:
        if choice["index"] % 2 and not call.probe:
            choice["text"] = call.prompt.split()[-1]
    return good


def test_a_run_from_the_command_line_keeps_the_key_out_of_everything(
    cli: Cli, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ToyServer(key=KEY, change=half_right, trouble=on_first_try(429)) as server:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_LOG", "debug")
        done = cli(
            "run", suite, "-m", MODEL, "--engine", "openai", "--engine-option", f"base_url={server.url}",
            "-n", 4, "--verdicts", 2, "--verifier", "yesno", "--verifier", "likelihood", "--out", "run", "--json",
        )  # fmt: skip
    told = document(done)
    assert told["run"]["engine"]["model"]["id"] == REPORTED
    assert told["run"]["engine"]["capabilities"]["seeds"] is False
    plain = {
        one["value"] for one in told["estimates"] if (one["quantity"], one["filter"]) == ("accuracy", "")
    }
    assert plain == {0.5}
    assert {"yesno", "likelihood"} <= {one["verifier"] for one in told["estimates"]}
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY.encode() not in everything + done.stdout.encode() + done.stderr.encode()
    assert b"Bearer" not in everything


@pytest.mark.slow
def test_a_run_whose_server_dies_is_one_line_and_goes_on_with_another(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address comes from the environment, so that the run may go on elsewhere."""
    words = (
        "run",
        suite,
        "-m",
        MODEL,
        "--engine",
        "openai",
        "-n",
        40,
        "--verifier",
        "likelihood",
        "--out",
        "run",
    )
    few = tuple(
        itertools.chain.from_iterable(
            ("--engine-option", one) for one in ("concurrency=2", "max_retries=1", "n_at_once=2")
        )
    )
    with ToyServer(delay=0.02, change=half_right) as server:
        environment = {**os.environ, "OPENAI_BASE_URL": server.url}
        running = subprocess.Popen(
            command(*words, *few), cwd=tmp_path, env=environment, text=True, stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while len(server.real) < 40 and time.monotonic() < deadline:
            time.sleep(0.01)
        server.die()
        said = running.communicate(timeout=120)[1]
    assert running.returncode == 1
    last = said.strip().splitlines()[-1]
    assert "gives no answers any more" in last
    assert "--resume" in last
    assert "Traceback" not in said
    before = RunStore.open(tmp_path / "run").keys(Response)
    assert 0 < len(before) < 800
    with ToyServer(change=half_right) as server:
        environment = {**os.environ, "OPENAI_BASE_URL": server.url}
        again = subprocess.run(
            command(*words, *few, "--resume"), cwd=tmp_path, env=environment, capture_output=True, timeout=300
        )
        assert again.returncode == 0, again.stderr
        asked = sum(call.body["n"] for call in server.real)
    rows = RunStore.open(tmp_path / "run").rows(Response)
    assert sorted(row.key for row in rows) == [
        ("sums", prompt, index) for prompt in sorted({row.prompt_id for row in rows}) for index in range(40)
    ]
    assert {row.finish_reason for row in rows} == {"stop"}
    assert asked == 800 - len(before)


def test_a_key_typed_as_an_option_reaches_no_file(cli: Cli, tmp_path: Path) -> None:
    judge = tmp_path / "judge.yaml"
    judge.write_text(
        "{name: third, verifier: yesno, judge: m, engine: openai, engine_options: {api_key: sk-secret-123}}"
    )
    for words in (
        ("--engine", "openai", "--engine-option", "api_key=sk-secret-123"),
        ("--engine", "openai", "--engine-option", "base_url=http://me:sk-secret-123@localhost/v1"),
        ("--engine", "simulated", "-V", str(judge)),
    ):
        done = cli("run", "starter", "-m", "m", *words, "--out", "run")
        assert done.returncode == 2
        assert "sk-secret-123" not in done.stdout + done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert not (tmp_path / "run").exists()
