"""Laws of the gap, and what lies ahead: `scale`, `project`, `trajectory`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from gapbench.cli._shared import AsJson, command, note, open_run, print_statements
from gapbench.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@command()
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
            [open_run(path) for path in runs or []],
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


@command()
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
    from gapbench.projection.project import DEFAULT_FILTER, DEFAULT_ROUNDS

    if (run is None) == (series is None):
        raise UserError("give either RUN or --series FILE")
    if series is not None:
        if k or name or (filter, rounds, residual) != (DEFAULT_FILTER, DEFAULT_ROUNDS, 0.0):
            raise UserError("--filter, --k, --rounds, --residual and --name are about a RUN, not a series")
        _project_series(series, correlation, horizon or [], out, as_json)
        return
    if correlation or horizon:
        raise UserError("--correlation and --horizon are about a series, not a RUN")
    assert run is not None
    from gapbench.projection.forecast import write_forecast
    from gapbench.projection.project import project_run
    from gapbench.report.projected import print_projection
    from gapbench.report.projection import projection_figures

    opened = open_run(run)
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


@command()
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
    fresh: Annotated[
        list[Path] | None,
        typer.Option(
            "--fresh",
            metavar="RUN",
            help="A run of each RUN's model on new prompts, in order: is its gap replenished?",
        ),
    ] = None,
    elicitation: Annotated[
        list[Path] | None,
        typer.Option(
            "--elicitation",
            metavar="RUN",
            help="A run of the base on the same questions asked otherwise: what it solves there is not new; repeatable.",
        ),
    ] = None,
    false_positives: Annotated[
        float | None,
        typer.Option(
            "--false-positives",
            metavar="RATE",
            min=0,
            max=1,
            help="Rate at which the grader passes wrong answers.",
        ),
    ] = None,
    worth: Annotated[
        int,
        typer.Option(
            "--worth", metavar="M", min=4, help="Base responses that one tuned response may be worth."
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

    opened = [open_run(path) for path in runs]
    others = [open_run(path) for path in fresh or []]
    domains, notes = checkpoints_of(
        opened,
        clock=clock or [],
        verifier=verifier,
        fresh=others,
        forms=[open_run(path) for path in elicitation or []],
        false_positive=false_positives,
    )
    found = judge(domains, most=worth, delta=delta, horizon=horizon or [], seed=opened[0].config.seed)
    scores, unscored = score_forecasts(opened, clock=clock or [], verifier=verifier)
    for line in [*notes, *unscored]:
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
