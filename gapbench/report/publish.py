"""Everything a finished run leaves behind for its reader: estimates, figures and the page, beside its rows."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pandas as pd

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
    """A few responses of each task to read: chosen by hash and not by eye, a wrong one first where there is one."""
    prompts = {prompt.key: prompt for prompt in run.store.rows(Prompt)}
    keys = ["task", "prompt_id", "response"]
    drawn = run.store.read("responses", [*keys, "text"]).to_pandas()
    graded = run.store.read("grades", [*keys, "answer", "utility", "status"]).to_pandas()
    rows = pd.merge(drawn, graded, on=keys)
    rows["order"] = [derive_seed("example", *key) for key in rows[keys].itertuples(index=False)]
    by_task = {panel.task: panel for panel in panels}
    for task, own in rows.sort_values("order").groupby("task", sort=False):
        panel = by_task[str(task)]
        place = {prompt_id: row for row, prompt_id in enumerate(panel.prompt_ids)}
        wrong, right = own[own["utility"] == 0], own[own["utility"] == 1]
        chosen = pd.concat([wrong.head(1), right.head(1), own]).drop_duplicates(keys).head(EXAMPLES_PER_TASK)
        for record in chosen.to_dict("records"):
            prompt = prompts[str(task), record["prompt_id"]]
            cell = place[prompt.prompt_id], record["response"]
            verdicts = {name: float(scores.mean[cell]) for name, scores in panel.scores.items()}
            yield {
                **{str(name): value for name, value in record.items()},
                "domain": prompt.domain,
                "why": "drawn by hash",
                "question": prompt.question,
                "reference": list(prompt.reference),
                "verdicts": {name: None if score != score else score for name, score in verdicts.items()},
            }
