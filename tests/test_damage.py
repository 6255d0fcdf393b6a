"""A damaged run directory: one clear line or a counted warning, never a traceback, never a wrong number."""

from __future__ import annotations

import io
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from gapbench import cli as command_line
from gapbench.errors import UnfinishedWarning, UserError
from gapbench.estimate.results import Estimates
from gapbench.records import Grade, Response
from gapbench.report.tables import print_table
from gapbench.run import Run, RunConfig, execute
from gapbench.store import RunStore
from gapbench.store.shards import Appender
from tests.conftest import ROOT
from tests.test_store import response

TABLES = ("prompts", "responses", "grades", "verdicts")
CONFIG = RunConfig(
    suite="starter", model="simulated", engine="simulated", n=8, limit=20, verifiers=("yesno", "majority")
)
Told = Callable[..., tuple[int, str]]


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`gapbench run starter --engine simulated -m simulated -n 8 --limit 20`, made once."""
    path = tmp_path_factory.mktemp("damage") / "whole"
    execute(CONFIG, path)
    return path


@pytest.fixture(scope="session")
def estimates(whole: Path) -> Estimates:
    return Run(whole).estimate()


def arrays(path: Path) -> list[Any]:
    """What every number of a run is made of."""
    return [
        (
            panel.prompt_ids,
            panel.utility.tolist(),
            *(np.nan_to_num(one.mean, nan=-1).tolist() for one in panel.scores.values()),
        )
        for panel in Run(path).panels()
    ]


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    shutil.copytree(whole, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Told]:
    """Run a command line in this process; its exit code and what stood on standard error."""
    show = warnings.showwarning

    def tell(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["gapbench", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            command_line.main()
        return int(left.value.code or 0), capsys.readouterr().err

    yield tell
    warnings.showwarning = show


def refused(told: Told, *words: object) -> str:
    """The one line of a command that must fail."""
    code, line = told(*words)
    assert code == 2, line
    assert line.count("\n") == 1, line
    assert line.startswith("gapbench: ")
    assert "Traceback" not in line
    return line


def shard(run: Path, table: str) -> Path:
    return run / table / "000001.parquet"


def rewrite(run: Path, table: str, **columns: Callable[[list[Any]], Any]) -> None:
    """Replace columns of a shard by what functions make of their values."""
    rows = pq.read_table(shard(run, table), partitioning=None)
    for name, change in columns.items():
        made = change(rows[name].to_pylist())
        array = made if isinstance(made, pa.Array) else pa.array(made, rows.schema.field(name).type)
        rows = rows.set_column(rows.column_names.index(name), name, array)
    pq.write_table(rows, shard(run, table))


def first(value: Any) -> Callable[[list[Any]], list[Any]]:
    return lambda values: [value, *values[1:]]


# ---- shards that are copied or lost


@pytest.mark.parametrize("table", TABLES)
def test_a_copied_shard_names_folder_key_and_fix(run: Path, told: Told, table: str) -> None:
    shutil.copy(shard(run, table), run / table / "000002.parquet")
    line = refused(told, "estimate", run)
    assert f"{run / table}: the key (" in line
    assert "stands there twice; take away the shard that is a copy" in line


@pytest.mark.parametrize("command", ["estimate", "compare", "plan"])
@pytest.mark.parametrize("table", TABLES)
def test_a_lost_shard_is_missed_and_the_remedy_named(run: Path, told: Told, table: str, command: str) -> None:
    rows = pq.read_metadata(shard(run, table)).num_rows
    shard(run, table).unlink()
    line = refused(told, command, run, *(("--half-width", "0.1") if command == "plan" else ()))
    assert f"{shard(run, table)}: lost, and {rows:,} rows with it" in line
    remedy = {
        "prompts": "resume the run",
        "responses": "delete the folders grades, verdicts and comparisons, then resume the run",
        "grades": f"`gapbench grade {run}`",
        "verdicts": f"`gapbench verify {run}`",
    }
    assert remedy[table] in line


@pytest.mark.parametrize("table", TABLES)
def test_a_run_without_a_list_of_shards_is_held_to_its_sessions(run: Path, told: Told, table: str) -> None:
    (run / "shards.json").unlink()
    shutil.rmtree(run / table)
    line = refused(told, "estimate", run)
    assert ("lacks the prompt" if table == "prompts" else f"{run / table}: has 0 rows and not the") in line


def test_part_of_a_table_that_is_lost_is_missed(run: Path, told: Told) -> None:
    execute(CONFIG.model_copy(update={"n": 10}), run, resume=True)
    (run / "grades" / "000002.parquet").unlink()
    assert "000002.parquet: lost, and 240 rows with it" in refused(told, "estimate", run)


def test_a_shard_that_another_one_took_the_place_of_is_missed(run: Path, told: Told) -> None:
    rows = pq.read_table(shard(run, "grades"), partitioning=None)
    pq.write_table(rows.slice(0, 700), shard(run, "grades"))
    assert "has 700 rows and not the 960 that were written" in refused(told, "estimate", run)


@pytest.mark.parametrize("table", ["grades", "verdicts", "prompts"])
def test_lost_rows_are_made_again_as_they_were(run: Path, whole: Path, table: str) -> None:
    shard(run, table).unlink()
    if table == "prompts":
        execute(CONFIG, run, resume=True)
    else:
        Run(run).advance(only="grade" if table == "grades" else "verify")
    assert arrays(run) == arrays(whole)


def test_lost_responses_are_not_drawn_under_old_grades(run: Path, whole: Path) -> None:
    shard(run, "responses").unlink()
    for again in (lambda: execute(CONFIG, run, resume=True), lambda: Run(run).advance()):
        with pytest.raises(UserError, match=r"responses/000001\.parquet: lost"):
            again()
    assert not list((run / "responses").iterdir())
    for table in ("grades", "verdicts"):
        shutil.rmtree(run / table)
    execute(CONFIG, run, resume=True)
    assert arrays(run) == arrays(whole)


def test_a_loss_is_told_until_it_is_mended(run: Path) -> None:
    grades = RunStore(run).rows(Grade)
    shard(run, "grades").unlink()
    with RunStore(run).writing() as writer:
        writer.extend(grades[:500])
    with pytest.raises(UserError, match=r"000001\.parquet: lost"):
        Run(run).panels()
    with RunStore(run).writing() as writer:
        writer.extend(grades[500:])
    assert Run(run).panels()


def test_rows_that_belong_to_nothing_are_refused(run: Path, told: Told, whole: Path) -> None:
    rewrite(run, "grades", prompt_id=first("nobody"))
    assert "prompts: lacks the prompt ('" in refused(told, "estimate", run)
    shutil.copy(shard(whole, "grades"), shard(run, "grades"))
    # Response 0 of a prompt becomes response 8, whose grade is not there; the grade of 0 stays behind.
    rewrite(run, "responses", response=lambda values: [8, *values[1:]])
    assert "lacks 1 responses that are graded, such as ('" in refused(told, "estimate", run)
    shutil.copy(shard(whole, "responses"), shard(run, "responses"))
    rewrite(run, "verdicts", prompt_id=first("nobody"))
    assert "of which there are verdicts" in refused(told, "estimate", run)


# ---- what an interruption leaves


def test_what_an_interrupted_run_lacks_is_counted(tmp_path: Path, told: Told) -> None:
    path = tmp_path / "run"
    small = CONFIG.model_copy(update={"limit": 5, "verifiers": ()})
    execute(small, path, upto="sample")
    store = RunStore(path)
    with store.writing() as writer:
        writer.extend(Grade(*row.key, None, None, 0.0, "no_answer") for row in store.rows(Response)[:200])
    with pytest.warns(UnfinishedWarning, match=r"of 240 responses 40 ungraded.*`gapbench grade"):
        Run(path).panels()
    execute(small, path, resume=True, upto="grade")
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["config"]["n"] = 9  # as a killed run that was to grow leaves it
    (path / "manifest.json").write_text(json.dumps(manifest))
    code, line = told("compare", path, "--by", "domain", "--quantity", "accuracy")
    assert code == 0
    assert line.startswith("gapbench: warning: ")
    assert line.count("\n") == 1
    assert "of 270 responses 30 undrawn, which do not count; go on with `gapbench run ... --resume`" in line


def test_a_whole_run_warns_of_nothing(whole: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Run(whole).panels()


def test_a_grade_never_reaches_the_disk_before_its_response(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RunStore(tmp_path / "run")
    store.create({})
    written: list[str] = []
    write = Appender.write

    def watch(self: Appender) -> None:
        table = "responses" if self.schema == Response.schema else "grades"
        written.append(table)
        if (
            table == "responses"
        ):  # a row that lands between the writing of two tables waits for the next flush
            writer.extend([response(1), Grade(*response(1).key, None, None, 0.0, "no_answer")])
        write(self)

    with store.writing() as writer:
        monkeypatch.setattr("gapbench.store.run_store.FLUSH_SECONDS", 60)
        writer.extend([response(0), Grade(*response(0).key, None, None, 0.0, "no_answer")])
        monkeypatch.setattr(Appender, "write", watch)
        writer.flush()
        monkeypatch.setattr(Appender, "write", write)
        assert store.keys(Grade) <= store.keys(Response)
    assert store.keys(Grade) == store.keys(Response) == {response(0).key, response(1).key}


# ---- shards with something else in them


def flip(run: Path) -> None:
    """Change a byte in the middle of the data pages."""
    path = shard(run, "verdicts")
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0x55
    path.write_bytes(data)


def as_folder(run: Path) -> None:
    shard(run, "grades").unlink()
    shard(run, "grades").mkdir()


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "an empty file": (lambda run: shard(run, "grades").write_bytes(b"") and None, "not readable"),
    "half a file": (lambda run: os.truncate(shard(run, "verdicts"), 2000), "not readable"),
    "a flipped byte": (flip, "not readable"),
    "a folder in its place": (as_folder, "not readable"),
    "text for a number": (
        lambda run: rewrite(run, "grades", response=lambda v: pa.array(["x"] * len(v))),
        "is of type",
    ),
    "a date for a number": (
        lambda run: rewrite(run, "grades", response=lambda v: pa.array([0] * len(v), pa.timestamp("s"))),
        "is of type",
    ),
    "a list for a key": (
        lambda run: rewrite(run, "grades", task=lambda v: pa.array([[x] for x in v])),
        "is of type",
    ),
    "another table": (
        lambda run: shutil.copy(shard(run, "grades"), shard(run, "responses")) and None,
        "column 'finish_reason' is missing",
    ),
    "a null in a key": (lambda run: rewrite(run, "grades", task=first(None)), "column 'task' lacks values"),
    "a null index": (lambda run: rewrite(run, "verdicts", replicate=first(None)), "'replicate' lacks values"),
    "a null status": (lambda run: rewrite(run, "grades", status=first(None)), "'status' lacks values"),
    "a negative index": (lambda run: rewrite(run, "grades", response=first(-1)), "a negative number"),
    "a huge response": (lambda run: rewrite(run, "grades", response=first(2**31 - 1)), "has the number"),
    "a huge replicate": (lambda run: rewrite(run, "verdicts", replicate=first(2**31 - 1)), "the replicate"),
    "a utility of 5": (lambda run: rewrite(run, "grades", utility=first(5.0)), "outside [0, 1]"),
    "a utility of NaN": (lambda run: rewrite(run, "grades", utility=first(float("nan"))), "outside [0, 1]"),
    "a utility gone": (lambda run: rewrite(run, "grades", utility=first(None)), "has no utility"),
    "metadata that are no JSON": (
        lambda run: rewrite(run, "prompts", metadata=first("{")),
        "is none of this table",
    ),
    "metadata that are a list": (lambda run: rewrite(run, "prompts", metadata=first("[]")), "not a JSON obj"),
    "no messages": (lambda run: rewrite(run, "prompts", messages=first([])), "no messages"),
    "a null message": (
        lambda run: rewrite(run, "prompts", messages=first([{"role": "user", "content": None}])),
        "no content",
    ),
    "no row at all": (
        lambda run: pq.write_table(Response.schema.empty_table(), shard(run, "responses")),
        "has 0 rows and not the 960",
    ),
    "no shard at all": (lambda run: [shutil.rmtree(run / table) for table in TABLES] and None, "lost"),
    "a list of shards that is none": (
        lambda run: (run / "shards.json").write_text('{"grades/000001.parquet": "9"}') and None,
        "is no shard with its rows",
    ),
    "a list of shards that is torn": (
        lambda run: (run / "shards.json").write_text('{"grades/0000') and None,
        "not valid JSON",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_shard_is_one_clear_line(run: Path, told: Told, damage: str) -> None:
    make, says = DAMAGE[damage]
    make(run)
    line = refused(told, "estimate", run)
    assert says in line
    assert str(run) in line


def test_a_directory_without_shards_and_without_a_list_is_one_clear_line(run: Path, told: Told) -> None:
    for table in (*TABLES, "shards.json"):
        shutil.rmtree(run / table) if table in TABLES else (run / table).unlink()
    assert "has 0 rows" in refused(told, "estimate", run)
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps(manifest | {"sessions": []}))
    assert "no graded responses yet" in refused(told, "estimate", run)


def test_a_stream_that_is_damaged_before_its_end_is_not_cut_there(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "run")
    store.create({})
    ends = []
    with store.writing() as writer:
        for i in range(5):
            writer.append(response(i))
            writer.flush()
            stream = next((store.path / "responses").iterdir())
            ends.append(stream.stat().st_size)
        data = stream.read_bytes()
    shutil.rmtree(store.path / "responses")
    (store.path / "shards.json").unlink()
    (store.path / "responses").mkdir()
    for junk in (b"\xee" * 40, b"\0" * 40):
        stream.write_bytes(data[: ends[1]] + junk + data[ends[1] + 40 :])
        with pytest.raises(UserError, match="damaged at byte"):
            store.keys(Response)
        with pytest.raises(UserError, match="damaged at byte"), store.writing():
            pass
    # A power cut may leave zeros at the end: those were never rows.
    stream.write_bytes(data[: ends[2]] + b"\0" * 4096)
    assert store.keys(Response) == {response(i).key for i in range(3)}


# ---- manifests


def set_in(manifest: dict[str, Any], place: str, value: Any) -> None:
    *path, last = place.split(".")
    for word in path:
        manifest = manifest[word]
    if value is ...:
        del manifest[last]
    else:
        manifest[last] = value


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("tasks", []), ("tasks", {}), ("tasks", ...), ("engine", None), ("engine", "x"), ("engine.model", 3),
        ("engine.model.id", None), ("config", 3), ("config", ...), ("config.n", "8"), ("config.n", 0),
        ("config.verifiers", 5), ("config.verifiers", [{"name": 3}]), ("config.colour", "red"), ("sessions", {}),
        ("sessions", None), ("sessions", [3]), ("sessions", [{"stage": "sample", "rows": "all", "seconds": 1.0}]),
        ("sessions", [{"rows": 3}]), ("sessions", [{"stage": "x", "seconds": 1.0, "statuses": {"a": "b"}}]),
        ("tasks.capitals", None), ("tasks.capitals.grader", ...), ("tasks.capitals.grader", "exact"),
        ("tasks.capitals.grader.name", 3), ("tasks.capitals.grader.options", []), ("tasks.capitals.domain", 7),
        ("tasks.capitals.sampling.stop", "x"), ("tasks.capitals.sampling.temperature", "hot"),
        ("tasks.capitals.sampling.max_tokens", 1.5), ("tasks.capitals.sampling.top_k", 3),
        ("tasks.capitals.card", []), ("suite", "starter"), ("suite.digest", ...), ("verifiers", []),
        ("verifiers", {"yesno": {"scale": "loud", "threshold": 0.5, "whole_pool": False}}),
        ("verifiers", {"yesno": {"scale": "real", "threshold": 0.5, "whole_pool": False, "applies": 3}}),
        ("imported", {}), ("config.engine", "imported"), ("judges", []),
    ],
)  # fmt: skip
def test_an_edited_manifest_is_one_clear_line(run: Path, told: Told, place: str, value: Any) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    set_in(manifest, place, value)
    (run / "manifest.json").write_text(json.dumps(manifest))
    line = refused(told, "estimate", run)
    assert f"{run / 'manifest.json'}: " in line
    assert "restore it, or start a new run elsewhere" in line


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", '{"a": NaN}', '{"a": 1e999}', '{"a": "\\ud800"}', "[" * 100_000, "9" * 5000]
)
def test_a_manifest_that_is_no_json_is_one_clear_line(run: Path, told: Told, text: str) -> None:
    (run / "manifest.json").write_text(text)
    assert "manifest.json: not valid JSON" in refused(told, "estimate", run)


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("results/*/manifest.json")), ids=lambda path: path.parent.name
)
def test_the_committed_runs_open(path: Path) -> None:
    if not (path.parent / "responses").is_dir():
        pytest.skip("a measurement, not a run")
    run = Run(path.parent)
    assert run.config.verifiers
    assert run.store.count("responses") == run.store.count("grades") > 0


# ---- going on with a run


def test_the_suite_is_the_same_however_it_is_spelled(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "tasks", tmp_path / "tasks")
    out = tmp_path / "run"
    small = CONFIG.model_copy(update={"limit": 3, "n": 2})
    for suite in (
        "starter",
        ROOT / "tasks" / "starter.yaml",
        tmp_path / "tasks" / ".." / "tasks" / "starter.yaml",
    ):
        run = execute(small.model_copy(update={"suite": str(suite)}), out, resume=True)
        assert run.manifest["config"]["suite"] == str(suite)
    other = tmp_path / "tasks" / "starter.yaml"
    other.write_text(other.read_text().replace("temperature: 0.", "temperature: 0.1"))
    with pytest.raises(UserError, match="has changed since this run"):
        execute(small.model_copy(update={"suite": str(other)}), out, resume=True)


def test_a_disk_that_is_full_for_a_while_costs_no_row(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "run")
    store.create({})
    rows = [response(i, text="x" * 1000) for i in range(200)]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with store.writing() as writer:
        writer.extend(rows[:50])
        writer.flush()
        writer.extend(rows[50:150])
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            with pytest.raises(OSError, match="too large"):
                writer.flush()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert store.keys(Response) == {row.key for row in rows[:50]}
        writer.flush()
        writer._failure = None
        writer.extend(rows[150:])
    assert [row.key for row in store.rows(Response)] == [row.key for row in rows]


def test_a_directory_that_cannot_be_written_is_one_clear_line(
    run: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Path.open

    def read_only(self: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
        if "r" not in mode:
            raise OSError(30, "Read-only file system", str(self))
        return opened(self, mode, *rest, **more)

    monkeypatch.setattr(Path, "open", read_only)
    assert "Read-only file system" in refused(told, "verify", run)


# ---- what the terminal gets


def test_nothing_steers_the_terminal(told: Told, tmp_path: Path) -> None:
    for hostile in ("\x1b[31mred", "a\nb\r\tc", "\x9b2J", "\u202egnp", "\x07"):
        line = refused(told, "estimate", f"{tmp_path}/{hostile}")
        assert all(character.isprintable() for character in line[:-1]), line
    (tmp_path / "t.csv").write_text("domain,task,prompt_id,response,utility,\x1b]0;x\x07\nd,t,p,0,2,x\n")
    line = refused(told, "import", tmp_path / "t.csv", "--out", tmp_path / "out")
    assert "\x1b" not in line
    assert "\x07" not in line


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("-n", "0"), "-n: "), (("--verdicts", "0"), "--verdicts: "), (("--limit", "0"), "--limit: "),
        (("--case-control", "0"), "--case-control: "), (("--verified-share", "2"), "--verified-share: "),
        (("--seed", "-1"), "--seed: "), (("--split", "half"), "--split: "),
    ],
)  # fmt: skip
def test_options_are_named_as_they_are_typed(told: Told, words: tuple[str, ...], option: str) -> None:
    line = refused(told, "run", "starter", "--engine", "simulated", *words)
    assert line.startswith(f"gapbench: {option}")


@pytest.mark.parametrize("width", [60, 80, 100, 150, 200])
def test_no_column_is_cut(estimates: Estimates, width: int) -> None:
    file = io.StringIO()
    print_table(estimates, Console(file=file, width=width))
    table, _, notes = file.getvalue().partition("Of 6 domains")
    assert "…" not in table
    assert max(map(len, table.splitlines())) <= width
    heading = " ".join(table.partition("─")[0].split())
    for words in ("domain", "verifier", "accuracy", "gap [95 %]"):
        assert words in heading
    assert (
        ("share" in heading)
        == (width >= 80)
        == ("need a terminal of 80 columns" not in " ".join(notes.split()))
    )
    for name in ("yesno", "majority", "shuffled", "all domains", "language"):
        assert name in table
    row = estimates.where(domain="all", verifier="yesno", quantity="gap", filter="best@4", task="")[0]
    assert f"[{row.low:+.3f}, {row.high:+.3f}]" in table


def test_responses_that_do_not_count_are_told_under_the_table(estimates: Estimates) -> None:
    file = io.StringIO()
    print_table(
        Estimates(
            replace(row, n_responses=row.n_responses - 7)
            if row.n_responses and row.domain == "factual"
            else row
            for row in estimates
        ),
        Console(file=file, width=200),
    )
    assert "7 of 960 responses do not count" in file.getvalue()


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.3, 0.6])
def test_ctrl_c_while_the_libraries_load_is_one_line(tmp_path: Path, delay: float) -> None:
    probe = "from gapbench.cli import main; main()"
    child = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-c", probe, "run", "starter", "--engine", "simulated"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stderr is not None
    for line in child.stderr:  # whatever comes before is the interpreter's own start
        if "gapbench._startup" in line:
            break
    time.sleep(delay)
    child.send_signal(signal.SIGINT)
    said = [line for line in child.stderr if not line.startswith("import time:")]
    assert child.wait(timeout=60) == 130
    assert len(said) == 1, said
    assert re.match("gapbench: stopped", said[0])
