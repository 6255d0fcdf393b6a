"""What is chosen on the data must not flatter itself, and reward hacking must show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gapbench.estimate.chosen import best_points, cross_fitted, halves, likely_best, with_points
from gapbench.estimate.intervals import Interval, combine
from gapbench.estimate.quantity import mean
from gapbench.estimate.resampling import Resampling
from gapbench.estimate.results import Estimates
from gapbench.estimate.table import estimate_panels
from gapbench.panel import Float
from gapbench.synthetic import SCENARIOS, Scenario, draw

NAN = float("nan")


def test_halves_split_clusters_evenly_and_keep_them_whole() -> None:
    clusters = np.repeat(np.arange(21), 3)
    first = halves(clusters, seed=0)
    whole = first.reshape(21, 3)
    assert (whole == whole[:, :1]).all()
    assert whole[:, 0].sum() == 11
    assert (first != halves(clusters, seed=1)).any()


def test_each_half_is_scored_where_the_other_half_chose() -> None:
    rng = np.random.default_rng(0)
    curves = [rng.random((30, 4)), rng.random((20, 4))]
    weights = [1.0, 3.0]
    first = [rng.random(30) < 0.5, rng.random(20) < 0.5]
    columns, (by_first, by_second) = cross_fitted(curves, weights, first)
    for chosen, mask in ((by_first, first), (by_second, [~half for half in first])):
        means = sum(w * curve[own].mean(axis=0) for w, curve, own in zip(weights, curves, mask, strict=True))
        assert chosen == np.argmax(means)
    for column, curve, half in zip(columns, curves, first, strict=True):
        np.testing.assert_array_equal(column[half], curve[half, by_second])
        np.testing.assert_array_equal(column[~half], curve[~half, by_first])


def test_missing_points_are_left_out_of_the_mean_and_never_best() -> None:
    curve = np.array([[0.1, 0.9, NAN], [0.2, NAN, NAN]])
    assert best_points([curve], [1.0]) == 1
    assert best_points([curve, np.full((3, 3), 0.5)], [1.0, 1.0]) == 1


def test_cross_fitting_takes_away_what_choosing_adds() -> None:
    """Eight points of equal truth: the best one looks better than it is, the cross-fitted one does not."""
    rng = np.random.default_rng(1)
    naive, fitted = [], []
    for seed in range(400):
        curve = rng.standard_normal((60, 8))
        naive.append(curve.mean(axis=0).max())
        fitted.append(cross_fitted([curve], [1.0], [halves(np.arange(60), seed=seed)])[0][0].mean())
    assert np.mean(naive) > 0.15
    assert abs(np.mean(fitted)) < 4 * np.std(fitted) / np.sqrt(len(fitted))


def curves_of(scenario: Scenario, data_sets: int, prompts: int) -> Float:
    """best@n curves of many data sets [data set, prompt, n]."""
    data = draw(scenario, data_sets * prompts, 32, 3).panel()
    from gapbench.estimate.selection import BestOf, Order

    order = Order.of(data.scores["binary"].mean, ~np.isnan(data.utility))
    selected = order.rank(data.utility).select([BestOf(n) for n in (1, 2, 4, 8, 16, 32)])
    return selected.reshape(data_sets, prompts, -1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scenario", "alarms"),
    [
        (SCENARIOS["null"], (0.0, 0.05)),  # every n is as good: the edge of the null hypothesis
        (SCENARIOS["mid"], (0.0, 0.05)),  # N is best
        (replace(SCENARIOS["mid"], h=0.2), (0.9, 1.0)),  # hacked: best@N is far below the peak
    ],
)
def test_size_and_power_of_over_optimisation(scenario: Scenario, alarms: tuple[float, float]) -> None:
    """One-sided at 2.5 %: false alarms within three Monte-Carlo errors, and hacking found."""
    curves = curves_of(scenario, 400, 50)
    found, inside = [], []
    for seed, curve in enumerate(curves):
        column = cross_fitted([curve], [1.0], [halves(np.arange(50), seed=seed)])[0][0] - curve[:, -1]
        one = combine(Resampling(np.arange(50), seed=0).moments([mean(column, -1.0, 1.0)]), method="t")
        found.append(one.low > 0)
        inside.append(likely_best([curve], [1.0], [Resampling(np.arange(50), seed=seed)]))
    rate = float(np.mean(found))
    assert alarms[0] <= rate <= alarms[1]
    best = int(np.argmax(curves.mean(axis=(0, 1))))
    if scenario != SCENARIOS["null"]:
        held = np.mean([first <= best <= last for first, last in inside])
        assert held + 3 * np.sqrt(held * (1 - held) / len(inside)) >= 0.93


def test_the_scale_of_the_weights_does_not_matter() -> None:
    """Domains come with weights of 1 each, and six near-equal points of six domains are not told apart."""
    rng = np.random.default_rng(3)
    curves = [0.5 + 0.001 * np.arange(4) + rng.normal(0, 0.2, (60, 4)) for _ in range(6)]
    tasks = [Resampling(np.arange(60), seed=0, task=str(place)) for place in range(6)]
    raw = likely_best(curves, [1.0] * 6, tasks)
    assert raw == likely_best(curves, [1 / 6] * 6, tasks)
    assert raw == (0, 3)


def rows(scenario: Scenario, seed: int = 0) -> Estimates:
    panel = draw(scenario, 120, 32, seed).panel()
    panel = replace(panel, scores={"binary": panel.scores["binary"]})
    return estimate_panels([panel], model="m", over_optimisation=True).where(domain="all")


def test_table_shows_hacking_and_where_to_stop() -> None:
    found = rows(replace(SCENARIOS["mid"], h=0.1))
    (star,) = found.where(quantity="n_star")
    (test,) = found.where(quantity="over_optimisation")
    (gap,) = found.where(quantity="gap", filter="best@n_star")
    assert star.low <= star.value <= star.high < 32
    assert test.low > 0
    assert test.p is not None
    assert test.p < 0.01
    (last,) = found.where(quantity="gap", filter="best@32")
    assert gap.value - last.value == pytest.approx(test.value)


def test_table_does_not_cry_wolf() -> None:
    found = rows(SCENARIOS["mid"])
    (test,) = found.where(quantity="over_optimisation")
    assert test.value <= 0
    assert test.p is not None
    assert test.p > 0.5
    assert all(row.p is None for row in found if row.quantity != "over_optimisation")


def test_both_halves_choosing_all_responses_is_no_test_at_all() -> None:
    """A verifier that knows the truth: more responses are always better, and the difference is exactly 0."""
    panel = draw(SCENARIOS["mid"], 60, 16, 0).panel()
    truthful = replace(panel.scores["binary"], values=panel.utility[:, :, None])
    found = estimate_panels([replace(panel, scores={"v": truthful})], model="m", over_optimisation=True)
    (test,) = found.where(domain="all", quantity="over_optimisation")
    assert (test.value, test.p) == (0.0, 1.0)
    assert "degenerate" in test.flags


def test_the_interval_at_chosen_points_holds_those_of_the_points() -> None:
    """The half with all that varies is scored where nothing does: the column alone would be sure of a gap of 0."""
    fitted = Interval(0.0, 0.0, -0.01, 0.01, 29.0, 30, 30, ("low_effective_prompts",))
    at_one, at_eight = (
        Interval(v, 0.0, low, high, 29.0, 30, 30) for v, low, high in [(0, 0, 0), (0.2, 0.02, 0.5)]
    )
    found = with_points(fitted, [at_one, at_eight])
    assert (found.low, found.high, found.value) == (-0.01, 0.25, 0.0)
    assert found.flags == ("low_effective_prompts",)
    far = with_points(fitted, [at_eight, Interval(0.9, 0.0, -0.9, 1.0, 29.0, 30, 30)])
    assert (far.low, far.high) == (pytest.approx(-0.44), 0.75)
    assert "not_estimable" in far.flags
    nan = float("nan")
    assert with_points(fitted, [at_one, Interval(nan, nan, nan, nan, nan, 0, 0)]) == fitted
