"""One of several options, named by its letter or its text.

The options are in `prompt.metadata["choices"]`; the reference is an option's text, or its letter. A reply that names
two options, or a letter and another option's text, commits to neither.

>>> from gapbench.records import Message, Prompt
>>> prompt = Prompt("fruit", "p0", "choice", (Message("user", "Which is a fruit: chair or apple?"),), ("apple",),
...                 {"choices": ["chair", "apple"]})
>>> [Choice().grade(prompt, text).utility for text in ("Apple.", "(B)", "B) apple", "It is a chair.", "chair or apple")]
[1.0, 1.0, 1.0, 0.0, 0.0]
"""

from __future__ import annotations

import re
from string import ascii_uppercase

from gapbench.errors import UserError
from gapbench.graders._text import LONGEST_ANSWER, LONGEST_REPLY, clean, first_line, normalise, strip_prefix
from gapbench.graders.base import NOTHING, Graded, Grader, graders
from gapbench.records import Prompt

_LEADING = re.compile(
    r"\W*(?:option|choice)?\s*\(?([A-Za-z])(?:[).:\]]+(?:\W|$)|\W*$)(.*)", re.IGNORECASE | re.DOTALL
)
_NAMED = re.compile(r"(?:\b(?:answer|option|choice)\b(?:\s+is)?\s*:?\s*\W{0,3}|\()([A-Z])(?=\W|$)(?!')")


@graders.register("choice")
class Choice(Grader):
    """Utility 1 where the reply commits to the reference's option and to no other.

    Parameters
    ----------
    letters
        Whether a letter names an option; false where the question shows none.
    first_line
        Grade the first line that is not blank, not the whole reply.
    """

    def __init__(self, letters: bool = True, first_line: bool = True) -> None:
        self.letters = letters
        self.first_line = first_line

    def grade(self, prompt: Prompt, text: str) -> Graded:
        """Find the option that the reply commits to; the cluster is its normalised text.

        Raises
        ------
        UserError
            If the prompt has no options, or its reference is none of them: the task's mistake.
        """
        options = [normalise(str(option)) for option in prompt.metadata.get("choices", ())]
        if len(set(options)) < 2:
            raise UserError(f"task '{prompt.task}': grader 'choice' needs two options or more; set 'choices'")
        right = self._reference(prompt, options)
        reply = clean(text)
        line = (first_line(reply) if self.first_line else reply)[:LONGEST_REPLY]
        answer = strip_prefix(line)
        named = self._named(line, answer, options)
        if len(named) != 1:
            return NOTHING
        (chosen,) = named
        return Graded(answer[:LONGEST_ANSWER], options[chosen], float(chosen == right))

    def _reference(self, prompt: Prompt, options: list[str]) -> int:
        for reference in prompt.reference:
            if (form := normalise(reference)) in options:
                return options.index(form)
        letter = ascii_uppercase.find(prompt.reference[0].strip().upper() or "?")
        if self.letters and 0 <= letter < len(options):
            return letter
        raise UserError(
            f"task '{prompt.task}': the reference {prompt.reference[0]!r} is none of the options {options}"
        )

    def _named(self, line: str, answer: str, options: list[str]) -> set[int]:
        form = normalise(answer)
        if form in options:
            return {options.index(form)}
        letters: list[str] = []
        if self.letters:
            letters = _NAMED.findall(line)
            if (found := _LEADING.match(answer)) and found[1].upper() in ascii_uppercase[: len(options)]:
                letters.append(found[1].upper())
                answer = found[2]
        named = {ascii_uppercase.index(letter) for letter in letters}
        return {index for index in named if index < len(options)} | _mentioned(normalise(answer), options)


def _mentioned(text: str, options: list[str]) -> set[int]:
    """Options whose words stand in `text`, longest first, so that `New York` does not also name `York`."""
    found = set()
    for index in sorted(range(len(options)), key=lambda i: -len(options[i])):
        if options[index]:
            text, count = re.subn(rf"(?<!\w){re.escape(options[index])}(?!\w)", "|", text)
            if count:
                found.add(index)
    return found
