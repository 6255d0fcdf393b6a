"""Tables of a page as plain values: cells that know what they are sorted by, and where their interval lies."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from gapbench.estimate.results import Estimate
from gapbench.report.text import interval, number
from gapbench.report.view import WORDS, drawable, read


@dataclass(frozen=True)
class Strip:
    """An interval as a mark beside its number, all ends in percent of the width that a column's strips share.

    Attributes
    ----------
    zero
        Where zero lies.
    sure
        Whether the interval excludes zero.
    """

    low: float
    value: float
    high: float
    zero: float
    sure: bool


@dataclass(frozen=True)
class Cell:
    """A number with its interval, or a word where there is none to show.

    Attributes
    ----------
    kind
        How it is set: a reading of `gapbench.report.view`, `num`, `word`, `quiet` or nothing.
    order
        What the column is sorted by; None for text, NaN for what comes last whichever way.
    """

    text: str
    interval: str = ""
    kind: str = ""
    order: float | None = None
    strip: Strip | None = None


@dataclass(frozen=True)
class Table:
    """A table that a reader may sort.

    Attributes
    ----------
    headings
        One a column.
    heads
        Leading columns that say what a row is about.
    """

    id: str
    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    heads: int = 1


NOTHING = Cell("–", kind="none", order=math.nan)


def cell(row: Estimate | None, *, signed: bool = False) -> Cell:
    """An estimate as a cell; what is not estimable is a word."""
    if row is None or "no_verdicts" in row.flags:
        return NOTHING
    if not drawable(row):
        return Cell(WORDS["not_estimable"], kind="word", order=math.nan)
    return value_cell(row.value, row.low, row.high, signed=signed)


def gap_cell(row: Estimate | None) -> Cell:
    """A gap as a cell whose kind is its reading; without a number it says why, and it says where tasks are missing."""
    reading = read(row)
    if row is None or not drawable(row):
        return Cell(WORDS[reading], kind="word", order=math.nan)
    shown = cell(row, signed=True)
    return replace(shown, kind=reading, interval=", ".join([shown.interval, *partial(row)]))


def partial(row: Estimate) -> list[str]:
    """Of how many of its tasks a row is, such as `5 of 25 tasks`; empty where it is of all."""
    return [flag.partition(":")[2] for flag in row.flags if flag.startswith("partial:")]


def value_cell(value: float, low: float, high: float, *, signed: bool = False) -> Cell:
    """A number with its interval."""
    text, ends = number(value, signed=signed), interval(low, high, signed=signed)
    return Cell(minus(text), minus(ends), "num", value)


def count_cell(count: int) -> Cell:
    """A whole number."""
    return Cell(f"{count:,}", kind="num", order=float(count))


def number_cell(value: float, *, signed: bool = False) -> Cell:
    """A number without an interval, or a dash."""
    if not math.isfinite(value):
        return NOTHING
    return Cell(minus(number(value, signed=signed)), kind="num", order=value)


def p_cell(p: float) -> Cell:
    """A p-value."""
    return Cell("< .001", kind="num", order=p) if p < 0.001 else number_cell(p)


Ends = tuple[float, float, float]


def ends(row: Estimate | None) -> Ends | None:
    """Low end, value and high end of an estimate that may be drawn."""
    return (row.low, row.value, row.high) if row is not None and drawable(row) else None


def with_strips(cells: Sequence[Cell], drawn: Sequence[Ends | None]) -> list[Cell]:
    """The cells with a strip wherever there is an interval, all on one scale that holds zero."""
    known = [one for one in drawn if one is not None]
    start = min([0.0, *(low for low, _, _ in known)])
    span = (max([0.0, *(high for _, _, high in known)]) - start) or 1.0

    def strip(low: float, value: float, high: float) -> Strip:
        left, middle, right, zero = (round(100 * (one - start) / span, 1) for one in (low, value, high, 0.0))
        return Strip(left, middle, right, zero, sure=low > 0 or high < 0)

    return [
        one if own is None else replace(one, strip=strip(*own)) for one, own in zip(cells, drawn, strict=True)
    ]


def texts(*words: str) -> tuple[Cell, ...]:
    """Cells of words."""
    return tuple(Cell(word) for word in words)


def listed(names: Iterable[str]) -> str:
    """Names with commas, or a dash."""
    return ", ".join(names) or "–"


def minus(text: str) -> str:
    """Hyphens before a number become minus signs; names keep theirs."""
    return re.sub(r"(?<![\w.])-(?=[\d.])", "\u2212", text)
