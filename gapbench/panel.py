"""Rows to dense arrays: the only bridge between the store and the statistics.

A `Panel` holds one task of one run as arrays [prompt, response] and [prompt, response, replicate] with NaN for what
is missing, so that everything under `estimate` sees arrays and never rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from gapbench.errors import UserError
from gapbench.keys import NONE, Cells, PromptNumbers, Words, indices
from gapbench.records import Prompt
from gapbench.store import RunStore
from gapbench.verifiers.base import Candidate, PoolVerifier, Verifier

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]


Scale = Literal["probability", "logprob", "real"]

KEY = ["task", "prompt_id", "response"]
CELLS_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class Scores:
    """One verifier's verdicts on a task.

    Attributes
    ----------
    values
        Scores [prompt, response, replicate]; NaN where there is no valid verdict.
    scale, threshold, whole_pool
        As declared by the verifier (see `gapbench.verifiers.base.Verifier`).
    """

    values: Float
    scale: Scale = "probability"
    threshold: float | None = 0.5
    whole_pool: bool = False

    @property
    def replicates(self) -> int:
        """Number of verdicts M that a response may have."""
        return int(self.values.shape[2])

    @property
    def mean(self) -> Float:
        """Mean over valid replicates [prompt, response]; NaN where there is none.

        A sum of floats depends on their order. Replicates are sorted first, so that responses with the same scores
        tie whatever order those came in.
        """
        mean = np.empty(self.values.shape[:2])
        at_once = max(1, CELLS_AT_ONCE // max(self.values[0].size, 1)) if len(mean) else 1
        for first in range(0, len(mean), at_once):
            ordered = np.sort(self.values[first : first + at_once], axis=2)
            count = (~np.isnan(ordered)).sum(axis=2)
            total = np.nansum(ordered, axis=2)
            mean[first : first + at_once] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        return mean

    @property
    def counts(self) -> VerdictCounts | None:
        """The same verdicts as counts where all are 0 or 1, else None."""
        valid = ~np.isnan(self.values)
        yes = self.values == 1
        if not (yes | (self.values == 0) | ~valid).all():
            return None
        return VerdictCounts(yes.sum(axis=2), valid.sum(axis=2), self.replicates, self.threshold)


@dataclass(frozen=True)
class VerdictCounts:
    """One verifier's yes/no verdicts on a task as counts: 2 bytes a response in place of 8 a verdict.

    Attributes
    ----------
    yes, valid
        How many of a response's verdicts say yes, and how many it has [prompt, response], of any integer type.
    replicates
        Number of verdicts M that a response may have.
    threshold
        Share of yes from which a response passes.
    """

    yes: NDArray[np.integer[Any]]
    valid: NDArray[np.integer[Any]]
    replicates: int
    threshold: float | None = 0.5
    scale: Scale = field(default="probability", init=False)
    whole_pool: bool = field(default=False, init=False)

    @property
    def mean(self) -> Float:
        """Share of yes among the valid verdicts [prompt, response]; NaN where there is none."""
        share = np.full(self.yes.shape, np.nan)
        np.divide(self.yes, self.valid, out=share, where=self.valid > 0, dtype=float)
        return share

    @property
    def counts(self) -> VerdictCounts:
        """Itself."""
        return self


@dataclass(frozen=True, eq=False)
class Verified:
    """What one verifier was to judge, where that was not everything (see `gapbench.savings`).

    Attributes
    ----------
    responses
        Responses to be asked about [prompt, response]. What was asked without an answer is missing; the rest is not.
    prompts
        Prompts of the verified share, drawn without sight of anything, whether or not they had a verdict [prompt].
    most
        As many right and as many wrong responses of a prompt were to be judged; None where all were.
    control
        The verifier whose scores steady the estimates.
    """

    responses: Bool
    prompts: Bool
    most: int | None = None
    control: str | None = None


@dataclass(frozen=True)
class Panel:
    """One task of one run.

    Attributes
    ----------
    utility
        Ground truth [prompt, response] in [0, 1]; NaN where the response does not count (absent or an error).
    censored
        True where the response was cut at the token limit, or asked for and lost to an error (its utility is NaN)
        [prompt, response]: rows whose true utility is unknown, which the bounds set to their worst and best.
    answers
        Code of the answer cluster [prompt, response], equal within a prompt when the answers agree; -1 for none.
    clusters
        Code of each prompt's cluster [prompt].
    scores
        Verifier name to its scores.
    verified
        Verifier name to what it was to judge; all responses for a verifier that is not here.
    """

    task: str
    domain: str
    prompt_ids: tuple[str, ...]
    clusters: Int
    utility: Float
    censored: Bool
    answers: Int
    scores: Mapping[str, Scores | VerdictCounts] = field(default_factory=dict)
    verified: Mapping[str, Verified] = field(default_factory=dict)


def build_panels(store: RunStore, verifiers: Sequence[Verifier]) -> list[Panel]:
    """Read a run into one panel a task, in the order the tasks first appear.

    Verifiers that compute scores from the pool of responses are computed here and never stored: a pool that is topped
    up would leave their old scores stale. Tables are read in batches and scattered into arrays, so that memory is that
    of the arrays: two bytes for each verdict while all of a verifier's are 0 or 1, else nine.

    Parameters
    ----------
    store
        The run.
    verifiers
        Those to read or compute; a model verifier without any verdict yields scores that are all missing.

    Raises
    ------
    UserError
        If the run has no responses yet, or a key stands in a table twice.
    """
    tasks: dict[str, list[Prompt]] = {}
    for prompt in store.rows(Prompt):
        tasks.setdefault(prompt.task, []).append(prompt)
    # Numbered task by task, so that the cells of a task lie side by side and are an array [prompt, response].
    numbers = PromptNumbers(prompt.key for own in tasks.values() for prompt in own)
    sizes = [len(own) for own in tasks.values()]
    pool = _Pool.read(store, numbers, sizes)
    asking = [verifier.name for verifier in verifiers if not isinstance(verifier, PoolVerifier)]
    judged = _read_verdicts(store, numbers, pool.cells, asking)
    texts = _texts(store) if len(asking) < len(verifiers) else {}
    panels = []
    bounds = pairwise(np.cumsum([0, *sizes]))
    for (task, own), (first, last) in zip(tasks.items(), bounds, strict=True):
        block = slice(pool.cells.start[first], pool.cells.start[last])
        shape = len(own), int(pool.cells.width[first])
        width = _last(np.any(pool.counted[block].reshape(shape), axis=0))
        if not width:
            continue
        scores: dict[str, Scores | VerdictCounts] = {}
        for verifier in verifiers:
            if isinstance(verifier, PoolVerifier):
                values = _pool_scores(verifier, own, texts[task], (len(own), width))
                scores[verifier.name] = Scores(
                    values, verifier.scale, verifier.threshold, verifier.whole_pool
                )
            else:
                scores[verifier.name] = judged[verifier.name].scores(verifier, block, shape, width)
        clusters = pd.factorize(
            np.array([prompt.cluster or prompt.prompt_id for prompt in own], dtype=object)
        )[0]
        ids = tuple(prompt.prompt_id for prompt in own)
        panels.append(
            Panel(
                task,
                own[0].domain,
                ids,
                clusters,
                pool.utility[block].reshape(shape)[:, :width],
                pool.censored[block].reshape(shape)[:, :width],
                pool.answers[block].reshape(shape)[:, :width],
                scores,
            )
        )
    if not panels:
        raise UserError(f"{store.path}: no graded responses yet; go on with `gapbench run ... --resume`")
    return panels


@dataclass(frozen=True)
class _Pool:
    """What is known of each response, by cell; `counted` where it is drawn and graded."""

    cells: Cells
    counted: Bool
    utility: Float
    censored: Bool
    answers: Int

    @classmethod
    def read(cls, store: RunStore, numbers: PromptNumbers, sizes: Sequence[int]) -> _Pool:
        """Scatter the tables `responses` and `grades` over the cells of `sizes` prompts a task."""
        clusters = Words()
        drawn = _columns(store, "responses", numbers, {"finish_reason": _is_cut})
        graded = _columns(store, "grades", numbers, {"utility": _numbers, "cluster": clusters.of})
        width = np.zeros(len(numbers), dtype=np.int32)
        for rows in (drawn, graded):
            np.maximum.at(width, rows["prompt"], rows["response"] + np.int32(1))
        bounds = np.cumsum([0, *sizes])
        widest = [width[first:last].max() for first, last in pairwise(bounds)]
        cells = Cells(np.repeat(np.array(widest, dtype=np.int64), np.array(sizes, dtype=np.int64)))

        at, graded_at = (cells.at(rows["prompt"], rows["response"]) for rows in (drawn, graded))
        counted = _once(at, numbers, cells, store.path / "responses")
        counted &= _once(graded_at, numbers, cells, store.path / "grades")
        utility = np.full(cells.total, np.nan)
        utility[graded_at] = graded["utility"]
        utility[~counted] = np.nan
        answers = np.full(cells.total, NONE)
        answers[graded_at] = graded["cluster"]
        answers[~counted] = NONE
        cut = np.zeros(cells.total, dtype=bool)
        cut[at] = drawn["finish_reason"]
        return cls(cells, counted, utility, counted & (cut | np.isnan(utility)), answers)


@dataclass
class _Judged:
    """The verdicts of one verifier as they are read.

    Attributes
    ----------
    score
        [replicate, cell]: of 1-byte integers while all scores are 0, 1 or missing (-1), else of floats (missing NaN).
    seen
        Where there is a row [replicate, cell].
    """

    score: NDArray[Any]
    seen: Bool
    rows: int = 0

    @classmethod
    def empty(cls, cells: int) -> _Judged:
        """Without a verdict."""
        return cls(np.empty((0, cells), dtype=np.int8), np.empty((0, cells), dtype=bool))

    def add(self, cell: Int, replicate: Int, score: Float) -> None:
        """Scatter some rows."""
        missing = np.isnan(score)
        if self.score.dtype == np.int8 and not ((score == 0) | (score == 1) | missing).all():
            self.score = np.where(self.score == NONE, np.nan, self.score)
        more = int(replicate.max()) + 1 - len(self.seen)
        if more > 0:
            shape = more, self.seen.shape[1]
            blank = NONE if self.score.dtype == np.int8 else np.nan
            self.score = np.concatenate([self.score, np.full(shape, blank, dtype=self.score.dtype)])
            self.seen = np.concatenate([self.seen, np.zeros(shape, dtype=bool)])
        place = replicate * np.int64(self.seen.shape[1]) + cell
        self.score.reshape(-1)[place] = (
            np.where(missing, NONE, score) if self.score.dtype == np.int8 else score
        )
        self.seen.reshape(-1)[place] = True
        self.rows += len(cell)

    def scores(
        self, verifier: Verifier, block: slice, shape: tuple[int, int], width: int
    ) -> Scores | VerdictCounts:
        """The verdicts on the cells of one task: as counts where all are 0 or 1 on a scale of probabilities."""
        total = max(_last(np.any(self.seen[:, block], axis=1)), 1)
        score = self.score[:total, block].reshape(-1, *shape)[:, :, :width]
        if not len(score):
            score = np.full((1, shape[0], width), np.nan)
        elif score.dtype == np.int8 and verifier.scale == "probability" and not verifier.whole_pool:
            small = np.min_scalar_type(total)
            yes, valid = ((score == 1).sum(axis=0, dtype=small), (score != NONE).sum(axis=0, dtype=small))
            return VerdictCounts(yes, valid, total, verifier.threshold)
        elif score.dtype == np.int8:
            score = np.where(score == NONE, np.nan, score)
        return Scores(np.moveaxis(score, 0, 2), verifier.scale, verifier.threshold, verifier.whole_pool)


def _read_verdicts(
    store: RunStore, numbers: PromptNumbers, cells: Cells, names: Sequence[str]
) -> dict[str, _Judged]:
    judged = {name: _Judged.empty(cells.total) for name in names}
    for batch in store.batches("verdicts", [*KEY, "verifier", "replicate", "score"]):
        prompt, response = _keys(batch, numbers)
        cell = cells.at(prompt, response)
        replicate, score = batch.column("replicate").to_numpy(), _numbers(batch.column("score"))
        by = indices(batch.column("verifier"))
        for code, name in enumerate(batch.column("verifier").dictionary.to_pylist()):
            own = (by == code) & (cell >= 0)  # a verdict on what is not graded yet waits for its grade
            if name in judged and own.any():
                all_of_it = bool(own.all())
                kept = slice(None) if all_of_it else own
                judged[name].add(cell[kept], replicate[kept], score[kept])
    for name, one in judged.items():
        if np.count_nonzero(one.seen) != one.rows:
            _refuse_twice(store, numbers, cells, name)
    return judged


def _keys(batch: pa.RecordBatch, numbers: PromptNumbers) -> tuple[Int, Int]:
    """Prompt and response of each row."""
    return (
        numbers.of(batch.column("task"), batch.column("prompt_id")),
        batch.column("response").to_numpy().astype(np.int64),
    )


def _columns(
    store: RunStore,
    table: str,
    numbers: PromptNumbers,
    values: Mapping[str, Callable[[pa.Array], NDArray[Any]]],
) -> dict[str, NDArray[Any]]:
    """The rows of the known prompts as arrays: `prompt`, `response` and what `values` makes of other columns."""
    parts: dict[str, list[NDArray[Any]]] = {
        name: [np.empty(0, np.int32)] for name in ("prompt", "response", *values)
    }
    for batch in store.batches(table, [*KEY, *values]):
        prompt, response = _keys(batch, numbers)
        known = prompt >= 0
        found = {name: convert(batch.column(name)) for name, convert in values.items()}
        found |= {"prompt": prompt.astype(np.int32), "response": response.astype(np.int32)}
        for name, column in found.items():
            parts[name].append(column if known.all() else column[known])
    return {name: np.concatenate(columns) for name, columns in parts.items()}


def _numbers(column: pa.Array) -> Float:
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=float)


def _is_cut(finish_reason: pa.DictionaryArray) -> Bool:
    cut = [word == "length" for word in finish_reason.dictionary.to_pylist()]
    return np.array([*cut, False])[indices(finish_reason)]


def _last(there: Bool) -> int:
    """One more than the last place where something is; 0 where nothing is."""
    return int(np.flatnonzero(there).max(initial=-1)) + 1


def _once(at: Int, numbers: PromptNumbers, cells: Cells, table: Path) -> Bool:
    """Where there is a row [cell]."""
    seen = np.zeros(cells.total, dtype=bool)
    seen[at] = True
    if np.count_nonzero(seen) != len(at):
        _refuse(table, numbers, cells, _twice(at))
    return seen


def _refuse_twice(store: RunStore, numbers: PromptNumbers, cells: Cells, verifier: str) -> NoReturn:
    """Find a verdict that stands there twice, in a second reading."""
    places = []
    for batch in store.batches("verdicts", [*KEY, "verifier", "replicate"]):
        cell = cells.at(*_keys(batch, numbers))
        name = batch.column("verifier").dictionary.to_pylist()
        own = (
            (indices(batch.column("verifier")) == name.index(verifier)) & (cell >= 0)
            if verifier in name
            else []
        )
        places.append(batch.column("replicate").to_numpy()[own] * np.int64(cells.total) + cell[own])
    replicate, at = divmod(_twice(np.concatenate(places)), cells.total)
    _refuse(store.path / "verdicts", numbers, cells, at, verifier, replicate)


def _twice(places: Int) -> int:
    """A place that occurs more than once."""
    places = np.sort(places)
    return int(places[:-1][places[1:] == places[:-1]][0])


def _refuse(table: Path, numbers: PromptNumbers, cells: Cells, cell: int, *rest: object) -> NoReturn:
    prompt = int(np.searchsorted(cells.start, cell, side="right")) - 1
    key = (*numbers.keys[prompt], cell - int(cells.start[prompt]), *rest)
    raise UserError(f"{table}: the key {key} stands there twice; restore the run, or start a new one")


def _texts(store: RunStore) -> dict[str, pd.DataFrame]:
    """By task, what a verifier may see of the responses that are graded."""
    drawn = store.read("responses", [*KEY, "text", "n_tokens", "logprob"]).to_pandas()
    graded = store.read("grades", [*KEY, "cluster", "utility"]).to_pandas()
    return {str(task): rows for task, rows in pd.merge(drawn, graded, on=KEY).groupby("task", sort=False)}


def _pool_scores(
    verifier: PoolVerifier, prompts: Sequence[Prompt], rows: pd.DataFrame, shape: tuple[int, int]
) -> Float:
    by_id = {prompt.prompt_id: (position, prompt) for position, prompt in enumerate(prompts)}
    values = np.full((*shape, 1), np.nan)
    counted = rows[rows["utility"].notna()]
    for prompt_id, own in counted.groupby("prompt_id", sort=False):
        position, prompt = by_id[str(prompt_id)]
        candidates = [_candidate(record) for record in own.to_dict("records")]
        for candidate, judgement in zip(candidates, verifier.judge(prompt, candidates), strict=True):
            values[position, candidate.response, 0] = np.nan if judgement.score is None else judgement.score
    return values


def _candidate(record: Mapping[Any, Any]) -> Candidate:
    cluster, logprob = record["cluster"], record["logprob"]
    return Candidate(
        response=int(record["response"]),
        text=str(record["text"]),
        cluster=None if pd.isna(cluster) else str(cluster),
        logprob=None if pd.isna(logprob) else float(logprob),
        n_tokens=int(record["n_tokens"]),
    )
