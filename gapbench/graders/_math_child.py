"""What we ask of math-verify and sympy; only `gapbench.isolation.worker.Worker` imports this module.

Both evaluate what a model wrote, without bound on time or memory, so they run in the worker and their own timeouts,
which need SIGALRM, are off. A reply whose comparison kills the worker is not right.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import sympy  # type: ignore[import-untyped]
from math_verify import parse, verify

_SYMPY_FAILS = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


@lru_cache(maxsize=4096)
def _parsed(text: str, whole: bool) -> tuple[Any, ...]:
    # Boxed, the whole text is the expression; otherwise math-verify looks for one in it.
    return tuple(parse(rf"\boxed{{{text}}}" if whole else text, parsing_timeout=None))


def compare(golds: list[str], answer: str, whole: bool) -> bool:
    """Whether an answer equals one of the references; `whole` says that all of it is the expression."""
    found = list(_parsed(answer, whole))
    return any(_equal(list(_parsed(gold, True)), found) for gold in golds)


def _equal(gold: list[Any], found: list[Any]) -> bool:
    # math-verify rounds decimals to this many places: six significant ones for a small reference too.
    small = isinstance(gold[0], sympy.Float) and 0 < abs(gold[0]) < 1 if gold else False
    places = 5 - math.floor(math.log10(abs(gold[0]))) if small else 6
    return bool(verify(gold, found, float_rounding=places, timeout_seconds=None))


@lru_cache(maxsize=4096)
def normal_form(answer: str, whole: bool) -> str | None:
    """The form in which equal answers are the same text; None where there is no expression in the answer."""
    found = _parsed(answer, whole)
    expressions = [part for part in found if not isinstance(part, str)]
    if not expressions:
        return " ".join(found[0].split()) if found else None
    try:
        return _form(expressions[0])
    except _SYMPY_FAILS:
        return str(found[-1])


def _form(expression: Any) -> str:
    if isinstance(expression, sympy.Eq) and expression.lhs.is_Symbol:
        expression = expression.rhs  # x = 5 and 5 are one answer
    if isinstance(expression, sympy.MatrixBase | sympy.Set | sympy.Tuple):
        parts = [
            _form(part) for part in (expression if not isinstance(expression, sympy.Set) else expression.args)
        ]
        ordered = sorted(parts) if isinstance(expression, sympy.FiniteSet) else parts
        return f"{type(expression).__name__}({', '.join(ordered)})"
    value = expression.doit()
    if value.is_Float:
        value = sympy.Rational(str(value))
    elif value.is_number:
        value = sympy.nsimplify(sympy.simplify(value)) if value.has(sympy.Float) else sympy.simplify(value)
    elif isinstance(value, sympy.Expr):
        value = sympy.expand(value)
    return str(value)
