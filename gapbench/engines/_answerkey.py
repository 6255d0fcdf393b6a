r"""What a simulated model may answer to a prompt, and whether a text shows the right answer.

>>> from gapbench.records import Message, Prompt
>>> key = AnswerKey(Prompt("sums", "p0", "arithmetic", (Message("user", "2 + 2?"),), ("4",)))
>>> "4" in key.wrong, key.shows_right("2 + 2?\nProposed answer: 4"), key.shows_right("2 + 2?\nProposed answer: 5")
(False, True, False)
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from functools import cached_property
from string import ascii_uppercase

from gapbench.engines.base import derive_seed
from gapbench.errors import UserError
from gapbench.graders._text import normalise
from gapbench.records import Prompt

MOST_WRONG = 5
_DIGITS = r"-?\d+(?:,\d{3})*(?:\.\d+)?"
_NUMBER = re.compile(_DIGITS)
_STEPS = (1, -1, 2, -2, 3, -3, 10, -10)
# A line that is an answer, perhaps after a word and a colon; and an answer among other words. `12` is in neither of
# `112`, `-12` and `1.12`.
_ALONE = r"(?m)^(?:[^:\n]{0,40}:)?[ \t]*(%s)[ \t.]*$"
_AMONG = r"(?<![\w-])(?<!\d[.,])(%s)(?!\w)(?![.,]\d)"
# Where each of two answers begins, as in `Answer A: 12`.
_FIRST, _SECOND = (re.compile(rf"(?m)^[^:\n]{{0,40}}\b[{mark}][ \t]*:") for mark in ("A1", "B2"))


class AnswerKey:
    """The right answer of a prompt and a few wrong ones. It depends on the prompt alone.

    Attributes
    ----------
    right
        The first reference.
    wrong
        One to five answers that are no reference, the most tempting first.
    """

    def __init__(self, prompt: Prompt) -> None:
        self._question = prompt.question
        self._references = prompt.reference
        self.right = prompt.reference[0]
        self.wrong = wrong_answers(prompt)

    def shows_right(self, text: str) -> bool:
        """Whether the first known answer after the question's last occurrence in `text` is right.

        An answer with a line to itself is seen before one among other words. An unknown answer is wrong.
        """
        return self._right(self._shown(text))

    def show_right(self, text: str) -> tuple[bool, bool]:
        """`shows_right` of each of two answers, which begin on lines such as `Answer A: ...` and `Answer B: ...`.

        Raises
        ------
        UserError
            If `text` shows no two answers in this way.
        """
        shown = self._shown(text)
        first = _FIRST.search(shown)
        second = _SECOND.search(shown, first.end()) if first else None
        if first is None or second is None:
            raise UserError(
                "the simulated engine finds no two answers to compare: show them on lines 'Answer A: ...' and 'Answer B: ...'"
            )
        return self._right(shown[first.end() : second.start()]), self._right(shown[second.end() :])

    def _shown(self, text: str) -> str:
        at = text.rfind(self._question)
        return text[at + len(self._question) :] if at >= 0 else text

    def _right(self, shown: str) -> bool:
        alone, among, right = self._reader
        found = alone.search(shown) or among.search(shown)
        return found is not None and _folded(found[1]) in right

    @cached_property
    def _reader(self) -> tuple[re.Pattern[str], re.Pattern[str], frozenset[str]]:
        # The longest first, so that `York` is not seen in `New York`; a single letter only in its own case.
        forms = sorted((*self._references, *self.wrong), key=len, reverse=True)
        either = "|".join(re.escape(form) if len(form) == 1 else f"(?i:{re.escape(form)})" for form in forms)
        if _NUMBER.fullmatch(self.right):
            either += "|" + _DIGITS  # any other number is an answer too
        right = frozenset(map(_folded, self._references))
        return re.compile(_ALONE % either), re.compile(_AMONG % either), right


def _folded(form: str) -> str:
    return form if len(form) == 1 else form.casefold()


def wrong_answers(prompt: Prompt) -> tuple[str, ...]:
    """Plausible wrong answers: other options, nearby numbers, or the answers of the worked examples.

    The worked examples stand for the task's other prompts: how many of those a run has must not change an answer.
    """
    right = prompt.reference[0]
    if choices := [str(choice) for choice in prompt.metadata.get("choices", ())]:
        texts = {normalise(choice) for choice in choices}
        letters = ascii_uppercase[: len(choices)]
        options: Iterable[str] = choices if normalise(right) in texts else letters
    elif _NUMBER.fullmatch(right):
        options = _nearby(right)
    else:
        shown = re.compile(_AMONG % "|".join(f"(?i:{re.escape(form)})" for form in prompt.reference))
        options = [answer for _, answer in prompt.shots if not shown.search(answer)]
    taken = {normalise(reference) for reference in prompt.reference}
    distinct = {normalise(option): option for option in options if normalise(option) not in taken}
    order = sorted(distinct.values(), key=lambda form: derive_seed(prompt.task, prompt.prompt_id, form))
    return tuple(order[:MOST_WRONG]) or (f"not {right}",)


def _nearby(number: str) -> list[str]:
    """Numbers a few units of the last place away, negative only where `number` is."""
    value = Decimal(number.replace(",", ""))
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    moved = (value + step * Decimal(1).scaleb(exponent) for step in _STEPS)
    return [f"{other:f}" for other in moved if other >= 0 or value < 0]
