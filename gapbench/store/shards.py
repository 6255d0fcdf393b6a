"""Shards, the files that a table of a run is made of, and what is wrong with one.

While a run is written, each table grows as an Arrow IPC stream (`responses/000003.arrows`), and as another where one has become
large. A stream cut anywhere by a kill still yields every batch before the cut. When the writer closes, streams are sealed as
Parquet of the same number, with a checksum for each page; a crash between the two leaves both, and the sealed one counts.

Nothing here trusts a file: whatever has happened to one, a mistake with a remedy comes of it, or its rows.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gapbench.errors import UserError
from gapbench.records import INDEX_COLUMNS, NEVER_NULL, Row

STREAM, SEALED = ".arrows", ".parquet"
BATCH_ROWS = 1 << 20
SHARD_BYTES = 1 << 27
"""After which another shard is begun: whoever seals or reads one holds no more than that, however long the texts are."""
JUDGED = ("grades", "verdicts", "comparisons")  # tables on responses, by their keys
AGAIN = {
    "prompts": "resume the run (`gapbench run ... --resume`), which writes its rows again",
    "responses": "resume the run (`gapbench run ... --resume`) to draw and judge again",
    "grades": "`gapbench grade {run}`",
    "verdicts": "`gapbench verify {run}`",
    "comparisons": "`gapbench verify {run}`",
}
"""How the rows of a shard that is gone come back, by table."""


def mend(shard: Path, *, lost: bool = False) -> str:
    """What to do about a shard that is damaged, or lost."""
    run, table = shard.parents[1], shard.parent.name
    try:
        imported = "imported" in json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        imported = False
    if imported or table not in AGAIN:
        return "restore it, or import the run again"
    gone = [] if lost else ["it"]
    if table == "responses":  # another response may be drawn in the place of one that was judged
        gone.append(f"the folders {', '.join(JUDGED[:-1])} and {JUDGED[-1]}")
    delete = f"delete {' and '.join(gone)}, then " if gone else ""
    return f"restore it, or {delete}{AGAIN[table].format(run=run)}"


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what a damaged shard raises into a mistake with a remedy."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as bad:
        why = (str(bad).splitlines() or [""])[0]
        raise UserError(f"{path}: not readable as a shard ({why:.200}); {mend(path)}") from None


def read_stream(path: Path, schema: pa.Schema) -> pa.Table:
    """Every whole batch of a stream; what a kill cut off behind them was never finished.

    Raises
    ------
    UserError
        If the stream is of another table, or is damaged before its end.
    """
    batches = []
    with path.open("rb") as file:
        # Measured first: a stream that is being written to may grow behind the last batch read here.
        size = os.fstat(file.fileno()).st_size
        try:
            reader = pa.ipc.open_stream(file)
            if reader.schema != schema:
                raise UserError(f"{path}: its columns are not those of this table; take the file away")
            while True:
                batch = reader.read_next_batch()
                batch.validate(full=True)
                batches.append(batch)
        except StopIteration:
            pass
        except (pa.ArrowException, OSError):
            pass  # the torn tail, or a stream cut before its header
        # A cut makes the reader run into the end of the file; a lost power supply may leave zeros there.
        stopped = file.tell()
        if stopped < size and file.read().strip(b"\0"):
            raise UserError(f"{path}: damaged at byte {stopped:,} of {size:,}; {mend(path)}")
    return pa.Table.from_batches(batches, schema=schema)


def seal(stream: Path, schema: pa.Schema) -> None:
    """Turn a stream into Parquet; a stream without rows just goes."""
    rows = read_stream(stream, schema)
    if rows.num_rows:
        scratch = stream.with_suffix(".tmp")
        pq.write_table(rows, scratch, compression="zstd", write_page_checksum=True)
        with scratch.open("rb") as file:
            os.fsync(file.fileno())
        scratch.replace(stream.with_suffix(SEALED))
    stream.unlink()


def count_rows(path: Path, schema: pa.Schema) -> int:
    """Number of rows of a shard."""
    if path.suffix == STREAM:
        return int(read_stream(path, schema).num_rows)
    with readable(path):
        return int(pq.read_metadata(path).num_rows)


def read_batches(
    path: Path, schema: pa.Schema, columns: list[str], *, as_dictionaries: bool
) -> Iterator[pa.RecordBatch]:
    """Some columns of a shard, checked.

    Parameters
    ----------
    schema
        Of the whole table.
    as_dictionaries
        Whether text comes as dictionaries.

    Raises
    ------
    UserError
        If the file is damaged, or holds what no row of the table can.
    """
    text = [name for name in columns if as_dictionaries and schema.field(name).type == pa.string()]
    coded = pa.dictionary(pa.int32(), pa.string())
    wanted = pa.schema([(name, coded if name in text else schema.field(name).type) for name in columns])
    if path.suffix == STREAM:
        rows = read_stream(path, schema).select(columns).combine_chunks()
        for batch in rows.cast(wanted).to_batches(BATCH_ROWS):
            yield _checked(path, batch)
        return
    with readable(path):
        _check_schema(path, pq.read_schema(path), wanted=schema, columns=columns)
    with (
        readable(path),
        pq.ParquetFile(path, read_dictionary=text, page_checksum_verification=True) as file,
    ):
        for batch in file.iter_batches(BATCH_ROWS, columns=columns):
            batch = batch.select(columns)
            batch.validate(full=True)
            yield _checked(path, batch.cast(wanted))


def _check_schema(path: Path, found: pa.Schema, *, wanted: pa.Schema, columns: list[str]) -> None:
    """Check that a file has columns of these types; numbers may be of another width."""
    for name in columns:
        if name not in found.names:
            raise UserError(
                f"{path}: column '{name}' is missing; the file is not one of this run's shards: take it away"
            )
        have, want = found.field(name).type, wanted.field(name).type
        if pa.types.is_integer(want):
            fits = pa.types.is_integer(have)
        elif pa.types.is_floating(want):
            fits = pa.types.is_floating(have) or pa.types.is_integer(have)
        else:  # the name of a list's element differs between versions of Parquet
            fits = have == want or (pa.types.is_list(have) and pa.types.is_list(want))
        if not fits:
            raise UserError(
                f"{path}: column '{name}' is of type {have!s:.60} and not {want}; the file is not one of this run's "
                "shards: take it away"
            )


def _checked(path: Path, batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch, if its values are such as a run writes."""
    for name in batch.schema.names:
        column = batch.column(name)
        if name in NEVER_NULL and column.null_count:
            raise UserError(f"{path}: column '{name}' lacks values; {mend(path)}")
        if name in INDEX_COLUMNS and len(column) and pc.min(column).as_py() < 0:
            raise UserError(f"{path}: column '{name}' has a negative number; {mend(path)}")
        if name == "utility" and len(column):
            # The comparison is false for NaN, which is no utility either: a row without one is null.
            inside = pc.and_(pc.greater_equal(column, 0.0), pc.less_equal(column, 1.0))
            if pc.all(inside, min_count=0).as_py() is False:
                raise UserError(f"{path}: a utility lies outside [0, 1]; {mend(path)}")
    return batch


class Appender:
    """Appends rows of one type to a new shard; `Writer` sees to it that one thread at a time does."""

    def __init__(self, folder: Path, row_type: type[Row]) -> None:
        self.schema = row_type.schema
        self._folder = folder
        self._rows: list[dict[str, Any]] = []
        self._waiting: list[dict[str, Any]] = []
        self._file: BinaryIO | None = None
        self._full: list[Path] = []  # streams that are sealed when the writer closes, which takes long
        self._whole = 0  # bytes up to the end of the last batch
        self.above = 0  # the new shard's number lies above this and those that are there

    def append(self, row: Row) -> None:
        """Take a row."""
        self._rows.append(row.to_record())

    def gather(self) -> None:
        """Set the rows taken so far aside, to be written next."""
        self._waiting += self._rows
        self._rows = []

    def write(self) -> None:
        """Bring every row that was set aside to the disk.

        Raises
        ------
        OSError
            If the disk refuses; then none of them is there, and they wait for another try.
        """
        if not self._waiting:
            return
        message = pa.RecordBatch.from_pylist(self._waiting, schema=self.schema).serialize().to_pybytes()
        if self._file is None:
            self._folder.mkdir(exist_ok=True)
            taken = [int(path.stem) for path in self._folder.iterdir() if path.stem.isdecimal()]
            path = self._folder / f"{max(self.above, max(taken, default=0)) + 1:06d}{STREAM}"
            self._file = path.open("xb", buffering=0)
        if not self._whole:
            message = self.schema.serialize().to_pybytes() + message
        whole = self._whole + len(message)
        try:
            # After Ctrl-C amid a write, rows that wait may stand in the file already, whole or in part.
            self._cut()
            rest = memoryview(message)
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError:
            # Half a batch in the middle of a stream would hide all that follows it.
            self._cut()
            raise
        # Without a call in between, after which Ctrl-C could come: rows are written once.
        self._whole, self._waiting = whole, []
        if whole >= SHARD_BYTES:
            self._end_shard()

    def _cut(self) -> None:
        """Take away what stands behind the last whole batch."""
        assert self._file is not None
        self._file.truncate(self._whole)
        self._file.seek(self._whole)

    def _end_shard(self) -> None:
        assert self._file is not None
        done, full = self._file, [*self._full, Path(self._file.name)]
        self._file, self._whole, self._full = None, 0, full  # in one go, as above
        done.close()

    def close(self) -> None:
        """Write what was set aside, and seal the shards."""
        self.write()
        if self._file is not None:
            self._end_shard()
        while self._full:
            seal(self._full[0], self.schema)
            del self._full[0]
