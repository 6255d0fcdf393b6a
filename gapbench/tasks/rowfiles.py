"""Tables of rows in files: JSONL, CSV and Parquet, and one clear line for a file that is torn or of another kind.

>>> read_table(Path("tasks/data/capitals.jsonl"))[0]["capital"]  # doctest: +SKIP
'Kabul'
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from pathlib import Path
from typing import Any

from gapbench.errors import UserError

Row = dict[str, Any]


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
