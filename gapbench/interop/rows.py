"""Rows of an imported table: checked, batch by batch, and written as the shards of a run.

A rule that is broken raises an error that names the row. What is allowed and yet says something about the data is
counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gapbench.interop.reading import Source, open_table
from gapbench.keys import NONE, Cells, PromptNumbers, Words, indices
from gapbench.records import NO_ANSWER, ROWS, SCORED, TRUNCATED, UNPARSED, Message, Prompt, is_error
from gapbench.registry import suggest

Bool = NDArray[np.bool_]
Float = NDArray[np.float64]
Int = NDArray[np.int64]

ERROR = "error"
LARGEST = 2**31 - 1
MOST_PLACES = 2**31  # of verdicts of one verifier, which take a byte each
EMPTY_CELLS = 50  # for each row, from which the numbering of the responses is taken for a mistake


class Shards:
    """One Parquet shard for each table of a run, written in batches; use as a context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[str, pq.ParquetWriter] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for writer in self._writers.values():
            writer.close()

    def write(self, table: str, columns: Mapping[str, pa.Array]) -> None:
        """Append rows; columns of the table that are not given are null."""
        size = len(next(iter(columns.values())))
        whole = {one.name: columns.get(one.name, pa.nulls(size, one.type)) for one in ROWS[table].schema}
        batch = pa.RecordBatch.from_pydict(whole)
        if table not in self._writers:
            (self._folder / table).mkdir()
            # The file's own schema says text, not dictionaries of text: it reads like a shard that a run wrote.
            self._writers[table] = pq.ParquetWriter(
                self._folder / table / "000001.parquet", batch.schema, compression="zstd", store_schema=False
            )
        self._writers[table].write_batch(batch)


def labelled(places: NDArray[np.integer], words: Sequence[str]) -> pa.DictionaryArray:
    """Text column from the place of each row's word; words may repeat."""
    distinct = {word: place for place, word in enumerate(dict.fromkeys(words))}
    lookup = np.array([distinct[word] for word in words], dtype=np.int32)
    return pa.DictionaryArray.from_arrays(lookup[places], list(distinct))


def same(word: str, size: int) -> pa.DictionaryArray:
    """A text column that says the same in every row."""
    return labelled(np.zeros(size, dtype=np.int32), [word])


@dataclass(frozen=True)
class Batch:
    """Some rows of a source, from row `first` on."""

    source: Source
    first: int
    rows: pa.RecordBatch

    def refuse_any(self, bad: Bool, why: str) -> None:
        """Raise the error for the first bad row, if there is one."""
        self.source.refuse_any(self.first, bad, why)

    def key(self, name: str) -> pa.DictionaryArray:
        """A text column in which every row has a word."""
        column = self.rows.column(name)
        empty = [not word for word in column.dictionary.to_pylist()]
        self.refuse_any(np.array([*empty, True])[indices(column)], f"'{name}' is empty; every row needs one")
        return column

    def word(self, name: str) -> pa.DictionaryArray:
        """A text column in which an empty word is null."""
        if name not in self.source.text:
            return pa.DictionaryArray.from_arrays(
                pa.nulls(self.rows.num_rows, pa.int32()), pa.array([], pa.string())
            )
        column = self.rows.column(name)
        words = column.dictionary.to_pylist()
        if "" not in words:
            return column
        places = indices(column)
        empty = (places < 0) | (places == words.index(""))
        return pa.DictionaryArray.from_arrays(pa.array(places, mask=empty), column.dictionary)

    def number(self, name: str) -> Float:
        """A column of numbers, NaN where empty."""
        return np.asarray(self.rows.column(name).to_numpy(zero_copy_only=False))

    def index(self, name: str) -> Int:
        """A column of whole numbers from 0."""
        values = self.number(name)
        self.refuse_any(np.isnan(values), f"'{name}' is empty; number from 0")
        bad = (values != np.floor(values)) | (values < 0) | (values > LARGEST)
        if bad.any():
            at = int(bad.argmax())
            self.source.refuse(
                self.first + at, f"'{name}' is {values[at]:g}; it must be a whole number from 0"
            )
        return values.astype(np.int64)

    def status(self, allowed: Sequence[str]) -> tuple[pa.DictionaryArray, NDArray[np.str_], Int]:
        """The status column, empty meaning `scored`; the kinds of status; and the place of each row's kind there."""
        if "status" not in self.source.text:
            return (
                same(SCORED, self.rows.num_rows),
                np.array([SCORED]),
                np.zeros(self.rows.num_rows, np.int64),
            )
        column = self.rows.column("status")
        words = [word or SCORED for word in [*column.dictionary.to_pylist(), SCORED]]
        kinds = [ERROR if is_error(word) else word for word in words]
        places = indices(column)
        wrong = np.array([kind not in allowed for kind in kinds])[places]
        if wrong.any():
            at = int(wrong.argmax())
            known = ["error:REASON" if one == ERROR else one for one in allowed]
            self.source.refuse(
                self.first + at, f"'{words[places[at]]}' is no status{suggest(words[places[at]], known)}"
            )
        distinct, place = np.unique(kinds, return_inverse=True)
        return labelled(places, words), distinct, place[places]

    def mask(self, kinds: NDArray[np.str_], place: Int, *which: str) -> Bool:
        """Where the status is one of these kinds."""
        return np.asarray(np.isin(kinds, which)[place])


class ResponseRows:
    """The table of responses.

    Attributes
    ----------
    prompts
        Every (task, prompt_id), numbered in order of appearance.
    domains
        Task to its domain.
    cells, there
        A cell for each response that a prompt may have, and whether there is a row for it [cell].
    """

    def __init__(self, path: Path) -> None:
        self.source = open_table(
            path,
            text=["domain", "task", "prompt_id", "answer", "cluster", "status", "model"],
            numbers=["response", "utility", "n_tokens"],
            optional=["answer", "cluster", "n_tokens", "status", "model"],
        )
        self.prompts = PromptNumbers()
        self.domains: dict[str, str] = {}
        self.model = ""
        self.statuses: dict[str, int] = {}
        self.set_to_0 = 0
        self._clusters: dict[int, str] = {}
        self._parts: list[tuple[Int, Int, Float]] = []

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.prompt)

    def read(self, shards: Shards) -> None:
        """Check every row and write it."""
        for first, rows in self.source.batches():
            self._take(Batch(self.source, first, rows), shards)
        self.prompt, self.response, self.utility = (
            np.concatenate(part) for part in zip(*self._parts, strict=True)
        )
        self._parts.clear()
        self._address()
        prompts = [
            Prompt(
                task,
                prompt_id,
                self.domains[task],
                (Message("user", f"(prompt {prompt_id}, of a table without its text)"),),
                (),
                cluster=self._clusters.get(number, ""),
            )
            for number, (task, prompt_id) in enumerate(self.prompts.keys)
        ]
        written = pa.Table.from_pylist([prompt.to_record() for prompt in prompts], schema=Prompt.schema)
        shards.write("prompts", {name: written[name].combine_chunks() for name in written.column_names})

    def flags(self) -> dict[str, int]:
        """Counts of what limits the analysis."""
        counted = ~np.isnan(self.utility)
        size = np.bincount(self.prompt[counted], minlength=len(self.prompts))
        lowest, highest = np.full(len(size), np.inf), np.full(len(size), -np.inf)
        np.minimum.at(lowest, self.prompt[counted], self.utility[counted])
        np.maximum.at(highest, self.prompt[counted], self.utility[counted])
        return {
            "one_response": int(np.count_nonzero(size == 1)),
            "unanimous": int(np.count_nonzero((size > 1) & (lowest == highest))),
            "utility_set_to_0": self.set_to_0,
        }

    def _take(self, batch: Batch, shards: Shards) -> None:
        task, prompt_id, domain = batch.key("task"), batch.key("prompt_id"), batch.key("domain")
        response = batch.index("response")
        status, kinds, place = batch.status([SCORED, NO_ANSWER, TRUNCATED, ERROR])
        prompt = self.prompts.of(task, prompt_id, add=True)
        self._one_domain(batch, task, domain)
        self._one_model(batch)
        self._one_cluster(batch, prompt)

        utility = batch.number("utility")
        scored, failed = batch.mask(kinds, place, SCORED), batch.mask(kinds, place, ERROR)
        batch.refuse_any(
            scored & np.isnan(utility),
            "'utility' is empty or NaN; give a number from 0 to 1, or a status: no_answer, truncated, error:REASON",
        )
        bad = scored & ((utility < 0) | (utility > 1))
        if bad.any():
            at = int(bad.argmax())
            batch.source.refuse(
                batch.first + at,
                f"'utility' is {utility[at]:g}; it must lie in [0, 1]: divide by the most a response can get",
            )
        self.set_to_0 += int(np.count_nonzero(~scored & ~failed & (np.nan_to_num(utility) != 0)))
        utility = np.where(scored, utility, np.where(failed, np.nan, 0.0))
        for kind, count in zip(kinds, np.bincount(place, minlength=len(kinds)), strict=True):
            if count:
                self.statuses[str(kind)] = self.statuses.get(str(kind), 0) + int(count)
        self._parts.append((prompt.astype(np.int32), response.astype(np.int32), utility))

        answer = batch.word("answer")
        key = {"task": task, "prompt_id": prompt_id, "response": pa.array(response, pa.int32())}
        words = status.dictionary.to_pylist()
        reasons = ["length" if one == TRUNCATED else one if is_error(one) else "stop" for one in words]
        drawn = {
            "text": same("", len(response)),
            "finish_reason": labelled(indices(status), reasons),
            "round": pa.array(np.zeros(len(response), np.int32)),
        }
        if "n_tokens" in batch.source.numbers:
            tokens = batch.number("n_tokens")
            batch.refuse_any(tokens < 0, "'n_tokens' is negative; leave it empty where it is not known")
            drawn["n_tokens"] = pa.array(
                np.nan_to_num(tokens), pa.int64(), mask=np.isnan(tokens), safe=False
            ).cast(pa.int32())
        shards.write("responses", key | drawn)
        graded = {
            "answer": answer,
            "cluster": answer,
            "utility": pa.array(utility, mask=np.isnan(utility)),
            "status": status,
        }
        shards.write("grades", key | graded)

    def _one_domain(self, batch: Batch, task: pa.DictionaryArray, domain: pa.DictionaryArray) -> None:
        tasks, domains = task.dictionary.to_pylist(), domain.dictionary.to_pylist()
        pair = indices(task) * np.int64(len(domains)) + indices(domain)
        for one in pd.unique(pair).tolist():
            name, found = tasks[one // len(domains)], domains[one % len(domains)]
            if self.domains.setdefault(name, found) != found:
                batch.refuse_any(
                    pair == one,
                    f"task '{name}' is of domain '{found}' here and of '{self.domains[name]}' above; a task has one domain",
                )

    def _one_model(self, batch: Batch) -> None:
        column = batch.word("model")
        names = column.dictionary.to_pylist()
        places = indices(column)
        for place in pd.unique(places).tolist():
            name = names[place] if place >= 0 else ""
            self.model = self.model or name
            if name and name != self.model:
                batch.refuse_any(
                    places == place,
                    f"is of model '{name}', and those above of '{self.model}'; import a file for each model",
                )

    def _one_cluster(self, batch: Batch, prompt: Int) -> None:
        column = batch.word("cluster")
        names = column.dictionary.to_pylist()
        if not names:
            return
        pair = prompt * np.int64(len(names) + 1) + indices(column)
        for one in pd.unique(pair).tolist():
            number, place = divmod(one, len(names) + 1)
            name = names[place] if place < len(names) else ""
            if self._clusters.setdefault(number, name) != name:
                key = self.prompts.keys[number]
                batch.refuse_any(
                    pair == one,
                    f"prompt {key} is of cluster '{name}' here and of '{self._clusters[number]}' above; a prompt has one",
                )

    def _address(self) -> None:
        """Give every response a cell, and refuse a second row for it."""
        width = np.zeros(len(self.prompts), dtype=np.int32)
        np.maximum.at(width, self.prompt, self.response + np.int32(1))
        if int(width.max()) * len(width) > EMPTY_CELLS * (self.rows + 1_000_000):
            at = int(self.response.argmax())
            self.source.refuse(
                at, f"'response' is {self.response[at]}; number the responses of each prompt 0, 1, 2, ..."
            )
        self.cells = Cells(width.astype(np.int64))
        cell = self.cells.at(self.prompt, self.response)
        self.there = np.zeros(self.cells.total, dtype=bool)
        self.there[cell] = True
        if np.count_nonzero(self.there) != self.rows:
            again = pd.Series(cell).duplicated().to_numpy()
            at = int(again.argmax())
            above = int(np.flatnonzero(cell == cell[at])[0])
            key = (*self.prompts.keys[self.prompt[at]], int(self.response[at]))
            self.source.refuse(
                at,
                f"response {key} is in row {above + 1} already; number the responses of a prompt 0, 1, 2, ...",
            )


@dataclass
class ImportedVerifier:
    """What is known of a verifier that only a table speaks of.

    Attributes
    ----------
    verdicts, missing
        Rows, and those among them without a score.
    low, high
        Smallest and largest score.
    replicates
        Number of verdicts M that a response may have.
    threshold
        Score from which a response passes: the one given, else 0.5 for probabilities, else None.
    """

    verdicts: int = 0
    missing: int = 0
    low: float = np.inf
    high: float = -np.inf
    replicates: int = 1
    threshold: float | None = None

    @property
    def scale(self) -> Literal["probability", "real"]:
        """`probability` where every score lies in [0, 1], else `real`: for ranks and AUC, without soft weights."""
        return "probability" if self.low >= 0 and self.high <= 1 else "real"


class VerdictRows:
    """The table of verdicts on the responses of `pool`."""

    def __init__(self, path: Path, pool: ResponseRows) -> None:
        self.source = open_table(
            path,
            text=["task", "prompt_id", "verifier", "status", "judge"],
            numbers=["response", "replicate", "score"],
            optional=["status", "judge"],
        )
        self.pool = pool
        self.verifiers: dict[str, ImportedVerifier] = {}
        self.rows = 0
        self.dropped = 0
        self._names = Words()
        self._seen: dict[str, Bool] = {}

    def read(self, shards: Shards) -> None:
        """Check every row and write it."""
        for first, rows in self.source.batches():
            self._take(Batch(self.source, first, rows), shards)

    def flags(self) -> dict[str, int]:
        """Counts of what limits the analysis."""
        return {"score_dropped": self.dropped}

    def _take(self, batch: Batch, shards: Shards) -> None:
        task, prompt_id, verifier = batch.key("task"), batch.key("prompt_id"), batch.key("verifier")
        response, replicate = batch.index("response"), batch.index("replicate")
        status, kinds, place = batch.status([SCORED, UNPARSED, NO_ANSWER, TRUNCATED, ERROR])
        cell = self.pool.cells.at(self.pool.prompts.of(task, prompt_id), response)
        unknown = (cell == NONE) | ~self.pool.there[cell]
        if unknown.any():
            at = int(unknown.argmax())
            key = task[at].as_py(), prompt_id[at].as_py(), int(response[at])
            batch.source.refuse(
                batch.first + at,
                f"{self.pool.source.path} has no response {key}; add it there, or leave the verdict out",
            )
        score = batch.number("score")
        scored = batch.mask(kinds, place, SCORED)
        batch.refuse_any(
            scored & np.isnan(score),
            "'score' is empty or NaN; leave the row out, or give the status 'unparsed' to a verdict that could not be read",
        )
        batch.refuse_any(scored & np.isinf(score), "'score' is infinite; give a finite number")
        self.dropped += int(np.count_nonzero(~scored & ~np.isnan(score)))
        score = np.where(scored, score, np.nan)

        by = indices(verifier)
        for code, name in enumerate(verifier.dictionary.to_pylist()):
            own = by == code
            if own.any():
                self._once(batch, name, own, replicate, cell)
                self._count(name, score[own], replicate[own])
        self.rows += len(cell)
        shards.write(
            "verdicts",
            {
                "task": task,
                "prompt_id": prompt_id,
                "response": pa.array(response, pa.int32()),
                "verifier": verifier,
                "replicate": pa.array(replicate, pa.int32()),
                "score": pa.array(score, mask=~scored),
                "status": status,
                "text": same("", len(cell)),
                "judge": batch.rows.column("judge") if "judge" in batch.source.text else same("", len(cell)),
            },
        )

    def _once(self, batch: Batch, name: str, own: Bool, replicate: Int, cell: Int) -> None:
        """Refuse a verdict whose key was there before."""
        seen = self._seen.get(name, np.zeros((0, self.pool.cells.total), dtype=bool))
        total = int(replicate[own].max()) + 1
        if total * self.pool.cells.total > MOST_PLACES:
            batch.refuse_any(
                own & (replicate == total - 1),
                f"'replicate' is {total - 1}; number the verdicts of a verifier on a response 0, 1, 2, ...",
            )
        if total > len(seen):
            seen = np.concatenate([seen, np.zeros((total - len(seen), seen.shape[1]), dtype=bool)])
        self._seen[name] = seen
        flat, place = seen.reshape(-1), replicate * np.int64(seen.shape[1]) + cell
        before = own & flat[np.where(own, place, 0)]
        flat[place[own]] = True
        known = self.verifiers.get(name, ImportedVerifier()).verdicts
        if not before.any() and np.count_nonzero(flat) != known + np.count_nonzero(own):
            before = own & pd.Series(place).where(own, -1 - np.arange(len(place))).duplicated().to_numpy()
        batch.refuse_any(
            before,
            f"verifier '{name}' has that replicate of that response above; number its replicates 0, 1, 2, ...",
        )

    def _count(self, name: str, score: Float, replicate: Int) -> None:
        one = self.verifiers.setdefault(name, ImportedVerifier())
        one.verdicts += len(score)
        valid = score[~np.isnan(score)]
        one.missing += len(score) - len(valid)
        one.low = min(one.low, float(valid.min(initial=np.inf)))
        one.high = max(one.high, float(valid.max(initial=-np.inf)))
        one.replicates = max(one.replicates, int(replicate.max()) + 1)
