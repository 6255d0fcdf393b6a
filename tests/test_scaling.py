"""Scaling laws: against PyMARE, metafor's published values, brute force, published tables, and input that means nothing."""

from __future__ import annotations

import json
import math
import time
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from scipy import stats

from gapbench.comparing.cross import Cross, CrossCell
from gapbench.errors import UserError
from gapbench.estimate.contrast import Contrasts
from gapbench.panel import Float, Int
from gapbench.report.scaling import print_scaling
from gapbench.report.scaling_plots import absolute_gap_figure, crossed_figure, scaling_figure, slopes_figure
from gapbench.report.scaling_text import conclusions
from gapbench.scaling.contrasts import between_families
from gapbench.scaling.crossed import crossed_compute
from gapbench.scaling.forward import forward_z
from gapbench.scaling.permutation import permutation_p
from gapbench.scaling.points import Points, points_from_frame, read_points
from gapbench.scaling.regression import Data, regress
from gapbench.scaling.saturating import saturating
from gapbench.scaling.scale import Scaling, scale
from gapbench.scaling.slopes import fit_slope
from gapbench.scaling.two_stage import across_families

REFERENCE = 1e-4
# Colditz et al. 1994, as dat.bcg of metafor: TB and no TB among the vaccinated, the same among controls, absolute latitude.
BCG = np.array(
    [
        [4, 119, 11, 128, 44], [6, 300, 29, 274, 55], [3, 228, 11, 209, 42], [62, 13536, 248, 12619, 52],
        [33, 5036, 47, 5761, 13], [180, 1361, 372, 1079, 44], [8, 2537, 10, 619, 19], [505, 87886, 499, 87892, 13],
        [29, 7470, 45, 7232, 27], [17, 1699, 65, 1600, 42], [186, 50448, 141, 27197, 18], [5, 2493, 3, 2338, 33],
        [27, 16886, 29, 17825, 33],
    ], dtype=float,
)  # fmt: skip


def bcg() -> tuple[Float, Float, Float]:
    """Log risk ratios, latitude and variances."""
    a, b, c, d, latitude = BCG.T
    return np.log(a / (a + b) / (c / (c + d))), latitude, 1 / a - 1 / (a + b) + 1 / c - 1 / (c + d)


def table(
    families: int = 3,
    models: int = 5,
    domains: tuple[str, ...] = ("maths",),
    seed: int = 0,
    slope: float = 0.1,
) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = [
        {
            "domain": domain,
            "model": f"{family}-{model}",
            "family": f"family {family}",
            "flops": 10 ** (21 + family / 3 + 3 * model / max(models - 1, 1)),
            "value": 0.1 * family + slope * model + rng.normal(0, 0.05),
            "se": 0.02 + 0.002 * model,
            "accuracy": 0.2 + 0.1 * model,
        }
        for domain in domains
        for family in range(families)
        for model in range(models)
    ]
    return pd.DataFrame(rows)


# Agreement with others


def test_meta_regression_has_the_published_values_of_metafor() -> None:
    """rma(yi, vi, mods = ~ ablat, data = dat.bcg): Viechtbauer 2010, J. Stat. Softw. 36(3), and metafor's manual."""
    y, latitude, variance = bcg()
    fit = regress(y, latitude[:, None], variance=variance)
    assert fit.tau2 == pytest.approx(0.0764, abs=REFERENCE)  # metafor stops within 1e-5 of the optimum
    assert fit.i2 == pytest.approx(0.6839, abs=5e-5)
    assert fit.coefficients == pytest.approx([0.2515, -0.0291], abs=5e-5)
    assert fit.se_known == pytest.approx(0.0072, abs=5e-5)
    q = regress(y, latitude[:, None], variance=variance, tau2=0.0)
    assert q.scale * q.df == pytest.approx(30.7331, abs=5e-5), "QE"


def pymare(y: Float, x: Float, variance: Float) -> tuple[float, pd.DataFrame]:
    module = pytest.importorskip("pymare", reason="PyMARE, a development dependency, is not installed")
    found = module.meta_regression(y=y, v=variance, X=x, method="REML", add_intercept=False)
    return float(np.squeeze(found.tau2)), found.to_df()


@pytest.mark.parametrize("seed", range(6))
def test_meta_regression_agrees_with_pymare(seed: int) -> None:
    rng = np.random.default_rng(seed)
    if seed == 0:
        y, x, variance = bcg()
        groups = np.zeros(len(y), dtype=int)
    else:
        groups = np.repeat(np.arange(3), [4, 6, 5])
        x = rng.uniform(0, 3, 15)
        variance = rng.uniform(0.015, 0.06, 15) ** 2
        y = 0.05 * x + rng.normal(0, 0.1, 3)[groups] + rng.normal(0, 0.03 * (seed % 3), 15)
        y += rng.normal(0, np.sqrt(variance))
    design = np.column_stack([np.eye(groups.max() + 1)[groups], x])
    tau2, frame = pymare(y, design, variance)
    fit = regress(y, x[:, None], variance=variance, groups=groups)
    assert fit.tau2 == pytest.approx(tau2, abs=REFERENCE)
    assert fit.coefficients == pytest.approx(frame["estimate"].to_numpy(), abs=REFERENCE)
    row = frame.iloc[-1]
    assert (fit.slope, fit.se) == pytest.approx((row["estimate"], row["se"]), abs=REFERENCE)
    assert fit.interval == pytest.approx((row["ci_0.025"], row["ci_0.975"]), abs=REFERENCE)


def test_a_joint_covariance_is_generalised_least_squares() -> None:
    """REML and GLS by their definitions, with matrices, against the rotated way."""
    rng = np.random.default_rng(1)
    groups = np.repeat([0, 1], [5, 6])
    x, se = rng.uniform(0, 3, 11), rng.uniform(0.02, 0.06, 11)
    joint = np.outer(se, se) * (0.6 + 0.4 * np.eye(11))
    y = 0.1 * x + rng.multivariate_normal(np.zeros(11), joint + 0.03**2 * np.eye(11))
    fit = regress(y, x[:, None], variance=joint, groups=groups)
    design = np.column_stack([np.eye(2)[groups], x])

    def likelihood(tau2: float) -> float:
        inverse = np.linalg.inv(joint + tau2 * np.eye(11))
        information = design.T @ inverse @ design
        r = y - design @ np.linalg.solve(information, design.T @ inverse @ y)
        return float(
            0.5 * (np.linalg.slogdet(inverse)[1] - np.linalg.slogdet(information)[1] - r @ inverse @ r)
        )

    grid = np.linspace(0, 0.01, 20_001)
    assert fit.tau2 == pytest.approx(grid[np.argmax([likelihood(one) for one in grid])], abs=1e-6)
    inverse = np.linalg.inv(joint + fit.tau2 * np.eye(11))
    information = design.T @ inverse @ design
    beta = np.linalg.solve(information, design.T @ inverse @ y)
    r = y - design @ beta
    assert fit.coefficients == pytest.approx(beta, abs=1e-9)
    assert fit.se == pytest.approx(
        math.sqrt(r @ inverse @ r / 8 * np.linalg.inv(information)[2, 2]), abs=1e-9
    )
    assert fit.operator @ y == pytest.approx(fit.coefficients, abs=1e-9)


def test_every_way_of_computing_agrees() -> None:
    """Group means, dummies by rotation, and the large-sample likelihood give one answer."""
    rng = np.random.default_rng(2)
    groups = rng.integers(0, 8, 400)
    x, variance = rng.normal(size=400), rng.uniform(0.001, 0.004, 400)
    y = 0.1 * x + rng.normal(0, 0.05, 400)
    large = regress(y, x[:, None], variance=variance, groups=groups)
    rotated = regress(y, x[:, None], variance=np.diag(variance), groups=groups)
    small = regress(y[:200], x[:200, None], variance=variance[:200], groups=groups[:200])
    again = Data(y[:200], x[:200, None], variance[:200], groups[:200])
    assert rotated.slope == pytest.approx(large.slope, abs=1e-8)
    assert rotated.se == pytest.approx(large.se, abs=1e-8)
    near = [again.restricted(small.tau2 * factor) for factor in (0.99, 1.0, 1.01)]
    assert near[1] == max(near), "the small-sample likelihood has its top where the general one has"


def test_without_errors_it_is_least_squares() -> None:
    rng = np.random.default_rng(3)
    x, y = np.arange(7.0), rng.normal(size=7)
    fit, plain = regress(y, x[:, None]), stats.linregress(x, y)
    assert (fit.slope, fit.se, fit.p) == pytest.approx((plain.slope, plain.stderr, plain.pvalue), abs=1e-12)


# The parts


def test_permutation_p_is_that_of_all_orders_within_families() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=6), rng.normal(size=6)
    centred = x - np.repeat([x[:3].mean(), x[3:].mean()], 3)
    sizes = []
    for a in permutations(range(3)):
        for b in permutations(range(3, 6)):
            order = centred[[*a, *b]]
            sizes.append(abs(order @ y))  # x'x is the same in every order
    wanted = np.mean(np.array(sizes) >= sizes[0] - 1e-12)
    assert permutation_p(y, x, None, np.repeat([0, 1], 3)) == pytest.approx(wanted)
    assert math.isnan(permutation_p(np.zeros(9), np.arange(9.0), None, np.zeros(9, dtype=int)))


def test_forward_z_holds_out_the_largest_and_is_calibrated() -> None:
    rng = np.random.default_rng(5)
    groups = np.repeat([0, 1], 6)
    found = []
    for _ in range(300):
        x = rng.uniform(0, 4, 12)
        variance = rng.uniform(0.01, 0.03, 12) ** 2
        y = 0.1 * x + groups + rng.normal(0, np.sqrt(variance + 0.02**2))
        found.append(forward_z(y, x, variance, groups))
    assert np.mean(np.abs(found) > 1.96) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)
    assert np.std(found) > 0.8
    x = np.arange(8.0)
    flat = np.where(x > 5, 0.5, 0.1 * x) + 0.004 * (-1) ** np.arange(8)
    assert forward_z(flat, x, np.full(8, 1e-5), np.zeros(8, dtype=int)) < -2


def test_a_saturating_law_is_found_where_there_is_one() -> None:
    x = np.linspace(20, 26, 14)
    rng = np.random.default_rng(6)
    y = 0.5 / (1 + np.exp(-2 * (x - 22))) + rng.normal(0, 0.01, 14)
    found = saturating(y, x, np.full(14, 1e-4), np.zeros(14, dtype=int))
    assert found is not None
    assert found.low < 0.5 < found.high < 0.6
    assert found.aicc < found.aicc_linear - 10
    noise = rng.normal(0, 0.01, 14)
    for shape in (0.01 * np.exp(0.7 * (x - 20)), np.full(14, 0.3)):
        open_ended = saturating(shape + noise, x, np.full(14, 1e-4), np.zeros(14, dtype=int))
        assert open_ended is not None
        assert open_ended.flags == ("no_ceiling",)
        assert math.isinf(open_ended.high)
    line = saturating(0.1 * (x - 20) + noise, x, np.full(14, 1e-4), np.zeros(14, dtype=int))
    assert line is not None
    assert line.aicc_linear < line.aicc
    assert saturating(y[:5], x[:5], None, np.zeros(5, dtype=int)) is None, "AICc does not exist"


def test_two_stages_are_the_mean_of_family_slopes() -> None:
    """With equal designs and errors the mean over families is plain, and its interval that of a t test."""
    rng = np.random.default_rng(7)
    x = np.tile(np.arange(5.0), 6)
    frame = pd.DataFrame(
        {
            "domain": "d",
            "model": [f"m{i}" for i in range(30)],
            "family": np.repeat(list("abcdef"), 5),
            "flops": 10 ** (20 + x),
            "value": np.repeat(rng.normal(0.1, 0.2, 6), 5) * x + rng.normal(0, 0.05, 30),
            "se": 0.05,
        }
    )
    row = across_families(points_from_frame(frame), "d")
    slopes = [
        stats.linregress(own["flops"].map(math.log10), own["value"]).slope
        for _, own in frame.groupby("family")
    ]
    interval = stats.ttest_1samp(slopes, 0).confidence_interval()
    assert row.value == pytest.approx(np.mean(slopes), abs=1e-6)
    assert (row.low, row.high) == pytest.approx(tuple(interval), abs=1e-4)
    assert row.new_low < row.low < row.high < row.new_high


def test_two_stages_with_shared_prompts_are_those_of_their_definition() -> None:
    """Family slopes by matrices, one tau^2 for all, then the mean over families by matrices."""
    rng = np.random.default_rng(13)
    n, count = 20, 4
    groups = np.repeat(np.arange(count), 5)
    x, se = rng.uniform(20, 25, n), rng.uniform(0.01, 0.03, n)
    joint = np.outer(se, se) * (0.6 + 0.4 * np.eye(n))
    y = rng.normal(0.1, 0.05, count)[groups] * x + rng.multivariate_normal(
        np.zeros(n), joint + 0.05**2 * np.eye(n)
    )
    row = across_families(shared_points(x, y, se, joint, groups), "d")

    dummies = np.eye(count)[groups]
    slopes, errors, within = by_matrices(y, np.column_stack([dummies, dummies * x[:, None]]), joint)
    assert within > 0
    own, known = slopes[count:], errors[count:, count:]
    mean, error, tau2 = by_matrices(own, np.ones((count, 1)), known)
    residual = own - mean
    scale = residual @ np.linalg.inv(known + tau2 * np.eye(count)) @ residual / (count - 1)
    spread = math.sqrt(scale * error[0, 0])
    assert (row.value, row.se) == pytest.approx((mean[0], spread), rel=1e-5)
    assert row.low == pytest.approx(mean[0] - stats.t.ppf(0.975, count - 1) * spread, rel=1e-5)
    assert row.p == pytest.approx(2 * stats.t.sf(abs(mean[0]) / spread, count - 1), rel=1e-4)
    wide = stats.t.ppf(0.975, count - 2) * math.sqrt(spread**2 + tau2)
    assert (row.new_low, row.new_high) == pytest.approx((mean[0] - wide, mean[0] + wide), rel=1e-4)


def by_matrices(y: Float, design: Float, joint: Float) -> tuple[Float, Float, float]:
    """Generalised least squares at the REML tau^2, looked for on grids: coefficients, their covariance, tau^2."""

    def at(tau2: float) -> tuple[float, Float, Float]:
        inverse = np.linalg.inv(joint + tau2 * np.eye(len(y)))
        information = design.T @ inverse @ design
        beta = np.linalg.solve(information, design.T @ inverse @ y)
        rest = y - design @ beta
        logs = np.linalg.slogdet(inverse)[1] - np.linalg.slogdet(information)[1]
        return float(logs - rest @ inverse @ rest), beta, np.linalg.inv(information)

    low, high = 0.0, 4 * float(np.var(y))
    for _ in range(6):
        grid = np.linspace(low, high, 200)
        best = int(np.argmax([at(tau2)[0] for tau2 in grid]))
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, 199)]
    return *at(grid[best])[1:], float(grid[best])


def shared_points(x: Float, y: Float, se: Float, joint: Float, groups: Int) -> Points:
    n, missing = len(x), np.full(len(x), np.nan)
    models, families = tuple(f"m{i}" for i in range(n)), tuple(f"f{code}" for code in groups)
    return Points(("d",) * n, models, families, x, y, se, missing, missing, joint)


def test_families_on_shared_prompts_never_differ_for_certain() -> None:
    """Three models may lie near a line by chance: what the families share must not then exceed what each has."""
    rng = np.random.default_rng(14)
    groups = np.repeat([0, 1], 3)
    held, least = 0, math.inf
    for _ in range(300):
        x, se = rng.uniform(21, 24, 6), rng.uniform(0.015, 0.045, 6)
        joint = np.outer(se, se) * (0.6 + 0.4 * np.eye(6))
        points = shared_points(x, 0.05 * x + rng.multivariate_normal(np.zeros(6), joint), se, joint, groups)
        fits = {
            ("d", name): fit_slope(points.where(family=name), "d", name, full=False) for name in ("f0", "f1")
        }
        row = between_families(points, fits)[0]
        held += row.low <= 0 <= row.high
        least = min(least, row.se / max(fit.slope.se for fit in fits.values()))
    assert held / 300 >= 0.92
    assert least > 0.05

    # The last one by its definition.
    halves = [slice(0, 3), slice(3, 6)]
    rows, scales, known = [], [], []
    for half in halves:
        design = np.column_stack([np.ones(3), x[half]])
        beta, spread, tau2 = by_matrices(points.value[half], design, joint[half, half])
        inverse = np.linalg.inv(joint[half, half] + tau2 * np.eye(3))
        rest = points.value[half] - design @ beta
        rows.append((spread @ design.T @ inverse)[1])
        scales.append(rest @ inverse @ rest)
        known.append(spread[1, 1])
    shared = rows[0] @ joint[halves[0], halves[1]] @ rows[1]
    wanted = scales[0] * known[0] + scales[1] * known[1] - 2 * math.sqrt(scales[0] * scales[1]) * shared
    assert row.se == pytest.approx(math.sqrt(wanted), rel=1e-3)


def test_forward_z_knows_what_held_out_models_share() -> None:
    rng = np.random.default_rng(15)
    n, x, se = 7, np.arange(7.0), rng.uniform(0.02, 0.05, 7)
    joint = np.outer(se, se) * (0.7 + 0.3 * np.eye(n))
    y = 0.1 * x + rng.multivariate_normal(np.zeros(n), joint + 0.02**2 * np.eye(n))
    design = np.column_stack([np.ones(n), x])
    kept, held = slice(0, 5), slice(5, 7)
    beta, spread, tau2 = by_matrices(y[kept], design[kept], joint[kept, kept])
    inverse = np.linalg.inv(joint[kept, kept] + tau2 * np.eye(5))
    rest = y[kept] - design[kept] @ beta
    scale_of_fit, share = rest @ inverse @ rest / 3, np.full(2, 0.5)
    weights = share @ design[held] @ spread @ design[kept].T @ inverse
    variance = share @ (joint[held, held] + tau2 * np.eye(2)) @ share
    variance += scale_of_fit * (share @ design[held] @ spread @ design[held].T @ share)
    variance -= 2 * weights @ joint[kept, held] @ share
    t = (share @ (y[held] - design[held] @ beta)) / math.sqrt(variance)
    wanted = math.copysign(stats.norm.isf(stats.t.sf(abs(t), 3)), t)
    assert forward_z(y, x, joint, np.zeros(n, dtype=int)) == pytest.approx(wanted, abs=1e-3)


# Whole tables


def published(folder: Path) -> Scaling:
    rows = pd.read_csv(folder / "self_verification_gsm8k.csv")
    rows["domain"] = "gsm8k"
    rows["flops"] = 6 * rows["parameters_b"] * 1e9 * rows["tokens_t"] * 1e12
    return scale(points_from_frame(rows))


def test_the_published_table_says_not_established(shared_data: Path) -> None:
    found = published(shared_data)
    base = found.slopes.where(family="Qwen2.5-Base")[0]
    trained = found.slopes.where(family="Qwen2.5")[0]
    assert (base.value, base.low, base.high) == pytest.approx((0.284, -0.03, 0.594), abs=0.003)
    assert (trained.value, trained.low, trained.high) == pytest.approx((0.007, -0.05, 0.06), abs=0.003)
    contrast = next(row for row in found.family_contrasts if (row.a, row.b) == ("Qwen2.5-Base", "Qwen2.5"))
    assert contrast.p == pytest.approx(0.07, abs=0.005)
    assert contrast.verdict == "not_established"
    text = "\n".join(conclusions(found))
    assert "that Qwen2.5-Base and Qwen2.5 differ is not established" in text
    reasons = {one.model: one.reason for one in found.points.left_out}
    assert {model for model, why in reasons.items() if why == "nothing_parsed"} == {
        f"Llama3-{size}-Base" for size in ("1B", "3B", "8B", "70B")
    }
    assert {model[:8] for model, why in reasons.items() if why == "no_flops"} == {"DeepSeek"}
    assert any("FPR = FNR = 1" in note for note in found.notes)


def test_domains_are_compared_within_models() -> None:
    """What a model has in common in both domains cancels, so that the difference is far surer than either slope."""
    maths = table(families=2, models=6, slope=0.1)
    facts = maths.assign(domain="facts", value=maths["value"] - 0.1 * np.tile(np.arange(6), 2))
    facts["value"] += np.random.default_rng(8).normal(0, 0.005, 12)
    found = scale(points_from_frame(pd.concat([maths, facts])))
    row = found.domain_contrasts[0]
    assert row.paired
    assert row.verdict == "larger"
    assert row.value == pytest.approx(0.1 * 5 / 3, abs=0.02)
    both = [found.slopes.where(domain=name, family="all")[0].se for name in ("maths", "facts")]
    assert row.se < 0.5 * math.hypot(*both)
    apart = facts.assign(model=facts["model"] + " again")
    loose = scale(points_from_frame(pd.concat([maths, apart]))).domain_contrasts[0]
    assert not loose.paired
    assert loose.se == pytest.approx(math.hypot(*both), rel=0.02)


def test_holm_is_over_all_pairs() -> None:
    found = scale(points_from_frame(table(domains=("a", "b", "c", "d"))))
    p = [row.p for row in found.domain_contrasts]
    assert len(p) == 6
    assert min(row.p_adjusted for row in found.domain_contrasts) == pytest.approx(min(1.0, 6 * min(p)))


def test_json_is_the_contract() -> None:
    found = scale(points_from_frame(table(domains=("a", "b"))), flops=[1e26])
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    wanted = {
        "domain",
        "family",
        "slope",
        "se",
        "low",
        "high",
        "tau",
        "i2",
        "p",
        "method",
        "forward_z",
        "flags",
    }
    assert all(wanted <= set(row) for row in document["slopes"])
    pairs = {(row["domain"], row["family"]) for row in document["slopes"]}
    assert {("a", "family 0"), ("a", "all"), ("all", "all")} <= pairs
    assert {row["method"] for row in document["slopes"] if row["family"] == "all"} == {"reml_kh", "two_stage"}
    assert list(found.to_frame()["value"]) == [row["slope"] for row in document["slopes"]]


def test_nothing_is_foretold_far_out_of_few_or_badly_fitting_models() -> None:
    four = table(families=1, models=4).assign(value=[0.1, 0.22, 0.29, 0.42])
    fit = scale(points_from_frame(four)).fits["maths", "family 0"]
    near, far = 10 ** (24 + 0.4), 10 ** (24 + 0.6)
    assert fit.predict(near, "family 0").flags == ()
    assert fit.predict(far, "family 0").flags == ("refused",)
    assert math.isnan(fit.predict(far, "family 0").value)
    many = table(families=1, models=9)
    fit = scale(points_from_frame(many)).fits["maths", "family 0"]
    assert fit.predict(far, "family 0").flags == ("extrapolated",)
    assert fit.predict(1e30, "family 0").flags == ("refused",), "a gap above 1 is none"
    bent = many.assign(value=np.where(np.arange(9) > 6, 0.0, many["value"]))
    fit = scale(points_from_frame(bent)).fits["maths", "family 0"]
    assert "forward_misfit" in fit.slope.flags
    assert fit.predict(far, "family 0").flags == ("refused",)


def test_a_prediction_holds_new_models() -> None:
    rng = np.random.default_rng(9)
    held = 0
    for _ in range(300):
        x = rng.uniform(21, 25, 8)
        frame = pd.DataFrame(
            {"domain": "d", "model": [f"m{i}" for i in range(8)], "family": "f", "flops": 10**x, "se": 0.02}
        )
        frame["value"] = 0.1 * (x - 22) + rng.normal(0, 0.04, 8) + rng.normal(0, 0.02, 8)
        fit = fit_slope(points_from_frame(frame), "d", "f", full=False)
        _, low, high = fit.band(np.array([23.5]), "f", new_model=True)
        held += low[0] <= 0.15 + rng.normal(0, 0.04) <= high[0]
    assert held / 300 > 0.95 - 3 * math.sqrt(0.05 * 0.95 / 300)


# Input that means nothing


def refusal(frame: pd.DataFrame) -> str:
    with pytest.raises(UserError) as caught:
        scale(points_from_frame(frame))
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_degenerate_tables_are_refused() -> None:
    whole = table(families=1, models=6)
    assert "3 models" in refusal(whole.iloc[:2])
    assert "3 models" in refusal(whole.iloc[:1])
    assert "same flops" in refusal(whole.assign(flops=1e22))
    assert "se" in refusal(whole.assign(se=0.0))
    assert "training compute" in refusal(whole.assign(flops=np.nan))
    assert "no number" in refusal(whole.assign(value=np.nan))
    assert "row 3" in refusal(whole.assign(se=[0.1, 0.1, -0.1, 0.1, 0.1, 0.1]))
    assert "row 2" in refusal(whole.assign(flops=[1e21, -1e22, 1e23, 1e24, 1e25, 1e26]))
    assert "row 1" in refusal(whole.assign(accuracy=1.2))
    assert "rows 1 and 7" in refusal(pd.concat([whole, whole.iloc[:1]]))
    assert "'family' is empty" in refusal(whole.assign(family=["f", "", "f", "f", "f", "f"]))
    assert "no column 'flops'" in refusal(whole.drop(columns="flops"))
    assert "no column 'value'" in refusal(whole.drop(columns="value"))
    assert "on a line exactly" in refusal(whole.drop(columns="se").assign(value=0.1))
    assert "on a line exactly" in refusal(whole.drop(columns="se").assign(value=0.1 * np.arange(6)))
    assert "on a line exactly" in refusal(
        table().drop(columns="se").assign(value=lambda frame: np.log10(frame["flops"]))
    )
    assert "row 1" in refusal(whole.assign(se=1e300))
    assert "row 1" in refusal(whole.assign(value=whole["value"] * 1e300))
    assert "'all' is the name" in refusal(whole.assign(family="all"))
    with pytest.raises(UserError, match="relative_gap or gap"):
        points_from_frame(whole, quantity="auc_within")
    with pytest.raises(UserError, match="flops inf"):
        scale(points_from_frame(whole), flops=[1e24, math.inf])
    other = whole.assign(domain="b", flops=whole["flops"] * 2)
    assert "another domain" in refusal(pd.concat([whole, other]))


def test_what_cannot_be_told_is_flagged_and_has_no_number() -> None:
    frame = table(families=2, models=5)
    odd = pd.DataFrame(
        {
            "domain": "maths",
            "model": ["x1", "x2", "x3", "y1", "z1", "z2"],
            "family": ["flat", "flat", "flat", "single", "two", "two"],
            "flops": [1e22, 1e22, 1e22, 1e22, 1e22, 1e23],
            "value": [0.1, 0.2, 0.3, 0.1, 0.1, 0.2],
            "se": [0.02] * 6,
        }
    )
    found = scale(points_from_frame(pd.concat([frame, odd])))
    for family, flag in (("flat", "equal_flops"), ("single", "too_few_points"), ("two", "too_few_points")):
        row = found.slopes.where(family=family)[0]
        assert flag in row.flags
        assert "not_estimable" in row.flags
        assert all(map(math.isnan, (row.value, row.se, row.low, row.high, row.p)))
    stages = found.slopes.where(method="two_stage")[0]
    assert "too_few_families" in stages.flags
    assert math.isnan(stages.value)
    pooled = found.slopes.where(family="all", method="reml_kh")[0]
    assert "single_models:1" in pooled.flags
    alone = scale(points_from_frame(table(families=1, models=6))).slopes.where(family="all")[0]
    assert "one_family" in alone.flags


def test_single_models_and_left_out_points_change_nothing() -> None:
    frame = table(families=2, models=5)
    single = pd.DataFrame([{**frame.iloc[0].to_dict(), "model": "y", "family": "single", "value": 9.0}])
    lost = pd.DataFrame([{**frame.iloc[0].to_dict(), "model": "z", "se": 0.0, "value": 9.0}])
    one = scale(points_from_frame(frame)).slopes.where(family="all")[0]
    other = scale(points_from_frame(pd.concat([frame, single, lost]))).slopes.where(family="all")[0]
    assert other.value == pytest.approx(one.value, abs=1e-9)
    assert other.se == pytest.approx(one.se, abs=1e-9)
    assert "left_out:1" in other.flags


def test_missing_errors_are_said() -> None:
    frame = table(families=1, models=6)
    frame.loc[2, "se"] = np.nan
    row = scale(points_from_frame(frame)).slopes[0]
    plain = stats.linregress(np.log10(frame["flops"]), frame["value"])
    assert row.method == "ols"
    assert "some_se_missing" in row.flags
    assert math.isnan(row.tau)
    assert row.value == pytest.approx(plain.slope)


def test_files_are_read_and_faults_named(tmp_path: Path) -> None:
    frame = table()
    frame.to_csv(tmp_path / "points.csv", index=False)
    frame.to_parquet(tmp_path / "points.parquet")
    one, other = (read_points(tmp_path / f"points.{kind}") for kind in ("csv", "parquet"))
    assert one.to_frame().equals(other.to_frame())
    assert one.to_frame()["value"].tolist() == pytest.approx(frame["value"].tolist())
    (tmp_path / "bad.csv").write_text("domain,model,family,flops,value\nd,m,f,1e22,x\n")
    with pytest.raises(UserError, match=r"bad.csv, row 1.*'x' is not one"):
        read_points(tmp_path / "bad.csv")
    (tmp_path / "no.csv").write_text("domain,model,family,flops\nd,m,f,1e22\n")
    with pytest.raises(UserError, match="no column 'value'"):
        read_points(tmp_path / "no.csv")


# What is shown


def test_names_from_strangers_are_inert_and_figures_draw(shared_data: Path, tmp_path: Path) -> None:
    frame = table(domains=("maths", "$\\frac$"))
    frame["family"] = frame["family"].replace("family 0", "\x1b[31m$evil$")
    found = scale(points_from_frame(frame), flops=[1e25, 1e30])
    console = Console(record=True, width=160)
    print_scaling(found, console)
    assert "\x1b[31m" not in console.export_text(styles=False)
    for number, figure in enumerate(
        (
            scaling_figure(found),
            slopes_figure(found),
            absolute_gap_figure(found),
            slopes_figure(published(shared_data)),
        )
    ):
        figure.savefig(tmp_path / f"{number}.png")


def test_the_control_tells_the_denominator_from_the_gap() -> None:
    """A verifier whose rates stay as they are: the relative gap rises as accuracy does, the absolute gap falls."""
    rng = np.random.default_rng(10)
    x = np.linspace(21, 25, 12)
    p = 1 / (1 + np.exp(-(x - 22)))
    relative = p * 0.3 / (p * 0.7 + (1 - p) * 0.4) + rng.normal(0, 0.004, 12)
    frame = pd.DataFrame(
        {
            "domain": "d",
            "model": [f"m{i}" for i in range(12)],
            "family": np.repeat(["a", "b"], 6)[np.argsort(x % 0.7)],
        }
    )
    frame = frame.assign(flops=10**x, value=relative, se=0.004, accuracy=p)
    found = scale(points_from_frame(frame))
    assert found.slopes.where(family="all")[0].low > 0
    terms = {row.term: row for row in found.control}
    assert terms["gap"].value < 0
    assert terms["room"].low > 0
    assert any("may be its denominator" in line for line in conclusions(found))


def test_compute_of_generator_and_judge() -> None:
    names = [f"org/m{i}" for i in range(4)]
    flops = dict(zip([*names, "org/unknown"], [1e21, 1e22, 1e23, 1e24, math.nan], strict=True))
    rng = np.random.default_rng(11)
    cells = tuple(
        CrossCell(
            a, b, "all", "yesno", a == b, "gap",
            value=(v := 0.05 * math.log10(flops.get(b, 1)) - 1 + rng.normal(0, 0.002) if b in names else 0.0),
            low=v - 0.01, high=v + 0.01,
        )
        for a in flops
        for b in flops
    )  # fmt: skip
    nothing = Contrasts([])
    everything = tuple(flops)
    matrix = Cross(
        "yesno", "gap", "best@4", everything, everything, ("all",), cells, nothing, nothing, nothing
    )
    found = crossed_compute(matrix, flops.__getitem__)
    generator, judge = found.slopes
    assert found.left_out == ("org/unknown",)
    assert judge.low < 0.05 < judge.high
    assert judge.p < 0.001
    assert generator.low < 0 < generator.high
    crossed_figure(found).canvas.draw()  # type: ignore[attr-defined]


def test_five_thousand_points_fit_in_two_seconds() -> None:
    rng = np.random.default_rng(12)
    models = 1000
    family = rng.integers(0, 20, models)
    x = rng.uniform(20, 25, models)
    frame = pd.concat(
        [
            pd.DataFrame(
                {
                    "domain": f"domain {domain}",
                    "model": [f"m{i}" for i in range(models)],
                    "family": [f"f{one}" for one in family],
                    "flops": 10**x,
                    "value": 0.05 * (x - 22) + rng.normal(0, 0.05, models),
                    "se": rng.uniform(0.01, 0.05, models),
                    "accuracy": 0.5,
                }
            )
            for domain in range(5)
        ]
    )
    started = time.process_time()
    found = scale(points_from_frame(frame))
    assert time.process_time() - started < 2.0
    assert all(row.low < 0.05 < row.high for row in found.slopes.where(family="all", method="reml_kh")[:3])
