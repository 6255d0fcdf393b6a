"""Series against known truth: status words, plateau, arrival, forecasts, joint fit, the table anyone can bring."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize, minimize_scalar

from benchmarks.trajectory_size import PLATEAU, TRUTHS, plateau, rolling, status
from gapbench.errors import UserError
from gapbench.panel import Float
from gapbench.report.trajectory_text import series_sentences
from gapbench.trajectory.fitting import CUT, Observed, profile, survivors
from gapbench.trajectory.laws import (
    EXPONENTIAL,
    FORECAST_LAWS,
    HYPERBOLIC,
    LOGISTIC,
    PLATEAU_LAWS,
    Clock,
    Shapes,
)
from gapbench.trajectory.projection import (
    NOTHING_LEFT,
    SeriesProjection,
    observed,
    plateau_interval,
    project_one,
)
from gapbench.trajectory.series import project_series, series_json
from gapbench.trajectory.signal import constant_fits

T = np.arange(12.0)
RISE = 0.7 - 0.4 * np.exp(-0.4 * T)
DATES = ("t95", "t95_high", "t_practical", "t_practical_high", "plateau", "reserve")


def project(t: Float, value: Float, se: float = 0.01, **more: object) -> SeriesProjection:
    return project_one(np.asarray(t, float), np.asarray(value, float), np.full(len(t), se), **more)  # type: ignore[arg-type]


def undated(found: SeriesProjection) -> bool:
    return all(np.isnan(getattr(found, name)) for name in DATES)


def noise(size: int, seed: int, se: float = 0.01) -> Float:
    return se * np.random.default_rng(seed).standard_normal(size)


@pytest.mark.parametrize("law", FORECAST_LAWS, ids=lambda law: law.name)
def test_a_law_falls_from_one_at_the_first_point(law):
    clock = Clock(2.0, 14.0)
    t = np.linspace(2.0, 14.0, 30)
    falling = law.falls(t, law.grid(clock), clock)[..., 0]
    np.testing.assert_allclose(falling[:, 0], 1.0)
    assert (np.diff(falling, axis=1) <= 1e-12).all()


@pytest.mark.parametrize("law", PLATEAU_LAWS, ids=lambda law: law.name)
def test_arrival_is_where_five_in_a_hundred_of_the_reserve_are_left(law):
    clock = Clock(0.0, 10.0)
    shapes = Shapes(
        np.array([3.0, 5.0]), np.array([1.0, 0.7]) if law.name == "sigmoid" else np.array([1.0, 2.0])
    )
    arrives = law.arrives(np.full(2, 0.05), shapes, clock)
    for place, when in enumerate(arrives):
        one = Shapes(shapes.scale[place : place + 1], shapes.second[place : place + 1])
        now, then = law.falls(np.array([10.0, when]), one, clock)[0, :, 0]
        assert then / now == pytest.approx(0.05, rel=1e-9)


def test_the_least_squares_are_those_of_a_general_optimiser():
    data = observed(T, RISE + noise(12, 1), np.full(12, 0.01), 0.4)
    inverse = np.linalg.inv(data.covariance)

    def chi2(parameters: Float) -> float:
        a, d, s = parameters
        rest = data.value - (a - d * np.exp(-T / np.exp(s)))
        return float(rest @ inverse @ rest)

    best = minimize(
        chi2, [0.7, 0.4, 1.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-9, "maxiter": 4000}
    )
    found = profile(EXPONENTIAL, data)
    assert found is not None
    assert found.least == pytest.approx(best.fun, abs=0.01)
    assert found.beta[found.best, 0] == pytest.approx(best.x[0], abs=0.001)


def test_the_interval_is_that_of_the_profile_likelihood_searched_by_brute_force():
    data = observed(T[:8], RISE[:8] + noise(8, 2), np.full(8, 0.01), 0.3)
    found = profile(EXPONENTIAL, data)
    assert found is not None
    _, low, high = found.interval(found.plateau())
    inverse = np.linalg.inv(data.covariance)

    def given(a: float) -> float:
        def at(log_scale: float) -> float:
            fall = np.exp(-data.t / np.exp(log_scale))
            rest = a - data.value
            d = (fall @ inverse @ rest) / (fall @ inverse @ fall)
            return float((rest - d * fall) @ inverse @ (rest - d * fall))

        return float(minimize_scalar(at, bounds=(-3.0, 5.0), method="bounded", options={"xatol": 1e-8}).fun)

    grid = np.linspace(0.5, 0.999, 800)
    inside = grid[[given(a) <= found.least + CUT for a in grid]]
    assert low == pytest.approx(inside.min(), abs=0.002)
    assert high == pytest.approx(inside.max(), abs=0.002)


def test_an_exact_exponential_gives_its_plateau_reserve_and_arrival():
    found = project(T, RISE, 0.002)
    assert found.status == "identified"
    assert found.plateau == pytest.approx(0.7, abs=1e-3)
    assert found.reserve == pytest.approx(0.4 * np.exp(-0.4 * 11), abs=1e-3)
    assert found.t95 == pytest.approx(11 + np.log(20) / 0.4, rel=0.02)
    assert found.t95_low <= 11 + np.log(20) / 0.4 <= found.t95_high
    assert found.rolling.mase < 0.2


def test_the_more_the_points_share_the_narrower_the_reserve():
    value = RISE + noise(12, 3, 0.005)
    alone, shared = project(T, value), project(T, value, correlation=0.7)
    assert shared.reserve_high - shared.reserve_low < alone.reserve_high - alone.reserve_low


def test_a_law_that_does_not_fit_leaves_the_union():
    found = project(T, 0.7 - 0.4 / (1 + (T / 4) ** 2), 0.004)
    kept = {law.law for law in found.laws if law.kept}
    assert "logistic" in kept
    assert "exponential" not in kept


CASES = {
    "three points": (T[:3], RISE[:3], "too_few_points"),
    "four points at three times": (np.array([0.0, 0, 1, 2]), RISE[:4], "too_few_points"),
    "a clock that stands still": (np.ones(6), RISE[:6], "too_few_points"),
    "constant": (T, np.full(12, 0.5), "plateaued_or_no_signal"),
    "constant with noise": (T, 0.5 + noise(12, 4), "plateaued_or_no_signal"),
    "falling": (T, RISE[::-1], "declining"),
    "falling in a straight line": (T, 0.7 - 0.02 * T, "declining"),
    "falling in a short straight line": (T[:6], 0.7 - 0.05 * T[:6], "declining"),
    "falling to a floor": (T[:7], 0.3 + 0.3 * np.exp(-T[:7]), "declining"),
    "four points that fall": (T[:4], 0.6 - 0.1 * T[:4], "declining"),
    "rise, then fall": (T, 0.7 - 0.4 * np.exp(-0.8 * T) - 0.02 * T, "declining"),
    "a straight line up": (T, 0.3 + 0.02 * T, "lower_bound_only"),
    "early": (T[:5], 0.7 - 0.4 * np.exp(-0.2 * T[:5]), "lower_bound_only"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_series_gets_its_status_word_and_never_a_spurious_date(case):
    t, value, word = CASES[case]
    found = project(t, value)
    assert found.status == word
    assert undated(found)


def test_noise_is_no_signal():
    found = project(T, 0.5 + noise(12, 5, 0.1), 0.1)
    assert found.status == "plateaued_or_no_signal"
    assert undated(found)


def test_a_constant_series_without_error_is_no_signal():
    assert project(T, np.zeros(12), 0.0).status == "plateaued_or_no_signal"


def test_a_gap_in_time_and_repeated_times_are_taken_as_they_are():
    t = np.concatenate([T[:6], T[6:] + 50])
    gap = project(t, 0.7 - 0.4 * np.exp(-0.3 * t) + noise(12, 6))
    assert gap.status == "identified"
    assert gap.plateau_low <= 0.7 <= gap.plateau_high
    twice = project(np.repeat(T, 2), np.repeat(RISE, 2) + noise(24, 7))
    assert twice.status == "identified"
    assert "repeated_times" in twice.flags
    assert twice.plateau_low <= 0.7 <= twice.plateau_high


def test_the_order_of_rows_and_the_unit_of_the_clock_do_not_matter():
    value = RISE + noise(12, 8)
    shuffled = np.random.default_rng(9).permutation(12)
    one, other = project(T, value), project(1e18 * T[shuffled], value[shuffled])
    assert other.status == one.status
    assert other.plateau == pytest.approx(one.plateau, rel=1e-6)
    assert other.t95 == pytest.approx(1e18 * one.t95, rel=1e-6)


def test_errors_that_are_too_small_widen_the_interval_and_are_flagged():
    value = RISE + noise(12, 10, 0.02)
    claimed, honest = project(T, value, 0.004), project(T, value, 0.02)
    assert "poor_fit" in claimed.flags
    assert "poor_fit" not in honest.flags
    assert claimed.plateau_high - claimed.plateau_low > 0.02


def test_noise_with_errors_that_are_too_small_is_rarely_a_signal():
    rng = np.random.default_rng(20)
    words = [project(T[:8], 0.5 + 0.03 * rng.standard_normal(8), 0.01).status for _ in range(30)]
    assert words.count("plateaued_or_no_signal") >= 20  # 85 % of them; without a look at the misfit 39 %


@pytest.mark.parametrize("horizon", [11.0, -1.0, np.nan, np.inf])
def test_only_later_times_are_forecast(horizon):
    with pytest.raises(UserError, match="give a later time"):
        project(T, RISE, horizon=[horizon])


def test_a_gap_is_spoken_of_as_one():
    growing = project(T[:8], 0.1 + 0.03 * T[:8], 0.003, kind="gap")
    assert growing.status == "declining"
    assert "The gap is growing: no plateau ahead." in [said for _, said in series_sentences(growing)]
    slow = project(T[:6], 0.2 - 0.01 * T[:6], 0.003, kind="gap")
    assert slow.status == "lower_bound_only"
    said = " ".join(said for _, said in series_sentences(slow))
    assert f"The plateau is at most {slow.plateau_high:.3f}" in said
    assert "lower bound" not in said


def test_what_was_not_put_to_the_test_is_said_to_be_so():
    early = project(T[:4], 0.48 - 0.18 * np.exp(-0.8 * T[:4]), 0.001, horizon=[6.0])
    assert early.status == "identified"
    said = " ".join(said for _, said in series_sentences(early))
    assert "no earlier forecast puts it to the test" in said
    assert "At t = 6: " in said


def test_claims_are_withheld_where_the_last_value_forecasts_as_well():
    value = np.array([0.30, 0.50, 0.48, 0.52, 0.49, 0.51, 0.50, 0.51, 0.49, 0.51, 0.49, 0.50])
    found = project(T, value, 0.01, horizon=[15.0])
    left = found.status == "identified" and found.reserve >= NOTHING_LEFT
    assert found.rolling.mase >= 1 or not left or np.isfinite(found.t95)
    if found.rolling.mase >= 1:
        assert np.isnan(found.t95)
        assert found.forecast[0].law == "persistence"


def test_a_step_that_is_over_gets_no_date() -> None:
    t = np.arange(8.0)
    found = project(t, np.array([0.25, 0.25, 0.26, 0.40, 0.470, 0.471, 0.469, 0.470]), 0.004)
    assert found.status == "identified"
    assert abs(found.reserve) < NOTHING_LEFT
    assert np.isnan(found.t95)
    said = " ".join(text for _, text in series_sentences(found))
    assert "nothing is left (at most" in said
    assert "is spent by" not in said


def test_a_gap_falls_to_its_floor():
    found = project(T, 0.08 + 0.2 * np.exp(-0.5 * T) + noise(12, 11, 0.003), 0.003, kind="gap")
    assert found.status == "identified"
    assert 0 < found.plateau_low <= 0.08 <= found.plateau_high
    assert found.reserve <= 0


def test_a_verifier_of_the_same_rate_narrows_the_solvers_plateau_and_one_of_another_is_an_anchor():
    value = 0.7 - 0.4 * np.exp(-0.25 * T) + noise(12, 12, 0.02)
    judge = 0.8 - 0.3 * np.exp(-0.25 * T) + noise(12, 13, 0.004)
    partner = observed(T, judge, np.full(12, 0.004))
    alone, joint = project(T, value, 0.02), project(T, value, 0.02, partner=partner)
    assert joint.joint is not None
    assert joint.joint.used
    assert joint.plateau_high - joint.plateau_low < alone.plateau_high - alone.plateau_low
    other = observed(T, 0.8 - 0.3 * np.exp(-1.5 * T), np.full(12, 0.004))
    anchored = project(T, RISE + noise(12, 14, 0.005), 0.005, partner=other)
    assert anchored.joint is not None
    assert not anchored.joint.used
    assert "external_anchor" in anchored.flags


def test_forecasts_start_near_the_last_point_and_widen():
    found = project(T, RISE + noise(12, 15), horizon=[12.0, 20.0, 40.0])
    widths = [one.high - one.low for one in found.forecast]
    assert widths == sorted(widths)
    assert all(one.low <= one.value <= one.high for one in found.forecast)


def test_a_series_is_fitted_in_two_seconds():
    start = time.process_time()
    project(np.arange(60.0), 0.7 - 0.4 * np.exp(-0.1 * np.arange(60.0)) + noise(60, 16), horizon=[80.0])
    assert time.process_time() - start < 2.0


def test_survivors_are_within_the_cut_of_the_best():
    data = Observed(T, RISE, np.eye(12) * 1e-4)
    fits = [fit for law in (EXPONENTIAL, HYPERBOLIC, LOGISTIC) if (fit := profile(law, data)) is not None]
    kept = survivors(fits)
    assert kept[0].law.name == "exponential"
    assert all(fit.least <= kept[0].least + CUT for fit in kept)


TABLE = pd.DataFrame({"series": "a", "t": T, "value": RISE, "se": 0.01})


def test_a_table_is_projected_series_by_series():
    gap = pd.DataFrame({"series": "a", "t": T, "value": 0.05 + 0.2 * np.exp(-T), "se": 0.01, "kind": "gap"})
    found = project_series(
        pd.concat([TABLE.assign(kind="solver"), gap, TABLE.assign(series="b")]), horizon=[14]
    )
    assert [(one.series, one.kind) for one in found] == [("a", "solver"), ("a", "gap"), ("b", "solver")]
    document = series_json(found)["series"][0]
    wanted = "status reserve reserve_low reserve_high plateau_low plateau_high t95 t95_low t95_high laws rolling forecast"
    assert set(wanted.split()) <= set(document)
    assert {"mase", "coverage"} <= set(document["rolling"])
    assert set(document["forecast"][0]) >= {"t", "value", "low", "high"}
    assert series_json([project(T[:3], RISE[:3])])["series"][0]["t95"] is None


@pytest.mark.parametrize(
    ("table", "correlation", "message"),
    [
        (TABLE.drop(columns="se"), 0.0, "no column se"),
        (TABLE.assign(value="x"), 0.0, "row 1: value is no number"),
        (TABLE.assign(se=-1.0), 0.0, "row 1: se is negative"),
        (TABLE.assign(kind="judge"), 0.0, "use solver, verifier or gap"),
        (TABLE, 1.0, "from 0 to 0.999"),
        (TABLE.assign(value=51.0), 0.0, "row 1: value 51 is no share"),
        (TABLE.assign(se=1e200), 0.0, "is no share"),
        (TABLE.assign(t=1e300 * T), 0.0, "times of 'a' are out of range"),
        (TABLE.assign(t=1e-310 * T), 0.0, "times of 'a' are out of range"),
        (TABLE.head(0), 0.0, "no rows"),
    ],
)
def test_a_bad_table_is_named_in_one_line(table, correlation, message):
    with pytest.raises(UserError, match=message):
        project_series(table, correlation=correlation)


def test_the_constant_is_rejected_as_often_as_promised():
    rng = np.random.default_rng(17)
    flat = observed(T[:6], np.zeros(6), np.full(6, 0.01), 0.5)
    factor = np.linalg.cholesky(flat.covariance)
    p = [
        constant_fits(Observed(flat.t, factor @ rng.standard_normal(6), flat.covariance)) for _ in range(100)
    ]
    assert 0.01 <= np.mean(np.array(p) <= 0.05) <= 0.11


def test_five_early_checkpoints_give_a_lower_bound_alone():
    rng = np.random.default_rng(18)
    value = PLATEAU - 0.4 * np.exp(-0.2 * T[:5])
    words = [project(T[:5], value + 0.01 * rng.standard_normal(5)).status for _ in range(20)]
    assert words.count("lower_bound_only") >= 14


@pytest.mark.slow
def test_the_plateau_is_covered_whatever_the_truth():
    rows = plateau(120)
    by_truth = {truth: [row["coverage"] for row in rows if row["truth"] == truth] for truth in TRUTHS}
    error = np.sqrt(0.95 * 0.05 / 120)
    for truth, found in by_truth.items():
        assert np.mean(found) >= 0.93, truth
        assert min(found) + 3 * error >= 0.93, truth


@pytest.mark.slow
def test_status_words_come_as_often_as_they_should():
    rows = status(150)
    assert all(row["lower_bound_only"] >= 0.70 for row in rows if row["series"] == "T = 5, r = .2")
    assert all(0.02 <= row["rejected"] <= 0.09 for row in rows if row["series"] == "constant")


@pytest.mark.slow
def test_rolling_forecasts_cover_and_beat_the_last_value():
    for row in rolling(12):
        assert row["coverage"] >= 0.90
        assert row["mase"] < 1


def test_a_series_where_nothing_rises_has_no_plateau():
    assert np.isnan(plateau_interval(observed(T, RISE[::-1], np.full(12, 0.001)))[1])
