"""The points of a scaling law: one for each model and domain, from a table or from runs.

>>> table = pd.DataFrame({"domain": "maths", "model": ["a", "b"], "family": "f", "flops": [1e21, 1e22], "value": [0.1, 0.2]})
>>> found = points_from_frame(table)
>>> found.x.tolist(), found.left_out
([21.0, 22.0], ())
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from gapbench.errors import UserError
from gapbench.estimate.table import OVERALL
from gapbench.interop.reading import open_table
from gapbench.panel import Bool, Float, Int

TEXT = ("domain", "model", "family")
RATES = ("accuracy", "fpr", "fnr")
NUMBERS = ("flops", "value", "se", *RATES)
OPTIONAL = ("value", "se", *RATES)
QUANTITIES = ("relative_gap", "gap")
MOST = 1e6  # no gap or standard error is as large, and squares of far larger ones are not finite

REASONS = {
    "no_flops": "no training compute is known (parameters or tokens are missing)",
    "no_value": "there is no number to fit",
    "nothing_parsed": "FPR = FNR = 1: no verdict could be read, which is no gap",
    "zero_se": "a standard error of 0 claims perfect knowledge",
}
"""Why a point is left out of every fit."""


class LeftOut(NamedTuple):
    """A point that no fit uses, and why (a key of `REASONS`)."""

    domain: str
    model: str
    family: str
    reason: str


@dataclass(frozen=True, eq=False)
class Points:
    """What is fitted; every array has shape [point].

    Attributes
    ----------
    x
        log10 of the pretraining FLOPs.
    value
        The quantity, the relative gap unless said otherwise.
    covariance
        Of the values' errors [point, point] where prompts are shared; None where errors are independent.
    se
        Standard errors of the values; NaN where not known.
    accuracy
        NaN where not known.
    gap
        Absolute gap, for the control; NaN where not known.
    gap_covariance
        Of the gaps' errors; None as for `covariance`.
    quantity
        What `value` is.
    left_out
        Points that could not be used.
    notes
        Sentences on what was done to the points.
    """

    domain: tuple[str, ...]
    model: tuple[str, ...]
    family: tuple[str, ...]
    x: Float
    value: Float
    se: Float
    accuracy: Float
    gap: Float
    covariance: Float | None = None
    gap_covariance: Float | None = None
    quantity: str = "relative_gap"
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.x)

    @property
    def domains(self) -> list[str]:
        """In order of appearance, all domains together last."""
        return sorted(dict.fromkeys(self.domain), key=lambda name: name == OVERALL)

    @property
    def families(self) -> list[str]:
        """In order of appearance."""
        return list(dict.fromkeys(self.family))

    def variance(self, gap: bool = False) -> Float | None:
        """Known error variances of the values or gaps [point], their covariance, or None where one is not known."""
        joint = self.gap_covariance if gap else self.covariance
        if joint is not None:
            return joint
        se = self.se * (1.0 - self.accuracy) if gap and self.quantity == "relative_gap" else self.se
        return None if np.isnan(se).any() else se**2

    def take(self, kept: Bool) -> Points:
        """Those points alone."""
        places = np.flatnonzero(kept)
        words: dict[str, Any] = {
            name: tuple(getattr(self, name)[place] for place in places)
            for name in ("domain", "model", "family")
        }
        arrays: dict[str, Any] = {
            name: getattr(self, name)[places] for name in ("x", "value", "se", "accuracy", "gap")
        }
        joint: dict[str, Any] = {
            name: None if (whole := getattr(self, name)) is None else whole[np.ix_(places, places)]
            for name in ("covariance", "gap_covariance")
        }
        return replace(self, **words, **arrays, **joint)

    def where(self, *, domain: str | None = None, family: str | None = None) -> Points:
        """The points of a domain, of a family, or of both."""
        kept = np.ones(len(self), dtype=bool)
        if domain is not None:
            kept &= np.array(self.domain) == domain
        if family is not None:
            kept &= np.array(self.family) == family
        return self.take(kept)

    def to_frame(self) -> pd.DataFrame:
        """One row a point, those left out below with the reason."""
        used = pd.DataFrame(
            {
                "domain": self.domain,
                "model": self.model,
                "family": self.family,
                "flops": 10.0**self.x,
                "value": self.value,
                "se": self.se,
                "accuracy": self.accuracy,
                "gap": self.gap,
                "flags": "",
            }
        )
        lost = pd.DataFrame(
            [(*one[:3], one.reason) for one in self.left_out], columns=["domain", "model", "family", "flags"]
        )
        return pd.concat([used, lost], ignore_index=True) if len(lost) else used


def points_from_frame(table: pd.DataFrame, *, quantity: str = "relative_gap") -> Points:
    """Points of a frame with the columns of a `points` table.

    Parameters
    ----------
    table
        `domain, model, family, flops, value`, optionally `se` and `accuracy`. In place of `value` there may be the
        columns `accuracy, fpr, fnr` of a verifier, whose relative gap is p (TPR - FPR)/A with A = p TPR + (1 - p) FPR
        (measurement.md, section 3).
    quantity
        What `value` is: `relative_gap` or `gap`.

    Raises
    ------
    UserError
        If a column is missing, a row names no domain, model or family, a number is impossible, a model appears twice in a
        domain, or there is no such quantity.
    """
    rows = table.reset_index(drop=True)
    for name in (*TEXT, "flops"):
        if name not in rows:
            raise UserError(
                f"points table: there is no column '{name}'; it needs {', '.join((*TEXT, 'flops', 'value'))}"
            )
    if "value" not in rows and not set(RATES) <= set(rows):
        raise UserError(
            "points table: there is no column 'value'; add it, or accuracy, fpr and fnr to compute it from"
        )
    for name in set(NUMBERS) & set(rows):
        numbers = pd.to_numeric(rows[name], errors="coerce")
        if (wrong := numbers.isna() & rows[name].notna()).any():
            at = int(wrong.to_numpy().argmax())
            raise UserError(
                f"points table, row {at + 1}: column '{name}' holds numbers, and {rows[name][at]!r:.60} is not one"
            )
        rows[name] = numbers.astype(float)
    return _checked(rows, "points table", quantity)


def read_points(path: str | Path, *, quantity: str = "relative_gap") -> Points:
    """Points of a CSV or Parquet file; `points_from_frame` says what it holds.

    Raises
    ------
    UserError
        With the file, and the row where it is one row's fault.
    """
    source = open_table(path, text=TEXT, numbers=NUMBERS, optional=OPTIONAL)
    if "value" not in source.numbers and not set(RATES) <= set(source.numbers):
        raise UserError(
            f"{path}: there is no column 'value'; add it, or accuracy, fpr and fnr to compute it from"
        )
    frames = [batch.to_pandas() for _, batch in source.batches()]
    rows = pd.concat([frame.astype(dict.fromkeys(TEXT, object)) for frame in frames], ignore_index=True)
    return _checked(rows, str(path), quantity)


def _checked(rows: pd.DataFrame, name: str, quantity: str) -> Points:
    def refuse(wrong: Bool, why: str) -> None:
        if wrong.any():
            raise UserError(f"{name}, row {int(wrong.argmax()) + 1}: {why}")

    known_quantity(quantity)

    words = {column: rows[column].where(rows[column].notna(), "").astype(str).str.strip() for column in TEXT}
    for column, word in words.items():
        refuse((word == "").to_numpy(), f"'{column}' is empty; every row needs one")
    refuse(
        (words["family"] == OVERALL).to_numpy(),
        f"family '{OVERALL}' is the name of all families together; give it another",
    )
    numbers = {
        column: rows[column].to_numpy(dtype=float) if column in rows else np.full(len(rows), np.nan)
        for column in NUMBERS
    }
    flops, se = numbers["flops"], numbers["se"]
    refuse((flops <= 0) | np.isinf(flops), "flops must be above 0: 6 x parameters x training tokens")
    refuse(
        (se < 0) | (se > MOST),
        f"se must be a standard error: from 0 to {MOST:g}, or empty where it is not known",
    )
    for rate in RATES:
        refuse((numbers[rate] < 0) | (numbers[rate] > 1), f"{rate} must lie between 0 and 1")
    refuse(np.abs(numbers["value"]) > MOST, f"value must be a gap: at most {MOST:g} in size")
    _once(words, name)

    value = numbers["value"] if "value" in rows else _relative_gap(numbers)
    if quantity == "gap" and "value" not in rows:
        value = value * (1.0 - numbers["accuracy"])
    unparsed = (numbers["fpr"] == 1) & (numbers["fnr"] == 1)
    reasons = {
        "nothing_parsed": unparsed,
        "no_flops": np.isnan(flops),
        "no_value": np.isnan(value),
        "zero_se": se == 0,
    }
    lost = np.any(list(reasons.values()), axis=0)
    left_out = tuple(
        LeftOut(
            words["domain"][row],
            words["model"][row],
            words["family"][row],
            next(why for why, hit in reasons.items() if hit[row]),
        )
        for row in np.flatnonzero(lost)
    )
    if lost.all():
        counts = {why: int(hit.sum()) for why, hit in reasons.items() if hit.any()}
        told = "; ".join(f"{count} of {len(rows)} rows: {REASONS[why]}" for why, count in counts.items())
        raise UserError(
            f"{name}: no row can be fitted ({told}); mend them, or leave the column out where it is se"
        )
    accuracy = numbers["accuracy"]
    points = Points(
        tuple(words["domain"]),
        tuple(words["model"]),
        tuple(words["family"]),
        np.log10(flops),
        value,
        se,
        accuracy,
        value * (1.0 - accuracy) if quantity == "relative_gap" else value,
        quantity=quantity,
        left_out=left_out,
    )
    return points.take(~lost)


def known_quantity(quantity: str) -> None:
    """Refuse what no scaling law is of.

    Raises
    ------
    UserError
        If it is not one of `QUANTITIES`.
    """
    if quantity not in QUANTITIES:
        raise UserError(f"--quantity {quantity}: a scaling law is of {' or '.join(QUANTITIES)}")


def _relative_gap(numbers: dict[str, Float]) -> Float:
    """P (TPR - FPR)/A; NaN where nothing is accepted."""
    p, fpr, tpr = numbers["accuracy"], numbers["fpr"], 1.0 - numbers["fnr"]
    accepted = p * tpr + (1.0 - p) * fpr
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(accepted > 0, p * (tpr - fpr) / accepted, np.nan)


def _once(words: dict[str, pd.Series], name: str) -> None:
    """Refuse a model that is twice in a domain: it would count twice."""
    seen: dict[tuple[str, str], int] = {}
    for row, key in enumerate(zip(words["domain"], words["model"], strict=True)):
        if key in seen:
            raise UserError(
                f"{name}, rows {seen[key] + 1} and {row + 1}: both are model {key[1]} in domain {key[0]}; keep one, or "
                "average them"
            )
        seen[key] = row


def over_domains(points: Points) -> Points | None:
    """For each model its mean over domains, which weigh equally; None where there is one domain.

    Models that lack a domain leave. Points of a domain named `all` are taken as they are.
    """
    if OVERALL in points.domain:
        return points.where(domain=OVERALL)
    names = points.domains
    if len(names) < 2:
        return None
    return _combined(points, {name: 1.0 / len(names) for name in names}, OVERALL)


def difference(points: Points, a: str, b: str) -> Points | None:
    """For each model its value in domain a less that in b; models that lack one of them leave."""
    return _combined(points, {a: 1.0, b: -1.0}, f"{a} - {b}")


def _combined(points: Points, weights: dict[str, float], name: str) -> Points | None:
    places: dict[str, dict[str, int]] = {domain: {} for domain in weights}
    for row, (domain, model) in enumerate(zip(points.domain, points.model, strict=True)):
        if domain in places:
            places[domain][model] = row
    models = [model for model in dict.fromkeys(points.model) if all(model in own for own in places.values())]
    rows = np.array([[own[model] for own in places.values()] for model in models], dtype=np.int64)
    share = np.array(list(weights.values()))
    if not len(rows):
        return None

    def spread(joint: Float | None) -> Float | None:
        if joint is None:
            return None
        return np.asarray(np.einsum("a,iajb,b->ij", share, joint[rows[:, :, None, None], rows], share))

    covariance, gap_covariance = spread(points.covariance), spread(points.gap_covariance)
    se = np.sqrt((points.se[rows] ** 2) @ share**2) if covariance is None else np.sqrt(np.diag(covariance))
    return replace(
        points,
        domain=(name,) * len(rows),
        model=tuple(models),
        family=tuple(points.family[row] for row in rows[:, 0]),
        x=points.x[rows[:, 0]],
        value=points.value[rows] @ share,
        se=se,
        accuracy=points.accuracy[rows].mean(axis=1),
        gap=points.gap[rows] @ share,
        covariance=covariance,
        gap_covariance=gap_covariance,
    )


def inconsistent(points: Points) -> Iterator[str]:
    """Models whose family or compute differs between domains, a sentence each."""
    seen: dict[str, tuple[str, float]] = {}
    for model, family, x in zip(points.model, points.family, points.x, strict=True):
        before = seen.setdefault(model, (family, x))
        if before[0] != family or abs(before[1] - x) > 1e-9:
            yield f"{model} has another family or other flops in another domain"


def codes(words: Sequence[str]) -> tuple[Int, list[str]]:
    """Code of each word in order of appearance, and the words."""
    names = list(dict.fromkeys(words))
    place = {word: code for code, word in enumerate(names)}
    return np.array([place[word] for word in words], dtype=np.int64), names
