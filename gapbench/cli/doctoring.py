"""`doctor`: whether gapbench works here, and what is missing where it does not."""

from __future__ import annotations

import json

import typer
from rich.console import Console

from gapbench.cli._shared import AsJson, command


@command(loads="gapbench.doctor.checkup")
def doctor(as_json: AsJson = False) -> None:
    """Look at libraries, engines, GPUs, folders and settings, and try a run of known truth; exit code 1 if that fails.

    Example: gapbench doctor; gapbench doctor --json
    """
    from gapbench.doctor.checkup import examine
    from gapbench.doctor.text import print_checkup

    found = examine()
    if as_json:
        print(json.dumps(found.to_json(), allow_nan=False))
    else:
        print_checkup(found, Console())
    if not found.self_test.ok:
        raise typer.Exit(1)
