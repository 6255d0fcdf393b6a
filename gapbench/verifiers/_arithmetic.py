"""The equations that a reply writes out, and whether they hold. Computed here; nothing is evaluated by Python.

>>> equations("First 3 + 4 = 7, then 7 * 2 = 15. So 10 / 3 = 3.33 and x = 5.")
[True, False, True]
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

MOST_EQUATIONS = 1000
LONGEST = 1000
_DEEPEST = 20
_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d{1,15})?(?![\d,])|\d{1,18}(?:\.\d{1,15})?(?!\d)"
_TOKEN = re.compile(rf"\s*(?:(?P<number>{_NUMBER})|(?P<sign>[-+*/()]))")
# Stretches of arithmetic: figures, operators, brackets and blanks. A word, a list's number, the end of a sentence or
# of a line ends one. `<` and `>` are the marks of a calculator (`<<3+4=7>>`).
_STRETCH = re.compile(r"(?:[\d()+*/=≈ \t-]|[.,](?=\d))+")
_LIST_MARK = re.compile(r"^[ \t]*(?:\(?\d{1,3}[.)]|[-*•])[ \t]", re.MULTILINE)
_TIMES = re.compile(r"(?<=[\d) ])[ \t]?[x×·∙⋅][ \t]?(?=[\d(])")
# Words and signs beside a stretch that make its first or its last number another one.
_BEFORE = re.compile(
    r"(?:[^\W_]|[_^%!][ \t]*|\b(?:mod|sqrt|root|log|ln|sin|cos|tan|of|times|plus|minus|by)[ \t]*)\Z"
)
_AFTER = re.compile(
    r"[^\W_]|[ \t]*(?:[_^%!]|(?:mod|times|plus|minus|percent|squared|cubed|hundred|thousand|million|billion)\b)"
)


@dataclass(frozen=True, slots=True)
class _Side:
    value: Fraction
    decimals: int | None
    """Digits after the point where the side is one number; None where it is to be computed."""


def equations(text: str) -> list[bool]:
    """Whether each equation in a text holds, in order, up to `MOST_EQUATIONS` of them, each of `LONGEST` characters at most.

    One is two sides of numbers, `+ - * / ( )` joined by `=` or `≈`, at least one of them with an operator; a chain
    `a = b = c` is several. A decimal number stands for what rounds to it, and so does a whole one after `≈`. What has a
    letter on either side is left alone: it may be part of something else.
    """
    text = text.replace("−", "-").replace("–", "-").replace("÷", "/").replace("$", "").replace("\\", "")
    text = _TIMES.sub(" * ", _LIST_MARK.sub("\n", text))
    found: list[bool] = []
    for stretch in _STRETCH.finditer(text):
        if len(stretch[0]) <= LONGEST and ("=" in stretch[0] or "≈" in stretch[0]):
            found += _chain(text, stretch)
        if len(found) >= MOST_EQUATIONS:
            break
    return found[:MOST_EQUATIONS]


def _chain(text: str, stretch: re.Match[str]) -> list[bool]:
    signs = re.findall(r"[=≈]", stretch[0])
    texts = re.split(r"[=≈]", stretch[0])
    sides = [_side(side) for side in texts]
    # The blanks of a stretch belong to what is beside it. After a word, `- 3 * 2` goes on from something.
    start = stretch.start() + len(stretch[0]) - len(stretch[0].lstrip())
    end = stretch.start() + len(stretch[0].rstrip())
    if _BEFORE.search(text[max(0, start - 10) : start]) or texts[0].lstrip()[:1] in ("+", "-", "*", "/"):
        sides[0] = None
    if _AFTER.match(text, end):
        sides[-1] = None
    found = []
    for sign, left, right in zip(signs, sides, sides[1:], strict=False):
        if left and right and (left.decimals is None or right.decimals is None):
            found.append(_equal(left, right, sign == "≈"))
    return found


def _equal(left: _Side, right: _Side, about: bool) -> bool:
    places = [side.decimals for side in (left, right) if side.decimals or (about and side.decimals == 0)]
    slack = max((Fraction(1, 2 * 10**place) for place in places if place is not None), default=Fraction(0))
    return abs(left.value - right.value) <= slack


def _side(text: str) -> _Side | None:
    tokens: list[re.Match[str]] = []
    place = 0
    text = text.rstrip()
    while place < len(text) and len(tokens) <= 200:
        token = _TOKEN.match(text, place)
        if not token:
            return None
        tokens.append(token)
        place = token.end()
    if not tokens or place < len(text):
        return None
    if len(tokens) == 1 and (number := tokens[0]["number"]):
        return _Side(_value(number), len(number.partition(".")[2]))
    try:
        value, rest = _sum([token["number"] or token["sign"] for token in tokens], 0)
    except (ZeroDivisionError, _NotASum):
        return None
    return _Side(value, None) if not rest else None


class _NotASum(Exception):
    """The tokens are no arithmetic expression."""


def _value(number: str) -> Fraction:
    return Fraction(number.replace(",", ""))


def _sum(tokens: list[str], depth: int) -> tuple[Fraction, list[str]]:
    value, rest = _product(tokens, depth)
    while rest and rest[0] in "+-":
        other, after = _product(rest[1:], depth)
        value, rest = (value + other if rest[0] == "+" else value - other), after
    return value, rest


def _product(tokens: list[str], depth: int) -> tuple[Fraction, list[str]]:
    value, rest = _factor(tokens, depth)
    while rest and rest[0] in "*/":
        other, after = _factor(rest[1:], depth)
        value, rest = (value * other if rest[0] == "*" else value / other), after
    return value, rest


def _factor(tokens: list[str], depth: int) -> tuple[Fraction, list[str]]:
    if not tokens or depth > _DEEPEST:
        raise _NotASum
    if tokens[0] == "-":
        value, rest = _factor(tokens[1:], depth + 1)
        return -value, rest
    if tokens[0] == "(":
        value, rest = _sum(tokens[1:], depth + 1)
        if rest[:1] != [")"]:
            raise _NotASum
        return value, rest[1:]
    if tokens[0] in "+*/)":
        raise _NotASum
    return _value(tokens[0]), tokens[1:]
