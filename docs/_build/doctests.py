"""Makes our docstrings Markdown: examples and tables that stand in running text, and returns described in words."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

_EXAMPLES = re.compile(r"^[ \t]*>>> .*(?:\n[ \t]*\S.*)*", re.MULTILINE)
_TABLE = re.compile(r"^=+(?: +=+)+\n(?:.+\n)+=+(?: +=+)+$", re.MULTILINE)
_FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
# `[...] [...]` is a link in Markdown and a product in ours, outside code.
_PRODUCT = re.compile(r"\](\s?)\[(?=[^`\n]*(?:`[^`\n]*`[^`\n]*)*$)", re.MULTILINE)
_RETURNS = re.compile(r"^Returns\n-{3,}\n(?P<body>(?>(?:\S.*(?:\n|\Z))+))(?![ \t]+\S)", re.MULTILINE)


def markdown(text: str) -> str:
    """Fence examples and plain tables, and leave the type of what is returned to the annotation.

    Outside a fence `>>>` is a quotation, and NumPy's convention takes the first line of `Returns` for a type.
    """
    text = _EXAMPLES.sub(lambda found: f"```pycon\n{_without_flags(found[0])}\n```", text)
    text = _TABLE.sub(lambda found: f"```text\n{found[0]}\n```", text)
    text = _RETURNS.sub(_described, text)
    parts = _FENCED.split(text)
    parts[::2] = [_PRODUCT.sub(r"]\1\[", part) for part in parts[::2]]
    return "".join(parts)


def _described(found: re.Match[str]) -> str:
    body = found["body"].rstrip("\n").replace("\n", "\n    ")
    return f"Returns\n-------\n:\n    {body}\n"


def _without_flags(block: str) -> str:
    return re.sub(r"[ \t]*# doctest:.*", "", block)


class Markdown(Extension):
    """Rewrites every docstring as it is read."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rewrite one object's docstring."""
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value)
