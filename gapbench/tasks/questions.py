"""From rows of data to questions: what a task's YAML makes of a row, and what happens to questions that repeat.

A question that stands there twice is asked once. Where the two rows answer it differently, what happens depends on who can
mend it: in a file it is an error that names both rows; of a hub's dataset neither row is asked (`settled`); a procedural
question may have several right answers only where the grader knows them all (`fresh`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from gapbench.engines.base import derive_seed
from gapbench.errors import UserError
from gapbench.graders._text import normalise
from gapbench.registry import suggest
from gapbench.tasks.rowfiles import Row
from gapbench.tasks.taskfile import TaskSpec
from gapbench.tasks.template import render, values

PATIENCE = 1000


@dataclass(frozen=True)
class Item:
    """One question with what belongs to it, not yet a prompt."""

    question: str
    reference: tuple[str, ...]
    metadata: dict[str, Any]
    cluster: str = ""

    @property
    def key(self) -> str:
        """The question without regard to case and spacing: two items of one key are the same question."""
        return question_key(self.question)

    @property
    def answers(self) -> frozenset[str]:
        """Its references, in any order and without regard to case and spacing."""
        return frozenset(map(question_key, self.reference))


def question_key(text: str) -> str:
    """Text without regard to case and spacing."""
    return " ".join(text.split()).casefold()


def rank(salt: str, key: str) -> float:
    """A number in [0, 1) that the text alone decides."""
    return derive_seed("gapbench", salt, key) / 2**63


def make_item(row: Row, spec: TaskSpec, where: str) -> Item:
    """What a task makes of a row; `where` names the row in errors.

    Raises
    ------
    UserError
        If the row lacks a field or does not fit the task.
    """
    try:
        choices: tuple[str, ...] = ()
        if isinstance(spec.choices, str):
            choices = values(row, spec.choices)
        elif spec.choices:
            choices = _in_order([text for name in spec.choices for text in values(row, name)])
            row = {**row, "choices": choices}
        reference = values(row, spec.reference)
        if choices and isinstance(place := row.get(spec.reference), int):
            if not 0 <= place < len(choices):
                raise UserError(f"the answer's place {place} is not in 0..{len(choices) - 1}")
            reference = (choices[place],)
        if spec.after:
            reference = tuple(_after(spec.after, text) for text in reference)
        if spec.aliases and row.get(spec.aliases):
            reference += values(row, spec.aliases, split="|")
        metadata: dict[str, Any] = {"style": spec.style, "row": where}
        if choices:
            metadata["choices"] = list(choices)
        if spec.tool:
            metadata["tool"] = spec.tool
        if spec.rubric:
            metadata["rubric"] = list(
                values(row, spec.rubric) if isinstance(spec.rubric, str) else spec.rubric
            )
        for name in spec.keep:
            if name not in row:
                raise UserError(f"there is no field '{name}' to keep{suggest(name, list(row))}")
            metadata[name] = row[name]
        cluster = values(row, spec.cluster)[0] if spec.cluster else ""
        return Item(render(spec.question, row), tuple(dict.fromkeys(reference)), metadata, cluster)
    except UserError as wrong:
        raise UserError(f"{where}: {wrong}") from wrong


def _in_order(options: list[str]) -> tuple[str, ...]:
    """Options in an order that their texts alone decide, so that the right one stands anywhere."""
    together = "\x1f".join(sorted(options))
    return tuple(sorted(options, key=lambda option: rank(together, option)))


def _after(pattern: str, text: str) -> str:
    found = list(re.finditer(pattern, text))
    if not found or not (rest := text[found[-1].end() :].strip()):
        raise UserError(f"nothing follows {pattern!r} ('after') in {text[-60:]!r}")
    return rest


def settled(items: Iterable[Item], *, mendable: bool) -> list[Item]:
    """Each question once, and none that the data answers in two ways or whose options read alike.

    Parameters
    ----------
    mendable
        Whether the rows are the user's own: then such a question is an error. Otherwise it is left out, for nothing says
        which of the answers is right.

    Raises
    ------
    UserError
        One line that names the rows.
    """
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(item.key, []).append(item)
    kept = []
    for first, *others in groups.values():
        wrong = _conflict(first, others) or _alike(first)
        if wrong and mendable:
            raise UserError(wrong)
        if not wrong:
            kept.append(first)
    return kept


def _conflict(first: Item, others: list[Item]) -> str | None:
    for other in others:
        if other.answers != first.answers:
            return (
                f"{first.metadata['row']} and {other.metadata['row']} ask the same ({first.question[:60]!r}) and answer "
                f"{first.reference[0]!r} and {other.reference[0]!r}; drop one, or make one row with both in 'aliases'"
            )
    return None


def _alike(item: Item) -> str | None:
    """Complain of options that the grader cannot tell apart: those that differ in case or punctuation alone."""
    options = item.metadata.get("choices", [])
    forms = [normalise(str(option)) for option in options]
    if len(set(forms)) < len(forms) or "" in forms:
        return f"{item.metadata['row']}: two of the choices {options} read alike; reword one"
    return None


def fresh(items: Iterable[Item], *, many_answers: bool) -> Iterator[Item]:
    """Items whose question is new, until `PATIENCE` in a row were not: then there are hardly any more.

    Parameters
    ----------
    many_answers
        Whether the grader takes any right answer, so that a repeated question may come with another reference.

    Raises
    ------
    UserError
        If the same question comes with another reference although the grader knows only one.
    """
    seen: dict[str, Item] = {}
    repeats = 0
    for item in items:
        first = seen.setdefault(item.key, item)
        repeats = 0 if first is item else repeats + 1
        if repeats > PATIENCE:
            return
        if first is item:
            yield item
        elif not many_answers and first.answers != item.answers:
            raise UserError(
                f"the question {item.question[:60]!r} comes with the answers {first.reference[0]!r} and "
                f"{item.reference[0]!r}; say more in 'question', or use grader 'procedural', which takes any right answer"
            )
