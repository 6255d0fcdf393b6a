"""How long `gapbench estimate` takes, and how much memory, on tables of up to 80 million verdicts.

    python benchmarks/estimate_scale.py --out results/estimate_scale.json

Three synthetic tables of prompts x responses x verdicts (`gapbench.synthetic`, scenario mid) are written as Parquet in
chunks, imported, and estimated with all default quantities and their intervals; import and estimate are processes of
their own, whose wall time, processor time and peak memory are taken. A plain pandas script (group-by, per-prompt
Python, see `with_pandas`) estimates the same quantities on one of the tables for comparison.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gapbench.synthetic import SCENARIOS, draw

SIZES = ("100x1000x8", "1000x1000x8", "10000x1000x8")
PROMPTS_AT_ONCE = 100
RESAMPLES = 1999
SUBSETS = 200
THINNINGS = 12


def parse_size(text: str) -> tuple[int, int, int]:
    prompts, responses, verdicts = (int(part) for part in text.split("x"))
    return prompts, responses, verdicts


def write_tables(folder: Path, prompts: int, responses: int, verdicts: int) -> tuple[Path, Path]:
    """Write the two tables in chunks of prompts."""
    paths = folder / "responses.parquet", folder / "verdicts.parquet"
    writers: list[pq.ParquetWriter] = []
    for start in range(0, prompts, PROMPTS_AT_ONCE):
        size = min(PROMPTS_AT_ONCE, prompts - start)
        data = draw(replace(SCENARIOS["mid"], M=verdicts), size, responses, seed=start)
        ids = [f"prompt-{start + p}" for p in range(size)]
        each = np.repeat(np.arange(size, dtype=np.int32), responses)
        index = np.tile(np.arange(responses, dtype=np.int32), size)
        utility = data.utility.ravel().astype(float)
        drawn = {
            "domain": words(np.zeros(len(each)), ["synthetic"]),
            "task": words(np.zeros(len(each)), ["mid"]),
            "prompt_id": words(each, ids),
            "response": index,
            "utility": utility,
            "answer": words(
                data.answers.ravel(), [f"answer {code}" for code in range(data.answers.max() + 1)]
            ),
        }
        every = np.repeat(each, verdicts)
        judged = {
            "task": words(np.zeros(len(every)), ["mid"]),
            "prompt_id": words(every, ids),
            "response": np.repeat(index, verdicts),
            "verifier": words(np.zeros(len(every)), ["judge"]),
            "replicate": np.tile(np.arange(verdicts, dtype=np.int32), len(index)),
            "score": data.verdicts.reshape(-1).astype(float),
        }
        for place, columns in enumerate((drawn, judged)):
            batch = pa.table(columns)
            if len(writers) <= place:
                writers.append(pq.ParquetWriter(paths[place], batch.schema))
            writers[place].write_table(batch)
    for writer in writers:
        writer.close()
    return paths


def words(places: np.ndarray, labels: Sequence[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(places.astype(np.int32), labels)


def timed(*arguments: object) -> dict[str, float]:
    """Run the command line in a process of its own."""
    program = "from gapbench.cli import main; main()"
    start = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-P", "-c", program, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2")},
    )
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"gapbench {arguments[0]} failed with exit code {child.returncode}")
    return {
        "seconds": round(time.perf_counter() - start, 2),
        "processor_seconds": round(used.ru_utime + used.ru_stime, 2),
        "peak_gib": round(used.ru_maxrss / 2**20, 2),
    }


def with_pandas(responses: Path, verdicts: Path) -> dict[str, float]:
    """The quantities of `gapbench estimate` as a script would: group by prompt, then Python for each prompt.

    best@n and pass@k are exact, by the formula over ranks with ties averaged; majority@n is over 200 random subsets,
    the gap at m verdicts over 12 random subsets of the replicates; intervals are studentised bootstraps over prompts
    with 1999 resamples. Sorting, ranking and resampling are numpy's.
    """
    start, begun = time.perf_counter(), time.process_time()
    key = ["task", "prompt_id", "response"]
    judged = pd.read_parquet(verdicts)
    scores = judged.groupby(key, observed=True)["score"].mean()
    table = pd.read_parquet(responses).merge(scores.reset_index(), on=key, how="left")
    table["rank"] = table["score"].rank()
    read = time.perf_counter() - start
    pools = table.groupby("prompt_id", observed=True)
    ns = [2**power for power in range(int(pools.size().min()).bit_length())]
    dice = random.Random(0)
    rows = []
    for (_, pool), (_, votes) in zip(pools, judged.groupby("prompt_id", observed=True), strict=True):
        utility = pool["utility"].tolist()
        found = one_prompt(utility, pool["score"].tolist(), pool["answer"].tolist(), ns, dice)
        by_replicate = votes.pivot(index="response", columns="replicate", values="score")
        found |= fewer_verdicts(utility, by_replicate, ns[len(ns) // 2], dice)
        found["between"] = float((pool["rank"] * pool["utility"]).sum())
        rows.append(found)
    frame = pd.DataFrame(rows)
    rng = np.random.default_rng(0)
    intervals = {name: bootstrap(frame[name].to_numpy(), rng) for name in frame}
    return {
        "seconds": round(time.perf_counter() - start, 2),
        "processor_seconds": round(time.process_time() - begun, 2),
        "reading_seconds": round(read, 2),
        "quantities": len(intervals),
        "gap": round(float(frame[f"gap@{ns[len(ns) // 2]}"].mean()), 6),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }


def fewer_verdicts(
    utility: list[float], by_replicate: pd.DataFrame, n: int, dice: random.Random
) -> dict[str, float]:
    """Best of n by the mean of m verdicts, for every m below M."""
    total = by_replicate.shape[1]
    found = {}
    for m in range(1, total):
        values = []
        for _ in range(THINNINGS):
            score = by_replicate[dice.sample(list(by_replicate.columns), m)].mean(axis=1).tolist()
            values.append(best_of(utility, score, [n])[n])
        found[f"best@{n}, m={m}"] = sum(values) / len(values)
    return found


def one_prompt(
    utility: list[float], score: list[float], answer: list[str], ns: Sequence[int], dice: random.Random
) -> dict[str, float]:
    """Every quantity of one prompt."""
    size = len(utility)
    accuracy = sum(utility) / size
    found = {"accuracy": accuracy}
    shuffled = dice.sample(utility, size)
    best = best_of(utility, score, ns)
    control = best_of(shuffled, score, ns)
    oracle = best_of(utility, utility, ns)
    for n in ns:
        found[f"best@{n}"], found[f"gap@{n}"] = best[n], best[n] - accuracy
        found[f"pass@{n}"], found[f"shortfall@{n}"] = oracle[n], oracle[n] - best[n]
        found[f"permuted@{n}"] = control[n] - sum(shuffled) / size
        found[f"majority@{n}"] = majority(utility, answer, n, dice)
    found["relative"] = found[f"gap@{ns[len(ns) // 2]}"] / (1 - accuracy) if accuracy < 1 else 0.0
    for label, weights in (("threshold", [float(s >= 0.5) for s in score]), ("soft", score)):
        for name, values in ((label, utility), (f"{label} permuted", shuffled)):
            total = sum(weights)
            chosen = sum(w * u for w, u in zip(weights, values, strict=True))
            found[f"{name} gap"] = chosen / total - sum(values) / size if total else 0.0
            found[f"{name} chosen"], found[f"{name} total"] = chosen, total
    found["auc"] = auc(utility, score)
    return found


def best_of(utility: list[float], score: list[float], ns: Sequence[int]) -> dict[int, float]:
    """Expected utility of the best of n by score, w_j = C(j-1, n-1) / C(N, n) over ranks j; ties averaged."""
    ranked = sorted(zip(score, utility, strict=True))
    averaged: list[float] = []
    for _, tied in groupby(ranked, key=lambda pair: pair[0]):
        values = [u for _, u in tied]
        averaged += [sum(values) / len(values)] * len(values)
    size = len(averaged)
    return {
        n: sum(math.comb(j - 1, n - 1) / math.comb(size, n) * averaged[j - 1] for j in range(n, size + 1))
        for n in ns
    }


def majority(utility: list[float], answer: list[str], n: int, dice: random.Random) -> float:
    """Expected utility of the answer that most of n give, over random subsets; ties shared."""
    right = dict(zip(answer, utility, strict=True))
    total = 0.0
    for _ in range(SUBSETS):
        votes = Counter(dice.sample(answer, n))
        most = max(votes.values())
        winners = [one for one, count in votes.items() if count == most]
        total += sum(right[one] for one in winners) / len(winners)
    return total / SUBSETS


def auc(utility: list[float], score: list[float]) -> float:
    """Share of right-wrong pairs in order, by ranks."""
    ranks = pd.Series(score).rank()
    right = [u == 1 for u in utility]
    rights, wrongs = sum(right), len(right) - sum(right)
    if not rights or not wrongs:
        return math.nan
    return float((ranks[right].sum() - rights * (rights + 1) / 2) / (rights * wrongs))


def bootstrap(values: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """Studentised bootstrap interval of a mean."""
    values = values[~np.isnan(values)]
    mean, error = values.mean(), values.std(ddof=1) / math.sqrt(len(values))
    statistics = []
    for _ in range(RESAMPLES):
        sample = rng.choice(values, len(values))
        spread = sample.std(ddof=1) / math.sqrt(len(values))
        statistics.append((sample.mean() - mean) / spread if spread else 0.0)
    low, high = np.quantile(statistics, [0.025, 0.975])
    return float(mean - high * error), float(mean - low * error)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), help="PROMPTSxRESPONSESxVERDICTS")
    parser.add_argument(
        "--pandas", default=SIZES[1], help="the size at which pandas is timed; empty for none"
    )
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    results: list[dict[str, Any]] = []
    for text in options.sizes:
        size = parse_size(text)
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            responses, verdicts = write_tables(folder, *size)
            row: dict[str, Any] = {"size": text, "verdicts": math.prod(size)}
            row["import"] = timed("import", responses, verdicts, "--out", folder / "run")
            row["estimate"] = timed("estimate", folder / "run", "--json")
            if text == options.pandas:
                row["pandas"] = with_pandas(responses, verdicts)
                row["speedup"] = round(row["pandas"]["seconds"] / row["estimate"]["seconds"], 1)
        results.append(row)
        print(json.dumps(row), flush=True)
    print(
        f"{'size':>16}{'verdicts':>13}{'import s':>10}{'estimate s':>12}{'cpu s':>8}{'GiB':>6}{'us/row':>8}{'pandas s':>10}{'x':>7}"
    )
    for row in results:
        one = row["estimate"]
        print(
            f"{row['size']:>16}{row['verdicts']:>13,}{row['import']['seconds']:>10.1f}{one['seconds']:>12.1f}"
            f"{one['processor_seconds']:>8.1f}{one['peak_gib']:>6.2f}{1e6 * one['processor_seconds'] / row['verdicts']:>8.2f}"
            f"{row.get('pandas', {}).get('seconds', math.nan):>10.1f}{row.get('speedup', math.nan):>7.1f}"
        )
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
