"""The laws behind a projection, against brute force, known truth and the (sim) figures of projection.md, section 2."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import curve_fit
from scipy.special import expit
from scipy.stats import norm

from gapbench.errors import UserError
from gapbench.estimate.coverage import pass_at_k
from gapbench.estimate.rank_filters import log_choose
from gapbench.estimate.selection import BestOf, Order, TopQuantile
from gapbench.panel import Float, Int, VerdictCounts
from gapbench.projection.coverage import BAND, PassRates, extended, fitted_rates
from gapbench.projection.fresh import Chances, after_rounds, estimated_chances
from gapbench.projection.judge import frozen_judge, plateau
from gapbench.projection.loops import BestLoop, TopLoop, gaps_by_round, loop_of, soft_horizon
from gapbench.synthetic import SCENARIOS, Prompts, Scenario, draw, truth
from gapbench.synthetic.scenario import HACK
from gapbench.synthetic.truth import quadrature

MID = SCENARIOS["mid"]
HACKED_16 = replace(SCENARIOS["hacked"], M=16)


def accuracy(scenario: Scenario, n: int, m: float | None = None) -> float:
    return truth(scenario, "accuracy", f"best@{n}", m=m)


def true_chances(scenario: Scenario, prompts: Prompts) -> Chances:
    """Chances to be told yes, from the scenario's own densities on a fine grid of logits."""
    grid = np.linspace(-12, 16, 281)

    def density(level: Float) -> Float:
        found = norm.pdf(grid, level[:, None], scenario.sd_w)
        return np.asarray(found / found.sum(axis=1, keepdims=True))

    right, wrong = density(prompts.level + prompts.shift), density(prompts.level)
    if scenario.h:
        wrong = (1 - scenario.h) * wrong + scenario.h * density(prompts.level + HACK)
    p = prompts.p[:, None]
    return Chances(expit(grid), p * right + (1 - p) * wrong, p * right)


# --- rounds of a filter are one stronger filter


@pytest.mark.parametrize(
    ("label", "rounds"), [("best@2", 4), ("best@3", 3), ("top 0.5", 4), ("top 0.3", 2), ("soft", 3)]
)
def test_rounds_of_a_filter_are_one_stronger_filter(label: str, rounds: int) -> None:
    """Round by round on a distribution with ties, each on what the last one kept, against one folded filter."""
    rng = np.random.default_rng(0)
    share, right = rng.dirichlet(np.ones(5)), rng.random(5)
    score = np.arange(5) / 4
    loop, now = loop_of(label), share
    for done in range(1, rounds + 1):
        if isinstance(loop, BestLoop | TopLoop):
            now = np.diff(loop.below(np.cumsum(now)), prepend=0.0)
            folded = np.diff(loop.below(np.cumsum(share), done), prepend=0.0)
        else:
            now = now * score / (now @ score)
            folded = share * score**done / (share @ score**done)
        np.testing.assert_allclose(now, folded, atol=1e-12)
        assert now @ right == pytest.approx(folded @ right, abs=1e-12)


def test_folded_filters_are_those_of_the_estimates() -> None:
    data = draw(MID, 40, 64, 0)
    score = data.counts / 8
    ranked = Order.of(score, score >= 0).rank(data.utility)
    found = gaps_by_round(BestLoop(2), data.utility, score, range(7))
    np.testing.assert_allclose(found, ranked.gap([BestOf(2**t) for t in range(7)]), atol=1e-14)
    top = gaps_by_round(TopLoop(0.5), data.utility, score, [0, 1, 2])
    np.testing.assert_allclose(top[:, 1:], ranked.gap([TopQuantile(0.5), TopQuantile(0.25)]), atol=1e-14)
    assert (top[:, 0] == 0).all()


def test_folded_rounds_find_the_truth_of_the_loop() -> None:
    """Against quadrature, four Monte-Carlo errors: two rounds of best@4, of the top half, and of soft weights."""
    data = draw(MID, 4000, 32, 1)
    score = data.counts / 8
    soft = true_chances(MID, quadrature(MID))
    weighed = quadrature(MID).weight @ after_rounds(soft, loop_of("soft"), 8, 2, fresh=False)
    for label, expected in (
        ("best@4", accuracy(MID, 16)),
        ("top 0.5", truth(MID, "accuracy", "top 0.25")),
        ("soft", weighed[2]),
    ):
        found = data.utility.mean(axis=1) + gaps_by_round(loop_of(label), data.utility, score, [2])[:, 0]
        assert found.mean() == pytest.approx(expected, abs=4 * found.std() / np.sqrt(len(found)))


def test_horizons() -> None:
    assert [BestLoop(n).horizon(64) for n in (2, 3, 4, 8, 64, 65)] == [6, 3, 3, 2, 1, 0]
    assert BestLoop(10).horizon(1000) == 3  # floor(ln 1000 / ln 10) in floats is 2
    assert [TopLoop(q).horizon(80) for q in (0.5, 0.25, 0.9)] == [4, 2, 26]
    assert TopLoop(0.5).horizon(4) == 0
    with pytest.raises(UserError, match="soft"):
        loop_of("majority@4")
    for label in ("best@1", "top 1", "random"):
        with pytest.raises(UserError):
            loop_of(label)


def test_soft_horizon_counts_what_is_left() -> None:
    """Weights 1, r, r^2, ...: the effective number of w^T falls under 3 at a T that can be counted by hand."""
    weights = np.tile(0.8 ** np.arange(64.0), (10, 1))

    def effective(t: int) -> float:
        w = 0.8 ** (t * np.arange(64.0))
        return float(w.sum() ** 2 / (w**2).sum())

    expected = max(t for t in range(1, 20) if effective(t) >= 3)
    assert soft_horizon(weights) == expected
    assert soft_horizon(np.zeros((4, 8))) == 0
    weights[:2, 1:] = 0  # more than one prompt in ten is left with one response
    assert soft_horizon(weights) == 0


# --- the (sim) figures


def test_the_hacked_curve_turns_and_a_power_law_does_not_see_it() -> None:
    found = [accuracy(HACKED_16, n) for n in (1, 8, 32, 128, 10**7)]
    assert found == pytest.approx([0.386, 0.574, 0.599, 0.545, 0.498], abs=0.001)
    ns = 2.0 ** np.arange(6)
    curve = [accuracy(HACKED_16, int(n)) for n in ns]
    (limit, _, _), _ = curve_fit(lambda n, c, a, b: c - a * n**-b, ns, curve, (0.65, 0.3, 0.5))
    assert limit == pytest.approx(0.64, abs=0.005)


def test_the_frozen_judge_moves_along_its_own_curve() -> None:
    """mid, n = 8: dV/dA = .42, .29, .20 in successive rounds."""
    gains = np.diff([accuracy(MID, 8**t) for t in range(5)])
    assert gains[1:] / gains[:-1] == pytest.approx([0.42, 0.29, 0.20], abs=0.006)


def test_standing_scores_understate_a_loop_with_fresh_verdicts() -> None:
    """best@8, T = 3: .676 with standing and .722 with fresh verdicts at M = 8, .471 and .573 at M = 1."""
    prompts = quadrature(MID)
    chances = true_chances(MID, prompts)
    for m, standing, fresh in ((8, 0.676, 0.722), (1, 0.471, 0.573)):
        found = [
            prompts.weight @ after_rounds(chances, BestLoop(8), m, 3, fresh=one) for one in (False, True)
        ]
        assert found[0][3] == pytest.approx(standing, abs=0.001)
        assert found[0][3] == pytest.approx(accuracy(MID, 512, m), abs=0.001)
        assert found[1][3] == pytest.approx(fresh, abs=0.001)
        assert found[0][1] == pytest.approx(found[1][1])


def test_fresh_rounds_against_a_population_that_really_loops() -> None:
    """Each prompt a population of 2,000 responses: judge 8 of them anew, keep one, 2,000 times, three rounds."""
    rng = np.random.default_rng(0)
    data = draw(MID, 60, 2000, 3)
    own = Chances(*_pooled(expit(data.latent), data.utility))
    expected = after_rounds(own, BestLoop(8), 8, 3, fresh=True)[:, 1:].mean(axis=0)
    chance, utility = expit(data.latent), data.utility
    rows = np.arange(60)[:, None]
    for t in range(3):
        drawn = rng.integers(2000, size=(60, 2000, 8))
        yes = rng.binomial(8, chance[rows[:, :, None], drawn]) + rng.random(drawn.shape)
        kept = np.take_along_axis(drawn, yes.argmax(axis=2)[:, :, None], axis=2)[:, :, 0]
        chance, utility = chance[rows, kept], utility[rows, kept]
        assert utility.mean() == pytest.approx(expected[t], abs=0.01)


def _pooled(chance: Float, utility: Float) -> tuple[Float, Float, Float]:
    """Chances of a population in narrow bins."""
    edges = np.linspace(0, 1, 401)
    place = np.clip(np.searchsorted(edges, chance) - 1, 0, 399)
    mass, right = np.zeros((2, len(chance), 400))
    for row, (own, u) in enumerate(zip(place, utility, strict=True)):
        mass[row] = np.bincount(own, minlength=400) / len(u)
        right[row] = np.bincount(own, weights=u, minlength=400) / len(u)
    return (edges[:-1] + edges[1:]) / 2, mass, right


def test_what_fresh_verdicts_add_is_found_from_counts() -> None:
    """best@4, T = 3: .025 at M = 8 and .061 at M = 3, of which two thirds or more are found, and no more than all."""
    for m, expected in ((8, 0.0246), (3, 0.0614)):
        scenario = replace(MID, M=m)
        data = draw(scenario, 1500, 32, 1)
        chances = estimated_chances(
            data.utility, VerdictCounts(data.counts, np.full(data.counts.shape, m), m)
        )
        standing, fresh = (after_rounds(chances, BestLoop(4), m, 3, fresh=one) for one in (False, True))
        added = (fresh - standing).mean(axis=0)
        assert added[:2] == pytest.approx([0, 0], abs=1e-12)
        assert 0.66 * expected < added[3] < 1.05 * expected


def test_a_judge_without_signal_gains_nothing_from_fresh_verdicts() -> None:
    data = draw(SCENARIOS["null"], 1500, 32, 2)
    chances = estimated_chances(data.utility, VerdictCounts(data.counts, np.full(data.counts.shape, 8), 8))
    standing, fresh = (after_rounds(chances, BestLoop(4), 8, 3, fresh=one) for one in (False, True))
    assert abs((fresh - standing).mean(axis=0)).max() < 0.006


# --- coverage beyond the data


def test_the_line_continues_what_is_a_line() -> None:
    ks = 2 ** np.arange(6)
    law = np.exp(-1.3 * ks**-0.35)
    np.testing.assert_allclose(
        extended(law, ks, [32, 1000, 10**4]), np.exp(-1.3 * np.array([32, 1000, 10**4]) ** -0.35)
    )
    assert np.isnan(extended(np.zeros(6), ks, [64])).all()
    assert np.isnan(extended(np.array([0.3]), np.array([1]), [64])).all()
    assert extended(np.ones(6), ks, [64])[0] == 1.0
    assert extended(np.array([0.5, 0.9, 1.0]), ks[:3], [64])[0] == 1.0
    flat = np.array([0.2, 0.5, 0.6, 0.61, 0.61, 0.61])
    assert extended(flat, ks, [33])[0] >= 0.61
    assert extended(np.stack([law, flat]), ks, [64, 128]).shape == (2, 2)


def test_pass_rates_are_found_and_their_coverage_is_an_integral() -> None:
    rng = np.random.default_rng(0)
    p = rng.beta(0.6, 1.4, 20_000)
    fit = fitted_rates(rng.binomial(32, p), np.full(len(p), 32), impossible=False)
    assert fit is not None
    assert (fit.a, fit.b) == (pytest.approx(0.6, rel=0.05), pytest.approx(1.4, rel=0.05))
    assert PassRates(0.6, 1.4).coverage([7])[0] == pytest.approx(np.mean(1 - (1 - p) ** 7), abs=0.005)
    zero = fitted_rates(
        rng.binomial(32, p * (rng.random(len(p)) > 0.3)), np.full(len(p), 32), impossible=True
    )
    assert zero is not None
    assert zero.impossible == pytest.approx(0.3, abs=0.02)
    assert fitted_rates(np.zeros(9, int), np.full(9, 8), impossible=True) is None
    assert fitted_rates(np.full(9, 8), np.full(9, 8), impossible=False) is None
    assert fitted_rates(np.array([1, 0]), np.array([1, 1]), impossible=False) is None


def _coverage_curve(right: Int, size: int, ks: Int) -> Float:
    return 1.0 - np.exp(log_choose((size - right)[:, None], ks) - log_choose(size, ks))


@pytest.mark.slow
def test_biases_of_three_extrapolations() -> None:
    """N = 32 to k = 1024: beta-binomial .000, zero-inflated -.026, line +.013 on a Beta truth; +.120, -.005, +.123 with
    20 % impossible prompts.

    Which Beta is not said there. Beta(.35, 1.2) gives the first three, Beta(.6, .8) the others; P = 200, 60 data sets, four
    Monte-Carlo errors (up to .025 for the zero-inflated).
    """
    rng, ks = np.random.default_rng(0), 2 ** np.arange(6)
    cases = (((0.35, 1.2), 0.0, (0.0, -0.026, 0.013)), ((0.6, 0.8), 0.2, (0.120, -0.005, 0.123)))
    for shape, impossible, expected in cases:
        true = (1 - impossible) * PassRates(*shape).coverage([1024])[0]
        found = []
        for _ in range(60):
            right = rng.binomial(32, rng.beta(*shape, 200) * (rng.random(200) >= impossible))
            size = np.full(200, 32)
            models = [fitted_rates(right, size, impossible=one) for one in (False, True)]
            others = [np.nan if one is None else one.coverage([1024])[0] for one in models]
            line = extended(_coverage_curve(right, 32, ks).mean(axis=0), ks, [1024])[0]
            found.append([*others, line])
        errors = 4 * np.std(found, axis=0) / np.sqrt(60) + 0.003
        assert (np.abs(np.mean(found, axis=0) - true - expected) <= errors).all()


@pytest.mark.slow
def test_coverage_of_real_counts(shared_data: Path) -> None:
    """Pythia on MATH, 128 of 10,000 responses to k = 10,000: mean absolute error, and how often the 90 % band holds."""
    table = pd.read_csv(shared_data / "pythia_math_counts.csv")
    rng, ks = np.random.default_rng(0), 2 ** np.arange(8)
    errors, held = [], []
    for _, own in table.groupby("model"):
        right, total = own["correct"].to_numpy(), own["responses"].to_numpy()
        true = float((right > 0).mean())
        for _ in range(40):
            curve = _coverage_curve(rng.hypergeometric(right, total - right, 128), 128, ks)
            resampled = (
                rng.multinomial(len(right), np.ones(len(right)) / len(right), 999) / len(right) @ curve
            )
            low, high = np.quantile(extended(resampled, ks, [10_000])[:, 0], BAND)
            errors.append(abs(extended(curve.mean(axis=0), ks, [10_000])[0] - true))
            held.append(low <= true <= high)
    assert np.mean(errors) <= 0.035
    assert np.mean(held) >= 0.85


# --- moving judge


def test_a_linear_judge_settles_where_algebra_says() -> None:
    """V = A_0 + G_0 from the start on: A_inf = min(A_0 + (G_0 - G_inf)/(1 - rho), coverage)."""
    rounds = np.array([0.0, 1.0])
    for rho in (0.0, 0.25, 0.5, 0.9):
        for residual in (0.0, 0.03):
            for coverage in (0.9, 0.5):
                level = np.array([0.3, 0.42])
                expected = min(0.3 + (0.12 - residual) / (1 - rho), coverage)
                flat = np.array([0.3, 0.42, 0.42])
                found = plateau(
                    flat, np.array([0.0, 1e-9, 5.0]), np.array(coverage), rho=rho, residual=residual
                )
                assert found == pytest.approx(expected, abs=1e-6)
                if residual == 0:
                    assert plateau(level, rounds, np.array(coverage), rho=rho) == pytest.approx(
                        expected, abs=1e-6
                    )


def test_a_frozen_judge_follows_its_path() -> None:
    path, rounds = np.array([0.3, 0.5, 0.6, 0.65]), np.arange(4.0)
    assert frozen_judge(path, rounds, np.array(0.3)) == pytest.approx(0.5)
    assert frozen_judge(path, rounds, np.array(0.4)) == pytest.approx(0.55)
    assert frozen_judge(path, rounds, np.array(0.9)) == pytest.approx(0.65)
    assert plateau(path, rounds, np.array(1.0), rho=0.0) == pytest.approx(0.65)
    assert plateau(path, rounds, np.array(1.0), rho=0.0, residual=0.3) == pytest.approx(0.3)  # never starts
    inner = float(plateau(path, rounds, np.array(1.0), rho=0.0, residual=0.06))
    assert frozen_judge(path, rounds, np.array(inner)) - inner == pytest.approx(0.06, abs=1e-6)
    falling = np.array([0.4, 0.5, 0.3])
    assert plateau(falling, np.arange(3.0), np.array(1.0), rho=0.5) == pytest.approx(0.3)
    both = plateau(np.stack([path, path + 0.1]), rounds, np.array([1.0, 1.0]), rho=0.25)
    assert both[1] - both[0] == pytest.approx(0.1)


# --- signal


def test_signal_is_unbiased_for_groups() -> None:
    """1 - p^g - (1-p)^g from all groups of g of the responses."""
    rng = np.random.default_rng(0)
    utility = (rng.random((6, 7)) < 0.5).astype(float)
    for g in (2, 3, 7):
        mixed = [
            [0 < utility[row, list(one)].sum() < g for one in combinations(range(7), g)] for row in range(6)
        ]
        found = pass_at_k(utility, [g])[:, 0] + pass_at_k(1 - utility, [g])[:, 0] - 1
        np.testing.assert_allclose(found, np.mean(mixed, axis=1), atol=1e-12)


def test_responses_beyond_every_float_can_be_asked_of_the_line() -> None:
    ks = np.array([1, 2, 4, 8])
    found = extended(np.exp(-0.9 * ks**-0.4), ks, [10**9, 10**400])
    assert 0.99 < found[0] < found[1] <= 1
