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
from gapbench.graders._reply import after_correction, conclusion, marked, without_question
from gapbench.graders._text import LONGEST_ANSWER, LONGEST_REPLY, clean, first_line, normalise, strip_prefix
from gapbench.graders.base import NOTHING, Graded, Grader, graders
from gapbench.records import Prompt

_LEADING = re.compile(
    r"\W*(?:option|choice)?\s*\(?([A-Za-z])(?:[).:\]]+(?:\W|$)|,(?=\s+[a-z])|\s+[-–—]\s|\W*$)(.*)",
    re.IGNORECASE | re.DOTALL,
)
_NAMED = re.compile(
    r"(?:\b(?:[Aa]nswer|[Oo]ption|[Cc]hoice)\b(?:\s+is)?\s*:?\s*\W{0,3}"
    r"|\b(?:[Pp]ick|[Cc]hoose|[Ss]elect|[Gg]o with|[Ii]t is|[Ii]t['’]s|[Tt]hat['’]s|[Ss]o|[Tt]hus|[Tt]herefore)\b,?\s+(?:\*\*)?(?=[A-Z](?:[\s*]*(?:[.,;)!*:]|$)))"
    r"|\()([A-Z])(?=\W|$)(?!')"
)
_NEGATED = r"(?:\bnot\b|\b(?:is|are|was|were|do|does|did)n['’]?t\b|\brather than\b|\binstead of\b)\s+(?:an?\s+|the\s+)?(?:option\s+)?"
_AS_A_LETTER = re.compile(r"\(([A-Z])\)\.?|([A-Z])[):]")  # and not the option `B`, of chemistry
_LINE_LETTER = re.compile(r"^\W*([A-Z])[).:]", re.MULTILINE)


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
        reply = without_question(clean(text), prompt.question)
        line = (first_line(reply) if self.first_line else reply)[:LONGEST_REPLY]
        named = set() if self._enumerates(reply, len(options)) else self._named(line, options)
        tail = reply[-LONGEST_REPLY:]
        for said in (marked(tail), conclusion(tail), after_correction(line)):
            # What is marked as the answer, or comes of second thoughts, stands before the line as a whole.
            if said and said != line and (of_it := self._named(said, options)):
                line, named = said, of_it
                break
        answer = strip_prefix(line)
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

    def _enumerates(self, reply: str, count: int) -> bool:
        """Whether the reply only repeats the options, each after its letter."""
        return self.letters and _LINE_LETTER.findall(reply)[:count] == list(ascii_uppercase[:count])

    def _named(self, line: str, options: list[str]) -> set[int]:
        answer = strip_prefix(line)
        form = normalise(answer)
        if self.letters and (shown := _AS_A_LETTER.fullmatch(answer.strip())):
            index = ascii_uppercase.index(shown[1] or shown[2])
            return {index} if index < len(options) else set()
        if form in options:
            return {options.index(form)}
        if self.letters and len(words := set(answer.split())) == 1:
            (answer,) = words  # `B B B`
        letters: list[str] = []
        if self.letters:
            line = re.sub(_NEGATED + r"\(?[A-Z](?!\w)", "", line)
            letters = _NAMED.findall(line)
            if (found := _LEADING.match(answer)) and found[1].upper() in ascii_uppercase[: len(options)]:
                letters.append(found[1].upper())
                answer = found[2]
        named = {index for letter in letters if (index := ascii_uppercase.index(letter)) < len(options)}
        rest = normalise(answer)
        mentioned = _mentioned(rest, options)
        if len(named) == 1 and mentioned:
            # `B. Plants release oxygen` is B; `A) carbon dioxide`, where that is B, is neither.
            opening = next(index for index in sorted(mentioned, key=lambda i: rest.find(options[i])))
            if named <= mentioned or not re.match(
                rf"(?:which is )?(?:an? |the )?{re.escape(options[opening])}(?!\w)", rest
            ):
                return named
        return named | mentioned


def _mentioned(text: str, options: list[str]) -> set[int]:
    """Options whose words stand in `text` and are not denied, longest first, so that `New York` does not name `York`."""
    found = set()
    for index in sorted(range(len(options)), key=lambda i: -len(options[i])):
        if options[index]:
            plural = "s?" if len(options[index]) > 3 and options[index].isalpha() else ""
            words = rf"(?<!\w){re.escape(options[index])}{plural}(?!\w)"
            text = re.sub(_NEGATED + words, "|", text)
            text, count = re.subn(words, "|", text)
            if count:
                found.add(index)
    return found
