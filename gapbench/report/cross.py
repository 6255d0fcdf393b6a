"""The matrix of generators and judges, as a table for the terminal and as a heat-map.

>>> from rich.console import Console
>>> print_cross(crossed, Console())  # doctest: +SKIP
>>> save_figure(cross_figure(crossed), "heatmap")  # doctest: +SKIP
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gapbench.comparing.compare import ZERO_WITHOUT_SIGNAL
from gapbench.comparing.cross import MISSING, Cross, CrossCell
from gapbench.estimate.contrast import Contrast
from gapbench.estimate.table import OVERALL
from gapbench.report.definitions import DEFINITIONS
from gapbench.report.style import GREY, INK, PAPER, domain_label, label, styled
from gapbench.report.tables import titled
from gapbench.report.text import interval, number, one_line

NO_SIGNAL = {"auc_within": 0.5, "auc_between": 0.5, **dict.fromkeys(ZERO_WITHOUT_SIGNAL, 0.0)}
"""Value that a blind judge gives, where that is one number."""

WORDS = {MISSING: "not judged", "not_estimable": "not estimable"}


def shown(cell: CrossCell) -> bool:
    """Whether a cell has a number that may be printed or drawn."""
    return not set(cell.flags) & set(WORDS) and all(map(math.isfinite, (cell.value, cell.low, cell.high)))


def word(cell: CrossCell) -> str:
    """What stands in a cell without a number."""
    return WORDS[MISSING if MISSING in cell.flags else "not_estimable"]


def blind(cell: CrossCell) -> bool:
    """Whether the interval includes the value of a blind judge."""
    return cell.quantity in NO_SIGNAL and cell.low <= NO_SIGNAL[cell.quantity] <= cell.high


def print_cross(cross: Cross, console: Console) -> None:
    """Print the matrix by domain, and the differences over all domains; words carry the meaning, not colour.

    Parameters
    ----------
    cross
        As `gapbench.comparing.cross.cross` gives it.
    console
        Where to print.
    """
    console.print(_matrix(cross))
    own = {(row.a, row.b, row.model) for row in cross.self_preference}
    for title, rows in (
        ("self-preference: judged by itself - by another", list(cross.self_preference)),
        ("other judges", [row for row in cross.between_judges if (row.a, row.b, row.model) not in own]),
        ("generators under the same judge", list(cross.between_generators)),
    ):
        overall = [row for row in rows if row.domain == OVERALL]
        if overall:
            console.print(_differences(title, overall))
    for line in _notes(cross):
        console.print(Text(line))


@styled
def plot_cross(cross: Cross, ax: Axes, *, domain: str = OVERALL) -> Axes:
    """Draw the matrix of one domain: generators down, judges across, the value and half its interval in each cell.

    Colours diverge, orange below and purple above, from the value of a blind judge; a quantity that has none goes from
    light to dark. A ring marks a cell whose interval includes that value, a frame a model that judges itself. What was
    not measured is left white, with the reason in words.

    Parameters
    ----------
    ax
        Drawn into; about 1.5 by 0.8 inches a cell keep the numbers apart.
    domain
        A domain's name, or `all`.
    """
    cells = [cross.cell(generator, judge, domain) for generator in cross.generators for judge in cross.judges]
    colours = scale(cross)
    for place, cell in enumerate(cells):
        row, column = divmod(place, len(cross.judges))
        _draw(ax, cell, column, row, colours)
    ax.set_xlim(-0.5, len(cross.judges) - 0.5)
    ax.set_ylim(len(cross.generators) - 0.5, -0.5)
    ax.set_xticks(range(len(cross.judges)), [label(name, 24) for name in _short(cross.judges)])
    ax.set_yticks(range(len(cross.generators)), [label(name, 24) for name in _short(cross.generators)])
    ax.tick_params(length=0)
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_xlabel("judge")
    ax.set_ylabel("generator")
    ax.set_title(domain_label(domain))
    return ax


@styled
def cross_figure(cross: Cross, *, domain: str = OVERALL) -> Figure:
    """`plot_cross` in a figure of fitting size, with its scale and a line that explains the marks."""
    wide, high = 2.6 + 1.6 * len(cross.judges), 1.5 + 0.85 * len(cross.generators)
    figure = Figure(figsize=(max(wide, 5.4), high))
    ax = figure.subplots()
    plot_cross(cross, ax, domain=domain)
    bar = figure.colorbar(scale(cross), ax=ax, fraction=0.06, pad=0.03)
    bar.outline.set_visible(False)
    bar.set_label(_title(cross))
    marks = ["value ± half the width of its 95 % interval", "frame: judges itself"]
    if cross.quantity in NO_SIGNAL:
        marks.append(f"ring: the interval includes {NO_SIGNAL[cross.quantity]:g}")
    figure.supxlabel("   ".join(marks), fontsize="small", color=GREY)
    return figure


def scale(cross: Cross) -> ScalarMappable:
    """Colours of all domains' values, so that the figures of several domains compare."""
    values = [cell.value for cell in cross.cells if shown(cell)] or [0.0]
    if (centre := NO_SIGNAL.get(cross.quantity)) is None:
        return ScalarMappable(
            Normalize(min(values), max(max(values), min(values) + 1e-9)), mpl.colormaps["cividis_r"]
        )
    reach = max(max(abs(value - centre) for value in values), 1e-9)
    return ScalarMappable(Normalize(centre - reach, centre + reach), mpl.colormaps["PuOr"])


def _draw(ax: Axes, cell: CrossCell, x: float, y: float, colours: ScalarMappable) -> None:
    red, green, blue = colours.to_rgba(np.array([cell.value]))[0, :3] if shown(cell) else to_rgb(PAPER)
    ax.add_patch(
        Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=(red, green, blue), edgecolor=PAPER, linewidth=2)
    )
    # Luminance by ITU-R BT.709: dark ink on light cells and the reverse.
    ink = INK if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.45 else PAPER
    if cell.itself:
        ax.add_patch(Rectangle((x - 0.46, y - 0.46), 0.92, 0.92, fill=False, edgecolor=ink, linewidth=1.4))
    if not shown(cell):
        ax.text(x, y, word(cell), ha="center", va="center", color=GREY, fontstyle="italic")
        return
    ax.text(
        x, y - 0.1, _number(cell), ha="center", va="center", color=ink, fontsize="large", fontweight="bold"
    )
    half = number((cell.high - cell.low) / 2)
    ax.text(x, y + 0.22, f"± {half}", ha="center", va="center", color=ink)
    if blind(cell):
        ax.plot(x - 0.36, y - 0.3, "o", color=ink, markerfacecolor="none", markersize=7, markeredgewidth=1.4)


def _number(cell: CrossCell) -> str:
    return number(cell.value, signed=NO_SIGNAL.get(cell.quantity) == 0).replace("-", "−")


def _short(names: Sequence[str]) -> list[str]:
    """Model ids without their owner or folder, where they still differ."""
    short = [name.rpartition("/")[2] for name in names]
    return short if len(set(short)) == len(short) else list(names)


def _title(cross: Cross) -> str:
    inside = ", ".join(filter(None, [cross.filter, _verdicts(cross)]))
    return f"{label(cross.quantity)}{f'[{inside}]' if inside else ''}, {label(cross.mechanism)}"


def _verdicts(cross: Cross) -> str:
    m = next((cell.m for cell in cross.cells if cell.m is not None), None)
    return "" if m is None else f"m={m}"


def _matrix(cross: Cross) -> Table:
    table = titled(_title(cross) + ": generators down, judges across")
    table.add_column("generator", min_width=10, max_width=40, overflow="fold")
    for judge in cross.judges:
        table.add_column(one_line(judge, 60), min_width=20, overflow="fold")
    for domain in cross.domains:
        if len(cross.domains) > 1:
            table.add_section()
            table.add_row(Text("all domains" if domain == OVERALL else one_line(domain, 40), style="bold"))
        for generator in cross.generators:
            cells = [_words(cross.cell(generator, judge, domain)) for judge in cross.judges]
            table.add_row(Text(f" {one_line(generator, 60)}"), *map(Text, cells))
    return table


def _words(cell: CrossCell) -> str:
    if not shown(cell):
        return word(cell)
    signed = NO_SIGNAL.get(cell.quantity) == 0
    marks = ("s" if cell.itself else "") + ("o" if blind(cell) else "")
    return (
        f"{number(cell.value, signed=signed)} {interval(cell.low, cell.high, signed=signed)} {marks}".rstrip()
    )


def _differences(title: str, rows: list[Contrast]) -> Table:
    table = titled(title)
    table.add_column("", min_width=14, max_width=60, overflow="fold")
    table.add_column("difference [95 %]", no_wrap=True)
    table.add_column("p adj.", min_width=6, no_wrap=True)
    table.add_column("reads as", min_width=9)
    for row in rows:
        where = row.model or row.verifier
        sure = math.isfinite(row.low) and "not_estimable" not in row.flags
        difference = (
            f"{number(row.difference, signed=True)} {interval(row.low, row.high, signed=True)}"
            if sure
            else "-"
        )
        p = "<.001" if row.p_adjusted < 0.001 else number(row.p_adjusted)
        cells = [f"{one_line(where, 60)}: {one_line(row.a, 60)} - {one_line(row.b, 60)}", difference, p]
        table.add_row(*map(Text, cells), Text(row.verdict.replace("_", " ")))
    return table


def _notes(cross: Cross) -> list[str]:
    lines = ["s: the model judges its own responses."]
    if cross.quantity in NO_SIGNAL:
        lines[0] += f" o: the 95 % interval includes {NO_SIGNAL[cross.quantity]:g}, what a blind judge gives."
    lines += [
        "Differences over all domains, paired: judges on the same responses, generators on their common prompts. p adj.: "
        "Holm, each kind apart. tied: not shown to differ, which is no proof of equality.",
        "self-preference: below 0 the other judge is of more use to the generator than itself. It holds judging ability "
        "and favour for its own answers together; compare with the same judge on the other generator.",
    ]
    if cross.quantity in DEFINITIONS:
        lines.append(f"{cross.quantity}: {DEFINITIONS[cross.quantity].meaning}")
    return [*lines, *(one_line(note, 300) for note in cross.notes)]
