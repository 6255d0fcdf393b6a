"""Differences of a quantity: paired or independent, with p-value, multiplicity and what could have been seen.

A difference has the interval of any other quantity (`gapbench.estimate.intervals`), and its p-value is read off that
interval, so that the two cannot disagree: without adjustment, p <= .05 exactly where the interval excludes 0.

>>> from gapbench.estimate.quantity import mean
>>> rng = np.random.default_rng(0)
>>> difficulty = rng.random(60)
>>> one, other = (mean(difficulty + 0.1 * rng.random(60) + shift, 0, 2) for shift in (0.1, 0.0))
>>> tasks = [Resampling(np.arange(60), seed=0)]
>>> found = paired(Strata([one], tasks, [1.0]), Strata([other], tasks, [1.0]))
>>> round(found.value, 2), p_value(found) < 0.001
(0.1, True)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from gapbench.estimate.intervals import ALPHA, ROUND_OFF, Interval, combine
from gapbench.estimate.multiplicity import Adjust, adjusted, shrunken
from gapbench.estimate.quantity import Quantity
from gapbench.estimate.resampling import Resampling
from gapbench.plain import plain

Outcome = Literal["higher", "lower", "tied", "equivalent", "not_estimable"]

POWER = 0.8


class Strata(NamedTuple):
    """A quantity on the tasks whose means are weighed together.

    Attributes
    ----------
    quantities
        One for each task.
    resampling
        The clusters of each task, and how they are resampled.
    weights
        Weight of each task's mean.
    """

    quantities: Sequence[Quantity]
    resampling: Sequence[Resampling]
    weights: Sequence[float]


def point(a: Strata) -> float:
    """The estimate alone, without resampling; NaN where there is none."""
    means, form = [], None
    for one in a.quantities:
        columns, form = one.columns()
        means.append(
            columns.sum(axis=0) / columns[:, 0].sum() if columns[:, 0].any() else columns[0] * np.nan
        )
    assert form is not None
    value = float(form.evaluate(np.average(means, axis=0, weights=a.weights))[0])
    return value if np.isfinite(value) else form.when_empty


def single(a: Strata) -> Interval:
    """A quantity itself, which is its difference from 0."""
    strata = [drawn.moments([one])[0] for one, drawn in zip(a.quantities, a.resampling, strict=True)]
    return combine(strata, a.weights)


def paired(a: Strata, b: Strata) -> Interval:
    """Difference a - b on the same prompts in the same order, resampled together.

    A prompt that either side has no number for leaves. The shared difficulty of the prompts cancels.
    """
    differences = [one.minus(other) for one, other in zip(a.quantities, b.quantities, strict=True)]
    found = single(Strata(differences, a.resampling, a.weights))
    return replace(found, value=0.0) if abs(found.value) <= ROUND_OFF else found


def independent(a: Strata, b: Strata) -> Interval:
    """Difference a - b over different prompts.

    The interval adds the squared reaches of both sides' intervals (MOVER; Zou and Donner 2008, Statistics in Medicine
    27(10), eq. 8), which keeps their skewness: low = a - b - hypot(a - low_a, high_b - b), and high likewise. Degrees of
    freedom by Welch-Satterthwaite.
    """
    one, other = single(a), single(b)
    value = one.value - other.value
    parts = np.array([one.se**2, other.se**2])
    within = np.array([one.df, other.df])
    df = float(parts.sum() ** 2 / (parts**2 / within).sum()) if parts.sum() > 0 else float(within.sum())
    return Interval(
        value,
        float(np.sqrt(parts.sum())),
        value - math.hypot(one.value - one.low, other.high - other.value),
        value + math.hypot(one.high - one.value, other.value - other.low),
        df,
        one.n_prompts + other.n_prompts,
        one.n_clusters + other.n_clusters,
        tuple(dict.fromkeys(one.flags + other.flags)),
    )


def p_value(found: Interval) -> float:
    """Two-sided p-value that the interval implies, for a true value of 0. NaN where there is no interval.

    The interval's reach r towards 0 is c = r/(t_.975 se) >= 1 times that of the t interval, c being what the
    studentised bootstrap adds. The same factor is applied at every level: p = 2 P(T_df > t_.975 |value|/r), hence never
    below the t-test's, at most .05 exactly where the interval excludes 0, and without the floor 2/(B + 1) that a count
    of resamples would put under adjusted p-values.
    """
    if found.value == 0:
        return 1.0
    reach = found.value - found.low if found.value > 0 else found.high - found.value
    if not reach > 0:
        return float("nan")
    return float(2 * stats.t.sf(stats.t.ppf(1 - ALPHA / 2, found.df) * abs(found.value) / reach, found.df))


def detectable(se: float, df: float) -> float:
    """Minimum detectable effect: the true difference that a single two-sided test at .05 finds with power .8.

    (t_.975 + t_.80) se, both quantiles with `df` degrees of freedom (Bloom 1995, Evaluation Review 19(5)). NaN where
    nothing varies.
    """
    return float((stats.t.ppf(1 - ALPHA / 2, df) + stats.t.ppf(POWER, df)) * se) if se > 0 else float("nan")


def p_equivalence(difference: float, low: float, high: float, df: float, margin: float) -> float:
    """P-value for a true difference of `margin` or more, in either direction, by its 95 % interval.

    Two one-sided tests (Schuirmann 1987, Journal of Pharmacokinetics and Biopharmaceutics 15(6)), each at .025 where he has
    .05: the larger of both p-values, doubled. As in `p_value` the interval's reach is applied at every level, so that it is
    at most .05 exactly where the interval lies within the margin. NaN where there is no interval.
    """
    quantile = stats.t.ppf(1 - ALPHA / 2, df)
    found = []
    for room, reach in ((margin - difference, high - difference), (margin + difference, difference - low)):
        if math.isnan(reach):
            return float("nan")
        away = quantile * room / reach if reach > 0 else math.copysign(math.inf, room)
        found.append(float(2 * stats.t.sf(away, df)))
    return min(1.0, max(found))


@dataclass(frozen=True, slots=True)
class Contrast:
    """One comparison; the fields are part of the `--json` contract.

    Attributes
    ----------
    a, b
        What is compared: two runs, verifiers, filters or domains; b is `zero` where a is held against none.
    model, domain, verifier, quantity, filter, n, m
        Of what it is compared, empty or None where that is what a and b differ in or plays no part.
    value_a, value_b
        The two sides on the prompts used.
    difference, se, low, high, df
        a - b with its standard error, 95 % interval and degrees of freedom.
    p, p_adjusted
        Before and after adjusting for the other comparisons of the table; NaN where no claim is made.
    mde
        Minimum detectable effect (`detectable`).
    verdict
        `higher` or `lower` (a than b) where p_adjusted <= .05, `tied` where not, which is no proof of equality, and
        `not_estimable`, also below 20 prompts. `equivalent` comes before all of these, where a margin was asked for and
        the difference is shown to be smaller: then it does not matter, whether or not it can be told from 0.
    shrunken
        Empirical-Bayes estimate of the difference, for display only; NaN with fewer than 4 rows.
    margin
        Difference from which one would matter; None where none was asked for.
    p_equivalence
        That the difference reaches the margin (`p_equivalence`), adjusted as `p_adjusted` is.
    n_prompts
        Prompts behind the difference.
    """

    a: str
    b: str
    model: str
    domain: str
    verifier: str
    quantity: str
    filter: str
    n: int | None
    m: int | None
    value_a: float
    value_b: float
    difference: float
    se: float
    low: float
    high: float
    df: float
    p: float
    n_prompts: int
    mde: float
    flags: tuple[str, ...] = ()
    p_adjusted: float = float("nan")
    verdict: Outcome = "not_estimable"
    shrunken: float = float("nan")
    margin: float | None = None
    p_equivalence: float = float("nan")


class Contrasts(Sequence[Contrast]):
    """An immutable list of comparisons, and what there is to say of all of them.

    Attributes
    ----------
    adjust
        How the p-values were adjusted.
    notes
        What was left out of the comparison and why, a sentence each.
    """

    def __init__(self, rows: Iterable[Contrast], adjust: Adjust = "holm", notes: Sequence[str] = ()) -> None:
        self._rows = tuple(rows)
        self.adjust = adjust
        self.notes = tuple(notes)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        return self._rows[index]

    def __iter__(self) -> Iterator[Contrast]:
        return iter(self._rows)

    def to_frame(self) -> pd.DataFrame:
        """One row a comparison, `flags` joined by spaces."""
        records = [{**asdict(row), "flags": " ".join(row.flags)} for row in self._rows]
        return pd.DataFrame.from_records(records, columns=[column.name for column in fields(Contrast)])

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`; a number that is not finite becomes null."""
        return {"adjust": self.adjust, "contrasts": plain(self._rows), "notes": list(self.notes)}


def judged(family: Sequence[Contrast], adjust: Adjust = "holm") -> list[Contrast]:
    """Add adjusted p-values, verdicts and shrunken differences to the comparisons of one table."""
    towards_zero = any(row.b != "zero" for row in family)
    p = adjusted([row.p for row in family], adjust)
    shown = shrunken(
        [row.difference for row in family], [row.se for row in family], towards_zero=towards_zero
    )
    margins = adjusted([row.p_equivalence for row in family], adjust)
    found = []
    for row, own, estimate, small in zip(family, p.tolist(), shown.tolist(), margins.tolist(), strict=True):
        verdict: Outcome = "tied"
        if math.isnan(own):
            verdict = "not_estimable"
        elif own <= ALPHA:
            verdict = "higher" if row.difference > 0 else "lower"
        if small <= ALPHA:
            verdict = "equivalent"
        found.append(replace(row, p_adjusted=own, verdict=verdict, shrunken=estimate, p_equivalence=small))
    return found
