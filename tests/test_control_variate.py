"""The control variate: no bias whatever the control, and never worse than doing without by more than noise."""

from __future__ import annotations

import numpy as np
import pytest

from gapbench.estimate.case_control import case_control, case_control_gap
from gapbench.estimate.control_variate import controlled
from gapbench.estimate.intervals import estimate
from gapbench.estimate.quantity import mean
from gapbench.estimate.selection import BestOf, Order
from gapbench.synthetic import SCENARIOS, Draw, draw, truth

P, SETS, N, R = 80, 250, 16, 4
ALL = np.ones((P * SETS, N), dtype=bool)


@pytest.fixture(scope="module")
def data() -> Draw:
    return draw(SCENARIOS["mid"], P * SETS, N, seed=11)


def columns(data: Draw, noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gaps by 8 verdicts on 4 + 4 responses, and by a cheap score on these and on all responses."""
    verified = case_control(data.utility, R)
    dear = case_control_gap(data.utility, data.counts.astype(float), verified, [4])[:, 0]
    cheap_score = data.latent + noise * np.random.default_rng(3).standard_normal(data.latent.shape)
    cheap = case_control_gap(data.utility, cheap_score, verified, [4])[:, 0]
    everywhere = Order.of(cheap_score, ALL).rank(data.utility).gap([BestOf(4)])[:, 0]
    return dear, cheap, everywhere


@pytest.mark.parametrize("noise", [0.0, 1.0, 1e6])
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_unbiased_covering_and_no_worse_than_without(data: Draw, noise: float, share: float) -> None:
    dear, cheap, everywhere = columns(data, noise)
    known = truth(SCENARIOS["mid"], "gap", "best@4")
    with_it, without, covered = [], [], []
    for start in range(0, P * SETS, P):
        rows = slice(start, start + P)
        target = np.where(np.arange(P) < share * P, dear[rows], np.nan)
        found = estimate(controlled(target, cheap[rows], everywhere[rows], seed=start), method="t")
        with_it.append(found.value)
        covered.append(found.low <= known <= found.high)
        without.append(np.nanmean(target))
    error = np.std(with_it) / np.sqrt(SETS)
    assert abs(np.mean(with_it) - known) < 4 * error
    ratio = np.var(with_it) / np.var(without)
    allowed = 3 * np.sqrt(4 / SETS)  # of a variance ratio, were the two independent
    assert ratio < 1 + allowed
    if noise == 0 and share < 1:
        assert ratio < 0.8, "a cheap score that knows much must help"
    coverage = np.mean(covered)
    assert coverage + 3 * np.sqrt(coverage * (1 - coverage) / SETS) >= 0.93


def test_with_everything_measured_and_nothing_to_learn_within_it_is_the_plain_mean() -> None:
    rng = np.random.default_rng(0)
    target, control = rng.normal(size=60), rng.normal(size=(60, 2))
    assert estimate(controlled(target, control)).se == pytest.approx(estimate(mean(target)).se)


def test_half_as_wide_where_the_control_says_nearly_all() -> None:
    rng = np.random.default_rng(1)
    control = rng.normal(size=1000)
    target = np.where(rng.random(1000) < 0.1, 2 * control + 0.1 * rng.normal(size=1000) + 5, np.nan)
    found = estimate(controlled(target, control))
    # Of 2 c + e on 100 of 1000 the e stays on the 100 and the 2 c on the 1000.
    assert found.se == pytest.approx(np.sqrt(4 / 1000 + 0.01 / 100), rel=0.2)
    assert found.value == pytest.approx(5, abs=4 * found.se)


def test_useless_controls_and_few_prompts() -> None:
    rng = np.random.default_rng(2)
    target = rng.normal(size=40)
    constant = controlled(np.where(np.arange(40) < 30, target, np.nan), np.ones(40))
    assert constant.value() == pytest.approx(target[:30].mean())
    few = controlled(np.where(np.arange(40) < 15, target, np.nan), target)
    assert few.value() == pytest.approx(target[:15].mean()), "no coefficient from so few"


def test_prompts_of_a_cluster_learn_from_other_clusters_only() -> None:
    """Two copies of every prompt: a split through the copies would learn each from itself."""
    rng = np.random.default_rng(4)
    once = np.where(np.arange(100) < 50, rng.normal(size=100), np.nan)
    control = rng.normal(size=100)
    single = controlled(once, control, clusters=np.arange(100))
    double = controlled(np.tile(once, 2), np.tile(control, 2), clusters=np.tile(np.arange(100), 2))
    assert double.value() == pytest.approx(single.value(), abs=0.02)


def test_a_prompt_without_responses_leaves() -> None:
    target = np.array([1.0, 2.0, np.nan, np.nan])
    control = np.array([0.5, 0.1, 0.3, np.nan])
    found = estimate(controlled(target, control))
    assert found.n_prompts == 3
    assert found.value == pytest.approx(1.5)
