"""The decode loop against transformers' own `generate`, against exact probabilities, and in its corners."""

import json
import weakref
from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from gapbench.engines._batches import common_prefix, cut, shared_prefix  # noqa: E402
from gapbench.engines._decode import draw  # noqa: E402
from gapbench.engines.base import Request, Sampling, derive_seed, render_plain  # noqa: E402
from gapbench.engines.transformers import TransformersEngine  # noqa: E402
from gapbench.errors import UserError  # noqa: E402
from gapbench.models import EMBEDDED, resolve  # noqa: E402
from gapbench.records import Message  # noqa: E402

# A choice between two tokens may differ between batches only where their logits are this close (see `_decode`).
ROUNDING = 1e-3

SHOTS = (("What is the capital of France?", "Paris"), ("What is the capital of Italy?", "Rome"))
QUESTIONS = (
    "What is the capital of Japan?",
    "Peru?",
    "Name three rivers that flow through Germany and say where each of them ends, please.",
    "3 + 4?",
    "Which is larger, 17 or 71?",
    "Write a sentence about the sea, then one about the mountains, and then compare the two in a third sentence "
    "that mentions both of them and ends in a question.",
)


def question(text, shots=()):
    turns = [m for q, a in shots for m in (Message("user", q), Message("assistant", a))]
    return (*turns, Message("user", text))


def shared():
    return [question(text, SHOTS) for text in QUESTIONS]


def distinct():
    return [(Message("user", text),) for text in (*QUESTIONS[2:], "Hello", "The moon is")]


def requests(conversations, style, n=1, **sampling):
    return [
        Request(
            messages,
            style,
            keys=tuple((index, k) for k in range(n)),
            seeds=tuple(derive_seed(index, k) for k in range(n)),
            sampling=Sampling(**sampling),
        )
        for index, messages in enumerate(conversations)
    ]


def run(engine, asked):
    results = list(engine.run(asked))
    assert len({result.key for result in results}) == len(results) == sum(len(one.keys) for one in asked)
    return {result.key: result for result in results}


@pytest.fixture(scope="module")
def engine():
    return TransformersEngine("smollm2-135m")


@pytest.fixture
def narrow(engine, monkeypatch):
    """The same engine with another batch size: `narrow(4)`."""

    def limit(rows):
        monkeypatch.setattr(engine, "_max_rows", rows)
        return engine

    return limit


def encode(engine, messages, style):
    """Token ids as transformers makes them, not as the engine does."""
    tokenizer = engine._tokenizer
    if style == "chat":
        turns = [{"role": m.role, "content": m.content} for m in messages]
        return tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt")[
            "input_ids"
        ]
    return tokenizer(render_plain(messages), return_tensors="pt")["input_ids"]


@torch.inference_mode()
def next_logits(engine, ids):
    return engine._network(torch.as_tensor(ids)[None]).logits[0, -1].double()


@torch.inference_mode()
def teacher_forced(engine, prompt, ids):
    """Log-probability of each of `ids` after `prompt`, from one forward pass over the whole."""
    whole = torch.tensor([[*prompt, *ids]])
    scores = engine._network(whole).logits[0].double().log_softmax(dim=-1)
    return scores[len(prompt) - 1 : -1].gather(1, torch.tensor(ids)[:, None])[:, 0].numpy()


@cache
def greedy_by_generate(engine, messages, style, length):
    ids = encode(engine, messages, style)
    out = engine._network.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=length, do_sample=False, pad_token_id=0
    )
    return tuple(ids[0].tolist()), tuple(out[0, ids.shape[1] :].tolist())


def assert_greedy(engine, messages, style, got, length):
    """Equal to `generate` token for token, or parted at two tokens that rounding alone can swap."""
    prompt, expected = greedy_by_generate(engine, messages, style, length)
    alike = common_prefix(got, expected)
    if alike == len(got) == len(expected):
        return
    logits = next_logits(engine, [*prompt, *expected[:alike]])
    assert abs(logits[got[alike]] - logits[expected[alike]]) < ROUNDING, (got, expected)


@pytest.mark.model
@pytest.mark.parametrize("rows", [256, 5])
@pytest.mark.parametrize("style", ["plain", "chat"])
@pytest.mark.parametrize("conversations", [shared, distinct])
def test_greedy_equals_generate(engine, narrow, conversations, style, rows):
    asked = requests(conversations(), style, n=2, max_tokens=12, temperature=0.0)
    results = run(narrow(rows), asked[::-1] if rows == 5 else asked)
    for (index, _), result in results.items():
        assert_greedy(engine, conversations()[index], style, result.token_ids, 12)


@pytest.mark.model
def test_the_kept_prefix_serves_later_batches(engine):
    """Prefixes that grow, shrink, change and come back all leave greedy answers as they are."""
    longer = [question(text, SHOTS * 2) for text in QUESTIONS[:2]]
    for conversations in (shared()[:2], longer, shared()[2:4], distinct()[:2], longer):
        results = run(engine, requests(conversations, "plain", max_tokens=6, temperature=0.0))
        for (index, _), result in results.items():
            assert_greedy(engine, conversations[index], "plain", result.token_ids[:6], 6)


@pytest.mark.model
def test_a_shared_prefix_is_computed_once(engine, monkeypatch):
    shapes = []
    forward = engine._network.forward
    monkeypatch.setattr(
        engine._network,
        "forward",
        lambda **given: shapes.append(tuple(given["input_ids"].shape)) or forward(**given),
    )
    asked = requests(shared()[:2], "plain", n=3, max_tokens=2, temperature=0.0)
    engine._decoder.forget()
    run(engine, asked)
    lengths = [encode(engine, messages, "plain").shape[1] for messages in shared()[:2]]
    prefix = shapes[0][1]
    assert shapes == [(1, prefix), (2, max(lengths) - prefix), (6, 1)]
    assert prefix > 20
    shapes.clear()
    run(engine, asked)
    assert shapes == [(2, max(lengths) - prefix), (6, 1)]


@pytest.mark.model
@pytest.mark.slow
def test_greedy_equals_generate_on_gemma():
    try:
        EMBEDDED["gemma3-270m"].files()
    except UserError as absent:
        pytest.skip(str(absent))
    gemma = TransformersEngine("gemma3-270m")
    assert not gemma.model.chat_template
    conversations = [*shared()[:3], *distinct()[:1]]
    for style in ("plain", "chat"):  # no template: chat falls back to plain
        results = run(gemma, requests(conversations, style, n=2, max_tokens=8, temperature=0.0))
        for (index, _), result in results.items():
            assert gemma._prompting.encode(requests(conversations, style)[index])[:2].count(2) == 1  # one BOS
            assert_greedy(gemma, conversations[index], "plain", result.token_ids, 8)
    gemma.close()


@pytest.fixture
def tiny(tmp_path):
    """Build an engine on a random model of the given configuration, whose tokenizer is SmolLM2's."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    def build(config):
        torch.manual_seed(5)
        AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
        AutoTokenizer.from_pretrained(resolve("smollm2-135m").source).save_pretrained(tmp_path)
        return TransformersEngine(str(tmp_path))

    return build


@pytest.mark.model
@pytest.mark.parametrize("window", [8, 24, 4096])
def test_sliding_windows_are_not_shortened_by_padding(tiny, window):
    from transformers import Gemma3TextConfig

    sliding = tiny(
        Gemma3TextConfig(
            vocab_size=49152,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=4,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=16,
            sliding_window=window,
            layer_types=["sliding_attention", "full_attention"] * 2,
            initializer_range=0.5,
            eos_token_id=2,
            pad_token_id=2,
        )
    )
    results = run(sliding, requests(shared(), "plain", n=2, max_tokens=10, temperature=0.0))
    for (index, _), result in results.items():
        assert_greedy(sliding, shared()[index], "plain", result.token_ids, 10)


@pytest.mark.model
def test_absolute_positions_skip_the_padding(tiny):
    from transformers import GPT2Config

    absolute = tiny(
        GPT2Config(
            vocab_size=49152,
            n_positions=256,
            n_embd=32,
            n_layer=2,
            n_head=2,
            initializer_range=0.5,
            eos_token_id=2,
        )
    )
    assert absolute.model.context == 256
    results = run(absolute, requests(shared(), "plain", max_tokens=8, temperature=0.0))
    for (index, _), result in results.items():
        assert_greedy(absolute, shared()[index], "plain", result.token_ids, 8)


def agree(counts, probabilities):
    """p-value of a chi-square test; outcomes expected fewer than 8 times are taken together."""
    n = sum(counts.values())
    common = [outcome for outcome, p in probabilities.items() if n * p >= 8]
    observed = [counts[outcome] for outcome in common]
    expected = [n * probabilities[outcome] for outcome in common]
    rest = n - sum(expected)
    if rest >= 1:
        observed.append(n - sum(observed))
        expected.append(rest)
    else:
        assert sum(observed) == n
        expected = list(np.array(expected) * n / sum(expected))
    assert len(observed) > 2
    return stats.chisquare(observed, expected).pvalue


@pytest.mark.model
@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.7, 0.8)])
def test_first_tokens_follow_the_softmax(engine, temperature, top_p):
    messages = distinct()[5]
    asked = requests([messages], "plain", n=3000, max_tokens=1, temperature=temperature, top_p=top_p)
    counts = Counter(result.token_ids[0] for result in run(engine, asked).values())
    p = (next_logits(engine, encode(engine, messages, "plain")[0]) / temperature).softmax(dim=0).numpy()
    order = np.argsort(-p)
    nucleus = order[: int(np.searchsorted(np.cumsum(p[order]), top_p)) + 1] if top_p < 1 else order
    total = p[nucleus].sum()
    assert agree(counts, {int(token): p[token] / total for token in nucleus}) > 1e-3


@pytest.mark.model
@pytest.mark.slow
def test_short_sequences_follow_generate(engine):
    n, settings = 512, {"temperature": 0.6, "top_p": 0.9}
    messages = distinct()[5]
    results = run(engine, requests([messages], "plain", n=n, max_tokens=2, **settings))
    ours = Counter(result.token_ids for result in results.values())
    torch.manual_seed(11)
    ids = encode(engine, messages, "plain")
    theirs: Counter = Counter()
    for _ in range(n // 256):
        out = engine._network.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            top_k=0,
            max_new_tokens=2,
            num_return_sequences=256,
            pad_token_id=0,
            **settings,
        )
        theirs.update(tuple(row) for row in out[:, ids.shape[1] :].tolist())
    common = [pair for pair, count in (ours + theirs).items() if count >= 16]
    assert len(common) > 3
    table = [[counts[pair] for pair in common] for counts in (ours, theirs)]
    for row in table:
        row.append(n - sum(row))
    assert stats.chi2_contingency(table).pvalue > 1e-3


@pytest.mark.model
def test_a_seed_decides_the_text_whatever_else_is_drawn(engine, narrow):
    asked = requests(shared()[:4], "plain", n=4, max_tokens=10)
    together = run(engine, asked)
    assert len({result.text for result in together.values()}) > 8
    parts = run(narrow(3), asked[::-1])
    alone = run(engine, [replace(asked[2], keys=asked[2].keys[1:2], seeds=asked[2].seeds[1:2])])
    for key, result in {**parts, **alone}.items():
        assert result.token_ids == together[key].token_ids
        assert result.logprob == pytest.approx(together[key].logprob, abs=1e-3)


@pytest.mark.model
@pytest.mark.parametrize("style", ["plain", "chat"])
def test_logprob_equals_a_teacher_forced_pass(engine, style):
    asked = requests(shared(), style, n=2, max_tokens=12, temperature=0.7, top_p=0.9)
    for (index, _), result in run(engine, asked).items():
        prompt = encode(engine, shared()[index], style)[0].tolist()
        exact = teacher_forced(engine, prompt, list(result.token_ids)).sum()
        assert result.logprob == pytest.approx(exact, abs=1e-3)
        assert result.n_tokens == len(result.token_ids)


@pytest.mark.model
@pytest.mark.parametrize("style", ["plain", "chat"])
def test_label_logprobs_equal_softmax_sums(engine, style):
    labels = ("Yes", "no", "17", "nosuchword")
    asked = [
        replace(one, labels=labels)
        for one in requests([question("Is 3 larger than 2? Answer Yes or No.")], style, n=3, max_tokens=1)
    ]
    pieces = {piece.replace("Ġ", "").strip().casefold(): [] for piece in engine._tokenizer.get_vocab()}
    for piece, token in engine._tokenizer.get_vocab().items():
        pieces[piece.replace("Ġ", "").strip().casefold()].append(token)
    assert len(pieces["yes"]) >= 4
    p = next_logits(engine, encode(engine, asked[0].messages, style)[0]).softmax(dim=0)
    exact = [float(p[pieces.get(label.casefold(), [])].sum()) for label in labels]
    assert exact[0] > 0
    assert exact[3] == exact[2] == 0  # digits are single tokens
    for result in run(engine, asked).values():
        assert np.exp(result.label_logprobs) == pytest.approx(exact, rel=1e-4)
    assert all(
        result.label_logprobs is None for result in run(engine, requests(shared()[:1], "plain")).values()
    )


@pytest.mark.model
def test_a_label_request_with_many_keys_evaluates_its_prompt_once(engine, monkeypatch):
    seen = []
    forward = engine._network.forward
    monkeypatch.setattr(
        engine._network,
        "forward",
        lambda **given: seen.append(given["input_ids"].shape[0]) or forward(**given),
    )
    asked = [
        replace(one, labels=("Yes", "No")) for one in requests(shared()[:1], "plain", n=20, max_tokens=1)
    ]
    assert len({result.label_logprobs for result in run(engine, asked).values()}) == 1
    assert max(seen) == 1


def cases_of_stops(text):
    """Stop strings for a greedy text: a word, the inside of a word, across words, and several at once."""
    return [(text[8:14],), (text[9:11],), (text[3:20],), ("\x00never", text[12:15], text[6:9])]


@pytest.mark.model
@pytest.mark.parametrize("style", ["plain", "chat"])
def test_stop_strings(engine, style):
    conversation = question(QUESTIONS[5])
    (free,) = run(engine, requests([conversation], style, max_tokens=24, temperature=0.0)).values()
    for stops in cases_of_stops(free.text):
        (result,) = run(
            engine, requests([conversation], style, max_tokens=24, temperature=0.0, stop=stops)
        ).values()
        first = min(place for stop in stops if (place := free.text.find(stop)) >= 0)
        assert result.text == free.text[:first]
        assert result.finish_reason == "stop"
        assert result.token_ids == free.token_ids[: result.n_tokens]
        # It ended with the very token that completed the stop string.
        prompt = encode(engine, conversation, style)[0].tolist()
        assert any(stop in engine._prompting.text(prompt, result.token_ids) for stop in stops)
        assert not any(stop in engine._prompting.text(prompt, result.token_ids[:-1]) for stop in stops)


@pytest.mark.model
def test_stop_strings_do_not_look_into_the_prompt(engine):
    asked = requests(
        [question("Say A: and stop", SHOTS)], "plain", max_tokens=3, temperature=0.0, stop=("A:", "Q")
    )
    (result,) = run(engine, asked).values()
    assert result.text


@pytest.mark.model
def test_finish_reasons_and_texts(engine):
    asked = requests([question("What is the capital of France?")], "chat", max_tokens=30, temperature=0.0)
    (ended,) = run(engine, asked).values()
    assert ended.finish_reason == "stop"
    assert ended.token_ids[-1] == engine._tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert ended.text == "The capital of France is Paris."
    (cut_off,) = run(engine, [replace(asked[0], sampling=Sampling(max_tokens=3, temperature=0.0))]).values()
    assert (cut_off.finish_reason, cut_off.n_tokens) == ("length", 3)
    assert ended.text.startswith(cut_off.text)
    (plain,) = run(
        engine, requests([shared()[0]], "plain", max_tokens=4, temperature=0.0, stop=("\n",))
    ).values()
    assert plain.text == " Tokyo"


@pytest.mark.model
@pytest.mark.parametrize(
    "text", [" two  words", "no space", "\n\nlines", " 12 3.5", "naïve 🙂🚀 漢字", "🙂", ""]
)
def test_texts_decode_as_they_would_in_place(engine, text):
    prompt = engine._tokenizer("Q: x\nA:").input_ids
    assert engine._prompting.text(prompt, engine._tokenizer(text).input_ids) == text


@pytest.mark.model
def test_stop_strings_of_many_bytes(engine):
    request = requests([question("x")], "plain", stop=("🙂", "字"))[0]
    for text, stopped in (("smile 🙂", True), ("漢字", True), ("🚀漢", False)):
        ids = engine._tokenizer(text * 3).input_ids
        row = engine._row(request, engine._prompting.encode(request), key=(0,), seed=0)
        assert engine._stopped(row, ids) == stopped


@pytest.mark.model
@pytest.mark.parametrize("style", ["plain", "chat"])
@pytest.mark.parametrize("messages", [(), (Message("user", ""),)])
def test_empty_prompts_are_answered(engine, style, messages):
    (result,) = run(engine, requests([messages], style, max_tokens=2)).values()
    assert result.n_tokens >= 1
    assert not result.finish_reason.startswith("error")


@pytest.mark.model
def test_a_prompt_beyond_the_context_fails_alone(engine, monkeypatch):
    conversations = [question("word " * 200), *shared()[:1]]
    length = engine._tokenizer(render_plain(conversations[0]), return_tensors="pt").input_ids.shape[1]
    asked = requests(conversations, "plain", n=2, max_tokens=4)
    monkeypatch.setattr(engine, "model", replace(engine.model, context=length + 3))
    results = run(engine, asked)
    for k in range(2):
        failed = results[0, k]
        assert failed.finish_reason == (
            f"error:prompt longer than the context ({length} tokens, limit {length - 1})"
        )
        assert (failed.text, failed.token_ids, failed.logprob, failed.n_tokens) == ("", None, None, 0)
        assert results[1, k].n_tokens >= 1
    monkeypatch.setattr(engine, "model", replace(engine.model, context=length + 4))
    assert not any(result.finish_reason.startswith("error") for result in run(engine, asked).values())


@pytest.mark.model
def test_a_template_that_refuses_is_an_error_row(engine, monkeypatch):
    template = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}x"
    monkeypatch.setattr(engine._tokenizer, "chat_template", template)
    asked = requests(
        [(Message("system", "s"), Message("user", "u")), (Message("user", "u"),)], "chat", max_tokens=1
    )
    results = run(engine, asked)
    assert results[0, 0].finish_reason == "error:the chat template refuses the messages: no system role"
    assert results[1, 0].n_tokens == 1


@pytest.mark.model
def test_results_come_while_requests_are_still_made(narrow):
    made = []

    def stream():
        for request in requests(shared(), "plain", n=2, max_tokens=1):
            made.append(request)
            yield request

    assert next(narrow(2).run(stream())).key[0] == 0
    assert len(made) == 2


@pytest.mark.model
def test_memory_limits_the_window(engine, monkeypatch):
    calls = []
    decode = engine._decoder.decode
    monkeypatch.setattr(
        engine._decoder, "decode", lambda rows, ended: calls.append(len(rows)) or decode(rows, ended)
    )
    asked = requests(shared()[:1], "plain", n=10, max_tokens=1)
    length = encode(engine, shared()[0], "plain").shape[1] + 1
    monkeypatch.setattr("gapbench.engines.transformers._CPU_CACHE_BYTES", 4 * length * engine._token_bytes)
    run(engine, asked)
    assert calls == [4, 4, 2]


@pytest.mark.model
@pytest.mark.parametrize(
    "failure",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        MemoryError(),
    ],
)
def test_running_out_of_memory_halves_the_batch(engine, monkeypatch, failure):
    calls = []
    decode = engine._decoder.decode

    def hungry(rows, ended):
        """Fails with more than two rows, after finishing one; one prompt fits never."""
        calls.append(len(rows))
        drawing = decode(rows, ended)
        if any("Name three rivers" in engine._tokenizer.decode(row.prompt) for row in rows):
            raise failure
        if len(rows) > 2:
            yield next(drawing)
            raise failure
        yield from drawing

    monkeypatch.setattr(engine, "_max_rows", 256)
    asked = requests(shared()[:4], "plain", n=2, max_tokens=3)
    plain = run(engine, asked)
    monkeypatch.setattr(engine._decoder, "decode", hungry)
    results = run(engine, asked)
    assert max(calls[1:]) < calls[0] == 8
    assert engine._max_rows < 8
    for key, result in results.items():
        if key[0] == 2:
            assert result.finish_reason.startswith("error:out of memory")
        else:
            assert result.token_ids == plain[key].token_ids


@pytest.mark.model
def test_other_failures_are_not_taken_for_memory(engine, monkeypatch):
    def broken(rows, ended):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(engine._decoder, "decode", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        list(engine.run(requests(shared()[:1], "plain")))


@pytest.mark.model
def test_what_the_manifest_learns(engine):
    facts = engine.describe()
    json.dumps(facts)
    assert facts["engine"] == "transformers"
    assert facts["model"]["id"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert facts["model"]["parameters"] == EMBEDDED["smollm2-135m"].parameters == 134_515_008
    assert facts["model"]["training_tokens"] == 2 * 10**12
    assert facts["model"]["context"] == 8192
    assert facts["model"]["chat_template"] is True
    assert facts["model"]["revision"].startswith("Q4_1 gguf sha256:b179c952")
    assert facts["dtype"] == ("bfloat16" if facts["device"].startswith("cuda") else "float32")


@pytest.mark.model
def test_close_frees_the_model(tiny):
    from transformers import GPT2Config

    small = tiny(GPT2Config(vocab_size=49152, n_positions=64, n_embd=8, n_layer=1, n_head=1))
    network = weakref.ref(small._network)
    run(small, requests(distinct()[-1:], "plain", max_tokens=2))
    small.close()
    assert network() is None


@pytest.mark.model
def test_the_template_s_own_end_of_turn_stops_a_chat(tiny):
    from transformers import AutoTokenizer, GPT2Config

    config = GPT2Config(vocab_size=49152, n_positions=64, n_embd=8, n_layer=1, n_head=1, eos_token_id=0)
    small = tiny(config)
    tokenizer = AutoTokenizer.from_pretrained(small.model.id)
    tokenizer.eos_token = "<|endoftext|>"
    tokenizer.save_pretrained(small.model.id)
    small = TransformersEngine(small.model.id)
    assert small._prompting.stop_ids == {"plain": {0}, "chat": {0, 2}}


@pytest.mark.parametrize("torn", [{}, {"config.json": ""}, {"config.json": '{"model_type": "no-such-type"}'}])
def test_a_directory_that_is_no_model(tmp_path, torn):
    for name, content in torn.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError) as failure:
        TransformersEngine(str(tmp_path))
    assert "\n" not in str(failure.value)
    assert "cannot load model" in str(failure.value)


@pytest.mark.model
def test_torn_weights(tiny):
    from transformers import GPT2Config

    config = GPT2Config(vocab_size=49152, n_positions=64, n_embd=8, n_layer=1, n_head=1)
    path = tiny(config).model.id
    weights = f"{path}/model.safetensors"
    with open(weights, "r+b") as file:
        file.truncate(5000)
    with pytest.raises(UserError, match="cannot load model"):
        TransformersEngine(path)


def noise(n):
    return [np.random.Generator(np.random.Philox(derive_seed("draw", i))) for i in range(n)]


@pytest.mark.parametrize("size", [2, 9, 10, 50])
def test_draw_is_categorical_down_to_rare_tokens(size):
    logits = torch.linspace(0, 5, size)[torch.randperm(size, generator=torch.Generator().manual_seed(0))]
    n = 20_000
    tokens, logprobs = draw(logits.expand(n, size), noise(n), Sampling(temperature=1.5))
    p = (logits.double() / 1.5).softmax(dim=0).numpy()
    expected = n * p
    assert stats.chisquare(np.bincount(tokens.numpy(), minlength=size), expected).pvalue > 1e-3
    exact = logits.double().log_softmax(dim=0)[tokens]
    assert torch.allclose(logprobs.double(), exact, atol=1e-6)


def test_draw_never_takes_an_impossible_token():
    logits = torch.full((2000, 30), -torch.inf)
    logits[:, 7] = 0.0
    logits[:, 29] = 0.0
    tokens, _ = draw(logits, noise(2000), Sampling())
    assert set(tokens.tolist()) == {7, 29}


@pytest.mark.parametrize(
    ("top_p", "kept"), [(0.39, {3}), (0.41, {3, 0}), (0.75, {3, 0, 4}), (0.999, {0, 1, 2, 3, 4})]
)
def test_nucleus_is_the_smallest_set_that_reaches_top_p(top_p, kept):
    logits = torch.tensor([0.3, 0.05, 0.05, 0.4, 0.2]).log()
    tokens, _ = draw(logits.expand(3000, 5), noise(3000), Sampling(top_p=top_p))
    assert set(tokens.tolist()) == kept


def test_nucleus_beyond_the_first_thousand():
    logits = torch.zeros(3000)
    tokens, _ = draw(logits.expand(4000, 3000), noise(4000), Sampling(top_p=0.5))
    assert 1000 < len(set(tokens.tolist())) <= 1501


def test_draw_at_temperature_zero_is_the_mode():
    logits = torch.randn((100, 40), generator=torch.Generator().manual_seed(1))
    tokens, logprobs = draw(logits, noise(100), Sampling(temperature=0.0))
    assert torch.equal(tokens, logits.argmax(dim=1))
    assert torch.allclose(logprobs, logits.log_softmax(dim=1).amax(dim=1))


token_lists = st.lists(st.integers(0, 2), min_size=1, max_size=6).map(tuple)


@given(st.lists(token_lists, min_size=1, max_size=6, unique=True), st.integers(0, 8))
def test_cut_is_the_cheapest_cut_of_the_ordered_prompts(prompts, price):
    def cost(batches):
        shared = [shared_prefix(batch) for batch in batches]
        return sum(
            price + own + len(batch) * (max(map(len, batch)) - own)
            for batch, own in zip(batches, shared, strict=True)
        )

    ordered = sorted(prompts)
    n = len(ordered)
    cuts = [inner for k in range(n) for inner in combinations(range(1, n), k)]
    options = [[ordered[a:b] for a, b in zip((0, *inner), (*inner, n), strict=True)] for inner in cuts]
    batches = cut(prompts, price)
    assert sorted(prompt for batch in batches for prompt in batch) == ordered
    assert cost(batches) == min(map(cost, options))


@given(st.lists(token_lists, min_size=1, max_size=5))
def test_shared_prefix_leaves_every_prompt_a_token(prompts):
    shared = shared_prefix(prompts)
    assert all(len(prompt) > shared for prompt in prompts)
    assert len({prompt[:shared] for prompt in prompts}) == 1
    longer = {prompt[: shared + 1] for prompt in prompts}
    assert len(longer) > 1 or any(len(prompt) == shared + 1 for prompt in prompts)
