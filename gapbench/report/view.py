"""Looking estimates up by what they are, and reading an interval in words.

Tables, plots and the page all go through a `View`, so that they cannot disagree on which rows are the headline or on
what counts as a gap.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Literal

import pandas as pd

from gapbench.errors import UserError
from gapbench.estimate.results import Estimate, Estimates, Target
from gapbench.report.text import listing, one_line

OVERALL = "all"
FLAG = re.compile(r"partial:\d+ of \d+ tasks|\S+")  # the one flag of several words

Reading = Literal["gap", "worse", "none", "descriptive", "not_estimable", "no_verdicts", "missing"]

WORDS: dict[Reading, str] = {
    "gap": "gap",
    "worse": "worse",
    "none": "no gap shown",
    "descriptive": "descriptive only",
    "not_estimable": "not estimable",
    "no_verdicts": "no verdicts",
    "missing": "not measured",
}


def drawable(row: Estimate | None) -> bool:
    """Whether a row has a number that may be printed or drawn with its interval."""
    if row is None or "not_estimable" in row.flags or "no_verdicts" in row.flags:
        return False
    return all(math.isfinite(end) for end in (row.value, row.low, row.high))


def read(row: Estimate | None) -> Reading:
    """What a gap's interval says.

    `gap` and `worse` where the interval excludes zero, `none` where it does not: that is no proof that there is none.
    Below 20 prompts (flag `descriptive`) no such reading is made.
    """
    if row is None:
        return "missing"
    if "no_verdicts" in row.flags:
        return "no_verdicts"
    if not drawable(row):
        return "not_estimable"
    if "descriptive" in row.flags:
        return "descriptive"
    if row.low > 0:
        return "gap"
    return "worse" if row.high < 0 else "none"


def models_of(estimates: Estimates) -> list[str]:
    """The models in a collection, in order of appearance."""
    return list(dict.fromkeys(row.model for row in estimates))


def as_estimates(data: Estimates | pd.DataFrame) -> Estimates:
    """Estimates, or the frame that `Estimates.to_frame` makes of them.

    Raises
    ------
    UserError
        If the frame lacks a column.
    """
    if isinstance(data, Estimates):
        return data
    needed = list(Estimate.__dataclass_fields__)
    if absent := [name for name in needed if name not in data.columns]:
        raise UserError(
            f"the frame of estimates has no column '{absent[0]}'; make it with Estimates.to_frame()"
        )

    def row(record: dict[str, object]) -> Estimate:
        for name in ("n", "m", "n_prompts", "n_responses"):
            record[name] = None if pd.isna(record[name]) else int(record[name])  # type: ignore[call-overload]
        for name in ("bound_low", "bound_high"):
            record[name] = None if pd.isna(record[name]) else record[name]  # type: ignore[call-overload]
        record["flags"] = tuple(FLAG.findall(str(record["flags"])))
        return Estimate(**record)  # type: ignore[arg-type]

    return Estimates(
        row({str(key): value for key, value in each.items()}) for each in data[needed].to_dict("records")
    )


class View:
    """One model's estimates at one target.

    Parameters
    ----------
    data
        Estimates of one model, or their frame. Where both targets are there, the population's are taken.

    Attributes
    ----------
    domains
        Names in order of appearance, without the overall rows.
    verifiers
        Names in order of appearance.
    judging, silent
        The verifiers that have a verdict somewhere, and the others, which are named and not scored.
    responses
        N, the largest n of pass@k; 0 where there is none.

    Raises
    ------
    UserError
        If there is no estimate, or more than one model.
    """

    def __init__(self, data: Estimates | pd.DataFrame) -> None:
        estimates = as_estimates(data)
        models = models_of(estimates)
        if len(models) != 1:
            found = f"{len(models)} models ({', '.join(models)}); choose one with .where(model=...)"
            raise UserError(f"estimates of one model are needed, found {found if models else 'none'}")
        self.model = models[0]
        self.target: Target = "population" if estimates.where(target="population") else "benchmark"
        self.estimates = estimates.where(target=self.target)
        self.domains = list(dict.fromkeys(row.domain for row in self.estimates if row.domain != OVERALL))
        self.verifiers = list(dict.fromkeys(row.verifier for row in self.estimates if row.verifier))
        self.judging = [
            v for v in self.verifiers if any(row.n is not None for row in self.estimates.where(verifier=v))
        ]
        self.silent = [verifier for verifier in self.verifiers if verifier not in self.judging]
        self._index: dict[tuple[str, str, str, str], list[Estimate]] = {}
        for row in self.estimates:
            self._index.setdefault((row.domain, row.task, row.verifier, row.quantity), []).append(row)
        covered = [row.n for row in self.estimates.where(quantity="pass@k") if row.n is not None]
        self.responses = max(covered, default=0)
        self._headline_n = {verifier: self._choose_n(verifier) for verifier in self.verifiers}

    def find(self, domain: str, quantity: str, verifier: str = "", task: str = "") -> list[Estimate]:
        """All rows of a quantity."""
        return self._index.get((domain, task, verifier, quantity), [])

    def get(
        self,
        domain: str,
        quantity: str,
        verifier: str = "",
        *,
        filter: str | None = None,
        n: int | None = None,
        task: str = "",
    ) -> Estimate | None:
        """The row of a quantity with this filter and n, where they are given, and with the most verdicts."""
        rows = [
            row
            for row in self.find(domain, quantity, verifier, task)
            if (filter is None or row.filter == filter) and (n is None or row.n == n)
        ]
        return max(rows, key=lambda row: row.m or 0, default=None)

    def curve(self, domain: str, quantity: str, verifier: str = "", family: str = "") -> list[Estimate]:
        """Rows of a quantity against n, ascending; `family` is `best`, `majority` or empty for pass@k."""
        ns = {row.n for row in self.find(domain, quantity, verifier) if row.n is not None}
        rows = [
            self.get(domain, quantity, verifier, filter=f"{family}@{n}" if family else "", n=n)
            for n in sorted(ns)
        ]
        return [row for row in rows if row is not None]

    def headline_n(self, verifier: str) -> int | None:
        """The n at which a verifier is reported.

        The n of its single numbers (such as `relative_gap`), which the estimator fixed before it saw a gap. Where there
        are none: the largest n of its gaps with n <= N/2, since at n near N all subsets share their responses. A
        verifier that sees the whole pool has only n = N. None without verdicts.
        """
        return self._headline_n.get(verifier)

    def _choose_n(self, verifier: str) -> int | None:
        own = [row for row in self.estimates if row.verifier == verifier and row.n is not None and row.n > 1]
        fixed = [row.n for row in own if row.quantity == "relative_gap" and row.filter == f"best@{row.n}"]
        if fixed:
            return max(n for n in fixed if n is not None)
        ns = {
            row.n
            for row in own
            if row.quantity == "gap" and row.filter == f"best@{row.n}" and row.n is not None
        }
        half = [n for n in ns if n <= self.responses / 2]
        return max(half) if half else min(ns, default=None)

    def headline(self, domain: str, verifier: str, quantity: str = "gap", task: str = "") -> Estimate | None:
        """A quantity at the verifier's headline n; a row flagged `no_verdicts` where that is all there is."""
        n = self.headline_n(verifier)
        if n is not None:
            found = self.get(domain, quantity, verifier, filter=f"best@{n}", n=n, task=task)
            if found is not None:
                return found
        for row in self.find(domain, "gap", verifier, task):
            if "no_verdicts" in row.flags:
                return row
        return None

    def whole_pool(self, verifier: str) -> bool:
        """Whether the verifier's scores depend on all N responses."""
        return any(
            flag.startswith("pool=") for row in self.estimates.where(verifier=verifier) for flag in row.flags
        )

    def label(self, verifier: str, n: int | None = None) -> str:
        """The headline quantity in full, such as `gap[best@8, m=1]`, or the gap at another n."""
        n = n or self.headline_n(verifier)
        if n is None:
            return "gap"
        m = max((row.m or 0 for row in self.estimates if row.verifier == verifier and row.n == n), default=0)
        parts = [f"best@{n}"] + ([f"m={m}"] if m else [])
        return f"gap[{', '.join(parts + ['pool=N'] * self.whole_pool(verifier))}]"

    def headlines(self) -> Iterator[tuple[str, str, Estimate | None]]:
        """(domain, verifier, headline gap) for every domain and judging verifier."""
        for domain in self.domains:
            for verifier in self.judging:
                yield domain, verifier, self.headline(domain, verifier)

    def names(self, domains: list[str]) -> str:
        """Domain names as prose."""
        return listing([one_line(domain, 40) for domain in domains])
