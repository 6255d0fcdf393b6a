"""The run directory: append-only shards, a list of them, a manifest and a lock.

Rows reach the disk within half a second of finishing, those of one moment table by table: a grade is never there
without its response. `gapbench.store.shards` has the files. When a writer closes, `shards.json` lists what is there with its
number of rows, so that a shard that is lost or replaced later is missed. Rows are never rewritten.
"""

from __future__ import annotations

import fcntl
import json
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NoReturn, Self, TypeVar

import numpy as np
import pyarrow as pa

from gapbench.errors import UserError
from gapbench.records import ROWS, Row
from gapbench.store.jsonfile import read_object, scratch_of, write_atomic
from gapbench.store.shardlist import ShardList
from gapbench.store.shards import (
    JUDGED,
    SEALED,
    STREAM,
    Appender,
    count_rows,
    mend,
    read_batches,
    read_stream,
    seal,
)

__all__ = ["RunStore", "Writer", "read_stream", "seal", "write_atomic"]

R = TypeVar("R", bound=Row)

FLUSH_SECONDS = 0.5
LOCK = ".lock"


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
        self.listed = ShardList(self.path)
        self.was_there = False  # once seen, a run that is gone is no empty run
        self.is_mending = False  # set by a writer: a table with a lost shard is read as it is

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
        store.was_there = True
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
        # A run whose very first file was not finished is none.
        begun = {scratch_of(self.path / "manifest.json"), self.path / LOCK}
        if self.path.exists() and (not self.path.is_dir() or not begun.issuperset(self.path.iterdir())):
            raise UserError(f"{self.path}: exists and is not a run; name another --out")

    def create(self, manifest: dict[str, Any]) -> None:
        """Make the directory and write its first manifest.

        Raises
        ------
        UserError
            If a run is there already, another process is making one, or a file or a folder of something else is in the
            way.
        """
        self.check_vacant()
        self.path.mkdir(parents=True, exist_ok=True)
        with lock(self.path):
            self.check_vacant()  # another process may have been faster
            self.write_manifest(manifest)

    def read_manifest(self) -> dict[str, Any]:
        """The manifest.

        Raises
        ------
        UserError
            If it is not JSON.
        """
        return read_object(self.path / "manifest.json", "start a new run elsewhere")

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
            If a shard is lost or damaged.
        """
        schema = ROWS[table].schema
        names = columns or schema.names
        found = list(self._batches(table, names, as_dictionaries=False))
        return pa.Table.from_batches(found, schema=pa.schema([schema.field(name) for name in names]))

    def batches(self, table: str, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """The rows of `read` in batches, text as dictionaries: for tables that are larger than memory is.

        Raises
        ------
        UserError
            As `read`.
        """
        return self._batches(table, columns, as_dictionaries=True)

    def _batches(self, table: str, columns: list[str], *, as_dictionaries: bool) -> Iterator[pa.RecordBatch]:
        listed = self.listed.of(table)
        for path in map(_now, self.shards(table)):
            rows = 0
            for batch in read_batches(path, ROWS[table].schema, columns, as_dictionaries=as_dictionaries):
                rows += batch.num_rows
                yield batch
            if rows != listed.get(path, rows):
                raise UserError(
                    f"{path}: has {rows:,} rows and not the {listed[path]:,} that were written; {mend(path)}"
                )

    def count(self, table: str) -> int:
        """Number of rows of a table.

        Raises
        ------
        UserError
            As `read`.
        """
        return sum(count_rows(_now(path), ROWS[table].schema) for path in self.shards(table))

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

    def shards(self, table: str) -> list[Path]:
        """Files of a table in the order they were begun; where a stream was sealed, the sealed one.

        Raises
        ------
        UserError
            If one is lost.
        """
        if not self.is_mending:
            self.refuse_lost(table)
        folder = self.path / table
        shards: dict[str, Path] = {}
        for suffix in (STREAM, SEALED):
            shards |= {path.stem: path for path in sorted(folder.glob(f"*{suffix}"))}
        return [shards[stem] for stem in sorted(shards)]

    def refuse_lost(self, table: str) -> None:
        """Check that no shard of a table is lost, nor the run itself.

        Raises
        ------
        UserError
            If one is, or the directory was moved, or is named from another working directory than this one.
        """
        if self.was_there and not self.exists:
            raise UserError(
                f"{self.path}: the run is not here any more, seen from {Path.cwd()}; open it anew"
            )
        for path, rows in self.listed.lost(table).items():
            raise UserError(f"{path}: lost, and {rows:,} rows with it; {mend(path, lost=True)}")

    def rows(self, row_type: type[R]) -> list[R]:
        """All rows of a table as typed rows.

        Raises
        ------
        UserError
            As `read`, or if a key stands there twice or a row is none of this table.
        """
        rows: dict[tuple[Any, ...], R] = {}
        for row in self.stream(row_type):
            if row.key in rows:
                refuse_twice(self.path / row_type.table, row.key)
            rows[row.key] = row
        return list(rows.values())

    def stream(self, row_type: type[R]) -> Iterator[R]:
        """The rows of a table as typed rows, one after the other.

        Raises
        ------
        UserError
            As `read`, or if a row is none of this table.
        """
        for batch in self._batches(row_type.table, row_type.schema.names, as_dictionaries=False):
            for record in batch.to_pylist():
                try:
                    yield row_type.from_record(record)
                except (ValueError, TypeError) as bad:
                    key = tuple(record[name] for name in row_type.key_columns)
                    raise UserError(
                        f"{self.path / row_type.table}: the row {key} is none of this table ({bad}); restore it"
                    ) from None

    def keys(self, row_type: type[Row]) -> set[tuple[Any, ...]]:
        """The keys of all finished rows of a table.

        Raises
        ------
        UserError
            As `read`, or if a key stands there twice.
        """
        columns = list(row_type.key_columns)
        table = self.read(row_type.table, columns)
        keys = set(zip(*(table[name].to_pylist() for name in columns), strict=True))
        if len(keys) < table.num_rows:
            again = Counter(zip(*(table[name].to_pylist() for name in columns), strict=True))
            refuse_twice(self.path / row_type.table, again.most_common(1)[0][0])
        return keys

    def writing(self) -> Writer:
        """A context in which rows can be appended."""
        return Writer(self)


def _now(shard: Path) -> Path:
    """The shard's file: a stream may have been sealed by its writer since it was listed."""
    sealed = shard.with_suffix(SEALED)
    return sealed if shard.suffix == STREAM and sealed.exists() and not shard.exists() else shard


def lock(folder: Path) -> IO[str]:
    """Take a run's lock; it is held until the file that comes back is closed.

    Raises
    ------
    UserError
        If another process holds it.
    """
    file = (folder / LOCK).open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise UserError(f"{folder}: another process is writing to this run; wait for it to end") from None
    return file


def refuse_twice(folder: Path, key: tuple[Any, ...]) -> NoReturn:
    """Tell that a key stands in a table twice.

    Raises
    ------
    UserError
        Always.
    """
    raise UserError(
        f"{folder}: the key {key} stands there twice; take away the shard that is a copy of another, or restore the folder"
    )


class Writer:
    """Holds the lock of a run and appends rows to it; use as a context manager.

    While it is open its store reads a table with a lost shard as it is, for the stages to make the rows again. The loss
    is told to every other reader until as many rows are there as before.

    Raises
    ------
    UserError
        On entering, if another process is writing to the run, or responses are lost whose grades or verdicts are not:
        another response could be drawn in the place of one that was judged.
    """

    def __init__(self, store: RunStore) -> None:
        self.store = store
        self._appenders = {name: Appender(store.path / name, row) for name, row in ROWS.items()}
        self._taking, self._writing = threading.Lock(), threading.Lock()
        self._stop = threading.Event()
        self._failure: OSError | None = None
        self._flusher = threading.Thread(target=self._flush_regularly, daemon=True)

    def __enter__(self) -> Self:
        self._lock = lock(self.store.path)
        try:
            self._seal_leftovers()
            self.store.is_mending = True
            if self.store.listed.lost("responses") and any(self.store.count(table) for table in JUDGED):
                self.store.refuse_lost("responses")
            for name, appender in self._appenders.items():
                stems = [path.stem for path in self.store.listed.of(name)]
                appender.above = max((int(stem) for stem in stems if stem.isdecimal()), default=0)
        except BaseException:
            self._leave()
            raise
        self._flusher.start()
        return self

    def _seal_leftovers(self) -> None:
        """What a killed writer left behind."""
        for name, row in ROWS.items():
            for stream in sorted((self.store.path / name).glob(f"*{STREAM}")):
                if stream.with_suffix(SEALED).exists():
                    stream.unlink()
                else:
                    seal(stream, row.schema)

    def _leave(self) -> None:
        self.store.is_mending = False
        self._lock.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._flusher.join()
        try:
            for appender in self._appenders.values():
                appender.gather()
                appender.close()
            self.store.listed.update(path for name in ROWS for path in self.store.shards(name))
        finally:
            self._leave()

    def append(self, row: Row) -> None:
        """Take one finished row.

        Raises
        ------
        OSError
            If an earlier row could not be brought to the disk (full, or gone read-only).
        """
        if self._failure is not None:
            raise self._failure
        with self._taking:
            self._appenders[row.table].append(row)

    def extend(self, rows: Iterable[Row]) -> None:
        """Take several finished rows."""
        for row in rows:
            self.append(row)

    def flush(self) -> None:
        """Bring every row to the disk now."""
        with self._writing:
            # One moment for all tables, and responses before what is said of them: a kill in between leaves no orphan.
            with self._taking:
                for appender in self._appenders.values():
                    appender.gather()
            for appender in self._appenders.values():
                appender.write()

    def _flush_regularly(self) -> None:
        # Rows land in bursts; without a clock of its own the last burst would wait in memory for the next.
        while not self._stop.wait(FLUSH_SECONDS):
            try:
                self.flush()
            except OSError as failure:
                self._failure = failure
                return
