"""What checkpoints have measured so far, as series with the covariance that shared prompts give them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gapbench.estimate.levels import OVERALL
from gapbench.panel import Float, Int, Panel
from gapbench.trajectory.projection import SeriesProjection, project_one

JUST_REGULAR = 0.999  # of the correlations, so that rounds that are alike leave the matrix regular


@dataclass(frozen=True, eq=False)
class Measured:
    """Accuracy of one domain at several rounds.

    Attributes
    ----------
    value
        [round].
    covariance
        Over prompts, or clusters of them, drawn from all that could be asked [round, round].
    noise
        Standard error that comes of drawing the responses alone, the prompts being given [round].
    """

    value: Float
    covariance: Float
    noise: Float

    @property
    def se(self) -> Float:
        """Standard errors over prompts [round]."""
        return np.sqrt(np.diag(self.covariance))

    def project(self, horizon: Sequence[float], name: str) -> SeriesProjection:
        """What the series itself says of later rounds."""
        return projected(np.arange(float(len(self.value))), self.value, self.covariance, horizon, name)


def projected(
    times: Float, value: Float, covariance: Float, horizon: Sequence[float], name: str
) -> SeriesProjection:
    """Project a series of which the covariance [point, point] is known."""
    se = np.sqrt(np.diag(covariance))
    scale = np.where(se > 0, se, 1.0)
    correlation = JUST_REGULAR * covariance / np.outer(scale, scale)
    np.fill_diagonal(correlation, 1.0)
    return project_one(times, value, se, correlation=correlation, horizon=horizon, name=name)


def measured(rounds: Sequence[Sequence[Panel]], domain: str) -> Measured:
    """A domain's accuracy over the rounds: mean of its tasks; of its domains where `domain` is `all`.

    Parameters
    ----------
    rounds
        The panels of each round, of the same prompts in the same order.
    """
    places = range(len(rounds[0]))
    rates = [np.stack([np.nanmean(panels[place].utility, axis=1) for panels in rounds]) for place in places]
    value, covariance, _ = over_prompts(rounds[0], rates, domain)
    noise = np.zeros(len(rounds))
    for place, weight in _weights(rounds[0], domain).items():
        noise += weight**2 * np.array([within(panels[place].utility) for panels in rounds])
    return Measured(value, covariance, np.sqrt(noise))


def over_prompts(panels: Sequence[Panel], values: Sequence[Float], domain: str) -> tuple[Float, Float, int]:
    """Means over the prompts of a domain, their covariance, and the number of clusters behind them.

    Parameters
    ----------
    panels
        One a task: its domain and clusters are taken.
    values
        Of each task, any number of quantities [quantity, prompt].
    """
    weights = _weights(panels, domain)
    return over_strata([(weight, values[place], panels[place].clusters) for place, weight in weights.items()])


def over_strata(strata: Sequence[tuple[float, Float, Int]]) -> tuple[Float, Float, int]:
    """Weighted means over strata of prompts, their covariance, and the number of clusters behind them.

    Parameters
    ----------
    strata
        Weight, values [quantity, prompt] and clusters [prompt] of each.
    """
    count, clusters = len(strata[0][1]), 0
    mean, covariance = np.zeros(count), np.zeros((count, count))
    for weight, own, members in strata:
        codes = np.unique(members, return_inverse=True)[1]
        off = own - own.mean(axis=1, keepdims=True)
        sums = np.stack([np.bincount(codes, weights=row) for row in off])
        groups = sums.shape[1]
        clusters += groups
        mean += weight * own.mean(axis=1)
        covariance += weight**2 * (sums @ sums.T) / own.shape[1] ** 2 * groups / max(groups - 1, 1)
    return mean, covariance, clusters


def _weights(panels: Sequence[Panel], domain: str) -> dict[int, float]:
    """Weight of each task in a domain's mean, by its place."""
    domains = list(dict.fromkeys(panel.domain for panel in panels)) if domain == OVERALL else [domain]
    found: dict[int, float] = {}
    for own in domains:
        members = [place for place, panel in enumerate(panels) if panel.domain == own]
        found |= {place: 1.0 / (len(members) * len(domains)) for place in members}
    return found


def within(utility: Float) -> float:
    """Variance of the mean over prompts of their mean responses, given the prompts."""
    number = (~np.isnan(utility)).sum(axis=1)
    spread = np.nanvar(utility, axis=1) / np.maximum(number - 1, 1)
    return float(spread.sum() / len(utility) ** 2)
