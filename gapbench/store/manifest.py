"""What a manifest must look like for a run to be read: checked once, when the run is opened.

What is not named here is kept and shown, and nothing depends on it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gapbench.errors import UserError

M = TypeVar("M", bound=BaseModel)
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Facts(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class GraderFacts(_Facts):
    """Name and options of a task's grader."""

    name: str
    options: dict[str, Any]


class SamplingFacts(BaseModel):
    """How a task's tokens are drawn (`gapbench.engines.base.Sampling`)."""

    model_config = ConfigDict(extra="forbid", strict=True)

    max_tokens: Annotated[int, Field(ge=1)]
    temperature: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    top_p: Annotated[float, Field(gt=0, le=1)]
    stop: list[str]


class TaskFacts(_Facts):
    """A task; an imported one has neither grader nor sampling."""

    domain: str
    grader: GraderFacts | None = None
    sampling: SamplingFacts | None = None
    card: dict[str, Any] = {}


class SuiteFacts(_Facts):
    """Where the tasks come from."""

    name: str
    digest: str


class ModelFacts(_Facts):
    """The model that was measured."""

    id: str


class EngineFacts(_Facts):
    """What the responses come from; no model before an engine was started."""

    model: ModelFacts


class SessionFacts(_Facts):
    """A sitting of a stage; one that was killed has only its stage and start."""

    stage: str
    rows: Count = 0
    requests: Count = 0
    tokens: Count = 0
    prompt_tokens: Count = 0
    cached_tokens: Count | None = None
    seconds: Seconds = 0.0
    engine_seconds: Seconds = 0.0
    statuses: dict[str, Count] = {}


class VerifierFacts(BaseModel):
    """A verifier of an imported run."""

    model_config = ConfigDict(extra="forbid", strict=True)

    scale: Literal["probability", "logprob", "real"]
    threshold: Finite | None
    whole_pool: bool


class TableFacts(_Facts):
    """A table that was imported."""

    file: str
    rows: Count = 0


class ImportFacts(_Facts):
    """The tables that a run was made of."""

    responses: TableFacts
    verdicts: TableFacts | None = None


class Manifest(_Facts):
    """A run's manifest. `config` is checked against `gapbench.run.RunConfig`."""

    config: dict[str, Any]
    suite: SuiteFacts
    tasks: Annotated[dict[str, TaskFacts], Field(min_length=1)]
    sessions: list[SessionFacts] = []
    engine: EngineFacts = EngineFacts(model=ModelFacts(id=""))
    judges: dict[str, dict[str, Any]] = {}
    verifiers: dict[str, VerifierFacts] = {}
    imported: ImportFacts = ImportFacts(responses=TableFacts(file=""))

    @model_validator(mode="after")
    def _of_a_model_or_a_table(self) -> Manifest:
        given = self.model_fields_set
        if self.config.get("engine") == "imported":
            if "imported" not in given:
                raise ValueError("an imported run needs the entry 'imported'")
        elif "imported" in given:
            raise ValueError("a run with an engine was not imported")
        else:
            for name, task in self.tasks.items():
                if task.grader is None or task.sampling is None:
                    raise ValueError(f"task '{name}' needs a grader and sampling")
        return self


def check_manifest(manifest: Mapping[str, Any], config: type[M], path: Path) -> M:
    """Check that what is read from a manifest later is there, and of its type.

    Parameters
    ----------
    config
        The model of the entry `config`.
    path
        The run directory, for the message.

    Returns
    -------
    The configuration.

    Raises
    ------
    UserError
        If it is not a manifest.
    """
    try:
        Manifest.model_validate(manifest)
        # As JSON, whose lists may become tuples: types are strict, so that "8" is not taken for 8.
        return config.model_validate_json(json.dumps(manifest["config"]), strict=True)
    except ValidationError as bad:
        first = bad.errors()[0]
        part = "" if bad.title == Manifest.__name__ else "config."
        place = part + ".".join(map(str, first["loc"]))
        what = f"'{place.rstrip('.')}': " if place else ""
        why = first["msg"].removeprefix("Value error, ").lower()
        raise UserError(
            f"{path / 'manifest.json'}: {what}{why}; restore it, or start a new run elsewhere"
        ) from None
