"""A check-up as lines for a terminal."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

import gapbench
from gapbench.doctor.checkup import Checkup
from gapbench.doctor.engines import EngineState
from gapbench.doctor.places import Folder
from gapbench.doctor.selftest import Check
from gapbench.doctor.variables import OWN, RESPECTED
from gapbench.report.text import one_line

_WIDE = 240


def print_checkup(found: Checkup, console: Console) -> None:
    """Print what was found, section by section, the advice last."""
    here = Path(gapbench.__file__).parent
    _section(
        console,
        f"gapbench {gapbench.__version__}, Python {platform.python_version()}, {platform.platform()}",
        [("in", str(here)), ("with", ", ".join(map(str, found.libraries)) or "libraries that are not known")],
    )
    _section(
        console,
        "engines",
        [(engine.name, _engine(engine)) for engine in found.engines],
    )
    _section(console, "models that need no hub", list(found.models.items()))
    _section(
        console,
        "machine",
        [
            ("GPUs", "; ".join(found.gpus) or "none that NVIDIA's driver lists"),
            ("code tasks", found.code or "the sandbox works"),
        ],
    )
    _section(console, "folders", [(one.use, _folder(one)) for one in found.folders])
    known = [*OWN, *(one for one in RESPECTED if one.value is not None)]
    _section(
        console,
        "environment",
        [
            (one.name, one.meaning if one.value is None else f"= {one.value}  ({one.meaning})")
            for one in known
        ],
    )
    test = found.self_test
    _section(
        console,
        f"self-test: {'passed' if test.ok else 'FAILED'} in {test.seconds:.1f} s",
        [(check.label, _check(check)) for check in test.checks] or [("failure", test.failure)],
    )
    _section(console, "advice", [("-", line) for line in found.advice()] or [("-", "none: all is well")])


def _engine(found: EngineState) -> str:
    if found.state == "ready":
        about = [found.detail, ", ".join(map(str, found.needs))]
    else:
        about = [found.detail, found.install]
    return "; ".join(filter(None, [found.state, *about]))


def _folder(found: Folder) -> str:
    faults = ["" if found.there else "not there yet", "" if found.writable else "read-only"]
    return f"{found.path}  ({', '.join(filter(None, [*faults, f'{found.free / 2**30:.1f} GiB free']))})"


def _check(found: Check) -> str:
    verdict = "" if found.ok else "  WRONG"
    return f"{found.value:.3f}, standard error {found.se:.3f}; truth {found.truth:.3f}{verdict}"


def _section(console: Console, title: str, rows: Sequence[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in rows)
    console.print(one_line(title, _WIDE), style="bold", highlight=False, markup=False, soft_wrap=True)
    for name, text in rows:
        line = f"  {name:<{width}}  {one_line(text, 1000)}"
        console.print(line.rstrip(), highlight=False, markup=False, soft_wrap=True)
