"""What an estimate is, and how a collection of them becomes a frame or JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import pandas as pd

from gapbench.plain import plain

Target = Literal["population", "benchmark"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """One number with its uncertainty; the fields are the `--json` contract.

    Attributes
    ----------
    domain, task
        `task` is empty where the tasks of a domain are summed, and `domain` is `all` over domains.
    verifier
        Empty for quantities that need none (accuracy, pass@k, majority@n).
    quantity, filter, n, m
        What was estimated: `gap` with filter `best@8`, n=8, over scores that are means of m verdicts.
    value, se, low, high
        The estimate, its standard error and its 95 % interval. NaN where not defined.
    bound_low, bound_high
        The value with every censored or missing row at its worst and at its best, where such rows exceed 1 %.
    p
        P-value of `over_optimisation`, one-sided; None for what is no test.
    flags
        Words that qualify the number, such as `descriptive`, `not_estimable`, `degenerate`.
    """

    model: str
    domain: str
    task: str
    verifier: str
    quantity: str
    filter: str
    n: int | None
    m: int | None
    target: Target
    value: float
    se: float
    low: float
    high: float
    n_prompts: int
    n_responses: int
    flags: tuple[str, ...] = ()
    bound_low: float | None = None
    bound_high: float | None = None
    p: float | None = None


class Estimates(Sequence[Estimate]):
    """An immutable list of estimates that can be filtered by field."""

    def __init__(self, rows: Iterable[Estimate]) -> None:
        self._rows = tuple(rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        return self._rows[index]

    def __iter__(self) -> Iterator[Estimate]:
        return iter(self._rows)

    def where(self, **values: Any) -> Estimates:
        """Keep the estimates whose fields equal `values`."""
        return Estimates(
            row for row in self._rows if all(getattr(row, name) == value for name, value in values.items())
        )

    def to_frame(self) -> pd.DataFrame:
        """One row an estimate, `flags` joined by spaces."""
        records = [{**asdict(row), "flags": " ".join(row.flags)} for row in self._rows]
        return pd.DataFrame.from_records(records, columns=[column.name for column in fields(Estimate)])

    def to_json(self) -> list[dict[str, Any]]:
        """Plain values for `json.dumps`; a number that is not finite becomes null."""
        return [plain(row) for row in self._rows]
