"""Do 95 % intervals hold the truth 95 times in 100? Every quantity of the table on data sets whose truth is known.

    python benchmarks/coverage.py --data-sets 1000 --out results/coverage.csv

For each scenario of `gapbench.synthetic` and number of prompts it draws many data sets of 32 responses x 8 verdicts
and writes coverage with its Monte-Carlo error, bias, and the widths of the intervals. All data sets of a cell are
drawn and measured in one go, as one panel that is then cut into its prompts, which are independent.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gapbench.estimate.discrimination import auc_between
from gapbench.estimate.filters import asked_filters
from gapbench.estimate.intervals import Interval, Method, combine
from gapbench.estimate.quantities import Key, TaskMeasures, powers_of_two
from gapbench.estimate.quantity import Curve, Quantity, Term
from gapbench.estimate.resampling import Moments, Resampling
from gapbench.estimate.selection import Order
from gapbench.synthetic import SCENARIOS, Scenario, draw, truth

RESPONSES = 32
HEADLINE = 8
VERIFIER = "binary"
NOT_KNOWN = ("nothing_passes", "gap_pooled_permuted")  # no closed form; not independent from prompt to prompt
CHOSEN = "threshold@cv"  # its truth depends on which threshold was chosen


@dataclass(frozen=True)
class Coverage:
    """How the intervals of one quantity did over many data sets."""

    scenario: str
    prompts: int
    quantity: str
    filter: str
    n: int | None
    m: int | None
    truth: float
    bias: float
    bias_se: float
    covered: float
    covered_se: float
    width: float
    not_estimable: float
    data_sets: int

    @property
    def at_best(self) -> float:
        """Observed coverage and three Monte-Carlo standard errors."""
        return self.covered + 3 * self.covered_se


def true_value(scenario: Scenario, key: Key) -> float:
    """The number that a row of the table estimates.

    Controls have none. A macro gap of a threshold is that of a budget of the responses there are.
    """
    if key.quantity == "gap_permuted":
        return 0.0
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


def measured(
    scenario: Scenario,
    prompts: int,
    data_sets: int,
    seed: int,
    *,
    filters: Sequence[str] = (),
    verdict_counts: bool = False,
) -> Iterator[tuple[Key, list[Moments]]]:
    """Each quantity, with its moments on every data set; all data sets share one matrix of resamples."""
    data = draw(scenario, prompts * data_sets, RESPONSES, seed)
    panel = data.panel()
    panel = replace(panel, scores={VERIFIER: panel.scores[VERIFIER]})
    task = TaskMeasures(
        panel,
        ns=powers_of_two(RESPONSES),
        headline=HEADLINE,
        seed=seed,
        filters=asked_filters(filters, HEADLINE),
        verdict_counts=verdict_counts,
    )
    score = panel.scores[VERIFIER].mean
    resampling = Resampling(np.arange(prompts), seed=seed)
    parts = [slice(start, start + prompts) for start in range(0, prompts * data_sets, prompts)]
    for key, one in task.all().items():
        if key.quantity in NOT_KNOWN or key.filter == CHOSEN or one.quantity is None:
            continue
        if key.quantity == "auc_between":
            on_parts = [_auc_between(panel.utility[rows], score[rows]) for rows in parts]
        else:
            on_parts = [cut(one.quantity, rows) for rows in parts]
        yield key, resampling.moments(on_parts)


def _auc_between(utility: np.ndarray, score: np.ndarray) -> Quantity | Curve:
    return auc_between(Order.of(score, ~np.isnan(utility)), utility, score)


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
    """
    scenario = SCENARIOS[name]
    found = []
    for key, moments in measured(
        scenario, prompts, data_sets, seed, filters=filters, verdict_counts=verdict_counts
    ):
        if not keep(key):
            continue
        value = true_value(scenario, key)
        intervals = [change(combine([one], method=method)) for one in moments]
        known = [one for one in intervals if not math.isnan(one.low)]
        hit = np.array([one.low - 1e-12 <= value <= one.high + 1e-12 for one in known])
        estimates = np.array([one.value for one in known])
        found.append(
            Coverage(
                name,
                prompts,
                key.quantity,
                key.filter,
                key.n,
                key.m,
                value,
                float(estimates.mean() - value) if known else math.nan,
                float(estimates.std() / math.sqrt(max(len(known), 1))) if known else math.nan,
                float(hit.mean()) if known else math.nan,
                float(math.sqrt(hit.mean() * (1 - hit.mean()) / len(hit))) if known else math.nan,
                float(np.median([one.high - one.low for one in known])) if known else math.nan,
                float(np.mean(["not_estimable" in one.flags for one in intervals])),
                len(known),
            )
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-sets", type=int, default=1000)
    parser.add_argument("--prompts", type=int, nargs="+", default=[30, 50, 200])
    parser.add_argument("--scenarios", nargs="+", default=list(SCENARIOS))
    parser.add_argument("--out", type=Path, default=Path("results/coverage.csv"))
    asked = parser.parse_args()
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    names = list(Coverage.__dataclass_fields__)
    with asked.out.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for name in asked.scenarios:
            for prompts in asked.prompts:
                rows = study(name, prompts, asked.data_sets, filters=["all"], verdict_counts=True)
                writer.writerows([getattr(row, field) for field in names] for row in rows)
                file.flush()
                worst = min(rows, key=lambda row: row.covered)
                print(
                    f"{name}, {prompts} prompts: worst {worst.quantity}[{worst.filter}] {worst.covered:.3f}"
                )


if __name__ == "__main__":
    main()
