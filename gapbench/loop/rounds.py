"""The loop: measure, forecast, keep, train, and again; each step done once, whatever kills it in between.

>>> from gapbench.loop.config import Arm, LoopConfig
>>> config = LoopConfig(suite="starter", tasks=("sums",), arms=(Arm.of("gold"),), rounds=2)
>>> run_loop(config, "loops/sums").skills  # doctest: +SKIP

The directory: `loop.json` (configuration, and each step that is done, with its seconds), `start/` (the base model's runs, every
arm's round 0), and `ARM/round-K/` with the runs of its round, `training.jsonl`, `training.log`, `model/` and `forecast.json`.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from gapbench.engines.base import derive_seed
from gapbench.errors import EngineFailure, UserError
from gapbench.estimate.levels import OVERALL
from gapbench.loop.config import PLACES, Arm, LoopConfig
from gapbench.loop.forecasts import (
    FEWEST,
    FILE,
    Foretold,
    digest_of,
    domains_of,
    foretold,
    freeze,
    gap_of,
    thaw,
)
from gapbench.loop.measuring import (
    FORECAST,
    START,
    Directory,
    measure,
    panels_of,
    projection_of,
    verifier_of,
)
from gapbench.loop.paired import Paired
from gapbench.loop.prompts import PromptSets, load_prompts
from gapbench.loop.scoring import Point, Score, Skill, score, skills
from gapbench.loop.state import State, config_of, read_state
from gapbench.loop.training import (
    Job,
    NothingKept,
    Trainer,
    check_trainable,
    train_in_child,
    write_examples,
)
from gapbench.panel import Panel
from gapbench.plain import plain
from gapbench.projection.forecast import FOLDER
from gapbench.projection.loops import BestLoop, TopLoop
from gapbench.run import Run
from gapbench.trajectory.measured import Measured, measured

Told = Callable[[str], None]
NOTHING = "nothing_kept"  # of a training step that was none


def run_loop(
    config: LoopConfig,
    out: str | Path,
    *,
    resume: bool = False,
    trainer: Trainer | None = None,
    tell: Told = lambda line: None,
) -> LoopResult:
    """Run a loop, or go on with one.

    Parameters
    ----------
    out
        Its directory.
    resume
        Go on with the loop that is there; more rounds may be asked for than before.
    trainer
        What trains; a child process with TRL and PEFT where None.
    tell
        Is given a line when a step begins.

    Raises
    ------
    UserError
        If the configuration is at fault, something is in the way, or no arm has anything to train on. An arm that has nothing
        left ends, and the others go on.
    EngineFailure
        If an engine or the training breaks; what was finished is kept.
    """
    config.check()
    if trainer is None:
        check_trainable(config)
    sets = load_prompts(config)
    with State(Path(out), config, sets.digests, resume=resume) as state:
        _Loop(config, sets, Directory(out), trainer or train_in_child, tell).run(state)
    return LoopResult(out)


class _Loop:
    def __init__(
        self, config: LoopConfig, sets: PromptSets, at: Directory, trainer: Trainer, tell: Told
    ) -> None:
        self.config, self.sets, self.at, self.trainer, self.tell = config, sets, at, trainer, tell

    def run(self, state: State) -> None:
        """Do every step that is not done."""

        def step(name: str, do: Callable[[], dict[str, Any]]) -> dict[str, Any]:
            def told() -> dict[str, Any]:
                self.tell(name)
                return do()

            return state.step(name, told)

        config = self.config
        step(f"{START}/measure", lambda: self._measure(config.arms, 0, config.model))
        going = list(config.arms)
        for number in range(config.rounds + 1):
            for arm in tuple(going):
                name = f"{arm.folder}/round-{number}"
                if number:
                    trained = step(f"{name}/train", lambda a=arm, k=number: self._train(a, k))  # type: ignore[misc]
                    if NOTHING in trained:
                        self.tell(f"arm '{arm.label}' ends here: {trained[NOTHING]}")
                        going.remove(arm)
                        continue
                    model = str(self.at.model(arm, number))
                    step(f"{name}/measure", lambda a=arm, k=number, m=model: self._measure((a,), k, m))  # type: ignore[misc]
                if number < config.rounds:
                    step(f"{name}/forecast", lambda a=arm, k=number: self._forecast(a, k))  # type: ignore[misc]
            if number == 1 and not going:
                raise UserError(
                    f"{self.at.path}: no arm has anything to train on; take easier tasks or other arms"
                )

    def _measure(self, arms: tuple[Arm, ...], number: int, model: str) -> dict[str, Any]:
        where = self.at.round(arms[0], number) if number else self.at.path / START
        measure(self.config, self.sets, where, model, arms, number)
        if number > 1 and self.config.keep_models == "last":
            shutil.rmtree(self.at.model(arms[0], number - 1), ignore_errors=True)
        return {}

    def _train(self, arm: Arm, number: int) -> dict[str, Any]:
        config, folder = self.config, self.at.round(arm, number)
        frozen = self.at.round(arm, number - 1) / FILE
        thaw(frozen)  # no round begins before the forecasts of it are there, as they were made
        loop = config.loop
        assert isinstance(loop, BestLoop | TopLoop)
        examples = folder / "training.jsonl"
        try:
            facts = write_examples(
                Run(self.at.run(arm, number - 1, "practice")),
                verifier_of(config, arm),
                loop,
                config.training.examples,
                derive_seed(config.seed, arm.label, number, "keep"),
                examples,
            )
        except NothingKept as none:
            return {NOTHING: str(none)}
        out = self.at.model(arm, number)
        if out.exists():  # made by a sitting that was killed before it could say so
            shutil.rmtree(out)
        base = config.model if number == 1 else str(self.at.model(arm, number - 1))
        device = config.engine_options.get("device")
        seed = derive_seed(config.seed, arm.label, number, "train")
        facts |= self.trainer(Job(base, examples, out, seed, config.training, device))
        if not all(math.isfinite(fact) for fact in facts.values() if isinstance(fact, float)):
            raise EngineFailure(
                f"{folder}: training diverged, its loss is no number; lower --learning-rate in a new loop"
            )
        return {"forecast": digest_of(frozen), **facts}

    def _forecast(self, arm: Arm, origin: int) -> dict[str, Any]:
        config = self.config
        verifier = verifier_of(config, arm)
        rows: list[Foretold] = []
        status, made_from = {}, {}
        for place in config.places:
            if place == "fresh":
                continue  # other prompts in every round: nothing is foretold of them
            path = self.at.run(arm, origin, place)
            projection = projection_of(path)
            series: dict[str, Measured] = {}
            if origin + 1 >= FEWEST:
                domains = [row.domain for row in domains_of(projection, verifier)]
                panels = [panels_of(Run(self.at.run(arm, t, place))) for t in range(origin + 1)]
                series = {domain: measured(panels, domain) for domain in domains}
            own, status[place] = foretold(
                projection,
                verifier,
                series,
                arm=arm.label,
                prompts=place,
                origin=origin,
                last=config.rounds,
                moving=arm.kind == "self",
            )
            rows += own
            file = path / FOLDER / f"{FORECAST}.json"
            made_from[file.relative_to(self.at.path).as_posix()] = digest_of(file)
        target = self.at.round(arm, origin) / FILE
        facts = {"arm": arm.label, "origin": origin, "series": status, "made_from": made_from}
        freeze(target, rows, facts)
        return {"digest": digest_of(target)}


@dataclass(frozen=True)
class LoopResult:
    """A loop as far as it has come, read from its directory.

    Attributes
    ----------
    path
        The directory.
    """

    path: str | Path

    @cached_property
    def config(self) -> LoopConfig:
        """Its configuration."""
        return config_of(self.path)

    @cached_property
    def steps(self) -> dict[str, dict[str, Any]]:
        """Each step that is done, with when it was and what it found."""
        return dict(read_state(self.path)["steps"])

    @cached_property
    def ended(self) -> dict[str, str]:
        """By label, the arms that ended before the last round for want of anything to train on, and why."""
        return {
            arm.label: facts[NOTHING]
            for arm in self.config.arms
            for name, facts in self.steps.items()
            if name.startswith(f"{arm.folder}/") and NOTHING in facts
        }

    @cached_property
    def forecasts(self) -> list[Foretold]:
        """Every frozen forecast, by arm and origin.

        Raises
        ------
        UserError
            If one was changed or removed.
        """
        at, config = Directory(self.path), self.config
        return [
            row
            for arm in config.arms
            for origin in range(config.rounds)
            if f"{arm.folder}/round-{origin}/forecast" in self.steps
            for row in thaw(at.round(arm, origin) / FILE)
        ]

    @cached_property
    def points(self) -> list[Point]:
        """What every finished round measured, by arm, set of prompts and domain."""
        return [
            point
            for arm in self.config.arms
            for place in PLACES
            if place in self.config.places
            for point in self._points(arm, place)
        ]

    @cached_property
    def scores(self) -> list[Score]:
        """Every forecast with its outcome."""
        paired = Paired(self.config, Directory(self.path))
        found = []
        for one in score(self.forecasts, self.points):
            low, high = paired.interval(one)
            found.append(replace(one, error_low=low, error_high=high))
        return found

    @cached_property
    def skills(self) -> list[Skill]:
        """How the methods did."""
        return skills(self.scores)

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`."""
        return {
            "loop": read_state(self.path),
            "ended": self.ended,
            "points": plain(self.points),
            "scores": plain(self.scores),
            "skill": plain(self.skills),
        }

    def _points(self, arm: Arm, place: str) -> list[Point]:
        at, verifier = Directory(self.path), verifier_of(self.config, arm)
        done = [
            number
            for number in range(self.config.rounds + 1)
            if (f"{arm.folder}/round-{number}/measure" if number else f"{START}/measure") in self.steps
        ]
        found = []
        for number in done:
            path = at.run(arm, number, place)
            panels: list[Panel] = panels_of(Run(path))
            for row in domains_of(projection_of(path), verifier):
                own, gap = measured([panels], row.domain), gap_of(row)
                found.append(
                    Point(
                        arm.label,
                        place,
                        row.domain,
                        number,
                        row.accuracy.value,
                        row.accuracy.low,
                        row.accuracy.high,
                        float(own.se[0]),
                        float(own.noise[0]),
                        gap.value,
                        gap.low,
                        gap.high,
                    )
                )
        return sorted(found, key=lambda one: (one.domain == OVERALL, one.domain, one.t))
