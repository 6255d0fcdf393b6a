"""pass@k and majority@n against enumeration."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest

from gapbench.estimate.coverage import majority_at_n, pass_at_k
from gapbench.panel import Float, Int
from gapbench.synthetic import SCENARIOS, draw

NAN = float("nan")


def vote(utility: Float, answers: Int, pool_utility: Float, pool_answers: Int) -> float:
    """What one set of responses elects; members of an answer count with the mean of all who gave it."""
    voters = answers[answers >= 0]
    if not len(voters):
        return float(pool_utility[pool_answers < 0].mean())
    codes, counts = np.unique(voters, return_counts=True)
    tied = codes[counts == counts.max()]
    return float(np.mean([pool_utility[pool_answers == code].mean() for code in tied]))


def enumerate_majority(utility: Float, answers: Int, n: int) -> Float:
    out = []
    for row, codes in zip(utility, answers, strict=True):
        here = np.flatnonzero(~np.isnan(row))
        u, a = row[here], codes[here]
        values = [vote(u[list(s)], a[list(s)], u, a) for s in combinations(range(len(u)), n)]
        out.append(np.mean(values) if values else NAN)
    return np.array(out)


def case(seed: int, prompts: int, responses: int) -> tuple[Float, Int]:
    rng = np.random.default_rng(seed)
    answers = rng.choice([-1, 3, 10, 11], (prompts, responses), p=[0.25, 0.35, 0.25, 0.15])
    utility = (answers == 3).astype(float)
    utility[rng.random(utility.shape) < 0.1] = 0.5  # agreeing responses may be graded differently
    utility[rng.random(utility.shape) < 0.1] = NAN
    answers[0] = -1
    return utility, answers


def test_pass_at_k_is_the_share_of_subsets_with_a_right_response() -> None:
    rng = np.random.default_rng(0)
    utility = (rng.random((30, 9)) < rng.random((30, 1))).astype(float)
    utility[3, 4:] = NAN
    got = pass_at_k(utility, range(1, 10))
    for row, found in zip(utility, got, strict=True):
        size, right = int((~np.isnan(row)).sum()), int(np.nansum(row))
        want = [1 - comb(size - right, k) / comb(size, k) if k <= size else NAN for k in range(1, 10)]
        np.testing.assert_allclose(found, want, atol=1e-12)


def test_pass_at_k_of_graded_utilities_is_the_expected_best() -> None:
    utility = np.array([[0.2, 0.9, 0.9, 0.0, 0.4]])
    for k in range(1, 6):
        want = np.mean([max(subset) for subset in combinations(utility[0], k)])
        np.testing.assert_allclose(pass_at_k(utility, [k])[0, 0], want, atol=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_majority_equals_enumeration_on_small_pools(seed: int) -> None:
    utility, answers = case(seed, prompts=8, responses=8)
    got = majority_at_n(utility, answers, range(1, 9))
    want = np.stack([enumerate_majority(utility, answers, n) for n in range(1, 9)], axis=1)
    np.testing.assert_allclose(got, want, atol=1e-12)


def test_majority_by_permutations_is_unbiased() -> None:
    utility, answers = case(1, prompts=40, responses=12)
    ns = [3, 5, 8]
    want = np.stack([enumerate_majority(utility, answers, n) for n in ns], axis=1)
    error = np.stack([majority_at_n(utility, answers, ns, seed=seed) - want for seed in range(12)])
    assert np.abs(error).max() < 0.2  # 200 permutations of a number in [0, 1]: se at most .035
    assert np.abs(error).max() > 0  # they are permutations, not enumeration
    over_prompts = np.nanmean(error, axis=1)
    se = over_prompts.std(axis=0, ddof=1) / np.sqrt(len(over_prompts))
    assert (np.abs(over_prompts.mean(axis=0)) < 4 * se).all()


def test_majority_of_one_is_accuracy_and_of_all_is_the_plain_vote() -> None:
    utility, answers = case(2, prompts=10, responses=40)
    sizes = (~np.isnan(utility)).sum(axis=1)
    got = majority_at_n(utility, answers, [1])
    np.testing.assert_allclose(got[:, 0], np.nanmean(utility, axis=1), atol=1e-12)
    for row, codes, size in zip(utility, answers, sizes, strict=True):
        here = ~np.isnan(row)
        everyone = majority_at_n(row[None], codes[None], [int(size)])
        assert everyone[0, 0] == pytest.approx(
            vote(row[here], codes[here], row[here], codes[here]), abs=1e-12
        )


def test_majority_is_the_same_for_the_same_seed() -> None:
    utility, answers = case(3, prompts=20, responses=30)
    first, again, other = (majority_at_n(utility, answers, [4, 8], seed=seed) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_windows_of_permutations_leave_little_monte_carlo_error() -> None:
    """Less than 7 % of the standard error over prompts at every n > 2, so that it widens no interval by .3 %."""
    for responses, prompts in ((32, 300), (128, 100)):
        data = draw(SCENARIOS["mid"], prompts, responses, 3)
        ns = [n for n in (4, 8, 16, 64) if n < responses]
        found = np.stack([majority_at_n(data.utility, data.answers, ns, seed=seed) for seed in range(5)])
        gap = found[0] - data.utility.mean(axis=1)[:, None]
        noise = found.var(axis=0, ddof=1).mean(axis=0)
        assert (np.sqrt(noise / gap.var(axis=0, ddof=1)) < 0.07).all()


@pytest.mark.parametrize("kinds", [2, 30])
def test_windows_of_large_n_and_of_many_answers_are_unbiased(kinds: int) -> None:
    """Nested windows, windows that overlap, and pools of as many answers as responses, against enumeration."""
    rng = np.random.default_rng(0)
    answers = rng.integers(0, kinds, (30, 11))
    utility = (answers == 0).astype(float)
    ns = [3, 4, 6, 8]
    want = np.stack([enumerate_majority(utility, answers, n) for n in ns], axis=1)
    error = np.stack([majority_at_n(utility, answers, ns, seed=seed) - want for seed in range(12)]).mean(
        axis=1
    )
    spread = error.std(axis=0, ddof=1) / np.sqrt(len(error))
    assert (np.abs(error.mean(axis=0)) < 4 * spread + 1e-12).all()
