"""Everything a finished run leaves behind for its reader: estimates, figures and the page, beside its rows.

>>> publish_report([Run("runs/small"), Run("runs/large")], "report.html")  # doctest: +SKIP
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gapbench.errors import UserError
from gapbench.estimate.results import Estimates
from gapbench.report.page.examples import MOST, ON_A_PAGE
from gapbench.report.page.html import write_report
from gapbench.report.page.pages import RunPage, run_page
from gapbench.report.page.together import short_labels, together
from gapbench.run import Run
from gapbench.store import write_atomic


def publish(run: Run, **options: Any) -> Estimates:
    """Estimate a run and write `estimates.json`, `plots/` and `report.html` into its directory.

    `options` are those of `Run.estimate`. A directory that may only be read is left as it is.

    Raises
    ------
    UserError
        If there is nothing graded to estimate from.
    """
    panels = run.panels()
    estimates = run.estimate(panels, **options)
    if not os.access(run.store.path, os.W_OK):  # somebody else's run: its numbers can be had all the same
        return estimates
    path = run.store.path
    lines = ",\n".join(map(json.dumps, estimates.to_json()))
    write_atomic(path / "estimates.json", f"[\n{lines}\n]\n")
    page = run_page(
        run, run.model, panels, estimates, plots=path / "plots", most_examples=_examples_for(len(panels))
    )
    write_report(path / "report.html", [page])
    return estimates


def publish_report(
    runs: Sequence[Run],
    path: str | Path,
    *,
    trajectory: bool = False,
    tell: Callable[[str], None] = lambda step: None,
) -> Path:
    """Write one page of one run or of several, with what they say together and a projection of each.

    Parameters
    ----------
    path
        The HTML file.
    trajectory
        Whether the runs are checkpoints of one model, the base first.
    tell
        Given what is being done, for a person who waits.

    Raises
    ------
    UserError
        If a run has nothing graded, `trajectory` does not fit the runs, or the file cannot be written.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"--out {path}: is a folder; name an HTML file, such as {path / 'report.html'}")
    if len(runs) > 1:
        tell("all runs together")
    found = together(runs, trajectory=trajectory)  # first: it may refuse, and a page takes longer
    labels = short_labels(runs)
    pages: list[RunPage] = []
    for place, (run, label) in enumerate(zip(runs, labels, strict=True)):
        tell(f"{label} ({place + 1} of {len(runs)})")
        panels = run.panels()
        tasks = len(panels) * len(runs)
        pages.append(
            run_page(
                run,
                label,
                panels,
                run.estimate(panels),
                prefix=f"run{place}-" if len(runs) > 1 else "",
                most_examples=_examples_for(tasks),
            )
        )
        del panels
    try:
        return write_report(path, pages, found)
    except OSError as refused:
        raise UserError(f"--out {path}: cannot be written ({refused.strerror}); name another file") from None


def _examples_for(tasks: int) -> int:
    """Examples of a task, so that a page of many tasks stays small."""
    return max(1, min(MOST, ON_A_PAGE // max(tasks, 1)))
