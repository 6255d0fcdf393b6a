"""The runs of a round: ordinary run directories, one for each set of prompts, and what they say.

LOOP/start/SET is measured once for all arms, LOOP/ARM/round-K/SET after each of their rounds. Each run keeps its own
projection for the judges of its arms as the forecast `loop`, made when the run was complete and never changed
(`gapbench.projection.forecast`); the judge of the gold arm is `gold`, whose score is the utility itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

import gapbench
from gapbench.engines.base import derive_seed
from gapbench.judging import VerifierSpec
from gapbench.launch import Engines
from gapbench.loop.config import GOLD, Arm, LoopConfig
from gapbench.loop.prompts import PromptSets
from gapbench.panel import Panel, Scores
from gapbench.projection.forecast import FOLDER, read_forecast, write_forecast
from gapbench.projection.project import project_panels
from gapbench.projection.results import Projection
from gapbench.records import Prompt
from gapbench.run import Run, RunConfig, hardware, libraries, now
from gapbench.store import RunStore
from gapbench.tasks import Suite

START = "start"
FORECAST = "loop"


class Directory:
    """Where the parts of a loop lie.

    Parameters
    ----------
    path
        The loop's directory.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def round(self, arm: Arm, number: int) -> Path:
        """What belongs to a round of an arm: forecast, training data, model."""
        return self.path / arm.folder / f"round-{number}"

    def run(self, arm: Arm, number: int, place: str) -> Path:
        """The run of a set of prompts; that of round 0 is every arm's."""
        return (self.path / START if number == 0 else self.round(arm, number)) / place

    def model(self, arm: Arm, number: int) -> Path:
        """The model that a round made."""
        return self.round(arm, number) / "model"


def measure(
    config: LoopConfig, sets: PromptSets, where: Path, model: str, arms: tuple[Arm, ...], number: int
) -> None:
    """Draw, grade and verify all sets of prompts with one model, going on with what is there, and project them.

    The model's own verdicts come first in every run, those of other judges after them, so that each engine is started once.

    Parameters
    ----------
    where
        Holds the runs.
    arms
        Whose round it is. Their verifiers judge the practice prompts; those of all arms judge the others.
    """
    every = config.verifiers(config.arms)
    runs = []
    for place in config.places:
        suite, split = sets.suite(place)
        verifiers = config.verifiers(arms) if place == "practice" else every
        seed = derive_seed(config.seed, *(arm.label for arm in arms), number, place)
        full = config.run_config(model, split, verifiers, seed)
        runs.append((lay_run(full, suite, sets.prompts(place, number), where / place, _own(verifiers)), full))
    with Engines() as pool:
        for run, _ in runs:
            run.advance(engines=pool)
        for run, full in runs:
            if run.config != full:
                run = grown(run, full)
            run.advance(only="verify", engines=pool)
    for run, _ in runs:
        project(Run(run.store.path), config, arms)


def _own(verifiers: tuple[VerifierSpec, ...]) -> tuple[VerifierSpec, ...]:
    return tuple(spec for spec in verifiers if spec.judge is None)


def lay_run(
    config: RunConfig,
    suite: Suite,
    prompts: Sequence[Prompt],
    out: Path,
    first: tuple[VerifierSpec, ...],
) -> Run:
    """Make a run of chosen prompts, or open the one that is there.

    Parameters
    ----------
    config
        What it will be in the end.
    first
        The verifiers to begin with; `grown` adds the others.
    """
    store = RunStore(out)
    begun = config.model_copy(update={"verifiers": first})
    if not store.exists:
        store.create(
            {
                "created": now(),
                "sessions": [],
                "gapbench": gapbench.__version__,
                "config": begun.model_dump(mode="json"),
                "suite": {"name": suite.name, "digest": suite.digest, "skipped": {}},
                "tasks": {task.name: task.describe() for task in suite.tasks},
                "hardware": hardware(),
                "libraries": libraries(),
            }
        )
    known = store.keys(Prompt)
    with store.writing() as writer:
        writer.extend(prompt for prompt in prompts if prompt.key not in known)
    return Run(out)


def grown(run: Run, config: RunConfig) -> Run:
    """The run with the verifiers that its configuration did not have yet.

    Raises
    ------
    UserError
        If the run was made otherwise.
    """
    config.grown_from(run.config)
    run.update(config=config.model_dump(mode="json"))
    return Run(run.store.path)


def panels_of(run: Run) -> list[Panel]:
    """The run as arrays, with the utility as the scores of `gold`."""
    return [
        replace(panel, scores={**panel.scores, GOLD: Scores(panel.utility[:, :, None])})
        for panel in run.panels()
    ]


def project(run: Run, config: LoopConfig, arms: tuple[Arm, ...]) -> None:
    """Write the run's projection for the judges of some arms into it, unless it is there."""
    if (run.store.path / FOLDER / f"{FORECAST}.json").exists():
        return
    judges = {verifier_of(config, arm) for arm in arms}
    panels = [
        replace(panel, scores={name: own for name, own in panel.scores.items() if name in judges})
        for panel in panels_of(run)
    ]
    sampled = {one.name for one in run.verifiers() if not one.deterministic}
    found = project_panels(
        panels,
        model=run.model,
        seed=config.seed,
        filter=config.filter,
        rounds=config.rounds,
        sampled=sampled,
    )
    write_forecast(run, found, FORECAST)


def projection_of(path: Path) -> Projection:
    """What the run at `path` foretold.

    Raises
    ------
    UserError
        As `gapbench.projection.forecast.read_forecast`.
    """
    return read_forecast(path / FOLDER / f"{FORECAST}.json").projection


def verifier_of(config: LoopConfig, arm: Arm) -> str:
    """The name under which an arm's scores are filed."""
    judge = config.judge(arm)
    return GOLD if judge is None else judge.name


def scores_of(panel: Panel, verifier: str) -> np.ndarray:
    """A verifier's mean scores [prompt, response]; NaN where it judged nothing of the task."""
    if verifier not in panel.scores:
        return np.full(panel.utility.shape, np.nan)
    return panel.scores[verifier].mean
