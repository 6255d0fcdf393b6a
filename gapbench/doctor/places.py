"""Folders in force and the room in them, the models at hand, and the GPUs that the driver knows."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gapbench.errors import UserError
from gapbench.models import EMBEDDED, EmbeddedModel, cache_directory
from gapbench.tasks.suite import suites_dir


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that gapbench reads from or writes to.

    Attributes
    ----------
    use
        What lies in it.
    there
        Whether it exists; those that are written to are made when needed.
    writable
        Whether it, or the folder in which it would be made, may be written to.
    free
        Bytes free on its disk.
    """

    use: str
    path: Path
    there: bool
    writable: bool
    free: int


def folders() -> list[Folder]:
    """Every folder in force, in the order in which they are of interest."""
    from huggingface_hub import constants

    hub = Path(constants.HF_HUB_CACHE)
    sets = os.environ.get("HF_DATASETS_CACHE") or str(Path(constants.HF_HOME) / "datasets")
    named = [
        ("runs", Path.cwd() / "runs"),
        ("converted models", cache_directory() / "models"),
        ("models from the hub", hub),
        ("data sets from the hub", Path(sets).expanduser()),
        ("suites", suites_dir()),
        ("temporary files", Path(tempfile.gettempdir())),
    ]
    if local := os.environ.get("GAPBENCH_DATA"):
        named.insert(-2, ("local data sets", Path(local)))
    return [look_at(use, path) for use, path in named]


def look_at(use: str, path: Path) -> Folder:
    """Look at a folder, or at the nearest one above it that is there."""
    nearest = next(one for one in (path.absolute(), *path.absolute().parents) if one.is_dir())
    return Folder(
        use,
        path.absolute(),
        path.is_dir(),
        os.access(nearest, os.W_OK | os.X_OK),
        shutil.disk_usage(nearest).free,
    )


ModelState = Literal["converted", "installed", "not installed"]


def model_state(model: EmbeddedModel) -> ModelState:
    """How far an embedded model is: converted in the cache, its packages there, or neither."""
    if model.directory.is_dir():
        return "converted"
    try:
        model.files()
    except UserError:
        return "not installed"
    return "installed"


def models() -> dict[str, ModelState]:
    """State of each embedded model by its alias."""
    return {alias: model_state(model) for alias, model in EMBEDDED.items()}


def conversion_bytes(model: EmbeddedModel) -> int:
    """Room that converting a model takes, in bytes: four for each weight, and its GGUF file while it is read."""
    return 4 * model.parameters + 400_000_000


def driver_gpus() -> list[str]:
    """GPUs that NVIDIA's driver lists, whatever an engine may use of them; none where there is no driver."""
    if shutil.which("nvidia-smi") is None:
        return []
    try:
        said = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired):  # a driver that hangs lists nothing
        return []
    return [line.strip() for line in said.stdout.splitlines() if line.strip()] if not said.returncode else []
