"""Responses a second: this package's decode loop against transformers' `generate`, on the same few-shot prompts.

Both draw n responses to each prompt with the same model in the same process, in turn, so that whatever else the
machine does hits both alike. Prints one JSON line.

    python benchmarks/decode.py --model smollm2-135m --prompts 16 --responses 16 --rounds 2
"""

import argparse
import json
import platform
import time

import torch

from gapbench.engines.base import Request, Sampling, derive_seed, render_plain
from gapbench.engines.transformers import TransformersEngine
from gapbench.records import Message

SHOTS = {"France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid"}
COUNTRIES = [
    "Japan",
    "China",
    "Russia",
    "Egypt",
    "Greece",
    "Portugal",
    "Sweden",
    "Norway",
    "Poland",
    "Austria",
    "Hungary",
    "Cuba",
    "Peru",
    "Chile",
    "Kenya",
    "India",
]


def messages(country: str) -> tuple[Message, ...]:
    question = "What is the capital of {}?"
    turns = [
        Message(role, text)
        for shot, capital in SHOTS.items()
        for role, text in (("user", question.format(shot)), ("assistant", capital))
    ]
    return (*turns, Message("user", question.format(country)))


def run_engine(engine: TransformersEngine, countries: list[str], n: int, sampling: Sampling) -> float:
    """Return the seconds that n responses to each prompt took."""
    requests = [
        Request(
            messages(country),
            "plain",
            keys=tuple((country, k) for k in range(n)),
            seeds=tuple(derive_seed(country, k) for k in range(n)),
            sampling=sampling,
        )
        for country in countries
    ]
    start = time.perf_counter()
    drawn = sum(1 for _ in engine.run(requests))
    assert drawn == len(countries) * n
    return time.perf_counter() - start


def run_generate(engine: TransformersEngine, countries: list[str], n: int, sampling: Sampling) -> float:
    """The same through `generate`: prompts padded on the left, 256 rows at a time, stopping at the same string."""
    tokenizer, model = engine._tokenizer, engine._network
    tokenizer.padding_side = "left"
    at_once = max(1, 256 // n)
    start = time.perf_counter()
    for first in range(0, len(countries), at_once):
        texts = [render_plain(messages(country)) for country in countries[first : first + at_once]]
        batch = tokenizer(texts, return_tensors="pt", padding=True).to(model.device)
        model.generate(
            **batch,
            do_sample=True,
            temperature=sampling.temperature,
            top_k=0,
            max_new_tokens=sampling.max_tokens,
            num_return_sequences=n,
            stop_strings=list(sampling.stop),
            tokenizer=tokenizer,
            pad_token_id=tokenizer.pad_token_id,
        )
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description="Decode loop against transformers' generate.")
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--prompts", type=int, default=16, help=f"at most {len(COUNTRIES)}")
    parser.add_argument("--responses", type=int, default=16, help="per prompt")
    parser.add_argument("--max-tokens", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=2)
    chosen = parser.parse_args()

    engine = TransformersEngine(chosen.model)
    countries = COUNTRIES[: chosen.prompts]
    sampling = Sampling(max_tokens=chosen.max_tokens, stop=("\n",))
    seconds = {"gapbench": 0.0, "generate": 0.0}
    for _ in range(chosen.rounds):
        seconds["gapbench"] += run_engine(engine, countries, chosen.responses, sampling)
        seconds["generate"] += run_generate(engine, countries, chosen.responses, sampling)
    drawn = len(countries) * chosen.responses * chosen.rounds
    rates = {name: drawn / spent for name, spent in seconds.items()}
    facts = engine.describe()
    print(
        json.dumps(
            {
                "model": facts["model"]["id"],
                "device": facts["device"],
                "threads": torch.get_num_threads(),
                "processor": platform.processor() or platform.machine(),
                "prompts": len(countries),
                "responses": chosen.responses,
                "max_tokens": chosen.max_tokens,
                "rounds": chosen.rounds,
                **{f"{name}_responses_per_second": round(rate, 2) for name, rate in rates.items()},
                "ratio": round(rates["gapbench"] / rates["generate"], 2),
            }
        )
    )


if __name__ == "__main__":
    main()
