"""The command line: arguments in, one public call, rendering out."""

from __future__ import annotations

from gapbench import _startup

# isort: split
# What takes long to load comes after it.

import sys
import warnings
from typing import Annotated, Any

import typer

import gapbench
from gapbench.cli._shared import app
from gapbench.errors import EngineFailure, Stopped, UnfinishedWarning, UserError
from gapbench.report.text import one_line

# isort: split
# Their order is that of the commands in the help.
from gapbench.cli import running  # noqa: F401

# isort: split
from gapbench.cli import analysis  # noqa: F401

# isort: split
from gapbench.cli import ahead  # noqa: F401

# isort: split
from gapbench.cli import reporting  # noqa: F401

# isort: split
from gapbench.cli import looping  # noqa: F401

# isort: split
from gapbench.cli import interchange  # noqa: F401

# isort: split
from gapbench.cli import around  # noqa: F401

# isort: split
from gapbench.cli import doctoring  # noqa: F401

# typer may carry a click of its own; this is the base of its usage errors either way.
ClickException: Any = typer.BadParameter.mro()[2]

INTERRUPTED = 130  # what a shell expects of Ctrl-C, and what typer turns it into


def _version(wanted: bool) -> None:
    if wanted:
        print(f"gapbench {gapbench.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; a user's mistake is one line and exit code 2, never a traceback."""
    _startup.watch()  # until a command has loaded what it works with
    warnings.showwarning = _warn
    try:
        # Without a word a person wants to know what there is.
        status = app(None if len(sys.argv) > 1 else ["--help"], standalone_mode=False)
        if status == INTERRUPTED:
            raise KeyboardInterrupt
        sys.exit(status if isinstance(status, int) else 0)
    except UserError as mistake:
        _say(str(mistake), 2)
    except ClickException as mistake:
        _say(mistake.format_message(), 2)
    except EngineFailure as failure:
        _say(str(failure), 1)
    except Stopped as stopped:
        _say(str(stopped), INTERRUPTED)
    except (KeyboardInterrupt, typer.Abort):
        _say("stopped", INTERRUPTED)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as failure:
        where = f"{failure.filename}: " if failure.filename else ""
        _say(f"{where}{failure.strerror or failure}; what was finished is kept", 2)
    finally:
        _startup.ready()


_SHOW_WARNING = warnings.showwarning


def _warn(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
    if issubclass(category, UnfinishedWarning):
        _tell(f"warning: {message}")
    else:
        _SHOW_WARNING(message, category, *rest, **more)


def _say(text: str, code: int) -> None:
    _tell(text)
    sys.exit(code)


def _tell(text: str) -> None:
    # Names of files and columns are a stranger's: what could steer a terminal becomes a visible sign.
    print("gapbench: " + one_line(text, 1000), file=sys.stderr)


_startup.ready()
