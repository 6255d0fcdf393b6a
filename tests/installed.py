"""gapbench as a user has it: built, installed and run outside the checkout.

The environment is one of its own that sees the libraries of the tests' environment, but not the checkout, so that
nothing is downloaded but the build backend, where the tests' environment lacks that.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import ROOT

MINUTES = 60
BACKEND = "hatchling>=1.27"
# Settings of whoever runs the tests; the cache of converted models is kept.
UNSET = ("GAPBENCH_DATA", "GAPBENCH_MODELS", "GAPBENCH_STALL")


def finish(
    words: list[str], cwd: Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program that has to succeed."""
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, timeout=10 * MINUTES)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
    return done


@dataclass(frozen=True)
class Installed:
    """An environment that gapbench is installed in."""

    folder: Path
    wheel: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def env(self) -> dict[str, str]:
        """The variables of a shell in which the environment is active."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("PYTHON") and name not in UNSET
        }
        return {
            **kept,
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "VIRTUAL_ENV": str(self.folder),
        }

    def gapbench(self, *words: object, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.folder / "bin" / "gapbench"), *map(str, words)],
            cwd=cwd,
            env={**self.env, **variables},
            capture_output=True,
            text=True,
            timeout=20 * MINUTES,
        )


def new_environment(folder: Path) -> Path:
    """Make an environment that sees this one's libraries and none of its `.pth` files, the checkout's among them."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    own = finish([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder)
    paths = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    (Path(own.stdout.strip()) / "libraries.pth").write_text("\n".join(sorted(paths)) + "\n")
    return python


def install(folder: Path, wheel: Path) -> Installed:
    """Install a wheel into a new environment."""
    python = new_environment(folder)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    finish([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)], folder)
    return Installed(folder, wheel)


def other_python(minor: int) -> str:
    """Another version of Python on this machine, on the path or among pyenv's; skips where there is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [
        shutil.which(f"python3.{minor}"),
        *sorted(pyenv.glob(f"versions/3.{minor}.*/bin/python3.{minor}")),
    ]
    for python in filter(None, found):  # what pyenv has on the path may lead to no version
        done = subprocess.run([python, "-c", "import sys; print(sys.version_info[1])"], capture_output=True)
        if done.stdout.strip() == str(minor).encode():
            return str(python)
    pytest.skip(f"there is no Python 3.{minor} here")


def build(kind: str, source: Path, out: Path, python: str) -> Path:
    """Build a `wheel` or `sdist` of a source tree as any frontend does: by the backend's hook."""
    program = f"import hatchling.build as b; print(b.build_{kind}({str(out)!r}))"
    name = finish([python, "-c", program], source).stdout.split()[-1]
    return out / name


@pytest.fixture(scope="session")
def backend(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Python that has the build backend."""
    if find_spec("hatchling") is not None:
        return sys.executable
    folder = tmp_path_factory.mktemp("backend")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    finish([*pip, "install", "--quiet", BACKEND], folder)
    return str(python)


@pytest.fixture(scope="session")
def sdist(backend: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution of this checkout."""
    return build("sdist", ROOT, tmp_path_factory.mktemp("sdist"), backend)


@pytest.fixture(scope="session")
def installed(backend: str, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """This checkout's wheel, installed."""
    wheel = build("wheel", ROOT, tmp_path_factory.mktemp("wheel"), backend)
    return install(tmp_path_factory.mktemp("installed") / "env", wheel)


@pytest.fixture(scope="session")
def from_sdist(sdist: Path, backend: str, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel that the source distribution makes, installed."""
    folder = tmp_path_factory.mktemp("unpacked")
    shutil.unpack_archive(sdist, folder, filter="data")
    (source,) = folder.iterdir()
    wheel = build("wheel", source, tmp_path_factory.mktemp("wheel"), backend)
    return install(tmp_path_factory.mktemp("from-sdist") / "env", wheel)
