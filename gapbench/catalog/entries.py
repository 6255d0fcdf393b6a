"""Models by name, and what is known of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from gapbench.errors import UserError
from gapbench.models import EMBEDDED
from gapbench.registry import suggest

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["base", "post-trained"]
FIGURES = ("parameters", "active_parameters", "tokens")
VARIABLE = "GAPBENCH_MODELS"
FLOPS_PER_WEIGHT_AND_TOKEN = 6


def training_flops(active_parameters: int | None, tokens: int | None) -> float | None:
    """Floating-point operations of pretraining, 6 N D, or None where a figure is unknown.

    `active_parameters` are those one token passes through, embeddings included.

    References
    ----------
    Kaplan et al. 2020, arXiv 2001.08361, section 2.1: C = 6 N D.
    """
    if active_parameters is None or tokens is None:
        return None
    return float(FLOPS_PER_WEIGHT_AND_TOKEN * active_parameters * tokens)


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model; figures that are not known are None.

    Attributes
    ----------
    parameters
        All weights of the language model, embeddings included.
    active_parameters
        Those that one token passes through; `parameters` unless the model is a mixture of experts.
    tokens
        Seen in pretraining; of a post-trained model, its parent's.
    parent
        Id of the model it was post-trained from.
    sources
        Where each known figure was found, by the figure's name.
    """

    id: str
    family: str
    kind: Kind
    parameters: int | None
    active_parameters: int | None
    tokens: int | None
    parent: str | None
    sources: Mapping[str, str]
    notes: str
    aliases: tuple[str, ...]

    @property
    def flops(self) -> float | None:
        """Pretraining compute, `training_flops` of the entry's figures."""
        return training_flops(self.active_parameters, self.tokens)


class Catalog:
    """Models by name.

    Parameters
    ----------
    entries
        The models; ids differ.
    """

    def __init__(self, entries: Iterable[ModelEntry]) -> None:
        self._entries = {entry.id: entry for entry in entries}
        self._exact: dict[str, set[str]] = {}
        self._short: dict[str, set[str]] = {}
        for entry in self._entries.values():
            for name in (entry.id, *entry.aliases):
                self._exact.setdefault(name.lower(), set()).add(entry.id)
                self._short.setdefault(name.rpartition("/")[2].lower(), set()).add(entry.id)
        for alias, embedded in EMBEDDED.items():
            if embedded.id in self._entries:
                self._short.setdefault(alias, set()).add(embedded.id)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[ModelEntry]:
        return iter(self._entries.values())

    def candidates(self, name: str) -> list[ModelEntry]:
        """The models that `name` may mean: by id or alias, else by id without its owner; case does not count.

        An embedded model's alias, written as `-m` takes it, means that model alone.
        """
        embedded = EMBEDDED.get(name)
        if embedded and embedded.id in self._entries:
            return [self._entries[embedded.id]]
        found = self._exact.get(name.lower()) or self._short.get(name.lower(), set())
        return [self._entries[one] for one in sorted(found)]

    def find(self, name: str) -> ModelEntry | None:
        """The model that `name` means, or None where it is not listed.

        Raises
        ------
        UserError
            If it may mean more than one.
        """
        found = self.candidates(name)
        if len(found) > 1:
            names = ", ".join(entry.id for entry in found)
            raise UserError(f"model '{name}' may mean {names}; write one of these ids")
        return found[0] if found else None

    def get(self, name: str) -> ModelEntry:
        """As `find`, for a name that must be listed.

        Raises
        ------
        UserError
            If it is not, or may mean more than one.
        """
        entry = self.find(name)
        if entry is None:
            known = [one.id if "/" in name else one.id.rpartition("/")[2] for one in self]
            hint = suggest(name, known)
            if not hint.startswith("; did you mean"):  # the whole list would fill the screen
                hint = f"; `gapbench ls models` lists them, a YAML file named by {VARIABLE} adds one"
            raise UserError(f"model '{name}' is not in the catalog{hint}")
        return entry

    def _ordered(self) -> list[ModelEntry]:
        return sorted(
            self, key=lambda one: (one.family.lower(), one.parameters or 0, one.kind, one.id.lower())
        )

    def to_frame(self) -> pd.DataFrame:
        """One row a model, by family and size; unknown figures are missing."""
        import pandas as pd

        columns = ("id", "family", "kind", "parameters", "active_parameters", "tokens", "flops", "parent")
        rows = [[getattr(entry, column) for column in columns] for entry in self._ordered()]
        frame = pd.DataFrame(rows, columns=["model", *columns[1:]])
        return frame.astype(dict.fromkeys(FIGURES, "Int64") | {"flops": "Float64"})

    def to_json(self) -> list[dict[str, Any]]:
        """Everything that is known, in the order of `to_frame`."""
        return [
            {**asdict(entry), "aliases": list(entry.aliases), "flops": entry.flops}
            for entry in self._ordered()
        ]

    def to_text(self) -> str:
        """A table for the terminal: sizes in billions, tokens in trillions, `-` for what is not known."""
        titles = ("model", "family", "kind", "size", "active", "tokens", "flops")
        rows = [
            (
                entry.id,
                entry.family,
                entry.kind,
                _in_units(entry.parameters, 1e9, "B"),
                _in_units(entry.active_parameters, 1e9, "B"),
                _in_units(entry.tokens, 1e12, "T"),
                "-" if entry.flops is None else f"{entry.flops:.1e}".replace("e+", "e"),
            )
            for entry in self._ordered()
        ]
        widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
        head = " ".join(map("{:<{}}".format, titles, widths))
        sides = "<<<>>>>"  # words, then figures
        form = " ".join(f"{{:{side}{width}}}" for side, width in zip(sides, widths, strict=True))
        return "\n".join([head, *(form.format(*row) for row in rows)])


def _in_units(figure: int | None, unit: float, letter: str) -> str:
    return "-" if figure is None else f"{figure / unit:.3g}{letter}"
