"""A projection in the terminal: a table, and under it which statements are measurements, projections and scenarios.

>>> from rich.console import Console
>>> print_projection(projection, Console())  # doctest: +SKIP
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gapbench.projection.results import DomainProjection, Projection, Value
from gapbench.report.tables import NOTES
from gapbench.report.text import interval, number, one_line
from gapbench.report.view import OVERALL

OWN_NOTES = {
    "one_response": "one response a prompt: there is nothing to choose from",
    "not_extrapolated": "too little is right, or too few points are measured, to say anything of coverage beyond N",
    "fresh_not_identified": "one verdict a response: what fresh verdicts would add cannot be told; the rounds understate",
    "fresh_not_modelled": "scores that are not yes or no: what fresh verdicts would add is not modelled; the rounds understate",
    "no_soft_weight": "scores without a scale: they have no soft weight",
    "no_verdicts": "no reply of the verifier could be read as a verdict",
    "not_estimable": "there is no useful interval",
}


def print_projection(projection: Projection, console: Console) -> None:
    """Print a row for every domain and verifier, those over all domains last.

    Parameters
    ----------
    projection
        At least one row.
    console
        Where to print.
    """
    console.print(_table(projection))
    for line in statement_lines(projection):
        console.print(Text(line), soft_wrap=False)


def statement_lines(projection: Projection) -> list[str]:
    """What the numbers mean, by the kind of statement that they are."""
    named = {**NOTES, **OWN_NOTES}
    flagged = dict.fromkeys(flag for row in projection for flag in row.flags)
    return [
        "Measurements: accuracy; measured reserve, accuracy after the best number n* of responses, chosen on one half of the "
        "prompts and scored on the other, less accuracy; over-optimisation, the p-value of best@N being below best@n*; "
        "coverage reserve, pass@N less accuracy, what a perfect verifier would get from the same responses.",
        f"Projection: rounds of {projection.filter} up to the horizon, which N responses show, if "
        + "; ".join(projection.assumptions)
        + ". Where the verifier draws new verdicts in every round they are integrated over.",
        "Scenarios: past the horizon nothing is known. Judge stays: held at best@N. Judge gains .5: as if half of each gain in "
        "accuracy were a gain of the judge too; no single frozen model can show that.",
        *_corners(projection),
        *(f"* {flag}: {named[flag]}" for flag in flagged if flag in named),
    ]


def _table(projection: Projection) -> Table:
    table = Table(
        title=Text(f"{one_line(projection.model, 60)}: reserve, and rounds of {projection.filter}"),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        collapse_padding=True,
    )
    for name in ("domain", "verifier"):
        table.add_column(name, max_width=24, overflow="fold")
    for name in (
        "accuracy", "measured reserve", "n*", "over-opt. p", "coverage reserve", "horizon", "gain up to it",
        "judge stays", "gains .5",
    ):  # fmt: skip
        table.add_column(name, no_wrap=False)
    for place, row in enumerate(projection.rows):
        if place and row.domain == OVERALL != projection.rows[place - 1].domain:
            table.add_section()
        table.add_row(*map(Text, _cells(row)))
    return table


def _cells(row: DomainProjection) -> list[str]:
    ends = {one.rho: one.plateau for one in row.moving_judge}
    noted = "*" * any(flag in NOTES or flag in OWN_NOTES for flag in row.flags)
    return [
        "all domains" if row.domain == OVERALL else one_line(row.domain, 24),
        (one_line(row.verifier, 24) or "-") + noted,
        number(row.accuracy.value),
        _signed(row.reserve_measured),
        "-" if row.n_star is None else str(row.n_star),
        _p(row.over_optimisation.p),
        _signed(row.reserve_coverage),
        "-" if row.horizon_rounds is None else f"{row.horizon_rounds} rounds",
        _signed(row.reserve_identified),
        number(ends.get(0.0, math.nan)),
        number(ends.get(0.5, math.nan)),
    ]


def _signed(value: Value) -> str:
    if not value.known:
        return "-"
    return f"{number(value.value, signed=True)} {interval(value.low, value.high, signed=True)}"


def _p(value: float) -> str:
    return "<.001" if value < 0.001 else number(value)


def _corners(projection: Projection) -> Iterator[str]:
    """The numbers that decide the limit, over all domains."""
    for row in projection:
        if row.domain == OVERALL and row.corner is not None:
            corner = row.corner
            share = number(corner.share.value) if corner.share.known else "not estimable"
            yield (
                f"What decides the limit, {one_line(row.verifier, 24)}: best@{corner.n} {number(corner.best.value)}; right among "
                f"the top 1/{corner.n} of all scores {share}; what is rarer than 3/{corner.n} = {corner.floor:.2g} these data "
                "cannot see."
            )
