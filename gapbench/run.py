"""A run from start to finish: the public functions behind `gapbench run` and the stages alone.

>>> from gapbench.run import RunConfig, execute
>>> execute(RunConfig(suite="starter", model="simulated", engine="simulated", limit=20), "runs/try")  # doctest: +SKIP
"""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

import gapbench
from gapbench import stages
from gapbench.engines.base import Engine, Key, Sampling, engines
from gapbench.errors import UserError
from gapbench.estimate.intervals import Method
from gapbench.estimate.results import Estimates, Target
from gapbench.estimate.table import estimate_panels
from gapbench.graders.base import Grader, graders
from gapbench.panel import Panel, build_panels
from gapbench.records import Prompt, Response
from gapbench.savings import Savings
from gapbench.store import RunStore
from gapbench.tasks import Split, Suite, load_suite
from gapbench.verifiers.base import ModelVerifier, Verifier, verifiers

Stage = Literal["sample", "grade", "verify"]
STAGES: tuple[Stage, ...] = ("sample", "grade", "verify")
IMPORTED = "imported"  # the engine of a run that was made of a table
DEFAULT_MODEL = "smollm2-135m"
DEFAULT_VERIFIERS = ("yesno", "majority", "likelihood")


class RunConfig(BaseModel):
    """Everything that decides what a run draws; kept in its manifest.

    Attributes
    ----------
    suite
        A shipped suite's name or the path of a YAML file.
    n
        Responses for each prompt.
    verdicts
        Replicates for each response, for verifiers that sample.
    limit
        Prompts for each task; None takes all, up to the task's own maximum.
    temperature
        Overrides the tasks' own sampling temperature.
    savings
        What verifiers that ask a model are not asked about, on purpose.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    suite: str
    model: str = DEFAULT_MODEL
    engine: str = "transformers"
    engine_options: dict[str, Any] = {}
    n: int = Field(default=32, ge=1)
    verifiers: tuple[str, ...] = DEFAULT_VERIFIERS
    verdicts: int = Field(default=8, ge=1)
    limit: int | None = Field(default=None, ge=1)
    split: Split = "measure"
    data_dir: str | None = None
    seed: int = Field(default=0, ge=0)
    temperature: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    savings: Savings = Savings()

    def grown_from(self, old: RunConfig) -> None:
        """Check that a run made with `old` can go on with this.

        More responses, prompts, verdicts and verifiers can be added to a run, and fewer verdicts saved; all else must
        stay as it was.

        Raises
        ------
        UserError
            If it cannot.
        """
        for name in type(self).model_fields:
            mine, theirs = getattr(self, name), getattr(old, name)
            if name in ("n", "verdicts"):
                bad = mine < theirs
            elif name == "limit":
                bad = mine is not None and (theirs is None or mine < theirs)
            elif name == "savings":
                bad = not mine.asks_all_of(theirs)
            elif name == "verifiers":
                bad = not set(theirs) <= set(mine)
            else:
                bad = mine != theirs
            if bad:
                raise UserError(
                    f"the run was made with {name}={theirs!r} and cannot go on with {mine!r}; give the old value, or a new --out"
                )


class Run:
    """A run directory together with what its manifest says.

    Parameters
    ----------
    path
        A directory that `execute` created.

    Raises
    ------
    UserError
        If no run is there, or its manifest is not one.
    """

    def __init__(self, path: str | Path) -> None:
        self.store = RunStore.open(path)
        self.manifest = self.store.read_manifest()
        try:
            self.config = RunConfig.model_validate(self.manifest["config"])
            self._tasks: dict[str, Any] = self.manifest["tasks"]
        except (KeyError, ValueError) as bad:
            raise UserError(
                f"{path}/manifest.json: not a run of this version of gapbench ({bad!r:.200})"
            ) from None

    @property
    def model(self) -> str:
        """The model's full id, or the name it was asked for by while no engine has been started."""
        return str(self.manifest.get("engine", {}).get("model", {}).get("id", self.config.model))

    def graders(self) -> dict[str, Grader]:
        """One grader for each task, as the manifest has it."""
        return {
            name: graders.get(task["grader"]["name"])(**task["grader"]["options"])
            for name, task in self._tasks.items()
        }

    def sampling(self) -> dict[str, Sampling]:
        """How each task's tokens are drawn."""
        drawn = {
            name: Sampling(**{**task["sampling"], "stop": tuple(task["sampling"]["stop"])})
            for name, task in self._tasks.items()
        }
        if self.config.temperature is None:
            return drawn
        return {name: replace(own, temperature=self.config.temperature) for name, own in drawn.items()}

    def verifiers(self) -> list[Verifier]:
        """The run's verifiers; those of an imported run are what its manifest says of them."""
        told = self.manifest.get("verifiers", {})
        return [
            _told(name, told[name]) if name in told else verifiers.get(name)()
            for name in self.config.verifiers
        ]

    def panels(self) -> list[Panel]:
        """The run as arrays, one panel a task."""
        panels = build_panels(self.store, self.verifiers())
        if all(np.isnan(panel.utility).all() for panel in panels):
            reasons = Counter(self.store.read("grades", ["status"])["status"].to_pylist()).most_common(1)
            raise UserError(f"{self.store.path}: every response failed, most with '{reasons[0][0]}'")
        return [self.config.savings.mark(panel, self._asking()) for panel in panels]

    def _asking(self) -> list[ModelVerifier]:
        """Verifiers that ask a model."""
        return [verifier for verifier in self.verifiers() if isinstance(verifier, ModelVerifier)]

    def _chosen(self) -> dict[str, set[Key]]:
        """For each verifier, the responses worth a verdict by what the grader found; none named where all are."""
        saved = {one.name: self.config.savings.of(one.name) for one in self._asking()}
        saved = {name: own for name, own in saved.items() if not own.none}
        panels = build_panels(self.store, []) if saved else []
        return {name: {key for panel in panels for key in own.keys(panel)} for name, own in saved.items()}

    def estimate(
        self,
        panels: list[Panel] | None = None,
        *,
        target: Target = "population",
        method: Method = "hull",
        filters: Sequence[str] = (),
    ) -> Estimates:
        """Every quantity of the run with its interval; `panels` saves reading them again.

        `target`, `method` and `filters` are those of `gapbench.estimate.table.estimate_panels`.
        """
        return estimate_panels(
            self.panels() if panels is None else panels,
            model=self.model,
            seed=self.config.seed,
            method=method,
            filters=filters,
            verdict_counts=True,
            over_optimisation=True,
            target=target,
        )

    @property
    def tokens(self) -> int:
        """Tokens generated so far: of responses and of verdicts."""
        tables = (self.store.read(name, ["n_tokens"])["n_tokens"] for name in ("responses", "verdicts"))
        return sum(int(pc.sum(column).as_py() or 0) for column in tables)

    def describe(self) -> dict[str, Any]:
        """The `run` part of the `--json` document: the manifest and where the run lies."""
        return {"path": str(self.store.path), **self.manifest}

    def update(self, **entries: Any) -> None:
        """Write entries into the manifest."""
        self.manifest |= entries
        self.store.write_manifest(self.manifest)

    def advance(self, upto: Stage = "verify", only: Stage | None = None) -> None:
        """Do what the stages up to `upto` (or `only` that one) have left to do.

        Raises
        ------
        UserError
            If the engine cannot do what a verifier needs, another process is writing to the run, or the run was imported.
        """
        if self.config.engine == IMPORTED:
            source = self.manifest["imported"]["responses"]["file"]
            raise UserError(
                f"{self.store.path}: imported from {source}, with no model behind it; estimate it, or import a longer table"
            )
        wanted = (only,) if only else STAGES[: STAGES.index(upto) + 1]
        asking = self._asking()

        @cache
        def engine() -> Engine:
            loaded = start_engine(self.config)
            stages.check_needs(loaded, asking)
            loaded.bind(self.store.rows(Prompt))
            self.update(engine=loaded.describe())
            return loaded

        with self.store.writing() as writer:
            work: dict[Stage, Callable[[], stages.Session]] = {
                "sample": lambda: stages.sample(
                    self.store, writer, engine, self.sampling(), self.config.n, self.config.seed
                ),
                "grade": lambda: stages.grade(self.store, writer, self.graders()),
                "verify": lambda: stages.verify(
                    self.store, writer, engine, asking, self.config.verdicts, self.config.seed, self._chosen()
                ),
            }
            try:
                for stage in wanted:
                    self._sitting(stage, work[stage])
            finally:
                if engine.cache_info().currsize:
                    with closing(engine()):
                        pass

    def _sitting(self, stage: Stage, work: Callable[[], stages.Session]) -> None:
        # The session is in the manifest before it starts, so that a killed one shows as having no end.
        begun = {"stage": stage, "started": now()}
        earlier = self.manifest.get("sessions", [])
        self.update(sessions=[*earlier, begun])
        session = work()
        self.update(sessions=[*earlier, {**begun, **asdict(session)}] if session.rows else earlier)


def execute(config: RunConfig, out: str | Path, *, resume: bool = False, upto: Stage = "verify") -> Run:
    """Create a run, or go on with one, and bring it up to a stage.

    Parameters
    ----------
    config
        What to draw.
    out
        The run directory.
    resume
        Go on with a run that is already there; without it, one that is there is an error.

    Raises
    ------
    UserError
        For an unknown suite, model, engine, verifier or grader, a run that is in the way, or one that was made
        with another configuration.
    """
    for name in config.verifiers:
        verifiers.get(name)
    control = config.savings.control
    if control is not None and (control not in config.verifiers or len(config.verifiers) < 2):
        raise UserError(f"--control {control}: name one of the run's verifiers, and a dearer one beside it")
    engines.get(config.engine)
    suite = load_suite(config.suite, limit=config.limit, split=config.split, data_dir=config.data_dir)
    prompts = [prompt for task in suite.tasks for prompt in task.prompts]
    if not prompts:
        raise UserError(f"suite '{config.suite}' has no prompts")
    store = RunStore(out)
    if not (store.exists and resume):
        store.create({"created": now(), "sessions": [], **_manifest(config, suite)})
    # The lock comes before the manifest is touched: a process that is refused leaves no trace.
    with store.writing() as writer:
        run = Run(out)
        if run.manifest["suite"]["digest"] != suite.digest:
            raise UserError(f"{out}: suite '{config.suite}' has changed since this run; name a new --out")
        if store.keys(Response):  # before the first response nothing is lost by another configuration
            config.grown_from(run.config)
        known = store.keys(Prompt)
        if known - {prompt.key for prompt in prompts}:
            raise UserError(
                f"{out}: made from other or more prompts than are asked for now; name a new --out"
            )
        run.update(**_manifest(config, suite))
        writer.extend(prompt for prompt in prompts if prompt.key not in known)
    run = Run(out)
    run.advance(upto)
    return run


def start_engine(config: RunConfig) -> Engine:
    """Start the engine of a configuration.

    Raises
    ------
    UserError
        If the model cannot be loaded, or an option is not one of the engine's or has a value that it refuses.
    """
    try:
        return engines.get(config.engine)(config.model, **config.engine_options)
    except (TypeError, ValueError, RuntimeError) as wrong:
        given = ", ".join(f"{name}={value}" for name, value in config.engine_options.items())
        if not given:
            raise
        why = str(wrong).splitlines()[0]
        raise UserError(
            f"--engine-option {given}: engine '{config.engine}' does not take it ({why})"
        ) from None


def _told(name: str, facts: Mapping[str, Any]) -> Verifier:
    """A verifier that is no plug-in: only its verdicts are here, and what is known of them."""
    told: type[Verifier] = type("Told", (Verifier,), {"name": name, "cost": "not known", **facts})
    return told()


def now() -> str:
    """The time of day in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _manifest(config: RunConfig, suite: Suite) -> dict[str, Any]:
    return {
        "gapbench": gapbench.__version__,
        "config": config.model_dump(mode="json"),
        "suite": {"name": suite.name, "digest": suite.digest},
        "tasks": {task.name: task.describe() for task in suite.tasks},
        "hardware": hardware(),
        "libraries": libraries(),
    }


def hardware() -> dict[str, Any]:
    """What the run is made on."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "machine": platform.machine(),
        "system": platform.platform(terse=True),
        "cores": os.cpu_count(),
        "memory_gib": round(pages * size / 2**30, 1),
    }


def libraries() -> dict[str, str]:
    """Versions of what decides numbers, where installed."""
    found = {"python": platform.python_version()}
    for name in (
        "numpy",
        "scipy",
        "pyarrow",
        "torch",
        "transformers",
        "vllm",
        "reasoning-gym",
        "math-verify",
    ):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
