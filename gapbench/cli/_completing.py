"""What a shell offers at Tab: names that are known without loading an engine or reading data.

Each function returns every candidate; typer keeps those that begin as the word does. Where none is left, the shell
offers files, so that paths of runs, models and YAML files complete, too.
"""

from __future__ import annotations

from typing import get_args

import typer

from gapbench.errors import UserError
from gapbench.models import EMBEDDED


def suite_names() -> list[str]:
    """Every suite that has a name."""
    from gapbench.tasks.suite import named_suites

    try:
        return sorted(named_suites()[0])
    except UserError:  # a word that cannot be completed is no occasion for a message
        return []


def task_names(ctx: typer.Context) -> list[str]:
    """Tasks of the suite that the command line names so far."""
    from gapbench.tasks import load_suite

    # An option that still lacks its value ends the parsing before arguments get their names.
    suite = ctx.params.get("suite") or next(iter(ctx.args), None)
    try:
        return [task.name for task in load_suite(suite).tasks] if suite else []
    except UserError:
        return []


def suite_and_task_names() -> list[str]:
    """Suites, and each of their tasks as SUITE/TASK."""
    from gapbench.tasks import list_tasks

    try:
        return [*suite_names(), *(f"{suite}/{task.name}" for suite, task in list_tasks())]
    except UserError:
        return []


def model_names() -> list[tuple[str, str]]:
    """The embedded models, and the ids that the catalog knows."""
    from gapbench.catalog import load_catalog

    embedded = [(alias, "needs no hub") for alias in EMBEDDED]
    try:
        return [*embedded, *((entry.id, entry.family) for entry in load_catalog())]
    except UserError:
        return embedded


def verifier_names(incomplete: str) -> list[str]:
    """The verifiers; after `NAME@` the models that may judge."""
    from gapbench.verifiers.base import verifiers

    name, at, _ = incomplete.partition("@")
    return [f"{name}@{model}" for model, _ in model_names()] if at else verifiers.names()


def arm_names(incomplete: str) -> list[str]:
    """The arms of a loop."""
    asked = verifier_names(incomplete.partition(":")[2])
    return ["gold", *(f"{how}:{name}" for how in ("frozen", "self") for name in asked)]


def engine_names() -> list[str]:
    """The engines, installed or not."""
    from gapbench.engines.base import engines

    return engines.names()


def listings() -> list[str]:
    """What `gapbench ls` lists."""
    return ["suites", "tasks", "verifiers", "engines", "models"]


def stages() -> list[str]:
    """The stages of a run."""
    return ["sample", "grade", "verify"]


def splits() -> list[str]:
    """The shares of a task's questions."""
    from gapbench.tasks import Split

    return list(get_args(Split))
