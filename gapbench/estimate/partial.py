"""What can be estimated where some responses were left without a verdict on purpose.

>>> from gapbench.estimate.case_control import case_control
>>> rng = np.random.default_rng(0)
>>> utility = (rng.random((40, 16)) < 0.5).astype(float)
>>> score = utility + rng.normal(size=utility.shape)
>>> verified = Verified(case_control(utility, 4), np.ones(40, dtype=bool))
>>> found = partly_verified(utility, score, verified, [2, 4, 8], headline=4, clusters=np.arange(40), seed=0)
>>> [key for key in found if key[0] == "gap"]
[('gap', 'best@2', 2), ('gap', 'best@4', 4)]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gapbench.estimate.case_control import case_control_auc, case_control_gap, unanimous
from gapbench.estimate.control_variate import controlled, grade_controls
from gapbench.estimate.coverage import coverage_order
from gapbench.estimate.quantity import Quantity, Term, mean, ratio
from gapbench.estimate.selection import BestOf, mean_response
from gapbench.panel import Bool, Float, Int, Verified

NOT_VERIFIED = "not_verified"
WITHIN_PROMPTS = frozenset(
    {
        "accuracy", "gap", "gap_inf", "gap_permuted", "relative_gap", "relative_gap_per_prompt", "shortfall",
        "oracle_share", "auc_within", "precision_ceiling", "n_star", "over_optimisation",
    }
)  # fmt: skip
"""Quantities to which a unanimous prompt adds what it adds without any verdict."""

Name = tuple[str, str, int | None]


def only_unanimous_left_out(utility: Float, verified: Verified) -> bool:
    """Whether every response of every prompt was to be verified but for unanimous prompts."""
    mixed = ~np.isnan(utility) & ~unanimous(utility)[:, None]
    return bool(verified.responses[mixed].all())


def partly_verified(
    utility: Float,
    score: Float,
    verified: Verified,
    ns: Sequence[int],
    *,
    headline: int,
    clusters: Int,
    seed: int | Sequence[int],
    cheap: Float | None = None,
) -> dict[Name, Quantity]:
    """Estimate what the verified responses allow, by quantity, filter and n.

    These are quantities within prompts: by best@n for n up to the number of right and of wrong responses verified, and the
    AUC. Where a share of the prompts only is verified, what the grades of the others say steadies the estimate
    (`controlled`), and ratios of a gap to something else are not given.

    Parameters
    ----------
    utility
        [prompt, response].
    score
        [prompt, response]; NaN for a verified response without a valid verdict, which joins the lowest tie group.
    verified
        What was to be verified.
    ns, headline
        Numbers of responses of the curve, and that of single numbers.
    clusters
        Cluster code of each prompt.
    seed
        Of the permuted control and of the halves of the control variate.
    cheap
        Scores by a cheaper verifier on all responses [prompt, response].
    """
    present = ~np.isnan(utility)
    accuracy = mean_response(utility, present)
    asked = verified.responses & present
    gaps = case_control_gap(utility, score, asked, ns)
    gaps[~verified.prompts] = np.nan
    oracle = coverage_order(utility).rank(utility)
    shuffled = _permuted(score, asked, np.random.default_rng(seed))
    whole = bool(verified.prompts.all())
    found: dict[Name, Quantity] = {}
    for place, n in enumerate(ns):
        gap, label = gaps[:, place], f"best@{n}"
        enough = verified.prompts & (present.sum(axis=1) >= n)
        if not enough.any() or np.isnan(gap[enough]).any():
            continue
        reach = 0.0 if n == 1 else 1.0
        controls = everywhere = grade_controls(utility, n)
        if cheap is not None:
            on_asked, on_all = (case_control_gap(utility, cheap, part, [n]) for part in (asked, present))
            on_asked = np.where(verified.prompts[:, None], on_asked, on_all)
            controls, everywhere = np.hstack([controls, on_asked]), np.hstack([everywhere, on_all])
        everywhere[present.sum(axis=1) < n] = np.nan
        of_gap = controlled(gap, controls, everywhere, clusters=clusters, low=-reach, high=reach, seed=seed)
        possible = oracle.gap([BestOf(n)])[:, 0]
        if len(of_gap.terms) == 1:  # a plain mean, and so are its sums
            column = of_gap.terms[0].top
            found["accuracy", label, n] = mean(accuracy + column, 0.0, 1.0)
            shortfall = mean(possible - column, 0.0, 1.0)
        else:
            found["accuracy", label, n] = Quantity((*of_gap.terms, Term(1.0, accuracy, None)), 0.0, 1.0)
            shortfall = Quantity(mean(possible).minus(of_gap).terms, 0.0, 1.0)
        found["gap", label, n] = of_gap
        if n != headline:
            continue
        found["shortfall", label, n] = shortfall
        control = case_control_gap(utility, shuffled, asked, [n])[:, 0]
        found["gap_permuted", label, n] = mean(np.where(verified.prompts, control, np.nan), -1.0, 1.0)
        if whole:
            missed = 1.0 - accuracy
            solvable = (missed > 0).astype(float)
            each = gap / np.where(missed > 0, missed, 1.0) * solvable
            found["relative_gap", label, n] = ratio(gap, missed, high=1.0)
            found["relative_gap_per_prompt", label, n] = ratio(each, solvable, high=1.0)
            found["oracle_share", label, n] = ratio(gap, possible, high=1.0)
    if ((utility == 0) | (utility == 1) | ~present).all():
        in_share = np.where(verified.prompts[:, None], utility, np.nan)
        found["auc_within", "", None] = case_control_auc(in_share, score, asked)
    return found


def _permuted(score: Float, asked: Bool, rng: np.random.Generator) -> Float:
    """Shuffle each prompt's scores over its verified responses."""
    target = np.argsort(~asked, axis=1, kind="stable")
    source = np.argsort(rng.random(score.shape) + ~asked, axis=1)
    shuffled = np.empty_like(score)
    np.put_along_axis(shuffled, target, np.take_along_axis(score, source, axis=1), axis=1)
    return shuffled
