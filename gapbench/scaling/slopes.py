"""One scaling law: points of a domain, of one family or several, to a slope per decade and what qualifies it.

>>> from gapbench.scaling.points import points_from_frame
>>> import pandas as pd
>>> table = pd.DataFrame({"domain": "maths", "model": list("abcdef"), "family": "f", "flops": 10.0 ** np.arange(20, 26)})
>>> fit = fit_slope(points_from_frame(table.assign(value=[0.1, 0.22, 0.28, 0.41, 0.5, 0.58])), "maths", "f")
>>> round(fit.slope.value, 3), fit.slope.method, fit.slope.flags
(0.096, 'ols', ('no_se',))
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from gapbench.errors import UserError
from gapbench.panel import Float, Int
from gapbench.plain import plain
from gapbench.registry import suggest
from gapbench.scaling.forward import forward_z
from gapbench.scaling.permutation import permutation_p
from gapbench.scaling.points import Points, codes
from gapbench.scaling.regression import LEVEL, Regression, regress
from gapbench.scaling.saturating import Saturating, saturating

NAN = float("nan")
ALL = "all"
FEW = 6  # models below which nothing is foretold beyond half a decade
FAR = 0.5  # decades
MISFIT = 2.0
MOST = 1.0  # a gap takes accuracy to 1 at most
PERFECT = 1e-9  # Knapp-Hartung factor, or residual as a share of the values, that is round-off


class Prediction(NamedTuple):
    """What a new model of a family would show, without error of measurement; 95 % interval.

    Attributes
    ----------
    flags
        `extrapolated` beyond the data by more than half a decade; `refused` where that is not done, with no numbers.
    """

    domain: str
    family: str
    flops: float
    value: float = NAN
    low: float = NAN
    high: float = NAN
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Slope:
    """The slope of a law per decade of FLOPs; the fields are the `--json` contract, where `value` is called `slope`.

    Attributes
    ----------
    domain, family
        `all` where several are pooled.
    quantity
        What is fitted.
    method
        `reml_kh` (independent known errors), `gls_reml_kh` (joint covariance), `ols` (errors not known: unweighted, with
        the residual variance) or `two_stage` (slope per family, then REML and Knapp-Hartung over families).
    value, se, low, high, df, p
        Slope, standard error, 95 % t interval, degrees of freedom and two-sided p-value; NaN where not defined.
    tau, i2
        Scatter of models about the law (of family slopes in two stages) that errors do not explain, and its share of all
        scatter; NaN where errors are not known.
    n_models, n_families
        What tells of the slope; a family's only model does not.
    p_permutation
        Within-family permutation p-value, for at most 8 models.
    forward_z
        Error of forecasting the one or two largest models from the others, in standard errors.
    new_low, new_high
        95 % prediction interval for the slope of a new family (two stages).
    prediction
        For a new model at the largest compute.
    saturating
        The law with a ceiling, beside the line.
    """

    domain: str
    family: str
    quantity: str
    method: str
    value: float = NAN
    se: float = NAN
    low: float = NAN
    high: float = NAN
    df: float = NAN
    p: float = NAN
    tau: float = NAN
    i2: float = NAN
    n_models: int = 0
    n_families: int = 0
    p_permutation: float = NAN
    forward_z: float = NAN
    new_low: float = NAN
    new_high: float = NAN
    prediction: Prediction | None = None
    saturating: Saturating | None = None
    flags: tuple[str, ...] = ()

    @property
    def estimable(self) -> bool:
        """Whether there is an interval."""
        return math.isfinite(self.low) and math.isfinite(self.high)


class Slopes(Sequence[Slope]):
    """An immutable list of slopes that can be filtered by field."""

    def __init__(self, rows: Iterable[Slope]) -> None:
        self._rows = tuple(rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        return self._rows[index]

    def __iter__(self) -> Iterator[Slope]:
        return iter(self._rows)

    def where(self, **values: Any) -> Slopes:
        """Keep the slopes whose fields equal `values`."""
        return Slopes(
            row for row in self._rows if all(getattr(row, name) == value for name, value in values.items())
        )

    def to_frame(self) -> pd.DataFrame:
        """One row a slope, `flags` joined by spaces; the nested law and prediction are left to `to_json`."""
        names = [one.name for one in fields(Slope) if one.name not in ("prediction", "saturating")]
        records = [
            {name: getattr(row, name) for name in names} | {"flags": " ".join(row.flags)} for row in self
        ]
        return pd.DataFrame.from_records(records, columns=names)

    def to_json(self) -> list[dict[str, Any]]:
        """Plain values for `json.dumps`; a number that is not finite becomes null."""
        found = []
        for row in self:
            record = asdict(row)
            record["prediction"] = None if row.prediction is None else row.prediction._asdict()
            found.append(plain({("slope" if name == "value" else name): one for name, one in record.items()}))
        return found


@dataclass(frozen=True, eq=False)
class Fit:
    """A slope with what it was read off: points, family codes and names, and the regression if there is one."""

    slope: Slope
    points: Points
    groups: Int
    families: list[str]
    regression: Regression | None

    def predict(self, flops: float, family: str) -> Prediction:
        """What a new model of a family would show at this compute.

        More than half a decade beyond the data nothing is said where the forward hold-out failed (|z| > 2 or none) or there
        are fewer than 6 models (projection.md, section 1), and nowhere where the law says more than 1, which no gap is.

        Raises
        ------
        UserError
            If the fit has no such family.
        """
        if family not in self.families:
            raise UserError(f"no family '{family}' in this fit{suggest(family, self.families)}")
        found = Prediction(self.slope.domain, family, flops)
        x = math.log10(flops)
        beyond = max(x - self.points.x.max(), self.points.x.min() - x) > FAR + 1e-9
        z = self.slope.forward_z
        unsure = self.slope.n_models < FEW or not abs(z) <= MISFIT
        if self.regression is None or not self.slope.estimable or (beyond and unsure):
            return found._replace(flags=("refused",))
        value, low, high = self.band(np.array([x]), family, new_model=True)
        if value[0] > MOST:
            return found._replace(flags=("refused",))
        flags = ("extrapolated",) if beyond else ()
        return found._replace(
            value=float(value[0]), low=float(low[0]), high=min(float(high[0]), MOST), flags=flags
        )

    def band(self, x: Float, family: str, *, new_model: bool = False) -> tuple[Float, Float, Float]:
        """The law at log10 FLOPs x with its 95 % interval, or that of a new model (law and Var(u) together).

        A new model's has one degree of freedom less where tau^2 is estimated beside known variances (Higgins, Thompson and
        Spiegelhalter 2009, JRSS A 172(1), eq. 12).
        """
        assert self.regression is not None
        mean, se = self.regression.line(self.families.index(family), x[:, None])
        spent = new_model and self.points.variance() is not None
        quantile = float(stdtrit(max(self.regression.df - spent, 1), 0.5 + LEVEL / 2))
        reach = quantile * np.sqrt(se**2 + self.regression.tau2 * new_model)
        return mean, mean - reach, mean + reach


def fit_slope(points: Points, domain: str, family: str, *, gap: bool = False, full: bool = True) -> Fit:
    """Fit y = alpha_family + beta x + u + e.

    Parameters
    ----------
    points
        Of one domain; of one family, or of several that are pooled.
    domain, family
        Names for the row.
    gap
        Fit the absolute gap in place of the points' value.
    full
        Whether permutation p, hold-out and saturating law are wanted.
    """
    y = points.gap if gap else points.value
    variance = points.variance(gap)
    quantity = "gap" if gap else points.quantity
    flags = [] if variance is not None else ["no_se" if np.isnan(points.se).all() else "some_se_missing"]
    alone = _alone(points)
    kept = points.take(~alone)
    groups, families = codes(kept.family)
    row = Slope(domain, family, quantity, _method(variance), n_models=len(kept), n_families=len(families))
    y, variance = y[~alone], _part(variance, ~alone)
    if alone.any():
        flags.append(f"single_models:{int(alone.sum())}")
    if len(points) > 1 and len(kept) and not _varies(kept.x, groups):
        row = replace(row, flags=(*flags, "equal_flops", "not_estimable"))
        return Fit(row, kept, groups, families, None)
    if len(kept) - len(families) < 2:
        row = replace(row, flags=(*flags, "too_few_points", "not_estimable"))
        return Fit(row, kept, groups, families, None)
    fit = regress(y, kept.x[:, None], variance=variance, groups=groups)
    row = _with_interval(replace(row, value=fit.slope, df=float(fit.df)), fit, y, flags)
    if full:
        row = replace(
            row,
            p_permutation=permutation_p(y, kept.x, variance, groups),
            forward_z=forward_z(y, kept.x, variance, groups),
            saturating=saturating(y, kept.x, variance, groups),
        )
        if row.n_models < FEW:
            flags.append("few_models")
        if abs(row.forward_z) > MISFIT:
            flags.append("forward_misfit")
    found = Fit(replace(row, flags=tuple(flags)), kept, groups, families, fit)
    if not full:
        return found
    largest = int(np.argmax(kept.x))
    at = found.predict(float(10.0 ** kept.x[largest]), kept.family[largest])
    return replace(found, slope=replace(found.slope, prediction=at))


def _with_interval(row: Slope, fit: Regression, y: Float, flags: list[str]) -> Slope:
    """Add standard error, interval and p-value, or a flag that says why there are none."""
    known = fit.data.known
    row = replace(row, tau=math.sqrt(fit.tau2) if known else NAN, i2=fit.i2)
    if fit.scale < PERFECT if known else fit.tau2 <= PERFECT**2 * float(np.mean(y**2)):
        flags.append("perfect_fit")  # residuals that are round-off cannot tell how sure the slope is
        if not known:
            flags.append("not_estimable")
            return row
        reach = fit.quantile * fit.se_known
        return replace(row, se=fit.se_known, low=fit.slope - reach, high=fit.slope + reach)
    low, high = fit.interval
    return replace(row, se=fit.se, low=low, high=high, p=fit.p)


def _method(variance: Float | None) -> str:
    if variance is None:
        return "ols"
    return "reml_kh" if variance.ndim == 1 else "gls_reml_kh"


def _part(variance: Float | None, kept: Any) -> Float | None:
    if variance is None:
        return None
    return variance[kept] if variance.ndim == 1 else variance[np.ix_(kept, kept)]


def _alone(points: Points) -> Any:
    """Whether a point is its family's only one, whose intercept takes all that it says."""
    groups, _ = codes(points.family)
    return np.bincount(groups)[groups] == 1 if len(points) > 1 else np.zeros(len(points), dtype=bool)


def _varies(x: Float, groups: Int) -> bool:
    """Whether compute varies within any family by more than round-off."""
    first = np.full(int(groups.max()) + 1, np.nan)
    first[groups[::-1]] = x[::-1]
    return bool((np.abs(x - first[groups]) > 1e-9).any())
