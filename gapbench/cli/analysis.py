"""What reads runs, draws no response and looks no further than they do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, get_args

import typer
from rich.console import Console

from gapbench.cli._shared import AsJson, RunPath, command, finish, note, one_of, open_run


@command()
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
    """Estimate every quantity of RUN with its interval; write the report beside it.

    Example: gapbench estimate runs/mine --filter best@8
    """
    from gapbench.estimate.intervals import Method
    from gapbench.estimate.results import Target

    one_of("--target", target, get_args(Target))
    one_of("--method", method, get_args(Method))
    finish(open_run(run), as_json, target=target, method=method, filters=tuple(filters or ()))


@command()
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

    opened = [open_run(path) for path in runs]
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


@command()
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
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="Draw the matrix, and the gap by compute as FILE-compute."
        ),
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
    from gapbench.report.scaling_plots import crossed_figure
    from gapbench.scaling.crossed import crossed_compute
    from gapbench.scaling.runs import compute_of

    opened = [open_run(path) for path in runs]
    found = crossing.cross(opened, mechanism=mechanism, quantity=quantity, filter=filter, verdicts=verdicts)
    by_compute = crossed_compute(found, lambda model: compute_of(model).flops)
    if out is not None:
        stem = out.with_suffix("") if out.suffix in (".png", ".svg") else out
        figures = {stem: cross_figure(found)}
        if by_compute.drawable:
            figures[stem.with_name(stem.name + "-compute")] = crossed_figure(by_compute, title=quantity)
        for name, figure in figures.items():
            for path in save_figure(figure, name):
                note(f"figure  {path}")
    if as_json:
        named = [{"model": run.model, "path": str(run.store.path)} for run in opened]
        document = {"runs": named, **found.to_json(), "compute": by_compute.to_json()}
        print(json.dumps(document, allow_nan=False))
    else:
        print_cross(found, Console())


@command()
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
        read_pilot(open_run(run), verifier, control, filter),
        half_width=half_width,
        filter=filter,
        m=verdicts,
        most_prompts=max_prompts,
    )
    if as_json:
        print(json.dumps(plan_document(found), allow_nan=False))
    else:
        print_plan(found, Console())
