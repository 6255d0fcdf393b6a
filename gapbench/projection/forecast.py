"""Forecasts kept in the run they were made from: dated, never overwritten, with all that is needed to score them later.

A forecast is `forecasts/NAME.json` in the run directory:

| field | what |
|---|---|
| format | `gapbench-forecast-1` |
| name, made | its name, and when it was made (UTC, ISO 8601) |
| gapbench | version that made it |
| source | the run: `created`, `model` (id, revision and what else the engine said), `suite` (name, digest), `config`, `tasks` (name to domain) and `prompts` (number by task) |
| projection | `gapbench.projection.results.Projection.to_json`: `rows` by domain and verifier, and in each `rounds` |
| digest | SHA-256 of all of the above: a forecast that was touched afterwards is refused |

To score it: for a loop with this filter, verifier and number m of verdicts, hold the accuracy measured after t rounds, on prompts of
the same suite, against `rounds[t].fresh`, or `rounds[t].fixed` where that is null (`Round.expected`). Their intervals are for the expected
accuracy; the outcome brings an error of its own. Rounds with `identified` false were no forecast, and coverage beyond N
(`measured` false) is held against pass@k of a larger sample from the same model, by its 90 % band.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

import gapbench
from gapbench.errors import UserError
from gapbench.projection.results import Projection
from gapbench.store.jsonfile import read_object

if TYPE_CHECKING:
    from gapbench.run import Run

FORMAT = "gapbench-forecast-1"
FOLDER = "forecasts"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
PROJECTIONS = TypeAdapter(Projection)


@dataclass(frozen=True, slots=True)
class Forecast:
    """A forecast as it was made.

    Attributes
    ----------
    made
        When, with time zone.
    source
        The run it was made from.
    """

    name: str
    made: datetime
    source: dict[str, Any]
    projection: Projection


def write_forecast(run: Run, projection: Projection, name: str | None = None) -> Path:
    """Keep a projection in its run.

    Parameters
    ----------
    name
        Letters, digits, `.`, `_` and `-`; by default the time of day. Where a forecast of this name is there already, `-2`,
        `-3`, ... is added.

    Returns
    -------
    The file that was written.

    Raises
    ------
    UserError
        If the name is no file name, or the run may not be written to.
    """
    made = datetime.now(UTC).replace(microsecond=0)
    stem = made.strftime("%Y-%m-%dT%H%M%SZ") if name is None else name
    if not NAME.fullmatch(stem):
        raise UserError(
            f"forecast '{stem}': a name is made of letters, digits, '.', '_' and '-', 100 at most"
        )
    folder = run.store.path / FOLDER
    try:
        folder.mkdir(exist_ok=True)
    except OSError as refused:
        raise UserError(
            f"{folder}: cannot be written ({refused.strerror}); copy the run and project the copy"
        ) from None
    for number in count(1):
        own = stem if number == 1 else f"{stem}-{number}"
        body = {
            "format": FORMAT,
            "name": own,
            "made": made.isoformat(),
            "gapbench": gapbench.__version__,
            "source": _source(run),
            "projection": projection.to_json(),
        }
        text = json.dumps({**body, "digest": _digest(body)}, indent=1, allow_nan=False) + "\n"
        path = folder / f"{own}.json"
        scratch = folder / f".{own}.{os.getpid()}.tmp"
        try:
            scratch.write_text(text, encoding="utf-8")
            os.link(scratch, path)  # which fails where the name is taken, and never shows half of a file
        except FileExistsError:
            continue
        except OSError as refused:
            raise UserError(
                f"{path}: cannot be written ({refused.strerror}); copy the run and project the copy"
            ) from None
        finally:
            scratch.unlink(missing_ok=True)
        return path
    raise AssertionError("counting does not end")


def read_forecast(path: str | Path) -> Forecast:
    """Read a forecast.

    Raises
    ------
    UserError
        If the file holds none, one of another format, or one that was changed after it was made.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no forecast here; `gapbench project RUN` makes one")
    held = read_object(path, "make a new one with `gapbench project RUN`")
    if held.get("format") != FORMAT:
        raise UserError(f"{path}: not a forecast of format {FORMAT} (format is {held.get('format')!r})")
    digest = held.pop("digest", None)
    if digest != _digest(held):
        raise UserError(
            f"{path}: changed after it was made (its digest does not fit); restore it, or do not score it"
        )
    try:
        projection = PROJECTIONS.validate_python(held["projection"])
        return Forecast(
            str(held["name"]), datetime.fromisoformat(held["made"]), dict(held["source"]), projection
        )
    except (ValidationError, KeyError, TypeError, ValueError) as bad:
        reason = str(bad).splitlines()[0]
        raise UserError(f"{path}: not a whole forecast ({reason}); restore it") from None


def forecasts_of(run: str | Path) -> list[Forecast]:
    """All forecasts in a run directory, oldest first.

    Raises
    ------
    UserError
        As for `read_forecast`.
    """
    found = [read_forecast(path) for path in sorted((Path(run) / FOLDER).glob("*.json"))]
    return sorted(found, key=lambda one: (one.made, one.name))


def _source(run: Run) -> dict[str, Any]:
    manifest = run.manifest
    tasks = run.store.read("prompts", ["task"])["task"].to_pylist()
    return {
        "created": manifest.get("created"),
        "model": manifest.get("engine", {}).get("model", {"id": run.model}),
        "suite": manifest.get("suite"),
        "config": manifest.get("config"),
        "tasks": {name: task.get("domain") for name, task in manifest.get("tasks", {}).items()},
        "prompts": {name: tasks.count(name) for name in dict.fromkeys(tasks)},
    }


def _digest(body: dict[str, Any]) -> str:
    text = json.dumps(body, sort_keys=True, allow_nan=False, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
