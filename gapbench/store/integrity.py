"""Whether a run has the rows that it should have: what is lost is refused, what is not made yet is counted.

A writer lists the shards of a run (`gapbench.store.shardlist`). A run without a list is held to what its manifest says was
appended.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping
from typing import Any

from gapbench.errors import UnfinishedWarning, UserError
from gapbench.store.run_store import RunStore
from gapbench.store.shards import mend

FILLED_BY = {"sample": ("responses",), "grade": ("grades",), "verify": ("verdicts", "comparisons")}
"""The tables that a stage's rows go to."""


def recorded_rows(manifest: Mapping[str, Any]) -> dict[tuple[str, ...], int]:
    """Fewest rows that tables must have together: those of sittings that ended, or of the tables imported."""
    rows: Counter[tuple[str, ...]] = Counter()
    if "imported" in manifest:
        imported = manifest["imported"]
        rows["responses",] = rows["grades",] = imported["responses"].get("rows", 0)
        rows["verdicts",] = (imported.get("verdicts") or {}).get("rows", 0)
    for session in manifest.get("sessions", []):
        tables = FILLED_BY.get(session["stage"])
        if tables and "seconds" in session:
            rows[tables] += session.get("rows", 0)
    return dict(rows)


def check_recorded(store: RunStore) -> None:
    """Check a run without a list of shards against its manifest.

    Raises
    ------
    UserError
        If a table has fewer rows than were appended to it.
    """
    if store.listed.exists:
        return
    for tables, rows in recorded_rows(store.read_manifest()).items():
        there = sum(store.count(table) for table in tables)
        if there < rows:
            folder = store.path / tables[0]
            raise UserError(
                f"{folder}: has {there:,} rows and not the {rows:,} that were written; {mend(folder / 'shard', lost=True)}"
            )


def unfinished(store: RunStore, *, prompts: int, drawn: int, graded: int) -> dict[str, int]:
    """Responses that an interrupted run still lacks, `undrawn`, and those without a grade, `ungraded`.

    Parameters
    ----------
    prompts, drawn, graded
        Rows of the tables prompts, responses and grades.
    """
    manifest = store.read_manifest()
    # How many responses an imported prompt was to have is not known.
    wanted = 0 if "imported" in manifest else prompts * manifest.get("config", {}).get("n", 0)
    counts = {"undrawn": max(wanted - drawn, 0), "ungraded": drawn - graded}
    return {name: count for name, count in counts.items() if count}


def tell_unfinished(store: RunStore, *, prompts: int, drawn: int, graded: int) -> None:
    """Warn of what `unfinished` finds, but for a run that is being written."""
    if store.is_mending or not graded:
        return
    found = unfinished(store, prompts=prompts, drawn=drawn, graded=graded)
    if found:
        counts = " and ".join(f"{count:,} {name}" for name, count in found.items())
        total = drawn + found.get("undrawn", 0)
        remedy = (
            "go on with `gapbench run ... --resume`"
            if "undrawn" in found
            else f"`gapbench grade {store.path}`"
        )
        warnings.warn(
            f"{store.path}: of {total:,} responses {counts}, which do not count; {remedy}",
            UnfinishedWarning,
            stacklevel=2,
        )
