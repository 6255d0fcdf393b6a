"""How much of an engine's own throughput a run keeps, and what the ways of asking it are worth.

The same requests go through gapbench, with grading, verifying and storing, and through the bare engine, in turn in one
process, so that whatever else the machine does hits both alike. The bare engine is given all requests at once, as if
those of the verifiers had been known before any response was drawn; it parses, grades and stores nothing.

    python benchmarks/throughput.py --engine transformers --out results/throughput
    python benchmarks/throughput.py --engine simulated --prompts 500 --responses 32 --profile --out results/throughput
    python benchmarks/throughput.py --engine vllm --model Qwen/Qwen3-8B --prompts 200 --responses 32 --compare \
        --engine-option max_model_len=4096 --out results/gpu/throughput

`--compare` (vLLM) measures further pairs: a request with n= against n single ones, requests with seeds against those
without, the prefix cache on against off, verdicts in gapbench's order against shuffled ones. Every measurement is a JSON
line on standard output, and in throughput.jsonl in the folder. Ratios are geometric means over rounds, with 95 % t
intervals of their logarithms.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy.stats import t as student

from gapbench.engines.base import Engine, Request, Result
from gapbench.judging import VerifierSpec
from gapbench.launch import Engines
from gapbench.report.costs import engine_share, stage_costs
from gapbench.run import RunConfig, hardware, libraries, prepare

Work = Callable[[], int]
"""Draws everything once and returns the number of generations."""

Arm = Callable[[], Work]
"""Sets up what is not timed."""


MOST_APART = (
    0.05  # numbers of generations: where seeds fail, or rounding depends on the batch, empty replies differ
)


def ratio(seconds: Sequence[Sequence[float]]) -> dict[str, Any]:
    """The first arm's throughput over the second's, from seconds [round, arm] of one generation or of equally many."""
    logs = np.diff(np.log(np.asarray(seconds)), axis=1)[:, 0]
    half = (
        student.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / len(logs) ** 0.5 if len(logs) > 1 else np.inf
    )
    low, value, high = np.exp([logs.mean() - half, logs.mean(), logs.mean() + half]).tolist()
    return {"ratio": round(value, 4), "low": round(low, 4), "high": round(high, 4), "rounds": len(logs)}


def alternate(arms: dict[str, Arm], rounds: int, fresh: Callable[[], None]) -> dict[str, Any]:
    """Run arms in turn, in the other order every second round; the ratio is that of the first to the second."""
    names = list(arms)
    seconds: list[dict[str, float]] = []
    generations: list[dict[str, int]] = []
    for turn in range(rounds):
        spent: dict[str, float] = {}
        drawn: dict[str, int] = {}
        for name in names if turn % 2 == 0 else names[::-1]:
            work = arms[name]()
            fresh()
            begun = time.perf_counter()
            drawn[name] = work()
            spent[name] = time.perf_counter() - begun
        seconds.append(spent)
        generations.append(drawn)
    numbers = [number for drawn in generations for number in drawn.values()]
    assert max(numbers) <= (1 + MOST_APART) * min(numbers), f"arms drew different numbers: {generations}"
    both = list(zip(seconds, generations, strict=True))
    rates = {name: sum(d[name] for _, d in both) / sum(s[name] for s, _ in both) for name in names}
    return {
        "generations": {name: round(float(np.mean([d[name] for d in generations])), 1) for name in names},
        "per_second": {name: round(rate, 2) for name, rate in rates.items()},
        **ratio([[spent[name] / drawn[name] for name in names[:2]] for spent, drawn in both]),
        "seconds": [{name: round(value, 3) for name, value in spent.items()} for spent in seconds],
    }


class Recorder:
    """Sees what an engine is asked and, of the transformers engine, which rows it draws together."""

    def __init__(self, engine: Engine) -> None:
        self.requests: list[Request] = []
        self.batches: list[Any] = []
        self._engine = engine
        self._run = engine.run

    def __enter__(self) -> Recorder:
        self._engine.run = self._tee  # type: ignore[method-assign]
        decoder = getattr(self._engine, "_decoder", None)
        if decoder is not None:
            decode = decoder.decode

            def kept(rows: Sequence[Any], ended: Any) -> Iterator[Any]:
                self.batches.append(list(rows))
                return decode(rows, ended)  # type: ignore[no-any-return]

            decoder.decode = kept
        return self

    def __exit__(self, *_: object) -> None:
        del self._engine.run  # type: ignore[method-assign]
        if self.batches:
            del self._engine._decoder.decode  # type: ignore[attr-defined]

    def _tee(self, requests: Iterable[Request | None]) -> Iterator[Result]:
        def seen() -> Iterator[Request | None]:
            for request in requests:
                if request is not None:
                    self.requests.append(request)
                yield request

        return self._run(seen())


def bare_arms(engine: Any, seen: Recorder) -> dict[str, Arm]:
    """The engine without gapbench, on the same requests; of transformers also its own `generate`."""
    if engine.name == "vllm":
        return {"LLM.generate": lambda: lambda: generate_vllm(engine, seen.requests)}
    if engine.name == "transformers":
        return {
            "decode loop": lambda: (
                lambda: sum(1 for rows in seen.batches for _ in engine._decoder.decode(rows, engine._stopped))
            ),
            "generate": lambda: lambda: generate_transformers(engine, seen.requests),
        }
    return {"engine": lambda: lambda: sum(1 for _ in engine.run(iter(seen.requests)))}


def generate_vllm(engine: Any, requests: Sequence[Request], *, seeds: bool = True, n: bool = False) -> int:
    """Everything in one call, as a script would; `n` asks for all of a request's generations at once."""
    draws: deque[Any] = deque()
    for request in requests:
        # What concerns the prompt itself, such as one over the context, is no part of the comparison.
        assert not list(engine._read(request, draws))
    if n:
        draws = deque({id(draw.request): draw for draw in draws}.values())
    parameters = [engine._parameters(draw) for draw in draws]
    for draw, own in zip(draws, parameters, strict=True):
        if not seeds or n:
            own.seed = None
        if n:
            own.n = len(draw.request.keys)
    prompts = [{"prompt_token_ids": list(draw.prompt)} for draw in draws]
    outputs = engine._llm.generate(prompts, parameters, use_tqdm=False, lora_request=engine._lora)
    shared = sum(len(draw.keys) - 1 for draw in draws)
    return sum(len(output.outputs) for output in outputs) + shared


def generate_transformers(engine: Any, requests: Sequence[Request]) -> int:
    """Transformers' own `generate`: rows of one kind of sampling, 256 at a time, padded on the left."""
    tokenizer, model = engine._tokenizer, engine._network
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    kinds: dict[Any, list[list[int]]] = defaultdict(list)
    for request in requests:
        ids = list(engine._prompting.encode(request))
        kinds[request.sampling] += [ids] * len(request.keys)
    for sampling, rows in kinds.items():
        for start in range(0, len(rows), 256):
            batch = tokenizer.pad({"input_ids": rows[start : start + 256]}, return_tensors="pt").to(
                model.device
            )
            drawn = {"do_sample": True, "temperature": sampling.temperature, "top_k": 0}
            model.generate(
                **batch,
                **(drawn if sampling.temperature else {"do_sample": False}),
                max_new_tokens=sampling.max_tokens,
                pad_token_id=tokenizer.pad_token_id,
                **({"stop_strings": list(sampling.stop), "tokenizer": tokenizer} if sampling.stop else {}),
            )
    return sum(len(request.keys) for request in requests)


def forget(engine: Any) -> Callable[[], None]:
    """Empties what the engine keeps between calls, so that neither arm finds what the other computed."""
    if engine.name == "vllm":
        return lambda: engine._llm.reset_prefix_cache()
    if engine.name == "transformers":
        return lambda: engine._decoder.forget()
    return lambda: None


def through_gapbench(config: RunConfig, pool: Engines, folder: Path, last: dict[str, Any]) -> Arm:
    """Everything after the suite was read: sampling, grading, verifying, storing."""
    number = count()

    def set_up() -> Work:
        run = prepare(config, folder / f"run-{next(number)}")

        def work() -> int:
            run.advance(engines=pool)
            last["manifest"] = run.manifest
            shutil.rmtree(run.store.path)
            return sum(session["rows"] for session in run.manifest["sessions"] if session["stage"] != "grade")

        return work

    return set_up


def where_time_goes(profile: cProfile.Profile) -> dict[str, float]:
    """Share of the time spent in each module's own code, built-in functions counting for their callers."""
    spent: dict[str, float] = defaultdict(float)
    stats: Any = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    for (file, _, _), (_, _, own, _, callers) in stats.items():
        if file == "~":
            for (caller, _, _), (_, _, part, _) in callers.items():
                spent[_module(caller)] += part
        else:
            spent[_module(file)] += own
    total = sum(spent.values())
    shares = sorted(((value / total, name) for name, value in spent.items()), reverse=True)
    return {name: round(share, 3) for share, name in shares if share >= 0.005}


def _module(file: str) -> str:
    parts = Path(file).parts
    if "gapbench" in parts:
        return ".".join(parts[len(parts) - parts[::-1].index("gapbench") - 1 :]).removesuffix(".py")
    if "site-packages" in parts:
        return parts[parts.index("site-packages") + 1]
    return "python"


def measure(chosen: argparse.Namespace, say: Callable[[dict[str, Any]], None]) -> None:
    """The run against the bare engine and, if asked for, the other pairs."""
    config = RunConfig(
        suite=chosen.suite,
        model=chosen.model,
        engine=chosen.engine,
        engine_options=chosen.options,
        n=chosen.responses,
        limit=chosen.prompts,
        verifiers=tuple(VerifierSpec.model_validate(name) for name in chosen.verifier or ["yesno"]),
        verdicts=chosen.verdicts,
    )
    with Engines() as pool:
        engine: Any = pool.get(config.own_engine)
        seen = against_bare(config, pool, 0, chosen, say)
        if chosen.engine == "transformers":
            # A fiftieth as fast: on one prompt a task it takes as long as all the rest.
            against_bare(config.model_copy(update={"limit": 1}), pool, 1, chosen, say)
        if chosen.profile:
            profile = cProfile.Profile()
            profile.runcall(through_gapbench(config, pool, Path(chosen.out), {})())
            say(
                {
                    "measured": "where the time goes",
                    **facts_of(config, engine),
                    "shares": where_time_goes(profile),
                }
            )
        if chosen.compare:
            compare_ways(engine, seen.requests, chosen.rounds, facts_of(config, engine), say)


def facts_of(config: RunConfig, engine: Any) -> dict[str, Any]:
    return {
        "engine": config.engine,
        "model": engine.model.id,
        "options": config.engine_options,
        "suite": config.suite,
        "prompts_per_task": config.limit,
        "responses": config.n,
        "verifiers": config.names,
        "verdicts": config.verdicts,
    }


def against_bare(
    config: RunConfig,
    pool: Engines,
    which: int,
    chosen: argparse.Namespace,
    say: Callable[[dict[str, Any]], None],
) -> Recorder:
    """Measure a run against one of its engine's `bare_arms`; return what the engine was asked."""
    engine: Any = pool.get(config.own_engine)
    last: dict[str, Any] = {}
    gapbench = through_gapbench(config, pool, Path(chosen.out), last)
    with Recorder(engine) as seen:
        gapbench()()  # also warms up
    name, bare = list(bare_arms(engine, seen).items())[which]
    found = alternate({"gapbench": gapbench, name: bare}, chosen.rounds, forget(engine))
    costs = stage_costs(last["manifest"])
    share = engine_share(costs)
    say(
        {
            "measured": f"gapbench over {name}",
            **facts_of(config, engine),
            **found,
            "engine_share_in_manifest": None if share is None else round(share, 4),
            "cache_hits": {c.stage: round(c.cache_hits, 4) for c in costs if c.cache_hits is not None},
        }
    )
    return seen


def compare_ways(
    engine: Any,
    requests: list[Request],
    rounds: int,
    facts: dict[str, Any],
    say: Callable[[dict[str, Any]], None],
) -> None:
    """Pairs that need only one engine."""
    drawing = [request for request in requests if len(request.keys[0]) == 3]
    judging = [request for request in requests if len(request.keys[0]) > 3]
    shuffled = random.Random(0).sample(judging, len(judging))
    pairs: dict[str, dict[str, Arm]] = {
        "n= over single requests": {
            "n=": lambda: lambda: generate_vllm(engine, drawing, n=True),
            "single": lambda: lambda: generate_vllm(engine, drawing, seeds=False),
        },
        "verdicts in order over shuffled": {
            "in order": lambda: lambda: sum(1 for _ in engine.run(iter(judging))),
            "shuffled": lambda: lambda: sum(1 for _ in engine.run(iter(shuffled))),
        },
    }
    if engine.capabilities.seeds:
        pairs["seeded over unseeded"] = {
            "seeded": lambda: lambda: generate_vllm(engine, drawing),
            "unseeded": lambda: lambda: generate_vllm(engine, drawing, seeds=False),
        }
    for name, arms in pairs.items():
        if name.startswith("verdicts") and not judging:
            continue
        say({"measured": name, **facts, **alternate(arms, rounds, forget(engine))})


def compare_caches(chosen: argparse.Namespace, say: Callable[[dict[str, Any]], None]) -> None:
    """Prefix cache on against off: two engines, one after the other in processes of their own, twice."""
    seconds: list[list[float]] = []
    for turn in range(2):
        spent = {}
        for cached in (True, False) if turn % 2 == 0 else (False, True):
            words = [word for word in sys.argv[1:] if word not in ("--compare", "--profile")]
            with tempfile.TemporaryDirectory() as folder:
                subprocess.run(
                    [sys.executable, __file__, *words, "--engine-option", f"enable_prefix_caching={cached}",
                     "--rounds", "2", "--out", folder],
                    check=True, stdout=subprocess.DEVNULL,
                )  # fmt: skip
                found = (Path(folder) / "throughput.jsonl").read_text().splitlines()
            spent[cached] = 1 / json.loads(found[0])["per_second"]["gapbench"]
        seconds.append([spent[True], spent[False]])
    say(
        {
            "measured": "prefix cache on over off",
            "engine": chosen.engine,
            "model": chosen.model,
            **ratio(seconds),
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="A run's throughput against the bare engine's.")
    parser.add_argument("--engine", default="transformers")
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--suite", default="starter")
    parser.add_argument("--prompts", type=int, default=8, help="for each task")
    parser.add_argument("--responses", type=int, default=8, help="for each prompt")
    parser.add_argument("--verifier", action="append", help="default: yesno")
    parser.add_argument("--verdicts", type=int, default=1)
    parser.add_argument("--engine-option", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", action="store_true", help="say where gapbench's own time goes")
    parser.add_argument("--compare", action="store_true", help="measure the ways of asking vLLM, too")
    parser.add_argument("--out", default="throughput", help="folder for everything that is written")
    chosen = parser.parse_args()
    pairs = (option.partition("=") for option in chosen.engine_option)
    chosen.options = {name: yaml.safe_load(value) for name, _, value in pairs}
    folder = Path(chosen.out)
    folder.mkdir(parents=True, exist_ok=True)
    about = {"hardware": hardware(), "libraries": libraries(), "threads": os.environ.get("OMP_NUM_THREADS")}
    (folder / "environment.json").write_text(json.dumps(about, indent=2) + "\n")

    def say(record: dict[str, Any]) -> None:
        line = json.dumps(record)
        print(line, flush=True)
        with (folder / "throughput.jsonl").open("a") as file:
            file.write(line + "\n")

    measure(chosen, say)
    if chosen.compare:
        compare_caches(chosen, say)


if __name__ == "__main__":
    main()
