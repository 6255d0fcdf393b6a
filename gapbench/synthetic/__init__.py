"""Synthetic responses and verdicts whose true quantities are known, to check estimators against.

The model (measurement.md, section 7). A prompt is answered rightly with probability p, where
p ~ (1 - pi0 - pi1) Beta(a, b) + pi0 delta_0 + pi1 delta_1. A response with utility u in {0, 1} has the latent score
s = mu + sd_b z + rho probit(clip(p, .01, .99)) + (d + sd_d z') u + sd_w e, with z, z' of the prompt, e of the
response, all standard normal; with probability h a wrong response is a hack, and s gains 8. M verdicts on it say yes
with probability logistic(s) each. Right responses agree; wrong ones spread over a few answers.

`draw` makes arrays, `truth` gives the number that an estimate of them should be:

>>> data = draw(SCENARIOS["mid"], prompts=200, responses=32, seed=0)
>>> data.panel().scores["binary"].values.shape
(200, 32, 8)
>>> round(truth(SCENARIOS["mid"], "accuracy", "best@8", m=8), 3)
0.573
"""

from gapbench.synthetic.data import Draw, draw
from gapbench.synthetic.scenario import SCENARIOS, Prompts, Scenario
from gapbench.synthetic.truth import truth

__all__ = ["SCENARIOS", "Draw", "Prompts", "Scenario", "draw", "truth"]
