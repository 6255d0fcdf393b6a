"""Engines by what is asked of them, started when needed and kept while the same one is asked for again."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from gapbench.engines.base import Engine, engines
from gapbench.errors import UserError


@dataclass(frozen=True)
class EngineSpec:
    """An engine, the model it is to run, and its options."""

    engine: str
    model: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The same text for the same engine."""
        return json.dumps([self.engine, self.model, self.options], sort_keys=True, default=str)


class Engines:
    """At most one engine at a time: two models seldom fit one device. Use as a context manager."""

    def __init__(self) -> None:
        self._running: tuple[str, Engine] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def get(self, spec: EngineSpec) -> Engine:
        """The engine asked for; another one that runs is closed first.

        Raises
        ------
        UserError
            As `start_engine`.
        """
        if self._running is not None and self._running[0] != spec.key:
            self.close()
        if self._running is None:
            self._running = spec.key, start_engine(spec)
        return self._running[1]

    def close(self) -> None:
        """Close what runs."""
        if self._running is not None:
            _, engine = self._running
            self._running = None
            engine.close()


def start_engine(spec: EngineSpec) -> Engine:
    """Start an engine.

    Raises
    ------
    UserError
        If the model cannot be loaded, or an option is not one of the engine's or has a value that it refuses.
    """
    try:
        return engines.get(spec.engine)(spec.model, **spec.options)
    except (TypeError, ValueError, RuntimeError) as wrong:
        given = ", ".join(f"{name}={value}" for name, value in spec.options.items())
        if not given:
            raise
        why = str(wrong).splitlines()[0]
        raise UserError(f"--engine-option {given}: engine '{spec.engine}' does not take it ({why})") from None
