"""Do projections of a series and the test for more than bootstrapping hold what they promise? Data sets of known truth.

    python benchmarks/trajectory_size.py --study plateau --data-sets 400

Studies, each written to `results/trajectory/STUDY.json`: `plateau` (coverage of the interval of A_inf), `status` (how
often five checkpoints give a lower bound alone, and how often a constant series is called a signal), `rolling`
(coverage and skill of forecasts), `judge` (Fieller's interval of rho), `size` (of the test of projection.md, section 4,
over a grid with the least favourable nulls) and `power`.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gapbench.panel import Float
from gapbench.trajectory.beyond import ALPHA, Halves, cross_fitted, excess_test
from gapbench.trajectory.fitting import Observed
from gapbench.trajectory.judge import moving_judge
from gapbench.trajectory.projection import observed, plateau_interval, project_one
from gapbench.trajectory.signal import constant_fits

START, PLATEAU = 0.3, 0.7

TRUTHS: dict[str, Callable[[Float], Float]] = {
    "exponential": lambda x: np.exp(-x),
    "hyperbolic": lambda x: 1 / (1 + x),
    "logistic": lambda x: 1 / (1 + x**2),
    "sigmoid": lambda x: (1 + np.exp(-2.0)) / (1 + np.exp(x - 2.0)),
}
CELLS = [(8, 4.0, 0.01, 0.0), (12, 4.0, 0.01, 0.0), (12, 8.0, 0.01, 0.5), (20, 4.0, 0.02, 0.7)]
"""Checkpoints, r T, standard error and correlation of the errors."""

LADDER = [
    (64, 512, 512),
    (64, 1024, 1024),
    (64, 512, 64),
    (32, 256, 256),
    (16, 128, 128),
    (8, 64, 64),
    (4, 32, 32),
]
"""M, base responses and tuned responses."""

RARE = np.geomspace(0.0018, 0.015, 6)


def series(
    truth: str, points: int, reach: float, se: float, correlation: float, rng: np.random.Generator
) -> Observed:
    """One data set: a truth over `reach` time scales with Gaussian errors."""
    t = np.arange(float(points))
    value = PLATEAU - (PLATEAU - START) * TRUTHS[truth](reach * t / (points - 1))
    exact = observed(t, value, np.full(points, se), correlation)
    noise = np.linalg.cholesky(exact.covariance) @ rng.standard_normal(points)
    return Observed(t, value + noise, exact.covariance)


def plateau(data_sets: int, seed: int = 0) -> list[dict[str, object]]:
    """Coverage of the plateau's interval; a series in which no law rises gives none and counts as a miss."""
    rows = []
    for place, (truth, cell) in enumerate([(truth, cell) for truth in TRUTHS for cell in CELLS]):
        rng = np.random.default_rng([seed, place])
        ends = np.array([plateau_interval(series(truth, *cell, rng))[1:] for _ in range(data_sets)])
        inside = (ends[:, 0] <= PLATEAU) & (ends[:, 1] >= PLATEAU)
        rows.append(
            {
                "truth": truth,
                **dict(zip(("points", "rT", "se", "correlation"), cell, strict=True)),
                "coverage": float(inside.mean()),
                "width": float(np.nanmedian(ends[:, 1] - ends[:, 0])),
                "at_cap": float((ends[:, 1] >= 1 - 1e-9).mean()),
                "data_sets": data_sets,
            }
        )
    return rows


def status(data_sets: int, seed: int = 0) -> list[dict[str, object]]:
    """Status of five checkpoints at r = .2, and size of the test against a constant."""
    rows: list[dict[str, object]] = []
    for se in (0.005, 0.01, 0.02):
        rng = np.random.default_rng([seed, round(1000 * se)])
        t = np.arange(5.0)
        value = PLATEAU - (PLATEAU - START) * np.exp(-0.2 * t)
        words = Counter(
            project_one(t, value + se * rng.standard_normal(5), np.full(5, se)).status
            for _ in range(data_sets)
        )
        rows.append(
            {"series": "T = 5, r = .2", "se": se, **{word: n / data_sets for word, n in words.items()}}
        )
    for points in (5, 8, 20):
        rng = np.random.default_rng([seed, points])
        flat = observed(np.arange(float(points)), np.zeros(points), np.full(points, 0.01), 0.5)
        factor = np.linalg.cholesky(flat.covariance)
        p = [
            constant_fits(Observed(flat.t, 0.5 + factor @ rng.standard_normal(points), flat.covariance))
            for _ in range(data_sets)
        ]
        rows.append(
            {"series": "constant", "points": points, "rejected": float((np.array(p) <= ALPHA).mean())}
        )
    return rows


def rolling(data_sets: int, seed: int = 0) -> list[dict[str, object]]:
    """Coverage of rolling forecasts, their skill, and how often claims are withheld."""
    rows = []
    for place, truth in enumerate(TRUTHS):
        rng = np.random.default_rng([seed, place])
        found = []
        for _ in range(data_sets):
            data = series(truth, 12, 4.0, 0.01, 0.5, rng)
            found.append(project_one(data.t, data.value, np.full(12, 0.01), correlation=0.5))
        rows.append(
            {
                "truth": truth,
                "coverage": float(np.mean([one.rolling.coverage for one in found])),
                "mase": float(np.median([one.rolling.mase for one in found])),
                "withheld": float(np.mean(["claims_withheld" in one.flags for one in found])),
                "identified": float(np.mean([one.status == "identified" for one in found])),
                "data_sets": data_sets,
            }
        )
    return rows


def judge(data_sets: int, seed: int = 0, prompts: int = 200) -> list[dict[str, object]]:
    """Coverage of Fieller's interval of rho, prompts and their difficulty shared by V and A."""
    rows = []
    t = np.arange(6.0)
    for rho in (0.5, 0.7, 0.9, 0.95, 1.0):
        rng = np.random.default_rng([seed, round(100 * rho)])
        inside, words = 0, Counter[str]()
        for _ in range(data_sets):
            rate = 0.04 + 0.06 * rng.standard_normal((prompts, 1))
            level = 0.3 + 0.2 * rng.standard_normal((prompts, 1))
            a = level + rate * t + 0.15 * rng.standard_normal((prompts, 6))
            v = level + 0.1 + rho * rate * t + 0.15 * rng.standard_normal((prompts, 6))
            found = moving_judge(t, v, a)
            inside += found.low <= rho <= found.high
            words[found.word] += 1
        rows.append(
            {
                "rho": rho,
                "coverage": inside / data_sets,
                "plateau": words["plateau"] / data_sets,
                "data_sets": data_sets,
            }
        )
    return rows


def counts(rate: Float, responses: int, rng: np.random.Generator) -> Halves:
    """Right responses of each half for pass rates [data set, prompt]."""
    size = responses // 2
    right = rng.binomial(size, np.repeat(rate[..., None], 2, axis=-1))
    return Halves(right, np.full(right.shape, size))


def rejections(p: Float, q: Float, worth: int, base: int, tuned: int, rng: np.random.Generator) -> float:
    """Share of data sets in which the test rejects at 5 %."""
    there = counts(q, tuned, rng)
    found = excess_test(cross_fitted(counts(p, base, rng), there, worth), there)
    return float((found[2] <= ALPHA).mean())


def size(data_sets: int, seed: int = 0, prompts: int = 200) -> list[dict[str, object]]:
    """Nulls with a share of rare prompts at q = C(M), the others well within reach, of which none enters the test."""
    rows: list[dict[str, object]] = []
    for place, (worth, base, tuned) in enumerate(LADDER):
        rng = np.random.default_rng([seed, place])
        for share in (0.02, 0.05, 0.1, 0.2, 0.5, 1.0):
            # The same coverage at the largest M needs rarer prompts at a smaller one.
            for rare in 1 - (1 - RARE) ** (64 / worth):
                p = np.full((data_sets, prompts), 0.9)
                p[:, : max(1, round(share * prompts))] = rare
                q = 1 - (1 - p) ** worth
                rejected = rejections(p, q, worth, base, tuned, rng)
                row = {"M": worth, "K": base, "K_tuned": tuned, "share": share, "p": float(rare)}
                rows.append({**row, "rejected": rejected, "data_sets": data_sets})
    return rows


def power(data_sets: int, seed: int = 0, prompts: int = 200) -> list[dict[str, object]]:
    """3 % of prompts out of the base's reach and then solved half the time, the others at q = C(64)."""
    rows: list[dict[str, object]] = []
    for responses in (512, 1024):
        for exactly in (True, False):
            rng = np.random.default_rng([seed, responses, exactly])
            p = rng.beta(0.35, 1.2, (data_sets, prompts))
            q = 1 - (1 - p) ** 64
            draw = rng.random(p.shape)
            new = draw.argsort(axis=1).argsort(axis=1) < round(0.03 * prompts) if exactly else draw < 0.03
            p[new], q[new] = 0.0, 0.5
            found = rejections(p, q, 64, responses, responses, rng)
            rows.append({"K": responses, "new_prompts": "6" if exactly else "binomial", "power": found})
    return rows


STUDIES: dict[str, Callable[[int], list[dict[str, object]]]] = {
    "plateau": plateau,
    "status": status,
    "rolling": rolling,
    "judge": judge,
    "size": size,
    "power": power,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--study", choices=STUDIES, action="append", help="all where not given")
    parser.add_argument("--data-sets", type=int, default=400)
    parser.add_argument("--out", type=Path, default=Path("results/trajectory"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.study or STUDIES:
        rows = STUDIES[name](arguments.data_sets)
        (arguments.out / f"{name}.json").write_text(json.dumps(rows, indent=1) + "\n")
        for row in rows:
            print(name, row, flush=True)


if __name__ == "__main__":
    main()
