"""Responses and scores that are in memory already, as the estimators take them: no files, and no run.

>>> from gapbench.estimate.table import estimate_panels
>>> scored = responses.merge(verdicts, on=["task", "prompt_id", "response"])  # doctest: +SKIP
>>> estimate_panels(panels_from_frame(scored), model="mine").to_frame()  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from gapbench.errors import UserError
from gapbench.panel import Panel, Scores

SCORED = ("domain", "prompt_id", "utility", "verifier", "score")


def panels_from_frame(frame: pd.DataFrame) -> list[Panel]:
    """One panel a task.

    Parameters
    ----------
    frame
        A row for each verdict with the columns `domain, prompt_id, utility, verifier, score`; optionally `task` (the domain's
        name where absent), `response` (where absent, each row of a prompt and verifier is a response of its own), and
        `cluster`, what prompts share. It is the tables of responses and verdicts that `gapbench import` takes, joined.
        Scores of one response are averaged, and only rank; verdicts that are to count one by one, or as probabilities, are
        imported as tables.

    Raises
    ------
    UserError
        If a column or all rows are missing, a number is none, or a utility lies outside [0, 1].
    """
    need(frame, SCORED, "scores", "responses.merge(verdicts, on=['task', 'prompt_id', 'response'])")
    table = frame.copy()
    table["task"] = table["task"].astype(str) if "task" in table else table["domain"].astype(str)
    if "response" not in table:
        table["response"] = table.groupby(["task", "prompt_id", "verifier"], sort=False).cumcount()
    if "cluster" not in table:
        table["cluster"] = table["prompt_id"]
    for name in ("utility", "score"):
        numbers = pd.to_numeric(table[name], errors="coerce")
        if (bad := (numbers.isna() & table[name].notna()).to_numpy()).any():
            raise UserError(
                f"scores, row {int(bad.argmax()) + 1}: {name} is no number; mend it or leave it empty"
            )
        table[name] = numbers.astype(float)
    if ((table["utility"] < 0) | (table["utility"] > 1)).any():
        raise UserError("scores: utility lies between 0 and 1; rescale the column")
    return [_panel(str(task), own) for task, own in table.groupby("task", sort=False)]


def need(table: pd.DataFrame, names: Sequence[str], what: str, how: str) -> None:
    """Refuse a frame without rows or one of these columns; `how` says where one is had."""
    if absent := [name for name in names if name not in table.columns]:
        raise UserError(f"the frame of {what} has no column '{absent[0]}'; make it with {how}")
    if table.empty:
        raise UserError(f"the frame of {what} has no rows; make it with {how}")


def _panel(task: str, own: pd.DataFrame) -> Panel:
    prompt, ids = pd.factorize(own["prompt_id"])
    response, names = pd.factorize(own["response"])
    shape = len(ids), len(names)
    utility = np.full(shape, np.nan)
    utility[prompt, response] = own["utility"]
    clusters = np.zeros(len(ids), dtype=np.int64)
    clusters[prompt] = pd.factorize(own["cluster"])[0]
    scores = {}
    cell = prompt * shape[1] + response
    verifier = own["verifier"].astype(str).to_numpy()
    value = own["score"].to_numpy()
    for name in dict.fromkeys(verifier.tolist()):
        mine = (verifier == name) & ~np.isnan(value)
        count = np.bincount(cell[mine], minlength=utility.size)
        total = np.bincount(cell[mine], value[mine], minlength=utility.size)
        mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        scores[name] = Scores(mean.reshape(*shape, 1), "real", None)
    return Panel(
        task,
        str(own["domain"].iloc[0]),
        tuple(map(str, ids)),
        clusters,
        utility,
        np.zeros(shape, dtype=bool),
        np.full(shape, -1),
        scores,
    )
