"""Control arms: utilities shuffled away from the scores that choose among them."""

from __future__ import annotations

import numpy as np

from gapbench.panel import Float


def permuted_within(values: Float, rng: np.random.Generator) -> Float:
    """Shuffle the values of each prompt over its responses; NaN stays where it is."""
    absent = np.isnan(values)
    if not absent.any():
        return rng.permuted(values, axis=1)
    target = np.argsort(absent, axis=1, kind="stable")
    source = np.argsort(rng.random(values.shape) + absent, axis=1)
    shuffled = np.empty_like(values)
    np.put_along_axis(shuffled, target, np.take_along_axis(values, source, axis=1), axis=1)
    return shuffled


def permuted_across(values: Float, rng: np.random.Generator) -> Float:
    """Shuffle the values over all responses of all prompts; NaN stays where it is."""
    shuffled = values.copy()
    present = ~np.isnan(values)
    shuffled[present] = rng.permutation(values[present])
    return shuffled
