"""`report`: one page to read, keep and pass on."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from gapbench.cli._shared import AsJson, command, note, open_run
from gapbench.errors import UserError


@command()
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="One run directory or more.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="The page; default RUN/report.html, and report.html for several."
        ),
    ] = None,
    trajectory: Annotated[
        bool,
        typer.Option("--trajectory", help="The RUNs are one model as it was trained, the base first."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write one self-contained HTML page of one RUN or of several: headroom, where, how sure, until when.

    It needs no network and works from disk and printed. Of each RUN the newest forecast is shown; a RUN without one is projected
    for the page.

    Example: gapbench report runs/small runs/large --out report.html
    """
    from gapbench.report.publish import publish_report

    opened = [open_run(path) for path in runs]
    if out is None:
        out = opened[0].store.path / "report.html" if len(opened) == 1 else Path("report.html")
        if not os.access(out.parent, os.W_OK):
            raise UserError(f"{out.parent}: cannot be written to; name the page with --out FILE")
    written = publish_report(opened, out, trajectory=trajectory, tell=lambda step: note(f"report  {step}"))
    note(f"report  {written}")
    if as_json:
        named = [{"model": run.model, "path": str(run.store.path)} for run in opened]
        print(json.dumps({"report": str(written), "runs": named}, allow_nan=False))
