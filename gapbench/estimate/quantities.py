"""The named quantities of measurement.md section 3 for one task: arrays in, columns with one number a prompt out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gapbench.estimate.chosen import halves
from gapbench.estimate.controls import permuted_across, permuted_within
from gapbench.estimate.coverage import coverage_order, majority_at_n
from gapbench.estimate.filters import Filter, MajorityAt
from gapbench.estimate.judged import VerifierMeasures
from gapbench.estimate.measured import (
    REPORT_ABOVE,
    Bounds,
    Key,
    Measured,
    Measures,
    pool_size,
    powers_of_two,
    selected,
)
from gapbench.estimate.quantity import mean
from gapbench.estimate.selection import BestOf, Random, mean_response
from gapbench.panel import Bool, Float, Panel

__all__ = [
    "REPORT_ABOVE",
    "Key",
    "Measured",
    "Measures",
    "TaskMeasures",
    "permuted_across",
    "permuted_within",
    "pool_size",
    "powers_of_two",
]


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
        self.first_half = halves(panel.clusters, seed=self.seed_of(3))

    def seed_of(self, purpose: int) -> list[int]:
        """Seed of one of the task's random numbers."""
        return [self.seed, purpose, *self.panel.task.encode()]

    def all(self, *, votes: bool = True) -> Measures:
        """Every quantity of the task, in the order of reporting; majority@n only with `votes`.

        Also keeps the utility selected by each verifier's best@n curve in `curves`, by verifier [prompt, n].
        """
        measures = self.without_verifier() | (self._votes() if votes else {})
        for name, scores in self.panel.scores.items():
            judged = VerifierMeasures(self, name, scores)
            measures |= judged.all()
            if judged.curve is not None:
                self.curves[name] = judged.curve
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
            found |= selected(self.accuracy, "", Random().label, None, None, self.accuracy * 0.0, 0.0)
        return found

    def _votes(self) -> Measures:
        if (self.panel.answers < 0).all():
            return {}
        asked = [one.n for one in self.filters if isinstance(one, MajorityAt)]
        ns = list(dict.fromkeys([*self.ns, *asked]))
        voted = majority_at_n(self.utility, self.panel.answers, ns, seed=self.seed_of(2))
        found: Measures = {}
        for place, n in enumerate(ns):
            reach = 0.0 if n == 1 else 1.0
            gap = voted[:, place] - self.accuracy
            found |= selected(self.accuracy, "", f"majority@{n}", n, None, gap, reach)
        return found
