"""Which rows of a table are there already, in a few bytes each: a run of millions goes on in little memory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from math import nan
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gapbench.keys import PromptNumbers, Words
from gapbench.records import Row
from gapbench.store.run_store import RunStore, refuse_twice

PromptKey = tuple[str, str]
Rest = tuple[Any, ...]
"""What follows task and prompt in a row's key."""


class Finished:
    """The keys of a table's rows, by prompt.

    Parameters
    ----------
    store
        The run.
    row_type
        Type of the table's rows.
    value
        A column of numbers to keep beside the keys.

    Raises
    ------
    UserError
        As `RunStore.read`, or if a key stands there twice.
    """

    def __init__(self, store: RunStore, row_type: type[Row], value: str | None = None) -> None:
        self._numbers = PromptNumbers()
        names = row_type.key_columns[2:]
        self._words = {name: Words() for name in names if row_type.schema.field(name).type == pa.string()}
        columns = [*row_type.key_columns, *([value] if value else [])]
        parts = [self._part(batch, names, value) for batch in store.batches(row_type.table, columns)]
        # The columns of the key with the prompt first, rows sorted.
        keys = [np.concatenate(column) for column in zip(*(part[0] for part in parts), strict=True)]
        order = np.lexsort(keys[::-1]) if keys else np.empty(0, np.intp)
        self._keys = [column[order] for column in keys] or [np.empty(0, np.int32) for _ in ("", *names)]
        self._names = names
        self._values = np.concatenate([part[1] for part in parts])[order] if value and parts else None
        self._start = np.searchsorted(self._keys[0], np.arange(len(self._numbers) + 1))
        self._refuse_repeats(store, row_type)

    def _part(
        self, batch: pa.RecordBatch, names: tuple[str, ...], value: str | None
    ) -> tuple[list[NDArray[np.int32]], NDArray[np.float64]]:
        prompts = self._numbers.of(batch.column("task"), batch.column("prompt_id"), add=True)
        rest = (
            self._words[name].of(batch.column(name))
            if name in self._words
            else batch.column(name).to_numpy(zero_copy_only=False)
            for name in names
        )
        values = batch.column(value).to_numpy(zero_copy_only=False) if value else np.empty(0)
        return [column.astype(np.int32) for column in (prompts, *rest)], values.astype(np.float64)

    def _refuse_repeats(self, store: RunStore, row_type: type[Row]) -> None:
        same = np.ones(max(len(self) - 1, 0), dtype=bool)
        for column in self._keys:
            same &= column[1:] == column[:-1]
        if same.any():
            place = int(same.argmax())
            prompt = self._numbers.keys[int(self._keys[0][place])]
            refuse_twice(store.path / row_type.table, (*prompt, *next(self._rests(place, place + 1))))

    def __len__(self) -> int:
        return len(self._keys[0])

    def of(self, prompt: PromptKey) -> dict[Rest, float]:
        """What follows task and prompt in the keys of one prompt's rows, with the value of each (NaN for none)."""
        number = self._numbers.number(prompt)
        if number is None:
            return {}
        start, end = int(self._start[number]), int(self._start[number + 1])
        values = repeat(nan, end - start) if self._values is None else self._values[start:end].tolist()
        return dict(zip(self._rests(start, end), values, strict=True))

    def prompts(self) -> list[PromptKey]:
        """The prompts that have rows."""
        return self._numbers.keys

    def _rests(self, start: int, end: int) -> Iterator[Rest]:
        columns = []
        for name, column in zip(self._names, self._keys[1:], strict=True):
            listed = column[start:end].tolist()
            words = list(self._words[name].numbers) if name in self._words else None
            columns.append(listed if words is None else [words[code] for code in listed])
        return zip(*columns, strict=True)
