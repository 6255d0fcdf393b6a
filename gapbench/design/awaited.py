"""The gap whose interval a growing run waits for: gap[best@n, m], the same quantity while N and M grow.

>>> wanted = awaited_of(Run("runs/small"))  # doctest: +SKIP
>>> awaited_gap(wanted, Run("runs/small").panels(), seed=0).low  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from gapbench.design.pilot import verifier_asked, weights_of
from gapbench.design.trial import verdict_blocks
from gapbench.errors import UserError
from gapbench.estimate.intervals import Interval, combine
from gapbench.estimate.partial import partly_verified
from gapbench.estimate.quantities import pool_size, powers_of_two
from gapbench.estimate.quantity import Quantity
from gapbench.estimate.resampling import Resampling
from gapbench.panel import Panel, Verified
from gapbench.run import Run


class Awaited(NamedTuple):
    """A gap by its name."""

    verifier: str
    n: int
    m: int

    @property
    def label(self) -> str:
        """As in `gap[best@4, m=8] by yesno`."""
        return f"gap[best@{self.n}, m={self.m}] by {self.verifier}"


def awaited_of(run: Run, panels: Sequence[Panel]) -> Awaited:
    """The gap that a run is about: that of its first verifier that asks about a response, at the headline n.

    Raises
    ------
    UserError
        If there is no such verifier, or a task without any verdict of it.
    """
    name = verifier_asked(run)
    lacking = [panel.task for panel in panels if name not in panel.scores]
    if lacking:
        raise UserError(
            f"verifier '{name}' does not apply to task '{lacking[0]}', so that there is no gap to await"
        )
    pool = min(pool_size(panel) for panel in panels)
    few = [panel.verified[name].most for panel in panels if name in panel.verified]
    largest = min([max(pool // 2, min(pool, 2)), *(most for most in few if most is not None)])
    m = min(panel.scores[name].replicates for panel in panels)
    return Awaited(name, powers_of_two(max(largest, 1))[-1], m)


def awaited_gap(wanted: Awaited, panels: Sequence[Panel], seed: int) -> Interval:
    """Its value and interval over all domains, by every response and verdict there is.

    NaN where no prompt of a task has enough responses verified. Of more than m verdicts each block of m gives an estimate of its own; their mean is as unbiased, with less noise.
    """
    moments = []
    for panel in panels:
        scores = panel.scores[wanted.verifier]
        whole = np.ones(len(panel.utility), dtype=bool)
        verified = panel.verified.get(wanted.verifier, Verified(~np.isnan(panel.utility), whole))
        cheap = None if verified.control is None else panel.scores[verified.control].mean
        parts = []
        for score in verdict_blocks(scores, wanted.m, scores.replicates // wanted.m):
            known = partly_verified(
                panel.utility,
                score,
                verified,
                [wanted.n],
                headline=wanted.n,
                clusters=panel.clusters,
                seed=[seed, 5, *panel.task.encode()],
                cheap=cheap,
            )
            parts += [one for key, one in known.items() if key == ("gap", f"best@{wanted.n}", wanted.n)]
        if not parts:  # too few responses verified so far
            nan = float("nan")
            return Interval(nan, nan, nan, nan, nan, 0, 0)
        resampling = Resampling(panel.clusters, seed=seed, task=panel.task)
        moments += resampling.moments([_mean(parts)])
    return combine(moments, weights_of(panels))


def _mean(parts: Sequence[Quantity]) -> Quantity:
    """The mean of estimates of one quantity."""
    if len(parts) == 1:
        return parts[0]
    terms = tuple(term._replace(sign=term.sign / len(parts)) for part in parts for term in part.terms)
    return replace(parts[0], terms=terms)
