"""Kills, full and closed disks, wrong clocks, Ctrl-C and long runs: no row is lost or drawn twice, and the run goes on."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any, Self

import pytest
import yaml

from gapbench import run as run_module
from gapbench.cli import main
from gapbench.records import Comparison, Grade, Prompt, Response, Row, Verdict
from gapbench.run import RunConfig, execute
from gapbench.store import RunStore, run_store
from tests.conftest import ROOT, command
from tests.sittings import Server, Sitting

Snapshot = dict[tuple[Any, ...], Row]

TABLES: tuple[type[Row], ...] = (Prompt, Response, Grade, Verdict, Comparison)
PR_SET_CHILD_SUBREAPER = 36
# So that a run of 10^6 responses stays under 1.5 GiB, of which 0.25 are the libraries' own; at most 820 were measured.
BYTES_A_RESPONSE = 1.25 * 2**30 / 1e6

MOVABLE = {"capitals": "starter", "successor": "starter", "category": "starter", "python-basics": "code"}
FRACTIONS = {
    "name": "fractions",
    "domain": "algebra",
    "title": "Sums of fractions",
    "source": {"file": "fractions.jsonl"},
    "question": "{q}",
    "reference": "a",
    "calibrate": 0,
    "grader": "math",
    "tool": "arithmetic",
    "card": {
        "source": "here",
        "licence": "CC0-1.0",
        "answer_space": "fractions",
        "chance": 0.0,
        "limits": "none",
    },
}


def suite(folder: Path) -> Path:
    """Tasks of every kind of grader, of those that wait for other processes too."""
    found = {}
    for name in ("starter", "code", "reasoning"):
        for task in yaml.safe_load((ROOT / "tasks" / f"{name}.yaml").read_text())["tasks"]:
            found[task["name"]] = task
    rows = "".join(
        json.dumps({"q": f"1/{k} + 1/{k + 1}?", "a": f"\\frac{{{2 * k + 1}}}{{{k * k + k}}}"}) + "\n"
        for k in range(2, 14)
    )
    (folder / "fractions.jsonl").write_text(rows)
    tasks = [found[name] for name in (*MOVABLE, "countdown-easy")]
    for task in tasks[:-1]:
        task["source"] = {"file": str(ROOT / "tasks" / task["source"]["file"])}
    path = folder / "mixed.yaml"
    path.write_text(yaml.safe_dump({"name": "mixed", "title": "Mixed", "tasks": [*tasks, FRACTIONS]}))
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("survival")
    suite(folder)
    with Server(folder, "reasoning_gym", "gapbench.graders.code", "gapbench.tasks.gym") as started:
        yield started


def snapshot(path: Path) -> Snapshot:
    """Every row on the disk, read as another process would; a key that stands there twice is refused."""
    store = RunStore(path)
    rows: Snapshot = {}
    for kind in TABLES:
        found = list(store.stream(kind))
        keyed = {(kind.table, *row.key): row for row in found}
        assert len(keyed) == len(found), f"a key stands in {kind.table} twice"
        rows |= keyed
    return rows


def drawn(rows: Snapshot) -> Snapshot:
    """Rows without what they cost: verdicts on equal texts share a request, unless an interruption parts them."""
    return {key: replace(row, n_tokens=0) if isinstance(row, Verdict) else row for key, row in rows.items()}


def assert_kept(before: Snapshot, after: Snapshot) -> None:
    lost = before.keys() - after.keys()
    assert not lost, f"{len(lost)} finished rows were lost, such as {min(lost, key=str)}"
    changed = [key for key, row in before.items() if after[key] != row]
    assert not changed, f"{len(changed)} finished rows changed, such as {changed[0]}"


def kill(sitting: Sitting, dice: random.Random) -> bool:
    """Kill at a random moment, or see it end."""
    if sitting.wait(dice.expovariate(1 / 0.7)) is None:
        sitting.kill()
    return sitting.code == -signal.SIGKILL


def kills(
    server: Server, words: tuple[object, ...], out: str, ladder: list[int], wanted: int, seed: int
) -> list[int]:
    """Kill sittings of one run over and over; where it ends all the same it is given more to do.

    A third are killed by the clock from outside, a third at a random operation on the disk (a flush, a seal, a manifest)
    and a third at a random row. Returns the responses for each prompt that were asked for, one number after the other.
    """
    dice = random.Random(seed)
    before: Snapshot = {}
    done = rung = 0
    for turn in range(3 * wanted):
        if done == wanted:
            break
        trip = [
            None,
            (dice.choice(["before", "after"]), dice.randint(1, 16)),
            ("rows", dice.randint(1, 100)),
        ][turn % 3]
        sitting = server.start(
            "run", *words, "-n", ladder[rung], "--out", out, "--resume", "--json", trip=trip
        )
        if kill(sitting, dice) if trip is None else sitting.wait(300) == -signal.SIGKILL:
            done += 1
        else:
            assert sitting.code == 0, sitting.stderr
            assert rung < len(ladder) - 1, "the run was too short to be killed so often"
            rung += 1
        after = snapshot(server.folder / out)
        assert_kept(before, after)
        before = after
    assert done == wanted
    return ladder[: rung + 1]


def estimates(server: Server, out: str) -> Any:
    done = server.run("estimate", out, "--json")
    assert done.code == 0, done.stderr
    return json.loads(done.stdout)["estimates"]


SIMULATED = ("mixed.yaml", "--engine", "simulated", "-m", "simulated", "--engine-option", "delay=0.001")
ASKING = (
    *SIMULATED, "--limit", "10", "--verdicts", "2", "-t", "capitals", "-t", "successor", "-t", "category",
    "-V", "yesno", "-V", "cot-binary", "-V", "pairwise", "-V", "tournament", "-V", "majority", "-V", "likelihood",
)  # fmt: skip
WAITING = (
    *SIMULATED, "--limit", "6", "-t", "python-basics", "-t", "countdown-easy", "-t", "fractions", "-t", "capitals",
    "-V", "yesno", "-V", "tool", "-V", "majority", "-V", "likelihood",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "ladder", "wanted"),
    [(ASKING, [*range(4, 60, 3)], 30), (WAITING, [*range(3, 40, 2)], 18)],
    ids=["asking", "waiting"],
)
def test_killed_again_and_again_a_run_ends_where_an_uninterrupted_one_does(
    server: Server, words: tuple[object, ...], ladder: list[int], wanted: int, request: pytest.FixtureRequest
) -> None:
    killed, whole = (f"{request.node.callspec.id}-{word}" for word in ("killed", "whole"))
    asked = kills(server, words, killed, ladder, wanted, seed=wanted)
    # A tournament plays on from what was compared before, so the other run grows by the same steps.
    for out, n in [(killed, asked[-1]), *((whole, n) for n in asked)]:
        ended = server.run("run", *words, "-n", n, "--out", out, "--resume", "--json")
        assert ended.code == 0, ended.stderr
    assert drawn(snapshot(server.folder / killed)) == drawn(snapshot(server.folder / whole))
    assert estimates(server, killed) == estimates(server, whole)


@pytest.mark.slow
@pytest.mark.model
def test_a_real_model_s_run_survives_kills(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    words = ("starter", "-m", "smollm2-135m", "--limit", "2", "-V", "yesno", "-V", "majority")
    with Server(tmp_path, "torch", model="smollm2-135m") as server:
        n = kills(server, words, "killed", [*range(4, 24, 2)], 12, seed=0)[-1]
        before = snapshot(tmp_path / "killed")
        ended = server.run("run", *words, "-n", n, "--out", "killed", "--resume", "--json")
    assert ended.code == 0, ended.stderr
    after = snapshot(tmp_path / "killed")
    assert_kept(before, after)
    responses = {key[1:] for key in after if key[0] == "responses"}
    assert responses == {(*key[1:], i) for key in after if key[0] == "prompts" for i in range(n)}
    assert {key[1:] for key in after if key[0] == "grades"} == responses
    seeds = [row.seed for row in after.values() if isinstance(row, Response | Verdict)]
    assert len(set(seeds)) == len(seeds)
    assert json.loads(ended.stdout)["estimates"]


# ---- the disk, the directory, the clock


SMALL = ("starter", "--engine", "simulated", "-m", "simulated", "-n", "6", "--limit", "6", "--verdicts", "2", "-V", "yesno", "-V", "cot-binary")  # fmt: skip


@pytest.fixture(scope="module")
def small(server: Server) -> Snapshot:
    """The rows of a small run that met with nothing."""
    assert server.run("run", *SMALL, "--out", "small", "--json").code == 0
    return snapshot(server.folder / "small")


def refused(done: Sitting, code: int = 2) -> str:
    """The one line that a failed command printed, progress apart."""
    assert done.code == code, done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("gapbench: ")]
    assert done.stderr.rstrip().endswith(line)
    return line


@pytest.mark.parametrize("limit", [300, 9_000, 40_000])
def test_a_file_that_may_not_grow_loses_nothing(server: Server, small: Snapshot, limit: int) -> None:
    """Wherever it strikes: the manifest, a flush of any table, a seal, the report."""
    out = f"full{limit}"
    done = server.run("run", *SMALL, "--out", out, "--resume", file_size=limit)
    line = refused(done)
    assert line.endswith("File too large; what was finished is kept"), line
    before = snapshot(server.folder / out) if limit > 300 else {}
    assert_kept(drawn(before), drawn(small))
    assert server.run("run", *SMALL, "--out", out, "--resume", "--json").code == 0
    assert drawn(snapshot(server.folder / out)) == drawn(small)


@pytest.mark.slow
def test_a_disk_that_is_full_from_some_moment_on_loses_nothing(server: Server, small: Snapshot) -> None:
    slow = (*SMALL, "--engine-option", "delay=0.005")
    sizes = set()
    for moment in (1, 3, 5, 8, 10, 12, 15):
        out = f"enospc{moment}"
        done = server.run("run", *slow, "--out", out, "--resume", "--json", trip=("full", moment))
        assert "No space left on device" in refused(done)
        before = snapshot(server.folder / out)
        assert_kept(drawn(before), drawn(small))
        sizes.add(len(before))
        assert server.run("run", *slow, "--out", out, "--resume", "--json").code == 0
        assert drawn(snapshot(server.folder / out)) == drawn(small)
    assert len(sizes) > 2, "all struck at one place"


def write_in_tens(store: RunStore, rows: list[Response]) -> None:
    with store.writing() as writer:
        for start in range(0, len(rows), 10):
            writer.extend(rows[start : start + 10])
            writer.flush()


def test_what_ctrl_c_interrupts_amid_a_write_is_written_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Amid `fsync` the rows are in the file already; closing the writer brings them there all the same."""
    rows = [Response("t", "p", index, "x" * 50, None, 1, None, "stop", index) for index in range(30)]
    for place in range(3):
        store = RunStore(tmp_path / str(place))
        store.create({})
        fsync, calls = os.fsync, []

        def interrupted(
            descriptor: int, fsync: Any = fsync, calls: list[int] = calls, at: int = place
        ) -> None:
            fsync(descriptor)
            calls.append(descriptor)
            if len(calls) == at + 1:
                raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(run_store, "FLUSH_SECONDS", 1000.0)
            patched.setattr(os, "fsync", interrupted)
            with pytest.raises(KeyboardInterrupt):
                write_in_tens(store, rows)
        assert store.rows(Response) == rows[: 10 * (place + 1)]


@pytest.fixture
def opened(server: Server) -> Iterator[Path]:
    """A run that was sampled, whose files are opened again at the end."""
    run = server.folder / "closed" / "run"
    assert server.run("run", *SMALL, "--out", run, "--until", "sample").code == 0
    yield run
    for path in [run.parent, run, *run.rglob("*")]:
        path.chmod(0o755)
    shutil.rmtree(run.parent)


@pytest.mark.parametrize("what", ["run", "verdicts", "parent"])
def test_a_directory_that_cannot_be_written_is_one_line(
    small: Snapshot, server: Server, opened: Path, what: str
) -> None:
    closed = {"run": opened, "verdicts": opened / "verdicts", "parent": opened.parent}[what]
    closed.mkdir(exist_ok=True)
    closed.chmod(0o555)
    out = opened.parent / "other" if what == "parent" else opened
    before = {} if what == "parent" else snapshot(out)
    line = refused(server.run("run", *SMALL, "--out", out, "--resume", as_root=False))
    assert line.endswith("Permission denied; what was finished is kept")
    assert str(closed) in line
    closed.chmod(0o755)
    assert server.run("run", *SMALL, "--out", out, "--resume", "--json", as_root=False).code == 0
    assert_kept(before, snapshot(out))
    assert drawn(snapshot(out)) == drawn(small)


def test_a_closed_run_can_still_be_read(server: Server, opened: Path) -> None:
    assert server.run("grade", opened).code == 0
    expected = estimates(server, str(opened))
    for path in [opened, *opened.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    done = server.run("estimate", opened, "--json", as_root=False)
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout)["estimates"] == expected


def test_of_two_processes_one_goes_on_and_the_other_is_refused(server: Server, small: Snapshot) -> None:
    slow = (*SMALL, "--engine-option", "delay=0.01")
    first = server.start("run", *slow, "--out", "two", "--json")
    store = RunStore(server.folder / "two")
    while first.wait(0.02) is None and not (store.exists and store.count("responses")):
        pass
    for words in (("run", *slow, "--out", "two", "--resume"), ("grade", "two"), ("verify", "two")):
        second = server.run(*words)
        assert refused(second) == "gapbench: two: another process is writing to this run; wait for it to end"
    assert first.wait(300) == 0, first.stderr
    assert drawn(snapshot(server.folder / "two")) == drawn(small)


@pytest.mark.slow
def test_processes_that_start_at_once_make_one_run(server: Server, small: Snapshot) -> None:
    for turn in range(4):
        out = f"race{turn}"
        sittings = [server.start("run", *SMALL, "--out", out, "--resume", "--json") for _ in range(3)]
        codes = [sitting.wait(300) for sitting in sittings]
        assert set(codes) <= {0, 2}
        assert 0 in codes
        for sitting in sittings:
            if sitting.code == 2:
                assert "another process" in refused(sitting) or "is already here" in refused(sitting)
        assert drawn(snapshot(server.folder / out)) == drawn(small)


def test_a_clock_that_goes_backwards_decides_nothing(
    tmp_path: Path, small: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Backwards(datetime):
        left = 2_000_000_000

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            cls.left -= 86_400
            return cls.fromtimestamp(cls.left, tz)

    monkeypatch.setattr(run_module, "datetime", Backwards)
    monkeypatch.setattr(time, "time", lambda: Backwards.now(UTC).timestamp())
    config = RunConfig(
        suite="starter", model="simulated", engine="simulated", n=3, limit=6, verdicts=2,
        verifiers=("yesno", "cot-binary"),
    )  # fmt: skip
    execute(config, tmp_path / "run", upto="sample")
    before = snapshot(tmp_path / "run")
    run = execute(config.model_copy(update={"n": 6}), tmp_path / "run", resume=True)
    after = snapshot(tmp_path / "run")
    assert_kept(before, after)
    assert drawn(after) == drawn(small)
    sessions = run.manifest["sessions"]
    started = [session["started"] for session in sessions]
    assert len(set(started)) > 1
    assert started == sorted(started, reverse=True)
    assert all(
        session["seconds"] >= session["engine_seconds"] >= 0 for session in sessions if "seconds" in session
    )
    assert run.estimate().where(quantity="accuracy", filter="")


# ---- Ctrl-C


@pytest.fixture
def children() -> Iterator[Callable[[], list[str]]]:
    """Living processes that were left behind, which come to us since we ask for orphans."""
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux tells whose child a process is")
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def living() -> set[int]:
        found = set()
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                state, parent = path.read_text().rpartition(")")[2].split()[:2]
                if int(parent) == os.getpid() and state != "Z":
                    found.add(int(path.parent.name))
        return found

    known = living()

    def left_behind() -> list[str]:
        """Those that have not gone by themselves after a while: one that was just starting looks for us first."""
        for _ in range(100):
            if not living() - known:
                return []
            time.sleep(0.1)
        return [(Path("/proc") / str(pid) / "cmdline").read_text() for pid in living() - known]

    yield left_behind
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def interrupt(folder: Path, words: tuple[object, ...], after: float) -> tuple[int, float, str]:
    """Ctrl-C some seconds after the first response, to the whole group as a terminal does: exit code, time, what was said."""
    child = subprocess.Popen(
        command("run", *words), cwd=folder, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    store = RunStore(folder / str(words[words.index("--out") + 1]))
    seen = store.count("responses") if store.exists else 0
    while child.poll() is None and not (store.exists and store.count("responses") > seen):
        time.sleep(0.02)
    time.sleep(after)
    began = time.monotonic()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGINT)
    _, told = child.communicate(timeout=120)
    return child.returncode, time.monotonic() - began, told


def assert_stopped(ended: tuple[int, float, str]) -> None:
    code, seconds, told = ended
    assert code == 130, told
    assert "Traceback" not in told
    lines = [line for line in told.splitlines() if line.startswith("gapbench: ")]
    assert lines == [
        "gapbench: stopped; every finished row is kept, go on with the same command and --resume"
    ]
    assert seconds < 15


def test_ctrl_c_does_not_wait_for_programs_that_sleep(
    tmp_path: Path, children: Callable[[], list[str]]
) -> None:
    """A tool that sleeps for longer than anybody waits."""
    suite(tmp_path)
    mixed = yaml.safe_load((tmp_path / "mixed.yaml").read_text())
    (task,) = (task for task in mixed["tasks"] if task["name"] == "python-basics")
    rows = [
        {
            "prompt": f"def f{i}(x):\n    \"\"\"Return {i}.\"\"\"\n", "entry_point": f"f{i}",
            "solution": f"    return {i}\n", "visible_tests": f"import time\ntime.sleep(1000)\nassert f{i}(1) == {i}\n",
            "tests": f"assert candidate(1) == {i}\n",
        }
        for i in range(40)
    ]  # fmt: skip
    (tmp_path / "sleep.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task |= {"source": {"file": "sleep.jsonl"}, "calibrate": 0}
    (tmp_path / "sleep.yaml").write_text(yaml.safe_dump({"name": "sleep", "title": "Sleep", "tasks": [task]}))
    words = (
        "sleep.yaml",
        "--engine",
        "simulated",
        "-m",
        "simulated",
        "-n",
        "4",
        "-V",
        "tool",
        "--out",
        "run",
    )
    assert_stopped(interrupt(tmp_path, words, after=4.0))
    assert children() == []
    assert snapshot(tmp_path / "run")


@pytest.mark.slow
def test_ctrl_c_at_random_moments_leaves_a_run_that_goes_on(
    server: Server, tmp_path: Path, children: Callable[[], list[str]]
) -> None:
    suite(tmp_path)
    dice = random.Random(4)
    long = (*WAITING, "--engine-option", "delay=0.004", "-n", "24")
    words = (*long, "--out", "run", "--resume")
    before: Snapshot = {}
    stopped = 0
    for _ in range(6):
        ended = interrupt(tmp_path, words, after=dice.uniform(0, 1.5))
        if ended[0] == 0:
            break
        assert_stopped(ended)
        stopped += 1
        assert children() == []
        assert not list(tmp_path.glob("run/*/*.arrows")), "it was not closed in order"
        after = snapshot(tmp_path / "run")
        assert_kept(before, after)
        before = after
    assert stopped >= 2, "the run was too short to be stopped"
    for out in (tmp_path / "run", "uninterrupted"):
        done = server.run("run", *long, "--out", out, "--resume", "--json")
        assert done.code == 0, done.stderr
    assert drawn(snapshot(tmp_path / "run")) == drawn(snapshot(server.folder / "uninterrupted"))


# ---- memory

GROW = """
import json, resource, sys
from gapbench.run import RunConfig, execute

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

def config(n, limit):
    return RunConfig(suite="many.yaml", model="simulated", engine="simulated", n=n, limit=limit, verifiers=("yesno",))

execute(config(4, 20), "warm", resume=True)
warm = peak()
execute(config(int(sys.argv[1]), None), "run", resume=True, upto=sys.argv[2])
print(json.dumps([warm, peak()]))
"""


def sitting_memory(folder: Path, n: int, upto: str) -> float:
    """Bytes by which a sitting's memory grew over that of a tiny run."""
    done = subprocess.run(
        [sys.executable, "-c", GROW, str(n), upto], cwd=folder, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    warm, end = json.loads(done.stdout)
    return float(end - warm)


@pytest.mark.slow
def test_memory_is_of_what_is_on_its_way(tmp_path: Path) -> None:
    """A run of 60,000 responses: drawn in part, topped up, verified, and looked at again when nothing is left to do."""
    rows = "".join(json.dumps({"q": f"{i} + {i}?", "a": str(2 * i)}) + "\n" for i in range(1_000))
    (tmp_path / "rows.jsonl").write_text(rows)
    (tmp_path / "many.yaml").write_text(
        "name: many\ntitle: sums\ntasks:\n  - name: sum\n    domain: arithmetic\n    title: sums\n"
        "    source: {file: rows.jsonl}\n    question: '{q}'\n    reference: a\n    calibrate: 0\n    grader: numeric\n"
        "    card: {source: here, licence: CC0-1.0, answer_space: integers, chance: 0.0, limits: none}\n"
    )
    total = 60_000
    grown = {
        step: sitting_memory(tmp_path, n, upto) / total
        for step, n, upto in (
            ("sampled", 30, "grade"),
            ("topped up", 60, "grade"),
            ("verified", 60, "verify"),
            ("looked at again", 60, "verify"),
        )
    }
    assert max(grown.values()) < BYTES_A_RESPONSE, grown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["compare", "run"], "stopped"),
        (["verify", "run"], "stopped; every finished row is kept, go on with the same command"),
    ],
)
def test_ctrl_c_says_what_is_true_of_the_command(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(path: Path) -> None:
        raise KeyboardInterrupt

    for module in ("analysis", "running"):
        monkeypatch.setattr(f"gapbench.cli.{module}.open_run", interrupted)
    monkeypatch.setattr("sys.argv", ["gapbench", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == f"gapbench: {said}\n"
