"""What is said of one domain and verifier: estimates of what was measured, and what follows from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from gapbench.estimate.levels import Level
from gapbench.estimate.measured import Key
from gapbench.estimate.results import Estimate
from gapbench.estimate.rows import chosen_rows, row_of
from gapbench.projection.beyond import (
    NOT_EXTRAPOLATED,
    Resampled,
    coverage_beyond,
    frozen_path,
    moving_judges,
    resampled,
)
from gapbench.projection.coverage import extended
from gapbench.projection.loops import BestLoop, Loop, SoftLoop
from gapbench.projection.measured import (
    ProjectedTask,
    corner_key,
    gain_key,
    pass_key,
    reserve_key,
    round_key,
    signal_key,
)
from gapbench.projection.results import (
    MEASUREMENT,
    NAN,
    PROJECTION,
    SCENARIO,
    Corner,
    CoveragePoint,
    CurvePoint,
    DomainProjection,
    Kind,
    OverOptimisation,
    Round,
    Signal,
    Value,
)

DOUBLINGS = 6  # of N, up to which coverage is extrapolated where nothing is asked for
RARITY = 3.0  # a response rarer than 3/N is missing among N with a chance of at least .05


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for; see `gapbench.projection.project.project_run`.

    Attributes
    ----------
    coverage
        Filled on the way: coverage by the names of the tasks, in which no verifier has a part.
    """

    model: str
    loop: Loop
    ks: tuple[int, ...]
    rounds: int
    residual: float
    coverage: dict[tuple[str, ...], list[CoveragePoint]] = field(default_factory=dict)


def project_level(level: Level, verifier: str, asked: Request) -> DomainProjection:
    """Project one domain, or all of them, for one verifier.

    Parameters
    ----------
    level
        Its tasks hold the moments of the quantities that are wanted.
    verifier
        Empty where the run has none.
    """
    return _Row(level, verifier, asked).build()


class _Row:
    def __init__(self, level: Level, verifier: str, asked: Request) -> None:
        self.level, self.verifier, self.asked, self.loop = level, verifier, asked, asked.loop
        self.tasks = [member for member in level.members if isinstance(member, ProjectedTask)]
        self.ns = [n for n in self.tasks[0].ns if all(n in task.ns for task in self.tasks)]
        self.size = min(task.pool for task in self.tasks)
        named = (key.m for key in self.tasks[0].measures if key.verifier == verifier and key.m is not None)
        self.m = next(named, None) if verifier else None

    def build(self) -> DomainProjection:
        asked = self.asked
        chosen = {row.quantity: row for row in self._chosen()}
        star, test = chosen.get("n_star"), chosen.get("over_optimisation")
        measured, accuracy = (
            self._reserve(chosen.get("gap")),
            self._value(Key("", "accuracy", "", None, None)),
        )
        names = tuple(task.task for task in self.tasks)
        if names not in asked.coverage:
            asked.coverage[names] = self._coverage()
        coverage = asked.coverage[names]
        flags = dict.fromkeys([*self.level.flags, *accuracy.flags, *measured.flags, *self._words()])
        flags |= dict.fromkeys(["one_response"] * (self.size == 1))
        flags |= dict.fromkeys(flag for one in coverage for flag in one.flags if flag == NOT_EXTRAPOLATED)
        return DomainProjection(
            domain=self.level.domain,
            verifier=self.verifier,
            m=self.m,
            n_prompts=sum(int(np.count_nonzero(task.responses)) for task in self.tasks),
            n_responses=self.size,
            accuracy=accuracy,
            reserve_measured=measured,
            reserve_identified=self._identified(),
            reserve_coverage=self._value(reserve_key(self.ns[-1])),
            n_star=None if star is None else int(star.value),
            n_star_low=None if star is None else int(star.low),
            n_star_high=None if star is None else int(star.high),
            over_optimisation=OverOptimisation()
            if test is None
            else OverOptimisation(test.value, test.low, test.high, NAN if test.p is None else test.p),
            horizon_rounds=self.horizon,
            curve=tuple(self._curve()),
            rounds=tuple(self._rounds()),
            corner=self._corner(),
            coverage=tuple(coverage),
            moving_judge=()
            if self.path is None or self.covering is None
            else moving_judges(self.path, self.covering, self.asked.residual),
            signal=tuple(
                Signal(one.value, one.low, one.high, MEASUREMENT, one.flags, g=g)
                for g, one in ((g, self._value(signal_key(g))) for g in self.ns if g > 1)
            ),
            flags=tuple(flags),
        )

    @cached_property
    def horizon(self) -> int | None:
        """Rounds that every task shows."""
        if not all(self.verifier in task.horizon for task in self.tasks):
            return None
        return min(task.horizon[self.verifier] for task in self.tasks)

    @cached_property
    def covering(self) -> Resampled | None:
        """pass@k at the n of the curves."""
        columns = [task.coverage[:, [task.ns.index(n) for n in self.ns]] for task in self.tasks]
        return resampled(self.tasks, self.level.weights, columns)

    @cached_property
    def path(self) -> tuple[np.ndarray, Resampled] | None:
        """Accuracy along the path of the frozen judge."""
        return None if self.horizon is None else frozen_path(self.tasks, self.level.weights, self.verifier)

    def _row(self, key: Key) -> Estimate | None:
        measured = all(key in task.measures for task in self.tasks)
        return (
            row_of(key, self.level, self.asked.model, "hull") if measured and self.level.holds(key) else None
        )

    def _value(self, key: Key) -> Value:
        return _value(self._row(key))

    def _words(self) -> Iterator[str]:
        """What qualifies everything that is said of the verifier here."""
        for task in self.tasks if self.verifier else ():
            yield from task.own_flags[self.verifier]
            for key, one in task.measures.items():
                if key.verifier == self.verifier:
                    yield from one.flags

    def _chosen(self) -> list[Estimate]:
        """n_star, the cross-fitted gap, and the test of over-optimisation, as in the table of estimates."""
        if not all(self.verifier in task.curves for task in self.tasks):
            return []
        return chosen_rows(self.verifier, self.level, self.asked.model, "hull")

    def _reserve(self, gap: Estimate | None) -> Value:
        """The cross-fitted gap; that of the whole pool for a verifier that has no other."""
        if gap is not None or not self.verifier:
            return _value(gap)
        pools = {task.panel.utility.shape[1] for task in self.tasks}
        pooled = all(task.panel.scores[self.verifier].whole_pool for task in self.tasks)
        if not pooled or len(pools) > 1:
            return Value()
        pool = pools.pop()
        return self._value(Key(self.verifier, "gap", f"best@{pool}", pool, self.m))

    def _identified(self) -> Value:
        if self.horizon is None:
            return Value(kind=PROJECTION)
        return _value(self._row(gain_key(self.verifier, self.loop, self.horizon)), PROJECTION)

    def _curve(self) -> Iterator[CurvePoint]:
        for key in self.tasks[0].moments:
            if key.verifier == self.verifier and key.quantity == "accuracy" and key.n is not None:
                found = self._value(key)
                if np.isfinite(found.value):
                    yield CurvePoint(found.value, found.low, found.high, MEASUREMENT, found.flags, n=key.n)

    def _coverage(self) -> list[CoveragePoint]:
        ks = self.asked.ks
        inside = sorted({*self.ns, *(k for k in ks if k <= self.size)})
        beyond = ks or [self.size * 2**step for step in range(1, DOUBLINGS + 1)]
        found = []
        for k in inside:
            one = self._value(pass_key(k))
            found.append(CoveragePoint(one.value, one.low, one.high, MEASUREMENT, one.flags, k=k))
        last = next(one for one in found if one.k == self.ns[-1])
        return found + coverage_beyond(
            self.covering,
            self.tasks,
            self.level.weights,
            self.ns,
            sorted({k for k in beyond if k > self.size}),
            last,
        )

    def _rounds(self) -> Iterator[Round]:
        horizon = self.horizon
        if horizon is None or self.path is None:
            return
        for t in range(max(horizon, self.asked.rounds) + 1):
            inside = t <= horizon
            kind: Kind = MEASUREMENT if t == 0 else PROJECTION if inside else SCENARIO
            fixed, fresh = (
                self._row(round_key(self.verifier, self.loop, t, fresh=one)) for one in (False, True)
            )
            yield Round(
                t=t,
                filter=_folded(self.loop, t),
                identified=inside,
                fixed=_value(fixed, kind),
                fresh=None if fresh is None else _value(fresh, kind),
                held=NAN if inside else float(self.path[1].mean[-1]),
                cap=NAN if inside else self._cap(t),
                kind=kind,
            )

    def _cap(self, rounds: int) -> float:
        """Coverage at as many responses as the rounds choose among; for other filters there is no such number."""
        if self.covering is None or not isinstance(self.loop, BestLoop):
            return NAN
        return float(extended(self.covering.mean, np.array(self.ns), [self.loop.n**rounds])[0])

    def _corner(self) -> Corner | None:
        share = self._row(corner_key(self.verifier))
        best = self._value(Key(self.verifier, "accuracy", f"best@{self.ns[-1]}", self.ns[-1], self.m))
        if share is None:
            return None
        return Corner(self.ns[-1], best, _value(share), RARITY / self.ns[-1])


def _folded(loop: Loop, rounds: int) -> str:
    if rounds == 0:
        return "none"
    return f"soft^{rounds}" if isinstance(loop, SoftLoop) else loop.folded(rounds).label


def _value(row: Estimate | None, kind: Kind = MEASUREMENT) -> Value:
    if row is None:
        return Value(kind=kind)
    return Value(row.value, row.low, row.high, kind, row.flags)
