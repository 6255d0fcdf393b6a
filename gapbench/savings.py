"""Which responses are worth a verdict: the selection between grading and verifying.

A response that is left without a verdict by design is not one whose verdict is missing. The choice is therefore a pure
function of what the grader found, made by the same code where verdicts are asked for and where they are read.

>>> import numpy as np
>>> right = np.array([[1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
>>> Savings(skip_unanimous=True, case_control=2).chosen(right, "sums", ["p0", "p1"]).astype(int).tolist()
[[1, 1, 0, 1], [0, 0, 0, 0]]
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from gapbench.engines.base import derive_seed
from gapbench.estimate.case_control import case_control, unanimous
from gapbench.panel import Bool, Float, Panel, Verified
from gapbench.verifiers.base import AskingVerifier, DerivedVerifier, PairVerifier, Verifier


class Savings(BaseModel):
    """What is left unverified on purpose (measurement.md, section 6).

    Attributes
    ----------
    skip_unanimous
        Ask nothing about a prompt whose responses are all right or all wrong: no choice among them gains anything.
        Quantities that compare responses of different prompts are then not available.
    case_control
        Ask about at most so many right and so many wrong responses of a prompt; None asks about all. Then best@n up
        to this n and the AUC within prompts are all there is.
    verified_share
        Share of the prompts that are verified, drawn by hash; the rest is graded only and steadies the estimate as a
        control variate.
    control
        A cheap verifier that is asked about all responses (but for unanimous prompts): its gap is a further control.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    skip_unanimous: bool = False
    case_control: int | None = Field(default=None, ge=1)
    verified_share: float = Field(default=1.0, gt=0, le=1)
    control: str | None = None

    @property
    def none(self) -> bool:
        """Whether every response is asked about."""
        return self == Savings()

    def verified_prompts(self, task: str, prompt_ids: Sequence[str]) -> Bool:
        """Prompts in the verified share [prompt]; a larger share keeps those of a smaller one."""
        drawn = [derive_seed("verified share", task, prompt_id) / 2**63 for prompt_id in prompt_ids]
        return np.array(drawn) < self.verified_share

    def chosen(self, utility: Float, task: str, prompt_ids: Sequence[str]) -> Bool:
        """Responses to ask about [prompt, response].

        Parameters
        ----------
        utility
            Ground truth [prompt, response]; NaN where a response does not count.
        task, prompt_ids
            Whose responses they are.
        """
        asked = ~np.isnan(utility)
        if self.case_control is not None:
            asked = case_control(utility, self.case_control)
        if self.skip_unanimous:
            asked &= ~unanimous(utility)[:, None]
        return asked & self.verified_prompts(task, prompt_ids)[:, None]

    def of(self, verifier: Verifier) -> Savings:
        """What is saved on one verifier: nothing that matters on the control, and comparisons need the whole pool."""
        if isinstance(verifier, DerivedVerifier):
            own = [self.of(member) for member in verifier.members]
            return own[0] if all(one == own[0] for one in own) else self
        if not isinstance(verifier, AskingVerifier):
            return Savings()
        if verifier.name == self.control:
            return Savings(skip_unanimous=self.skip_unanimous)
        if isinstance(verifier, PairVerifier):
            return self.model_copy(update={"case_control": None})
        return self

    def mark(self, panel: Panel, verifiers: Sequence[Verifier]) -> Panel:
        """The panel with what these verifiers were to judge."""
        saved = {verifier.name: self.of(verifier) for verifier in verifiers}
        verified = {
            name: Verified(
                own.chosen(panel.utility, panel.task, panel.prompt_ids),
                own.verified_prompts(panel.task, panel.prompt_ids),
                own.case_control,
                own.control,
            )
            for name, own in saved.items()
            if not own.none
        }
        return replace(panel, verified=verified)

    def asks_all_of(self, other: Savings) -> bool:
        """Whether everything that `other` asks about is asked about."""
        mine, theirs = (math.inf if one.case_control is None else one.case_control for one in (self, other))
        return (
            self.control == other.control
            and mine >= theirs
            and self.skip_unanimous <= other.skip_unanimous
            and self.verified_share >= other.verified_share
        )
