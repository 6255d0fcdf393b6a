"""Case-control estimates against brute force: every subset, every choice of verified responses, ties."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest

from gapbench.estimate.case_control import case_control, case_control_auc, case_control_gap, unanimous
from gapbench.estimate.discrimination import auc_within
from gapbench.estimate.intervals import combine, estimate
from gapbench.estimate.partial import NOT_VERIFIED
from gapbench.estimate.pooled import pooled_from_sample, sampling_weights
from gapbench.estimate.quantities import Key, TaskMeasures
from gapbench.estimate.resampling import Resampling
from gapbench.estimate.selection import BestOf, Order
from gapbench.estimate.table import estimate_panels
from gapbench.panel import Panel, VerdictCounts, Verified
from gapbench.synthetic import SCENARIOS, draw, truth

nan = np.nan


def best_of(utility: np.ndarray, score: np.ndarray, n: int) -> float:
    """Best@n less the mean, by enumeration of subsets; ties share."""
    key = np.where(np.isnan(score), -np.inf, score)
    chosen = []
    for subset in combinations(range(len(utility)), n):
        own = list(subset)
        top = key[own] == key[own].max()
        chosen.append(utility[own][top].mean())
    return float(np.mean(chosen) - utility.mean())


def verified_sets(utility: np.ndarray, r: int) -> list[np.ndarray]:
    """Every way to choose r right and r wrong responses."""
    right, wrong = np.flatnonzero(utility >= 0.5), np.flatnonzero(utility < 0.5)
    sets = []
    for one, other in product(
        combinations(right, min(r, len(right))), combinations(wrong, min(r, len(wrong)))
    ):
        mask = np.zeros(len(utility), dtype=bool)
        mask[[*one, *other]] = True
        sets.append(mask)
    return sets


@pytest.mark.parametrize("levels", [2, 3, 100])
@pytest.mark.parametrize("graded", [False, True])
def test_over_all_choices_of_the_verified_it_is_best_of_the_whole_pool(levels: int, graded: bool) -> None:
    rng = np.random.default_rng(levels)
    for n, r in [(1, 1), (2, 2), (3, 3), (2, 3)]:
        utility = (rng.random(9) < 0.5).astype(float)
        utility[:2] = 1.0, 0.0
        if graded:
            utility = np.abs(utility - 0.4 * rng.random(9))
        score = rng.integers(levels, size=9).astype(float)
        score[rng.integers(9)] = nan
        found = []
        for verified in verified_sets(utility, r):
            seen = np.where(verified, score, nan)
            found.append(case_control_gap(utility[None], seen[None], verified[None], [n])[0, 0])
        assert np.mean(found) == pytest.approx(best_of(utility, score, n), abs=1e-12)
        if n > 1 and levels > 2:
            assert np.std(found) > 0.01, "the choice of the verified made no difference: nothing was tested"


def test_with_everything_verified_it_is_the_rank_estimate() -> None:
    data = draw(SCENARIOS["mid"], 60, 12, seed=3)
    everything = np.ones(data.utility.shape, dtype=bool)
    score = data.counts.astype(float)
    ns = [1, 2, 4, 12]
    full = Order.of(score, everything).rank(data.utility).gap([BestOf(n) for n in ns])
    assert case_control_gap(data.utility, score, everything, ns) == pytest.approx(full, abs=1e-12)


def test_counting_ties_as_won_or_lost_is_off() -> None:
    """What the exact handling of ties is for: strict or weak counting moves the gap by .02 to .04."""
    data = draw(SCENARIOS["mid"], 4000, 32, seed=1)
    score = data.counts.astype(float)
    verified = case_control(data.utility, 8)

    def gap(shift: float) -> float:
        moved = score + shift * data.utility
        return float(case_control_gap(data.utility, moved, verified, [4]).mean())

    exact = gap(0.0)
    assert abs(exact - truth(SCENARIOS["mid"], "gap", "best@4")) < 0.006
    assert 0.015 < gap(0.5) - exact < 0.06
    assert 0.015 < exact - gap(-0.5) < 0.06


@pytest.mark.parametrize("name", ["mid", "null", "high_accuracy", "low_accuracy", "hacked"])
def test_unbiased_at_every_scenario(name: str) -> None:
    scenario = SCENARIOS[name]
    data = draw(scenario, 20_000, 16, seed=7)
    gaps = case_control_gap(data.utility, data.counts.astype(float), case_control(data.utility, 4), [1, 2, 4])
    assert (gaps[:, 0] == 0).all(), "one response leaves no choice"
    for place, n in [(1, 2), (2, 4)]:
        error = gaps[:, place].std() / np.sqrt(len(gaps))
        assert abs(gaps[:, place].mean() - truth(scenario, "gap", f"best@{n}")) < 4 * error


def test_eight_of_64_widen_the_interval_by_a_tenth_to_a_fifth() -> None:
    """For about 12 of 64 verified: +11.3 % at n = 4 and +17.6 % at n = 8, over 60,000 prompts, se .2 %."""
    data = draw(SCENARIOS["mid"], 20_000, 64, seed=2)
    score = data.counts.astype(float)
    everything = np.ones(score.shape, dtype=bool)
    verified = case_control(data.utility, 8)
    full = Order.of(score, everything).rank(data.utility).gap([BestOf(4), BestOf(8)]).std(axis=0)
    part = case_control_gap(data.utility, score, verified, [4, 8]).std(axis=0)
    asked = (verified & ~unanimous(data.utility)[:, None]).sum(axis=1).mean()
    assert asked == pytest.approx(12, abs=1)
    assert part / full - 1 == pytest.approx([0.113, 0.176], abs=0.013)


def test_a_constant_score_finds_exactly_nothing() -> None:
    rng = np.random.default_rng(0)
    for utility in ((rng.random((50, 20)) < 0.4).astype(float), rng.random((50, 20))):
        gaps = case_control_gap(utility, np.full(utility.shape, 0.7), case_control(utility, 4), [2, 4])
        assert (gaps == 0).all()


def test_unanimous_prompts_need_no_verdict_and_too_few_verified_are_not_an_estimate() -> None:
    utility = np.array([[1.0, 1.0, 1.0, nan], [0.0, 0.0, nan, nan], [1.0, 0.0, 0.0, 0.0], [nan] * 4])
    nothing = np.zeros(utility.shape, dtype=bool)
    gaps = case_control_gap(utility, np.full(utility.shape, nan), nothing, [2, 3])
    assert gaps[:2, 0].tolist() == [0.0, 0.0]
    assert np.isnan(gaps[1:, 1]).all()
    assert np.isnan(gaps[2:, 0]).all()
    verified = case_control(utility, 2)
    score = np.where(verified, 0.5, nan)
    assert not np.isnan(case_control_gap(utility, score, verified, [2])[2])
    assert np.isnan(case_control_gap(utility, score, verified, [3])[2]), (
        "3 wrong are needed and 2 were verified"
    )
    assert unanimous(utility).tolist() == [True, True, False, False]


def test_the_choice_stays_when_responses_are_added() -> None:
    rng = np.random.default_rng(0)
    utility = (rng.random((30, 40)) < 0.5).astype(float)
    early, late = case_control(utility[:, :20], 3), case_control(utility, 3)
    assert not (early & ~late[:, :20]).any()
    assert (late.sum(axis=1) == 6).all()


def test_auc_is_weighed_by_all_pairs() -> None:
    data = draw(SCENARIOS["mid"], 20_000, 24, seed=5)
    score, everything = data.counts.astype(float), np.ones(data.utility.shape, dtype=bool)
    full = auc_within(Order.of(score, everything), data.utility)
    assert case_control_auc(data.utility, score, everything).value() == pytest.approx(full.value(), abs=1e-12)
    part = case_control_auc(data.utility, score, case_control(data.utility, 3))
    assert part.value() == pytest.approx(truth(SCENARIOS["mid"], "auc_within"), abs=0.006)


POOLED = [
    *[(name, "threshold") for name in ("tpr", "fpr", "youden", "precision", "verifier_gain")],
    *[(name, label) for name in ("gap_pooled", "prompt_mix") for label in ("threshold", "soft")],
    ("auc_between", ""),
]


def counted(prompts: int, responses: int, seed: int) -> Panel:
    data = draw(SCENARIOS["mid"], prompts, responses, seed)
    counts = VerdictCounts(data.counts, np.full_like(data.counts, 8), 8)
    return replace(data.panel(), scores={"v": counts})


def sampled(one: Panel, r: int, *, share: float = 1.0, skip: bool = False) -> Panel:
    """At most r right and r wrong responses were verified, of a share of the prompts, of mixed ones only."""
    prompts = np.random.default_rng(0).random(len(one.utility)) < share
    asked = case_control(one.utility, r) & prompts[:, None]
    if skip:
        asked &= ~unanimous(one.utility)[:, None]
    return replace(one, verified={"v": Verified(asked, prompts, r)})


def test_sampling_weights_stand_for_the_whole_group() -> None:
    utility = np.array([[1.0, 1.0, 0.0, 0.0, 0.0, nan], [1.0, 1.0, 1.0, 1.0, nan, nan], [0.0] * 6])
    asked = case_control(utility, 2)
    weights = sampling_weights(utility, Verified(asked, np.array([True, True, False])))
    assert weights is not None
    assert weights.tolist() == [[1, 1, 1.5, 1.5, 0, 0], [2, 2, 0, 0, 0, 0], [0] * 6]
    skipped = asked & ~unanimous(utility)[:, None]
    assert sampling_weights(utility, Verified(skipped, np.ones(3, dtype=bool))) is None


@pytest.mark.parametrize("graded", [False, True])
def test_pooled_quantities_are_unbiased_over_the_choice_of_the_verified(graded: bool) -> None:
    """Against full verification of the same 1,500 prompts, over 40 choices of 3 right and 3 wrong of 16."""
    one = counted(1500, 16, 31)
    if graded:
        own = np.random.default_rng(0).random(one.utility.shape)
        one = replace(one, utility=np.where(one.utility == 1, 1 - own / 3, own / 3))
    full = TaskMeasures(one, ns=[2], headline=2, seed=0).all(votes=False)
    rng = np.random.default_rng(1)
    found: dict[tuple[str, str], list[float]] = {name: [] for name in POOLED}
    unweighted = []
    for _ in range(40):
        places = rng.permuted(np.tile(np.arange(16), (1500, 1)), axis=1)
        shuffled = np.take_along_axis(one.utility, places, axis=1)
        asked = np.empty(shuffled.shape, dtype=bool)
        np.put_along_axis(asked, places, case_control(shuffled, 3), axis=1)
        verified = Verified(asked, np.ones(1500, dtype=bool), 3)
        part = pooled_from_sample(one.utility, one.utility, one.scores["v"], verified)
        for name, values in found.items():
            values.append(part[(*name, None)].value())
        passed = asked & (one.scores["v"].mean >= 0.5)
        unweighted.append((one.utility * passed).sum() / (one.utility * asked).sum())
    for (quantity, label), values in found.items():
        whole = full[Key("v", quantity, label, None, 8)].quantity
        assert whole is not None
        error = np.std(values, ddof=1) / np.sqrt(len(values))
        assert np.std(values) > 1e-4, "the choice made no difference: nothing was tested"
        assert abs(np.mean(values) - whole.value()) < 4 * error, (quantity, label)
    rate = full[Key("v", "tpr", "threshold", None, 8)].quantity
    assert rate is not None
    error = np.std(unweighted, ddof=1) / np.sqrt(len(unweighted))
    assert abs(np.mean(unweighted) - rate.value()) > 6 * error, "without weights it is off"


def test_everything_verified_is_the_full_estimate() -> None:
    one = counted(60, 12, 32)
    full = TaskMeasures(one, ns=[2], headline=2, seed=0).all(votes=False)
    everything = Verified(np.ones(one.utility.shape, dtype=bool), np.ones(60, dtype=bool), 12)
    across = TaskMeasures(one, ns=[2], headline=2, seed=0).across
    part = pooled_from_sample(one.utility, across, one.scores["v"], everything)
    for (quantity, label, _), value in part.items():
        whole = full[Key("v", quantity, label, None, 8)].quantity
        assert whole is not None
        mine, theirs = estimate(value), estimate(whole)
        assert (mine.value, mine.low, mine.high) == pytest.approx((theirs.value, theirs.low, theirs.high))


def test_pooled_quantities_of_sampled_responses_in_the_table() -> None:
    """What weights give has a number; ratios within a prompt, and pools without unanimous prompts, have none."""
    one = counted(80, 24, 33)
    plain, share, skipping = (
        estimate_panels([saved], model="m").where(task="synthetic", verifier="v")
        for saved in (sampled(one, 4), sampled(one, 4, share=0.6), sampled(one, 4, skip=True))
    )
    for quantity, label in POOLED:
        for found in (plain, share):
            (row,) = found.where(quantity=quantity, filter=label)
            assert row.low < row.value < row.high
        (row,) = skipping.where(quantity=quantity, filter=label)
        assert NOT_VERIFIED in row.flags
        assert np.isnan(row.value)
    (few,) = share.where(quantity="tpr")
    assert "fewer_prompts" in few.flags
    assert 30 < few.n_prompts < 66
    for quantity, label in (("gap", "threshold"), ("precision_ceiling", "threshold"), ("gap", "soft")):
        (row,) = plain.where(quantity=quantity, filter=label)
        assert NOT_VERIFIED in row.flags


@pytest.mark.slow
def test_intervals_of_weighted_quantities_cover() -> None:
    """Mid scenario, 50 prompts of 32 responses, 4 right and 4 wrong verified: 300 data sets."""
    resampling = Resampling(np.arange(50), seed=0)
    hits: dict[tuple[str, str], list[bool]] = {name: [] for name in POOLED}
    for seed in range(300):
        one = counted(50, 32, 1000 + seed)
        verified = Verified(case_control(one.utility, 4), np.ones(50, dtype=bool), 4)
        part = pooled_from_sample(one.utility, one.utility, one.scores["v"], verified)
        moments = resampling.moments([part[(*name, None)] for name in POOLED])
        for (name, held), of_one in zip(hits.items(), moments, strict=True):
            found = combine([of_one])
            held.append(found.low <= truth(SCENARIOS["mid"], *name) <= found.high)
    for name, held in hits.items():
        share = np.mean(held)
        assert share + 3 * np.sqrt(share * (1 - share) / len(held)) >= 0.93, (name, share)


def test_tasks_with_all_verified_and_with_some_go_together() -> None:
    """Eight responses are all verified at r = 8, and 32 are not: their means go into one row."""
    panels = [
        sampled(replace(counted(40, size, 40 + size), task=f"of {size}"), 8, skip=True) for size in (8, 32)
    ]
    found = estimate_panels(panels, model="m", verdict_counts=True, over_optimisation=True)
    for quantity in ("gap", "accuracy"):
        (row,) = found.where(domain="all", verifier="v", quantity=quantity, filter="best@4", m=8)
        assert row.low < row.value < row.high


def test_an_n_that_no_prompt_can_tell_of_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it would cost grows like n^2 and more: minutes for the n = N of a curve at N = 1000."""
    import gapbench.estimate.case_control as module

    largest: list[int] = []

    def counted(above: np.ndarray, below: np.ndarray) -> np.ndarray:
        largest.append(int(below.max()))
        assert below.max() <= 8, "the coefficients of an n that is not to be had"
        return plain(above, below)

    plain = module.comb
    monkeypatch.setattr(module, "comb", counted)
    rng = np.random.default_rng(0)
    utility = (rng.random((4, 1200)) < 0.5).astype(float)
    utility[3] = 1.0
    gaps = case_control_gap(utility, rng.random(utility.shape), case_control(utility, 8), [8, 1024])
    assert largest == [8]
    assert np.isfinite(gaps[:, 0]).all()
    assert np.isnan(gaps[:3, 1]).all()
    assert gaps[3, 1] == 0.0
