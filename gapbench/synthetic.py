"""Synthetic responses and verdicts whose true quantities are known, to check estimators against.

The model (measurement.md, section 7). A prompt is answered rightly with probability p, where
p ~ (1 - pi0 - pi1) Beta(a, b) + pi0 delta_0 + pi1 delta_1. A response with utility u in {0, 1} has the latent score
s = mu + sd_b z + rho probit(clip(p, .01, .99)) + (d + sd_d z') u + sd_w e, with z, z' of the prompt, e of the
response, all standard normal; with probability h a wrong response is a hack, and s gains 8. M verdicts on it say yes
with probability logistic(s) each. Right responses agree; wrong ones spread over a few answers.

`draw` makes arrays, `truth` gives the number that an estimate of them should be:

>>> data = draw(SCENARIOS["mid"], prompts=200, responses=32, seed=0)
>>> data.panel().scores["binary"].values.shape
(200, 32, 8)
>>> round(truth(SCENARIOS["mid"], "accuracy", "best@8", m=8), 3)
0.573
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.special import betainc, betaincinv, expit, gammaln, log_expit, logit, ndtr, ndtri
from scipy.stats import binom, poisson

from gapbench.errors import UserError
from gapbench.panel import Bool, Float, Int, Panel, Scores

HACK = 8.0
CLIP = 0.01
WRONG_SHARES: Float = 1 / np.arange(1, 6) / (1 / np.arange(1, 6)).sum()
"""How a prompt's wrong responses spread over its wrong answers, the most tempting first."""

NORMAL_NODES = 14  # of each of z and z'
NOISE_NODES = 64  # of e
BETA_NODES = (16, 40, 16)  # of p in [0, .01], [.01, .99] and [.99, 1], between which s has kinks
BINS_PER_SD = 20  # bins of a continuous score in one sd_w


@dataclass(frozen=True, slots=True)
class Scenario:
    """Parameters of the model; the defaults are the mid scenario. `M` is the number of verdicts on a response.

    Raises
    ------
    UserError
        If a parameter is outside its range.
    """

    a: float = 0.6
    b: float = 0.8
    pi0: float = 0.1
    pi1: float = 0.0
    mu: float = -0.8
    sd_b: float = 0.7
    rho: float = 0.3
    d: float = 1.6
    sd_d: float = 0.7
    sd_w: float = 1.0
    h: float = 0.0
    M: int = 8

    def __post_init__(self) -> None:
        wanted = {
            "a, b and sd_w above 0": min(self.a, self.b, self.sd_w) > 0,
            "sd_b and sd_d at least 0": min(self.sd_b, self.sd_d) >= 0,
            "pi0, pi1, pi0 + pi1 and h in [0, 1]": min(self.pi0, self.pi1, self.h) >= 0
            and max(self.pi0 + self.pi1, self.h) <= 1,
            "M a whole number above 0": self.M >= 1 and self.M == int(self.M),
        }
        for rule, kept in wanted.items():
            if not kept:
                raise UserError(f"a scenario needs {rule}, not {self}")


_MID = Scenario()
SCENARIOS: dict[str, Scenario] = {
    "mid": _MID,
    "null": replace(_MID, d=0.0, sd_d=0.0),
    "high_accuracy": replace(_MID, a=2.35, b=0.15, pi0=0.0, pi1=0.5),
    "low_accuracy": replace(_MID, a=0.4, b=7.6, pi0=0.6),
    "hacked": replace(_MID, h=0.01),
}
"""`null` has no signal; accuracies are .386 (`mid`, `null`, `hacked`), .97 and .02; 1 % of wrong responses hack."""


@dataclass(frozen=True, eq=False)
class Prompts:
    """What is the prompts' own, each [prompt].

    Attributes
    ----------
    p
        Probability of a right response.
    level
        Latent score of a wrong response, without its noise.
    shift
        What being right adds to it.
    weight
        Share of the prompt in means over prompts.
    """

    p: Float
    level: Float
    shift: Float
    weight: Float


def prompts_from(scenario: Scenario, p: Float, z: Float, shift_z: Float, weight: Float) -> Prompts:
    """Prompts with these p and standard normal effects z and z', each [prompt]."""
    level = scenario.mu + scenario.sd_b * z + scenario.rho * ndtri(np.clip(p, CLIP, 1 - CLIP))
    return Prompts(p, level, scenario.d + scenario.sd_d * shift_z, weight)


def quantile_p(scenario: Scenario, uniform: Float) -> Float:
    """The p below which a share `uniform` of the prompts lies; the mixture's inverse cdf."""
    spread = 1 - scenario.pi0 - scenario.pi1
    inner = (uniform - scenario.pi0) / spread if spread > 0 else np.zeros_like(uniform)
    p: Float = betaincinv(scenario.a, scenario.b, np.clip(inner, 0.0, 1.0))
    return np.where(uniform < scenario.pi0, 0.0, np.where(uniform >= 1 - scenario.pi1, 1.0, p))


@dataclass(frozen=True, eq=False)
class Draw:
    """Responses and verdicts drawn from a scenario.

    Attributes
    ----------
    prompts
        The latent values of the prompts; with them `truth` is that of the `benchmark` target.
    utility
        0 or 1 [prompt, response].
    hacked
        Whether a response is a hack [prompt, response].
    latent
        The latent score s [prompt, response].
    counts
        How many of the M verdicts are yes [prompt, response].
    answers
        Answer codes [prompt, response]: 0 is right, 1 and up are wrong.
    """

    scenario: Scenario
    seed: int
    prompts: Prompts
    utility: Float
    hacked: Bool
    latent: Float
    counts: Int
    answers: Int

    @property
    def verdicts(self) -> Int:
        """The verdicts one by one, 0 or 1 [prompt, response, replicate]: the counts in random order."""
        rng = np.random.default_rng([self.seed, 1])
        total = self.scenario.M
        verdicts = np.empty((*self.counts.shape, total), dtype=np.int64)
        left = self.counts.copy()
        for replicate in range(total):
            verdicts[..., replicate] = rng.random(left.shape) * (total - replicate) < left
            left -= verdicts[..., replicate]
        return verdicts

    def panel(self) -> Panel:
        """The data as the estimators take it.

        Verifier `binary` holds the M yes/no verdicts, `probability` their chance logistic(s) itself (m infinite).
        """
        count = len(self.utility)
        return Panel(
            task="synthetic",
            domain="synthetic",
            prompt_ids=tuple(f"p{i}" for i in range(count)),
            clusters=np.arange(count),
            utility=self.utility,
            censored=np.zeros(self.utility.shape, dtype=bool),
            answers=self.answers,
            scores={
                "binary": Scores(self.verdicts.astype(float)),
                "probability": Scores(expit(self.latent)[..., None]),
            },
        )


def draw(scenario: Scenario, prompts: int, responses: int, seed: int) -> Draw:
    """Draw a data set.

    Parameters
    ----------
    scenario
        The model.
    prompts, responses
        P and N.
    seed
        Any whole number from 0; equal seeds draw equal data.
    """
    rng = np.random.default_rng(seed)
    p = quantile_p(scenario, rng.random(prompts))
    weight = np.full(prompts, 1 / prompts)
    own = prompts_from(scenario, p, rng.standard_normal(prompts), rng.standard_normal(prompts), weight)
    shape = prompts, responses
    utility = (rng.random(shape) < p[:, None]).astype(float)
    hacked = (rng.random(shape) < scenario.h) & (utility == 0)
    latent = own.level[:, None] + own.shift[:, None] * utility + HACK * hacked
    latent += scenario.sd_w * rng.standard_normal(shape)
    counts = rng.binomial(scenario.M, expit(latent))
    wrong = 1 + rng.choice(len(WRONG_SHARES), size=shape, p=WRONG_SHARES)
    return Draw(
        scenario, seed, own, utility, hacked, latent, counts, np.where(utility == 1, 0, wrong).astype(np.int64)
    )


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
    masses where m is infinite); doubling every number of nodes moves no quantity of the named scenarios by more than
    2e-5, so that no Monte Carlo error need be allowed for.

    Parameters
    ----------
    quantity
        `accuracy`, `gap`, `relative_gap`, `relative_gap_per_prompt`, `oracle_share`, `shortfall`, `pass@k`, `gap_pooled`,
        `prompt_mix`, `auc_within`, `auc_between`, `tpr`, `fpr`, `youden`, `precision`, `precision_ceiling`,
        `verifier_gain`.
    filter
        `best@n`, `top k of n`, `top q`, `majority@n`, `threshold`, `threshold@n`, `soft`, or nothing for any response.
    n
        The k of `pass@k`.
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

    References
    ----------
    measurement.md, section 7: with f = p q1 + (1 - p) q0 over k = 0..m, F its cdf and a_k = p q1/f,
    best@n = sum_k (F_k^n - F_{k-1}^n) a_k.
    """
    m = scenario.M if m is None else m
    judged = _population(scenario, m) if prompts is None else _judge(scenario, prompts, m)
    return judged.value(quantity, filter, n, threshold)


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
        p = self.prompts.p
        w1, w0 = self.weights("threshold" if label != "soft" else label, threshold)
        accept_right, accept_wrong = self.mean(p * w1), self.mean((1 - p) * w0)
        accept, accuracy = accept_right + accept_wrong, self.mean(p)

        def gap() -> Float:
            return self.selected(label, threshold) - p

        def oracle() -> Float:
            found = re.fullmatch(r"best@(\d+)", label)
            if not found:
                raise UserError(f"'{quantity}' goes with filter best@n, not '{label}'")
            return 1 - (1 - p) ** int(found[1])

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
            "pass@k": lambda: self.mean(1 - (1 - p) ** _needed(n)),
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
        if found := re.fullmatch(r"threshold@(\d+)", label):
            w1, w0 = self.weights("threshold", threshold)
            none = (1 - p * w1 - (1 - p) * w0) ** int(found[1])
            return (1 - none) * _share((w1, w0), p) + none * _share((1 - w1, 1 - w0), p)
        if found := re.fullmatch(r"majority@(\d+)", label):
            return _majority(p, int(found[1]))
        if found := re.fullmatch(r"best@(\d+)", label):
            return self.ranked(lambda below: below ** int(found[1]))
        if found := re.fullmatch(r"top (\d+) of (\d+)", label):
            k, size = int(found[1]), int(found[2])
            # The r-th highest of n uniforms is Beta(n - r + 1, r).
            return self.ranked(lambda below: sum(betainc(size - r + 1, r, below) for r in range(1, k + 1)) / k)
        if found := re.fullmatch(r"top (0?\.\d+|1)", label):
            q = float(found[1])
            return self.ranked(lambda below: np.maximum(0.0, below - (1 - q)) / q)
        raise UserError(
            f"no filter '{label}'; there are: best@n, top k of n, top q, majority@n, threshold, threshold@n, soft"
        )

    def ranked(self, weight_below: Callable[[Float], Float]) -> Float:
        """Expected utility where a share `weight_below(F)` of the weight is on scores whose cdf is F or less."""
        p = self.prompts.p[:, None]
        density = p * self.q1 + (1 - p) * self.q0
        right = np.divide(p * self.q1, density, out=np.zeros_like(density), where=density > 0)
        weight = np.diff(weight_below(np.minimum(np.cumsum(density, axis=1), 1.0)), axis=1, prepend=0.0)
        return np.asarray((weight * right).sum(axis=1))

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


def _needed(n: int | None) -> int:
    if n is None:
        raise UserError("quantity 'pass@k' needs n, its k")
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
    kept = weights > 0
    return prompts_from(scenario, *(axis[kept] for axis in grid), weights[kept])


def _hermite(nodes: int) -> tuple[Float, Float]:
    """Nodes and weights of a mean over a standard normal."""
    x, w = np.polynomial.hermite_e.hermegauss(nodes)
    return x, w / w.sum()


def _mixed(
    scenario: Scenario, prompts: Prompts, of_level: Callable[[Float], Float]
) -> tuple[Float, Float]:
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
        low, high = levels.min() - 8 * scenario.sd_w, levels.max() + 8 * scenario.sd_w + HACK * (scenario.h > 0)
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
