"""A run that draws until its interval is narrow enough or its tokens are spent.

It starts small and adds prompts, responses or verdicts, whichever its own rows say buys most precision for a token
(`gapbench.design.topup`). The quantity stays the same all the while: gap[best@n, m], n and m fixed at the start. Only the width
decides when to stop, never what the gap turns out to be: stopping at significance would find gaps that are not there
(measurement.md, section 5).

>>> config = RunConfig(suite="starter", model="simulated", engine="simulated", n=8, verifiers=("yesno",))
>>> grow(config, "runs/narrow", half_width=0.03).manifest["grown"]["stopped"]  # doctest: +SKIP
'half_width'
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

from gapbench.design.awaited import Awaited, awaited_gap, awaited_of
from gapbench.design.forecast import Forecast
from gapbench.design.pilot import read_partial
from gapbench.design.topup import Growth, Size
from gapbench.errors import UserError
from gapbench.estimate.selection import BestOf
from gapbench.launch import Engines
from gapbench.records import Prompt
from gapbench.run import Run, RunConfig, execute
from gapbench.savings import Savings
from gapbench.store import RunStore

FIRST_PROMPTS = 20  # of each task, from which widths and tokens are first foretold


def grow(
    config: RunConfig,
    out: str | Path,
    *,
    half_width: float | None = None,
    budget: int | None = None,
    resume: bool = False,
) -> Run:
    """Create a run, or go on with one, and add prompts, responses and verdicts as long as they are needed.

    Parameters
    ----------
    config
        What to draw; its limit is the most prompts of a task, and n and verdicts are what it starts with. Where it saves
        nothing, unanimous prompts are skipped and at most n/2 right and n/2 wrong responses verified.
    out
        The run directory.
    half_width
        Stop when half of the interval of the awaited gap over all domains is no wider: that of the first verifier
        that asks a model about a response, of best@n at the largest n for which a run of the size at the start reports
        single numbers, by as many verdicts as it has then.
    budget
        Generated tokens that the run may have in all. The first 20 prompts of each task are drawn in any case.
    resume
        Go on with a run that is already there. Neither prompts nor responses nor verdicts become fewer.

    Returns
    -------
    The run; `manifest["grown"]` says what was reached and why it stopped: `half_width`, `budget`, or `exhausted` when there
    are no more prompts and neither more responses nor more verdicts would reach the width.

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
    store = RunStore(out)
    before = Run(out) if resume and store.exists else None
    config, size = _start(config, before)
    told = {} if before is None else before.manifest.get("grown", {})
    start = Size(0, *told.get("start", size[1:]))
    awaited = None
    if told:
        awaited = Awaited(told["verifier"], told["n"], told["m"])
    elif before is not None and store.count("responses"):
        awaited = awaited_of(before, before.panels())
    most = math.inf if config.limit is None else config.limit
    with Engines() as engines:
        while True:
            update = {"limit": size.prompts, "n": size.responses, "verdicts": size.verdicts}
            run = execute(config.model_copy(update=update), out, resume=resume, engines=engines)
            resume = True
            panels = run.panels()
            if awaited is None:
                awaited = awaited_of(run, panels)
            found = awaited_gap(awaited, panels, run.config.seed)
            width = (found.high - found.low) / 2
            width = width if math.isfinite(width) else math.inf
            if max(Counter(prompt.task for prompt in run.store.rows(Prompt)).values()) < size.prompts:
                most = size.prompts
            state: dict[str, Any] = {
                **awaited._asdict(),
                "start": start[1:],
                "wanted_half_width": half_width,
                "budget": budget,
                "value": found.value if math.isfinite(found.value) else None,
                "half_width": width if math.isfinite(width) else None,
                "tokens": run.tokens,
            }
            growth = Growth(
                size,
                start,
                most,
                width,
                run.tokens,
                [
                    Forecast(task, BestOf(awaited.n), awaited.m)
                    for task in read_partial(run, panels, awaited.verifier)
                ],
                run.config.savings,
                half_width or 0.0,
                math.inf if budget is None else budget,
            )
            step = None
            stopped = "half_width" if half_width is not None and width <= half_width else None
            if stopped is None:
                step = growth.following()
                stopped = growth.why_not() if step is None else None
            run.update(grown={**state, "stopped": stopped})
            if step is None:
                return run
            size = step.size


def _start(config: RunConfig, before: Run | None) -> tuple[RunConfig, Size]:
    """The configuration to go on with, and the size at which to begin: never less than there is."""
    usual = Savings(skip_unanimous=True, case_control=max(config.n // 2, 1))
    prompts, responses, verdicts = FIRST_PROMPTS, config.n, config.verdicts
    if config.limit is not None:
        prompts = min(prompts, config.limit)
    if before is not None:
        old = before.config
        usual = old.savings
        prompts = max(prompts, old.limit or 0)
        responses, verdicts = max(responses, old.n), max(verdicts, old.verdicts)
        if config.limit is not None:
            config = config.model_copy(update={"limit": max(config.limit, prompts)})
    if config.savings.none:
        config = config.model_copy(update={"savings": usual})
    return config, Size(prompts, responses, verdicts)


def reached(run: Run) -> str:
    """One line that says what a grown run has reached, and why it stopped."""
    grown, config = run.manifest["grown"], run.config
    awaited = Awaited(grown["verifier"], grown["n"], grown["m"])
    width = "not known" if grown["half_width"] is None else f"±{grown['half_width']:.4f}"
    wanted = "" if grown["wanted_half_width"] is None else f" (wanted ±{grown['wanted_half_width']:g})"
    why = {
        "half_width": "narrow enough",
        "budget": f"the budget of {grown['budget']:,} tokens allows no more" if grown["budget"] else "",
        "exhausted": "there are no more prompts, and no more responses or verdicts that the run can foretell would do",
    }[grown["stopped"]]
    if grown["stopped"] == "exhausted" and config.savings.case_control is not None:
        why += f"; to verify more than {config.savings.case_control} right and wrong of each prompt may"
    return (
        f"{awaited.label}: {width}{wanted} with {config.limit} prompts a task x {config.n} responses x "
        f"{config.verdicts} verdicts, {grown['tokens']:,} tokens; stopped: {why}"
    )
