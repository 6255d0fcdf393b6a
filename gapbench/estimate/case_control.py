"""Gaps from a few verified responses of each prompt: at most r right and r wrong ones, whatever N is.

Grading is cheap and says how many of the N responses are right; verdicts are dear. Best@n takes c right and n - c wrong
responses, whose numbers are known to be hypergeometric, and how scores of right and wrong ones compare can be learnt from
some of each. The estimate is a two-sample U-statistic (measurement.md, section 6): averaged over the choice of the
verified responses it is best@n over all N, exactly, ties included. It needs r >= n.

Right means utility of at least a half here. Utilities need not be 0 or 1: any two groups make the estimate unbiased.

>>> utility, score = np.array([[1.0, 0.0, 1.0, 0.0]]), np.array([[0.9, 0.2, 0.7, 0.9]])
>>> case_control_gap(utility, score, case_control(utility, 2), [2]).round(3).tolist()
[[0.083]]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import comb

from gapbench.estimate.discrimination import within_wins
from gapbench.estimate.quantity import Quantity, ratio
from gapbench.estimate.selection import ROUND_OFF, Order
from gapbench.panel import Bool, Float, Int

RIGHT = 0.5  # utility from which a response counts as right


def unanimous(utility: Float) -> Bool:
    """Prompts whose responses all have the same utility, so that no choice among them gains anything [prompt]."""
    low = np.where(np.isnan(utility), np.inf, utility).min(axis=1)
    high = np.where(np.isnan(utility), -np.inf, utility).max(axis=1)
    return np.asarray(low == high)


def case_control(utility: Float, r: int) -> Bool:
    """The first r right and the first r wrong responses of each prompt [prompt, response].

    Responses to a prompt are exchangeable, so that the first are as good as any; and they stay the first when more
    responses are drawn later.
    """
    right, wrong = groups(utility)
    return np.asarray((right & (right.cumsum(axis=1) <= r)) | (wrong & (wrong.cumsum(axis=1) <= r)))


def case_control_gap(utility: Float, score: Float, verified: Bool, ns: Sequence[int]) -> Float:
    """Gap of best@n over all responses of a prompt, from the scores of those that were verified.

    Parameters
    ----------
    utility
        [prompt, response], NaN for a response that is not in the sample.
    score
        [prompt, response]; read where `verified`, and NaN there joins the lowest tie group.
    verified
        Which responses were chosen to be verified [prompt, response]: any number of right and of wrong ones, each group
        chosen without sight of the scores.
    ns
        Numbers of responses n.

    Returns
    -------
    Array [prompt, n]; 0 for unanimous prompts, verified or not, and NaN where there are fewer than n responses, or fewer
    than n verified right (or wrong) ones though there are more.

    Notes
    -----
    With C of N right, r1 right and r0 wrong verified, b and a the numbers below and at a tie level,

    best@n = sum_c [C(C,c) C(N-C,n-c)/C(N,n)] sum_levels sum_{i,k} [C(a1,i) C(b1,c-i)/C(r1,c)]
    [C(a0,k) C(b0,n-c-k)/C(r0,n-c)] (i u1 + k u0)/(i + k),

    u1 and u0 the mean utilities at the level. What a random choice among the same responses would give is taken away,
    so that a constant score has a gap of exactly 0.
    """
    present = ~np.isnan(utility)
    verified = verified & present
    right, wrong = groups(utility)
    order = Order.of(score, verified)
    levels = _Levels(order, utility, right & verified, wrong & verified)
    rights, size = right.sum(axis=1), present.sum(axis=1)
    known = unanimous(utility)
    gaps = np.empty((len(utility), len(ns)))
    for place, n in enumerate(ns):
        few = (levels.r1 < np.minimum(n, rights)) | (levels.r0 < np.minimum(n, size - rights))
        gap = levels.gap(rights, size, n, ~few & ~known & (size >= n))
        gap[few] = np.nan
        gap[known] = 0.0
        gap[size < n] = np.nan
        gaps[:, place] = gap
    return gaps


def case_control_auc(utility: Float, score: Float, verified: Bool) -> Quantity:
    """Chance that a right response outscores a wrong one of the same prompt, from the verified ones.

    A prompt's share of ordered pairs among the verified is weighed by all its C (N - C) pairs.

    Parameters
    ----------
    utility, score, verified
        As for `case_control_gap`; utilities are 0 or 1.
    """
    right, wrong = groups(utility)
    verified = verified & ~np.isnan(utility)
    wins, seen = within_wins(Order.of(score, verified), np.where(verified, utility, np.nan))
    pairs = (right.sum(axis=1) * wrong.sum(axis=1)).astype(float)
    share = wins / np.maximum(seen, 1.0)
    return ratio(np.where((pairs > 0) & (seen == 0), np.nan, share * pairs), pairs, 0.0, 1.0)


def groups(utility: Float) -> tuple[Bool, Bool]:
    """Right and wrong responses, each [prompt, response]; what is not in the sample is neither."""
    return np.asarray(utility >= RIGHT), np.asarray(utility < RIGHT)


class _Levels:
    """Verified responses counted by tie level, all prompts in one list of levels."""

    def __init__(self, order: Order, utility: Float, right: Bool, wrong: Bool) -> None:
        known = np.nan_to_num(utility)
        self.prompt, self.first = order.prompts, order.first
        self.r1, self.r0 = right.sum(axis=1), wrong.sum(axis=1)
        self.at1, self.below1 = self._counts(order, right)
        self.at0, self.below0 = self._counts(order, wrong)
        self.u1 = order.group_sums(known * right) / np.maximum(self.at1, 1)
        self.u0 = order.group_sums(known * wrong) / np.maximum(self.at0, 1)
        self.mean1 = (known * right).sum(axis=1) / np.maximum(self.r1, 1)
        self.mean0 = (known * wrong).sum(axis=1) / np.maximum(self.r0, 1)

    def _counts(self, order: Order, of: Bool) -> tuple[Int, Int]:
        at = order.group_sums(of.astype(float)).astype(np.int64)
        below = np.cumsum(at) - at
        return at, below - below[order.first][order.prompts]

    def gap(self, rights: Int, size: Int, n: int, wanted: Bool) -> Float:
        """Best@n less a random choice, by the numbers of right responses and of all [prompt].

        Of no meaning for prompts that are not wanted; a large n costs nothing where none is.
        """
        if not wanted.any():
            return np.zeros(len(wanted))
        ways = comb(np.arange(int(size.max(initial=0)) + 1)[:, None], np.arange(n + 1))
        drawn = np.arange(n + 1)
        total = self.below1 + self.at1 + self.below0 + self.at0  # a level without any response is skipped
        used = np.flatnonzero((self.at1 + self.at0 > 0) & (total > 0) & wanted[self.prompt])
        prompt = self.prompt[used]
        best = np.zeros(len(used))
        together = np.maximum(drawn[:, None] + drawn, 1)
        for c in range(n + 1):
            i, k = drawn[: c + 1], drawn[: n - c + 1]
            chance = ways[rights, c] * ways[size - rights, n - c] / np.maximum(ways[size, n], 1.0)
            top1 = ways[self.at1[used]][:, i] * ways[self.below1[used]][:, c - i]
            top0 = ways[self.at0[used]][:, k] * ways[self.below0[used]][:, n - c - k]
            share = top1 @ (i[:, None] / together[: c + 1, : n - c + 1]) * top0
            level = share.sum(axis=1) * self.u1[used]
            if self.u0.any():
                share = top1 @ (k / together[: c + 1, : n - c + 1]) * top0
                level += share.sum(axis=1) * self.u0[used]
            subsets = ways[self.r1, c] * ways[self.r0, n - c]
            best += (chance / np.maximum(subsets, 1.0))[prompt] * level
        found = np.bincount(prompt, best, len(self.first))
        share_right = rights / np.maximum(size, 1)
        gap = found - (share_right * self.mean1 + (1.0 - share_right) * self.mean0)
        gap[np.abs(gap) < ROUND_OFF] = 0.0
        return np.asarray(gap)
