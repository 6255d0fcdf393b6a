"""The command line as the tests of its help, its completion and the README see it."""

from __future__ import annotations

import re
import shlex

import typer

from gapbench.cli import app

GROUP = typer.main.get_command(app)
COMMANDS = dict(GROUP.commands)  # type: ignore[attr-defined]


def parse(words: list[str]) -> dict[str, object]:
    """The parameters that a command line gives, without `gapbench` itself; raises what a user would be told."""
    name, *rest = words
    return dict(COMMANDS[name].make_context(name, rest).params)


def examples(name: str) -> list[list[str]]:
    """The command lines after `Example:` in a command's help, split into words, without `gapbench` itself."""
    told = re.search(r"^\s*Example: (.+)", COMMANDS[name].help or "", re.MULTILINE | re.DOTALL)
    if told is None:
        return []
    found = [shlex.split(line) for line in " ".join(told[1].split()).split("; ")]
    assert all(words[0] == "gapbench" for words in found), f"{name}: {told[0]}"
    return [words[1:] for words in found]
