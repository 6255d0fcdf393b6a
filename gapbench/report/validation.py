"""What `gapbench validate` prints."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gapbench.tasks.validate import DRESSED_PROMPTS, MOST_FALSE_ACCEPTS, SHOWN, Rate, Validation


def print_validations(found: Sequence[Validation], console: Console) -> None:
    """A line for each task, and under it what was judged wrongly, by kind and with a few examples."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("task", "verdict", "gold fails", "perturbed passes", "dress misread"):
        table.add_column(heading)
    for one in found:
        errors = (_missed(one.golds), one.accepted, _missed(one.read))
        table.add_row(escape(one.task), one.verdict, *map(_share, errors))
    console.print(table)
    for one in found:
        _details(one, console)
    console.print(
        f"Errors with Clopper-Pearson 95 % intervals. The first {DRESSED_PROMPTS} references of a task are tried in every "
        "dress. Perturbed references may pass at a share of "
        + ", ".join(f"{share} ({grader})" for grader, share in sorted(MOST_FALSE_ACCEPTS.items()))
        + ", otherwise none.",
        style="dim",
        soft_wrap=True,
    )


def _missed(rate: Rate) -> Rate:
    return Rate(rate.trials - rate.count, rate.trials)


def _share(rate: Rate) -> str:
    return f"{rate.count}/{rate.trials} {100 * rate.low:.1f}-{100 * rate.high:.1f}%" if rate.trials else "-"


def _details(one: Validation, console: Console) -> None:
    if not one.misses:
        return
    console.print(f"\n[bold]{escape(one.task)}[/bold] ({one.grader}) judges otherwise than it should")
    wrong = {kind: rate for kind, rate in one.false_accepts.items() if rate.count}
    misread = {kind: _missed(rate) for kind, rate in one.variants.items()}
    for kind, rate in {**wrong, **{kind: rate for kind, rate in misread.items() if rate.count}}.items():
        console.print(f"  {kind}: {rate.count} of {rate.trials}", highlight=False)
    for miss in one.misses[:SHOWN]:
        told = f"{miss.kind}: {miss.reply[-80:]!r} for {miss.reference[:60]!r} ({miss.question[:80]!r})"
        console.print(f"  {escape(told)}", highlight=False, soft_wrap=True)
