"""The plan: what it foretells comes true, and it says how sure it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gapbench.design.forecast import Forecast
from gapbench.design.plan import (
    Control,
    Design,
    PilotTask,
    Trial,
    plan,
    planned_filter,
    prompts_needed,
    verdict_blocks,
)
from gapbench.errors import UserError
from gapbench.estimate.case_control import case_control, case_control_gap
from gapbench.estimate.coverage import majority_at_n
from gapbench.estimate.intervals import estimate
from gapbench.estimate.partial import partly_verified
from gapbench.estimate.quantity import mean
from gapbench.estimate.selection import BestOf, Order, TopOf
from gapbench.panel import Panel, Scores, VerdictCounts, Verified
from gapbench.savings import Savings
from gapbench.synthetic import SCENARIOS, draw
from tests.conftest import Cli, document

MID = SCENARIOS["mid"]
BEST = BestOf(4)


def pilot(prompts: int, responses: int, seed: int = 0, **changes: Any) -> PilotTask:
    data = draw(MID, prompts, responses, seed)
    counts = VerdictCounts(data.counts, np.full_like(data.counts, 8), 8)
    return replace(PilotTask("synthetic", data.utility, counts, 50.0, 50.0), **changes)


def realised(design: Design, prompts: int, seed: int) -> tuple[float, float]:
    """Half-width of gap[best@4] and verdicts a prompt when a design is carried out."""
    data = draw(MID, prompts, design.responses, seed)
    ids = [f"p{i}" for i in range(prompts)]
    asked = design.savings.chosen(data.utility, "synthetic", ids)
    verified = Verified(asked, design.savings.verified_prompts("synthetic", ids), design.savings.case_control)
    score = np.where(asked, data.counts / 8, np.nan)
    found = partly_verified(
        data.utility, score, verified, [4], headline=4, clusters=np.arange(prompts), seed=seed
    )
    interval = estimate(found["gap", "best@4", 4], method="t")
    return (interval.high - interval.low) / 2, asked.sum() / prompts * 8


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_plan_comes_true(seed: int) -> None:
    found = plan([pilot(400, 32, seed)], half_width=0.03)
    widths, asked = zip(
        *(realised(found.best.design, found.best.prompts, 100 + k) for k in range(12)), strict=True
    )
    # A pilot of 400 prompts knows a variance to about 8 %, so a half-width to 4 %; three times that, and the noise of 12.
    assert np.mean(widths) == pytest.approx(0.03, rel=0.15)
    assert np.mean(asked) == pytest.approx(found.best.verdicts_per_prompt, rel=0.1)
    assert found.best.prompts_low < found.best.prompts < found.best.prompts_high
    assert found.best.tokens_low < found.best.tokens < found.best.tokens_high


@pytest.mark.parametrize(("responses", "r"), [(32, None), (32, 4), (64, None), (64, 6)])
def test_more_responses_than_the_pilot_has_come_true(responses: int, r: int | None) -> None:
    """A pilot of 400 x 16 x 8, six times over: the half-width foretold is that of 20,000 prompts to 6 %."""
    design = Design(responses, 8, Savings(skip_unanimous=True, case_control=r))
    truth = Forecast(pilot(20_000, 64, 77), BEST, 8).cost(design)
    told = [Forecast(pilot(400, 16, seed), BEST, 8).cost(design) for seed in range(6)]
    assert Forecast(pilot(400, 16), BEST, 8).extrapolated(design)
    assert np.sqrt(np.mean([one.variance for one in told]) / truth.variance) == pytest.approx(1.0, abs=0.06)
    assert np.mean([one.verdicts for one in told]) == pytest.approx(truth.verdicts, rel=0.08)
    assert np.mean([one.tokens for one in told]) == pytest.approx(truth.tokens, rel=0.08)


def test_more_verdicts_than_the_pilot_has_come_true() -> None:
    """gap[best@4, m=2] from 8 verdicts, foretold by pilots with 4."""
    design = Design(16, 8, Savings(skip_unanimous=True))
    truth = Forecast(pilot(20_000, 16, 78), BEST, 2).cost(design).variance
    found = []
    for seed in range(6):
        whole = pilot(400, 16, seed)
        assert isinstance(whole.scores, VerdictCounts)
        half = np.rint(verdict_blocks(whole.scores, 4, 1, seed)[0] * 4).astype(int)
        task = replace(whole, scores=VerdictCounts(half, np.full_like(half, 4), 4))
        found.append(Forecast(task, BEST, 2).cost(design).variance)
    assert np.sqrt(np.mean(found) / truth) == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize("seed", [1, 2])
def test_an_extrapolated_plan_comes_true_and_says_so(seed: int) -> None:
    """Too few prompts for the pilot's own sizes: the half-width is reached with more responses, to 15 %."""
    task = pilot(400, 16, seed)
    few = plan([task], half_width=0.03).plain.prompts * 3 // 4
    found = plan([task], half_width=0.03, most_prompts=few)
    assert found.best.design.responses > 16
    assert found.best.flags == ("extrapolated",)
    assert any("extrapolated" in warning for warning in found.warnings)
    widths = [realised(found.best.design, found.best.prompts, 300 + k)[0] for k in range(8)]
    assert np.mean(widths) == pytest.approx(0.03, rel=0.15)


def test_filters_that_share_the_estimator() -> None:
    whole = pilot(400, 16)
    answers = np.where(whole.utility == 1, 0, 1 + np.arange(16) % 5)
    top = plan([whole], half_width=0.03, filter="top 2 of 4")
    assert top.filter == "top 2 of 4"
    assert {one.design.savings for one in top.options} == {Savings(skip_unanimous=True)}
    vote = plan([replace(whole, scores=None, answers=answers)], half_width=0.03, filter="majority@4")
    assert (vote.m, vote.best.design.verdicts, vote.best.verdicts_per_prompt) == (None, 0, 0.0)
    assert vote.best.tokens == vote.best.prompts * vote.best.design.responses * 50.0
    data = draw(MID, vote.best.prompts, vote.best.design.responses, 5)
    codes = np.where(data.utility == 1, 0, 1 + np.arange(vote.best.design.responses) % 5)
    own = majority_at_n(data.utility, codes, [4])[:, 0] - data.utility.mean(axis=1)
    found = estimate(mean(own, -1.0, 1.0), method="t")
    assert (found.high - found.low) / 2 == pytest.approx(0.03, rel=0.2)
    data = draw(MID, top.best.prompts, top.best.design.responses, 6)
    order = Order.of(data.counts / 8, np.ones(data.utility.shape, dtype=bool))
    found = estimate(mean(order.rank(data.utility).gap([TopOf(2, 4)])[:, 0], -1.0, 1.0), method="t")
    assert (found.high - found.low) / 2 == pytest.approx(0.03, rel=0.2)
    with pytest.raises(UserError, match="asks for no verdict"):
        plan([whole], half_width=0.03, filter="majority@4", m=2)


@pytest.mark.slow
def test_the_range_of_a_plan_holds_what_the_population_needs() -> None:
    """The 95 % range of the prompts that a pilot's own design needs, over 60 pilots."""
    truth = Trial(pilot(20_000, 16, 99), BEST, 8, 16, 8).cost(Savings()).variance
    needed = prompts_needed(truth, 0.02)
    hits = []
    for seed in range(60):
        plain = plan([pilot(100, 16, seed)], half_width=0.02).plain
        hits.append(plain.prompts_low <= needed <= plain.prompts_high)
    assert np.mean(hits) >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / 60)


def test_needs_a_fifth_of_the_tokens_at_equal_lengths() -> None:
    """The line to hold: at the half-width of 200 prompts x 128 responses x 8 verdicts, all verified."""
    judged = pilot(4000, 128, 5)
    reference = Trial(judged, BEST, 8, 128, 8).cost(Savings())
    best = plan([pilot(60, 16, 6)], half_width=0.0166).best.design
    cost = Trial(judged, BEST, 8, best.responses, best.verdicts).cost(best.savings)
    saving = reference.tokens * reference.variance / (cost.tokens * cost.variance)
    assert saving > 8, "about 10 is what it takes"


def test_noise_adds_up_and_is_where_it_was_put() -> None:
    """One prompt's gap for all: nothing between prompts, so that all of it is responses and verdicts."""
    rng = np.random.default_rng(0)
    utility = (rng.random((3000, 16)) < 0.5).astype(float)
    yes = rng.binomial(8, np.where(utility == 1, 0.7, 0.4))
    task = PilotTask("same", utility, VerdictCounts(yes, np.full_like(yes, 8), 8), 1.0, 1.0)
    noise = plan([task], half_width=0.01, filter="best@2").noise
    assert noise.verdicts is not None
    # A covariance of independent gaps from halves of the responses, each with twice the noise of all.
    assert abs(noise.between) < 4 * 2 * (noise.responses + noise.verdicts) / np.sqrt(len(utility))
    again = rng.binomial(8, np.where(utility == 1, 0.7, 0.4)).astype(float)
    everything = np.ones(utility.shape, dtype=bool)
    one, other = (
        case_control_gap(utility, score, everything, [2])[:, 0] for score in (yes.astype(float), again)
    )
    exact = one.var(ddof=1) - np.cov(one, other)[0, 1]
    assert noise.verdicts == pytest.approx(exact, rel=0.35), "taken from 4 verdicts and halved"
    sure = replace(task, scores=Scores(utility[:, :, None].repeat(2, axis=2)))
    assert plan([sure], half_width=0.01, filter="best@2").noise.verdicts == pytest.approx(0.0, abs=1e-12)


def test_verdict_blocks_share_no_verdict() -> None:
    rng = np.random.default_rng(0)
    values = (rng.random((40, 6, 4)) < 0.5).astype(float)
    values[0, 0, 1:] = np.nan
    scores = Scores(values)
    first, second = verdict_blocks(scores, 2, 2)
    assert first[1:] + second[1:] == pytest.approx(2 * values.mean(axis=2)[1:])
    counts = scores.counts
    assert counts is not None
    first, second = verdict_blocks(counts, 2, 2)
    assert first[1:] + second[1:] == pytest.approx(2 * values.mean(axis=2)[1:])
    assert {first[0, 0], second[0, 0]} >= {values[0, 0, 0]}


def test_fewer_verdicts_than_the_pilot_has() -> None:
    found = plan([pilot(200, 16)], half_width=0.03, m=2)
    assert found.m == 2
    assert {one.design.verdicts for one in found.options} <= {2, 4, 8}
    assert found.plain.design == Design(16, 2, Savings())


def test_dear_verdicts_are_saved_and_cheap_ones_are_not() -> None:
    dear = plan([pilot(200, 32, verdict_tokens=500.0)], half_width=0.0166).best
    cheap = plan([pilot(200, 32, verdict_tokens=0.5)], half_width=0.0166).best
    assert (
        dear.verdicts_per_prompt / dear.design.responses < cheap.verdicts_per_prompt / cheap.design.responses
    )
    assert cheap.design.savings.verified_share == 1


def test_a_telling_cheap_verifier_is_used_and_a_dear_one_is_not() -> None:
    data = draw(MID, 400, 16, 3)
    control = Control("cheap", data.latent, 0.0)
    task = pilot(400, 16, 3, verdict_tokens=200.0, control=control)
    assert plan([task], half_width=0.0166).best.design.savings.control == "cheap"
    task = replace(task, control=replace(control, tokens=10_000.0))
    assert plan([task], half_width=0.0166).best.design.savings.control is None


def test_tasks_weigh_as_in_the_mean_over_domains() -> None:
    one = pilot(300, 16, 1)
    alone = plan([one], half_width=0.02).plain
    thrice = plan([one, one, one], half_width=0.02).plain
    assert thrice.prompts == pytest.approx(alone.prompts / 3, abs=2)
    uneven = plan([one, replace(one, weight=1e-9)], half_width=0.02).plain
    assert uneven.prompts == pytest.approx(alone.prompts, abs=2)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"half_width": 0.0}, "between 0 and 1"),
        ({"half_width": 0.02, "filter": "best@32"}, "16 responses x 8 verdicts"),
        ({"half_width": 0.02, "m": 9}, "16 responses x 8 verdicts"),
        ({"half_width": 0.001, "most_prompts": 500}, "and there are 500"),
    ],
)
def test_what_cannot_be_planned(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        plan([pilot(100, 16)], **changes)


def test_tiny_pilots_are_warned_about() -> None:
    assert any("15 prompts" in warning for warning in plan([pilot(15, 8)], half_width=0.02).warnings)
    assert plan([pilot(400, 64)], half_width=0.0166).warnings == ()
    assert planned_filter("best@8") == BestOf(8)
    for label in ("soft", "threshold@4", "best@1"):
        with pytest.raises(UserError, match="best@"):
            planned_filter(label)


def test_as_many_prompts_as_there_are() -> None:
    free = plan([pilot(300, 32)], half_width=0.0166)
    bound = plan([pilot(300, 32)], half_width=0.0166, most_prompts=free.best.prompts // 2)
    assert bound.best.prompts <= free.best.prompts // 2
    assert bound.best.tokens > free.best.tokens


def test_plan_of_a_run(cli: Cli, tmp_path: Path) -> None:
    words = (
        "starter",
        "--engine",
        "simulated",
        "-m",
        "simulated",
        "-n",
        "16",
        "--limit",
        "20",
        "-V",
        "yesno",
    )
    assert cli("run", *words, "-V", "likelihood", "--out", "pilot").returncode == 0
    found = document(cli("plan", "pilot", "--half-width", "0.03", "--control", "likelihood", "--json"))
    assert found["filter"] == "best@4"
    assert found["best"]["tokens"] < found["plain"]["tokens"]
    assert found["best"]["tokens_low"] <= found["best"]["tokens"] <= found["best"]["tokens_high"]
    assert found["noise"]["verdicts"] is None
    shown = cli("plan", "pilot", "--half-width", "0.03")
    assert shown.returncode == 0
    assert f"--limit {found['best']['prompts_per_task']} -n {found['best']['responses']}" in shown.stdout
    voted = document(cli("plan", "pilot", "--half-width", "0.05", "--filter", "majority@4", "--json"))
    assert (voted["m"], voted["best"]["verdicts"]) == (None, 0)
    for mistake, told in [
        (("--half-width", "2"), "between 0 and 1"),
        (("--half-width", "0.03", "-V", "majority"), "majority"),
        (("--half-width", "0.03", "--filter", "soft"), "no filter"),
        (("--half-width", "0.03", "--control", "yesno"), "--control yesno"),
    ]:
        done = cli("plan", "pilot", *mistake)
        assert done.returncode == 2
        assert told in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    assert cli("run", *words, "--out", "part", "--case-control", "2").returncode == 0
    done = cli("plan", "part", "--half-width", "0.03")
    assert done.returncode == 2
    assert "have no verdict by 'yesno'" in done.stderr


def test_document_is_json_and_panels_keep_what_they_were_asked(tmp_path: Path) -> None:
    from gapbench.design.pilot import plan_document

    text = json.dumps(plan_document(plan([pilot(60, 8)], half_width=0.03, filter="best@8")), allow_nan=False)
    assert json.loads(text)["noise"]["between"] is None, "8 responses cannot be halved for best@8"
    data = draw(MID, 30, 8, 0)
    panel = data.panel()
    assert isinstance(panel, Panel)
    assert Savings().mark(panel, []).verified == {}
    assert case_control(data.utility, 2).sum(axis=1).max() <= 4
