"""What names an estimate within a run, and a quantity with what qualifies it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gapbench.estimate.quantity import Curve, Quantity, mean
from gapbench.panel import Float, Panel

REPORT_ABOVE = 0.01  # share of censored or missing rows from which they qualify an estimate

Bounds = tuple[Float, Float]


class Key(NamedTuple):
    """What names an estimate within a run."""

    verifier: str
    quantity: str
    filter: str
    n: int | None
    m: int | None


@dataclass(frozen=True, eq=False)
class Measured:
    """A quantity of one task, and what qualifies it.

    Attributes
    ----------
    quantity
        None where every verdict is missing.
    bounds
        Per-prompt values with every censored row at its worst and at its best; None where there is no such row.
    """

    quantity: Quantity | Curve | None
    bounds: Bounds | None = None
    flags: tuple[str, ...] = ()


Measures = dict[Key, Measured]


def selected(
    base: Float, verifier: str, label: str, n: int | None, m: int | None, gap: Float, reach: float = 1.0
) -> Measures:
    """Accuracy and gap of a filter.

    Parameters
    ----------
    base
        Accuracy of any response [prompt].
    verifier, label, n, m
        Name the filter.
    gap
        What the filter adds to it [prompt].
    reach
        How far from 0 the gap can be; 0 where there is no choice.
    """
    exact = gap if reach else gap * 0.0
    return {
        Key(verifier, "accuracy", label, n, m): Measured(mean(base + exact, 0.0, 1.0)),
        Key(verifier, "gap", label, n, m): Measured(mean(exact, -reach, reach)),
    }


def powers_of_two(largest: int) -> list[int]:
    """1, 2, 4, ... up to `largest`."""
    return [2**power for power in range(largest.bit_length())] if largest >= 1 else []


def pool_size(panel: Panel) -> int:
    """Number of responses that at least half of the prompts with any have."""
    sizes = (~np.isnan(panel.utility)).sum(axis=1)
    sizes = np.sort(sizes[sizes > 0])
    return int(sizes[(len(sizes) - 1) // 2]) if len(sizes) else 0
