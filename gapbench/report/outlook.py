"""What a page says of the future of a run, each sentence by the kind of statement that it is.

The newest forecast that the run keeps is shown as it was made. A run without one is projected anew where that was asked for;
such a projection is on the page only, and is no forecast that could be held against what happens later.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
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
from gapbench.report.cells import Cell, Table, count_cell, minus, texts, value_cell
from gapbench.report.content import domain_name
from gapbench.report.projected import statement_lines
from gapbench.report.text import interval, listing, number, one_line, plural
from gapbench.report.view import OVERALL

if TYPE_CHECKING:
    from gapbench.run import Run

Said = tuple[Kind | Literal["simulation", "not measured", ""], str]
"""A sentence and what kind of statement it is; none for what states nothing about the model."""
KINDS: dict[str, Kind] = {"Measurements": MEASUREMENT, "Projection": PROJECTION, "Scenarios": SCENARIO}
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
        """Everything over all domains, by verifier, and what the words and the flags mean."""
        said = [one for row in self.overall for one in _sentences(row, self.projection.filter)]
        for line in statement_lines(self.projection):
            head, colon, rest = line.partition(": ")
            kind = KINDS.get(head)
            if kind and colon:
                said.append((kind, rest[:1].upper() + rest[1:]))
            else:
                said.append(("" if line.startswith("*") else MEASUREMENT, line))
        return [(kind, minus(text)) for kind, text in said]


def horizon_words(outlook: Outlook) -> str:
    """How far the responses reach, at a glance."""
    rounds = {row.horizon_rounds for row in outlook.overall if row.horizon_rounds is not None}
    if not rounds or not max(rounds):
        return "not even 1 round"
    least = "" if len(rounds) == 1 else f"{min(rounds)} to "
    return f"{least}{plural(max(rounds), 'round')} ahead"


def outlook_of(run: Run, *, compute: bool) -> Outlook | None:
    """The newest forecast in a run, or a projection made now.

    Parameters
    ----------
    compute
        Whether a run without a forecast is projected; else it has no outlook.

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
    if not compute:
        return None
    from gapbench.projection.project import project_run

    return Outlook(
        project_run(run),
        "Projected for this page and not kept: `gapbench project RUN` writes a dated forecast that can be held against what "
        "happens.",
    )


def projection_table(outlook: Outlook, id: str) -> Table:
    """A line each domain and verifier; headings name the kind of every number."""
    rows = []
    for row in outlook.projection:
        ends = {one.rho: one.plateau for one in row.moving_judge}
        star = Cell("–", kind="none", order=math.nan) if row.n_star is None else count_cell(row.n_star)
        rounds = row.horizon_rounds
        rows.append(
            (
                *texts(domain_name(row.domain), one_line(row.verifier, 40) or "–"),
                _cell(row.accuracy, signed=False),
                _cell(row.reserve_measured),
                star,
                _number(row.over_optimisation.p),
                _cell(row.reserve_coverage),
                Cell("–", kind="none", order=math.nan) if rounds is None else count_cell(rounds),
                _cell(row.reserve_identified),
                _number(ends.get(0.0, math.nan)),
                _number(ends.get(HALF, math.nan)),
            )
        )
    headings = (
        *("Domain", "Verifier", "Accuracy (measurement)", "Measured reserve (measurement)"),
        *("n* (measurement)", "Over-optimisation p (measurement)", "Coverage reserve (measurement)"),
        *("Horizon, rounds", "Gain up to it (projection)"),
        *("Judge stays: ends at (scenario)", f"Judge gains {HALF:g}: ends at (scenario)"),
    )
    caption = (
        f"Reserve by domain and verifier, and rounds of {outlook.projection.filter}; intervals are of 95 %."
    )
    return Table(id, caption, headings, tuple(rows), 2)


def _sentences(row: DomainProjection, filter: str) -> Iterator[Said]:
    name = one_line(row.verifier, 40) or "without a verifier"
    if row.reserve_measured.known:
        star = "" if row.n_star is None else f", highest at n = {row.n_star}"
        yield (
            MEASUREMENT,
            f"{name}: over all domains the best point of best@n gains {signed(row.reserve_measured)}{star}.",
        )
    if math.isfinite(row.over_optimisation.p):
        yield (
            MEASUREMENT,
            f"{name}: choosing among all {row.n_responses} falls short of that by {number(row.over_optimisation.difference)}, "
            f"p {_p(row.over_optimisation.p)}.",
        )
    if row.reserve_coverage.known:
        yield (
            MEASUREMENT,
            f"A perfect verifier in place of {name} would gain {signed(row.reserve_coverage)} with the same responses.",
        )
    if row.horizon_rounds and row.reserve_identified.known:
        yield (
            PROJECTION,
            f"{name}: {plural(row.horizon_rounds, 'round')} of {filter} gain {signed(row.reserve_identified)}.",
        )
    ends = {one.rho: one.plateau for one in row.moving_judge if math.isfinite(one.plateau)}
    if 0.0 in ends:
        moved = (
            f", and at {number(ends[HALF])} if it gained half of each point of accuracy"
            if HALF in ends
            else ""
        )
        yield (
            SCENARIO,
            f"{name}: the loop would end at accuracy {number(ends[0.0])} if the judge stayed as it is{moved}.",
        )


def signed(value: Value) -> str:
    """A gain with its interval."""
    return f"{number(value.value, signed=True)} {interval(value.low, value.high, signed=True)}"


def _cell(value: Value, *, signed: bool = True) -> Cell:
    if not value.known:
        return Cell("–", kind="none", order=math.nan)
    return value_cell(value.value, value.low, value.high, signed=signed)


def _number(value: float) -> Cell:
    return Cell(minus(number(value)), kind="num" if math.isfinite(value) else "none", order=value)


def _p(value: float) -> str:
    return "< .001" if value < 0.001 else f"= {number(value)}"
