"""What a suite's YAML may say, and one clear line for what it may not.

The models are the reference for anyone who writes a task; `tasks/starter.yaml` shows most of it in use.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, field_validator

from gapbench.engines.base import Sampling
from gapbench.errors import UserError
from gapbench.graders.base import graders
from gapbench.records import Style
from gapbench.registry import suggest
from gapbench.tasks.sources import FileSource, HubSource, ProceduralSource, RowsSource, SpecModel

Tool = Literal["tests", "arithmetic", "constraints"]

OURS = ("choices", "procedural", "row", "rubric", "style", "tool")


class _Model(SpecModel):
    model_config = ConfigDict(coerce_numbers_to_str=True)


class Card(_Model):
    """What a reader must know before trusting a number from the task.

    Attributes
    ----------
    source, licence
        Where the questions come from, and under what terms.
    answer_space
        What answers there can be.
    chance
        Accuracy of guessing among plausible answers.
    limits
        What the grader is known to get wrong, and what the task does not show.
    """

    source: str
    licence: str
    answer_space: str
    chance: float = Field(ge=0, le=1)
    limits: str


class Shot(_Model):
    """A worked example shown before every question."""

    question: str
    answer: str


class GraderSpec(_Model):
    """A grader's name and its options; in YAML the name alone will do."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)


class SamplingSpec(_Model):
    """How tokens are drawn. Without `stop`, plain prompts stop at a line's end and chat nowhere."""

    max_tokens: int = Field(default=32, ge=1)
    temperature: float = Field(default=1.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    stop: tuple[str, ...] | None = None

    def sampling(self, style: Style) -> Sampling:
        """The engine's parameters."""
        default = ("\n",) if style == "plain" else ()
        stop = default if self.stop is None else self.stop
        return Sampling(self.max_tokens, self.temperature, self.top_p, stop)


def _source_kind(value: Any) -> str | None:
    kinds = ("procedural", "datasets", "file", "rows")
    if isinstance(value, dict):
        return next((kind for kind in kinds if kind in value), None)
    return next((kind for kind in kinds if hasattr(value, kind)), None)


def _shots_kind(value: Any) -> str:
    return "list" if isinstance(value, list | tuple) else "number"


def _entry_kind(value: Any) -> str:
    return "reference" if isinstance(value, str) else "task"


class TaskSpec(_Model):
    """One task.

    Attributes
    ----------
    question
        Template over the fields of a row, such as `What is the capital of {country}?`. `{words[0]}` picks one of a
        list; a whole list is written with commas.
    reference
        Field of the right answer, or a template; a list is a right answer and its aliases.
    aliases
        Field of further right answers: a list, or text with `|` between them.
    after
        Regular expression; the reference is what follows its last match.
    choices
        Field of the options of a multiple choice; a whole number as reference is then an option's place, from 0. A list
        names one field for each option: `{choices[0]}` and so on show them in an order that their texts decide.
    cluster
        Field, or template, of what prompts share (a passage, a template); intervals take it as their unit.
    shots
        Worked examples: a list, or how many to take from the calibration rows.
    calibrate
        Share of the questions set aside for calibration and shots, never measured.
    prompts
        Most prompts to measure.
    keep
        Fields of a row that go into a prompt's metadata as they are, for the grader.
    tool
        What a verifier that runs a program may check in a reply: `tests` (run its code), `arithmetic` (compute its
        equations), `constraints` (hold it against the puzzle).
    rubric
        What a good reply does, in words for a judge: the field that says so, or a list of texts for every question.
    """

    silent: ClassVar[frozenset[str]] = frozenset({"keep", "tool", "rubric"})

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")
    domain: str = Field(min_length=1)
    title: str
    source: Annotated[
        Annotated[ProceduralSource, Tag("procedural")]
        | Annotated[HubSource, Tag("datasets")]
        | Annotated[FileSource, Tag("file")]
        | Annotated[RowsSource, Tag("rows")],
        Discriminator(_source_kind),
    ]
    question: str = "{question}"
    reference: str = "answer"
    aliases: str | None = None
    after: str | None = None
    choices: str | tuple[str, ...] | None = None
    cluster: str | None = None
    shots: Annotated[
        Annotated[int, Tag("number"), Field(ge=0)] | Annotated[tuple[Shot, ...], Tag("list")],
        Discriminator(_shots_kind),
    ] = 0
    style: Style = "plain"
    system: str | None = None
    grader: GraderSpec
    sampling: SamplingSpec = SamplingSpec()
    calibrate: float = Field(default=0.2, ge=0, lt=1)
    prompts: int = Field(default=500, ge=1)
    keep: tuple[str, ...] = ()
    tool: Tool | None = None
    rubric: str | tuple[str, ...] | None = None
    card: Card

    @field_validator("domain")
    @classmethod
    def _is_one(cls, value: str) -> str:
        if value == "all":
            raise ValueError("cannot be 'all', the name of the sum over domains; name it otherwise")
        return value

    @field_validator("grader", mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @field_validator("after")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as wrong:
            raise ValueError(f"is no regular expression: {wrong}") from wrong
        return value

    @field_validator("keep")
    @classmethod
    def _is_theirs(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if taken := sorted(set(value) & set(OURS)):
            raise ValueError(f"cannot hold '{taken[0]}', a name that prompts use; rename the field")
        return value

    @field_validator("question")
    @classmethod
    def _has_field(cls, value: str) -> str:
        if "{" not in value:
            raise ValueError("names no field of a row; write {field} where its text goes")
        return value


class SuiteSpec(_Model):
    """A suite: a name, a title and its tasks.

    Attributes
    ----------
    tasks
        Tasks, and references to tasks of other suites: `math` takes in all of a suite, `math/gsm8k` one. A suite without
        a name is referred to by its path from this YAML (`other.yaml`, `other.yaml/one`).
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")
    title: str
    tasks: tuple[
        Annotated[
            Annotated[TaskSpec, Tag("task")] | Annotated[str, Tag("reference"), Field(min_length=1)],
            Discriminator(_entry_kind),
        ],
        ...,
    ] = Field(min_length=1)

    @property
    def own(self) -> tuple[TaskSpec, ...]:
        """The tasks that stand in this YAML."""
        return tuple(entry for entry in self.tasks if isinstance(entry, TaskSpec))


_MODELS: dict[str, type[BaseModel]] = {
    "tasks": TaskSpec,
    "card": Card,
    "list": Shot,
    "grader": GraderSpec,
    "sampling": SamplingSpec,
    "procedural": ProceduralSource,
    "datasets": HubSource,
    "file": FileSource,
    "rows": RowsSource,
}


def read_suite(path: Path) -> tuple[SuiteSpec, bytes]:
    """Read and check a suite's YAML.

    Returns
    -------
    tuple of SuiteSpec and bytes
        What it says, and the file as it is.

    Raises
    ------
    UserError
        One line that names the file, the task, the field and what to do.
    """
    try:
        content = path.read_bytes()
        data = yaml.safe_load(content)
    except OSError as missing:
        raise UserError(f"{path}: cannot be read ({missing.strerror})") from missing
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as wrong:
        mark = getattr(wrong, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        problem = getattr(wrong, "problem", None) or str(wrong).splitlines()[0]
        raise UserError(f"{path}{where}: not YAML: {problem}; check indentation and quotes") from wrong
    return check_suite(data, path), content


def check_suite(data: Any, path: Path) -> SuiteSpec:
    """Check a suite as read from YAML, or as a Python function returns it.

    Parameters
    ----------
    path
        Where it stands, for errors.

    Raises
    ------
    UserError
        As `read_suite`.
    """
    if not isinstance(data, dict):
        raise UserError(f"{path}: is empty or no mapping; a suite needs name, title and tasks")
    try:
        spec = SuiteSpec.model_validate(data)
    except ValidationError as wrong:
        raise UserError(f"{path}: {_explain(wrong, data)}") from wrong
    names = [task.name for task in spec.own]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{path}: task '{name}' is there twice; rename one")
    for task in spec.own:
        try:
            _check_grader(task.grader)
        except UserError as wrong:
            raise UserError(f"{path}: task '{task.name}': field 'grader': {wrong}") from wrong
    return spec


def _check_grader(spec: GraderSpec) -> None:
    grader = graders.get(spec.name)
    known = [name for name in inspect.signature(grader.__init__).parameters if name != "self"]
    for option in spec.options:
        if option not in known:
            raise UserError(f"grader '{spec.name}' has no option '{option}'{suggest(option, known)}")
    try:
        grader(**spec.options)
    except (TypeError, ValueError) as wrong:
        raise UserError(f"grader '{spec.name}' refuses its options {spec.options}: {wrong}") from wrong


def _explain(error: ValidationError, data: dict[str, Any]) -> str:
    """Say the first of a model's complaints in the words of the YAML; a misspelt key before what it leaves missing."""
    found = error.errors()
    # A task at fault also makes pydantic count too few tasks.
    found = [one for one in found if one["type"] != "too_short"] or found
    first, *others = sorted(found, key=lambda one: one["type"] != "extra_forbidden")
    parts = list(first["loc"])
    model = next((_MODELS[part] for part in reversed(parts[:-1]) if part in _MODELS), SuiteSpec)
    where = ""
    if parts[:1] == ["tasks"] and len(parts) > 1 and isinstance(parts[1], int):
        task = data["tasks"][parts[1]]
        name = task.get("name") if isinstance(task, dict) else None
        where = f"task '{name}': " if isinstance(name, str) else f"task {parts[1] + 1}: "
        parts = parts[3:]  # the third is pydantic's name for the kind of entry
    for union in ("source", "shots"):  # the part after these is pydantic's name for the branch
        if union in parts and len(parts) > parts.index(union) + 1:
            del parts[parts.index(union) + 1]
    field = ".".join(map(str, parts))
    key = str(parts[-1]) if parts else ""
    if first["type"] == "extra_forbidden":
        message = f"unknown key '{field}'{suggest(key, list(model.model_fields))}"
    elif first["type"] == "missing":
        message = f"'{field}' is missing; add it"
    elif first["type"].startswith("union_tag"):
        message = f"'{field}' needs one of procedural, datasets, file and rows"
    else:
        value = repr(first["input"])
        shown = value if len(value) <= 60 else value[:57] + "..."
        message = f"field '{field}': {first['msg'].removeprefix('Value error, ')}, not {shown}"
    more = f" (and {len(others)} more)" if others else ""
    return f"{where}{message}{more}"
