"""Several verifiers as one.

In a YAML file:

    name: panel
    verifier: ensemble
    options:
      how: weighted
      members: [yesno, choice, {name: strict, verifier: yesno, options: {instruction: "Exactly right? Reply Yes or No."}}]

>>> scores = {"yesno": np.array([[0.9, 0.4, 0.8]]), "choice": np.array([[0.7, 0.6, np.nan]])}
>>> Ensemble(members=["yesno", "choice"], how="and").combine(scores).tolist()
[[1.0, 0.0, nan]]
>>> Ensemble(members=["yesno", "choice"], how="mean").combine(scores).round(2).tolist()
[[0.8, 0.5, 0.8]]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from gapbench.errors import UserError
from gapbench.judging import VerifierSpec, make_verifier
from gapbench.verifiers._votes import dawid_skene, mean_of_valid, rank_share
from gapbench.verifiers.base import DerivedVerifier, Verifier, verifiers

Float = NDArray[np.float64]

HOW = ("and", "mean", "weighted")
IDENTIFIED = 3


@verifiers.register("ensemble")
class Ensemble(DerivedVerifier):
    """One score from those of its members.

    - `and`: 1 where the response passes every member's threshold, else 0; missing where a member's verdict is.
    - `mean`: mean of the scores that are there, if all members give probabilities. Otherwise mean of their ranks among
      all responses of the task, as shares: a score in nats and one in [0, 1] have no mean.
    - `weighted`: probability of being right given which members it passes, each trusted as far as its agreement with the
      others warrants, without labels (Dawid and Skene 1979), task by task; see `gapbench.verifiers._votes.dawid_skene`.
      The model takes members as independent given the truth. Those of one model share its mistakes: it is too sure of
      them, which changes the order of responses less than the numbers. For a task to which fewer than three members
      apply their accuracy is not identified, and the score is the share of them that it passes.

    A member that has no verdict on any response to a prompt does not apply to it, and is left out there.

    crowd-kit has Dawid-Skene too, and asks for transformers and scikit-learn to be installed for it.

    Parameters
    ----------
    members
        Two or more verifiers (three for `weighted`): names, or what a verifier's file says. The judge is the ensemble's.
    how
        `and`, `mean` or `weighted`.

    Raises
    ------
    UserError
        If there are too few members, two have one name, one cannot be made, names a judge, or has no threshold where one
        is needed.
    """

    cost = "what its members cost"

    def __init__(self, members: Sequence[str | Mapping[str, Any]] = (), how: str = "mean") -> None:
        if how not in HOW:
            raise UserError(f"verifier '{self.name}': option 'how' must be {', '.join(HOW)}, not {how!r}")
        least = IDENTIFIED if how == "weighted" else 2
        if not isinstance(members, list | tuple) or len(members) < least:
            raise UserError(
                f"verifier '{self.name}': option 'members' must list {least} verifiers or more for how: {how}"
            )
        self.how = how
        self.members = tuple(_member(self.name, said) for said in members)
        names = [member.name for member in self.members]
        if len(set(names)) < len(names):
            raise UserError(
                f"verifier '{self.name}': two members have one name; give each its own with 'name'"
            )
        for member in self.members:
            if how != "mean" and member.threshold is None:
                raise UserError(
                    f"verifier '{self.name}': '{member.name}' has no threshold to pass; use how: mean, or leave it out"
                )
        self.whole_pool = any(member.whole_pool for member in self.members)

    def applies(self, prompt: Any) -> bool:
        """Whether a member does."""
        return any(member.applies(prompt) for member in self.members)

    def combine(self, scores: Mapping[str, Float]) -> Float:
        """Combine the members that apply to a task."""
        members = [member for member in self.members if member.name in scores]
        values = np.stack([scores[member.name] for member in members])
        shape = values.shape[1:]
        if self.how == "mean":
            if any(member.scale != "probability" for member in members):
                values = rank_share(values.reshape(len(members), -1)).reshape(values.shape)
            return mean_of_valid(values)
        thresholds = np.array([member.threshold for member in members], dtype=float)
        votes = np.where(np.isnan(values), np.nan, values >= thresholds[:, None, None])
        if self.how == "weighted":
            if len(members) < IDENTIFIED:
                return mean_of_valid(votes)
            return dawid_skene(votes.reshape(len(members), -1)).reshape(shape)
        absent = np.isnan(votes).all(axis=2, keepdims=True)
        passed = np.where(absent, 1.0, votes).min(axis=0)
        return np.where(absent.all(axis=0), np.nan, passed)


def _member(ensemble: str, said: str | Mapping[str, Any]) -> Verifier:
    try:
        spec = VerifierSpec.model_validate(said)
    except ValidationError as wrong:
        raise UserError(
            f"verifier '{ensemble}': member {said!r} must be a name, or have the keys name, verifier and options"
        ) from wrong
    if spec.judge is not None or spec.engine is not None:
        raise UserError(
            f"verifier '{ensemble}': member '{spec.name}' names a judge; name one for the whole ensemble instead"
        )
    if spec.options and spec.name == spec.verifier:
        raise UserError(
            f"verifier '{ensemble}': member '{spec.name}' has options of its own; give it another name as well"
        )
    return make_verifier(spec)
