"""Numbers in place of keys: prompts are counted 0, 1, 2, ..., and every response that a prompt may have gets a cell.

Rows then address arrays directly: no join, no sort, and a key that stands there twice shows as two rows in one cell.

>>> prompts = PromptNumbers([("sums", "p0"), ("sums", "p1")])
>>> task, prompt_id = (pa.array(words).dictionary_encode() for words in (["sums"] * 3, ["p1", "p0", "p9"]))
>>> numbers = prompts.of(task, prompt_id)
>>> numbers.tolist(), Cells(np.array([4, 4])).at(numbers, np.array([2, 0, 0])).tolist()
([1, 0, -1], [6, 0, -1])
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

Int = NDArray[np.int64]

NONE = -1


class PromptNumbers:
    """Prompts by (task, prompt_id), numbered in the order in which they were added.

    Parameters
    ----------
    keys
        The prompts known so far.
    """

    def __init__(self, keys: Iterable[tuple[str, str]] = ()) -> None:
        self._numbers = {key: number for number, key in enumerate(keys)}

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def keys(self) -> list[tuple[str, str]]:
        """(task, prompt_id) of each number."""
        return list(self._numbers)

    def number(self, key: tuple[str, str]) -> int | None:
        """The number of one prompt; None for one that is not known."""
        return self._numbers.get(key)

    def of(self, task: pa.DictionaryArray, prompt_id: pa.DictionaryArray, *, add: bool = False) -> Int:
        """Number of each row's prompt, -1 for one that is not known.

        Parameters
        ----------
        task, prompt_id
            Columns without nulls, of one batch.
        add
            Whether a new prompt gets the next number.
        """
        tasks, ids = task.dictionary.to_pylist(), prompt_id.dictionary.to_pylist()
        pair: NDArray[Any] = indices(prompt_id)
        if len(tasks) > 1:
            pair = indices(task) * np.int64(len(ids)) + pair
        codes, distinct = pd.factorize(pair)
        known = self._numbers
        keys = ((tasks[one // len(ids)], ids[one % len(ids)]) for one in distinct.tolist())
        found = [known.setdefault(key, len(known)) if add else known.get(key, NONE) for key in keys]
        return np.array(found, dtype=np.int64)[codes]


class Words:
    """Words by number, in the order in which they were first seen."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def of(self, column: pa.DictionaryArray) -> Int:
        """Number of each row's word; -1 for null."""
        known = self.numbers
        found = [known.setdefault(word, len(known)) for word in column.dictionary.to_pylist()]
        return np.array([*found, NONE], dtype=np.int64)[indices(column)]


class Cells:
    """Cells of all prompts, one after the other.

    Parameters
    ----------
    width
        Number of cells of each prompt [prompt]: one more than the largest index of its task's responses.
    """

    def __init__(self, width: Int) -> None:
        self.width = width
        self.start = np.concatenate([[0], np.cumsum(width)])

    @property
    def total(self) -> int:
        """Number of cells."""
        return int(self.start[-1])

    def at(self, prompt: Int, response: Int) -> Int:
        """Cell of each row, -1 where the prompt or the response has none."""
        inside = (prompt >= 0) & (response < self.width[prompt])
        return np.where(inside, self.start[prompt] + response, NONE)


def indices(column: pa.DictionaryArray) -> NDArray[np.int32]:
    """Place of each row's value in the column's own dictionary; -1 for null."""
    places = column.indices
    return np.asarray((places.fill_null(NONE) if places.null_count else places).to_numpy())
