"""The coverage study as a table and a heat map (see `benchmarks.coverage`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from benchmarks.coverage import Coverage

BANDS = [0.0, 0.85, 0.9, 0.92, 0.93, 0.94, 0.96, 0.98, 1.0001]


def write_report(rows: Sequence[Coverage], folder: Path) -> None:
    """Write `coverage.md` and `coverage.png`."""
    cells = list(dict.fromkeys((row.scenario, row.prompts) for row in rows))
    names = list(dict.fromkeys(name(row) for row in rows))
    held = {(name(row), row.scenario, row.prompts): row for row in rows}
    (folder / "coverage.md").write_text(table(rows, cells, names, held), encoding="utf-8")
    figure(cells, names, held).savefig(folder / "coverage.png", dpi=110)


def name(row: Coverage) -> str:
    """`gap[best@8, m=8]`; the number of verdicts only where it is not the scenario's 8."""
    inside = [row.filter] if row.filter else [f"k={row.n}"] if row.quantity == "pass@k" else []
    if row.m not in (None, 8):
        inside.append(f"m={row.m}")
    return f"{row.quantity}[{', '.join(inside)}]" if inside else row.quantity


def table(
    rows: Sequence[Coverage],
    cells: Sequence[tuple[str, int]],
    names: Sequence[str],
    held: dict[tuple[str, str, int], Coverage],
) -> str:
    counts = [max(row.data_sets for row in rows if (row.scenario, row.prompts) == cell) for cell in cells]
    failed = [row for row in rows if not row.holds]
    judged = [row for row in rows if row.data_sets >= 20]
    lowest = sorted(judged, key=lambda row: row.covered)[:5]
    lines = [
        "# Coverage of nominal 95 % intervals",
        "",
        f"Data sets a cell: {min(counts)} to {max(counts)}, each of 32 responses x 8 verdicts (`benchmarks/coverage.py`). "
        "A cell passes where observed coverage and three Monte-Carlo standard errors reach .93, or .92 at accuracy .02.",
        "",
        f"{len(judged) - len(failed)} of {len(judged)} pass. Lowest: "
        + "; ".join(
            f"{name(row)} {row.covered:.3f} ± {row.covered_se:.3f} ({row.scenario}, {row.prompts} prompts)"
            for row in lowest
        )
        + ".",
        "",
        "Percent that hold the truth; **bold**: below what is wanted; -: no such quantity, or without an interval in all "
        "but a few data sets; (x): flagged `not_estimable` in more than a tenth.",
        "",
        "| quantity | " + " | ".join(f"{scenario} {prompts}" for scenario, prompts in cells) + " |",
        "|---" * (len(cells) + 1) + "|",
    ]
    lines += [
        f"| {one} | " + " | ".join(shown(held.get((one, *cell))) for cell in cells) + " |" for one in names
    ]
    return "\n".join(lines) + "\n"


def shown(row: Coverage | None) -> str:
    if row is None or row.data_sets < 20:
        return "-"
    text = f"{100 * row.covered:.1f}"
    if not row.holds:
        text = f"**{text}**"
    return f"({text})" if row.not_estimable > 0.1 * row.data_sets else text


def figure(
    cells: Sequence[tuple[str, int]], names: Sequence[str], held: dict[tuple[str, str, int], Coverage]
) -> Figure:
    drawn = np.full((len(names), len(cells)), np.nan)
    for i, one in enumerate(names):
        for j, cell in enumerate(cells):
            row = held.get((one, *cell))
            if row is not None and row.data_sets >= 20:
                drawn[i, j] = row.covered
    made = Figure(figsize=(9, 2 + 0.17 * len(names)), layout="constrained")
    axes = made.subplots()
    image = axes.imshow(drawn, cmap="RdYlBu", norm=BoundaryNorm(BANDS, 256), aspect="auto")
    axes.set_xticks(range(len(cells)), [f"{scenario}, P = {prompts}" for scenario, prompts in cells])
    axes.tick_params(axis="x", labelrotation=90)
    axes.tick_params(axis="both", labelsize=7, length=0)
    axes.set_yticks(range(len(names)), names)
    axes.set_title("Share of 95 % intervals that hold the truth", fontsize=10)
    made.colorbar(image, ax=axes, ticks=[*BANDS[:-1], 1.0], fraction=0.03)
    return made
