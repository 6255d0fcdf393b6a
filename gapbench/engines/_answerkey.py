"""What a simulated model may answer to a prompt, and which answer a text shows.

>>> from gapbench.records import Message, Prompt
>>> key = AnswerKey(Prompt("sums", "p0", "arithmetic", (Message("user", "2 + 2?"),), ("4",)))
>>> "4" in key.wrong, key.shows_right("2 + 2?\\nProposed answer: 4"), key.shows_right("2 + 2?\\nProposed answer: 5")
(False, True, False)
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import cached_property
from string import ascii_uppercase

from gapbench.engines.base import derive_seed
from gapbench.graders._text import normalise
from gapbench.records import Prompt
from gapbench.synthetic.scenario import WRONG_SHARES

_NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?")
_STEPS = (1, -1, 2, -2, 3, -3, 10, -10)


class AnswerKey:
    """The right answer of a prompt and a few wrong ones, from the prompt alone.

    Attributes
    ----------
    right
        The first reference.
    wrong
        At least one answer that is no reference, the most tempting first.
    """

    def __init__(self, prompt: Prompt) -> None:
        self._question = prompt.question
        self._references = prompt.reference
        self.right = prompt.reference[0]
        self.wrong = wrong_answers(prompt)

    def shows_right(self, text: str) -> bool:
        """Whether the first answer that stands after the question's last occurrence in `text` is right.

        A line that is an answer, perhaps after a word and a colon, goes before one that stands among other words.
        """
        at = text.rfind(self._question)
        shown = text[at + len(self._question) :] if at >= 0 else text
        alone, among = self._patterns
        found = alone.search(shown) or among.search(shown)
        return found is not None and found.lastgroup == "right"

    @cached_property
    def _patterns(self) -> tuple[re.Pattern[str], re.Pattern[str]]:
        spelled = [(form, "right") for form in self._references] + [(form, "wrong") for form in self.wrong]
        # The longest first, so that `York` is not seen in `New York`; a single letter only in its own case.
        spelled.sort(key=lambda one: -len(one[0]))
        forms: dict[str, list[str]] = {"right": [], "wrong": []}
        either = []
        for form, kind in spelled:
            escaped = re.escape(form)
            either.append((escaped if len(form) == 1 else f"(?i:{escaped})", kind))
        del forms
        return _pattern(either, r"(?m)^(?:[^:\n]{0,40}:)?[ \t]*(?:%s)[ \t.]*$"), _pattern(
            either, r"(?<![\w-])(?<!\d[.,])(?:%s)(?!\w)(?![.,]\d)"
        )
