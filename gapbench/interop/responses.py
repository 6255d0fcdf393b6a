"""The table of responses: its rules, and its rows as the prompts, responses and grades of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from gapbench.interop.reading import open_table
from gapbench.interop.rows import ERROR, LARGEST, Batch, Float, Int, Shards, labelled, same
from gapbench.keys import Cells, PromptNumbers, indices
from gapbench.records import NO_ANSWER, SCORED, TRUNCATED, Message, Prompt, is_error

EMPTY_CELLS = 50  # for each row, from which the numbering of the responses is taken for a mistake
FREE_CELLS = 1_000_000


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
            bad = ~np.isnan(tokens) & ((tokens < 0) | (tokens > LARGEST) | (tokens != np.floor(tokens)))
            batch.refuse_any(
                bad, "'n_tokens' is no whole number from 0; leave it empty where it is not known"
            )
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
        if int(width.max()) * len(width) > EMPTY_CELLS * self.rows + FREE_CELLS:
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
