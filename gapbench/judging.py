"""Which verifier, under which name, with which options, asked of which model.

A verifier is named on the command line in one of three ways: by its registered name (`yesno`), with the model that is
to judge in place of the run's own (`yesno@gemma3-270m`), or by a YAML file that may set everything:

    name: strict
    verifier: yesno
    judge: gemma3-270m
    options:
      instruction: Decide whether each proposed answer is exactly right. Reply Yes or No.

>>> VerifierSpec.model_validate("yesno@gemma3-270m").judge
'gemma3-270m'
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from gapbench.engines._secrets import refuse_secrets
from gapbench.errors import UserError
from gapbench.registry import suggest
from gapbench.verifiers.base import AskingVerifier, DerivedVerifier, ToolVerifier, Verifier, verifiers


class VerifierSpec(BaseModel):
    """A verifier of a run.

    Attributes
    ----------
    name
        What its verdicts are filed under; unique within a run.
    verifier
        The registered mechanism.
    judge
        Model that is asked; None for the run's own. A third party or a past checkpoint: alias, hub id or path.
    engine, engine_options
        Where that model runs; by default the run's engine, without options.
    options
        Keyword arguments of the verifier's class, its templates among them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[^\x00-\x1f]+$")
    verifier: str
    judge: str | None = Field(default=None, min_length=1)
    engine: str | None = None
    engine_options: dict[str, Any] = {}
    options: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _from_words(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        mechanism, at, judge = value.partition("@")
        if at and not judge.strip():
            raise ValueError("names no model after @")
        return {"name": value, "verifier": mechanism, **({"judge": judge} if at else {})}

    @field_validator("engine_options")
    @classmethod
    def _without_secrets(cls, value: dict[str, Any]) -> dict[str, Any]:
        refuse_secrets(value)
        return value

    @model_serializer(mode="wrap")
    def _to_words(self, whole: Any) -> Any:
        # A manifest says `yesno`, not six keys, where that says it all.
        return self.name if VerifierSpec.model_validate(self.name) == self else whole(self)


def read_spec(text: str) -> VerifierSpec:
    """What a word of the command line, or the YAML file that it names, says of a verifier.

    Raises
    ------
    UserError
        If the file cannot be read or says something else, or there is no such verifier.
    """
    if not text.endswith((".yaml", ".yml")):
        try:
            spec = VerifierSpec.model_validate(text)
        except ValidationError as wrong:
            said = wrong.errors()[0]["msg"].removeprefix("Value error, ").lower()
            raise UserError(f"verifier {text!r}: {said}; write NAME or NAME@MODEL") from None
    else:
        try:
            said = yaml.safe_load(Path(text).read_text(encoding="utf-8"))
        except OSError as missing:
            raise UserError(f"{text}: cannot be read ({missing.strerror})") from missing
        except (yaml.YAMLError, UnicodeDecodeError) as wrong:
            raise UserError(f"{text}: not YAML; check indentation and quotes") from wrong
        if not isinstance(said, dict):
            raise UserError(f"{text}: a verifier's file needs the keys name and verifier")
        try:
            spec = VerifierSpec.model_validate(said)
        except ValidationError as wrong:
            first = wrong.errors()[0]
            key = ".".join(map(str, first["loc"]))
            known = (
                suggest(key, list(VerifierSpec.model_fields)) if first["type"] == "extra_forbidden" else ""
            )
            raise UserError(f"{text}: '{key}': {first['msg'].lower()}{known}") from None
    make_verifier(spec)
    return spec


def make_verifier(spec: VerifierSpec) -> Verifier:
    """The verifier itself.

    Raises
    ------
    UserError
        If there is none of that name, it refuses its options, or it asks no model and a judge is named.
    """
    kind = verifiers.get(spec.verifier)
    if spec.name != spec.verifier and spec.name in verifiers.names():
        raise UserError(
            f"verifier '{spec.verifier}' cannot be called '{spec.name}', which is another one; rename it"
        )
    known = [name for name in inspect.signature(kind.__init__).parameters if name != "self"]
    for option in spec.options:
        if option not in known:
            raise UserError(
                f"verifier '{spec.verifier}' has no option '{option}'"
                + (suggest(option, known) if known else ": it takes none")
            )
    try:
        verifier = kind(**spec.options)
    except (TypeError, ValueError) as wrong:
        raise UserError(f"verifier '{spec.verifier}' refuses its options {spec.options}: {wrong}") from wrong
    verifier.name = spec.name
    if spec.judge is not None:
        if not asked_for(verifier):
            raise UserError(
                f"verifier '{spec.name}': '{spec.verifier}' asks no model, so that none can judge"
            )
        for member in asked_for(verifier):
            if member is not verifier:
                member.name += f"@{spec.judge}"
    return verifier


def asked_for(verifier: Verifier) -> list[AskingVerifier]:
    """The verifiers that a model is asked by for this one's sake: itself, its members, or none."""
    return [one for one in stored_for(verifier) if isinstance(one, AskingVerifier)]


def stored_for(verifier: Verifier) -> list[Verifier]:
    """The verifiers whose verdicts are drawn and kept for this one's sake; a model is asked, or a tool is run."""
    if isinstance(verifier, AskingVerifier | ToolVerifier):
        return [verifier]
    if isinstance(verifier, DerivedVerifier):
        return [one for member in verifier.members for one in stored_for(member)]
    return []
