"""Whether each engine would start, and on which device: tried in processes of their own, which may crash or hang."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

from gapbench.doctor.libraries import Library, extras, required
from gapbench.engines.base import engines
from gapbench.errors import UserError

State = Literal["ready", "not installed", "broken", "slow"]
SECONDS = 180.0
"""How long an engine may take to load."""


@dataclass(frozen=True, slots=True)
class EngineState:
    """An engine as it was found.

    Attributes
    ----------
    needs
        Libraries beyond gapbench's own.
    state
        `ready`: it loads. `not installed`: a library is missing. `broken`: the libraries are there and it does not load.
        `slow`: it had not loaded when time was up.
    detail
        The devices that it would use; or why it does not load.
    devices
        Names of the GPUs that it sees; None where it does not ask.
    """

    name: str
    needs: tuple[Library, ...]
    state: State
    detail: str
    devices: tuple[str, ...] | None = None

    @property
    def install(self) -> str:
        """The command that brings what it needs; nothing for a stranger's."""
        return f"pip install 'gapbench[{self.name}]'" if self.name in extras() else ""


def examine_engines(names: Sequence[str] | None = None) -> list[EngineState]:
    """Look at engines, all at once.

    Parameters
    ----------
    names
        Which; by default every engine that `gapbench ls engines` lists.
    """
    wanted = engines.names() if names is None else list(names)
    with ThreadPoolExecutor() as pool:
        return list(pool.map(_examine, wanted))


def _examine(name: str) -> EngineState:
    needs = tuple(required(name)) if name in extras() else ()
    if missing := [library for library in needs if library.version is None]:
        return EngineState(name, needs, "not installed", "lacks " + ", ".join(map(str, missing)))
    told = try_to_load(name)
    devices = told.get("devices")
    return EngineState(
        name, needs, told["state"], str(told["detail"]), None if devices is None else tuple(devices)
    )


def try_to_load(name: str) -> dict[str, Any]:
    """What `_report` finds out in a process of its own: `state`, `detail` and maybe `devices`."""
    paths = os.pathsep.join(path for path in sys.path if path)
    program = f"from gapbench.doctor.engines import _report; _report({name!r})"
    try:
        child = subprocess.run(
            [sys.executable, "-P", "-c", program],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            env={**os.environ, "PYTHONPATH": paths},
        )
    except subprocess.TimeoutExpired:
        return {"state": "slow", "detail": f"not loaded after {SECONDS:.0f} seconds"}
    if child.returncode < 0:
        ended = signal.Signals(-child.returncode).name
        return {"state": "broken", "detail": f"loading it ends the process ({ended})"}
    try:
        told: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        lines = [line for line in child.stderr.splitlines() if line.strip()]
        why = lines[-1] if lines else f"loading it ends the process (exit code {child.returncode})"
        return {"state": "broken", "detail": why}
    return told


def _report(name: str) -> None:
    """Load an engine and print what it finds: the child's side, where libraries may print too, but not last."""
    told: dict[str, Any]
    try:
        try:
            engines.get(name)
        except UserError as missing:
            told = {"state": "not installed", "detail": str(missing)}
        else:
            look = _LOOKS.get(name)
            told = {"state": "ready", "detail": "", **(look() if look else {})}
    except Exception as failure:  # whatever a library raises while it loads is what is asked for here
        lines = str(failure).strip().splitlines() or ["no reason given"]
        kind = "" if isinstance(failure, UserError) else f"{type(failure).__name__}: "
        told = {"state": "broken", "detail": kind + lines[0]}
    print("\n" + json.dumps(told), flush=True)


def _look_at_torch() -> dict[str, Any]:
    import torch

    if not torch.cuda.is_available():
        built = torch.version.cuda or torch.version.hip
        without = "" if built else ", torch built without CUDA"
        return {"devices": [], "detail": f"on the processor, {torch.get_num_threads()} threads{without}"}
    found = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    devices = [f"{one.name} ({one.total_memory / 2**30:.0f} GiB)" for one in found]
    return {"devices": devices, "detail": "on " + ", ".join(devices)}


def _look_at_vllm() -> dict[str, Any]:
    from vllm.platforms import current_platform

    kind = str(current_platform.device_type)
    if not kind:
        raise RuntimeError("vLLM finds no device that it can use")
    return {"devices": [], "detail": "on the processor"} if kind == "cpu" else _look_at_torch()


def _look_at_openai() -> dict[str, Any]:
    from gapbench.engines._openai_server import KEY_VARIABLE, Server

    address = Server(None, None, 1, 10.0, 0).url
    key = "with the" if os.environ.get(KEY_VARIABLE, "").strip() else "without a"
    return {"detail": f"would ask {address} {key} key in {KEY_VARIABLE}; not asked now"}


def _look_at_ray() -> dict[str, Any]:
    return {"detail": "with another engine inside, on every node"}


_LOOKS: dict[str, Callable[[], dict[str, Any]]] = {
    "transformers": _look_at_torch,
    "vllm": _look_at_vllm,
    "openai": _look_at_openai,
    "ray": _look_at_ray,
}
