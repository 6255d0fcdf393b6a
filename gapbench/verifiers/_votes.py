"""Several verifiers' scores of the same responses made into one; arrays [member, item], NaN where a verdict is missing.

>>> votes = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0]], float)
>>> dawid_skene(votes).round(2).tolist()
[1.0, 1.0, 0.0, 0.0]
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import rankdata

Float = NDArray[np.float64]

PRIOR = 0.1
ITERATIONS = 2000
CLOSE = 1e-9


def mean_of_valid(scores: Float) -> Float:
    """Mean over the first axis of what is not NaN; NaN where nothing is."""
    count = (~np.isnan(scores)).sum(axis=0)
    return np.where(count > 0, np.nansum(scores, axis=0) / np.maximum(count, 1), np.nan)


def rank_share(scores: Float) -> Float:
    """Place of each score among all valid ones of its member, in (0, 1); ties share theirs."""
    shares = np.full(scores.shape, np.nan)
    for member, own in enumerate(scores):
        valid = ~np.isnan(own)
        if valid.any():
            shares[member, valid] = (rankdata(own[valid]) - 0.5) / valid.sum()
    return shares


def dawid_skene(votes: Float, *, prior: float = PRIOR) -> Float:
    """Probability that each item is right, from yes/no votes without labels [item]; NaN for one without a vote.

    Each member has a rate of yes on right items and one on wrong items, and given which an item is, members vote
    independently (Dawid and Skene 1979). Rates and the share of right items are fitted by EM from the majority vote:
    E gives each item's log-odds, M the rates as weighted shares of yes. A missing vote drops out of both. Rates and the
    share have `prior` pseudo-counts on either side, which keeps them off 0 and 1. Of the two solutions that exchange
    right and wrong, the one is taken in which the members are better than chance on the whole.

    Parameters
    ----------
    votes
        1 for yes, 0 for no [member, item]. With fewer than three members the rates are not identified.
    prior
        Pseudo-counts, at least 0.
    """
    yes, no = votes == 1, votes == 0
    voted = (yes | no).any(axis=0)
    right = np.where(voted, yes.sum(axis=0) / np.maximum((yes | no).sum(axis=0), 1), 0.0)
    ones, zeros = yes.astype(float), no.astype(float)
    tpr = fpr = np.zeros(len(votes))
    for _ in range(ITERATIONS):
        wrong = voted - right
        tpr = (ones @ right + prior) / ((ones + zeros) @ right + 2 * prior)
        fpr = (ones @ wrong + prior) / ((ones + zeros) @ wrong + 2 * prior)
        odds = np.log(right.sum() + prior) - np.log(wrong.sum() + prior)
        for_yes, for_no = np.log(tpr / fpr), np.log((1 - tpr) / (1 - fpr))
        before, right = right, np.where(voted, expit(odds + for_yes @ ones + for_no @ zeros), 0.0)
        if np.abs(right - before).max(initial=0.0) < CLOSE:
            break
    if (tpr - fpr).sum() < 0:
        right = 1 - right
    return np.where(voted, right, np.nan)
