"""What comes before and beside a run: validating tasks, listing what there is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from gapbench.cli._completing import listings, suite_and_task_names
from gapbench.cli._shared import AsJson, app, command, note
from gapbench.errors import UserError


@command(loads="gapbench.tasks.validate")
def validate(
    task: Annotated[
        str,
        typer.Argument(
            metavar="TASK",
            help="A suite, SUITE/TASK, a task's name or a YAML file.",
            autocompletion=suite_and_task_names,
        ),
    ],
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Questions for each task; default: every one.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", envvar="GAPBENCH_DATA", help="Folder with local copies of hub data sets."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure how often a task's grader errs, on its own references: do this before spending model time.

    Example: gapbench validate math/gsm8k --data data
    """
    from gapbench.report.validation import print_validations
    from gapbench.tasks.validate import faulty, summary, tasks_named
    from gapbench.tasks.validate import validate as examine

    tasks, skipped = tasks_named(task, data)
    found = [examine(one, limit=limit) for one in tasks]
    for reason in skipped.values():
        note(f"skipped  {reason}")
    if as_json:
        print(json.dumps(summary(found, skipped), allow_nan=False))
    else:
        print_validations(found, Console())
    if wrong := faulty(found):
        raise UserError(wrong)


# Not `command`: it changes nothing, so that Ctrl-C may end it at any time as while libraries load.
@app.command()
def ls(
    what: Annotated[
        str, typer.Argument(help="suites, tasks, verifiers, engines or models.", autocompletion=listings)
    ],
    models: Annotated[
        list[Path] | None,
        typer.Option(
            "--models", metavar="FILE", help="A YAML file of models beyond those known; repeatable."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List what there is; of models, what is known of their size, training and lineage.

    Example: gapbench ls suites; gapbench ls models --json
    """
    if what == "models":
        _list_models(models or [], as_json)
        return
    if models or as_json:
        raise UserError(f"ls {what}: --models and --json belong to `ls models`; leave them out")
    from gapbench.engines.base import engines
    from gapbench.tasks import list_suites, list_tasks
    from gapbench.verifiers.base import verifiers

    listings: dict[str, Callable[[], list[tuple[str, str]]]] = {
        "suites": lambda: [(suite.name, suite.title) for suite in list_suites()],
        "tasks": lambda: [
            (f"{suite}/{task.name}", f"{task.domain}: {task.title}") for suite, task in list_tasks()
        ],
        "verifiers": lambda: [(name, verifiers.get(name).cost) for name in verifiers.names()],
        "engines": lambda: [(name, _first_line(name)) for name in engines.names()],
    }
    if what not in listings:
        raise UserError(f"nothing called '{what}' to list; there are: {', '.join([*listings, 'models'])}")
    rows = listings[what]()
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        print(f"{name:<{width}}  {text}".rstrip())


def _list_models(files: list[Path], as_json: bool) -> None:
    from gapbench.catalog import load_catalog
    from gapbench.models import EMBEDDED

    catalog = load_catalog(files)
    if as_json:
        print(json.dumps({"models": catalog.to_json()}, allow_nan=False))
        return
    print(catalog.to_text())
    print("\nNeed no hub:")
    for alias, model in EMBEDDED.items():
        print(f"-m {alias}  {model.id}; {model.licence}")


def _first_line(engine: str) -> str:
    from gapbench.engines.base import engines

    try:
        return (engines.get(engine).__doc__ or "").strip().partition("\n")[0]
    except UserError as missing:
        return f"not installed: {missing}"
