"""Where the rows of a task come from.

A file, the suite itself, a dataset of the Hugging Face hub (or its local copy), or reasoning-gym.

>>> from pathlib import Path
>>> source = FileSource(file="data/capitals.jsonl")
>>> source.rows(Path("tasks"))[0]["capital"]  # doctest: +SKIP
'Kabul'
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from gapbench.errors import UserError
from gapbench.isolation.worker import CallFailed, WorkerDied, shared_worker
from gapbench.registry import suggest
from gapbench.tasks.rowfiles import Row, read_table

DRAW_AT_ONCE = 64
DRAW_SECONDS = 60.0
DRAW_MOST = 1_000_000

HUB_SECONDS = 5.0


class NotAvailable(UserError):
    """Data that cannot be had here and now, through no fault of the task: no network, no access, no local copy."""


class SpecModel(BaseModel):
    """What a part of a suite's YAML may say.

    Attributes
    ----------
    silent
        Fields that are left out of a dump while they have their default. Digests are made of dumps, so a field that came
        later must not change those of tasks that do not use it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    silent: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _dump(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        said: dict[str, Any] = handler(self)
        unused = {
            name
            for name in self.silent
            if getattr(self, name) == type(self).model_fields[name].get_default(call_default_factory=True)
        }
        return {name: value for name, value in said.items() if name not in unused}


class FileSource(SpecModel):
    """A table beside the suite's YAML.

    Attributes
    ----------
    file
        `.jsonl`, `.csv` or `.parquet`, each also with `.gz`; relative to the YAML.
    """

    file: str

    def rows(self, folder: Path, data_dir: Path | None = None) -> list[Row]:
        """Every row; `folder` is where the YAML is.

        Raises
        ------
        UserError
            If there is no such file, or it is empty, torn or of another format.
        """
        return read_table(folder / self.file)


class RowsSource(SpecModel):
    """Rows that stand in the suite itself.

    Attributes
    ----------
    rows
        One mapping of fields to values for each question.
    """

    rows_: tuple[Row, ...] = Field(alias="rows", min_length=1)

    @model_serializer
    def _count(self) -> dict[str, Any]:
        return {"rows": len(self.rows_)}  # what they hold, a task's digest covers as it does a file's

    def rows(self, folder: Path, data_dir: Path | None = None) -> list[Row]:
        """Every row."""
        return [dict(row) for row in self.rows_]


class HubSource(SpecModel):
    """A dataset of the Hugging Face hub.

    Attributes
    ----------
    datasets
        Hub id.
    config, split, revision
        What of it; `revision` pins a commit.
    local
        Name of a file that holds the same rows, looked for in the folder of `--data` before the hub is asked.
    where
        Field to the values it may have, as text: of the hub's rows the others are left out. `local` holds none of them.
    """

    silent: ClassVar[frozenset[str]] = frozenset({"where"})

    datasets: str
    config: str | None = None
    split: str
    revision: str | None = None
    local: str | None = None
    where: dict[str, tuple[str, ...]] = Field(default_factory=dict)

    def rows(self, folder: Path, data_dir: Path | None = None) -> list[Row]:
        """Every row, from `data_dir` if the local file is there, else from the hub.

        Raises
        ------
        NotAvailable
            If neither has it.
        UserError
            If the local file is at fault, or the rows lack a field of `where`.
        """
        if data_dir and self.local and (data_dir / self.local).is_file():
            return read_table(data_dir / self.local)
        rows = self._from_hub(data_dir)
        for field, kept in self.where.items():
            if not any(field in row for row in rows):
                raise UserError(
                    f"no row has the field '{field}' of source.where{suggest(field, list(rows[0]))}"
                )
            rows = [row for row in rows if str(row.get(field)) in kept]
            if not rows:
                raise UserError(f"no row's '{field}' is one of {list(kept)}; check source.where")
        return rows

    def _from_hub(self, data_dir: Path | None) -> list[Row]:
        import datasets

        # The hub's client reports each retry; what it comes to is said below, in one line.
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
        try:
            with _offline_where_unreachable():
                table = datasets.load_dataset(
                    self.datasets, self.config, split=self.split, revision=self.revision
                )
            return [dict(row) for row in table]
        except (OSError, ValueError, RuntimeError, ImportError, datasets.exceptions.DatasetsError) as failure:
            lacking = f"; {data_dir} has no {self.local}" if data_dir and self.local else ""
            cure = f"; put {self.local} in a folder and give it as --data DIR" if self.local else ""
            reason = " ".join(str(failure).split())[:200] if _hub_answers() else "it does not answer"
            raise NotAvailable(
                f"dataset {self.datasets} could not be had from the Hugging Face hub ({reason}){lacking}{cure}"
            ) from failure


@cache
def _hub_answers() -> bool:
    """Whether the hub answers at all; asked once a process."""
    from huggingface_hub import constants, get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=HUB_SECONDS)
    except Exception:  # the client's HTTP library, and so its errors, differ between its versions
        return False
    return True


@contextmanager
def _offline_where_unreachable() -> Iterator[None]:
    """Use the client's cache alone where the hub does not answer.

    The client would ask again for half a minute, and again for the next dataset.
    """
    import datasets
    from huggingface_hub import constants

    if _hub_answers():
        yield
        return
    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


class ProceduralSource(SpecModel):
    """Questions made by reasoning-gym.

    Attributes
    ----------
    procedural
        Name of the dataset, such as `chain_sum`.
    config
        Its settings, without seed and size.
    seed
        Each split draws from a seed derived from this one.
    """

    procedural: str
    config: dict[str, Any] = Field(default_factory=dict)
    seed: int = 0

    def settings(self, seed: int) -> dict[str, Any]:
        """The configuration that makes the questions again."""
        return {**self.config, "seed": seed % 2**32, "size": DRAW_MOST}

    def draw(self, seed: int) -> Iterator[Row]:
        """Rows without end: `question`, `answer`, the fields of the entry's metadata, and the `entry` itself.

        Raises
        ------
        UserError
            If there is no such dataset, it refuses its configuration, never ends, or has no reference answers.
        """
        settings = self.settings(seed)
        for start in range(0, DRAW_MOST, DRAW_AT_ONCE):
            for entry in self._entries(settings, start):
                if entry["answer"] is None:
                    raise UserError(
                        f"reasoning-gym's '{self.procedural}' has no reference answers; choose another dataset"
                    )
                yield {
                    **entry["metadata"],
                    "question": entry["question"],
                    "answer": entry["answer"],
                    "entry": entry,
                }

    def _entries(self, settings: dict[str, Any], start: int) -> list[dict[str, Any]]:
        call = shared_worker().call
        name = self.procedural
        try:
            known: list[str] = call("gapbench.tasks.gym:names", seconds=DRAW_SECONDS)
            if name not in known:
                raise UserError(f"reasoning-gym has no dataset '{name}'{suggest(name, known)}")
            entries: list[dict[str, Any]] = call(
                "gapbench.tasks.gym:draw", name, settings, start, DRAW_AT_ONCE, seconds=DRAW_SECONDS
            )
        except CallFailed as failure:
            raise UserError(
                f"reasoning-gym's '{name}' refuses config {self.config} ({failure}); mend source.config"
            ) from failure
        except WorkerDied as failure:
            raise UserError(
                f"reasoning-gym's '{name}' made no {DRAW_AT_ONCE} questions in {DRAW_SECONDS:.0f} s; widen the ranges "
                f"of source.config {self.config}"
            ) from failure
        return entries

    def digest_text(self) -> str:
        """What decides the rows, since they cannot be counted."""
        return json.dumps([self.procedural, self.config, self.seed, version("reasoning-gym")], sort_keys=True)


Source = FileSource | RowsSource | HubSource | ProceduralSource
