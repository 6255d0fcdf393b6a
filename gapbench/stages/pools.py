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


def read_pools(
    store: RunStore, sizes: Mapping[PromptKey, int], *, graded: bool
) -> Iterator[tuple[PromptKey, Pool]]:
    """Yield the pools of some prompts, each as soon as its last response has been read.

    Responses lie on the disk in the order they were finished, those of a prompt close together, so that few pools are
    in memory at a time.

    Parameters
    ----------
    sizes
        The prompts, with the number of responses that each has.
    graded
        Whether the grades are needed.
    """
    grades = Finished(store, Grade, "utility") if graded and sizes else None
    growing: dict[PromptKey, list[tuple[int, str, str]]] = {}
    names = ["task", "prompt_id", "response", "text", "finish_reason"]
    for batch in store.batches("responses", names) if sizes else ():
        columns = (batch.column(name).to_pylist() for name in names)
        for task, prompt_id, *row in zip(*columns, strict=True):
            key = task, prompt_id
            if key not in sizes:
                continue
            rows = growing.setdefault(key, [])
            rows.append((row[0], row[1], row[2]))
            if len(rows) < sizes[key]:
                continue
            utility = grades.of(key) if grades else {}
            yield key, [Drawn(*one, utility.get((one[0],), nan)) for one in sorted(growing.pop(key))]
