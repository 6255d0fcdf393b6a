"""Rank filters and score weights against enumeration of all subsets and tie breaks."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gapbench.estimate.selection import (
    BestOf,
    Order,
    Random,
    Ranked,
    TopFraction,
    TopOf,
    TopQuantile,
    corrected_gap,
    passes,
    soft_weights,
    threshold_at_n,
    weighted_gap,
)
from gapbench.panel import Float

NAN = float("nan")


def ranked(utility: Float, score: Float) -> Ranked:
    return Order.of(score, ~np.isnan(utility)).rank(utility)


def random_case(seed: int, prompts: int = 6, responses: int = 7) -> tuple[Float, Float]:
    """Ties, missing scores, absent responses, graded utilities; one prompt with nothing scored."""
    rng = np.random.default_rng(seed)
    utility = rng.integers(0, 5, (prompts, responses)) / 4.0
    score = rng.integers(0, 3, (prompts, responses)) / 2.0
    score[rng.random(score.shape) < 0.2] = NAN
    score[0] = NAN
    utility[rng.random(utility.shape) < 0.15] = NAN
    utility[1, 2:] = NAN
    return utility, score


def brute(utility: Float, score: Float, n: int, choose: Callable[[Float, Float], float]) -> Float:
    """Average of `choose(utilities, scores)` over all subsets of n responses of each prompt."""
    out = []
    for row, keys in zip(utility, np.where(np.isnan(score), -np.inf, score), strict=True):
        here = np.flatnonzero(~np.isnan(row))
        subsets = [list(subset) for subset in combinations(here, n)]
        out.append(np.mean([choose(row[s], keys[s]) for s in subsets]) if subsets else NAN)
    return np.array(out)


def top_k(k: int) -> Callable[[Float, Float], float]:
    """Mean utility of the k best scores, averaged over all ways of breaking the tie at the cut."""

    def choose(utility: Float, score: Float) -> float:
        cut = np.sort(score)[-k]
        above, level = score > cut, score == cut
        return (utility[above].sum() + (k - above.sum()) * utility[level].mean()) / k

    return choose


@pytest.mark.parametrize("seed", range(20))
def test_best_of_n_equals_all_subsets(seed: int) -> None:
    utility, score = random_case(seed)
    ns = list(range(1, 8))
    got = ranked(utility, score).select([BestOf(n) for n in ns])
    want = np.stack([brute(utility, score, n, top_k(1)) for n in ns], axis=1)
    np.testing.assert_allclose(got, want, atol=1e-12, rtol=0)
    assert np.isnan(got[1, 2:]).all()  # two responses are too few for best of 3


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("k", "n"), [(1, 3), (2, 2), (2, 5), (3, 4), (4, 7)])
def test_top_k_of_n_equals_all_subsets(seed: int, k: int, n: int) -> None:
    utility, score = random_case(seed)
    got = ranked(utility, score).select([TopOf(k, n)])[:, 0]
    np.testing.assert_allclose(got, brute(utility, score, n, top_k(k)), atol=1e-12, rtol=0)


@pytest.mark.parametrize("n", [1, 2, 5, 64, 999, 1000])
def test_weights_of_many_ranks_equal_exact_binomials(n: int) -> None:
    from math import comb

    size = 1000
    want = [comb(j - 1, n - 1) / comb(size, n) for j in range(1, size + 1)]
    np.testing.assert_allclose(BestOf(n).weights(size), want, rtol=1e-11, atol=1e-300)
    np.testing.assert_allclose(TopOf(1, n).weights(size), want, rtol=1e-9, atol=1e-300)


def test_top_fraction_takes_a_part_of_the_response_at_the_cut() -> None:
    utility = np.array([[0.0, 0.2, 0.4, 1.0, NAN]])
    score = np.array([[1.0, 2.0, 3.0, 4.0, 9.0]])
    got = ranked(utility, score).select([TopFraction(0.5), TopFraction(0.375), TopFraction(1.0), Random()])[0]
    np.testing.assert_allclose(got, [0.7, (1.0 + 0.4 / 2) / 1.5, 0.4, 0.4], atol=1e-15)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("n", [1, 2, 4, 7])
def test_threshold_at_n_equals_all_subsets(seed: int, n: int) -> None:
    utility, score = random_case(seed)

    def choose(u: Float, s: Float) -> float:
        passed = s >= 0.5
        return u[passed].mean() if passed.any() else u.mean()

    got = threshold_at_n(utility, score, 0.5, n)
    np.testing.assert_allclose(got, brute(utility, score, n, choose), atol=1e-12, rtol=0)


@pytest.mark.parametrize("seed", range(10))
def test_threshold_at_n_is_best_of_n_on_pass_or_fail(seed: int) -> None:
    utility, score = random_case(seed)
    for n in (1, 3, 6):
        np.testing.assert_allclose(
            threshold_at_n(utility, score, 0.5, n),
            ranked(utility, passes(score, 0.5)).select([BestOf(n)])[:, 0],
            atol=1e-12,
        )


def test_weighted_gap_by_hand() -> None:
    utility = np.array([[1.0, 0.0, 0.5, NAN], [1.0, 0.0, 0.0, 0.0]])
    score = np.array([[0.75, 0.25, NAN, 1.0], [0.1, 0.2, NAN, 0.1]])
    soft = weighted_gap(utility, soft_weights(score, "probability", per_prompt=True))
    np.testing.assert_allclose(soft, [0.75 - 0.5, 0.25 - 0.25], atol=1e-15)
    hard = weighted_gap(utility, passes(score, 0.5))
    np.testing.assert_allclose(hard, [0.5, 0.0], atol=1e-15)  # where nothing passes the gap is 0


def test_soft_weights_survive_very_small_likelihoods() -> None:
    score = np.array([[-2000.0, -2001.0, NAN], [-1.0, -2.0, NAN]])
    weights = soft_weights(score, "logprob", per_prompt=True)
    np.testing.assert_allclose(weights, [[1.0, np.exp(-1), 0.0]] * 2)
    pooled = soft_weights(score, "logprob", per_prompt=False)
    np.testing.assert_allclose(pooled[1], [1.0, np.exp(-1), 0.0])


@pytest.mark.parametrize("value", [0.3, 1.0, NAN, 0.0])
def test_constant_score_has_gap_exactly_zero(value: float) -> None:
    rng = np.random.default_rng(1)
    utility = np.round(rng.random((40, 13)), 1)
    utility[rng.random(utility.shape) < 0.1] = NAN
    score = np.full(utility.shape, value)
    gaps = ranked(utility, score).gap([BestOf(2), BestOf(8), TopOf(2, 4), TopFraction(0.3)])
    sizes = (~np.isnan(utility)).sum(axis=1)
    assert (gaps[sizes >= 8] == 0).all()
    for scale in ("probability", "logprob"):
        assert (weighted_gap(utility, soft_weights(score, scale, per_prompt=True)) == 0).all()
    assert (weighted_gap(utility, passes(score, 0.5)) == 0).all()


def test_unanimous_prompt_has_gap_exactly_zero() -> None:
    utility = np.repeat([[0.0], [1.0], [0.3]], 11, axis=1)
    score = np.random.default_rng(0).random(utility.shape)
    assert (ranked(utility, score).gap([BestOf(n) for n in (2, 5, 11)]) == 0).all()


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_response_order_and_monotone_rescaling_do_not_matter(seed: int) -> None:
    utility, score = random_case(seed)
    filters = [BestOf(2), BestOf(4), TopOf(2, 3)]
    want = ranked(utility, score).select(filters)
    shuffle = np.random.default_rng(seed).permutation(utility.shape[1])
    np.testing.assert_allclose(
        ranked(utility[:, shuffle], score[:, shuffle]).select(filters), want, atol=1e-12
    )
    np.testing.assert_allclose(ranked(utility, np.exp(3 * score) - 7).select(filters), want, atol=1e-12)


def test_tie_averaged_weights_give_the_selected_utility() -> None:
    utility, score = random_case(5)
    order = Order.of(score, ~np.isnan(utility))
    selected = (order.tie_averaged(BestOf(2)) * order.gather(utility)).sum(axis=1)
    np.testing.assert_allclose(selected, order.rank(utility).select([BestOf(2)])[:, 0], atol=1e-12)


def test_prompt_without_responses_has_no_number() -> None:
    utility = np.array([[NAN, NAN], [1.0, 0.0]])
    got = ranked(utility, np.array([[0.5, 0.5], [0.9, 0.1]]))
    np.testing.assert_array_equal(got.select([BestOf(2)])[:, 0], [NAN, 1.0])
    np.testing.assert_array_equal(weighted_gap(utility, np.ones((2, 2))), [NAN, 0.0])


@pytest.mark.parametrize("q", [0.25, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("size", [8, 9])
def test_top_quantile_is_twice_the_whole_less_all_halves(q: float, size: int) -> None:
    rng = np.random.default_rng(size)
    utility, score = rng.random((3, size)), rng.permutation(size * 3).reshape(3, size) / 10
    got = ranked(utility, score).select([TopQuantile(q)])[:, 0]
    half = size // 2
    for u, s, value in zip(utility, score, got, strict=True):
        halves = [
            ranked(u[None, list(chosen)], s[None, list(chosen)]).select([TopFraction(q)])[0, 0]
            for chosen in combinations(range(size), half)
        ]
        whole = ranked(u[None], s[None]).select([TopFraction(q)])[0, 0]
        assert value == pytest.approx(whole + (whole - np.mean(halves)) * half / (size - half), abs=1e-12)


def test_corrected_gap_is_the_jackknife() -> None:
    utility, score = random_case(7)
    weights = np.where(np.isnan(score), 0.0, score)
    got = corrected_gap(utility, weights)
    for u, w, value in zip(utility, weights, got, strict=True):
        here = np.flatnonzero(~np.isnan(u))
        whole = weighted_gap(u[None, here], w[None, here])[0]
        if len(here) < 2:
            assert value == 0.0 or np.isnan(value)
            continue
        without = [weighted_gap(u[None, here[here != gone]], w[None, here[here != gone]])[0] for gone in here]
        assert value == pytest.approx(len(here) * whole - (len(here) - 1) * np.mean(without), abs=1e-12)


def test_corrected_gap_is_exactly_zero_without_a_choice() -> None:
    rng = np.random.default_rng(2)
    utility = rng.random((20, 9))
    assert (corrected_gap(utility, np.ones((20, 9))) == 0).all()
    assert (corrected_gap(utility, np.zeros((20, 9))) == 0).all()
    assert (corrected_gap(np.repeat([[0.3], [1.0]], 9, axis=1), rng.random((2, 9))) == 0).all()
