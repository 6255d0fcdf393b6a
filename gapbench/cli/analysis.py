"""What reads runs and draws nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer
from rich.console import Console

from gapbench.cli._shared import AsJson, RunPath, app, finish, note, one_of, print_statements
from gapbench.errors import UserError
from gapbench.estimate.intervals import Method
from gapbench.estimate.results import Target
from gapbench.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
    """Estimate every quantity of RUN with its interval; write the report beside it.

    Example: gapbench estimate runs/mine --filter best@8
    """
    one_of("--target", target, get_args(Target))
    one_of("--method", method, get_args(Method))
    finish(Run(run), as_json, target=target, method=method, filters=tuple(filters or ()))


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

    opened = [Run(path) for path in runs]
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


@app.command()
def scale(
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="[RUN]...", help="Runs of models of different compute.")
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option("--table", metavar="FILE", help="Points in place of runs: CSV or Parquet."),
    ] = None,
    quantity: Annotated[str, typer.Option("--quantity", help="relative_gap or gap.")] = "relative_gap",
    verifier: Annotated[
        str | None, typer.Option("-V", "--verifier", help="Of RUNs; default: the first that all have.")
    ] = None,
    filter: Annotated[str | None, typer.Option("--filter", help="Of RUNs: best@8, top 2 of 8, ...")] = None,
    verdicts: Annotated[
        int | None, typer.Option("--verdicts", min=1, help="Thin the gap to this many verdicts a response.")
    ] = None,
    flops: Annotated[
        list[float] | None,
        typer.Option("--flops", metavar="F", help="Foretell a new model of each family; repeatable."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Draw the figures into this folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find how the gap grows with pretraining compute, domain by domain, and whether that is established.

    A table has the columns domain, model, family, flops, value, and maybe se and accuracy. FLOPs of runs come from the
    registry of models (`gapbench ls models`).

    Example: gapbench scale --table points.csv --out figures; gapbench scale runs/0.5b runs/1.5b runs/7b
    """
    from gapbench.report.scaling import print_scaling
    from gapbench.report.scaling_plots import absolute_gap_figure, scaling_figure, slopes_figure
    from gapbench.scaling.points import read_points
    from gapbench.scaling.runs import points_from_runs
    from gapbench.scaling.scale import scale as fit

    if (not runs) == (table is None):
        raise UserError("give either RUNs or --table FILE")
    if table is not None:
        if (verifier, filter, verdicts) != (None, None, None):
            raise UserError(
                "--verifier, --filter and --verdicts choose among what RUNs have; a table has one"
            )
        points = read_points(table, quantity=quantity)
    else:
        points = points_from_runs(
            [Run(path) for path in runs or []],
            verifier=verifier,
            filter=filter,
            quantity=quantity,
            verdicts=verdicts,
        )
    found = fit(points, flops=flops or ())
    if out is not None:
        figures = {
            "scaling": scaling_figure(found),
            "slopes": slopes_figure(found),
            "absolute_gap": absolute_gap_figure(found),
        }
        _save(figures, out)
    if as_json:
        print(json.dumps(found.to_json(), allow_nan=False))
    else:
        print_scaling(found, Console())


@app.command()
def project(
    run: Annotated[Path | None, typer.Argument(metavar="[RUN]", help="A run directory.")] = None,
    series: Annotated[
        Path | None,
        typer.Option("--series", metavar="FILE", help="A table of checkpoints in place of a run."),
    ] = None,
    correlation: Annotated[
        float,
        typer.Option(
            "--correlation", metavar="R", help="Of the errors within a series, if prompts are shared."
        ),
    ] = 0.0,
    horizon: Annotated[
        list[float] | None,
        typer.Option("--horizon", metavar="T", help="Forecast a series at time T; repeatable."),
    ] = None,
    filter: Annotated[
        str, typer.Option("--filter", help="What each round of the loop keeps: best@n, top q or soft.")
    ] = "best@4",
    k: Annotated[
        list[int] | None,
        typer.Option("--k", metavar="K", help="Coverage at K responses, beyond the data too; repeatable."),
    ] = None,
    rounds: Annotated[int, typer.Option("--rounds", help="Rounds to show at least.")] = 5,
    residual: Annotated[
        float, typer.Option("--residual", help="Gap that the moving-judge scenarios leave.")
    ] = 0.0,
    name: Annotated[
        str | None, typer.Option("--name", help="Of the forecast that is written to RUN; default: the date.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Draw the figures here; a RUN has them in its plots/."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Project the reserve of RUN: what is measured, how far the data reach, what lies beyond; write it down, dated.

    Or project the series of a table with the columns series, t, value, se: where it levels off, and when.

    Example: gapbench project runs/mine --filter best@4 --k 1000; gapbench project --series rounds.csv --horizon 10
    """
    if (run is None) == (series is None):
        raise UserError("give either RUN or --series FILE")
    if series is not None:
        _project_series(series, correlation, horizon or [], out, as_json)
        return
    assert run is not None
    from gapbench.projection.forecast import write_forecast
    from gapbench.projection.project import project_run
    from gapbench.report.projected import print_projection
    from gapbench.report.projection import projection_figures

    opened = Run(run)
    found = project_run(opened, filter=filter, ks=k or (), rounds=rounds, residual=residual)
    note(f"forecast  {write_forecast(opened, found, name)}")
    _save(projection_figures(found), out or opened.store.path / "plots")
    if as_json:
        print(json.dumps({"run": opened.describe(), **found.to_json()}, allow_nan=False))
    else:
        print_projection(found, Console())


def _project_series(
    file: Path, correlation: float, horizon: list[float], out: Path | None, as_json: bool
) -> None:
    from gapbench.report.trajectory_figures import series_figures
    from gapbench.report.trajectory_text import series_sentences
    from gapbench.trajectory.series import project_series, read_series, series_json

    table = read_series(file)
    found = project_series(table, correlation=correlation, horizon=horizon, source=str(file))
    if out is not None:
        _save(series_figures(table, found), out)
    if as_json:
        print(json.dumps(series_json(found), allow_nan=False))
        return
    for one in found:
        print_statements(f"{one.series} ({one.kind})", series_sentences(one), Console())


@app.command()
def trajectory(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN RUN...", help="The base's run, then its checkpoints'.")
    ],
    clock: Annotated[
        list[float] | None,
        typer.Option("--clock", metavar="T", help="Time of each RUN, in order; default 0, 1, 2, ..."),
    ] = None,
    verifier: Annotated[
        str | None, typer.Option("-V", "--verifier", help="Whose scores training followed, for the alarms.")
    ] = None,
    worth: Annotated[
        int,
        typer.Option(
            "--worth", metavar="M", min=1, help="Base responses that one tuned response may be worth."
        ),
    ] = 64,
    delta: Annotated[
        float, typer.Option("--delta", min=0, max=1, help="The least change that matters.")
    ] = 0.02,
    horizon: Annotated[
        list[float] | None,
        typer.Option("--horizon", metavar="T", help="Forecast accuracy at time T; repeatable."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Draw the figures into this folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell whether training gained more than its base held: sharpened, beyond, regressed; and where it levels off.

    Forecasts that `gapbench project` left in a RUN are held against the later ones, if the clock counts rounds.

    Example: gapbench trajectory runs/base runs/round-1 runs/round-2 --out figures
    """
    from gapbench.report.trajectory_figures import trajectory_figures
    from gapbench.report.trajectory_text import forecast_sentences, outcome_sentences, series_sentences
    from gapbench.trajectory.outcome import trajectory as judge
    from gapbench.trajectory.runs import checkpoints_of
    from gapbench.trajectory.scored import score_forecasts
    from gapbench.trajectory.series import trajectory_json

    opened = [Run(path) for path in runs]
    domains, notes = checkpoints_of(opened, clock=clock or [], verifier=verifier)
    found = judge(domains, most=worth, delta=delta, horizon=horizon or [], seed=opened[0].config.seed)
    scores = score_forecasts(opened, clock=clock or [], verifier=verifier)
    for line in notes:
        note(line)
    if out is not None:
        _save(trajectory_figures(domains, found, scores), out)
    if as_json:
        named = [{"model": run.model, "path": str(run.store.path)} for run in opened]
        print(json.dumps({"runs": named, **trajectory_json(found, scores)}, allow_nan=False))
        return
    for one in found:
        print_statements(one.domain, [*outcome_sentences(one), *series_sentences(one.plateau)], Console())
    if scores:
        print_statements("forecasts", forecast_sentences(scores), Console())


def _save(figures: dict[str, Figure], folder: Path) -> None:
    from gapbench.report.plots import save_figure

    for name, figure in figures.items():
        note(f"figure  {save_figure(figure, folder / name)[0]}")
