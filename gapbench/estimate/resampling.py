"""Resampling of clusters: one matrix of weights a task, and the moments of columns under it.

Weighted first and second moments are all that a studentised resample of a quantity needs, so that B resamples of
many quantities are one matrix product.

>>> from gapbench.estimate.quantity import mean
>>> moments = Resampling(np.arange(3), seed=0).moments([mean(np.array([0.0, 0.5, 1.0]))])[0]
>>> moments.mean.tolist(), moments.first.shape
([1.0, 0.5], (1999, 2))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gapbench.estimate.quantity import Curve, CurveForm, Form, Quantity
from gapbench.panel import Float, Int

RESAMPLES = 1999


@dataclass(frozen=True, eq=False)
class Moments:
    """A quantity on one task: its columns summed by cluster, and their moments under resampling.

    Attributes
    ----------
    form
        How the columns combine.
    count
        Prompts of each cluster that have the quantity [cluster].
    mean
        Mean over prompts of each column [column]; column 0 is 1.
    residual
        Cluster sums less count times mean [cluster, column].
    first, second
        For each resample, weighted sums over clusters of y [resample, column] and of y y' [resample, column,
        column], where y is the residual with the count in column 0. A curve has no second moments.
    """

    form: Form | CurveForm
    count: Float
    mean: Float
    residual: Float
    first: Float
    second: Float

    @property
    def n_prompts(self) -> int:
        """Prompts that have the quantity."""
        return int(self.count.sum())

    @property
    def n_clusters(self) -> int:
        """Clusters with a prompt that has the quantity."""
        return int(np.count_nonzero(self.count))

    @property
    def correction(self) -> float:
        """G/(G-1), for the mean taken from the same clusters."""
        return self.n_clusters / (self.n_clusters - 1)


class Resampling:
    """The clusters of a task and one matrix of bootstrap weights, shared by every quantity.

    Parameters
    ----------
    clusters
        Cluster code of each prompt [prompt].
    seed, task
        Seed the draws, so that a task is resampled alike whatever else is in the run.
    resamples
        Number of resamples B.
    """

    def __init__(self, clusters: Int, *, seed: int, task: str = "", resamples: int = RESAMPLES) -> None:
        self.clusters = clusters
        self.seed = seed
        self.task = task
        self.resamples = resamples
        codes = np.unique(clusters, return_inverse=True)[1].ravel()
        self._order = np.argsort(codes, kind="stable")
        self._starts = np.flatnonzero(np.diff(codes[self._order], prepend=-1))

    @cached_property
    def weights(self) -> Float:
        """How often each resample draws each cluster [resample, cluster]."""
        rng = np.random.default_rng([self.seed, 0, *self.task.encode()])
        size = len(self._starts)
        weights = np.empty((self.resamples, size))
        for row in weights:
            row[:] = np.bincount(rng.integers(size, size=size), minlength=size)
        return weights

    def sums(self, columns: Float) -> Float:
        """Sum columns [prompt, column] over each cluster [cluster, column]."""
        return np.asarray(np.add.reduceat(columns[self._order], self._starts, axis=0))

    def moments(self, quantities: Sequence[Quantity | Curve]) -> list[Moments]:
        """Moments of many quantities by one matrix product."""
        if not quantities:
            return []
        prepared, products = [], []
        for quantity in quantities:
            columns, form = quantity.columns()
            sums = self.sums(columns)
            mean = sums.sum(axis=0) / max(sums[:, 0].sum(), 1.0)
            joint = sums - sums[:, :1] * mean
            joint[:, 0] = sums[:, 0]
            rows, cols = _pairs(form, joint.shape[1])
            products.append(np.hstack([joint, joint[:, rows] * joint[:, cols]]))
            prepared.append((form, sums[:, 0], mean, joint))
        drawn = self.weights @ np.hstack(products)
        found, start = [], 0
        for (form, count, mean, joint), product in zip(prepared, products, strict=True):
            width = joint.shape[1]
            part = drawn[:, start : start + product.shape[1]]
            start += product.shape[1]
            rows, cols = _pairs(form, width)
            second = np.zeros((len(part), width, width) if len(rows) else (len(part), 0, 0))
            second[:, rows, cols] = second[:, cols, rows] = part[:, width:]
            residual = joint.copy()
            residual[:, 0] = 0.0
            found.append(Moments(form, count, mean, residual, part[:, :width], second))
        return found


def _pairs(form: Form | CurveForm, width: int) -> tuple[Int, Int]:
    """Columns whose products are wanted."""
    if isinstance(form, CurveForm):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    return np.triu_indices(width)
