"""Parts of pages that are made from the code, so that they cannot go stale.

Where a page says `<!-- generated: NAME -->`, what `PARTS[NAME]()` returns is put there.
"""

from __future__ import annotations

import inspect
import pkgutil
import re
from dataclasses import fields, is_dataclass
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pyarrow as pa
import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.cli import get_docs_for_click

import gapbench
from gapbench.catalog import load_catalog
from gapbench.cli import app
from gapbench.doctor.variables import OWN, RESPECTED
from gapbench.engines.base import engines
from gapbench.estimate.contrast import Contrast
from gapbench.estimate.results import Estimate
from gapbench.graders.base import graders
from gapbench.models import EMBEDDED
from gapbench.projection.results import DomainProjection
from gapbench.records import INDEX_COLUMNS, NEVER_NULL, ROWS
from gapbench.report.comparison import OWN_NOTES as OF_COMPARISONS
from gapbench.report.definitions import DEFINITIONS
from gapbench.report.projected import OWN_NOTES as OF_PROJECTIONS
from gapbench.report.tables import NOTES
from gapbench.scaling.slopes import Slope
from gapbench.tasks import list_suites, list_tasks
from gapbench.tasks.sources import FileSource, HubSource, ProceduralSource, RowsSource
from gapbench.tasks.taskfile import Card, GraderSpec, SamplingSpec, Shot, SuiteSpec, TaskSpec
from gapbench.trajectory.checkpoints import Outcome
from gapbench.trajectory.projection import SeriesProjection
from gapbench.trajectory.scored import ForecastScore
from gapbench.verifiers.base import verifiers

MARK = re.compile(r"<!-- generated: (\w+) -->")
HIDDEN = {"cli"}  # the command line has a page of its own
DOCUMENTS = (
    ("estimate RUN", "estimates", Estimate),
    ("compare RUN RUN", "contrasts", Contrast),
    ("scale", "slopes", Slope),
    ("project RUN", "rows", DomainProjection),
    ("project --series FILE", "series", SeriesProjection),
    ("trajectory RUN RUN", "domains", Outcome),
    ("trajectory RUN RUN", "forecasts", ForecastScore),
)
PACKAGE = "\n    options: {show_root_heading: false, show_root_toc_entry: false}"
MODELS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("A suite", SuiteSpec),
    ("A task", TaskSpec),
    ("`card`", Card),
    ("`grader`", GraderSpec),
    ("`sampling`", SamplingSpec),
    ("A worked example in `shots`", Shot),
    ("`source`: rows that stand in the suite", RowsSource),
    ("`source`: a file beside it", FileSource),
    ("`source`: a data set of the hub", HubSource),
    ("`source`: questions that reasoning-gym makes", ProceduralSource),
)
UNTOLD = {  # keys that say enough for the code's own reader
    "name": "what it is called by; small letters, figures and `_`, `.`, `-`",
    "title": "in a few words",
    "domain": "what intervals are shown for; tasks of one domain weigh equally",
    "source": "where the rows come from; one of the kinds below",
    "style": "`plain` for `Q:`/`A:` text, `chat` for the model's own template",
    "system": "what the conversation opens with",
    "grader": "a grader's name, or its name and options",
    "sampling": "how tokens are drawn",
    "card": "what a reader must know before trusting a number",
    "options": "keyword arguments of the grader",
    "max_tokens": "where a response is cut",
    "temperature": "0 is greedy, and leaves nothing to choose from",
    "top_p": "share of the probability that tokens are drawn from",
    "stop": "texts that end a response; plain prompts stop at a line's end unless told otherwise, chat nowhere",
    "question": "as it is shown",
    "answer": "as it is shown",
}
_EXAMPLE = re.compile(r"^Example: (.+?)(?=\n\n|\Z)", re.MULTILINE | re.DOTALL)
_SHORTENED = re.compile(r"\*\*Commands\*\*:\n\n(?:\* .*\n)+")
_LINK = re.compile(r"arXiv[: ](\d{4}\.\d{4,5})")


def filled(text: str) -> str:
    """A page with its generated parts in place."""
    return MARK.sub(lambda found: PARTS[found[1]](), text)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    cells = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(one) for one in row) + " |" for row in cells)


def _cell(said: object) -> str:
    """One line in which no `|` ends the cell; within code none does."""
    parts = re.split(r"(`[^`]*`)", " ".join(str(said).split()))
    parts[::2] = [part.replace("|", "\\|") for part in parts[::2]]
    return "".join(parts)


def linked(source: str) -> str:
    """A source in which papers of arXiv are links."""
    return _LINK.sub(r"[arXiv \1](https://arxiv.org/abs/\1)", source)


def commands() -> str:
    """Every command with its arguments and options, as typer knows them."""
    group = typer.main.get_command(app)
    context = typer.Context(group, info_name="gapbench")
    text = get_docs_for_click(obj=group, ctx=context, name="gapbench")
    text = re.sub(r"^# `gapbench`\n+", "", text)
    every = group.commands.items()  # type: ignore[attr-defined]
    links = table(
        ["command", "what it does"],
        [(f"[`gapbench {name}`](#gapbench-{name})", (one.help or "").partition("\n")[0]) for name, one in every],
    )
    text = _SHORTENED.sub(lambda _: f"**Commands**:\n\n{links}\n", text)
    return _EXAMPLE.sub(_example, text)


def _example(found: re.Match[str]) -> str:
    lines = " ".join(found[1].split()).split("; ")
    return "\n".join(["```console", *(f"$ {line}" for line in lines), "```"])


def quantities() -> str:
    """Every quantity of the report, in its words."""
    parts = []
    for name, one in DEFINITIONS.items():
        parts.append(f"### `{name}` {{#{anchor(name)}}}\n\n**{one.title}.** {one.meaning}\n")
        parts.append(f"*Source:* {linked(one.source)}\n")
    return "\n".join(parts)


def anchor(quantity: str) -> str:
    """Where a quantity is found on its page."""
    return "q-" + re.sub(r"[^a-z0-9]+", "-", quantity.lower()).strip("-")


def records() -> str:
    """The tables of a run directory with their columns."""
    parts = []
    for name, row in ROWS.items():
        first = (row.__doc__ or "").partition("\n")[0]
        told = [
            (
                f"`{field.name}`",
                _type(field.type),
                "key" if field.name in row.key_columns else "",
                "never" if field.name in NEVER_NULL else "may be",
                "from 0" if field.name in INDEX_COLUMNS else "",
            )
            for field in row.schema
        ]
        parts.append(f"### `{name}`\n\n{first}\n\n" + table(["column", "type", "", "null", ""], told) + "\n")
    return "\n".join(parts)


def _type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"list of {_type(kind.value_type)}"
    if pa.types.is_struct(kind):
        return "{" + ", ".join(f"{one.name}: {_type(one.type)}" for one in kind) + "}"
    return str(kind)


def flags() -> str:
    """The flags of estimates, comparisons and projections, in the words of their tables."""
    known = {**OF_PROJECTIONS, **OF_COMPARISONS, **NOTES}
    return table(["flag", "meaning"], [(f"`{name}`", known[name]) for name in sorted(known)])


def variables() -> str:
    """The environment variables that are read, ours first."""
    own, respected = (
        table(["variable", "meaning"], [(f"`{one.name}`", one.meaning) for one in some])
        for some in (OWN, RESPECTED)
    )
    return f"## Of gapbench\n\n{own}\n\n## Of its libraries\n\n{respected}\n"


def documents() -> str:
    """What stands in the documents that `--json` prints, by command."""
    rows = [
        (f"`gapbench {command} --json`", key, ", ".join(_keys(kind))) for command, key, kind in DOCUMENTS
    ]
    return table(["command", "a row of", "has the keys"], rows)


def _keys(kind: type[Any]) -> list[str]:
    """Names of a dataclass's fields, those of a dataclass within it in braces."""
    hints = get_type_hints(kind, include_extras=False)
    found = []
    for one in fields(kind):
        inner = [part for part in (hints[one.name], *get_args(hints[one.name])) if is_dataclass(part)]
        found.append(f"`{one.name}`" + (f" {{{', '.join(_keys(inner[0]))}}}" if inner else ""))
    return found


def suites() -> str:
    """The suites that ship."""
    return table(
        ["suite", "tasks", "what"],
        [(f"`{one.name}`", len(one.tasks), one.title) for one in list_suites()],
    )


def tasks() -> str:
    """The tasks that ship, with their cards."""
    rows = []
    for suite, task in list_tasks():
        card = task.spec.card
        rows.append(
            (f"`{suite}/{task.name}`", task.domain, task.title, card.source, card.licence, f"{card.chance:g}")
        )
    return table(["task", "domain", "what", "source", "licence", "chance"], rows)


def verifier_list() -> str:
    """The verifiers and what they cost."""
    found = [(name, verifiers.get(name)) for name in verifiers.names()]
    return table(
        ["verifier", "what it does", "cost"],
        [(f"`{name}`", _first_sentence(one.__doc__), one.cost) for name, one in found],
    )


def grader_list() -> str:
    """The graders."""
    return table(
        ["grader", "what it does"],
        [(f"`{name}`", _first_sentence(graders.get(name).__doc__)) for name in graders.names()],
    )


def engine_list() -> str:
    """The engines; the first line of their modules, which need not be importable here."""
    folder = Path(gapbench.__file__).parent / "engines"
    rows = []
    for name in engines.names():
        text = (folder / f"{name}.py").read_text(encoding="utf-8")
        rows.append((f"`{name}`", text.partition('"""')[2].partition("\n")[0].rstrip(".")))
    return table(["engine", "what it is"], rows)


def model_list() -> str:
    """How many models the catalog knows, and those that need no hub."""
    catalog = load_catalog()
    rows = [(f"`{alias}`", one.id, one.licence) for alias, one in EMBEDDED.items()]
    return f"The catalog knows {len(catalog)} open models (`gapbench ls models`). These need no hub:\n\n" + table(
        ["name", "model", "licence"], rows
    )


def _first_sentence(text: str | None) -> str:
    paragraph = " ".join((text or "").strip().partition("\n\n")[0].split())
    return paragraph.partition(". ")[0].rstrip(".")


def packages() -> dict[str, list[str]]:
    """Public modules by package: the top level first, then each package and what is in it."""
    found: dict[str, list[str]] = {"gapbench": []}
    for module in pkgutil.walk_packages(gapbench.__path__, "gapbench."):
        parts = module.name.split(".")
        if any(part.startswith("_") for part in parts) or parts[1] in HIDDEN:
            continue
        package = ".".join(parts[:2]) if module.ispkg or len(parts) > 2 else "gapbench"
        found.setdefault(package, []).append(module.name)
    return dict(sorted(found.items()))


def python_page(package: str, modules: Sequence[str]) -> str:
    """The page of a package: each of its public modules with what is public in it."""
    title = "gapbench, top level" if package == "gapbench" else package
    parts = [f"::: {module}" + (PACKAGE if module == package else "") for module in modules]
    return f"# {title}\n\n" + "\n\n".join(parts) + "\n"


def keys() -> str:
    """Every key of a suite's YAML: its default, and what its docstring says of it."""
    parts = []
    for title, model in MODELS:
        told = _attributes(model.__doc__ or "")
        named = {one.alias or name: one for name, one in model.model_fields.items()}
        rows = [
            (f"`{name}`", _default(one), told.get(name) or UNTOLD[name]) for name, one in named.items()
        ]
        parts.append(f"## {title}\n\n{table(['key', 'default', 'what'], rows)}\n")
    return "\n".join(parts)


def _default(one: FieldInfo) -> str:
    if one.is_required():
        return "needed"
    value = one.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "see below"
    return "" if value in (None, (), {}) else f"`{value}`"


def _attributes(docstring: str) -> dict[str, str]:
    """Names to what the section Attributes says of them."""
    section = inspect.cleandoc(docstring).partition("Attributes\n----------\n")[2]
    found: dict[str, str] = {}
    for names, text in re.findall(r"^(\S.*)\n((?:[ \t]+\S.*(?:\n|\Z))+)", section, re.MULTILINE):
        found |= dict.fromkeys(names.split(", "), " ".join(text.split()))
    return found


PARTS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "quantities": quantities,
    "records": records,
    "flags": flags,
    "variables": variables,
    "keys": keys,
    "documents": documents,
    "suites": suites,
    "tasks": tasks,
    "verifiers": verifier_list,
    "graders": grader_list,
    "engines": engine_list,
    "models": model_list,
}
