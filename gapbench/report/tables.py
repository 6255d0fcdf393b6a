"""The terminal table: domains and verifiers with their headline gaps.

>>> from rich.console import Console
>>> print_table(estimates, Console())  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gapbench.estimate.results import Estimate, Estimates
from gapbench.report.summary import control_reading, counts_note, interval_note, lead
from gapbench.report.text import interval, number, one_line
from gapbench.report.view import OVERALL, WORDS, Reading, View, as_estimates, drawable, models_of, read

WIDE = 150  # columns from which every number has its interval beside it
ROOMY = 80  # columns from which there is room for all numbers
NUMBER = 9  # columns for a number without its interval
SECONDARY = ("relative gap", "AUC within", "oracle share")
LEFT_OUT = f"Relative gap, AUC within and oracle share need a terminal of {ROOMY} columns; --json and the report have them."
STYLES: dict[Reading, str] = {
    "gap": "bold green",
    "worse": "bold red",
    "not_estimable": "yellow",
    "no_verdicts": "yellow",
}
# Every report looks at several controls, and 1 in 20 sound ones lies outside its 95 % interval.
CONTROL_LIMIT = 3.3  # standard errors: 1 in 1000
# The estimator's flags that qualify a number which is still shown.
NOTES = {
    "descriptive": "fewer than 20 prompts: describes these prompts, claims nothing beyond them",
    "low_effective_prompts": "a few prompts carry the number; its interval may be too short",
    "degenerate": "every prompt has the same value; the interval is exact, not estimated",
    "degenerate_task": "in one of the tasks every prompt has the same value",
    "missing_verdicts": "more than 1 % of the verdicts that matter are missing; those responses rank last",
    "fewer_prompts": "not every prompt has this quantity",
    "not_verified": "responses were left unverified by design; this number needs them",
    "censored": "more than 1 % of the responses were cut at the token limit; see the bounds",
}


def titled(title: str) -> Table:
    """A table without columns yet, in the look that all have."""
    return Table(
        title=Text(title),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        collapse_padding=True,
    )


def plain_table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A titled table of words, folded where they are long; a row of no words is a line between others."""
    table = titled(one_line(title, 100))
    for name in head:
        table.add_column(Text(name), overflow="fold")
    for row in rows:
        if row:
            table.add_row(*(Text(one_line(cell)) for cell in row))
        else:
            table.add_section()
    return table


def print_table(estimates: Estimates | pd.DataFrame, console: Console) -> None:
    """Print a table for each model.

    A gap whose interval includes zero reads `no gap shown`, and what cannot be estimated is a word, so that nothing
    depends on colour. Below `WIDE` columns the secondary numbers lose their intervals, and below `ROOMY` those that do not
    fit are left out, in words.

    Parameters
    ----------
    estimates
        Of one or more models.
    console
        Where to print; its width decides the layout.
    """
    estimates = as_estimates(estimates)
    for model in models_of(estimates):
        view = View(estimates.where(model=model))
        roomy = console.width >= ROOMY
        console.print(_table(view, wide=console.width >= WIDE, secondary=roomy))
        for line in _notes(view) if roomy else [*_notes(view), LEFT_OUT]:
            console.print(Text(line), soft_wrap=False)
        console.print()


def _table(view: View, *, wide: bool, secondary: bool) -> Table:
    table = Table(
        title=Text(f"{one_line(view.model)}: what choosing among its own answers gains"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        collapse_padding=True,
        title_style="bold",
    )
    # Whatever has no room is wrapped, and never cut: a number that lost its end is another number.
    table.add_column("domain / verifier", overflow="fold")
    number_column: dict[str, Any] = {"no_wrap": True} if wide else {"width": NUMBER, "overflow": "fold"}
    table.add_column("accuracy", **number_column)
    table.add_column("gap [95 %]", no_wrap=True)
    if wide:
        table.add_column("reads as", no_wrap=True)
    for heading in SECONDARY if secondary else ():
        table.add_column(heading, **number_column)
    for domain in [*view.domains, OVERALL]:
        base = view.get(domain, "accuracy", filter="")
        name = "all domains" if domain == OVERALL else one_line(domain, 40)
        table.add_row(Text(name, style="bold"), _cell(base, wide))
        for verifier in view.judging:
            cells = _verifier_cells(view, domain, verifier, wide)
            table.add_row(*(cells if secondary else cells[: -len(SECONDARY)]))
        table.add_section()
    for verifier in view.judging:
        control = view.headline(OVERALL, verifier, "gap_permuted")
        if control is not None and control.quantity == "gap_permuted":
            cells = _gap_cells(control, _control_word(control), wide)
            table.add_row(Text(f"{one_line(verifier, 40)} shuffled"), "", *cells)
    return table


def _verifier_cells(view: View, domain: str, verifier: str, wide: bool) -> list[Text]:
    gap = view.headline(domain, verifier)
    marks = "*" if gap is not None and set(gap.flags) & set(NOTES) else ""
    return [
        Text(f" {one_line(verifier, 40)} @{view.headline_n(verifier) or 1}"),
        _cell(view.headline(domain, verifier, "accuracy"), wide),
        *_gap_cells(gap, WORDS[read(gap)] + marks, wide),
        _cell(view.headline(domain, verifier, "relative_gap"), wide, signed=True),
        _cell(view.get(domain, "auc_within", verifier), wide, digits=2),
        _cell(view.headline(domain, verifier, "oracle_share"), wide, signed=True, digits=2),
    ]


def _control_word(control: Estimate) -> str:
    if read(control) == "none":
        return "zero, good"
    if read(control) not in ("gap", "worse"):
        return WORDS[read(control)]
    return "NOT ZERO" if abs(control.value) > CONTROL_LIMIT * control.se else "within chance"


def _gap_cells(row: Estimate | None, word: str, wide: bool) -> list[Text]:
    """The gap and what it reads as; in one cell where there is no room for two."""
    styled = Text(word, style=STYLES.get(read(row), ""))
    if wide:
        return [_cell(row, True, signed=True), styled]
    if row is None or not drawable(row):
        return [styled]
    ends = interval(row.low, row.high, signed=True)
    return [Text.assemble(f"{number(row.value, signed=True)} ", styled, f"\n{ends}")]


def _cell(row: Estimate | None, with_interval: bool, *, signed: bool = False, digits: int = 3) -> Text:
    """A number, with its interval where there is room for it; empty where the row has none to show."""
    if row is None or "no_verdicts" in row.flags:
        return Text("-")
    if not drawable(row):
        return Text("not estimable", style="yellow")
    text = number(row.value, signed=signed, digits=digits)
    if with_interval:
        text += " " + interval(row.low, row.high, signed=signed, digits=digits)
    return Text(text)


def _absent(view: View) -> str:
    """How many responses the numbers lack, in a line; empty where there is none."""
    rows = [row for domain in view.domains if (row := view.get(domain, "accuracy", filter="")) is not None]
    wanted = sum(row.n_prompts for row in rows) * view.responses
    absent = wanted - sum(row.n_responses for row in rows)
    if absent <= 0:
        return ""
    return f"{absent:,} of {wanted:,} responses do not count: lost to errors, or not drawn or graded yet."


def _notes(view: View) -> list[str]:
    lines = [lead(view), counts_note(view), _absent(view), interval_note(view)]
    lines.append(
        "gap = accuracy of the best of n by the verifier's score - accuracy; m = verdicts behind a score; relative gap = "
        "gap/(1 - accuracy); AUC within = how often a right answer outscores a wrong one to the same prompt (.5 is chance); "
        "oracle share = gap / gap of a perfect verifier. "
        "'no gap shown': the interval includes 0; that is not proof of none. 'worse': all of it lies below 0. "
        "shuffled: the same with scores permuted within prompts: zero up to chance."
    )
    lines += [
        f"{one_line(verifier, 40)}: no reply could be read as a verdict; it is left out, not scored."
        for verifier in view.silent
    ]
    lines += [
        f"{one_line(verifier, 40)} sees all N responses, so it is measured at n = N only."
        for verifier in view.verifiers
        if view.whole_pool(verifier)
    ]
    lines += control_reading(view)
    flagged: dict[str, list[str]] = {}
    for domain, verifier, row in view.headlines():
        for flag in () if row is None else row.flags:
            if flag in NOTES:
                flagged.setdefault(flag, []).append(f"{one_line(domain, 40)}/{one_line(verifier, 40)}")
    lines += [f"* {flag}: {NOTES[flag]} ({', '.join(where)})" for flag, where in flagged.items()]
    for domain, verifier, row in view.headlines():
        if row is not None and drawable(row) and row.bound_low is not None and row.bound_high is not None:
            ends = interval(row.bound_low, row.bound_high, signed=True)
            lines.append(
                f"  {one_line(domain, 40)}/{one_line(verifier, 40)}: bounds of the gap over cut responses {ends}"
            )
    return [line for line in lines if line]
