"""The table of series anyone can bring, projected: `gapbench project --series`.

>>> table = pd.DataFrame({"series": "gsm8k", "t": [0, 1, 2], "value": [0.30, 0.38, 0.43], "se": 0.01})
>>> project_series(table)[0].status
'too_few_points'
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import pandas as pd

from gapbench.errors import UserError
from gapbench.interop.reading import open_table
from gapbench.panel import Float
from gapbench.plain import plain
from gapbench.trajectory.checkpoints import Outcome
from gapbench.trajectory.measured import JUST_REGULAR
from gapbench.trajectory.projection import Kind, SeriesProjection, observed, project_one
from gapbench.trajectory.scored import ForecastScore

COLUMNS = ("series", "t", "value", "se")
LARGEST = 1e100  # time, so that no square of one is beyond what a number can be
PARTNER: dict[str, str] = {"solver": "verifier", "verifier": "solver"}


def project_series(
    frame: pd.DataFrame, *, correlation: float = 0.0, horizon: Sequence[float] = (), source: str = "series"
) -> list[SeriesProjection]:
    """Project every series of a table, a solver's and a verifier's of one name jointly.

    Parameters
    ----------
    frame
        Columns series, t, value, se; optional kind (`solver` where absent, `verifier`, `gap`).
    correlation
        Of the errors of any two points of a series, where they share prompts: from 0 to .999.
    horizon
        Times to forecast.
    source
        Name of the table in messages.

    Returns
    -------
    One a series and kind, in the order of their first rows.

    Raises
    ------
    UserError
        If a column is missing, a cell is no number or out of range, or so is the correlation or a time to forecast.
    """
    if not 0 <= correlation <= JUST_REGULAR:
        raise UserError(f"--correlation {correlation:g}: give a number from 0 to {JUST_REGULAR:g}")
    if missing := [name for name in COLUMNS if name not in frame.columns]:
        raise UserError(
            f"{source}: no column {', '.join(missing)}; a table of series has {', '.join(COLUMNS)}"
        )
    if frame.empty:
        raise UserError(f"{source}: no rows; give one a checkpoint")
    names = frame["series"].astype(str)
    kinds = (
        frame["kind"].fillna("solver").astype(str)
        if "kind" in frame.columns
        else names.map(lambda _: "solver")
    )
    numbers = {name: _numbers(frame[name], name, source) for name in COLUMNS[1:]}
    for row, kind in enumerate(kinds):
        if kind not in get_args(Kind):
            raise UserError(f"{source}, row {row + 1}: kind {kind!r}; use solver, verifier or gap")
    if (bad := np.flatnonzero(numbers["se"] < 0)).size:
        raise UserError(f"{source}, row {bad[0] + 1}: se is negative; give the standard error of value")
    for column in ("value", "se"):
        if (bad := np.flatnonzero(np.abs(numbers[column]) > 1)).size:
            raise UserError(
                f"{source}, row {bad[0] + 1}: {column} {numbers[column][bad[0]]:g} is no share; write 30 % as 0.3"
            )
    keys = list(dict.fromkeys(zip(names, kinds, strict=True)))
    rows = {key: ((names == key[0]) & (kinds == key[1])).to_numpy() for key in keys}
    data = {key: [numbers[name][rows[key]] for name in COLUMNS[1:]] for key in keys}
    for (name, _), (t, _, _) in data.items():
        if np.abs(t).max() > LARGEST or 0 < np.ptp(t) < 1 / LARGEST:
            raise UserError(f"{source}: the times of '{name}' are out of range; give them in another unit")
    found = []
    for name, kind in keys:
        other = data.get((name, PARTNER.get(kind, "")))
        found.append(
            project_one(
                *data[name, kind],
                correlation=correlation,
                kind=cast(Kind, kind),
                partner=None if other is None else observed(other[0], other[1], other[2], correlation),
                horizon=horizon,
                name=name,
            )
        )
    return found


def read_series(path: str | Path) -> pd.DataFrame:
    """The table of series in a CSV or Parquet file, for `project_series`.

    Raises
    ------
    UserError
        With the file, and the row where it is one row's fault.
    """
    source = open_table(path, text=("series", "kind"), numbers=COLUMNS[1:], optional=("kind",))
    frames = [batch.to_pandas() for _, batch in source.batches()]
    if not frames:
        raise UserError(f"{path}: no rows; give one a checkpoint")
    words = {name: object for name in ("series", "kind") if name in frames[0]}
    whole: pd.DataFrame = pd.concat([frame.astype(words) for frame in frames], ignore_index=True)
    return whole


def _numbers(column: pd.Series[Any], name: str, source: str) -> Float:
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float)
    if (bad := np.flatnonzero(~np.isfinite(values))).size:
        raise UserError(f"{source}, row {bad[0] + 1}: {name} is no number; fill it in or leave the row out")
    return values


def series_json(found: Sequence[SeriesProjection]) -> dict[str, Any]:
    """Plain values for `json.dumps`: `{"series": [...]}`; a number that is not finite becomes null."""
    return {"series": [plain(one) for one in found]}


def trajectory_json(found: Sequence[Outcome], scores: Sequence[ForecastScore] = ()) -> dict[str, Any]:
    """Plain values for `json.dumps`: `{"domains": [...], "forecasts": [...]}`; a domain has `label`, the verdict with its M."""
    return {
        "domains": [{**plain(one), "label": one.label} for one in found],
        "forecasts": [plain(one) for one in scores],
    }
