"""A run in the formats of other tools.

>>> export_run(Run("runs/mine"), "inspect", "logs")  # doctest: +SKIP
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from gapbench.interop.every_eval import export_every_eval
from gapbench.interop.export_table import export_table
from gapbench.interop.from_run import read_run
from gapbench.interop.hub_folder import export_hub
from gapbench.interop.inspect_export import export_inspect
from gapbench.interop.lm_eval_export import export_lm_eval
from gapbench.interop.logs import Exported
from gapbench.run import Run

Format = Literal["table", "lm-eval", "inspect", "hub", "every-eval"]


def export_run(run: Run, to: Format, out: str | Path) -> Exported:
    """Write a run into a new folder.

    Parameters
    ----------
    to
        `table` (two Parquet tables), `lm-eval` (samples as lm-evaluation-harness logs them), `inspect` (one log a task),
        `hub` (a data set for the Hugging Face hub, with its card) or `every-eval` (Every Eval Ever records).
    out
        The folder to make.

    Raises
    ------
    UserError
        If nothing in the run is graded, something is at `out`, or a library is missing.
    """
    log = read_run(run)
    match to:
        case "table":
            return export_table(log, out)
        case "lm-eval":
            return export_lm_eval(log, out, created=_created(run))
        case "inspect":
            return export_inspect(log, out, created=_created(run))
        case "hub":
            return export_hub(run, log, out)
        case "every-eval":
            return export_every_eval(run, log, out)


def _created(run: Run) -> datetime | None:
    try:
        when = datetime.fromisoformat(run.manifest["created"])
    except (KeyError, TypeError, ValueError):
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)
