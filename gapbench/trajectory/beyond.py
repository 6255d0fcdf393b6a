"""Bootstrapping or more? A cross-fitted test that tuned responses are worth more than M base responses.

Counting prompts that are newly solved proves nothing: pure sharpening, q = 1 - (1 - p)^M, shows many. The null is
q_i <= C_i(M) = 1 - (1 - p_i)^M at every prompt i, one tuned response being worth at most M base responses. Prompts are
chosen on one half of the responses and measured on the other, so that choosing biases nothing (projection.md, section 4).

Arrays are counts of right responses: [..., prompt, half]. Leading axes are data sets, so that a simulation is one call.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from gapbench.estimate.rank_filters import log_choose
from gapbench.panel import Float, Int

MOST = 64
"""Base responses that one tuned response may be worth under the null, unless fewer were drawn."""

PER_WORTH = 8
"""Base responses that each of those needs: at 2 a null of rare prompts is rejected 42 % of the time (sim)."""

FEWEST = 4
SOLVED = 0.25
CHANCE = 0.25
ALPHA = 0.05
COARSE, ENOUGH = 256, 8
"""With fewer tuned responses than the first, a rate of .25 is often luck: then fewer prompts than the second are no evidence.

Without it a null of rare prompts is rejected 10 % of the time at 32 to 64 tuned responses, with it at most 7 % (sim).
"""

RIGHT = 1.0 - 1e-9


@dataclass(frozen=True, eq=False)
class Halves:
    """Right responses among all, in two halves.

    Attributes
    ----------
    right, total
        Counts [..., prompt, half].
    """

    right: Int
    total: Int

    @property
    def rate(self) -> Float:
        """Share right in each half [..., prompt, half]."""
        return np.asarray(self.right / self.total)

    def coverage(self, k: int) -> Float:
        """Unbiased pass@k from each half: 1 - C(n-c, k)/C(n, k), `pass_at_k` on counts [..., prompt, half]."""
        return np.asarray(1.0 - np.exp(log_choose(self.total - self.right, k) - log_choose(self.total, k)))


@dataclass(frozen=True, eq=False)
class Parts:
    """What became of each prompt [..., prompt]; gain = sharpened + beyond - regressed, exactly.

    Attributes
    ----------
    excess
        The statistic of the test: q - C(M) where the other half has no base success and a tuned rate of at least .25.
    chosen
        In how many of the two halves the prompt was such a one.
    """

    gain: Float
    sharpened: Float
    beyond: Float
    regressed: Float
    excess: Float
    chosen: Int


def halves(utility: Float, seed: int) -> Halves:
    """Split each prompt's responses at random into two halves of one size.

    Of an odd number one response is left out. A response is right where its utility is 1.

    Parameters
    ----------
    utility
        [prompt, response]; NaN for a response that does not count.
    """
    present = ~np.isnan(utility)
    order = np.where(present, np.random.default_rng(seed).random(utility.shape), np.inf).argsort(axis=1)
    size = present.sum(axis=1, keepdims=True) // 2
    right = np.take_along_axis(np.where(present, utility >= RIGHT, False), order, axis=1)
    place = np.arange(utility.shape[1])
    inside = [place < size, (place >= size) & (place < 2 * size)]
    counts = np.stack([(right & one).sum(axis=1) for one in inside], axis=-1)
    return Halves(counts, np.broadcast_to(size, counts.shape))


def cross_fitted(base: Halves, tuned: Halves, worth: int) -> Parts:
    """Choose each prompt's region on one half, measure on the other, swap and average.

    Parameters
    ----------
    base, tuned
        The same prompts.
    worth
        M of the null.
    """
    p, q, ceiling = base.rate, tuned.rate, base.coverage(worth)
    other = slice(None, None, -1)  # a half is measured where the other one was chosen
    chosen = ((base.right == 0) & (q >= SOLVED))[..., other]
    worse = (q < p)[..., other] & ~chosen
    rest = ~chosen & ~worse
    gain, excess = q - p, np.where(chosen, q - ceiling, 0.0)
    sharpened = np.where(chosen, ceiling - p, np.where(rest, gain, 0.0))
    regressed = np.where(worse, -gain, 0.0)
    means = [one.mean(axis=-1) for one in (gain, sharpened, excess, regressed)]
    return Parts(means[0], means[1], means[2], means[3], means[2], chosen.sum(axis=-1))


def one_sided(values: Float, clusters: Int | None = None) -> tuple[Float, Float, Float]:
    """Mean over prompts [...], one-sided 95 % lower bound and t-test p-value against a mean of at most 0.

    Prompts of one cluster count as one observation. Where all values are 0 there is no evidence: p = 1.
    """
    mean = values.mean(axis=-1)
    residual = values - mean[..., None]
    if clusters is not None:
        residual = residual @ (np.asarray(clusters)[:, None] == np.unique(clusters))
    count = residual.shape[-1]
    error = np.sqrt((residual**2).sum(axis=-1) * count / max(count - 1, 1)) / values.shape[-1]
    flat = error <= 1e-15
    t = np.where(flat, 0.0, mean / np.where(flat, 1.0, error))
    low = mean - stdtrit(count - 1, 1 - ALPHA) * error
    return mean, low, np.where(flat, 1.0, stdtr(count - 1, -t))


def excess_test(parts: Parts, tuned: Halves, clusters: Int | None = None) -> tuple[Float, Float, Float]:
    """The test of H0(M): mean excess, its one-sided 95 % lower bound and the p-value [...]."""
    mean, low, p = one_sided(parts.excess, clusters)
    coarse = tuned.total.sum(axis=-1).min(axis=-1) < COARSE
    few = (parts.chosen > 0).sum(axis=-1) < ENOUGH
    return mean, low, np.where(coarse & few, 1.0, p)


def worth_allowed(base: Halves, most: int = MOST) -> int:
    """M that the base responses allow: at most an eighth of them; 0 where that is fewer than 4."""
    smallest = int(base.total.sum(axis=-1).min())
    allowed = min(most, smallest // PER_WORTH)
    return allowed if allowed >= FEWEST else 0


def meaningless(guess: float, worth: int) -> bool:
    """Whether chance alone lifts C(M) so far that it bounds nothing: 1 - (1 - g)^M > .25."""
    return 1.0 - (1.0 - guess) ** worth > CHANCE
