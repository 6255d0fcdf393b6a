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
from gapbench.graders._text import LONGEST_ANSWER, LONGEST_REPLY, clean, first_line, normalise
from gapbench.graders.base import NOTHING, Graded, Grader, graders
from gapbench.records import Prompt

_UNITS = "zero one two three four five six seven eight nine ten"
_TEENS = "eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty"
_WORDS = (*_UNITS.split(), *_TEENS.split())
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
_MOST_DIGITS = 300
_REWRITES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), new)
    for pattern, new in (
        (r"[‐-―−]", "-"),
        (r"×|\\times\b|\\cdot\b", "x"),
        (r"\\[dtc]?frac\s*\{\s*(-?[\d.,]+)\s*\}\s*\{\s*([\d.,]+)\s*\}", r" \1/\2"),
        (r"\\[dtc]?frac\s*(\d)\s*(\d)", r" \1/\2"),
        (r"\\([$%#&_])", r"\1"),
        (r"(?<=\d)(?:\{,\}|\\[,!;: ])(?=\d{3})", ","),
        (r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3}(?!\d))", ","),
        (r"\\(?:text|mathrm|mbox)\s*\{([^{}]*)\}", r" \1"),
        (r"(?<![\d,.])(\d{1,3}) (\d{3}) (\d{3})(?![\d,.])", r"\1\2\3"),
        (r"(?<![\d,.])(\d+),(\d{1,2})(?![\d,.])", r"\1.\2"),  # 2,5 is 2.5
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


def _committed(text: str, take: Literal["last", "first"]) -> re.Match[str] | None:
    for marker in (_BOXED, _HASHES):
        if (mark := _last(marker, text)) and (inside := _last(_NUMBER, mark[1])):
            return inside
    if mark := _last(_ANSWER, text):
        start = mark.end()
        if equation := _SUM.match(text, start):
            start = equation.end()
        if found := _NUMBER.search(text, start, start + 200):
            return found
    found = _NUMBER.search(text) if take == "first" else _last(_NUMBER, text)
    if found and take == "last" and _OR.search(text, max(0, found.start() - 20), found.start()):
        return None  # `7 or 8` commits to neither
    return found


def read_number(text: str, take: Literal["last", "first"] = "last") -> Number | None:
    """The number that `text` commits to, or None."""
    text = _rewrite(text)
    if found := _committed(text, take):
        return _value(found)
    word = normalise(text).removesuffix(" percent")
    return Number(Fraction(_WORDS.index(word))) if word in _WORDS else None


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
        Read only the first line that is not blank.
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
        reply = clean(text)
        reply = first_line(reply) if self.first_line else reply
        reply = reply[:LONGEST_REPLY] if self.take == "first" else reply[-LONGEST_REPLY:]
        number = read_number(reply, self.take)
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
