"""Results as JSON knows them."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from typing import Any


def plain(value: Any) -> Any:
    """For `json.dumps`, at any depth: dataclasses and mappings as dicts, tuples as lists, what is not finite as None.

    >>> plain({"low": float("nan"), "flags": ("descriptive",)})
    {'low': None, 'flags': ['descriptive']}
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
