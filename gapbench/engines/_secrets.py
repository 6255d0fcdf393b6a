"""Keeps secrets out of engine options, which are written into a run's manifest.

>>> refuse_secrets({"base_url": "http://localhost:8000/v1", "key_env": "MY_KEY"})
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from gapbench.errors import UserError

_NAME = re.compile(
    r"(^|[_-])(key|apikey|password|secret|authorization|(hf|api|auth|access|bearer)[_-]?token)$", re.I
)


def refuse_secrets(options: Mapping[str, Any], inside: str = "") -> None:
    """Check that no option, at any depth, is a key by its name or an address that holds one.

    Raises
    ------
    UserError
        If one is; the secret is not repeated.
    """
    for name, value in options.items():
        option = f"{inside}{name}"
        if isinstance(value, Mapping):
            refuse_secrets(value, f"{option}.")
        elif isinstance(value, str) and value:
            if _NAME.search(str(name)):
                raise UserError(
                    f"--engine-option {option}: options are kept with a run; put a key into the environment "
                    "(engine 'openai' reads OPENAI_API_KEY, or the variable that key_env names)"
                )
            if "://" in value and _holds_secret(value):
                raise UserError(
                    f"--engine-option {option}: options are kept with a run, so no user, password or query may stand in an "
                    "address; put it into the environment (engine 'openai' reads OPENAI_BASE_URL)"
                )


def _holds_secret(address: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return bool(parts.username or parts.password or parts.query or parts.fragment)
