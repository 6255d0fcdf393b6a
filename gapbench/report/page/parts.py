"""What a section of a page holds that is about all its runs, or why it holds nothing."""

from __future__ import annotations

from dataclasses import dataclass

from gapbench.report.page.cells import Table
from gapbench.report.page.outlook import Said
from gapbench.report.page.svg import Drawn


@dataclass(frozen=True)
class Part:
    """What a section holds, in the order of its fields.

    Attributes
    ----------
    lead
        What was looked at, in a sentence.
    said
        Sentences with the kind of statement that each is.
    folded
        Longer tables with what each is about, closed until a reader opens them.
    why_not
        Why there is nothing else; empty where there is.
    """

    lead: str = ""
    tables: tuple[Table, ...] = ()
    said: tuple[Said, ...] = ()
    figures: tuple[Drawn, ...] = ()
    folded: tuple[tuple[str, Table], ...] = ()
    why_not: str = ""
