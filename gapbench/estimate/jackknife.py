"""The `benchmark` target: these prompts and no others, so that only response and verdict noise counts.

Each prompt's numbers are computed again without one of its responses, for each response (the delete-one jackknife;
Efron and Stein 1981, Annals of Statistics 9(3)). The variance of a mean over prompts is the sum of the prompts'
variances, since responses to different prompts are independent. It is for numbers that lean on no more than half of
the responses: best@n with n near N is far from linear, and its jackknife variance too large (measurement.md, section 5).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from gapbench.estimate.intervals import ALPHA, DESCRIPTIVE_BELOW, Interval
from gapbench.estimate.quantities import Key, Measured, Measures
from gapbench.estimate.quantity import Form, Quantity
from gapbench.panel import Float, Panel

GROUPS = 64


@dataclass(frozen=True, eq=False)
class Spread:
    """A quantity on one task, and the noise of each prompt's columns.

    Attributes
    ----------
    form
        How the columns combine.
    mean
        Mean over prompts of each column [column]; column 0 is 1.
    covariance
        Jackknife covariance of each prompt's columns [prompt, column, column].
    df
        Responses (or groups of them) less one [prompt].
    """

    form: Form
    mean: Float
    covariance: Float
    df: Float


def leave_one_out(panel: Panel, measure: Callable[[Panel], Measures]) -> dict[Key, Spread]:
    """Jackknife every quantity of a task.

    Parameters
    ----------
    panel
        The task. Beyond 64 responses a prompt, groups of neighbouring responses are left out together, 64 in all.
    measure
        Gives the quantities of a panel; those that are not smooth functions of means are passed over.

    Returns
    -------
    A spread for each key that `measure` gives for the whole panel and for every part of it.
    """
    whole = {
        key: one.quantity.columns()
        for key, one in measure(panel).items()
        if isinstance(one.quantity, Quantity)
    }
    present = ~np.isnan(panel.utility)
    groups = min(GROUPS, panel.utility.shape[1])
    member = np.where(present, (np.cumsum(present, axis=1) - 1) * groups // panel.utility.shape[1], -1)
    first = {key: np.zeros_like(columns) for key, (columns, _) in whole.items()}
    second = {key: np.zeros((*columns.shape, columns.shape[1])) for key, (columns, _) in whole.items()}
    used = np.zeros(len(panel.utility))
    for group in range(groups):
        gone = member == group
        left = gone.any(axis=1)
        used += left
        part = measure(replace(panel, utility=np.where(gone, np.nan, panel.utility)))
        for key in list(first):
            quantity = part[key].quantity if key in part else None
            if not isinstance(quantity, Quantity):
                del first[key]
                continue
            change = np.where(left[:, None], quantity.columns()[0] - whole[key][0], 0.0)
            first[key] += change
            second[key] += change[:, :, None] * change[:, None, :]
    found = {}
    size = np.maximum(used, 1.0)[:, None, None]
    for key, total in first.items():
        columns, form = whole[key]
        outer = total[:, :, None] * total[:, None, :] / size
        there = columns[:, 0] > 0
        found[key] = Spread(
            form,
            columns.sum(axis=0) / max(int(there.sum()), 1),
            ((size - 1) / size * (second[key] - outer))[there],
            (used - 1)[there],
        )
    return found


def combine_spreads(spreads: Sequence[Spread], weights: Sequence[float]) -> Interval:
    """Estimate a quantity over tasks for these very prompts: a t interval, its degrees of freedom by Satterthwaite.

    Where no response differs from another, the 95 % bound is that of as many independent draws as there are responses.
    """
    form = spreads[0].form
    share = np.asarray(weights, dtype=float) / np.sum(weights)
    prompts = sum(len(spread.df) for spread in spreads)
    flags = ["descriptive"] if prompts < DESCRIPTIVE_BELOW else []
    means = np.asarray(share @ np.stack([spread.mean for spread in spreads]))
    empty = bool((means[form.bottoms] == 0).any())
    point, gradient = form.evaluate(means)
    value = form.when_empty if empty else float(point)
    nan = float("nan")
    if not np.isfinite(value):
        return Interval(nan, nan, nan, nan, nan, prompts, prompts, (*flags, "not_estimable"))
    gradient = np.zeros_like(gradient) if empty else gradient
    parts = np.concatenate(
        [
            (weight / len(spread.df)) ** 2 * np.einsum("j,ijk,k->i", gradient, spread.covariance, gradient)
            for weight, spread in zip(share, spreads, strict=True)
        ]
    )
    own_df = np.concatenate([spread.df for spread in spreads])
    variance = float(parts.sum())
    if variance <= 0:
        df = float(own_df.sum())
        unseen = 1.0 - (ALPHA / 2) ** (1.0 / max(df + prompts, 1.0))
        down, up = value - form.low, form.high - value
        low = value - (unseen * down if np.isfinite(down) else np.inf)
        high = value + (unseen * up if np.isfinite(up) else np.inf)
        flags.append("degenerate")
    else:
        df = variance**2 / float((parts**2 / np.maximum(own_df, 1.0)).sum())
        reach = float(stats.t.ppf(1 - ALPHA / 2, df)) * np.sqrt(variance)
        low, high = max(value - reach, form.low), min(value + reach, form.high)
    span = form.high - form.low
    if high - low > (span / 2 if np.isfinite(span) else 1.0):
        flags.append("not_estimable")
    return Interval(value, float(np.sqrt(max(variance, 0.0))), low, high, df, prompts, prompts, tuple(flags))


def without_benchmark_interval(key: Key, measured: Measured, responses: int) -> bool:
    """Whether a number has no interval for the benchmark target.

    These are numbers that lean on more than half of the responses, that are random themselves (permuted controls,
    votes), or whose scores change when a response is left out (scores of the whole pool).
    """
    return (
        (key.n is not None and key.n > responses // 2)
        or key.quantity.endswith("_permuted")
        or key.filter.startswith(("majority@", "threshold@cv", "top 0", "top 1."))
        or any(flag.startswith("pool=") for flag in measured.flags)
    )
