"""The workers on a Ray cluster: placed, started, spoken to, and replaced where they are lost."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import ray
from ray import exceptions

import gapbench
from gapbench.engines._ray_dealing import Hand, Piece
from gapbench.engines._ray_worker import Facts, Worker
from gapbench.engines.base import Key, Result
from gapbench.errors import EngineFailure, UserError
from gapbench.launch import EngineSpec
from gapbench.records import Prompt

GIVE_UP = 5
"""Losses of one worker in a row, with nothing finished between them, after which it is not started again."""

_THREADS = 4  # of a worker: one waits for results, the others take requests and give them back
_TURN = 1.0  # seconds between looks at whether there are workers at all
_GOODBYE = 5.0  # seconds that the engines have for closing

_ACTOR: Any = ray.remote(Worker)


@dataclass(eq=False)
class Slot(Hand):
    """The place of one worker, whichever process fills it.

    Attributes
    ----------
    state
        `placing` until the cluster has room, `starting` while the engine loads, `binding` while it learns the prompts.
    bound
        How many lots of prompts its engine has learnt.
    losses
        How often it was lost since it last finished anything.
    """

    number: int = 0
    actor: Any = None
    state: Literal["placing", "starting", "binding", "live"] = "placing"
    host: str = ""
    bound: int = 0
    losses: int = 0


@dataclass(frozen=True)
class Finished:
    """Results that a worker sent."""

    slot: Slot
    results: list[Result]


@dataclass(frozen=True)
class Returned:
    """The first keys of the requests that a worker handed back."""

    slot: Slot
    keys: list[Key]


@dataclass(frozen=True)
class Lost:
    """A worker is gone, and with it what it held."""

    slot: Slot
    reason: str


Event = Finished | Returned | Lost


class Crew:
    """So many workers, each with the same engine.

    Parameters
    ----------
    spec
        The engine of each.
    size
        How many.
    options
        What each asks of the cluster, as `ray.remote` takes it.
    patience
        Seconds to wait for room on the cluster while there is no worker at all.

    Attributes
    ----------
    facts
        What the first worker that started said; the others must say the same.
    """

    def __init__(self, spec: EngineSpec, size: int, options: dict[str, Any], patience: float) -> None:
        self._spec = spec
        self._asks = options
        self._patience = patience
        self._size = size
        self._slots: list[Slot] = []
        self._calls: dict[Any, tuple[Slot, str]] = {}
        self._prompts: list[Any] = []
        self._last_reason = ""
        self._waiting_since = 0.0
        self.facts: Facts | None = None

    @property
    def live(self) -> list[Slot]:
        """The workers that take requests."""
        return [slot for slot in self._slots if slot.state == "live"]

    def recruit(self) -> None:
        """Ask for workers, unless there are some."""
        if not self._slots:
            self._slots = [Slot(number=number) for number in range(self._size)]
            for slot in self._slots:
                self._place(slot)
            self._waiting_since = time.monotonic()

    def bind(self, prompts: Sequence[Prompt]) -> None:
        """Have every engine learn prompts, those of later workers too, before they are given requests."""
        self._prompts.append(ray.put(prompts))
        for slot in self.live:
            self._bind(slot)

    def put(self, slot: Slot, pieces: Sequence[Piece]) -> None:
        """Send requests."""
        self._call(slot, "put", [piece.request for piece in pieces])

    def ask_back(self, slot: Slot) -> None:
        """Ask for some of the requests that a worker has not begun; once at a time."""
        if (slot, "give_back") not in self._calls.values():
            self._call(slot, "give_back")

    def events(self) -> Iterator[Event]:
        """Wait a moment for what happens, and tell it.

        Raises
        ------
        UserError
            If no worker can start, or an engine refuses to go on.
        EngineFailure
            If no worker is left of those that there were, and none can start.
        """
        self._check()
        ready, _ = ray.wait(list(self._calls), timeout=_TURN)
        if ready:
            ready, _ = ray.wait(list(self._calls), num_returns=len(self._calls), timeout=0)
        for call in ready:
            if call not in self._calls:  # the worker was lost at an earlier one of these
                continue
            slot, method = self._calls.pop(call)
            try:
                said = ray.get(call)
            except exceptions.RayTaskError as failed:
                yield from self._failed(slot, failed.cause)
            except exceptions.RuntimeEnvSetupError as refused:
                raise UserError(f"Ray cannot set up runtime_env: {_first_line(refused)}") from None
            except exceptions.RayError as gone:
                yield from self._lose(slot, _why(gone))
            else:
                event = self._heard(slot, method, said)
                if event is not None:
                    yield event

    def dismiss(self) -> None:
        """End every worker at once."""
        for slot in self._slots:
            ray.kill(slot.actor)
        self._slots = []
        self._calls = {}

    def close(self) -> None:
        """Let the engines close, then end the workers."""
        leaving = [slot.actor.close.remote() for slot in self._slots if slot.state == "live"]
        if leaving:
            ray.wait(leaving, num_returns=len(leaving), timeout=_GOODBYE)
        self.dismiss()

    def _call(self, slot: Slot, method: str, *arguments: Any) -> None:
        self._calls[getattr(slot.actor, method).remote(*arguments)] = slot, method

    def _place(self, slot: Slot) -> None:
        slot.state, slot.bound = "placing", 0
        slot.actor = _ACTOR.options(
            max_concurrency=_THREADS, max_task_retries=0, scheduling_strategy="SPREAD", **self._asks
        ).remote()
        self._call(slot, "place")

    def _bind(self, slot: Slot) -> None:
        slot.state = "binding"
        self._call(slot, "bind", *self._prompts[slot.bound :])
        slot.bound = len(self._prompts)

    def _heard(self, slot: Slot, method: str, said: Any) -> Event | None:
        """Go on with a worker that did what it was asked to."""
        if method == "take":
            self._call(slot, "take")
            slot.losses = 0
            return Finished(slot, said)
        if method == "give_back":
            return Returned(slot, said)
        if method == "place":
            slot.state = "starting"
            self._call(slot, "start", self._spec)
        elif method == "start":
            self._agree(said)
            slot.host = said.host
            self._call(slot, "take")
            self._welcome(slot)
        elif method == "bind":
            self._welcome(slot)
        return None

    def _welcome(self, slot: Slot) -> None:
        if slot.bound < len(self._prompts):
            self._bind(slot)
        else:
            slot.state = "live"

    def _agree(self, facts: Facts) -> None:
        """Check that all workers are alike: their results are one run's."""
        if facts.version != gapbench.__version__:
            raise UserError(
                f"node {facts.host} has gapbench {facts.version} and this machine {gapbench.__version__}; install one version everywhere"
            )
        if self.facts is None:
            self.facts = facts
        elif (facts.capabilities, facts.model) != (self.facts.capabilities, self.facts.model):
            raise UserError(
                f"nodes {self.facts.host} and {facts.host} run engine '{self._spec.engine}' differently "
                f"({self.facts.model}, {self.facts.capabilities}; {facts.model}, {facts.capabilities}); make them alike"
            )

    def _failed(self, slot: Slot, cause: Exception) -> Iterator[Lost]:
        """A method raised: before there is a worker at all, and in the middle of work, the user's mistake ends the run."""
        if slot.state != "starting":
            if isinstance(cause, UserError | EngineFailure):
                raise cause
            yield from self._lose(slot, _first_line(cause))
            return
        if not isinstance(cause, UserError):
            cause = UserError(
                f"engine '{self._spec.engine}' does not start on a Ray worker ({_first_line(cause)})"
            )
        if self.facts is None:
            raise cause
        self._retire(slot, str(cause))

    def _lose(self, slot: Slot, reason: str) -> Iterator[Lost]:
        self._drop_calls(slot)
        ray.kill(slot.actor)
        slot.losses += 1
        self._last_reason = reason
        _warn(f"worker {slot.number} {f'on {slot.host} ' * bool(slot.host)}was lost ({reason})")
        self._waiting_since = time.monotonic()
        yield Lost(slot, reason)
        if slot.losses >= GIVE_UP:
            self._retire(slot, f"lost {GIVE_UP} times in a row: {reason}")
        else:
            self._place(slot)

    def _retire(self, slot: Slot, reason: str) -> None:
        self._drop_calls(slot)
        ray.kill(slot.actor)
        self._slots.remove(slot)
        self._last_reason = reason
        _warn(f"worker {slot.number} is given up ({reason})")

    def _drop_calls(self, slot: Slot) -> None:
        self._calls = {call: own for call, own in self._calls.items() if own[0] is not slot}

    def _check(self) -> None:
        """Stop where no worker is left and none can start."""
        if any(slot.state != "placing" for slot in self._slots):
            self._waiting_since = time.monotonic()
            return
        if self._slots and time.monotonic() - self._waiting_since <= self._patience:
            return
        why = self._last_reason
        if self._slots:
            lost = f"the last was lost: {why}; " * bool(why)
            why = (
                f"{lost}for {self._patience:g} s none could be placed: each asks for {_in_words(self._asks)}, "
                f"and the nodes have {_in_words(ray.cluster_resources())} in all"
            )
        if self.facts is None:
            raise UserError(f"no Ray worker starts ({why})")
        raise EngineFailure(
            f"no Ray worker is left ({why}); every finished row is kept, go on with the same command and --resume"
        )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _why(gone: exceptions.RayError) -> str:
    """Ray's own words are a page long."""
    if isinstance(gone, exceptions.ActorUnavailableError):
        return "it could not be reached"
    if isinstance(gone, exceptions.OutOfMemoryError):
        return "its node ran out of memory"
    if isinstance(gone, exceptions.RayActorError | exceptions.NodeDiedError):
        return "its process or node died"
    return _first_line(gone)


def _in_words(resources: dict[str, Any]) -> str:
    told = ((name, value) for name, value in resources.items() if not name.startswith("node:"))
    return ", ".join(f"{name}={value}" for name, value in told if not name.endswith("memory")) or "nothing"


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=2)
