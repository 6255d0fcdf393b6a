"""What decides a loop: its arms, its prompts, its filter and how it trains.

>>> arm = Arm.of("frozen:yesno")
>>> arm.label, arm.folder, arm.judge_of("smollm2-135m", {}).name
('frozen:yesno', 'frozen-yesno', 'yesno@smollm2-135m')
"""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_serializer, model_validator

from gapbench.engines._secrets import refuse_secrets
from gapbench.errors import UserError
from gapbench.judging import VerifierSpec, make_verifier, read_spec
from gapbench.models import DEFAULT_MODEL
from gapbench.projection.loops import MOST_ROUNDS, BestLoop, Loop, TopLoop, loop_of
from gapbench.run import RunConfig, judges_of
from gapbench.verifiers.base import AskingVerifier

GOLD = "gold"
Kind = Literal["gold", "frozen", "self"]
Keep = Literal["all", "last"]
PLACES = ("practice", "held-out", "fresh")
"""The sets of prompts: trained on, never trained on and the same in every round, never seen before."""


class Arm(BaseModel):
    """Who says which responses are good.

    Attributes
    ----------
    kind
        `gold`: the grader. `frozen`: a verifier asked of the base model, or of the model that it names. `self`: a verifier
        asked of the model as it is in that round.
    verifier
        None for gold.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    verifier: VerifierSpec | None = None

    @classmethod
    def of(cls, text: str) -> Arm:
        """The arm that a word of the command line names: `gold`, `frozen:VERIFIER` or `self:VERIFIER`.

        Raises
        ------
        UserError
            If there is no such arm or verifier, or the verifier cannot judge in that way.
        """
        kind, colon, name = text.partition(":")
        if text == GOLD:
            return cls(kind="gold")
        if kind not in ("frozen", "self") or not colon or not name:
            raise UserError(
                f"--arm {text}: write gold, frozen:VERIFIER or self:VERIFIER, such as frozen:yesno"
            )
        spec = read_spec(name)
        if kind == "self" and spec.judge is not None:
            raise UserError(
                f"--arm {text}: in a self arm the model of the round judges; drop @{spec.judge}, or write frozen:{name}"
            )
        if kind == "frozen" and not isinstance(make_verifier(spec), AskingVerifier):
            raise UserError(
                f"--arm {text}: '{spec.verifier}' asks no model, so that none can be frozen; write self:{name}"
            )
        return cls(kind="frozen" if kind == "frozen" else "self", verifier=spec)

    @property
    def label(self) -> str:
        """As it is named on the command line."""
        return self.kind if self.verifier is None else f"{self.kind}:{self.verifier.name}"

    @property
    def folder(self) -> str:
        """The label as the name of a folder."""
        return re.sub(r"[^A-Za-z0-9._-]+", "-", self.label)

    def judge_of(self, model: str, engine_options: dict[str, Any]) -> VerifierSpec:
        """The verifier as a run needs it, with the base model as the judge of a frozen arm.

        Parameters
        ----------
        model, engine_options
            The base model and how it is run.
        """
        assert self.verifier is not None, "gold has no verifier"
        if self.kind == "self" or self.verifier.judge is not None:
            return self.verifier
        name = f"{self.verifier.name}@{model}"
        return self.verifier.model_copy(
            update={"name": name, "judge": model, "engine_options": engine_options}
        )

    @model_validator(mode="before")
    @classmethod
    def _from_words(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        kind, _, name = value.partition(":")
        return {"kind": kind, "verifier": name or None}

    @model_serializer(mode="wrap")
    def _to_words(self, whole: Any) -> Any:
        said = whole(self)
        if self.verifier is None or isinstance(said["verifier"], str):
            return self.label
        return said


class Training(BaseModel):
    """How a round's model is made of the last one and the responses that were kept.

    Attributes
    ----------
    epochs
        Passes over them.
    learning_rate
        Of AdamW, constant.
    batch
        Examples in a step.
    rank
        Of the low-rank adapters on every linear layer, which are merged into the model afterwards.
    examples
        Most examples in a round.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: float = Field(default=2.0, gt=0, le=1000)
    learning_rate: float = Field(default=5e-4, gt=0, le=1)
    batch: int = Field(default=16, ge=1)
    rank: int = Field(default=16, ge=1)
    examples: int = Field(default=256, ge=1)


class LoopConfig(BaseModel):
    """Everything that decides a loop; kept in `loop.json`.

    Attributes
    ----------
    suite, tasks, data_dir, model, engine, engine_options, verdicts
        As in `gapbench.run.RunConfig`.
    prompts
        Practice prompts of each task, at most: questions set aside by the suite (`split: calibrate`), so that what is trained
        on is never measured by anybody.
    held_out
        Prompts of each task on which every arm and round is measured, at most: the first of the split `measure`.
    fresh
        Further prompts of each task for every round, other ones each time; 0 for none.
    n
        Responses for each prompt.
    filter
        What a round keeps: `best@n` of each group of n responses, or `top q`.
    temperature
        1 by default, whatever the tasks say: fine-tuning learns what it is shown at temperature 1, and drawing at a lower
        one would sharpen the model in every round beyond what the filter does.
    keep_models
        `last` removes a round's model once the next one is there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    suite: str
    tasks: tuple[str, ...] = ()
    data_dir: str | None = None
    model: str = DEFAULT_MODEL
    engine: str = "transformers"
    engine_options: dict[str, Any] = {}
    arms: tuple[Arm, ...] = Field(min_length=1)
    rounds: int = Field(default=5, ge=1, le=MOST_ROUNDS)
    prompts: int = Field(default=64, ge=1)
    held_out: int = Field(default=64, ge=1)
    fresh: int = Field(default=10, ge=0)
    n: int = Field(default=16, ge=2)
    verdicts: int = Field(default=8, ge=1)
    filter: str = "best@4"
    seed: int = Field(default=0, ge=0)
    temperature: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    training: Training = Training()
    keep_models: Keep = "last"

    @field_validator("engine_options")
    @classmethod
    def _without_secrets(cls, value: dict[str, Any]) -> dict[str, Any]:
        refuse_secrets(value)
        return value

    @property
    def places(self) -> tuple[str, ...]:
        """The sets of prompts that there are."""
        return PLACES if self.fresh else PLACES[:2]

    @property
    def loop(self) -> Loop:
        """The filter, whose rounds can be folded."""
        return loop_of(self.filter)

    def arm(self, label: str) -> Arm:
        """The arm of a label."""
        return next(arm for arm in self.arms if arm.label == label)

    def judge(self, arm: Arm) -> VerifierSpec | None:
        """Whose scores an arm keeps by; None for gold."""
        return None if arm.verifier is None else arm.judge_of(self.model, self.engine_options)

    def verifiers(self, arms: tuple[Arm, ...]) -> tuple[VerifierSpec, ...]:
        """The verifiers of some arms, each once."""
        found = [self.judge(arm) for arm in arms]
        return tuple({one.name: one for one in found if one is not None}.values())

    def run_config(
        self,
        model: str,
        split: Literal["measure", "calibrate"],
        verifiers: tuple[VerifierSpec, ...],
        seed: int,
    ) -> RunConfig:
        """The configuration of one of the loop's runs."""
        return RunConfig(
            suite=self.suite,
            model=model,
            engine=self.engine,
            engine_options=self.engine_options,
            n=self.n,
            verifiers=verifiers,
            verdicts=self.verdicts,
            tasks=self.tasks,
            split=split,
            data_dir=self.data_dir,
            seed=seed,
            temperature=self.temperature,
        )

    def check(self) -> None:
        """Check what can be known before a model is loaded.

        Raises
        ------
        UserError
            If the filter cannot be used or needs more responses than are drawn, an arm stands there twice, or the engine
            cannot do what a verifier needs.
        """
        loop = self.loop
        if not isinstance(loop, BestLoop | TopLoop):
            raise UserError(f"--filter {self.filter}: a loop keeps whole responses; take best@n or top q")
        least = loop.n if isinstance(loop, BestLoop) else 1 / loop.q
        if self.n < least:
            raise UserError(
                f"--filter {self.filter}: needs {least:g} responses of each prompt, and -n is {self.n}; raise -n"
            )
        folders = [arm.folder for arm in self.arms]
        for folder, arm in zip(folders, self.arms, strict=True):
            if folders.count(folder) > 1:
                raise UserError(f"--arm {arm.label}: there twice, or another arm is called alike; drop one")
        judges_of(self.run_config(self.model, "measure", self.verifiers(self.arms), self.seed))

    def grown_from(self, old: LoopConfig, where: object) -> None:
        """Check that a loop begun with `old` can go on with this: more rounds may be asked for, and models kept or not.

        Raises
        ------
        UserError
            If it cannot.
        """
        for name in type(self).model_fields:
            mine, theirs = getattr(self, name), getattr(old, name)
            if name in ("keep_models", "data_dir") or mine == theirs or (name == "rounds" and mine > theirs):
                continue
            raise UserError(
                f"{where}: the loop was begun with {name}={_words(theirs)} and cannot go on with {_words(mine)}; "
                "give the old value, or a new --out"
            )


def _words(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(one.label if isinstance(one, Arm) else str(one) for one in value) or "none"
    return str(value)
