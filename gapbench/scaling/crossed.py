"""Gap against the compute of generator and judge: a matrix of cells, and what each side's compute is worth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from gapbench.comparing.cross import Cross
from gapbench.estimate.table import OVERALL
from gapbench.panel import Float
from gapbench.plain import plain
from gapbench.scaling.regression import regress
from gapbench.scaling.slopes import NAN

FEWEST = 3


@dataclass(frozen=True, slots=True)
class SideSlope:
    """Change of the quantity per decade of one side's compute.

    Attributes
    ----------
    side
        `generator` or `judge`.
    value, se, low, high, p
        Of the side's means over the other side, regressed on its compute; NaN where not estimable.
    n_models
        Models of that side, which are the units: cells of one generator or one judge share its deviation.
    """

    side: Literal["generator", "judge"]
    value: float = NAN
    se: float = NAN
    low: float = NAN
    high: float = NAN
    p: float = NAN
    n_models: int = 0
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class CrossedCompute:
    """The cells of one domain by compute.

    Attributes
    ----------
    generators, judges
        Those whose compute is known, by compute.
    generator_x, judge_x
        Their log10 FLOPs.
    value, low, high
        [generator, judge]; NaN where a cell was not measured.
    slopes
        Of the generator and of the judge.
    left_out
        Models whose compute is not known.
    """

    domain: str
    generators: tuple[str, ...]
    judges: tuple[str, ...]
    generator_x: Float
    judge_x: Float
    value: Float
    low: Float
    high: Float
    slopes: tuple[SideSlope, SideSlope]
    left_out: tuple[str, ...]

    @property
    def drawable(self) -> bool:
        """Whether there are models of different compute to set beside each other."""
        return len({*self.generator_x.tolist(), *self.judge_x.tolist()}) > 1

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`; compute in FLOPs, and null for what was not measured."""
        flops = {
            side: {name: 10**x for name, x in zip(names, places.tolist(), strict=True)}
            for side, names, places in (
                ("generators", self.generators, self.generator_x),
                ("judges", self.judges, self.judge_x),
            )
        }
        cells = [
            {"generator": generator, "judge": judge, "value": value, "low": low, "high": high}
            for row, generator in enumerate(self.generators)
            for column, judge in enumerate(self.judges)
            for value, low, high in [(float(one[row, column]) for one in (self.value, self.low, self.high))]
        ]
        document = {"domain": self.domain, **flops, "cells": cells, "left_out": self.left_out}
        found: dict[str, Any] = plain({**document, "slopes": [asdict(one) for one in self.slopes]})
        return found


def crossed_compute(
    cross: Cross, flops_of: Callable[[str], float], *, domain: str = OVERALL
) -> CrossedCompute:
    """Order a cross-verification matrix by compute, and fit each side.

    The units of a side are its models: their means over the other side are taken over the rows and columns that are
    whole, and regressed unweighted on compute. Families are not told apart, which a matrix of a few models cannot do.

    Parameters
    ----------
    flops_of
        Pretraining FLOPs of a model id; NaN where not known.
    domain
        A domain's name, or `all`.
    """
    compute = {name: flops_of(name) for name in dict.fromkeys((*cross.generators, *cross.judges))}
    sides = [
        sorted((name for name in names if compute[name] > 0), key=compute.__getitem__)
        for names in (cross.generators, cross.judges)
    ]
    table = np.full((3, len(sides[0]), len(sides[1])), np.nan)
    for row, generator in enumerate(sides[0]):
        for column, judge in enumerate(sides[1]):
            cell = cross.cell(generator, judge, domain)
            table[:, row, column] = cell.value, cell.low, cell.high
    x = [np.log10([compute[name] for name in names]) for names in sides]
    whole = ~np.isnan(table[0])
    return CrossedCompute(
        domain,
        tuple(sides[0]),
        tuple(sides[1]),
        x[0],
        x[1],
        table[0],
        table[1],
        table[2],
        (
            _slope("generator", table[0], x[0], whole),
            _slope("judge", table[0].T, x[1], whole.T),
        ),
        tuple(name for name, flops in compute.items() if not flops > 0),
    )


def _slope(side: Literal["generator", "judge"], table: Float, x: Float, whole: Float) -> SideSlope:
    """Regress row means on x, over rows without a hole."""
    kept = whole.all(axis=1) if whole.size else np.zeros(len(x), dtype=bool)
    row = SideSlope(side, n_models=int(kept.sum()))
    if row.n_models < FEWEST or np.ptp(x[kept]) < 1e-9:
        return SideSlope(side, n_models=row.n_models, flags=("too_few_models", "not_estimable"))
    fit = regress(table[kept].mean(axis=1), x[kept, None])
    low, high = fit.interval
    return SideSlope(side, fit.slope, fit.se, low, high, fit.p, row.n_models)
