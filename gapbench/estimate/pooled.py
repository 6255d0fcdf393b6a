"""Gaps over all responses of all prompts together, and what sampling weights give of them.

A pooled gap is E[w u]/E[w] less accuracy, each mean over all responses. Where at most r right and r wrong responses of a
prompt were verified, each stands for as many as its group holds for each verified (Horvitz and Thompson 1952, JASA 47):
sums over responses stay unbiased, and so does all that is made of such sums, if not what is a ratio within each prompt.

>>> utility = np.array([[1.0, 1.0, 1.0, 0.0]])
>>> sampling_weights(utility, Verified(np.array([[True, False, False, True]]), np.array([True]))).tolist()
[[3.0, 0.0, 0.0, 1.0]]
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gapbench.estimate.case_control import groups
from gapbench.estimate.discrimination import at_threshold, auc_between
from gapbench.estimate.quantity import Quantity, Term, ratio_less_mean
from gapbench.estimate.selection import Order, mean_response, passes, soft_weights
from gapbench.panel import Float, Scores, VerdictCounts, Verified

Name = tuple[str, str, int | None]


def pooled_gaps(utility: Float, across: Float, weights: Float) -> dict[str, Quantity]:
    """`gap_pooled`, `prompt_mix` and `gap_pooled_permuted`, by name.

    Parameters
    ----------
    utility
        [prompt, response].
    across
        Utilities shuffled over all responses of all prompts, as the control has them [prompt, response].
    weights
        Weight of each response, on one scale for all prompts, times its sampling weight where it has one
        [prompt, response].
    """
    present = ~np.isnan(utility)
    accuracy = mean_response(utility, present)
    accept = mean_response(weights, present)
    chosen = mean_response(weights * utility, present)
    shuffled = mean_response(weights * across, present)
    base = mean_response(across, present)
    # Weight and utility of two different responses: those of the same one are related within the prompt.
    others = np.maximum(present.sum(axis=1) - 1, 1)
    apart = accept * accuracy + (accept * accuracy - chosen) / others
    mix = ratio_less_mean(apart, accept, accuracy, when_empty=0.0)
    return {
        "gap_pooled": ratio_less_mean(chosen, accept, accuracy, when_empty=0.0),
        "prompt_mix": replace(mix, reach=1.0),
        "gap_pooled_permuted": ratio_less_mean(shuffled, accept, base, when_empty=0.0),
    }


def sampling_weights(utility: Float, verified: Verified) -> Float | None:
    """How many responses each verified one stands for [prompt, response]; 0 for those that are not verified.

    None where a verified prompt has right or wrong responses and none of them was to be verified, as where unanimous
    prompts are skipped: nothing stands for those.
    """
    found = np.zeros(utility.shape)
    for group in groups(utility):
        group = group & verified.prompts[:, None]
        asked = group & verified.responses
        total, seen = group.sum(axis=1), asked.sum(axis=1)
        if ((total > 0) & (seen == 0)).any():
            return None
        found += asked * (total / np.maximum(seen, 1))[:, None]
    return found


def pooled_from_sample(
    utility: Float, across: Float, scores: Scores | VerdictCounts, verified: Verified
) -> dict[Name, Quantity]:
    """Pooled quantities from the verified responses, by quantity, filter and n; none where nothing stands for some.

    Parameters
    ----------
    utility, across
        As for `pooled_gaps`.
    scores
        Those of the verified responses.
    verified
        What was to be verified. Prompts outside the verified share leave.
    """
    sampling = sampling_weights(utility, verified)
    if sampling is None or not verified.prompts.any():
        return {}
    utility, across = (np.where(verified.prompts[:, None], one, np.nan) for one in (utility, across))
    score = np.where(sampling > 0, scores.mean, np.nan)
    found: dict[Name, Quantity] = {
        ("auc_between", "", None): _auc_between(utility, score, sampling, verified)
    }
    if scores.threshold is not None:
        rates = at_threshold(utility, score, scores.threshold, sampling)
        gaps = pooled_gaps(utility, across, passes(score, scores.threshold) * sampling)
        found |= {(name, "threshold", None): one for name, one in (rates | gaps).items()}
    if scores.scale != "real":
        soft = soft_weights(score, scores.scale, per_prompt=False) * sampling
        found |= {(name, "soft", None): one for name, one in pooled_gaps(utility, across, soft).items()}
    return found


def _auc_between(utility: Float, score: Float, sampling: Float, verified: Verified) -> Quantity:
    """Between the verified prompts; the others leave."""
    rows = verified.prompts
    seen = np.where(sampling > 0, utility, np.nan)[rows]
    share = auc_between(Order.of(score[rows], ~np.isnan(seen)), seen, score[rows], sampling[rows])

    def spread(column: Float) -> Float:
        whole = np.full(len(rows), np.nan)
        whole[rows] = column
        return whole

    (term,) = share.terms
    assert term.bottom is not None
    return replace(
        share,
        terms=(Term(term.sign, spread(term.top), spread(term.bottom)),),
        carriers=tuple(spread(column) for column in share.carriers),
    )
