r"""What verifiers that ask a model share: templates and options, judging examples, and verdicts by label probability.

>>> fill("{question}\nProposed answer: {answer}", question="2 + 2?", answer="{question}")
'2 + 2?\nProposed answer: {question}'
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import exp

from gapbench.engines.base import Result
from gapbench.errors import UserError
from gapbench.records import UNPARSED, error_status, is_error
from gapbench.verifiers.base import Judgement

LEAST_MASS = 0.01
"""Probability that all labels together need before a verdict is made of them."""


def template(verifier: str, option: str, text: object, *fields: str) -> str:
    """Return `text` if it is a template that has each of `fields` in braces.

    Raises
    ------
    UserError
        If it is no text, or lacks a field.
    """
    if not isinstance(text, str):
        raise UserError(f"verifier '{verifier}': option '{option}' must be a text, not {text!r}")
    lacking = [f"{{{field}}}" for field in fields if f"{{{field}}}" not in text]
    if lacking:
        raise UserError(
            f"verifier '{verifier}': template '{option}' lacks {' and '.join(lacking)}; put it in"
        )
    return text


def fill(text: str, **values: str) -> str:
    """Put each value where its name stands in braces; other braces, those of a value too, are text like any other."""
    either = "|".join(map(re.escape, values))
    return re.sub(rf"\{{({either})\}}", lambda field: values[field[1]], text)


def number(
    verifier: str, option: str, value: object, low: float, high: float, *, whole: bool = False
) -> float:
    """Return `value` if it is a number from `low` to `high`, and a whole one where that is asked.

    Raises
    ------
    UserError
        If it is not.
    """
    sound = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
    if not sound or (whole and not float(value).is_integer()):  # type: ignore[arg-type]
        kind = "a whole number" if whole else "a number"
        raise UserError(
            f"verifier '{verifier}': option '{option}' must be {kind} from {low:g} to {high:g}, not {value!r}"
        )
    return value  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class Example:
    """A worked example of judging: an answer shown for a question, the right one, and whether they are the same."""

    question: str
    answer: str
    reference: str
    right: bool


def judging_examples(shots: list[tuple[str, str]]) -> list[Example]:
    """Turn a task's worked examples into as many right as wrong ones, in turn.

    Every other one shows its right answer, the rest the answer of another example. Without two that differ there are
    none.
    """
    examples: list[Example] = []
    for first, second in zip(range(0, len(shots), 2), range(1, len(shots), 2), strict=False):
        question, answer = shots[second]
        others = [other for _, other in shots if _folded(other) != _folded(answer)]
        if others:
            examples.append(Example(*shots[first], shots[first][1], True))
            examples.append(Example(question, others[second % len(others)], answer, False))
    return examples


def _folded(answer: str) -> str:
    return " ".join(answer.split()).casefold()


def label_share(result: Result, least_mass: float) -> Judgement:
    """Probability of the first of two labels, given that it is one of them.

    Where both together have less than `least_mass` of the probability the model did not take the question, and the
    verdict is `unparsed`: no number is made from what is left.
    """
    if is_error(result.finish_reason):
        return Judgement(None, result.finish_reason)
    if result.label_logprobs is None:
        return Judgement(None, error_status("the engine gave no label probabilities"), result.text)
    first, second = map(exp, result.label_logprobs)
    # Written so that a NaN is no verdict either.
    if not first + second >= least_mass:
        return Judgement(None, UNPARSED, result.text)
    return Judgement(first / (first + second), text=result.text)
