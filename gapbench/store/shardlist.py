"""`shards.json`: which shards a run has and how many rows each, so that one that is lost or replaced is missed.

Writers keep it. A run without one (imported, or made by gapbench 0.1) is read all the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from gapbench.errors import UserError
from gapbench.records import ROWS
from gapbench.store.jsonfile import read_object, write_atomic
from gapbench.store.shards import count_rows


class ShardList:
    """The list of a run directory.

    Parameters
    ----------
    run
        The directory.
    """

    def __init__(self, run: Path) -> None:
        self._run = run
        self._path = run / "shards.json"

    @property
    def exists(self) -> bool:
        """Whether a writer has kept one."""
        return self._path.exists()

    def of(self, table: str) -> dict[Path, int]:
        """Number of rows of each shard of a table when a writer last closed.

        Raises
        ------
        UserError
            If the list is damaged.
        """
        return {path: rows for path, rows in self._read().items() if path.parent.name == table}

    def lost(self, table: str) -> dict[Path, int]:
        """Those that are not there any more."""
        return {path: rows for path, rows in self.of(table).items() if not path.exists()}

    def update(self, shards: Iterable[Path]) -> None:
        """Bring the list up to what is there; a lost shard stays on it until as many rows have been added.

        Parameters
        ----------
        shards
            All that are there, sealed.
        """
        listed = self._read()
        kept = {
            path: listed[path] if path in listed else count_rows(path, ROWS[path.parent.name].schema)
            for path in shards
        }
        for table in ROWS:
            added = sum(
                rows for path, rows in kept.items() if path.parent.name == table and path not in listed
            )
            for path, rows in self.lost(table).items():
                mended = min(added, rows)
                added -= mended
                if rows > mended:
                    kept[path] = rows - mended
        if kept != listed:
            labels = {str(path.relative_to(self._run)): rows for path, rows in kept.items()}
            write_atomic(self._path, json.dumps(labels, indent=1, sort_keys=True) + "\n")

    def _read(self) -> dict[Path, int]:
        if not self.exists:
            return {}
        otherwise = "delete it: lost shards are then not missed"
        listed = read_object(self._path, otherwise)
        for label, rows in listed.items():
            table, _, name = label.partition("/")
            if table not in ROWS or not name or "/" in name or type(rows) is not int or rows < 0:
                raise UserError(
                    f"{self._path}: {label!r} is no shard with its rows; restore it, or {otherwise}"
                )
        return {self._run / label: rows for label, rows in listed.items()}
