"""Ground truth: a grader maps a prompt and a reply to a utility in [0, 1] and a status, and never raises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from gapbench.records import NO_ANSWER, SCORED, Prompt
from gapbench.registry import Registry


@dataclass(frozen=True, slots=True)
class Graded:
    """What a grader found: the answer, its normal form for agreement, utility and status."""

    answer: str | None
    cluster: str | None
    utility: float
    status: str = SCORED


NOTHING = Graded(answer=None, cluster=None, utility=0.0, status=NO_ANSWER)


class Grader(ABC):
    """Options come from the task's YAML as keyword arguments.

    The same reply to the same prompt gets the same grade: it is not graded twice.

    Attributes
    ----------
    waits
        Whether grading waits for another process. Such graders are called in threads, several at a time.
    """

    name: ClassVar[str]
    waits: ClassVar[bool] = False

    @abstractmethod
    def grade(self, prompt: Prompt, text: str) -> Graded:
        """Grade a reply. A reply in which no answer can be found is `NOTHING`: utility 0, and it counts."""


graders: Registry[Grader] = Registry("grader", "gapbench.graders")
