r"""Mathematical expressions, compared by math-verify: `\frac12`, `0.5` and `1/2` are one answer.

Where the answer stands is decided here (the last `\boxed{}`, after the last `####`, after the last `answer is`, the last
formula, or all of a short reply); reading and comparing it happens in a worker process with limits, because sympy
evaluates what it reads and `9**9**9**9` would keep it busy for ever.
"""

from __future__ import annotations

import re

from gapbench.graders._text import LONGEST_ANSWER, LONGEST_REPLY, clean, normalise, strip_prefix
from gapbench.graders.base import NOTHING, Graded, Grader, graders
from gapbench.records import Prompt
from gapbench.worker import CallFailed, WorkerDied, shared_worker

_CHILD = "gapbench.graders._math_child"
_BOX = re.compile(r"\\f?boxed\s*\{")
_BARE_BOX = re.compile(r"\\boxed\s+(\S+)")
_HASHES = re.compile(r"####[ \t]*([^\n]+)")
_ANSWER = re.compile(r"answer\b[^\n\d$\\]{0,40}?(?:\bis\b|[:=])\s*:?\s*([^\n]+)", re.IGNORECASE)
_FORMULA = re.compile(r"\$\$(.+?)\$\$|\\\[(.+?)\\\]|\\\((.+?)\\\)|(?<!\\)\$((?:[^$\n\\]|\\.)+)\$", re.DOTALL)
_JOINED = re.compile(r"(?:\$|\\\))\s*,?\s*(?:and|or|,)\s*(?:\$|\\\()")
_LONE_WORD = re.compile(r"[A-Za-z]{3,}")
_WORD = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]{2,}")
_TEXT_COMMAND = re.compile(r"\\(?:text|textbf|mathrm|mbox|operatorname|begin|end)\s*\{[^{}]*\}")
_SENTENCE_END = re.compile(r"(?<=[\w})$\]])\.(?:\s.*)?$", re.DOTALL)


def _box(text: str) -> str | None:
    r"""Content of the last `\boxed{}` that closes, braces balanced; None where there is none."""
    for start in reversed([found.end() for found in _BOX.finditer(text)][-50:]):
        depth = 1
        for end in range(start, min(len(text), start + LONGEST_ANSWER)):
            depth += {"{": 1, "}": -1}.get(text[end], 0) * (text[end - 1] != "\\")
            if not depth:
                return text[start:end]
    bare = _BARE_BOX.findall(text)
    return str(bare[-1]) if bare else None


def extract(text: str) -> tuple[str, bool]:
    """Where the answer stands in a reply.

    Returns
    -------
    tuple of str and bool
        The answer, and whether all of it is an expression; otherwise one has to be looked for in its words.
    """
    text = clean(text)[-LONGEST_REPLY:]
    if (boxed := _box(text)) is not None:
        return boxed.strip(), True
    marked = _HASHES.findall(text) or _ANSWER.findall(text)
    tail = marked[-1] if marked else (text.splitlines() or [""])[-1]
    formulas = _FORMULA.findall(tail if marked else text)
    if formulas:
        if marked and _JOINED.search(tail):
            return tail, False  # `$2$ and $3$` is one answer
        # After a marker the first formula is the answer; without one the others lead up to the last.
        return next(filter(None, formulas[0 if marked else -1])).strip(), True
    tail = _SENTENCE_END.sub("", strip_prefix(tail)).rstrip(".* \t").lstrip("* \t")
    if _LONE_WORD.fullmatch(tail):
        return (
            rf"\text{{{tail}}}",
            True,
        )  # or sympy would take it as a product of letters, and any anagram as equal
    prose = len(_WORD.findall(_TEXT_COMMAND.sub("", tail))) > 1
    return tail, not prose


@graders.register("math")
class Math(Grader):
    """Utility 1 where math-verify finds the answer equal to the reference, gold first.

    Parameters
    ----------
    seconds
        Processor time for one comparison; an answer that takes longer is not right.
    """

    def __init__(self, seconds: float = 5.0) -> None:
        self.seconds = seconds

    def grade(self, prompt: Prompt, text: str) -> Graded:
        """Compare; the cluster is sympy's text of the evaluated, expanded expression, or else the answer's own."""
        answer, whole = extract(text)
        if not normalise(answer):
            return NOTHING
        if len(answer) > LONGEST_ANSWER:
            return Graded(answer[:LONGEST_ANSWER], answer[:LONGEST_ANSWER], 0.0)
        call = shared_worker().call
        try:
            right = call(f"{_CHILD}:compare", list(prompt.reference), answer, whole, seconds=self.seconds)
        except (CallFailed, WorkerDied):
            return Graded(answer, " ".join(answer.split()), 0.0)
        try:
            form = call(f"{_CHILD}:normal_form", answer, whole, seconds=self.seconds)
        except (CallFailed, WorkerDied):
            form = " ".join(answer.split())
        return Graded(answer, form, float(right)) if form else NOTHING
