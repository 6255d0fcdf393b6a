"""A projection in the terminal: a table, and under it which statements are measurements, projections and scenarios.

>>> from rich.console import Console
>>> print_projection(projection, Console())  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gapbench.projection.results import DomainProjection, Projection, Value
from gapbench.report.tables import NOTES, plain_table
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
    """Print a table of what no judge matters for, one for each verifier, and one of the scenarios.

    Parameters
    ----------
    projection
        At least one row.
    console
        Where to print; 80 columns are enough.
    """
    for table in _tables(projection):
        console.print(table)
        console.print()
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
        f"Projection: the gain of rounds of {projection.filter} up to the horizon, the number of rounds that N responses show, if "
        + "; ".join(projection.assumptions)
        + ". Where the verifier draws new verdicts in every round they are integrated over. Real training need not keep to this: in a "
        "loop that was run, what was forecast before any training was .16 off on the average, mostly too high.",
        "Scenarios: past the horizon nothing is known. Judge stays: held at best@N. Judge gains .5: as if half of each gain in "
        "accuracy were a gain of the judge too; no single frozen model can show that.",
        *_corners(projection),
        *(f"* {flag}: {named[flag]}" for flag in flagged if flag in named),
    ]


def noted(row: DomainProjection) -> bool:
    """Whether a line of `statement_lines` explains a flag of the row."""
    return any(flag in NOTES or flag in OWN_NOTES for flag in row.flags)


def _tables(projection: Projection) -> Iterator[Table]:
    model = one_line(projection.model, 60)
    by_verifier: dict[str, list[DomainProjection]] = {}
    for row in projection:
        by_verifier.setdefault(row.verifier, []).append(row)
    first = next(iter(by_verifier.values()))
    yield plain_table(
        f"{model}: measured, whoever judges",
        ("domain", "prompts", "N", "accuracy", "coverage reserve"),
        _lines(
            first,
            lambda row: (
                f"{row.n_prompts:,}",
                str(row.n_responses),
                _valued(row.accuracy),
                _valued(row.reserve_coverage, signed=True),
            ),
        ),
    )
    for verifier, rows in by_verifier.items():
        yield plain_table(
            f"{verifier or 'no verifier'}: measured, and projected for rounds of {projection.filter}",
            ("domain", "measured reserve", "n*", "over-\nopt. p", "horizon", "gain up to it"),
            _lines(
                rows,
                lambda row: (
                    _valued(row.reserve_measured, signed=True),
                    "-" if row.n_star is None else str(row.n_star),
                    _p(row.over_optimisation.p),
                    "-" if row.horizon_rounds is None else str(row.horizon_rounds),
                    _valued(row.reserve_identified, signed=True),
                ),
            ),
        )
    moving = [row for row in projection if row.moving_judge]
    if moving:
        yield plain_table(
            "scenarios: where accuracy would settle",
            ("domain", "verifier", *map(_judge_word, (one.rho for one in moving[0].moving_judge))),
            (
                (_domain(row), row.verifier, *(number(one.plateau) for one in row.moving_judge))
                for row in moving
            ),
        )


def _lines(
    rows: Sequence[DomainProjection], cells: Callable[[DomainProjection], tuple[str, ...]]
) -> Iterator[tuple[str, ...]]:
    for place, row in enumerate(rows):
        if place and row.domain == OVERALL:
            yield ()
        yield (_domain(row) + "*" * noted(row), *cells(row))


def _domain(row: DomainProjection) -> str:
    return "all domains" if row.domain == OVERALL else one_line(row.domain, 20)


def _judge_word(rho: float) -> str:
    return f"judge gains {rho:g}" if rho else "judge stays"


def _valued(value: Value, *, signed: bool = False) -> str:
    if not value.known:
        return "-"
    return f"{number(value.value, signed=signed, digits=2)} {interval(value.low, value.high, signed=signed, digits=2)}"


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
