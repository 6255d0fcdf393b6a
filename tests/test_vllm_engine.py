"""The vLLM engine without vLLM: its queue, its options, what it makes of versions that differ, what it prints where.

A stand-in with vLLM's interface draws the tokens; `test_vllm_real.py` does the rest on the real one.
"""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, make_dataclass, replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from gapbench.engines._childlog import ChildLog
from gapbench.engines.base import Request, Sampling, engines
from gapbench.errors import UserError
from gapbench.launch import EngineSpec, start_engine
from gapbench.records import Message, is_error

PIECES = [
    "<end>",
    "<reply>",
    *" ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:?\n",
    "yes",
    " Yes",
    "no",
]
LOGITS = [math.sin(3.0 * token) for token in range(len(PIECES))]
ROOM = 4  # max_num_seqs


def log_softmax(logits: list[float], temperature: float = 1.0) -> list[float]:
    scaled = [value / temperature for value in logits]
    total = math.log(sum(map(math.exp, scaled)))
    return [value - total for value in scaled]


class Tokenizer:
    """One token a character, and a few words."""

    chat_template = None
    eos_token_id = 0
    all_special_ids = (0, 1)
    added_tokens_decoder = ()

    def __len__(self) -> int:
        return len(PIECES)

    def __call__(self, text: str, **_: Any) -> Any:
        return SimpleNamespace(input_ids=[PIECES.index(letter) for letter in text])

    def decode(self, ids: list[int], **_: Any) -> str:
        return "".join(PIECES[token] for token in ids if token > 1)

    def batch_decode(self, many: list[list[int]]) -> list[str]:
        return [PIECES[token] for (token,) in many]


@dataclass
class World:
    """What the stand-in does, and what it was asked."""

    honours_seeds: bool = True
    forgets_seeds_beside_greedy: bool = False
    labels: str = "raw"  # or "tempered", or "none": a version that cannot be asked for chosen tokens
    fails: Exception | None = None
    prints: str = ""
    started: list[dict[str, Any]] = field(default_factory=list)
    asked: list[Any] = field(default_factory=list)
    in_flight: list[int] = field(default_factory=list)
    aborted: list[str] = field(default_factory=list)
    finish_reason: str | None = None
    closed: int = 0


class FakeEngine:
    def __init__(self, world: World) -> None:
        self.world = world
        self.flying: list[tuple[str, list[int], Any]] = []
        self.noise = random.Random(1000 + len(world.started))
        self.vllm_config = SimpleNamespace(
            scheduler_config=SimpleNamespace(
                max_num_seqs=ROOM,
                enable_chunked_prefill=world.started[-1].get("enable_chunked_prefill", True),
            ),
            cache_config=SimpleNamespace(enable_prefix_caching=True),
            device_config=SimpleNamespace(device_type="cpu"),
            model_config=SimpleNamespace(dtype="torch.float32"),
        )
        self.engine_core = SimpleNamespace(shutdown=self.shutdown)

    def shutdown(self) -> None:
        self.world.closed += 1

    def add_request(self, own: str, prompt: Any, params: Any, lora_request: Any = None) -> None:
        assert prompt["type"] == "token"
        if len(prompt["prompt_token_ids"]) == 13:
            raise ValueError("thirteen tokens\nbring no luck")
        self.world.asked.append(params)
        self.flying.append((own, prompt["prompt_token_ids"], params))

    def abort_request(self, names: list[str]) -> None:
        self.world.aborted += names
        self.flying = [one for one in self.flying if one[0] not in names]

    def step(self) -> list[Any]:
        """End the oldest requests, half of what there is room for."""
        self.world.in_flight.append(len(self.flying))
        ending, self.flying = self.flying[: ROOM // 2], self.flying[ROOM // 2 :]
        greedy = any(params.temperature == 0 for _, _, params in ending)
        return [self.output(*one, greedy) for one in ending]

    def output(self, own: str, prompt: list[int], params: Any, beside_greedy: bool) -> Any:
        if params.temperature == 0:
            ids = [max(range(len(LOGITS)), key=LOGITS.__getitem__)] * params.max_tokens
        else:
            seeded = params.seed is not None and self.world.honours_seeds
            seeded = seeded and not (beside_greedy and self.world.forgets_seeds_beside_greedy)
            noise = random.Random(params.seed) if seeded else self.noise
            among = params.allowed_token_ids or range(2, len(PIECES))
            ids = [noise.choice(list(among)) for _ in range(params.max_tokens)]
        raw = log_softmax(LOGITS)
        if params.logprob_token_ids:
            given = log_softmax(LOGITS, params.temperature) if self.world.labels == "tempered" else raw
            tokens = [ids[0], *params.logprob_token_ids]
        else:
            given, tokens = raw, [ids[0], *(range(len(raw)) if params.logprobs == -1 else ())]
        logprobs = SimpleNamespace(
            start_indices=[0],
            end_indices=[len(tokens)],
            token_ids=tokens,
            logprobs=[given[t] for t in tokens],
        )
        completion = SimpleNamespace(
            token_ids=ids,
            finish_reason=self.world.finish_reason or "length",
            cumulative_logprob=sum(raw[token] for token in ids),
            logprobs=logprobs,
        )
        return SimpleNamespace(request_id=own, outputs=[completion], num_cached_tokens=len(prompt) - 1)


def fake_llm(world: World) -> type:
    class LLM:
        def __init__(self, model: str, **arguments: Any) -> None:
            os.write(1, world.prints.encode())
            os.write(1, b"INFO a line on standard output\n")
            world.started.append({"model": model, **arguments})
            if world.fails is not None:
                raise world.fails
            self.llm_engine = FakeEngine(world)
            config = SimpleNamespace(eos_token_id=0)
            self.model_config = SimpleNamespace(
                hf_config=config,
                hf_text_config=config,
                max_model_len=64,
                try_get_generation_config=lambda: {"eos_token_id": [0, 1]},
                get_vocab_size=lambda: len(PIECES),
            )

        def get_tokenizer(self) -> Tokenizer:
            return Tokenizer()

    return LLM


PARAMETERS: dict[str, Any] = {
    "max_tokens": 16, "temperature": 1.0, "top_p": 1.0, "seed": None, "stop": None, "stop_token_ids": None,
    "ignore_eos": False, "detokenize": True, "flat_logprobs": False, "output_kind": None, "logprobs": None,
    "logprob_token_ids": None, "allowed_token_ids": None,
}  # fmt: skip


GUARD = {"started": lambda: None, "close": lambda: None}  # there are no processes to watch over


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Install the stand-in as `vllm`, and undo the environment that starting it leaves."""
    made = World()
    for name in ("VLLM_LOGGING_LEVEL", "VLLM_LOGGING_STREAM", "VLLM_CPU_KVCACHE_SPACE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)

    def module(name: str, **content: Any) -> None:
        there = ModuleType(name)
        there.__spec__ = ModuleSpec(name, None)
        there.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, there)

    parameters = make_dataclass("SamplingParams", [(k, Any, field(default=v)) for k, v in PARAMETERS.items()])
    arguments = (
        "dtype",
        "seed",
        "max_model_len",
        "tensor_parallel_size",
        "enable_chunked_prefill",
        "data_parallel_size",
    )
    module("vllm", __version__="0.0.1", LLM=fake_llm(made), SamplingParams=parameters)
    # The stand-in needs neither, and importing them takes seconds.
    network = SimpleNamespace(num_parameters=lambda: 123)
    module("torch", __version__="0.0.2", device=lambda name: nullcontext())
    module("transformers", AutoModelForCausalLM=SimpleNamespace(from_config=lambda config: network))
    module("vllm.platforms", current_platform=SimpleNamespace(is_cpu=lambda: True))
    module("vllm.engine")
    module("vllm.engine.arg_utils", EngineArgs=make_dataclass("EngineArgs", arguments))
    module("vllm.lora")
    module("vllm.lora.request", LoRARequest=lambda *words: words)
    module("vllm.sampling_params", RequestOutputKind=SimpleNamespace(FINAL_ONLY=2), MAX_LOGPROB_TOKEN_IDS=128)
    monkeypatch.delitem(sys.modules, "gapbench.engines.vllm", raising=False)
    monkeypatch.delitem(engines._classes, "vllm", raising=False)
    monkeypatch.setattr("gapbench.engines._vllm_start.ChildGuard", lambda: SimpleNamespace(**GUARD))
    return made


@pytest.fixture
def start(world: World, tmp_path: Path) -> Iterator[Any]:
    """`start(option=value)` gives an engine; all are closed in the end."""
    running = []

    def one(**options: Any) -> Any:
        running.append(start_engine(EngineSpec("vllm", str(tmp_path), options)))
        return running[-1]

    yield one
    for engine in running:
        engine.close()
    assert world.closed == len(running)


def ask(text: str, *keys: int, labels: tuple[str, ...] = (), **sampling: Any) -> Request:
    own = tuple((text, key) for key in keys)
    settings = {"max_tokens": 5, **sampling}
    return Request(
        (Message("user", text),), "plain", own, tuple(100 + key for key in keys), Sampling(**settings), labels
    )


def test_without_vllm_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "gapbench.engines.vllm", raising=False)
    monkeypatch.delitem(engines._classes, "vllm", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "vllm" in engines.names()
    with pytest.raises(UserError, match=r"pip install 'gapbench\[vllm\]'"):
        engines.get("vllm")


def test_the_queue_is_full_for_as_long_as_there_are_requests(world: World, start: Any) -> None:
    engine = start()
    world.in_flight.clear()
    read = 0

    def source() -> Iterator[Request]:
        nonlocal read
        for k in range(10):
            read += 1
            yield ask(f"question {k}", *range(3))

    reads = []
    results = []
    for result in engine.run(source()):
        results.append(result)
        reads.append(read)
    assert {result.key for result in results} == {(f"question {k}", n) for k in range(10) for n in range(3)}
    assert reads[0] < 5, "results come before all requests are read"
    assert world.in_flight[:10] == [2 * ROOM] * 10
    assert world.in_flight == sorted(world.in_flight, reverse=True)
    assert min(world.in_flight) > 0, "it never steps with nothing to do"
    assert [result.n_prompt for result in results[:1]] == [len("Q: question 0\nA:")]
    assert results[0].n_cached == results[0].n_prompt - 1


def test_none_means_work_on_what_you_hold(world: World, start: Any) -> None:
    engine = start()
    told: list[str] = []

    def source() -> Iterator[Request | None]:
        yield None  # it holds nothing: it asks again at once
        yield ask("one", 0)
        while "one" not in told:
            yield None
        yield ask("two", 0, 1)
        while told.count("two") < 2:
            yield None

    for result in engine.run(source()):
        told.append(result.key[0])
    assert told == ["one", "two", "two"]


def test_who_stops_reading_leaves_nothing_behind(world: World, start: Any) -> None:
    engine = start()
    reading = engine.run([ask("one", *range(9))])
    next(reading)
    reading.close()
    assert len(world.aborted) == 2 * ROOM - 1
    assert {result.key for result in engine.run([ask("two", 7)])} == {("two", 7)}


def test_every_request_has_its_own_seed(world: World, start: Any) -> None:
    engine = start()
    world.asked.clear()
    results = list(engine.run([ask("one", 3, 1), ask("two", 5, temperature=0.0)]))
    assert [params.seed for params in world.asked] == [103, 101, None]
    assert engine.describe()["seeds"] == "request"
    assert engine.capabilities.seeds
    assert len({result.text for result in results}) == 3


@pytest.mark.parametrize(
    ("change", "options"),
    [
        ({"honours_seeds": False}, {}),
        ({"forgets_seeds_beside_greedy": True}, {}),
        ({}, {"request_seeds": False}),
        ({}, {"enable_chunked_prefill": True}),
    ],
)
def test_where_seeds_do_not_work_the_engine_has_a_fresh_one(
    world: World, start: Any, change: dict[str, bool], options: dict[str, bool]
) -> None:
    for name, value in change.items():
        setattr(world, name, value)
    engine, again = start(**options), start(**options)
    world.asked.clear()
    list(engine.run([ask("one", 3, 1)]))
    assert [params.seed for params in world.asked] == [None, None]
    seeds = [one["seed"] for one in world.started]
    assert len(set(seeds)) == 2
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert (engine.describe()["seeds"], engine.describe()["engine_seed"]) == ("engine", seeds[0])
    assert not engine.capabilities.seeds
    assert again.describe()["engine_seed"] == seeds[1]
    assert type(engine).capabilities.seeds, "what another engine can do is as it was"


def test_a_seed_that_is_given_is_the_engines(world: World, start: Any) -> None:
    assert start(seed=5, request_seeds=False).describe()["engine_seed"] == 5
    assert world.started[-1]["seed"] == 5


@pytest.mark.parametrize("labels", ["raw", "tempered", "none"])
def test_labels_are_exact_in_every_version(
    world: World, start: Any, labels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.labels = labels
    if labels == "none":
        monkeypatch.delattr(sys.modules["vllm.sampling_params"], "MAX_LOGPROB_TOKEN_IDS")
    engine = start()
    world.asked.clear()
    results = list(
        engine.run([ask("right?", 0, 1, labels=("Yes", "no", "maybe"), max_tokens=1, temperature=0.5)])
    )
    raw = log_softmax(LOGITS)
    yes = [token for token, piece in enumerate(PIECES) if piece.strip().casefold() == "yes"]
    expected = math.log(sum(math.exp(raw[token]) for token in yes)), raw[PIECES.index("no")], -math.inf
    assert len(yes) == 2
    for result in results:
        assert result.label_logprobs == pytest.approx(expected)
    (params,) = world.asked
    assert (params.logprob_token_ids is None) == (labels != "raw")
    assert params.allowed_token_ids is None
    # One forward pass answers both keys, and the second one's prompt is counted as shared.
    assert [result.key for result in results] == [("right?", 0), ("right?", 1)]
    assert results[1].n_cached == results[1].n_prompt


def test_a_label_that_is_left_out_is_an_error_and_no_zero(
    world: World, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = start()
    full = FakeEngine.output

    def best_only(self: FakeEngine, *words: Any) -> Any:
        output = full(self, *words)
        output.outputs[0].logprobs.end_indices = [1]
        return output

    monkeypatch.setattr(FakeEngine, "output", best_only)
    (result,) = engine.run([ask("right?", 0, labels=("Yes", "no"), max_tokens=1)])
    assert is_error(result.finish_reason)
    assert result.label_logprobs is None


def test_choice_draws_labels_alone(world: World, start: Any) -> None:
    engine = start(choice=True)
    asked = ask("right?", 0, labels=("Yes", "no"), max_tokens=1)
    for seed in range(20):
        (result,) = engine.run([replace(asked, seeds=(seed,))])
        assert result.text.strip().casefold() in ("yes", "no")
        assert result.label_logprobs[1] == pytest.approx(log_softmax(LOGITS)[PIECES.index("no")])
    world.asked.clear()
    list(engine.run([ask("why?", 0)]))
    assert world.asked[0].allowed_token_ids is None


def test_what_cannot_be_drawn_is_an_error_of_its_own(world: World, start: Any) -> None:
    engine = start()
    found = {
        result.key[0]: result for result in engine.run([ask("x" * 70, 0), ask("thirteen", 0), ask("fine", 0)])
    }
    assert found["x" * 70].finish_reason == "error:prompt longer than the context (76 tokens, limit 59)"
    (luckless,) = engine.run([ask("seven x", 0)])
    assert len("Q: seven x\nA:") == 13
    assert luckless.finish_reason == "error:vLLM refuses the request: thirteen tokens bring no luck"
    assert (luckless.text, luckless.n_tokens, luckless.token_ids) == ("", 0, None)
    assert found["fine"].finish_reason == "length"
    world.finish_reason = "error"
    (ended,) = engine.run([ask("fine", 0)])
    assert ended.finish_reason == "error:vLLM ended the request: error"


def test_an_engine_that_is_told_to_stop_ends_the_run_and_not_the_responses(world: World, start: Any) -> None:
    engine = start()
    world.finish_reason = "abort"
    with pytest.raises(RuntimeError, match="told to stop"):
        list(engine.run([ask("one", 0)]))


def test_ends_and_stop_strings(world: World, start: Any) -> None:
    engine = start()
    world.asked.clear()
    list(engine.run([ask("one", 0), ask("two", 0, stop=("\n",))]))
    plain, stopped = world.asked
    assert plain.stop_token_ids == stopped.stop_token_ids == [0, 1]
    assert (plain.detokenize, stopped.detokenize) == (False, True)
    assert stopped.stop == ["\n"]
    free = next(iter(engine.run([ask("one", 0)])))
    (cut,) = engine.run([ask("one", 0, stop=(free.text[2], free.text[3:]))])
    assert cut.text == free.text[: min(free.text.find(free.text[2]), 3)]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"tensor_paralel_size": 2}, "did you mean 'tensor_parallel_size'"),
        ({"colour": "red"}, "no such argument"),
        ({"data_parallel_size": 2}, "'ray'"),
        ({"skip_tokenizer_init": True}, "cannot be set"),
        ({"logprobs_mode": "processed_logprobs"}, "cannot be set"),
        ({"hf_token": "hf_secret"}, "HF_TOKEN"),
        ({"choice": "yes"}, "true or false"),
        ({"lora": "nowhere"}, "adapter_config.json"),
    ],
)
def test_options_that_are_refused(world: World, tmp_path: Path, options: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError) as refused:
        start_engine(EngineSpec("vllm", str(tmp_path), options))
    assert told in str(refused.value)
    assert f"--engine-option {next(iter(options))}" in str(refused.value)
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not world.started


def test_options_that_are_passed_on(world: World, start: Any, tmp_path: Path) -> None:
    start(tensor_parallel_size=2, dtype="bfloat16")
    (given,) = world.started
    assert given["model"] == str(tmp_path)
    assert (given["tensor_parallel_size"], given["dtype"]) == (2, "bfloat16")
    assert (given["enforce_eager"], given["enable_chunked_prefill"], given["block_size"] % 32) == (
        True,
        False,
        0,
    )
    assert os.environ["VLLM_CPU_KVCACHE_SPACE"] == "2"


def test_an_adapter(world: World, start: Any, tmp_path: Path) -> None:
    adapter = tmp_path / "step-300"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"r": 24}))
    (adapter / "adapter_model.safetensors").write_bytes(b"weights")
    engine = start(lora=str(adapter))
    assert (world.started[0]["enable_lora"], world.started[0]["max_lora_rank"]) == (True, 32)
    assert engine.model.id == f"{tmp_path}+step-300"
    assert "lora sha256:" in engine.model.revision
    assert engine.describe()["lora"] == str(adapter)
    assert engine.model.parameters == 123


@pytest.mark.parametrize(
    ("failure", "printed", "told"),
    [
        (
            RuntimeError("Engine core initialization failed. See root cause above. Failed core proc(s): {}"),
            "(EngineCore pid=7) ERROR 11-23 07:41:43 [core.py:12] Traceback (most recent call last):\n"
            "(EngineCore pid=7) ERROR 11-23 07:41:43 [core.py:12] torch.OutOfMemoryError: CUDA out of memory. Tried\n"
            "Exception: WorkerProc initialization failed due to an exception. See stack trace for root cause.\n",
            "CUDA out of memory. Tried",
        ),
        (ValueError("1 validation error for ModelConfig\n  Value error, no such dtype [type=value_error]"), "", "no such dtype"),
        (OSError("no file named model.safetensors\nin here"), "", "no file named model.safetensors"),
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_loaded(
    world: World,
    tmp_path: Path,
    failure: Exception,
    printed: str,
    told: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    world.fails, world.prints = failure, printed
    with pytest.raises(UserError) as refused:
        start_engine(EngineSpec("vllm", str(tmp_path), {}))
    assert str(refused.value).endswith(f": {told}")
    assert capfd.readouterr() == ("", "")


def test_nothing_it_prints_is_on_standard_output(
    world: World, start: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    world.prints = "WARNING look out\nWARNING Enforce eager set, disabling\nLoading shards: 100% Completed | 1/1\rINFO nothing much\n"
    start()
    print("ours", flush=True)
    printed, told = capfd.readouterr()
    deadline = time.monotonic() + 20
    while "look out" not in told or "100%" not in told:
        assert time.monotonic() < deadline
        time.sleep(0.01)
        told += capfd.readouterr().err
    assert printed == "ours\n"
    assert "nothing much" not in told
    assert "eager" not in told, "our own doing"
    assert "a line on standard output" not in told


def test_what_a_process_prints_later_goes_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    log = ChildLog()
    with log.capture():
        child = subprocess.Popen(
            [sys.executable, "-c", "print('early', flush=True); input(); print('late', flush=True)"],
            stdin=subprocess.PIPE,
        )
    log.loaded()
    assert child.stdin is not None
    child.stdin.write(b"\n")
    child.stdin.close()
    child.wait()
    log.close()
    printed, told = capfd.readouterr()
    assert printed == ""
    assert told.splitlines()[-1] == "late"


PARENT = """
import subprocess, sys, time
from gapbench.engines._childguard import ChildGuard
before = subprocess.Popen(["sleep", "300"])
guard = ChildGuard()
child = subprocess.Popen([sys.executable, "-c", "import subprocess; subprocess.run(['sleep', '300'])"])
time.sleep(2)
if sys.argv[1] != "early":
    guard.started()
if sys.argv[1] == "closed":
    guard.close()
later = subprocess.Popen(["sleep", "300"])
print(before.pid, child.pid, later.pid, guard._process.pid, flush=True)
time.sleep(300)
"""


@pytest.mark.parametrize("when", ["early", "started", "closed"])
def test_a_killed_process_takes_the_engine_with_it(when: str) -> None:
    psutil = pytest.importorskip("psutil", reason="psutil comes with vLLM and is not installed here")
    parent = subprocess.Popen([sys.executable, "-c", PARENT, when], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    before, child, later = map(psutil.Process, pids[:3])
    guard = None if when == "closed" else psutil.Process(pids[3])
    grandchild = child.children()[0]
    try:
        parent.kill()
        parent.wait()
        gone, _ = psutil.wait_procs([child, grandchild], 1 if when == "closed" else 20)
        assert set(gone) == (set() if when == "closed" else {child, grandchild})
        assert before.is_running()
        assert later.is_running() or when == "early"
        assert guard is None or not psutil.wait_procs([guard], 20)[1]
    finally:
        for one in (before, child, grandchild, later):
            if one.is_running():
                one.kill()


def test_importing_it_imports_no_heavy_library() -> None:
    code = (
        "import importlib.util as u, sys; find = u.find_spec\n"
        "u.find_spec = lambda name, *more: True if name == 'vllm' else find(name, *more)\n"
        "import gapbench.engines.vllm\n"
        "print(sorted({'vllm', 'torch', 'transformers', 'ray', 'openai'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr
