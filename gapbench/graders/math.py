r"""Mathematical expressions, compared by math-verify: `\frac12`, `0.5` and `1/2` are one answer.

Where the answer stands is decided here (the last `\boxed{}`, after the last `####`, after the last `answer is`, the last
formula, or all of a short reply); reading and comparing it happens in a worker process with limits, because sympy
evaluates what it reads and `9**9**9**9` would keep it busy for ever.
"""

from __future__ import annotations

import re

from gapbench.graders._reply import after_correction, box, commitment, unfinished, without_question
from gapbench.graders._text import LONGEST_ANSWER, LONGEST_REPLY, clean, normalise, strip_prefix
from gapbench.graders.base import NOTHING, Graded, Grader, graders
from gapbench.graders.numeric import read_number
from gapbench.isolation.worker import CallFailed, WorkerDied, shared_worker
from gapbench.records import Prompt

_CHILD = "gapbench.graders._math_child"
_BARE_BOX = re.compile(r"\\boxed\s+(\S+)")
_HASHES = re.compile(r"####[ \t]*([^\n]+)")
_ANSWER = re.compile(r"answer\b[^\n\d$\\]{0,40}?(?:\bis\b|[:=])\s*:?\s*(?=[^\n])", re.IGNORECASE)
_DENIED = re.compile(r"not\b(?:.*?\b(?:but|it is|it's|rather)\b\s*(.*))?", re.IGNORECASE | re.DOTALL)
_FORMULA = re.compile(r"\$\$(.+?)\$\$|\\\[(.+?)\\\]|\\\((.+?)\\\)|(?<!\\)\$((?:[^$\n\\]|\\.)+)\$", re.DOTALL)
_JOINED = re.compile(r"(?:\$|\\\))\s*,?\s*(?:and|or|,)\s*(?:\$|\\\()")
_ONE_BOX = re.compile(r"\\boxed\s*\{([^{}]*)\}")
_BOXES = re.compile(
    r"(?:\\boxed\s*\{[^{}]*\}\$?\s{0,3}(?:,\s{0,3}|(?:,\s{0,3})?(?:and|or)\s{0,3})\$?)+\\boxed\s*\{[^{}]*\}"
)
_BESIDE = re.compile(r"\$[^$\n=]*=[^$\n]*\$[ ,]{0,3}(?:and|or|,)[ ]{0,3}\$[^$\n]*\$[\s.]{0,3}$")
_APPROXIMATELY = re.compile(r" ?\((?:about|approximately|approx\.|roughly|or|≈)[^()\n]{0,200}\)")
_TOLD = re.compile(r".*\b(?:is|are|equals|be)\b\s+(?:the point\s+|exactly\s+)?(\S[^\n]*)$", re.DOTALL)
_WORDS_ONLY = re.compile(r"\\text\s*\{\s*([A-Za-z][A-Za-z ]+)\}")
_LONE_WORD = re.compile(r"[A-Za-z]{3,}")
_WORD = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]{2,}")
_TEXT_COMMAND = re.compile(r"\\(?:text|textbf|mathrm|mbox|operatorname|begin|end)\s*\{[^{}]*\}")
_SENTENCE_END = re.compile(r"(?<=[\w})$\]])\.(?:\s.*)?$", re.DOTALL)


def _boxed(text: str) -> str | None:
    r"""Content of the last `\boxed{}`; of all where several stand side by side, as in `$\boxed{2}$ and $\boxed{3}$`."""
    last = box(text)
    if last is None:
        bare = _BARE_BOX.findall(text)
        return str(bare[-1]) if bare else None
    beside = _BOXES.findall(text)
    if beside and (boxes := _ONE_BOX.findall(beside[-1]))[-1] == last:
        return ", ".join(boxes)
    return last


def extract(text: str, question: str = "") -> tuple[str, bool]:
    """Where the answer stands in a reply.

    Returns
    -------
    tuple of str and bool
        The answer, and whether all of it is an expression; otherwise one has to be looked for in its words.
    """
    text = without_question(clean(text), question)[-LONGEST_REPLY:]
    if (boxed := _boxed(text)) is not None:
        return boxed.strip(), True
    marked = _HASHES.findall(text) or [
        text[said.end() :].partition("\n")[0] for said in list(_ANSWER.finditer(text))[-1:]
    ]
    if not marked:
        text = _APPROXIMATELY.sub("", after_correction(text))
        if unfinished(text):
            return "", False
    tail = marked[-1] if marked else (text.splitlines() or [""])[-1]
    if marked and (denied := _DENIED.match(tail)):
        tail = denied[1] or ""
    formulas = _FORMULA.findall(tail if marked else text)
    if formulas:
        if _JOINED.search(tail) and (marked or _BESIDE.search(tail)):
            # `$2$ and $3$` is one answer
            return tail if marked else tail[tail.find("$") :], False
        # After a marker the first formula is the answer; without one the others lead up to the last.
        return next(filter(None, formulas[0 if marked else -1])).strip(), True
    tail = _SENTENCE_END.sub("", strip_prefix(tail)).rstrip(".* \t").lstrip("* \t")
    prose = len(_WORD.findall(_TEXT_COMMAND.sub("", tail))) > 1
    if prose and (told := _TOLD.match(tail)) and not _WORD.search(told[1]):
        tail, prose = told[1], False
    if _LONE_WORD.fullmatch(tail):
        if (number := read_number(tail)) is not None:
            return str(number), True
        # In \text, or sympy would take it as a product of letters, and any anagram as equal.
        return rf"\text{{{tail}}}", True
    return tail, not prose


@graders.register("math")
class Math(Grader):
    """Utility 1 where math-verify finds the answer equal to the reference, gold first.

    Parameters
    ----------
    seconds
        Processor time for one comparison; an answer that takes longer is not right.
    """

    waits = True

    def __init__(self, seconds: float = 5.0) -> None:
        self.seconds = seconds

    def grade(self, prompt: Prompt, text: str) -> Graded:
        """Compare; the cluster is sympy's text of the evaluated, expanded expression, or else the answer's own."""
        answer, whole = extract(text, prompt.question)
        if not normalise(answer):
            return NOTHING
        if words := [
            found[1] for text_ in prompt.reference if (found := _WORDS_ONLY.fullmatch(text_.strip()))
        ]:
            # A reference in words is held against the words that the reply commits to.
            said = commitment(clean(text), prompt.question, first=False) or ""
            if normalise(said) in map(normalise, words):
                return Graded(said, rf"\text{{{said}}}", 1.0)
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
