"""What a page shows of one run, gathered so that the run's arrays can go before the next run is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from gapbench.errors import UserError
from gapbench.estimate.results import Estimates
from gapbench.panel import Panel
from gapbench.plots.measured import plot_roc
from gapbench.projection.results import Projection
from gapbench.report.figures import report_figures
from gapbench.report.page.examples import MOST, examples
from gapbench.report.page.outlook import Outlook, outlook_of
from gapbench.report.page.quality import ResponseQuality, VerdictQuality, response_quality, verdict_quality
from gapbench.report.page.svg import Drawn, draw
from gapbench.report.projection import projection_figures
from gapbench.report.style import styled
from gapbench.report.text import one_line
from gapbench.report.view import OVERALL, View
from gapbench.run import Run


@dataclass(frozen=True)
class RunPage:
    """One run on a page.

    Attributes
    ----------
    label
        What the page calls it, where there are several.
    examples
        Responses to show. Keys, all optional: `domain`, `task`, `prompt_id`, `response`, `why` (why it was chosen),
        `question`, `reference` (list), `text`, `answer`, `utility`, `status`, `finish_reason`, `verdicts` (verifier to score, or
        None where there is no valid verdict) and `said` (verdicts as they were written: `verifier`, `replicate`, `score`,
        `status`, `text`).
    outlook
        What is projected, or, as text, why nothing is.
    """

    label: str
    view: View
    manifest: Mapping[str, Any]
    responses: Sequence[ResponseQuality] = ()
    verdicts: Sequence[VerdictQuality] = ()
    examples: Sequence[Mapping[str, Any]] = ()
    figures: Sequence[Drawn] = ()
    verifier_figures: Sequence[Drawn] = ()
    outlook: Outlook | str = "Not projected: `gapbench project RUN` says why, or keeps a dated forecast."
    outlook_figures: Sequence[Drawn] = ()


def run_page(
    run: Run,
    label: str,
    panels: list[Panel],
    estimates: Estimates,
    *,
    prefix: str = "",
    plots: Path | None = None,
    most_examples: int = MOST,
) -> RunPage:
    """Gather a run.

    Parameters
    ----------
    prefix
        Of the ids of its figures.
    plots
        A folder to write its figures into, too.
    most_examples
        Of each task.

    Raises
    ------
    UserError
        If there is no estimate.
    """
    view = View(estimates)
    outlook: Outlook | str
    later: Sequence[Drawn] = ()
    try:
        found = outlook_of(run, panels)
    except UserError as why:  # a forecast that was tampered with must not cost the page
        outlook = f"Not projected: {one_line(str(why), 400)}."
    else:
        outlook = replace(found, projection=_ordered(found.projection, view))
        later = draw(projection_figures(outlook.projection), prefix)
    panels = sorted(panels, key=lambda panel: view.domains.index(panel.domain))
    return RunPage(
        label,
        view,
        run.manifest,
        response_quality(panels),
        verdict_quality(panels),
        list(examples(run, panels, most_examples)),
        draw(report_figures(estimates, panels), prefix, plots),
        draw(_verifier_figures(panels, estimates), prefix),
        outlook,
        later,
    )


def _ordered(projection: Projection, view: View) -> Projection:
    """The rows as the page's other tables have them, domain by domain."""
    places = {domain: place for place, domain in enumerate([*view.domains, OVERALL])}
    return replace(
        projection, rows=tuple(sorted(projection.rows, key=lambda row: places.get(row.domain, -1)))
    )


@styled
def _verifier_figures(panels: Sequence[Panel], estimates: Estimates) -> dict[str, Figure]:
    """ROC curves over all domains; none where there is no verdict."""
    view = View(estimates)
    if not view.judging:
        return {}
    figure = Figure(figsize=(4.8, 4.8))
    domain = OVERALL if len(view.domains) > 1 else view.domains[0]
    plot_roc(panels, figure.subplots(), domain=domain, verifiers=view.judging, estimates=estimates)
    return {"roc": figure}
