"""From panels to the table of estimates."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from gapbench.errors import UserError
from gapbench.estimate.results import Estimate, Estimates
from gapbench.estimate.table import estimate_panels
from gapbench.panel import Panel, Scores

NAN = float("nan")


def panel(
    seed: int, prompts: int = 40, responses: int = 16, m: int = 4, task: str = "t", domain: str = "d"
) -> Panel:
    """The mid scenario of measurement.md section 7, with answers: the right one and five wrong ones."""
    rng = np.random.default_rng(seed)
    p = rng.beta(0.6, 0.8, prompts)
    p[: prompts // 10] = 0.0
    utility = (rng.random((prompts, responses)) < p[:, None]).astype(float)
    skill = 1.6 + 0.7 * rng.standard_normal((prompts, 1))
    latent = -0.8 + 0.7 * rng.standard_normal((prompts, 1)) + skill * utility
    latent += rng.standard_normal(utility.shape)
    verdicts = (rng.random((*utility.shape, m)) < expit(latent)[:, :, None]).astype(float)
    answers = np.where(utility > 0, 0, rng.integers(1, 6, utility.shape))
    share = (answers[:, :, None] == answers[:, None, :]).mean(axis=2)
    return Panel(
        task=task,
        domain=domain,
        prompt_ids=tuple(f"p{i}" for i in range(prompts)),
        clusters=np.arange(prompts),
        utility=utility,
        censored=np.zeros(utility.shape, dtype=bool),
        answers=answers,
        scores={
            "yesno": Scores(verdicts),
            "likelihood": Scores(latent[:, :, None] - 5.0, scale="logprob", threshold=None),
            "constant": Scores(np.full((*utility.shape, 1), 0.3)),
            "majority": Scores(share[:, :, None], whole_pool=True),
        },
    )


def only(found: Estimates, **values: object) -> Estimate:
    rows = found.where(**values)
    assert len(rows) == 1, f"{len(rows)} rows for {values}"
    return rows[0]


@pytest.fixture(scope="module")
def estimates() -> Estimates:
    panels = [
        panel(0, task="a", domain="x"),
        panel(1, 30, task="b", domain="x"),
        panel(2, task="c", domain="y"),
    ]
    return estimate_panels(panels, model="m")


def test_levels_and_weights(estimates: Estimates) -> None:
    """Tasks weigh equally in a domain, domains in the overall row."""
    value = {
        (row.domain, row.task): row.value
        for row in estimates.where(quantity="gap", verifier="yesno", filter="best@8")
    }
    assert set(value) == {("x", "a"), ("x", "b"), ("y", "c"), ("x", ""), ("y", ""), ("all", "")}
    assert value["x", ""] == pytest.approx((value["x", "a"] + value["x", "b"]) / 2)
    assert value["all", ""] == pytest.approx((value["x", ""] + value["y", ""]) / 2)
    relative = only(estimates, domain="x", task="", quantity="relative_gap", verifier="yesno")
    accuracy = only(estimates, domain="x", task="", quantity="accuracy", filter="").value
    assert relative.value == pytest.approx(value["x", ""] / (1 - accuracy))


def test_every_quantity_is_there_with_an_interval(estimates: Estimates) -> None:
    found = estimates.where(domain="x", task="a", verifier="yesno")
    names = {row.quantity for row in found}
    assert names == {
        *("accuracy", "gap", "gap_pooled", "prompt_mix", "relative_gap", "relative_gap_per_prompt"),
        *("shortfall", "oracle_share", "gap_permuted", "gap_pooled_permuted", "nothing_passes"),
        *(
            "auc_within",
            "auc_between",
            "tpr",
            "fpr",
            "youden",
            "precision",
            "precision_ceiling",
            "verifier_gain",
        ),
    }
    for row in found:
        assert row.low <= row.value <= row.high
        assert row.m == 4
    curve = [row.n for row in found.where(quantity="gap") if row.filter.startswith("best@")]
    assert curve == [1, 2, 4, 8, 16]
    assert {row.filter for row in found.where(quantity="relative_gap")} == {"best@8"}
    assert {row.n for row in estimates.where(task="a", quantity="pass@k")} == {1, 2, 4, 8, 16}


def test_identities_between_rows(estimates: Estimates) -> None:
    here = estimates.where(domain="all", verifier="yesno")
    accuracy = only(estimates, domain="all", quantity="accuracy", filter="").value
    best = only(here, quantity="accuracy", filter="best@8").value
    gap = only(here, quantity="gap", filter="best@8").value
    coverage = only(estimates, domain="all", quantity="pass@k", n=8).value
    assert best - accuracy == pytest.approx(gap)
    assert only(here, quantity="shortfall").value == pytest.approx(coverage - best)
    assert only(here, quantity="oracle_share").value == pytest.approx(gap / (coverage - accuracy))
    assert only(here, quantity="youden").value == pytest.approx(
        only(here, quantity="tpr").value - only(here, quantity="fpr").value
    )
    assert only(here, quantity="gap_pooled", filter="threshold").value == pytest.approx(
        only(here, quantity="verifier_gain").value
    )
    assert only(here, quantity="precision_ceiling").value == pytest.approx(
        accuracy + only(here, quantity="gap", filter="threshold").value
    )


def test_constant_verifier_has_no_gap(estimates: Estimates) -> None:
    found = estimates.where(verifier="constant")
    for row in found:
        if row.quantity.startswith("gap") or row.quantity in ("prompt_mix", "relative_gap", "oracle_share"):
            assert row.value == 0.0, row
        if row.quantity.startswith("auc"):
            assert row.value == 0.5
    threshold = only(found, task="a", quantity="nothing_passes")
    assert threshold.value == 1.0


def test_pool_verifier_is_reported_on_the_whole_pool_only(estimates: Estimates) -> None:
    found = estimates.where(verifier="majority")
    assert {row.filter for row in found if row.filter.startswith("best@")} == {"best@16"}
    assert all("pool=16" in row.flags for row in found)
    best = only(found, task="a", quantity="accuracy", filter="best@16").value
    vote = only(estimates, task="a", quantity="accuracy", filter="majority@16").value
    assert best == pytest.approx(vote)  # the same choice by two roads


@pytest.mark.slow
def test_permuted_scores_have_no_gap_but_real_ones_do() -> None:
    found = estimate_panels([panel(5, prompts=2000)], model="m").where(task="t")
    for verifier in ("yesno", "likelihood"):
        controls = [r for r in found.where(verifier=verifier) if r.quantity.endswith("_permuted")]
        assert len(controls) == (5 if verifier == "yesno" else 3)
        for row in controls:
            assert abs(row.value) < 4 * row.se, row
        gap = only(found, verifier=verifier, quantity="gap", filter="best@8")
        assert gap.value > 10 * gap.se
    # shuffling within prompts would leave the choice of prompts in the pooled gap
    mix = only(found, verifier="yesno", quantity="prompt_mix", filter="threshold")
    assert mix.value > 10 * mix.se


def test_same_seed_same_table_and_response_order_does_not_matter() -> None:
    one = panel(6)
    first = estimate_panels([one], model="m", seed=3)
    assert first.to_json() == estimate_panels([panel(6)], model="m", seed=3).to_json()
    shuffle = np.random.default_rng(0).permutation(16)
    moved = replace(
        one,
        utility=one.utility[:, shuffle],
        answers=one.answers[:, shuffle],
        scores={name: replace(s, values=s.values[:, shuffle]) for name, s in one.scores.items()},
    )
    for before, after in zip(first, estimate_panels([moved], model="m", seed=3), strict=True):
        random = before.quantity.endswith("_permuted") or before.filter.startswith("majority@")
        if not random:
            np.testing.assert_allclose(
                [before.value, before.se, before.low, before.high],
                [after.value, after.se, after.low, after.high],
                atol=1e-9,
            )


def test_verifier_without_a_verdict_has_no_number() -> None:
    one = panel(7)
    silent = replace(one, scores={"silent": Scores(np.full((40, 16, 2), NAN))})
    row = only(estimate_panels([silent], model="m").where(task="t"), verifier="silent")
    assert row.quantity == "gap"
    assert row.flags == ("no_verdicts",)
    assert np.isnan([row.value, row.se, row.low, row.high]).all()


def test_a_verifier_need_not_apply_to_every_task() -> None:
    """Its aggregates are over the tasks that have it, domains weighing equally among those, and say so."""
    one, two = panel(8, task="a", domain="x"), panel(9, 30, task="b", domain="x")
    three, four = panel(10, 30, task="c", domain="x"), panel(11, task="d", domain="y")
    names = {"a": ["yesno", "likelihood"], "b": ["likelihood"], "c": ["yesno"], "d": ["yesno", "constant"]}
    panels = [
        replace(p, scores={name: p.scores[name] for name in names[p.task]}) for p in (one, two, three, four)
    ]
    panels[1] = replace(panels[1], answers=np.full(panels[1].answers.shape, -1))
    options = {"model": "m", "filters": ["all"], "verdict_counts": True, "over_optimisation": True}
    found = estimate_panels(panels, **options)
    without = estimate_panels([panels[0], panels[2], panels[3]], **options)
    for domain, held in (("x", "partial:2 of 3 tasks"), ("all", "partial:3 of 4 tasks")):
        rows = found.where(domain=domain, task="", verifier="yesno")
        assert len(rows) > 40
        for row in rows:
            assert held in row.flags
            (alone,) = without.where(
                domain=domain,
                task="",
                verifier="yesno",
                quantity=row.quantity,
                filter=row.filter,
                n=row.n,
                m=row.m,
            )
            np.testing.assert_equal((row.value, row.low, row.high), (alone.value, alone.low, alone.high))
    assert {
        row.flags for row in found.where(domain="all", verifier="constant") if row.filter == "best@8"
    } >= {("partial:1 of 4 tasks", "degenerate")}
    votes = [row for row in found.where(domain="all") if row.filter == "majority@8"]
    assert all("partial:3 of 4 tasks" in row.flags for row in votes)
    assert not [row for row in found.where(task="b") if row.filter.startswith("majority@")]
    others = [row for row in found if row.verifier == "" and "majority" not in row.filter]
    assert not [row for row in others if any(flag.startswith("partial") for flag in row.flags)]
    nobody = estimate_panels([replace(p, scores={}) for p in panels], **options)
    assert {row.verifier for row in nobody} == {""}


def test_missing_verdicts_are_flagged() -> None:
    one = panel(10)
    values = one.scores["yesno"].values.copy()
    values[:, 0] = NAN
    found = estimate_panels([replace(one, scores={"yesno": Scores(values)})], model="m")
    assert all("missing_verdicts" in row.flags for row in found.where(verifier="yesno"))


def test_prompts_with_too_few_responses_leave_the_curve() -> None:
    one = panel(11)
    utility = one.utility.copy()
    utility[:5, 10:] = NAN
    found = estimate_panels([replace(one, utility=utility)], model="m").where(task="t", verifier="yesno")
    short, full = (only(found, quantity="gap", filter=f"best@{n}") for n in (16, 8))
    assert (short.n_prompts, short.n_responses) == (35, 35 * 16)
    assert "fewer_prompts" in short.flags
    assert (full.n_prompts, full.n_responses) == (40, 35 * 16 + 5 * 10)


def test_bounds_of_censored_rows_equal_trying_every_completion() -> None:
    """Bounds of accuracy, best@n and gap[best@n] against all ways in which the cut rows could have ended."""
    one = panel(12, prompts=24, responses=8)
    censored = np.zeros(one.utility.shape, dtype=bool)
    cells = [(0, 1), (0, 3), (5, 0), (9, 7), (20, 2)]
    for cell in cells:
        censored[cell] = True
    utility = np.where(censored, 0.0, one.utility)
    cut = replace(one, utility=utility, censored=censored)
    found = estimate_panels([cut], model="m", method="t").where(task="t")
    wanted = {("", "accuracy", ""), ("yesno", "accuracy", "best@4"), ("yesno", "gap", "best@4")}
    seen: dict[tuple[str, str, str], list[float]] = {key: [] for key in wanted}
    for code in range(2 ** len(cells)):
        ended = utility.copy()
        for bit, cell in enumerate(cells):
            ended[cell] = code >> bit & 1
        plain = replace(one, utility=ended, scores={"yesno": one.scores["yesno"]})
        for key, values in seen.items():
            table = estimate_panels([plain], model="m", method="t", ns=[4]).where(task="t")
            values.append(only(table, verifier=key[0], quantity=key[1], filter=key[2]).value)
    for (verifier, quantity, label), values in seen.items():
        row = only(found, verifier=verifier, quantity=quantity, filter=label)
        assert "censored" in row.flags
        assert (row.bound_low, row.bound_high) == pytest.approx((min(values), max(values)), abs=1e-12)


def test_rows_lost_to_errors_rejoin_the_sample_in_the_bounds() -> None:
    one = panel(13)
    utility, censored = one.utility.copy(), np.zeros(one.utility.shape, dtype=bool)
    utility[3:6, 0], censored[3:6, 0] = NAN, True
    utility[6:9, 1], censored[6:9, 1] = NAN, True
    utility[10:15, 2], censored[10:15, 2] = NAN, True
    found = estimate_panels([replace(one, utility=utility, censored=censored)], model="m").where(task="t")
    row = only(found, verifier="", quantity="accuracy", filter="")
    assert row.bound_low == pytest.approx(np.where(censored, 0.0, utility).mean())
    assert row.bound_high == pytest.approx(np.where(censored, 1.0, utility).mean())
    gap = only(found, verifier="yesno", quantity="gap", filter="best@8")
    assert gap.bound_low is not None
    assert gap.bound_high is not None
    assert gap.bound_low < gap.value < gap.bound_high


def test_few_censored_rows_do_not_qualify_the_estimate() -> None:
    one = panel(14)
    censored = np.zeros(one.utility.shape, dtype=bool)
    censored[0, :6] = True  # 6 of 640
    found = estimate_panels([replace(one, censored=censored)], model="m")
    assert all(row.bound_low is None and "censored" not in row.flags for row in found)


def test_frame_and_json(estimates: Estimates) -> None:
    frame = estimates.to_frame()
    assert len(frame) == len(estimates)
    assert {"value", "se", "low", "high", "flags", "target"} <= set(frame.columns)
    json.dumps(estimates.to_json(), allow_nan=False)


def test_one_response_per_prompt_has_no_choice() -> None:
    one = panel(15, responses=1)
    found = estimate_panels([one], model="m").where(task="t")
    assert only(found, verifier="yesno", quantity="gap", filter="best@1").value == 0.0
    assert only(found, verifier="", quantity="accuracy", filter="").value == pytest.approx(one.utility.mean())


def test_unanimous_prompts_have_no_gap() -> None:
    one = panel(16)
    utility = np.repeat((np.arange(40) % 2).astype(float)[:, None], 16, axis=1)
    found = estimate_panels([replace(one, utility=utility)], model="m").where(task="t", verifier="yesno")
    assert only(found, quantity="gap", filter="best@8").value == 0.0
    assert "not_estimable" in only(found, quantity="oracle_share").flags
    assert np.isnan(only(found, quantity="auc_within").value)


def test_bad_input_is_told_in_one_line() -> None:
    one = panel(17)
    with pytest.raises(UserError, match="task 't' appears twice"):
        estimate_panels([one, one], model="m")
    with pytest.raises(UserError, match="no graded response"):
        estimate_panels([replace(one, utility=np.full((40, 16), NAN))], model="m")
    with pytest.raises(UserError, match="no graded response"):
        estimate_panels([], model="m")
    with pytest.raises(UserError, match="16 responses a prompt, fewer than any n"):
        estimate_panels([one], model="m", ns=[32])


def test_filters_are_added_when_asked_for() -> None:
    one = panel(18)
    plain = estimate_panels([one], model="m").where(task="t")
    asked = ["top 2 of 8", "top 0.25", "threshold@4", "threshold@cv", "random", "majority@6", "best@3"]
    found = estimate_panels([one], model="m", filters=asked).where(task="t")
    assert found.where(verifier="yesno")[0] == plain.where(verifier="yesno")[0]
    added = {row.filter for row in found} - {row.filter for row in plain}
    assert added == set(asked)
    accuracy = only(found, quantity="accuracy", filter="").value
    for label in asked:
        verifier = "" if label in ("random", "majority@6") else "yesno"
        gap = only(found, verifier=verifier, quantity="gap", filter=label)
        chosen = only(found, verifier=verifier, quantity="accuracy", filter=label)
        assert chosen.value - accuracy == pytest.approx(gap.value, abs=1e-12)
        constant = found.where(verifier="constant", quantity="gap", filter=label)
        assert all(row.value == 0.0 for row in constant)
    assert only(found, quantity="gap", filter="random").value == 0.0
    assert {row.filter for row in found.where(verifier="likelihood")} & set(asked) == {
        *("top 2 of 8", "top 0.25", "threshold@cv", "best@3")
    }
    assert {row.filter for row in found.where(verifier="majority")} & set(asked) == {"threshold@cv"}
    every = estimate_panels([one], model="m", filters=["all"]).where(task="t", verifier="yesno")
    assert {row.filter for row in every} >= {"top 2 of 8", "top 0.25", "threshold@8", "threshold@cv"}


@pytest.mark.parametrize(
    "label", ["best@0", "top 3 of 2", "top 0 of 2", "top 1.5", "top 0.0", "bestof", "majority@"]
)
def test_unknown_filters_are_told(label: str) -> None:
    with pytest.raises(UserError, match=f"no filter '{label}'"):
        estimate_panels([panel(19)], model="m", filters=[label])


def test_gap_at_every_number_of_verdicts() -> None:
    one = panel(20)
    found = estimate_panels([one], model="m", verdict_counts=True).where(task="t")
    curve = {row.m: row.value for row in found.where(verifier="yesno", quantity="gap", filter="best@8")}
    assert sorted(curve) == [1, 2, 3, 4]
    assert curve[1] < curve[4]
    limit = only(found, verifier="yesno", quantity="gap_inf")
    assert limit.value > curve[4]
    assert limit.low < limit.value < limit.high
    assert not found.where(verifier="majority", quantity="gap_inf")


def test_counts_give_the_table_of_the_verdicts_they_count() -> None:
    one = panel(21)
    verdicts = one.scores["yesno"]
    assert isinstance(verdicts, Scores)
    counts = verdicts.counts
    assert counts is not None
    compact = replace(counts, yes=counts.yes.astype(np.uint8), valid=counts.valid.astype(np.uint8))
    options = {"model": "m", "filters": ["all"], "verdict_counts": True, "over_optimisation": True}
    plain = estimate_panels([replace(one, scores={"v": verdicts})], **options)
    assert plain.to_json() == estimate_panels([replace(one, scores={"v": compact})], **options).to_json()


def test_graded_utilities_go_through_everything() -> None:
    """Utility .5 for all that was wrong and 1 for all that was right: every gap is half of what it was."""
    one = replace(panel(22), scores={"yesno": panel(22).scores["yesno"]})
    graded = replace(one, utility=0.5 + one.utility / 2)
    options = {"model": "m", "filters": ["all"], "verdict_counts": True, "over_optimisation": True}
    whole, half = (estimate_panels([p], **options).where(task="t") for p in (one, graded))
    for before, after in zip(whole, half, strict=True):
        assert (before.quantity, before.filter) == (after.quantity, after.filter)
        if before.quantity in ("gap", "shortfall", "gap_pooled", "prompt_mix", "over_optimisation"):
            assert after.value == pytest.approx(before.value / 2, abs=1e-12)
        elif before.quantity in ("accuracy", "pass@k", "precision", "precision_ceiling"):
            assert after.value == pytest.approx(0.5 + before.value / 2, abs=1e-12)
        elif before.quantity in ("relative_gap", "relative_gap_per_prompt", "oracle_share", "n_star"):
            assert after.value == pytest.approx(before.value, abs=1e-12)
