"""How the runs of a page go with training compute: the laws as tables, figures and sentences."""

from __future__ import annotations

from collections.abc import Sequence

from gapbench.errors import UserError
from gapbench.projection.results import MEASUREMENT
from gapbench.report.page.cells import (
    NOTHING,
    Cell,
    Table,
    count_cell,
    minus,
    number_cell,
    p_cell,
    texts,
    value_cell,
)
from gapbench.report.page.outlook import Said
from gapbench.report.page.parts import Part
from gapbench.report.page.svg import draw
from gapbench.report.scaling_plots import absolute_gap_figure, scaling_figure, slopes_figure
from gapbench.report.scaling_text import NAMES, limits, readings
from gapbench.report.text import one_line, percent
from gapbench.run import Run
from gapbench.scaling.contrasts import SlopeContrast
from gapbench.scaling.control import Control
from gapbench.scaling.runs import points_from_runs
from gapbench.scaling.scale import Scaling, scale
from gapbench.scaling.slopes import ALL, Slope

LONGEST = 2000
TERMS = {
    "gap": "per decade",
    "gap_at_equal_room": "per decade, at equal p(1 − p)",
    "room": "per unit of p(1 − p)",
}


def scaling(runs: Sequence[Run]) -> Part:
    """How the relative gap goes with training compute."""
    try:
        found = scale(points_from_runs(runs))
    except UserError as why:
        return Part(why_not=f"No law of scaling: {one_line(str(why), 400)}.")
    measured = found.points.notes[0]  # verifier and filter, as `points_from_runs` has it
    notes = [note for note in found.notes if note != measured]
    name = NAMES[found.points.quantity]
    said: list[Said] = [(MEASUREMENT, line) for line in readings(found)]
    said += [("", line) for line in (*limits(found), *notes)]
    figures = {
        "scaling": scaling_figure(found),
        "slopes": slopes_figure(found),
        "absolute_gap": absolute_gap_figure(found),
    }
    return Part(
        lead=f"Of the {name} by {one_line(measured, 200)}",
        tables=(_slopes(found, name),),
        said=tuple((kind, minus(one_line(line, LONGEST))) for kind, line in said),
        figures=draw(figures, "together-"),
        folded=tuple(_folded(found)),
    )


def _slopes(found: Scaling, name: str) -> Table:
    rows = tuple(
        (
            *texts(_domain(row.domain), _family(row)),
            _slope(row.value, row.low, row.high),
            p_cell(row.p),
            p_cell(row.p_permutation),
            number_cell(row.tau),
            Cell(percent(row.i2), kind="num", order=row.i2) if row.i2 == row.i2 else NOTHING,
            number_cell(row.forward_z, signed=True),
            count_cell(row.n_models),
        )
        for row in found.slopes
        if row.estimable or row.family != ALL
    )
    caption = (
        f"Change of the {name} per decade of pretraining FLOPs, with 95 % intervals. Pooled: within families, with an intercept for "
        "each. Over families: a slope for each, then their mean. tau: scatter of models about the law that errors of "
        "measurement do not explain; I²: its share of all scatter. p, permuted: compute shuffled within families. Forward z: by "
        "how many standard errors the smaller models miss the largest; beyond ±2 do not extend the line."
    )
    headings = ("Domain", "Family", "Slope", "p", "p, permuted", "tau", "I²", "Forward z", "Models")
    return Table("t-slopes", caption, headings, rows, 2)


def _folded(found: Scaling) -> list[tuple[str, Table]]:
    tables = []
    for what, contrasts in (("domains", found.domain_contrasts), ("families", found.family_contrasts)):
        if len(contrasts):
            caption = (
                f"Differences of slopes between {what}, with 95 % intervals; adjusted by Holm. Detectable: what would be found 8 "
                "times in 10, looked for alone. Not established is no proof of equality."
            )
            headings = ("Within", "A − B", "Difference", "p", "p, adjusted", "Detectable", "A reads as")
            rows = tuple(map(_contrast, contrasts))
            table = Table(f"t-slopes-{what}", caption, headings, rows, 2)
            tables.append((f"Differences of slopes between {what}", table))
    if found.control:
        caption = (
            "The absolute gap, which 1 − accuracy does not divide, against compute, with 95 % intervals; and the same at equal "
            "p(1 − p), the room that there is to choose."
        )
        rows = tuple(map(_control, found.control))
        table = Table("t-absolute", caption, ("Domain", "Change of the gap", "Coefficient", "p"), rows, 2)
        tables.append(("Control: the absolute gap", table))
    return tables


def _contrast(row: SlopeContrast) -> tuple[Cell, ...]:
    return (
        *texts("–" if row.by == "domain" else _domain(row.within), f"{_domain(row.a)} − {_domain(row.b)}"),
        _slope(row.value, row.low, row.high),
        p_cell(row.p),
        p_cell(row.p_adjusted),
        number_cell(row.mde),
        Cell(row.verdict.replace("_", " ")),
    )


def _control(row: Control) -> tuple[Cell, ...]:
    return (*texts(_domain(row.domain), TERMS[row.term]), _slope(row.value, row.low, row.high), p_cell(row.p))


def _slope(value: float, low: float, high: float) -> Cell:
    return value_cell(value, low, high, signed=True) if low == low and high == high else NOTHING


def _domain(name: str) -> str:
    return "mean of domains" if name == ALL else one_line(name, 40)


def _family(row: Slope) -> str:
    if row.family != ALL:
        return one_line(row.family, 40)
    return "over families" if row.method == "two_stage" else "pooled"
