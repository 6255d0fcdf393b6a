"""Any other engine on many machines at once, through Ray.

`gapbench run starter --engine ray --engine-option engine=transformers --engine-option workers=4` starts four workers,
on this machine or, with `--engine-option address=auto`, on a cluster that runs. Each holds an engine of its own and a
queue before it; this process hands out requests and takes results as they come, and the run directory is written here
alone. Every node needs gapbench and the model.

A worker that is lost, or its node, costs only what it had not finished: that is drawn again elsewhere, from the same
seeds.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from math import ceil
from typing import Any

import ray
from ray._private import worker as ray_worker

from gapbench.engines._ray_crew import Crew, Finished, Lost, Returned
from gapbench.engines._ray_dealing import Dealer
from gapbench.engines._ray_worker import Facts
from gapbench.engines.base import Engine, Request, Result, engines
from gapbench.errors import UserError
from gapbench.launch import EngineSpec
from gapbench.records import Prompt

LOCAL = "local"


@engines.register("ray")
class RayEngine(Engine):
    """Spreads requests over workers on a Ray cluster, each with an engine of its own.

    What it can do, and the model, are those of the engine inside; they are known once a worker has started.

    Parameters
    ----------
    model
        As the engine inside takes it.
    engine, engine_options
        The engine inside, and its options.
    workers
        How many. Where the cluster has room for fewer, the others start when there is room.
    address
        `auto`, `HOST:PORT` or `ray://HOST:PORT` of a cluster; by default one is started on this machine, which counts
        as having processors enough.
    num_cpus, num_gpus, resources, runtime_env
        What each worker asks of the cluster, as `ray.remote` takes it. Give `num_gpus`: without it no GPU is set aside.
    queue
        Generations that a worker is given ahead: at least twice what its engine draws at once.
    patience
        Seconds to wait for room on the cluster, `runtime_env` included, while there is no worker at all.

    Raises
    ------
    UserError
        If the cluster cannot be reached or has no room, or as the engine inside.
    """

    def __init__(
        self,
        model: str,
        *,
        engine: str = "transformers",
        engine_options: dict[str, Any] | None = None,
        workers: int = 1,
        address: str = LOCAL,
        num_cpus: float = 1,
        num_gpus: float = 0,
        resources: dict[str, float] | None = None,
        runtime_env: dict[str, Any] | None = None,
        queue: int = 2048,
        patience: float = 60.0,
    ) -> None:
        for name, count in (("workers", workers), ("queue", queue)):
            if not isinstance(count, int) or count < 1:
                raise UserError(
                    f"option '{name}' of engine 'ray' must be a whole number of at least 1, not {count!r}"
                )
        if not isinstance(engine_options, dict | None):
            raise UserError(
                f"option 'engine_options' of engine 'ray' must be a mapping such as '{{max_rows: 64}}', not {engine_options!r}"
            )
        if engine == "ray":
            raise UserError("engine 'ray' cannot hold itself; name another with --engine-option engine=NAME")
        self._queue, self._workers = queue, workers
        asked = {
            "num_cpus": num_cpus,
            "num_gpus": num_gpus,
            "resources": resources,
            "runtime_env": runtime_env,
        }
        self._connected = _connect(address, ceil(workers * num_cpus))
        self._crew = Crew(
            EngineSpec(engine, model, engine_options or {}),
            workers,
            {name: value for name, value in asked.items() if value is not None},
            patience,
        )
        try:
            if address == LOCAL and self._connected:
                _check_room({"GPU": num_gpus, **(resources or {})})
            self._facts = self._first_facts()
        except BaseException:  # Ctrl-C while a model loads leaves no process behind either
            self.close()
            raise
        self.capabilities, self.model = self._facts.capabilities, self._facts.model

    def run(self, requests: Iterable[Request | None]) -> Iterator[Result]:
        """Yield one result for each key of each request, as it arrives.

        Raises
        ------
        EngineFailure
            If no worker is left and none can start.
        UserError
            As the engine inside.
        """
        crew, dealer = self._crew, Dealer(requests, self._queue)
        crew.recruit()
        try:
            while True:
                for slot, pieces in dealer.deal(crew.live):
                    crew.put(slot, pieces)
                if dealer.done:
                    return
                fullest = dealer.fullest(crew.live)
                if fullest is not None:
                    crew.ask_back(fullest)
                for event in crew.events():
                    match event:
                        case Finished(slot, results):
                            yield from dealer.finish(slot, results)
                        case Returned(slot, keys):
                            dealer.take_back(slot, keys)
                        case Lost(slot, reason):
                            yield from dealer.lose(slot, reason)
        finally:
            if dealer.held:  # the caller has had enough, and nobody wants what is being drawn
                crew.dismiss()

    def bind(self, prompts: Sequence[Prompt]) -> None:
        """Tell every worker's engine."""
        self._crew.bind(prompts)

    def close(self) -> None:
        """End the workers, and the cluster if it was started for them."""
        if ray.is_initialized():
            self._crew.close()
            if self._connected:
                ray.shutdown()

    def describe(self) -> dict[str, Any]:
        """Ray, the workers, and under `each` what the engine inside says of itself."""
        return {
            **super().describe(),
            "version": ray.__version__,
            "workers": self._workers,
            "nodes": sum(node["Alive"] for node in ray.nodes()),
            "each": self._facts.description,
        }

    def _first_facts(self) -> Facts:
        self._crew.recruit()
        while self._crew.facts is None:
            for _ in self._crew.events():
                pass
        return self._crew.facts


def _connect(address: str, cpus: int) -> bool:
    """Connect this process to a cluster, or start one; False where it is connected already."""
    if ray.is_initialized():
        return False
    # Ray prints each lost worker's story on standard output, whatever it is told of logs; standard output is ours.
    ray_worker.listen_error_messages = lambda *_: None
    # Ray reads these itself. The second: what a lost worker was still asked is told once, by us.
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_IGNORE_UNHANDLED_ERRORS": "1"}
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == LOCAL:
        options |= {"num_cpus": max(cpus, os.cpu_count() or 1), "include_dashboard": False}
    try:
        host, colon, port = address.removeprefix("ray://").rpartition(":")
        if colon and port.isdigit():  # Ray itself would try for minutes
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address, **options)
    except (OSError, RuntimeError, ValueError, OverflowError) as failure:
        why = (str(failure).strip().splitlines() or [type(failure).__name__])[0]
        raise UserError(
            f"address {address}: Ray does not start or answer there ({why}); leave 'address' out to start one here"
        ) from None
    return True


def _check_room(asked: dict[str, float]) -> None:
    """Refuse at once what this machine will never have."""
    there = ray.cluster_resources()
    for name, amount in asked.items():
        if amount > there.get(name, 0):
            raise UserError(
                f"engine 'ray': each worker asks for {name}={amount:g}, and this machine has {there.get(name, 0):g}; "
                "ask for less, or name a cluster with address="
            )
