r"""CSV and Parquet files in batches of columns, where everything that is wrong has a row.

Only the columns asked for are read, as text in dictionaries and as numbers, and never the whole file at once.

>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as folder:
...     path = Path(folder) / "t.csv"
...     _ = path.write_text("task,response\nsums,0\nsums,one\n")
...     source = open_table(path, text=["task"], numbers=["response"], optional=[])
...     try:
...         [batch.num_rows for _, batch in source.batches()]
...     except UserError as mistake:
...         print(str(mistake).replace(folder, "."))
./t.csv, row 2 (line 3): column 'response' holds numbers, and 'one' is not one; mend that cell
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gapbench.errors import UserError
from gapbench.registry import suggest

BLOCK_BYTES = 1 << 24
BATCH_ROWS = 1 << 20
TEXT = pa.dictionary(pa.int32(), pa.string())
DELIMITERS = ";\t|"
GZIP = b"\x1f\x8b"
UTF16 = (b"\xff\xfe", b"\xfe\xff")


class Source(ABC):
    """A table file of which some columns are read.

    Attributes
    ----------
    path
        The file.
    text, numbers
        Names of the columns that are there, of those asked for.
    """

    def __init__(
        self, path: Path, text: Sequence[str], numbers: Sequence[str], optional: Sequence[str]
    ) -> None:
        self.path = path
        names = self.names()
        for name in (*text, *numbers):
            if name not in names and name not in optional:
                raise UserError(
                    f"{path}: there is no column '{name}'{suggest(name, names)}{self._hint(names)}"
                )
            if names.count(name) > 1:
                raise UserError(f"{path}: column '{name}' is there twice; rename or remove one of the two")
        self.text = [name for name in text if name in names]
        self.numbers = [name for name in numbers if name in names]

    @abstractmethod
    def names(self) -> list[str]:
        """Every column of the file."""

    @abstractmethod
    def where(self, row: int) -> str:
        """The file and a data row of it, counted from 0 here and from 1 there."""

    @abstractmethod
    def _raw(self) -> Iterator[pa.RecordBatch]:
        """The columns as they are in the file."""

    def _hint(self, names: Sequence[str]) -> str:
        return ""

    def refuse(self, row: int, why: str) -> NoReturn:
        """Raise the error for one row, counted from 0."""
        raise UserError(f"{self.where(row)}: {why}")

    def refuse_any(self, first: int, bad: NDArray[np.bool_], why: str) -> None:
        """Raise the error for the first bad row of a batch that begins at row `first`, if there is one."""
        if bad.any():
            self.refuse(first + int(bad.argmax()), why)

    def batches(self) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield the number of a batch's first row, and the batch: text as dictionaries, numbers as float64.

        Raises
        ------
        UserError
            If the file has no row, is torn, or has a word where a number should be.
        """
        first = 0
        for raw in self._raw():
            if raw.num_rows:
                columns = {name: self._as_text(name, raw.column(name), first) for name in self.text}
                columns |= {name: self._as_number(name, raw.column(name), first) for name in self.numbers}
                yield first, pa.RecordBatch.from_pydict(columns)
                first += raw.num_rows
        if not first:
            raise UserError(f"{self.path}: has no rows; nothing can be estimated from it")

    def digest(self) -> str:
        """SHA-256 of the file."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _as_text(self, name: str, column: pa.Array, first: int) -> pa.DictionaryArray:
        if not pa.types.is_dictionary(column.type):
            kind = column.type
            if not (_is_words(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
                self._not_text(first, name, kind)
            column = column.dictionary_encode()
        try:
            words = column.dictionary.cast(pa.string())
        except pa.ArrowInvalid:  # bytes
            row = next(row for row, word in enumerate(column) if _not_utf8(word))
            self.refuse(first + row, f"column '{name}' holds bytes that are no UTF-8 text; save it as text")
        return pa.DictionaryArray.from_arrays(column.indices.cast(pa.int32()), words)

    def _not_text(self, row: int, name: str, kind: pa.DataType) -> NoReturn:
        self.refuse(row, f"column '{name}' holds {kind}, not text; save it as text")

    def _as_number(self, name: str, column: pa.Array, first: int) -> pa.Array:
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if pa.types.is_boolean(column.type):
            column = column.cast(pa.int8())
        try:
            return column.cast(pa.float64(), safe=False)
        except pa.ArrowNotImplementedError:
            self.refuse(first, f"column '{name}' holds {column.type}, not numbers; save it as numbers")
        except pa.ArrowInvalid:
            row = next(row for row, word in enumerate(column) if _not_a_number(word))
            self._not_a_number(first + row, name, column[row].as_py())

    def _not_a_number(self, row: int, name: str, word: object) -> NoReturn:
        self.refuse(row, f"column '{name}' holds numbers, and {word!r:.60} is not one; mend that cell")


def _is_words(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _not_a_number(word: pa.Scalar) -> bool:
    return _not_cast(word, pa.float64())


def _not_utf8(word: pa.Scalar) -> bool:
    return _not_cast(word, pa.string())


def _not_cast(word: pa.Scalar, kind: pa.DataType) -> bool:
    try:
        word.cast(kind)
    except pa.ArrowInvalid:
        return True
    return False


class ParquetSource(Source):
    """A Parquet file."""

    def names(self) -> list[str]:
        """Every column of the file."""
        with self._readable(), pq.ParquetFile(self.path) as file:
            return list(file.schema_arrow.names)

    def where(self, row: int) -> str:
        """The file and the row."""
        return f"{self.path}, row {row + 1}"

    def _raw(self) -> Iterator[pa.RecordBatch]:
        with self._readable(), pq.ParquetFile(self.path) as file:
            kinds = {name: file.schema_arrow.field(name).type for name in self.text}
        for name, kind in kinds.items():
            if pa.types.is_nested(kind):  # which cannot be read as a dictionary
                self._not_text(0, name, kind)
        with self._readable(), pq.ParquetFile(self.path, read_dictionary=self.text) as file:
            yield from file.iter_batches(BATCH_ROWS, columns=[*self.text, *self.numbers])

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError) as bad:
            why = str(bad).splitlines()[0]
            raise UserError(
                f"{self.path}: not readable as Parquet ({why}); it may be cut short: write or copy it again"
            ) from None


class CsvSource(Source):
    """A CSV file, compressed with gzip where its name ends in `.gz`."""

    def names(self) -> list[str]:
        """Every column of the file."""
        with self._readable(), self._reader() as reader:
            schema = reader.schema
            # True and False become numbers only where the reader knows them for what they are.
            self._booleans = {field.name for field in schema if pa.types.is_boolean(field.type)}
            return list(schema.names)

    def where(self, row: int) -> str:
        """The file, the row and the line on which the row ends."""
        return f"{self.path}, row {row + 1} (line {self._line(row)})"

    def _line(self, row: int) -> int:
        with self._open() as file:
            reader = csv.reader(io.TextIOWrapper(file, encoding="utf-8", errors="replace", newline=""))
            full = (None for fields in reader if fields)  # empty lines are no rows
            next(islice(full, row + 1, None), None)
            return reader.line_num

    def _open(self) -> IO[bytes]:
        return gzip.open(self.path) if self.path.suffix == ".gz" else self.path.open("rb")  # type: ignore[return-value]

    def _reader(self, **convert: Any) -> Any:
        return pa.csv.open_csv(
            self.path,
            # With threads the parser does not know in which row it failed.
            read_options=pa.csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False),
            parse_options=pa.csv.ParseOptions(newlines_in_values=True),
            convert_options=pa.csv.ConvertOptions(**convert),
        )

    def _raw(self) -> Iterator[pa.RecordBatch]:
        types = dict.fromkeys(self.text, TEXT) | {
            name: pa.bool_() if name in self._booleans else pa.float64() for name in self.numbers
        }
        with self._readable(), self._reader(include_columns=list(types), column_types=types) as reader:
            yield from reader
        with self._open() as file:
            if sum(block.count(b'"') for block in iter(partial(file.read, BLOCK_BYTES), b"")) % 2:
                raise UserError(
                    f'{self.path}: a quote (") is opened and never closed, so that rows behind it are lost; double '
                    "every quote inside a cell"
                )

    def _hint(self, names: Sequence[str]) -> str:
        if len(names) == 1 and (found := [one for one in DELIMITERS if one in names[0]]):
            return f". Line 1 has one column, with {found[0]!r} in it: save the table with commas between columns"
        return ""

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError) as bad:
            self._explain(str(bad).splitlines()[0])

    def _explain(self, why: str) -> NoReturn:
        """Say in which row the parser stopped. It counts the header as row 1."""
        if why == "Empty CSV file":
            raise UserError(f"{self.path}: is empty; the first line must name the columns")
        row = re.search(r"Row #(\d+)", why)
        at = int(row[1]) - 2 if row else 0
        if row and (word := re.search(r"column #(\d+): .*invalid value '(.*)'", why)):
            names = self.names()
            self._not_a_number(at, names[int(word[1])], word[2])
        if row and (fields := re.search(r"Expected (\d+) columns, got (\d+)", why)):
            self.refuse(
                at,
                f"has {fields[2]} columns where the header has {fields[1]}; separate columns by commas and put text that "
                "has a comma in it between quotes",
            )
        if row and "UTF8" in why:
            self.refuse(at, "is not UTF-8 text; save the file with that encoding")
        raise UserError(
            f"{self.path}: not readable as CSV ({why}); it may be cut short: write or copy it again"
        )


def open_table(
    path: str | Path, *, text: Sequence[str], numbers: Sequence[str], optional: Sequence[str]
) -> Source:
    """Open a CSV (`.csv`, `.csv.gz`) or Parquet file and check that its columns are there.

    Parameters
    ----------
    text, numbers
        Names of the columns to read.
    optional
        Those among them that may be missing.

    Raises
    ------
    UserError
        If the file is not there, is neither, or lacks a column.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; name a CSV or Parquet file")
    with path.open("rb") as file:
        start = file.read(4)
    if start.startswith(GZIP) and path.suffix != ".gz":
        raise UserError(f"{path}: is packed with gzip; unpack it, or let its name end in .csv.gz")
    if start.startswith(UTF16):
        raise UserError(f"{path}: is UTF-16 text; save the table as UTF-8")
    if start == b"PAR1" or path.suffix in (".parquet", ".pq"):
        return ParquetSource(path, text, numbers, optional)
    if path.name.endswith((".csv", ".csv.gz")):
        return CsvSource(path, text, numbers, optional)
    cure = (
        "read a log with --from"
        if path.suffix in (".jsonl", ".json", ".eval")
        else "save the table as one of them"
    )
    raise UserError(f"{path}: neither .csv, .csv.gz nor .parquet; {cure}")
