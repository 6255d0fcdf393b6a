"""Grading: what the graders find in responses, each text of a prompt looked at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from gapbench.graders.base import Grader
from gapbench.records import TRUNCATED, Grade, Prompt, Response, error_status, is_error
from gapbench.stages.jobs import Jobs
from gapbench.store.finished import PromptKey

_PROMPTS_REMEMBERED = 1024


def grade_one(grader: Grader, prompt: Prompt, response: Response) -> Grade:
    """Grade one response.

    An engine's error stays an error and leaves N; a reply cut at the token limit is `truncated`, utility 0, whatever
    stands in it, because an answer inside an unfinished reply is not one the model committed to.
    """
    key = response.task, response.prompt_id, response.response
    if is_error(response.finish_reason):
        return Grade(*key, answer=None, cluster=None, utility=None, status=response.finish_reason)
    if response.finish_reason == "length":
        return Grade(*key, answer=None, cluster=None, utility=0.0, status=TRUNCATED)
    try:
        graded = grader.grade(prompt, response.text)
    except Exception as failure:  # a plug-in's grader may break on one reply; that must not cost the run
        return Grade(*key, None, None, None, error_status(f"grader {type(failure).__name__}: {failure}"))
    return Grade(*key, graded.answer, graded.cluster, graded.utility, graded.status)


class Grading:
    """Grades responses as they land.

    Parameters
    ----------
    graders
        By task.
    jobs
        Where graders that wait for another process do so.

    Attributes
    ----------
    seconds
        Spent in graders, those that ran at the same time added up.
    """

    def __init__(self, graders: Mapping[str, Grader], jobs: Jobs) -> None:
        self._graders = graders
        self._jobs = jobs
        self._known: dict[PromptKey, dict[tuple[str, str], Grade]] = {}
        self.seconds = 0.0

    def grade(self, prompt: Prompt, response: Response, then: Callable[[Grade], None]) -> None:
        """Grade a response and hand the grade to `then`, at once or later."""
        known = self._known.get(prompt.key)
        if known is None:
            if len(self._known) >= _PROMPTS_REMEMBERED:
                del self._known[next(iter(self._known))]
            known = self._known[prompt.key] = {}
        seen = response.text, response.finish_reason
        if (alike := known.get(seen)) is not None:
            then(replace(alike, response=response.response))
            return

        grader = self._graders[prompt.task]

        def work() -> tuple[Grade, float]:
            began = time.monotonic()
            return grade_one(grader, prompt, response), time.monotonic() - began

        def keep(graded: tuple[Grade, float]) -> None:
            known[seen] = graded[0]
            self.seconds += graded[1]
            then(graded[0])

        self._jobs.do(work, keep, waits=grader.waits)
