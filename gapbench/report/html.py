"""The report: one HTML file that needs nothing else, no network and no script.

Everything a model or a file wrote passes through `gapbench.report.text.visible` and the template's escaping; the page's
own policy (Content-Security-Policy) forbids scripts and loading anything at all.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib.figure import Figure

import gapbench
from gapbench.estimate.results import Estimates
from gapbench.panel import Panel
from gapbench.report import content, quality, summary
from gapbench.report.costs import HELD_UP, engine_share, stage_costs
from gapbench.report.definitions import DEFINITIONS
from gapbench.report.plots import write_svg
from gapbench.report.style import GREY, GRID, INK, PAPER
from gapbench.report.text import one_line, plural, visible
from gapbench.report.view import WORDS, View

CAPTIONS = {
    "gap_by_domain": (
        "Gap by domain",
        "Each point is the gap of one verifier at its headline n: accuracy of the response it scores highest − accuracy of a "
        "response taken at random. The line is the 95 % interval over prompts. A hollow marker means that the interval "
        "includes zero. Domains are sorted by their largest gap; “all domains” weighs them equally. What is not "
        "estimable is written, not drawn.",
    ),
    "selection_curves": (
        "Accuracy after choosing among n responses",
        "best@n: the response the verifier scores highest. majority@n: the most frequent answer. pass@n: at least one of n "
        "is right, which is what a perfect verifier would reach. The thin level line is accuracy without choosing. Bands are "
        "95 % intervals of each curve by itself; the curves share their prompts, so they differ more surely than their "
        "overlapping bands suggest: the paired difference is the gap above. The n axis is logarithmic. A verifier that sees "
        "all N responses is one point at n = N.",
    ),
    "score_distributions": (
        "Scores of right and of wrong responses",
        "How each verifier's scores are distributed, for right (filled) and for wrong responses (hatched); each of the two sums "
        "to 1. AUC within is how often a right response outscores a wrong one to the same prompt, which the pooled "
        "histograms cannot show. Pairs tied: right and wrong responses to the same prompt with equal scores.",
    ),
}
PAGE_COLOURS = {INK: "currentColor", GREY: "var(--quiet)", PAPER: "var(--paper)", GRID: "var(--line)"}
EXAMPLE_LINES, EXAMPLE_LINE = 30, 300


def write_report(
    path: str | Path,
    *,
    manifest: Mapping[str, Any],
    estimates: Estimates,
    panels: Sequence[Panel],
    examples: Sequence[Mapping[str, Any]],
    figures: Mapping[str, Figure],
) -> Path:
    """Write the report of one run.

    Parameters
    ----------
    path
        The HTML file; its folder is made where it is missing.
    manifest
        The run's manifest; whatever it lacks is left out.
    estimates
        Of one model.
    panels
        One a task; for data quality.
    examples
        Responses to show. Keys, all optional: `domain`, `task`, `prompt_id`, `response`, `why` (why it was chosen),
        `question`, `reference` (list), `text`, `answer`, `utility`, `status`, and `verdicts` (verifier to score, or
        None where there is no valid verdict).
    figures
        As `gapbench.report.figures.report_figures` makes them.

    Raises
    ------
    UserError
        If there is no estimate, or there are several models.
    """
    view = View(estimates)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"visible": _shown, "one_line": lambda text: one_line(str(text), 120)}
    page = environment.get_template("report.html.j2").render(
        version=gapbench.__version__,
        view=view,
        content=content,
        facts=content.facts(view, manifest),
        lead=summary.lead(view),
        details=[content.minus(text) for text in summary.details(view)],
        sure=[*summary.how_sure(view), summary.interval_note(view)],
        not_drawn=summary.not_drawn(view),
        controls=[content.minus(text) for text in summary.control_reading(view)],
        readings=content.reading_words(),
        words=WORDS,
        figures=[
            (name, *CAPTIONS[name], inline_svg(figure, name, CAPTIONS[name][0]))
            for name, figure in figures.items()
        ],
        examples=_examples(examples),
        responses=quality.response_quality(panels),
        verdicts=quality.verdict_quality(panels),
        costs=stage_costs(manifest),
        engine_share=engine_share(stage_costs(manifest)),
        held_up=HELD_UP,
        limits=content.limits(view, manifest),
        task_limits=content.task_limits(manifest),
        simulated=content.simulated(manifest),
        definitions=DEFINITIONS,
        manifest=quality.flatten(manifest),
        plural=plural,
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8", newline="\n")
    return path


def inline_svg(figure: Figure, name: str, title: str) -> Markup:
    """A figure as an SVG element that follows the page's light or dark colours.

    Its ids get `name` as a prefix, since several figures share a page; its size becomes a maximum.
    """
    raw = io.BytesIO()
    write_svg(figure, raw)
    svg = raw.getvalue().decode("utf-8")
    svg = svg[svg.index("<svg") :]
    head, _, body = svg.partition(">")
    box = re.search(r'viewBox="[\d. -]+"', head)
    width = re.search(r'width="([\d.]+)pt"', head)
    body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r' id="', f' id="{name}-', body)
    body = re.sub(r'xlink:href="#', f'href="#{name}-', body).replace("url(#", f"url(#{name}-")
    for colour, variable in PAGE_COLOURS.items():
        body = body.replace(f": {colour}", f": {variable}")
    if box is None or width is None:
        raise ValueError("matplotlib's SVG has no viewBox or width")
    style = f"--width: {width[1]}pt"
    return Markup(f'<svg role="img" aria-label="{escape(title)}" {box[0]} style="{style}">') + Markup(body)


def _examples(examples: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """By domain, every key present."""
    empty: dict[str, Any] = dict.fromkeys(
        ("task", "prompt_id", "response", "why", "question", "text", "answer", "utility", "status"), ""
    ) | {"reference": [], "verdicts": {}}
    grouped: dict[str, list[dict[str, Any]]] = {}
    for example in examples:
        grouped.setdefault(str(example.get("domain", "")), []).append(empty | dict(example))
    return grouped


def _shown(text: object) -> str:
    return visible("" if text is None else str(text), line=EXAMPLE_LINE, lines=EXAMPLE_LINES)
