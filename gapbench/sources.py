"""Where the rows of a task come from: a file, a dataset of the Hugging Face hub (or its local copy), or reasoning-gym.

>>> from pathlib import Path
>>> source = FileSource(file="data/capitals.jsonl")
>>> source.rows(Path("tasks"))[0]["capital"]  # doctest: +SKIP
'Kabul'
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import logging
import zlib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from gapbench.errors import UserError
from gapbench.registry import suggest
from gapbench.worker import CallFailed, WorkerDied, shared_worker

Row = dict[str, Any]

DRAW_AT_ONCE = 64
DRAW_SECONDS = 60.0
DRAW_MOST = 1_000_000


class _Source(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileSource(_Source):
    """A table beside the suite's YAML.

    Attributes
    ----------
    file
        `.jsonl`, `.csv` or `.parquet`, each also with `.gz`; relative to the YAML.
    """

    file: str

    def rows(self, folder: Path, data_dir: Path | None = None) -> list[Row]:
        """Every row; `folder` is where the YAML is.

        Raises
        ------
        UserError
            If there is no such file, or it is empty, torn or of another format.
        """
        return read_table(folder / self.file)


class HubSource(_Source):
    """A dataset of the Hugging Face hub.

    Attributes
    ----------
    datasets
        Hub id.
    config, split, revision
        What of it; `revision` pins a commit.
    local
        Name of a file that holds the same rows, looked for in the folder of `--data` before the hub is asked.
    """

    datasets: str
    config: str | None = None
    split: str
    revision: str | None = None
    local: str | None = None

    def rows(self, folder: Path, data_dir: Path | None = None) -> list[Row]:
        """Every row, from `data_dir` if the local file is there, else from the hub.

        Raises
        ------
        UserError
            If neither has it.
        """
        if data_dir and self.local and (data_dir / self.local).is_file():
            return read_table(data_dir / self.local)
        import datasets

        # The hub's client reports each retry; what it comes to is said below, in one line.
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
        try:
            table = datasets.load_dataset(
                self.datasets, self.config, split=self.split, revision=self.revision
            )
            return [dict(row) for row in table]
        except (OSError, ValueError, RuntimeError, ImportError, datasets.exceptions.DatasetsError) as failure:
            lacking = f"; {data_dir} has no {self.local}" if data_dir and self.local else ""
            cure = f"; put {self.local} in a folder and give it as --data DIR" if self.local else ""
            reason = " ".join(str(failure).split())[:200]
            raise UserError(
                f"dataset {self.datasets} could not be had from the Hugging Face hub ({reason}){lacking}{cure}"
            ) from failure


class ProceduralSource(_Source):
    """Questions made by reasoning-gym.

    Attributes
    ----------
    procedural
        Name of the dataset, such as `chain_sum`.
    config
        Its settings, without seed and size.
    seed
        Each split draws from a seed derived from this one.
    """

    procedural: str
    config: dict[str, Any] = Field(default_factory=dict)
    seed: int = 0

    def settings(self, seed: int) -> dict[str, Any]:
        """The configuration that makes the questions again."""
        return {**self.config, "seed": seed % 2**32, "size": DRAW_MOST}

    def draw(self, seed: int) -> Iterator[Row]:
        """Rows without end: `question`, `answer`, the fields of the entry's metadata, and the `entry` itself.

        Raises
        ------
        UserError
            If there is no such dataset, it refuses its configuration, never ends, or has no reference answers.
        """
        settings = self.settings(seed)
        for start in range(0, DRAW_MOST, DRAW_AT_ONCE):
            for entry in self._entries(settings, start):
                if entry["answer"] is None:
                    raise UserError(
                        f"reasoning-gym's '{self.procedural}' has no reference answers; choose another dataset"
                    )
                yield {
                    **entry["metadata"],
                    "question": entry["question"],
                    "answer": entry["answer"],
                    "entry": entry,
                }

    def _entries(self, settings: dict[str, Any], start: int) -> list[dict[str, Any]]:
        call = shared_worker().call
        name = self.procedural
        try:
            known: list[str] = call("gapbench.gym:names", seconds=DRAW_SECONDS)
            if name not in known:
                raise UserError(f"reasoning-gym has no dataset '{name}'{suggest(name, known)}")
            entries: list[dict[str, Any]] = call(
                "gapbench.gym:draw", name, settings, start, DRAW_AT_ONCE, seconds=DRAW_SECONDS
            )
        except CallFailed as failure:
            raise UserError(
                f"reasoning-gym's '{name}' refuses config {self.config} ({failure}); mend source.config"
            ) from failure
        except WorkerDied as failure:
            raise UserError(
                f"reasoning-gym's '{name}' made no {DRAW_AT_ONCE} questions in {DRAW_SECONDS:.0f} s; widen the ranges "
                f"of source.config {self.config}"
            ) from failure
        return entries

    def digest_text(self) -> str:
        """What decides the rows, since they cannot be counted."""
        return json.dumps([self.procedural, self.config, self.seed, version("reasoning-gym")], sort_keys=True)


Source = FileSource | HubSource | ProceduralSource


def read_table(path: Path) -> list[Row]:
    """Read a JSONL, CSV or Parquet file, perhaps compressed with gzip.

    Raises
    ------
    UserError
        If it cannot be read, naming the file, the row and what to do.
    """
    suffix = Path(path.name.removesuffix(".gz")).suffix
    readers = {".jsonl": _read_jsonl, ".csv": _read_csv, ".parquet": _read_parquet}
    if suffix not in readers:
        raise UserError(
            f"{path}: format '{suffix}' is not known; use .jsonl, .csv or .parquet, each also with .gz"
        )
    try:
        content = path.read_bytes()
        if path.name.endswith(".gz"):
            content = gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as torn:
        raise UserError(f"{path}: not a whole gzip file ({torn}); copy it again") from torn
    except OSError as missing:
        raise UserError(f"{path}: cannot be read ({missing.strerror}); check source.file") from missing
    if not content.strip():
        raise UserError(f"{path}: is empty; copy it again")
    rows = readers[suffix](path, content)
    if not rows:
        raise UserError(f"{path}: has no rows; it needs at least one below the header")
    return rows


def _text(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        line = content[: wrong.start].count(b"\n") + 1
        raise UserError(f"{path} line {line}: not UTF-8 text; save the file as UTF-8") from wrong


def _read_jsonl(path: Path, content: bytes) -> list[Row]:
    rows = []
    # Not splitlines: JSON strings may hold U+2028, which that takes as an end of line.
    for number, line in enumerate(_text(path, content).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as wrong:
            raise UserError(
                f"{path} line {number}: not JSON ({wrong}); a torn line? copy the file again"
            ) from wrong
        if not isinstance(row, dict):
            raise UserError(f"{path} line {number}: is not an object; write one {{...}} a line")
        try:
            json.dumps(row, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise UserError(
                f"{path} line {number}: holds half of a surrogate pair (\\ud800 to \\udfff); write the character whole"
            ) from None
        rows.append(row)
    return rows


def _read_csv(path: Path, content: bytes) -> list[Row]:
    reader = csv.reader(io.StringIO(_text(path, content), newline=""), strict=True)
    rows: list[Row] = []
    try:
        header = next(reader)
        if len(set(header)) != len(header) or "" in header:
            raise UserError(f"{path} line 1: columns must have names, each once; got {header}")
        for values in reader:
            if values and len(values) != len(header):
                raise UserError(
                    f"{path} line {reader.line_num}: {len(values)} values for {len(header)} columns; a torn row? "
                    "quote values that hold a comma"
                )
            if values:
                rows.append(dict(zip(header, values, strict=True)))
    except csv.Error as wrong:
        raise UserError(
            f"{path} line {reader.line_num}: not CSV ({wrong}); mend or copy the file again"
        ) from wrong
    return rows


def _read_parquet(path: Path, content: bytes) -> list[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows: list[Row] = pq.read_table(pa.BufferReader(content)).to_pylist()
    except (pa.ArrowException, OSError) as wrong:
        raise UserError(f"{path}: not a whole Parquet file ({wrong}); copy it again") from wrong
    return rows
