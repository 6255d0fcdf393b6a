"""What designs of any size would find and cost: tried on the pilot's rows, and extrapolated where they ask for more.

The variance of a prompt's gap has three parts: true gaps differ between prompts, responses were drawn, verdicts were drawn
(`Noise`). The second falls like 1/N and the third like 1/(N M), and what the pilot cannot hold is extrapolated by that.

>>> from gapbench.estimate.selection import BestOf
>>> from gapbench.savings import Savings
>>> from gapbench.synthetic import SCENARIOS, draw
>>> data = draw(SCENARIOS["mid"], 400, 16, seed=0)
>>> task = PilotTask("sums", data.utility, data.panel().scores["binary"], answer_tokens=50, verdict_tokens=50)
>>> forecast = Forecast(task, BestOf(4), 8)
>>> within, beyond = (forecast.cost(Design(size, 8, Savings())) for size in (16, 64))
>>> forecast.noise().between < beyond.variance < within.variance
True
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from gapbench.design.trial import Cost, PilotTask, Planned, Trial, covariance
from gapbench.estimate.case_control import RIGHT, unanimous
from gapbench.panel import Float
from gapbench.savings import Savings

FURTHEST = 4  # times the pilot's responses or verdicts, beyond which nothing is extrapolated


@dataclass(frozen=True, slots=True)
class Design:
    """What is drawn for each prompt: responses, verdicts for each response asked about, and who is asked about."""

    responses: int
    verdicts: int
    savings: Savings


@dataclass(frozen=True, slots=True)
class Noise:
    """Where the variance of one prompt's gap comes from, at the pilot's design; mean over tasks.

    Attributes
    ----------
    between
        True gaps differ from prompt to prompt: only more prompts help. NaN where the responses cannot be halved.
    responses
        Which responses were drawn.
    verdicts
        What the verifier happened to say; None where each response has one verdict only.
    unanimous
        Share of prompts whose responses are all right or all wrong.
    """

    between: float
    responses: float
    verdicts: float | None
    unanimous: float


class Forecast:
    """What any number of responses and verdicts finds on a task, and what it costs.

    Parameters
    ----------
    task
        The task of the pilot.
    filter, m
        Of the gap; m is 0 for a vote.

    Notes
    -----
    Beyond the pilot's N responses the variance is B + (V - B) N/N', V being the pilot's and B the covariance of the gaps that
    separate halves of the responses find, which share the prompt and no noise. N (V - B) never rises with N (Hoeffding
    1948, Annals of Mathematical Statistics 19(3), theorem 5.2), so that it errs on the side of too much noise. Where at
    most r right and r wrong responses are verified, what this adds grows with N' like the mean over mixed prompts of
    1/min(r, C) - 1/C for the C right responses to be expected, and likewise for the wrong ones. Of a pilot that was
    verified so itself the parts cannot be told apart: what its second half of responses gained is then taken to fall like
    1/N^2, faster than it does. Beyond the pilot's M verdicts the verdicts' part falls like 1/M.
    """

    def __init__(self, task: PilotTask, filter: Planned, m: int) -> None:
        self.task, self.filter, self.m, self.pool = task, filter, m, task.pool
        self.verdicts = m * 2 ** int(np.log2(task.replicates // m)) if m else 0  # most that a trial takes
        self.trial = cache(self._trial)
        self._noise_by_prompt = cache(self._verdict_noise_by_prompt)
        self._all = np.ones((1, len(task.utility)))
        self._right = (task.utility >= RIGHT).sum(axis=1)
        self._size = (~np.isnan(task.utility)).sum(axis=1)

    def _trial(self, responses: int, verdicts: int) -> Trial:
        return Trial(self.task, self.filter, self.m, responses, verdicts)

    @property
    def most_responses(self) -> int:
        """Largest N that can be told of."""
        return self.pool * (FURTHEST if self.pool >= 2 * self.filter.n else 1)

    @property
    def most_verdicts(self) -> int:
        """Largest M that can be told of."""
        return self.verdicts * (FURTHEST if self.task.replicates > 1 else 1)

    def extrapolated(self, design: Design) -> bool:
        """Whether a design asks for more than the pilot has."""
        return design.responses > self.pool or design.verdicts > self.verdicts

    def cost(self, design: Design) -> Cost:
        """What a prompt costs, by the prompts of the pilot."""
        return Cost(*self.costs(design, self._all)[:, 0].tolist())

    def costs(self, design: Design, weights: Float) -> Float:
        """The fields of `Cost` [field, resample] on resampled prompts; `weights` [resample, prompt] says how often each."""
        size, verdicts, savings = design.responses, design.verdicts, design.savings
        inside = min(size, self.pool), min(verdicts, self.verdicts)
        found = self.trial(*inside).costs(savings, weights)
        if not self.extrapolated(design):
            return found
        r = savings.case_control
        variance = self._variance(*inside, r, weights)
        beyond = variance
        per_verdict = found[1] / max(inside[1], 1)
        cheap = found[2] - inside[0] * self.task.answer_tokens - found[1] * self.task.verdict_tokens
        if size > self.pool:
            beyond = self._with_responses(size, r, variance, weights)
            half = self.trial(self.pool // 2, inside[1]).costs(savings, weights)[1] / max(inside[1], 1)
            # The share of prompts that are mixed nears its limit like 1/N, and so does the number of the first r.
            if r is None:
                share = _beyond(half / (self.pool // 2), per_verdict / self.pool, self.pool, size)
                per_verdict = size * np.minimum(share, 1.0)
            else:
                per_verdict = np.minimum(_beyond(half, per_verdict, self.pool, size), 2.0 * r)
            cheap = cheap * size / self.pool
        if verdicts > self.verdicts:
            noise = self._verdict_noise(inside[0], r, weights) * (inside[0] / size if r is None else 1.0)
            beyond = beyond - np.minimum(noise, beyond) * (1 - self.verdicts / verdicts)
        asked = per_verdict * verdicts
        tokens = size * self.task.answer_tokens + asked * self.task.verdict_tokens + cheap
        ratio = beyond / np.where(variance > 0, variance, 1.0)
        return np.stack([found[0] * ratio, asked, tokens])

    def _variance(self, size: int, verdicts: int, r: int | None, weights: Float) -> Float:
        """With every prompt verified."""
        return np.asarray(self.trial(size, verdicts).costs(Savings(case_control=r), weights)[0])

    def _with_responses(self, size: int, r: int | None, variance: Float, weights: Float) -> Float:
        """The variance with more responses than the pilot has."""
        left = self.pool / size
        if self.task.most is not None:
            half = self._variance(self.pool // 2, self.verdicts, r, weights)
            gained = np.maximum(half - variance, 0.0) / ((self.pool / (self.pool // 2)) ** 2 - 1)
            return np.maximum(variance - gained * (1 - left**2), variance * left)
        whole = variance if r is None else self._variance(self.pool, self.verdicts, None, weights)
        between = np.clip(self._between(weights), 0.0, whole)
        added = np.maximum(variance - whole, 0.0)
        if r is not None and added.any():
            added *= self._unverified(size, r) / self._unverified(self.pool, r)
        return np.asarray(between + (whole - between) * left + added)

    def _between(self, weights: Float) -> Float:
        """Covariance of the gaps that separate halves of the responses find."""
        if self.pool // 2 < self.filter.n or self.task.most is not None:
            return np.full(len(weights), np.nan)
        one, other = (part.gap for part in self.trial(self.pool // 2, self.verdicts).columns(None)[:2])
        return covariance(one, other, weights)

    def _verdict_noise(self, size: int, r: int | None, weights: Float) -> Float:
        """Variance that `self.verdicts` verdicts a response add; NaN where a response has one only."""
        each = self._noise_by_prompt(size, r)
        there = ~np.isnan(each)
        if not there.any():
            return np.full(len(weights), np.nan)
        return np.asarray(weights @ np.nan_to_num(each) / (weights @ there))

    def _verdict_noise_by_prompt(self, size: int, r: int | None) -> Float:
        """From blocks of m verdicts that share none [prompt].

        Where there is one such block its halves are taken, and half of the noise of m/2 verdicts for that of m.
        """
        block = self.m if self.verdicts >= 2 * self.m else self.m // 2
        if not block:
            return np.full(len(self.task.utility), np.nan)
        trial = Trial(self.task, self.filter, block, size, self.verdicts // block * block)
        found = np.array(trial.gaps(r))  # [verdicts, responses, prompt]
        return np.asarray(found.var(axis=0, ddof=1).mean(axis=0) * block / self.verdicts)

    def _unverified(self, size: int, r: int) -> float:
        """Mean of 1/min(r, C) - 1/C over right and wrong responses of mixed prompts, C scaled to `size` responses."""
        mixed = ~unanimous(self.task.utility)
        total = 0.0
        for count in (self._right[mixed], (self._size - self._right)[mixed]):
            expected = np.maximum(count, 1) * size / self._size[mixed]
            total += float(np.maximum(1 / np.minimum(r, expected) - 1 / expected, 0.0).mean())
        return total

    def noise(self) -> Noise:
        """Where the variance comes from at N responses and m verdicts, without savings."""
        total = float(self._variance(self.pool, self.m, None, self._all)[0])
        between = float(self._between(self._all)[0])
        verdicts = float(self._verdict_noise(self.pool, None, self._all)[0])
        verdicts *= self.verdicts / max(self.m, 1)
        known = 0.0 if np.isnan(verdicts) else verdicts
        return Noise(
            between,
            max(total - between - known, 0.0) if np.isfinite(between) else float("nan"),
            None if np.isnan(verdicts) else verdicts,
            float(unanimous(self.task.utility).mean()),
        )


def _beyond(half: Float, whole: Float, pool: int, size: int) -> Float:
    """What a number that is linear in 1/N comes to, known at half of the pool and at the pool."""
    slope = (half - whole) / (1 / (pool // 2) - 1 / pool)
    return whole - slope * (1 / pool - 1 / size)
