"""The report: one HTML file that needs nothing else and no network, readable without its script.

Everything a model or a file wrote passes through `gapbench.report.text.visible` and the template's escaping. The page's own
policy (Content-Security-Policy) forbids loading anything, and every script but the one that sorts tables, which it knows by
its hash.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

import gapbench
from gapbench.report import summary
from gapbench.report.costs import HELD_UP, engine_share, stage_costs
from gapbench.report.definitions import DEFINITIONS
from gapbench.report.page import about, content, firstscreen, grids, quality
from gapbench.report.page.outlook import Outlook, overall_table
from gapbench.report.page.pages import RunPage
from gapbench.report.page.parts import Part
from gapbench.report.page.shown import shown
from gapbench.report.page.together import Together
from gapbench.report.text import one_line, percent, plural, visible
from gapbench.report.view import WORDS

TEMPLATES = Path(__file__).parent
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
    runs = [(page.label, page.view, page.manifest) for page in pages]
    manifests = [page.manifest for page in pages]
    outlooks = [page.outlook if isinstance(page.outlook, Outlook) else None for page in pages]
    many = len(pages) > 1
    together = together or Together()
    read_as = set().union(*(content.readings(view) for _, view in views))
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    text = _environment().get_template("page.html.j2").render(
        version=gapbench.__version__,
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=Markup((TEMPLATES / "page.css").read_text(encoding="utf-8")),
        runs=[shown(page, f"-{place}" if many else "") for place, page in enumerate(pages)],
        many=many,
        together=together,
        absent=[(id, name, part.why_not) for id, name, part in _parts(together) if part.why_not],
        simulated=[page.label for page in pages if about.simulated(page.manifest)],
        cards=firstscreen.cards(views, outlooks),
        grid=grids.grid(views),
        facts=about.common_facts(runs),
        interval_notes=list(dict.fromkeys(summary.interval_note(view) for _, view in views)),
        readings=about.reading_words(read_as),
        words=WORDS,
        has_bounds=any(content.has_bounds(view) for _, view in views),
        costs=about.cost_table([(page.label, page.manifest) for page in pages]),
        engine_shares=[
            (page.label, percent(share, 1))
            for page in pages
            if (share := engine_share(stage_costs(page.manifest))) is not None
        ],
        held_up=HELD_UP,
        limits=about.limits(views, manifests, projected=any(outlooks)),
        task_limits=about.task_limits(manifests),
        definitions=DEFINITIONS,
        **(_of_many(pages) if many else {}),
    )  # fmt: skip
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def _of_many(pages: Sequence[RunPage]) -> dict[str, Any]:
    """What stands before the runs one by one, where there are several."""
    views = [(page.label, page.view) for page in pages]
    outlooks = [(page.label, page.outlook) for page in pages if isinstance(page.outlook, Outlook)]
    caption = (
        "AUC within prompts of each verifier, with 95 % intervals, a column each run: how often a right response outscores a wrong "
        "one to the same prompt; .5 is chance."
    )
    return {
        "runs_table": about.runs_table([(page.label, page.view, page.manifest) for page in pages]),
        "side": grids.side_by_side(views),
        "auc": grids.by_run(views, ("auc_within", "", False), "t-auc", caption),
        "outlooks": overall_table(outlooks) if outlooks else None,
        "quality_runs": quality.quality_by_run(
            [(page.label, page.responses, page.verdicts) for page in pages]
        ),
        "control_verdicts": [
            (label, verdict) for label, view in views if (verdict := summary.control_verdict(view))
        ],
    }


def _parts(together: Together) -> list[tuple[str, str, Part]]:
    return [
        ("comparison", "Paired comparison of runs", together.comparison),
        ("scaling", "Scaling with pretraining compute", together.scaling),
        ("training", "What training did", together.trajectory),
    ]


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
    """Escaped text in which what stands between backticks is code, and no line ends between a number and its %."""
    held = re.sub(r"(?<=\d) %", "\u00a0%", str(escape(text)))
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", held))


def _shown(text: object) -> str:
    whole = "" if text is None else str(text)
    shown = visible(whole[:LONGEST], line=LINE, lines=LINES)
    rest = len(whole) - LONGEST
    return shown if rest <= 0 else f"{shown} … [{rest:,} more characters]"
