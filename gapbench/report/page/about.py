"""What a report says of the runs themselves: their facts, their costs, and what the numbers do not say."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from gapbench.report.costs import stage_costs
from gapbench.report.page.cells import Cell, Table, count_cell, listed, texts
from gapbench.report.page.content import Views
from gapbench.report.page.quality import temperatures
from gapbench.report.text import one_line, percent, plural
from gapbench.report.view import Reading, View


def limits(views: Views, manifests: Sequence[Mapping[str, Any]], *, projected: bool) -> list[str]:
    """What the numbers do not say."""
    counts = [
        row.n_prompts
        for _, view in views
        for domain in view.domains
        if (row := view.get(domain, "accuracy", filter=""))
    ]
    fewest = min(counts, default=0)
    responses = min(view.responses for _, view in views)
    said = [
        "The prompts are a sample of these tasks. Nothing is said about other tasks of the same name, other wordings, or "
        "other ways of showing examples."
    ]
    if fewest and responses:
        said.append(
            f"What is rare is not seen. Something that none of a domain's {fewest} prompts showed may still happen in up "
            f"to about {percent(min(3 / fewest, 1))} of such prompts, and an answer that none of {responses} responses gave may have "
            f"a probability of up to about {percent(min(3 / responses, 1))} (three over the number of trials, at 95 %)."
        )
    if responses:
        beyond = (
            "what is said of it here is a projection under the assumptions named, or a scenario."
            if projected
            else "this page does not extrapolate, and does not say when the headroom would run out after training."
        )
        said.append(
            f"Nothing was measured beyond n = {responses}. More responses may find more, or may reward what only looks right to the "
            f"verifier; {beyond}"
        )
    heats = sorted({heat for manifest in manifests for heat in temperatures(manifest)})
    at = f" (here {', '.join(f'{value:g}' for value in heats)})" if heats else ""
    said += [
        f"The gap belongs to the sampling temperature{at}: at another one the responses differ less or more, and there is "
        "less or more to choose from.",
        "A verifier is its prompt. Another wording, another judge or more verdicts for each response can give another gap; "
        "“no gap shown” speaks of these verifiers only.",
        "Ground truth is what the grader says. A grader that misreads right answers lowers accuracy and can lower or raise "
        "the gap.",
        "A gap is what could be gained by choosing among answers. How much of it training would keep is not measured.",
    ]
    if len(views) > 1:
        said.append(
            "Runs differ in more than their model where their suites, prompts, temperatures or verifiers do: the table of "
            "runs and the manifests say which."
        )
    return said


def task_limits(manifests: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """(task, what its own card says it cannot tell), for the tasks that say so."""
    cards = {
        name: task.get("card", {}).get("limits")
        for manifest in manifests
        for name, task in manifest.get("tasks", {}).items()
    }
    return [(one_line(name, 60), one_line(str(text), 500)) for name, text in cards.items() if text]


def simulated(manifest: Mapping[str, Any]) -> bool:
    """Whether the answers came from the simulated engine, so that no model was measured."""
    return bool(manifest.get("config", {}).get("engine") == "simulated")


def facts(view: View, manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The few facts that stand under the answers, or in a line of the table of runs: the same ones for every run."""
    counts = [
        row.n_prompts for row in (view.get(domain, "accuracy", filter="") for domain in view.domains) if row
    ]
    suite = manifest.get("suite")
    name = suite.get("name") if isinstance(suite, Mapping) else suite
    heats = temperatures(manifest)
    return [
        ("Model", one_line(view.model, 100)),
        ("Suite", one_line(str(name or "not recorded"), 60)),
        ("Prompts", f"{sum(counts):,} in {plural(len(view.domains), 'domain')}"),
        ("Responses a prompt (N)", f"{view.responses}"),
        ("Verifiers", ", ".join(one_line(verifier, 40) for verifier in view.verifiers) or "none"),
        ("Temperature", ", ".join(f"{value:g}" for value in heats) or "not recorded"),
        ("Run started", _minute(str(manifest.get("created") or "not recorded"))),
    ]


def _minute(time: str) -> str:
    """A time to the minute, in UTC; as it is where it is none."""
    try:
        return datetime.fromisoformat(time).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    except ValueError:
        return one_line(time, 40)


def common_facts(runs: Sequence[tuple[str, View, Mapping[str, Any]]]) -> list[tuple[str, str]]:
    """The facts that are the same for all runs."""
    found = [facts(view, manifest) for _, view, manifest in runs]
    return [one for one in found[0] if all(one in own for own in found)]


def runs_table(runs: Sequence[tuple[str, View, Mapping[str, Any]]]) -> Table:
    """In what several runs differ, a line each."""
    same = common_facts(runs)
    found = [
        (label, [one for one in facts(view, manifest) if one not in same]) for label, view, manifest in runs
    ]
    rows = tuple((Cell(label), *texts(*(text for _, text in own))) for label, own in found)
    headings = ("Run", *dict.fromkeys(name for _, own in found for name, _ in own))
    return Table("t-runs", "The runs on this page, and in what they differ.", headings, rows)


def reading_words(found: Collection[Reading]) -> list[tuple[Reading, str]]:
    """What those readings mean that a page has."""
    return [(reading, meaning) for reading, meaning in _MEANINGS if reading in found]


_MEANINGS: tuple[tuple[Reading, str], ...] = (
    ("gap", "the interval lies above zero: choosing by this verifier helps"),
    ("worse", "the interval lies below zero: choosing by this verifier does harm"),
    ("none", "the interval includes zero; that is no proof that there is no gap"),
    (
        "descriptive",
        "fewer than 20 prompts: the numbers describe these prompts and claim nothing beyond them",
    ),
    ("not_estimable", "undefined, or an interval so wide that the number would mislead"),
    (
        "no_verdicts",
        "no reply of the verifier could be read as a verdict here; it is left out, not scored as wrong",
    ),
    ("missing", "not every domain or task has this number"),
)


def cost_table(runs: Sequence[tuple[str, Mapping[str, Any]]]) -> Table | None:
    """What each stage of each run took; None where no manifest records any."""
    many = len(runs) > 1
    rows = []
    for label, manifest in runs:
        for cost in stage_costs(manifest):
            counts = (
                cost.sittings,
                cost.unfinished,
                cost.rows,
                cost.requests,
                cost.tokens,
                cost.prompt_tokens,
            )
            waited = cost.engine_seconds / cost.told_seconds if cost.told_seconds else None
            statuses = (f"{one_line(name, 40)} {count:,}" for name, count in cost.statuses.most_common())
            rows.append(
                (
                    *texts(*[label] * many, one_line(cost.stage, 20)),
                    *map(count_cell, counts),
                    _share(cost.cache_hits),
                    Cell(f"{cost.seconds:,.1f}", kind="num", order=cost.seconds),
                    _share(waited),
                    Cell(listed(statuses)),
                )
            )
    if not rows:
        return None
    headings = (
        *["Run"] * many,
        *(
            "Stage",
            "Sittings",
            "Cut off",
            "Rows",
            "Requests",
            "Generated tokens",
            "Prompt tokens",
            "Of these cached",
        ),
        *("Seconds", "Waiting for the engine", "Statuses"),
    )
    caption = (
        "What each stage took. A sitting that was cut off counts nothing here, though its rows are kept."
    )
    return Table("t-cost", caption, headings, tuple(rows), 1 + many)


def _share(value: float | None) -> Cell:
    if value is None:
        return Cell("–", kind="none", order=math.nan)
    return Cell(percent(value), kind="num", order=value)
