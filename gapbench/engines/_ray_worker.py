"""What runs in each of Ray's worker processes: one engine, and a queue before it.

Nothing of Ray is used here: `gapbench.engines._ray_crew` makes an actor of the class, whose methods are then called
from several threads at once.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gapbench
from gapbench.engines.base import Capabilities, Key, ModelInfo, Request, Result
from gapbench.errors import EngineFailure, UserError
from gapbench.launch import EngineSpec, start_engine
from gapbench.records import Prompt

_LINGER = 0.01  # seconds in which results gather into one reply
_CLOSING = 3.0  # seconds that an engine may take to come to rest


@dataclass(frozen=True)
class Facts:
    """What a worker says of itself once its engine has started."""

    version: str
    host: str
    capabilities: Capabilities
    model: ModelInfo
    description: dict[str, Any]


class EngineError(Exception):
    """An engine broke; the worker is of no more use."""


class Worker:
    """Feeds one engine from a queue and gathers what it finishes."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._queue: deque[Request] = deque()
        self._held = 0  # generations that the engine was given and has not finished
        self._results: list[Result] = []
        self._failure: Exception | None = None
        self._closing = False

    def place(self) -> None:
        """Return as soon as the process is there."""

    def start(self, spec: EngineSpec) -> Facts:
        """Start the engine.

        Raises
        ------
        UserError
            As `gapbench.launch.start_engine`.
        """
        self._engine = start_engine(spec)
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        return Facts(
            gapbench.__version__,
            socket.gethostname(),
            self._engine.capabilities,
            self._engine.model,
            self._engine.describe(),
        )

    def bind(self, *prompts: Sequence[Prompt]) -> None:
        """Tell the engine of prompts."""
        for some in prompts:
            self._engine.bind(some)

    def put(self, requests: Sequence[Request]) -> None:
        """Queue requests."""
        with self._change:
            self._queue.extend(requests)
            self._change.notify_all()

    def take(self) -> list[Result]:
        """Wait for results and give all there are.

        Raises
        ------
        UserError, EngineFailure, EngineError
            If the engine has stopped, and nothing is left of what it finished before.
        """
        with self._change:
            self._change.wait_for(lambda: self._results or self._failure or self._closing)
        time.sleep(_LINGER)
        with self._change:
            results, self._results = self._results, []
            if not results and self._failure is not None:
                raise self._failure
            return results

    def give_back(self) -> list[Key]:
        """Forget the later half of what the engine has not been given yet, and say the first key of each request."""
        with self._change:
            return [self._queue.pop().keys[0] for _ in range((len(self._queue) + 1) // 2)][::-1]

    def close(self) -> None:
        """Close the engine, unless it is in the middle of something that takes long."""
        with self._change:
            self._closing = True
            self._queue.clear()
            self._change.notify_all()
        self._thread.join(_CLOSING)
        if not self._thread.is_alive():
            self._engine.close()

    def _requests(self) -> Iterator[Request | None]:
        """What is queued; None while the queue is empty and the engine holds work, a wait while it holds none."""
        while True:
            request = None
            with self._change:
                self._change.wait_for(lambda: self._queue or self._held or self._closing)
                if self._queue:
                    request = self._queue.popleft()
                    self._held += len(request.keys)
                elif self._closing:
                    return
            yield request

    def _work(self) -> None:
        failure: Exception = EngineError("the engine stopped by itself")
        try:
            for result in self._engine.run(self._requests()):
                with self._change:
                    self._held -= 1
                    self._results.append(result)
                    if len(self._results) == 1:
                        self._change.notify_all()
        except (UserError, EngineFailure) as told:
            failure = told
        except Exception as broken:  # whatever breaks an engine, the driver is to hear of it
            lines = str(broken).strip().splitlines() or [""]
            failure = EngineError(f"{type(broken).__name__}: {lines[0]}")
        with self._change:
            self._failure = None if self._closing else failure
            self._change.notify_all()
