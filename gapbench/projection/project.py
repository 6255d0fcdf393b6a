"""Everything that one frozen model's run says of its future, by domain and verifier (projection.md, section 2).

Intervals, weights of tasks and resamples are those of the run's estimates, so that the two never disagree.

>>> from gapbench.synthetic import SCENARIOS, draw
>>> found = project_panels([draw(SCENARIOS["mid"], 200, 32, seed=0).panel()], model="m", filter="best@2")
>>> row = found.row("all", "probability")
>>> row.horizon_rounds, row.reserve_measured.low > 0, [one.kind for one in row.rounds][-1]
(5, True, 'projection')
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from gapbench.errors import UserError
from gapbench.estimate.levels import OVERALL, levels
from gapbench.estimate.measured import Key, pool_size
from gapbench.panel import Panel
from gapbench.projection.loops import MOST_ROUNDS, loop_of
from gapbench.projection.measured import ProjectedTask
from gapbench.projection.results import Projection
from gapbench.projection.row import Request, project_level

if TYPE_CHECKING:
    from gapbench.run import Run

DEFAULT_FILTER = "best@4"
DEFAULT_ROUNDS = 5
MOST_RESPONSES = 10**12


def project_run(
    run: Run,
    panels: Sequence[Panel] | None = None,
    *,
    filter: str = DEFAULT_FILTER,
    ks: Sequence[int] = (),
    rounds: int = DEFAULT_ROUNDS,
    residual: float = 0.0,
) -> Projection:
    """Project a run; `gapbench.projection.forecast.write_forecast` keeps the result in it.

    Parameters
    ----------
    run
        With graded responses; verdicts make more of it.
    panels
        `run.panels()`, where they have been read already.
    filter
        What each round of the loop keeps: `best@n` from n = 2, `top q` with q < 1, or `soft`.
    ks
        Numbers of responses at which coverage is wanted, beyond N too; 2 N, 4 N, ... 64 N where none are given.
    rounds
        Rounds to be shown at least.
    residual
        Gap that the moving-judge scenarios leave.

    Raises
    ------
    UserError
        If the filter is not known, a number is out of its range, or nothing is graded.
    """
    sampled = {verifier.name for verifier in run.verifiers() if not verifier.deterministic}
    return project_panels(
        run.panels() if panels is None else panels,
        model=run.model,
        seed=run.config.seed,
        filter=filter,
        ks=ks,
        rounds=rounds,
        residual=residual,
        sampled=sampled,
    )


def project_panels(
    panels: Sequence[Panel],
    *,
    model: str,
    seed: int = 0,
    filter: str = DEFAULT_FILTER,
    ks: Sequence[int] = (),
    rounds: int = DEFAULT_ROUNDS,
    residual: float = 0.0,
    sampled: Collection[str] = (),
) -> Projection:
    """Project the panels of one model, one a task; parameters as for `project_run`.

    Parameters
    ----------
    model
        Written into the result.
    seed
        Of the resampling, that of the estimates it is to agree with.
    sampled
        Verifiers whose verdicts are drawn, so that a replicate would differ. One with several replicates is so anyway.

    Raises
    ------
    UserError
        As for `project_run`.
    """
    loop = loop_of(filter)
    for k in ks:
        if not 1 <= k <= MOST_RESPONSES:
            raise UserError(f"--k {k}: a number of responses lies between 1 and {MOST_RESPONSES:,}")
    if not 1 <= rounds <= MOST_ROUNDS:
        raise UserError(f"--rounds {rounds}: from 1 to {MOST_ROUNDS}")
    if not 0 <= residual <= 1:
        raise UserError(f"--residual {residual}: a gap that is left lies between 0 and 1")
    graded = [panel for panel in panels if pool_size(panel)]
    if not graded:
        raise UserError("there is no graded response to project from: run `gapbench grade` first")
    tasks = [ProjectedTask(panel, loop, ks, seed, sampled) for panel in graded]
    names = list(dict.fromkeys(name for task in tasks for name in task.panel.scores)) or [""]
    asked = Request(model, loop, tuple(ks), rounds, residual)
    rows = []
    for name in names:
        keys = list(
            dict.fromkeys(key for task in tasks for key in task.measures if key.verifier in ("", name))
        )
        keys = [key for key in keys if _wanted(key, name)]
        for task in tasks:
            task.resample(keys)
        for level in levels(tasks, Key(name, "", "", None, None)):
            if not level.task:
                rows.append(project_level(level, name, asked))
    rows.sort(key=lambda row: row.domain == OVERALL)
    return Projection(model, loop.label, residual, tuple(rows))


def _wanted(key: Key, verifier: str) -> bool:
    """Whether a quantity plays a part in a projection, so that only these are resampled."""
    own = ("accuracy", "gap", "round", "round_fresh", "gain", "top_share")
    shared = ("accuracy", "pass@k", "reserve_coverage", "signal")
    if key.verifier:
        return key.quantity in own and (
            key.filter.startswith("best@") or key.quantity not in ("accuracy", "gap")
        )
    return key.quantity in shared and (key.quantity != "accuracy" or not key.filter)
