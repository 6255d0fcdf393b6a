"""The benchmark target: variance of responses and verdicts alone, against formulas and known truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gapbench.estimate.jackknife import combine_spreads, leave_one_out
from gapbench.estimate.quantities import Key, Measures, TaskMeasures
from gapbench.estimate.results import Estimate
from gapbench.estimate.table import estimate_panels
from gapbench.panel import Panel
from gapbench.synthetic import SCENARIOS, draw, truth

NAN = float("nan")


def panel_of(prompts: int, responses: int, seed: int, name: str = "mid") -> Panel:
    panel = draw(SCENARIOS[name], prompts, responses, seed).panel()
    return replace(panel, scores={"binary": panel.scores["binary"]})


def measure(panel: Panel) -> Measures:
    return TaskMeasures(panel, ns=[1, 2, 4], headline=4, seed=0).all(votes=False)


def only(panel: Panel, **values: object) -> Estimate:
    found = estimate_panels([panel], model="m", target="benchmark").where(task="synthetic", **values)
    assert len(found) == 1
    assert found[0].target == "benchmark"
    return found[0]


def test_error_of_accuracy_is_that_of_the_responses() -> None:
    panel = panel_of(30, 12, 0)
    row = only(panel, quantity="accuracy", filter="")
    assert row.value == pytest.approx(panel.utility.mean())
    assert row.se == pytest.approx(np.sqrt((panel.utility.var(axis=1, ddof=1) / 12).sum()) / 30)


def test_prompts_of_different_size() -> None:
    panel = panel_of(30, 12, 1)
    utility = panel.utility.copy()
    utility[:10, 7:] = NAN
    row = only(replace(panel, utility=utility), quantity="accuracy", filter="")
    variance = [u[~np.isnan(u)].var(ddof=1) / np.count_nonzero(~np.isnan(u)) for u in utility]
    assert row.se == pytest.approx(np.sqrt(np.sum(variance)) / 30)


def test_jackknife_equals_leaving_out_by_hand() -> None:
    """gap[best@4] of one prompt, without each of its responses in turn."""
    panel = panel_of(25, 10, 2)
    key = Key("binary", "gap", "best@4", 4, 8)
    spread = leave_one_out(panel, measure)[key]
    without = []
    for gone in range(10):
        kept = [j for j in range(10) if j != gone]
        part = replace(
            panel,
            utility=panel.utility[:, kept],
            censored=panel.censored[:, kept],
            answers=panel.answers[:, kept],
            scores={"binary": replace(panel.scores["binary"], values=panel.scores["binary"].values[:, kept])},
        )
        quantity = measure(part)[key].quantity
        assert quantity is not None
        without.append(quantity.columns()[0][:, 1])
    deviation = np.array(without) - np.mean(without, axis=0)
    np.testing.assert_allclose(spread.covariance[:, 1, 1], 9 / 10 * (deviation**2).sum(axis=0), atol=1e-12)


def test_responses_beyond_64_are_left_out_in_groups() -> None:
    panel = panel_of(20, 160, 3)
    row = only(panel, quantity="accuracy", filter="")
    exact = np.sqrt((panel.utility.var(axis=1, ddof=1) / 160).sum()) / 20
    assert row.se == pytest.approx(exact, rel=0.1)


def test_what_leans_on_most_of_the_responses_has_no_interval() -> None:
    found = estimate_panels([panel_of(30, 16, 4)], model="m", target="benchmark", filters=["all"])
    for row in found.where(verifier="binary"):
        leaning = (row.n or 0) > 8 or row.quantity.endswith("_permuted")
        leaning |= row.filter in ("threshold@cv", "top 0.25")
        assert ("not_estimable" in row.flags) == leaning, row
        assert np.isnan(row.low) == leaning
        assert not np.isnan(row.value)


def test_degenerate_prompts_leave_what_as_many_responses_could_hide() -> None:
    panel = panel_of(25, 8, 5)
    row = only(replace(panel, utility=np.ones((25, 8))), quantity="accuracy", filter="")
    assert (row.value, row.high) == (1.0, 1.0)
    assert row.low == pytest.approx(0.025 ** (1 / 200))
    assert "degenerate" in row.flags


def test_it_is_narrower_than_the_population() -> None:
    panel = panel_of(60, 32, 6)
    for quantity, label in (("accuracy", ""), ("gap", "best@8"), ("auc_between", "")):
        here = only(panel, quantity=quantity, filter=label)
        (there,) = estimate_panels([panel], model="m").where(
            task="synthetic", quantity=quantity, filter=label
        )
        assert here.value == pytest.approx(there.value)
        assert here.se < there.se


@pytest.mark.slow
def test_it_covers_the_truth_of_these_prompts() -> None:
    """Known truth of the very prompts drawn, new in each of 150 data sets of 40 prompts x 16 responses."""
    scenario = SCENARIOS["mid"]
    hits: dict[tuple[str, str], list[bool]] = {}
    wanted = [
        *[(name, "") for name in ("accuracy", "auc_within", "auc_between")],
        *[
            (name, "threshold")
            for name in ("tpr", "fpr", "youden", "precision", "verifier_gain", "gap_pooled")
        ],
        *[("gap", label) for label in ("best@2", "best@4", "best@8", "soft", "top 2 of 8", "threshold@8")],
        *[(name, "best@8") for name in ("relative_gap", "shortfall", "oracle_share")],
        *[(name, label) for name in ("prompt_mix",) for label in ("threshold", "soft")],
    ]
    for seed in range(150):
        data = draw(scenario, 40, 16, 100 + seed)
        panel = replace(data.panel(), scores={"binary": data.panel().scores["binary"]})
        found = estimate_panels(
            [panel], model="m", target="benchmark", method="t", filters=["top 2 of 8", "threshold@8"]
        ).where(task="synthetic")
        for quantity, label in wanted:
            (row,) = [
                row
                for row in found.where(quantity=quantity, filter=label)
                if row.verifier or quantity == "accuracy"
            ]
            value = truth(scenario, quantity, label, prompts=data.prompts)
            hits.setdefault((quantity, label), []).append(row.low <= value <= row.high)
    for key, hit in hits.items():
        share = float(np.mean(hit))
        assert share + 3 * np.sqrt(share * (1 - share) / len(hit)) >= 0.93, (key, share)


def test_several_tasks_weigh_as_told() -> None:
    one, other = panel_of(25, 8, 7), panel_of(35, 8, 8)
    key = Key("", "accuracy", "", None, None)
    spreads = [leave_one_out(panel, measure)[key] for panel in (one, other)]
    found = combine_spreads(spreads, [1.0, 3.0])
    errors = [np.sqrt((p.utility.var(axis=1, ddof=1) / 8).sum()) / len(p.utility) for p in (one, other)]
    assert found.value == pytest.approx(0.25 * one.utility.mean() + 0.75 * other.utility.mean())
    assert found.se == pytest.approx(np.hypot(0.25 * errors[0], 0.75 * errors[1]))
