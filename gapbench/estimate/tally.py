"""Verdicts tallied by prompt, utility and score, where there are few of each: thinning without touching responses.

Responses of a prompt with the same utility, as many verdicts and as many yes among them are alike. To take a verdict
away from each, it is enough to draw how many of them lose a yes: Binomial(responses, yes/verdicts). The cost does not
grow with the number of responses.

>>> utility, counts = np.array([[1.0, 0.0]]), VerdictCounts(np.array([[2, 1]]), np.array([[2, 2]]), 2)
>>> tally = Tally.of(utility, np.array([0.0, 1.0]), counts)
>>> tally.gap(2).tolist(), tally.thinned(np.random.default_rng(0)).size.tolist()
([0.5], [2])
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gapbench.estimate.selection import ROUND_OFF, BestOf, by_size
from gapbench.panel import Float, Int, VerdictCounts


@dataclass(frozen=True, eq=False)
class Tally:
    """How many responses of each prompt have the same utility and verdicts.

    Attributes
    ----------
    values
        The utilities there are [utility].
    planes
        For v = 0, 1, ..., the most verdicts there are: responses with v verdicts, k of them yes [prompt, utility, k].
    """

    values: Float
    planes: tuple[Int, ...]

    @classmethod
    def of(cls, utility: Float, values: Float, counts: VerdictCounts) -> Tally:
        """Tally responses whose utility (NaN for one that is not in the sample) is one of `values`, ascending."""
        total = counts.replicates
        prompts, responses = np.nonzero(~np.isnan(utility))
        kind = np.searchsorted(values, utility[prompts, responses])
        valid, yes = (one[prompts, responses].astype(np.int64) for one in (counts.valid, counts.yes))
        shape = len(utility), len(values), total + 1, total + 1
        flat = ((prompts * shape[1] + kind) * shape[2] + valid) * shape[3] + yes
        tallied = np.bincount(flat, minlength=int(np.prod(shape))).reshape(shape)
        return cls(values, tuple(tallied[:, :, v, : v + 1].copy() for v in range(total + 1)))

    @property
    def size(self) -> Int:
        """Number of responses [prompt]."""
        return np.asarray(sum(plane.sum(axis=(1, 2)) for plane in self.planes))

    def thinned(self, rng: np.random.Generator) -> Tally:
        """Take one verdict, any of them, from each response that has most verdicts."""
        *rest, below, top = self.planes
        most = top.shape[2] - 1
        lost = rng.binomial(top, np.arange(most + 1) / most)
        return Tally(self.values, (*rest, below + (top - lost)[:, :, :most] + lost[:, :, 1:]))

    def gap(self, n: int) -> Float:
        """Gap of best@n by the share of yes [prompt]; no verdict at all is below any, NaN where N_i < n."""
        there = [(v, plane) for v, plane in enumerate(self.planes) if plane.any()]
        shares = [np.arange(v + 1) / v if v else np.array([-1.0]) for v, _ in there]
        level = np.unique(np.concatenate(shares), return_inverse=True)[1].ravel()
        counts = np.concatenate([plane for _, plane in there], axis=2)
        tied = np.zeros((*counts.shape[:2], int(level.max()) + 1))
        for place, own in enumerate(level):
            tied[:, :, own] += counts[:, :, place]
        count = tied.sum(axis=1)
        total = np.einsum("u,pul->pl", self.values, tied)
        size = count.sum(axis=1).astype(np.int64)
        mean = total.sum(axis=1) / np.maximum(size, 1)
        centred = total / np.maximum(count, 1) - mean[:, None]
        centred[(count == 0) | (np.abs(centred) < ROUND_OFF)] = 0.0
        upto = np.cumsum(count, axis=1).astype(np.int64)
        gap = np.full(len(size), np.nan)
        for own_size, rows in by_size(size):
            below = np.concatenate([[0.0], np.cumsum(BestOf(n).weights(own_size))])
            weight = np.diff(below[upto[rows]], axis=1, prepend=0.0)
            gap[rows] = (weight * centred[rows]).sum(axis=1)
        return gap
