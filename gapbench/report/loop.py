"""What a loop did and how its forecasts fared: tables for a terminal and for Markdown, and figures.

>>> from rich.console import Console
>>> print_loop(result, Console())  # doctest: +SKIP
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from matplotlib.figure import Figure
from rich.console import Console
from rich.text import Text

from gapbench.loop.forecasts import BENCHMARK, FILTER, SERIES
from gapbench.loop.rounds import LoopResult
from gapbench.loop.scoring import Point, Score, Skill
from gapbench.report.panels import legend_above, panels
from gapbench.report.plots import save_figure
from gapbench.report.style import domain_label, styled
from gapbench.report.tables import plain_table
from gapbench.report.text import interval, number, one_line
from gapbench.report.trajectory import plot_loop_outcome
from gapbench.store.jsonfile import write_atomic
from gapbench.trajectory.forecast import Forecast

POINTS = ("domain", "round", "accuracy [95 %]", "gap")
SCORES = ("domain", "from", "for", "method", "forecast [95 %]", "outcome", "error [95 %]", "held")
SKILLS = ("method", "forecasts", "MAE", "bias", "held", "sound", "skill: last", "skill: gap")
WHOSE = ("arm", "prompts")
STATEMENTS = (
    "Measurements: accuracy after each round, and the gap, what one more round of the filter would gain if the model learned exactly "
    "what is kept.",
    "Projections, each frozen before the next round began: `filter`, the iterated filter curve of the round's frozen model; "
    "`series`, the law of the rounds so far. They held where the outcome lies in the interval, widened by the luck of its responses. That interval "
    "is for all prompts that might be drawn; the interval of the error is for forecast and outcome on the same prompts, and `sound` is the "
    "share of those that include 0.",
    "Scenarios: `judge r`, where the loop would settle if its judge gained r with each point of accuracy, held against the last round.",
    "Skill is 1 - MAE / MAE of a benchmark over the same forecasts, above 0 is better; the benchmarks are `last`, nothing changes any more, and "
    "`gap`, later rounds gain what the gap is now, once. For one round ahead `filter` and `gap` are the "
    "same forecast.",
)


def print_loop(result: LoopResult, console: Console) -> None:
    """Print what was measured, every scored forecast that claims something, and the skill of each method.

    Parameters
    ----------
    console
        Where to print; 80 columns are enough.
    """
    for title, head, rows in _tables(result):
        groups: dict[Row, list[Row]] = {}
        for whose, row in rows:
            groups.setdefault(whose, []).append(row)
        for whose, own in groups.items():
            table = plain_table(f"{title}: {', '.join(map(one_line, whose))} prompts", head, own)
            console.print(table)
            console.print()
    for line in (*_ended(result), *STATEMENTS):
        console.print(Text(line))


Row = tuple[str, ...]


def _tables(result: LoopResult) -> list[tuple[str, Row, list[tuple[Row, Row]]]]:
    """Title, heading, and for each row whose it is and what it says."""
    shown = [one for one in result.scores if one.kind != BENCHMARK]
    return [
        (
            "What the rounds measured",
            POINTS,
            [((one.arm, one.prompts), _point(one)) for one in result.points],
        ),
        ("Forecasts and outcomes", SCORES, [((one.arm, one.prompts), _score(one)) for one in shown]),
        ("Skill", SKILLS, [((one.arm, one.prompts), _skill(one)) for one in result.skills]),
    ]


def write_loop(result: LoopResult) -> list[Path]:
    """Write `points.csv`, `scores.csv`, `skill.csv`, `loop.md` and `plots/` into the loop's directory.

    Returns
    -------
    The files.
    """
    path = Path(result.path)
    written = []
    tables: tuple[tuple[str, type, Sequence[Point | Score | Skill]], ...] = (
        ("points", Point, result.points),
        ("scores", Score, result.scores),
        ("skill", Skill, result.skills),
    )
    for name, kind, rows in tables:
        written.append(path / f"{name}.csv")
        write_atomic(written[-1], _csv(kind, rows))
    written.append(path / "loop.md")
    write_atomic(written[-1], _markdown(result))
    for name, figure in loop_figures(result).items():
        written += save_figure(figure, path / "plots" / name)
    return written


@styled
def loop_figures(result: LoopResult) -> dict[str, Figure]:
    """By name, a figure for each arm and set of prompts: every domain's outcome over its forecasts."""
    found = {}
    for arm in result.config.arms:
        for place in ("practice", "held-out"):
            points = [one for one in result.points if (one.arm, one.prompts) == (arm.label, place)]
            domains = list(dict.fromkeys(one.domain for one in points))
            if not domains:
                continue
            figure, axes = panels(len(domains), 4.0, 3.0, more=0.9)
            for ax, domain in zip(axes, domains, strict=True):
                own = sorted((one for one in points if one.domain == domain), key=lambda one: one.t)
                plot_loop_outcome(
                    [(one.t, one.accuracy, one.se) for one in own],
                    _drawn(result, arm.label, place, domain),
                    ax,
                )
                ax.set_ylabel(f"accuracy, {domain_label(domain)}")
            legend_above(figure, columns=2 * len(axes))
            figure.supxlabel(f"{one_line(arm.label, 40)}, {place} prompts", fontsize="medium")
            found[f"{arm.folder}-{place}"] = figure
    return found


def _ended(result: LoopResult) -> list[str]:
    """What there is to say of arms that did not come to the last round."""
    return [
        f"Arm {one_line(arm)} ended early, with nothing to train on: {one_line(why)}."
        for arm, why in result.ended.items()
    ]


def _drawn(result: LoopResult, arm: str, place: str, domain: str) -> list[tuple[float, list[Forecast]]]:
    """By origin, the filter's forecasts, and beyond those the series' ones."""
    own = [
        one
        for one in result.forecasts
        if (one.arm, one.prompts, one.domain) == (arm, place, domain) and one.method in (FILTER, SERIES)
    ]
    values = {
        one.t: one.accuracy
        for one in result.points
        if (one.arm, one.prompts, one.domain) == (arm, place, domain)
    }
    found = []
    for origin in sorted({one.origin for one in own}):
        made: dict[int, Forecast] = {}
        for method in (SERIES, FILTER):
            for one in own:
                if (one.origin, one.method) == (origin, method):
                    made[one.t] = Forecast(float(one.t), one.value, one.low, one.high, method)
        # It starts at what was measured, so that a single forecast has a band too.
        now = values[origin]
        made[origin] = Forecast(float(origin), now, now, now, "measured")
        found.append((float(origin), [made[t] for t in sorted(made)]))
    return found


def _point(one: Point) -> tuple[str, ...]:
    return (
        one.domain,
        str(one.t),
        f"{number(one.accuracy)} {interval(one.low, one.high)}",
        number(one.gap, signed=True) if math.isfinite(one.gap) else "-",
    )


def _score(one: Score) -> tuple[str, ...]:
    ends = f" {interval(one.low, one.high)}" if math.isfinite(one.low) and math.isfinite(one.high) else ""
    off = f" {interval(one.error_low, one.error_high)}" if math.isfinite(one.error_low) else ""
    held = {True: "yes", False: "no", None: "-"}[one.inside]
    return (
        one.domain,
        str(one.origin),
        str(one.t),
        one.method,
        number(one.value) + ends,
        number(one.outcome),
        number(one.error, signed=True) + off,
        held,
    )


def _skill(one: Skill) -> tuple[str, ...]:
    def figure(value: float) -> str:
        return number(value, signed=True) if math.isfinite(value) else "-"

    held, sound = (f"{one:.0%}" if math.isfinite(one) else "-" for one in (one.coverage, one.sound))
    return (
        one.method,
        str(one.forecasts),
        number(one.mae),
        figure(one.bias),
        held,
        sound,
        figure(one.last),
        figure(one.gain),
    )


def _csv(kind: type, rows: Sequence[Point | Score | Skill]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, [one.name for one in fields(kind)], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {
                name: ("" if isinstance(value, float) and not math.isfinite(value) else value)
                for name, value in asdict(row).items()
            }
        )
    return text.getvalue()


def _markdown(result: LoopResult) -> str:
    config = result.config
    parts = [
        f"# A loop of {config.rounds} rounds: {config.model}, {config.filter} of {config.n} responses\n",
        *(f"{line}\n" for line in (*_ended(result), *STATEMENTS)),
    ]
    for title, head, rows in reversed(_tables(result)):
        parts += [f"## {title}\n", _lines((*WHOSE, *head), [(*whose, *row) for whose, row in rows])]
    return "\n".join(parts)


def _lines(head: Row, rows: Sequence[Row]) -> str:
    cells = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n" for row in cells)
