"""What is estimated: a smooth function of means over prompts, as columns with one number a prompt.

Every quantity of measurement.md section 3 is a sum of terms sign * E[top]/E[bottom]: accuracy is one term, a
pooled gap E[w u]/E[w] - E[u] is two, and the paired difference of two such quantities is their terms together.
Standard errors and resampling (`gapbench.estimate.intervals`) are written once, for that form.

>>> u = np.array([1.0, 0.5, 0.0])
>>> ratio(u, np.array([1.0, 1.0, 2.0])).minus(mean(u)).value()
-0.125
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gapbench.panel import Float


class Term(NamedTuple):
    """sign * E[top]/E[bottom]; a bottom of None is 1."""

    sign: float
    top: Float
    bottom: Float | None


class Form(NamedTuple):
    """A quantity without its data: terms as (sign, column of the top, column of the bottom), and its range.

    Column 0 is the constant 1.
    """

    terms: tuple[tuple[float, int, int], ...]
    low: float
    high: float
    when_empty: float
    reach: float = 0.0
    carriers: tuple[int, ...] = ()

    @property
    def bottoms(self) -> list[int]:
        """Columns that are divided by, the constant left out."""
        return [bottom for _, _, bottom in self.terms if bottom > 0]

    @property
    def is_mean(self) -> bool:
        """Whether the quantity is the plain mean of one column."""
        return len(self.terms) == 1 and not self.bottoms and self.terms[0][0] == 1

    def evaluate(self, means: Float) -> tuple[Float, Float]:
        """Value and its gradient with respect to the means.

        Parameters
        ----------
        means
            [..., column].

        Returns
        -------
        Value [...] and gradient [..., column]; not finite where a bottom is 0.
        """
        value = np.zeros(means.shape[:-1])
        gradient = np.zeros(means.shape)
        with np.errstate(divide="ignore", invalid="ignore"):
            for sign, top, bottom in self.terms:
                below = means[..., bottom]
                share = means[..., top] / below
                value += sign * share
                gradient[..., top] += sign / below
                gradient[..., bottom] -= sign * share / below
        return value, gradient


class CurveForm(NamedTuple):
    """A function of the means of a curve's points that has no useful gradient, such as a fit that may switch off.

    Attributes
    ----------
    function
        [..., point] to [...].
    flags
        What qualifies the value at these means [point].
    """

    function: Callable[[Float], Float]
    flags: Callable[[Float], tuple[str, ...]]
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Curve:
    """A `CurveForm` with its data: [prompt, point]. A prompt where any point is NaN leaves."""

    points: Float
    form: CurveForm

    def columns(self) -> tuple[Float, CurveForm]:
        """The points after a leading 1, all 0 for prompts that leave, and the form."""
        return _stacked([self.points]), self.form

    def value(self) -> float:
        """The point estimate on these prompts; NaN where there is none."""
        columns, form = self.columns()
        count = columns[:, 0].sum()
        return float(form.function(columns[:, 1:].sum(axis=0) / count)) if count else float("nan")


def _stacked(columns: Sequence[Float]) -> Float:
    stacked = np.column_stack([np.ones(len(columns[0])), *columns])
    stacked[np.isnan(stacked).any(axis=1)] = 0.0
    return stacked


@dataclass(frozen=True, eq=False)
class Quantity:
    """Columns and how they combine.

    Attributes
    ----------
    terms
        Columns have shape [prompt]. A prompt where any of them is NaN leaves the quantity.
    low, high
        Natural range, infinite where there is none.
    when_empty
        Value where a bottom is 0 for every prompt, such as a pooled gap when nothing passes.
    reach
        How far a prompt unlike all that were seen can lie from the value, for quantities that rare prompts decide.
        Where few prompts carry the estimate, the interval reaches at least as far as if they were all alike.
    carriers
        For means over pairs of prompts, columns that say how much of either kind a prompt holds: the interval has no
        more degrees of freedom than prompts hold the scarcer kind.
    """

    terms: tuple[Term, ...]
    low: float = -np.inf
    high: float = np.inf
    when_empty: float = np.nan
    reach: float = 0.0
    carriers: tuple[Float, ...] = ()

    def minus(self, other: Quantity) -> Quantity:
        """The difference from another quantity on the same prompts, to be resampled together (paired).

        A prompt unlike all that were seen may be so to one side alone, so that the difference reaches as far as either.
        """
        negated = tuple(term._replace(sign=-term.sign) for term in other.terms)
        return Quantity(
            self.terms + negated,
            self.low - other.high,
            self.high - other.low,
            reach=max(self.reach, other.reach),
            carriers=self.carriers + other.carriers,
        )

    def columns(self) -> tuple[Float, Form]:
        """Distinct columns [prompt, column] after a leading 1, all 0 for prompts that leave, and the form."""
        distinct: dict[int, Float] = {}
        for term in self.terms:
            for column in (term.top, term.bottom):
                if column is not None:
                    distinct.setdefault(id(column), column)
        for column in self.carriers:
            distinct.setdefault(id(column), column)
        position = {key: place for place, key in enumerate(distinct, start=1)}
        terms = tuple(
            (term.sign, position[id(term.top)], 0 if term.bottom is None else position[id(term.bottom)])
            for term in self.terms
        )
        carriers = tuple(position[id(column)] for column in self.carriers)
        form = Form(terms, self.low, self.high, self.when_empty, self.reach, carriers)
        return _stacked(list(distinct.values())), form

    def value(self) -> float:
        """The point estimate on these prompts; NaN where there is none."""
        columns, form = self.columns()
        count = columns[:, 0].sum()
        if count == 0:
            return float("nan")
        value = float(form.evaluate(columns.sum(axis=0) / count)[0])
        return value if np.isfinite(value) else form.when_empty


def mean(column: Float, low: float = -np.inf, high: float = np.inf) -> Quantity:
    """E[column]."""
    return Quantity((Term(1.0, column, None),), low, high)


def ratio(top: Float, bottom: Float, low: float = -np.inf, high: float = np.inf) -> Quantity:
    """E[top]/E[bottom], a ratio of means."""
    return Quantity((Term(1.0, top, bottom),), low, high)


def ratio_less_mean(top: Float, bottom: Float, less: Float, when_empty: float = np.nan) -> Quantity:
    """E[top]/E[bottom] - E[less], each part in [0, 1]."""
    return Quantity((Term(1.0, top, bottom), Term(-1.0, less, None)), -1.0, 1.0, when_empty)
