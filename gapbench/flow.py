"""The stages over one engine, at once: a response is graded as it lands, and a prompt whose responses are all there is
verified while others are still being sampled.

The engine pulls: it reads requests from one iterator for as long as there are any, so that it is never idle between
stages and no row waits for the slowest of a batch. Verdicts are asked for in bursts, which keeps neighbouring requests
alike: an engine's batches and its prefix cache live on that.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping

from gapbench.engines.base import Engine, Request, Result
from gapbench.errors import UserError
from gapbench.graders.base import Grader
from gapbench.progress import Progress
from gapbench.records import Grade, Prompt, Response
from gapbench.stages import Drawn, Judging, PromptKey, Sampler, Session, grade_one, read_pools
from gapbench.store import RunStore, Writer

BURST = 1024
"""Verdicts that wait before sampling makes room for them."""


class Flow:
    """One sitting.

    Parameters
    ----------
    store, writer
        The run, and the lock on it.
    engine
        Gives the engine; called only if something is to be generated, since loading a model takes long.
    sampler, graders, judging
        The stages that run; None for those that do not. `graders` maps task to grader.

    Attributes
    ----------
    sessions
        By stage, what it did.
    """

    def __init__(
        self,
        store: RunStore,
        writer: Writer,
        engine: Callable[[], Engine],
        *,
        sampler: Sampler | None = None,
        graders: Mapping[str, Grader] | None = None,
        judging: Judging | None = None,
    ) -> None:
        self._store, self._writer, self._engine = store, writer, engine
        self._sampler, self._graders, self._judging = sampler, graders, judging
        self._prompts = {prompt.key: prompt for prompt in store.rows(Prompt)}
        running = {"sample": sampler, "grade": graders, "verify": judging}
        self.sessions = {stage: Session(stage) for stage, work in running.items() if work is not None}

    def run(self) -> None:
        """Do all that is left to do.

        Raises
        ------
        UserError
            If a response belongs to no prompt.
        """
        ungraded = self._ungraded()
        expected = {
            "sample": self._sampler.total if self._sampler else 0,
            "grade": len(ungraded) + (self._sampler.total if self._sampler else 0),
            "verify": 0,
        }
        with Progress(list(self.sessions), [expected[stage] for stage in self.sessions]) as self._progress:
            for response in ungraded:
                self._grade(response)
            if ungraded:
                self._writer.flush()
            self._begin()
            while self._work_is_left():
                last = time.monotonic()
                for result in self._engine().run(self._requests()):
                    stage = "sample" if len(result.key) == 3 else "verify"
                    grading = self._grading_seconds
                    self._take(stage, result)
                    self._progress.advance(stage)
                    now = time.monotonic()
                    self.sessions[stage].seconds += now - last - (self._grading_seconds - grading)
                    last = now
        self._writer.flush()
        for session in self.sessions.values():
            session.seconds = round(session.seconds, 3)

    @property
    def _grading_seconds(self) -> float:
        return self.sessions["grade"].seconds if "grade" in self.sessions else 0.0

    def _ungraded(self) -> list[Response]:
        if self._graders is None:
            return []
        done = self._store.keys(Grade)
        return [response for response in self._store.rows(Response) if response.key not in done]

    def _begin(self) -> None:
        """Set out what there is: pools that are whole wait to be verified, others for their responses."""
        self._samples = iter(self._sampler.requests()) if self._sampler else iter(())
        self._sampling = bool(self._sampler and self._sampler.total)
        self._pools: dict[PromptKey, list[Drawn]] = {}
        self._whole: deque[PromptKey] = deque()
        if self._judging is None:
            return
        if self._graders is not None:
            self._writer.flush()
        elif self._judging.by_grade:
            self._refuse_ungraded()
        self._pools = read_pools(self._store)
        self._whole = deque(key for key in self._prompts if key in self._pools and not self._lacks(key))
        sizes = (
            self._sampler.n if self._sampler and self._lacks(key) else len(self._pools.get(key, ()))
            for key in self._prompts
        )
        self._progress.expect("verify", sum(map(self._judging.expected, sizes)))

    def _refuse_ungraded(self) -> None:
        lacking = len(self._store.keys(Response) - self._store.keys(Grade))
        if lacking:
            raise UserError(
                f"{self._store.path}: {lacking:,} responses have no grade, by which those to verify are chosen; "
                f"run `gapbench grade {self._store.path}` first"
            )

    def _lacks(self, key: PromptKey) -> bool:
        return bool(self._sampler and self._sampler.missing[key])

    def _work_is_left(self) -> bool:
        if self._judging is not None:
            self._fill()
        return self._sampling or bool(self._judging and self._judging.waiting)

    def _requests(self) -> Iterator[Request]:
        """Verdicts in bursts, responses between them."""
        while True:
            if self._judging is not None:
                self._fill()
                if self._judging.waiting >= BURST or not self._sampling:
                    waiting = self._judging.waiting
                    yield from self._judging.ready()
                    if not self._sampling and not waiting:
                        return
                    continue
            following = next(self._samples, None)
            if following is None:
                self._sampling = False
                if self._judging is None:
                    return
                continue
            yield following

    def _fill(self) -> None:
        """Open whole pools until a burst waits."""
        assert self._judging is not None
        while self._whole and self._judging.waiting < BURST:
            key = self._whole.popleft()
            pool = self._pools.pop(key)
            found, asked = self._judging.open(self._prompts[key], pool)
            self._progress.expect("verify", asked + len(found) - self._judging.expected(len(pool)))
            for row in found:
                self._writer.append(row)
                self.sessions["verify"].count(row.status)
                self._progress.advance("verify")

    def _take(self, stage: str, result: Result) -> None:
        session = self.sessions[stage]
        if stage == "sample":
            assert self._sampler is not None
            response = self._sampler.take(result)
            self._writer.append(response)
            session.requests += 1
            session.tokens += result.n_tokens
            session.count(result.finish_reason)
            if self._graders is not None:
                self._pool(response, self._grade(response))
            return
        assert self._judging is not None
        waiting = self._judging.waiting
        row, spent = self._judging.take(result, self._engine().model.id)
        self._progress.expect("verify", self._judging.waiting - waiting)  # a tournament's next round
        self._writer.append(row)
        session.requests += spent
        session.tokens += row.n_tokens
        session.count(row.status)

    def _grade(self, response: Response) -> Grade:
        assert self._graders is not None
        prompt = self._prompts.get((response.task, response.prompt_id))
        if prompt is None:
            raise UserError(
                f"{self._store.path / 'prompts'}: lacks prompt '{response.prompt_id}' of task '{response.task}'; restore the folder"
            )
        begun = time.monotonic()
        row = grade_one(self._graders[response.task], prompt, response)
        self._writer.append(row)
        self.sessions["grade"].count(row.status)
        self.sessions["grade"].seconds += time.monotonic() - begun
        self._progress.advance("grade")
        return row

    def _pool(self, response: Response, grade: Grade) -> None:
        """Keep a response until its prompt has all of them."""
        if self._judging is None:
            return
        key = response.task, response.prompt_id
        utility = float("nan") if grade.utility is None else grade.utility
        pool = self._pools.setdefault(key, [])
        pool.append(Drawn(response.response, response.text, response.finish_reason, utility))
        if not self._lacks(key):
            pool.sort(key=lambda one: one.response)
            self._whole.append(key)
