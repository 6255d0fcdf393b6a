"""Everything a finished run leaves behind for its reader: estimates, figures and the page, beside its rows."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from gapbench.engines.base import derive_seed
from gapbench.estimate.results import Estimates
from gapbench.panel import Panel
from gapbench.records import Prompt
from gapbench.report.figures import report_figures
from gapbench.report.html import write_report
from gapbench.report.plots import save_figure
from gapbench.run import Run
from gapbench.store import write_atomic

EXAMPLES_PER_TASK = 3


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
    figures = report_figures(estimates, panels)
    (path / "plots").mkdir(exist_ok=True)
    for name, figure in figures.items():
        save_figure(figure, path / "plots" / name)
    write_report(
        path / "report.html",
        manifest=run.manifest,
        estimates=estimates,
        panels=panels,
        examples=list(examples(run, panels)),
        figures=figures,
    )
    return estimates


def examples(run: Run, panels: list[Panel]) -> Iterator[dict[str, Any]]:
    """A few responses of each task to read: drawn by seed and not by eye, a wrong one first where there is one."""
    drawn = {panel.task: _drawn(panel) for panel in panels}
    keys = {
        (panel.task, panel.prompt_ids[prompt], response)
        for panel in panels
        for prompt, response in drawn[panel.task]
    }
    prompts = {prompt.key: prompt for prompt in run.store.rows(Prompt)}
    texts = run.store.find("responses", keys, ["text"])
    grades = run.store.find("grades", keys, ["answer", "utility", "status"])
    for panel in panels:
        means = {name: scores.mean for name, scores in panel.scores.items()}
        for cell in drawn[panel.task]:
            key = panel.task, panel.prompt_ids[cell[0]], cell[1]
            verdicts = {name: float(mean[cell]) for name, mean in means.items()}
            prompt = prompts[key[:2]]
            yield {
                **texts[key],
                **grades[key],
                "domain": prompt.domain,
                "why": "drawn by seed",
                "question": prompt.question,
                "reference": list(prompt.reference),
                "verdicts": {name: None if score != score else score for name, score in verdicts.items()},
            }


def _drawn(panel: Panel) -> list[tuple[int, int]]:
    """(prompt, response) of a wrong response, a right one, and others up to `EXAMPLES_PER_TASK`."""
    rng = np.random.default_rng(derive_seed("example", panel.task))
    utility = panel.utility.ravel()
    cells: dict[int, None] = {}
    for pool in (utility == 0, utility == 1, *[~np.isnan(utility)] * EXAMPLES_PER_TASK):
        if (there := np.flatnonzero(pool)).size:
            cells[int(rng.choice(there))] = None
    return [divmod(cell, panel.utility.shape[1]) for cell in list(cells)[:EXAMPLES_PER_TASK]]
