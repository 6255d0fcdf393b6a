"""JSON lines: somebody's, read one by one, where whatever is wrong with one has the file and the line; and ours.

`NaN` and `Infinity`, which are not JSON and which Python writes all the same, become null; half a surrogate pair, which no
text may hold, becomes U+FFFD.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gapbench.errors import UserError

DEEPEST = 100
_ENDS = {end: f"\\u{end:04x}" for end in (0x85, 0x2028, 0x2029)}
_PACKED = {
    b"\x1f\x8b": "packed with gzip; unpack it first",
    b"PK\x03\x04": "an archive and no text; a log of inspect (.eval) is read with --from inspect",
    b"PAR1": "a Parquet table and no text; it is read with --from table",
}
_HALF = re.compile("[\ud800-\udfff]")


def read_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number of each line, from 1, and the object on it; blank lines are no lines.

    Raises
    ------
    UserError
        If a line is no JSON object, or the file cannot be read or has no line.
    """
    found = False
    try:
        with path.open("rb") as file:
            start = file.peek(4)
            if kind := next((kind for mark, kind in _PACKED.items() if start.startswith(mark)), ""):
                raise UserError(f"{path}: is {kind}")
            for number, line in enumerate(file, 1):
                if line.strip():
                    found = True
                    yield number, read_object(line, f"{path}, line {number}")
    except OSError as failure:
        raise UserError(f"{path}: cannot be read ({failure.strerror})") from None
    if not found:
        raise UserError(f"{path}: is empty; nothing was logged")


def read_object(content: bytes, where: str) -> dict[str, Any]:
    """Read one JSON object.

    Parameters
    ----------
    where
        Its place, for errors.

    Raises
    ------
    UserError
        If it is none, or is nested too deep.
    """
    try:
        text = content.decode("utf-8-sig")
        value = json.loads(text, parse_constant=lambda _: None)
        if "\\u" in text or "\\U" in text:
            value = whole(value)
        if _depth(value) > DEEPEST:
            raise RecursionError
    except UnicodeDecodeError:
        raise UserError(f"{where}: is not UTF-8 text; copy the file again") from None
    except RecursionError:
        raise UserError(f"{where}: is nested deeper than {DEEPEST} levels; take that line out") from None
    except ValueError as bad:
        why = getattr(bad, "msg", "a number has too many digits")
        raise UserError(f"{where}: is not JSON ({why}); it may be cut short: copy the file again") from None
    if not isinstance(value, dict):
        raise UserError(f"{where}: is no JSON object; name a file of evaluation samples")
    return value


def line_of(value: dict[str, Any]) -> str:
    r"""One JSON object as a line. What some readers take for the end of a line is escaped inside texts.

    >>> line_of({"text": "a\u2028é"})
    '{"text": "a\\u2028é"}\n'
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False).translate(_ENDS) + "\n"


def whole(value: Any) -> Any:
    """The same without halves of surrogate pairs."""
    if isinstance(value, str):
        return _HALF.sub("\ufffd", value)
    if isinstance(value, list):
        return [whole(one) for one in value]
    if isinstance(value, dict):
        return {whole(name): whole(one) for name, one in value.items()}
    return value


def _depth(value: Any) -> int:
    """How deep lists and objects are nested."""
    level, depth = [value], 0
    while level := [
        inner
        for one in level
        if isinstance(one, dict | list)
        for inner in (one.values() if isinstance(one, dict) else one)
    ]:
        depth += 1
        if depth > DEEPEST:
            break
    return depth
