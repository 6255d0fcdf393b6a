"""The run directory: append-only shards, a manifest and a lock.

While a run is written, each table grows as an Arrow IPC stream (`responses/000003.arrows`). Rows reach the disk within
half a second of finishing, and a stream cut anywhere by a kill still yields every batch before the cut. When the
writer closes, the stream is sealed as Parquet of the same number; a crash between the two leaves both, and the sealed
one counts. Rows are never rewritten.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gapbench.errors import UserError
from gapbench.records import ROWS, Row

R = TypeVar("R", bound=Row)

FLUSH_SECONDS = 0.5
BATCH_ROWS = 1 << 20
STREAM, SEALED = ".arrows", ".parquet"


def write_atomic(path: Path, text: str) -> None:
    """Replace a small file so that a reader sees the old text or the new, never half."""
    scratch = path.with_name(path.name + ".tmp")
    with scratch.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def read_stream(path: Path, schema: pa.Schema) -> pa.Table:
    """Every whole batch of a stream; what a kill cut off behind them was never finished."""
    batches = []
    with path.open("rb") as file:
        try:
            reader = pa.ipc.open_stream(file)
            if reader.schema != schema:
                raise UserError(f"{path}: its columns are not those of this table; take the file away")
            while True:
                batches.append(reader.read_next_batch())
        except StopIteration:
            pass
        except (pa.ArrowInvalid, OSError):
            pass  # the torn tail, or a stream cut before its header
    return pa.Table.from_batches(batches, schema=schema)


def seal(stream: Path, schema: pa.Schema) -> None:
    """Turn a stream into Parquet; a stream without rows just goes."""
    rows = read_stream(stream, schema)
    if rows.num_rows:
        scratch = stream.with_suffix(".tmp")
        pq.write_table(rows, scratch, compression="zstd")
        with scratch.open("rb") as file:
            os.fsync(file.fileno())
        scratch.replace(stream.with_suffix(SEALED))
    stream.unlink()


class Appender:
    """Appends rows of one type to a new shard. Threads may share it."""

    def __init__(self, folder: Path, row_type: type[Row]) -> None:
        self.schema = row_type.schema
        self._folder = folder
        self._rows: list[dict[str, Any]] = []
        self._mutex = threading.Lock()
        self._file: BinaryIO | None = None
        self._writer: pa.ipc.RecordBatchStreamWriter | None = None
        self._path: Path | None = None

    def append(self, row: Row) -> None:
        """Take a row; it is on disk at the next flush."""
        record = row.to_record()
        with self._mutex:
            self._rows.append(record)

    def flush(self) -> None:
        """Bring every row taken so far to the disk."""
        with self._mutex:
            if not self._rows:
                return
            batch = pa.RecordBatch.from_pylist(self._rows, schema=self.schema)
            if self._writer is None:
                self._folder.mkdir(exist_ok=True)
                taken = [int(path.stem) for path in self._folder.iterdir() if path.stem.isdigit()]
                self._path = self._folder / f"{max(taken, default=0) + 1:06d}{STREAM}"
                self._file = self._path.open("xb")
                self._writer = pa.ipc.new_stream(self._file, self.schema)
            assert self._file is not None
            self._writer.write_batch(batch)
            self._file.flush()
            os.fsync(self._file.fileno())
            self._rows.clear()

    def close(self) -> None:
        """Flush and seal the shard."""
        self.flush()
        if self._writer is not None and self._file is not None and self._path is not None:
            self._writer.close()
            self._file.close()
            seal(self._path, self.schema)
            self._writer = None


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what a torn shard raises into a mistake with a remedy."""
    try:
        yield
    except (pa.ArrowInvalid, OSError) as bad:
        raise UserError(
            f"{path}: not readable as Parquet ({str(bad).splitlines()[0]}); restore it, or delete it and "
            "resume the run to draw its rows again"
        ) from None


def _check_columns(path: Path, there: list[str], wanted: list[str]) -> None:
    missing = [name for name in wanted if name not in there]
    if missing:
        raise UserError(f"{path}: column '{missing[0]}' is missing; the file is not one of this run's shards")


class RunStore:
    """One run directory.

    Reading needs nothing; writing happens inside `with store.writing():`, which holds the directory's lock.

    Parameters
    ----------
    path
        The directory; it need not exist before `create`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def exists(self) -> bool:
        """Whether a run has been created here."""
        return (self.path / "manifest.json").exists()

    @classmethod
    def open(cls, path: str | Path) -> RunStore:
        """Open an existing run.

        Raises
        ------
        UserError
            If there is no run at `path`.
        """
        store = cls(path)
        if not store.exists:
            raise UserError(f"{path}: no run here (no manifest.json); `gapbench run` creates one")
        return store

    def check_vacant(self) -> None:
        """Check that a run can be made here.

        Raises
        ------
        UserError
            If a run is there already, or a file or a folder of something else is in the way.
        """
        if self.exists:
            raise UserError(
                f"{self.path}: a run is already here; add --resume to go on with it, or name another --out"
            )
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise UserError(f"{self.path}: exists and is not a run; name another --out")

    def create(self, manifest: dict[str, Any]) -> None:
        """Make the directory and write its first manifest.

        Raises
        ------
        UserError
            If a run is there already, or a file or a folder of something else is in the way.
        """
        self.check_vacant()
        self.path.mkdir(parents=True, exist_ok=True)
        self.write_manifest(manifest)

    def read_manifest(self) -> dict[str, Any]:
        """The manifest.

        Raises
        ------
        UserError
            If it is not JSON.
        """
        path = self.path / "manifest.json"
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as bad:
            raise UserError(
                f"{path}: not valid JSON ({bad}); restore it, or start a new run elsewhere"
            ) from None
        if not isinstance(manifest, dict):
            raise UserError(f"{path}: not a manifest; restore it, or start a new run elsewhere")
        return manifest

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Replace the manifest."""
        write_atomic(
            self.path / "manifest.json", json.dumps(manifest, indent=2, sort_keys=True, default=str) + "\n"
        )

    def read(self, table: str, columns: list[str] | None = None) -> pa.Table:
        """All rows of a table, in the order they were finished.

        Raises
        ------
        UserError
            If a sealed shard is empty or torn; its stream is gone, so this is damage from outside.
        """
        schema = ROWS[table].schema
        wanted = pa.schema([schema.field(name) for name in columns or schema.names])
        parts = []
        for path in self._shards(table):
            if path.suffix == STREAM:
                part = read_stream(path, schema)
            else:
                with _readable(path):
                    part = pq.read_table(path, partitioning=None, columns=columns)
            _check_columns(path, part.column_names, wanted.names)
            parts.append(part.select(wanted.names))
        return pa.concat_tables([part.cast(wanted) for part in parts]) if parts else wanted.empty_table()

    def batches(self, table: str, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """The rows of `read` in batches, text as dictionaries: for tables that are larger than memory is.

        Raises
        ------
        UserError
            As `read`.
        """
        schema = ROWS[table].schema
        text = [name for name in columns if schema.field(name).type == pa.string()]
        wanted = pa.schema(
            [
                (name, pa.dictionary(pa.int32(), pa.string()) if name in text else schema.field(name).type)
                for name in columns
            ]
        )
        for path in self._shards(table):
            if path.suffix == STREAM:
                rows = read_stream(path, schema).select(columns).combine_chunks()
                yield from rows.cast(wanted).to_batches(BATCH_ROWS)
                continue
            with _readable(path), pq.ParquetFile(path, read_dictionary=text) as file:
                _check_columns(path, file.schema_arrow.names, columns)
                for batch in file.iter_batches(BATCH_ROWS, columns=columns):
                    yield batch.select(columns).cast(wanted)

    def find(
        self, table: str, keys: Collection[tuple[Any, ...]], columns: list[str]
    ) -> dict[tuple[Any, ...], dict[str, Any]]:
        """A few rows of a table by (task, prompt_id, response), read as `batches` are.

        Parameters
        ----------
        table
            One with a row for each response.
        """
        found: dict[tuple[Any, ...], dict[str, Any]] = {}
        key = ["task", "prompt_id", "response"]
        prompts, responses = ({one[place] for one in keys} for place in (1, 2))
        for batch in self.batches(table, [*key, *columns]):
            ids = batch.column("prompt_id")
            own = np.array([one in prompts for one in ids.dictionary.to_pylist()])[ids.indices.to_numpy()]
            own &= np.isin(batch.column("response").to_numpy(), list(responses))
            for row in batch.take(pa.array(np.flatnonzero(own))).to_pylist():
                if (at := tuple(row[name] for name in key)) in keys:
                    found[at] = row
        return found

    def _shards(self, table: str) -> list[Path]:
        """Files of a table in the order they were begun; where a stream was sealed, the sealed one."""
        folder = self.path / table
        shards: dict[str, Path] = {}
        for suffix in (STREAM, SEALED):
            shards |= {path.stem: path for path in sorted(folder.glob(f"*{suffix}"))}
        return [shards[stem] for stem in sorted(shards)]

    def rows(self, row_type: type[R]) -> list[R]:
        """All rows of a table as typed rows."""
        return [row_type.from_record(record) for record in self.read(row_type.table).to_pylist()]

    def keys(self, row_type: type[Row]) -> set[tuple[Any, ...]]:
        """The keys of all finished rows of a table."""
        columns = list(row_type.key_columns)
        table = self.read(row_type.table, columns)
        return set(zip(*(table[name].to_pylist() for name in columns), strict=True))

    def writing(self) -> Writer:
        """A context in which rows can be appended."""
        return Writer(self)


class Writer:
    """Holds the lock of a run and appends rows to it; use as a context manager.

    Raises
    ------
    UserError
        On entering, if another process is writing to the run.
    """

    def __init__(self, store: RunStore) -> None:
        self.store = store
        self._appenders = {name: Appender(store.path / name, row) for name, row in ROWS.items()}
        self._stop = threading.Event()
        self._failure: OSError | None = None
        self._flusher = threading.Thread(target=self._flush_regularly, daemon=True)

    def __enter__(self) -> Self:
        self._lock = (self.store.path / ".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise UserError(
                f"{self.store.path}: another process is writing to this run; wait for it to end"
            ) from None
        for name, row in ROWS.items():  # what a killed writer left behind
            for stream in sorted((self.store.path / name).glob(f"*{STREAM}")):
                if stream.with_suffix(SEALED).exists():
                    stream.unlink()
                else:
                    seal(stream, row.schema)
        self._flusher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._flusher.join()
        try:
            for appender in self._appenders.values():
                appender.close()
        finally:
            self._lock.close()

    def append(self, row: Row) -> None:
        """Take one finished row.

        Raises
        ------
        OSError
            If an earlier row could not be brought to the disk (full, or gone read-only).
        """
        if self._failure is not None:
            raise self._failure
        self._appenders[row.table].append(row)

    def extend(self, rows: Iterable[Row]) -> None:
        """Take several finished rows."""
        for row in rows:
            self.append(row)

    def flush(self) -> None:
        """Bring every row to the disk now."""
        for appender in self._appenders.values():
            appender.flush()

    def _flush_regularly(self) -> None:
        # Rows land in bursts; without a clock of its own the last burst would wait in memory for the next.
        while not self._stop.wait(FLUSH_SECONDS):
            try:
                self.flush()
            except OSError as failure:
                self._failure = failure
                return
