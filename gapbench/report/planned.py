"""A plan in the terminal.

>>> print_plan(plan, Console())  # doctest: +SKIP
"""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gapbench.design.plan import Option, Plan
from gapbench.savings import Savings


def print_plan(plan: Plan, console: Console) -> None:
    """Print the options, cheapest first, how to run the best, and where the noise comes from."""
    table = Table(
        title=Text(f"{_quantity(plan)} to within ±{plan.half_width:g}: what it takes"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
    )
    for name in ("prompts a task", "responses", "verdicts", "verified", "tokens", "95 % range"):
        table.add_column(name, justify="left" if name == "verified" else "right")
    for one in plan.options:
        table.add_row(*_cells(one), style="bold" if one is plan.options[0] else None)
    table.add_section()
    table.add_row(*_cells(plan.plain))
    console.print(table)
    for line in _lines(plan):
        console.print(Text(line))


def _quantity(plan: Plan) -> str:
    return f"gap[{plan.filter}]" if plan.m is None else f"gap[{plan.filter}, m={plan.m}]"


def options_of(one: Option) -> str:
    """The options of `gapbench run` for a design."""
    savings = one.design.savings
    words = [f"--limit {one.prompts} -n {one.design.responses}"]
    words += [f"--verdicts {one.design.verdicts}" if one.design.verdicts else "-V majority"]
    words += ["--skip-unanimous"] * savings.skip_unanimous
    words += [f"--case-control {savings.case_control}"] * (savings.case_control is not None)
    words += [f"--verified-share {savings.verified_share:g}"] * (savings.verified_share < 1)
    words += [f"--control {savings.control}"] * (savings.control is not None)
    return " ".join(words)


def _cells(one: Option) -> list[str]:
    return [
        f"{one.prompts:,}",
        f"{one.design.responses}{'*' * bool(one.flags)}",
        str(one.design.verdicts),
        _verified(one.design.savings) if one.design.verdicts else "nothing",
        f"{one.tokens:,.0f}",
        f"{one.tokens_low:,.0f} to {one.tokens_high:,.0f}",
    ]


def _verified(savings: Savings) -> str:
    r = savings.case_control
    words = ["all responses" if r is None else f"{r} right, {r} wrong"]
    words += ["mixed prompts"] * savings.skip_unanimous
    words += [f"{savings.verified_share:.0%} of prompts"] * (savings.verified_share < 1)
    return "; ".join(words)


def _lines(plan: Plan) -> list[str]:
    noise = plan.noise
    parts = [("prompts", noise.between), ("responses", noise.responses), ("verdicts", noise.verdicts)]
    shown = ", ".join(f"{name} {value:.4f}" for name, value in parts if value is not None and value == value)
    return [
        f"gapbench run SUITE {options_of(plan.best)}",
        f"{plan.plain.tokens / plan.best.tokens:.1f}x fewer generated tokens than the last row, the pilot's own design.",
        f"Variance of a prompt's gap in the pilot: {shown}; {noise.unanimous:.0%} of prompts unanimous.",
        *["* extrapolated: the pilot has fewer responses or verdicts."]
        * any(one.flags for one in plan.options),
        *(f"Note: {warning}." for warning in plan.warnings),
    ]
