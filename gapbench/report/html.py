"""The report: one HTML file that needs nothing else and no network, readable without its script.

Everything a model or a file wrote passes through `gapbench.report.text.visible` and the template's escaping. The page's own
policy (Content-Security-Policy) forbids loading anything, and every script but the one that sorts tables, which it knows by
its hash.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

import gapbench
from gapbench.report import about, content, firstscreen, quality, summary
from gapbench.report.cells import minus
from gapbench.report.costs import HELD_UP, engine_share, stage_costs
from gapbench.report.definitions import DEFINITIONS
from gapbench.report.outlook import Outlook, projection_table
from gapbench.report.pages import RunPage
from gapbench.report.text import one_line, plural, visible
from gapbench.report.together import Together
from gapbench.report.view import WORDS

TEMPLATES = Path(__file__).with_name("page")
LONGEST, LINE, LINES = 6000, 2000, 80  # characters of a text, of a line, and lines that are shown


def write_report(path: str | Path, pages: Sequence[RunPage], together: Together | None = None) -> Path:
    """Write the report of one run or of several.

    Parameters
    ----------
    path
        The HTML file; its folder is made where it is missing.
    pages
        One a run, at least one.
    together
        What the runs say together.
    """
    views = [(page.label, page.view) for page in pages]
    manifests = [page.manifest for page in pages]
    outlooks = [page.outlook if isinstance(page.outlook, Outlook) else None for page in pages]
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    text = _environment().get_template("page.html.j2").render(
        version=gapbench.__version__,
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=Markup((TEMPLATES / "page.css").read_text(encoding="utf-8")),
        pages=pages,
        many=len(pages) > 1,
        views=views,
        together=together or Together(),
        simulated=[page.label for page in pages if about.simulated(page.manifest)],
        cards=firstscreen.cards(views, outlooks),
        grid=firstscreen.grid(views),
        side=firstscreen.side_by_side(views) if len(views) > 1 else None,
        facts=about.facts(*_only(pages)) if len(pages) == 1 else None,
        runs_table=about.runs_table([(page.label, page.view, page.manifest) for page in pages]),
        interval_notes=list(dict.fromkeys(summary.interval_note(view) for _, view in views)),
        headline=content.headline_table(views),
        has_bounds=any(content.has_bounds(view) for _, view in views),
        not_drawn=[one for page in pages for one in _labelled(page, summary.not_drawn(page.view), pages)],
        tasks=content.task_table(views),
        curves=content.curve_table(views),
        filters=content.choice_table(views, content.FILTERS, "t-filters", content.FILTERS_CAPTION),
        qualities=content.choice_table(views, content.QUALITY, "t-quality", content.QUALITY_CAPTION),
        chosen=content.chosen_table(views),
        controls=content.choice_table(views, content.CONTROLS, "t-control", content.CONTROLS_CAPTION),
        control_lines=[
            minus(one) for page in pages for one in _labelled(page, summary.control_reading(page.view), pages)
        ],
        readings=about.reading_words(),
        words=WORDS,
        outlooks=[(page, projection_table(page.outlook, f"t-projection-{place}")) for place, page in enumerate(pages) if isinstance(page.outlook, Outlook)],
        not_projected=[(page.label, page.outlook) for page in pages if not isinstance(page.outlook, Outlook)],
        examples=[(page.label, _examples(page.examples)) for page in pages],
        responses=quality.response_table([(page.label, page.responses) for page in pages]),
        verdicts=quality.verdict_table([(page.label, page.verdicts) for page in pages]),
        costs=about.cost_table([(page.label, page.manifest) for page in pages]),
        engine_shares=[
            (page.label, share)
            for page in pages
            if (share := engine_share(stage_costs(page.manifest))) is not None
        ],
        held_up=HELD_UP,
        limits=about.limits(views, manifests, projected=any(outlooks)),
        task_limits=about.task_limits(manifests),
        definitions=DEFINITIONS,
        manifests=[(page.label, quality.flatten(page.manifest)) for page in pages],
    )  # fmt: skip
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"visible": _shown, "one_line": lambda text: one_line(str(text), 120)}
    environment.filters["coded"] = _coded
    environment.globals["plural"] = plural
    return environment


def _coded(text: str) -> Markup:
    """Escaped text in which what stands between backticks is code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _only(pages: Sequence[RunPage]) -> tuple[Any, Any]:
    return pages[0].view, pages[0].manifest


def _labelled(page: RunPage, lines: Sequence[str], pages: Sequence[RunPage]) -> list[str]:
    return [f"{page.label}: {line}" if len(pages) > 1 else line for line in lines]


def _examples(examples: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """By domain, every key present."""
    empty: dict[str, Any] = dict.fromkeys(
        ("task", "prompt_id", "response", "why", "question", "text", "answer", "utility", "status"), ""
    ) | {"reference": [], "verdicts": {}, "said": [], "finish_reason": ""}
    grouped: dict[str, list[dict[str, Any]]] = {}
    for example in examples:
        grouped.setdefault(str(example.get("domain", "")), []).append(empty | dict(example))
    return grouped


def _shown(text: object) -> str:
    whole = "" if text is None else str(text)
    shown = visible(whole[:LONGEST], line=LINE, lines=LINES)
    rest = len(whole) - LONGEST
    return shown if rest <= 0 else f"{shown} … [{rest:,} more characters]"
