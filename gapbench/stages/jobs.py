"""Work beside the engine: what computes is done at once, what waits for another process is waited for in threads."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")

WAITING = 256
"""Jobs that may wait before the next has to; each holds one reply."""


class Jobs:
    """Does jobs and hands on their results, always in the caller's own thread. Use as a context manager.

    After an error nobody waits for the jobs under way, nor does the interpreter at its end, as it would for the threads
    of an executor: a program in a reply may sleep for half a minute. What runs it dies with this process.
    """

    def __init__(self) -> None:
        self._threads: list[Thread] = []
        self._asked: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._pending: deque[tuple[Future[Any], Callable[[Any], None]]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            for job, _ in self._pending:
                job.cancel()
        for _ in self._threads:
            self._asked.put(None)
        if kind is None:
            for thread in self._threads:
                thread.join()

    def __len__(self) -> int:
        return len(self._pending)

    def do(self, work: Callable[[], T], then: Callable[[T], None], *, waits: bool) -> None:
        """Do `work` and hand its result to `then`, later where it waits for another process."""
        if not waits:
            then(work())
            return
        while len(self._pending) >= WAITING:
            self.hand_on(wait=True)
        if not self._threads:
            self._threads = [Thread(target=self._serve, daemon=True) for _ in range(os.cpu_count() or 1)]
            for thread in self._threads:
                thread.start()
        job: Future[T] = Future()
        self._asked.put((job, work))
        self._pending.append((job, then))

    def _serve(self) -> None:
        while (asked := self._asked.get()) is not None:
            job, work = asked
            if job.set_running_or_notify_cancel():
                try:
                    job.set_result(work())
                except BaseException as failure:  # raised again where the result is taken
                    job.set_exception(failure)

    def hand_on(self, *, wait: bool = False) -> None:
        """Hand on what is done, in the order in which it was asked for; `wait` for one if none is."""
        while self._pending and (wait or self._pending[0][0].done()):
            job, then = self._pending.popleft()
            then(job.result())
            wait = False
