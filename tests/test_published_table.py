"""Verifier gain and relative gap at published rates: estimators against the identities of measurement.md section 3."""

from __future__ import annotations

import csv
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from gapbench.estimate.discrimination import at_threshold
from gapbench.estimate.quantity import mean, ratio
from gapbench.estimate.selection import passes, weighted_gap
from gapbench.panel import Float

EXACT = 1e-9
LARGEST = 2_000_000


def published(folder: Path) -> list[dict[str, str]]:
    with (folder / "self_verification_gsm8k.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def table(p: float, tpr: float, fpr: float) -> tuple[Float, Float]:
    """Utility and score [1, response] with these rates.

    The share that passes must be c/N: the nearest such fraction is off by less than 1/N^2. Utilities, which may lie
    between 0 and 1, then give accuracy and true-positive rate exactly.
    """
    accepted = p * tpr + (1 - p) * fpr
    share = Fraction(accepted).limit_denominator(LARGEST)
    count, size = share.numerator, share.denominator
    utility = np.concatenate(
        [
            np.full(count, p * tpr * size / max(count, 1)),
            np.full(size - count, p * (1 - tpr) * size / max(size - count, 1)),
        ]
    )
    return utility[None], (np.arange(size) < count).astype(float)[None]


def test_the_table_has_what_it_is_read_for(shared_data: Path) -> None:
    rows = published(shared_data)
    assert len(rows) == 37
    assert all(0 <= float(row[name]) <= 1 for row in rows for name in ("accuracy", "fpr", "fnr"))


def test_estimators_agree_with_the_identities_at_published_rates(shared_data: Path) -> None:
    for row in published(shared_data):
        p, fpr, tpr = float(row["accuracy"]), float(row["fpr"]), 1 - float(row["fnr"])
        accepted = p * tpr + (1 - p) * fpr
        utility, score = table(p, tpr, fpr)

        found = at_threshold(utility, score, 0.5)
        rates = {name: found[name].value() for name in ("tpr", "fpr", "youden", "precision")}
        wanted = {"tpr": tpr, "fpr": fpr, "youden": tpr - fpr, "precision": p * tpr / accepted}
        assert rates == pytest.approx(wanted, abs=EXACT), row["model"]

        gain = found["verifier_gain"].value()
        assert gain == pytest.approx(p * tpr / accepted - p, abs=EXACT), row["model"]
        assert gain == pytest.approx(p * (1 - p) * (tpr - fpr) / accepted, abs=EXACT), row["model"]

        gap = weighted_gap(utility, passes(score, 0.5))
        assert mean(gap).value() == pytest.approx(gain, abs=EXACT), "one prompt: macro is pooled"
        relative = ratio(gap, 1 - utility.mean(axis=1)).value()
        assert relative == pytest.approx(p * (tpr - fpr) / accepted, abs=EXACT), row["model"]


def test_a_wrong_rate_is_told(shared_data: Path) -> None:
    """False-negative rate in the place of the true-positive one: the check must be able to fail."""
    row = published(shared_data)[0]
    p, fpr, fnr = (float(row[name]) for name in ("accuracy", "fpr", "fnr"))
    utility, score = table(p, 1 - fnr, fpr)
    gain = at_threshold(utility, score, 0.5)["verifier_gain"].value()
    assert abs(gain - p * (1 - p) * (fnr - fpr) / (p * fnr + (1 - p) * fpr)) > 0.01
