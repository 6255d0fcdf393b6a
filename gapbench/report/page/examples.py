"""Responses to read, with what every verifier said of them: chosen by rules that are named, never by eye."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from gapbench.engines.base import derive_seed
from gapbench.panel import Panel
from gapbench.records import Prompt
from gapbench.run import Run
from gapbench.store import RunStore

MOST = 6  # of a task
ON_A_PAGE = 300  # of all tasks and runs together
REPLICATES = 2  # verdicts of one verifier that are shown word by word

Cell = tuple[int, int]  # prompt, response
Key = tuple[str, str, int]  # task, prompt_id, response


def examples(run: Run, panels: Sequence[Panel], most: int = MOST) -> Iterator[dict[str, Any]]:
    """A few responses of each task.

    Parameters
    ----------
    most
        Examples of a task.
    """
    chosen = {panel.task: choose(panel, most) for panel in panels}
    keys = {(p.task, p.prompt_ids[cell[0]], cell[1]) for p in panels for cell in chosen[p.task]}
    prompts = {prompt.key: prompt for prompt in run.store.rows(Prompt)}
    texts = run.store.find("responses", keys, ["text", "finish_reason"])
    grades = run.store.find("grades", keys, ["answer", "utility", "status"])
    said = _verdicts(run.store, keys)
    for panel in panels:
        means = {name: scores.mean for name, scores in panel.scores.items()}
        for cell, why in chosen[panel.task].items():
            key = panel.task, panel.prompt_ids[cell[0]], cell[1]
            prompt = prompts[key[:2]]
            scores = {name: float(mean[cell]) for name, mean in means.items()}
            yield {
                **texts[key],
                **grades[key],
                "domain": prompt.domain,
                "why": why,
                "question": prompt.question,
                "reference": list(prompt.reference),
                "verdicts": {name: None if score != score else score for name, score in scores.items()},
                "said": said.get(key, []),
            }


def choose(panel: Panel, most: int = MOST) -> dict[Cell, str]:
    """Up to `most` cells of a task, and the rule by which each was chosen.

    What misled a verifier comes first: a wrong response that it scored highest, and a right one that it scored lowest, by the
    first verifier that told any apart. Then one without an answer, one cut at the token limit, and others drawn by seed.
    """
    rng = np.random.default_rng(derive_seed("example", panel.task))
    order = rng.permutation(panel.utility.size)  # ties are broken by it, and not by place
    utility = panel.utility.ravel()[order]
    cut = panel.censored.ravel()[order] & ~np.isnan(utility)
    silent = (panel.answers.ravel()[order] < 0) & ~cut & ~np.isnan(utility)
    rules: list[tuple[str, Any]] = []
    for name, scores in panel.scores.items():
        score = scores.mean.ravel()[order]
        if np.unique(score[~np.isnan(score)]).size > 1:
            rules.append((f"wrong, scored highest by {name}", np.where(utility == 0, score, np.nan)))
            rules.append((f"right, scored lowest by {name}", np.where(utility == 1, -score, np.nan)))
            break
    marks = {
        "wrong, drawn by seed": utility == 0,
        "right, drawn by seed": utility == 1,
        "cut at the token limit, drawn by seed": cut,
        "no answer found, drawn by seed": silent,
    }
    rules += [(why, np.where(mask, 0.0, np.nan)) for why, mask in marks.items()]
    rules += [("drawn by seed", np.where(np.isnan(utility), np.nan, 0.0))] * most
    cells: dict[Cell, str] = {}
    width = panel.utility.shape[1]
    taken = np.zeros(utility.size, dtype=bool)
    for why, key in rules:
        wanted = np.where(taken, np.nan, key)
        if len(cells) < most and not np.isnan(wanted).all():
            place = int(np.nanargmax(wanted))
            taken[place] = True
            cells[divmod(int(order[place]), width)] = why
    return cells


def _verdicts(store: RunStore, keys: Collection[Key]) -> dict[Key, list[dict[str, Any]]]:
    """The first verdicts of each verifier on these responses, as they were written."""
    columns = ["task", "prompt_id", "response", "verifier", "replicate", "score", "status", "text"]
    prompts, responses = ({one[place] for one in keys} for place in (1, 2))
    found: dict[Key, list[dict[str, Any]]] = {}
    for batch in store.batches("verdicts", columns):
        ids = batch.column("prompt_id")
        own = np.array([one in prompts for one in ids.dictionary.to_pylist()])[ids.indices.to_numpy()]
        own &= np.isin(batch.column("response").to_numpy(), list(responses))
        own &= batch.column("replicate").to_numpy() < REPLICATES
        for row in batch.take(pa.array(np.flatnonzero(own))).to_pylist():
            key = row.pop("task"), row.pop("prompt_id"), row.pop("response")
            if key in keys:
                found.setdefault(key, []).append(row)
    for rows in found.values():
        rows.sort(key=lambda row: (row["verifier"], row["replicate"]))
    return found
