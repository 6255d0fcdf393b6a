"""One run of a page as the tables and sentences that its template sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gapbench.report import summary
from gapbench.report.page import content, quality
from gapbench.report.page.cells import Table, minus
from gapbench.report.page.outlook import Outlook, projection_table
from gapbench.report.page.pages import RunPage


@dataclass(frozen=True)
class Shown:
    """What the template sets of a run.

    Attributes
    ----------
    projected
        The table of its projection, if there is one.
    not_drawn
        What has no number, in words.
    examples
        By domain, with every key.
    """

    page: RunPage
    headline: Table
    tasks: Table | None
    filters: Table
    curves: Table
    qualities: Table
    chosen: Table | None
    projected: Table | None
    responses: Table
    verdicts: Table
    controls: Table
    control_lines: tuple[str, ...]
    not_drawn: tuple[str, ...]
    examples: Mapping[str, Sequence[Mapping[str, Any]]]
    manifest: Sequence[tuple[str, str]]


def shown(page: RunPage, suffix: str = "") -> Shown:
    """The tables of a run.

    Parameters
    ----------
    suffix
        Of their ids, which are unique on a page.
    """
    view, outlook = page.view, page.outlook
    return Shown(
        page,
        content.headline_table(view, f"t-headline{suffix}"),
        content.task_table(view, f"t-tasks{suffix}"),
        content.choice_table(view, content.FILTERS, f"t-filters{suffix}", content.FILTERS_CAPTION),
        content.curve_table(view, f"t-curves{suffix}"),
        content.choice_table(view, content.QUALITY, f"t-quality{suffix}", content.QUALITY_CAPTION),
        content.chosen_table(view, f"t-chosen{suffix}"),
        projection_table(outlook, f"t-projection{suffix}") if isinstance(outlook, Outlook) else None,
        quality.response_table(page.responses, f"t-responses{suffix}"),
        quality.verdict_table(page.verdicts, f"t-verdicts{suffix}"),
        content.choice_table(view, content.CONTROLS, f"t-control{suffix}", content.CONTROLS_CAPTION),
        tuple(map(minus, summary.control_reading(view))),
        tuple(summary.not_drawn(view)),
        _examples(page.examples),
        quality.flatten(page.manifest),
    )


def _examples(examples: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    empty: dict[str, Any] = dict.fromkeys(
        ("task", "prompt_id", "response", "why", "question", "text", "answer", "utility", "status"), ""
    ) | {"reference": [], "verdicts": {}, "said": [], "finish_reason": ""}
    grouped: dict[str, list[dict[str, Any]]] = {}
    for example in examples:
        grouped.setdefault(str(example.get("domain", "")), []).append(empty | dict(example))
    return grouped
