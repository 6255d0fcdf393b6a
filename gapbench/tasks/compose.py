"""Suites made of suites: which tasks a YAML comes to when its references are followed.

>>> from gapbench.tasks import suites_dir
>>> known = {path.stem: path for path in suites_dir().glob("*.yaml")}
>>> [placed.spec.name for placed in Composer(known).tasks(known["factual"])]
['nq-open', 'capitals']
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gapbench.errors import UserError
from gapbench.registry import suggest
from gapbench.tasks.taskfile import SuiteSpec, TaskSpec, check_suite, read_suite


@dataclass(frozen=True)
class Placed:
    """A task and where it stands.

    Attributes
    ----------
    path, suite
        The YAML, and its name for itself. Relative files are relative to the YAML.
    """

    spec: TaskSpec
    path: Path
    suite: str


class Composer:
    """Follows references, reading each YAML once.

    Parameters
    ----------
    known
        Suites that have a name, and where each stands.
    written
        Those of them that are Python's and not a YAML: where one stands to what it says.
    """

    def __init__(self, known: Mapping[str, Path], written: Mapping[Path, Any] | None = None) -> None:
        self._known = known
        self._written = written or {}
        self._read: dict[Path, tuple[SuiteSpec, bytes]] = {}

    def read(self, path: Path) -> tuple[SuiteSpec, bytes]:
        """What a suite says, and its text for a digest; raises `UserError` as `read_suite`."""
        if path in self._written and path not in self._read:
            data = self._written[path]
            text = json.dumps(data, sort_keys=True, default=str)
            self._read[path] = check_suite(data, path), text.encode()
        if path not in self._read:
            self._read[path] = read_suite(path)
        return self._read[path]

    def tasks(self, path: Path) -> tuple[Placed, ...]:
        """Every task of a suite, its own and those referred to, each once and in the order of the YAML.

        Raises
        ------
        UserError
            If a YAML is at fault, a reference leads nowhere or back to its own suite, or two different tasks have one name.
        """
        return self._tasks(path, ())

    def _tasks(self, path: Path, above: tuple[Path, ...]) -> tuple[Placed, ...]:
        if path.resolve() in [one.resolve() for one in above]:
            way = " -> ".join(one.name for one in (*above, path))
            raise UserError(f"{above[-1]}: its references come back to where they started ({way}); drop one")
        spec, _ = self.read(path)
        found: dict[str, Placed] = {}
        for entry in spec.tasks:
            if isinstance(entry, TaskSpec):
                some: tuple[Placed, ...] = (Placed(entry, path, spec.name),)
            else:
                some = self._referred(entry, path, above)
            for one in some:
                other = found.setdefault(one.spec.name, one)
                if other.path.resolve() != one.path.resolve():
                    raise UserError(
                        f"{path}: two different tasks are named '{one.spec.name}', in {other.path} and in {one.path}; "
                        "rename one, or leave one out"
                    )
        return tuple(found.values())

    def _referred(self, reference: str, path: Path, above: tuple[Path, ...]) -> tuple[Placed, ...]:
        suite, _, name = reference.rpartition("/")
        if not suite or name.endswith((".yaml", ".yml")):
            suite, name = reference, ""
        if suite.endswith((".yaml", ".yml")):
            target = path.parent / suite
        elif suite in self._known:
            target = self._known[suite]
        else:
            raise UserError(
                f"{path}: '{reference}' refers to an unknown suite '{suite}'{suggest(suite, list(self._known))}"
            )
        tasks = self._tasks(target, (*above, path))
        if not name:
            return tasks
        chosen = tuple(one for one in tasks if one.spec.name == name)
        if not chosen:
            known = [one.spec.name for one in tasks]
            raise UserError(f"{path}: '{reference}' refers to an unknown task '{name}'{suggest(name, known)}")
        return chosen
