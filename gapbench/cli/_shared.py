"""What the commands share: their application, and arguments turned into what the library takes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from functools import wraps
from importlib import import_module
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
import yaml
from rich.console import Console

from gapbench import _startup
from gapbench.errors import Stopped, UserError
from gapbench.report.text import one_line

if TYPE_CHECKING:
    from gapbench.run import Run, RunConfig, Stage

Body = TypeVar("Body", bound=Callable[..., None])

app = typer.Typer(
    name="gapbench",
    help="Measure how much a language model could gain by judging its own answers.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")]
AsJson = Annotated[
    bool, typer.Option("--json", help="One JSON document on standard output, nothing else there.")
]


KEPT = "stopped; every finished row is kept, go on with the same command"


def command(
    name: str | None = None, *, loads: str = "gapbench.run", stopped: str = "stopped"
) -> Callable[[Body], Body]:
    """Register a command, and load what it works with once it is called: `--help` and Tab do without.

    Until that is loaded Ctrl-C ends the program at once (`gapbench._startup`). The body imports what it uses.

    Parameters
    ----------
    loads
        The module that brings in the libraries which take long.
    stopped
        What Ctrl-C says.
    """

    def register(body: Body) -> Body:
        @app.command(name)
        @wraps(body)
        def loaded(**given: Any) -> None:
            import_module(loads)
            _startup.ready()
            try:
                body(**given)
            except KeyboardInterrupt:
                raise Stopped(stopped) from None

        return body

    return register


def open_run(path: Path) -> Run:
    from gapbench.run import Run

    return Run(path)


def note(line: str) -> None:
    """Tell something on standard error, beside what a command prints."""
    Console(stderr=True, soft_wrap=True).print(line, highlight=False, markup=False)


def print_statements(title: str, said: Sequence[tuple[str, str]], console: Console) -> None:
    """Print sentences under a title, each after the sort of statement that it is, no wider than the console."""
    console.print(one_line(title, 80), style="bold", highlight=False, markup=False)
    for sort, sentence in said:
        for line in wrap(
            one_line(sentence, 2000),
            max(console.width, 40),
            initial_indent=f"  {sort:<12} ",
            subsequent_indent=" " * 15,
            break_on_hyphens=False,
        ):
            console.print(line, highlight=False, markup=False, soft_wrap=True)


def one_of(option: str, word: str, known: tuple[str, ...]) -> None:
    if word not in known:
        raise UserError(f"{option} {word}: there are: {', '.join(known)}")


def finish(run: Run, as_json: bool, **options: Any) -> None:
    from gapbench.report.costs import cost_lines
    from gapbench.report.publish import publish
    from gapbench.report.tables import print_table

    estimates = publish(run, **options)
    if as_json:
        print(json.dumps({"run": run.describe(), "estimates": estimates.to_json()}, allow_nan=False))
    else:
        print_table(estimates, Console())
    for line in cost_lines(run.manifest):
        note(line)
    written = os.access(run.store.path, os.W_OK)
    word = (
        f"report  {run.store.path / 'report.html'}" if written else "report  none: the directory is read-only"
    )
    note(word)


OPTIONS = {  # where the option is not the field's name
    "suite": "SUITE",
    "n": "-n",
    "verifiers": "--verifier",
    "engine_options": "--engine-option",
    "data_dir": "--data",
}


def config_of(**values: Any) -> RunConfig:
    from gapbench.run import RunConfig

    try:
        return RunConfig(**values)
    except ValueError as bad:
        first = bad.errors()[0]  # type: ignore[attr-defined]
        place = first["loc"]
        field = str(place[1] if place[0] == "savings" else place[0])
        option = OPTIONS.get(field, "--" + field.replace("_", "-"))
        raise UserError(f"{option}: {first['msg'].lower()} (got {first['input']!r})") from None


def stage_of(name: str | None) -> Stage:
    from gapbench.run import STAGES

    for stage in STAGES:
        if name in (stage, None):
            return STAGES[-1] if name is None else stage
    raise UserError(f"--until {name}: not a stage; there are: {', '.join(STAGES)}")


def engine_options_of(pairs: list[str]) -> dict[str, Any]:
    options = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise UserError(f"--engine-option {pair}: write it as KEY=VALUE")
        try:
            options[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UserError(f"--engine-option {pair}: the value is not YAML; put it between quotes") from None
    return options
