"""Text that must equal the reference or one of its aliases, after normalisation and as a whole.

>>> from gapbench.records import Message, Prompt
>>> prompt = Prompt("capitals", "p0", "factual", (Message("user", "Capital of France?"),), ("Paris",))
>>> Exact().grade(prompt, "The answer is paris.").utility
1.0
"""

from __future__ import annotations

from collections.abc import Sequence

from gapbench.graders._reply import commitment, listed, marked, sentences
from gapbench.graders._text import LONGEST_ANSWER, LONGEST_REPLY, clean, first_line, normalise, strip_prefix
from gapbench.graders.base import NOTHING, Graded, Grader, graders
from gapbench.records import Prompt


@graders.register("exact")
class Exact(Grader):
    """Whole-answer match; never a substring, so `untrue` is not `true`.

    The answer is the line as it stands where that is the reference; otherwise what the reply commits to, past
    chatter and explanation (`gapbench.graders._reply`).

    Parameters
    ----------
    first_line
        Grade the first line that says something, unless another is marked as the answer; else the whole reply.
    strip_prefix
        Phrases to drop from the front of an answer, beside `The answer is` and the like.
    """

    def __init__(self, first_line: bool = True, strip_prefix: Sequence[str] = ()) -> None:
        self.first_line = first_line
        self.phrases = tuple(strip_prefix)

    def grade(self, prompt: Prompt, text: str) -> Graded:
        """Utility 1 where the normalised answer is the normalised reference or an alias."""
        reply = clean(text)
        references = {normalise(reference) for reference in prompt.reference} - {""}
        whole = first_line(reply) if self.first_line else reply
        mark = marked(reply[-LONGEST_REPLY:]) or ""
        for literal in (whole, listed(reply), mark, *sentences(mark)[:1]):
            answer = strip_prefix(literal[:LONGEST_REPLY], self.phrases)
            if normalise(answer) in references:
                return Graded(answer[:LONGEST_ANSWER], normalise(answer), 1.0)
        lists = any("," in reference for reference in prompt.reference)
        committed = commitment(reply, prompt.question, self.first_line, lists)
        answer = strip_prefix(committed or "", self.phrases)
        form = normalise(answer)
        return Graded(answer[:LONGEST_ANSWER], form, float(form in references)) if form else NOTHING
