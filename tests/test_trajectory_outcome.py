"""Bootstrapping or more: size and power of the test, the decomposition, guards, verdicts, alarms, the moving judge."""

from __future__ import annotations

import json

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy import stats

from benchmarks.trajectory_size import counts, judge, power, rejections, size
from gapbench.errors import UserError
from gapbench.estimate.coverage import pass_at_k
from gapbench.panel import Float
from gapbench.report.trajectory import (
    plot_decomposition,
    plot_forecast,
    plot_loop_outcome,
    plot_pass_crossing,
)
from gapbench.report.trajectory_text import outcome_sentences, series_sentences
from gapbench.trajectory.alarms import diversity_collapse, reward_hacking
from gapbench.trajectory.beyond import (
    Halves,
    cross_fitted,
    excess_test,
    halves,
    meaningless,
    one_sided,
    worth_allowed,
)
from gapbench.trajectory.checkpoints import Checkpoints, Outcome
from gapbench.trajectory.guards import elicitation, false_positives, truncation
from gapbench.trajectory.judge import fieller, moving_judge
from gapbench.trajectory.outcome import trajectory
from gapbench.trajectory.projection import project_one
from gapbench.trajectory.series import trajectory_json

P = 150


def drawn(rate: Float, responses: int, seed: int) -> Float:
    rng = np.random.default_rng(seed)
    return (rng.random((len(rate), responses)) < rate[:, None]).astype(float)


def rates(seed: int = 0) -> Float:
    return np.random.default_rng(seed).beta(0.35, 1.2, P)


def sharper(p: Float, worth: int) -> Float:
    return np.asarray(1 - (1 - p) ** worth)


def one(base: Float, tuned: Float, **more: object) -> Outcome:
    return trajectory([Checkpoints("d", [base, tuned], **more)])[0]  # type: ignore[arg-type]


def test_coverage_of_counts_is_pass_at_k():
    utility = drawn(rates(), 32, 1)
    right = utility.sum(axis=1, keepdims=True).astype(int)
    found = Halves(right, np.full(right.shape, 32)).coverage(5)
    np.testing.assert_allclose(found[:, 0], pass_at_k(utility, [5])[:, 0], atol=1e-12)


def test_halves_are_disjoint_and_of_one_size():
    utility = np.where(np.arange(9) < 4, 1.0, 0.0)[None].repeat(20, axis=0)
    utility[:, 8] = np.nan
    found = halves(utility, 0)
    assert (found.total == 4).all()
    assert (found.right.sum(axis=1) == 4).all()
    assert len(np.unique(found.right[:, 0])) > 1


def test_the_excess_is_unbiased_at_the_null():
    p = np.full((4000, 20), 0.004)
    rng = np.random.default_rng(2)
    found = cross_fitted(counts(p, 512, rng), counts(sharper(p, 64), 512, rng), 64).excess
    mean, error = found.mean(), found.mean(axis=1).std() / np.sqrt(len(found))
    assert abs(mean) < 4 * error


def test_naive_counting_is_fooled_by_sharpening_and_the_test_is_not():
    p = np.tile(np.random.default_rng(3).beta(0.35, 1.2, (200, 1)), 1).T.repeat(100, axis=0)
    rng = np.random.default_rng(4)
    base, tuned = counts(p, 64, rng), counts(sharper(p, 8), 64, rng)
    new = (base.right.sum(axis=-1) == 0) & (tuned.right.sum(axis=-1) > 0)
    assert new.mean() > 0.03
    assert (excess_test(cross_fitted(base, tuned, 8), tuned)[2] <= 0.05).mean() <= 0.075


def test_the_parts_sum_to_the_gain_prompt_by_prompt():
    p = rates()
    parts = cross_fitted(halves(drawn(p, 65, 5), 0), halves(drawn(sharper(p, 6), 40, 6), 1), 8)
    np.testing.assert_allclose(parts.sharpened + parts.beyond - parts.regressed, parts.gain, atol=1e-15)


def test_the_decomposition_sums_to_the_gain_of_all_responses():
    p = rates()
    base, tuned = drawn(p, 64, 7), drawn(sharper(p, 4), 64, 8)
    parts = one(base, tuned).decomposition
    assert parts.gain.value == pytest.approx(tuned.mean() - base.mean(), abs=1e-12)
    total = parts.sharpened.value + parts.beyond.value - parts.regressed.value
    assert total == pytest.approx(parts.gain.value, abs=1e-12)


def test_the_placebo_is_zero_within_error():
    rng = np.random.default_rng(9)
    p = rng.beta(0.35, 1.2, (400, 200))
    parts = cross_fitted(counts(p, 64, rng), counts(p, 64, rng), 8)
    for name in ("sharpened", "beyond", "regressed"):
        means = getattr(parts, name).mean(axis=1)
        assert abs(means.mean()) < 4 * means.std() / np.sqrt(len(means)) + 1e-12, name


def test_one_sided_is_the_t_test_and_clusters_are_single_observations():
    values = np.random.default_rng(10).normal(0.1, 1, 40)
    mean, low, p = one_sided(values)
    known = stats.ttest_1samp(values, 0, alternative="greater")
    assert float(p) == pytest.approx(known.pvalue)
    assert float(low) == pytest.approx(known.confidence_interval(0.95).low)
    doubled = one_sided(np.repeat(values, 2), np.repeat(np.arange(40), 2))
    np.testing.assert_allclose(doubled, (mean, low, p))


def test_few_rare_prompts_are_no_evidence():
    """Fast seeded part of the size study: the cells that reject most often."""
    rng = np.random.default_rng(11)
    for worth, responses, tuned, c in ((64, 512, 512, 0.208), (64, 512, 32, 0.075), (8, 64, 64, 0.11)):
        p = np.full((600, 200), 1 - (1 - c) ** (1 / worth))
        assert rejections(p, sharper(p, worth), worth, responses, tuned, rng) <= 0.075


@pytest.mark.slow
def test_the_size_is_at_most_075_over_the_grid():
    rows = size(600)
    error = np.sqrt(0.05 * 0.95 / 600)
    assert max(row["rejected"] for row in rows) <= 0.075 + error
    assert np.mean([row["rejected"] for row in rows]) <= 0.05


def test_too_few_base_responses_would_reject_a_null_of_rare_prompts():
    """What the 8 M rule is for; the bound of the size study can fail."""
    p = np.full((300, 200), 1 - 0.8 ** (1 / 64))
    assert rejections(p, sharper(p, 64), 64, 128, 512, np.random.default_rng(12)) > 0.1


def test_the_power_is_about_nine_in_ten():
    rows = power(200)
    assert all(row["power"] >= 0.85 for row in rows)
    assert all(row["power"] >= 0.97 for row in rows if row["new_prompts"] == "6")


def test_m_is_lowered_to_an_eighth_of_the_responses_and_said_so():
    p = rates()
    found = one(drawn(p, 128, 13), drawn(p, 128, 14)).test
    assert found.M == 16
    assert "M lowered from 64 to 16" in found.note
    assert worth_allowed(halves(drawn(p, 512, 15), 0)) == 64


def test_with_too_few_responses_the_answer_is_underpowered_without_p():
    p = rates()
    found = one(drawn(p, 16, 16), drawn(sharper(p, 4), 16, 17))
    assert found.verdict == "UNDERPOWERED"
    assert np.isnan(found.test.p)
    assert "16 base responses" in found.test.note
    assert trajectory_json([found])["domains"][0]["test"]["p"] is None


def test_guessing_that_makes_the_null_meaningless_is_refused():
    assert meaningless(0.25, 64)
    assert meaningless(0.01, 64)
    assert not meaningless(0.001, 64)
    p = 0.25 + 0.75 * rates()
    found = one(drawn(p, 512, 18), drawn(sharper(p, 2), 512, 19), guess=0.25)
    assert found.verdict == "REFUSED"
    assert np.isnan(found.test.p)
    assert "guessing" in found.test.note


def test_each_verdict_is_reached():
    p = rates()
    q = sharper(p, 4)
    spiked, solved = p.copy(), q.copy()
    spiked[:12], solved[:12] = 0.0, 0.5
    worse = solved.copy()
    worse[12:] = p[12:] * 0.4
    runs = [
        Checkpoints("sharp", [drawn(p, 512, 20), drawn(q, 512, 21)]),
        Checkpoints("placebo", [drawn(p, 512, 22), drawn(p, 512, 23)]),
        Checkpoints("beyond", [drawn(spiked, 512, 24), drawn(solved, 512, 25)]),
        Checkpoints("worse", [drawn(p, 512, 26), drawn(p * 0.5, 512, 27)]),
        Checkpoints("mixed", [drawn(spiked, 512, 28), drawn(worse, 512, 29)]),
    ]
    found = {outcome.domain: outcome for outcome in trajectory(runs)}
    assert found["sharp"].label == "SHARPENING-CONSISTENT"
    assert found["placebo"].label == "SHARPENING-CONSISTENT"
    assert found["beyond"].label == "BEYOND-BASE@64"
    assert found["worse"].label == "REGRESSION"
    assert found["mixed"].label == "MIXED"
    assert found["beyond"].test.low > 0
    assert found["beyond"].test.p_adjusted >= found["beyond"].test.p
    guards = {guard.name: guard for guard in found["beyond"].guards}
    names = {"placebo", "positive_control", "elicitation", "false_positives", "truncation", "holm"}
    assert set(guards) == names
    assert guards["placebo"].passed
    assert guards["positive_control"].passed
    assert guards["positive_control"].state == "simulated"
    assert guards["elicitation"].state == "not_measured"
    document = json.loads(json.dumps(trajectory_json(list(found.values()))))["domains"][0]
    assert set(document["decomposition"]) >= {"sharpened", "beyond", "regressed"}
    assert set(document["test"]) >= {"difference", "low", "p", "M"}
    assert {"verdict", "guards", "plateau"} <= set(document)


def test_the_safe_bound_is_the_plug_in_and_not_the_cross_fitted_value():
    p = rates()
    parts = one(drawn(p, 128, 30), drawn(sharper(p, 8), 128, 31)).decomposition
    assert parts.beyond_at_most.value >= parts.beyond.value


def test_elicitation_finds_prompts_that_another_form_solves():
    base, tuned = np.zeros((10, 8)), np.ones((10, 8))
    form = np.zeros((10, 8))
    form[:3, 0] = 1
    found = elicitation(base, tuned, [form])
    assert (found.passed, found.value) == (False, 0.3)
    assert elicitation(base, tuned, [np.zeros((10, 8))]).passed
    assert elicitation(base, base, [form]).state == "not_applicable"
    form[2:] = np.nan  # of the ten prompts two were asked otherwise, both solved there
    assert elicitation(base, tuned, [form]).value == 1
    assert elicitation(base, tuned, [np.full((10, 1), np.nan)]).state == "not_applicable"


def test_the_graders_false_positives_are_bounded():
    found = false_positives(0.001, 512)
    assert found.value == pytest.approx(1 - 0.999**512)
    assert found.passed is False
    assert false_positives(1e-6, 512).passed
    assert false_positives(None, 512).state == "not_measured"


def test_unequal_truncation_is_seen():
    none, some = np.zeros((100, 20), dtype=bool), np.random.default_rng(32).random((100, 20)) < 0.2
    assert truncation(some, none, None, 0.02).passed is False
    assert truncation(none, none, None, 0.02).passed
    assert truncation(None, none, None, 0.02).state == "not_measured"


@pytest.mark.parametrize(
    ("utility", "message"),
    [
        ([np.ones((3, 4))], "one checkpoint"),
        ([np.ones((3, 4)), np.ones((2, 4))], "different numbers of prompts"),
        ([np.ones((3, 1)), np.ones((3, 4))], "fewer than 2 graded responses"),
    ],
)
def test_bad_checkpoints_are_named(utility, message):
    with pytest.raises(UserError, match=message):
        trajectory([Checkpoints("d", utility)])


def checkpoints(truth: Float, score: Float, seed: int) -> tuple[Float, Float]:
    """Prompt means [prompt, checkpoint] around these levels."""
    rng = np.random.default_rng(seed)
    level = 0.1 * rng.standard_normal((200, 1))
    shape = (200, len(truth))
    return (
        level + truth + 0.05 * rng.standard_normal(shape),
        level + score + 0.05 * rng.standard_normal(shape),
    )


def test_the_hacking_alarm_rings_where_the_proxy_rises_alone():
    up, flat = np.linspace(0.3, 0.5, 6), np.array([0.3, 0.35, 0.38, 0.38, 0.37, 0.36])
    truth, proxy = checkpoints(flat, up, 33)
    found = reward_hacking(proxy, truth)
    assert found.rung
    assert found.checkpoint >= 3
    truth, proxy = checkpoints(up, up, 34)
    assert not reward_hacking(proxy, truth).rung


def test_prompts_without_a_score_do_not_silence_the_alarm():
    truth, proxy = checkpoints(np.full(3, 0.3), np.array([0.3, 0.4, 0.5]), 37)
    proxy[:40, 1] = np.nan
    assert reward_hacking(proxy, truth).rung
    assert not reward_hacking(np.full_like(proxy, np.nan), truth).rung


def test_the_collapse_alarm_rings_where_coverage_falls():
    falling, _ = checkpoints(np.linspace(0.6, 0.5, 6), np.zeros(6), 35)
    level, _ = checkpoints(np.full(6, 0.6), np.zeros(6), 36)
    assert diversity_collapse(falling).rung
    assert not diversity_collapse(level).rung


def test_alarms_ring_falsely_in_at_most_5_of_100_runs():
    rung = sum(
        diversity_collapse(checkpoints(np.full(8, 0.6), np.zeros(8), 100 + one)[0]).rung for one in range(150)
    )
    assert rung / 150 <= 0.05


def test_fieller_is_the_set_of_ratios_that_are_not_rejected():
    means, covariance = np.array([0.8, 1.0]), np.array([[0.01, 0.004], [0.004, 0.02]])
    found = fieller(means, covariance, 1.96)
    for ratio in (found.low, found.high):
        off = means[0] - ratio * means[1]
        variance = covariance[0, 0] - 2 * ratio * covariance[0, 1] + ratio**2 * covariance[1, 1]
        assert off**2 / variance == pytest.approx(1.96**2)
    assert found.rho == pytest.approx(0.8)
    unbounded = fieller(np.array([0.8, 0.1]), covariance, 1.96)
    assert unbounded.high == np.inf
    assert unbounded.word == "no plateau identified"


def test_fieller_covers_near_one():
    for row in judge(250):
        assert row["coverage"] >= 0.92, row
    assert judge(60)[-1]["plateau"] <= 0.15


def test_a_moving_judge_needs_three_checkpoints():
    with pytest.raises(UserError, match="at least 3 checkpoints"):
        moving_judge(np.array([0.0, 1.0]), np.zeros((5, 2)), np.zeros((5, 2)))


def test_several_checkpoints_give_a_plateau_a_judge_and_replenishment():
    p = rates()
    levels = [sharper(p, 1 + 2 * step) for step in range(6)]
    utility = [drawn(rate, 32, 40 + place) for place, rate in enumerate(levels)]
    rng = np.random.default_rng(50)
    proxy = [np.clip(0.4 * u + 0.3 * rng.random(u.shape), 0, 1) for u in utility]
    gaps = [0.1 + 0.05 * rng.standard_normal(100) - 0.01 * step for step in range(6)]
    found = trajectory([Checkpoints("d", utility, proxy=proxy, fresh_gap=gaps)], horizon=[8.0])[0]
    assert found.plateau.n_points == 6
    assert found.plateau.status in ("identified", "lower_bound_only")
    assert found.judge is not None
    assert found.judge.low <= found.judge.rho <= found.judge.high
    assert not any(alarm.rung for alarm in found.alarms)
    assert found.replenishment is not None
    assert found.replenishment.high < 0
    assert found.plateau.forecast[0].t == 8.0


def test_a_single_prompt_is_descriptive():
    p = np.array([0.3])
    utility = [drawn(sharper(p, 1 + step), 64, 80 + step) for step in range(5)]
    found = trajectory([Checkpoints("d", utility, clusters=np.zeros(1, dtype=int), proxy=utility)])[0]
    assert found.verdict == "UNDERPOWERED"
    assert found.judge is None
    assert "descriptive" in found.plateau.flags
    assert np.isnan(found.plateau.t95)
    errors = np.sqrt(np.diag(Checkpoints("d", utility).accuracy()[1]))
    rate = utility[0].mean()
    assert errors[0] == pytest.approx(np.sqrt(rate * (1 - rate) / 63))


def test_tasks_weigh_alike_in_the_series():
    p = rates()[:60]
    utility = [drawn(p, 32, 90), drawn(sharper(p, 3), 32, 91)]
    tasks = np.repeat([0, 1], [45, 15])
    value, covariance = Checkpoints("d", utility, tasks=tasks).accuracy()
    parts = [[one[tasks == task].mean(axis=1) for task in (0, 1)] for one in utility]
    assert value == pytest.approx([np.mean([own.mean() for own in part]) for part in parts])
    truth = [np.sqrt(sum(own.var(ddof=1) / len(own) for own in part)) / 2 for part in parts]
    assert np.sqrt(np.diag(covariance)) == pytest.approx(truth)


def test_pass_at_k_crosses_where_tuning_narrows():
    p = rates()
    rng = np.random.default_rng(60)
    narrowed = np.where(rng.random(P) < 0.6, sharper(p, 6), 0.0)
    found = one(drawn(p, 64, 61), drawn(narrowed, 64, 62))
    assert 1 < found.crossing < 64
    assert np.isnan(one(drawn(p, 64, 63), drawn(sharper(p, 4), 64, 64)).crossing)


def test_every_figure_draws_what_is_there_and_names_what_is_not():
    p = rates()
    data = Checkpoints("d", [drawn(p, 16, 70), drawn(sharper(p, 3), 16, 71)])
    outcome = trajectory([data])[0]
    axes = Figure(figsize=(9, 6)).subplots(2, 2).ravel()
    t, value, se = np.arange(5.0), 0.7 - 0.4 * np.exp(-0.2 * np.arange(5.0)), np.full(5, 0.01)
    early = project_one(t, value, se, horizon=[6.0, 8.0])
    plot_forecast(early, t, value, se, axes[0], outcome=[(6.0, 0.6)])
    assert "only a lower bound" in axes[0].get_title(loc="left")
    plot_loop_outcome([(0, 0.3, 0.01), (1, 0.4, 0.01)], [(0.0, early.forecast)], axes[1])
    plot_decomposition([outcome], axes[2])
    assert any("beyond: not tested" in text.get_text() for text in axes[2].texts)
    plot_pass_crossing(data, axes[3])
    kinds = {sort for sort, _ in [*series_sentences(early), *outcome_sentences(outcome)]}
    assert kinds == {"measurement", "projection", "not measured"}
