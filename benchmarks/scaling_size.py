"""Size and coverage of the slope test of `gapbench scale` on simulated models with known truth.

    python benchmarks/scaling_size.py [--sets 1000] [--out results/scaling]

Every scenario draws models of some families: y = alpha_family + beta_family x + u + e, Var(u) = .03^2, standard errors of
.015 to .045, compute over about 2.5 decades, errors correlated by shared prompts where it says so. Size is the share of
data sets in which a slope of 0 is rejected at 5 %, coverage the share of 95 % intervals that hold a true slope of .05.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy import stats

import gapbench
from gapbench.panel import Float, Int
from gapbench.scaling.points import Points, codes
from gapbench.scaling.regression import regress
from gapbench.scaling.slopes import fit_slope
from gapbench.scaling.two_stage import across_families

TAU = 0.03
SLOPE = 0.05
Found = tuple[float, float, float]  # p, low, high


@dataclass(frozen=True)
class Scenario:
    """How data sets are drawn.

    Attributes
    ----------
    families, models
        How many, and of each how many.
    spread
        Standard deviation of the families' slopes about their mean.
    correlation
        Of all errors, by prompts that all models share.
    """

    name: str
    families: int
    models: int
    spread: float = 0.0
    correlation: float = 0.0


SCENARIOS = (
    Scenario("one family of 7", 1, 7),
    Scenario("one family of 7, shared prompts", 1, 7, correlation=0.6),
    Scenario("3 families of 5", 3, 5),
    Scenario("3 families of 5, shared prompts", 3, 5, correlation=0.6),
    Scenario("5 families of 5, slopes vary", 5, 5, spread=0.05),
    Scenario("5 families of 5, slopes vary, shared prompts", 5, 5, spread=0.05, correlation=0.6),
)


def draw(scenario: Scenario, slope: float, rng: np.random.Generator) -> Points:
    """One data set."""
    groups = np.repeat(np.arange(scenario.families), scenario.models)
    n = len(groups)
    x = 22 + 2.5 * rng.random(n) + rng.normal(0, 0.3, scenario.families)[groups]
    se = rng.uniform(0.015, 0.045, n)
    share = scenario.correlation
    joint = np.outer(se, se) * (share + (1 - share) * np.eye(n))
    error = se * (np.sqrt(share) * rng.normal() + np.sqrt(1 - share) * rng.normal(size=n))
    slopes = rng.normal(slope, scenario.spread, scenario.families)[groups]
    y = rng.normal(0, 0.1, scenario.families)[groups] + slopes * x + rng.normal(0, TAU, n) + error
    return Points(
        domain=("simulated",) * n,
        model=tuple(f"m{i}" for i in range(n)),
        family=tuple(f"f{i}" for i in groups),
        x=x,
        value=y,
        se=se,
        accuracy=np.full(n, np.nan),
        gap=np.full(n, np.nan),
        covariance=joint if share else None,
    )


def known_se(points: Points) -> Found:
    """Weighted least squares that takes standard errors for all the scatter there is, with a z interval."""
    return _z(points, tau2=1e-12)


def reml_z(points: Points) -> Found:
    """REML with a z interval."""
    return _z(points, tau2=None)


def _z(points: Points, tau2: float | None) -> Found:
    groups: Int = codes(points.family)[0]
    variance: Float | None = points.variance()
    fit = regress(points.value, points.x[:, None], variance=variance, groups=groups, tau2=tau2)
    z, reach = abs(fit.slope) / fit.se_known, float(stats.norm.ppf(0.975)) * fit.se_known
    return float(2 * stats.norm.sf(z)), fit.slope - reach, fit.slope + reach


def family_intercepts(points: Points) -> Found:
    """What `gapbench scale` gives as pooled: family intercepts, REML, Knapp-Hartung."""
    row = fit_slope(points, "simulated", "all", full=False).slope
    return row.p, row.low, row.high


def without_se(points: Points) -> Found:
    """The same for points whose standard errors are not known."""
    n = len(points)
    blind = Points(
        points.domain,
        points.model,
        points.family,
        points.x,
        points.value,
        np.full(n, np.nan),
        points.accuracy,
        points.gap,
    )
    return family_intercepts(blind)


def two_stage(points: Points) -> Found:
    """A slope for each family, then REML and Knapp-Hartung over families."""
    row = across_families(points, "simulated")
    return row.p, row.low, row.high


METHODS: dict[str, Callable[[Points], Found]] = {
    "known_se_z": known_se,
    "reml_z": reml_z,
    "family_intercepts_kh": family_intercepts,
    "family_intercepts_no_se": without_se,
    "two_stage": two_stage,
}


def study(
    scenario: Scenario, sets: int, seed: int, methods: tuple[str, ...] | None = None
) -> list[dict[str, object]]:
    """Size and coverage of every method in one scenario."""
    rng = np.random.default_rng([seed, *scenario.name.encode()])
    names = [
        name
        for name in methods or METHODS
        if (name != "two_stage" or scenario.families >= 3)
        and (name != "family_intercepts_no_se" or not scenario.correlation)
    ]
    rejected, held, width = (dict.fromkeys(names, 0.0) for _ in range(3))
    for _ in range(sets):
        null, real = draw(scenario, 0.0, rng), draw(scenario, SLOPE, rng)
        for name in names:
            rejected[name] += METHODS[name](null)[0] <= 0.05
            _, low, high = METHODS[name](real)
            held[name] += low <= SLOPE <= high
            width[name] += (high - low) / sets
    return [
        {
            "scenario": scenario.name,
            "method": name,
            "size": rejected[name] / sets,
            "coverage": held[name] / sets,
            "mean_width": width[name],
        }
        for name in names
    ]


def report(rows: list[dict[str, object]], sets: int) -> str:
    """A page for people."""
    lines = [
        "# Size and coverage of slopes",
        "",
        f"`python benchmarks/scaling_size.py --sets {sets}`: {sets} data sets with slope 0 and as many with slope .05 in each",
        f"scenario; the Monte-Carlo standard error of a size of .05 is {np.sqrt(0.05 * 0.95 / sets):.3f}. Nominal size .05,",
        "nominal coverage .95.",
        "",
        "| scenario | method | size | coverage | mean width |",
        "|---|---|---|---|---|",
        *(
            f"| {row['scenario']} | {row['method']} | {row['size']:.3f} | {row['coverage']:.3f} | {row['mean_width']:.3f} |"
            for row in rows
        ),
        "",
        "- `known_se_z`: weighted least squares with known standard errors and z, what is often done: rejects far too often.",
        "- `reml_z`: REML with z. `family_intercepts_kh`: as `gapbench scale` pools. `family_intercepts_no_se`: points without se.",
        "- `two_stage`: as `gapbench scale` answers whether a slope holds across families; where slopes vary, it alone keeps its",
        "  size, for there the families are the sample.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("results/scaling"))
    asked = parser.parse_args()
    started = time.time()
    rows = []
    for scenario in SCENARIOS:
        rows += study(scenario, asked.sets, asked.seed)
        print(scenario.name, f"{time.time() - started:.0f} s", flush=True)
    asked.out.mkdir(parents=True, exist_ok=True)
    document = {
        "gapbench": gapbench.__version__,
        "sets": asked.sets,
        "seed": asked.seed,
        "tau": TAU,
        "scenarios": [asdict(one) for one in SCENARIOS],
        "rows": rows,
    }
    (asked.out / "size.json").write_text(json.dumps(document, indent=1) + "\n")
    (asked.out / "README.md").write_text(report(rows, asked.sets))


if __name__ == "__main__":
    main()
