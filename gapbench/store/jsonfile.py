"""Small JSON files that are read whole and replaced whole."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NoReturn

from gapbench.errors import UserError


def scratch_of(path: Path) -> Path:
    """Where a file's new text lies until it is whole; a kill or a full disk may leave it there."""
    return path.with_name(path.name + ".tmp")


def write_atomic(path: Path, text: str) -> None:
    """Replace a small file so that a reader sees the old text or the new, never half."""
    scratch = scratch_of(path)
    with scratch.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def read_object(path: Path, otherwise: str) -> dict[str, Any]:
    """The JSON object in a file.

    Parameters
    ----------
    otherwise
        What a user can do who has no copy to restore.

    Raises
    ------
    UserError
        If the file holds anything else, NaN and what no file can hold among it.
    """

    def refuse(word: str) -> NoReturn:
        raise ValueError(f"{word} is no JSON number")

    try:
        found = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
        if not isinstance(found, dict):
            raise ValueError("not an object")
        json.dumps(
            found, ensure_ascii=False, allow_nan=False
        ).encode()  # refuses half of a surrogate pair, and 1e999
    except (ValueError, RecursionError) as bad:
        raise UserError(f"{path}: not valid JSON ({bad}); restore it, or {otherwise}") from None
    return found
