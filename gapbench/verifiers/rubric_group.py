"""The rubric's gate for a whole prompt: what passes counts only where enough of the prompt's responses do.

>>> import numpy as np
>>> scores = {"rubric.1": np.array([[0.9, 0.8, 0.2], [0.9, 0.1, 0.2]])}
>>> RubricGroup().combine(scores).tolist()
[[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gapbench.verifiers._asking import LEAST_MASS, number
from gapbench.verifiers.base import verifiers
from gapbench.verifiers.rubric import INSTRUCTION, MOST, QUESTION, Float, Rubric, gate

AT_LEAST = 0.5


@verifiers.register("rubric-group")
class RubricGroup(Rubric):
    """`rubric-gate`, but 0 for all responses to a prompt of which fewer than a share `at_least` pass.

    Other options and members are those of `rubric`: beside it, it costs nothing. Responses whose gate is missing are
    not counted, and stay missing.

    Parameters
    ----------
    instruction, question, criteria, most, least_mass
        As for `rubric`.
    at_least
        Share of the prompt's responses that has to pass.

    Raises
    ------
    UserError
        As `rubric`.
    """

    whole_pool = True

    def __init__(
        self,
        instruction: str = INSTRUCTION,
        question: str = QUESTION,
        criteria: Sequence[str] = (),
        most: int = MOST,
        least_mass: float = LEAST_MASS,
        at_least: float = AT_LEAST,
    ) -> None:
        super().__init__(instruction, question, criteria, most, least_mass)
        self.at_least = number(self.name, "at_least", at_least, 0, 1)

    def combine(self, scores: Mapping[str, Float]) -> Float:
        """Pass or fail [prompt, response]."""
        passed = gate(*self._criteria(scores))
        judged = ~np.isnan(passed)
        share = np.nansum(passed, axis=1) / np.maximum(judged.sum(axis=1), 1)
        return np.where(judged, passed * (share >= self.at_least)[:, None], np.nan)
