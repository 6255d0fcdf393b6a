"""A run as each of its judges sees it, for the matrix of generators and judges (`gapbench.comparing.cross`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gapbench.errors import UserError
from gapbench.judging import VerifierSpec, asked_for, make_verifier
from gapbench.panel import Panel
from gapbench.run import Run


class JudgedRun(Run):
    """A run as one of its judges sees it: its verdicts go by the mechanism's name, whoever gave them."""

    def __init__(self, run: Run, generator: str, judge: str, verifier: str, panels: list[Panel]) -> None:
        self.store, self.manifest, self.config = run.store, run.manifest, run.config
        self.generator, self.judge, self.verifier = generator, judge, verifier
        self._panels = panels

    @property
    def model(self) -> str:
        """Generator and judge, which together tell it from all others."""
        return f"{self.generator} judged by {self.judge}"

    def panels(self) -> list[Panel]:
        """Those with verdicts of this judge."""
        return self._panels


def generator_labels(runs: Sequence[Run]) -> list[str]:
    """Model ids, with the directory where two runs are of one model.

    Raises
    ------
    UserError
        If a run is named twice.
    """
    names = [run.model for run in runs]
    labels = [
        name if names.count(name) == 1 else f"{name} ({run.store.path})"
        for name, run in zip(names, runs, strict=True)
    ]
    if len(set(labels)) < len(labels):
        raise UserError(f"{max(labels, key=labels.count)}: named twice; name each RUN once")
    return labels


def judges_of(run: Run, mechanism: str) -> dict[str, str]:
    """Full model id of each judge to the name of its verifier; the run's own model comes first.

    Parameters
    ----------
    mechanism
        A registered verifier, or a name given in a YAML file, without `@JUDGE`.

    Raises
    ------
    UserError
        If one judge has two verifiers of this mechanism, so that it is not clear which is meant.
    """
    found: dict[str, list[str]] = {}
    for spec in run.config.verifiers:
        if mechanism in (spec.verifier, spec.name.partition("@")[0]):
            found.setdefault(_judge_id(run, spec), []).append(spec.name)
    chosen: dict[str, str] = {}
    for judge, names in sorted(found.items(), key=lambda item: item[0] != run.model):
        named = [name for name in names if name.partition("@")[0] == mechanism] or names
        if len(named) > 1:
            raise UserError(
                f"{run.store.path}: {judge} judges as {' and '.join(named)}, both '{mechanism}': name one of them"
            )
        chosen[judge] = named[0]
    return chosen


def _judge_id(run: Run, spec: VerifierSpec) -> str:
    if spec.judge is None or run.config.judge_of(spec) == run.config.own_engine:
        return run.model
    told = run.manifest.get("judges", {})
    asked = [spec.name, *(one.name for one in asked_for(make_verifier(spec)))]
    return next((str(told[name]["model"]["id"]) for name in asked if name in told), spec.judge)


def judged_runs(run: Run, label: str, mechanism: str, notes: list[str]) -> list[JudgedRun]:
    """The run under each of its judges with a verdict; tasks without one are left out, and told in `notes`."""
    judges = judges_of(run, mechanism)
    panels = run.panels() if judges else []
    views = []
    for judge, verifier in judges.items():
        own = []
        for panel in panels:
            scores = panel.scores.get(verifier)
            if scores is None or not (~np.isnan(scores.mean) & ~np.isnan(panel.utility)).any():
                notes.append(
                    f"{judge} gave no verdict on task {panel.task} of {label}; it is left out there."
                )
            else:
                own.append(_through(panel, verifier, mechanism))
        if own:
            views.append(JudgedRun(run, label, judge, verifier, own))
    return views


def _through(panel: Panel, verifier: str, mechanism: str) -> Panel:
    """A panel with the verdicts of one verifier, under the mechanism's name, and of what steadies them."""
    scores, verified = {mechanism: panel.scores[verifier]}, {}
    if verifier in panel.verified:
        own = panel.verified[verifier]
        if own.control is not None:
            steady = f"{own.control} (control)"  # its name may be the mechanism's
            scores[steady] = panel.scores[own.control]
            own = replace(own, control=steady)
        verified = {mechanism: own}
    return replace(panel, scores=scores, verified=verified)
