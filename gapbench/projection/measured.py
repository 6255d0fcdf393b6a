"""What a projection needs of one task beyond what the estimates have, as quantities like theirs.

They join the task's own quantities under keys of their own, so that intervals, weights of tasks and flags are those of every
other number of the run.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from gapbench.estimate.coverage import pass_at_k
from gapbench.estimate.levels import Task
from gapbench.estimate.measured import Key, Measured, powers_of_two
from gapbench.estimate.quantities import pool_size
from gapbench.estimate.quantity import mean, ratio
from gapbench.estimate.selection import Order, TopFraction
from gapbench.panel import Float, Panel, Scores, VerdictCounts
from gapbench.projection.fresh import after_rounds, estimated_chances
from gapbench.projection.loops import (
    BestLoop,
    Loop,
    SoftLoop,
    SoftScale,
    gaps_by_round,
    prompt_weights,
    soft_horizon,
)

MIN_FRESH = 2  # verdicts a response from which merit and luck can be told apart


def reserve_key(n: int) -> Key:
    """pass@n less accuracy."""
    return Key("", "reserve_coverage", f"pass@{n}", n, None)


def signal_key(g: int) -> Key:
    """Share of prompts with signal for groups of g."""
    return Key("", "signal", "", g, None)


def pass_key(k: int) -> Key:
    """pass@k, as the estimates name it."""
    return Key("", "pass@k", "", k, None)


def round_key(verifier: str, loop: Loop, rounds: int, *, fresh: bool) -> Key:
    """Accuracy after rounds of a loop."""
    return Key(verifier, "round_fresh" if fresh else "round", loop.label, rounds, None)


def gain_key(verifier: str, loop: Loop, rounds: int) -> Key:
    """What rounds of a loop gain, with fresh verdicts where the verifier draws them."""
    return Key(verifier, "gain", loop.label, rounds, None)


def corner_key(verifier: str) -> Key:
    """Share right among the top 1/N of all scores."""
    return Key(verifier, "top_share", "", None, None)


class ProjectedTask(Task):
    """A task's measures with those that a projection adds.

    Parameters
    ----------
    panel
        The task.
    loop
        What every round keeps.
    ks
        Values of k up to N at which pass@k is wanted besides 1, 2, 4, ..., N.
    seed
        Of the run.
    sampled
        Verifiers whose verdicts are drawn, so that a replicate would differ.

    Attributes
    ----------
    horizon
        Identified rounds by verifier; a verifier without is not here.
    paths
        By verifier, rounds of the frozen path [point] and accuracy along it [prompt, point].
    coverage
        pass@k at `ns` [prompt, k].
    own_flags
        By verifier, what the projection has to say of it.
    """

    def __init__(
        self, panel: Panel, loop: Loop, ks: Sequence[int], seed: int, sampled: Collection[str]
    ) -> None:
        size = pool_size(panel)
        ns = sorted({*powers_of_two(size), size})
        super().__init__(panel, ns, max(size // 2, 1), seed, [], False, "population")
        self.panel, self.loop, self.sampled = panel, loop, sampled
        self.horizon: dict[str, int] = {}
        self.paths: dict[str, tuple[Float, Float]] = {}
        self.own_flags: dict[str, list[str]] = {name: [] for name in panel.scores}
        self.coverage = pass_at_k(panel.utility, ns)
        self._add_coverage([k for k in ks if k <= size])
        for name, scores in panel.scores.items():
            if name in self.curves:
                self._add_rounds(name, scores)
                if name not in panel.verified:
                    self._add_corner(name, scores)

    def _add_coverage(self, asked: Sequence[int]) -> None:
        utility = self.panel.utility
        failing = pass_at_k(1.0 - utility, self.ns)
        for place, n in enumerate(self.ns):
            column = self.coverage[:, place] - self.accuracy
            self.measures[reserve_key(n)] = Measured(mean(column * (n > 1), 0.0, 1.0))
            if n > 1:
                both = self.coverage[:, place] + failing[:, place] - 1.0
                self.measures[signal_key(n)] = Measured(mean(both, 0.0, 1.0))
        for k in asked:
            self.measures.setdefault(pass_key(k), Measured(mean(pass_at_k(utility, [k])[:, 0], 0.0, 1.0)))

    def _add_rounds(self, name: str, scores: Scores | VerdictCounts) -> None:
        utility, score, loop = self.panel.utility, scores.mean, self.loop
        if isinstance(loop, SoftLoop):
            if scores.scale == "real":
                self.own_flags[name].append("no_soft_weight")
                return
            horizon = soft_horizon(prompt_weights(utility, score, scores.scale))
        else:
            horizon = loop.horizon(self.pool)
        scale: SoftScale = "logprob" if scores.scale == "logprob" else "probability"
        gaps = gaps_by_round(loop, utility, score, range(horizon + 1), scale)
        fixed = self.accuracy[:, None] + gaps
        self.horizon[name] = horizon
        self.paths[name] = (
            (np.log(self.ns) / math.log(loop.n), self.curves[name])
            if isinstance(loop, BestLoop)
            else (np.arange(horizon + 1.0), fixed)
        )
        added = self._added_by_fresh(name, scores, horizon)
        for t in range(horizon + 1):
            self.measures[round_key(name, loop, t, fresh=False)] = Measured(mean(fixed[:, t], 0.0, 1.0))
            gain = gaps[:, t]
            if added is not None:
                gain = gain + added[:, t]
                fresh = mean(self.accuracy + gain, 0.0, 1.0)
                self.measures[round_key(name, loop, t, fresh=True)] = Measured(fresh)
            self.measures[gain_key(name, loop, t)] = Measured(mean(gain, -1.0, 1.0))

    def _added_by_fresh(self, name: str, scores: Scores | VerdictCounts, rounds: int) -> Float | None:
        """Accuracy that fresh verdicts add to that of standing ones [prompt, round], both by one model of the chances.

        The model's own errors at accuracy after selection are larger than this difference, and cancel in it.
        """
        if name not in self.sampled and scores.replicates == 1:
            return None
        counts = scores.counts
        if counts is None:
            self.own_flags[name].append("fresh_not_modelled")
            return None
        if scores.replicates < MIN_FRESH:
            self.own_flags[name].append("fresh_not_identified")
            return None
        chances = estimated_chances(self.panel.utility, counts)
        fixed, fresh = (
            after_rounds(chances, self.loop, scores.replicates, rounds, fresh=one) for one in (False, True)
        )
        return fresh - fixed

    def _add_corner(self, name: str, scores: Scores | VerdictCounts) -> None:
        """The top 1/N of all scores of the task, the responses at its edge sharing what is left alike."""
        utility = self.panel.utility
        present = ~np.isnan(utility)
        order = Order.of(np.where(present, scores.mean, np.nan).reshape(1, -1), present.reshape(1, -1))
        weights = np.empty(utility.size)
        weights[order.index[0]] = order.tie_averaged(TopFraction(1.0 / self.pool))[0]
        weight = np.where(present, weights.reshape(utility.shape), 0.0)
        right = (weight * np.where(present, utility, 0.0)).sum(axis=1)
        self.measures[corner_key(name)] = Measured(
            replace(ratio(right, weight.sum(axis=1), 0.0, 1.0), reach=1.0)
        )
