"""Every row has a noise stream of its own: over restarts, top-ups, verifiers, engines, prompts and runs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gapbench.engines.base import Capabilities, Request, Result, Sampling, derive_seed, engines
from gapbench.engines.simulated import SimulatedEngine
from gapbench.records import Comparison, Message, Response, Verdict
from gapbench.run import RunConfig, execute
from gapbench.store import RunStore

DRAWN = (Response, Verdict, Comparison)
MIXED = ("yesno", "cot-binary", "pairwise", "tournament", "majority")


def config(**changes: Any) -> RunConfig:
    base: dict[str, Any] = {
        "suite": "starter", "model": "simulated", "engine": "simulated", "n": 4, "limit": 2, "verdicts": 2,
        "verifiers": MIXED, "tasks": ("capitals", "sums"),
    }  # fmt: skip
    return RunConfig(**base | changes)


def seeds(path: Path) -> dict[tuple[Any, ...], int | None]:
    """The seed of each row that was drawn, by table and key."""
    store = RunStore(path)
    return {(kind.table, *row.key): row.seed for kind in DRAWN for row in store.rows(kind)}


def assert_distinct(*runs: dict[tuple[Any, ...], int | None]) -> None:
    """No stream is shared, by a response and a verdict neither, nor by rows of different runs."""
    drawn = [seed for run in runs for seed in run.values()]
    assert None not in drawn
    again = [seed for seed, times in Counter(drawn).items() if times > 1]
    assert not again, [key for run in runs for key, seed in run.items() if seed in again][:4]


class Interrupted(SimulatedEngine):
    """Stops after so many results, and is then to be started again."""

    left = 0

    def run(self, requests: Iterable[Request | None]) -> Iterator[Result]:
        for result in super().run(requests):
            Interrupted.left -= 1
            if Interrupted.left == 0:
                raise KeyboardInterrupt
            yield result


def test_no_stream_is_shared_whatever_a_run_goes_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(engines._classes, "interrupted", Interrupted)
    grown: dict[tuple[Any, ...], int | None] = {}
    dice = np.random.default_rng(1)
    for change in (
        {"verifiers": ("yesno", "majority"), "verdicts": 1},
        {"verifiers": ("yesno", "cot-binary", "majority"), "verdicts": 1, "n": 8},
        {"verifiers": ("yesno", "cot-binary", "majority"), "verdicts": 3, "n": 8},
        {"verdicts": 4, "n": 9, "limit": 4},
    ):
        own = config(engine="interrupted", **change)
        for _ in range(2):
            Interrupted.left = int(dice.integers(1, 60))
            try:
                execute(own, tmp_path / "run", resume=True)
            except KeyboardInterrupt:
                continue
            break
        else:
            Interrupted.left = 0
            execute(own, tmp_path / "run", resume=True)
        now = seeds(tmp_path / "run")
        assert_distinct(now)
        assert grown.items() <= now.items(), "a seed changed"
        assert len(now) > len(grown)
        grown = now
    execute(config(verdicts=4, n=9, limit=4), tmp_path / "at-once")
    at_once = seeds(tmp_path / "at-once")
    assert_distinct(at_once)
    # Not so comparisons: a tournament plays on from those that it has, and may show two responses in the other order.
    alike = [{key: seed for key, seed in run.items() if key[0] != "comparisons"} for run in (grown, at_once)]
    assert alike[0] == alike[1]
    assert {key[0] for key in at_once} == {kind.table for kind in DRAWN}


def test_runs_of_other_seeds_share_none(tmp_path: Path) -> None:
    runs = []
    for seed in (0, 1, 10, 11, 2**62):
        execute(config(seed=seed, n=3, verdicts=1), tmp_path / str(seed))
        runs.append(seeds(tmp_path / str(seed)))
    assert_distinct(*runs)


def test_a_judge_of_another_name_draws_anew(tmp_path: Path) -> None:
    run = execute(
        config(verifiers=("cot-binary", "cot-binary@simulated", "cot-binary@other")), tmp_path / "run"
    )
    assert {row.verifier for row in run.store.rows(Verdict)} == {
        "cot-binary", "cot-binary@simulated", "cot-binary@other",
    }  # fmt: skip
    assert_distinct(seeds(tmp_path / "run"))


class Unseeded(SimulatedEngine):
    """Draws from a stream of its own, as a server does."""

    capabilities = Capabilities(seeds=False, logprobs=True, labels=True)


def test_without_seeds_of_requests_none_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(engines._classes, "unseeded", Unseeded)
    monkeypatch.setattr(Unseeded, "capabilities", Capabilities(seeds=False, logprobs=True, labels=True))
    run = execute(config(engine="unseeded"), tmp_path / "run")
    found = seeds(tmp_path / "run")
    assert len(found) > 40
    assert set(found.values()) == {None}
    assert run.manifest["engine"]["capabilities"]["seeds"] is False


@given(st.lists(st.tuples(st.integers(0, 20), st.text("ab1 /é", min_size=1, max_size=4), st.text("01a", max_size=3), st.integers(0, 120)), unique=True, max_size=60))  # fmt: skip
def test_keys_that_differ_anywhere_have_other_seeds(keys: list[tuple[Any, ...]]) -> None:
    drawn = {
        derive_seed(key[0], kind, *key[1:]) for key in keys for kind in ("response", "verdict", "comparison")
    }
    assert len(drawn) == 3 * len(keys)
    assert all(0 <= seed < 2**63 for seed in drawn)


def test_prompts_and_tasks_that_differ_in_one_character_share_nothing(tmp_path: Path) -> None:
    """Also those whose names run into each other: `ab` with `c` and `a` with `bc`, `p1` with 11 and `p11` with 1."""
    names = [
        ("ab", "c"),
        ("a", "bc"),
        ("abc", ""),
        ("a", "b"),
        ("a", "B"),
        ("a", "p1"),
        ("a", "p11"),
        ("a", "p"),
    ]
    drawn = [
        derive_seed(seed, kind, *name, index)
        for seed in (0, 1, 11)
        for kind in ("response", "verdict")
        for name in names
        for index in range(200)
    ]
    assert len(set(drawn)) == len(drawn)


def test_neighbouring_seeds_are_far_apart() -> None:
    """Every bit of a seed changes with any change of the key about every other time (strict avalanche criterion)."""
    keys = [("sums", f"p{i}", j) for i in range(60) for j in range(60)]
    drawn = np.array([derive_seed(0, "response", *key) for key in keys], dtype=np.uint64)
    bits = (drawn[:, None] >> np.arange(63, dtype=np.uint64)) & np.uint64(1)
    flips = np.concatenate([bits[1:] != bits[:-1], bits[60:] != bits[:-60]]).mean(axis=0)
    spread = 0.5 / np.sqrt(len(keys))
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 5 * spread
    assert np.abs(flips - 0.5).max() < 5 * spread


def test_streams_of_neighbouring_rows_are_independent() -> None:
    """The numbers from which a local model's tokens are drawn: the first of each stream, and the streams themselves."""
    rows, length = 4_000, 24
    streams = np.stack([
        np.random.Generator(np.random.Philox(derive_seed(0, "response", "sums", f"p{i // 8}", i % 8))).random(length)
        for i in range(rows)
    ])  # fmt: skip
    assert stats.kstest(streams[:, 0], "uniform").pvalue > 1e-4
    assert stats.kstest(streams.ravel(), "uniform").pvalue > 1e-4
    normal = stats.norm.ppf(streams)
    bound = 5 / np.sqrt(rows)  # of a correlation of independent numbers; 2 x 24 + 300 are looked at
    for lag in (1, 2, 8):
        together = np.array([np.corrcoef(normal[lag:, k], normal[:-lag, k])[0, 1] for k in range(length)])
        assert np.abs(together).max() < bound, lag
    within = np.corrcoef(normal.T)
    assert np.abs(within - np.eye(length)).max() < bound
    shifted = np.corrcoef(normal[1:, :-1].ravel(), normal[:-1, 1:].ravel())[0, 1]
    assert abs(shifted) < 5 / np.sqrt(rows * (length - 1)), "a stream is the one before, moved by one"
    assert len(np.unique(streams[:, 0])) == rows


# ---- a real model


@pytest.fixture(scope="module")
def engine() -> Any:
    pytest.importorskip("torch")
    return engines.get("transformers")("smollm2-135m")


def tokens(
    engine: Any, keys: list[tuple[Any, ...]], own: list[int]
) -> dict[tuple[Any, ...], tuple[int, ...] | None]:
    request = Request(
        (Message("user", "Once upon a time, far away from here,"),), "plain", tuple(keys), tuple(own),
        Sampling(max_tokens=24, temperature=1.0),
    )  # fmt: skip
    return {result.key: result.token_ids for result in engine.run([request])}


@pytest.mark.model
def test_equal_seeds_give_equal_text_and_others_other_text(engine: Any) -> None:
    keys = [("story", "p", index) for index in range(6)]
    own = [derive_seed(0, "response", *key) for key in keys]
    first, again = tokens(engine, keys, own), tokens(engine, keys[::-1], own[::-1])
    assert first == again
    renamed = tokens(engine, [("story", "p", index + 50) for index in range(6)], own)
    assert list(map(first.get, keys)) == [renamed["story", "p", index + 50] for index in range(6)], (
        "the key decides"
    )
    assert len(set(first.values())) == len(keys)


@pytest.mark.model
def test_a_real_run_that_grows_repeats_no_stream_of_noise_and_none_of_tokens(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    questions = ("Tell me a long story about the sea.", "Tell me a long story about the sea!")
    (tmp_path / "rows.jsonl").write_text(
        "".join(json.dumps({"q": one, "a": "none"}) + "\n" for one in questions)
    )
    (tmp_path / "one.yaml").write_text(
        "name: one\ntitle: stories\ntasks:\n  - name: story\n    domain: stories\n    title: stories\n"
        "    source: {file: rows.jsonl}\n    question: '{q}'\n    reference: a\n    calibrate: 0\n    grader: exact\n"
        "    sampling: {temperature: 1.0, max_tokens: 24}\n"
        "    card: {source: here, licence: CC0-1.0, answer_space: any, chance: 0.0, limits: none}\n"
    )
    own = RunConfig(
        suite=str(tmp_path / "one.yaml"),
        model="smollm2-135m",
        n=2,
        verifiers=("yesno", "cot-binary"),
        verdicts=1,
    )
    stored: dict[tuple[Any, ...], Response] = {}
    before: dict[tuple[Any, ...], int | None] = {}
    for change in ({}, {"n": 4}, {"n": 6, "verdicts": 2}):
        own = own.model_copy(update=change)
        run = execute(own, tmp_path / "run", resume=True)
        rows = {row.key: row for row in run.store.rows(Response)}
        now = seeds(tmp_path / "run")
        assert_distinct(now)
        assert before.items() <= now.items()
        assert stored.items() <= rows.items()
        stored, before = rows, now
    long = [row.token_ids for row in stored.values() if row.token_ids and len(row.token_ids) >= 8]
    assert len(long) >= 6
    assert all(one[:8] != other[:8] for one, other in combinations(long, 2)), "a stream of tokens came again"
