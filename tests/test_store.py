"""The run directory: nothing finished is lost, nothing is rewritten, damage is told in one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gapbench.errors import UserError
from gapbench.records import Grade, Message, Prompt, Response, Verdict
from gapbench.store import RunStore
from gapbench.store.shards import read_stream, seal


def response(i: int, text: str = "x") -> Response:
    return Response("t", f"p{i // 10}", i % 10, text, (1, 2), 2, -0.5, "stop", 2**62 + i)


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    made = RunStore(tmp_path / "run")
    made.create({"a": 1})
    return made


def test_rows_come_back_as_they_went_in(store: RunStore) -> None:
    prompt = Prompt(
        "t", "p0", "d", (Message("user", "é\x00?"), Message("assistant", "4"), Message("user", "q")), ("4", "four"),
        {"style": "plain", "nested": {"a": [1]}}, "c",
    )  # fmt: skip
    grade = Grade("t", "p0", 0, None, None, None, "error:context")
    verdict = Verdict("t", "p0", 0, "yesno", 0, 0.25, "scored", "Yes", 1, "m", None)
    with store.writing() as writer:
        writer.extend([prompt, response(0), grade, verdict])
    assert store.rows(Prompt) == [prompt]
    back = store.rows(Response)[0]
    assert (back.text, tuple(back.token_ids or ()), back.seed) == ("x", (1, 2), 2**62)
    assert store.rows(Grade) == [grade]
    assert store.rows(Verdict) == [verdict]
    assert store.keys(Verdict) == {("t", "p0", 0, "yesno", 0)}


def test_closing_seals_and_a_second_writer_appends(store: RunStore) -> None:
    for start in (0, 10):
        with store.writing() as writer:
            writer.extend(response(start + i) for i in range(10))
    assert sorted(p.name for p in (store.path / "responses").iterdir()) == [
        "000001.parquet",
        "000002.parquet",
    ]
    assert [row.key for row in store.rows(Response)] == [response(i).key for i in range(20)]


def test_rows_are_on_disk_within_two_seconds_while_the_writer_waits(store: RunStore) -> None:
    with store.writing() as writer:
        writer.append(response(0))
        deadline = time.monotonic() + 2
        while not store.keys(Response) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert store.keys(Response) == {response(0).key}


def test_a_stream_cut_anywhere_keeps_every_batch_before_the_cut(tmp_path: Path) -> None:
    whole = RunStore(tmp_path / "whole")
    whole.create({})
    sizes = []
    with whole.writing() as writer:
        for i in range(5):
            writer.append(response(i))
            writer.flush()
            sizes.append(next((whole.path / "responses").iterdir()).stat().st_size)
        data = next((whole.path / "responses").iterdir()).read_bytes()
    torn = tmp_path / "000001.arrows"
    for cut in range(0, len(data), 7):
        torn.write_bytes(data[:cut])
        assert read_stream(torn, Response.schema).num_rows == sum(size <= cut for size in sizes)


def test_a_large_table_is_many_shards(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gapbench.store.shards.SHARD_BYTES", 20_000)
    long = [response(i, f"{i} " + "long " * 400) for i in range(60)]
    for part in (long[:40], long[40:]):
        with store.writing() as writer:
            for row in part:
                writer.append(row)
                writer.flush()
            streams = list((store.path / "responses").glob("*.arrows"))
            assert len(streams) > 2
            assert (
                max(path.stat().st_size for path in streams) < 20_000 + 4_000
            )  # and the row that made it full
            assert store.read("responses").num_rows == long.index(row) + 1
    sealed = store.shards("responses")
    assert [path.name for path in sealed] == [f"{n:06d}.parquet" for n in range(1, len(sealed) + 1)]
    assert [(row.key, row.text) for row in store.rows(Response)] == [(row.key, row.text) for row in long]
    assert sum(store.listed.of("responses").values()) == 60


def test_what_a_kill_leaves_of_many_shards_is_sealed(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gapbench.store.shards.SHARD_BYTES", 1)
    with store.writing() as writer:
        for i in range(3):
            writer.append(response(i))
            writer.flush()
        left = {path.name: path.read_bytes() for path in (store.path / "responses").iterdir()}
    killed = RunStore(store.path.with_name("killed"))
    killed.create({})
    (killed.path / "responses").mkdir()
    for name, content in left.items():
        (killed.path / "responses" / name).write_bytes(content)
    with killed.writing() as writer:
        writer.append(response(3))
    assert len(killed.shards("responses")) == 4
    assert killed.keys(Response) == {response(i).key for i in range(4)}


def test_a_crash_between_sealing_and_deleting_counts_rows_once(store: RunStore) -> None:
    with store.writing() as writer:
        writer.append(response(0))
        writer.flush()
        stream = next((store.path / "responses").iterdir())
        copy = stream.read_bytes()
    stream.write_bytes(copy)
    assert store.read("responses").num_rows == 1
    with store.writing():
        pass
    assert [p.suffix for p in (store.path / "responses").iterdir()] == [".parquet"]


def test_an_empty_stream_is_no_rows(store: RunStore) -> None:
    folder = store.path / "responses"
    folder.mkdir()
    (folder / "000001.arrows").touch()
    assert store.read("responses").num_rows == 0
    seal(folder / "000001.arrows", Response.schema)
    assert not list(folder.iterdir())


def test_a_stream_of_another_table_is_one_clear_line(store: RunStore) -> None:
    with store.writing() as writer:
        writer.append(Grade("t", "p", 0, None, None, 0.0, "no_answer"))
        writer.flush()
        stream = (store.path / "grades" / "000001.arrows").read_bytes()
    (store.path / "responses").mkdir()
    (store.path / "responses" / "000001.arrows").write_bytes(stream)
    with pytest.raises(UserError, match="not those of this table"):
        store.read("responses")


WRITE_UNTIL_KILLED = """
import sys
from gapbench.store import RunStore
from tests.test_store import response
store = RunStore(sys.argv[1])
with store.writing() as writer:
    done = len(store.keys(type(response(0))))
    i = done
    while True:
        writer.append(response(i))
        writer.flush()
        print(i, flush=True)
        i += 1
"""


def test_kill_9_loses_no_row_that_was_flushed_and_repeats_none(store: RunStore) -> None:
    for _ in range(6):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITE_UNTIL_KILLED, str(store.path)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        first = child.stdout.readline()
        time.sleep(0.05)
        os.kill(child.pid, signal.SIGKILL)
        said = [int(line) for line in [first, *child.stdout.read().split()] if str(line).strip()]
        child.wait()
        keys = [row.key for row in store.rows(Response)]
        assert len(keys) == len(set(keys))
        assert {response(i).key for i in said} <= set(keys)
    assert len(keys) > 6


def test_two_writers_are_refused(store: RunStore) -> None:
    with store.writing(), pytest.raises(UserError, match="another process is writing"), store.writing():
        pass


def test_a_torn_sealed_shard_is_one_clear_line(store: RunStore) -> None:
    with store.writing() as writer:
        writer.append(response(0))
    shard = store.path / "responses" / "000001.parquet"
    for damage in (b"", shard.read_bytes()[:50]):
        shard.write_bytes(damage)
        with pytest.raises(UserError, match=r"000001\.parquet: not readable") as told:
            store.read("responses")
        assert "\n" not in str(told.value)


def test_a_shard_of_another_table_names_the_column(store: RunStore) -> None:
    with store.writing() as writer:
        writer.append(Grade("t", "p", 0, None, None, 0.0, "no_answer"))
    (store.path / "responses").mkdir()
    (store.path / "grades" / "000001.parquet").rename(store.path / "responses" / "000001.parquet")
    with pytest.raises(UserError, match="column 'text' is missing"):
        store.read("responses")


@pytest.mark.parametrize("damage", ["", "{", "[]", '"x"'])
def test_a_torn_manifest_is_one_clear_line(store: RunStore, damage: str) -> None:
    (store.path / "manifest.json").write_text(damage)
    with pytest.raises(UserError, match=r"manifest\.json"):
        store.read_manifest()


def test_what_is_in_the_way_is_left_alone(store: RunStore, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="already here"):
        store.create({})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(UserError, match="not a run"):
        RunStore(tmp_path / "mine").create({})
    with pytest.raises(UserError, match="no run here"):
        RunStore.open(tmp_path / "nothing")


def test_a_full_disk_is_told_to_the_next_row(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    def write() -> None:
        with store.writing() as writer:
            writer.append(response(0))
            monkeypatch.setattr(os, "fsync", full)
            deadline = time.monotonic() + 5
            while time.monotonic() < deadline:
                writer.append(response(1))
                time.sleep(0.1)

    with pytest.raises(OSError, match="No space left"):
        write()


def test_a_run_that_is_no_longer_where_it_was_named_is_no_empty_run(
    store: RunStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with store.writing() as writer:
        writer.extend([response(0)])
    monkeypatch.chdir(tmp_path)
    named = RunStore.open("run")
    assert len(named.rows(Response)) == 1
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="not here any more"):
        named.rows(Response)
