"""Forecasts of later rounds, frozen in `forecast.json` of a round before the next one begins.

Each is a row for a set of prompts, a domain, a later round and a method:

| method | kind | what it says |
|---|---|---|
| filter | projection | the iterated filter curve of this round's model on these prompts, as far as N responses show it |
| series | projection | the best law of the rounds so far (`gapbench.trajectory.projection`), from the fourth measurement on |
| judge rho | scenario | where the loop would settle if the judge gained rho with each point; held against the last round |
| last value | benchmark | nothing changes any more |
| gap = gain | benchmark | later rounds gain what the gap is now, once |

The file holds the digest of its own content and those of the projections that it was made from.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from gapbench.errors import UserError
from gapbench.estimate.levels import OVERALL
from gapbench.plain import plain
from gapbench.projection.results import DomainProjection, Number, Projection, Value
from gapbench.store.jsonfile import read_object, scratch_of
from gapbench.trajectory.measured import Measured

FORMAT = "gapbench-loop-forecast-1"
FILE = "forecast.json"

FILTER, SERIES, LAST, GAIN = "filter", "series", "last value", "gap = gain"
PROJECTION, SCENARIO, BENCHMARK = "projection", "scenario", "benchmark"
FEWEST = 3
"""Rounds so far from which the series itself is asked."""


@dataclass(frozen=True, slots=True)
class Foretold:
    """What one method says of one later round.

    Attributes
    ----------
    prompts, domain
        The set of prompts and the domain; `all` over several.
    origin, t
        The round whose model was the last to be measured, and the round foretold.
    value, low, high
        Accuracy with a 95 % interval; a benchmark has the interval of what was measured, a scenario may have none.
    """

    arm: str
    prompts: str
    domain: str
    origin: int
    t: int
    method: str
    kind: str
    value: Number
    low: Number
    high: Number


ROWS = TypeAdapter(list[Foretold])


def domains_of(projection: Projection, verifier: str) -> list[DomainProjection]:
    """The rows of a verifier; `all` only where there are several domains."""
    rows = [row for row in projection if row.verifier == verifier]
    return [row for row in rows if row.domain != OVERALL or len(rows) > 2]


def gap_of(row: DomainProjection) -> Value:
    """What one round of the filter is expected to gain, with the interval of the accuracy that it leads to."""
    first = next((one for one in row.rounds if one.t == 1 and one.identified), None)
    if first is None:
        return Value()
    now = row.accuracy.value
    expected = first.expected
    return Value(expected.value - now, expected.low - now, expected.high - now)


def foretold(
    projection: Projection,
    verifier: str,
    series: Mapping[str, Measured],
    *,
    arm: str,
    prompts: str,
    origin: int,
    last: int,
    moving: bool,
) -> tuple[list[Foretold], dict[str, str]]:
    """Every forecast of an arm's later rounds on one set of prompts.

    Parameters
    ----------
    projection
        Of the round's run.
    verifier
        Whose scores the arm keeps by.
    series
        By domain, what was measured up to this round; empty before there are enough rounds.
    origin, last
        This round, and the last one planned.
    moving
        Whether the judge moves with the model.

    Returns
    -------
    list
        The forecasts.
    dict
        By domain, the status of the series.
    """
    found: list[Foretold] = []
    status: dict[str, str] = {}
    for row in domains_of(projection, verifier):

        def add(method: str, kind: str, t: int, value: Value, domain: str = row.domain) -> None:
            if math.isfinite(value.value):
                ends = value.value, value.low, value.high
                found.append(Foretold(arm, prompts, domain, origin, t, method, kind, *ends))

        gap, now = gap_of(row), row.accuracy
        value, low, high = (min(now.value + one, 1.0) for one in (gap.value, gap.low, gap.high))
        gained = Value(value, low, high)
        later = range(origin + 1, last + 1)
        by_round = {one.t: one for one in row.rounds if one.identified}
        for t in later:
            if t - origin in by_round:
                add(FILTER, PROJECTION, t, by_round[t - origin].expected)
            add(LAST, BENCHMARK, t, now)
            add(GAIN, BENCHMARK, t, gained)
        for judge in row.moving_judge if moving else ():
            add(f"judge {judge.rho:g}", SCENARIO, last, Value(judge.plateau, judge.low, judge.high))
        if row.domain in series:
            said = series[row.domain].project([float(t) for t in later], row.domain)
            status[row.domain] = said.status
            for one in said.forecast:
                add(SERIES, PROJECTION, round(one.t), Value(one.value, one.low, one.high))
    return found, status


def freeze(path: Path, rows: Sequence[Foretold], facts: Mapping[str, Any]) -> None:
    """Write forecasts down for good; a file that is there already is left as it is.

    Parameters
    ----------
    path
        The round's `forecast.json`.
    facts
        What else belongs to them: what they were made from.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    body = {
        "format": FORMAT,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        **facts,
        "rows": plain(list(rows)),
    }
    scratch = scratch_of(path)
    with scratch.open("w", encoding="utf-8") as file:
        json.dump({**body, "digest": _digest(body)}, file, indent=1, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(scratch, path)
    except FileExistsError:
        pass  # frozen by a sitting that was killed before it could say so
    finally:
        scratch.unlink()


def thaw(path: Path) -> list[Foretold]:
    """Read frozen forecasts.

    Raises
    ------
    UserError
        If there are none, or they were changed after they were made.
    """
    if not path.is_file():
        raise UserError(f"{path}: no forecast here; it was removed, and cannot be scored")
    held = read_object(path, "do not score it")
    digest = held.pop("digest", None)
    if held.get("format") != FORMAT or digest != _digest(held):
        raise UserError(
            f"{path}: not a forecast, or changed after it was made; restore it, or do not score it"
        )
    return ROWS.validate_python(held["rows"])


def digest_of(path: Path) -> str:
    """The digest that a forecast's file holds."""
    return str(read_object(path, "do not score it").get("digest"))


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, allow_nan=False).encode()).hexdigest()
