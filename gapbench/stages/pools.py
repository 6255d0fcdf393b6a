"""The responses of one prompt together, as verifying needs them, read from the disk without reading all of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import nan

from gapbench.records import Grade, is_error
from gapbench.store import RunStore
from gapbench.store.finished import Finished, PromptKey


@dataclass(frozen=True, slots=True)
class Drawn:
    """A response as the verifying stage needs it; `utility` is NaN where it has none."""

    response: int
    text: str
    finish_reason: str
    utility: float

    @property
    def judged(self) -> bool:
        """Whether there is anything to judge: an empty reply and an error get no verdict."""
        return bool(self.text.strip()) and not is_error(self.finish_reason)


Pool = list[Drawn]

HELD_BYTES = 1 << 28
"""Responses of unfinished pools that are kept in memory, before further prompts are left for another reading."""
_ROW_BYTES = 256  # of a row besides its text


class _Pass:
    """One reading of the responses: the pools that it completes, and the prompts that it leaves for the next."""

    def __init__(self, sizes: Mapping[PromptKey, int]) -> None:
        self._sizes = sizes
        self._growing: dict[PromptKey, list[tuple[int, str, str]]] = {}
        self._held = 0
        self.left: dict[PromptKey, int] = {}

    def take(self, key: PromptKey, row: tuple[int, str, str]) -> list[tuple[int, str, str]] | None:
        """Take a response; its prompt's responses if it was the last of them."""
        if key not in self._sizes or key in self.left:
            return None
        if self._growing and self._held >= HELD_BYTES and key not in self._growing:
            self.left[key] = self._sizes[key]
            return None
        rows = self._growing.setdefault(key, [])
        rows.append(row)
        self._held += len(row[1]) + _ROW_BYTES
        if len(rows) < self._sizes[key]:
            return None
        self._held -= sum(len(text) + _ROW_BYTES for _, text, _ in rows)
        return sorted(self._growing.pop(key))


def read_pools(
    store: RunStore, sizes: Mapping[PromptKey, int], *, graded: bool
) -> Iterator[tuple[PromptKey, Pool]]:
    """Yield the pools of some prompts, each as soon as its last response has been read.

    Responses lie on the disk in the order they were finished, those of a prompt close together, so that few pools are
    in memory at a time. After a top-up they lie far apart; then the disk is read several times, for some prompts each.

    Parameters
    ----------
    sizes
        The prompts, with the number of responses that each has.
    graded
        Whether the grades are needed.
    """
    grades = Finished(store, Grade, "utility") if graded and sizes else None
    names = ["task", "prompt_id", "response", "text", "finish_reason"]
    while sizes:
        reading = _Pass(sizes)
        for batch in store.batches("responses", names):
            columns = (batch.column(name).to_pylist() for name in names)
            for task, prompt_id, *row in zip(*columns, strict=True):
                key = task, prompt_id
                rows = reading.take(key, (row[0], row[1], row[2]))
                if rows is not None:
                    utility = grades.of(key) if grades else {}
                    yield key, [Drawn(*one, utility.get((one[0],), nan)) for one in rows]
        sizes = reading.left
