"""ROC curves of a verifier: the share of right responses that pass, against the share of wrong ones that do.

Within prompts is what choosing among the responses of a prompt rests on, pooled is what one threshold for all prompts does.
The two can differ much: a verifier that tells easy prompts from hard ones, and nothing else, has a fine pooled curve and a
diagonal within prompts.

A prompt with few wrong responses has a curve of few steps, and the mean of such curves is flatter than one of many responses,
though its area is the same: with W wrong responses, a blind verifier's own curve rises from 1/(W + 1) to W/(W + 1), on
average. Curves within prompts are therefore held against `Roc.blind`, and compare at equal numbers of responses.

>>> utility = np.array([[1.0, 1.0, 0.0, 0.0]])
>>> scored = Scored(utility, np.array([[0.9, 0.4, 0.4, 0.1]]), np.arange(1))
>>> roc_within([scored]).area, roc_pooled([scored]).area
(0.875, 0.875)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from gapbench.estimate.discrimination import within_wins
from gapbench.estimate.selection import Order
from gapbench.panel import Float, Int, Panel

FPR = np.arange(201) / 200
"""Where curves are read off; multiples of 1/200 and no others, so that equal rates are equal floats."""

ALPHA = 0.05


class Scored(NamedTuple):
    """The responses of one task with their scores.

    Attributes
    ----------
    utility
        In [0, 1]; NaN where a response is not in the sample [prompt, response].
    score
        NaN where there is no valid verdict: below all others [prompt, response].
    clusters
        Cluster of each prompt [prompt].
    pairs
        Right-wrong pairs that each prompt stands for [prompt], where not all responses were to be judged; else None.
    """

    utility: Float
    score: Float
    clusters: Int
    pairs: Float | None = None


@dataclass(frozen=True, eq=False)
class Roc:
    """A curve.

    Attributes
    ----------
    tpr
        Share of right responses that pass [point].
    low, high
        Pointwise 95 % interval of `tpr` at that `fpr`; NaN for a pooled curve [point].
    blind
        Expected `tpr` of a verifier that draws its scores at random, without ties, for the same responses [point].
    area
        Under the whole curve, not under what is read off of it.
    n_prompts
        Prompts that tell of it: for a curve within prompts those with right and wrong responses.
    fpr
        Share of wrong responses that pass: `FPR` [point].
    """

    tpr: Float
    low: Float
    high: Float
    blind: Float
    area: float
    n_prompts: int
    fpr: Float = field(default_factory=lambda: FPR)


def scored(panel: Panel, verifier: str) -> Scored:
    """What a verifier said of a task; responses that it was not to judge are not in the sample."""
    score, utility = panel.scores[verifier].mean, panel.utility
    part = panel.verified.get(verifier)
    if part is None:
        return Scored(utility, score, panel.clusters)
    asked = part.responses & part.prompts[:, None]
    right, wrong = np.nansum(utility, axis=1), np.nansum(1.0 - utility, axis=1)
    return Scored(np.where(asked, utility, np.nan), score, panel.clusters, right * wrong * part.prompts)


def roc_within(tasks: Sequence[Scored], weights: Sequence[float] | None = None) -> Roc | None:
    """The mean over prompts of their own ROC curves, each weighed by its pairs of a right and a wrong response.

    Curves are averaged vertically (Fawcett 2006, Pattern Recognition Letters 27(8), section 8.1), ties are straight
    segments. The area is that of `auc_within`.

    Parameters
    ----------
    tasks
        Their means over prompts are weighed together.
    weights
        Of the tasks; equal where None.

    Returns
    -------
    The curve, with pointwise t intervals over clusters (linearised ratio, df = clusters - 1 of every task), or None where no
    prompt has both right and wrong responses.
    """
    share = np.ones(len(tasks)) if weights is None else np.asarray(weights, dtype=float)
    found = [_within(task) for task in tasks]

    def mean(columns: Sequence[Float]) -> Float:
        return np.asarray(sum(w * one.mean(axis=0) for w, one in zip(share, columns, strict=True)))

    mean_pairs = float(mean([pairs for _, pairs, _ in found]))
    if not mean_pairs > 0:
        return None
    tpr = mean([pairs[:, None] * own for _, pairs, own in found]) / mean_pairs
    blind = (
        mean([pairs[:, None] * _blind(task) for (_, pairs, _), task in zip(found, tasks, strict=True)])
        / mean_pairs
    )
    variance, df = np.zeros_like(tpr), 0
    for w, (_, pairs, own), task in zip(share, found, tasks, strict=True):
        psi = w / len(pairs) * pairs[:, None] * (own - tpr) / mean_pairs
        codes = np.unique(task.clusters, return_inverse=True)[1].ravel()
        sums = np.zeros((int(codes.max()) + 1, len(tpr)))
        np.add.at(sums, codes, psi - psi.mean(axis=0))
        df += len(sums) - 1
        variance += len(sums) / max(len(sums) - 1, 1) * (sums**2).sum(axis=0)
    reach = stdtrit(df, 1 - ALPHA / 2) * np.sqrt(variance) if df else np.full_like(tpr, np.nan)
    area = float(mean([wins for wins, _, _ in found]) / mean_pairs)
    telling = int(sum(np.count_nonzero(pairs) for _, pairs, _ in found))
    return Roc(tpr, np.clip(tpr - reach, 0.0, 1.0), np.clip(tpr + reach, 0.0, 1.0), blind, area, telling)


def roc_pooled(tasks: Sequence[Scored], weights: Sequence[float] | None = None) -> Roc | None:
    """The ROC curve of one threshold for all prompts; a prompt's responses weigh as much together as another's.

    Parameters
    ----------
    tasks, weights
        As for `roc_within`. Tasks of which some responses were not to be judged have no pooled curve here.

    Returns
    -------
    The curve, without an interval, or None where there are no right or no wrong responses.
    """
    share = np.ones(len(tasks)) if weights is None else np.asarray(weights, dtype=float)
    scores, right, wrong = [], [], []
    for w, task in zip(share, tasks, strict=True):
        if task.pairs is not None:
            return None
        kept = ~np.isnan(task.utility)
        each = (w / len(kept) / np.maximum(kept.sum(axis=1), 1))[:, None] * kept
        scores.append(np.where(np.isnan(task.score), -np.inf, task.score)[kept])
        right.append((each * np.nan_to_num(task.utility))[kept])
        wrong.append((each * (1.0 - np.nan_to_num(task.utility)))[kept])
    level = np.unique(np.concatenate(scores), return_inverse=True)[1].ravel()
    rights, wrongs = (np.bincount(level, np.concatenate(one)).astype(float) for one in (right, wrong))
    if not (rights.sum() > 0 and wrongs.sum() > 0):
        return None
    nothing = np.full_like(FPR, np.nan)
    below = np.cumsum(wrongs) - wrongs / 2
    area = float(rights @ below / (rights.sum() * wrongs.sum()))
    return Roc(
        _read_off(rights, wrongs), nothing, nothing, FPR, area, sum(len(task.utility) for task in tasks)
    )


def _within(task: Scored) -> tuple[Float, Float, Float]:
    """Pairs won and pairs [prompt], and the curve [prompt, point] of every prompt; all 0 for prompts without pairs."""
    present = ~np.isnan(task.utility)
    order = Order.of(task.score, present)
    wins, seen = within_wins(order, task.utility)
    # A pair needs a whole right and a whole wrong response; of a partly right one alone there is none but with itself.
    seen = np.where(seen > 1e-9, seen, 0.0)
    pairs = seen if task.pairs is None else np.where(seen > 0, task.pairs, 0.0)
    rights = order.group_sums(np.where(present, task.utility, 0.0))
    wrongs = order.group_sums(np.where(present, 1.0 - task.utility, 0.0))
    ends = np.append(order.first[1:], len(order.starts))
    curves = np.zeros((len(pairs), len(FPR)))
    for prompt in np.flatnonzero(pairs):
        own = slice(order.first[prompt], ends[prompt])
        curves[prompt] = _read_off(rights[own], wrongs[own])
    return np.where(seen > 0, wins / np.where(seen > 0, seen, 1.0), 0.0) * pairs, pairs, curves


def _blind(task: Scored) -> Float:
    """Expected curve of every prompt if all orders of its responses are alike likely [prompt, point].

    Where the curve passes j of W wrong responses, a right one is above the next of them with probability (j + 1)/(W + 1).
    """
    wrong = np.nansum(1.0 - task.utility, axis=1)[:, None]
    passed = np.floor(FPR * wrong + 1e-9)
    return np.where(FPR < 1.0, np.minimum((passed + 1.0) / (wrong + 1.0), 1.0), 1.0)


def _read_off(rights: Float, wrongs: Float) -> Float:
    """TPR at each of `FPR`, from the mass of right and of wrong responses at each score, ascending.

    Where the curve is vertical, its upper end.
    """
    above, over = (np.concatenate([[0.0], np.cumsum(one[::-1])]) for one in (wrongs, rights))
    return np.asarray(np.interp(FPR, above / above[-1], over / over[-1]))
