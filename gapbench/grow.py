"""A run that draws prompts until its interval is narrow enough or its tokens are spent.

Only the width decides when to stop, never what the gap turns out to be: stopping at significance would find gaps that
are not there (measurement.md, section 5).

>>> config = RunConfig(suite="starter", model="simulated", engine="simulated", n=8, verifiers=("yesno",))
>>> grow(config, "runs/narrow", half_width=0.03).manifest["grown"]["stopped"]  # doctest: +SKIP
'half_width'
"""

from __future__ import annotations

import math
from pathlib import Path

from gapbench.errors import UserError
from gapbench.estimate.results import Estimate
from gapbench.records import Prompt
from gapbench.run import Run, RunConfig, execute
from gapbench.savings import Savings
from gapbench.store import RunStore
from gapbench.verifiers.base import ModelVerifier

FIRST_PROMPTS = 20  # of each task, from which widths and tokens are first foretold
MOST_GROWTH = 3.0  # in one step: early widths are rough
MARGIN = 1.05


def grow(
    config: RunConfig,
    out: str | Path,
    *,
    half_width: float | None = None,
    budget: int | None = None,
    resume: bool = False,
) -> Run:
    """Create a run, or go on with one, and add prompts to every task as long as they are needed.

    Parameters
    ----------
    config
        What to draw; its limit is the most prompts of a task. Where it saves nothing, unanimous prompts are skipped
        and at most n/2 right and n/2 wrong responses verified.
    out
        The run directory.
    half_width
        Stop when half of the interval of the headline gap over all domains is no wider: that of the first verifier
        that asks a model, at the largest n for which single numbers are reported.
    budget
        Generated tokens that the run may have in all. The first 20 prompts of each task are drawn in any case.
    resume
        Go on with a run that is already there.

    Returns
    -------
    The run; `manifest["grown"]` says why it stopped: `half_width`, `budget` or `prompts`, when there are no more.

    Raises
    ------
    UserError
        As `gapbench.run.execute`, or if neither a half-width nor a budget is given that can be met.
    """
    if half_width is not None and not 0 < half_width < 1:
        raise UserError(f"--half-width {half_width:g}: give a number between 0 and 1")
    if budget is not None and budget < 1:
        raise UserError(f"--budget {budget}: give a number of tokens above 0")
    if half_width is None and budget is None:
        raise UserError("nothing says when to stop: give --half-width, --budget or both")
    drawn, usual = 0, Savings(skip_unanimous=True, case_control=max(config.n // 2, 1))
    if resume and RunStore(out).exists:
        old = Run(out).config
        drawn, usual = old.limit or 0, old.savings
    if config.savings.none:
        config = config.model_copy(update={"savings": usual})
    most = config.limit or math.inf
    limit = max(drawn, int(min(FIRST_PROMPTS, most)))
    while True:
        run = execute(config.model_copy(update={"limit": limit}), out, resume=resume)
        resume = True
        width, tokens, prompts = _half_width(run), run.tokens, _largest_task(run)
        wanted = math.inf
        stopped = None
        if half_width is not None:
            if width <= half_width:
                stopped = "half_width"
            wanted = limit * (width / half_width) ** 2 * MARGIN if math.isfinite(width) else math.inf
        affordable = math.inf if budget is None else budget / max(tokens, 1) * limit
        following = math.floor(min(max(wanted, limit + 1), MOST_GROWTH * limit, affordable, most))
        if stopped is None and following <= limit:
            stopped = "budget" if affordable < limit + 1 else "prompts"
        if stopped is None and prompts < limit:
            stopped = "prompts"
        if stopped is not None:
            run.update(
                grown={
                    "wanted_half_width": half_width,
                    "budget": budget,
                    "half_width": width if math.isfinite(width) else None,
                    "tokens": tokens,
                    "stopped": stopped,
                }
            )
            return run
        limit = following


def headline(run: Run) -> Estimate | None:
    """The gap over all domains by the first verifier that asks a model, at the headline n; None where there is none."""
    estimates = run.estimate()
    asking = [one.name for one in run.verifiers() if isinstance(one, ModelVerifier)]
    for name in asking[:1]:
        own = estimates.where(domain="all", task="", verifier=name)
        for single in own.where(quantity="gap_permuted"):
            for row in own.where(quantity="gap", filter=single.filter) if single.n is not None else ():
                return row
    return None


def _half_width(run: Run) -> float:
    row = headline(run)
    if row is None:
        raise UserError(
            "no verifier of this run asks a model, so that there is no gap whose width could be awaited"
        )
    width = (row.high - row.low) / 2
    return width if math.isfinite(width) else math.inf


def _largest_task(run: Run) -> int:
    """Prompts of the task that has most."""
    tasks = [prompt.task for prompt in run.store.rows(Prompt)]
    return max(map(tasks.count, set(tasks)))
