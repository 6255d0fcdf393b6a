"""What goes between gapbench and other tools: their logs and tables as runs, runs as their logs and tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from gapbench.cli._shared import RunPath, command, note, one_of, open_run
from gapbench.errors import UserError

SOURCES = ("table", "lm-eval", "inspect")
TARGETS = ("table", "lm-eval", "inspect", "hub", "every-eval")


@command("import")
def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A table or a log; of logs, a folder will do.")
    ],
    verdicts: Annotated[
        Path | None, typer.Argument(metavar="[VERDICTS]", help="With a table: verdicts on its responses.")
    ] = None,
    *,
    out: Annotated[Path, typer.Option("--out", help="The run directory to make.")] = ...,  # type: ignore[assignment]
    source: Annotated[
        str,
        typer.Option(
            "--from", help=f"What FILE is: {', '.join(SOURCES)}.", autocompletion=lambda: list(SOURCES)
        ),
    ] = "table",
    grader: Annotated[
        list[str] | None,
        typer.Option(
            "--grader",
            metavar="[TASK=]NAME",
            help="Grade a log's responses with it; repeatable. Default: lm-eval by what the targets look like, inspect by "
            "its own scorer.",
        ),
    ] = None,
    utility: Annotated[
        str | None,
        typer.Option(
            "--utility",
            metavar="NAME",
            help="Inspect scorer, or lm-eval METRIC[,FILTER] of single responses, that tells what is right.",
        ),
    ] = None,
    verdict: Annotated[
        list[str] | None,
        typer.Option(
            "--verdict",
            metavar="SCORER",
            help="Inspect scorer whose scores are the verdicts of a verifier; repeatable.",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="The model's name, where a log's own is not wanted.")
    ] = None,
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            "--threshold", metavar="VERIFIER=SCORE", help="Score from which a response passes; repeatable."
        ),
    ] = None,
) -> None:
    """Make a run of a table, or of the logs of lm-evaluation-harness or Inspect, for every other command to read.

    Example: gapbench import responses.csv verdicts.csv --out runs/mine;
    gapbench import results/my__model --from lm-eval --grader numeric --out runs/mine;
    gapbench import logs/x.eval --from inspect --verdict model_graded_qa --out runs/mine
    """
    one_of("--from", source, SOURCES)
    thresholds = _thresholds(threshold or [])
    given = {
        "--grader": grader,
        "--utility": utility,
        "--verdict": verdict,
        "--model": model,
        "VERDICTS": verdicts,
    }
    fits = {
        "table": {"VERDICTS"},
        "lm-eval": {"--grader", "--utility", "--model"},
        "inspect": {"--grader", "--utility", "--verdict", "--model"},
    }
    for name, value in given.items():
        if value and name not in fits[source]:
            raise UserError(f"{name}: has no meaning with --from {source}; leave it out")
    if grader and utility:
        raise UserError(
            "--utility: a grader that is named with --grader grades anew; leave one of the two out"
        )
    if source == "table":
        from gapbench.interop.table import import_table

        made = import_table(file, verdicts, out=out, thresholds=thresholds)
    else:
        from gapbench.interop.inspect_logs import read_inspect
        from gapbench.interop.into_run import import_log
        from gapbench.interop.lm_eval import read_lm_eval

        log = (
            read_lm_eval(file, model=model, utility=utility)
            if source == "lm-eval"
            else read_inspect(file, model=model, utility=utility, verdicts=verdict or (), graded=bool(grader))
        )
        made = import_log(log, out, graders=grader or (), thresholds=thresholds)
    for line in made.lines():
        note(line)


def _thresholds(pairs: list[str]) -> dict[str, float]:
    found = {}
    for pair in pairs:
        name, _, value = pair.rpartition("=")
        try:
            found[name] = float(value)
        except ValueError:
            raise UserError(f"--threshold {pair}: write it as VERIFIER=SCORE, with a number") from None
    return found


@command("export")
def export(
    run: RunPath,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help=f"The format: {', '.join(TARGETS)}.",
            autocompletion=lambda: list(TARGETS),
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="The folder to make.")],
) -> None:
    """Write a run as other tools have it: tables, their logs, or a data set with its card.

    Example: gapbench export runs/mine --to inspect --out logs;
    gapbench export runs/mine --to hub --out my-dataset
    """
    one_of("--to", to, TARGETS)
    from gapbench.interop.export import Format, export_run

    for line in export_run(open_run(run), cast(Format, to), out).lines():
        note(line)
