"""Savings in a run: who is asked, what is estimated from it, what is not, and when a growing run stops."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from gapbench.design.awaited import awaited_gap, awaited_of
from gapbench.design.forecast import Design, Forecast
from gapbench.design.grow import grow, reached
from gapbench.design.trial import PilotTask
from gapbench.engines.base import Result, Sampling
from gapbench.errors import UserError
from gapbench.estimate.case_control import unanimous
from gapbench.estimate.partial import NOT_VERIFIED, WITHIN_PROMPTS, partly_verified
from gapbench.estimate.selection import BestOf
from gapbench.estimate.table import estimate_panels
from gapbench.panel import VerdictCounts, Verified, build_panels
from gapbench.records import Response, Verdict
from gapbench.run import Run, RunConfig, execute
from gapbench.savings import Savings
from gapbench.synthetic import SCENARIOS, draw, truth
from gapbench.verifiers.base import Judgement, verifiers
from gapbench.verifiers.yesno import YesNo
from tests.conftest import Cli, document

MID = SCENARIOS["mid"]


def config(savings: Savings | None = None, **changes: Any) -> RunConfig:
    base: dict[str, Any] = {
        "suite": "starter", "model": "simulated", "engine": "simulated", "n": 8, "limit": 20,
        "verifiers": ("yesno", "likelihood"), "savings": savings or Savings(),
    }  # fmt: skip
    return RunConfig(**base | changes)


def judged(run: Run) -> set[tuple[Any, ...]]:
    return {row.key[:3] for row in run.store.rows(Verdict)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return execute(config(), tmp_path_factory.mktemp("whole") / "run")


def test_unanimous_prompts_get_no_verdict_and_no_gap_changes(whole: Run, tmp_path: Path) -> None:
    run = execute(config(Savings(skip_unanimous=True)), tmp_path / "run")
    silent = {
        (panel.task, panel.prompt_ids[i])
        for panel in run.panels()
        for i in np.flatnonzero(unanimous(panel.utility))
    }
    assert silent
    assert {key[:2] for key in judged(whole)} & silent
    assert not {key[:2] for key in judged(run)} & silent
    assert judged(run) == {key for key in judged(whole) if key[:2] not in silent}
    full, part = whole.estimate(), run.estimate()
    assert len(full) == len(part)
    compared = 0
    for one, other in zip(full, part, strict=True):
        if one.verifier != "yesno" or one.quantity in WITHIN_PROMPTS:
            assert (one.value, one.low, one.high) == pytest.approx(
                (other.value, other.low, other.high), nan_ok=True
            ), one
            compared += one.verifier == "yesno"
        else:
            assert np.isnan(other.value)
            assert NOT_VERIFIED in other.flags
    assert compared > 50


def test_what_is_left_out_on_purpose_is_not_missing(tmp_path: Path) -> None:
    run = execute(config(Savings(skip_unanimous=True, case_control=2)), tmp_path / "run")
    per_prompt: dict[tuple[Any, ...], list[float]] = {}
    panels = {panel.task: panel for panel in run.panels()}
    for task, prompt_id, response in judged(run):
        panel = panels[task]
        utility = panel.utility[panel.prompt_ids.index(prompt_id), response]
        per_prompt.setdefault((task, prompt_id), []).append(utility)
    counts = np.array([(sum(values), len(values) - sum(values)) for values in per_prompt.values()])
    assert counts.max() == 2
    rows = run.estimate().where(verifier="yesno")
    assert not any("missing_verdicts" in row.flags for row in rows)
    known = {row.filter for row in rows.where(quantity="gap") if NOT_VERIFIED not in row.flags}
    assert known == {"best@1", "best@2"}
    assert all(NOT_VERIFIED in row.flags for row in rows.where(quantity="gap_pooled"))
    assert not any(NOT_VERIFIED in row.flags for row in run.estimate().where(verifier="likelihood"))
    single = rows.where(quantity="relative_gap", domain="all")
    assert [row.filter for row in single] == ["best@2"]
    assert awaited_of(run, run.panels()) == ("yesno", 2, 1)


@pytest.mark.parametrize(
    "savings",
    [
        Savings(skip_unanimous=True, case_control=4),
        Savings(skip_unanimous=True, case_control=4, verified_share=0.5),
        Savings(skip_unanimous=True, verified_share=0.5, control="probability"),
        Savings(case_control=8, control="probability"),
    ],
)
def test_every_number_that_is_given_is_unbiased(savings: Savings) -> None:
    """On 4,000 prompts, against the closed form."""
    data = draw(MID, 4000, 16, seed=8)
    panel = data.panel()
    asked = savings.chosen(data.utility, panel.task, panel.prompt_ids)
    share = savings.verified_prompts(panel.task, panel.prompt_ids)
    values = np.where(asked[:, :, None], panel.scores["binary"].values, np.nan)
    scores = {**panel.scores, "binary": type(panel.scores["binary"])(values)}
    verified = {"binary": Verified(asked, share, savings.case_control, savings.control)}
    panel = type(panel)(**{**vars(panel), "scores": scores, "verified": verified})
    rows = estimate_panels([panel], model="m", method="t").where(verifier="binary", task="synthetic")
    checked = set()
    for row in rows:
        if NOT_VERIFIED in row.flags or row.n == 1:
            continue
        known = (
            0.0 if row.quantity.endswith("_permuted")
            else truth(MID, row.quantity, "" if row.quantity == "auc_within" else row.filter, n=row.n)
        )  # fmt: skip
        assert abs(row.value - known) < 4 * row.se, row
        checked.add(row.quantity)
    wanted = {"gap", "accuracy", "shortfall", "gap_permuted", "auc_within"}
    if savings.verified_share == 1:
        wanted |= {"relative_gap", "relative_gap_per_prompt", "oracle_share"}
    assert wanted <= checked


@pytest.mark.slow
def test_intervals_of_the_default_plan_cover() -> None:
    """400 data sets of 120 prompts x 8 responses, 4 + 4 verified of three quarters of the prompts."""
    known = truth(MID, "gap", "best@4")
    savings = Savings(skip_unanimous=True, case_control=4, verified_share=0.75)
    hits = []
    from gapbench.estimate.intervals import estimate

    for seed in range(400):
        data = draw(MID, 120, 8, seed)
        ids = [f"{seed}-{i}" for i in range(120)]
        asked = savings.chosen(data.utility, "t", ids)
        verified = Verified(asked, savings.verified_prompts("t", ids), 4)
        score = np.where(asked, data.counts / 8, np.nan)
        found = partly_verified(
            data.utility, score, verified, [4], headline=4, clusters=np.arange(120), seed=seed
        )
        interval = estimate(found["gap", "best@4", 4], seed=seed)
        hits.append(interval.low <= known <= interval.high)
    covered = np.mean(hits)
    assert covered + 3 * np.sqrt(covered * (1 - covered) / len(hits)) >= 0.93


def test_a_control_is_asked_about_everything_that_matters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    yesno = verifiers.get("yesno")
    dear = type("Dear", (yesno,), {"name": "dear"})
    monkeypatch.setitem(verifiers._classes, "dear", dear)
    savings = Savings(skip_unanimous=True, case_control=2, verified_share=0.5, control="yesno")
    run = execute(config(savings, verifiers=("dear", "yesno")), tmp_path / "run")
    asked: dict[str, set[tuple[Any, ...]]] = {}
    for row in run.store.rows(Verdict):
        asked.setdefault(row.verifier, set()).add(row.key[:3])
    plain = execute(config(Savings(skip_unanimous=True), verifiers=("yesno",)), tmp_path / "plain")
    assert asked["yesno"] == judged(plain)
    assert asked["dear"] < asked["yesno"]
    rows = run.estimate()
    assert not any(NOT_VERIFIED in row.flags for row in rows.where(verifier="yesno", quantity="gap"))
    assert [
        row.filter
        for row in rows.where(verifier="dear", quantity="gap", domain="all")
        if row.value == row.value
    ]
    with pytest.raises(UserError, match="--control likelihood"):
        execute(config(Savings(control="likelihood"), verifiers=("yesno",)), tmp_path / "other")


def test_savings_can_be_taken_back_but_not_put_on(whole: Run, tmp_path: Path) -> None:
    tight = Savings(skip_unanimous=True, case_control=2, verified_share=0.5)
    run = execute(config(tight), tmp_path / "run")
    before = judged(run)
    for looser in (tight.model_copy(update={"case_control": 4, "verified_share": 0.8}), Savings()):
        run = execute(config(looser), tmp_path / "run", resume=True)
        assert before < judged(run)
        before = judged(run)
    assert before == judged(whole)
    assert [r.value for r in run.estimate()] == pytest.approx(
        [r.value for r in whole.estimate()], nan_ok=True
    )
    with pytest.raises(UserError, match="made with savings="):
        execute(config(tight), tmp_path / "run", resume=True)


def test_a_topped_up_pool_keeps_its_verdicts(tmp_path: Path) -> None:
    saving = Savings(skip_unanimous=True, case_control=2)
    small = judged(execute(config(saving, n=6), tmp_path / "run"))
    grown = execute(config(saving, n=12, limit=25), tmp_path / "run", resume=True)
    fresh = execute(config(saving, n=12, limit=25), tmp_path / "fresh")
    assert small <= judged(grown)
    assert judged(grown) == judged(fresh)
    assert [r.value for r in grown.estimate()] == pytest.approx(
        [r.value for r in fresh.estimate()], nan_ok=True
    )


def test_verify_alone_needs_grades(tmp_path: Path) -> None:
    run = execute(config(Savings(case_control=2)), tmp_path / "run", upto="sample")
    with pytest.raises(UserError, match="have no grade"):
        run.advance(only="verify")
    run.advance(only="grade")
    run.advance(only="verify")
    assert judged(run)


def test_growing_stops_on_width(tmp_path: Path) -> None:
    run = grow(config(limit=None), tmp_path / "run", half_width=0.03)
    grown = run.manifest["grown"]
    assert grown["stopped"] == "half_width"
    assert grown["half_width"] <= 0.03
    assert grown["tokens"] == run.tokens == sum(one["tokens"] for one in run.manifest["sessions"])
    assert run.config.savings == Savings(skip_unanimous=True, case_control=4)
    row = run.estimate().where(domain="all", verifier="yesno", quantity="gap", filter="best@4")[0]
    assert (grown["verifier"], grown["n"], grown["m"], grown["value"]) == ("yesno", 4, 1, row.value)
    assert grown["half_width"] == pytest.approx((row.high - row.low) / 2)
    assert "gap[best@4, m=1] by yesno: ±" in reached(run)
    at_once = execute(config(run.config.savings, limit=run.config.limit), tmp_path / "at_once")
    assert [r.value for r in at_once.estimate()] == pytest.approx(
        [r.value for r in run.estimate()], nan_ok=True
    )


def test_growing_stops_on_budget_and_goes_on(tmp_path: Path) -> None:
    run = grow(config(limit=None), tmp_path / "run", budget=6000)
    assert run.manifest["grown"]["stopped"] == "budget"
    assert 4500 < run.tokens < 6300, "tokens a prompt vary a little"
    before = {row.key for row in run.store.rows(Response)}
    more = grow(config(limit=None), tmp_path / "run", budget=9000, resume=True)
    assert before < {row.key for row in more.store.rows(Response)}
    assert 7500 < more.tokens < 9300


def test_growing_stops_where_prompts_end(tmp_path: Path) -> None:
    run = grow(config(limit=30), tmp_path / "run", half_width=0.001)
    assert run.manifest["grown"]["stopped"] == "exhausted"
    assert run.config.n == 8, "no number of responses would do"
    assert "no more prompts" in reached(run)
    assert run.config.limit == 30
    assert len(build_panels(run.store, [])[0].prompt_ids) == 30
    with pytest.raises(UserError, match="give --half-width"):
        grow(config(), tmp_path / "other")
    with pytest.raises(UserError, match="asks a model about a response"):
        grow(config(verifiers=("likelihood",)), tmp_path / "none", half_width=0.1)


class Sampled(YesNo):
    """The question of `yesno`, answered in words: one verdict a draw."""

    deterministic: ClassVar[bool] = False
    needs = frozenset()
    labels = ()
    sampling = Sampling(max_tokens=4, temperature=1.0)

    def parse(self, result: Result) -> Judgement:
        score = {"Yes": 1.0, "No": 0.0}.get(result.text)
        return Judgement(score, "scored" if score is not None else "unparsed", result.text)


@pytest.fixture
def sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(verifiers._classes, "sampled", type("Named", (Sampled,), {"name": "sampled"}))


def test_responses_are_added_where_prompts_end_and_the_gap_stays_the_same(tmp_path: Path) -> None:
    run = grow(config(limit=40), tmp_path / "run", half_width=0.025)
    grown = run.manifest["grown"]
    assert grown["stopped"] == "half_width"
    assert (run.config.limit, grown["n"], grown["m"]) == (40, 4, 1)
    assert run.config.n > 8
    row = run.estimate().where(domain="all", verifier="yesno", quantity="gap", filter="best@4")[0]
    assert (row.value, (row.high - row.low) / 2) == pytest.approx((grown["value"], grown["half_width"]))
    again = grow(config(limit=40), tmp_path / "run", budget=run.tokens * 2, resume=True)
    assert again.config.n > run.config.n
    assert again.manifest["grown"]["n"] == 4
    assert again.manifest["grown"]["half_width"] < grown["half_width"]
    assert again.tokens <= run.tokens * 2.1


def test_an_existing_run_is_topped_up_and_never_loses(whole: Run, tmp_path: Path) -> None:
    path = tmp_path / "run"
    shutil.copytree(whole.store.path, path)
    before = {row.key for row in whole.store.rows(Response)}
    run = grow(config(limit=None, n=4), path, half_width=0.03, resume=True)
    assert run.manifest["grown"]["stopped"] == "half_width"
    assert (run.config.n, run.manifest["grown"]["n"]) == (8, 4)
    assert run.config.savings == Savings(), "what was verified in full goes on so"
    assert before < {row.key for row in run.store.rows(Response)}


def test_more_verdicts_are_thinned_to_the_same_m(sampled: None, tmp_path: Path) -> None:
    small = execute(config(limit=30, verifiers=("sampled",), verdicts=2), tmp_path / "run")
    wanted = awaited_of(small, small.panels())
    assert wanted == ("sampled", 4, 2)
    before = awaited_gap(wanted, small.panels(), 0)
    more = execute(config(limit=30, verifiers=("sampled",), verdicts=8), tmp_path / "run", resume=True)
    after = awaited_gap(wanted, more.panels(), 0)
    by_eight = more.estimate().where(domain="all", quantity="gap", filter="best@4", m=8)[0]
    by_two = more.estimate().where(domain="all", quantity="gap", filter="best@4", m=2)[0]
    # The same verdicts, thinned otherwise: by blocks here, by random subsets there.
    assert after.value == pytest.approx(by_two.value, abs=by_two.se / 2)
    assert after.value < by_eight.value
    assert after.se < before.se


def test_growing_weighs_verdicts_too(sampled: None, tmp_path: Path) -> None:
    """A judge that hardly knows, of answers much longer than verdicts: its noise is what is cheapest to be rid of."""
    options = {"d": 1.0, "sd_w": 0.1, "sd_d": 0.0}
    run = grow(
        config(limit=25, verifiers=("sampled",), verdicts=2, engine_options=options),
        tmp_path / "run",
        budget=40_000,
    )
    grown = run.manifest["grown"]
    assert (grown["n"], grown["m"], run.config.limit) == (4, 2, 25)
    assert run.config.verdicts > 2
    assert grown["tokens"] <= 42_000


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_what_a_growing_run_expects_comes_true(seed: int) -> None:
    """Of its own partly verified rows: more responses never promise more than they bring, by a tenth of the width."""
    savings = Savings(skip_unanimous=True, case_control=4)
    big = draw(MID, 20_000, 32, 900)
    counts = VerdictCounts(big.counts, np.full_like(big.counts, 8), 8)
    truth_of = Forecast(PilotTask("all", big.utility, counts, 1.0, 1.0), BestOf(4), 8)
    for size in (8, 16):
        data = draw(MID, 600, size, seed)
        asked = savings.chosen(data.utility, "t", [str(i) for i in range(600)])
        part = VerdictCounts(np.where(asked, data.counts, 0), np.where(asked, 8, 0), 8)
        own = Forecast(PilotTask("part", data.utility, part, 1.0, 1.0, most=4), BestOf(4), 8)
        now, then = (own.cost(Design(n, 8, savings)).variance for n in (size, 2 * size))
        real = (
            truth_of.cost(Design(2 * size, 8, savings)).variance
            / truth_of.cost(Design(size, 8, savings)).variance
        )
        assert then / now == pytest.approx(real, rel=0.2)


def test_on_the_command_line(cli: Cli) -> None:
    words = (
        "run",
        "starter",
        "--engine",
        "simulated",
        "-m",
        "simulated",
        "-n",
        "8",
        "-V",
        "yesno",
        "--out",
        "run",
    )
    done = document(cli(*words, "--half-width", "0.04", "--json"))
    assert done["run"]["grown"]["half_width"] <= 0.04
    assert done["run"]["config"]["savings"]["case_control"] == 4
    assert done["run"]["grown"]["stopped"] == "half_width"
    for mistake, told in [
        (("--half-width", "1.5"), "--half-width"),
        (("--budget", "0"), "--budget"),
        (("--case-control", "0"), "--case-control"),
        (("--verified-share", "0"), "--verified-share"),
        (("--control", "majority"), "--control"),
        (("--half-width", "0.04", "--until", "grade"), "--until"),
    ]:
        failed = cli(*words, *mistake)
        assert failed.returncode == 2
        assert told in failed.stderr
        assert len(failed.stderr.strip().splitlines()) == 1
