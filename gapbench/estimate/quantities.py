"""The named quantities of measurement.md section 3 for one task: arrays in, columns with one number a prompt out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from gapbench.estimate.chosen import cross_fitted, halves
from gapbench.estimate.coverage import coverage_order, majority_at_n
from gapbench.estimate.discrimination import at_threshold, auc_between, auc_within
from gapbench.estimate.filters import Filter, MajorityAt, ThresholdAt, ThresholdChosen
from gapbench.estimate.partial import (
    NOT_VERIFIED,
    WITHIN_PROMPTS,
    only_unanimous_left_out,
    partly_verified,
)
from gapbench.estimate.quantity import Curve, Quantity, mean, ratio, ratio_less_mean
from gapbench.estimate.selection import (
    BestOf,
    Order,
    Random,
    RankFilter,
    corrected_gap,
    mean_response,
    passes,
    soft_weights,
    threshold_at_n,
    weighted_gap,
)
from gapbench.estimate.verdict_counts import gap_by_verdicts, limit_of
from gapbench.panel import Bool, Float, Panel, Scores, VerdictCounts

CANDIDATES = 32  # thresholds among which the best is looked for
REPORT_ABOVE = 0.01  # share of censored or missing rows from which they qualify an estimate

Bounds = tuple[Float, Float]


class Key(NamedTuple):
    """What names an estimate within a run."""

    verifier: str
    quantity: str
    filter: str
    n: int | None
    m: int | None


@dataclass(frozen=True, eq=False)
class Measured:
    """A quantity of one task, and what qualifies it.

    Attributes
    ----------
    quantity
        None where every verdict is missing.
    bounds
        Per-prompt values with every censored row at its worst and at its best; None where there is no such row.
    """

    quantity: Quantity | Curve | None
    bounds: Bounds | None = None
    flags: tuple[str, ...] = ()


Measures = dict[Key, Measured]


def powers_of_two(largest: int) -> list[int]:
    """1, 2, 4, ... up to `largest`."""
    return [2**power for power in range(largest.bit_length())] if largest >= 1 else []


def pool_size(panel: Panel) -> int:
    """Number of responses that at least half of the prompts with any have."""
    sizes = (~np.isnan(panel.utility)).sum(axis=1)
    sizes = np.sort(sizes[sizes > 0])
    return int(sizes[(len(sizes) - 1) // 2]) if len(sizes) else 0


def permuted_within(values: Float, rng: np.random.Generator) -> Float:
    """Shuffle the values of each prompt over its responses; NaN stays where it is."""
    absent = np.isnan(values)
    if not absent.any():
        return rng.permuted(values, axis=1)
    target = np.argsort(absent, axis=1, kind="stable")
    source = np.argsort(rng.random(values.shape) + absent, axis=1)
    shuffled = np.empty_like(values)
    np.put_along_axis(shuffled, target, np.take_along_axis(values, source, axis=1), axis=1)
    return shuffled


def permuted_across(values: Float, rng: np.random.Generator) -> Float:
    """Shuffle the values over all responses of all prompts; NaN stays where it is."""
    shuffled = values.copy()
    present = ~np.isnan(values)
    shuffled[present] = rng.permutation(values[present])
    return shuffled


class TaskMeasures:
    """Everything that is measured on one task.

    Parameters
    ----------
    panel
        The task; a censored cell whose utility is NaN is a response that was asked for and lost to an error.
    ns
        Numbers of responses of the best@n, majority@n and pass@k curves.
    headline
        The n at which single numbers are reported.
    seed
        Seed of the permutations, thinnings and halves.
    filters
        Those beyond the default ones.
    verdict_counts
        Whether the headline gap is wanted at every number of verdicts, and at endlessly many.
    """

    def __init__(
        self,
        panel: Panel,
        *,
        ns: Sequence[int],
        headline: int,
        seed: int,
        filters: Sequence[Filter] = (),
        verdict_counts: bool = False,
    ) -> None:
        self.panel = panel
        self.filters = list(filters)
        self.verdict_counts = verdict_counts
        self.seed = seed
        self.curves: dict[str, Float] = {}
        self.ns = list(ns)
        self.headline = headline
        self.utility = panel.utility
        self.present: Bool = ~np.isnan(panel.utility)
        self.unknown_count = int(np.count_nonzero(panel.censored))
        self.asked_count = int(np.count_nonzero(self.present | panel.censored))
        self.accuracy = mean_response(self.utility, self.present)
        self.oracle = coverage_order(self.utility).rank(self.utility)
        rng = np.random.default_rng([seed, 1, *panel.task.encode()])
        self.within = permuted_within(self.utility, rng)
        self.across = permuted_across(self.utility, rng)
        self.first_half = halves(panel.clusters, seed=self._seed(3))

    def _seed(self, purpose: int) -> list[int]:
        return [self.seed, purpose, *self.panel.task.encode()]

    def all(self, *, votes: bool = True) -> Measures:
        """Every quantity of the task, in the order of reporting; majority@n only with `votes`.

        Also keeps the utility selected by each verifier's best@n curve in `curves`, by verifier [prompt, n].
        """
        measures = self.without_verifier() | (self._votes() if votes else {})
        for name, scores in self.panel.scores.items():
            measures |= self.with_verifier(name, scores)
        return measures

    def _bounds_of_mean(self) -> Bounds | None:
        unknown = self.panel.censored
        if not unknown.any():
            return None
        asked = self.present | unknown
        low = mean_response(np.where(unknown, 0.0, self.utility), asked)
        return low, low + mean_response(unknown.astype(float), asked)

    def without_verifier(self) -> Measures:
        """Accuracy, pass@k and the random filter."""
        found: Measures = {
            Key("", "accuracy", "", None, None): Measured(
                mean(self.accuracy, 0.0, 1.0), self._bounds_of_mean()
            )
        }
        best = self.oracle.select([BestOf(n) for n in self.ns])
        for place, n in enumerate(self.ns):
            coverage = mean(best[:, place], 0.0, 1.0)
            found[Key("", "pass@k", "", n, None)] = Measured(replace(coverage, reach=1.0))
        if any(isinstance(one, Random) for one in self.filters):
            found |= self._selected("", Random().label, None, None, self.accuracy * 0.0, 0.0)
        return found

    def _votes(self) -> Measures:
        asked = [one.n for one in self.filters if isinstance(one, MajorityAt)]
        ns = list(dict.fromkeys([*self.ns, *asked]))
        voted = majority_at_n(self.utility, self.panel.answers, ns, seed=self._seed(2))
        found: Measures = {}
        for place, n in enumerate(ns):
            reach = 0.0 if n == 1 else 1.0
            found |= self._selected("", f"majority@{n}", n, None, voted[:, place] - self.accuracy, reach)
        return found

    def _selected(
        self, verifier: str, label: str, n: int | None, m: int | None, gap: Float, reach: float = 1.0
    ) -> Measures:
        """Accuracy and gap of a filter; `reach` is how far from 0 the gap can be, 0 where there is no choice."""
        exact = gap if reach else gap * 0.0
        return {
            Key(verifier, "accuracy", label, n, m): Measured(mean(self.accuracy + exact, 0.0, 1.0)),
            Key(verifier, "gap", label, n, m): Measured(mean(exact, -reach, reach)),
        }

    def with_verifier(self, name: str, scores: Scores | VerdictCounts) -> Measures:
        """Everything that one verifier's scores select and tell apart."""
        score, m = scores.mean, scores.replicates
        if not (self.present & ~np.isnan(score)).any():
            return {Key(name, "gap", "", None, m): Measured(None, flags=("no_verdicts",))}
        flags = self._verdict_flags(name, score)
        pool = self.utility.shape[1]
        if scores.whole_pool:
            flags = (*flags, f"pool={pool}")
        order = Order.of(score, self.present)
        found = self._ranked(name, m, order, score, pool if scores.whole_pool else None)
        found |= self._weighted(name, m, score, scores)
        found |= self._asked(name, m, order, score, scores)
        if self.verdict_counts and not scores.whole_pool:
            found |= self._fewer_verdicts(name, scores)
        found[Key(name, "auc_within", "", None, m)] = Measured(auc_within(order, self.utility))
        found[Key(name, "auc_between", "", None, m)] = Measured(auc_between(order, self.utility, score))
        if scores.threshold is not None:
            for quantity, value in at_threshold(self.utility, score, scores.threshold).items():
                found[Key(name, quantity, "threshold", None, m)] = Measured(value)
        found = {key: Measured(one.quantity, one.bounds, flags) for key, one in found.items()}
        return self._without_unverified(name, score, found, flags) if name in self.panel.verified else found

    def _without_unverified(
        self, name: str, score: Float, found: Measures, flags: tuple[str, ...]
    ) -> Measures:
        """The same numbers where some responses were left unverified on purpose; None for what is not to be had."""
        verified = self.panel.verified[name]
        if verified.prompts.all() and only_unanimous_left_out(self.utility, verified):
            kept = {key: one for key, one in found.items() if key.quantity in WITHIN_PROMPTS}
        else:
            self.curves.pop(name, None)
            m = self.panel.scores[name].replicates
            partly = partly_verified(
                self.utility,
                score,
                verified,
                self.ns,
                headline=self.headline,
                clusters=self.panel.clusters,
                seed=self._seed(5),
                cheap=None if verified.control is None else self.panel.scores[verified.control].mean,
            )
            kept = {
                Key(name, quantity, label, n, m): Measured(value, None, flags)
                for (quantity, label, n), value in partly.items()
            }
        gone = Measured(None, None, (*flags, NOT_VERIFIED))
        return {key: kept.get(key, gone) for key in {**found, **kept}}

    def _asked(
        self, name: str, m: int, order: Order, score: Float, scores: Scores | VerdictCounts
    ) -> Measures:
        """Filters beyond the default ones. Scores of the whole pool cannot be used on part of it."""
        found: Measures = {}
        ranked = order.rank(self.utility)
        for one in self.filters:
            if isinstance(one, ThresholdChosen):
                found |= self._selected(name, one.label, None, m, self._gap_at_chosen_threshold(score))
            elif scores.whole_pool or isinstance(one, MajorityAt | Random):
                continue
            elif isinstance(one, ThresholdAt):
                if scores.threshold is not None:
                    chosen = threshold_at_n(self.utility, score, scores.threshold, one.n)
                    reach = 0.0 if one.n == 1 else 1.0
                    found |= self._selected(name, one.label, one.n, m, chosen - self.accuracy, reach)
            elif not (isinstance(one, BestOf) and one.n in self.ns):
                n = getattr(one, "n", None)
                found |= self._selected(
                    name, one.label, n, m, ranked.gap([one])[:, 0], 0.0 if n == 1 else 1.0
                )
        return found

    def _gap_at_chosen_threshold(self, score: Float) -> Float:
        """Gap of each prompt at the threshold that is best on the other half of the prompts."""
        valid = score[self.present & ~np.isnan(score)]
        thresholds = np.unique(np.quantile(valid, np.linspace(0, 1, CANDIDATES), method="nearest"))
        curve = np.column_stack([weighted_gap(self.utility, passes(score, t)) for t in thresholds])
        return cross_fitted([curve], [1.0], [self.first_half])[0][0]

    def _fewer_verdicts(self, name: str, scores: Scores | VerdictCounts) -> Measures:
        n, total, label = self.headline, scores.replicates, f"best@{self.headline}"
        curve = gap_by_verdicts(self.utility, scores, n, seed=self._seed(4))
        found: Measures = {
            Key(name, "gap", label, n, m): Measured(_gap(curve[:, m - 1], n)) for m in range(1, total)
        }
        found[Key(name, "gap_inf", label, n, total)] = Measured(limit_of(curve))
        return found

    def _verdict_flags(self, name: str, score: Float) -> tuple[str, ...]:
        """Say where missing verdicts matter; on prompts all right or all wrong they cannot move a gap."""
        mixed = self.present & (np.ptp(self.oracle.centred, axis=1) > 0)[:, None]
        if name in self.panel.verified:
            mixed &= self.panel.verified[name].responses
        missing = np.count_nonzero(mixed & np.isnan(score))
        return ("missing_verdicts",) if missing > REPORT_ABOVE * np.count_nonzero(mixed) else ()

    def _ranked(self, name: str, m: int, order: Order, score: Float, pool: int | None) -> Measures:
        """The best@n curve, and the single numbers at the headline n.

        Scores that depend on the whole pool are used on the whole pool: the top tie group of all N_i responses.
        """
        ranked = order.rank(self.utility)
        ns = self.ns if pool is None else [pool]
        headline = self.headline if pool is None else pool
        filters = [BestOf(n) if pool is None else _BestOfAll(n) for n in ns]
        gaps = dict(zip(ns, ranked.gap(filters).T, strict=True))
        bounds = self._bounds(order, score, filters)
        if pool is None:
            self.curves[name] = self.accuracy[:, None] + np.column_stack(list(gaps.values()))
        found: Measures = {}
        for place, (n, gap) in enumerate(gaps.items()):
            label = f"best@{n}"
            selected = mean(self.accuracy + gap, 0.0, 1.0)
            found[Key(name, "accuracy", label, n, m)] = Measured(selected, bounds[place][0])
            found[Key(name, "gap", label, n, m)] = Measured(_gap(gap, n), bounds[place][1])
        if headline not in gaps:
            return found

        gap, missed = gaps[headline], 1.0 - self.accuracy
        top = BestOf(headline) if pool is None else _BestOfAll(headline)
        possible = self.oracle.gap([top])[:, 0]
        solvable = (missed > 0).astype(float)
        control = order.rank(self.within).gap([top])[:, 0]
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

    def _weighted(self, name: str, m: int, score: Float, scores: Scores | VerdictCounts) -> Measures:
        """Macro and pooled gaps of the threshold and of soft weights, with their controls.

        The macro gap of the threshold is that of a budget of the N responses there are: what an endless budget would
        find where nothing of N passes is not in the data. `nothing_passes` is the share of such prompts.
        """
        found: Measures = {}

        def add(quantity: str, label: str, value: Quantity) -> None:
            found[Key(name, quantity, label, None, m)] = Measured(value)

        def both(label: str, gap: Float, control: Float, overall: Float) -> None:
            """Macro gap with its control; pooled gap by weights that compare across prompts."""
            accept = mean_response(overall, self.present)
            chosen = mean_response(overall * self.utility, self.present)
            shuffled = mean_response(overall * self.across, self.present)
            base = mean_response(self.across, self.present)
            add("gap", label, mean(gap, -1.0, 1.0))
            add("gap_pooled", label, ratio_less_mean(chosen, accept, self.accuracy, when_empty=0.0))
            # Weight and utility of two different responses: those of the same one are related within the prompt.
            others = np.maximum(self.present.sum(axis=1) - 1, 1)
            apart = accept * self.accuracy + (accept * self.accuracy - chosen) / others
            mix = ratio_less_mean(apart, accept, self.accuracy, when_empty=0.0)
            add("prompt_mix", label, replace(mix, reach=1.0))
            add("gap_permuted", label, mean(control, -1.0, 1.0))
            add("gap_pooled_permuted", label, ratio_less_mean(shuffled, accept, base, when_empty=0.0))

        if scores.threshold is not None:
            passed = passes(score, scores.threshold)
            both("threshold", weighted_gap(self.utility, passed), weighted_gap(self.within, passed), passed)
            none = np.where(self.present.any(axis=1), 1.0, np.nan)
            none[(passed * self.present).any(axis=1)] = 0.0
            add("nothing_passes", "threshold", mean(none, 0.0, 1.0))
        if scores.scale == "real":  # which has no weight that would fit
            return found
        soft = soft_weights(score, scores.scale, per_prompt=True)
        overall = soft_weights(score, scores.scale, per_prompt=False)
        both("soft", corrected_gap(self.utility, soft), corrected_gap(self.within, soft), overall)
        return found

    def _bounds(
        self, order: Order, score: Float, filters: Sequence[RankFilter]
    ) -> list[tuple[Bounds | None, Bounds | None]]:
        """Bounds on the selected utility and on its gap, for each filter.

        Both are linear in the utility of a censored row, the gap with the row's weight less 1/N, so the worst is
        the sum of the negative coefficients and the best that of the positive ones.
        """
        unknown = self.panel.censored
        if not unknown.any():
            return [(None, None)] * len(filters)
        asked = self.present | unknown
        if (unknown & ~self.present).any():
            order = Order.of(score, asked)  # what was lost would have been in the sample
        worst = order.rank(np.where(unknown, 0.0, self.utility))
        hidden = order.gather(unknown.astype(float))
        found: list[tuple[Bounds | None, Bounds | None]] = []
        for place, gap in enumerate(worst.gap(filters).T):
            weight = order.tie_averaged(filters[place]) * hidden
            swing = weight - hidden / np.maximum(order.size, 1)[:, None]
            selected = worst.mean + gap
            found.append(
                (
                    (selected, selected + weight.sum(axis=1)),
                    (gap + np.minimum(swing, 0).sum(axis=1), gap + np.maximum(swing, 0).sum(axis=1)),
                )
            )
        return found


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
