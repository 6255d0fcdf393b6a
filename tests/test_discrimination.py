"""AUC and rates against counting pairs."""

from __future__ import annotations

import numpy as np
import pytest

from gapbench.estimate.discrimination import at_threshold, auc_between, auc_within, within_wins
from gapbench.estimate.intervals import estimate
from gapbench.estimate.selection import BestOf, Order, mean_response, passes, weighted_gap
from gapbench.panel import Float

NAN = float("nan")


def case(seed: int, graded: bool = False) -> tuple[Float, Float]:
    rng = np.random.default_rng(seed)
    utility = rng.random((12, 9)) if graded else (rng.random((12, 9)) < rng.random((12, 1))).astype(float)
    score = np.round(rng.random((12, 9)) + 0.4 * utility, 1)
    score[rng.random(score.shape) < 0.1] = NAN
    utility[rng.random(utility.shape) < 0.1] = NAN
    return utility, score


def count_pairs(utility: Float, score: Float, same_prompt: bool) -> tuple[float, float]:
    """Weighted count of (right, wrong) pairs in order, and of all pairs, over two different responses."""
    key = np.where(np.isnan(score), -np.inf, score)
    cells = [tuple(cell) for cell in np.argwhere(~np.isnan(utility))]
    wins = pairs = 0.0
    for a in cells:
        for b in cells:
            if a != b and (a[0] == b[0]) == same_prompt:
                weight = utility[a] * (1 - utility[b])
                pairs += weight
                wins += weight * (float(key[a] > key[b]) + 0.5 * float(key[a] == key[b]))
    return wins, pairs


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_auc_equals_counting_pairs(seed: int, graded: bool) -> None:
    utility, score = case(seed, graded)
    order = Order.of(score, ~np.isnan(utility))
    wins, pairs = count_pairs(utility, score, same_prompt=True)
    assert auc_within(order, utility).value() == pytest.approx(wins / pairs, abs=1e-12)
    assert within_wins(order, utility)[1].sum() == pytest.approx(pairs, abs=1e-9)
    wins, pairs = count_pairs(utility, score, same_prompt=False)
    assert auc_between(order, utility, score).value() == pytest.approx(wins / pairs, abs=1e-12)


def test_between_prompts_sees_what_within_does_not() -> None:
    """A score that only knows which prompts are easy."""
    rng = np.random.default_rng(0)
    easy = rng.random((400, 1))
    utility = (rng.random((400, 20)) < easy).astype(float)
    score = np.repeat(easy, 20, axis=1)
    order = Order.of(score, np.ones(utility.shape, bool))
    assert auc_within(order, utility).value() == 0.5
    assert auc_between(order, utility, score).value() > 0.75


@pytest.mark.slow
def test_error_of_auc_between_is_that_of_a_u_statistic() -> None:
    """The reported standard error against the spread over repeated data sets."""
    rng = np.random.default_rng(3)
    values, errors = [], []
    for _ in range(300):
        p = rng.beta(0.6, 0.8, (60, 1))
        utility = (rng.random((60, 12)) < p).astype(float)
        score = utility + 2 * rng.standard_normal((60, 1)) + rng.standard_normal(utility.shape)
        found = estimate(auc_between(Order.of(score, utility >= 0), utility, score), method="t")
        values.append(found.value)
        errors.append(found.se)
    assert np.mean(errors) == pytest.approx(np.std(values, ddof=1), rel=0.12)


def test_rates_are_pooled_shares() -> None:
    utility, score = case(4)
    utility = np.where(
        np.isnan(utility), 0.0, utility
    )  # equal N, so that pooled means are shares of responses
    passed = passes(score, 0.7).astype(bool)
    right = utility == 1
    found = {name: quantity.value() for name, quantity in at_threshold(utility, score, 0.7).items()}
    assert found["tpr"] == pytest.approx(passed[right].mean(), abs=1e-12)
    assert found["fpr"] == pytest.approx(passed[~right].mean(), abs=1e-12)
    assert found["youden"] == pytest.approx(passed[right].mean() - passed[~right].mean(), abs=1e-12)
    assert found["precision"] == pytest.approx(right[passed].mean(), abs=1e-12)
    assert found["verifier_gain"] == pytest.approx(right[passed].mean() - right.mean(), abs=1e-12)
    macro = [right[i][passed[i]].mean() if passed[i].any() else right[i].mean() for i in range(len(right))]
    assert found["precision_ceiling"] == pytest.approx(np.mean(macro), abs=1e-12)


def test_gap_of_a_binary_verifier_is_its_identity() -> None:
    """gap(x) = p(1-p)(TPR-FPR)/A for each prompt (measurement.md, section 3)."""
    rng = np.random.default_rng(8)
    utility = (rng.random((200, 16)) < 0.5).astype(float)
    score = (rng.random((200, 16)) < 0.3 + 0.3 * utility).astype(float)
    p, accept = utility.mean(axis=1), score.mean(axis=1)
    keep = (p > 0) & (p < 1) & (accept > 0)
    tpr = (score * utility).sum(axis=1)[keep] / utility.sum(axis=1)[keep]
    fpr = (score * (1 - utility)).sum(axis=1)[keep] / (1 - utility).sum(axis=1)[keep]
    want = p[keep] * (1 - p[keep]) * (tpr - fpr) / accept[keep]
    np.testing.assert_allclose(weighted_gap(utility, passes(score, 0.5))[keep], want, atol=1e-12)


def test_pooled_gap_splits_into_prompt_mix_and_weighted_gap() -> None:
    from gapbench.estimate.quantity import ratio, ratio_less_mean

    utility, score = case(9, graded=True)
    present = ~np.isnan(utility)
    weights = np.where(np.isnan(score), 0.0, score)
    p, accept = mean_response(utility, present), mean_response(weights, present)
    pooled = ratio_less_mean(mean_response(weights * utility, present), accept, p).value()
    mix = ratio_less_mean(accept * p, accept, p).value()
    within = ratio(accept * weighted_gap(utility, weights), accept).value()
    assert pooled == pytest.approx(mix + within, abs=1e-12)


def test_best_of_two_is_the_auc_identity() -> None:
    """E[best of 2] - p = p(1-p)(2 AUC - 1) per prompt with sampling without replacement."""
    utility, score = case(11)
    order = Order.of(score, ~np.isnan(utility))
    wins, pairs = within_wins(order, utility)
    size = order.size
    want = (2 * wins - pairs) / (size * (size - 1))
    np.testing.assert_allclose(order.rank(utility).gap([BestOf(2)])[:, 0], want, atol=1e-12)
