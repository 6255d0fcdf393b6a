"""Rows to dense arrays: the only bridge between the store and the statistics.

A `Panel` holds one task of one run as arrays [prompt, response] and [prompt, response, replicate] with NaN for what
is missing, so that everything under `estimate` sees arrays and never rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class Scores:
    """One verifier's verdicts on a task.

    Attributes
    ----------
    values
        Scores [prompt, response, replicate]; NaN where there is no valid verdict.
    scale, threshold, whole_pool
        As declared by the verifier (see `gapbench.verifiers.base.Verifier`).
    """

    values: Float
    scale: Literal["probability", "logprob"] = "probability"
    threshold: float | None = 0.5
    whole_pool: bool = False

    @property
    def mean(self) -> Float:
        """Mean over valid replicates [prompt, response]; NaN where there is none."""
        valid = ~np.isnan(self.values)
        count = valid.sum(axis=2)
        total = np.where(valid, self.values, 0.0).sum(axis=2)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)


@dataclass(frozen=True)
class Panel:
    """One task of one run.

    Attributes
    ----------
    utility
        Ground truth [prompt, response] in [0, 1]; NaN where the response does not count (absent or an error).
    censored
        True where the response was cut at the token limit [prompt, response].
    answers
        Code of the answer cluster [prompt, response], equal within a prompt when the answers agree; -1 for none.
    clusters
        Code of each prompt's cluster [prompt].
    scores
        Verifier name to its scores.
    """

    task: str
    domain: str
    prompt_ids: tuple[str, ...]
    clusters: Int
    utility: Float
    censored: Bool
    answers: Int
    scores: dict[str, Scores] = field(default_factory=dict)
