"""What a page says of the future of a run, each sentence by the kind of statement that it is.

The newest forecast that the run keeps is shown as it was made. A run without one is projected anew; such
a projection is on the page only, and is no forecast that could be held against what happens later.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gapbench.projection.forecast import FOLDER, forecasts_of
from gapbench.projection.results import (
    MEASUREMENT,
    PROJECTION,
    SCENARIO,
    DomainProjection,
    Kind,
    Projection,
    Value,
)
from gapbench.report.page.cells import (
    NOTHING,
    Cell,
    Table,
    count_cell,
    minus,
    number_cell,
    p_cell,
    value_cell,
)
from gapbench.report.page.content import domain_name
from gapbench.report.projected import noted, statement_lines
from gapbench.report.text import interval, listing, number, one_line, plural, span
from gapbench.report.view import OVERALL

if TYPE_CHECKING:
    from gapbench.panel import Panel
    from gapbench.run import Run

Said = tuple[Kind | Literal["simulation", "not measured", ""], str]
"""A sentence and what kind of statement it is; none for what states nothing about the model."""
KINDS: dict[str, Kind] = {"Measurements": MEASUREMENT, "Projection": PROJECTION, "Scenarios": SCENARIO}
ALPHA = 0.05
HALF = 0.5  # the moving judge that is shown beside the one that stays as it is


@dataclass(frozen=True)
class Outlook:
    """A projection and where it comes from.

    Attributes
    ----------
    source
        A sentence: which forecast it is and when it was made, or that it is none.
    """

    projection: Projection
    source: str

    @property
    def overall(self) -> list[DomainProjection]:
        """The rows over all domains, without those of verifiers that judged no or some tasks only."""
        return [
            row
            for row in self.projection
            if row.domain == OVERALL
            and not any(flag.startswith(("no_verdicts", "partial:")) for flag in row.flags)
        ]

    def short(self) -> list[Said]:
        """What fits on the first screen."""
        by_rounds: dict[int, list[DomainProjection]] = {}
        for row in self.overall:
            if row.horizon_rounds and row.reserve_identified.known:
                by_rounds.setdefault(row.horizon_rounds, []).append(row)
        said: list[Said] = []
        for rounds, rows in by_rounds.items():
            gains = [f"{signed(row.reserve_identified)} ({one_line(row.verifier, 40)})" for row in rows]
            said.append(
                (
                    PROJECTION,
                    f"{plural(rounds, 'round')} of {self.projection.filter} would change accuracy, {number(rows[0].accuracy.value)} "
                    f"now, by {listing(gains)}, if training kept all of it.",
                )
            )
        if not said:
            said.append((PROJECTION, f"The responses show no whole round of {self.projection.filter}."))
        return [(kind, minus(text)) for kind, text in said]

    def long(self) -> list[Said]:
        """What the table leaves unsaid, and what its words and flags mean."""
        said = [one for row in self.overall for one in _fallen(row)]
        for line in statement_lines(self.projection):
            head, colon, rest = line.partition(": ")
            kind = KINDS.get(head)
            if kind and colon:
                said.append((kind, rest[:1].upper() + rest[1:]))
            else:
                said.append(("" if line.startswith("*") else MEASUREMENT, line))
        return [(kind, minus(text)) for kind, text in said]


def of_many(outlooks: Sequence[Outlook]) -> list[Said]:
    """What several projections say over all domains: by verifier the span of gains up to the horizon."""
    gains: dict[tuple[str, str], list[float]] = {}
    for one in outlooks:
        for row in one.overall:
            if row.horizon_rounds and row.reserve_identified.known:
                own = gains.setdefault((one.projection.filter, one_line(row.verifier, 40)), [])
                own.append(row.reserve_identified.value)
    if not gains:
        return [(PROJECTION, "The responses show no whole round.")]
    each = [f"{span(values, signed=True)} ({name}, {filter})" for (filter, name), values in gains.items()]
    text = f"Up to there accuracy would change by {listing(each)}, if training kept all of it."
    return [(PROJECTION, minus(text))]


def horizon_words(outlook: Outlook) -> str:
    """How far the responses reach, at a glance."""
    rounds = {row.horizon_rounds for row in outlook.overall if row.horizon_rounds is not None}
    if not rounds or not max(rounds):
        return "not even 1 round"
    least = "" if len(rounds) == 1 else f"{min(rounds)} to "
    return f"{least}{plural(max(rounds), 'round')} ahead"


def outlook_of(run: Run, panels: Sequence[Panel] | None = None) -> Outlook:
    """The newest forecast in a run, or a projection made now; `panels` saves reading them again.

    Raises
    ------
    UserError
        If a forecast was changed after it was made, or the run cannot be projected.
    """
    kept = forecasts_of(run.store.path)
    if kept:
        newest = kept[-1]
        asked = sum(newest.source.get("prompts", {}).values())
        made = newest.made.strftime("%Y-%m-%d %H:%M %Z")
        more = f" The newest of {len(kept)} in {FOLDER}/." if len(kept) > 1 else ""
        return Outlook(
            newest.projection,
            f"Forecast “{one_line(newest.name, 80)}”, made {made} from {plural(asked, 'prompt')} and not changed since.{more}",
        )
    from gapbench.projection.project import project_run

    return Outlook(
        project_run(run, panels),
        "Projected for this page and not kept: `gapbench project RUN` writes a dated forecast that can be held against what "
        "happens.",
    )


def projection_table(outlook: Outlook, id: str) -> Table:
    """A line each domain and verifier; headings name the kind of what is not measured."""
    rows = tuple(
        (
            Cell(domain_name(row.domain)),
            Cell((one_line(row.verifier, 40) or "–") + "*" * noted(row)),
            *_cells(row),
        )
        for row in outlook.projection
    )
    caption = (
        f"Reserve by domain and verifier, and rounds of {outlook.projection.filter}, with 95 % intervals. What is not called a "
        "projection or a scenario is a measurement."
    )
    return Table(id, caption, ("Domain", "Verifier", *HEADINGS), rows, 2)


def overall_table(outlooks: Sequence[tuple[str, Outlook]]) -> Table:
    """The same over all domains, a line each run and verifier."""
    rows = tuple(
        (Cell(label), Cell(one_line(row.verifier, 40) or "–"), *_cells(row))
        for label, one in outlooks
        for row in one.overall
    )
    filters = listing(list(dict.fromkeys(one.projection.filter for _, one in outlooks)))
    caption = (
        f"Over all domains: reserve of each run, and rounds of {filters}, with 95 % intervals. What is not called a projection or "
        "a scenario is a measurement."
    )
    return Table("t-outlooks", caption, ("Run", "Verifier", *HEADINGS), rows, 2)


HEADINGS = (
    *("Accuracy", "Measured reserve", "n*", "Over-optimisation, p", "Coverage reserve", "Horizon, rounds"),
    *("Gain up to it (projection)", "Judge stays: ends at (scenario)"),
    f"Judge gains {HALF:g}: ends at (scenario)",
)


def _cells(row: DomainProjection) -> tuple[Cell, ...]:
    ends = {one.rho: one.plateau for one in row.moving_judge}
    return (
        _cell(row.accuracy, signed=False),
        _cell(row.reserve_measured),
        NOTHING if row.n_star is None else count_cell(row.n_star),
        p_cell(row.over_optimisation.p),
        _cell(row.reserve_coverage),
        NOTHING if row.horizon_rounds is None else count_cell(row.horizon_rounds),
        _cell(row.reserve_identified),
        number_cell(ends.get(0.0, math.nan)),
        number_cell(ends.get(HALF, math.nan)),
    )


def _fallen(row: DomainProjection) -> Iterator[Said]:
    """Where choosing harder has been shown to do harm."""
    fall = row.over_optimisation
    if row.n_star is not None and fall.p <= ALPHA:
        yield (
            MEASUREMENT,
            f"{one_line(row.verifier, 40)} over-optimises: over all domains choosing among all {row.n_responses} falls short of "
            f"the best point, n = {row.n_star}, by {number(fall.difference)} {interval(fall.low, fall.high)}.",
        )


def signed(value: Value) -> str:
    """A gain with its interval."""
    return f"{number(value.value, signed=True)} {interval(value.low, value.high, signed=True)}"


def _cell(value: Value, *, signed: bool = True) -> Cell:
    if not value.known:
        return NOTHING
    return value_cell(value.value, value.low, value.high, signed=signed)
