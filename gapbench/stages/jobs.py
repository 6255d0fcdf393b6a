"""Work beside the engine: what computes is done at once, what waits for another process is waited for in threads."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")

WAITING = 256
"""Jobs that may wait before the next has to; each holds one reply."""


class Jobs:
    """Does jobs and hands on their results, always in the caller's own thread. Use as a context manager."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="gapbench-job")
        self._pending: deque[tuple[Future[Any], Callable[[Any], None]]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=kind is None, cancel_futures=True)

    def __len__(self) -> int:
        return len(self._pending)

    def do(self, work: Callable[[], T], then: Callable[[T], None], *, waits: bool) -> None:
        """Do `work` and hand its result to `then`, later where it waits for another process."""
        if not waits:
            then(work())
            return
        while len(self._pending) >= WAITING:
            self.hand_on(wait=True)
        self._pending.append((self._threads.submit(work), then))

    def hand_on(self, *, wait: bool = False) -> None:
        """Hand on what is done, in the order in which it was asked for; `wait` for one if none is."""
        while self._pending and (wait or self._pending[0][0].done()):
            job, then = self._pending.popleft()
            then(job.result())
            wait = False
