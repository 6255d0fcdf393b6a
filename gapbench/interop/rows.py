"""Batches of an imported table: checked column by column, and written as the shards of a run.

A rule that is broken raises an error that names the row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gapbench.interop.reading import Source
from gapbench.keys import indices
from gapbench.records import ROWS, SCORED, is_error
from gapbench.registry import suggest

Bool = NDArray[np.bool_]
Float = NDArray[np.float64]
Int = NDArray[np.int64]

ERROR = "error"
LARGEST = 2**31 - 1


class Shards:
    """One Parquet shard for each table of a run, written in batches; use as a context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[str, pq.ParquetWriter] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for writer in self._writers.values():
            writer.close()

    def write(self, table: str, columns: Mapping[str, pa.Array]) -> None:
        """Append rows; columns of the table that are not given are null."""
        size = len(next(iter(columns.values())))
        whole = {one.name: columns.get(one.name, pa.nulls(size, one.type)) for one in ROWS[table].schema}
        batch = pa.RecordBatch.from_pydict(whole)
        if table not in self._writers:
            (self._folder / table).mkdir()
            # The file's own schema says text, not dictionaries of text: it reads like a shard that a run wrote.
            self._writers[table] = pq.ParquetWriter(
                self._folder / table / "000001.parquet", batch.schema, compression="zstd", store_schema=False
            )
        self._writers[table].write_batch(batch)


def labelled(places: NDArray[np.integer], words: Sequence[str]) -> pa.DictionaryArray:
    """Text column from the place of each row's word; words may repeat."""
    distinct = {word: place for place, word in enumerate(dict.fromkeys(words))}
    lookup = np.array([distinct[word] for word in words], dtype=np.int32)
    return pa.DictionaryArray.from_arrays(lookup[places], list(distinct))


def same(word: str, size: int) -> pa.DictionaryArray:
    """A text column that says the same in every row."""
    return labelled(np.zeros(size, dtype=np.int32), [word])


@dataclass(frozen=True)
class Batch:
    """Some rows of a source, from row `first` on."""

    source: Source
    first: int
    rows: pa.RecordBatch

    def refuse_any(self, bad: Bool, why: str) -> None:
        """Raise the error for the first bad row, if there is one."""
        self.source.refuse_any(self.first, bad, why)

    def key(self, name: str) -> pa.DictionaryArray:
        """A text column in which every row has a word."""
        column = self.rows.column(name)
        empty = [not word for word in column.dictionary.to_pylist()]
        self.refuse_any(np.array([*empty, True])[indices(column)], f"'{name}' is empty; every row needs one")
        return column

    def word(self, name: str) -> pa.DictionaryArray:
        """A text column in which an empty word is null."""
        if name not in self.source.text:
            return pa.DictionaryArray.from_arrays(
                pa.nulls(self.rows.num_rows, pa.int32()), pa.array([], pa.string())
            )
        column = self.rows.column(name)
        words = column.dictionary.to_pylist()
        if "" not in words:
            return column
        places = indices(column)
        empty = (places < 0) | (places == words.index(""))
        return pa.DictionaryArray.from_arrays(pa.array(places, mask=empty), column.dictionary)

    def number(self, name: str) -> Float:
        """A column of numbers, NaN where empty."""
        return np.asarray(self.rows.column(name).to_numpy(zero_copy_only=False))

    def index(self, name: str) -> Int:
        """A column of whole numbers from 0."""
        values = self.number(name)
        self.refuse_any(np.isnan(values), f"'{name}' is empty; number from 0")
        bad = (values != np.floor(values)) | (values < 0) | (values > LARGEST)
        if bad.any():
            at = int(bad.argmax())
            self.source.refuse(
                self.first + at, f"'{name}' is {values[at]:g}; it must be a whole number from 0"
            )
        return values.astype(np.int64)

    def status(self, allowed: Sequence[str]) -> tuple[pa.DictionaryArray, NDArray[np.str_], Int]:
        """The status column, empty meaning `scored`; the kinds of status; and the place of each row's kind there."""
        if "status" not in self.source.text:
            return (
                same(SCORED, self.rows.num_rows),
                np.array([SCORED]),
                np.zeros(self.rows.num_rows, np.int64),
            )
        column = self.rows.column("status")
        words = [word or SCORED for word in [*column.dictionary.to_pylist(), SCORED]]
        kinds = [ERROR if is_error(word) else word for word in words]
        places = indices(column)
        wrong = np.array([kind not in allowed for kind in kinds])[places]
        if wrong.any():
            at = int(wrong.argmax())
            known = ["error:REASON" if one == ERROR else one for one in allowed]
            self.source.refuse(
                self.first + at, f"'{words[places[at]]}' is no status{suggest(words[places[at]], known)}"
            )
        distinct, place = np.unique(kinds, return_inverse=True)
        return labelled(places, words), distinct, place[places]

    def mask(self, kinds: NDArray[np.str_], place: Int, *which: str) -> Bool:
        """Where the status is one of these kinds."""
        return np.asarray(np.isin(kinds, which)[place])
