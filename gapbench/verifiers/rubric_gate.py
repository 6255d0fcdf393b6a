"""All criteria of a rubric at once: 1 for a response that meets each of them.

>>> import numpy as np
>>> scores = {"rubric.1": np.array([[0.9, 0.2]]), "rubric.2": np.array([[0.7, 0.8]])}
>>> RubricGate().combine(scores).tolist()
[[1.0, 0.0]]
"""

from __future__ import annotations

from collections.abc import Mapping

from gapbench.verifiers.base import verifiers
from gapbench.verifiers.rubric import Float, Rubric, gate


@verifiers.register("rubric-gate")
class RubricGate(Rubric):
    """1 where every criterion is more likely met than not, else 0; missing where one has no verdict.

    Options and members are those of `rubric`: beside it, it costs nothing.
    """

    def combine(self, scores: Mapping[str, Float]) -> Float:
        """Pass or fail [prompt, response]."""
        return gate(*self._criteria(scores))
