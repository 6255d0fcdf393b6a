"""Parameters of the synthetic model, and what is each prompt's own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf, isfinite

import numpy as np
from scipy.special import betaincinv, ndtri

from gapbench.errors import UserError
from gapbench.panel import Float

HACK = 8.0
CLIP = 0.01
WRONG_SHARES: Float = 1 / np.arange(1, 6) / (1 / np.arange(1, 6)).sum()
"""How a prompt's wrong responses spread over its wrong answers, the most tempting first."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Parameters of the model; the defaults are the mid scenario. `M` is the number of verdicts on a response.

    Raises
    ------
    UserError
        If a parameter is outside its range.
    """

    a: float = 0.6
    b: float = 0.8
    pi0: float = 0.1
    pi1: float = 0.0
    mu: float = -0.8
    sd_b: float = 0.7
    rho: float = 0.3
    d: float = 1.6
    sd_d: float = 0.7
    sd_w: float = 1.0
    h: float = 0.0
    M: int = 8

    def __post_init__(self) -> None:
        wanted = {
            "finite mu, rho and d": all(map(isfinite, (self.mu, self.rho, self.d))),
            "a, b and sd_w above 0": all(0 < x < inf for x in (self.a, self.b, self.sd_w)),
            "sd_b and sd_d at least 0": all(0 <= x < inf for x in (self.sd_b, self.sd_d)),
            "pi0, pi1, pi0 + pi1 and h in [0, 1]": all(
                0 <= x <= 1 for x in (self.pi0, self.pi1, self.pi0 + self.pi1, self.h)
            ),
            "M a whole number above 0": isinstance(self.M, int) and self.M >= 1,
        }
        for rule, kept in wanted.items():
            if not kept:
                raise UserError(f"a scenario needs {rule}, not {self}")


_MID = Scenario()
SCENARIOS: dict[str, Scenario] = {
    "mid": _MID,
    "null": replace(_MID, d=0.0, sd_d=0.0),
    "high_accuracy": replace(_MID, a=9.0, b=1.0, pi0=0.0, pi1=0.7),
    "low_accuracy": replace(_MID, a=0.4, b=7.6, pi0=0.6),
    "hacked": replace(_MID, h=0.01),
}
"""`null` has no signal; accuracies are .386 (`mid`, `null`, `hacked`), .97 and .02; 1 % of wrong responses hack."""


@dataclass(frozen=True, eq=False)
class Prompts:
    """What is the prompts' own, each [prompt].

    Attributes
    ----------
    p
        Probability of a right response.
    level
        Latent score of a wrong response, without its noise.
    shift
        What being right adds to it.
    weight
        Share of the prompt in means over prompts.
    """

    p: Float
    level: Float
    shift: Float
    weight: Float


def prompts_from(scenario: Scenario, p: Float, z: Float, shift_z: Float, weight: Float) -> Prompts:
    """Prompts with these p and standard normal effects z and z', each [prompt]."""
    level = scenario.mu + scenario.sd_b * z + scenario.rho * ndtri(np.clip(p, CLIP, 1 - CLIP))
    return Prompts(p, level, scenario.d + scenario.sd_d * shift_z, weight)


def quantile_p(scenario: Scenario, uniform: Float) -> Float:
    """The p below which a share `uniform` of the prompts lies; the mixture's inverse cdf."""
    spread = 1 - scenario.pi0 - scenario.pi1
    inner = (uniform - scenario.pi0) / spread if spread > 0 else np.zeros_like(uniform)
    p: Float = betaincinv(scenario.a, scenario.b, np.clip(inner, 0.0, 1.0))
    return np.where(uniform < scenario.pi0, 0.0, np.where(uniform >= 1 - scenario.pi1, 1.0, p))
