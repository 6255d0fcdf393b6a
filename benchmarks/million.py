"""A run of a million responses on the simulated engine: rate, processor time and memory of the whole pipeline.

    python benchmarks/million.py --out results/throughput/million.json

Suite, sampling, grading, verifying and storing; then the same command once more, which finds everything done; then a
top-up of one response a prompt. Each is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from gapbench.run import RunConfig, execute, hardware, libraries


def write_suite(folder: Path, prompts: int) -> Path:
    """Sums of numbers that differ from prompt to prompt."""
    rows = folder / "sums.jsonl"
    with rows.open("w") as file:
        for number in range(prompts):
            file.write(
                json.dumps({"question": f"{number} + {number % 977} = ?", "answer": number + number % 977})
                + "\n"
            )
    task = {
        "name": "sums",
        "domain": "arithmetic",
        "title": "Sums",
        "source": {"file": rows.name},
        "question": "{question}",
        "reference": "answer",
        "grader": "numeric",
        "calibrate": 0.0,
        "prompts": prompts,
        "card": {
            "source": "generated",
            "licence": "CC0-1.0",
            "answer_space": "numbers",
            "chance": 0.0,
            "limits": "none",
        },
    }
    path = folder / "sums.yaml"
    path.write_text(yaml.safe_dump({"name": "sums", "title": "Sums", "tasks": [task]}))
    return path


def sit(suite: str, out: str, responses: int) -> None:
    """One sitting; prints what it took."""
    config = RunConfig(suite=suite, model="simulated", engine="simulated", n=responses)
    wall, processor = time.perf_counter(), time.process_time()
    run = execute(config, out, resume=True)
    seconds = time.perf_counter() - wall
    earlier = int(os.environ["SITTINGS_BEFORE"])
    sessions = run.manifest["sessions"][earlier:]
    generations = sum(session.get("requests", 0) for session in sessions)
    print(
        json.dumps(
            {
                "rows": {session["stage"]: session.get("rows", 0) for session in sessions},
                "generations": generations,
                "wall_seconds": round(seconds, 1),
                "processor_seconds": round(time.process_time() - processor, 1),
                "generations_per_second": round(generations / seconds, 1),
                "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
                "sittings": len(run.manifest["sessions"]),
            }
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="A run of a million responses.")
    parser.add_argument("--prompts", type=int, default=31_250)
    parser.add_argument("--responses", type=int, default=32, help="for each prompt")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--sit", nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.sit:
        sit(chosen.sit[0], chosen.sit[1], int(chosen.sit[2]))
        return
    found: dict[str, Any] = {"hardware": hardware(), "libraries": libraries(), "prompts": chosen.prompts}
    before = 0
    with tempfile.TemporaryDirectory() as scratch:
        suite = write_suite(Path(scratch), chosen.prompts)
        for name, n in (
            ("run", chosen.responses),
            ("again", chosen.responses),
            ("top-up", chosen.responses + 1),
        ):
            done = subprocess.run(
                [sys.executable, __file__, "--sit", str(suite), f"{scratch}/run", str(n)],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "SITTINGS_BEFORE": str(before)},
            )
            found[name] = json.loads(done.stdout)
            before = found[name].pop("sittings")
            print(name, found[name], flush=True)
    if chosen.out:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        chosen.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
