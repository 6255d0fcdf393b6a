"""The truth of the synthetic model against Monte Carlo, direct integration, enumeration and the numbers of the design."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit, ndtr
from scipy.stats import binom, multinomial, norm

from gapbench.errors import UserError
from gapbench.panel import Float
from gapbench.synthetic import SCENARIOS, Draw, Prompts, Scenario, draw, truth
from gapbench.synthetic.scenario import WRONG_SHARES

MID = SCENARIOS["mid"]
FILTERS = (
    "best@1", "best@8", "top 2 of 8", "top 0.25", "majority@8", "threshold", "threshold@4", "soft",
)  # fmt: skip


@pytest.mark.parametrize(
    ("m", "stated"), [(1, 0.466), (2, 0.508), (4, 0.546), (8, 0.573), (32, 0.600), (math.inf, 0.611)]
)
def test_best_of_8_of_the_mid_scenario_is_as_designed(m: float, stated: float) -> None:
    # Rounding .0005, and as much for the Monte Carlo error of the stated number.
    assert truth(MID, "accuracy", "best@8", m=m) == pytest.approx(stated, abs=0.001)


def test_accuracies_of_the_mid_scenario_at_threshold_one_half_are_as_designed() -> None:
    """They are those of the mean of M = 8 verdicts."""
    accuracy = truth(MID, "accuracy")
    assert accuracy == pytest.approx(0.9 * 0.6 / 1.4, abs=1e-5)
    assert truth(MID, "gap_pooled", "threshold", m=8) + accuracy == pytest.approx(0.647, abs=0.001)
    assert truth(MID, "accuracy", "threshold", m=8) == pytest.approx(0.510, abs=0.001)


def test_share_of_prompts_where_nothing_passes() -> None:
    """Against 20,000 prompts of 8 responses; and no prompt is left out at no responses."""
    data = draw(MID, 20_000, 8, 5)
    found = (data.counts < 4).all(axis=1)
    error = found.std() / math.sqrt(len(found))
    assert abs(found.mean() - truth(MID, "nothing_passes", "threshold", n=8)) < 4 * error
    assert truth(MID, "nothing_passes", "threshold", n=0) == pytest.approx(1.0)
    with pytest.raises(UserError, match="'nothing_passes' needs n"):
        truth(MID, "nothing_passes", "threshold")


def test_the_named_scenarios_are_what_they_are_called() -> None:
    assert truth(SCENARIOS["high_accuracy"], "accuracy") == pytest.approx(0.97, abs=1e-5)
    assert truth(SCENARIOS["low_accuracy"], "accuracy") == pytest.approx(0.02, abs=1e-5)
    curve = [truth(SCENARIOS["hacked"], "accuracy", f"best@{n}", m=math.inf) for n in (1, 16, 1024)]
    assert curve[0] < curve[1] > curve[2], "hacks win in large pools"


@pytest.mark.parametrize("m", [1, 8, math.inf])
@pytest.mark.parametrize("label", [label for label in FILTERS if not label.startswith("majority")])
def test_no_signal_no_gap(label: str, m: float) -> None:
    assert truth(SCENARIOS["null"], "gap", label, m=m) == pytest.approx(0, abs=1e-12)
    assert truth(SCENARIOS["null"], "auc_within", m=m) == pytest.approx(0.5, abs=1e-12)


def test_without_signal_the_pooled_gap_is_all_prompt_mix() -> None:
    pooled = truth(SCENARIOS["null"], "gap_pooled", "threshold")
    assert pooled > 0.05
    assert pooled == pytest.approx(truth(SCENARIOS["null"], "prompt_mix", "threshold"), abs=1e-12)


def best(data: Draw, score: Float) -> Float:
    """Utility of each prompt's best-scoring response, ties broken by chance."""
    jitter = np.random.default_rng(9).random(score.shape)
    top = np.lexsort((jitter, score), axis=1)[:, -1:]
    return np.take_along_axis(data.utility, top, axis=1)[:, 0]


def top_two(data: Draw, score: Float) -> Float:
    jitter = np.random.default_rng(9).random(score.shape)
    top = np.lexsort((jitter, score), axis=1)[:, -2:]
    return np.take_along_axis(data.utility, top, axis=1).mean(axis=1)


def first_to_pass(data: Draw, score: Float) -> Float:
    """Utility of the first of 4 responses that passes, else of the last."""
    passed = score[:, :4] >= 0.5
    chosen = np.where(passed.any(axis=1), passed.argmax(axis=1), 3)
    return data.utility[np.arange(len(score)), chosen]


def vote(data: Draw, score: Float) -> Float:
    counts = np.stack([(data.answers == code).sum(axis=1) for code in range(len(WRONG_SHARES) + 1)], axis=1)
    winners = counts == counts.max(axis=1, keepdims=True)
    return winners[:, 0] / winners.sum(axis=1)


def solved(data: Draw, score: Float) -> Float:
    return data.utility.max(axis=1)


PER_PROMPT: list[tuple[str, str, int | None, Callable[[Draw, Float], Float]]] = [
    ("accuracy", "best@8", None, best),
    ("accuracy", "top 2 of 8", None, top_two),
    ("accuracy", "threshold@4", None, first_to_pass),
    ("accuracy", "majority@8", None, vote),
    ("pass@k", "", 8, solved),
]


def wins(right: Float, wrong: Float) -> Float:
    return (right > wrong) + (right == wrong) / 2


def pairs_within(data: Draw, score: Float) -> tuple[Float, Float]:
    u = data.utility
    pair = u[:, :, None] * (1 - u[:, None, :])
    return (pair * wins(score[:, :, None], score[:, None, :])).sum(axis=(1, 2)), pair.sum(axis=(1, 2))


def pairs_between(data: Draw, score: Float) -> tuple[Float, Float]:
    # Each response with the same one of the next prompt.
    pair = data.utility * (1 - np.roll(data.utility, 1, axis=0))
    return (pair * wins(score, np.roll(score, 1, axis=0))).sum(axis=1), pair.sum(axis=1)


def rate(of: float) -> Callable[[Draw, Float], tuple[Float, Float]]:
    def passing(data: Draw, score: Float) -> tuple[Float, Float]:
        mine = data.utility == of
        return (mine & (score >= 0.5)).sum(axis=1).astype(float), mine.sum(axis=1).astype(float)

    return passing


def precision(data: Draw, score: Float) -> tuple[Float, Float]:
    passed = score >= 0.5
    return (passed * data.utility).sum(axis=1), passed.sum(axis=1).astype(float)


def weighted(data: Draw, score: Float) -> tuple[Float, Float]:
    return (score * data.utility).sum(axis=1), score.sum(axis=1)


RATIOS: list[tuple[str, str, Callable[[Draw, Float], tuple[Float, Float]]]] = [
    ("auc_within", "", pairs_within),
    ("auc_between", "", pairs_between),
    ("tpr", "threshold", rate(1.0)),
    ("fpr", "threshold", rate(0.0)),
    ("precision", "threshold", precision),
    ("gap_pooled", "soft", weighted),
]


def scores(data: Draw, m: float) -> Float:
    return expit(data.latent) if math.isinf(m) else data.counts / data.scenario.M


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SCENARIOS))
@pytest.mark.parametrize("m", [3, math.inf])
def test_truth_equals_a_large_monte_carlo(name: str, m: float) -> None:
    scenario = replace(SCENARIOS[name], M=3)
    data = draw(scenario, 60_000, 8, seed=11)
    score = scores(data, m)
    for quantity, label, n, simulate in PER_PROMPT:
        value = simulate(data, score)
        se = value.std() / math.sqrt(len(value))
        assert abs(value.mean() - truth(scenario, quantity, label, n=n, m=m)) < 4 * se, (quantity, label)
    for quantity, label, simulate_ratio in RATIOS:
        less = truth(scenario, "accuracy") if quantity == "gap_pooled" else 0.0
        top, bottom = simulate_ratio(data, score)
        value = top.sum() / bottom.sum()
        se = (top - value * bottom).std() / bottom.mean() / math.sqrt(len(top))
        # 6: some sums are shared by neighbouring prompts, which this error does not know.
        assert abs(value - less - truth(scenario, quantity, label, m=m)) < 6 * se, quantity


@pytest.mark.parametrize("m", [3, math.inf])
def test_limits_that_no_finite_pool_shows(m: float) -> None:
    limit = truth(MID, "accuracy", "threshold@1000000000", m=m)
    assert truth(MID, "accuracy", "threshold", m=m) == pytest.approx(limit, abs=2e-4)
    assert truth(MID, "precision_ceiling", "threshold", m=m) == truth(MID, "accuracy", "threshold", m=m)
    assert truth(MID, "accuracy", "top 0.25", m=m) == pytest.approx(
        truth(MID, "accuracy", "top 1024 of 4096", m=m), abs=5e-4
    )
    assert truth(MID, "accuracy", "top 1 of 8", m=m) == pytest.approx(
        truth(MID, "accuracy", "best@8", m=m), abs=1e-12
    )


@pytest.mark.parametrize("m", [1, 5, math.inf])
def test_identities_between_quantities(m: float) -> None:
    def value(quantity: str, label: str = "") -> float:
        return truth(MID, quantity, label, m=m)

    gap, accuracy = value("gap", "best@4"), value("accuracy")
    coverage = truth(MID, "pass@k", n=4, m=m)
    assert gap == pytest.approx(value("accuracy", "best@4") - accuracy)
    assert value("relative_gap", "best@4") == pytest.approx(gap / (1 - accuracy))
    assert value("shortfall", "best@4") == pytest.approx(coverage - accuracy - gap)
    assert value("oracle_share", "best@4") == pytest.approx(gap / (coverage - accuracy))
    assert value("youden", "threshold") == pytest.approx(
        value("tpr", "threshold") - value("fpr", "threshold")
    )
    assert value("verifier_gain", "threshold") == pytest.approx(value("gap_pooled", "threshold"))
    # For a binary verifier: pooled precision from accuracy, TPR and FPR (measurement.md, section 3).
    accept = accuracy * value("tpr", "threshold") + (1 - accuracy) * value("fpr", "threshold")
    assert value("precision", "threshold") == pytest.approx(accuracy * value("tpr", "threshold") / accept)


def test_relative_gap_per_prompt_is_over_prompts_that_are_not_always_right() -> None:
    p, level, shift = np.array([0.5, 0.2, 1.0]), np.array([-1.0, 0.5, 0.0]), np.array([1.0, 2.0, 1.0])

    def of(kept: slice) -> Prompts:
        size = len(p[kept])
        return Prompts(p[kept], level[kept], shift[kept], np.full(size, 1 / size))

    each = [
        truth(MID, "gap", "best@4", prompts=of(slice(i, i + 1))) / (1 - p[i]) for i in range(2)
    ]  # fmt: skip
    assert truth(MID, "relative_gap_per_prompt", "best@4", prompts=of(slice(None))) == pytest.approx(
        np.mean(each)
    )


@pytest.mark.parametrize("h", [0.0, 0.1])
def test_one_prompt_by_direct_integration(h: float) -> None:
    scenario = Scenario(h=h, sd_w=0.6)
    p, level, shift, n = 0.3, -0.4, 1.1, 6
    one = Prompts(np.array([p]), np.array([level]), np.array([shift]), np.array([1.0]))

    def cdf0(s: float) -> float:
        return float((1 - h) * ndtr((s - level) / 0.6) + h * ndtr((s - level - 8) / 0.6))

    def cdf1(s: float) -> float:
        return float(ndtr((s - level - shift) / 0.6))

    continuous = quad(
        lambda s: (
            n * (p * cdf1(s) + (1 - p) * cdf0(s)) ** (n - 1) * p * norm.pdf((s - level - shift) / 0.6) / 0.6
        ),
        -6,
        8,
        epsabs=1e-10,
    )[0]
    assert truth(scenario, "accuracy", f"best@{n}", m=math.inf, prompts=one) == pytest.approx(
        continuous, abs=2e-4
    )

    def verdicts(mean: float) -> Float:
        chances = [
            quad(lambda e, k=k: norm.pdf(e) * binom.pmf(k, 3, expit(mean + 0.6 * e)), -9, 9, epsabs=1e-12)[0]
            for k in range(4)
        ]
        return np.array(chances)

    q1, q0 = verdicts(level + shift), (1 - h) * verdicts(level) + h * verdicts(level + 8)
    f = p * q1 + (1 - p) * q0
    expected = (np.diff(np.cumsum(f) ** n, prepend=0) * p * q1 / f).sum()
    assert truth(scenario, "accuracy", f"best@{n}", m=3, prompts=one) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_majority_by_enumeration_of_votes(n: int) -> None:
    p = 0.35
    shares = [p, *(1 - p) * WRONG_SHARES]
    expected = 0.0
    for votes in product(range(n + 1), repeat=len(shares)):
        if sum(votes) == n and votes[0] == max(votes):
            expected += multinomial.pmf(votes, n, shares) / votes.count(votes[0])
    one = Prompts(np.array([p]), np.zeros(1), np.zeros(1), np.ones(1))
    assert truth(MID, "accuracy", f"majority@{n}", prompts=one) == pytest.approx(expected, abs=1e-12)


def test_truth_of_drawn_prompts_is_what_their_responses_tend_to() -> None:
    data = draw(MID, prompts=25, responses=40_000, seed=5)
    blocks = data.utility.reshape(25, 5_000, 8)
    top = np.argmax(data.latent.reshape(blocks.shape), axis=2)
    chosen = np.take_along_axis(blocks, top[..., None], axis=2)[..., 0]
    se = chosen.mean(axis=0).std() / math.sqrt(5_000)
    own = truth(MID, "accuracy", "best@8", m=math.inf, prompts=data.prompts)
    assert abs(chosen.mean() - own) < 4 * se
    assert abs(own - truth(MID, "accuracy", "best@8", m=math.inf)) > 10 * se, (
        "these 25 are not the population"
    )


def test_a_draw_is_repeatable_and_its_parts_agree() -> None:
    data, again, other = (draw(SCENARIOS["hacked"], 300, 20, seed) for seed in (3, 3, 4))
    for name in ("utility", "latent", "counts", "answers", "verdicts"):
        assert np.array_equal(getattr(data, name), getattr(again, name))
        assert not np.array_equal(getattr(data, name), getattr(other, name))
    assert np.array_equal(data.verdicts.sum(axis=2), data.counts)
    assert np.array_equal(data.answers == 0, data.utility == 1)
    assert data.hacked.any()
    assert not (data.hacked & (data.utility == 1)).any()
    assert np.unique(data.prompts.p == 0).size == 2


def test_replicates_are_exchangeable() -> None:
    verdicts = draw(MID, 2_000, 16, seed=8).verdicts
    rates = verdicts.mean(axis=(0, 1))
    assert np.ptp(rates) < 4 * math.sqrt(2 * 0.25 / 32_000), "the order of verdicts tells of their number"


def test_a_panel_holds_the_draw() -> None:
    data = draw(MID, 7, 5, seed=0)
    panel = data.panel()
    assert np.array_equal(panel.utility, data.utility)
    assert panel.scores["binary"].values.shape == (7, 5, 8)
    assert np.allclose(panel.scores["binary"].mean, data.counts / 8)
    assert np.allclose(panel.scores["probability"].values[..., 0], expit(data.latent))
    assert len(set(panel.clusters.tolist())) == len(panel.prompt_ids) == 7
    assert not panel.censored.any()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"a": 0.0}, "a, b and sd_w"),
        ({"mu": math.inf}, "finite mu"),
        ({"sd_d": -1.0}, "sd_b and sd_d"),
        ({"pi0": 0.6, "pi1": 0.6}, "pi0"),
        ({"h": math.nan}, "and h in"),
        ({"M": 0}, "M a whole"),
        ({"M": 2.0}, "M a whole"),
    ],
)
def test_a_scenario_out_of_range_is_refused(wrong: dict[str, float], told: str) -> None:
    with pytest.raises(UserError, match=told):
        replace(MID, **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "m", "told"),
    [
        (("gaap", ""), 8, "no truth for quantity 'gaap'"),
        (("gap", "best of 8"), 8, "no filter 'best of 8'"),
        (("gap", "best@0"), 8, "no filter 'best@0'"),
        (("gap", "top 9 of 8"), 8, "no filter 'top 9 of 8'"),
        (("gap_pooled", "best@8"), 8, "threshold or soft"),
        (("tpr", "soft"), 8, "goes with filter threshold"),
        (("oracle_share", "soft"), 8, "goes with filter best@n"),
        (("pass@k", ""), 8, "needs n"),
        (("gap", "best@8"), 0, "whole number of verdicts"),
        (("gap", "best@8"), 1.5, "whole number of verdicts"),
    ],
)
def test_a_truth_that_there_is_not_is_refused(words: tuple[str, str], m: float, told: str) -> None:
    with pytest.raises(UserError, match=told):
        truth(MID, *words, m=m)
