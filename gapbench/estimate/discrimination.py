"""How well scores tell right responses from wrong ones, within a prompt and across prompts.

Utilities between 0 and 1 count as a share u of a right response and 1 - u of a wrong one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gapbench.estimate.quantity import Quantity, mean, ratio, ratio_less_mean
from gapbench.estimate.selection import Order, mean_response, passes, weighted_gap
from gapbench.panel import Float


def within_wins(order: Order, utility: Float, sampling: Float | None = None) -> tuple[Float, Float]:
    """Pairs of a right and a wrong response of the same prompt that the score puts in order, ties half.

    Parameters
    ----------
    order
        The responses in order of their score.
    utility
        [prompt, response].
    sampling
        How many responses each one stands for [prompt, response]; 1 where None.

    Returns
    -------
    Mann-Whitney U and number of pairs, each [prompt]. AUC within is the ratio of their sums.
    """
    right, wrong = _shares(utility, sampling)
    rights, wrongs = order.group_sums(right), order.group_sums(wrong)
    below = np.cumsum(wrongs) - wrongs
    below -= below[order.first][order.prompts]  # wrong responses of the same prompt in lower tie groups
    with_itself = (right * wrong).sum(axis=1)  # a partly right response is no pair
    wins = np.add.reduceat(rights * (below + wrongs / 2), order.first) - with_itself / 2
    pairs = right.sum(axis=1) * wrong.sum(axis=1) - with_itself
    return wins, pairs


def auc_within(order: Order, utility: Float) -> Quantity:
    """Chance that a right response outscores a wrong one of the same prompt: sum of U over sum of pairs."""
    return ratio(*within_wins(order, utility), low=0.0, high=1.0)


def auc_between(order: Order, utility: Float, score: Float, sampling: Float | None = None) -> Quantity:
    """Chance that a right response outscores a wrong one of another prompt; arguments as for `within_wins`.

    Each pair of prompts is shared by both, so the mean over prompts is a U-statistic of degree 2, whose influence
    values are twice those of a plain mean (Hajek projection). Columns are stretched about their mean by 2 for it.
    """
    pool = Order.of(score.reshape(1, -1), ~np.isnan(utility).reshape(1, -1))
    right, wrong = _shares(utility, sampling)
    rights, wrongs = pool.group_sums(right.reshape(1, -1)), pool.group_sums(wrong.reshape(1, -1))
    lower = np.empty(utility.size)
    lower[pool.index[0]] = pool.spread(np.cumsum(wrongs) - wrongs / 2)[0]
    higher = np.empty(utility.size)
    higher[pool.index[0]] = pool.spread(rights.sum() - np.cumsum(rights) + rights / 2)[0]
    wins_within, pairs_within = within_wins(order, utility, sampling)
    itself = (right * wrong).sum(axis=1)
    ours = (right * lower.reshape(utility.shape) + wrong * higher.reshape(utility.shape)).sum(axis=1)
    wins = ours / 2 - wins_within - itself / 2
    rights_here, wrongs_here = right.sum(axis=1), wrong.sum(axis=1)
    pairs = (rights_here * wrongs_here.sum() + wrongs_here * rights_here.sum()) / 2 - pairs_within - itself
    prompts = len(utility)  # keeps tasks of different size comparable where they are summed
    share = ratio(_stretched(wins / prompts), _stretched(pairs / prompts), low=0.0, high=1.0)
    return replace(share, carriers=(rights_here, wrongs_here))


def at_threshold(
    utility: Float, score: Float, threshold: float, sampling: Float | None = None
) -> dict[str, Quantity]:
    """Rates of a pass/fail verdict over all prompts, by name.

    `tpr`, `fpr`, `youden`, `precision` and `verifier_gain` (arXiv 2512.02304) are pooled ratios of means.
    `precision_ceiling` is the mean over prompts of the precision within each, the limit of resampling until a
    response is accepted (Stroebl et al. 2024, arXiv 2411.17501); where nothing passes, any response is taken. It is not
    given for responses that stand for others (`sampling`, as for `within_wins`).
    """
    present = ~np.isnan(utility)
    passed = passes(score, threshold) * (1.0 if sampling is None else sampling)
    accuracy = mean_response(utility, present)
    missed = 1.0 - accuracy
    accept = mean_response(passed, present)
    accept_right = mean_response(passed * utility, present)
    accept_wrong = mean_response(passed * (1.0 - utility), present)
    tpr = ratio(accept_right, accuracy, 0.0, 1.0)
    fpr = ratio(accept_wrong, missed, 0.0, 1.0)
    found = {
        "tpr": tpr,
        "fpr": fpr,
        "youden": Quantity(tpr.minus(fpr).terms, -1.0, 1.0),
        "precision": ratio(accept_right, accept, 0.0, 1.0),
        "verifier_gain": ratio_less_mean(accept_right, accept, accuracy),
    }
    if sampling is None:
        found["precision_ceiling"] = mean(accuracy + weighted_gap(utility, passed), 0.0, 1.0)
    return found


def _shares(utility: Float, sampling: Float | None) -> tuple[Float, Float]:
    """Right and wrong part of each response, both 0 for one that is not in the sample."""
    present = ~np.isnan(utility)
    right, wrong = np.where(present, utility, 0.0), np.where(present, 1.0 - utility, 0.0)
    return (right, wrong) if sampling is None else (right * sampling, wrong * sampling)


def _stretched(column: Float) -> Float:
    return np.asarray(2.0 * column - column.mean())
