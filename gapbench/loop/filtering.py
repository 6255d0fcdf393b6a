"""The responses that a round keeps for training.

Of each prompt's responses, in random order, every n make a group and the best of each is kept: the kept responses are spread
exactly as best@n says, and there are N/n of them. The top fraction q keeps the best q N of each prompt. Ties are broken at random, and
a response without a score comes last, as everywhere in gapbench.

>>> utility, score = np.array([[0.0, 1.0, 0.0, 1.0]]), np.array([[0.1, 0.9, 0.2, 0.3]])
>>> kept(utility, score, BestLoop(4), np.random.default_rng(0))
[(0, [1])]
"""

from __future__ import annotations

import math

import numpy as np

from gapbench.panel import Float
from gapbench.projection.loops import BestLoop, TopLoop

ROUND_OFF = 1e-9


def kept(
    utility: Float, score: Float, loop: BestLoop | TopLoop, rng: np.random.Generator
) -> list[tuple[int, list[int]]]:
    """The kept responses of each prompt that has any, in random order.

    Parameters
    ----------
    utility
        [prompt, response]; NaN for a response that is not in the sample.
    score
        [prompt, response]; a prompt whose scores are all NaN keeps nothing, for nothing chose among its responses.
    """
    found = []
    for place, (own, judged) in enumerate(zip(utility, score, strict=True)):
        there = np.flatnonzero(~np.isnan(own))
        if not len(there) or np.isnan(judged[there]).all():
            continue
        there = rng.permutation(there)
        key = np.where(np.isnan(judged[there]), -np.inf, judged[there])
        if isinstance(loop, BestLoop):
            groups = len(there) // loop.n
            # argmax takes the first of equals, which is a random one here.
            best = key[: groups * loop.n].reshape(groups, loop.n).argmax(axis=1)
            chosen = there[np.arange(groups) * loop.n + best]
        else:
            size = max(1, math.floor(loop.q * len(there) + ROUND_OFF))
            chosen = rng.permutation(there[np.argsort(-key, kind="stable")[:size]])
        if len(chosen):
            found.append((place, [int(one) for one in chosen]))
    return found


def dealt(found: list[tuple[int, list[int]]], most: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """At most so many (prompt, response), spread over the prompts as evenly as can be.

    Parameters
    ----------
    found
        As `kept` gives them.
    """
    order = [found[place] for place in rng.permutation(len(found))]
    longest = max((len(own) for _, own in order), default=0)
    pairs = [(prompt, own[turn]) for turn in range(longest) for prompt, own in order if turn < len(own)]
    return pairs[:most]
