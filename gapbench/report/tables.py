"""The terminal table: domains and verifiers with their headline gaps.

>>> from rich.console import Console
>>> print_table(estimates, Console())  # doctest: +SKIP
"""

from __future__ import annotations

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gapbench.estimate.results import Estimate, Estimates
from gapbench.report.summary import control_reading, counts_note, interval_note, lead
from gapbench.report.text import interval, number, one_line
from gapbench.report.view import OVERALL, WORDS, Reading, View, as_estimates, drawable, models_of, read

WIDE = 132  # columns from which every number has its interval beside it
STYLES: dict[Reading, str] = {
    "gap": "bold green",
    "worse": "bold red",
    "not_estimable": "yellow",
    "no_verdicts": "yellow",
}
# The estimator's flags that qualify a number which is still shown.
NOTES = {
    "descriptive": "fewer than 20 prompts: describes these prompts, claims nothing beyond them",
    "low_effective_prompts": "a few prompts carry the number; its interval may be too short",
    "degenerate": "every prompt has the same value; the interval is exact, not estimated",
    "degenerate_task": "in one of the tasks every prompt has the same value",
    "missing_verdicts": "more than 1 % of the verdicts that matter are missing; those responses rank last",
    "fewer_prompts": "not every prompt has this quantity",
    "censored": "more than 1 % of the responses were cut at the token limit; see the bounds",
}


def print_table(estimates: Estimates | pd.DataFrame, console: Console) -> None:
    """Print a table for each model.

    A gap whose interval includes zero reads `no gap shown`, and what cannot be estimated is a word, so that nothing
    depends on colour. Below `WIDE` columns the secondary numbers lose their intervals.

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
        console.print(_table(view, wide=console.width >= WIDE))
        for line in _notes(view):
            console.print(Text(line), soft_wrap=False)
        console.print()


def _table(view: View, *, wide: bool) -> Table:
    table = Table(
        title=Text(f"{one_line(view.model)}: what could be gained by choosing among its own answers"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
        title_style="bold",
    )
    table.add_column("domain / verifier", min_width=12, overflow="fold")
    table.add_column("accuracy", no_wrap=True)
    table.add_column("gap [95 %]", no_wrap=True)
    table.add_column("reads as", min_width=8)
    for name in ("relative gap", "AUC within", "oracle share"):
        table.add_column(name, no_wrap=wide)
    for domain in [*view.domains, OVERALL]:
        base = view.get(domain, "accuracy", filter="")
        name = "all domains" if domain == OVERALL else one_line(domain, 40)
        table.add_row(Text(name, style="bold"), _cell(base, wide, split=not wide), "", "", "", "", "")
        for verifier in view.verifiers:
            table.add_row(*_verifier_cells(view, domain, verifier, wide))
        if domain == OVERALL:
            for verifier in view.verifiers:
                control = view.headline(OVERALL, verifier, "gap_permuted")
                if control is not None and control.quantity == "gap_permuted":
                    table.add_row(
                        Text(f"  {one_line(verifier, 40)}, scores shuffled", style="dim"),
                        "",
                        _cell(control, True, split=not wide, signed=True),
                        _control_word(control),
                        "",
                        "",
                        "",
                    )
        table.add_section()
    return table


def _verifier_cells(view: View, domain: str, verifier: str, wide: bool) -> list[Text]:
    gap = view.headline(domain, verifier)
    reading = read(gap)
    n = view.headline_n(verifier)
    marks = "*" if gap is not None and set(gap.flags) & set(NOTES) else ""
    name = f"  {one_line(verifier, 40)}" + (f" @{n}" if n is not None else "")
    others = [
        _cell(view.headline(domain, verifier, "relative_gap"), wide, signed=True),
        _cell(view.get(domain, "auc_within", verifier), wide),
        _cell(view.headline(domain, verifier, "oracle_share"), wide, signed=True),
    ]
    return [
        Text(name),
        _cell(view.headline(domain, verifier, "accuracy"), wide),
        _cell(gap, True, split=not wide, signed=True),
        Text(WORDS[reading] + marks, style=STYLES.get(reading, "")),
        *others,
    ]


def _cell(row: Estimate | None, with_interval: bool, *, split: bool = False, signed: bool = False) -> Text:
    """A number, with its interval where there is room for it; empty where the row has none to show."""
    if row is None or "no_verdicts" in row.flags:
        return Text("-")
    if not drawable(row):
        return Text("not estimable", style="yellow")
    text = number(row.value, signed=signed)
    if with_interval:
        text += ("\n" if split else " ") + interval(row.low, row.high, signed=signed)
    return Text(text)


def _control_word(row: Estimate) -> Text:
    reading = read(row)
    words = {"none": "control: zero, as it must be", "gap": "control NOT zero", "worse": "control NOT zero"}
    return Text(words.get(reading, WORDS[reading]))


def _notes(view: View) -> list[str]:
    lines = [lead(view), counts_note(view), interval_note(view)]
    lines.append(
        "gap = accuracy of the best of n by the verifier's score - accuracy; m = verdicts behind a score; relative gap = "
        "gap/(1 - accuracy); AUC within = how often a right answer outscores a wrong one to the same prompt (.5 is chance); "
        "oracle share = gap / gap of a perfect verifier. "
        "'no gap shown': the interval includes 0; that is not proof of none."
    )
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
