"""Plug-ins by name: one file in a folder of ours, or an entry point of somebody else's package.

A file `gapbench/verifiers/yesno.py` that decorates its class with `@verifiers.register("yesno")` is the
whole of adding a verifier. Files are imported only when their name is asked for, so that an engine's heavy
libraries are never loaded for an analysis.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from gapbench.errors import UserError

T = TypeVar("T")


def suggest(word: str, known: list[str]) -> str:
    """Return `'; did you mean X?'` or the list of what there is, for an error about an unknown name."""
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean '{close[0]}'?" if close else f"; there are: {', '.join(sorted(known))}"


class Registry(Generic[T]):
    """Names to classes for one kind of plug-in.

    Parameters
    ----------
    kind
        Singular noun used in error messages, such as ``"verifier"``.
    package
        Our package whose modules hold one plug-in each; it is also the entry-point group.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self._classes: dict[str, type[T]] = {}

    def register(self, name: str) -> Callable[[type[T]], type[T]]:
        """Class decorator that files the class under `name`."""

        def keep(cls: type[T]) -> type[T]:
            self._classes[name] = cls
            cls.name = name  # type: ignore[attr-defined]
            return cls

        return keep

    def _modules(self) -> list[str]:
        folder = Path(__file__).parent / self.package.rpartition(".")[2]
        found = [module.name for module in pkgutil.iter_modules([str(folder)])]
        return [name.replace("_", "-") for name in found if name != "base" and not name.startswith("_")]

    def names(self) -> list[str]:
        """Every name that `get` accepts, sorted."""
        external = [point.name for point in entry_points(group=self.package)]
        return sorted({*self._modules(), *external, *self._classes})

    def get(self, name: str) -> type[T]:
        """Return the class filed under `name`.

        Raises
        ------
        UserError
            If nothing has that name, or the module that has it needs a library that is not installed.
        """
        if name not in self._classes:
            for point in entry_points(group=self.package, name=name):
                self._classes[name] = cast(Any, point.load())
                return self._classes[name]
            if name not in self._modules():
                raise UserError(f"unknown {self.kind} '{name}'{suggest(name, self.names())}")
            module = f"{self.package}.{name.replace('-', '_')}"
            try:
                importlib.import_module(module)
            except ModuleNotFoundError as missing:
                if (missing.name or "").startswith("gapbench"):
                    raise
                raise UserError(
                    f"{self.kind} '{name}' needs the library '{missing.name}': pip install 'gapbench[{name}]'"
                ) from missing
        return self._classes[name]
