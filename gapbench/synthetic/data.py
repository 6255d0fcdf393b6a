"""Draw responses and verdicts from a scenario."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from gapbench.panel import Bool, Float, Int, Panel, Scores
from gapbench.synthetic.scenario import HACK, WRONG_SHARES, Prompts, Scenario, prompts_from, quantile_p


@dataclass(frozen=True, eq=False)
class Draw:
    """Responses and verdicts drawn from a scenario.

    Attributes
    ----------
    prompts
        The latent values of the prompts; with them `truth` is that of the `benchmark` target.
    utility
        0 or 1 [prompt, response].
    hacked
        Whether a response is a hack [prompt, response].
    latent
        The latent score s [prompt, response].
    counts
        How many of the M verdicts are yes [prompt, response].
    answers
        Answer codes [prompt, response]: 0 is right, 1 and up are wrong.
    """

    scenario: Scenario
    seed: int
    prompts: Prompts
    utility: Float
    hacked: Bool
    latent: Float
    counts: Int
    answers: Int

    @property
    def verdicts(self) -> Int:
        """The verdicts one by one, 0 or 1 [prompt, response, replicate]: the counts in random order."""
        rng = np.random.default_rng([self.seed, 1])
        total = self.scenario.M
        verdicts = np.empty((*self.counts.shape, total), dtype=np.int64)
        left = self.counts.copy()
        for replicate in range(total):
            verdicts[..., replicate] = rng.random(left.shape) * (total - replicate) < left
            left -= verdicts[..., replicate]
        return verdicts

    def panel(self) -> Panel:
        """The data as the estimators take it.

        Verifier `binary` holds the M yes/no verdicts, `probability` their chance logistic(s) itself (m infinite).
        """
        count = len(self.utility)
        return Panel(
            task="synthetic",
            domain="synthetic",
            prompt_ids=tuple(f"p{i}" for i in range(count)),
            clusters=np.arange(count),
            utility=self.utility,
            censored=np.zeros(self.utility.shape, dtype=bool),
            answers=self.answers,
            scores={
                "binary": Scores(self.verdicts.astype(float)),
                "probability": Scores(expit(self.latent)[..., None]),
            },
        )


def draw(scenario: Scenario, prompts: int, responses: int, seed: int) -> Draw:
    """Draw a data set.

    Parameters
    ----------
    scenario
        The model.
    prompts, responses
        P and N.
    seed
        Any whole number from 0; equal seeds draw equal data.
    """
    rng = np.random.default_rng(seed)
    p = quantile_p(scenario, rng.random(prompts))
    weight = np.full(prompts, 1 / prompts)
    own = prompts_from(scenario, p, rng.standard_normal(prompts), rng.standard_normal(prompts), weight)
    shape = prompts, responses
    utility = (rng.random(shape) < p[:, None]).astype(float)
    hacked = (rng.random(shape) < scenario.h) & (utility == 0)
    latent = own.level[:, None] + own.shift[:, None] * utility + HACK * hacked
    latent += scenario.sd_w * rng.standard_normal(shape)
    counts = rng.binomial(scenario.M, expit(latent))
    wrong = 1 + rng.choice(len(WRONG_SHARES), size=shape, p=WRONG_SHARES)
    return Draw(
        scenario,
        seed,
        own,
        utility,
        hacked,
        latent,
        counts,
        np.where(utility == 1, 0, wrong).astype(np.int64),
    )
