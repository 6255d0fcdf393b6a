"""The loop over a pretended model that learns exactly what is kept: every part of it but the training."""

from __future__ import annotations

import importlib
import io
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from gapbench.cli import main
from gapbench.engines.base import engines
from gapbench.engines.simulated import SimulatedEngine
from gapbench.errors import EngineFailure, UserError
from gapbench.estimate.selection import BestOf, Order
from gapbench.loop.config import Arm, LoopConfig
from gapbench.loop.filtering import dealt, kept
from gapbench.loop.forecasts import FILTER, GAIN, LAST, Foretold, freeze, thaw
from gapbench.loop.measuring import Directory, projection_of, verifier_of
from gapbench.loop.rounds import LoopResult, run_loop
from gapbench.loop.scoring import Point, score, skills
from gapbench.loop.state import State
from gapbench.loop.training import Job, NothingKept
from gapbench.panel import Panel
from gapbench.projection.loops import BestLoop, TopLoop
from gapbench.records import Prompt
from gapbench.report.loop import print_loop, write_loop
from gapbench.run import Run
from gapbench.trajectory.measured import measured


@engines.register("distilling")
class Distilling(SimulatedEngine):
    """A model whose directory says how many base responses one of its own is worth: best@worth by the truth."""

    def bind(self, prompts: Sequence[Prompt]) -> None:
        super().bind(prompts)
        folder = Path(self.model.id.removeprefix("simulated:"))
        worth = json.loads((folder / "worth.json").read_text()) if folder.is_dir() else 1
        for prompt in prompts:
            if prompt.key not in self._done:
                own = self._known[prompt.key]
                self._known[prompt.key] = replace(own, p=1 - (1 - own.p) ** worth)
                self._done.add(prompt.key)

    def __init__(self, model: str = "simulated", **options: Any) -> None:
        super().__init__(model, **options)
        self._name = ()  # each model draws by its runs' seeds; a judge's noise is the same in every round
        self._done: set[Any] = set()


def distil(job: Job) -> dict[str, Any]:
    """Learn best@4 by the truth, whatever was kept."""
    before = Path(job.model)
    worth = json.loads((before / "worth.json").read_text()) if before.is_dir() else 1
    job.out.mkdir()
    (job.out / "worth.json").write_text(json.dumps(4 * worth))
    return {"lines": len(job.examples.read_text().splitlines())}


def config(**changes: Any) -> LoopConfig:
    said: dict[str, Any] = {
        "suite": "starter",
        "tasks": ("sums", "reversal"),
        "model": "base",
        "engine": "distilling",
        "arms": tuple(map(Arm.of, ("gold", "frozen:yesno", "self:likelihood"))),
        "rounds": 2,
        "prompts": 5,
        "held_out": 6,
        "fresh": 3,
        "n": 16,
        "verdicts": 1,
    }
    return LoopConfig(**{**said, **changes})


@pytest.fixture(scope="module")
def looped(tmp_path_factory: pytest.TempPathFactory) -> LoopResult:
    return run_loop(config(), tmp_path_factory.mktemp("loop") / "loop", trainer=distil)


def small(**changes: Any) -> LoopConfig:
    """One arm and few prompts, but rounds enough for a series."""
    said = {
        "tasks": ("sums",),
        "arms": (Arm.of("gold"),),
        "rounds": 4,
        "prompts": 4,
        "held_out": 4,
        "fresh": 0,
    }
    return config(**{**said, "n": 4, "filter": "best@2", **changes})


def test_every_round_of_every_arm_is_a_run_of_its_own_prompts(looped: LoopResult) -> None:
    at, seen = Directory(looped.path), set()
    names = {"gold": set(), "frozen:yesno": {"yesno@base"}, "self:likelihood": {"likelihood"}}
    sets: dict[tuple[str, int], set[Any]] = {}
    for arm in looped.config.arms:
        for number in range(3):
            for place in ("practice", "held-out", "fresh"):
                run = Run(at.run(arm, number, place))
                assert run.store.count("responses") == run.store.count("grades")
                keys = {prompt.key for prompt in run.store.rows(Prompt)}
                assert sets.setdefault((place, number), keys) == keys  # the same for every arm
                assert run.config.temperature == 1.0
                judged = set(run.config.names)
                if number and place == "practice":
                    assert judged == names[arm.label]
                else:
                    assert judged == {"yesno@base", "likelihood"}
                assert run.config.model == ("base" if number == 0 else str(at.model(arm, number)))
                verdicts = run.store.read("verdicts", ["verifier", "judge"])
                assert set(verdicts["verifier"].to_pylist()) <= {"yesno@base"}
                assert set(verdicts["judge"].to_pylist()) <= {"simulated:base"}
                seen.add(run.config.seed)
    assert len(seen) == 3 + 3 * 2 * 3  # no two runs draw alike
    assert {len(keys) for (place, _), keys in sets.items() if place == "practice"} == {10}
    for place in ("practice", "held-out"):
        assert sets[place, 0] == sets[place, 1] == sets[place, 2]
    apart = [sets["practice", 0], sets["held-out", 0], *(sets["fresh", k] for k in range(3))]
    assert len(set.union(*apart)) == sum(map(len, apart)) == 10 + 12 + 3 * 6


def test_forecasts_are_frozen_before_the_next_round(looped: LoopResult) -> None:
    at = Directory(looped.path)
    for arm in looped.config.arms:
        for origin in range(2):
            file, later = at.round(arm, origin) / "forecast.json", at.round(arm, origin + 1)
            step = looped.steps[f"{arm.folder}/round-{origin + 1}/train"]
            held = json.loads(file.read_text())
            assert held["digest"] == step["forecast"]
            assert held["made"] <= step["started"]
            assert file.stat().st_mtime_ns < (later / "training.jsonl").stat().st_mtime_ns
            assert file.stat().st_mtime_ns < (later / "practice" / "manifest.json").stat().st_mtime_ns
            for name, digest in held["made_from"].items():
                assert json.loads((at.path / name).read_text())["digest"] == digest
        assert not (at.round(arm, 2) / "forecast.json").exists()


def test_a_learner_that_learns_exactly_is_foretold(looped: LoopResult) -> None:
    own = [one for one in looped.scores if one.arm == "gold" and one.method == FILTER]
    assert {(one.origin, one.t) for one in own} == {(0, 1), (0, 2), (1, 2)}
    assert all(one.inside for one in own)
    for skill in looped.skills:
        if (skill.arm, skill.method) == ("gold", FILTER):
            assert skill.forecasts == 6
            assert skill.last > 0.6
            assert skill.gain > 0.2
            assert skill.mae < 0.1
            assert skill.sound >= 5 / 6
    # In this world every arm learns by the truth, so that a poorer judge foretells too little.
    bias = {one.arm: one.bias for one in looped.skills if one.prompts == "held-out"}
    assert bias["self:likelihood"] < bias["gold"]
    assert {one.method for one in looped.scores if one.kind == "scenario"} == {
        "judge 0",
        "judge 0.25",
        "judge 0.5",
    }
    assert {one.arm for one in looped.scores if one.kind == "scenario"} == {"self:likelihood"}


def test_points_are_those_of_the_runs(looped: LoopResult) -> None:
    at = Directory(looped.path)
    assert len(looped.points) == 3 * 3 * 3 * 3
    for one in (one for one in looped.points if one.t == 2):
        arm = looped.config.arm(one.arm)
        run = Run(at.run(arm, one.t, one.prompts))
        panels = [panel for panel in run.panels() if one.domain in ("all", panel.domain)]
        assert one.accuracy == pytest.approx(np.mean([np.nanmean(panel.utility) for panel in panels]))
        series = measured([run.panels()], one.domain)
        assert series.value[0] == pytest.approx(one.accuracy)
        row = projection_of(run.store.path).row(one.domain, verifier_of(looped.config, arm))
        assert row is not None
        assert row.accuracy.value == pytest.approx(one.accuracy)


def test_errors_are_paired_by_prompt(looped: LoopResult) -> None:
    at, gold = Directory(looped.path), Arm.of("gold")
    rates = [
        [np.nanmean(one.utility, axis=1) for one in Run(at.run(gold, t, "held-out")).panels()] for t in (0, 2)
    ]
    found = {
        one.domain: one
        for one in looped.scores
        if (one.arm, one.prompts, one.origin, one.t, one.method) == ("gold", "held-out", 0, 2, LAST)
    }
    off = [before - after for before, after in zip(*rates, strict=True)]
    own = found["arithmetic"]
    truth = stats.ttest_1samp(off[0], 0.0).confidence_interval()
    assert (own.error_low, own.error_high) == pytest.approx((truth.low, truth.high))
    se = np.sqrt(sum(one.var(ddof=1) / 6 for one in off)) / 2
    both = found["all"]
    assert both.error_high - both.error == pytest.approx(stats.t.ppf(0.975, 11) * se)
    filtered = [one for one in looped.scores if one.method == FILTER]
    assert all(one.error_low <= one.error <= one.error_high for one in filtered)
    assert all(np.isnan(one.error_low) for one in looped.scores if one.kind == "scenario")


class Killed(BaseException):
    pass


def test_a_kill_after_any_step_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arms = (Arm.of("frozen:yesno"),)
    whole = run_loop(small(arms=arms, rounds=2), tmp_path / "whole", trainer=distil)
    write, left = State._write, [0]

    def failing(state: State) -> None:
        if left[0] == 0:
            raise Killed
        left[0] -= 1
        write(state)

    monkeypatch.setattr(State, "_write", failing)
    sittings = 0
    while True:
        left[0] = (
            1 if sittings == 0 else 2
        )  # the file as it is opened, and the step that was done and not recorded
        sittings += 1
        try:
            found = run_loop(small(arms=arms, rounds=2), tmp_path / "torn", resume=True, trainer=distil)
            break
        except Killed:
            pass
    assert sittings == len(whole.steps) + 1 == 1 + 2 * 3 + 1
    assert list(found.steps) == list(whole.steps)
    assert found.points == whole.points
    assert found.forecasts == whole.forecasts
    assert repr(found.skills) == repr(whole.skills)


def test_more_rounds_and_a_series(tmp_path: Path) -> None:
    out = tmp_path / "loop"
    first = run_loop(small(rounds=2), out, trainer=distil)
    mine = Directory(out)
    gold = Arm.of("gold")
    assert not mine.model(gold, 1).exists()
    assert mine.model(gold, 2).exists()
    before = {path: path.read_bytes() for path in out.rglob("forecast.json")}
    found = run_loop(small(), out, resume=True, trainer=distil)
    assert all(path.read_bytes() == old for path, old in before.items())
    assert len(found.points) == 2 * 5
    assert found.points[:3] == first.points[:3]
    status = {
        origin: json.loads((mine.round(gold, origin) / "forecast.json").read_text())["series"]["held-out"]
        for origin in range(4)
    }
    assert status[1] == {}
    assert status[2] == {"arithmetic": "too_few_points"}
    assert status[3]["arithmetic"] != "too_few_points"
    made = [(one.origin, one.t) for one in found.forecasts if one.method == "series"]
    assert made == [(3, 4), (3, 4)]
    assert {one.t for one in found.forecasts if one.origin == 0} == {1, 2}  # as many as were planned then
    assert json.loads((mine.model(gold, 4) / "worth.json").read_text()) == 4**4


def test_a_vote_is_an_arm_without_a_curve(tmp_path: Path) -> None:
    found = run_loop(small(arms=(Arm.of("self:majority"),), rounds=1), tmp_path / "loop", trainer=distil)
    assert {one.method for one in found.forecasts} == {LAST}
    assert all(np.isnan(one.gap) for one in found.points)
    assert found.skills == []
    assert Run(tmp_path / "loop" / "start" / "practice").estimate()  # a run like any other


def test_a_forecast_that_was_touched_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "loop"
    run_loop(small(rounds=1), out, trainer=distil)
    file = out / "gold" / "round-0" / "forecast.json"
    held = json.loads(file.read_text())
    held["rows"][0]["value"] = 0.5
    file.write_text(json.dumps(held))
    with pytest.raises(UserError, match="changed after it was made"):
        _ = LoopResult(out).scores
    with pytest.raises(UserError, match="changed after it was made"):
        _ = run_loop(small(rounds=2), out, resume=True, trainer=distil).scores
    file.unlink()
    with pytest.raises(UserError, match="was removed"):
        _ = LoopResult(out).scores


def test_freezing_leaves_what_is_frozen(tmp_path: Path) -> None:
    row = Foretold("gold", "practice", "d", 0, 1, FILTER, "projection", 0.5, float("nan"), 0.7)
    freeze(tmp_path / "forecast.json", [row], {"arm": "gold"})
    freeze(tmp_path / "forecast.json", [replace(row, value=0.9)], {"arm": "gold"})
    assert [one.value for one in thaw(tmp_path / "forecast.json")] == [0.5]
    assert np.isnan(thaw(tmp_path / "forecast.json")[0].low)
    assert [path.name for path in tmp_path.iterdir()] == ["forecast.json"]


def test_what_is_kept_is_best_of_n() -> None:
    rng = np.random.default_rng(0)
    utility = (rng.random((400, 16)) < 0.4).astype(float)
    score = utility + rng.normal(0, 1.0, utility.shape)
    utility[:40, 8:] = np.nan
    found = kept(utility, score, BestLoop(4), np.random.default_rng(1))
    assert [len(own) for _, own in found] == [2] * 40 + [4] * 360
    mean = np.mean([utility[prompt, own].mean() for prompt, own in found])
    truth = np.nanmean(Order.of(score, ~np.isnan(utility)).rank(utility).select([BestOf(4)]))
    assert mean == pytest.approx(truth, abs=4 * 0.5 / np.sqrt(1500))
    top = kept(utility, score, TopLoop(0.25), np.random.default_rng(1))
    for prompt, own in top:
        size = int((~np.isnan(utility[prompt])).sum())
        best = np.argsort(np.where(np.isnan(utility[prompt]), -np.inf, score[prompt]))[-size // 4 :]
        assert set(own) == set(best)


def test_ties_are_broken_at_random_and_the_unscored_come_last() -> None:
    utility = np.array([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    score = np.array([[0.5] * 4, [np.nan, np.nan, 0.1, np.nan], [np.nan] * 4])
    counts = np.zeros(4)
    for seed in range(2000):
        found = dict(kept(utility, score, BestLoop(4), np.random.default_rng(seed)))
        assert found.keys() == {0, 1}
        assert found[1] == [2]
        counts[found[0][0]] += 1
    assert ((counts - 500) ** 2 / 500).sum() < 16.3  # chi-square with 3 degrees of freedom, .999


def test_dealing_is_even() -> None:
    found = [(place, [10 * place + one for one in range(4)]) for place in range(6)]
    pairs = dealt(found, 9, np.random.default_rng(0))
    assert len(pairs) == len(set(pairs)) == 9
    assert sorted(np.bincount([prompt for prompt, _ in pairs], minlength=6)) == [1, 1, 1, 2, 2, 2]
    assert len(dealt(found, 100, np.random.default_rng(0))) == 24


def test_gold_learns_nothing_where_nothing_is_right(looped: LoopResult) -> None:
    at = Directory(looped.path)
    right = {
        (panel.task, prompt_id)
        for panel in Run(at.run(Arm.of("gold"), 0, "practice")).panels()
        for prompt_id, own in zip(panel.prompt_ids, panel.utility, strict=True)
        if own.any()
    }
    for arm, most in (("gold", len(right)), ("frozen-yesno", 10)):
        lines = (at.path / arm / "round-1" / "training.jsonl").read_text().splitlines()
        examples = [json.loads(line) for line in lines]
        assert len({(one["task"], one["prompt_id"]) for one in examples}) == most
        assert len(examples) == 4 * most
    assert len(right) < 10
    examples = [
        json.loads(line)
        for line in (at.path / "gold" / "round-1" / "training.jsonl").read_text().splitlines()
    ]
    assert {(one["task"], one["prompt_id"]) for one in examples} == right
    assert {one["utility"] == one["score"] for one in examples} == {True}
    assert examples[0]["messages"][-1]["role"] == "user"
    assert examples[0]["stop"] == ["\n"]


def panel(utility: np.ndarray, task: str = "t", domain: str = "d", clusters: Any = None) -> Panel:
    rows = len(utility)
    codes = np.arange(rows) if clusters is None else np.asarray(clusters)
    answers = np.full(utility.shape, -1)
    ids = tuple(map(str, range(rows)))
    return Panel(task, domain, ids, codes, utility, np.zeros(utility.shape, dtype=bool), answers)


def test_the_covariance_of_a_series_is_that_of_its_prompts() -> None:
    rng = np.random.default_rng(0)
    values, covariances, noises, lucks = [], [], [], []
    for _ in range(1500):
        p = rng.beta(0.5, 0.5, 30)
        q = np.clip(p + 0.1, 0, 1)
        drawn = [(rng.random((30, 6)) < rate[:, None]).astype(float) for rate in (p, q)]
        found = measured([[panel(one)] for one in drawn], "d")
        values.append(found.value)
        covariances.append(found.covariance)
        noises.append(found.noise**2)
        lucks.append((found.value - [p.mean(), q.mean()]) ** 2)
    truth = np.cov(np.array(values).T)
    assert np.mean(covariances, axis=0) == pytest.approx(truth, rel=0.12)
    assert np.mean(noises, axis=0) == pytest.approx(np.mean(lucks, axis=0), rel=0.12)


def test_clusters_and_weights_of_a_series() -> None:
    once = (np.random.default_rng(0).random((8, 4)) < 0.5).astype(float)
    twice = np.repeat(once, 2, axis=0)
    alone = measured([[panel(once)]], "d")
    assert measured([[panel(twice, clusters=np.repeat(range(8), 2))]], "d").covariance == pytest.approx(
        alone.covariance
    )
    zeros = np.zeros((5, 4))
    both = [panel(once), panel(zeros, "u"), panel(zeros, "v", "e")]
    assert measured([both], "d").value[0] == pytest.approx(once.mean() / 2)
    assert measured([both], "all").value[0] == pytest.approx(once.mean() / 4)
    assert measured([both], "all").se[0] == pytest.approx(alone.se[0] / 4)


def point(t: int, accuracy: float, noise: float = 0.0) -> Point:
    return Point("a", "held-out", "d", t, accuracy, 0, 1, 0.1, noise, 0.1, 0, 1)


def told(method: str, t: int, value: float, half: float = 0.1, kind: str = "projection") -> Foretold:
    return Foretold("a", "held-out", "d", 0, t, method, kind, value, value - half, value + half)


def test_scores_and_skill() -> None:
    points = [point(0, 0.3), point(1, 0.5), point(2, 0.6, noise=0.05)]
    rows = [
        told(FILTER, 1, 0.45),
        told(FILTER, 2, 0.75),
        told(FILTER, 3, 0.9),
        told(LAST, 1, 0.3, kind="benchmark"),
        told(LAST, 2, 0.3, kind="benchmark"),
        told(GAIN, 1, 0.4, kind="benchmark"),
        told("judge 0.5", 2, 0.9, kind="scenario"),
    ]
    scores = score(rows, points)
    assert [(one.method, one.t, one.inside) for one in scores if one.method == FILTER] == [
        (FILTER, 1, True),
        (FILTER, 2, False),
    ]
    # hypot(.1, 1.96 x .05) = .14002
    ends = [score([told(FILTER, 2, value)], points)[0].inside for value in (0.73999, 0.74003)]
    assert ends == [True, False]
    (found,) = skills(scores)
    assert (found.method, found.forecasts, found.coverage) == (FILTER, 2, 0.5)
    assert found.mae == pytest.approx((0.05 + 0.15) / 2)
    assert found.bias == pytest.approx((-0.05 + 0.15) / 2)
    assert found.last == pytest.approx(1 - (0.05 + 0.15) / (0.2 + 0.3))
    assert found.gain == pytest.approx(1 - 0.05 / 0.1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"filter": "soft"}, "keeps whole responses"),
        ({"filter": "best@1"}, "cannot be forecast"),
        ({"n": 3}, "needs 4 responses"),
        ({"tasks": ("summs",)}, "did you mean 'sums'"),
        ({"fresh": 60}, "lower one of them"),
        ({"arms": (Arm(kind="gold"), Arm(kind="gold"))}, "there twice"),
        ({"engine": "simulated"}, "no weights"),
        ({"engine": "distiling"}, "unknown engine"),
    ],
)
def test_bad_input_is_refused_before_anything_is_drawn(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        run_loop(config(**changes), tmp_path / "loop")
    assert not (tmp_path / "loop").exists()


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("silver", "write gold"),
        ("self:", "write gold"),
        ("self:yesno@gemma3-270m", "drop @gemma3-270m"),
        ("frozen:majority", "asks no model"),
        ("frozen:yesnoo", "did you mean 'yesno'"),
    ],
)
def test_bad_arms(word: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Arm.of(word)


def test_arms_survive_their_file(tmp_path: Path) -> None:
    file = tmp_path / "strict.yaml"
    file.write_text("name: strict\nverifier: yesno\noptions: {instruction: Say Yes or No.}\n")
    arms = tuple(map(Arm.of, ("gold", "frozen:yesno@gemma3-270m", "self:yesno", f"frozen:{file}")))
    made = config(arms=arms)
    assert LoopConfig.model_validate(json.loads(made.model_dump_json())) == made
    assert [arm.folder for arm in arms] == ["gold", "frozen-yesno-gemma3-270m", "self-yesno", "frozen-strict"]
    judges = [made.judge(arm) for arm in arms[1:]]
    assert [(one.name, one.judge) for one in judges if one] == [
        ("yesno@gemma3-270m", "gemma3-270m"),
        ("yesno", None),
        ("strict@base", "base"),
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--rounds", 0), "gapbench: --rounds: input should be greater than or equal to 1 (got 0)"),
        (("--most", 0), "gapbench: --most: input should be greater than or equal to 1 (got 0)"),
        (("--keep-models", "some"), "gapbench: --keep-models: input should be 'all' or 'last' (got 'some')"),
        (("--engine", "openai"), "gapbench: --engine openai: has no weights"),
    ],
)
def test_the_command_line(
    words: tuple[object, ...], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    importlib.import_module("gapbench.cli.looping")
    monkeypatch.setattr(sys, "argv", ["gapbench", "loop", "starter", "-t", "sums", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    shown = capsys.readouterr()
    assert shown.err.startswith(said)
    assert shown.err.count("\n") == 1
    assert not shown.out


def test_a_training_that_diverged_leaves_a_loop_that_can_be_read(tmp_path: Path) -> None:
    out = tmp_path / "loop"

    def diverging(job: Job) -> dict[str, Any]:
        return {**distil(job), "first_loss": 2.0, "last_loss": float("nan")}

    with pytest.raises(EngineFailure, match="lower --learning-rate"):
        run_loop(small(rounds=1), out, trainer=diverging)
    assert "gold/round-1/train" not in LoopResult(out).steps
    assert run_loop(small(rounds=1), out, resume=True, trainer=distil).skills


def forget(job: Job) -> dict[str, Any]:
    """As `distil`, but the gold arm forgets all it knew."""
    facts = distil(job)
    if "gold" in job.examples.parts:
        (job.out / "worth.json").write_text("0")
    return facts


def test_an_arm_with_nothing_to_train_on_ends_alone(tmp_path: Path) -> None:
    out = tmp_path / "loop"
    arms = (Arm.of("gold"), Arm.of("frozen:yesno"))
    told: list[str] = []
    found = run_loop(small(arms=arms, rounds=3), out, trainer=forget, tell=told.append)
    assert list(found.ended) == ["gold"]
    assert "no response is kept, for nothing is right" in found.ended["gold"]
    assert [line for line in told if "ends here" in line]
    reached = {arm: max(one.t for one in found.points if one.arm == arm) for arm in ("gold", "frozen:yesno")}
    assert reached == {"gold": 1, "frozen:yesno": 3}
    assert {one.arm for one in found.scores} == {"gold", "frozen:yesno"}
    json.dumps(found.to_json(), allow_nan=False)
    console = Console(file=io.StringIO(), width=80)
    print_loop(found, console)
    assert "Arm gold ended early" in console.file.getvalue()  # type: ignore[attr-defined]
    steps = found.steps
    assert run_loop(small(arms=arms, rounds=3), out, resume=True, trainer=forget).steps == steps


def test_no_arm_with_anything_to_train_on_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: Any) -> Any:
        raise NothingKept("no response is kept")

    monkeypatch.setattr("gapbench.loop.rounds.write_examples", none)
    with pytest.raises(UserError, match="no arm has anything to train on"):
        run_loop(small(rounds=3), tmp_path / "loop", trainer=distil)


def test_resuming_otherwise_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "loop"
    run_loop(small(rounds=1), out, trainer=distil)
    with pytest.raises(UserError, match="add --resume"):
        run_loop(small(rounds=1), out, trainer=distil)
    with pytest.raises(UserError, match="n=4 and cannot go on with 8"):
        run_loop(small(rounds=1, n=8), out, resume=True, trainer=distil)
    with pytest.raises(UserError, match="rounds=1"):
        run_loop(small(rounds=1).model_copy(update={"rounds": 0}), out, resume=True, trainer=distil)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "note").touch()
    with pytest.raises(UserError, match="is not a loop"):
        run_loop(small(rounds=1), tmp_path / "other", resume=True, trainer=distil)
    with pytest.raises(UserError, match="is not a loop"):
        run_loop(small(rounds=1), tmp_path / "other" / "note", trainer=distil)


def test_the_report(looped: LoopResult) -> None:
    console = Console(file=io.StringIO(), width=80)
    print_loop(looped, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= 80
    assert "frozen:yesno, held-out" in text
    written = {path.name: path for path in write_loop(looped)}
    assert len(written["scores.csv"].read_text().splitlines()) == 1 + len(looped.scores)
    assert "| gold | held-out | filter | 6 |" in written["loop.md"].read_text()
    assert written["gold-held-out.png"].stat().st_size > 10_000
    json.dumps(looped.to_json(), allow_nan=False)


def test_importing_the_loop_loads_no_torch() -> None:
    code = "import sys, gapbench.loop.rounds, gapbench.report.loop, gapbench.cli.looping; print('torch' in sys.modules, 'trl' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
