"""The YAML files that list models: the shipped one, and users' own that add to it or change single figures.

```yaml
models:
  - {id: mistralai/Mistral-7B-v0.1, tokens: {value: 8T, source: "a guess of mine"}}
  - {id: me/tiny, family: Tiny, kind: base, parameters: 15M, tokens: 2B}
  - {id: me/tiny-chat, kind: post-trained, parent: me/tiny}
```
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from gapbench.catalog.entries import FIGURES, VARIABLE, Catalog, Kind, ModelEntry
from gapbench.errors import UserError
from gapbench.registry import suggest

SHIPPED = Path(__file__).parent / "models.yaml"

_COUNT = re.compile(r"([\d_]+(?:\.\d+)?(?:e\+?\d+)?)([KMBT]?)", re.IGNORECASE)
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}


def load_catalog(paths: Iterable[str | Path] = ()) -> Catalog:
    """Read the shipped list, the files `GAPBENCH_MODELS` names (separated as in PATH), then `paths`.

    A later file's entry with a known id replaces the figures it states and leaves the rest.

    Raises
    ------
    UserError
        If a file cannot be read or says something that cannot be, naming file, entry and fix.
    """
    named = [one for one in os.environ.get(VARIABLE, "").split(os.pathsep) if one]
    return _load(tuple(Path(one).expanduser() for one in (*named, *paths)))


def find_model(name: str, extra: Iterable[str | Path] = ()) -> ModelEntry | None:
    """Find a model by id, alias or id without its owner; see `Catalog.find`.

    Parameters
    ----------
    extra
        YAML files beyond the shipped list and those of `GAPBENCH_MODELS`.

    Raises
    ------
    UserError
        If the name may mean more than one model, or a file is bad.
    """
    return load_catalog(extra).find(name)


def _count(said: Any) -> Any:
    """`18T` and `1.5e12` as the numbers they mean; what is no number is left for pydantic to refuse."""
    if isinstance(said, bool):
        raise ValueError("must be a count, such as 18T or 494032768")
    match = _COUNT.fullmatch(str(said).strip())
    if match is None:
        raise ValueError("must be a count, such as 18T or 494032768")
    # By way of a fraction: 3.05 * 10**12 is not whole in floating point.
    mantissa, _, power = match[1].replace("_", "").lower().partition("e")
    whole, _, rest = mantissa.partition(".")
    scale = _UNITS[match[2].upper()] * 10 ** int(power or 0)
    value, remainder = divmod(int(whole + rest) * scale, 10 ** len(rest))
    if remainder or not value:
        raise ValueError("must be a whole count above 0, such as 18T or 494032768")
    return value


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Figure(_Said):
    """A count and its source; a bare count stands for itself."""

    value: Annotated[int, BeforeValidator(_count)]
    source: str | None = Field(default=None, min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, said: Any) -> Any:
        return said if isinstance(said, dict) else {"value": said}


class _Listed(_Said):
    """What a file says of one model; a field that is not said is the parent's, or as an earlier file has it."""

    id: str = Field(min_length=1)
    aliases: tuple[str, ...] = ()
    family: str | None = None
    kind: Kind | None = None
    parent: str | None = None
    parameters: _Figure | None = None
    active_parameters: _Figure | None = None
    tokens: _Figure | None = None
    notes: str = ""


@cache
def _shipped() -> dict[str, _Listed]:
    return _read(SHIPPED, {})


def _load(paths: tuple[Path, ...]) -> Catalog:
    listed = dict(_shipped())
    origin = dict.fromkeys(listed, SHIPPED)
    for path in paths:
        read = _read(path, listed)
        listed |= read
        origin |= dict.fromkeys(read, path)
    resolved: dict[str, ModelEntry] = {}
    for name in listed:
        _resolve(name, listed, origin, resolved, ())
    return Catalog(resolved.values())


def _read(path: Path, known: Mapping[str, _Listed]) -> dict[str, _Listed]:
    """What a file lists, merged with what is known of the same ids."""
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as missing:
        raise UserError(f"{path}: cannot be read ({missing.strerror}); check the path") from missing
    except (yaml.YAMLError, UnicodeDecodeError) as wrong:
        mark = getattr(wrong, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        raise UserError(f"{path}{line}: not YAML; check indentation and quotes") from wrong
    if not isinstance(said, dict) or not isinstance(said.get("models"), list):
        raise UserError(f"{path}: needs a list under the key 'models', each entry with an id")
    if strange := set(said) - {"models", "sources"}:
        raise UserError(
            f"{path}: '{min(map(str, strange))}' is not known{suggest(min(map(str, strange)), ['models', 'sources'])}"
        )
    words = said.get("sources") or {}
    if not isinstance(words, dict) or not all(isinstance(text, str) for text in words.values()):
        raise UserError(f"{path}: 'sources' must map words to texts; put quotes around a text with a colon")
    found: dict[str, _Listed] = {}
    for number, one in enumerate(said["models"], 1):
        entry = _validate(path, number, one)
        if entry.id in found:
            raise UserError(f"{path}: entry '{entry.id}' is there twice; leave one out")
        figures = {
            name: figure.model_copy(
                update={"source": words.get(figure.source or "", figure.source) or str(path)}
            )
            for name in FIGURES
            if (figure := getattr(entry, name)) is not None
        }
        entry = entry.model_copy(update=figures)
        if earlier := known.get(entry.id):
            entry = earlier.model_copy(update={name: getattr(entry, name) for name in entry.model_fields_set})
        found[entry.id] = entry
    return found


def _validate(path: Path, number: int, said: Any) -> _Listed:
    name = said.get("id", f"number {number}") if isinstance(said, dict) else f"number {number}"
    try:
        return _Listed.model_validate(said)
    except ValidationError as wrong:
        first = wrong.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        what = f"'{key}': " if key else ""
        why = first["msg"].removeprefix("Value error, ")
        hint = suggest(key, list(_Listed.model_fields)) if first["type"] == "extra_forbidden" else ""
        raise UserError(f"{path}: entry '{name}': {what}{why}{hint}") from None


def _resolve(
    name: str,
    listed: Mapping[str, _Listed],
    origin: Mapping[str, Path],
    resolved: dict[str, ModelEntry],
    below: tuple[str, ...],
) -> ModelEntry:
    """An entry with what it takes from its parent; parents come first, so that grandparents do too."""
    if name in resolved:
        return resolved[name]
    said, where = listed[name], f"{origin[name]}: entry '{name}'"
    parent: ModelEntry | None = None
    if said.parent is not None:
        if said.parent not in listed:
            raise UserError(f"{where}: its parent '{said.parent}' is not listed; list it, or correct its id")
        if said.parent in (name, *below):
            raise UserError(f"{where}: is among its own ancestors; correct 'parent'")
        parent = _resolve(said.parent, listed, origin, resolved, (*below, name))
    family = said.family or (parent.family if parent else None)
    if family is None or said.kind is None:
        missing = "family" if family is None else "kind"
        raise UserError(
            f"{where}: needs '{missing}'" + (": base or post-trained" if missing == "kind" else "")
        )
    values: dict[str, int | None] = {}
    sources: dict[str, str] = {}
    for figure in FIGURES:
        stated: _Figure | None = getattr(said, figure)
        if stated is not None:
            values[figure], sources[figure] = stated.value, str(stated.source)
        elif parent and figure not in said.model_fields_set and figure in parent.sources:
            values[figure] = getattr(parent, figure)
            own = parent.sources[figure]
            sources[figure] = own if own.startswith("as ") else f"as {parent.id}: {own}"
        else:
            values[figure] = None
    active = values["active_parameters"]
    if active is None:
        active = values["parameters"]
    elif values["parameters"] is not None and active > values["parameters"]:
        raise UserError(f"{where}: 'active_parameters' are more than 'parameters'; swap or correct them")
    resolved[name] = ModelEntry(
        id=name,
        family=family,
        kind=said.kind,
        parameters=values["parameters"],
        active_parameters=active,
        tokens=values["tokens"],
        parent=said.parent,
        sources=sources,
        notes=said.notes,
        aliases=said.aliases,
    )
    return resolved[name]
