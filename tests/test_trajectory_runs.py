"""Runs as checkpoints, and the forecasts in them: the same prompts, the same weights, or no statement."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from gapbench.cli._shared import print_statements
from gapbench.comparing.compare import aligned
from gapbench.errors import UserError
from gapbench.estimate.selection import BestOf, Order
from gapbench.interop.table import import_table
from gapbench.panel import Verified
from gapbench.projection.forecast import write_forecast
from gapbench.projection.project import project_run
from gapbench.report.trajectory_text import forecast_sentences, outcome_sentences
from gapbench.run import Run
from gapbench.trajectory.outcome import trajectory
from gapbench.trajectory.runs import checkpoints_of
from gapbench.trajectory.scored import counted, score_forecasts
from gapbench.trajectory.series import trajectory_json

SIZES = {"sums": 24, "products": 8}


def brought(
    folder: Path, name: str, ability: float, *, sizes: dict[str, int] | None = None, n: int = 32
) -> Run:
    """A run of a table: two tasks of unequal size in one domain, with the scores of a verifier."""
    rng = np.random.default_rng([int(100 * ability), n])
    rows, judged = [], []
    for task, count in (sizes or SIZES).items():
        for prompt in range(count):
            rate = min(0.95, ability + 0.4 * (task == "products"))
            for response in range(n):
                key = {"task": task, "prompt_id": f"p{prompt}", "response": response}
                utility = int(rng.random() < rate)
                rows.append({"domain": "arithmetic", **key, "utility": utility})
                score = round(0.5 * utility + 0.5 * rng.random(), 6)
                judged.append({**key, "verifier": "judge", "replicate": 0, "score": score})
    pd.DataFrame(rows).to_csv(folder / f"{name}.csv", index=False)
    pd.DataFrame(judged).to_csv(folder / f"{name}-verdicts.csv", index=False)
    return import_table(folder / f"{name}.csv", folder / f"{name}-verdicts.csv", out=folder / name).run


def test_imported_runs_are_checkpoints_and_tasks_weigh_as_in_every_estimate(tmp_path: Path) -> None:
    base, tuned = brought(tmp_path, "base", 0.2), brought(tmp_path, "tuned", 0.4)
    write_forecast(base, project_run(base), "early")
    domains, notes = checkpoints_of([base, tuned], verifier="judge")
    assert notes == []
    (found,) = trajectory(domains)
    means = [np.mean([panel.utility.mean() for panel in run.panels()]) for run in (base, tuned)]
    assert found.plateau.value_now == pytest.approx(means[1])
    scores, unscored = score_forecasts([base, tuned])
    assert unscored == []
    (score,) = scores
    assert score.outcome == pytest.approx(means[1])
    assert score.last == pytest.approx(means[0] - means[1])
    said = project_run(base).row("arithmetic", "judge")
    assert said is not None
    assert score.value == pytest.approx(said.rounds[1].expected.value)
    # When the responses of a table were drawn nobody knows.
    assert not score.beforehand
    assert counted(scores) == []
    text = " ".join(line for _, line in forecast_sentences(scores))
    assert "proves nothing" in text
    assert "skill" not in text
    trajectory_json([found], scores)


def test_a_forecast_for_other_prompts_is_not_scored(tmp_path: Path) -> None:
    base = brought(tmp_path, "base", 0.2)
    write_forecast(base, project_run(base), "early")
    fewer = brought(tmp_path, "fewer", 0.4, sizes={"sums": 12, "products": 8})
    scores, unscored = score_forecasts([base, fewer])
    assert scores == []
    assert unscored == ["Forecasts for other prompts than all runs have answered are not scored: 1."]
    (found,), notes = checkpoints_of([base, fewer])
    assert len(found.utility[0]) == 20
    assert notes == ["Compared on the 20 prompts that all runs have answered, of 32."]


def test_a_clock_that_is_no_number_of_rounds_has_no_outcome(tmp_path: Path) -> None:
    base, tuned = brought(tmp_path, "base", 0.2), brought(tmp_path, "tuned", 0.4)
    write_forecast(base, project_run(base), "early")
    assert score_forecasts([base, tuned], clock=[0.0, 0.5])[0] == []
    assert score_forecasts([base, tuned], clock=[0.0, float("nan")])[0] == []


def test_prompts_that_were_hardly_answered_are_left_out(tmp_path: Path) -> None:
    base, torn = brought(tmp_path, "base", 0.2), tmp_path / "tuned.csv"
    brought(tmp_path, "tuned", 0.4)
    table = pd.read_csv(torn)
    table[(table["prompt_id"] != "p3") | (table["response"] == 0)].to_csv(tmp_path / "torn.csv", index=False)
    unfinished = import_table(tmp_path / "torn.csv", out=tmp_path / "torn").run
    (found,), notes = checkpoints_of([base, unfinished])
    assert len(found.utility[0]) == 30
    assert notes == ["Left out 2 prompts with fewer than 2 graded responses in some run."]
    single = brought(tmp_path, "single", 0.3, n=1)
    with pytest.raises(UserError, match="larger -n"):
        checkpoints_of([base, single])


def test_runs_and_times_that_make_no_trajectory_are_refused(tmp_path: Path) -> None:
    base, tuned = brought(tmp_path, "base", 0.2), brought(tmp_path, "tuned", 0.4)
    for clock, said in (([0.0], "1 times for 2"), ([1.0, 0.0], "backwards"), ([0.0, np.nan], "finite")):
        with pytest.raises(UserError, match=said):
            checkpoints_of([base, tuned], clock=clock)
    with pytest.raises(UserError, match="given twice"):
        checkpoints_of([base, Run(tmp_path / "." / "base")])
    with pytest.raises(UserError, match="no verifier 'other'; there are: judge"):
        checkpoints_of([base, tuned], verifier="other")


def test_fresh_prompts_tell_whether_the_gap_is_replenished(tmp_path: Path) -> None:
    base, tuned = brought(tmp_path, "base", 0.2), brought(tmp_path, "tuned", 0.4)
    fresh = [brought(tmp_path, name, rate, n=16) for name, rate in (("new0", 0.25), ("new1", 0.05))]
    for words, said in (({"fresh": fresh[:1]}, "give one for each"), ({"fresh": fresh}, "with --verifier")):
        with pytest.raises(UserError, match=said):
            checkpoints_of([base, tuned], **words)  # type: ignore[arg-type]
    (found,) = trajectory(checkpoints_of([base, tuned], verifier="judge", fresh=fresh)[0])
    assert found.replenishment is not None
    means = []
    for run in fresh:
        gap = [
            Order.of(panel.scores["judge"].mean, ~np.isnan(panel.utility))
            .rank(panel.utility)
            .gap([BestOf(8)])
            for panel in run.panels()
        ]
        means.append(np.concatenate(gap).mean())
    assert found.replenishment.value == pytest.approx(means[1] - means[0])
    assert found.replenishment.low < means[1] - means[0] < found.replenishment.high
    assert "gap on fresh prompts" in " ".join(line for _, line in outcome_sentences(found))


def test_what_the_base_solves_in_another_form_is_told(tmp_path: Path) -> None:
    base, tuned = brought(tmp_path, "base", 0.0), brought(tmp_path, "tuned", 0.9)
    # Of the 24 sums the base solves none as they stand, and in another form the ten that were asked in it.
    form = brought(tmp_path, "form", 0.95, sizes={"sums": 10}, n=8)
    (found,) = trajectory(checkpoints_of([base, tuned], forms=[form], false_positive=0.001)[0])
    guards = {guard.name: guard for guard in found.guards}
    assert guards["elicitation"].state == guards["false_positives"].state == "measured"
    assert (guards["elicitation"].passed, guards["elicitation"].value) == (False, 1.0)
    assert guards["false_positives"].value == pytest.approx(1 - 0.999**32)
    stranger = brought(tmp_path, "stranger", 0.5, sizes={"quotients": 4})
    with pytest.raises(UserError, match="none of its questions is one of the base's"):
        checkpoints_of([base, tuned], forms=[stranger])
    with pytest.raises(UserError, match="given twice"):
        checkpoints_of([base, tuned], forms=[base])


def test_a_verifier_that_judged_a_part_is_no_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base, tuned = brought(tmp_path, "base", 0.2), brought(tmp_path, "tuned", 0.4)
    whole = aligned

    def partly(*words: object) -> object:
        panels, notes = whole(*words)  # type: ignore[arg-type]
        for label, own in panels.items():
            panels[label] = [
                replace(
                    one, verified={"judge": Verified(one.utility > 0, np.ones(len(one.utility), dtype=bool))}
                )
                for one in own
            ]
        return panels, notes

    monkeypatch.setattr("gapbench.trajectory.runs.aligned", partly)
    assert checkpoints_of([base, tuned])[0]
    with pytest.raises(UserError, match="judged a part of the responses"):
        checkpoints_of([base, tuned], verifier="judge")


def test_statements_fit_the_terminal_and_carry_their_sort(tmp_path: Path) -> None:
    base, tuned = brought(tmp_path, "base", 0.2), brought(tmp_path, "tuned", 0.4)
    (found,) = trajectory(checkpoints_of([base, tuned])[0])
    console = Console(file=io.StringIO(), width=80)
    print_statements("arithmetic", outcome_sentences(found), console)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(map(len, lines)) <= 80
    sorts = {line[2:15].strip() for line in lines[1:]} - {""}
    assert sorts == {"measurement", "simulation", "not measured"}
