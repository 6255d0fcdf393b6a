"""`Finished` against brute force: which rows a table has, whatever lies in which shard."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gapbench.errors import UserError
from gapbench.records import Comparison, Grade, Response, Row, Verdict
from gapbench.store import RunStore
from gapbench.store.finished import Finished

Keys = list[tuple[Any, ...]]

WORDS = st.sampled_from(
    ["a", "b", "sums", "sums\x1f", "é", "", "p0", "p00", "yesno", "yesno@other", "\ud7ff"]
)
NUMBERS = st.sampled_from([0, 1, 2, 9, 10, 32_768, 2**31 - 1])
SCORE = st.one_of(st.none(), st.floats(0, 1))


def response(key: tuple[Any, ...], _: float | None) -> Response:
    return Response(*key, "x", None, 1, None, "stop", 1)


def grade(key: tuple[Any, ...], value: float | None) -> Grade:
    return Grade(*key, None, None, value, "scored" if value is not None else "error:x")


def verdict(key: tuple[Any, ...], value: float | None) -> Verdict:
    return Verdict(*key, value, "scored" if value is not None else "unparsed", "", 1, "m", None)


def comparison(key: tuple[Any, ...], value: float | None) -> Comparison:
    status = "scored" if value is not None else "unparsed"
    return Comparison(*key, "a", None, value, status, "", 1, "m", None)


Make = Callable[[tuple[Any, ...], float | None], Row]
KINDS: dict[str, tuple[type[Row], Make, st.SearchStrategy[tuple[Any, ...]], str | None]] = {
    "responses": (Response, response, st.tuples(WORDS, WORDS, NUMBERS), None),
    "grades": (Grade, grade, st.tuples(WORDS, WORDS, NUMBERS), "utility"),
    "verdicts": (Verdict, verdict, st.tuples(WORDS, WORDS, NUMBERS, WORDS, NUMBERS), "score"),
    "comparisons": (
        Comparison, comparison, st.tuples(WORDS, WORDS, NUMBERS, NUMBERS, WORDS, NUMBERS), "score",
    ),
}  # fmt: skip


@contextmanager
def stored(row_type: type[Row], shards: list[list[Row]], *, streams: bool) -> Iterator[RunStore]:
    """A run of one table; the last shard may be a stream that a killed writer left."""
    with tempfile.TemporaryDirectory() as folder:
        store = RunStore(folder)
        place = store.path / row_type.table
        place.mkdir()
        for number, rows in enumerate(shards, 1):
            table = pa.Table.from_pylist([row.to_record() for row in rows], schema=row_type.schema)
            if streams and number == len(shards):
                with pa.ipc.new_stream(place / f"{number:06d}.arrows", row_type.schema) as file:
                    file.write_table(table)
            else:
                pq.write_table(table, place / f"{number:06d}.parquet", write_page_checksum=True)
        yield store


def dealt(data: st.DataObject, keys: Keys, kind: str) -> tuple[list[list[Row]], dict[tuple[Any, ...], Any]]:
    """Rows with these keys, some without a value, in up to four shards of which some are empty."""
    make = KINDS[kind][1]
    values = data.draw(st.lists(SCORE, min_size=len(keys), max_size=len(keys)))
    shard = data.draw(st.lists(st.integers(0, 3), min_size=len(keys), max_size=len(keys)))
    shards: list[list[Row]] = [[] for _ in range(data.draw(st.integers(1, 4)))]
    for key, value, at in zip(keys, values, shard, strict=True):
        shards[at % len(shards)].append(make(key, value))
    return shards, dict(zip(keys, values, strict=True))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_it_has_the_rows_that_the_shards_have(kind: str, data: st.DataObject) -> None:
    row_type, _, key, column = KINDS[kind]
    keys = data.draw(st.lists(key, max_size=30, unique=True))
    shards, values = dealt(data, keys, kind)
    with stored(row_type, shards, streams=data.draw(st.booleans())) as store:
        found, without = Finished(store, row_type, column), Finished(store, row_type)
        assert len(found) == len(without) == len(keys)
        assert Counter(found.prompts()) == Counter({one[:2]: 1 for one in keys})
        for prompt in {one[:2] for one in keys}:
            expected = {
                one[2:]: nan if value is None or column is None else value
                for one, value in values.items()
                if one[:2] == prompt
            }
            got = found.of(prompt)
            assert got.keys() == expected.keys() == without.of(prompt).keys()
            np.testing.assert_array_equal([got[rest] for rest in expected], list(expected.values()))
            assert np.isnan(list(without.of(prompt).values())).all()
        assert found.of(("nothing", "like this")) == {}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_a_key_that_stands_there_twice_is_named(kind: str, data: st.DataObject) -> None:
    row_type, make, key, column = KINDS[kind]
    keys = data.draw(st.lists(key, min_size=1, max_size=12, unique=True))
    shards, _ = dealt(data, keys, kind)
    again = data.draw(st.sampled_from(keys))
    shards[data.draw(st.integers(0, len(shards) - 1))].append(make(again, 0.5))
    with stored(row_type, shards, streams=False) as store, pytest.raises(UserError) as refused:
        Finished(store, row_type, column)
    assert str(refused.value).startswith(
        f"{store.path / row_type.table}: the key {again} stands there twice;"
    )
    with (
        stored(row_type, shards, streams=False) as store,
        pytest.raises(UserError, match="stands there twice"),
    ):
        store.keys(row_type)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_without_rows(tmp_path: Path, kind: str) -> None:
    row_type, column = KINDS[kind][0], KINDS[kind][3]
    found = Finished(RunStore(tmp_path), row_type, column)
    assert (len(found), found.prompts(), found.of(("a", "b"))) == (0, [], {})
    with stored(row_type, [[], []], streams=True) as store:
        found = Finished(store, row_type, column)
        assert (len(found), found.prompts(), found.of(("a", "b"))) == (0, [], {})
