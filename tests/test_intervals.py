"""Standard errors against direct formulas, resampling against a literal loop, coverage against known truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from gapbench.estimate.betting import betting_interval
from gapbench.estimate.intervals import Interval, combine, estimate
from gapbench.estimate.quantity import Quantity, mean, ratio, ratio_less_mean
from gapbench.estimate.resampling import Resampling
from gapbench.panel import Float, Int

NAN = float("nan")


def columns(seed: int, size: int = 30) -> tuple[Float, Float, Float]:
    rng = np.random.default_rng(seed)
    weight = rng.random(size)
    return weight * rng.random(size), weight, rng.random(size)


def test_mean_has_the_textbook_error_and_t_interval() -> None:
    top, _, _ = columns(0)
    found = estimate(mean(top), method="t")
    want = stats.ttest_1samp(top, 0).confidence_interval(0.95)
    assert found.value == pytest.approx(top.mean())
    assert found.se == pytest.approx(stats.sem(top))
    assert (found.low, found.high) == pytest.approx((want.low, want.high))
    assert found.df == 29


def test_ratio_less_mean_has_the_influence_error() -> None:
    a, b, c = columns(1)
    share = a.mean() / b.mean()
    psi = (a - share * b) / b.mean() - (c - c.mean())
    found = estimate(ratio_less_mean(a, b, c))
    assert found.value == pytest.approx(share - c.mean())
    assert found.se == pytest.approx(np.sqrt((psi**2).sum() / 30**2 * 30 / 29))


def test_clustered_error_sums_over_the_cluster() -> None:
    a, b, c = columns(2, 40)
    clusters = np.random.default_rng(2).integers(0, 12, 40)
    share = a.mean() / b.mean()
    psi = (a - share * b) / b.mean() - (c - c.mean())
    sums = np.array([psi[clusters == code].sum() for code in np.unique(clusters)])
    size = len(sums)
    found = estimate(ratio_less_mean(a, b, c), clusters=clusters)
    assert found.se == pytest.approx(np.sqrt((sums**2).sum() * size / (size - 1)) / 40)
    assert (found.df, found.n_clusters, found.n_prompts) == (size - 1, size, 40)


def test_doubling_every_prompt_within_its_cluster_changes_nothing() -> None:
    a, b, c = columns(3)
    once = estimate(ratio_less_mean(a, b, c), clusters=np.arange(30))
    twice = estimate(ratio_less_mean(*(np.tile(x, 2) for x in (a, b, c))), clusters=np.tile(np.arange(30), 2))
    assert (twice.value, twice.se, twice.low, twice.high) == pytest.approx(
        (once.value, once.se, once.low, once.high)
    )


def test_several_tasks_are_stratified_with_welch_satterthwaite_degrees() -> None:
    first, second = columns(4, 25)[0], 5 * columns(5, 40)[0]
    strata = [
        Resampling(np.arange(25), seed=0, task="a").moments([mean(first)])[0],
        Resampling(np.arange(40), seed=0, task="b").moments([mean(second)])[0],
    ]
    found = combine(strata, [1.0, 3.0], method="t")
    parts = np.array([(0.25 * stats.sem(first)) ** 2, (0.75 * stats.sem(second)) ** 2])
    assert found.value == pytest.approx(0.25 * first.mean() + 0.75 * second.mean())
    assert found.se == pytest.approx(np.sqrt(parts.sum()))
    assert found.df == pytest.approx(parts.sum() ** 2 / (parts[0] ** 2 / 24 + parts[1] ** 2 / 39))
    reach = stats.t.ppf(0.975, found.df) * found.se
    assert (found.low, found.high) == pytest.approx((found.value - reach, found.value + reach))


def test_ratio_over_tasks_is_the_ratio_of_weighted_means() -> None:
    tops, bottoms = [columns(6)[0], columns(7)[0]], [columns(6)[1], 3 * columns(7)[1]]
    strata = [
        Resampling(np.arange(30), seed=0, task=str(i)).moments([ratio(tops[i], bottoms[i])])[0]
        for i in range(2)
    ]
    found = combine(strata)
    a, b = (np.mean([x.mean() for x in xs]) for xs in (tops, bottoms))
    psi = [
        (top - top.mean() - a / b * (bot - bot.mean())) / b / 2
        for top, bot in zip(tops, bottoms, strict=True)
    ]
    assert found.value == pytest.approx(a / b)
    assert found.se == pytest.approx(np.sqrt(sum((x**2).sum() / 30 / 29 for x in psi)))


def literal_bootstrap(parts: list[tuple[Float, Float, Float, Int]], resamples: int) -> tuple[float, float]:
    """Studentised interval of A/B - C over tasks that weigh equally, one resample at a time."""

    def fit(drawn: list[tuple[Float, Float, Float, list[Int]]]) -> tuple[float, float]:
        share = np.mean([a.mean() for a, _, _, _ in drawn]) / (
            below := np.mean([b.mean() for _, b, _, _ in drawn])
        )
        value = share - np.mean([c.mean() for _, _, c, _ in drawn])
        variance = 0.0
        for a, b, c, groups in drawn:
            psi = (a - a.mean() - share * (b - b.mean())) / below - (c - c.mean())
            sums = np.array([psi[group].sum() for group in groups])
            variance += (sums**2).sum() * len(sums) / (len(sums) - 1) / len(a) ** 2 / len(drawn) ** 2
        return float(value), float(np.sqrt(variance))

    full = [(a, b, c, [np.flatnonzero(g == code) for code in np.unique(g)]) for a, b, c, g in parts]
    value, se = fit(full)
    counts = [
        Resampling(g, seed=3, task=str(i), resamples=resamples).weights
        for i, (_, _, _, g) in enumerate(parts)
    ]
    t = []
    for draw in range(resamples):
        sample = []
        for (a, b, c, groups), weights in zip(full, counts, strict=True):
            copies = [groups[k] for k in np.repeat(np.arange(len(groups)), weights[draw].astype(int))]
            index = np.concatenate(copies)
            ends = np.cumsum([len(copy) for copy in copies])
            spans = [np.arange(end - len(copy), end) for end, copy in zip(ends, copies, strict=True)]
            sample.append((a[index], b[index], c[index], spans))
        again, error = fit(sample)
        t.append((again - value) / error)
    t.sort()
    rank = int((resamples + 1) * 0.025)
    return value - t[-rank] * se, value - t[rank - 1] * se


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("tasks", [1, 2])
def test_moments_give_the_literal_bootstrap(tasks: int, clustered: bool) -> None:
    rng = np.random.default_rng(9)
    parts = []
    for i in range(tasks):
        groups = rng.integers(0, 12, 30) if clustered else np.arange(30)
        parts.append((*columns(10 + i), groups))
    strata = [
        Resampling(g, seed=3, task=str(i), resamples=199).moments([ratio_less_mean(a, b, c)])[0]
        for i, (a, b, c, g) in enumerate(parts)
    ]
    found = combine(strata, method="bootstrap")
    assert (found.low, found.high) == pytest.approx(literal_bootstrap(parts, 199), abs=1e-10)


def test_hull_covers_both_of_its_parts() -> None:
    quantity = ratio(columns(12)[0] ** 3, columns(12)[1])
    hull, t, boot = (estimate(quantity, method=m) for m in ("hull", "t", "bootstrap"))
    assert (hull.low, hull.high) == (min(t.low, boot.low), max(t.high, boot.high))
    assert t.low != boot.low


def test_paired_difference_uses_the_same_resamples() -> None:
    a, b, c = columns(13)
    direct = estimate(mean(a - c))
    paired = estimate(mean(a).minus(mean(c)))
    assert (paired.value, paired.se, paired.low, paired.high) == pytest.approx(
        (direct.value, direct.se, direct.low, direct.high)
    )
    same = estimate(ratio(a, b).minus(ratio(a, b)))
    assert (same.value, same.se) == (0.0, 0.0)
    assert "degenerate" in same.flags


def test_prompts_without_a_number_leave() -> None:
    a, b, c = columns(14, 40)
    b[:10] = NAN
    found = estimate(ratio_less_mean(a, b, c), method="t")
    want = estimate(ratio_less_mean(a[10:], b[10:], c[10:]), method="t")
    assert (found.value, found.se, found.low, found.df, found.n_prompts) == pytest.approx(
        (want.value, want.se, want.low, want.df, 30)
    )


@pytest.mark.parametrize(("z", "low", "high"), [(0.0, -1.0, 1.0), (1.0, 0.0, 1.0), (0.25, 0.0, 1.0)])
def test_degenerate_interval(z: float, low: float, high: float) -> None:
    found = estimate(mean(np.full(50, z), low, high))
    pi = 1 - 0.025 ** (1 / 50)
    assert (found.low, found.high) == pytest.approx((z - pi * (z - low), z + pi * (high - z)))
    assert found.se == 0
    assert found.flags == ("degenerate",)


def test_resamples_without_variance_count_as_infinite() -> None:
    """One right in 50: a third of all resamples hold none, so nothing below the value is excluded but 0."""
    column = np.zeros(50)
    column[0] = 1.0
    found = estimate(mean(column, 0.0, 1.0), method="bootstrap")
    assert (found.low, found.high) == (pytest.approx(0.0, abs=0.02), 1.0)
    assert {"low_effective_prompts", "not_estimable"} <= set(found.flags)


def test_flags() -> None:
    assert "descriptive" in estimate(mean(columns(1, 19)[0], 0, 1)).flags
    assert "descriptive" not in estimate(mean(columns(1, 20)[0], 0, 1)).flags
    wide = estimate(mean(np.array([0.0, 1.0, 0.0, 1.0]), 0.0, 1.0))
    assert {"descriptive", "not_estimable"} <= set(wide.flags)
    assert (wide.low, wide.high) == (0.0, 1.0)  # clipped to the natural range
    assert "not_estimable" in estimate(ratio(100 * columns(2)[2], columns(2)[1])).flags


@pytest.mark.parametrize(
    "quantity",
    [
        ratio(np.zeros(5), np.zeros(5)),
        mean(np.full(5, NAN)),
        mean(np.array([0.5])),
    ],
)
def test_nothing_to_estimate_is_said_and_not_guessed(quantity: Quantity) -> None:
    found = estimate(quantity)
    assert "not_estimable" in found.flags
    assert np.isnan([found.se, found.low, found.high]).all()


def test_pooled_gap_of_a_filter_that_passes_nothing_is_zero() -> None:
    found = estimate(ratio_less_mean(np.zeros(30), np.zeros(30), columns(1)[2], when_empty=0.0))
    assert found.value == 0.0
    assert found.low < 0 < found.high


def test_same_seed_same_numbers() -> None:
    quantity = ratio_less_mean(*columns(15))
    assert estimate(quantity, seed=4) == estimate(quantity, seed=4)
    assert estimate(quantity, seed=4) != estimate(quantity, seed=5)


def test_many_quantities_at_once_equal_one_at_a_time() -> None:
    wanted = [mean(columns(1)[0]), ratio_less_mean(*columns(2)), ratio(columns(3)[0], columns(3)[1])]
    resampling = Resampling(np.arange(30), seed=0)
    for quantity, moments in zip(wanted, resampling.moments(wanted), strict=True):
        alone, together = estimate(quantity), combine([moments])
        assert (together.low, together.high) == pytest.approx((alone.low, alone.high), abs=1e-12)


def coverage(found: list[Interval], truth: float) -> tuple[float, float]:
    """Observed coverage and its Monte-Carlo standard error."""
    hit = np.mean([one.low <= truth <= one.high for one in found])
    return float(hit), float(np.sqrt(hit * (1 - hit) / len(found)))


@pytest.mark.slow
@pytest.mark.parametrize(("a", "b"), [(0.6, 0.8), (0.3, 3.0)])
def test_hull_covers_accuracy_and_a_ratio(a: float, b: float) -> None:
    """50 prompts of accuracy Beta(a, b), 16 responses each; relative gain of a second try, whose truth is known."""
    rng = np.random.default_rng(20)
    accuracy = a / (a + b)
    gain = a * b / (a + b) / (a + b + 1)  # E[p(1-p)] = accuracy(1-accuracy) - Var(p)
    means, ratios = [], []
    for _ in range(300):
        right = rng.binomial(16, rng.beta(a, b, 50)).astype(float)
        p = right / 16
        second = right * (16 - right) / (16 * 15)  # unbiased for p(1-p)
        resampling = Resampling(np.arange(50), seed=int(rng.integers(2**31)))
        quantities = [mean(p, 0.0, 1.0), ratio(second, 1.0 - p, high=1.0)]
        for kept, moments in zip((means, ratios), resampling.moments(quantities), strict=True):
            kept.append(combine([moments]))
    for found, truth in ((means, accuracy), (ratios, gain / (1 - accuracy))):
        hit, error = coverage(found, truth)
        assert hit + 3 * error >= 0.93


@pytest.mark.slow
def test_plain_z_interval_fails_at_high_accuracy() -> None:
    """Shows that the coverage test can fail: prompts nearly all right, mean .97, where z misses and the hull holds."""
    rng = np.random.default_rng(21)
    a, b = 0.97, 0.03
    z, hull = [], []
    for _ in range(300):
        p = rng.binomial(16, rng.beta(a, b, 50)) / 16
        one = estimate(mean(p, 0.0, 1.0), seed=int(rng.integers(2**31)))
        hull.append(one)
        z.append(Interval(one.value, one.se, one.value - 1.96 * one.se, one.value + 1.96 * one.se, 0, 50, 50))
    hit, error = coverage(z, 0.97)
    assert hit + 3 * error < 0.93
    hit, error = coverage(hull, 0.97)
    assert hit + 3 * error >= 0.93


def test_betting_holds_where_others_need_large_samples() -> None:
    """20 prompts of which nearly all are right: t misses the mean far too often, betting does not."""
    rng = np.random.default_rng(22)
    betting, t = [], []
    for seed in range(300):
        quantity = mean((rng.random(20) < 0.95).astype(float), 0.0, 1.0)
        found = estimate(quantity, method="betting")
        low, high = betting_interval(quantity.terms[0].top, 0.0, 1.0, seed=seed)
        assert 0 <= low <= found.value <= high <= 1
        betting.append(low <= 0.95 <= high)
        t.append(estimate(quantity, method="t"))
    assert np.mean(betting) >= 0.95
    plain = np.mean([one.value - 2.09 * one.se <= 0.95 <= one.value + 2.09 * one.se for one in t])
    assert plain < 0.8


@pytest.mark.parametrize("method", ["hull", "betting"])
def test_nothing_is_bet_on_a_value_that_a_correction_took_out_of_its_range(method: str) -> None:
    """A gap less its bias may be 1.5, of which no bet within [-1, 1] holds: its log would be no number."""
    found = estimate(mean(np.array([1.5, 0.19, 0.0]), -1.0, 1.0), method=method)  # type: ignore[arg-type]
    assert (found.low, found.high, found.value) == (-1.0, 1.0, pytest.approx(1.69 / 3))
    assert "not_estimable" in found.flags
    wide = np.append(np.random.default_rng(0).random(40), 1.5)
    as_betting, as_hull = (estimate(mean(wide, -1.0, 1.0), method=one) for one in ("betting", "hull"))
    assert (as_betting.low, as_betting.high) == (as_hull.low, as_hull.high)
    assert "hull" in as_betting.flags


def test_betting_edges_are_where_the_capital_reaches_its_bound() -> None:
    """Against the definition of the hedged capital, on a grid of means."""
    x = np.random.default_rng(23).beta(2, 3, 60)
    low, high = betting_interval(x, 0.0, 1.0, seed=5)
    drawn = np.random.default_rng(5).permutation(x)
    total, square, capital = 0.5, 0.25, {m: [1.0, 1.0] for m in np.linspace(0.01, 0.99, 99)}
    for count, value in enumerate(drawn, start=1):
        bet = np.sqrt(2 * np.log(2 / 0.05) / (square / count * len(x)))
        for m, both in capital.items():
            both[0] *= 1 + min(bet, 0.5 / m) * (value - m)
            both[1] *= 1 - min(bet, 0.5 / (1 - m)) * (value - m)
        total += value
        square += (value - total / (count + 1)) ** 2
    kept = [m for m, both in capital.items() if max(both) / 2 < 1 / 0.05]
    assert min(kept) - 0.01 <= low <= min(kept)
    assert max(kept) <= high <= max(kept) + 0.01


def test_betting_does_not_apply_to_ratios_and_sums_over_tasks() -> None:
    a, b, _ = columns(16)
    found = estimate(ratio(a, b, 0.0, 1.0), method="betting")
    assert "hull" in found.flags
    hull = estimate(ratio(a, b, 0.0, 1.0))
    assert (found.low, found.high) == (hull.low, hull.high)
    strata = [Resampling(np.arange(30), seed=0, task=t).moments([mean(a, 0.0, 1.0)])[0] for t in "ab"]
    assert "hull" in combine(strata, method="betting").flags
    assert "hull" not in estimate(mean(a, 0.0, 1.0), method="betting").flags
    clusters = np.repeat(np.arange(10), 3)
    paired = estimate(mean(a, 0.0, 1.0), clusters=clusters, method="betting")
    alone = betting_interval(a.reshape(10, 3).mean(axis=1), 0.0, 1.0)
    assert (paired.low, paired.high) == pytest.approx(alone)


def test_degenerate_task_widens_its_domain() -> None:
    rng = np.random.default_rng(24)
    spread, flat = rng.random(40), np.full(25, 1.0)

    def domain(other: Float) -> Interval:
        return combine(
            [
                Resampling(np.arange(40), seed=0, task="a").moments([mean(spread, 0.0, 1.0)])[0],
                Resampling(np.arange(len(other)), seed=0, task="b").moments([mean(other, 0.0, 1.0)])[0],
            ]
        )

    found = domain(flat)
    nearly = domain(np.where(np.arange(25) < 1, 1.0 - 1e-7, 1.0))
    pi = 1 - 0.025 ** (1 / 25)
    assert "degenerate_task" in found.flags
    assert found.value - found.low == pytest.approx(np.hypot(nearly.value - nearly.low, pi / 2), rel=1e-3)
    assert found.high == pytest.approx(nearly.high, rel=1e-3)  # there is nothing above 1


@pytest.mark.slow
def test_domain_with_a_task_of_rare_events_is_covered() -> None:
    """Half of the domain is a task where 2 % of prompts differ: most samples of 40 prompts show none or one."""
    rng = np.random.default_rng(25)
    found, without = [], []
    for seed in range(400):
        strata = [
            Resampling(np.arange(40), seed=seed, task=name).moments([mean(column, 0.0, 1.0)])[0]
            for name, column in (
                ("a", 0.5 + 0.02 * rng.standard_normal(40)),
                ("b", (rng.random(40) < 0.02).astype(float)),
            )
        ]
        one = combine(strata)
        found.append(one)
        error = stats.t.ppf(0.975, 39) * one.se
        without.append(Interval(one.value, one.se, one.value - error, one.value + error, 39, 80, 80))
    hit, error = coverage(found, 0.26)
    assert hit + 3 * error >= 0.93
    hit, error = coverage(without, 0.26)
    assert hit + 3 * error < 0.93


def test_interval_of_a_quantity_with_few_carriers_reaches_as_far_as_one_without_any() -> None:
    column = np.ones(50)
    column[:5] = 0.999
    plain = mean(column, 0.0, 1.0)
    found = estimate(replace(plain, reach=1.0))
    assert found.low == pytest.approx(found.value - (1 - 0.025 ** (1 / 50)))
    assert estimate(plain).low > 0.99
    many = replace(mean(columns(3, 50)[0], 0.0, 1.0), reach=1.0)
    assert estimate(many) == estimate(replace(many, reach=0.0))


def test_carriers_limit_the_degrees_of_freedom() -> None:
    a, b, _ = columns(17)
    held = np.zeros(30)
    held[:4] = 1.0
    found = estimate(replace(ratio(a, b), carriers=(held, b)))
    assert found.df == pytest.approx(3.0)
    assert found.high - found.low > estimate(ratio(a, b)).high - estimate(ratio(a, b)).low


def test_infinite_end_of_the_hull_is_the_betting_end_where_there_is_one() -> None:
    column = np.zeros(200)
    column[:3] = 1.0  # more than 2.5 % of all resamples hold none
    found, boot = (estimate(mean(column, 0.0, 1.0), method=m) for m in ("hull", "bootstrap"))
    assert boot.high == 1.0
    assert found.high == betting_interval(column, 0.0, 1.0)[1] < 0.1
    assert "not_estimable" not in found.flags
    assert estimate(ratio(column, np.ones(200), 0.0, 1.0)).high == 1.0
