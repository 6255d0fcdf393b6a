"""Rows of a run scattered over cells: what `gapbench.panel` makes its arrays of.

Tables are read in batches and every row is put where it belongs, so that 80 million verdicts take a few seconds and the
memory of the arrays alone. A key that stands in a table twice is found by counting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gapbench.errors import UserError
from gapbench.keys import NONE, Cells, Int, PromptNumbers, Words, indices
from gapbench.records import is_error
from gapbench.store import RunStore, refuse_twice
from gapbench.store.integrity import check_recorded, tell_unfinished

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

KEY = ["task", "prompt_id", "response"]
# An index far beyond the number of rows is damage, and would ask for more memory than there is.
EMPTY_CELLS, FREE_CELLS = 100, 10_000_000


@dataclass(frozen=True)
class Pool:
    """What is known of each response, by cell; `counted` where it is drawn and graded."""

    cells: Cells
    counted: Bool
    utility: Float
    censored: Bool
    answers: Int


def read_pool(store: RunStore, numbers: PromptNumbers, sizes: Sequence[int]) -> Pool:
    """Scatter the tables `responses` and `grades` over cells.

    Parameters
    ----------
    numbers
        Every prompt, numbered task by task.
    sizes
        Number of prompts of each task.

    Raises
    ------
    UserError
        If a key stands in a table twice, a row belongs to nothing, or a shard is lost or damaged.
    """
    folders = {table: store.path / table for table in ("responses", "grades")}
    if not store.is_mending:
        check_recorded(store)
    clusters = Words()
    # Grades first: a run that is being written to may get a response and its grade between the two readings.
    values = {"utility": _numbers, "cluster": clusters.of, "status": _is_failed}
    graded = _columns(store, "grades", numbers, values)
    drawn = _columns(store, "responses", numbers, {"finish_reason": _is_cut})
    _check_utilities(folders["grades"], graded, numbers)
    width = np.zeros(len(numbers), dtype=np.int64)
    np.maximum.at(width, graded["prompt"], graded["response"] + np.int64(1))
    widest = [width[first:last].max(initial=0) for first, last in pairwise(np.cumsum([0, *sizes]))]
    sizes_of = np.repeat(np.array(widest, dtype=np.int64), np.array(sizes, dtype=np.int64))
    if int(sizes_of.sum()) > EMPTY_CELLS * len(graded["prompt"]) + FREE_CELLS:
        raise UserError(
            f"{folders['grades']}: a response has the number {max(widest) - 1:,}, and there are {len(graded['prompt']):,} "
            "rows; restore the folder"
        )
    cells = Cells(sizes_of)

    at, graded_at = (cells.at(rows["prompt"], rows["response"]) for rows in (drawn, graded))
    within = at >= 0  # the others wait for their grades
    at, cut_at = at[within], at[within & drawn["finish_reason"].astype(bool)]
    counted = _once(at, numbers, cells, folders["responses"])
    known = _once(graded_at, numbers, cells, folders["grades"])
    if (known & ~counted).any():
        orphans = np.flatnonzero(known & ~counted)
        key = _key(numbers, cells, int(orphans[0]))
        raise UserError(
            f"{folders['responses']}: lacks {len(orphans):,} responses that are graded, such as {key}; restore the folder, "
            "or delete the folders grades, verdicts and comparisons, then resume the run to draw and judge again"
        )
    counted &= known
    tell_unfinished(store, prompts=len(numbers), drawn=len(drawn["prompt"]), graded=len(graded["prompt"]))
    utility = np.full(cells.total, np.nan)
    utility[graded_at] = graded["utility"]
    utility[~counted] = np.nan
    answers = np.full(cells.total, NONE)
    answers[graded_at] = graded["cluster"]
    answers[~counted] = NONE
    cut = np.zeros(cells.total, dtype=bool)
    cut[cut_at] = True
    return Pool(cells, counted, utility, counted & (cut | np.isnan(utility)), answers)


@dataclass
class Judged:
    """The verdicts of one verifier as they are read.

    Attributes
    ----------
    score
        [replicate, cell]: of 1-byte integers while all scores are 0, 1 or missing (-1), else of floats (missing NaN).
    seen
        Where there is a row [replicate, cell].
    """

    score: NDArray[Any]
    seen: Bool
    rows: int = 0

    @classmethod
    def empty(cls, cells: int) -> Judged:
        """Without a verdict."""
        return cls(np.full((1, cells), NONE, dtype=np.int8), np.zeros((1, cells), dtype=bool))

    def add(self, cell: Int, replicate: Int, score: Float) -> None:
        """Scatter some rows."""
        missing = np.isnan(score)
        if self.binary and not ((score == 0) | (score == 1) | missing).all():
            self.score = np.where(self.score == NONE, np.nan, self.score)
        more = int(replicate.max()) + 1 - len(self.seen)
        if more > 0:
            shape = more, self.seen.shape[1]
            blank = NONE if self.binary else np.nan
            self.score = np.concatenate([self.score, np.full(shape, blank, dtype=self.score.dtype)])
            self.seen = np.concatenate([self.seen, np.zeros(shape, dtype=bool)])
        place = replicate * np.int64(self.seen.shape[1]) + cell
        self.score.reshape(-1)[place] = np.where(missing, NONE, score) if self.binary else score
        self.seen.reshape(-1)[place] = True
        self.rows += len(cell)

    @property
    def binary(self) -> bool:
        """Whether every score is 0, 1 or missing."""
        return self.score.dtype == np.int8

    def replicates(self, block: slice) -> int:
        """Number of verdicts that any response in these cells has; at least 1."""
        return int(np.flatnonzero(np.any(self.seen[:, block], axis=1)).max(initial=0)) + 1


def read_verdicts(
    store: RunStore, numbers: PromptNumbers, cells: Cells, names: Sequence[str]
) -> dict[str, Judged]:
    """Scatter the verdicts of the verifiers in `names` over cells.

    Raises
    ------
    UserError
        If a key stands there twice, or a shard is torn.
    """
    judged = {name: Judged.empty(cells.total) for name in names}
    most = EMPTY_CELLS * store.count("verdicts") + FREE_CELLS
    for batch in store.batches("verdicts", [*KEY, "verifier", "replicate", "score"]):
        cell = cells.at(*_keys(store, "verdicts", batch, numbers))
        replicate, score = batch.column("replicate").to_numpy(), _numbers(batch.column("score"))
        if len(replicate) and (int(replicate.max()) + 1) * cells.total > most:
            raise UserError(
                f"{store.path / 'verdicts'}: a verdict has the replicate {replicate.max():,}, and there are far fewer rows; "
                "restore the folder"
            )
        by = indices(batch.column("verifier"))
        for code, name in enumerate(batch.column("verifier").dictionary.to_pylist()):
            own = (by == code) & (cell >= 0)  # a verdict on what is not graded yet waits for its grade
            if name in judged and own.any():
                kept = slice(None) if own.all() else own
                judged[name].add(cell[kept], replicate[kept], score[kept])
    for name, one in judged.items():
        if np.count_nonzero(one.seen) != one.rows:
            _refuse_twice(store, numbers, cells, name)
    return judged


def _keys(store: RunStore, table: str, batch: pa.RecordBatch, numbers: PromptNumbers) -> tuple[Int, Int]:
    """Prompt and response of each row.

    Raises
    ------
    UserError
        If a row is of a prompt that the run does not have.
    """
    prompt = numbers.of(batch.column("task"), batch.column("prompt_id"))
    if (prompt == NONE).any():
        at = int((prompt == NONE).argmax())
        key = tuple(batch.column(name)[at].as_py() for name in KEY[:2])
        raise UserError(
            f"{store.path / 'prompts'}: lacks the prompt {key}, of which there are {table}; restore the folder, or resume "
            "the run (`gapbench run ... --resume`), which writes lost prompts again"
        )
    return prompt, batch.column("response").to_numpy().astype(np.int64)


def _columns(
    store: RunStore,
    table: str,
    numbers: PromptNumbers,
    values: Mapping[str, Callable[[pa.Array], NDArray[Any]]],
) -> dict[str, NDArray[Any]]:
    """The rows as arrays: `prompt`, `response` and what `values` makes of other columns."""
    parts: dict[str, list[NDArray[Any]]] = {
        name: [np.empty(0, np.int32)] for name in ("prompt", "response", *values)
    }
    for batch in store.batches(table, [*KEY, *values]):
        prompt, response = _keys(store, table, batch, numbers)
        found = {name: convert(batch.column(name)) for name, convert in values.items()}
        found |= {"prompt": prompt.astype(np.int32), "response": response.astype(np.int32)}
        for name, column in found.items():
            parts[name].append(column)
    return {name: np.concatenate(columns) for name, columns in parts.items()}


def _numbers(column: pa.Array) -> Float:
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=float)


def _is_cut(finish_reason: pa.DictionaryArray) -> Bool:
    cut = [word == "length" for word in finish_reason.dictionary.to_pylist()]
    return np.array([*cut, False])[indices(finish_reason)]


def _is_failed(status: pa.DictionaryArray) -> Bool:
    failed = [is_error(word) for word in status.dictionary.to_pylist()]
    return np.array([*failed, False])[indices(status)]


def _check_utilities(folder: Path, graded: Mapping[str, NDArray[Any]], numbers: PromptNumbers) -> None:
    """Only a grade that is an error has no utility: any other one would leave N unseen."""
    bad = np.isnan(graded["utility"]) & ~graded["status"].astype(bool)
    if bad.any():
        at = int(bad.argmax())
        key = (*numbers.keys[graded["prompt"][at]], int(graded["response"][at]))
        raise UserError(f"{folder}: the grade {key} is no error and has no utility; restore the folder")


def _once(at: Int, numbers: PromptNumbers, cells: Cells, table: Path) -> Bool:
    """Where there is a row [cell]."""
    seen = np.zeros(cells.total, dtype=bool)
    seen[at] = True
    if np.count_nonzero(seen) != len(at):
        refuse_twice(table, _key(numbers, cells, _twice(at)))
    return seen


def _refuse_twice(store: RunStore, numbers: PromptNumbers, cells: Cells, verifier: str) -> NoReturn:
    """Find a verdict that stands there twice, in a second reading."""
    places = []
    for batch in store.batches("verdicts", [*KEY, "verifier", "replicate"]):
        cell = cells.at(*_keys(store, "verdicts", batch, numbers))
        is_own = np.array([name == verifier for name in batch.column("verifier").dictionary.to_pylist()])
        own = is_own[indices(batch.column("verifier"))] & (cell >= 0)
        places.append(batch.column("replicate").to_numpy()[own] * np.int64(cells.total) + cell[own])
    replicate, at = divmod(_twice(np.concatenate(places)), cells.total)
    refuse_twice(store.path / "verdicts", (*_key(numbers, cells, at), verifier, replicate))


def _twice(places: Int) -> int:
    """A place that occurs more than once."""
    places = np.sort(places)
    return int(places[:-1][places[1:] == places[:-1]][0])


def _key(numbers: PromptNumbers, cells: Cells, cell: int) -> tuple[Any, ...]:
    """Key of the response that has a cell."""
    prompt = int(np.searchsorted(cells.start, cell, side="right")) - 1
    return (*numbers.keys[prompt], cell - int(cells.start[prompt]))
