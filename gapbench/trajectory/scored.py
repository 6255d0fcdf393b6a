"""Forecasts that were kept in runs of frozen models, held against the checkpoints that came later.

`gapbench project RUN` writes a forecast for rounds of a filter by a verifier. A later run of the trained model on the same prompts
is its outcome where the clock counts rounds: t rounds after the run that the forecast was made from. It is one only where all
prompts were answered that the forecast is about: what was foretold of other ones, or of more, cannot be read off them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from gapbench.comparing.compare import aligned, run_labels
from gapbench.estimate.levels import OVERALL
from gapbench.projection.forecast import Forecast, forecasts_of
from gapbench.projection.results import DomainProjection, Value
from gapbench.run import IMPORTED, Run
from gapbench.trajectory.measured import Measured, measured

REACH = 1.96


@dataclass(frozen=True, slots=True)
class ForecastScore:
    """A forecast for one domain and verifier, and what was measured.

    Attributes
    ----------
    forecast, made
        Its name, and when it was made (ISO 8601).
    beforehand
        Whether that was before the run that it is held against was begun; if not, it proves nothing. When the responses of an
        imported table were drawn nobody knows.
    filter
        What the forecast's rounds keep.
    origin, t
        Time of the run that it was made from, and of the outcome; their difference is the number of rounds.
    value, low, high
        Accuracy foretold, with its 95 % interval.
    outcome
        Accuracy measured.
    error
        Forecast less outcome.
    inside
        As `holds` says.
    last
        The error of "nothing changes": accuracy at `origin` less outcome.
    """

    forecast: str
    made: str
    beforehand: bool
    domain: str
    verifier: str
    filter: str
    origin: float
    t: float
    value: float
    low: float
    high: float
    outcome: float
    error: float
    inside: bool | None
    last: float


def holds(value: float, low: float, high: float, outcome: float, noise: float) -> bool | None:
    """Whether an outcome lies in a forecast's interval, widened by the luck of the outcome's own responses.

    The interval is for the accuracy that is to be expected; 1.96 times `noise`, the standard error that drawing the responses brings,
    is added to both sides in quadrature. None where the interval has no two ends.
    """
    if not (math.isfinite(low) and math.isfinite(high)):
        return None
    reach = REACH * noise
    return value - math.hypot(value - low, reach) <= outcome <= value + math.hypot(high - value, reach)


def score_forecasts(
    runs: Sequence[Run], *, clock: Sequence[float] = (), verifier: str | None = None
) -> tuple[list[ForecastScore], list[str]]:
    """Hold every forecast in the runs against the later ones of them, on all the prompts that it is about.

    Parameters
    ----------
    runs, clock
        As for `gapbench.trajectory.runs.checkpoints_of`; the clock in rounds, or nothing is an outcome.
    verifier
        Only forecasts by its scores.

    Returns
    -------
    list of ForecastScore
        One for each forecast, domain, verifier and later run.
    list of str
        What was left out.

    Raises
    ------
    UserError
        If the runs share no prompt, or a forecast was changed after it was made.
    """
    times = list(clock) or [float(place) for place in range(len(runs))]
    made = [forecasts_of(run.store.path) for run in runs]
    if not any(made):
        return [], []
    labels = run_labels(runs)
    panels, _ = aligned({label: run.panels() for label, run in zip(labels, runs, strict=True)}, runs)
    sides = list(panels.values())
    answered = {panel.task for panel in sides[0]}
    domains = [panel.domain for panel in sides[0]]
    several = len(set(domains)) > 1
    counts = {
        name: sum(len(panel.prompt_ids) for panel in sides[0] if name in (OVERALL, panel.domain))
        for name in (OVERALL, *domains)
    }
    found: list[ForecastScore] = []
    others = 0
    seen: dict[str, Measured] = {}
    for origin, own in enumerate(made):
        for forecast in own:
            for row in forecast.projection:
                wanted = verifier in (None, row.verifier) and (several or row.domain != OVERALL)
                whole = _asked(forecast, row.domain) <= answered and row.n_prompts == counts.get(row.domain)
                others += wanted and not whole
                if wanted and whole:
                    if row.domain not in seen:
                        seen[row.domain] = measured(sides, row.domain)
                    found += _outcomes(forecast, row, origin, times, runs, seen[row.domain])
    about = f"Forecasts for other prompts than all runs have answered are not scored: {others}."
    return found, [about] if others else []


def _asked(forecast: Forecast, domain: str) -> set[str]:
    """The tasks of a domain that a forecast speaks of: it is no forecast for some of them."""
    return {task for task, own in forecast.source["tasks"].items() if domain in (OVERALL, own)}


def _outcomes(
    forecast: Forecast,
    row: DomainProjection,
    origin: int,
    times: Sequence[float],
    runs: Sequence[Run],
    seen: Measured,
) -> list[ForecastScore]:
    foretold: dict[int, Value] = {one.t: one.expected for one in row.rounds if one.t and one.identified}
    found = []
    for place, (time, run) in enumerate(zip(times, runs, strict=True)):
        rounds = time - times[origin]
        said = foretold.get(int(rounds)) if rounds.is_integer() else None
        if said is None or not math.isfinite(said.value) or np.isnan(seen.value[place]):
            continue
        outcome = float(seen.value[place])
        found.append(
            ForecastScore(
                forecast.name,
                forecast.made.isoformat(),
                _before(forecast.made, run),
                row.domain,
                row.verifier,
                forecast.projection.filter,
                times[origin],
                time,
                said.value,
                said.low,
                said.high,
                outcome,
                said.value - outcome,
                holds(said.value, said.low, said.high, outcome, float(seen.noise[place])),
                float(seen.value[origin]) - outcome,
            )
        )
    return found


def _before(made: datetime, run: Run) -> bool:
    begun = run.manifest.get("created")
    if begun is None or run.config.engine == IMPORTED:
        return False
    return made < datetime.fromisoformat(begun)


def skill_over_last(scores: Sequence[ForecastScore]) -> float:
    """1 - MAE / MAE of "nothing changes", over the domains' forecasts that were made beforehand; NaN where there are none."""
    kept = counted(scores)
    mine, last = (
        float(np.sum(np.abs(side))) for side in ([one.error for one in kept], [one.last for one in kept])
    )
    return 1 - mine / last if last > 0 else math.nan


def counted(scores: Sequence[ForecastScore]) -> list[ForecastScore]:
    """Those that a skill is about: made beforehand, and not for all domains beside the domains themselves."""
    return [one for one in scores if one.beforehand and one.domain != OVERALL]
