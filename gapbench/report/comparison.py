"""The terminal table of comparisons, with what its words and numbers mean underneath.

>>> from rich.console import Console
>>> print_comparisons(contrasts, Console())  # doctest: +SKIP
"""

from __future__ import annotations

import math

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gapbench.estimate.contrast import Contrast, Contrasts, Outcome
from gapbench.estimate.multiplicity import Adjust
from gapbench.report.definitions import DEFINITIONS
from gapbench.report.tables import NOTES
from gapbench.report.text import interval, number, one_line
from gapbench.report.view import OVERALL

STYLES: dict[Outcome, str] = {
    "higher": "bold green",
    "lower": "bold red",
    "equivalent": "bold",
    "not_estimable": "yellow",
}
ADJUSTMENTS: dict[Adjust, str] = {
    "holm": "Holm: where nothing differs, at most 1 table in 20 says that anything does",
    "bh": "Benjamini-Hochberg: about 1 in 20 of what reads higher or lower is false",
}
OWN_NOTES = {
    "different_suites": "the runs' suites are not the same; only identical questions are compared",
    "common_prompts": "not all prompts of the runs are common to them",
    "no_verdicts": "no reply of the verifier could be read as a verdict",
    "not_estimable": "there is no useful interval",
}


def print_comparisons(contrasts: Contrasts, console: Console) -> None:
    """Print a table of all comparisons, those over all domains last.

    Words carry the meaning, so that nothing depends on colour.

    Parameters
    ----------
    contrasts
        At least one.
    console
        Where to print.
    """
    console.print(_table(contrasts))
    for line in _notes(contrasts):
        console.print(Text(line), soft_wrap=False)


def _names(row: Contrast) -> dict[str, str]:
    """What tells a row from others, by kind."""
    inside = [row.filter or (f"n={row.n}" if row.n else ""), f"m={row.m}" if row.m else ""]
    return {
        "pair": row.a if row.b == "zero" else f"{row.a} - {row.b}",
        "model": row.model,
        "domain": "all domains" if row.domain == OVERALL else row.domain,
        "verifier": row.verifier,
        "what": ", ".join(one for one in inside if one),
    }


def _table(contrasts: Contrasts) -> Table:
    rows = sorted(contrasts, key=lambda row: row.domain == OVERALL)
    names = [_names(row) for row in rows]
    varies = [kind for kind in names[0] if len({name[kind] for name in names}) > 1] or ["pair"]
    fixed = [names[0][kind] for kind in ("what", "pair", "model", "domain", "verifier") if kind not in varies]
    title = ": ".join(filter(None, [rows[0].quantity, ", ".join(one_line(one, 80) for one in fixed if one)]))
    shrunken = any(math.isfinite(row.shrunken) for row in rows)
    table = Table(
        title=Text(title),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        collapse_padding=True,
    )
    table.add_column("comparison", min_width=14, max_width=60, overflow="fold")
    table.add_column("difference [95 %]", no_wrap=True)
    table.add_column("p adj.", min_width=6, no_wrap=True)
    table.add_column("reads as", min_width=9)
    table.add_column("MDE", min_width=5, no_wrap=True)
    if shrunken:
        table.add_column("shrunken", no_wrap=True)
    for place, (row, name) in enumerate(zip(rows, names, strict=True)):
        if place and row.domain == OVERALL != rows[place - 1].domain:
            table.add_section()
        cells = [
            Text(", ".join(one_line(name[kind], 60) for kind in varies if name[kind])),
            Text(_difference(row)),
            Text(_p(row.p_adjusted)),
            Text(_word(row), style=STYLES.get(row.verdict, "")),
            Text(number(row.mde)),
        ]
        table.add_row(*cells, *([Text(number(row.shrunken, signed=True))] if shrunken else []))
    return table


def _difference(row: Contrast) -> str:
    if not math.isfinite(row.low) or "not_estimable" in row.flags:
        return "-"
    return f"{number(row.difference, signed=True)} {interval(row.low, row.high, signed=True)}"


def _p(value: float) -> str:
    return "<.001" if value < 0.001 else number(value)


def _word(row: Contrast) -> str:
    word = row.verdict.replace("_", " ")
    if row.verdict == "not_estimable" and "not_estimable" not in row.flags:
        word = "descriptive only"
    return word + "*" * bool(set(row.flags) & {*NOTES, *OWN_NOTES})


def _notes(contrasts: Contrasts) -> list[str]:
    tested = [row.domain == OVERALL for row in contrasts if math.isfinite(row.p_adjusted)]
    families = " and ".join(
        f"{count} {where}"
        for count, where in ((tested.count(False), "by domain"), (tested.count(True), "over all domains"))
        if count
    )
    against = "0" if contrasts[0].b == "zero" else "the second"
    lines = [
        f"higher, lower: the first is above or below {against}, adjusted p <= .05. tied: not shown to differ, which is no "
        "proof of equality. The 95 % interval is of each comparison alone.",
        f"p adj.: {ADJUSTMENTS[contrasts.adjust]} ({families or 'none'}, adjusted apart).",
        "MDE: minimum detectable effect, (t_.975 + t_.80) se: a true difference of this size would be found 8 times in "
        "10, looked for alone.",
    ]
    margin = contrasts[0].margin
    if margin is not None:
        lines.append(
            f"equivalent: shown to differ by less than {number(margin)}, whether or not it differs from 0: two one-sided tests, "
            "adjusted p <= .05, for one comparison alone just where the 95 % interval lies within the margin."
        )
    if any(math.isfinite(row.shrunken) for row in contrasts):
        lines.append(
            "shrunken: for display only, the empirical-Bayes estimate, pulled towards "
            + ("the mean of the rows" if contrasts[0].b == "zero" else "0")
            + " by what their spread says is noise; no test rests on it."
        )
    quantity = contrasts[0].quantity
    if quantity in DEFINITIONS:
        lines.append(f"{quantity}: {DEFINITIONS[quantity].meaning}")
    lines += [one_line(note, 300) for note in contrasts.notes]
    flagged = dict.fromkeys(flag for row in contrasts for flag in row.flags)
    lines += [
        f"* {flag}: {({**NOTES, **OWN_NOTES})[flag]}" for flag in flagged if flag in {*NOTES, *OWN_NOTES}
    ]
    return lines
