"""Do 95 % intervals hold the truth 95 times in 100? Every quantity of the table on data sets whose truth is known.

    python benchmarks/coverage.py --data-sets 1000

For each scenario of `gapbench.synthetic` and number of prompts (a cell) it draws data sets of 32 responses x 8
verdicts, 50 at a time, and counts how often each interval holds the truth. `coverage.parquet` has a row for each
quantity of each 50; what it holds is not measured again, so that a study may be stopped and continued, or made longer.
`coverage.md` and `coverage.png` show it. The 50 data sets of a batch are drawn and measured in one go, as one panel
that is then cut into its prompts, which are independent, and share one matrix of resamples.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from gapbench.estimate.chosen import (
    best_points,
    cross_fitted,
    gap_at_chosen_threshold,
    halves,
    likely_best,
    with_points,
)
from gapbench.estimate.discrimination import auc_between
from gapbench.estimate.filters import asked_filters
from gapbench.estimate.intervals import Interval, Method, combine
from gapbench.estimate.quantities import Key, TaskMeasures, permuted_across, powers_of_two
from gapbench.estimate.quantity import Curve, Quantity, Term, mean
from gapbench.estimate.resampling import Resampling
from gapbench.estimate.selection import Order
from gapbench.synthetic import SCENARIOS, Scenario, draw, truth

RESPONSES = 32
HEADLINE = 8
VERIFIER = "binary"
CHOSEN = "threshold@cv"
BATCH = 50
ROUND_OFF = 1e-12
FLAT = 1e-6  # of a curve without a highest point

Part = tuple[Quantity | Curve, float]
"""A quantity on one data set, and its true value."""


@dataclass(frozen=True)
class Coverage:
    """How the intervals of one quantity did over many data sets.

    Attributes
    ----------
    data_sets, hits
        Data sets with an interval, and how many of those hold the truth.
    off, off_squared
        Sums over them of estimate less truth, and of its square.
    width
        Median width of the intervals.
    not_estimable
        Data sets whose estimate is flagged so.
    """

    scenario: str
    prompts: int
    quantity: str
    filter: str
    n: int | None
    m: int | None
    data_sets: int
    hits: int
    off: float
    off_squared: float
    width: float
    not_estimable: int

    @property
    def covered(self) -> float:
        """Observed coverage; NaN where no data set has an interval."""
        return self.hits / self.data_sets if self.data_sets else math.nan

    @property
    def covered_se(self) -> float:
        """Monte-Carlo standard error of the coverage."""
        return math.sqrt(self.covered * (1 - self.covered) / self.data_sets) if self.data_sets else math.nan

    @property
    def bias(self) -> float:
        """Mean of the estimates less the truth."""
        return self.off / self.data_sets if self.data_sets else math.nan

    @property
    def at_best(self) -> float:
        """Observed coverage and three Monte-Carlo standard errors."""
        return self.covered + 3 * self.covered_se

    @property
    def holds(self) -> bool:
        """Whether the coverage may be what is wanted; so may that of a handful of data sets."""
        return self.data_sets < 20 or self.at_best >= wanted(self.scenario)


def wanted(scenario: str) -> float:
    """Coverage below which an interval of nominal 95 % fails (measurement.md, section 7)."""
    return 0.92 if scenario == "low_accuracy" else 0.93


def true_value(scenario: Scenario, key: Key) -> float:
    """The number that a row of the table estimates.

    Permuted controls have none to find. A macro gap of a threshold is that of a budget of the responses there are.
    """
    if key.quantity.endswith("_permuted"):
        return 0.0
    if key.quantity == "nothing_passes":
        return truth(scenario, key.quantity, "threshold", n=RESPONSES)
    if key.quantity == "precision_ceiling" or (key.quantity, key.filter) == ("gap", "threshold"):
        name = "gap" if key.quantity == "gap" else "accuracy"
        return truth(scenario, name, f"threshold@{RESPONSES}")
    name, m = ("gap", math.inf) if key.quantity == "gap_inf" else (key.quantity, key.m)
    has_filter = name not in ("auc_within", "auc_between", "pass@k")
    return truth(scenario, name, key.filter if has_filter else "", n=key.n, m=m)


def cut(quantity: Quantity | Curve, rows: slice) -> Quantity | Curve:
    """The same quantity on some of the prompts."""
    if isinstance(quantity, Curve):
        return Curve(quantity.points[rows], quantity.form)
    terms = tuple(
        Term(sign, top[rows], None if bottom is None else bottom[rows])
        for sign, top, bottom in quantity.terms
    )
    return replace(quantity, terms=terms, carriers=tuple(column[rows] for column in quantity.carriers))


class Batch:
    """Data sets of one cell.

    Parameters
    ----------
    scenario, prompts, data_sets
        What is drawn.
    seed
        Of the data, and of the resamples.
    filters, verdict_counts
        As `gapbench.estimate.table.estimate_panels` takes them.
    """

    def __init__(
        self,
        scenario: Scenario,
        prompts: int,
        data_sets: int,
        seed: int,
        filters: Sequence[str],
        verdict_counts: bool,
    ) -> None:
        panel = draw(scenario, prompts * data_sets, RESPONSES, seed).panel()
        panel = replace(panel, scores={VERIFIER: panel.scores[VERIFIER]})
        self.scenario, self.prompts = scenario, prompts
        self.utility, self.score = panel.utility, panel.scores[VERIFIER].mean
        self.parts = [slice(start, start + prompts) for start in range(0, len(panel.utility), prompts)]
        self.resampling = Resampling(np.arange(prompts), seed=seed)
        self.task = TaskMeasures(
            panel,
            ns=powers_of_two(RESPONSES),
            headline=HEADLINE,
            seed=seed,
            filters=asked_filters(filters, HEADLINE),
            verdict_counts=verdict_counts,
        )
        rng = np.random.default_rng([seed, 1])
        self.task.across = np.vstack([permuted_across(self.utility[rows], rng) for rows in self.parts])
        self.first = [halves(np.arange(prompts), seed=[seed, place]) for place in range(data_sets)]

    def table(self, keep: Callable[[Key], bool]) -> Iterator[tuple[Key, list[Part]]]:
        """Each quantity of the table, on every data set."""
        for key, one in self.task.all().items():
            if one.quantity is None or not keep(key):
                continue
            if key.filter == CHOSEN:
                yield key, [self._at_chosen_threshold(key, place) for place in range(len(self.parts))]
                continue
            value = true_value(self.scenario, key)
            if key.quantity == "auc_between":  # compares the prompts of a data set with one another
                yield key, [(self._auc_between(rows), value) for rows in self.parts]
            else:
                yield key, [(cut(one.quantity, rows), value) for rows in self.parts]

    def _auc_between(self, rows: slice) -> Quantity:
        utility, score = self.utility[rows], self.score[rows]
        return auc_between(Order.of(score, ~np.isnan(utility)), utility, score)

    def _at_chosen_threshold(self, key: Key, place: int) -> Part:
        """The threshold is each half's own choice, and so is the truth."""
        rows, first = self.parts[place], self.first[place]
        gap, thresholds = gap_at_chosen_threshold(self.utility[rows], self.score[rows], first)
        label = f"threshold@{RESPONSES}"
        by_first, by_second = (truth(self.scenario, "gap", label, threshold=one) for one in thresholds)
        value = float(np.where(first, by_second, by_first).mean())
        if key.quantity == "gap":
            return mean(gap, -1.0, 1.0), value
        base = self.task.accuracy[rows]
        return mean(base + gap, 0.0, 1.0), truth(self.scenario, "accuracy") + value

    def at_best_n(self, method: Method) -> Iterator[tuple[Key, list[Interval], list[float]]]:
        """What follows from the n that each half of the prompts chose."""
        curve, ns, base = self.task.curves[VERIFIER], self.task.ns, truth(self.scenario, "accuracy")
        true = np.array([truth(self.scenario, "accuracy", f"best@{n}") for n in ns])
        m = self.scenario.M
        for name, other, of in (
            ("gap", self.task.accuracy, base),
            ("over_optimisation", curve[:, -1], true[-1]),
        ):
            found, values = [], []
            for rows, first in zip(self.parts, self.first, strict=True):
                (selected,), choices = cross_fitted([curve[rows]], [1.0], [first])
                columns = [selected, *(curve[rows, point] for point in choices)]
                moments = self.resampling.moments([mean(one - other[rows], -1.0, 1.0) for one in columns])
                whole, *points = (combine([one], method=method) for one in moments)
                found.append(with_points(whole, points))
                by_first, by_second = choices
                values.append(float(np.where(first, true[by_second], true[by_first]).mean() - of))
            yield Key(VERIFIER, name, "best@n_star", None, m), found, values

    def n_star(self) -> tuple[Key, list[Interval], list[float]] | None:
        """The n of the highest point of best@n; None where the true curve is flat, and every n as good."""
        curve, ns = self.task.curves[VERIFIER], self.task.ns
        true = np.array([truth(self.scenario, "accuracy", f"best@{n}") for n in ns])
        if np.ptp(true) < FLAT:
            return None
        found = []
        for rows in self.parts:
            low, high = likely_best([curve[rows]], [1.0], [self.resampling])
            star, nan = ns[best_points([curve[rows]], [1.0])], math.nan
            found.append(
                Interval(float(star), nan, float(ns[low]), float(ns[high]), nan, self.prompts, self.prompts)
            )
        key = Key(VERIFIER, "n_star", "best@n", None, self.scenario.M)
        return key, found, [float(ns[int(true.argmax())])] * len(found)


def study(
    name: str,
    prompts: int,
    data_sets: int,
    seed: int = 0,
    *,
    method: Method = "hull",
    change: Callable[[Interval], Interval] = lambda found: found,
    keep: Callable[[Key], bool] = lambda key: True,
    filters: Sequence[str] = (),
    verdict_counts: bool = False,
    over_optimisation: bool = False,
) -> list[Coverage]:
    """Coverage of every quantity in one scenario.

    Parameters
    ----------
    name
        Of `gapbench.synthetic.SCENARIOS`.
    change
        Replaces each interval by another, to study one that is not offered.
    keep
        Which quantities.
    filters, verdict_counts, over_optimisation
        What the table has beyond its default, as `gapbench.estimate.table.estimate_panels` takes them.
    """
    batch = Batch(SCENARIOS[name], prompts, data_sets, seed, filters, verdict_counts)
    found = []
    for key, parts in batch.table(keep):
        moments = batch.resampling.moments([quantity for quantity, _ in parts])
        intervals = [change(combine([one], method=method)) for one in moments]
        found.append(_counted(name, prompts, key, intervals, [value for _, value in parts]))
    for key, intervals, values in batch.at_best_n(method) if over_optimisation else ():
        found.append(_counted(name, prompts, key, [change(one) for one in intervals], values))
    if over_optimisation and (star := batch.n_star()):
        found.append(_counted(name, prompts, *star))
    return found


def _counted(
    name: str, prompts: int, key: Key, intervals: Sequence[Interval], truths: Sequence[float]
) -> Coverage:
    known = [(one, value) for one, value in zip(intervals, truths, strict=True) if not math.isnan(one.low)]
    off = np.array([one.value - value for one, value in known])
    return Coverage(
        name,
        prompts,
        key.quantity,
        key.filter,
        key.n,
        key.m,
        data_sets=len(known),
        hits=sum(one.low - ROUND_OFF <= value <= one.high + ROUND_OFF for one, value in known),
        off=float(off.sum()),
        off_squared=float((off**2).sum()),
        width=float(np.median([one.high - one.low for one, _ in known])) if known else math.nan,
        not_estimable=sum("not_estimable" in one.flags for one in intervals),
    )


def pooled(batches: pd.DataFrame) -> list[Coverage]:
    """Coverage over all batches of each quantity in each cell; the width is the mean of the batches' medians."""
    keys = ["scenario", "prompts", "quantity", "filter", "n", "m"]
    sums = ["data_sets", "hits", "off", "off_squared", "not_estimable"]
    total = batches.groupby(keys, sort=False, dropna=False).agg(
        {**dict.fromkeys(sums, "sum"), "width": "mean"}
    )
    found = []
    for row in total.reset_index().to_dict("records"):
        n, m = (None if pd.isna(row[name]) else int(row[name]) for name in ("n", "m"))
        found.append(Coverage(**{**row, "n": n, "m": m}))
    return found


def run(path: Path, cells: Sequence[tuple[str, int]], data_sets: int) -> None:
    """Measure what is not yet in the file, all cells in turn, writing after every batch."""
    from benchmarks.coverage_report import write_report

    held = pd.read_parquet(path) if path.exists() else pd.DataFrame()
    done = set(zip(held["scenario"], held["prompts"], held["batch"], strict=True)) if len(held) else set()
    for batch in range(-(-data_sets // BATCH)):
        for name, prompts in cells:
            if (name, prompts, batch) in done:
                continue
            rows = study(
                name,
                prompts,
                BATCH,
                seed=batch,
                filters=["all"],
                verdict_counts=True,
                over_optimisation=True,
            )
            fresh = pd.DataFrame([{"batch": batch, **asdict(row)} for row in rows])
            fresh = fresh.astype({"n": "Int64", "m": "Int64"})
            held = pd.concat([held, fresh], ignore_index=True) if len(held) else fresh
            unfinished = path.with_suffix(".part")
            held.to_parquet(unfinished)
            unfinished.replace(path)
            worst = min((row for row in rows if row.data_sets), key=lambda row: row.covered)
            print(
                f"{name}, {prompts} prompts, batch {batch}: lowest {worst.quantity}[{worst.filter}] "
                f"{worst.covered:.2f}",
                flush=True,
            )
        write_report(pooled(held), path.parent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-sets", type=int, default=1000, help="for each cell, in batches of 50")
    parser.add_argument("--prompts", type=int, nargs="+", default=[30, 50, 200])
    parser.add_argument("--scenarios", nargs="+", default=list(SCENARIOS), choices=list(SCENARIOS))
    parser.add_argument("--out", type=Path, default=Path("results/coverage"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    cells = [(name, prompts) for name in asked.scenarios for prompts in asked.prompts]
    run(asked.out / "coverage.parquet", cells, asked.data_sets)


if __name__ == "__main__":
    main()
