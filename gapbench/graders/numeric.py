r"""The number a reply commits to, against a number.

Read as a person would: `1,234`, `$18.00`, `-3/4`, `1 1/2`, `25%`, `\frac{3}{4}`, `2.5 x 10^3`, `seven`, with or without
a unit. Where several numbers stand, the committed one is in the last `\boxed{}`, after the last `####`, after the
last `answer is`, or else the last (or first) of all.

>>> read_number("1,234.50 dollars")
Number(value=Fraction(2469, 2), percent=False)
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from gapbench.errors import UserError
from gapbench.graders._reply import after_correction, without_question
from gapbench.graders._text import LONGEST_ANSWER, LONGEST_REPLY, clean, first_line
from gapbench.graders.base import NOTHING, Graded, Grader, graders
from gapbench.records import Prompt

_UNITS = "zero one two three four five six seven eight nine ten"
_TEENS = "eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_WORDS = {word: place for place, word in enumerate([*_UNITS.split(), *_TEENS.split()])} | {
    word: 10 * place for place, word in enumerate(_TENS.split(), 2)
}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}
_WORD = "|".join(sorted([*_WORDS, *_SCALES], key=len, reverse=True))
_IN_WORDS = re.compile(
    rf"(?<![\w-])(?:(?:minus|negative) )?(?:{_WORD})(?:(?:[ -]|,? and | and a )(?:{_WORD}|half))*(?![\w-])"
)
_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
_CURRENCY = r"[$£€¥]"
_NUMBER = re.compile(
    rf"""(?<![\w.^]) (?P<sign>[-+]?) {_CURRENCY}? (?P<inner>-?)
    (?: (?P<whole>\d+)\s+(?P<part>\d+)/(?P<parts>\d+)
      | (?P<above>{_DIGITS})\s?/\s?(?P<below>{_DIGITS})
      | (?P<plain>{_DIGITS}) (?:[eE](?P<exponent>[-+]?\d{{1,9}})(?!\w)|\s?\^\s?\{{?(?P<raised>-?\d{{1,9}})\}}?)? )
    (?:\s*[x*]\s*10\s*\^\s*\{{?(?P<power>-?\d{{1,9}})\}}?)?
    (?P<percent>\s?(?:%|percent\b|per\ cent\b))?""",
    re.VERBOSE,
)
_SUM = re.compile(r"[\s\d.,+\-*/x()$£€¥]*=\s*")
_BOXED = re.compile(r"\\boxed\s*\{?([^{}]*)")
_HASHES = re.compile(r"####\s*([^\n]*)")
_ANSWER = re.compile(r"answer\b[^\n\d]{0,40}?(?:\bis\b|[:=])\s*", re.IGNORECASE)
_OR = re.compile(r"(?:\bor\b|\beither\b)\s*$", re.IGNORECASE)
_OR_ANOTHER = re.compile(r"[^\S\n]*(?:[a-z]+\s)?or\s+\W{0,3}\d", re.IGNORECASE)
_NOT = re.compile(r"(?:not|n't)\s+[^\d\n]{0,20}$", re.IGNORECASE)
_WHY = re.compile(
    r"[ \t]{0,3}[,;(]?[ \t]{0,3}\b(?:because|since|i\.e\.|that is\b(?=[^=\n]*$)|given that|after all)(?!\w)[^\n]*"
    r"|(?<=[\w%*$.])[ \t]?\([^()\n]{0,300}\)(?=[\s.*]*(?:\n|$))",
    re.IGNORECASE,
)
_AFTERTHOUGHT = re.compile(
    r"(?:\b(?:i hope|hope this|let me know|feel free|have a (?:great|nice|good)|if you have any|to (?:check|verify)|verification|"
    r"here is the check|check:)).*",
    re.IGNORECASE | re.DOTALL,
)
_PASSING = re.compile(
    r"\b(?:after|from|of|in|with|out of|than|for|at|per|over|by|before)\s+(?:(?:the|all|just|only|these|those|every)\s+)?\W?$",
    re.IGNORECASE,
)
_UNDONE = re.compile(r"[=+/×]\s*$|(?<=\s)[-*]\s*$")
_MOST_DIGITS = 300
_REWRITES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), new)
    for pattern, new in (
        (r"[‐-―−]", "-"),
        (r"×|\\times\b|\\cdot\b", "x"),
        (r"\\[dtc]?frac\s*\{\s*(-?[\d.,]+)\s*\}\s*\{\s*([\d.,]+)\s*\}", r" \1/\2"),
        (r"\\[dtc]?frac\s*(\d)\s*(\d)", r" \1/\2"),
        (r"\\([$%#&_])", r"\1"),
        (r"(?<=\d)(?:\{,\}|,?\\[,!;: ])(?=\d{3})", ","),
        (r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3}(?!\d))", ","),
        (r"\\(?:text|mathrm|mbox)\s*\{([^{}]*)\}", r" \1"),
        (r"(?<![\d,.])(\d{1,3}) (\d{3}) (\d{3})(?![\d,.])", r"\1\2\3"),
        (r"(?<![\d,.])(\d+),(\d{1,2})(?![\d,.])", r"\1.\2"),  # 2,5 is 2.5
        (r"(?<![\d,.])(\d{1,3})\.(\d{3}),(\d{1,2})(?![\d,.])", r"\1\2.\3"),  # 9.000,5 is 9000.5
        (r"\A(\W{0,3}\d{1,3}) (000)(?![\d,.]| *[-+*/=x])", r"\1\2"),
        (r"\A\s*-\s+(?=[\d.,/]+\s*\Z)", "-"),
        (r"\b(?:minus|negative)\s(?=[$\d.])", "-"),
        (r"(?<=\d)\s*\\?%", "%"),
    )
)


@dataclass(frozen=True, slots=True)
class Number:
    """A number as written; 25% has value 25 and `percent`."""

    value: Fraction
    percent: bool = False

    @property
    def readings(self) -> tuple[Fraction, ...]:
        """The values it may stand for: 25% is 25 (percent) or 1/4."""
        return (self.value, self.value / 100) if self.percent else (self.value,)

    def __str__(self) -> str:
        """Canonical decimal: exact where it ends within 30 digits, else to 12 significant digits."""
        scaled = self.value * 10**30
        if scaled.denominator != 1:
            return f"{float(self.value):.12g}" if abs(self.value) < 10**15 else str(round(self.value))
        sign, digits = "-" if scaled < 0 else "", str(abs(scaled.numerator)).rjust(31, "0")
        return sign + f"{digits[:-30]}.{digits[-30:]}".rstrip("0").rstrip(".")


def _rewrite(text: str) -> str:
    # Vulgar fractions first: NFKC would glue 1½ into 11⁄2.
    text = re.sub(
        r"[¼-¾⅐-⅞↉]", lambda found: " " + unicodedata.normalize("NFKC", found[0]).replace("⁄", "/"), text
    )
    for pattern, new in _REWRITES:
        text = pattern.sub(new, text)
    return unicodedata.normalize("NFKC", text)


def _value(found: re.Match[str]) -> Number | None:
    part = {name: (text or "").replace(",", "") for name, text in found.groupdict().items()}
    if sum(map(len, part.values())) > _MOST_DIGITS:
        return None
    try:
        if part["whole"]:
            value = int(part["whole"]) + Fraction(int(part["part"]), int(part["parts"]))
        elif part["above"]:
            value = Fraction(part["above"]) / Fraction(part["below"])
        else:
            value = Fraction(part["plain"])
        power = int(part["exponent"] or 0) + int(part["power"] or 0)
        raised = int(part["raised"] or 1)
        if abs(power) > _MOST_DIGITS or abs(raised) * len(part["plain"]) > _MOST_DIGITS:
            return None
        value = value**raised * Fraction(10) ** power
    except ZeroDivisionError:
        return None
    negative = (part["sign"] == "-") != (part["inner"] == "-")
    return Number(-value if negative else value, bool(part["percent"]))


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    found = None
    for found in pattern.finditer(text):  # noqa: B007 (the last match is wanted)
        pass
    return found


def _outside(text: str, found: re.Match[str]) -> bool:
    """Whether the number found is set aside by what stands before it (`not 12`) or beside it (`12 or 13`)."""
    return bool(
        _OR.search(text, max(0, found.start() - 20), found.start())
        or _OR_ANOTHER.match(text, found.end(), found.end() + 30)
    )


def _marked(text: str) -> tuple[bool, re.Match[str] | None]:
    """Whether an answer is marked, and the number at the mark."""
    for marker in (_BOXED, _HASHES):
        if (mark := _last(marker, text)) and (inside := _last(_NUMBER, mark[1])):
            return True, inside
    mark = _last(_ANSWER, text)
    if not mark:
        return False, None
    start = mark.end()
    if equation := _SUM.match(text, start):
        start = equation.end()
    found = _NUMBER.search(text, start, start + 200)
    if found and _NOT.search(text, start, found.start()):  # `the answer is not 4, it is 12`
        found = _NUMBER.search(text, found.end(), found.end() + 100)
        return True, found
    if found and _outside(text, found):
        return True, None
    return bool(found), found


def _committed(text: str, take: Literal["last", "first"], question: str) -> re.Match[str] | None:
    marked, found = _marked(text)
    if marked:
        return found
    if take == "first":
        return _NUMBER.search(text)
    text = after_correction(text)
    for aside in (_AFTERTHOUGHT, _WHY):
        shorter = aside.sub("", text)
        text = shorter if _NUMBER.search(shorter) else text
    if _UNDONE.search(text):
        return None
    numbers = (
        list(_NUMBER.finditer(text, max(0, text.rstrip().rfind("\n"))))[-20:]
        or list(_NUMBER.finditer(text))[-1:]
    )
    if not numbers:
        return None
    # `$1,134 after the 10% discount`: a number of the question, in passing, while another one is told.
    asked = {_value(number) for number in _NUMBER.finditer(question)}
    asked |= {Number(_in_words(phrase[0])) for phrase in _IN_WORDS.finditer(question.casefold())}
    told = [one for one in numbers if _value(one) not in asked]
    found = numbers[-1]
    if told and _value(found) in asked and _PASSING.search(text, max(0, found.start() - 30), found.start()):
        found = told[-1]
    return None if _outside(text, found) else found


def _in_words(phrase: str) -> Fraction:
    total = group = 0
    half = Fraction(0)
    for word in re.findall(r"[a-z]+", phrase):
        if word in _WORDS:
            group += _WORDS[word]
        elif word == "hundred":
            group = max(group, 1) * 100
        elif word in _SCALES:
            total, group = total + max(group, 1) * _SCALES[word], 0
        elif word == "half":
            half = Fraction(1, 2)
    value = total + group + half
    return -value if phrase.startswith(("minus", "negative")) else value


def read_number(text: str, take: Literal["last", "first"] = "last", question: str = "") -> Number | None:
    """The number that `text` commits to, or None. Numbers of the question may be named in passing."""
    text = _rewrite(text)
    if _NUMBER.search(text):
        found = _committed(text, take, _rewrite(question))
        return _value(found) if found else None
    # Without digits: one number in words, and not the pronoun `one`.
    words = " ".join(text.casefold().split()).strip(" .!*")
    phrases = [found for found in _IN_WORDS.finditer(words) if found[0] not in _SCALES]
    if len(phrases) != 1 or (phrases[0][0] in ("one", "zero") and len(words.split()) > 3):
        return None
    return Number(_in_words(phrases[0][0]))


@graders.register("numeric")
class Numeric(Grader):
    """Right when the committed number equals the reference within tolerance.

    Integers must be equal whatever the tolerance unless `abs_tol` is given. A percentage matches the number before its
    sign and its hundredth, unless both sides carry a sign.

    Parameters
    ----------
    abs_tol, rel_tol
        Largest absolute difference, and largest difference as a share of the reference.
    first_line
        Read only the first line that is not blank, unless an answer is marked elsewhere.
    take
        Which number counts where nothing marks the answer.
    """

    def __init__(
        self,
        abs_tol: float = 0.0,
        rel_tol: float = 1e-6,
        first_line: bool = False,
        take: Literal["last", "first"] = "last",
    ) -> None:
        if take not in ("last", "first"):
            raise UserError(f"grader 'numeric': option 'take' must be last or first, not {take!r}")
        self.abs_tol = Fraction(str(abs_tol))
        self.rel_tol = Fraction(str(rel_tol))
        self.first_line = first_line
        self.take = take

    def grade(self, prompt: Prompt, text: str) -> Graded:
        """Utility 1 where the committed number is the reference's.

        Raises
        ------
        UserError
            If a reference is not a number: the task's mistake, not the reply's.
        """
        reply = without_question(clean(text), prompt.question)
        if self.first_line and not _marked(_rewrite(reply[-LONGEST_REPLY:]))[0]:
            reply = first_line(reply)
        reply = reply[:LONGEST_REPLY] if self.take == "first" else reply[-LONGEST_REPLY:]
        number = read_number(reply, self.take, prompt.question)
        if number is None:
            return NOTHING
        right = any(self._equal(self._reference(prompt, text), number) for text in prompt.reference)
        return Graded(str(number)[:LONGEST_ANSWER], str(number), float(right))

    def _reference(self, prompt: Prompt, text: str) -> Number:
        number = read_number(text)
        if number is None:
            raise UserError(
                f"task '{prompt.task}': the reference {text[:60]!r} is no number; use grader exact, or set 'after'"
            )
        return number

    def _equal(self, gold: Number, number: Number) -> bool:
        if gold.percent and number.percent:
            return self._near(gold.value, number.value)
        return any(self._near(left, right) for left in gold.readings for right in number.readings)

    def _near(self, gold: Fraction, value: Fraction) -> bool:
        if gold.denominator == value.denominator == 1 and not self.abs_tol:
            return gold == value
        return abs(gold - value) <= max(self.abs_tol, self.rel_tol * abs(gold))
