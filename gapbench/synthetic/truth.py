"""The true value of every quantity of a scenario, by quadrature."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from scipy.special import betainc, betaincinv, expit, gammaln, log_expit, logit, ndtr
from scipy.stats import binom, poisson

from gapbench.errors import UserError
from gapbench.panel import Float
from gapbench.synthetic.scenario import CLIP, HACK, WRONG_SHARES, Prompts, Scenario, prompts_from

NORMAL_NODES = 12  # of each of z and z'
NOISE_NODES = 64  # of e
BETA_NODES = (24, 40, 24)  # of p in [0, .01], [.01, .99] and [.99, 1], between which s has kinks
BINS_PER_SD = 20  # bins of a continuous score in one sd_w
NEGLIGIBLE = 1e-10  # weight of a node that is left out


def truth(
    scenario: Scenario,
    quantity: str,
    filter: str = "",
    *,
    n: int | None = None,
    m: float | None = None,
    threshold: float = 0.5,
    prompts: Prompts | None = None,
) -> float:
    """The true value of a quantity, under the names that estimates have.

    Deterministic. Means over prompts are Gauss quadratures over p, z and z', those over e Gauss-Hermite (exact bin
    masses where m is infinite). Doubling any number of nodes moves no quantity of the named scenarios by more than
    1e-4, so that no Monte Carlo error need be allowed for.

    Parameters
    ----------
    quantity
        `accuracy`, `gap`, `relative_gap`, `relative_gap_per_prompt`, `oracle_share`, `shortfall`, `pass@k`, `gap_pooled`,
        `prompt_mix`, `auc_within`, `auc_between`, `tpr`, `fpr`, `youden`, `precision`, `precision_ceiling`,
        `verifier_gain`, `nothing_passes`.
    filter
        `best@n`, `top k of n`, `top q`, `majority@n`, `threshold`, `threshold@n`, `soft`, or nothing for any response.
    n
        The k of `pass@k`; of `nothing_passes`, the number of responses of which none passes.
    m
        Number of verdicts behind a score; `math.inf` for the score logistic(s) itself. By default the scenario's M.
    threshold
        Mean verdict from which a response passes.
    prompts
        These prompts (`Draw.prompts`), for the `benchmark` target; by default the population of prompts.

    Raises
    ------
    UserError
        If the quantity or filter is not known, or they do not go together.

    Notes
    -----
    measurement.md, section 7: with f = p q1 + (1 - p) q0 over k = 0..m, F its cdf and a_k = p q1/f,
    best@n = sum_k (F_k^n - F_{k-1}^n) a_k.
    """
    m = scenario.M if m is None else m
    judged = _population(scenario, m) if prompts is None else _judge(scenario, prompts, m)
    return judged.value(quantity, filter, n, threshold)


_RATES = ("tpr", "fpr", "youden", "precision", "precision_ceiling", "verifier_gain", "nothing_passes")
_GOES_WITH: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(_RATES, ("threshold",)),
    **dict.fromkeys(("gap_pooled", "prompt_mix"), ("threshold", "soft")),
}


@dataclass(frozen=True, eq=False)
class _Judged:
    """Prompts with the distribution of a response's score: q1 and q0 [prompt, k], and the scores [k]."""

    scenario: Scenario
    prompts: Prompts
    m: float
    score: Float
    q1: Float
    q0: Float

    def mean(self, values: Float) -> float:
        return float(self.prompts.weight @ values)

    def value(self, quantity: str, label: str, n: int | None, threshold: float) -> float:
        if (wanted := _GOES_WITH.get(quantity)) and label not in wanted:
            raise UserError(f"quantity '{quantity}' goes with filter {' or '.join(wanted)}, not '{label}'")
        p = self.prompts.p
        w1, w0 = self.weights("soft" if label == "soft" else "threshold", threshold)
        accept_right, accept_wrong = self.mean(p * w1), self.mean((1 - p) * w0)
        accept, accuracy = accept_right + accept_wrong, self.mean(p)

        def gap() -> Float:
            return self.selected(label, threshold) - p

        def oracle() -> Float:
            if not (found := re.fullmatch(r"best@([1-9]\d*)", label)):
                raise UserError(f"quantity '{quantity}' goes with filter best@n, not '{label}'")
            return np.asarray(1 - (1 - p) ** int(found[1]))

        def solvable(values: Float) -> float:
            open_ = p < 1
            share = values[open_] / (1 - p[open_])
            return float(self.prompts.weight[open_] @ share / self.prompts.weight[open_].sum())

        quantities: dict[str, Callable[[], float]] = {
            "accuracy": lambda: self.mean(self.selected(label, threshold)),
            "gap": lambda: self.mean(gap()),
            "relative_gap": lambda: self.mean(gap()) / (1 - accuracy),
            "relative_gap_per_prompt": lambda: solvable(gap()),
            "shortfall": lambda: self.mean(oracle() - p - gap()),
            "oracle_share": lambda: self.mean(gap()) / self.mean(oracle() - p),
            "pass@k": lambda: self.mean(1 - (1 - p) ** _needed(quantity, n)),
            "nothing_passes": lambda: self.mean((1 - p * w1 - (1 - p) * w0) ** _needed(quantity, n)),
            "gap_pooled": lambda: accept_right / accept - accuracy,
            "prompt_mix": lambda: self.mean((p * w1 + (1 - p) * w0) * p) / accept - accuracy,
            "auc_within": lambda: self.auc_within(),
            "auc_between": lambda: self.auc_between(),
            "tpr": lambda: accept_right / accuracy,
            "fpr": lambda: accept_wrong / (1 - accuracy),
            "youden": lambda: accept_right / accuracy - accept_wrong / (1 - accuracy),
            "precision": lambda: accept_right / accept,
            "precision_ceiling": lambda: self.mean(self.selected("threshold", threshold)),
            "verifier_gain": lambda: accept_right / accept - accuracy,
        }
        if quantity not in quantities:
            raise UserError(f"no truth for quantity '{quantity}'; there are: {', '.join(quantities)}")
        return quantities[quantity]()

    def selected(self, label: str, threshold: float) -> Float:
        """Expected utility [prompt] of what a filter selects."""
        p = self.prompts.p
        if label in ("", "random"):
            return p
        if label in ("threshold", "soft"):
            return _share(self.weights(label, threshold), p)
        if found := re.fullmatch(r"top (0?\.\d+|1)", label):
            q = float(found[1])
            return self.ranked(lambda below: np.maximum(0.0, below - (1 - q)) / q)
        if found := re.fullmatch(r"top ([1-9]\d*) of (\d+)", label):
            k, size = int(found[1]), int(found[2])
            if k <= size:
                return self.ranked(lambda below: _top(below, k, size))
        if found := re.fullmatch(r"(best|majority|threshold)@([1-9]\d*)", label):
            size = int(found[2])
            if found[1] == "best":
                return self.ranked(lambda below: below**size)
            if found[1] == "majority":
                return _majority(p, size)
            w1, w0 = self.weights("threshold", threshold)
            none = (1 - p * w1 - (1 - p) * w0) ** size
            return (1 - none) * _share((w1, w0), p) + none * _share((1 - w1, 1 - w0), p)
        raise UserError(
            f"no filter '{label}'; there are: best@n, top k of n, top q, majority@n, threshold, threshold@n, soft"
        )

    def ranked(self, weight_below: Callable[[Float], Float]) -> Float:
        """Expected utility where a share `weight_below(F)` of the weight is on scores whose cdf is F or less."""
        cdf, right = self._ladder
        weight = np.diff(weight_below(cdf), axis=1, prepend=0.0)
        return np.asarray(np.einsum("ik,ik->i", weight, right))

    @cached_property
    def _ladder(self) -> tuple[Float, Float]:
        """F_k and a_k of section 7, [prompt, k]."""
        p = self.prompts.p[:, None]
        density = p * self.q1 + (1 - p) * self.q0
        right = np.divide(p * self.q1, density, out=np.zeros_like(density), where=density > 0)
        return np.minimum(np.cumsum(density, axis=1), 1.0), right

    def weights(self, label: str, threshold: float) -> tuple[Float, Float]:
        """Mean weight of a right and of a wrong response [prompt]: chance to pass, or mean score."""
        if label == "soft":
            return self.q1 @ self.score, self.q0 @ self.score
        if math.isinf(self.m):
            return _mixed(
                self.scenario,
                self.prompts,
                lambda level: np.asarray(ndtr((level - logit(threshold)) / self.scenario.sd_w)),
            )
        passed = (self.score >= threshold).astype(float)
        return self.q1 @ passed, self.q0 @ passed

    def auc_within(self) -> float:
        """Per-prompt AUCs weigh by their share of pairs, p (1 - p)."""
        below = np.cumsum(self.q0, axis=1) - self.q0 / 2
        pairs = self.prompts.p * (1 - self.prompts.p)
        return self.mean(pairs * (self.q1 * below).sum(axis=1)) / self.mean(pairs)

    def auc_between(self) -> float:
        """AUC of a right response to one prompt and a wrong one to another."""
        right, wrong = self.prompts.weight * self.prompts.p, self.prompts.weight * (1 - self.prompts.p)
        q1, q0 = right @ self.q1 / right.sum(), wrong @ self.q0 / wrong.sum()
        return float(q1 @ (np.cumsum(q0) - q0 / 2))


def _needed(quantity: str, n: int | None) -> int:
    if n is None:
        raise UserError(f"quantity '{quantity}' needs n, a number of responses")
    return n


def _share(weights: tuple[Float, Float], p: Float) -> Float:
    """Utility under weights of right and wrong responses; p where nothing has weight."""
    right, total = p * weights[0], p * weights[0] + (1 - p) * weights[1]
    return np.divide(right, total, out=p.copy(), where=total > 0)


@lru_cache(maxsize=4)
def _population(scenario: Scenario, m: float) -> _Judged:
    return _judge(scenario, quadrature(scenario), m)


def quadrature(scenario: Scenario) -> Prompts:
    """The population of prompts as weighted nodes: Gauss-Legendre over the quantiles of p, Gauss-Hermite over z, z'."""
    cuts = np.array([0.0, *betainc(scenario.a, scenario.b, [CLIP, 1 - CLIP]), 1.0])
    p, weight = [np.array([0.0, 1.0])], [np.array([scenario.pi0, scenario.pi1])]
    for low, high, nodes in zip(cuts, cuts[1:], BETA_NODES, strict=False):
        x, w = np.polynomial.legendre.leggauss(nodes)
        p.append(betaincinv(scenario.a, scenario.b, low + (high - low) * (x + 1) / 2))
        weight.append((1 - scenario.pi0 - scenario.pi1) * (high - low) * w / 2)
    z, z_weight = _hermite(NORMAL_NODES)
    grid = [axis.ravel() for axis in np.meshgrid(np.concatenate(p), z, z, indexing="ij")]
    weights = np.einsum("i,j,k->ijk", np.concatenate(weight), z_weight, z_weight).ravel()
    kept = weights > NEGLIGIBLE
    all_p, all_z, shift_z = (axis[kept] for axis in grid)
    return prompts_from(scenario, all_p, all_z, shift_z, weights[kept] / weights[kept].sum())


def _hermite(nodes: int) -> tuple[Float, Float]:
    """Nodes and weights of a mean over a standard normal."""
    x, w = np.polynomial.hermite_e.hermegauss(nodes)
    return x, w / w.sum()


def _mixed(scenario: Scenario, prompts: Prompts, of_level: Callable[[Float], Float]) -> tuple[Float, Float]:
    """A function of the level, for right responses and for wrong ones with their share of hacks."""

    def apply(levels: Float) -> Float:
        distinct, where = np.unique(levels, return_inverse=True)
        return of_level(distinct)[where]

    wrong = apply(prompts.level)
    if scenario.h > 0:
        wrong = (1 - scenario.h) * wrong + scenario.h * apply(prompts.level + HACK)
    return apply(prompts.level + prompts.shift), wrong


def _judge(scenario: Scenario, prompts: Prompts, m: float) -> _Judged:
    """Distributions of the score: k/m for k = 0..m, or logistic(s) in narrow bins of s."""
    if math.isinf(m):
        width = scenario.sd_w / BINS_PER_SD
        levels = np.concatenate([prompts.level, prompts.level + prompts.shift])
        low, high = (
            levels.min() - 8 * scenario.sd_w,
            levels.max() + 8 * scenario.sd_w + HACK * (scenario.h > 0),
        )
        edges = np.arange(low, high + width, width)
        score = expit(edges[:-1] + width / 2)

        def of_level(level: Float) -> Float:
            return np.diff(ndtr((edges - level[:, None]) / scenario.sd_w), axis=1)
    elif m >= 1 and m == int(m):
        k = np.arange(int(m) + 1)
        score = k / m
        log_ways = gammaln(m + 1) - gammaln(k + 1) - gammaln(m - k + 1)

        def of_level(level: Float) -> Float:
            total = np.zeros((len(level), len(k)))
            for e, weight in zip(*_hermite(NOISE_NODES), strict=True):
                s = (level + scenario.sd_w * e)[:, None]
                total += weight * np.exp(log_ways + k * log_expit(s) + (m - k) * log_expit(-s))
            return total
    else:
        raise UserError(f"m is a whole number of verdicts from 1, or infinite, not {m}")
    return _Judged(scenario, prompts, m, score, *_mixed(scenario, prompts, of_level))


def _top(below: Float, k: int, n: int) -> Float:
    """Share of the best k of n responses whose score has a cdf of at most `below`.

    With B ~ Binomial(n, 1 - F) responses above it is E[max(0, k - B)]/k, and E[B; B < k] = n (1 - F) P(B' < k - 1)
    with B' of one trial fewer.
    """
    share = betainc(n - k + 1, k, below)
    if k > 1:
        share = share - n * (1 - below) / k * betainc(n - k + 1, k - 1, below)
    return np.asarray(share)


def _majority(p: Float, n: int) -> Float:
    """Chance [prompt] that the right answer has most of n votes, a tie between t answers counting 1/t."""
    votes = np.arange(n + 1)
    wins = np.array([_wins(int(c), n - int(c)) for c in votes])
    return np.asarray(binom.pmf(votes, n, p[:, None]) @ wins)


def _wins(right: int, wrong: int) -> float:
    """Expected share of the win with `right` votes for the right answer and `wrong` for the others together.

    A multinomial is independent Poisson counts given their total: a convolution over answers, carrying along how
    many of them tie with the right one.
    """
    if wrong == 0 or right == 0:
        return float(right > 0)
    tied = np.zeros((len(WRONG_SHARES) + 1, wrong + 1))
    tied[0, 0] = 1.0
    x = np.arange(wrong + 1)
    for share in WRONG_SHARES:
        pmf = poisson.pmf(x, wrong * share)
        below = np.where(x < right, pmf, 0.0)
        level = np.array([np.convolve(row, below)[: wrong + 1] for row in tied])
        if right <= wrong:
            level[1:, right:] += tied[:-1, : wrong + 1 - right] * pmf[right]
        tied = level
    chance = tied[:, wrong] / poisson.pmf(wrong, wrong)
    return float(chance @ (1 / np.arange(1, len(chance) + 1)))
