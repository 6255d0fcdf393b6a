"""The score that reasoning-gym's own dataset gives a reply, for questions with more than one right answer.

The prompt carries the entry to score in `prompt.metadata["procedural"]`, put there by `gapbench.tasks.sources`. Scoring
happens in a worker process with limits, because some scorers evaluate what they are given (see `gapbench.tasks.gym`).
"""

from __future__ import annotations

from typing import Any

from gapbench.errors import UserError
from gapbench.graders._text import LONGEST_ANSWER, LONGEST_REPLY, clean, first_line, strip_prefix
from gapbench.graders.base import NOTHING, Graded, Grader, graders
from gapbench.isolation.worker import CallFailed, WorkerDied, shared_worker
from gapbench.records import Prompt


@graders.register("procedural")
class Procedural(Grader):
    """Utility 1 for a score of at least `threshold`, else 0.

    Parameters
    ----------
    threshold
        Score that counts as right. Scorers give partial credit (a part of the words in place, or .01 for trying), so
        it is 1 unless the task says otherwise; None takes the score itself as utility.
    first_line
        Score the first line that is not blank, not the whole reply.
    seconds
        Processor time for one reply; one that takes longer is not right.
    """

    waits = True

    def __init__(self, threshold: float | None = 1.0, first_line: bool = False, seconds: float = 5.0) -> None:
        if threshold is not None and not 0 < threshold <= 1:
            raise UserError(
                f"grader 'procedural': option 'threshold' must be in (0, 1] or null, not {threshold}"
            )
        self.threshold = threshold
        self.first_line = first_line
        self.seconds = seconds

    def grade(self, prompt: Prompt, text: str) -> Graded:
        """Score the reply; the cluster is its text with white space collapsed.

        Raises
        ------
        UserError
            If the prompt is not a procedural one: the task's mistake.
        """
        source = prompt.metadata.get("procedural")
        if source is None:
            raise UserError(f"task '{prompt.task}': grader 'procedural' needs a procedural source")
        reply = clean(text)[:LONGEST_REPLY]
        whole = (first_line(reply) if self.first_line else reply).strip()
        answer = strip_prefix(whole).strip()
        if not answer:
            return NOTHING
        score = self._score(source, answer)
        if (
            score < 1 and whole != answer
        ):  # what looks like a mark of emphasis may belong to the answer, as in `_x, y`
            score = max(score, self._score(source, whole))
        utility = score if self.threshold is None else float(score >= self.threshold)
        # Case and signs may carry the answer (a board, a cipher), so only white space is normalised.
        return Graded(answer[:LONGEST_ANSWER], " ".join(answer.split()), min(max(utility, 0.0), 1.0))

    def _score(self, source: dict[str, Any], answer: str) -> float:
        try:
            score: float = shared_worker().call(
                "gapbench.tasks.gym:score",
                source["dataset"],
                source["config"],
                source["entry"],
                answer,
                seconds=self.seconds,
            )
        except (WorkerDied, CallFailed):
            return 0.0  # a scorer that breaks on a reply has not found it right
        return score
