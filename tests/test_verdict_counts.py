"""Fewer verdicts against enumeration and known truth; the limit against curves that have one."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

from gapbench.estimate import verdict_counts
from gapbench.estimate.intervals import combine
from gapbench.estimate.resampling import Resampling
from gapbench.estimate.selection import BestOf, Order
from gapbench.estimate.verdict_counts import extrapolate, gap_by_verdicts, limit_of
from gapbench.panel import Float, Scores, VerdictCounts
from gapbench.synthetic import SCENARIOS, draw, truth

NAN = float("nan")


def gap(utility: Float, score: Float, n: int) -> float:
    order = Order.of(score[None], np.ones((1, len(score)), dtype=bool))
    return float(order.rank(utility[None]).gap([BestOf(n)])[0, 0])


@pytest.mark.parametrize("graded", [False, True])
def test_thinning_is_unbiased_for_every_choice_of_verdicts(graded: bool) -> None:
    """One prompt of 3 responses x 4 verdicts, against all ways of keeping m verdicts of each response."""
    rng = np.random.default_rng(0)
    verdicts = (rng.random((3, 4)) < [[0.3], [0.6], [0.5]]).astype(float)
    utility = rng.random(3) if graded else np.array([0.0, 1.0, 0.0])
    copies = 4000
    got = gap_by_verdicts(
        np.repeat(utility[None], copies, axis=0), Scores(np.repeat(verdicts[None], copies, axis=0)), 2
    )
    for m in (1, 2, 3, 4):
        kept = [[row[list(chosen)].mean() for chosen in combinations(range(4), m)] for row in verdicts]
        want = np.mean([gap(utility, np.array(scores), 2) for scores in product(*kept)])
        error = got[:, m - 1].std() / np.sqrt(copies)
        assert abs(got[:, m - 1].mean() - want) <= 4 * error + 1e-12
    assert got[:, 0].std() > 0
    np.testing.assert_allclose(got[:, 3], gap(utility, verdicts.mean(axis=1), 2))


def test_scores_that_are_not_binary_are_averaged_over_subsets_of_replicates() -> None:
    rng = np.random.default_rng(1)
    utility, values = rng.random((6, 5)), rng.random((6, 5, 3))
    got = gap_by_verdicts(utility, Scores(values), 2)
    for m in (1, 2, 3):
        want = [
            [gap(u, v[:, list(chosen)].mean(axis=1), 2) for chosen in combinations(range(3), m)]
            for u, v in zip(utility, values, strict=True)
        ]
        np.testing.assert_allclose(got[:, m - 1], np.mean(want, axis=1), atol=1e-12)


def test_counts_stand_for_verdicts() -> None:
    rng = np.random.default_rng(2)
    values = (rng.random((20, 8, 5)) < 0.4).astype(float)
    values[rng.random(values.shape) < 0.2] = NAN
    plain = Scores(values)
    counts = plain.counts
    assert counts is not None
    compact = VerdictCounts(counts.yes.astype(np.uint8), counts.valid.astype(np.uint8), 5)
    np.testing.assert_array_equal(compact.mean, plain.mean)
    utility = rng.random((20, 8))
    np.testing.assert_array_equal(
        gap_by_verdicts(utility, compact, 3, seed=4), gap_by_verdicts(utility, plain, 3, seed=4)
    )
    assert Scores(values + 0.5).counts is None


def test_constant_verdicts_have_no_gap_at_any_number() -> None:
    utility = np.random.default_rng(3).random((10, 6))
    for value in (0.0, 1.0):
        assert (gap_by_verdicts(utility, Scores(np.full((10, 6, 4), value)), 3) == 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mid", "null", "hacked"])
def test_gap_at_fewer_verdicts_is_that_of_drawing_fewer(name: str) -> None:
    data = draw(SCENARIOS[name], 6000, 16, 0)
    got = gap_by_verdicts(data.utility, Scores(data.verdicts.astype(float)), 8)
    for m in (1, 2, 4, 8):
        error = got[:, m - 1].std() / np.sqrt(len(got))
        assert abs(got[:, m - 1].mean() - truth(SCENARIOS[name], "gap", "best@8", m=m)) < 4 * error


@pytest.mark.parametrize("offset", [0.0, 0.5, 1.3, 6.0])
def test_a_curve_of_the_model_is_taken_to_its_limit(offset: float) -> None:
    m = np.arange(1, 9)
    fit = extrapolate(0.3 - 0.4 / (m + offset))
    assert fit.rising
    assert fit.limit == pytest.approx(0.3, abs=0.002)  # the offset is searched on a grid
    assert fit.c == pytest.approx(offset, rel=0.1, abs=0.05)


def test_curves_that_do_not_rise_or_do_not_bend_end_at_their_last_point() -> None:
    m = np.arange(1, 9)
    curves = np.stack([0.2 - 0.01 * m, 0.01 * m, 0.002 * m**2, np.full(8, 0.1)])
    fit = extrapolate(curves)
    assert not fit.rising.any()
    np.testing.assert_array_equal(fit.limit, curves[:, -1])


def test_two_verdicts_give_the_line_in_one_over_m_and_one_gives_nothing() -> None:
    assert extrapolate(np.array([0.1, 0.15])).limit == pytest.approx(0.2)
    single = extrapolate(np.array([0.1]))
    assert (single.limit, single.rising) == (0.1, False)


def test_truth_of_the_mid_scenario_is_near_its_limit() -> None:
    """The model's own curve at m = 1..8 leads to its gap at endlessly many verdicts within .002."""
    for name in ("mid", "hacked", "high_accuracy"):
        curve = np.array([truth(SCENARIOS[name], "gap", "best@8", m=m) for m in range(1, 9)])
        limit = truth(SCENARIOS[name], "gap", "best@8", m=float("inf"))
        assert extrapolate(curve).limit == pytest.approx(limit, abs=0.002)


def test_limit_has_an_interval_and_says_where_it_is_none() -> None:
    rng = np.random.default_rng(5)
    m = np.arange(1, 9)
    rising = 0.3 - 0.4 / (m + 1) + 0.1 * rng.standard_normal((60, 1))
    quantities = [limit_of(rising), limit_of(rising[:, ::-1])]
    up, down = (combine([one]) for one in Resampling(np.arange(60), seed=0).moments(quantities))
    assert up.value == pytest.approx(quantities[0].value())
    assert up.low < up.value < up.high
    assert up.se == pytest.approx(0.1 / np.sqrt(60), rel=0.25)
    assert "not_extrapolated" not in up.flags
    assert "not_extrapolated" in down.flags
    assert down.value == pytest.approx(rising[:, 0].mean())


def test_tallies_are_thinned_as_responses_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both roads give the same gap in the mean, and the same one exactly with all verdicts; some are missing."""
    rng = np.random.default_rng(5)
    utility = (rng.random((1500, 20)) < 0.5).astype(float)
    values = (rng.random((1500, 20, 4)) < 0.3 + 0.3 * utility[:, :, None]).astype(float)
    values[rng.random(values.shape) < 0.1] = NAN
    utility[rng.random(utility.shape) < 0.1] = NAN
    tallied = gap_by_verdicts(utility, Scores(values), 4)
    monkeypatch.setattr(verdict_counts, "TALLIES_PER_RESPONSE", 0)
    thinned = gap_by_verdicts(utility, Scores(values), 4)
    np.testing.assert_allclose(tallied[:, -1], thinned[:, -1], atol=1e-12)
    error = (tallied - thinned).std(axis=0) / np.sqrt(len(utility))
    assert (np.abs((tallied - thinned).mean(axis=0)) <= 4 * error + 1e-12).all()
    assert (error[:-1] > 0).all()


def test_monte_carlo_error_of_thinning_is_small() -> None:
    """At 32 responses of the mid scenario it adds less than 1 % to the standard error at any number of verdicts."""
    data = draw(SCENARIOS["mid"], 300, 32, 0)
    counts = VerdictCounts(data.counts, np.full_like(data.counts, 8), 8)
    curves = np.stack([gap_by_verdicts(data.utility, counts, 8, seed=seed) for seed in range(6)])
    noise, total = curves.var(axis=0, ddof=1).mean(axis=0), curves[0].var(axis=0, ddof=1)
    assert (np.sqrt(total / (total - noise)) < 1.01).all()
