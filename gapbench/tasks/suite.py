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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from importlib import import_module
from importlib.metadata import entry_points
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from gapbench.engines.base import Sampling, derive_seed
from gapbench.errors import UserError
from gapbench.graders.base import Grader, graders
from gapbench.records import Message, Prompt
from gapbench.registry import suggest
from gapbench.tasks.compose import Composer
from gapbench.tasks.questions import Item, fresh, make_item, question_key, rank, settled
from gapbench.tasks.rowfiles import Row
from gapbench.tasks.sources import HubSource, NotAvailable, ProceduralSource
from gapbench.tasks.taskfile import Shot, TaskSpec

Split = Literal["measure", "calibrate"]


def suites_dir() -> Path:
    """Where the shipped suites are: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "suites"
    return inside if inside.is_dir() else package.parent / "tasks"


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
    suite
        Name of the suite in whose YAML it stands.
    """

    def __init__(
        self,
        spec: TaskSpec,
        folder: Path,
        limit: int | None = None,
        split: Split = "measure",
        data_dir: Path | None = None,
        suite: str = "",
    ) -> None:
        self.spec = spec
        self.name = spec.name
        self.domain = spec.domain
        self.title = spec.title
        self.split = split
        self.suite = suite
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

    @property
    def missing(self) -> str | None:
        """Why the hub's data cannot be had here, after trying; None where it can, or is not needed.

        Raises
        ------
        UserError
            If there is data, and it is at fault.
        """
        if isinstance(self.spec.source, HubSource):
            try:
                self._table  # noqa: B018 (reading it is the test)
            except NotAvailable as lack:
                return str(lack)
        return None

    @cached_property
    def _rows(self) -> list[Row]:
        assert not isinstance(self.spec.source, ProceduralSource)
        rows = self.spec.source.rows(self._folder, self._data_dir)
        choices = self.spec.choices
        for name in (self.spec.aliases, *([choices] if isinstance(choices, str) else choices or ())):
            if name and not any(name in row for row in rows):
                raise UserError(f"no row has the field '{name}'{suggest(name, list(rows[0]))}")
        return rows

    @cached_property
    def _table(self) -> list[Item]:
        items = (make_item(row, self.spec, f"row {number}") for number, row in enumerate(self._rows, 1))
        return settled(items, mendable=not isinstance(self.spec.source, HubSource))

    @cached_property
    def shots(self) -> tuple[Shot, ...]:
        """The worked examples shown before every question."""
        wanted = self.spec.shots
        if not isinstance(wanted, int):
            return wanted
        if isinstance(self.spec.source, ProceduralSource):
            pool: Iterable[Item] = self._drawn("shots")
        else:
            pool = sorted(self._table, key=lambda item: rank("shot", item.key))
        chosen = list(islice(filter(self._aside, pool), wanted))
        if len(chosen) < wanted:
            raise UserError(
                f"only {len(chosen)} of {wanted} shots are set aside; raise 'calibrate', or write the shots"
            )
        return tuple(Shot(question=item.question, answer=item.reference[0]) for item in chosen)

    def _aside(self, item: Item) -> bool:
        return rank("split", item.key) < self.spec.calibrate

    def _items(self, split: Split) -> Iterator[Item]:
        shown = {question_key(shot.question) for shot in self.shots}
        if isinstance(self.spec.source, ProceduralSource):
            pool: Iterable[Item] = self._drawn(split)
        else:
            pool = sorted(self._table, key=lambda item: rank("order", item.key))
        return (
            item for item in pool if self._aside(item) == (split == "calibrate") and item.key not in shown
        )

    def _drawn(self, purpose: str) -> Iterator[Item]:
        return fresh(self._entries(purpose), many_answers=self.spec.grader.name == "procedural")

    def _entries(self, purpose: str) -> Iterator[Item]:
        # Far-apart seeds: reasoning-gym makes question i from seed + i, so neighbours would repeat each other.
        source = self.spec.source
        assert isinstance(source, ProceduralSource)
        seed = derive_seed(source.seed, source.procedural, purpose)
        for number, row in enumerate(source.draw(seed), 1):
            entry = row.pop("entry")
            item = make_item(row, self.spec, f"question {number}")
            facts = {"dataset": source.procedural, "config": source.settings(seed), "entry": entry}
            yield replace(item, metadata={**item.metadata, "procedural": facts})

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


class Suite:
    """A named list of tasks.

    Parameters
    ----------
    path
        Its YAML.
    composer
        Follows the references of its YAML.
    limit, split, data_dir, tasks, skip_missing
        As for `load_suite`.

    Attributes
    ----------
    skipped
        Names of the tasks that were left out for want of data, each with the reason.

    Raises
    ------
    UserError
        If the YAML is not one, or has none of the tasks asked for, or no task is left.
    """

    def __init__(
        self,
        path: Path,
        composer: Composer,
        limit: int | None = None,
        split: Split = "measure",
        data_dir: Path | None = None,
        tasks: Sequence[str] | None = None,
        skip_missing: bool = False,
    ) -> None:
        self.path = path
        spec, self._content = composer.read(path)
        self.name = spec.name
        self.title = spec.title
        every = [
            Task(placed.spec, placed.path.parent, limit, split, data_dir, placed.suite)
            for placed in composer.tasks(path)
        ]
        self.tasks = tuple(every if tasks is None else self._chosen(every, tasks))
        self.skipped: tuple[tuple[str, str], ...] = ()
        if skip_missing:
            reasons = {task.name: task.missing for task in self.tasks}
            self.skipped = tuple((name, reason) for name, reason in reasons.items() if reason)
            self.tasks = tuple(task for task in self.tasks if not reasons[task.name])
            if not self.tasks:
                raise UserError(f"suite '{self.name}': no task is left; {self.skipped[0][1]}")

    def _chosen(self, every: list[Task], names: Sequence[str]) -> list[Task]:
        known = [task.name for task in every]
        for name in names:
            if name not in known:
                raise UserError(f"suite '{self.name}' has no task '{name}'{suggest(name, known)}")
        if not names:
            raise UserError(f"suite '{self.name}': no task is asked for; there are: {', '.join(known)}")
        return [task for task in every if task.name in names]

    @property
    def digest(self) -> str:
        """Hash of the YAML's text and of every task's data."""
        hasher = hashlib.blake2b(self._content, digest_size=16)
        for task in self.tasks:
            hasher.update(task.digest.encode())
        return hasher.hexdigest()


def named_suites() -> tuple[dict[str, Path], dict[Path, Any]]:
    """Every suite that has a name: ours, and those of installed packages.

    Returns
    -------
    dict
        Name to the YAML, or to file and function of a suite that a Python function returns.
    dict
        Of the latter: file and function to what it returned.
    """
    found = {path.stem: path for path in sorted(suites_dir().glob("*.yaml"))}
    written: dict[Path, Any] = {}
    for point in entry_points(group="gapbench.tasks"):
        target = point.load()
        said = target() if callable(target) else target
        if isinstance(said, str | Path):
            found[point.name] = Path(said)
        else:
            found[point.name] = Path(f"{import_module(point.module).__file__}:{point.attr}")
            written[found[point.name]] = said
    return found, written


def load_suite(
    name_or_path: str | Path,
    *,
    limit: int | None = None,
    split: Split = "measure",
    data_dir: str | Path | None = None,
    tasks: Sequence[str] | None = None,
    skip_missing: bool = False,
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
    tasks
        Names of the tasks to load; None for all. They keep the suite's order.
    skip_missing
        Leave out tasks whose dataset cannot be had here, and say so in `Suite.skipped`. It reads the hub's data now.

    Raises
    ------
    UserError
        If there is no such suite or task, or the YAML is at fault. Faults of the data show when `prompts` is read.
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
    known, written = named_suites()
    if text.endswith((".yaml", ".yml")) or os.sep in text:
        path = Path(text)
    elif text in known:
        path = known[text]
    else:
        raise UserError(f"unknown suite '{text}'{suggest(text, list(known))}")
    return Suite(path, Composer(known, written), limit, split, folder, tasks, skip_missing)


def list_suites() -> list[Suite]:
    """Every suite that has a name, by name; no data is read."""
    known, written = named_suites()
    composer = Composer(known, written)
    return [Suite(path, composer) for _, path in sorted(known.items())]


def list_tasks() -> list[tuple[str, Task]]:
    """Every task of every named suite, as (name of the suite in which it stands, task), each once; no data is read."""
    return [(suite.name, task) for suite in list_suites() for task in suite.tasks if task.suite == suite.name]
