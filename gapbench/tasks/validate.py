"""Whether a task's grader can be trusted, measured before any model time is spent.

Every reference is graded against itself and must pass; answers near to it (`gapbench.tasks.perturb`) must fail; and the reference
in the dress that models give an answer must be judged as a person would. What is printed are error rates with Clopper-Pearson
95 % intervals (Biometrika 26, 1934), and `sound` or `faulty` by the tolerances below.

>>> from gapbench.tasks import load_suite
>>> found = validate(load_suite("starter").tasks[0], limit=3)
>>> found.golds.count, found.verdict
(3, 'sound')
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from scipy.stats import beta

from gapbench.errors import UserError
from gapbench.graders.base import Grader
from gapbench.records import Prompt
from gapbench.registry import suggest
from gapbench.tasks.perturb import Variant, dressed, long_reply, perturbed
from gapbench.tasks.sources import ProceduralSource
from gapbench.tasks.suite import Split, Task, list_tasks, load_suite, named_suites

MOST_FAILING_GOLDS = 0.001
"""Public data hold a reference or two that are no answer: 2 of NQ-open's 3,610 are a bracket and a star."""

MOST_FALSE_ACCEPTS = {
    # math-verify leaves the base of a number and the power of a unit out of account (8 of 489 in MATH-500).
    "math": 0.02,
    # Another entry's answer, or a character more, can be a right answer too.
    "procedural": 0.02,
    # A constant may not be reached by any test.
    "code": 0.1,
    # Not every instruction is about the last sentence.
    "checklist": 0.3,
    # Another row's reference may be a spelling of this one's that nobody listed.
    "exact": 0.002,
}
"""Share of perturbed references that may pass, by grader; none where a grader is not named."""

MOST_MISREAD = 0.03
"""Share of dressed references that may be judged otherwise than by a person: references that look like chatter or units."""

DRESSED_PROMPTS = 60
"""Prompts whose reference is tried in every dress: 60 show a dress that fails one time in twenty with 95 %."""

SHOWN = 5

_EVERY = 1_000_000


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of trials with its Clopper-Pearson 95 % interval."""

    count: int
    trials: int

    @property
    def value(self) -> float | None:
        """The share; None without trials."""
        return self.count / self.trials if self.trials else None

    @property
    def low(self) -> float:
        """Lower end of the interval."""
        return float(beta.ppf(0.025, self.count, self.trials - self.count + 1)) if self.count else 0.0

    @property
    def high(self) -> float:
        """Upper end of the interval."""
        missed = self.trials - self.count
        return float(beta.ppf(0.975, self.count + 1, missed)) if missed else 1.0

    def __str__(self) -> str:
        if not self.trials:
            return "-"
        return f"{self.count}/{self.trials} {self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def to_json(self) -> dict[str, Any]:
        """Count, trials, share and interval."""
        return {
            "count": self.count,
            "trials": self.trials,
            "value": self.value,
            "low": self.low,
            "high": self.high,
        }


@dataclass(frozen=True, slots=True)
class Miss:
    """A reply that the grader judged otherwise than it should."""

    kind: str
    question: str
    reference: str
    reply: str

    def to_json(self) -> dict[str, str]:
        """The fields, cut to what a reader can take in."""
        return {name: getattr(self, name)[:300] for name in ("kind", "question", "reference", "reply")}


@dataclass(frozen=True, slots=True)
class Validation:
    """What was found about one task's grader.

    Attributes
    ----------
    golds
        References that pass.
    false_accepts
        Perturbed references that pass, by kind.
    variants
        Dressed references judged as a person would, by kind.
    misses
        Replies judged wrongly: failing references first.
    """

    suite: str
    task: str
    grader: str
    golds: Rate
    false_accepts: dict[str, Rate]
    variants: dict[str, Rate]
    misses: tuple[Miss, ...]

    @property
    def accepted(self) -> Rate:
        """Perturbed references that pass, over all kinds."""
        return _total(self.false_accepts)

    @property
    def read(self) -> Rate:
        """Dressed references judged rightly, over all kinds."""
        return _total(self.variants)

    @property
    def reasons(self) -> tuple[str, ...]:
        """What is beyond tolerance, in words."""
        found = []
        failing = self.golds.trials - self.golds.count
        if failing > MOST_FAILING_GOLDS * self.golds.trials:
            found.append(f"{failing} of {self.golds.trials} references fail")
        accepted, limit = self.accepted, MOST_FALSE_ACCEPTS.get(self.grader, 0.0)
        if accepted.count > limit * accepted.trials:
            found.append(f"{accepted.count} of {accepted.trials} perturbed references pass")
        read = self.read
        if (misread := read.trials - read.count) > MOST_MISREAD * read.trials:
            found.append(f"{misread} of {read.trials} dressed references are misread")
        return tuple(found)

    @property
    def verdict(self) -> Literal["sound", "faulty"]:
        """`faulty` where anything is beyond tolerance."""
        return "faulty" if self.reasons else "sound"

    def to_json(self) -> dict[str, Any]:
        """All of it, with totals over kinds."""
        return {
            "suite": self.suite,
            "task": self.task,
            "grader": self.grader,
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "golds": self.golds.to_json(),
            "false_accepts": {
                "limit": MOST_FALSE_ACCEPTS.get(self.grader, 0.0),
                **self.accepted.to_json(),
                "kinds": {kind: rate.to_json() for kind, rate in self.false_accepts.items()},
            },
            "variants": {
                "limit": 1 - MOST_MISREAD,
                **self.read.to_json(),
                "kinds": {kind: rate.to_json() for kind, rate in self.variants.items()},
            },
            "misses": [miss.to_json() for miss in self.misses],
        }


def _total(rates: dict[str, Rate]) -> Rate:
    return Rate(sum(rate.count for rate in rates.values()), sum(rate.trials for rate in rates.values()))


def validate(task: Task, *, limit: int | None = None) -> Validation:
    """Measure the grader of a task on the task's own questions.

    Parameters
    ----------
    task
        Of its split and its own maximum nothing is kept: every question of a table is tried, and of an endless
        procedural source as many as the task measures.
    limit
        Most questions, of those that the task measures.

    Raises
    ------
    UserError
        If the task's data cannot be had, or its grader fails the first references.
    """
    return examine(_questions(task, limit), task.grader(), task.spec.grader.options, suite=task.suite)


def _questions(task: Task, limit: int | None) -> tuple[Prompt, ...]:
    if limit is not None or isinstance(task.spec.source, ProceduralSource):
        return task.prompts[:limit]
    spec = task.spec.model_copy(update={"prompts": _EVERY})
    splits: list[Split] = ["measure", "calibrate"] if spec.calibrate else ["measure"]
    # The folder that a task's files are in is nobody else's business, so the task has no public name for it.
    return tuple(
        prompt
        for split in splits
        for prompt in Task(spec, task._folder, None, split, task._data_dir, task.suite).prompts
    )


def examine(
    prompts: Sequence[Prompt], grader: Grader, options: dict[str, Any], *, suite: str = ""
) -> Validation:
    """Measure a grader on prompts.

    Parameters
    ----------
    prompts
        At least one; references are borrowed from one another.
    grader, options
        The grader, and the options it was made with.
    """
    full: dict[int, float] = {}
    misses: list[Miss] = []
    for place, prompt in enumerate(prompts):
        full[place] = grader.grade(prompt, prompt.reference[0]).utility
        if full[place] < 1:
            misses.append(Miss("reference", prompt.question, prompt.reference[0], prompt.reference[0]))
    accepted: dict[str, list[bool]] = defaultdict(list)
    judged: dict[str, list[bool]] = defaultdict(list)
    for place, prompt in enumerate(prompts):
        if full[place] < 1:
            continue  # nothing is learned from the neighbours of a reference that fails
        others = [prompts[(place + step) % len(prompts)] for step in range(1, min(len(prompts), 6))]
        for variant in perturbed(grader.name, options, prompt, others):
            accepted[variant.kind].append(_passes(grader, prompt, variant, misses))
        if place < DRESSED_PROMPTS:
            variants = dressed(grader.name, options, prompt, others)
            if not place and grader.name in ("exact", "numeric", "choice", "math"):
                variants.append(long_reply(grader.name, prompt))
            for variant in variants:
                judged[variant.kind].append(_passes(grader, prompt, variant, misses) == variant.right)
    return Validation(
        suite,
        prompts[0].task,
        grader.name,
        Rate(sum(utility == 1 for utility in full.values()), len(prompts)),
        _rates(accepted),
        _rates(judged),
        tuple(misses),
    )


def _rates(found: dict[str, list[bool]]) -> dict[str, Rate]:
    return {kind: Rate(sum(outcomes), len(outcomes)) for kind, outcomes in found.items()}


def _passes(grader: Grader, prompt: Prompt, variant: Variant, misses: list[Miss]) -> bool:
    passes = grader.grade(prompt, variant.text).utility == 1
    if passes != variant.right:
        misses.append(Miss(variant.kind, prompt.question, prompt.reference[0], variant.text))
    return passes


def tasks_named(name: str, data_dir: Path | None = None) -> tuple[list[Task], dict[str, str]]:
    """The tasks that a word means: a suite, `suite/task`, a task's name that is unique, or a YAML's path.

    Returns
    -------
    list of Task
        At least one.
    dict
        Tasks of a whole suite that are left out because their data cannot be had here, with the reason.

    Raises
    ------
    UserError
        If the word means nothing, or several tasks; or if none of a suite's data can be had.
    """
    suites, _ = named_suites()
    if name.endswith((".yaml", ".yml")) or name in suites:
        loaded = load_suite(name, data_dir=data_dir, skip_missing=True)
        return list(loaded.tasks), dict(loaded.skipped)
    suite, _, single = name.rpartition("/")
    homes = sorted({task.suite or home for home, task in list_tasks() if task.name == single})
    if not suite and len(homes) > 1:
        raise UserError(
            f"several suites have a task '{single}'; say {' or '.join(f'{home}/{single}' for home in homes)}"
        )
    if not suite and homes:
        (suite,) = homes
    if suite not in suites:
        known = [*suites, *(task.name for _, task in list_tasks())]
        raise UserError(f"'{name}' is neither a suite nor a task{suggest(name, known)}")
    return list(load_suite(suite, data_dir=data_dir, tasks=[single]).tasks), {}


def summary(found: Iterable[Validation], skipped: dict[str, str]) -> dict[str, Any]:
    """The JSON document of `gapbench validate`; `skipped` tasks had no data."""
    those = list(found)
    verdict = "faulty" if any(one.verdict == "faulty" for one in those) else "sound"
    return {"verdict": verdict, "tasks": [one.to_json() for one in those], "skipped": skipped}


def faulty(found: Iterable[Validation]) -> str | None:
    """One line about the tasks whose grader is not to be trusted; None where all are sound."""
    told = [f"task '{one.task}': {'; '.join(one.reasons)}" for one in found if one.reasons]
    return "; ".join(told) + "; mend the references or the grader before any model is run" if told else None
