"""Paired differences between the runs of a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from gapbench.comparing.compare import compare
from gapbench.errors import UserError
from gapbench.estimate.contrast import Contrast
from gapbench.report.comparison import ADJUSTMENTS
from gapbench.report.page.cells import Cell, Ends, Table, number_cell, p_cell, texts, value_cell, with_strips
from gapbench.report.page.content import domain_name
from gapbench.report.page.outlook import Said
from gapbench.report.page.parts import Part
from gapbench.report.text import one_line
from gapbench.report.view import OVERALL
from gapbench.run import Run

ALL_PAIRS = 4  # runs up to which every pair is compared; beyond, each against the first


def comparison(runs: Sequence[Run], names: Mapping[str, str]) -> Part:
    """Paired differences of the gap between runs, on the prompts that all of them answered.

    Parameters
    ----------
    names
        What the page calls each run, by its label.
    """
    against = next(iter(names)) if len(runs) > ALL_PAIRS else None
    try:
        found = compare(runs, against=against)
    except UserError as why:
        return Part(why_not=f"Not compared: {one_line(str(why), 400)}.")
    pairs = list(dict.fromkeys((row.a, row.b) for row in found))
    several = len(pairs) > 1
    differences = with_strips([_difference(row) for row in found], [_ends(row) for row in found])
    rows = [
        (
            Cell(domain_name(row.domain)),
            Cell(one_line(row.verifier, 40), ", ".join(_inside(row))),
            *texts(*[names[row.a], *[names[row.b]] * (against is None)] * several),
            number_cell(row.value_a, signed=True),
            number_cell(row.value_b, signed=True),
            difference,
            p_cell(row.p_adjusted),
            number_cell(row.mde),
            Cell(row.verdict.replace("_", " ")),
        )
        for row, difference in zip(found, differences, strict=True)
    ]
    headings = _headings([(names[a], names[b]) for a, b in pairs], names[against] if against else "")
    caption = (
        "Differences of the gap between runs, paired on common prompts, with 95 % intervals; the p-values and the words allow for "
        "there being several, the intervals and their marks do not. Tied is no proof of equality: a true difference below what is "
        "detectable (power .8) would often be missed."
    )
    said: list[Said] = [
        ("", f"Adjusted for several comparisons by {ADJUSTMENTS[found.adjust]}."),
        *(("", note) for note in found.notes),
    ]
    order = sorted(range(len(rows)), key=lambda place: found[place].domain)
    whole = tuple(rows[place] for place in order if found[place].domain == OVERALL)
    parts = tuple(rows[place] for place in order if found[place].domain != OVERALL)
    heads = headings.index("p, adjusted") - 3
    if not several or not whole:
        table = Table("t-compare", caption, headings, (*parts, *whole), heads)
        return Part(tables=(table,), said=tuple(said))
    folded = Table("t-compare-domains", f"By domain. {caption}", headings, parts, heads)
    return Part(
        tables=(Table("t-compare", f"Over all domains. {caption}", headings, whole, heads),),
        said=tuple(said),
        folded=(("The same by domain", folded),),
    )


def _headings(pairs: Sequence[tuple[str, str]], against: str) -> tuple[str, ...]:
    several = len(pairs) > 1
    a, b = ("A", against or "B") if several else pairs[0]
    sides = ["A"] if against else ["A", "B"]
    return (
        *("Domain", "Verifier", *sides * several, f"Gap of {a}", f"Gap of {b}"),
        *(f"Difference, {a} − {b}", "p, adjusted", "Detectable", f"{a} reads as"),
    )


def _inside(row: Contrast) -> list[str]:
    return [word for word in (row.filter, f"m={row.m}" if row.m else "") if word]


def _ends(row: Contrast) -> Ends | None:
    known = all(map(math.isfinite, (row.difference, row.low, row.high))) and row.verdict != "not_estimable"
    return (row.low, row.difference, row.high) if known else None


def _difference(row: Contrast) -> Cell:
    if _ends(row) is None:
        return Cell("not estimable", kind="word", order=math.nan)
    return value_cell(row.difference, row.low, row.high, signed=True)
