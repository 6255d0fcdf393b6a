"""Text that must equal the reference or one of its aliases, after normalisation and as a whole.

>>> from gapbench.records import Message, Prompt
>>> prompt = Prompt("capitals", "p0", "factual", (Message("user", "Capital of France?"),), ("Paris",))
>>> Exact().grade(prompt, "The answer is paris.").utility
1.0
"""

from __future__ import annotations

from collections.abc import Sequence

from gapbench.graders._text import LONGEST_ANSWER, clean, first_line, normalise, strip_prefix
from gapbench.graders.base import NOTHING, Graded, Grader, graders
from gapbench.records import Prompt


@graders.register("exact")
class Exact(Grader):
    """Whole-answer match; never a substring, so `untrue` is not `true`.

    Parameters
    ----------
    first_line
        Grade the first line that is not blank, not the whole reply.
    strip_prefix
        Phrases to drop from the front of an answer, beside `The answer is` and the like.
    """

    def __init__(self, first_line: bool = True, strip_prefix: Sequence[str] = ()) -> None:
        self.first_line = first_line
        self.phrases = tuple(strip_prefix)

    def grade(self, prompt: Prompt, text: str) -> Graded:
        """Utility 1 where the normalised answer is the normalised reference or an alias."""
        reply = clean(text)
        answer = strip_prefix(first_line(reply) if self.first_line else reply, self.phrases)
        form = normalise(answer)
        if not form:
            return NOTHING
        right = form in {normalise(reference) for reference in prompt.reference}
        return Graded(answer[:LONGEST_ANSWER], form, float(right))
