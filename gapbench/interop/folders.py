"""Folders that are there whole or not at all.

>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as there:
...     with new_folder(Path(there, "out")) as folder:
...         _ = (folder / "file").write_text("done")
...     Path(there, "out", "file").read_text()
'done'
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from gapbench.errors import UserError

MARK = ".unfinished"


@contextmanager
def new_folder(out: Path, doing: str = "writing") -> Iterator[Path]:
    """A folder to write into that becomes `out` when all went well, and goes otherwise.

    It lies beside `out`, as `OUT.writing`. One that a process left there which was killed is emptied and used again; one
    of anybody else's is let alone.

    Parameters
    ----------
    doing
        What its name ends in.

    Raises
    ------
    UserError
        If something is in the way, or no folder can be made there.
    """
    place = out.resolve()
    working = place.with_name(f"{place.name}.{doing}")
    mark = working / MARK
    try:
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise UserError(f"--out {out}: is there already; name a new folder")
        if working.exists() and not mark.is_file():
            raise UserError(f"{out}.{doing}: is in the way; rename it, or name another --out")
        working.mkdir(parents=True, exist_ok=True)
        held = mark.open("w")
    except OSError as failure:
        raise UserError(f"--out {out}: cannot be made ({failure.strerror}); name another folder") from None
    with held:
        _hold(held, out)
        _empty(working, mark)
        try:
            yield working
            mark.unlink()
            if place.is_dir():
                place.rmdir()
            working.rename(place)
        finally:
            shutil.rmtree(working, ignore_errors=True)


def _hold(file: IO[str], out: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"--out {out}: another process is writing it; wait for it to end") from None


def _empty(folder: Path, kept: Path) -> None:
    for one in folder.iterdir():
        if one.is_dir() and not one.is_symlink():
            shutil.rmtree(one)
        elif one != kept:
            one.unlink()
