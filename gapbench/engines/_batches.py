"""Which prompts to run through a model together, so that what they share is computed once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

Ids = tuple[int, ...]


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """Count the tokens that two sequences share from the start.

    >>> common_prefix((5, 6, 7), (5, 6, 8, 9))
    2
    """
    for position, (a, b) in enumerate(zip(first, second, strict=False)):
        if a != b:
            return position
    return min(len(first), len(second))


def shared_prefix(prompts: Sequence[Ids]) -> int:
    """Count the tokens that all `prompts` share from the start, leaving each at least one token of its own."""
    # The smallest and the largest in dictionary order differ earliest.
    shared = common_prefix(min(prompts), max(prompts))
    return min(shared, min(map(len, prompts)) - 1)


def cut(prompts: Sequence[Ids], price: int) -> list[list[Ids]]:
    """Cut prompts into batches that cost the fewest tokens to prefill.

    A batch of prompts that share p tokens costs p + n (longest - p): the shared prefix once and every rest padded to
    the longest. In dictionary order the best batches are runs, and the best runs follow by dynamic programming.

    Parameters
    ----------
    prompts
        Distinct token sequences.
    price
        What one more batch costs besides, in tokens.

    Returns
    -------
    list of list
        The batches; every prompt is in one of them.

    >>> few_shot = [(1, 1, 1, 1, 1, 7), (1, 1, 1, 1, 1, 8)]
    >>> cut([*few_shot, (2, 2, 2, 5), (2, 2, 2, 6)], price=1)
    [[(1, 1, 1, 1, 1, 7), (1, 1, 1, 1, 1, 8)], [(2, 2, 2, 5), (2, 2, 2, 6)]]
    """
    ordered = sorted(prompts)
    overlaps = [common_prefix(a, b) for a, b in pairwise(ordered)]
    cheapest = [0.0]
    starts: list[int] = []
    for end in range(len(ordered)):
        shared = shortest = len(ordered[end])
        longest = 0
        best, best_start = float("inf"), end
        for start in range(end, -1, -1):
            if start < end:
                shared = min(shared, overlaps[start])
            shortest = min(shortest, len(ordered[start]))
            longest = max(longest, len(ordered[start]))
            prefix = min(shared, shortest - 1)
            cost = cheapest[start] + price + prefix + (end - start + 1) * (longest - prefix)
            if cost < best:
                best, best_start = cost, start
        cheapest.append(best)
        starts.append(best_start)
    batches = []
    end = len(ordered)
    while end:
        start = starts[end - 1]
        batches.append(ordered[start:end])
        end = start
    return batches[::-1]
