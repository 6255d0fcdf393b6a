"""What users have, as the plots take it: objects of an analysis, their frames, or the JSON document of a command.

A frame may have been through CSV or JSON: missing words may be NaN, and `flags` a list or words with spaces between.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, TypeVar, cast

import numpy as np
import pandas as pd
from pydantic import ValidationError

from gapbench.comparing.cross import Cross, CrossCell
from gapbench.errors import UserError
from gapbench.estimate.contrast import Contrast, Contrasts
from gapbench.estimate.results import Estimate, Estimates
from gapbench.interop.frame import need, panels_from_frame
from gapbench.panel import Panel
from gapbench.projection.forecast import PROJECTIONS
from gapbench.projection.results import DomainProjection, OverOptimisation, Projection, Value
from gapbench.report.view import FLAG
from gapbench.scaling.contrasts import SlopeContrasts
from gapbench.scaling.points import Points, points_from_frame
from gapbench.scaling.scale import Scaling, scale
from gapbench.scaling.slopes import ALL, Slope, Slopes
from gapbench.trajectory.checkpoints import Decomposition, Outcome, Share, Test
from gapbench.trajectory.projection import SeriesProjection

Frame = pd.DataFrame
Document = Mapping[str, Any]
Row = TypeVar("Row")

RESERVES = ("accuracy", "reserve_measured", "reserve_identified", "reserve_coverage")


def estimates_of(data: Estimates | Frame | Document) -> Estimates:
    """Estimates, their frame, or the document of `gapbench estimate --json`."""
    if isinstance(data, Estimates):
        return data
    return Estimates(_rows(_table(data, "estimates"), Estimate, "estimates", "Estimates.to_frame()"))


def contrasts_of(data: Contrasts | Frame | Document) -> Contrasts:
    """Contrasts, their frame, or the document of `gapbench compare --json`."""
    if isinstance(data, Contrasts):
        return data
    return Contrasts(_rows(_table(data, "contrasts"), Contrast, "contrasts", "Contrasts.to_frame()"))


def cross_of(data: Cross | Frame | Document) -> Cross:
    """A matrix of generators and judges, its frame, or the document of `gapbench cross --json`."""
    if isinstance(data, Cross):
        return data
    cells = _rows(_table(data, "cells"), CrossCell, "cells", "Cross.to_frame()")
    mechanism = next((cell.verifier.partition("@")[0] for cell in cells if cell.verifier), "")
    none = Contrasts([])
    return Cross(
        mechanism,
        cells[0].quantity,
        next((cell.filter for cell in cells if cell.filter), ""),
        tuple(dict.fromkeys(cell.generator for cell in cells)),
        tuple(dict.fromkeys(cell.judge for cell in cells)),
        tuple(dict.fromkeys(cell.domain for cell in cells)),
        tuple(cells),
        none,
        none,
        none,
    )


def scaling_of(data: Scaling | Points | Frame) -> Scaling:
    """Fitted laws; points, or a table of points, are fitted here with `gapbench.scaling.scale.scale`."""
    if isinstance(data, Scaling):
        return data
    return scale(data if isinstance(data, Points) else points_from_frame(data))


def slopes_of(data: Scaling | Slopes | Frame | Document) -> Scaling:
    """Fitted laws, or their slopes alone: a frame or the document of `gapbench scale --json`."""
    if isinstance(data, Scaling):
        return data
    if isinstance(data, Slopes):
        slopes = data
    else:
        table = _table(data, "slopes").rename(columns={"slope": "value"})
        rows = _rows(table, Slope, "slopes", "Scaling.to_frame()", without=("prediction", "saturating"))
        slopes = Slopes(rows)
    families = list(dict.fromkeys(row.family for row in slopes if row.family != ALL))
    words = ("",) * len(families)
    nothing = np.full(len(families), np.nan)
    points = Points(
        words,
        words,
        tuple(families),
        nothing,
        nothing,
        nothing,
        nothing,
        nothing,
        quantity=slopes[0].quantity,
    )
    return Scaling(points, slopes, SlopeContrasts([]), SlopeContrasts([]), (), (), {})


def projection_of(data: Projection | Document) -> Projection:
    """A projection, or the document of `gapbench project RUN --json`."""
    if isinstance(data, Projection):
        return data
    known = {one.name for one in fields(Projection)}
    try:
        return PROJECTIONS.validate_python({name: value for name, value in data.items() if name in known})
    except ValidationError as bad:
        raise UserError(
            f"no projection ({str(bad).splitlines()[0]}); give what `gapbench project RUN --json` prints, or "
            "project_run(Run(...))"
        ) from None


def reserves_of(data: Projection | Frame | Document) -> Projection:
    """A projection, also as the frame of its single numbers, which is all that the reserves need."""
    if not isinstance(data, pd.DataFrame):
        return projection_of(data)
    need(data, ("domain", "verifier", *RESERVES), "projection", "Projection.to_frame()")
    rows = []
    for record in _records(data):
        flags = _flags(record.get("flags"))
        values = {name: _value(record, name) for name in RESERVES}
        rows.append(
            DomainProjection(
                domain=CONVERT["str"](record["domain"]), verifier=CONVERT["str"](record["verifier"]), m=None, n_prompts=0,
                n_responses=0, **values, n_star=None, n_star_low=None, n_star_high=None,
                over_optimisation=OverOptimisation(), horizon_rounds=None, curve=(), rounds=(), corner=None,
                coverage=(), moving_judge=(), signal=(), flags=flags,
            )
        )  # fmt: skip
    return Projection("", "", 0.0, tuple(rows))


def outcomes_of(data: Sequence[Outcome] | Document) -> list[Outcome]:
    """What is said of checkpoints, or the document of `gapbench trajectory --json`: verdict and decomposition alone."""
    if not isinstance(data, Mapping):
        return list(data)
    if not data.get("domains"):
        raise UserError("no domains here; give what `gapbench trajectory --json` prints")
    return [_outcome(one) for one in data["domains"]]


def _outcome(record: Mapping[str, Any]) -> Outcome:
    held = record["decomposition"]
    shares = {
        one.name: Share(*(_float(held[one.name][end]) for end in ("value", "low", "high")))
        for one in fields(Decomposition)
    }
    return Outcome(
        record["domain"],
        record["verdict"],
        Test(math.nan, math.nan, math.nan, math.nan, int(record["test"]["M"]), ""),
        (),
        Decomposition(**shares),
        (),
        SeriesProjection(record["domain"], "solver", "too_few_points", 0, math.nan, math.nan),
        None,
        (),
        None,
        math.nan,
    )


def panels_of(data: Sequence[Panel] | Frame) -> list[Panel]:
    """Panels, or a frame of scored responses (`gapbench.interop.frame.panels_from_frame`)."""
    return panels_from_frame(data) if isinstance(data, pd.DataFrame) else list(data)


def _table(data: Frame | Document, key: str) -> Frame:
    if isinstance(data, pd.DataFrame):
        return data
    if not isinstance(data, Mapping) or key not in data:
        raise UserError(f"a frame or a JSON document with '{key}' is needed, not {type(data).__name__}")
    return pd.DataFrame(data[key])


def _rows(table: Frame, kind: type[Row], what: str, how: str, without: Sequence[str] = ()) -> list[Row]:
    """Dataclasses of a frame's rows; columns of fields with a default may be missing."""
    wanted = [one for one in fields(cast(Any, kind)) if one.name not in without]
    needed = [one.name for one in wanted if one.default is MISSING and one.default_factory is MISSING]
    need(table, needed, what, how)
    names = [one.name for one in wanted if one.name in table.columns]
    return [kind(**record) for record in _records(_plain(table[names], kind))]


def _plain(table: Frame, kind: Any) -> Frame:
    """The columns as the fields of a dataclass have them: NaN is no word, and None where a number may be missing."""
    table = table.copy()
    for one in fields(kind):
        if one.name not in table.columns:
            continue
        convert = _flags if one.name == "flags" else CONVERT.get(str(one.type))
        if convert is not None:
            values = [convert(value) for value in table[one.name]]
            table[one.name] = pd.Series(values, index=table.index, dtype=object)
    return table


def _records(table: Frame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in record.items()} for record in table.to_dict("records")]


def _flags(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(FLAG.findall(value))
    return tuple(map(str, value)) if isinstance(value, list | tuple | np.ndarray) else ()


def _value(record: Mapping[str, Any], name: str) -> Value:
    value, low, high = (_float(record.get(name + end)) for end in ("", "_low", "_high"))
    return Value(value, low, high)


def _missing(value: Any) -> bool:
    return value is None or bool(pd.isna(value))


def _float(value: Any) -> float:
    return math.nan if _missing(value) else float(value)


CONVERT: dict[str, Callable[[Any], Any]] = {
    "str": lambda value: "" if _missing(value) else str(value),
    "bool": lambda value: str(value).lower() == "true",
    "int": int,
    "int | None": lambda value: None if _missing(value) else int(value),
    "float": _float,
    "float | None": lambda value: None if _missing(value) else float(value),
}
"""By the type of a field, as it is written."""
