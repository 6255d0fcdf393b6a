"""What one verifier's scores select and tell apart on one task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from gapbench.estimate.chosen import gap_at_chosen_threshold
from gapbench.estimate.discrimination import at_threshold, auc_between, auc_within
from gapbench.estimate.filters import MajorityAt, ThresholdAt, ThresholdChosen
from gapbench.estimate.measured import REPORT_ABOVE, Bounds, Key, Measured, Measures, selected
from gapbench.estimate.partial import (
    NOT_VERIFIED,
    WITHIN_PROMPTS,
    only_unanimous_left_out,
    partly_verified,
)
from gapbench.estimate.pooled import pooled_from_sample, pooled_gaps
from gapbench.estimate.quantity import Quantity, mean, ratio
from gapbench.estimate.selection import (
    BestOf,
    Order,
    Random,
    RankFilter,
    TopQuantile,
    corrected_gap,
    passes,
    soft_weights,
    threshold_at_n,
    weighted_gap,
)
from gapbench.estimate.verdict_counts import gap_by_verdicts, limit_of
from gapbench.panel import Float, Scores, VerdictCounts

if TYPE_CHECKING:
    from gapbench.estimate.quantities import TaskMeasures


class VerifierMeasures:
    """Everything that one verifier's scores select and tell apart.

    Parameters
    ----------
    task
        The task, with what all its verifiers share.
    name, scores
        The verifier.

    Attributes
    ----------
    curve
        Utility selected by best@n [prompt, n]; None where the best@n curve is not measured at all n of the task.
    """

    def __init__(self, task: TaskMeasures, name: str, scores: Scores | VerdictCounts) -> None:
        self.task, self.name, self.scores = task, name, scores
        self.score, self.m = scores.mean, scores.replicates
        self.utility, self.present, self.accuracy = task.utility, task.present, task.accuracy
        self.pool = self.utility.shape[1] if scores.whole_pool else None
        self.curve: Float | None = None

    def all(self) -> Measures:
        """Every quantity, in the order of reporting."""
        name, m, scores = self.name, self.m, self.scores
        if not (self.present & ~np.isnan(self.score)).any():
            return {Key(name, "gap", "", None, m): Measured(None, flags=("no_verdicts",))}
        flags = self._flags()
        order = Order.of(self.score, self.present)
        found = self._ranked(order)
        found |= self._weighted()
        found |= self._asked(order)
        if self.task.verdict_counts and not scores.whole_pool:
            found |= self._fewer_verdicts()
        found[Key(name, "auc_within", "", None, m)] = Measured(auc_within(order, self.utility))
        found[Key(name, "auc_between", "", None, m)] = Measured(auc_between(order, self.utility, self.score))
        if scores.threshold is not None:
            for quantity, value in at_threshold(self.utility, self.score, scores.threshold).items():
                found[Key(name, quantity, "threshold", None, m)] = Measured(value)
        found = {key: Measured(one.quantity, one.bounds, flags) for key, one in found.items()}
        return self._without_unverified(found, flags) if name in self.task.panel.verified else found

    def _chosen(self, label: str, n: int | None, gap: Float, reach: float = 1.0) -> Measures:
        return selected(self.accuracy, self.name, label, n, self.m, gap, reach)

    def _flags(self) -> tuple[str, ...]:
        """Say where missing verdicts matter; on prompts all right or all wrong they cannot move a gap."""
        mixed = self.present & (np.ptp(self.task.oracle.centred, axis=1) > 0)[:, None]
        if self.name in self.task.panel.verified:
            mixed &= self.task.panel.verified[self.name].responses
        missing = np.count_nonzero(mixed & np.isnan(self.score))
        flags = ("missing_verdicts",) if missing > REPORT_ABOVE * np.count_nonzero(mixed) else ()
        return flags if self.pool is None else (*flags, f"pool={self.pool}")

    def _without_unverified(self, found: Measures, flags: tuple[str, ...]) -> Measures:
        """The same numbers where some responses were left unverified on purpose; None for what is not to be had."""
        task, panel = self.task, self.task.panel
        verified = panel.verified[self.name]
        if verified.prompts.all() and only_unanimous_left_out(self.utility, verified):
            kept = {key: one for key, one in found.items() if key.quantity in WITHIN_PROMPTS}
        else:
            self.curve = None
            partly = partly_verified(
                self.utility,
                self.score,
                verified,
                task.ns,
                headline=task.headline,
                clusters=panel.clusters,
                seed=task.seed_of(5),
                cheap=None if verified.control is None else panel.scores[verified.control].mean,
            )
            partly |= pooled_from_sample(self.utility, task.across, self.scores, verified)
            kept = {
                Key(self.name, quantity, label, n, self.m): Measured(value, None, flags)
                for (quantity, label, n), value in partly.items()
            }
        gone = Measured(None, None, (*flags, NOT_VERIFIED))
        return {key: kept.get(key, gone) for key in {**found, **kept}}

    def _asked(self, order: Order) -> Measures:
        """Filters beyond the default ones. Scores of the whole pool cannot be used on part of it."""
        found: Measures = {}
        threshold, ranked = self.scores.threshold, order.rank(self.utility)
        for one in self.task.filters:
            if isinstance(one, ThresholdChosen):
                gap, _ = gap_at_chosen_threshold(self.utility, self.score, self.task.first_half)
                found |= self._chosen(one.label, None, gap)
            elif self.scores.whole_pool or isinstance(one, MajorityAt | Random):
                continue
            elif isinstance(one, ThresholdAt):
                if threshold is not None:
                    gap = threshold_at_n(self.utility, self.score, threshold, one.n) - self.accuracy
                    found |= self._chosen(one.label, one.n, gap, 0.0 if one.n == 1 else 1.0)
            elif not (isinstance(one, BestOf) and one.n in self.task.ns):
                n = getattr(one, "n", None)
                chosen = self._chosen(one.label, n, ranked.gap([one])[:, 0], 0.0 if n == 1 else 1.0)
                # Its correction may leave a prompt's range, so that prompts without a rare failure look sure.
                found |= _far_reaching(chosen) if isinstance(one, TopQuantile) else chosen
        return found

    def _fewer_verdicts(self) -> Measures:
        n, label = self.task.headline, f"best@{self.task.headline}"
        curve = gap_by_verdicts(self.utility, self.scores, n, seed=self.task.seed_of(4))
        found: Measures = {
            Key(self.name, "gap", label, n, m): Measured(_gap(curve[:, m - 1], n)) for m in range(1, self.m)
        }
        found[Key(self.name, "gap_inf", label, n, self.m)] = Measured(limit_of(curve))
        return found

    def _ranked(self, order: Order) -> Measures:
        """The best@n curve, and the single numbers at the headline n.

        Scores that depend on the whole pool are used on the whole pool: the top tie group of all N_i responses.
        """
        name, m, pool = self.name, self.m, self.pool
        ranked = order.rank(self.utility)
        ns = self.task.ns if pool is None else [pool]
        headline = self.task.headline if pool is None else pool
        filters = [BestOf(n) if pool is None else _BestOfAll(n) for n in ns]
        gaps = dict(zip(ns, ranked.gap(filters).T, strict=True))
        bounds = self._bounds(order, filters)
        if pool is None:
            self.curve = self.accuracy[:, None] + np.column_stack(list(gaps.values()))
        found: Measures = {}
        for place, (n, gap) in enumerate(gaps.items()):
            label = f"best@{n}"
            best = mean(self.accuracy + gap, 0.0, 1.0)
            found[Key(name, "accuracy", label, n, m)] = Measured(best, bounds[place][0])
            found[Key(name, "gap", label, n, m)] = Measured(_gap(gap, n), bounds[place][1])
        if headline not in gaps:
            return found

        gap, missed = gaps[headline], 1.0 - self.accuracy
        top = BestOf(headline) if pool is None else _BestOfAll(headline)
        possible = self.task.oracle.gap([top])[:, 0]
        solvable = (missed > 0).astype(float)
        control = order.rank(self.task.within).gap([top])[:, 0]
        single = {
            "relative_gap": ratio(gap, missed, high=1.0),
            "relative_gap_per_prompt": ratio(
                gap / np.where(missed > 0, missed, 1.0) * solvable, solvable, high=1.0
            ),
            "shortfall": mean(possible - gap, 0.0, 1.0),
            "oracle_share": ratio(gap, possible, high=1.0),
            "gap_permuted": mean(control, -1.0, 1.0),
        }
        for quantity, value in single.items():
            found[Key(name, quantity, f"best@{headline}", headline, m)] = Measured(value)
        return found

    def _weighted(self) -> Measures:
        """Macro and pooled gaps of the threshold and of soft weights, with their controls.

        The macro gap of the threshold is that of a budget of the N responses there are: what an endless budget would
        find where nothing of N passes is not in the data. `nothing_passes` is the share of such prompts.
        """
        utility, within, threshold = self.utility, self.task.within, self.scores.threshold
        found: dict[tuple[str, str], Quantity] = {}
        if threshold is not None:
            passed = passes(self.score, threshold)
            found["gap", "threshold"] = mean(weighted_gap(utility, passed), -1.0, 1.0)
            for quantity, value in pooled_gaps(utility, self.task.across, passed).items():
                found[quantity, "threshold"] = value
            found["gap_permuted", "threshold"] = mean(weighted_gap(within, passed), -1.0, 1.0)
            none = np.where(self.present.any(axis=1), 1.0, np.nan)
            none[(passed * self.present).any(axis=1)] = 0.0
            found["nothing_passes", "threshold"] = mean(none, 0.0, 1.0)
        if self.scores.scale != "real":  # which has no weight that would fit
            soft = soft_weights(self.score, self.scores.scale, per_prompt=True)
            overall = soft_weights(self.score, self.scores.scale, per_prompt=False)
            found["gap", "soft"] = mean(corrected_gap(utility, soft), -1.0, 1.0)
            for quantity, value in pooled_gaps(utility, self.task.across, overall).items():
                found[quantity, "soft"] = value
            found["gap_permuted", "soft"] = mean(corrected_gap(within, soft), -1.0, 1.0)
        return {
            Key(self.name, quantity, label, None, self.m): Measured(value)
            for (quantity, label), value in found.items()
        }

    def _bounds(
        self, order: Order, filters: Sequence[RankFilter]
    ) -> list[tuple[Bounds | None, Bounds | None]]:
        """Bounds on the selected utility and on its gap, for each filter.

        Both are linear in the utility of a censored row, the gap with the row's weight less 1/N, so the worst is
        the sum of the negative coefficients and the best that of the positive ones.
        """
        unknown = self.task.panel.censored
        if not unknown.any():
            return [(None, None)] * len(filters)
        asked = self.present | unknown
        if (unknown & ~self.present).any():
            order = Order.of(self.score, asked)  # what was lost would have been in the sample
        worst = order.rank(np.where(unknown, 0.0, self.utility))
        hidden = order.gather(unknown.astype(float))
        found: list[tuple[Bounds | None, Bounds | None]] = []
        for place, gap in enumerate(worst.gap(filters).T):
            weight = order.tie_averaged(filters[place]) * hidden
            swing = weight - hidden / np.maximum(order.size, 1)[:, None]
            best = worst.mean + gap
            found.append(
                (
                    (best, best + weight.sum(axis=1)),
                    (gap + np.minimum(swing, 0).sum(axis=1), gap + np.maximum(swing, 0).sum(axis=1)),
                )
            )
        return found


def _far_reaching(measures: Measures) -> Measures:
    """The same quantities, decided by rare prompts."""
    return {
        key: replace(one, quantity=replace(one.quantity, reach=1.0))
        for key, one in measures.items()
        if isinstance(one.quantity, Quantity)
    }


def _gap(column: Float, n: int) -> Quantity:
    """A gap after n responses; one response leaves no choice, so that its gap is 0 by definition."""
    return mean(column * 0.0, 0.0, 0.0) if n == 1 else mean(column, -1.0, 1.0)


@dataclass(frozen=True, slots=True)
class _BestOfAll:
    """Best of all N_i responses; `n` is the number asked for, by which it is reported."""

    n: int

    @property
    def label(self) -> str:
        return f"best@{self.n}"

    def weights(self, size: int) -> Float:
        return BestOf(size).weights(size)
