"""Differences against known truth: size, power, multiplicity, and the command line from end to end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit

from gapbench.comparing.compare import compare
from gapbench.errors import UserError
from gapbench.estimate.contrast import (
    Contrasts,
    Strata,
    detectable,
    independent,
    p_equivalence,
    p_value,
    paired,
    point,
    single,
)
from gapbench.estimate.intervals import Interval
from gapbench.estimate.multiplicity import adjusted, shrunken
from gapbench.estimate.partial import partly_verified
from gapbench.estimate.quantity import Quantity, mean, ratio, ratio_less_mean
from gapbench.estimate.resampling import Resampling
from gapbench.estimate.selection import BestOf, Order
from gapbench.panel import Float, Verified
from gapbench.run import Run, RunConfig, execute
from gapbench.savings import Savings
from gapbench.synthetic import SCENARIOS, Draw, Scenario, draw
from tests.conftest import Cli, document

N = 4
SAMPLES = {size: Resampling(np.arange(size), seed=11) for size in (50, 200)}


def alone(quantity: Quantity) -> Strata:
    """A quantity on one task; all data sets share a resampling matrix, which knows nothing of them."""
    size = len(quantity.terms[0].top)
    return Strata([quantity], [SAMPLES.get(size) or Resampling(np.arange(size), seed=11)], [1.0])


def gaps(data: Draw, scores: Float) -> Float:
    """Gap of best@4 of each prompt."""
    found = Order.of(scores, np.ones(scores.shape, dtype=bool)).rank(data.utility).gap([BestOf(N)])
    return np.asarray(found[:, 0])


def second_verifier(data: Draw, scenario: Scenario, seed: int) -> Float:
    """Verdicts of another verifier on the same responses: the prompts' effects are shared, the noise is its own."""
    rng = np.random.default_rng([seed, 5])
    latent = data.prompts.level[:, None] + data.prompts.shift[:, None] * data.utility
    latent = latent + scenario.sd_w * rng.standard_normal(latent.shape)
    return np.asarray(rng.binomial(scenario.M, expit(latent)) / scenario.M)


def two_verifiers(name: str, prompts: int, seed: int, responses: int = 16) -> tuple[Float, Float]:
    data = draw(SCENARIOS[name], prompts, responses, seed)
    return gaps(data, data.counts / data.scenario.M), gaps(data, second_verifier(data, data.scenario, seed))


def gap_difference(one: Float, other: Float) -> Interval:
    return paired(alone(mean(one, -1.0, 1.0)), alone(mean(other, -1.0, 1.0)))


def columns(seed: int, size: int = 50) -> list[Float]:
    rng = np.random.default_rng(seed)
    weight = rng.random(size)
    return [weight * rng.random(size), weight, rng.random(size)]


# Statistics


def test_paired_is_the_textbook_paired_t() -> None:
    one, other = columns(0)[0], columns(1)[0]
    found = paired(alone(mean(one)), alone(mean(other)))
    want = stats.ttest_rel(one, other)
    assert found.value == pytest.approx(np.mean(one - other))
    assert found.se == pytest.approx(stats.sem(one - other))
    assert p_value(found) >= want.pvalue * (1 - 1e-9)
    assert p_value(found) == pytest.approx(want.pvalue, abs=0.05)


def test_pairing_takes_the_shared_difficulty_out() -> None:
    """measurement.md, section 5: about .17 of the variance of two samples of prompts (sim)."""
    one, other = two_verifiers("mid", 4000, seed=1, responses=32)
    together = gap_difference(one, other).se ** 2
    apart = independent(alone(mean(one)), alone(mean(other))).se ** 2
    assert apart == pytest.approx(stats.sem(one) ** 2 + stats.sem(other) ** 2)
    assert 0.1 < together / apart < 0.25


@pytest.mark.parametrize(
    "make", [lambda a, b, c: mean(a), lambda a, b, c: ratio(a, b), lambda a, b, c: ratio_less_mean(a, b, c)]
)
def test_with_itself_nothing_differs_and_order_is_only_a_sign(make: Any) -> None:
    one, other = alone(make(*columns(2))), alone(make(*columns(3)))
    same = paired(one, alone(make(*columns(2))))
    assert (same.value, same.se, p_value(same)) == (0.0, 0.0, 1.0)
    for difference in (paired, independent):
        there, back = difference(one, other), difference(other, one)
        assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low))
        assert p_value(back) == pytest.approx(p_value(there))
        assert back.se == pytest.approx(there.se)


def test_p_says_what_the_interval_says() -> None:
    rng = np.random.default_rng(4)
    both = set()
    for seed in range(60):
        spread = rng.choice([0.0, 0.0, 1.0], 50) * rng.exponential(size=50)
        found = paired(alone(mean(spread)), alone(mean(np.full(50, rng.normal(0.35, 0.2)))))
        excluded = not found.low <= 0 <= found.high
        assert (p_value(found) <= 0.05) == excluded, seed
        assert p_value(found) >= 2 * stats.t.sf(abs(found.value) / found.se, found.df) * (1 - 1e-9)
        both.add(excluded)
    assert both == {True, False}
    constant = paired(alone(mean(np.full(50, 0.5), 0, 1)), alone(mean(np.full(50, 0.1), 0, 1)))
    assert "degenerate" in constant.flags
    assert (p_value(constant) <= 0.05) == (constant.low > 0)


def test_independent_is_the_t_interval_of_welch_where_nothing_is_skewed() -> None:
    rng = np.random.default_rng(5)
    one, other = rng.normal(0.3, 1.0, 200), rng.normal(0.0, 2.0, 50)
    found = independent(alone(mean(one)), alone(mean(other)))
    want = stats.ttest_ind(one, other, equal_var=False)
    assert found.df == pytest.approx(want.df)
    assert found.se == pytest.approx(np.hypot(stats.sem(one), stats.sem(other)))
    assert p_value(found) == pytest.approx(want.pvalue, abs=0.03)
    assert (found.n_prompts, found.n_clusters) == (250, 250)


def test_point_is_the_estimate_over_several_tasks() -> None:
    parts = [columns(6, 50), columns(7, 200)]
    strata = Strata([ratio_less_mean(*part) for part in parts], list(SAMPLES.values()), [1.0, 3.0])
    assert point(strata) == pytest.approx(single(strata).value)


def holm(p: Sequence[float]) -> list[float]:
    """Holm 1979 word for word: the smallest p of k is multiplied by k, the next by k - 1, and none falls below it."""
    result, highest = [0.0] * len(p), 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        highest = max(highest, (len(p) - rank) * p[place])
        result[place] = min(highest, 1.0)
    return result


@pytest.mark.parametrize("size", [1, 2, 9])
def test_adjusted_p_values_against_their_definitions(size: int) -> None:
    for seed in range(20):
        p = np.random.default_rng(seed).random(size) ** 3
        p[-1] = p[0]  # a tie
        assert adjusted(p, "holm") == pytest.approx(holm(p.tolist()))
        assert adjusted(p, "bh") == pytest.approx(stats.false_discovery_control(p))
    holed = adjusted([0.01, float("nan"), 0.04], "holm")
    assert holed[[0, 2]] == pytest.approx([0.02, 0.04])
    assert np.isnan(holed[1])


def test_shrinkage_brings_estimates_nearer_to_the_truth_on_average() -> None:
    rng = np.random.default_rng(8)
    raw = pulled = 0.0
    for _ in range(200):
        error = rng.uniform(0.02, 0.1, 8)
        truth = rng.normal(0.1, 0.03, 8)
        seen = rng.normal(truth, error)
        raw += ((seen - truth) ** 2).sum()
        pulled += ((shrunken(seen, error, towards_zero=False) - truth) ** 2).sum()
    assert pulled < 0.6 * raw
    assert np.isnan(shrunken([0.1, 0.2, 0.3], [0.1] * 3, towards_zero=False)).all()
    assert (
        np.isnan(shrunken([0.1] * 5, [0.0] + [0.1] * 4, towards_zero=False)).tolist() == [True] + [False] * 4
    )
    seen, error = rng.normal(0.0, 0.3, 6), np.full(6, 0.1)
    back = shrunken(-seen, error, towards_zero=True)
    assert back == pytest.approx(-shrunken(seen, error, towards_zero=True))
    assert (np.abs(back) < np.abs(seen)).all()


def test_a_difference_of_rare_successes_reaches_as_far_as_either_side() -> None:
    """pass@k where few prompts are ever solved: what neither run has met may be one that only one of them solves."""
    rng = np.random.default_rng(3)
    one, other = (replace(mean(np.where(rng.random(200) < 0.02, 0.9, 0.0), 0, 1), reach=1.0) for _ in "ab")
    found = one.minus(other)
    assert found.reach == 1.0
    with_reach = single(alone(found))
    without = single(alone(replace(found, reach=0.0)))
    away = 1 - 0.025 ** (1 / 200)
    assert with_reach.low == pytest.approx(min(without.low, with_reach.value - away))
    assert with_reach.high == pytest.approx(max(without.high, with_reach.value + away))


def test_equivalence_is_the_interval_within_the_margin() -> None:
    rng = np.random.default_rng(5)
    both = set()
    for seed in range(80):
        column = rng.normal(rng.normal(0, 0.05), 0.3, 50) * rng.choice([0.2, 1.0])
        found = single(alone(mean(column)))
        for margin in (0.03, 0.08, 0.15):
            inside = -margin < found.low and found.high < margin
            p = p_equivalence(found.value, found.low, found.high, found.df, margin)
            assert (p <= 0.05) == inside, (seed, margin)
            by_t = max(stats.ttest_1samp(column - margin, 0, alternative="less").pvalue,
                       stats.ttest_1samp(column + margin, 0, alternative="greater").pvalue)  # fmt: skip
            assert p >= min(1.0, 2 * by_t) * (1 - 1e-9) or p > 0.5
            both.add(inside)
    assert both == {True, False}
    assert np.isnan(p_equivalence(0.1, float("nan"), float("nan"), 9.0, 0.1))


@pytest.mark.slow
def test_equivalence_is_seldom_claimed_at_the_margin_and_often_well_within_it() -> None:
    claimed = {0.0: [], 0.05: []}
    for seed in range(300):
        difference = np.subtract(*two_verifiers("null", 200, seed))
        for shift, found in claimed.items():
            own = single(alone(mean(difference + shift)))
            found.append(p_equivalence(own.value, own.low, own.high, own.df, 0.05) <= 0.05)
    assert rate(claimed[0.05])[0] <= 0.025 + 3 * rate(claimed[0.05])[1]
    assert rate(claimed[0.0])[0] > 0.5


SAVED = [
    Savings(),
    Savings(skip_unanimous=True, case_control=4),
    Savings(skip_unanimous=True, case_control=6, verified_share=0.75),
    Savings(skip_unanimous=True, verified_share=0.5),
]


def saved_gap(data: Draw, score: Float, savings: Savings, seed: int) -> Quantity:
    """gap[best@4] where only what `savings` leaves is verified."""
    ids = [f"{seed}-{i}" for i in range(len(score))]
    asked = savings.chosen(data.utility, "t", ids)
    verified = Verified(asked, savings.verified_prompts("t", ids), savings.case_control)
    found = partly_verified(
        data.utility, np.where(asked, score, np.nan), verified, [N], headline=N,
        clusters=np.arange(len(ids)), seed=seed,
    )  # fmt: skip
    return found["gap", f"best@{N}", N]


@pytest.mark.slow
@pytest.mark.parametrize(("one", "other"), [(0, 1), (1, 2), (2, 3), (0, 3)])
def test_runs_that_save_differently_are_compared_without_bias_and_intervals_cover(
    one: int, other: int
) -> None:
    """300 pairs of runs of 120 prompts; the truth is what full verification of 8,000 prompts finds."""
    scenario = SCENARIOS["mid"]
    weak = replace(scenario, d=0.8)
    values, errors, hits = [], [], []

    def pair(prompts: int, seed: int) -> tuple[Draw, Float, Float]:
        data = draw(scenario, prompts, 16, seed)
        return data, data.counts / 8, second_verifier(data, weak, seed)

    data, first, second = pair(8000, 10**6)
    known = gaps(data, first) - gaps(data, second)
    for seed in range(300):
        data, first, second = pair(120, seed)
        found = paired(
            *(Strata([saved_gap(data, score, SAVED[k], seed)], [Resampling(np.arange(120), seed=11)], [1.0])
              for k, score in ((one, first), (other, second)))
        )  # fmt: skip
        values.append(found.value)
        errors.append(found.se)
        hits.append(found.low <= known.mean() <= found.high)
    noise = np.hypot(np.std(values) / np.sqrt(300), stats.sem(known))
    assert abs(np.mean(values) - known.mean()) < 4 * noise
    assert np.mean(np.square(errors)) == pytest.approx(np.var(values), rel=0.3)
    share, error = rate(hits)
    assert share + 3 * error >= 0.93


def rate(hits: Sequence[bool]) -> tuple[float, float]:
    share = float(np.mean(hits))
    return share, float(np.sqrt(max(share * (1 - share), 1e-9) / len(hits)))


@pytest.mark.slow
@pytest.mark.parametrize("prompts", [50, 200])
def test_size_of_comparisons_without_signal(prompts: int) -> None:
    """Two blind verifiers on the same responses, two domains, and a gap against 0."""
    pairs, domains, zeros = [], [], []
    for seed in range(300):
        one, other = two_verifiers("null", prompts, seed)
        fresh = two_verifiers("null", prompts, seed + 10_000)[0]
        first, second = (alone(mean(column, -1.0, 1.0)) for column in (one, fresh))
        pairs.append(p_value(gap_difference(one, other)) <= 0.05)
        domains.append(p_value(independent(first, second)) <= 0.05)
        zeros.append(p_value(single(first)) <= 0.05)
    for hits in (pairs, domains, zeros):
        share, error = rate(hits)
        assert share <= 0.05 + 3 * error
        assert share > 0.005, "a test that never rejects has no size to speak of"


@pytest.mark.slow
def test_equal_signal_is_not_told_apart_more_often_than_chance() -> None:
    scenario = SCENARIOS["mid"]
    hits = []
    for seed in range(300):
        data = draw(scenario, 50, 16, seed)
        one, other = (gaps(data, second_verifier(data, scenario, seed + 1000 * k)) for k in (1, 2))
        hits.append(p_value(gap_difference(one, other)) <= 0.05)
    share, error = rate(hits)
    assert share <= 0.05 + 3 * error


@pytest.mark.slow
def test_holm_bounds_the_chance_of_any_false_gap_over_eight_domains() -> None:
    rejected, unadjusted = [], []
    for seed in range(250):
        data = draw(SCENARIOS["null"], 400, 16, seed)
        domains = gaps(data, data.counts / data.scenario.M).reshape(8, 50)
        p = [p_value(single(alone(mean(column, -1.0, 1.0)))) for column in domains]
        rejected.append(bool((adjusted(p, "holm") <= 0.05).any()))
        unadjusted.append(min(p) <= 0.05)
    share, error = rate(rejected)
    assert share <= 0.05 + 3 * error
    assert rate(unadjusted)[0] > 0.15, (
        "shows that the test can fail: without adjustment one in three tables would err"
    )


@pytest.mark.slow
def test_benjamini_hochberg_bounds_the_share_of_false_findings() -> None:
    rng = np.random.default_rng(12)
    shares, found = [], 0
    for _ in range(150):
        truth = np.repeat([0.0, 0.7], [9, 3])
        p = [p_value(single(alone(mean(rng.normal(one, 1.0, 50))))) for one in truth]
        positive = adjusted(p, "bh") <= 0.05
        shares.append(float(positive[:9].sum() / max(positive.sum(), 1)))
        found += int(positive[9:].sum())
    assert np.mean(shares) <= 0.05 * 9 / 12 + 3 * np.std(shares) / np.sqrt(len(shares))
    assert found > 0.8 * 3 * 150


@pytest.mark.slow
@pytest.mark.parametrize("prompts", [50, 200])
def test_the_minimum_detectable_effect_is_found_four_times_in_five(prompts: int) -> None:
    differences = [np.subtract(*two_verifiers("null", prompts, seed)) for seed in range(300)]
    error = float(np.sqrt(np.mean([stats.sem(one) ** 2 for one in differences])))
    effect = detectable(error, prompts - 1)
    found = [paired(alone(mean(one + effect)), alone(mean(one * 0.0))) for one in differences]
    share, spread = rate([p_value(one) <= 0.05 for one in found])
    assert (
        abs(share - 0.8) <= 3 * spread + 0.02
    )  # the hull is a little wider than the t interval of the formula
    assert np.median([detectable(one.se, one.df) for one in found]) == pytest.approx(effect, rel=0.05)


# Runs


def simulated(path: Path, **options: Any) -> Run:
    engine = {"seed": options.pop("engine_seed", 0), **options.pop("engine_options", {})}
    fixed = {"suite": "starter", "model": "simulated", "engine": "simulated", "n": 8, "limit": 20}
    return execute(
        RunConfig(**{**fixed, "verifiers": ("yesno", "majority"), **options, "engine_options": engine}), path
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Two models on the same prompts, the second a worse judge; and one that cannot judge at all."""
    folder = tmp_path_factory.mktemp("runs")
    strong = {"d": 3.0, "pi0": 0.0}
    return {
        "strong": simulated(folder / "strong", engine_options=strong),
        "weak": simulated(folder / "weak", engine_options=strong | {"d": 0.0, "sd_d": 0.0}, engine_seed=1),
        "few": simulated(folder / "few", limit=8, n=4, verifiers=("yesno",), engine_seed=2),
    }


def test_runs_are_paired_on_their_common_prompts(runs: dict[str, Run]) -> None:
    found = compare([runs["strong"], runs["weak"]], verifiers=["yesno"])
    assert [row.domain for row in found][-1] == "all"
    overall = found[-1]
    assert (overall.filter, overall.n, overall.m, overall.verdict) == ("best@4", 4, 1, "higher")
    assert overall.difference == pytest.approx(overall.value_a - overall.value_b)
    for name, value in zip(("strong", "weak"), (overall.value_a, overall.value_b), strict=True):
        rows = runs[name].estimate().where(domain="all", verifier="yesno", quantity="gap", filter="best@4")
        assert value == pytest.approx(rows[0].value)
    back = compare([runs["weak"], runs["strong"]], verifiers=["yesno"])
    assert [row.difference for row in back] == pytest.approx([-row.difference for row in found])
    assert [row.p_adjusted for row in back] == pytest.approx([row.p_adjusted for row in found])
    assert all(row.mde > 0 for row in found)


def test_a_run_with_itself_is_tied_at_zero(runs: dict[str, Run]) -> None:
    found = compare([runs["strong"], runs["strong"]])
    assert {(row.difference, row.p, row.verdict) for row in found} == {(0.0, 1.0, "tied")}
    assert len({row.a for row in found} | {row.b for row in found}) == 2


def test_common_prompts_are_counted_and_below_twenty_nothing_is_claimed(runs: dict[str, Run]) -> None:
    found = compare([runs["strong"], runs["few"]])
    by_domain = [row for row in found if row.domain != "all"]
    assert {row.n_prompts for row in by_domain} == {8}
    assert all({"common_prompts", "descriptive"} <= set(row.flags) for row in by_domain)
    assert {row.verdict for row in by_domain} == {"not_estimable"}
    assert all(np.isnan(row.p_adjusted) for row in by_domain)
    assert found[-1].n_prompts == 48
    assert found[-1].verdict != "not_estimable"
    assert any("48 prompts" in note for note in found.notes)
    assert any(note.startswith("majority") for note in found.notes), "few has no majority verifier"


def test_domains_verifiers_and_filters_of_a_run(runs: dict[str, Run]) -> None:
    strong = runs["strong"]
    domains = compare([strong], by="domain", verifiers=["yesno"])
    names = {task["domain"] for task in strong.manifest["tasks"].values()}
    assert len(domains) == len(list(combinations(names, 2)))
    assert all(row.n_prompts == 40 for row in domains)
    zero = compare([strong], by="domain", against="zero", verifiers=["yesno"])
    assert {row.a for row in zero} == names
    assert {row.verdict for row in zero} <= {"higher", "tied"}
    assert sum(row.verdict == "higher" for row in zero) >= 3
    assert all(np.isfinite(row.shrunken) for row in zero)
    rows = strong.estimate().where(verifier="yesno", quantity="gap", filter="best@4", task="")
    ends = {row.domain: row.low for row in rows}
    assert [row.low for row in zero] == pytest.approx([ends[row.a] for row in zero])
    filters = compare([strong], by="filter", verifiers=["yesno"])
    assert {(row.a, row.b) for row in filters} >= {("best@4", "majority@4"), ("best@4", "threshold@4")}
    assert {row.n for row in filters} == {4}
    held = compare(
        [strong, runs["weak"]], by="filter", filters=["best@4", "majority@4"], against="majority@4"
    )
    assert {(row.a, row.b) for row in held} == {("best@4", "majority@4")}
    assert len({row.model for row in held}) == 2


def test_accuracy_needs_no_verifier(runs: dict[str, Run]) -> None:
    found = compare([runs["strong"], runs["weak"]], quantity="accuracy")
    assert {(row.verifier, row.filter, row.n) for row in found} == {("", "", None)}
    filtered = compare([runs["strong"], runs["weak"]], quantity="accuracy", filters=["best@8"])
    assert {(row.verifier, row.n) for row in filtered} == {("yesno", 8), ("majority", 8)}


def test_multiplicity_is_by_family(runs: dict[str, Run]) -> None:
    found = compare([runs["strong"], runs["weak"]], verifiers=["yesno"])
    by_domain = [row for row in found if row.domain != "all"]
    assert [row.p_adjusted for row in by_domain] == pytest.approx(holm([row.p for row in by_domain]))
    assert found[-1].p_adjusted == found[-1].p
    grid = compare([runs["strong"], runs["weak"]], verifiers=["yesno"], adjust="bh")
    assert all(loose.p_adjusted <= strict.p_adjusted for loose, strict in zip(grid, found, strict=True))


def test_equivalence_of_runs(runs: dict[str, Run]) -> None:
    pair = [runs["strong"], runs["weak"]]
    wide = compare(pair, verifiers=["yesno"], equivalence=0.9)
    assert {row.verdict for row in wide} == {"equivalent"}
    assert {row.margin for row in wide} == {0.9}
    strict = compare(pair, verifiers=["yesno"], equivalence=0.001)
    plain = compare(pair, verifiers=["yesno"])
    assert [row.verdict for row in strict] == [row.verdict for row in plain]
    by_domain = [row for row in wide if row.domain != "all"]
    raw = [p_equivalence(row.difference, row.low, row.high, row.df, 0.9) for row in by_domain]
    assert [row.p_equivalence for row in by_domain] == pytest.approx(holm(raw))
    with pytest.raises(UserError, match="margin above 0"):
        compare(pair, equivalence=0.0)


def test_a_run_that_saves_is_compared_with_one_that_does_not(runs: dict[str, Run], tmp_path: Path) -> None:
    saving = Savings(skip_unanimous=True, case_control=2)
    strong = {"d": 3.0, "pi0": 0.0}
    saved = simulated(tmp_path / "saved", engine_options=strong, savings=saving, verifiers=("yesno",))
    found = compare([runs["strong"], saved], verifiers=["yesno"])
    assert {row.filter for row in found} == {"best@2"}, "no more than two right and two wrong are verified"
    overall = found[-1]
    assert abs(overall.difference) < 4 * overall.se, "the same responses and verdicts, fewer of them"
    assert overall.value_b == pytest.approx(
        saved.estimate().where(domain="all", verifier="yesno", quantity="gap", filter="best@2")[0].value
    )
    skipped = Savings(skip_unanimous=True)
    same = simulated(tmp_path / "same", engine_options=strong, savings=skipped, verifiers=("yesno",))
    found = compare([runs["strong"], same], verifiers=["yesno"])
    assert {(row.difference, row.verdict) for row in found} == {(0.0, "tied")}


def test_the_frame_has_a_row_a_comparison_and_flags(runs: dict[str, Run]) -> None:
    found = compare([runs["strong"], runs["few"]])
    frame = found.to_frame()
    assert len(frame) == len(found)
    assert frame["flags"].str.contains("common_prompts").all()
    assert isinstance(found, Contrasts)


@pytest.mark.parametrize(
    ("names", "options", "told"),
    [
        (["strong"], {"by": "run"}, "name another RUN"),
        (["strong"], {"by": "runs"}, "there are: run, verifier"),
        (["strong"], {"adjust": "sidak"}, "there are: holm, bh"),
        (["strong"], {}, "only one verifier"),
        (["strong"], {"verifiers": ["yesno", "majority"]}, "majority sees all N responses"),
        (["strong"], {"verifiers": ["yes"]}, "no verifier 'yes'"),
        (["strong"], {"quantity": "gip"}, "no quantity 'gip'"),
        (["strong"], {"by": "domain", "quantity": "accuracy", "against": "zero"}, "is not 0 where nothing is known"),
        (["strong"], {"by": "domain", "against": "algebra"}, "no such domain"),
        (["strong", "weak"], {"filters": ["best@16"]}, "there are 8"),
        (["strong"], {"by": "filter", "filters": ["best@4", "majority@2"], "verifiers": ["yesno"]}, "differ in n"),
        (["strong", "few"], {"verifiers": ["majority"]}, "majority has no gap"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused(
    runs: dict[str, Run], names: list[str], options: dict[str, Any], told: str
) -> None:
    with pytest.raises(UserError, match=told):
        compare([runs[name] for name in names], **options)


def test_unequal_numbers_of_verdicts_are_refused_and_can_be_thinned(
    runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    more = Run(runs["weak"].store.path)
    panels = runs["weak"].panels()
    for panel in panels:
        values = panel.scores["yesno"].values  # type: ignore[union-attr]
        object.__setattr__(panel.scores["yesno"], "values", np.repeat(values, 2, axis=2))
    monkeypatch.setattr(more, "panels", lambda: panels)
    with pytest.raises(UserError, match=r"m=1 and m=2.*--verdicts 1"):
        compare([runs["strong"], more], verifiers=["yesno"])
    thinned = compare([runs["strong"], more], verifiers=["yesno"], verdicts=1)
    plain = compare([runs["strong"], runs["weak"]], verifiers=["yesno"])
    assert [row.difference for row in thinned] == pytest.approx([row.difference for row in plain])


def test_runs_without_a_common_prompt_are_refused(runs: dict[str, Run], tmp_path: Path) -> None:
    other = simulated(tmp_path / "other", split="calibrate", limit=5)
    with pytest.raises(UserError, match="no prompt in common"):
        compare([runs["strong"], other])


def test_runs_of_different_suites_are_flagged(runs: dict[str, Run]) -> None:
    other = Run(runs["weak"].store.path)
    other.manifest = {**other.manifest, "suite": {"name": "starter", "digest": "another"}}
    found = compare([runs["strong"], other], verifiers=["yesno"])
    assert all("different_suites" in row.flags for row in found)
    assert not any("different_suites" in row.flags for row in compare([runs["strong"], runs["weak"]]))


def test_a_verifier_without_any_verdict_is_not_scored(
    runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = Run(runs["weak"].store.path)
    panels = silent.panels()
    for panel in panels:
        panel.scores["yesno"].values[:] = np.nan  # type: ignore[union-attr]
    monkeypatch.setattr(silent, "panels", lambda: panels)
    found = compare([runs["strong"], silent], verifiers=["yesno"])
    assert {row.verdict for row in found} == {"not_estimable"}
    assert all("no_verdicts" in row.flags for row in found)


def test_command_line(cli: Cli, runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch) -> None:
    strong, weak, few = (runs[name].store.path for name in ("strong", "weak", "few"))
    found = document(cli("compare", strong, weak, "--json"))
    assert [run["path"] for run in found["runs"]] == [str(strong), str(weak)]
    rows = found["contrasts"]
    assert {
        "a",
        "b",
        "domain",
        "quantity",
        "difference",
        "low",
        "high",
        "p",
        "p_adjusted",
        "mde",
        "verdict",
    } <= set(rows[0])
    overall = next(row for row in rows if row["domain"] == "all" and row["verifier"] == "yesno")
    assert overall["verdict"] == "higher"
    assert document(cli("compare", strong, few, "--json"))["contrasts"][0]["p"] is None
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "110")
    printed = cli("compare", strong, "--by", "domain", "--against", "zero", "-V", "yesno")
    assert printed.returncode == 0
    assert "\x1b" not in printed.stdout
    for word in ("higher", "MDE", "Holm", "minimum detectable effect", "shrunken", "best@4, m=1"):
        assert word in printed.stdout
    near = cli("compare", strong, weak, "-V", "yesno", "--equivalence", "0.9")
    assert near.returncode == 0
    assert "equivalent" in near.stdout
    for words in (
        ("compare", strong, weak, "--equivalence", "0"),
        ("compare", strong, "nowhere"),
        ("compare", strong, "--by", "lunch"),
        ("compare",),
    ):
        refused = cli(*words)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert len(refused.stderr.strip().splitlines()) == 1
