"""Tokens that each saving saves, for the same quantity at the same half-width.

    python benchmarks/tokens.py --out results/tokens

The yardstick is the half-width of gap[best@4, m=8] from 200 prompts x 128 responses x 8 verdicts, all verified. A plan is
made from a pilot of 400 x 32 x 8, and its design is judged on many other prompts of the same synthetic scenario: its savings
put on one after the other, and each of them taken off alone, at three ratios of a verdict's length to an answer's. Then
both designs are run by the simulated engine, from sampling to the interval, with the tokens that the engine counts.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from gapbench.design.grow import grow
from gapbench.design.pilot import read_pilot
from gapbench.design.plan import Control, Design, PilotTask, Trial, plan
from gapbench.design.trial import Cost
from gapbench.engines.base import Result, Sampling
from gapbench.estimate.selection import BestOf
from gapbench.panel import VerdictCounts
from gapbench.records import UNPARSED, is_error
from gapbench.report.plots import save_figure
from gapbench.report.style import GREY, colour, styled
from gapbench.run import Run, RunConfig, execute, hardware, libraries, now
from gapbench.savings import Savings
from gapbench.synthetic import SCENARIOS, draw
from gapbench.verifiers.base import Judgement, verifiers
from gapbench.verifiers.yesno import YesNo

N, M = 4, 8  # of gap[best@4, m=8]
REFERENCE_PROMPTS, REFERENCE = 200, Design(128, M, Savings())
RATIOS = (0.02, 0.1, 1.0)
CHEAP = 0.02  # length of the cheap verifier's verdict, one token to an answer of 50
CHEAP_NAME = "cheap"
WANTED = 0.0166  # the reference's half-width
PILOT = 60, 16
LADDER_PILOT = 400, 32
SKIP = Savings(skip_unanimous=True)
MOST_PROMPTS = 3000
RESAMPLES = 200


@dataclass(frozen=True)
class Row:
    """A design with as many prompts as it needs.

    Attributes
    ----------
    verdict_length
        Over that of an answer.
    prompts
        Needed for the reference's half-width.
    tokens
        In lengths of an answer.
    saving, saving_se
        Tokens of the reference over these, and its Monte-Carlo standard error.
    """

    verdict_length: float
    savings: str
    responses: int
    case_control: int | None
    verified_share: float
    control: bool
    prompts: float
    verdicts_per_prompt: float
    tokens: float
    saving: float
    saving_se: float


def task(prompts: int, responses: int, seed: int, verdict_length: float) -> PilotTask:
    """Synthetic prompts; the cheap verifier shares the judge's leanings and has noise of its own."""
    data = draw(SCENARIOS["mid"], prompts, responses, seed)
    rng = np.random.default_rng([seed, 7])
    own = data.prompts
    cheap = own.level[:, None] + own.shift[:, None] * data.utility + rng.standard_normal(data.utility.shape)
    return PilotTask(
        "synthetic",
        data.utility,
        VerdictCounts(data.counts, np.full_like(data.counts, M), M),
        answer_tokens=1.0,
        verdict_tokens=verdict_length,
        control=Control(CHEAP_NAME, cheap, CHEAP),
    )


def ladder(best: Design) -> Iterator[tuple[str, Design]]:
    """The plan's savings put on one after the other, then each taken off alone."""
    full = best.savings
    yield "none (reference)", REFERENCE
    step = replace(REFERENCE, responses=32)
    yield "32 responses, more prompts", step
    for name, change in {
        "+ skip unanimous": {"skip_unanimous": True},
        "+ case-control": {"case_control": full.case_control},
        "+ control variate": {"verified_share": full.verified_share, "control": full.control},
    }.items():
        step = replace(step, savings=step.savings.model_copy(update=change))
        yield name, step
    yield "+ fewer responses: the plan", best
    off = {
        "plan without skipping unanimous": {"skip_unanimous": False},
        "plan without case-control": {"case_control": None},
        "plan without control variate": {"verified_share": 1.0, "control": None},
        "plan without all three": {
            "skip_unanimous": False,
            "case_control": None,
            "verified_share": 1.0,
            "control": None,
        },
    }
    for name, change in off.items():
        yield name, replace(best, savings=full.model_copy(update=change))


def savings_table(prompts: int, seed: int) -> list[Row]:
    """Every step at every ratio, on the same prompts."""
    rows = []
    trials: dict[int, Trial] = {}
    for length in RATIOS:
        planned = plan([task(*LADDER_PILOT, seed + 1, length)], half_width=WANTED, filter=f"best@{N}")
        judged = task(prompts, 128, seed, length)
        trials = {}
        rng = np.random.default_rng(seed)
        drawn = rng.multinomial(prompts, np.full(prompts, 1 / prompts), RESAMPLES).astype(float)
        weights = np.vstack([np.ones(prompts), drawn])
        reference: list[tuple[float, float]] = []
        for name, design in ladder(planned.best.design):
            size = design.responses
            trials.setdefault(size, Trial(judged, BestOf(N), M, size, M))
            costs = [Cost(*one) for one in trials[size].costs(design.savings, weights).T.tolist()]
            if not reference:
                reference = [
                    (cost.variance / REFERENCE_PROMPTS, cost.tokens * REFERENCE_PROMPTS) for cost in costs
                ]
            needed = [
                needed_for(cost.variance, goal) for cost, (goal, _) in zip(costs, reference, strict=True)
            ]
            ratios = [
                tokens / (count * cost.tokens)
                for cost, count, (_, tokens) in zip(costs, needed, reference, strict=True)
            ]
            rows.append(
                Row(
                    length, name, size, design.savings.case_control, design.savings.verified_share,
                    design.savings.control is not None, needed[0],
                    costs[0].verdicts, needed[0] * costs[0].tokens, ratios[0], float(np.std(ratios[1:])),
                )
            )  # fmt: skip
            print(f"{length:g} {name}: {ratios[0]:.2f} +- {np.std(ratios[1:]):.2f}", flush=True)
    return rows


def needed_for(variance: float, goal: float) -> float:
    """Prompts whose half-width is that of 200 prompts with `goal` for the variance of their mean."""
    width = stats.t.ppf(0.975, REFERENCE_PROMPTS - 1) * math.sqrt(goal)
    count = variance / goal
    for _ in range(20):
        count = variance * (stats.t.ppf(0.975, count - 1) / width) ** 2
    return float(count)


@verifiers.register("sampled")
class Sampled(YesNo):
    """The question of `yesno`, answered in words: one verdict a draw."""

    deterministic = False
    needs: ClassVar[frozenset] = frozenset()
    labels: ClassVar[tuple[str, ...]] = ()
    sampling = Sampling(max_tokens=4)

    def parse(self, result: Result) -> Judgement:
        """`Yes` or `No`, else no verdict."""
        if is_error(result.finish_reason):
            return Judgement(None, result.finish_reason)
        score = {"Yes": 1.0, "No": 0.0}.get(result.text)
        return (
            Judgement(score, text=result.text)
            if score is not None
            else Judgement(None, UNPARSED, result.text)
        )


def write_suite(folder: Path, prompts: int) -> Path:
    """Additions whose answers are one word, so that an answer is as long as a verdict."""
    rows = ({"q": f"What is {i} + {i + 1}?", "a": str(2 * i + 1)} for i in range(prompts))
    (folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    suite = folder / "sums.yaml"
    suite.write_text(
        "name: sums\ntitle: sums\ntasks:\n  - name: sums\n    domain: arithmetic\n    title: sums\n"
        f"    source: {{file: sums.jsonl}}\n    prompts: {prompts}\n    question: '{{q}}'\n    reference: a\n    calibrate: 0\n    grader: numeric\n"
        "    card: {source: made here, licence: CC0-1.0, answer_space: integers, chance: 0.0, limits: none}\n"
    )
    return suite


def end_to_end(seeds: int, seed: int) -> list[dict[str, object]]:
    """Both designs by the simulated engine at equal lengths, from sampling to the interval.

    The plan is made from a pilot run, whose tokens count as the plan's.
    """
    rows: list[dict[str, object]] = []
    for one in range(seed, seed + seeds):
        with tempfile.TemporaryDirectory() as folder:
            pilot, pilot_tokens = simulated(Path(folder) / "pilot", PILOT[0], Design(PILOT[1], M, SKIP), one)
            best = plan(read_pilot(pilot), half_width=WANTED, filter=f"best@{N}").best
            done = [("plan", *simulated(Path(folder) / "plan", best.prompts, best.design, one))]
            done += [("reference", *simulated(Path(folder) / "reference", REFERENCE_PROMPTS, REFERENCE, one))]
            grown = grow(
                configured(Path(folder) / "grown", MOST_PROMPTS, Design(2 * N, M, Savings()), one),
                Path(folder) / "grown" / "run",
                half_width=WANTED,
            )
            done += [("grown", grown, grown.tokens)]
            for name, run, tokens in done:
                found = run.estimate().where(quantity="gap", filter=f"best@{N}", domain="all")[0]
                rows.append(
                    {
                        "design": name, "seed": one, "prompts": found.n_prompts, "responses": run.config.n,
                        "savings": run.config.savings.model_dump_json(exclude_defaults=True),
                        "tokens": tokens + pilot_tokens * (name == "plan"),
                        "gap": found.value, "half_width": (found.high - found.low) / 2,
                    }
                )  # fmt: skip
                print(rows[-1], flush=True)
    return rows


def configured(folder: Path, prompts: int, design: Design, seed: int) -> RunConfig:
    """A run of a design by the simulated engine, on a suite written to the folder."""
    folder.mkdir()
    return RunConfig(
        suite=str(write_suite(folder, prompts)),
        model="simulated",
        engine="simulated",
        engine_options={"seed": seed},
        n=design.responses,
        verifiers=("sampled",),
        verdicts=design.verdicts,
        seed=seed,
        savings=design.savings,
    )


def simulated(folder: Path, prompts: int, design: Design, seed: int) -> tuple[Run, int]:
    """A run of a design, and the tokens that the engine counted."""
    run = execute(configured(folder, prompts, design, seed), folder / "run")
    return run, run.tokens


def summary(rows: list[dict[str, object]]) -> dict[str, dict[str, float]]:
    """Tokens of the reference over the others', brought to equal half-width (tokens go with its inverse square)."""

    def cost(design: str) -> np.ndarray:
        own = [row for row in rows if row["design"] == design]
        return np.array([float(str(row["tokens"])) * float(str(row["half_width"])) ** 2 for row in own])

    reference = cost("reference")
    found = {}
    for name in ("plan", "grown"):
        ratios = reference / cost(name)  # paired: the same prompts
        found[name] = {
            "saving": float(ratios.mean()),
            "se": float(ratios.std(ddof=1) / math.sqrt(len(ratios))),
        }
    return found


@styled
def figure(rows: list[Row]) -> Figure:
    """Tokens of the reference over those of each step."""
    drawn = Figure(figsize=(7.2, 4.4), layout="constrained")
    ax = drawn.subplots()
    names = [row.savings for row in rows if row.verdict_length == RATIOS[0]]
    for index, length in enumerate(RATIOS):
        own = [row for row in rows if row.verdict_length == length]
        places = np.arange(len(own)) + 0.27 * (1 - index)
        ax.barh(
            places,
            [row.saving for row in own],
            0.25,
            color=colour(index),
            label=f"verdict {length:g} of an answer's length",
            xerr=[2 * row.saving_se for row in own],
        )
    ax.axvline(5, color=GREY, linewidth=1.0, linestyle="--")
    ax.set_yticks(np.arange(len(names)), names)
    ax.invert_yaxis()
    ax.set_xlabel("times fewer tokens for the half-width of 200 × 128 × 8 (± 2 s.e.)")
    ax.legend(loc="upper right")
    return drawn


def markdown(rows: list[Row], ends: list[dict[str, object]]) -> str:
    """The tables for a reader."""
    lines = [
        "# Tokens for the same half-width", "",
        f"gap[best@{N}, m={M}], scenario `mid`; the reference is 200 prompts x 128 responses x 8 verdicts. Made by "
        "`python benchmarks/tokens.py`. `fewer` is the reference's generated tokens over the design's, ± one Monte-Carlo "
        f"standard error. Designs are planned from a pilot of {LADDER_PILOT[0]} x {LADDER_PILOT[1]} x {M}, which is not counted "
        "here, and judged on other prompts. The control variate is what grades alone say, and where `control` says so a "
        f"cheap verifier whose verdict is {CHEAP:g} of an answer.", "",
        "| verdict/answer length | savings | N | r | share verified | control | prompts | verdicts a prompt | fewer |",
        "|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    lines += [
        f"| {row.verdict_length:g} | {row.savings} | {row.responses} | {row.case_control or 'all'} | "
        f"{row.verified_share:g} | {'grades, cheap verifier' if row.control else 'grades' if row.verified_share < 1 else 'none'} | {row.prompts:.0f} | {row.verdicts_per_prompt:.1f} | {row.saving:.2f} ± {row.saving_se:.2f} |"
        for row in rows
    ]
    if ends:
        lines += ["", "## Counted by the simulated engine, equal lengths, no cheap verifier", ""]
        lines += [
            f"- `{name}`: {one['saving']:.1f} ± {one['se']:.1f} times fewer tokens at equal half-width"
            for name, one in summary(ends).items()
        ]
        lines += [
            "", f"`plan` is made from a pilot of {PILOT[0]} x {PILOT[1]} x {M}, whose tokens are counted; `grown` is `gapbench "
            f"run -n {2 * N} --half-width {WANTED}`, which needs none.", "",
            "| design | seed | prompts | N | savings | tokens | gap | half-width |", "|---|---|---|---|---|---|---|---|",
        ]  # fmt: skip
        lines += [
            f"| {row['design']} | {row['seed']} | {row['prompts']} | {row['responses']} | `{row['savings']}` | "
            f"{row['tokens']:,} | {row['gap']:.4f} | {row['half_width']:.4f} |"
            for row in ends
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=10_000, help="on which designs are judged")
    parser.add_argument(
        "--end-to-end", type=int, default=3, help="runs of each design by the simulated engine"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("results/tokens"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    rows = savings_table(asked.prompts, asked.seed)
    ends = end_to_end(asked.end_to_end, asked.seed)
    for name, records in {"savings": [asdict(row) for row in rows], "end_to_end": ends}.items():
        if records:
            with (asked.out / f"{name}.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, list(records[0]))
                writer.writeheader()
                writer.writerows(records)
    (asked.out / "README.md").write_text(markdown(rows, ends))
    save_figure(figure(rows), asked.out / "tokens")
    manifest = {
        "made": now(),
        "arguments": {"prompts": asked.prompts, "end_to_end": asked.end_to_end, "seed": asked.seed},
        "scenario": asdict(SCENARIOS["mid"]),
        "end_to_end": summary(ends) if ends else None,
        "hardware": hardware(),
        "libraries": libraries(),
    }
    (asked.out / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


if __name__ == "__main__":
    main()
