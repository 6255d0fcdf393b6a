"""The openai engine against a real server: vLLM's own, on a processor, started by this test.

`GAPBENCH_VLLM_PYTHON` names the Python of an environment with vLLM; without it the environment of the tests is tried.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai", reason="the openai engine's library is not installed")

from gapbench.engines.base import Engine, Request, Result, Sampling, derive_seed, engines
from gapbench.engines.openai import OpenAIEngine
from gapbench.errors import UserError
from gapbench.models import resolve
from gapbench.records import Message, Response, Style
from gapbench.store import RunStore
from tests.conftest import Cli, document
from tests.serving import real_server

pytestmark = [pytest.mark.model, pytest.mark.timeout(1800)]

ALIAS = "smollm2-135m"
SERVED = "smollm2"
CONTEXT = 1024
NEAR_TIE = 0.02  # nats between two tokens that float32 kernels of another order of summation may swap


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with the small model, or a skip."""
    named = os.environ.get("GAPBENCH_VLLM_PYTHON")
    if not named and importlib.util.find_spec("vllm") is None:
        pytest.skip("no vLLM here to serve with; name the Python that has it in GAPBENCH_VLLM_PYTHON")
    try:
        source = resolve(ALIAS).source
    except UserError as lacking:
        pytest.skip(str(lacking))
    log = tmp_path_factory.mktemp("server") / "log"
    words = (
        "--served-model-name", SERVED, "--dtype", "float32", "--enforce-eager", "--max-model-len", str(CONTEXT),
        "--enable-prompt-tokens-details",
        # On a processor a seeded request whose prompt is computed in chunks ends the server.
        "--no-enable-chunked-prefill", "--max-num-batched-tokens", "4096",
    )  # fmt: skip
    with real_server(Path(named or sys.executable), source, log, *words, patience=1500) as address:
        yield address


@pytest.fixture(scope="module")
def served(url: str) -> Iterator[OpenAIEngine]:
    engine = OpenAIEngine(SERVED, base_url=url, seeds=True, concurrency=8)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def local() -> Iterator[Engine]:
    """The same weights in this process."""
    engine = engines.get("transformers")(ALIAS)
    yield engine
    engine.close()


CAPITALS = ["France", "Peru", "Japan", "Kenya", "Norway", "Cuba", "Egypt", "Nepal"]


def question(country: str, style: Style, keys: int = 1, **options: Any) -> Request:
    shots = [
        Message("user", "What is the capital of Italy?"),
        Message("assistant", "Rome"),
        Message("user", f"What is the capital of {country}?"),
    ]
    labels = options.pop("labels", ())
    sampling = Sampling(**{"max_tokens": 12, "temperature": 0.0, "stop": ("\n",), **options})
    own = tuple((style, country, index) for index in range(keys))
    return Request(tuple(shots), style, own, tuple(derive_seed(*key) for key in own), sampling, labels)


def drawn(engine: Engine, requests: list[Request]) -> dict[Any, Result]:
    results = {one.key: one for one in engine.run(requests)}
    assert len(results) == sum(len(request.keys) for request in requests)
    return results


def test_the_server_says_what_it_can(served: OpenAIEngine) -> None:
    assert served.capabilities.labels
    assert served.capabilities.logprobs
    assert (served.model.id, served.model.context, served.model.chat_template) == (SERVED, CONTEXT, True)
    assert all(one["neutral_sampling"] for one in served.describe()["apis"].values())


@pytest.mark.parametrize("style", ["plain", "chat"])
def test_greedy_texts_are_those_of_the_model_in_this_process(
    served: OpenAIEngine, local: Engine, style: Style
) -> None:
    """Where they part, the model itself must have been in two minds."""
    requests = [question(country, style) for country in CAPITALS]
    theirs, ours = drawn(served, requests), drawn(local, requests)
    same = [key for key in ours if theirs[key].text == ours[key].text]
    assert len(same) >= len(ours) - 2
    for key in same:
        assert theirs[key].n_tokens == ours[key].n_tokens
        assert theirs[key].n_prompt == ours[key].n_prompt
        assert theirs[key].logprob == pytest.approx(ours[key].logprob, abs=0.02)
        assert theirs[key].finish_reason == ours[key].finish_reason
    for key in set(ours) - set(same):  # another path of about the same probability
        assert theirs[key].logprob == pytest.approx(ours[key].logprob, abs=12 * NEAR_TIE)


@pytest.mark.parametrize("style", ["plain", "chat"])
def test_label_probabilities_are_those_of_the_whole_vocabulary(
    served: OpenAIEngine, local: Engine, style: Style
) -> None:
    """What is listed is a part of the whole, and the bound of what is not lies above nothing but the list."""
    requests = [
        question(country, style, max_tokens=1, temperature=1.0, labels=("Paris", "the"))
        for country in CAPITALS
    ]
    theirs, ours = drawn(served, requests), drawn(local, requests)
    seen = 0
    for key, one in theirs.items():
        assert one.label_logprobs is not None
        for listed, whole in zip(one.label_logprobs, ours[key].label_logprobs or (), strict=True):
            if whole > -3:  # likely enough to be listed
                seen += 1
                assert listed == pytest.approx(whole, abs=0.1)
    assert seen


def test_a_seed_draws_the_same_text_again_whatever_is_beside_it(served: OpenAIEngine) -> None:
    requests = [question(country, "plain", 4, temperature=1.0) for country in CAPITALS]
    first = drawn(served, requests)
    again = drawn(served, [question("Cuba", "plain", 4, temperature=1.0), *requests[:2]])
    same = [first[key].text == one.text for key, one in again.items()]
    assert sum(same) >= len(same) - 1  # float32 sums depend on the batch, and a draw may lie on an edge
    texts = [{first["plain", country, index].text for index in range(4)} for country in CAPITALS]
    assert max(map(len, texts)) > 1  # and other seeds draw other texts


def test_a_prompt_over_the_context_is_counted_and_costs_itself_alone(served: OpenAIEngine) -> None:
    long = question("France " * CONTEXT, "plain", 2)
    results = drawn(served, [long, question("France", "plain")])
    assert {results[key].finish_reason.startswith("error:HTTP 400") for key in long.keys} == {True}
    assert results["plain", "France", 0].finish_reason in ("stop", "length")


def test_generations_of_one_call_share_the_prompt(url: str) -> None:
    engine = OpenAIEngine(SERVED, base_url=url, n_at_once=8)
    results = drawn(engine, [question("Norway", "plain", 8, temperature=1.0)])
    engine.close()
    assert [one.n_cached == one.n_prompt for one in results.values()].count(True) >= 7
    assert all(one.logprob is not None and one.n_tokens > 0 for one in results.values())


def test_an_unknown_model_is_one_line_with_what_there_is(url: str) -> None:
    with pytest.raises(UserError, match=f"does not serve 'smollm3'.*did you mean '{SERVED}'"):
        OpenAIEngine("smollm3", base_url=url)


def test_a_run_from_the_command_line(url: str, cli: Cli, tmp_path: Path) -> None:
    done = cli(
        "run", "starter", "-m", SERVED, "--engine", "openai", "--engine-option", f"base_url={url}",
        "--engine-option", "seeds=true", "--limit", 2, "-n", 4, "--verifier", "yesno", "--verifier", "likelihood",
        "--out", "run", "--json",
    )  # fmt: skip
    told = document(done)
    assert told["run"]["engine"]["model"]["id"] == SERVED
    assert {"yesno", "likelihood"} <= {one["verifier"] for one in told["estimates"]}
    rows = RunStore.open(tmp_path / "run").rows(Response)
    assert len(rows) == len(told["run"]["tasks"]) * 2 * 4
    assert {row.finish_reason for row in rows} <= {"stop", "length"}
    assert all(row.logprob is not None and row.seed is not None for row in rows)
    statuses = [one["statuses"] for one in told["run"]["sessions"] if one["stage"] == "verify"]
    assert sum(one.get("scored", 0) for one in statuses) > 0
