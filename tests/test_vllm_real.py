"""The vLLM engine on a real vLLM and the embedded model; it skips where vLLM is not installed.

On a processor: `VLLM_CPU_KVCACHE_SPACE=1 pytest tests/test_vllm_real.py` in an environment of its own (see the Makefile).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("vllm", reason="vLLM is not installed in this environment")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")

from gapbench.engines._prompting import context_refusal
from gapbench.engines.base import Engine, Key, Request, Result, Sampling, derive_seed, engines
from gapbench.engines.transformers import TransformersEngine
from gapbench.errors import UserError
from gapbench.models import resolve
from gapbench.records import Message, Response, Verdict
from gapbench.store import RunStore
from tests.conftest import command

pytestmark = pytest.mark.model

# Logits of the two engines, both in float32, differ by rounding; a greedy choice may differ where two are this close.
ROUNDING = 1e-2
SHOTS = (
    ("What is the capital of France?", "Paris"),
    ("What is the capital of Italy?", "Rome"),
    ("What is the capital of Spain?", "Madrid"),
    ("What is the capital of Austria?", "Vienna"),
)
QUESTIONS = (
    "What is the capital of Japan?",
    "Peru?",
    "Name three rivers that flow through Germany and say where each of them ends, please.",
    "3 + 4?",
    "Write a sentence about the sea, then one about the mountains, and then compare the two in a third sentence.",
)


def question(text: str, shots: tuple[tuple[str, str], ...] = ()) -> tuple[Message, ...]:
    turns = [m for q, a in shots for m in (Message("user", q), Message("assistant", a))]
    return (*turns, Message("user", text))


CONVERSATIONS = [*(question(text, SHOTS) for text in QUESTIONS), *(question(text) for text in QUESTIONS[2:])]


def requests(
    conversations: list[tuple[Message, ...]],
    style: Any = "plain",
    n: int = 1,
    salt: object = "",
    **sampling: Any,
) -> list[Request]:
    return [
        Request(
            messages,
            style,
            keys=tuple((index, k) for k in range(n)),
            seeds=tuple(derive_seed(salt, index, k) for k in range(n)),
            sampling=Sampling(**sampling),
        )
        for index, messages in enumerate(conversations)
    ]


def run(engine: Engine, asked: list[Request]) -> dict[Key, Result]:
    results = list(engine.run(asked))
    assert len({result.key for result in results}) == len(results) == sum(len(one.keys) for one in asked)
    return {result.key: result for result in results}


@pytest.fixture(scope="module")
def reference() -> TransformersEngine:
    try:
        resolve("smollm2-135m")
    except UserError as absent:
        pytest.skip(str(absent))
    return TransformersEngine("smollm2-135m", device="cpu")


@pytest.fixture(scope="module")
def engine(reference: TransformersEngine) -> Iterator[Any]:
    started = engines.get("vllm")("smollm2-135m", max_model_len=1024, max_num_seqs=16)
    yield started
    started.close()


def logits(reference: TransformersEngine, ids: tuple[int, ...]) -> Any:
    import torch

    with torch.inference_mode():
        return reference._network(torch.tensor([ids])).logits[0].double()


def test_what_the_manifest_says(engine: Any, reference: TransformersEngine) -> None:
    told = engine.describe()
    assert json.loads(json.dumps(told)) == told
    assert (told["engine"], told["seeds"]) == ("vllm", "request")
    assert told["capabilities"] == {"seeds": True, "logprobs": True, "labels": True, "prefix_cache": True}
    assert told["dtype"] == "float32"
    assert replace(engine.model, context=None) == replace(reference.model, context=None)
    assert engine.model.context == 1024


@pytest.mark.parametrize("style", ["plain", "chat"])
def test_greedy_tokens_are_those_of_transformers(
    engine: Any, reference: TransformersEngine, style: Any
) -> None:
    asked = requests(CONVERSATIONS, style, max_tokens=12, temperature=0.0)
    ours, theirs = run(engine, asked), run(reference, asked)
    same = 0
    for one in asked:
        (key,) = one.keys
        got, expected = ours[key], theirs[key]
        assert got.n_prompt == expected.n_prompt
        if got.token_ids == expected.token_ids:
            same += 1
            assert (got.text, got.finish_reason) == (expected.text, expected.finish_reason)
            assert got.logprob == pytest.approx(expected.logprob, abs=ROUNDING)
            continue
        assert got.token_ids is not None
        assert expected.token_ids is not None
        at = next(
            i for i, (a, b) in enumerate(zip(got.token_ids, expected.token_ids, strict=False)) if a != b
        )
        last = logits(reference, (*reference._prompting.encode(one), *got.token_ids[:at]))[-1]
        assert abs(float(last[got.token_ids[at]] - last[expected.token_ids[at]])) < ROUNDING
    assert same >= len(asked) - 1


def test_the_log_probability_is_the_models_own(engine: Any, reference: TransformersEngine) -> None:
    """At temperature 1 and over the whole vocabulary, however the tokens were drawn."""
    asked = requests(CONVERSATIONS[:3], n=2, max_tokens=10, temperature=0.6, top_p=0.8)
    prompts = [reference._prompting.encode(one) for one in asked]
    for (index, _), result in run(engine, asked).items():
        assert result.token_ids is not None
        scores = logits(reference, (*prompts[index], *result.token_ids)).log_softmax(dim=-1)
        at = len(prompts[index]) - 1
        exact = sum(float(scores[at + k, token]) for k, token in enumerate(result.token_ids))
        assert result.logprob == pytest.approx(exact, abs=ROUNDING)
        assert result.n_tokens == len(result.token_ids)


@pytest.mark.parametrize("by_ids", [True, False])
@pytest.mark.parametrize("choice", [False, True])
def test_label_log_probabilities_are_those_of_transformers(
    engine: Any, reference: TransformersEngine, monkeypatch: pytest.MonkeyPatch, by_ids: bool, choice: bool
) -> None:
    """Also where a label alone may be drawn, at another temperature, and where the whole vocabulary is asked for."""
    assert engine._by_ids, "vLLM 0.32 gives log-probabilities of chosen tokens"
    monkeypatch.setattr(engine, "_by_ids", by_ids)
    monkeypatch.setattr(engine, "_choice", choice)
    labels = ("Yes", "no", "nosuchword")
    asked = [
        replace(one, labels=labels)
        for one in requests([question(f"Is {k} larger than 2? Answer Yes or No.") for k in range(4)], n=2,
                            max_tokens=1, temperature=2.0)
    ]  # fmt: skip
    beside = requests(CONVERSATIONS[:2], salt="beside", n=2, max_tokens=5)
    beside = [replace(one, keys=tuple(("beside", *key) for key in one.keys)) for one in beside]
    ours, theirs = run(engine, [*asked, *beside]), run(reference, asked)
    for key, expected in theirs.items():
        found = ours[key]
        assert found.label_logprobs is not None
        assert expected.label_logprobs is not None
        assert found.label_logprobs[:2] == pytest.approx(expected.label_logprobs[:2], abs=1e-3)
        assert found.label_logprobs[2] == -np.inf
        assert not choice or found.text.strip().casefold() in ("yes", "no")
        assert found.n_tokens == 1
    assert all(result.label_logprobs is None for key, result in ours.items() if key[0] == "beside")


def test_a_seed_decides_the_text_whatever_else_is_drawn(engine: Any) -> None:
    asked = requests(CONVERSATIONS[:4], n=4, max_tokens=10)
    together = run(engine, asked)
    assert len({result.token_ids for result in together.values()}) > 12
    alone = run(engine, [replace(asked[2], keys=asked[2].keys[1:3], seeds=asked[2].seeds[1:3])])
    greedy = requests([question("5 + 5?")] * 3, max_tokens=9, temperature=0.0)
    greedy = [replace(one, keys=(("greedy", k),)) for k, one in enumerate(greedy)]
    beside = {key: found for key, found in run(engine, [*greedy, *asked[::-1]]).items() if key in together}
    assert beside.keys() == together.keys()
    for key, result in {**alone, **beside}.items():
        assert result.token_ids == together[key].token_ids


def test_without_seeds_of_requests_nothing_is_drawn_twice(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "capabilities", replace(engine.capabilities, seeds=False))
    asked = requests([question("Tell me anything.")], n=12, max_tokens=12)
    first, later = run(engine, asked), run(engine, asked)
    texts = [result.token_ids for result in (*first.values(), *later.values())]
    assert len(set(texts)) == len(texts)
    assert engine.describe()["seeds"] == "engine"


def test_a_prompt_over_the_context_is_an_error_and_nothing_else(engine: Any) -> None:
    long = question("word " * 1500)
    found = run(engine, requests([long, question("Hello")], n=2, max_tokens=4))
    tokens = len(engine._prompting.encode(requests([long])[0]))
    assert found[0, 0].finish_reason == f"error:{context_refusal(tokens, 1024, 4)}"
    assert (found[0, 1].text, found[0, 1].n_tokens, found[0, 1].logprob) == ("", 0, None)
    assert all(found[1, k].finish_reason in ("stop", "length") for k in range(2))
    # The longest that fits is answered, in one piece.
    fits = question("word " * 1000)
    (result,) = run(engine, requests([fits], max_tokens=8)).values()
    assert result.n_prompt > 1000
    assert result.n_tokens > 0


def test_a_model_that_says_nothing(engine: Any) -> None:
    (free,) = run(engine, requests([question("Hello")], "chat", max_tokens=1, temperature=0.0)).values()
    assert (free.n_tokens, free.finish_reason) == (1, "length")
    assert free.text
    (stopped,) = run(
        engine, requests([question("Hello")], "chat", max_tokens=5, temperature=0.0, stop=(free.text,))
    ).values()
    assert (stopped.text, stopped.finish_reason, stopped.n_tokens) == ("", "stop", 1)


@pytest.mark.parametrize("style", ["plain", "chat"])
def test_stop_strings(engine: Any, style: Any) -> None:
    asked = requests([question(QUESTIONS[4])], style, max_tokens=20, temperature=0.0)
    (free,) = run(engine, asked).values()
    text = free.text
    for stops in ((text[8:14],), (text[9:11],), (text[3:20],), ("\x00never", text[12:15], text[6:9])):
        (result,) = run(engine, [replace(asked[0], sampling=replace(asked[0].sampling, stop=stops))]).values()
        assert result.text == text[: min(place for stop in stops if (place := text.find(stop)) >= 0)]
        assert result.finish_reason == "stop"
        assert free.token_ids is not None
        assert result.token_ids == free.token_ids[: result.n_tokens]


def test_what_prompts_share_is_computed_once(engine: Any) -> None:
    shots = tuple((f"What is {k} + {k}?", str(2 * k)) for k in range(30, 40))
    asked = requests([question(text, shots) for text in QUESTIONS], n=3, max_tokens=2)
    results = list(run(engine, asked).values())
    cached = [result.n_cached for result in results]
    assert None not in cached
    shared = min(result.n_prompt for result in results) - 40  # what differs, and the last block
    assert sum(count >= shared for count in cached if count is not None) >= len(results) - 1
    assert shared > 60


def test_the_queue_takes_new_requests_while_others_are_drawn(engine: Any) -> None:
    asked = requests([question(f"{k} + 3?") for k in range(60)], max_tokens=4)
    read = 0

    def source() -> Iterator[Request | None]:
        nonlocal read
        for one in asked:
            if read % 7 == 3:
                yield None
            read += 1
            yield one

    when = [read for _ in engine.run(source())]
    assert len(when) == 60
    assert when[0] < 60, "results come while requests are still read"


def test_a_reader_that_goes_away_leaves_an_idle_engine(engine: Any) -> None:
    reading = engine.run(requests(CONVERSATIONS, n=4, max_tokens=50))
    next(reading)
    reading.close()
    (result,) = run(engine, requests([question("Hello")], max_tokens=3)).values()
    assert result.n_tokens == 3


def words(*more: object) -> list[str]:
    return command(
        "run", "starter", "-m", "smollm2-135m", "--engine", "vllm", "-n", "4", "--limit", "3", "--out", "run",
        "--engine-option", "max_model_len=2048", "--engine-option", "max_num_seqs=16", *more,
    )  # fmt: skip


def test_ctrl_c_leaves_a_run_that_goes_on_to_one_document(tmp_path: Path) -> None:
    child = subprocess.Popen(
        words("--verifier", "yesno"), cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    store = RunStore(tmp_path / "run")
    deadline = time.monotonic() + 500
    while child.poll() is None and not (store.exists and store.keys(Response)):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    child.send_signal(signal.SIGINT)
    printed, told = child.communicate(timeout=120)
    assert child.returncode == 130, told
    assert printed == ""
    assert "--resume" in told.splitlines()[-1]
    assert "Traceback" not in told
    before = {row.key: row.text for row in store.rows(Response)}

    done = subprocess.run(
        words("--verifier", "yesno", "--resume", "--json"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=580,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)  # and nothing else stands there
    assert found["run"]["engine"]["seeds"] == "request"
    rows = {row.key: row for row in RunStore(tmp_path / "run").rows(Response)}
    assert len(rows) == 4 * 3 * len(found["run"]["tasks"])
    assert {key: rows[key].text for key in before} == before
    assert not any(row.finish_reason.startswith("error") for row in rows.values())
    assert any(row.status == "scored" for row in RunStore(tmp_path / "run").rows(Verdict))
    assert {row["verifier"] for row in found["estimates"]} >= {"yesno"}


def test_a_model_that_cannot_be_loaded_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text('{"model_type": "llama", "hidden_size": "many"}')
    for given, told in (
        (("-m", "./broken"), "broken"),
        (("--engine-option", "tensor_paralel_size=2"), "tensor_parallel_size"),
    ):
        done = subprocess.run(
            command("run", "starter", "--engine", "vllm", "--limit", "1", *given),
            cwd=tmp_path, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 2, done.stderr
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        assert told in done.stderr.splitlines()[-1]


def test_a_lora_adapter(engine: Any, reference: TransformersEngine, tmp_path: Path) -> None:
    """Log-probabilities with an adapter are those of the network with the adapter's product added to its weights."""
    import torch
    from safetensors.torch import save_file

    rank, alpha = 4, 8
    adapter = tmp_path / "checkpoint-7"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "target_modules": ["q_proj", "v_proj"],
                    "bias": "none", "task_type": "CAUSAL_LM", "base_model_name_or_path": "smollm2"})
    )  # fmt: skip
    noise = torch.Generator().manual_seed(3)
    weights, added = {}, []
    for index, layer in enumerate(reference._network.model.layers):
        for name in ("q_proj", "v_proj"):
            own = getattr(layer.self_attn, name)
            a = torch.randn(rank, own.in_features, generator=noise) * 0.05
            b = torch.randn(own.out_features, rank, generator=noise) * 0.05
            place = f"base_model.model.model.layers.{index}.self_attn.{name}"
            weights |= {f"{place}.lora_A.weight": a, f"{place}.lora_B.weight": b}
            added.append((own.weight, b @ a * (alpha / rank)))
    save_file(weights, str(adapter / "adapter_model.safetensors"))

    labels = ("Yes", "No")
    asked = [replace(one, labels=labels) for one in requests(CONVERSATIONS[:4], max_tokens=1)]
    plain = run(reference, asked)
    reference._decoder.forget()
    tuned_engine = engines.get("vllm")("smollm2-135m", max_model_len=1024, max_num_seqs=16, lora=str(adapter))
    try:
        assert tuned_engine.model.id == "HuggingFaceTB/SmolLM2-135M-Instruct+checkpoint-7"
        assert tuned_engine.describe()["lora"] == str(adapter)
        tuned = run(tuned_engine, asked)
    finally:
        tuned_engine.close()
    with torch.no_grad():
        for weight, change in added:
            weight += change
    try:
        expected = run(reference, asked)
    finally:
        with torch.no_grad():
            for weight, change in added:
                weight -= change
        reference._decoder.forget()
    for key, result in tuned.items():
        assert result.label_logprobs == pytest.approx(expected[key].label_logprobs, abs=1e-3)
        assert abs(np.subtract(result.label_logprobs, plain[key].label_logprobs)).max() > 0.05
