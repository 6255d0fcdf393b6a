"""The first screen: how much headroom, where, how sure, until when.

Everything is computed from the estimates. The largest of several gaps is never shown alone, since it is the largest by chance
too: what is shown is the span over all verifiers, or all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gapbench.estimate.results import Estimate
from gapbench.projection.results import MEASUREMENT, SCENARIO
from gapbench.report.page.cells import minus, partial
from gapbench.report.page.content import Views
from gapbench.report.page.outlook import Outlook, Said, horizon_words, of_many
from gapbench.report.summary import chance_note, control_verdict, half_widths, lead, shown_domains
from gapbench.report.text import interval, listing, number, one_line, plural, span
from gapbench.report.view import OVERALL, Reading, View, drawable

MOST_LISTED = 4  # runs of which each has sentences of its own in a card


@dataclass(frozen=True)
class Card:
    """A question, its answer at a glance, and what there is to say of it.

    Attributes
    ----------
    measure
        What the answer counts or measures.
    """

    question: str
    answer: str
    measure: str
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
    found = [overall(view) for _, view in views]
    gaps = [row.value for own in found for row in own.values()]
    answer = span(gaps, signed=True) if gaps else "not measured"
    measure = "accuracy gained by choosing among responses, over all domains"
    if len(gaps) > 1:
        sides = [plural(len({name for own in found for name in own}), "verifier")]
        sides += [plural(len(views), "run")] * (len(views) > 1)
        measure += f"; least and most of {listing(sides)}"
    said = [sentence for label, view in _listed(views) for sentence in _much(_before(label, views), view)]
    return Card(
        "How much headroom?",
        minus(answer),
        measure,
        tuple((MEASUREMENT, minus(one)) for one in said or _much_of_many(views)),
    )


def _much_of_many(views: Views) -> list[str]:
    """Spans over runs, of which the grid below has each with its interval."""
    bases = [view.get(OVERALL, "accuracy", filter="") for _, view in views]
    said = []
    if values := [row.value for row in bases if row is not None and drawable(row)]:
        said.append(f"Accuracy of one response is {span(values)} over the {len(views)} runs.")
    by_verifier: dict[str, list[float]] = {}
    for _, view in views:
        for name, row in overall(view).items():
            by_verifier.setdefault(name, []).append(row.value)
    if by_verifier:
        gains = [
            f"{span(values, signed=True)} ({one_line(name, 40)})" for name, values in by_verifier.items()
        ]
        said.append(f"Choosing by a verifier adds {listing(gains)}.")
    return [*said, "The table below has each run, with intervals."]


def _much(before: str, view: View) -> list[str]:
    found, base = overall(view), view.get(OVERALL, "accuracy", filter="")
    said = []
    if base is not None and drawable(base):
        values = [
            f"{_gap(row) if not before else number(row.value, signed=True)} ({one_line(name, 40)}, best@{row.n})"
            for name, row in found.items()
        ]
        choosing = f" Choosing among n responses by a verifier adds {listing(values)}." if values else ""
        own = number(base.value) if before else f"{number(base.value)} {interval(base.low, base.high)}"
        said.append(f"{before}Over all domains accuracy is {own}.{choosing}")
        ceiling = view.get(OVERALL, "pass@k", n=view.responses)
        if ceiling is not None and drawable(ceiling):
            reach = (
                number(ceiling.value)
                if before
                else f"{number(ceiling.value)} {interval(ceiling.low, ceiling.high)}"
            )
            perfect = f"A perfect verifier would reach {reach} with the same {view.responses} responses."
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
    measure = "where a verifier's gap has its 95 % interval above zero"
    measure += ", by run" * (found[0] != found[1])
    said = []
    for label, view in _listed(views):
        before = _before(label, views)
        said.append(before + lead(view))
        worse = shown_domains(view, "worse")
        if worse:
            said.append(f"{before}Choosing does harm by at least one verifier in: {view.names(worse)}.")
    return Card("Where?", answer, measure, tuple((MEASUREMENT, one) for one in said or _where_of_many(views)))


def _where_of_many(views: Views) -> list[str]:
    """In how many runs a verifier shows a gap, or does harm, in each domain."""
    said = []
    shown: tuple[tuple[Reading, str], ...] = (("gap", "a gap"), ("worse", "harm"))
    for reading, words in shown:
        counts = Counter(domain for _, view in views for domain in shown_domains(view, reading))
        if counts:
            each = [f"{one_line(domain, 40)} {count}" for domain, count in counts.most_common()]
            said.append(f"Runs of {len(views)} where a verifier shows {words}: {listing(each)}.")
    return said


def _how_sure(views: Views) -> Card:
    widths = [width for _, view in views for width in half_widths(view)]
    answer = f"± {number(float(np.median(widths)))}" if widths else "no interval"
    said = []
    if widths:
        prompts = sorted(
            {row.n_prompts for _, view in views for _, _, row in view.headlines() if row and drawable(row)}
        )
        counted = _span([f"{prompts[0]:,}", f"{prompts[-1]:,}"])
        said.append(
            f"From {counted} prompts a domain. A gap smaller than this cannot be told from none here, so “no gap shown” does "
            "not mean “no gap”."
        )
    said += [one for one in (chance_note([view for _, view in views]),) if one]
    controls = {_before(label, views): control_verdict(view) for label, view in views}
    if len(set(controls.values())) == 1:
        controls = {"": next(iter(controls.values()))}
    said += [before + one for before, one in controls.items() if one]
    measure = "half of the typical 95 % interval of a domain's gap" if widths else "of a domain's gap"
    return Card("How sure?", answer, measure, tuple((MEASUREMENT, minus(one)) for one in said))


def _until_when(views: Views, outlooks: Sequence[Outlook | None]) -> Card:
    known = [one for one in outlooks if one is not None]
    answers = list(dict.fromkeys(horizon_words(one) for one in known))
    said: list[Said] = []
    for (label, _), one in zip(_listed(views), outlooks, strict=False):
        if one is not None:
            said += [(kind, _before(label, views) + text) for kind, text in one.short()]
    if known:
        said = said or of_many(known)
        said.append((SCENARIO, "Past these rounds nothing is known, and no date is given."))
    if len(known) < len(views):
        absent = [label for (label, _), one in zip(views, outlooks, strict=True) if one is None]
        which = f" of {listing(absent)}" if known else ""
        said.append(
            (
                "",
                f"Not projected{which}: `gapbench project RUN` says why, or keeps a dated forecast.",
            )
        )
    answer = answers[0] if len(answers) == 1 else "differs by run" if answers else "not projected"
    filters = listing(list(dict.fromkeys(one.projection.filter for one in known))) if known else ""
    measure = (
        f"of {filters}: as far as these responses show the loop" if known else "how many rounds of a loop"
    )
    return Card("Until when?", answer, measure, tuple(said))


def _before(label: str, views: Views) -> str:
    return f"{label}: " if len(views) > 1 else ""


def _listed(views: Views) -> Views:
    """The runs that a card has room to speak of one by one."""
    return views if len(views) <= MOST_LISTED else ()


def _span(ends: Sequence[str]) -> str:
    return ends[0] if ends[0] == ends[-1] else f"{ends[0]} to {ends[-1]}"
