"""The command line: arguments in, one public call, rendering out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console

import gapbench
from gapbench.engines.base import engines
from gapbench.errors import UserError
from gapbench.run import DEFAULT_MODEL, DEFAULT_VERIFIERS, STAGES, Run, RunConfig, Stage, execute
from gapbench.verifiers.base import verifiers

# typer may carry a click of its own; this is the base of its usage errors either way.
ClickException: Any = typer.BadParameter.mro()[2]

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


def _version(wanted: bool) -> None:
    if wanted:
        print(f"gapbench {gapbench.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    pass


@app.command()
def run(
    suite: Annotated[str, typer.Argument(help="A suite's name (see `gapbench ls suites`) or a YAML file.")],
    model: Annotated[
        str, typer.Option("-m", "--model", help="Embedded alias, hub id or local path.")
    ] = DEFAULT_MODEL,
    engine: Annotated[str, typer.Option("--engine", help="Where text comes from.")] = "transformers",
    engine_option: Annotated[
        list[str] | None,
        typer.Option("--engine-option", metavar="KEY=VALUE", help="Passed to the engine; repeatable."),
    ] = None,
    n: Annotated[int, typer.Option("-n", help="Responses for each prompt.")] = 32,
    verifier: Annotated[
        list[str] | None,
        typer.Option("-V", "--verifier", help="Repeatable; default: yesno, majority, likelihood."),
    ] = None,
    verdicts: Annotated[
        int, typer.Option("--verdicts", help="Verdicts for each response, for sampling verifiers.")
    ] = 8,
    limit: Annotated[int | None, typer.Option("--limit", help="Prompts for each task.")] = None,
    split: Annotated[
        str, typer.Option("--split", help="measure, or calibrate for choosing settings.")
    ] = "measure",
    data: Annotated[
        Path | None,
        typer.Option("--data", envvar="GAPBENCH_DATA", help="Folder with local copies of hub data sets."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Every random number of the run follows from it.")] = 0,
    temperature: Annotated[
        float | None, typer.Option("--temperature", help="Overrides the tasks' own.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Run directory; default runs/SUITE-MODEL.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run that is there, or start it.")
    ] = False,
    until: Annotated[
        str | None, typer.Option("--until", help="Stop after this stage: sample, grade, verify.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Sample, grade, verify and estimate, and write the report.

    Example: gapbench run starter -m smollm2-135m -n 16 --limit 40
    """
    config = _config(
        suite=suite,
        model=model,
        engine=engine,
        engine_options=_options(engine_option or []),
        n=n,
        verifiers=tuple(verifier or DEFAULT_VERIFIERS),
        verdicts=verdicts,
        limit=limit,
        split=split,
        data_dir=None if data is None else str(data),
        seed=seed,
        temperature=temperature,
    )
    name = f"{Path(suite).stem}-{Path(model).name}" + ("-simulated" if engine == "simulated" else "")
    done = execute(config, out or Path("runs") / name, resume=resume, upto=_stage(until))
    if until is None:
        _finish(done, as_json)


@app.command()
def sample(run: RunPath) -> None:
    """Draw the responses that RUN still lacks."""
    Run(run).advance(only="sample")


@app.command()
def grade(run: RunPath) -> None:
    """Grade the responses of RUN that have no grade yet."""
    Run(run).advance(only="grade")


@app.command()
def verify(run: RunPath) -> None:
    """Draw the verdicts that RUN still lacks."""
    Run(run).advance(only="verify")


@app.command()
def estimate(run: RunPath, as_json: AsJson = False) -> None:
    """Estimate every quantity of RUN with its interval; write the report beside it."""
    _finish(Run(run), as_json)


@app.command()
def ls(
    what: Annotated[str, typer.Argument(help="suites, tasks, verifiers, engines or models.")],
) -> None:
    """List what there is."""
    from gapbench.models import EMBEDDED
    from gapbench.tasks import list_suites, list_tasks

    listings: dict[str, Callable[[], list[tuple[str, str]]]] = {
        "suites": lambda: [(suite.name, suite.title) for suite in list_suites()],
        "tasks": lambda: [
            (f"{suite}/{task.name}", f"{task.domain}: {task.title}") for suite, task in list_tasks()
        ],
        "verifiers": lambda: [(name, verifiers.get(name).cost) for name in verifiers.names()],
        "engines": lambda: [(name, _first_line(name)) for name in engines.names()],
        "models": lambda: [(alias, f"{model.id}; {model.licence}") for alias, model in EMBEDDED.items()],
    }
    if what not in listings:
        raise UserError(f"nothing called '{what}' to list; there are: {', '.join(listings)}")
    rows = listings[what]()
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        print(f"{name:<{width}}  {text}".rstrip())


def _first_line(engine: str) -> str:
    try:
        return (engines.get(engine).__doc__ or "").strip().partition("\n")[0]
    except UserError as missing:
        return f"not installed: {missing}"


def _finish(run: Run, as_json: bool) -> None:
    from gapbench.report.publish import publish
    from gapbench.report.tables import print_table

    estimates = publish(run)
    if as_json:
        print(json.dumps({"run": run.describe(), "estimates": estimates.to_json()}, allow_nan=False))
    else:
        print_table(estimates, Console())
    Console(stderr=True, soft_wrap=True).print(f"report  {run.store.path / 'report.html'}", highlight=False)


def _config(**values: Any) -> RunConfig:
    try:
        return RunConfig(**values)
    except ValueError as bad:
        first = bad.errors()[0]  # type: ignore[attr-defined]
        raise UserError(f"--{first['loc'][0]}: {first['msg'].lower()} (got {first['input']!r})") from None


def _stage(name: str | None) -> Stage:
    for stage in STAGES:
        if name in (stage, None):
            return STAGES[-1] if name is None else stage
    raise UserError(f"--until {name}: not a stage; there are: {', '.join(STAGES)}")


def _options(pairs: list[str]) -> dict[str, Any]:
    options = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise UserError(f"--engine-option {pair}: write it as KEY=VALUE")
        options[key] = yaml.safe_load(value)
    return options


def main() -> None:
    """Run the command line; a user's mistake is one line and exit code 2, never a traceback."""
    try:
        status = app(standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except UserError as mistake:
        _say(str(mistake), 2)
    except ClickException as mistake:
        _say(mistake.format_message(), 2)
    except (KeyboardInterrupt, typer.Abort):
        _say("stopped; every finished row is kept, go on with the same command and --resume", 130)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as failure:
        where = f"{failure.filename}: " if failure.filename else ""
        _say(f"{where}{failure.strerror or failure}; what was finished is kept", 2)


def _say(text: str, code: int) -> None:
    print("gapbench: " + " ".join(text.split()), file=sys.stderr)
    sys.exit(code)
