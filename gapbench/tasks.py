"""Suites and tasks: from YAML and rows of data to prompts with references, split for calibration and measurement.

Which split a question falls in depends on its text alone, so the splits share no question, whatever the seed, the order of
the rows or the number asked for; and a longer run's prompts begin with a shorter one's.

>>> suite = load_suite("starter", limit=2)
>>> [prompt.question for prompt in suite.tasks[0].prompts]  # doctest: +SKIP
['What is the capital of Peru?', 'What is the capital of Oman?']
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import entry_points
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from gapbench.engines.base import Sampling, derive_seed
from gapbench.errors import UserError
from gapbench.graders.base import Grader, graders
from gapbench.records import Message, Prompt
from gapbench.registry import suggest
from gapbench.sources import ProceduralSource, Row
from gapbench.taskfile import Shot, SuiteSpec, TaskSpec, read_suite
from gapbench.template import render, values

Split = Literal["measure", "calibrate"]

_PATIENCE = 1000


def suites_dir() -> Path:
    """Where the shipped suites are: inside an installed package, or beside it in a checkout."""
    inside = Path(__file__).parent / "suites"
    return inside if inside.is_dir() else Path(__file__).parents[1] / "tasks"


@dataclass(frozen=True)
class Item:
    """One question with what belongs to it, not yet a prompt."""

    question: str
    reference: tuple[str, ...]
    metadata: dict[str, Any]
    cluster: str = ""

    @property
    def key(self) -> str:
        """The question without regard to case and spacing: two items of one key are the same question."""
        return _key(self.question)


def _key(question: str) -> str:
    return " ".join(question.split()).casefold()


def _rank(salt: str, key: str) -> float:
    """A number in [0, 1) that the text alone decides."""
    return derive_seed("gapbench", salt, key) / 2**63


class Task:
    """One task of a suite, ready to be asked.

    Parameters
    ----------
    spec
        What the YAML says.
    folder
        Where the YAML is.
    limit
        Most prompts wanted; None for the task's own maximum.
    split
        Which questions.
    data_dir
        Folder of local copies of hub datasets.
    """

    def __init__(
        self,
        spec: TaskSpec,
        folder: Path,
        limit: int | None = None,
        split: Split = "measure",
        data_dir: Path | None = None,
    ) -> None:
        self.spec = spec
        self.name = spec.name
        self.domain = spec.domain
        self.title = spec.title
        self.split = split
        self._folder = folder
        self._limit = min(limit or spec.prompts, spec.prompts)
        self._data_dir = data_dir

    @property
    def sampling(self) -> Sampling:
        """How the task's tokens are drawn."""
        return self.spec.sampling.sampling(self.spec.style)

    def grader(self) -> Grader:
        """A grader with the task's options."""
        return graders.get(self.spec.grader.name)(**self.spec.grader.options)

    @cached_property
    def prompts(self) -> tuple[Prompt, ...]:
        """The prompts, in an order that the questions decide (procedural ones: the order of drawing).

        Raises
        ------
        UserError
            If the rows cannot be had, lack a field, or leave no prompt; or if the grader fails a reference.
        """
        try:
            items = list(islice(self._items(self.split), self._limit))
            if not items:
                raise UserError(f"no question is left for split '{self.split}'; give it more rows")
            prompts = tuple(self._prompt(item) for item in items)
            # A reference or two may be junk; a grader that fails the first five does not fit the task.
            grader, few = self.grader(), prompts[:5]
            if not any(grader.grade(prompt, prompt.reference[0]).utility == 1 for prompt in few):
                raise UserError(
                    f"grader '{grader.name}' fails references such as {few[0].reference[0]!r} of {few[0].question!r}; "
                    "check 'reference', 'after' and 'grader'"
                )
        except UserError as wrong:
            raise UserError(f"task '{self.name}': {wrong}") from wrong
        return prompts

    @cached_property
    def digest(self) -> str:
        """Hash of what the task says and of its data."""
        hasher = hashlib.blake2b(self.spec.model_dump_json().encode(), digest_size=16)
        if isinstance(self.spec.source, ProceduralSource):
            hasher.update(self.spec.source.digest_text().encode())
        else:
            for row in self._rows:
                hasher.update(json.dumps(row, sort_keys=True, default=str).encode())
        return hasher.hexdigest()

    def describe(self) -> dict[str, Any]:
        """What a manifest keeps of the task."""
        spec = self.spec.model_dump(mode="json")
        kept = ("domain", "title", "style", "grader", "card", "source", "cluster")
        sampling = self.sampling
        return {
            **{name: spec[name] for name in kept},
            "sampling": {
                "max_tokens": sampling.max_tokens,
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "stop": list(sampling.stop),
            },
            "split": self.split,
            "digest": self.digest,
        }

    @cached_property
    def _rows(self) -> list[Row]:
        assert not isinstance(self.spec.source, ProceduralSource)
        rows = self.spec.source.rows(self._folder, self._data_dir)
        for name in (self.spec.aliases, self.spec.choices):
            if name and not any(name in row for row in rows):
                raise UserError(f"no row has the field '{name}'{suggest(name, list(rows[0]))}")
        return rows

    @cached_property
    def _table(self) -> list[Item]:
        return _distinct(self._item(row, f"row {number}") for number, row in enumerate(self._rows, 1))

    @cached_property
    def shots(self) -> tuple[Shot, ...]:
        """The worked examples shown before every question."""
        wanted = self.spec.shots
        if not isinstance(wanted, int):
            return wanted
        if isinstance(self.spec.source, ProceduralSource):
            pool: Iterable[Item] = _patient(self._drawn("shots"))
        else:
            pool = sorted(self._table, key=lambda item: _rank("shot", item.key))
        chosen = list(islice(filter(self._aside, pool), wanted))
        if len(chosen) < wanted:
            raise UserError(
                f"only {len(chosen)} of {wanted} shots are set aside; raise 'calibrate', or write the shots"
            )
        return tuple(Shot(question=item.question, answer=item.reference[0]) for item in chosen)

    def _aside(self, item: Item) -> bool:
        return _rank("split", item.key) < self.spec.calibrate

    def _items(self, split: Split) -> Iterator[Item]:
        shown = {_key(shot.question) for shot in self.shots}
        if isinstance(self.spec.source, ProceduralSource):
            pool: Iterable[Item] = _patient(self._drawn(split))
        else:
            pool = sorted(self._table, key=lambda item: _rank("order", item.key))
        return (
            item for item in pool if self._aside(item) == (split == "calibrate") and item.key not in shown
        )

    def _drawn(self, purpose: str) -> Iterator[Item]:
        # Far-apart seeds: reasoning-gym makes question i from seed + i, so neighbours would repeat each other.
        source = self.spec.source
        assert isinstance(source, ProceduralSource)
        seed = derive_seed(source.seed, source.procedural, purpose)
        for number, row in enumerate(source.draw(seed), 1):
            entry = row.pop("entry")
            item = self._item(row, f"question {number}")
            facts = {"dataset": source.procedural, "config": source.settings(seed), "entry": entry}
            yield Item(item.question, item.reference, {**item.metadata, "procedural": facts}, item.cluster)

    def _item(self, row: Row, where: str) -> Item:
        spec = self.spec
        try:
            reference, choices = (
                values(row, spec.reference),
                values(row, spec.choices) if spec.choices else (),
            )
            if choices and isinstance(place := row.get(spec.reference), int):
                if not 0 <= place < len(choices):
                    raise UserError(f"the answer's place {place} is not in 0..{len(choices) - 1}")
                reference = (choices[place],)
            if spec.after:
                reference = tuple(_after(spec.after, text) for text in reference)
            if spec.aliases and row.get(spec.aliases):
                reference += values(row, spec.aliases, split="|")
            metadata: dict[str, Any] = {"style": spec.style, "row": where}
            if choices:
                metadata["choices"] = list(choices)
            cluster = values(row, spec.cluster)[0] if spec.cluster else ""
            return Item(render(spec.question, row), tuple(dict.fromkeys(reference)), metadata, cluster)
        except UserError as wrong:
            raise UserError(f"{where}: {wrong}") from wrong

    def _prompt(self, item: Item) -> Prompt:
        messages = [Message("system", self.spec.system)] if self.spec.system else []
        for shot in self.shots:
            messages += [Message("user", shot.question), Message("assistant", shot.answer)]
        messages.append(Message("user", item.question))
        prompt_id = hashlib.blake2b(item.question.encode(), digest_size=6).hexdigest()
        return Prompt(
            self.name,
            prompt_id,
            self.domain,
            tuple(messages),
            item.reference,
            item.metadata,
            item.cluster or prompt_id,
        )


def _after(pattern: str, text: str) -> str:
    found = list(re.finditer(pattern, text))
    if not found or not (rest := text[found[-1].end() :].strip()):
        raise UserError(f"nothing follows {pattern!r} ('after') in {text[-60:]!r}")
    return rest


def _distinct(items: Iterable[Item]) -> list[Item]:
    first: dict[str, Item] = {}
    for item in items:
        first.setdefault(item.key, item)
    return list(first.values())


def _patient(items: Iterable[Item]) -> Iterator[Item]:
    """Items whose question is new, until `_PATIENCE` in a row were not: then there are hardly any more."""
    seen: set[str] = set()
    repeats = 0
    for item in items:
        repeats = repeats + 1 if item.key in seen else 0
        if repeats > _PATIENCE:
            return
        if not repeats:
            seen.add(item.key)
            yield item


class Suite:
    """A named list of tasks.

    Parameters
    ----------
    path
        Its YAML.
    limit, split, data_dir
        As for `load_suite`.

    Raises
    ------
    UserError
        If the YAML is not one.
    """

    def __init__(
        self, path: Path, limit: int | None = None, split: Split = "measure", data_dir: Path | None = None
    ) -> None:
        self.path = path
        self.spec: SuiteSpec
        self.spec, self._content = read_suite(path)
        self.name = self.spec.name
        self.title = self.spec.title
        self.tasks = tuple(Task(task, path.parent, limit, split, data_dir) for task in self.spec.tasks)

    @property
    def digest(self) -> str:
        """Hash of the YAML's text and of every task's data."""
        hasher = hashlib.blake2b(self._content, digest_size=16)
        for task in self.tasks:
            hasher.update(task.digest.encode())
        return hasher.hexdigest()


def _paths() -> dict[str, Path]:
    """Every suite that has a name: ours, and those of installed packages."""
    found = {path.stem: path for path in sorted(suites_dir().glob("*.yaml"))}
    for point in entry_points(group="gapbench.tasks"):
        target = point.load()
        found[point.name] = Path(target() if callable(target) else target)
    return found


def load_suite(
    name_or_path: str | Path,
    *,
    limit: int | None = None,
    split: Split = "measure",
    data_dir: str | Path | None = None,
) -> Suite:
    """Load a suite.

    Parameters
    ----------
    name_or_path
        A suite's name (`gapbench ls suites`), or the path of a YAML file.
    limit
        Most prompts for each task; None takes each task's own maximum.
    split
        `measure`, or the questions set aside to `calibrate` on.
    data_dir
        Folder with local copies of hub datasets; the environment variable `GAPBENCH_DATA` if None.

    Raises
    ------
    UserError
        If there is no such suite, or its YAML is at fault. Faults of the data show when `prompts` is read.
    """
    given = data_dir or os.environ.get("GAPBENCH_DATA")
    folder = Path(given) if given else None
    if folder and not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder; --data (or GAPBENCH_DATA) names the folder of local data files"
        )
    if limit is not None and limit < 1:
        raise UserError(f"limit must be 1 or more, not {limit}")
    if split not in ("measure", "calibrate"):
        raise UserError(f"split must be measure or calibrate, not {split!r}")
    text = str(name_or_path)
    if text.endswith((".yaml", ".yml")) or os.sep in text:
        path = Path(text)
    else:
        known = _paths()
        if text not in known:
            raise UserError(f"unknown suite '{text}'{suggest(text, list(known))}")
        path = known[text]
    return Suite(path, limit, split, folder)


def list_suites() -> list[Suite]:
    """Every suite that has a name, by name; no data is read."""
    return [Suite(path) for _, path in sorted(_paths().items())]


def list_tasks() -> list[tuple[str, Task]]:
    """Every task of every named suite, as (suite name, task); no data is read."""
    return [(suite.name, task) for suite in list_suites() for task in suite.tasks]
