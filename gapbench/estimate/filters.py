"""Filters by their names, for those that are not in the default table.

>>> parse_filter("top 2 of 8"), parse_filter("threshold@8"), parse_filter("top 0.25").label
(TopOf(k=2, n=8), ThresholdAt(n=8), 'top 0.25')
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gapbench.errors import UserError
from gapbench.estimate.selection import BestOf, Random, RankFilter, TopOf, TopQuantile

ALL = "all"


@dataclass(frozen=True, slots=True)
class ThresholdAt:
    """Draw until a response passes the verifier's threshold, n at most."""

    n: int

    @property
    def label(self) -> str:
        """`threshold@n`."""
        return f"threshold@{self.n}"


@dataclass(frozen=True, slots=True)
class ThresholdChosen:
    """The threshold with the largest gap, chosen on one half of the prompts and scored on the other."""

    label: str = "threshold@cv"


@dataclass(frozen=True, slots=True)
class MajorityAt:
    """The answer that most of n responses give."""

    n: int

    @property
    def label(self) -> str:
        """`majority@n`."""
        return f"majority@{self.n}"


Filter = RankFilter | ThresholdAt | ThresholdChosen | MajorityAt

_PATTERNS: dict[str, Callable[[re.Match[str]], Filter]] = {
    r"best@(\d+)": lambda found: BestOf(int(found[1])),
    r"top (\d+) of (\d+)": lambda found: TopOf(int(found[1]), int(found[2])),
    r"top (0?\.\d+|1(?:\.0*)?)": lambda found: TopQuantile(float(found[1])),
    r"threshold@(\d+)": lambda found: ThresholdAt(int(found[1])),
    r"threshold@cv": lambda found: ThresholdChosen(),
    r"majority@(\d+)": lambda found: MajorityAt(int(found[1])),
    r"random": lambda found: Random(),
}


def parse_filter(label: str) -> Filter:
    """A filter from its name: `best@n`, `top k of n`, `top q`, `threshold@n`, `threshold@cv`, `majority@n`, `random`.

    Raises
    ------
    UserError
        If there is no such filter.
    """
    for pattern, build in _PATTERNS.items():
        if match := re.fullmatch(pattern, label):
            found = build(match)
            sizes = [getattr(found, name, 1) for name in ("n", "k", "q")]
            if min(sizes) <= 0 or (isinstance(found, TopOf) and found.k > found.n):
                break
            return found
    raise UserError(
        f"no filter '{label}'; there are: best@n, top k of n (k <= n), top q (0 < q <= 1), threshold@n, threshold@cv, "
        "majority@n, random, with n at least 1"
    )


def asked_filters(labels: Sequence[str], headline: int) -> list[Filter]:
    """Filters from their names, where `all` stands for one of each kind at the headline n.

    Raises
    ------
    UserError
        If there is no such filter.
    """
    found: dict[str, Filter] = {}
    for label in labels:
        several = _one_of_each(headline) if label == ALL else [parse_filter(label)]
        found |= {one.label: one for one in several}
    return list(found.values())


def _one_of_each(headline: int) -> list[Filter]:
    """The best quarter of n and of all, and what has no place in the default table."""
    return [
        TopOf(max(headline // 4, 1), headline),
        TopQuantile(0.25),
        ThresholdAt(headline),
        ThresholdChosen(),
        Random(),
    ]
