"""Text with fields of a row in it: `str.format` without what could reach beyond the row.

>>> render("Reverse: {words}. First: {words[0]}", {"words": ["go", "hundred"]})
'Reverse: go, hundred. First: go'
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from string import Formatter
from typing import Any

from gapbench.errors import UserError
from gapbench.registry import suggest

_FIELD = re.compile(r"([^\[\].!:{}]+)((?:\[[^\[\]{}]+\])*)")


def render(template: str, row: Mapping[str, Any]) -> str:
    """Fill `{field}` and `{field[0]}` from a row; nothing else is a field, attributes least of all.

    Raises
    ------
    UserError
        If the template is malformed, or the row lacks a field or has nothing in it.
    """
    try:
        parts = list(Formatter().parse(template))
    except ValueError as wrong:
        raise UserError(
            f"template {template!r}: {wrong}; write {{{{ and }}}} for braces in the text"
        ) from wrong
    return "".join(
        literal + ("" if name is None else _text(_look_up(name, spec, conversion, row), name))
        for literal, name, spec, conversion in parts
    )


def values(row: Mapping[str, Any], where: str, split: str | None = None) -> tuple[str, ...]:
    """What a field holds, or a template makes, as one text or more (a list gives several).

    Parameters
    ----------
    split
        Separator of several in one text.

    Raises
    ------
    UserError
        As `render`, and if a list is empty.
    """
    if "{" in where:
        return (render(where, row),)
    value = _look_up(where, "", None, row)
    parts = value.split(split) if split and isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        return (_text(parts, where),)
    if not parts:
        raise UserError(f"field '{where}' is an empty list; fill it or drop the row")
    return tuple(_text(part, where) for part in parts)


def _look_up(name: str, spec: str | None, conversion: str | None, row: Mapping[str, Any]) -> Any:
    found = _FIELD.fullmatch(name)
    if not found or spec or conversion:
        raise UserError(f"'{{{name}}}' is no field; write {{field}} or {{field[0]}}, without dots, ! and :")
    field = found[1]
    if field not in row:
        raise UserError(f"there is no field '{field}'{suggest(field, [str(key) for key in row])}")
    value = row[field]
    for place in re.findall(r"\[([^\[\]]+)\]", found[2]):
        try:
            value = value[place if isinstance(value, Mapping) else int(place)]
        except (LookupError, TypeError, ValueError) as wrong:
            raise UserError(f"field '{field}' has nothing at [{place}]") from wrong
    return value


def _text(value: Any, name: str) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_text(part, name) for part in value)
    if value is None or value != value or not str(value).strip():
        raise UserError(f"field '{name}' is empty; fill it or drop the row")
    return str(value).strip()
