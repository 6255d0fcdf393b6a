"""What training did, domain by domain: test, decomposition, verdict, guards, plateau and alarms of checkpoints.

>>> rng = np.random.default_rng(0)
>>> p = rng.beta(0.5, 1.0, 100)
>>> def drawn(rate):
...     return (rng.random((100, 256)) < rate[:, None]).astype(float)
>>> found = trajectory([Checkpoints("arithmetic", [drawn(p), drawn(1 - (1 - p) ** 4)])])[0]
>>> found.test.M, found.verdict
(32, 'SHARPENING-CONSISTENT')
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gapbench.errors import UserError
from gapbench.estimate.coverage import pass_at_k
from gapbench.estimate.intervals import DESCRIPTIVE_BELOW, estimate
from gapbench.estimate.multiplicity import adjusted
from gapbench.estimate.quantity import mean
from gapbench.estimate.selection import BestOf, Order, mean_response
from gapbench.panel import Float, Int
from gapbench.trajectory import guards as guard
from gapbench.trajectory.alarms import Alarm, diversity_collapse, reward_hacking
from gapbench.trajectory.beyond import (
    ALPHA,
    FEWEST,
    MOST,
    PER_WORTH,
    Halves,
    cross_fitted,
    excess_test,
    halves,
    meaningless,
    one_sided,
    worth_allowed,
)
from gapbench.trajectory.checkpoints import (
    Checkpoints,
    Decomposition,
    Outcome,
    Share,
    Test,
    pass_curves,
)
from gapbench.trajectory.guards import Guard
from gapbench.trajectory.judge import MovingJudge, moving_judge
from gapbench.trajectory.measured import projected
from gapbench.trajectory.projection import SeriesProjection

DELTA = 0.02
NAN = float("nan")


def trajectory(
    domains: Sequence[Checkpoints],
    *,
    most: int = MOST,
    delta: float = DELTA,
    horizon: Sequence[float] = (),
    seed: int = 0,
) -> list[Outcome]:
    """Say of each domain whether its gain was bootstrapping, and where it is going.

    Parameters
    ----------
    domains
        At least one.
    most
        M of the null, lowered to an eighth of the base responses.
    delta
        What matters: of a regression, of what may be beyond, and of a rise in utility.
    horizon
        Times to forecast accuracy at.
    seed
        Of the split of responses into halves.

    Raises
    ------
    UserError
        If checkpoints of a domain are fewer than two, or differ in their prompts, or M is too small for a test.
    """
    if most < FEWEST:
        raise UserError(f"--worth {most}: a test needs at least {FEWEST}")
    for one in domains:
        _check(one)
    found = [_outcome(one, most, delta, horizon, seed, len(domains)) for one in domains]
    holm = adjusted([one.test.p for one in found])
    enough = [len(one.utility[0]) >= DESCRIPTIVE_BELOW for one in domains]
    return [_judged(one, float(p), delta, many) for one, p, many in zip(found, holm, enough, strict=True)]


def _check(data: Checkpoints) -> None:
    if len(data.utility) < 2:
        raise UserError(
            f"{data.domain}: one checkpoint; give the base's run and at least one of a tuned model"
        )
    if len({len(one) for one in data.utility}) > 1:
        raise UserError(
            f"{data.domain}: checkpoints have different numbers of prompts; give the same prompts to all"
        )
    if min((~np.isnan(one)).sum(axis=1).min() for one in data.utility) < 2:
        raise UserError(
            f"{data.domain}: a prompt has fewer than 2 graded responses; leave it out of every checkpoint"
        )
    if data.clock is not None and len(data.clock) != len(data.utility):
        raise UserError(
            f"{data.domain}: {len(data.clock)} times for {len(data.utility)} checkpoints; give one each"
        )


def _outcome(
    data: Checkpoints, most: int, delta: float, horizon: Sequence[float], seed: int, domains: int
) -> Outcome:
    base, tuned = halves(data.utility[0], seed), halves(data.utility[-1], seed + 1)
    worth, note = worth_allowed(base, most), ""
    responses = int(base.total.sum(axis=-1).min())
    if worth == 0:
        note = f"{responses} base responses; the test needs at least {PER_WORTH * FEWEST}, and {PER_WORTH * most} for M = {most}"
    elif worth < most:
        note = (
            f"M lowered from {most} to {worth}: {responses} base responses, and each of M needs {PER_WORTH}"
        )
    refused = worth > 0 and meaningless(data.guess, worth)
    if refused:
        note = (
            f"guessing alone solves {1 - (1 - data.guess) ** worth:.0%} of prompts within {worth} responses"
        )
    tested = 0 if refused else worth
    ladder = [m for m in (2**power for power in range(1, 12)) if m < tested]
    held = (
        [None if one is None else one[index] for one in [data.censored] for index in (0, -1)]
        if data.censored
        else [None, None]
    )
    shown = (
        _placebo(data, tested, most, seed),
        guard.positive_control(data.utility[0], tuned, tested, seed)
        if tested
        else _untested("positive_control"),
        guard.elicitation(data.utility[0], data.utility[-1], data.forms),
        guard.false_positives(data.false_positive, responses),
        guard.truncation(held[0], held[1], data.clusters, delta),
        guard.multiplicity(domains),
    )
    return Outcome(
        data.domain,
        "REFUSED" if refused else "UNDERPOWERED",
        _test(base, tuned, tested, data.clusters, note),
        tuple(_test(base, tuned, m, data.clusters, "") for m in [*ladder, tested] if m),
        _decomposition(base, tuned, tested, data.clusters, seed),
        shown,
        _plateau(data, horizon),
        _judge(data, seed),
        _alarms(data, delta),
        _replenishment(data),
        _crossing(data),
    )


def _judged(found: Outcome, p_adjusted: float, delta: float, enough: bool) -> Outcome:
    """Add what Holm makes of p, and the verdict."""
    beyond = enough and p_adjusted <= ALPHA
    regressed = enough and found.decomposition.regressed.low > delta
    verdict = found.verdict
    if beyond or regressed:
        verdict = "MIXED" if beyond and regressed else "BEYOND-BASE" if beyond else "REGRESSION"
    elif found.test.M and enough and found.decomposition.beyond_at_most.high < delta:
        verdict = "SHARPENING-CONSISTENT"
    return replace(found, verdict=verdict, test=replace(found.test, p_adjusted=p_adjusted))


def _test(base: Halves, tuned: Halves, worth: int, clusters: Int | None, note: str) -> Test:
    if worth == 0:
        return Test(NAN, NAN, NAN, NAN, 0, note)
    difference, low, p = excess_test(cross_fitted(base, tuned, worth), tuned, clusters)
    return Test(float(difference), float(low), float(p), NAN, worth, note)


def _decomposition(base: Halves, tuned: Halves, worth: int, clusters: Int | None, seed: int) -> Decomposition:
    parts = cross_fitted(base, tuned, max(worth, 1))
    undefined = Share(NAN, NAN, NAN)
    sharpened = parts.sharpened if worth else parts.sharpened + parts.beyond
    at_most = undefined
    if worth:
        total, right = base.total.sum(axis=-1, keepdims=True), base.right.sum(axis=-1, keepdims=True)
        ceiling = Halves(right, total).coverage(worth)[..., 0]
        at_most = _at_most(np.maximum(tuned.rate.mean(axis=-1) - ceiling, 0.0), clusters)
    return Decomposition(
        _share(parts.gain, clusters, seed),
        _share(sharpened, clusters, seed),
        _share(parts.beyond, clusters, seed) if worth else undefined,
        _share(parts.regressed, clusters, seed),
        at_most,
    )


def _at_most(values: Float, clusters: Int | None) -> Share:
    """Mean with one-sided 95 % bounds over these prompts, which the null is about, and not over all that might be drawn."""
    value, low = (float(one) for one in one_sided(values, clusters)[:2])
    return Share(value, max(low, 0.0), -float(one_sided(-values, clusters)[1]))


def _share(values: Float, clusters: Int | None, seed: int) -> Share:
    found = estimate(mean(values, -1, 1), clusters=clusters, seed=seed)
    return Share(found.value, found.low, found.high)


def _placebo(data: Checkpoints, tested: int, most: int, seed: int) -> Guard:
    return guard.placebo(data.utility[0], data.clusters, most, seed) if tested else _untested("placebo")


def _untested(name: str) -> Guard:
    return Guard(name, "not_applicable", None, NAN, "no test was made")


def _plateau(data: Checkpoints, horizon: Sequence[float]) -> SeriesProjection:
    """Accuracy over the checkpoints, projected."""
    found = projected(data.times, *data.accuracy(), horizon, data.domain)
    few = len(data.utility[0]) < DESCRIPTIVE_BELOW
    return replace(found, flags=(*found.flags, "descriptive")) if few else found


def _judge(data: Checkpoints, seed: int) -> MovingJudge | None:
    """Rho from disjoint halves of the responses: V is best@n by the proxy in one, A the accuracy of the other."""
    if data.proxy is None or len(np.unique(data.times)) < 3:
        return None
    draws = min(one.shape[1] for one in data.utility)
    size = draws // 2
    first = np.random.default_rng([seed, 3]).permutation(draws)
    chosen, rest = first[:size], first[size : 2 * size]
    n = min(8, max(1, size // 2))
    selected = [
        Order.of(score[:, chosen], ~np.isnan(u[:, chosen])).rank(u[:, chosen]).select([BestOf(n)])[:, 0]
        for u, score in zip(data.utility, data.proxy, strict=True)
    ]
    plain = [mean_response(u[:, rest], ~np.isnan(u[:, rest])) for u in data.utility]
    v, a = np.stack(selected, axis=1), np.stack(plain, axis=1)
    known = np.isfinite(v).all(axis=1) & np.isfinite(a).all(axis=1)
    own = np.arange(len(v)) if data.clusters is None else data.clusters
    clusters = own[known]
    if len(np.unique(clusters)) < 3:
        return None
    return moving_judge(data.times, v[known], a[known], clusters)


def _alarms(data: Checkpoints, delta: float) -> tuple[Alarm, ...]:
    order = np.argsort(data.times, kind="stable")
    k = min(int((~np.isnan(one)).sum(axis=1).min()) for one in data.utility)
    k = max(1, k // 2)  # at k = N pass@k is 0 or 1 and as noisy as can be
    coverage = np.stack([pass_at_k(data.utility[one], [k])[:, 0] for one in order], axis=1)
    found = [diversity_collapse(coverage, data.clusters)]
    if data.proxy is not None:
        truth = np.stack([np.nanmean(data.utility[one], axis=1) for one in order], axis=1)
        score = np.stack(
            [mean_response(data.proxy[one], ~np.isnan(data.proxy[one])) for one in order], axis=1
        )
        found.append(reward_hacking(score, truth, data.clusters, delta=delta))
    return tuple(found)


def _replenishment(data: Checkpoints) -> Share | None:
    """Fresh prompts are others at every checkpoint, so that the two sides are independent (Welch)."""
    if data.fresh_gap is None:
        return None
    first, last = (estimate(mean(one, -1, 1)) for one in (data.fresh_gap[0], data.fresh_gap[-1]))
    value = last.value - first.value
    return Share(
        value,
        value - math.hypot(last.value - last.low, first.high - first.value),
        value + math.hypot(last.high - last.value, first.value - first.low),
    )


def _crossing(data: Checkpoints) -> float:
    """Smallest k of 1, 2, 4, ... from which the base's pass@k is above the tuned model's."""
    ks, base, tuned = pass_curves(data)
    above = base > tuned
    lasting = [k for place, k in enumerate(ks) if above[place:].all()]
    return float(lasting[0]) if lasting else NAN
