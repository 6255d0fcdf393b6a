"""What the stages of one sitting did and cost."""

from __future__ import annotations

from dataclasses import dataclass, field

from gapbench.engines.base import Result
from gapbench.records import is_error


@dataclass
class Session:
    """What one stage of one sitting did; recorded in the manifest.

    Attributes
    ----------
    rows
        Rows appended.
    requests, tokens
        Generations asked of the engine, and tokens it generated for them.
    prompt_tokens, cached_tokens
        Tokens of the prompts, and how many of them were not computed anew; 0 and None where the engine does not say.
    seconds
        Wall time, the wait for each row counting for the stage that the row belongs to. For grading, the time spent in
        graders, which is part of the other stages' time or runs beside it.
    engine_seconds
        The part of it that was spent waiting for the engine; the rest is gapbench's own work, which held the engine up
        unless it works on by itself meanwhile.
    """

    stage: str
    rows: int = 0
    requests: int = 0
    tokens: int = 0
    prompt_tokens: int = 0
    cached_tokens: int | None = None
    seconds: float = 0.0
    engine_seconds: float = 0.0
    statuses: dict[str, int] = field(default_factory=dict)

    def count(self, status: str) -> None:
        """Add one row of this status; errors are counted under the word alone."""
        self.rows += 1
        word = "error" if is_error(status) else status
        self.statuses[word] = self.statuses.get(word, 0) + 1

    def spend(self, result: Result) -> None:
        """Add what a generation cost."""
        self.requests += 1
        self.tokens += result.n_tokens
        self.prompt_tokens += result.n_prompt
        if result.n_cached is not None:
            self.cached_tokens = (self.cached_tokens or 0) + result.n_cached
