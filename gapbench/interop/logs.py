"""What every evaluation log comes down to: prompts, the responses drawn for each, and what was found in them.

A reader of a foreign format makes a `Log`, which `gapbench.interop.into_run` turns into a run; `gapbench.interop.from_run`
makes one of a run, which the writers turn into foreign formats. Neither knows of the other's format.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from gapbench.records import Grade, Prompt, Response, Verdict
from gapbench.store.manifest import VerifierFacts

UNKNOWN = "unknown"
"""Finish reason of a response whose log does not say whether it was cut: neither complete nor known to be censored."""


@dataclass(frozen=True, slots=True)
class LoggedPrompt:
    """A prompt with everything that a log holds of it.

    Attributes
    ----------
    question
        What was asked, without the examples that `prompt.messages` may show before it.
    responses
        By increasing index; `n_tokens` is None where the log does not say.
    grades
        One for each response, in their order; empty where the log has none that counts.
    verdicts
        In no particular order.
    """

    prompt: Prompt
    question: str
    responses: Sequence[Response]
    grades: Sequence[Grade] = ()
    verdicts: Sequence[Verdict] = ()


@dataclass(frozen=True)
class LoggedTask:
    """A task of a log.

    Attributes
    ----------
    prompts
        Those of the task; may be read more than once.
    facts
        What a manifest is to keep of it: how its tokens were drawn, as the log puts it.
    """

    name: str
    domain: str
    prompts: Iterable[LoggedPrompt]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Log:
    """One model's evaluation.

    Attributes
    ----------
    source
        Name of the format, as after `--from`.
    files
        What was read.
    model
        The model's id.
    verifiers
        What is known of those that have verdicts; one that is not here is known by its scores alone.
    flags
        What limits the analysis, with counts (`gapbench.interop.into_run.FLAGS`).
    notes
        What was left out, in sentences.
    """

    source: str
    files: Sequence[Path]
    model: str
    tasks: Sequence[LoggedTask]
    verifiers: Mapping[str, VerifierFacts] = field(default_factory=dict)
    flags: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes
    ----------
    path
        The folder.
    files
        Those in it, in the order in which they were written.
    notes
        What the format has no place for, in sentences.
    """

    path: Path
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The same in words."""
        return [*(f"wrote {file}" for file in self.files), *self.notes]


def model_name(told: str) -> str:
    """What a model is called: of one that was loaded from a folder the folder's name, not where that lies on a machine.

    >>> model_name("/home/me/models/tiny"), model_name("org/tiny")
    ('tiny', 'org/tiny')
    """
    return PurePath(told).name or told if told.startswith(("/", "~", "./", "../")) else told


def safe_name(name: str) -> str:
    """A name that is one part of a path, of no more than 120 bytes.

    >>> safe_name("../a b"), safe_name("math/algebra")
    ('.._a_b', 'math_algebra')
    """
    return shortened(re.sub(r"[^\w.-]", "_", name), 120) if name.strip(".") else "_"


def shortened(name: str, most: int) -> str:
    """The beginning of a name, of so many bytes that file systems, which count these, take it."""
    return name.encode()[:most].decode(errors="ignore")
