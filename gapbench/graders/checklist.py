"""Free text under instructions that a program can check, in the manner of IFEval (Zhou et al. 2023, arXiv 2311.07911).

The checks stand in `prompt.metadata["checks"]`, put there by the task's `keep: [checks]`; the references are texts that
pass. `CHECKS` is the list of kinds and of what each needs.

>>> from gapbench.records import Message, Prompt
>>> checks = [{"kind": "contains", "text": "stone"}, {"kind": "sentences", "count": 2}, {"kind": "ends", "text": "!"}]
>>> prompt = Prompt("short", "p0", "instructions", (Message("user", "..."),), ("A stone. Another!",), {"checks": checks})
>>> [round(Checklist().grade(prompt, text).utility, 2) for text in ("A stone. Another!", "A stone!", "No.")]
[1.0, 0.67, 0.0]
>>> Checklist(all=True).grade(prompt, "A stone!").utility
0.0
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from gapbench.errors import UserError
from gapbench.graders._text import LONGEST_ANSWER, LONGEST_REPLY, clean
from gapbench.graders.base import NOTHING, Graded, Grader, graders
from gapbench.records import Prompt
from gapbench.registry import suggest

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
# Possessive, and only from the start of a run: a megabyte of dots is read once.
_SENTENCE_END = re.compile(r"(?<![.!?])[.!?]++[\"'”’)]*+(?=\s|$)")
_BULLET = re.compile(r"^[ \t]*[-*•][ \t]+\S", re.MULTILINE)


def _words(text: str) -> list[str]:
    return [word.casefold().replace("’", "'") for word in _WORD.findall(text)]


def _occurrences(text: str, phrase: str) -> int:
    """How often a phrase stands in a text as whole words, not overlapping; case is not compared."""
    return len(re.findall(rf"(?<!\w){re.escape(phrase.casefold())}(?!\w)", text.casefold()))


def _sentences(text: str) -> int:
    """Parts that end in `.`, `!` or `?` before a space, and what is left after the last."""
    ends = list(_SENTENCE_END.finditer(text))
    rest = text[ends[-1].end() :] if ends else text
    return len(ends) + bool(_WORD.search(rest))


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def _starts(text: str, word: str) -> bool:
    return re.match(rf"{re.escape(word.casefold())}(?!\w)", text.casefold()) is not None


CHECKS: dict[str, tuple[tuple[str, ...], Callable[..., bool]]] = {
    "contains": (("text",), lambda reply, text: _occurrences(reply, text) > 0),
    "avoids": (("text",), lambda reply, text: _occurrences(reply, text) == 0),
    "repeats": (("text", "count"), lambda reply, text, count: _occurrences(reply, text) == count),
    "avoids_letter": (("letter",), lambda reply, letter: letter.casefold() not in reply.casefold()),
    "sentences": (("count",), lambda reply, count: _sentences(reply) == count),
    "words": (("least", "most"), lambda reply, least, most: least <= len(_words(reply)) <= most),
    "starts": (("text",), _starts),
    "ends": (("text",), lambda reply, text: reply.casefold().endswith(text.casefold())),
    "lower_case": ((), lambda reply: reply == reply.lower()),
    "items": (("count",), lambda reply, count: len(_BULLET.findall(reply)) == count == len(_lines(reply))),
    "lines": (("count",), lambda reply, count: len(_lines(reply)) == count),
}
"""Kind of check to what it needs and the test of a reply that is not empty.

`contains`, `avoids` and `repeats` compare whole words without regard to case, `avoids_letter` any one sign; `items` asks for
that many lines, each with a dash, star or dot before it.
"""


@graders.register("checklist")
class Checklist(Grader):
    """Utility is the share of the prompt's checks that a reply passes.

    Parameters
    ----------
    all
        Utility 1 only where every check is passed, else 0.
    """

    def __init__(self, all: bool = False) -> None:
        self.all = all

    def grade(self, prompt: Prompt, text: str) -> Graded:
        """Check the whole reply; the cluster is its text with white space collapsed.

        Raises
        ------
        UserError
            If the prompt has no checks, or one that is not known: the task's mistake.
        """
        checks = prompt.metadata.get("checks")
        if not isinstance(checks, list) or not checks:
            raise UserError(
                f"task '{prompt.task}': grader 'checklist' needs a list of checks; set keep: [checks]"
            )
        reply = clean(text)[:LONGEST_REPLY]
        if not reply:
            return NOTHING
        try:
            passed = [_passes(reply, check) for check in checks]
        except UserError as wrong:
            raise UserError(f"task '{prompt.task}': {wrong}") from wrong
        share = sum(passed) / len(passed)
        return Graded(
            reply[:LONGEST_ANSWER], " ".join(reply.split()), float(share == 1) if self.all else share
        )


def _passes(reply: str, check: Any) -> bool:
    kind = check.get("kind") if isinstance(check, Mapping) else None
    if kind not in CHECKS:
        raise UserError(f"unknown check {str(check)[:80]}{suggest(str(kind), list(CHECKS))}")
    needs, test = CHECKS[kind]
    if set(check) != {"kind", *needs}:
        raise UserError(
            f"check '{kind}' needs {' and '.join(needs) or 'nothing'}, not {sorted(set(check) - {'kind'})}"
        )
    try:
        return test(reply, *(check[name] for name in needs))
    except (TypeError, AttributeError) as wrong:
        raise UserError(f"check '{kind}' refuses {str(check)[:80]}: {wrong}") from wrong
