"""Bias and coverage of every quantity against known truth (the figures of measurement.md: `test_spec_figures`).

`benchmarks/coverage.py` is the same study at full length: 1,000 data sets a cell in place of 100.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.coverage import RESPONSES, Coverage, study, true_value
from gapbench.estimate.intervals import Interval
from gapbench.estimate.quantities import Key, TaskMeasures
from gapbench.estimate.table import estimate_panels
from gapbench.synthetic import SCENARIOS, draw, truth

pytestmark = pytest.mark.slow

MID = SCENARIOS["mid"]
DATA_SETS = 100


def label(row: Coverage) -> str:
    return f"{row.quantity}[{row.filter}, n={row.n}, m={row.m}] {row.covered:.3f}, bias {row.bias:.4f}"


@pytest.mark.parametrize("prompts", [30, 50, 200])
@pytest.mark.parametrize("name", list(SCENARIOS))
def test_every_interval_of_the_table_covers(name: str, prompts: int) -> None:
    """Observed coverage and three Monte-Carlo errors reach .93, or .92 at accuracy .02."""
    found = study(name, prompts, DATA_SETS)
    assert len(found) > 40
    missed = [label(row) for row in found if not row.holds]
    assert not missed
    if name in ("mid", "null", "hacked"):
        useless = [label(row) for row in found if row.not_estimable > 0.05 * DATA_SETS and prompts >= 50]
        assert not useless


@pytest.mark.parametrize("name", ["mid", "null", "low_accuracy"])
def test_other_filters_and_numbers_of_verdicts_are_covered(name: str) -> None:
    found = study(
        name,
        50,
        DATA_SETS,
        filters=["all"],
        verdict_counts=True,
        keep=lambda key: (
            key.quantity == "gap_inf"
            or key.m not in (None, 8)
            or key.filter.startswith(("top", "threshold@"))
        ),
        over_optimisation=True,
    )
    flat = {"n_star"} if name == "null" else set()  # every n is as good
    wanted_rows = {"gap", "gap_inf", "accuracy", "over_optimisation", "n_star"} - flat
    assert {row.quantity for row in found} == wanted_rows
    assert any(row.filter == "threshold@cv" for row in found)
    assert not [label(row) for row in found if not row.holds]


def test_a_plain_z_interval_fails_at_high_accuracy() -> None:
    """Which shows that the coverage test can fail; the hull holds on the same data."""

    def z(one: Interval) -> Interval:
        return replace(one, low=one.value - 1.96 * one.se, high=one.value + 1.96 * one.se)

    def keep(key: Key) -> bool:
        return key.quantity == "relative_gap"

    (plain,) = study("high_accuracy", 50, 200, change=z, keep=keep)
    (hull,) = study("high_accuracy", 50, 200, keep=keep)
    assert plain.at_best < 0.93
    assert hull.at_best >= 0.93
    assert hull.width > plain.width


@pytest.mark.parametrize("name", list(SCENARIOS))
def test_estimates_are_unbiased(name: str) -> None:
    """20,000 prompts: within four standard errors of the truth, which is deterministic.

    `relative_gap_per_prompt` divides by 1 - p of each prompt and leaves out prompts whose responses are all right, as
    its definition has it; with few responses that is not the same as leaving out prompts with p = 1.
    """
    data = draw(SCENARIOS[name], 20_000, RESPONSES, 11).panel()
    data = replace(data, scores={"binary": data.scores["binary"]})
    found = estimate_panels([data], model="m", method="t", filters=["all"]).where(task="synthetic")
    biased = []
    for row in found:
        key = Key(row.verifier, row.quantity, row.filter, row.n, row.m)
        if row.quantity == "relative_gap_per_prompt" or row.filter == "threshold@cv":
            continue
        true = true_value(SCENARIOS[name], key)
        if abs(row.value - true) >= 4 * row.se + 1e-9:
            biased.append((key, row.value, true, row.se))
    assert not biased


def test_relative_gap_per_prompt_nears_its_truth_with_more_responses() -> None:
    errors = []
    for responses in (8, 32, 128):
        data = draw(MID, 8_000, responses, 12)
        panel = replace(data.panel(), scores={"binary": data.panel().scores["binary"]})
        measures = TaskMeasures(panel, ns=[4], headline=4, seed=0).all(votes=False)
        quantity = measures[Key("binary", "relative_gap_per_prompt", "best@4", 4, 8)].quantity
        assert quantity is not None
        errors.append(abs(quantity.value() - truth(MID, "relative_gap_per_prompt", "best@4")))
    assert errors[2] < 0.01 < errors[0]
