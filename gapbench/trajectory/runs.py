"""From runs of a model's checkpoints to what the tests take: one domain at a time, on the prompts that all runs have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gapbench.comparing.compare import aligned, run_labels
from gapbench.errors import UserError
from gapbench.panel import Panel
from gapbench.run import Run
from gapbench.trajectory.checkpoints import Checkpoints


def checkpoints_of(
    runs: Sequence[Run], *, clock: Sequence[float] = (), verifier: str | None = None
) -> tuple[list[Checkpoints], list[str]]:
    """Set checkpoints beside each other.

    Parameters
    ----------
    runs
        The base's first, then those of the same model as it was trained on.
    clock
        Time of each (round, epoch, step, FLOPs); 0, 1, 2, ... where empty.
    verifier
        Whose scores are the proxy that training followed; none where None.

    Returns
    -------
    list of Checkpoints
        One a domain.
    list of str
        What was left out to make the prompts equal.

    Raises
    ------
    UserError
        If there are fewer than two runs, they share no prompt, there is not a time for each, or one lacks the verifier.
    """
    if len(runs) < 2:
        raise UserError("one run is no trajectory; give the base's and at least one of a tuned model")
    if clock and len(clock) != len(runs):
        raise UserError(f"--clock: {len(clock)} times for {len(runs)} runs; give one for each")
    labels = run_labels(runs)
    panels, notes = aligned({label: run.panels() for label, run in zip(labels, runs, strict=True)}, runs)
    sides = list(panels.values())
    chances = {name: task["card"]["chance"] for name, task in runs[0].manifest["tasks"].items()}
    found = []
    for domain in dict.fromkeys(panel.domain for panel in sides[0]):
        own = [[panel for panel in side if panel.domain == domain] for side in sides]
        found.append(
            Checkpoints(
                domain,
                utility=[_stacked([panel.utility for panel in side], np.nan) for side in own],
                clock=list(clock) or None,
                proxy=None if verifier is None else [_proxy(side, verifier) for side in own],
                clusters=_clusters(own[0]),
                censored=[_stacked([panel.censored for panel in side], False) for side in own],
                guess=max(chances.get(panel.task) or 0.0 for panel in own[0]),
            )
        )
    return found, notes


def _proxy(side: Sequence[Panel], verifier: str) -> NDArray[Any]:
    for panel in side:
        if verifier not in panel.scores:
            raise UserError(
                f"task '{panel.task}' has no verifier '{verifier}'; there are: {', '.join(panel.scores) or 'none'}"
            )
    return _stacked([panel.scores[verifier].mean for panel in side], np.nan)


def _stacked(parts: Sequence[NDArray[Any]], absent: object) -> NDArray[Any]:
    """Prompts of all tasks [prompt, response], as wide as the widest."""
    wide = max(part.shape[1] for part in parts)
    return np.concatenate(
        [np.pad(part, ((0, 0), (0, wide - part.shape[1])), constant_values=absent) for part in parts]  # type: ignore[call-overload]
    )


def _clusters(side: Sequence[Panel]) -> NDArray[np.int64]:
    """Cluster of each prompt, those of different tasks apart."""
    found: list[NDArray[np.int64]] = []
    above = 0
    for panel in side:
        found.append(panel.clusters + above)
        above += int(panel.clusters.max(initial=-1)) + 1
    return np.concatenate(found)
