"""Text that a model or a stranger's file wrote, made safe to show; and numbers as words.

Escaping for HTML is the template's work. What is done here is what escaping does not do: control characters, ANSI
codes, invisible and direction-changing marks become visible signs, and endless lines are cut.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence

LINE, LINES = 400, 40


def visible(text: str, *, line: int = LINE, lines: int = LINES) -> str:
    r"""Make hostile text inert and keep it readable.

    Control characters become their Unicode control pictures (ESC is shown as `␛`), every invisible format character
    (bidirectional overrides, zero-width marks, byte order marks) and lone surrogate its code point, as in `⟨U+202E⟩`.

    Parameters
    ----------
    line, lines
        Characters kept of each line and lines kept; what is cut is counted in the text.

    Examples
    --------
    >>> visible("\x1b[31mred\u202e")
    '␛[31mred⟨U+202E⟩'
    """
    rows = text.replace("\r\n", "\n").split("\n", lines)
    rest = rows.pop() if len(rows) > lines else None
    shown = [_row(row, line) for row in rows]
    if rest is not None:
        shown.append(f"… [{rest.count(chr(10)) + 1:,} more lines]")
    return "\n".join(shown)


def one_line(text: str, limit: int = 80) -> str:
    """`visible` for names and labels: one line, cut at `limit` characters."""
    flat = " ".join(text.split())
    return _row(flat if len(flat) <= limit else flat[: limit - 1] + "…", limit)


def _row(row: str, limit: int) -> str:
    kept = _UNSAFE.sub(_sign, row[:limit])
    return kept if len(row) <= limit else f"{kept} … [{len(row) - limit:,} more characters]"


# Candidates only: `_sign` decides by category, so that the common character costs nothing.
_UNSAFE = re.compile(r"[^ -~¡-¬®-ʯ]")


def _sign(match: re.Match[str]) -> str:
    character = match.group()
    code = ord(character)
    if character == "\t":
        return character
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"}:
        return f"⟨U+{code:04X}⟩"
    return character


def number(value: float, *, signed: bool = False, digits: int = 3) -> str:
    """A fixed number of decimals; a dash where there is no number."""
    if not math.isfinite(value):
        return "-"
    rounded = round(value, digits) + 0.0  # no negative zero
    return f"{rounded:{'+' if signed else ''}.{digits}f}"


def interval(low: float, high: float, *, signed: bool = False, digits: int = 3) -> str:
    """`[low, high]`."""
    return f"[{number(low, signed=signed, digits=digits)}, {number(high, signed=signed, digits=digits)}]"


def span(values: Sequence[float], *, signed: bool = False) -> str:
    """The least and the most of some numbers, as in `0.1 to 0.2`."""
    ends = list(dict.fromkeys(number(end(values), signed=signed) for end in (min, max)))
    return " to ".join(ends)


def percent(share: float, digits: int = 0) -> str:
    """A share in percent, as in `5 %`."""
    return f"{100 * share:.{digits}f} %"


def plural(count: int, noun: str, many: str | None = None) -> str:
    """`1 domain`, `2 domains`."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def listing(names: list[str]) -> str:
    """`a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
