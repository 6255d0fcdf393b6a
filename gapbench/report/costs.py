"""What a run cost, by stage: requests, tokens, time, and how far gapbench held the engine up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gapbench.report.text import one_line

HELD_UP = (
    "Share of the engine's own throughput that was kept: time spent waiting for the engine, over all of the time. It is "
    "a lower bound where the engine works on by itself while gapbench grades and stores."
)


@dataclass
class StageCost:
    """What a stage took, summed over its sittings; a sitting that was killed has counted nothing.

    Attributes
    ----------
    tokens, prompt_tokens, cached_tokens
        Generated, in prompts, and those of the prompts that were not computed anew.
    told_tokens
        Those of the prompts for which the engine said how many were computed anew.
    seconds, engine_seconds
        Wall time, and the part of it spent waiting for the engine. Grading runs beside the other stages.
    told_seconds
        Wall time of the sittings that say what part of it that was; older ones do not.
    """

    stage: str
    sittings: int = 0
    unfinished: int = 0
    rows: int = 0
    requests: int = 0
    tokens: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    told_tokens: int = 0
    seconds: float = 0.0
    engine_seconds: float = 0.0
    told_seconds: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)

    @property
    def cache_hits(self) -> float | None:
        """Share of the prompts' tokens that a cache spared; None where the engine does not tell."""
        return self.cached_tokens / self.told_tokens if self.told_tokens else None


def stage_costs(manifest: Mapping[str, Any]) -> list[StageCost]:
    """One row a stage, from the `sessions` of a run's manifest."""
    costs: dict[str, StageCost] = {}
    for session in manifest.get("sessions", []):
        name = str(session.get("stage", ""))
        cost = costs.setdefault(name, StageCost(name))
        cost.sittings += 1
        if "seconds" not in session:
            cost.unfinished += 1
            continue
        for count in ("rows", "requests", "tokens", "prompt_tokens"):
            setattr(cost, count, getattr(cost, count) + int(session.get(count, 0)))
        if session.get("cached_tokens") is not None:
            cost.cached_tokens += int(session["cached_tokens"])
            cost.told_tokens += int(session.get("prompt_tokens", 0))
        seconds, waited = float(session["seconds"]), float(session.get("engine_seconds", 0.0))
        cost.seconds += seconds
        if waited:
            cost.engine_seconds += waited
            cost.told_seconds += seconds
        cost.statuses.update(session.get("statuses", {}))
    return list(costs.values())


def engine_share(costs: Sequence[StageCost]) -> float | None:
    """Share of the engine's own throughput that was kept, at least; None for runs that do not tell."""
    seconds = sum(cost.told_seconds for cost in costs)
    return sum(cost.engine_seconds for cost in costs) / seconds if seconds else None


def cost_lines(manifest: Mapping[str, Any]) -> list[str]:
    """What the terminal says of it."""
    costs = [cost for cost in stage_costs(manifest) if cost.requests]
    tokens = sum(cost.tokens for cost in costs)
    lines = []
    for cost in costs:
        parts = [
            f"{cost.requests:,} requests",
            f"{cost.tokens:,} tokens generated ({cost.tokens / max(tokens, 1):.0%} of all)",
        ]
        if cost.prompt_tokens:
            hits = "" if cost.cache_hits is None else f" ({cost.cache_hits:.0%} cached)"
            parts.append(f"{cost.prompt_tokens:,} in prompts{hits}")
        parts.append(f"{cost.seconds:,.1f} s")
        if cost.unfinished:
            parts.append(f"interrupted sittings, not counted: {cost.unfinished}")
        lines.append(f"cost    {one_line(cost.stage, 20)}: {', '.join(parts)}")
    share = engine_share(costs)
    if share is not None:
        lines.append(f"engine  at least {share:.1%} of its own throughput was kept")
    return lines
