"""The terminal table of scaling laws, and what may and may not be concluded from them.

>>> from rich.console import Console
>>> print_scaling(scaling, Console())  # doctest: +SKIP
"""

from __future__ import annotations

import math

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gapbench.report.scaling_text import conclusions
from gapbench.report.tables import titled
from gapbench.report.text import interval, number, one_line
from gapbench.scaling.contrasts import SlopeContrasts
from gapbench.scaling.scale import Scaling
from gapbench.scaling.slopes import ALL, Slope

METHODS = {
    "reml_kh": "Slopes by REML and Knapp-Hartung; pooled ones with an intercept for each family",
    "gls_reml_kh": "Slopes by GLS with the covariance of shared prompts, REML and Knapp-Hartung; pooled ones with an intercept for each family",
    "ols": "Slopes unweighted, with the residual variance; pooled ones with an intercept for each family",
    "two_stage": "Over families: a slope for each, then REML and Knapp-Hartung over those",
}
FLAGS = {
    "no_se": "no standard errors were given: unweighted, with the residual variance",
    "some_se_missing": "some standard errors are missing: unweighted, with the residual variance",
    "few_models": "fewer than 6 models: nothing is foretold beyond half a decade",
    "forward_misfit": "the smaller models foretell the largest badly (|z| > 2): nothing is foretold beyond half a decade",
    "too_few_points": "too few models for a slope with an interval",
    "too_few_families": "fewer than 3 families with a slope of their own",
    "equal_flops": "all models have the same compute",
    "perfect_fit": "residuals are 0, which measured values do not give",
    "one_family": "one family alone: nothing says that the law holds in others",
    "families_without_slope": "families with fewer than 3 models, or models of one compute, have no slope of their own",
    "single_models": "the only model of its family says nothing of a slope",
    "left_out": "points left out, with the reason below",
    "common_models": "only models measured in both domains are compared",
}


def print_scaling(scaling: Scaling, console: Console) -> None:
    """Print slopes, differences, the control and conclusions; words carry the meaning, not colour.

    Parameters
    ----------
    scaling
        As `gapbench.scaling.scale.scale` gives it.
    console
        Where to print.
    """
    console.print(_slopes(scaling))
    for rows, what in ((scaling.domain_contrasts, "domains"), (scaling.family_contrasts, "families")):
        if len(rows):
            console.print(_contrasts(rows, what))
    if scaling.control:
        console.print(_control(scaling))
    if scaling.predictions:
        console.print(_predictions(scaling))
    methods = (f"{METHODS[name]}." for name in dict.fromkeys(row.method for row in scaling.slopes))
    for line in (*conclusions(scaling), "K: number of models.", *methods, *scaling.notes, *_flags(scaling)):
        console.print(Text(one_line(line, 2000)))


def _slopes(scaling: Scaling) -> Table:
    table = titled(f"{scaling.points.quantity}: change per decade of pretraining FLOPs")
    table.add_column("", min_width=14, max_width=40, overflow="fold")
    table.add_column("slope [95 %]", no_wrap=True)
    for name in ("p", "p\nperm.", "tau", "I2", "forward\nz"):
        table.add_column(name, no_wrap=True)
    table.add_column("K", justify="right", no_wrap=True)
    domain = None
    for row in scaling.slopes:
        if row.domain != domain:
            table.add_section()
            table.add_row(
                Text("mean of domains" if row.domain == ALL else one_line(row.domain, 40), style="bold")
            )
            domain = row.domain
        share = "-" if math.isnan(row.i2) else f"{100 * row.i2:.0f} %"
        cells = [
            f" {_family(row)}{'*' * bool(row.flags)}",
            _estimate(row.value, row.low, row.high),
            _p(row.p),
            _p(row.p_permutation),
            number(row.tau),
            share,
            number(row.forward_z, signed=True, digits=1),
            str(row.n_models),
        ]
        table.add_row(*map(Text, cells))
    return table


def _family(row: Slope) -> str:
    if row.family != ALL:
        return one_line(row.family, 38)
    return "over families" if row.method == "two_stage" else "pooled"


def _contrasts(rows: SlopeContrasts, what: str) -> Table:
    table = titled(f"differences of slopes between {what}")
    table.add_column("", min_width=14, max_width=60, overflow="fold")
    table.add_column("difference [95 %]", no_wrap=True)
    table.add_column("p", no_wrap=True)
    table.add_column("p adj.", no_wrap=True)
    table.add_column("reads as")
    table.add_column("MDE", no_wrap=True)
    for row in rows:
        where = "" if row.by == "domain" else f"{one_line(row.within, 30)}: "
        cells = [
            f"{where}{one_line(row.a, 30)} - {one_line(row.b, 30)}",
            _estimate(row.value, row.low, row.high),
            _p(row.p),
            _p(row.p_adjusted),
            row.verdict.replace("_", " "),
            number(row.mde),
        ]
        table.add_row(*map(Text, cells))
    return table


def _control(scaling: Scaling) -> Table:
    table = titled("control: the absolute gap, which 1 - accuracy does not divide")
    table.add_column("", min_width=14, max_width=60, overflow="fold")
    table.add_column("coefficient [95 %]", no_wrap=True)
    table.add_column("p", no_wrap=True)
    words = {
        "gap": "per decade",
        "gap_at_equal_room": "per decade, at equal p(1 - p)",
        "room": "per unit of p(1 - p)",
    }
    for row in scaling.control:
        cells = [
            f"{one_line(row.domain, 30)}: {words[row.term]}",
            _estimate(row.value, row.low, row.high),
            _p(row.p),
        ]
        table.add_row(*map(Text, cells))
    return table


def _predictions(scaling: Scaling) -> Table:
    table = titled("a new model, without error of measurement")
    table.add_column("", min_width=14, max_width=60, overflow="fold")
    table.add_column("FLOPs", no_wrap=True)
    table.add_column("prediction [95 %]", no_wrap=True)
    for row in scaling.predictions:
        domain = "mean of domains" if row.domain == ALL else one_line(row.domain, 30)
        told = (
            "refused: the law does not reach so far"
            if "refused" in row.flags
            else _estimate(row.value, row.low, row.high)
        )
        told += " (extrapolated)" * ("extrapolated" in row.flags)
        table.add_row(Text(f"{domain}: {one_line(row.family, 30)}"), Text(f"{row.flops:.1e}"), Text(told))
    return table


def _estimate(value: float, low: float, high: float) -> str:
    if not (math.isfinite(low) and math.isfinite(high)):
        return number(value, signed=True)
    return f"{number(value, signed=True)} {interval(low, high, signed=True)}"


def _p(value: float) -> str:
    return "<.001" if value < 0.001 else number(value)


def _flags(scaling: Scaling) -> list[str]:
    rows = [*scaling.slopes, *scaling.domain_contrasts, *scaling.family_contrasts]
    found = dict.fromkeys(flag.partition(":")[0] for row in rows for flag in row.flags)
    return [f"* {flag}: {FLAGS[flag]}" for flag in found if flag in FLAGS]
