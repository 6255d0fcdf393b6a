"""`run` and its stages: what draws."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from gapbench.cli._completing import (
    engine_names,
    model_names,
    splits,
    stages,
    suite_names,
    task_names,
    verifier_names,
)
from gapbench.cli._shared import (
    KEPT,
    AsJson,
    RunPath,
    command,
    config_of,
    engine_options_of,
    finish,
    note,
    open_run,
    stage_of,
)
from gapbench.errors import UserError
from gapbench.models import DEFAULT_MODEL


@command(loads="gapbench.design.grow", stopped=f"{KEPT} and --resume")
def run(
    suite: Annotated[
        str,
        typer.Argument(
            help="A suite's name (see `gapbench ls suites`) or a YAML file.", autocompletion=suite_names
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            "-m", "--model", help="Embedded alias, hub id or local path.", autocompletion=model_names
        ),
    ] = DEFAULT_MODEL,
    engine: Annotated[
        str, typer.Option("--engine", help="Where text comes from.", autocompletion=engine_names)
    ] = "transformers",
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
            autocompletion=verifier_names,
        ),
    ] = None,
    verdicts: Annotated[
        int, typer.Option("--verdicts", help="Verdicts for each response, for sampling verifiers.")
    ] = 8,
    task: Annotated[
        list[str] | None,
        typer.Option(
            "-t",
            "--task",
            metavar="NAME",
            help="Only this task of the suite; repeatable.",
            autocompletion=task_names,
        ),
    ] = None,
    skip_missing: Annotated[
        bool,
        typer.Option("--skip-missing", help="Leave out tasks whose data cannot be had here, and say so."),
    ] = False,
    limit: Annotated[int | None, typer.Option("--limit", help="Prompts for each task.")] = None,
    split: Annotated[
        str,
        typer.Option("--split", help="measure, or calibrate for choosing settings.", autocompletion=splits),
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
            "--control",
            metavar="VERIFIER",
            help="A cheap one, asked about all, to steady the rest.",
            autocompletion=verifier_names,
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
        str | None,
        typer.Option("--until", help="Stop after this stage: sample, grade, verify.", autocompletion=stages),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Sample, grade, verify and estimate, and write the report.

    Example: gapbench run starter -m smollm2-135m -n 16 --limit 40
    """
    from gapbench.design.grow import grow, reached
    from gapbench.judging import read_spec
    from gapbench.run import DEFAULT_VERIFIERS, execute

    config = config_of(
        suite=suite,
        model=model,
        engine=engine,
        engine_options=engine_options_of(engine_option or []),
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
        done = execute(config, path, resume=resume, upto=stage_of(until))
    else:
        if until is not None:
            raise UserError(f"--until {until}: without an interval nothing says when to stop; leave it out")
        done = grow(config, path, half_width=half_width, budget=budget, resume=resume)
        note(reached(done))
    for name, reason in done.manifest["suite"].get("skipped", {}).items():
        note(f"left out  {name}: {reason}")
    if until is None:
        finish(done, as_json)
    elif as_json:
        print(json.dumps({"run": done.describe(), "estimates": []}))


@command(stopped=KEPT)
def sample(run: RunPath) -> None:
    """Draw the responses that RUN still lacks.

    Example: gapbench sample runs/starter-smollm2-135m
    """
    open_run(run).advance(only="sample")


@command(stopped=KEPT)
def grade(run: RunPath) -> None:
    """Grade the responses of RUN that have no grade yet.

    Example: gapbench grade runs/starter-smollm2-135m
    """
    open_run(run).advance(only="grade")


@command(stopped=KEPT)
def verify(run: RunPath) -> None:
    """Draw the verdicts that RUN still lacks.

    Example: gapbench verify runs/starter-smollm2-135m
    """
    open_run(run).advance(only="verify")
