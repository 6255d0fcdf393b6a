"""Bias and coverage of every quantity against known truth, and the simulated figures that measurement.md quotes.

`benchmarks/coverage.py` is the same study at full length: 1,000 data sets a cell in place of 100.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.coverage import RESPONSES, Coverage, study, true_value
from gapbench.estimate.intervals import Interval, estimate
from gapbench.estimate.jackknife import leave_one_out
from gapbench.estimate.quantities import Key, TaskMeasures, permuted_within, powers_of_two
from gapbench.estimate.quantity import mean, ratio_less_mean
from gapbench.estimate.selection import BestOf, Order, mean_response, passes, weighted_gap
from gapbench.estimate.table import estimate_panels
from gapbench.estimate.verdict_counts import extrapolate, gap_by_verdicts
from gapbench.panel import Float, Panel, Scores
from gapbench.synthetic import SCENARIOS, draw, truth

pytestmark = pytest.mark.slow

MID = SCENARIOS["mid"]
DATA_SETS = 100


def wanted(name: str) -> float:
    return 0.92 if name == "low_accuracy" else 0.93


def label(row: Coverage) -> str:
    return f"{row.quantity}[{row.filter}, n={row.n}, m={row.m}] {row.covered:.3f}, bias {row.bias:.4f}"


@pytest.mark.parametrize("prompts", [30, 50, 200])
@pytest.mark.parametrize("name", list(SCENARIOS))
def test_every_interval_of_the_table_covers(name: str, prompts: int) -> None:
    """Observed coverage and three Monte-Carlo errors reach .93, or .92 at accuracy .02."""
    found = study(name, prompts, DATA_SETS)
    assert len(found) > 40
    missed = [label(row) for row in found if row.data_sets >= 20 and not row.at_best >= wanted(name)]
    assert not missed
    if name in ("mid", "null", "hacked"):
        useless = [label(row) for row in found if row.not_estimable > 0.05 and prompts >= 50]
        assert not useless


@pytest.mark.parametrize("name", ["mid", "null", "low_accuracy"])
def test_other_filters_and_numbers_of_verdicts_are_covered(name: str) -> None:
    found = study(
        name,
        50,
        DATA_SETS,
        filters=["all"],
        verdict_counts=True,
        keep=lambda key: (
            key.quantity == "gap_inf"
            or key.m not in (None, 8)
            or key.filter.startswith(("top", "threshold@"))
        ),
    )
    assert {row.quantity for row in found} == {"gap", "gap_inf", "accuracy"}
    assert not [label(row) for row in found if not row.at_best >= wanted(name)]


def test_a_plain_z_interval_fails_at_high_accuracy() -> None:
    """Which shows that the coverage test can fail; the hull holds on the same data."""

    def z(one: Interval) -> Interval:
        return replace(one, low=one.value - 1.96 * one.se, high=one.value + 1.96 * one.se)

    def keep(key: Key) -> bool:
        return key.quantity == "relative_gap"

    (plain,) = study("high_accuracy", 50, 200, change=z, keep=keep)
    (hull,) = study("high_accuracy", 50, 200, keep=keep)
    assert plain.at_best < 0.93
    assert hull.at_best >= 0.93
    assert hull.width > plain.width


@pytest.mark.parametrize("name", list(SCENARIOS))
def test_estimates_are_unbiased(name: str) -> None:
    """20,000 prompts: within four standard errors of the truth, which is deterministic.

    `relative_gap_per_prompt` divides by 1 - p of each prompt and leaves out prompts whose responses are all right, as
    its definition has it; with few responses that is not the same as leaving out prompts with p = 1.
    """
    data = draw(SCENARIOS[name], 20_000, RESPONSES, 11).panel()
    data = replace(data, scores={"binary": data.scores["binary"]})
    found = estimate_panels([data], model="m", method="t", filters=["all"]).where(task="synthetic")
    biased = []
    for row in found:
        key = Key(row.verifier, row.quantity, row.filter, row.n, row.m)
        if row.quantity in ("relative_gap_per_prompt", "nothing_passes") or row.filter == "threshold@cv":
            continue
        true = 0.0 if row.quantity.endswith("_permuted") else true_value(SCENARIOS[name], key)
        if abs(row.value - true) >= 4 * row.se + 1e-9:
            biased.append((key, row.value, true, row.se))
    assert not biased


def test_relative_gap_per_prompt_nears_its_truth_with_more_responses() -> None:
    errors = []
    for responses in (8, 32, 128):
        data = draw(MID, 8_000, responses, 12)
        panel = replace(data.panel(), scores={"binary": data.panel().scores["binary"]})
        measures = TaskMeasures(panel, ns=[4], headline=4, seed=0).all(votes=False)
        quantity = measures[Key("binary", "relative_gap_per_prompt", "best@4", 4, 8)].quantity
        assert quantity is not None
        errors.append(abs(quantity.value() - truth(MID, "relative_gap_per_prompt", "best@4")))
    assert errors[2] < 0.01 < errors[0]


def scored(prompts: int, responses: int, seed: int, name: str = "mid") -> tuple[Panel, Float]:
    data = draw(SCENARIOS[name], prompts, responses, seed).panel()
    return data, data.scores["binary"].mean


def test_pooling_flatters_a_threshold() -> None:
    """Section 3: pooled accuracy .647, per-prompt .510, base .386; permuting within prompts leaves .15 pooled."""
    panel, score = scored(20_000, 32, 13)
    passed, present = passes(score, 0.5), np.ones(score.shape, dtype=bool)
    base = mean_response(panel.utility, present)
    accept = mean_response(passed, present)
    pooled = mean_response(passed * panel.utility, present).sum() / accept.sum()
    macro = (base + weighted_gap(panel.utility, passed)).mean()
    assert (base.mean(), pooled, macro) == pytest.approx((0.386, 0.647, 0.510), abs=0.008)
    within = permuted_within(panel.utility, np.random.default_rng(0))
    left = ratio_less_mean(mean_response(passed * within, present), accept, base).value()
    assert left == pytest.approx(0.15, abs=0.02)


def test_dropping_prompts_where_nothing_passes_is_biased() -> None:
    """Section 4: dropping them is too high by .036 at 8 responses."""
    panel, score = scored(20_000, 8, 14)
    passed = passes(score, 0.5)
    some = passed.any(axis=1)
    selected = panel.utility.mean(axis=1) + weighted_gap(panel.utility, passed)
    assert selected[some].mean() - truth(MID, "accuracy", "threshold") == pytest.approx(0.036, abs=0.01)


def test_half_widths_of_the_same_gap() -> None:
    """Section 6: gap[best@4, m=8] at 200 prompts x 128 responses has half-width .0166, as 248 x 32 has."""
    for prompts, responses in ((200, 128), (248, 32)):
        widths = []
        for seed in range(12):
            panel, score = scored(prompts, responses, 20 + seed)
            gap = Order.of(score, score >= 0).rank(panel.utility).gap([BestOf(4)])[:, 0]
            found = estimate(mean(gap, -1.0, 1.0), method="t")
            widths.append((found.high - found.low) / 2)
        assert np.mean(widths) == pytest.approx(0.0166, rel=0.06)


def test_most_curves_without_signal_cannot_be_extrapolated() -> None:
    """Section 4: 65-85 % of data sets without signal; none of the mid scenario."""
    shares = {}
    for name in ("null", "mid"):
        panel, _ = scored(150 * 50, 32, 15, name)
        curve = gap_by_verdicts(panel.utility, panel.scores["binary"], 8)
        shares[name] = 1 - extrapolate(curve.reshape(150, 50, -1).mean(axis=1)).rising.mean()
    assert 0.6 <= shares["null"] <= 0.85
    assert shares["mid"] == 0


def test_jackknife_variance_is_right_for_half_of_the_responses_and_not_beyond() -> None:
    """Section 5: mean jackknife variance over the true one is 1.07 at n=8 of 32 and 1.37 at n=24."""
    prompts, copies, size = 40, 60, 32
    own = draw(MID, prompts, size, 16)
    rng = np.random.default_rng(17)
    p = np.tile(own.prompts.p, copies)
    level, shift = np.tile(own.prompts.level, copies), np.tile(own.prompts.shift, copies)
    utility = (rng.random((len(p), size)) < p[:, None]).astype(float)
    latent = level[:, None] + shift[:, None] * utility + rng.standard_normal(utility.shape)
    verdicts = (rng.random((*utility.shape, 8)) < 1 / (1 + np.exp(-latent))[:, :, None]).astype(float)
    panel = replace(
        own.panel(),
        utility=utility,
        censored=np.zeros(utility.shape, dtype=bool),
        answers=np.zeros(utility.shape, dtype=np.int64),
        clusters=np.arange(len(p)),
        prompt_ids=tuple(map(str, range(len(p)))),
        scores={"binary": Scores(verdicts)},
    )

    def measure(part: Panel) -> dict:  # type: ignore[type-arg]
        return TaskMeasures(part, ns=[8, 24], headline=8, seed=0).all(votes=False)

    spreads = leave_one_out(panel, measure)
    for n, expected in ((8, 1.07), (24, 1.37)):
        key = Key("binary", "accuracy", f"best@{n}", n, 8)
        quantity = measure(panel)[key].quantity
        spread = quantity.columns()[0][:, 1].reshape(copies, prompts)
        true = spread.var(axis=0, ddof=1).mean()
        assert spreads[key].covariance[:, 1, 1].mean() / true == pytest.approx(expected, rel=0.12)


def test_headline_curve_is_the_one_quoted() -> None:
    """Section 7: best@8 of the mid scenario is .466 / .508 / .546 / .573 at m = 1 / 2 / 4 / 8, by the estimator."""
    data = draw(MID, 20_000, 16, 18).panel()
    curve = gap_by_verdicts(data.utility, data.scores["binary"], 8).mean(axis=0)
    found = data.utility.mean() + curve[[0, 1, 3, 7]]
    assert found == pytest.approx([0.466, 0.508, 0.546, 0.573], abs=0.01)
    assert powers_of_two(8) == [1, 2, 4, 8]
