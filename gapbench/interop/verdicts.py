"""The table of verdicts: its rules, and its rows as the verdicts of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from gapbench.errors import UserError
from gapbench.interop.reading import open_table
from gapbench.interop.responses import ResponseRows
from gapbench.interop.rows import ERROR, Batch, Bool, Float, Int, Shards, same
from gapbench.keys import NONE, indices
from gapbench.records import NO_ANSWER, SCORED, TRUNCATED, UNPARSED
from gapbench.registry import suggest

MOST_PLACES = 2**31  # of verdicts of one verifier, which take a byte each


@dataclass
class ImportedVerifier:
    """What is known of a verifier that only a table speaks of.

    Attributes
    ----------
    verdicts, missing
        Rows, and those among them without a score.
    low, high
        Smallest and largest score.
    replicates
        Number of verdicts M that a response may have.
    threshold
        Score from which a response passes: the one given, else 0.5 for probabilities, else None.
    """

    verdicts: int = 0
    missing: int = 0
    low: float = np.inf
    high: float = -np.inf
    replicates: int = 1
    threshold: float | None = None

    @property
    def scale(self) -> Literal["probability", "real"]:
        """`probability` where every score lies in [0, 1], else `real`: for ranks and AUC, without soft weights."""
        return "probability" if self.low >= 0 and self.high <= 1 else "real"


def check_thresholds(thresholds: Mapping[str, float], seen: Iterable[str]) -> None:
    """Check that each is a number, and of a verifier that there is.

    Raises
    ------
    UserError
        That names the one at fault.
    """
    there = list(seen)
    for name, value in thresholds.items():
        if name not in there:
            known = suggest(name, there) if there else "; there are no verdicts at all"
            raise UserError(f"--threshold {name}: no verdict is of that verifier{known}")
        if not np.isfinite(value):
            raise UserError(f"--threshold {name}={value:g}: is no score; give a finite number")


class VerdictRows:
    """The table of verdicts on the responses of `pool`."""

    def __init__(self, path: Path, pool: ResponseRows) -> None:
        self.source = open_table(
            path,
            text=["task", "prompt_id", "verifier", "status", "judge"],
            numbers=["response", "replicate", "score"],
            optional=["status", "judge"],
        )
        self.pool = pool
        self.verifiers: dict[str, ImportedVerifier] = {}
        self.rows = 0
        self.dropped = 0
        self._seen: dict[str, Bool] = {}

    def read(self, shards: Shards) -> None:
        """Check every row and write it."""
        for first, rows in self.source.batches():
            self._take(Batch(self.source, first, rows), shards)

    def flags(self) -> dict[str, int]:
        """Counts of what limits the analysis."""
        return {"score_dropped": self.dropped}

    def _take(self, batch: Batch, shards: Shards) -> None:
        task, prompt_id, verifier = batch.key("task"), batch.key("prompt_id"), batch.key("verifier")
        response, replicate = batch.index("response"), batch.index("replicate")
        status, kinds, place = batch.status([SCORED, UNPARSED, NO_ANSWER, TRUNCATED, ERROR])
        cell = self.pool.cells.at(self.pool.prompts.of(task, prompt_id), response)
        unknown = (cell == NONE) | ~self.pool.there[cell]
        if unknown.any():
            at = int(unknown.argmax())
            key = task[at].as_py(), prompt_id[at].as_py(), int(response[at])
            batch.source.refuse(
                batch.first + at,
                f"{self.pool.source.path} has no response {key}; add it there, or leave the verdict out",
            )
        score = batch.number("score")
        scored = batch.mask(kinds, place, SCORED)
        batch.refuse_any(
            scored & np.isnan(score),
            "'score' is empty or NaN; leave the row out, or give the status 'unparsed' to a verdict that could not be read",
        )
        batch.refuse_any(scored & np.isinf(score), "'score' is infinite; give a finite number")
        self.dropped += int(np.count_nonzero(~scored & ~np.isnan(score)))
        score = np.where(scored, score, np.nan)

        by = indices(verifier)
        for code, name in enumerate(verifier.dictionary.to_pylist()):
            own = by == code
            if own.any():
                self._once(batch, name, own, replicate, cell)
                self._count(name, score[own], replicate[own])
        self.rows += len(cell)
        shards.write(
            "verdicts",
            {
                "task": task,
                "prompt_id": prompt_id,
                "response": pa.array(response, pa.int32()),
                "verifier": verifier,
                "replicate": pa.array(replicate, pa.int32()),
                "score": pa.array(score, mask=~scored),
                "status": status,
                "text": same("", len(cell)),
                "judge": batch.rows.column("judge") if "judge" in batch.source.text else same("", len(cell)),
            },
        )

    def _once(self, batch: Batch, name: str, own: Bool, replicate: Int, cell: Int) -> None:
        """Refuse a verdict whose key was there before."""
        seen = self._seen.get(name, np.zeros((0, self.pool.cells.total), dtype=bool))
        total = int(replicate[own].max()) + 1
        if total * self.pool.cells.total > MOST_PLACES:
            batch.refuse_any(
                own & (replicate == total - 1),
                f"'replicate' is {total - 1}; number the verdicts of a verifier on a response 0, 1, 2, ...",
            )
        if total > len(seen):
            seen = np.concatenate([seen, np.zeros((total - len(seen), seen.shape[1]), dtype=bool)])
        self._seen[name] = seen
        flat, place = seen.reshape(-1), replicate * np.int64(seen.shape[1]) + cell
        before = own & flat[np.where(own, place, 0)]
        flat[place[own]] = True
        known = self.verifiers.get(name, ImportedVerifier()).verdicts
        if not before.any() and np.count_nonzero(flat) != known + np.count_nonzero(own):
            before = own & pd.Series(place).where(own, -1 - np.arange(len(place))).duplicated().to_numpy()
        batch.refuse_any(
            before,
            f"verifier '{name}' has that replicate of that response above; number its replicates 0, 1, 2, ...",
        )

    def _count(self, name: str, score: Float, replicate: Int) -> None:
        one = self.verifiers.setdefault(name, ImportedVerifier())
        one.verdicts += len(score)
        valid = score[~np.isnan(score)]
        one.missing += len(score) - len(valid)
        one.low = min(one.low, float(valid.min(initial=np.inf)))
        one.high = max(one.high, float(valid.max(initial=-np.inf)))
        one.replicates = max(one.replicates, int(replicate.max()) + 1)
