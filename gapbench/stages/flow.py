"""The stages over one engine, at once: a response is graded as it lands, and a prompt whose responses are all there is
verified while others are still being sampled.

The engine pulls: it reads requests from one iterator for as long as there are any, so that it is never idle between
stages and no row waits for the slowest of a batch. Verdicts are asked for in bursts, which keeps neighbouring requests
alike: an engine's batches and its prefix cache live on that.

Memory holds what is on its way, not what is done: pools of responses that an earlier sitting drew are read from the
disk one after the other, those that this sitting only completed at its end.
"""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

from gapbench.engines.base import Engine, Request, Result
from gapbench.errors import EngineFailure, UserError
from gapbench.graders.base import Grader
from gapbench.progress import Progress
from gapbench.records import Grade, Prompt, Response, Verdict
from gapbench.stages.grading import Grading
from gapbench.stages.jobs import Jobs
from gapbench.stages.pools import Drawn, Pool, read_pools
from gapbench.stages.sampling import Sampler
from gapbench.stages.session import Session
from gapbench.stages.verifying import Judging
from gapbench.stages.watchdog import Watchdog, stall_seconds
from gapbench.store import RunStore, Writer
from gapbench.store.finished import Finished, PromptKey

BURST = 1024
"""Verdicts that wait before sampling makes room for them."""

FAILURE_FILE = "engine-failure.txt"
GO_ON = "every finished row is kept, go on with the same command and --resume"


class Flow:
    """One sitting.

    Parameters
    ----------
    store, writer
        The run, and the lock on it.
    prompts
        The run's.
    engine
        Gives the engine; called only if something is to be generated, since loading a model takes long.
    sampler, graders, judging
        The stages that run; None for those that do not. `graders` maps task to grader.

    Attributes
    ----------
    sessions
        By stage, what it did.

    Raises
    ------
    UserError
        If GAPBENCH_STALL is no number of seconds.
    """

    def __init__(
        self,
        store: RunStore,
        writer: Writer,
        prompts: Sequence[Prompt],
        engine: Callable[[], Engine],
        *,
        sampler: Sampler | None = None,
        graders: Mapping[str, Grader] | None = None,
        judging: Judging | None = None,
    ) -> None:
        self._store, self._writer, self._engine = store, writer, engine
        self._sampler, self._graders, self._judging = sampler, graders, judging
        self._prompts = {prompt.key: prompt for prompt in prompts}
        running = {"sample": sampler, "grade": graders, "verify": judging}
        self.sessions = {stage: Session(stage) for stage, work in running.items() if work is not None}
        self._watchdog = Watchdog(writer.flush, stall_seconds())
        self._on_its_way = 0  # generations that the engine was asked for and has not given
        self._own_seconds = 0.0  # spent in this module while the engine waited for a request
        self._failure: BaseException | None = None  # of this module's, raised through the engine
        self._read_out = False  # whether the engine has read all that there is to do

    def run(self) -> None:
        """Do all that is left to do.

        Raises
        ------
        UserError
            If a response belongs to no prompt.
        EngineFailure
            If the engine breaks or falls silent.
        """
        stored = Finished(self._store, Response)
        lacking = self._sampler.total if self._sampler else 0
        ungraded = self._ungraded(stored)
        expected = {"sample": lacking, "grade": ungraded + lacking, "verify": 0}
        with (
            Progress(list(self.sessions), [expected[stage] for stage in self.sessions]) as self._progress,
            Jobs() as self._jobs,
        ):
            self._grading = None if self._graders is None else Grading(self._graders, self._jobs)
            self._grade_stored(ungraded)
            self._begin(stored)
            if self._sampling or self._fill():
                self._generate()
            self._end()
        if self._grading is not None:
            self.sessions["grade"].seconds = self._grading.seconds
        for session in self.sessions.values():
            session.seconds = round(session.seconds, 3)
            session.engine_seconds = round(session.engine_seconds, 3)

    def _end(self) -> None:
        """Wait for what runs beside the engine, which the engine's last stage has to wait for too."""
        began = time.monotonic()
        while self._jobs:
            self._jobs.hand_on(wait=True)
        self._writer.flush()
        for session in [one for one in self.sessions.values() if one.engine_seconds][-1:]:
            session.seconds += time.monotonic() - began

    def _ungraded(self, stored: Finished) -> int:
        if self._graders is None:
            return 0
        graded = Finished(self._store, Grade)
        return sum(len(stored.of(key).keys() - graded.of(key).keys()) for key in stored.prompts())

    def _grade_stored(self, ungraded: int) -> None:
        """Grade what an interrupted sitting left."""
        if not ungraded or self._grading is None:
            return
        done = Finished(self._store, Grade)
        prompt, graded = None, done.of(("", ""))
        for response in self._store.stream(Response):
            key = response.task, response.prompt_id
            if key != prompt:  # responses of a prompt lie close together
                prompt, graded = key, done.of(key)
            if (response.response,) not in graded:
                self._grading.grade(self._prompt_of(response), response, self._take_grade)
                self._jobs.hand_on()
        while self._jobs:
            self._jobs.hand_on(wait=True)
        self._writer.flush()

    def _begin(self, stored: Finished) -> None:
        """Set out what there is: pools that are whole wait to be verified, others for their responses."""
        self._samples = iter(self._sampler.requests()) if self._sampler else iter(())
        self._sampling = bool(self._sampler and self._sampler.total)
        self._growing: dict[PromptKey, Pool] = {}
        self._whole: deque[tuple[PromptKey, Pool]] = deque()
        self._stored: Iterator[tuple[PromptKey, Pool]] = iter(())
        self._completed: dict[PromptKey, int] = {}
        if self._judging is None:
            return
        if self._graders is None and self._judging.by_grade:
            self._refuse_ungraded(len(stored))
        held = {key: len(stored.of(key)) for key in stored.prompts() if key in self._prompts}
        ready = {key: count for key, count in held.items() if not self._lacks(key)}
        self._completed = {key: count + self._lacks(key) for key, count in held.items() if key not in ready}
        self._stored = read_pools(self._store, ready, graded=self._judging.by_grade)
        sizes = (self._lacks(key) + held.get(key, 0) for key in self._prompts)
        self._progress.expect("verify", sum(map(self._judging.expected, sizes)))

    def _refuse_ungraded(self, responses: int) -> None:
        lacking = responses - self._store.count("grades")
        if lacking:
            raise UserError(
                f"{self._store.path}: {lacking:,} responses have no grade, by which those to verify are chosen; "
                f"run `gapbench grade {self._store.path}` first"
            )

    def _lacks(self, key: PromptKey) -> int:
        return self._sampler.lacking[key] if self._sampler else 0

    def _generate(self) -> None:
        """Let the engine draw what is asked for, and take what it gives."""
        engine, results = self._start()
        try:
            with self._watchdog:
                while True:
                    began = time.monotonic()
                    self._own_seconds = 0.0
                    result = self._next(results)
                    if result is None:
                        break
                    waited = time.monotonic() - began - self._own_seconds
                    self._watchdog.heard()
                    self._on_its_way -= 1
                    session = self._asked_by(result)
                    self._take(session, result, engine)
                    self._progress.advance(session.stage)
                    self._jobs.hand_on()
                    session.engine_seconds += waited
                    session.seconds += time.monotonic() - began
        except KeyboardInterrupt:
            if self._watchdog.fired:
                raise EngineFailure(self._watchdog.message) from None
            raise
        if self._on_its_way or not self._read_out:
            asked = (
                f"and owes {self._on_its_way:,} results" if self._on_its_way else "before all was asked for"
            )
            raise EngineFailure(f"the engine ended {asked}; {GO_ON}")

    def _start(self) -> tuple[Engine, Iterator[Result]]:
        try:
            engine = self._engine()
            return engine, iter(engine.run(self._requests()))
        except (UserError, EngineFailure, OSError):  # the last from a disk that takes no more
            raise
        except Exception as failure:  # whatever a model's library raises, as for want of memory
            raise self._broken(failure) from failure

    def _next(self, results: Iterator[Result]) -> Result | None:
        """What the engine gives next; None at its end."""
        try:
            return next(results, None)
        except (UserError, EngineFailure):
            raise
        except Exception as failure:  # an engine may break in any way
            if failure is self._failure:
                raise
            raise self._broken(failure) from failure

    def _broken(self, failure: Exception) -> EngineFailure:
        """Keep the traceback of an engine's failure for who wants it, and say the rest in a line."""
        path = self._store.path / FAILURE_FILE
        with suppress(OSError):  # a full disk may be what broke it
            path.write_text("".join(traceback.format_exception(failure)), encoding="utf-8", errors="replace")
        lines = str(failure).strip().splitlines()
        return EngineFailure(
            f"the engine broke ({type(failure).__name__}: {lines[0] if lines else 'without a word'}; more in {path}); "
            f"{GO_ON}"
        )

    def _asked_by(self, result: Result) -> Session:
        """The session of the stage that a result was asked for by."""
        for stage, work in (("sample", self._sampler), ("verify", self._judging)):
            if work is not None and result.key in work.seeds:
                return self.sessions[stage]
        raise EngineFailure(
            f"the engine gave a result under {result.key!r}, which it was not asked for or had given before; {GO_ON}"
        )

    def _requests(self) -> Iterator[Request | None]:
        """What the engine reads. Whatever goes wrong here is not the engine's failure."""
        work = self._work()
        while True:
            began = time.monotonic()
            try:
                request = next(work, None)
                waits = request is None and self._on_its_way > 0
                self._on_its_way += len(request.keys) if request else 0
            except BaseException as failure:
                self._failure = failure
                raise
            self._own_seconds += time.monotonic() - began
            if request is None and not waits:
                self._read_out = True
                return
            yield request
            if waits:
                work = self._work()

    def _work(self) -> Iterator[Request]:
        """Verdicts in bursts, responses between them, for as long as there are any now."""
        while True:
            waiting = self._fill()
            if waiting >= BURST or (waiting and not self._sampling):
                assert self._judging is not None
                yield from self._judging.ready()
            elif self._sampling:
                following = next(self._samples, None)
                if following is None:
                    self._sampling = False
                else:
                    yield following
            elif self._jobs and not self._on_its_way:
                self._jobs.hand_on(wait=True)
            else:
                return

    def _fill(self) -> int:
        """Open whole pools until a burst of verdicts waits; return how many do."""
        if self._judging is None:
            return 0
        while self._judging.waiting < BURST:
            following = self._whole.popleft() if self._whole else next(self._stored, None)
            if following is None and self._completed and not self._sampling and not self._on_its_way:
                self._read_completed()
                continue
            if following is None:
                break
            key, pool = following
            coming = self._judging.open(self._prompts[key], pool, self._jobs, self._take_checked)
            self._progress.expect("verify", coming - self._judging.expected(len(pool)))
        return self._judging.waiting

    def _read_completed(self) -> None:
        """Turn to the prompts that had some responses before and have all of them now."""
        assert self._judging is not None
        while self._jobs:
            self._jobs.hand_on(wait=True)
        self._writer.flush()
        self._stored = read_pools(self._store, self._completed, graded=self._judging.by_grade)
        self._completed = {}

    def _take(self, session: Session, result: Result, engine: Engine) -> None:
        seeded = engine.capabilities.seeds
        if session.stage == "sample":
            assert self._sampler is not None
            response = self._sampler.take(result, seeded=seeded)
            self._writer.append(response)
            session.spend(result)
            session.count(result.finish_reason)
            if self._grading is not None:
                self._grading.grade(
                    self._prompt_of(response), response, lambda grade: self._take_grade(grade, response)
                )
            return
        assert self._judging is not None
        waiting = self._judging.waiting
        row, spent = self._judging.take(result, engine.model.id, seeded=seeded)
        self._progress.expect("verify", self._judging.waiting - waiting)  # a tournament's next round
        self._writer.append(row)
        if spent:
            session.spend(result)
        session.count(row.status)

    def _take_checked(self, found: Sequence[Verdict]) -> None:
        """Take what a tool found."""
        self._watchdog.heard()
        for row in found:
            self._writer.append(row)
            self.sessions["verify"].count(row.status)
            self._progress.advance("verify")

    def _take_grade(self, grade: Grade, response: Response | None = None) -> None:
        """Take a grade; a response that has just been drawn joins its pool with it."""
        self._watchdog.heard()
        self._writer.append(grade)
        self.sessions["grade"].count(grade.status)
        self._progress.advance("grade")
        if response is None or self._judging is None:
            return
        key = response.task, response.prompt_id
        if key in self._completed:
            return
        utility = float("nan") if grade.utility is None else grade.utility
        pool = self._growing.setdefault(key, [])
        pool.append(Drawn(response.response, response.text, response.finish_reason, utility))
        assert self._sampler is not None
        if len(pool) == self._sampler.n:
            pool.sort(key=lambda one: one.response)
            self._whole.append((key, self._growing.pop(key)))

    def _prompt_of(self, response: Response) -> Prompt:
        prompt = self._prompts.get((response.task, response.prompt_id))
        if prompt is None:
            raise UserError(
                f"{self._store.path / 'prompts'}: lacks prompt '{response.prompt_id}' of task '{response.task}'; restore the folder"
            )
        return prompt
