"""Differences of slopes: whether one domain scales and another does not, or one family and not another."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import combinations
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from gapbench.estimate.contrast import detectable
from gapbench.estimate.multiplicity import adjusted
from gapbench.plain import plain
from gapbench.scaling.points import Points, difference
from gapbench.scaling.slopes import ALL, NAN, Fit, Slope, fit_slope

By = Literal["domain", "family"]
ALPHA = 0.05
MOST_FAMILIES = 12  # of a domain; with more, no pair would stand up to Holm


@dataclass(frozen=True, slots=True)
class SlopeContrast:
    """A difference of two slopes; the fields are part of the `--json` contract.

    Attributes
    ----------
    by
        What differs: `domain` or `family`.
    a, b, within
        The two, and the domain (or `all` families) in which they are compared.
    value, se, low, high, df, p
        Slope of a less slope of b, per decade, with 95 % interval and two-sided p-value.
    p_adjusted
        By Holm, over all differences of the same kind.
    mde
        Difference that would be found 8 times in 10, looked for alone.
    paired
        Whether it was taken within models, in which what a model has in common in both domains cancels.
    n_models
        Models behind it.
    verdict
        `larger` or `smaller` where p_adjusted <= .05, `not_established` where not, which is no proof of equality, and
        `not_estimable`.
    """

    by: By
    a: str
    b: str
    within: str
    value: float = NAN
    se: float = NAN
    low: float = NAN
    high: float = NAN
    df: float = NAN
    p: float = NAN
    p_adjusted: float = NAN
    mde: float = NAN
    paired: bool = False
    n_models: int = 0
    verdict: Literal["larger", "smaller", "not_established", "not_estimable"] = "not_estimable"
    flags: tuple[str, ...] = ()


class SlopeContrasts(Sequence[SlopeContrast]):
    """An immutable list of differences of slopes."""

    def __init__(self, rows: Iterable[SlopeContrast]) -> None:
        self._rows = tuple(rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        return self._rows[index]

    def __iter__(self) -> Iterator[SlopeContrast]:
        return iter(self._rows)

    def to_frame(self) -> pd.DataFrame:
        """One row a difference, `flags` joined by spaces."""
        records = [{**asdict(row), "flags": " ".join(row.flags)} for row in self._rows]
        return pd.DataFrame.from_records(records, columns=[one.name for one in fields(SlopeContrast)])

    def to_json(self) -> list[dict[str, Any]]:
        """Plain values for `json.dumps`; `value` is called `difference`."""
        return [
            plain({("difference" if name == "value" else name): one for name, one in asdict(row).items()})
            for row in self._rows
        ]


def between_domains(points: Points, fits: Mapping[tuple[str, str], Fit]) -> SlopeContrasts:
    """Every pair of domains, by their slopes pooled over families.

    Where models are measured in both, each model's difference is regressed on compute: its own deviation from the law, and
    the covariance of prompts and models with it, cancel. Otherwise the two slopes are independent.
    """
    names = [name for name in points.domains if name != ALL]
    models = {name: set(points.where(domain=name).model) for name in names}
    found = []
    for a, b in combinations(names, 2):
        row = SlopeContrast("domain", a, b, ALL)
        both = models[a] & models[b]
        if both:
            common = difference(points, a, b)
            assert common is not None
            slope = fit_slope(common, f"{a} - {b}", ALL, full=False).slope
            lost = max(len(models[a]), len(models[b])) - len(both)
            row = _of_slope(row, slope, [f"common_models:{len(both)}"] * (lost > 0))
        else:
            row = _independent(row, fits[a, ALL], fits[b, ALL], points)
        found.append(row)
    return _judged(found)


def between_families(points: Points, fits: Mapping[tuple[str, str], Fit]) -> SlopeContrasts:
    """Every pair of families with a slope, in every domain that has at most `MOST_FAMILIES` of them."""
    found = []
    for domain in points.domains:
        names = [
            family
            for family in points.families
            if (domain, family) in fits and fits[domain, family].slope.estimable
        ]
        for a, b in combinations(names if len(names) <= MOST_FAMILIES else [], 2):
            row = SlopeContrast("family", a, b, domain)
            found.append(_independent(row, fits[domain, a], fits[domain, b], points))
    return _judged(found)


def _of_slope(row: SlopeContrast, slope: Slope, flags: list[str]) -> SlopeContrast:
    return replace(
        row,
        value=slope.value,
        se=slope.se,
        low=slope.low,
        high=slope.high,
        df=slope.df,
        p=slope.p,
        mde=detectable(slope.se, slope.df) if slope.se > 0 else NAN,
        paired=True,
        n_models=slope.n_models,
        flags=(*slope.flags, *flags),
    )


def _independent(row: SlopeContrast, a: Fit, b: Fit, points: Points) -> SlopeContrast:
    """Difference of the slopes of different models, degrees of freedom by Welch and Satterthwaite.

    Different models on the same prompts share the prompts' error; its covariance is taken off.
    """
    one, other = a.slope, b.slope
    flags = tuple(dict.fromkeys((*one.flags, *other.flags)))
    row = replace(row, n_models=one.n_models + other.n_models, flags=flags)
    if not (one.estimable and other.estimable and one.se > 0 and other.se > 0):
        return replace(row, flags=tuple(dict.fromkeys((*flags, "not_estimable"))))
    parts = np.array([one.se**2, other.se**2])
    df = float(parts.sum() ** 2 / (parts[0] ** 2 / one.df + parts[1] ** 2 / other.df))
    se = math.sqrt(max(float(parts.sum()) - 2 * _shared(a, b, points), float(parts.max()) * 1e-6))
    value = one.value - other.value
    reach = float(stats.t.ppf(1 - ALPHA / 2, df)) * se
    return replace(
        row,
        value=value,
        se=se,
        low=value - reach,
        high=value + reach,
        df=df,
        p=float(2 * stats.t.sf(abs(value) / se, df)),
        mde=detectable(se, df),
    )


def _shared(a: Fit, b: Fit, points: Points) -> float:
    """Covariance of two slopes by the prompts that their models share.

    It is scaled as their variances are by Knapp and Hartung's factors: unscaled it could exceed them, and the difference
    would look certain.
    """
    if points.covariance is None or a.regression is None or b.regression is None:
        return 0.0
    place = {key: row for row, key in enumerate(zip(points.domain, points.model, strict=True))}
    rows = [[place[key] for key in zip(one.points.domain, one.points.model, strict=True)] for one in (a, b)]
    joint = points.covariance[np.ix_(*rows)]
    scale = math.sqrt(a.regression.scale * b.regression.scale)
    return scale * float(a.regression.operator[-1] @ joint @ b.regression.operator[-1])


def _judged(rows: list[SlopeContrast]) -> SlopeContrasts:
    found = []
    for row, p in zip(rows, adjusted([row.p for row in rows]).tolist(), strict=True):
        verdict: Any = "not_established"
        if math.isnan(p):
            verdict = "not_estimable"
        elif p <= ALPHA:
            verdict = "larger" if row.value > 0 else "smaller"
        found.append(replace(row, p_adjusted=p, verdict=verdict))
    return SlopeContrasts(found)
