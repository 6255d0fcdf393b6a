"""The first screen: how much headroom, where, how sure, until when; and the same numbers as a grid.

Everything is computed from the estimates. The largest of several gaps is never shown alone, since it is the largest by chance
too: what is shown is the span over all verifiers, or all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gapbench.estimate.results import Estimate
from gapbench.projection.results import MEASUREMENT, SCENARIO
from gapbench.report.cells import Cell, Table, cell, ends, gap_cell, minus, partial, texts, with_strips
from gapbench.report.content import Views, domain_name
from gapbench.report.outlook import Outlook, Said, horizon_words
from gapbench.report.summary import chance_note, control_verdict, half_widths, lead, shown_domains
from gapbench.report.text import interval, listing, number, one_line
from gapbench.report.view import OVERALL, View, drawable

MOST_LISTED = 4  # runs of which each has sentences of its own in a card


@dataclass(frozen=True)
class Card:
    """A question, its answer at a glance, and what there is to say of it."""

    question: str
    answer: str
    said: tuple[Said, ...]


def cards(views: Views, outlooks: Sequence[Outlook | None]) -> list[Card]:
    """The four questions, for one run or for several.

    Parameters
    ----------
    outlooks
        What is projected of each view, if anything.
    """
    return [_how_much(views), _where(views), _how_sure(views), _until_when(views, outlooks)]


def overall(view: View) -> dict[str, Estimate]:
    """The headline gap over all domains of each verifier that judged all tasks and has one."""
    found = {verifier: view.headline(OVERALL, verifier) for verifier in view.judging}
    return {
        verifier: row
        for verifier, row in found.items()
        if row is not None and drawable(row) and not partial(row)
    }


def _how_much(views: Views) -> Card:
    gaps = [row.value for _, view in views for row in overall(view).values()]
    if not gaps:
        answer = "not measured"
    elif len(gaps) == 1:
        answer = number(gaps[0], signed=True)
    else:
        answer = f"{number(min(gaps), signed=True)} to {number(max(gaps), signed=True)}"
    said = [sentence for label, view in _listed(views) for sentence in _much(_before(label, views), view)]
    said += _others(views)
    return Card("How much headroom?", minus(answer), tuple((MEASUREMENT, minus(one)) for one in said))


def _much(before: str, view: View) -> list[str]:
    found, base = overall(view), view.get(OVERALL, "accuracy", filter="")
    said = []
    if base is not None and drawable(base):
        values = [
            f"{_gap(row) if not before else number(row.value, signed=True)} ({one_line(name, 40)}, best@{row.n})"
            for name, row in found.items()
        ]
        choosing = f" Choosing among n responses by a verifier adds {listing(values)}." if values else ""
        said.append(f"{before}Over all domains accuracy is {number(base.value)}.{choosing}")
        ceiling = view.get(OVERALL, "pass@k", n=view.responses)
        if ceiling is not None and drawable(ceiling):
            gain = number(ceiling.value - base.value, signed=True)
            perfect = f"A perfect verifier would add {gain} with the same {view.responses} responses."
            said = [f"{said[0]} {perfect}"] if before else [*said, perfect]
    if before:  # of several runs the grid below says the rest
        return said
    partly = {
        name: row
        for name in view.judging
        if (row := view.headline(OVERALL, name)) is not None and partial(row) and drawable(row)
    }
    for name, row in partly.items():
        said.append(
            f"{one_line(name, 40)} can judge {partial(row)[0]} only; it adds {_gap(row)} there (best@{row.n})."
        )
    without = [one_line(name, 40) for name in view.judging if name not in {**found, **partly}]
    if without:
        said.append(f"No number over all domains: {listing(without)}.")
    said += [
        f"{one_line(name, 40)}: no reply could be read as a verdict; it is left out, not scored."
        for name in view.silent
    ]
    return said


def _gap(row: Estimate) -> str:
    return f"{number(row.value, signed=True)} {interval(row.low, row.high, signed=True)}"


def _where(views: Views) -> Card:
    counts = [(len(shown_domains(view)), len(view.domains)) for _, view in views]
    found, of = ([f"{end(column)}" for end in (min, max)] for column in zip(*counts, strict=True))
    answer = f"{_span(found)} of {_span(of)} {'domain' if of[1] == '1' else 'domains'}"
    said = _others(views)
    for label, view in _listed(views):
        before = _before(label, views)
        said.append(before + lead(view))
        worse = shown_domains(view, "worse")
        if worse:
            said.append(f"{before}Choosing does harm by at least one verifier in: {view.names(worse)}.")
    return Card("Where?", answer, tuple((MEASUREMENT, one) for one in said))


def _how_sure(views: Views) -> Card:
    widths = [width for _, view in views for width in half_widths(view)]
    answer = f"± {number(float(np.median(widths)))}" if widths else "no interval"
    said = []
    if widths:
        prompts = sorted(
            {row.n_prompts for _, view in views for _, _, row in view.headlines() if row and drawable(row)}
        )
        span = _span([f"{prompts[0]:,}", f"{prompts[-1]:,}"])
        said.append(
            f"The typical 95 % interval of a domain's gap, from {span} prompts: a gap smaller than that cannot be told from "
            "none here, so “no gap shown” does not mean “no gap”."
        )
    said += [one for one in (chance_note([view for _, view in views]),) if one]
    controls = {_before(label, views): control_verdict(view) for label, view in views}
    if len(set(controls.values())) == 1:
        controls = {"": next(iter(controls.values()))}
    said += [before + one for before, one in controls.items() if one]
    return Card("How sure?", answer, tuple((MEASUREMENT, minus(one)) for one in said))


def _until_when(views: Views, outlooks: Sequence[Outlook | None]) -> Card:
    known = [one for one in outlooks if one is not None]
    answers = list(dict.fromkeys(horizon_words(one) for one in known))
    said: list[Said] = []
    for (label, _), one in zip(_listed(views), outlooks, strict=False):
        if one is not None:
            said += [(kind, _before(label, views) + text) for kind, text in one.short()]
    if known:
        said += [("", one) for one in _others(views, "The projections further down")]
        said.append((SCENARIO, "Past these rounds nothing is known, and no date is given."))
    if len(known) < len(views):
        absent = [label for (label, _), one in zip(views, outlooks, strict=True) if one is None]
        which = f" of {listing(absent)}" if known else ""
        said.append(
            (
                "",
                f"Not projected here{which}: `gapbench report RUN` does, and `gapbench project RUN` keeps a dated forecast.",
            )
        )
    answer = answers[0] if len(answers) == 1 else "differs by run" if answers else "not projected"
    return Card("Until when?", answer, tuple(said))


def grid(views: Views) -> Table:
    """Domains by verifiers for one run; for several, verifiers over all domains by runs."""
    return _domain_grid(views[0][1]) if len(views) == 1 else _run_grid(views)


def _domain_grid(view: View) -> Table:
    domains = [*view.domains, *[OVERALL] * (len(view.domains) > 1)]
    found = [[view.headline(domain, verifier) for verifier in view.judging] for domain in domains]
    rows = tuple(
        (Cell(domain_name(domain)), cell(view.get(domain, "accuracy", filter="")), *cells)
        for domain, cells in zip(domains, _gap_lines(found), strict=True)
    )
    headings = tuple(f"{one_line(name, 40)}, best@{view.headline_n(name)}" for name in view.judging)
    caption = (
        "Gap by domain and verifier: what choosing the best of n responses by its score adds to accuracy, with 95 % intervals. "
        "A full dot: the interval excludes zero. A hollow dot: no gap shown, which is no proof that there is none."
    )
    return Table("t-grid", caption, ("Domain", "Accuracy", *headings), rows)


def _run_grid(views: Views) -> Table:
    names = list(dict.fromkeys((name, view.label(name)) for _, view in views for name in view.judging))
    rows: list[tuple[Cell, ...]] = [
        (
            *texts("accuracy", "one response"),
            *(cell(view.get(OVERALL, "accuracy", filter="")) for _, view in views),
        )
    ]
    gaps = [
        [view.headline(OVERALL, name) if view.label(name) == label else None for _, view in views]
        for name, label in names
    ]
    for (name, label), own in zip(names, _gap_lines(gaps), strict=True):
        rows.append((Cell(one_line(name, 40)), Cell(label), *own))
    rows.append(
        (
            *texts("a perfect verifier", "pass@N"),
            *(cell(view.get(OVERALL, "pass@k", n=view.responses)) for _, view in views),
        )
    )
    caption = (
        "Over all domains: accuracy of one response, the gap of each verifier, and coverage, with 95 % intervals. Only equal filter, "
        "n and m compare. A full dot: the interval excludes zero. Whether runs differ is a question of its own: see the "
        "paired comparison."
    )
    return Table(
        "t-grid", caption, ("Over all domains", "What", *(label for label, _ in views)), tuple(rows), 2
    )


def side_by_side(views: Views) -> Table:
    """Every domain and verifier, with a column for each run."""
    domains = list(dict.fromkeys(domain for _, view in views for domain in view.domains))
    names = list(dict.fromkeys((name, view.label(name)) for _, view in views for name in view.judging))
    keys = [(domain, name, label) for domain in [*domains, OVERALL] for name, label in names]
    found = [
        [view.headline(domain, name) if view.label(name) == label else None for _, view in views]
        for domain, name, label in keys
    ]
    rows = []
    for (domain, name, label), gaps, cells in zip(keys, found, _gap_lines(found), strict=True):
        if (name, label) == names[0]:
            own = (cell(view.get(domain, "accuracy", filter="")) for _, view in views)
            rows.append((*texts(domain_name(domain), "accuracy"), *own))
        if any(gaps):
            rows.append((Cell(domain_name(domain)), Cell(one_line(name, 40), label), *cells))
    caption = (
        "Domains side by side: accuracy, and the headline gap of each verifier, with 95 % intervals, a column each run. All marks "
        "are on one scale. Overlapping intervals do not say that runs are equal: they share prompts, so their paired "
        "difference is surer than that."
    )
    return Table("t-side", caption, ("Domain", "What", *(label for label, _ in views)), tuple(rows), 2)


def _gap_lines(found: Sequence[Sequence[Estimate | None]]) -> list[list[Cell]]:
    """Gaps as lines of cells, all strips on one scale."""
    flat = [row for line in found for row in line]
    drawn = iter(with_strips([*map(gap_cell, flat)], [*map(ends, flat)]))
    return [[next(drawn) for _ in line] for line in found]


def _before(label: str, views: Views) -> str:
    return f"{label}: " if len(views) > 1 else ""


def _listed(views: Views) -> Views:
    """The runs that a card has room to speak of one by one."""
    return views if len(views) <= MOST_LISTED else ()


def _others(views: Views, where: str = "The tables below") -> list[str]:
    """Where the runs are that a card has no room for."""
    return [] if _listed(views) else [f"{where} have each of the {len(views)} runs."]


def _span(ends: Sequence[str]) -> str:
    return ends[0] if ends[0] == ends[-1] else f"{ends[0]} to {ends[-1]}"
