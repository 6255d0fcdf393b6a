"""The command line: arguments in, one public call, rendering out."""

from __future__ import annotations

from gapbench import _startup

# isort: split
# What takes long to load comes after it.

import json
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
import yaml
from rich.console import Console

import gapbench
from gapbench.design.grow import grow, reached
from gapbench.engines.base import engines
from gapbench.errors import EngineFailure, UnfinishedWarning, UserError
from gapbench.estimate.intervals import Method
from gapbench.estimate.results import Target
from gapbench.judging import read_spec
from gapbench.report.text import one_line
from gapbench.run import DEFAULT_MODEL, DEFAULT_VERIFIERS, STAGES, Run, RunConfig, Stage, execute
from gapbench.verifiers.base import verifiers

# typer may carry a click of its own; this is the base of its usage errors either way.
ClickException: Any = typer.BadParameter.mro()[2]

INTERRUPTED = 130  # what a shell expects of Ctrl-C, and what typer turns it into

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
        typer.Option(
            "-V",
            "--verifier",
            metavar="NAME[@MODEL]",
            help="Repeatable; @MODEL judges in place of the run's own; or a YAML file. Default: yesno, majority, likelihood.",
        ),
    ] = None,
    verdicts: Annotated[
        int, typer.Option("--verdicts", help="Verdicts for each response, for sampling verifiers.")
    ] = 8,
    task: Annotated[
        list[str] | None,
        typer.Option("-t", "--task", metavar="NAME", help="Only this task of the suite; repeatable."),
    ] = None,
    skip_missing: Annotated[
        bool,
        typer.Option("--skip-missing", help="Leave out tasks whose data cannot be had here, and say so."),
    ] = False,
    limit: Annotated[int | None, typer.Option("--limit", help="Prompts for each task.")] = None,
    split: Annotated[
        str, typer.Option("--split", help="measure, or calibrate for choosing settings.")
    ] = "measure",
    data: Annotated[
        Path | None,
        typer.Option("--data", envvar="GAPBENCH_DATA", help="Folder with local copies of hub data sets."),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", help="Decides every draw of the run; the questions do not depend on it.")
    ] = 0,
    temperature: Annotated[
        float | None, typer.Option("--temperature", help="Overrides the tasks' own.")
    ] = None,
    skip_unanimous: Annotated[
        bool, typer.Option("--skip-unanimous", help="No verdicts where responses are all right or all wrong.")
    ] = False,
    case_control: Annotated[
        int | None,
        typer.Option(
            "--case-control", metavar="R", help="Verify at most R right and R wrong of each prompt."
        ),
    ] = None,
    verified_share: Annotated[
        float, typer.Option("--verified-share", help="Verify this share of the prompts; grade all.")
    ] = 1.0,
    control: Annotated[
        str | None,
        typer.Option(
            "--control", metavar="VERIFIER", help="A cheap one, asked about all, to steady the rest."
        ),
    ] = None,
    half_width: Annotated[
        float | None,
        typer.Option("--half-width", metavar="W", help="Draw more until the gap is known to within W."),
    ] = None,
    budget: Annotated[
        int | None,
        typer.Option("--budget", metavar="TOKENS", help="Draw more until so many are generated."),
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
        verifiers=tuple(map(read_spec, verifier)) if verifier else DEFAULT_VERIFIERS,
        verdicts=verdicts,
        tasks=tuple(task or ()),
        skip_missing=skip_missing,
        limit=limit,
        split=split,
        data_dir=None if data is None else str(data),
        seed=seed,
        temperature=temperature,
        savings={
            "skip_unanimous": skip_unanimous,
            "case_control": case_control,
            "verified_share": verified_share,
            "control": control,
        },
    )
    name = f"{Path(suite).stem}-{Path(model).name}" + ("-simulated" if engine == "simulated" else "")
    path = out or Path("runs") / name
    if half_width is None and budget is None:
        done = execute(config, path, resume=resume, upto=_stage(until))
    else:
        if until is not None:
            raise UserError(f"--until {until}: without an interval nothing says when to stop; leave it out")
        done = grow(config, path, half_width=half_width, budget=budget, resume=resume)
        Console(stderr=True, soft_wrap=True).print(reached(done), highlight=False, markup=False)
    for name, reason in done.manifest["suite"].get("skipped", {}).items():
        Console(stderr=True, soft_wrap=True).print(
            f"left out  {name}: {reason}", highlight=False, markup=False
        )
    if until is None:
        _finish(done, as_json)
    elif as_json:
        print(json.dumps({"run": done.describe(), "estimates": []}))


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
def estimate(
    run: RunPath,
    target: Annotated[
        str, typer.Option("--target", help="population: prompts like these; benchmark: just these prompts.")
    ] = "population",
    method: Annotated[
        str, typer.Option("--method", help="Interval: hull, t, bootstrap or betting.")
    ] = "hull",
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filter", help="A filter beyond the default ones, or all for one of each; repeatable."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Estimate every quantity of RUN with its interval; write the report beside it."""
    _one_of("--target", target, get_args(Target))
    _one_of("--method", method, get_args(Method))
    _finish(Run(run), as_json, target=target, method=method, filters=tuple(filters or ()))


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="One run directory or more.")],
    by: Annotated[
        str | None,
        typer.Option("--by", help="run, verifier, filter or domain; default: run, or verifier for one RUN."),
    ] = None,
    quantity: Annotated[
        str, typer.Option("--quantity", help="gap, accuracy, relative_gap, auc_within, ...")
    ] = "gap",
    filters: Annotated[
        list[str] | None, typer.Option("--filter", help="best@8, majority@8, ...; repeatable.")
    ] = None,
    verifier: Annotated[
        list[str] | None, typer.Option("-V", "--verifier", help="Only these; repeatable.")
    ] = None,
    verdicts: Annotated[
        int | None, typer.Option("--verdicts", min=1, help="Thin the gap to this many verdicts a response.")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", help="zero (which have a gap at all?) or one of those compared."),
    ] = None,
    adjust: Annotated[str, typer.Option("--adjust", help="holm, or bh for an exploratory grid.")] = "holm",
    equivalence: Annotated[
        float | None,
        typer.Option("--equivalence", metavar="MARGIN", help="Call differences below MARGIN equivalent."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare runs, verifiers, filters or domains, paired where prompts are shared.

    Example: gapbench compare runs/small runs/large; gapbench compare runs/small --by domain --against zero
    """
    import gapbench.comparing.compare as comparing
    from gapbench.report.comparison import print_comparisons

    opened = [Run(path) for path in runs]
    found = comparing.compare(
        opened,
        by=by,
        quantity=quantity,
        filters=filters or [],
        verifiers=verifier or [],
        verdicts=verdicts,
        against=against,
        adjust=adjust,
        equivalence=equivalence,
    )
    if as_json:
        named = [{"model": run.model, "path": str(run.store.path)} for run in opened]
        print(json.dumps({"runs": named, **found.to_json()}, allow_nan=False))
    else:
        print_comparisons(found, Console())


@app.command()
def cross(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="One run directory for each generator.")
    ],
    mechanism: Annotated[
        str, typer.Option("--mechanism", help="The verifier by which all judges judge.")
    ] = "yesno",
    quantity: Annotated[str, typer.Option("--quantity", help="gap, relative_gap, auc_within, ...")] = "gap",
    filter: Annotated[str | None, typer.Option("--filter", help="best@8, top 2 of 8, ...")] = None,
    verdicts: Annotated[
        int | None, typer.Option("--verdicts", min=1, help="Thin the gap to this many verdicts a response.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Draw the matrix, as FILE.png and FILE.svg.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show who judges whose answers how well: generators against judges, and the differences.

    A RUN has two judges when it was made with, say, -V yesno -V yesno@gemma3-270m.

    Example: gapbench cross runs/small runs/large --out heatmap.png
    """
    import gapbench.comparing.cross as crossing
    from gapbench.report.cross import cross_figure, print_cross
    from gapbench.report.plots import save_figure

    opened = [Run(path) for path in runs]
    found = crossing.cross(opened, mechanism=mechanism, quantity=quantity, filter=filter, verdicts=verdicts)
    if out is not None:
        stem = out.with_suffix("") if out.suffix in (".png", ".svg") else out
        for path in save_figure(cross_figure(found), stem):
            Console(stderr=True, soft_wrap=True).print(f"figure  {path}", highlight=False, markup=False)
    if as_json:
        named = [{"model": run.model, "path": str(run.store.path)} for run in opened]
        print(json.dumps({"runs": named, **found.to_json()}, allow_nan=False))
    else:
        print_cross(found, Console())


@app.command()
def plan(
    run: RunPath,
    half_width: Annotated[float, typer.Option("--half-width", help="Half of the wanted 95 % interval.")],
    filter: Annotated[str, typer.Option("--filter", help="best@n, top k of n or majority@n.")] = "best@4",
    verifier: Annotated[
        str | None, typer.Option("-V", "--verifier", help="Default: the first that asks a model.")
    ] = None,
    control: Annotated[
        str | None,
        typer.Option("--control", metavar="VERIFIER", help="A cheaper one of RUN's, to steady the estimate."),
    ] = None,
    verdicts: Annotated[
        int | None, typer.Option("--verdicts", min=1, help="The m of the gap; default: RUN's.")
    ] = None,
    max_prompts: Annotated[
        int | None, typer.Option("--max-prompts", min=2, help="As many as a task has.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """From the pilot RUN, find prompts, responses and verdicts that reach a half-width at least tokens.

    Example: gapbench plan runs/pilot --half-width 0.02
    """
    from gapbench.design.pilot import plan_document, read_pilot
    from gapbench.design.plan import plan as find
    from gapbench.report.planned import print_plan

    found = find(
        read_pilot(Run(run), verifier, control, filter),
        half_width=half_width,
        filter=filter,
        m=verdicts,
        most_prompts=max_prompts,
    )
    if as_json:
        print(json.dumps(plan_document(found), allow_nan=False))
    else:
        print_plan(found, Console())


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Responses with their utilities.")],
    verdicts: Annotated[Path | None, typer.Argument(metavar="[VERDICTS]", help="Verdicts on them.")] = None,
    out: Annotated[Path, typer.Option("--out", help="The run directory to make.")] = ...,  # type: ignore[assignment]
    source: Annotated[str, typer.Option("--from", help="What FILE is: table (CSV or Parquet).")] = "table",
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            "--threshold", metavar="VERIFIER=SCORE", help="Score from which a response passes; repeatable."
        ),
    ] = None,
) -> None:
    """Make a run of a table of responses and verdicts, for every other command to read.

    Example: gapbench import responses.csv verdicts.csv --from table --out runs/mine
    """
    from gapbench.interop.table import import_table

    if source != "table":
        raise UserError(f"--from {source}: not a format that can be read; there are: table")
    thresholds = {}
    for pair in threshold or []:
        name, _, value = pair.rpartition("=")
        try:
            thresholds[name] = float(value)
        except ValueError:
            raise UserError(f"--threshold {pair}: write it as VERIFIER=SCORE, with a number") from None
    for line in import_table(file, verdicts, out=out, thresholds=thresholds).lines():
        Console(stderr=True, soft_wrap=True).print(line, highlight=False, markup=False)


@app.command()
def validate(
    task: Annotated[
        str, typer.Argument(metavar="TASK", help="A suite, SUITE/TASK, a task's name or a YAML file.")
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
        Console(stderr=True, soft_wrap=True).print(f"skipped  {reason}", highlight=False, markup=False)
    if as_json:
        print(json.dumps(summary(found, skipped), allow_nan=False))
    else:
        print_validations(found, Console())
    if wrong := faulty(found):
        raise UserError(wrong)


@app.command()
def ls(
    what: Annotated[str, typer.Argument(help="suites, tasks, verifiers, engines or models.")],
    models: Annotated[
        list[Path] | None,
        typer.Option("--models", metavar="FILE", help="A YAML file of models beyond those known; repeatable."),
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
    from gapbench.tasks import list_suites, list_tasks

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
    try:
        return (engines.get(engine).__doc__ or "").strip().partition("\n")[0]
    except UserError as missing:
        return f"not installed: {missing}"


def _one_of(option: str, word: str, known: tuple[str, ...]) -> None:
    if word not in known:
        raise UserError(f"{option} {word}: there are: {', '.join(known)}")


def _finish(run: Run, as_json: bool, **options: Any) -> None:
    from gapbench.report.costs import cost_lines
    from gapbench.report.publish import publish
    from gapbench.report.tables import print_table

    estimates = publish(run, **options)
    if as_json:
        print(json.dumps({"run": run.describe(), "estimates": estimates.to_json()}, allow_nan=False))
    else:
        print_table(estimates, Console())
    for line in cost_lines(run.manifest):
        Console(stderr=True, soft_wrap=True).print(line, highlight=False, markup=False)
    written = os.access(run.store.path, os.W_OK)
    word = (
        f"report  {run.store.path / 'report.html'}" if written else "report  none: the directory is read-only"
    )
    Console(stderr=True, soft_wrap=True).print(word, highlight=False, markup=False)


OPTIONS = {  # where the option is not the field's name
    "suite": "SUITE",
    "n": "-n",
    "verifiers": "--verifier",
    "engine_options": "--engine-option",
    "data_dir": "--data",
}


def _config(**values: Any) -> RunConfig:
    try:
        return RunConfig(**values)
    except ValueError as bad:
        first = bad.errors()[0]  # type: ignore[attr-defined]
        place = first["loc"]
        field = str(place[1] if place[0] == "savings" else place[0])
        option = OPTIONS.get(field, "--" + field.replace("_", "-"))
        raise UserError(f"{option}: {first['msg'].lower()} (got {first['input']!r})") from None


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
        try:
            options[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UserError(f"--engine-option {pair}: the value is not YAML; put it between quotes") from None
    return options


def main() -> None:
    """Run the command line; a user's mistake is one line and exit code 2, never a traceback."""
    warnings.showwarning = _warn
    try:
        # Without a word a person wants to know what there is.
        status = app(None if len(sys.argv) > 1 else ["--help"], standalone_mode=False)
        if status == INTERRUPTED:
            raise KeyboardInterrupt
        sys.exit(status if isinstance(status, int) else 0)
    except UserError as mistake:
        _say(str(mistake), 2)
    except ClickException as mistake:
        _say(mistake.format_message(), 2)
    except EngineFailure as failure:
        _say(str(failure), 1)
    except (KeyboardInterrupt, typer.Abort):
        _say("stopped; every finished row is kept, go on with the same command and --resume", INTERRUPTED)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as failure:
        where = f"{failure.filename}: " if failure.filename else ""
        _say(f"{where}{failure.strerror or failure}; what was finished is kept", 2)


_SHOW_WARNING = warnings.showwarning


def _warn(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
    if issubclass(category, UnfinishedWarning):
        _tell(f"warning: {message}")
    else:
        _SHOW_WARNING(message, category, *rest, **more)


def _say(text: str, code: int) -> None:
    _tell(text)
    sys.exit(code)


def _tell(text: str) -> None:
    # Names of files and columns are a stranger's: what could steer a terminal becomes a visible sign.
    print("gapbench: " + one_line(text, 1000), file=sys.stderr)


_startup.ready()
