"""Errors of forecasts with the luck of the prompts taken out.

The interval of a forecast is for all prompts that might be drawn, and forecast and outcome share their prompts: such an interval
is wide, and holds almost always. What a forecast expected of each prompt, less what that prompt then did, has a mean that is
the error, and a spread that says how far from 0 an error may lie by chance.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import stdtrit

from gapbench.loop.config import LoopConfig
from gapbench.loop.forecasts import FILTER, GAIN, LAST
from gapbench.loop.measuring import Directory, panels_of, scores_of, verifier_of
from gapbench.loop.scoring import NAN, Score
from gapbench.panel import Float, Panel
from gapbench.projection.loops import gaps_by_round
from gapbench.run import Run
from gapbench.trajectory.measured import over_prompts

ALIKE = 1e-6


class Paired:
    """Intervals of errors; reads each run once.

    Parameters
    ----------
    config, at
        The loop and where it lies.
    """

    def __init__(self, config: LoopConfig, at: Directory) -> None:
        self._config, self._at = config, at
        self._panels: dict[tuple[str, str, int], list[Panel]] = {}

    def panels(self, arm: str, prompts: str, number: int) -> list[Panel]:
        """The panels of a run."""
        key = arm, prompts, number
        if key not in self._panels:
            self._panels[key] = panels_of(Run(self._at.run(self._config.arm(arm), number, prompts)))
        return self._panels[key]

    def interval(self, one: Score) -> tuple[float, float]:
        """The 95 % interval of an error (Student's t over prompts, or their clusters).

        NaN for a forecast that says nothing of single prompts: a law of the series, a scenario, and a filter whose verdicts
        are drawn anew in every round.
        """
        if one.method not in (FILTER, LAST, GAIN):
            return NAN, NAN
        before = self.panels(one.arm, one.prompts, one.origin)
        after = self.panels(one.arm, one.prompts, one.t)
        off = [
            self._expected(first, one) - np.nanmean(later.utility, axis=1)
            for first, later in zip(before, after, strict=True)
        ]
        mean, covariance, clusters = over_prompts(before, [values[None] for values in off], one.domain)
        if not abs(mean[0] - one.error) < ALIKE or clusters < 2:
            return NAN, NAN
        reach = float(stdtrit(clusters - 1, 0.975)) * math.sqrt(covariance[0, 0])
        return one.error - reach, one.error + reach

    def _expected(self, panel: Panel, one: Score) -> Float:
        """What was expected of each prompt [prompt]."""
        now: Float = np.nanmean(panel.utility, axis=1)
        if one.method == LAST:
            return now
        rounds = one.t - one.origin if one.method == FILTER else 1
        score = scores_of(panel, verifier_of(self._config, self._config.arm(one.arm)))
        return now + gaps_by_round(self._config.loop, panel.utility, score, [rounds])[:, 0]
