"""Work spread over Ray: every key is answered once, by the same text, whatever is lost on the way."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, pairwise
from math import ceil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

ray = pytest.importorskip("ray")
from ray.cluster_utils import Cluster  # noqa: E402

from gapbench.engines._ray_dealing import BLOCK, TRIES, Dealer, Hand  # noqa: E402
from gapbench.engines._ray_worker import EngineError, Worker  # noqa: E402
from gapbench.engines.base import Key, Request, Result, engines  # noqa: E402
from gapbench.engines.simulated import SimulatedEngine  # noqa: E402
from gapbench.errors import EngineFailure, UserError  # noqa: E402
from gapbench.launch import EngineSpec, start_engine  # noqa: E402
from gapbench.models import EMBEDDED  # noqa: E402
from gapbench.records import Message, Prompt, is_error  # noqa: E402
from tests.conftest import Cli, command, document  # noqa: E402

FRAGILE = '''
"""A simulated model whose process can be made to die, as somebody else's package brings it."""

import os
import signal
from pathlib import Path

from gapbench.engines.simulated import SimulatedEngine


class Fragile(SimulatedEngine):
    def __init__(self, model, log="", poison="", broken="", slow=1, delay=0, **options):
        if log:
            slow = 1 if list(Path(log).iterdir()) else slow
            (Path(log) / str(os.getpid())).touch()
        super().__init__(model, delay=delay * slow, **options)
        self.log, self.poison, self.broken = log, poison, broken

    def run(self, requests):
        for result in super().run(map(self.look, requests)):
            if self.log:
                with open(Path(self.log) / str(os.getpid()), "a") as file:
                    print(*result.key, file=file)
            yield result

    def look(self, request):
        if request is not None:
            text = request.messages[-1].content
            if self.poison and self.poison in text:
                os.kill(os.getpid(), signal.SIGKILL)
            if self.broken and self.broken in text:
                raise RuntimeError("the device is gone")
        return request
'''


def prompts(count: int) -> list[Prompt]:
    return [
        Prompt("sums", f"p{i}", "arithmetic", (Message("user", f"What is {i} + 3?"),), (str(i + 3),))
        for i in range(count)
    ]


def asked(some: Iterable[Prompt], n: int) -> Iterator[Request]:
    for prompt in some:
        keys: tuple[Key, ...] = tuple((*prompt.key, index) for index in range(n))
        yield Request(prompt.messages, "plain", keys, tuple(range(n)))


def plain(some: list[Prompt], n: int) -> list[str]:
    engine = SimulatedEngine()
    engine.bind(some)
    return sorted(map(repr, engine.run(asked(some, n))))


def gather(
    results: Iterable[Result], into: list[Result], at: int = 0, act: Callable[[], object] = list
) -> None:
    """Append the results, and do something when so many are there."""
    for result in results:
        into.append(result)
        if len(into) == at:
            act()


def same(results: Iterable[Result]) -> list[str]:
    return sorted(map(repr, results))


# Dealing, without a cluster.


def answer(key: Key) -> Result:
    return Result(key, str(key), None, 1, -1.0, "stop")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 300))
def test_every_key_is_answered_once_whoever_is_lost(seed: int, workers: int, depth: int) -> None:
    draw = random.Random(seed)
    some = prompts(draw.randrange(1, 40))
    requests = list(asked(some, draw.choice([1, 3, BLOCK + 1])))
    dealer, hands = Dealer(requests, depth), [Hand() for _ in range(workers)]
    answers: list[Result] = []
    lost = 0
    while not dealer.done:
        for _ in dealer.deal(hands):
            pass
        assert all(hand.load < depth + BLOCK for hand in hands)
        hand = draw.choice(hands)
        event = draw.random()
        if event < 0.15 and lost < TRIES - 1:
            answers += dealer.lose(hand, "killed")
            lost += 1
        elif event < 0.4 and (full := dealer.fullest(hands)):
            begun = {result.key for result in answers}
            whole = {p.request.keys[0] for p in full.held.values() if not begun & set(p.request.keys)}
            dealer.take_back(full, draw.sample(sorted(whole), (len(whole) + 1) // 2))
        else:
            few = draw.sample(list(hand.held), draw.randrange(hand.load + 1))
            answers += dealer.finish(hand, [answer(key) for key in few])
    keys = [result.key for result in answers]
    assert sorted(keys) == sorted(key for request in requests for key in request.keys)
    assert not any(is_error(result.finish_reason) for result in answers)


def test_pieces_keep_each_key_with_its_seed() -> None:
    (request,) = asked(prompts(1), 3 * BLOCK + 5)
    dealer, hand = Dealer([request], 10_000), Hand()
    pieces = [piece for _, block in dealer.deal([hand]) for piece in block]
    assert [len(piece.request.keys) for piece in pieces] == [BLOCK] * 3 + [5]
    pairs = [pair for piece in pieces for pair in zip(piece.request.keys, piece.request.seeds, strict=True)]
    assert pairs == list(zip(request.keys, request.seeds, strict=True))
    dealer.finish(hand, [answer(key) for key in request.keys[:7]])
    dealer.lose(hand, "killed")
    again = [
        pair
        for _, block in dealer.deal([hand])
        for piece in block
        for pair in zip(piece.request.keys, piece.request.seeds, strict=True)
    ]
    assert sorted(again) == pairs[7:]


def test_neighbours_go_to_one_worker() -> None:
    dealer, hands = Dealer(asked(prompts(200), 8), 800), [Hand(), Hand()]
    for _ in dealer.deal(hands):
        pass
    owner = [next(i for i, hand in enumerate(hands) if ("sums", f"p{p}", 0) in hand.held) for p in range(200)]
    assert sum(a != b for a, b in pairwise(owner)) < 2 * ceil(800 / BLOCK)
    assert abs(hands[0].load - hands[1].load) <= BLOCK


def test_one_poisonous_request_costs_three_workers_and_itself() -> None:
    requests = list(asked(prompts(64), 4))
    bad = requests[37].keys
    dealer, hands = Dealer(requests, 2048), [Hand(), Hand()]
    results: list[Result] = []
    deaths = 0
    while not dealer.done:
        for _ in dealer.deal(hands):
            pass
        for hand in hands:
            if bad[0] in hand.held:
                deaths += 1
                results += dealer.lose(hand, "its process died")
            else:
                results += dealer.finish(hand, [answer(key) for key in list(hand.held)[:8]])
    assert deaths == TRIES == 3
    assert Counter(result.key for result in results) == Counter(k for r in requests for k in r.keys)
    failed = {result.key for result in results if is_error(result.finish_reason)}
    assert failed == set(bad)
    assert all("error:worker died" in r.finish_reason for r in results if r.key in failed)


def test_requests_are_read_no_further_than_the_hands_reach_and_none_is_a_pause() -> None:
    read: list[int] = []

    def some() -> Iterator[Request | None]:
        for index, request in enumerate(asked(prompts(100), 1)):
            read.append(index)
            yield request
            if index == 9:
                yield None

    dealer, hands = Dealer(some(), 20), [Hand()]
    assert sum(len(pieces) for _, pieces in dealer.deal(hands)) == 10  # what came before the None
    assert sum(len(pieces) for _, pieces in dealer.deal(hands)) == 10
    assert len(read) == 20
    assert not list(dealer.deal(hands))
    assert not dealer.done


# The worker, without a cluster.


class Recording(SimulatedEngine):
    """Reads in windows, as the transformers engine does, and writes down how often it was told that nothing waits."""

    def __init__(self, model: str, window: int = 8) -> None:
        super().__init__(model)
        self.window, self.held, self.nones = window, 0, 0

    def run(self, requests: Iterable[Request | None]) -> Iterator[Result]:
        waiting: list[Request] = []
        for request in requests:
            if request is None:
                assert self.held, "told to wait while it holds nothing"
                self.nones += 1
            else:
                if request.keys[0][1] == "p13":
                    raise RuntimeError("unlucky\nin many words")
                waiting.append(request)
                self.held += len(request.keys)
            if request is None or len(waiting) == self.window:
                for result in super().run(waiting):
                    self.held -= 1
                    yield result
                waiting = []


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(engines._classes, "recording", Recording)


@pytest.mark.usefixtures("recording")
def test_an_engine_is_told_that_nothing_waits_only_while_it_holds_work() -> None:
    some = prompts(12)
    worker = Worker()
    worker.start(EngineSpec("recording", "simulated"))
    worker.bind(some)
    results: list[Result] = []
    for part in (some[:3], some[3:]):
        worker.put(list(asked(part, 4)))
        wanted = len(results) + 4 * len(part)
        while len(results) < wanted:
            results += worker.take()
    assert same(results) == plain(some, 4)
    assert worker._engine.nones >= 2  # type: ignore[attr-defined]
    worker.close()
    assert not worker._thread.is_alive()
    assert worker.take() == []


@pytest.mark.usefixtures("recording")
def test_what_an_engine_finished_before_it_broke_is_kept() -> None:
    some = prompts(20)
    worker = Worker()
    worker.start(EngineSpec("recording", "simulated", {"window": 1}))
    worker.bind(some)
    worker.put(list(asked(some, 2)))
    results: list[Result] = []
    with pytest.raises(EngineError, match=r"^RuntimeError: unlucky$"):
        gather(chain.from_iterable(iter(worker.take, [])), results)
    assert same(results) == plain(some[:13], 2)


def test_a_worker_gives_back_the_later_half_of_what_waits() -> None:
    worker = Worker()
    worker.put(list(asked(prompts(5), 2)))
    assert worker.give_back() == [("sums", f"p{i}", 0) for i in (2, 3, 4)]
    assert worker.give_back() == [("sums", "p1", 0)]
    assert worker.give_back() == [("sums", "p0", 0)]
    assert worker.give_back() == []


# On a cluster of three nodes; workers run on the last two.


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The engine `fragile`, where workers find it as an installed package."""
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "fragile_engine.py").write_text(FRAGILE)
    about = folder / "fragile_engine-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: fragile-engine\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[gapbench.engines]\nfragile = fragile_engine:Fragile\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        yield folder


@pytest.fixture(scope="module")
def cluster(plugin: Path) -> Iterator[Cluster]:
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 4, "include_dashboard": False})
    found.add_node(num_cpus=0, resources={"slot": 2})
    yield found
    if ray.is_initialized():
        ray.shutdown()
    found.shutdown()


def complete(engine: Any) -> None:
    """Wait until every worker is there."""
    while len(engine._crew.live) < engine.describe()["workers"]:
        list(engine._crew.events())


@pytest.fixture
def start(cluster: Cluster) -> Iterator[Any]:
    """Start a Ray engine with workers on the cluster's other nodes."""
    running: list[Any] = []

    def begin(inner: str = "fragile", **options: Any) -> Any:
        asks = {"num_cpus": 0, "resources": {"slot": 1}, "workers": 2, "address": cluster.address, **options}
        engine: Any = start_engine(EngineSpec("ray", "simulated", {"engine": inner, **asks}))
        running.append(engine)
        complete(engine)
        return engine

    yield begin
    for engine in running:
        engine.close()


def logged(folder: Path) -> dict[int, list[str]]:
    """What each worker process finished, by process id."""
    return {int(file.name): file.read_text().splitlines() for file in folder.iterdir()}


def test_results_are_those_of_the_plain_engine(start: Any, tmp_path: Path) -> None:
    some = prompts(400)
    # The delay, not what else the processor does, sets the pace of a worker: then two share alike.
    engine = start(engine_options={"log": str(tmp_path), "delay": 0.001})
    assert engine.capabilities == SimulatedEngine.capabilities
    assert engine.model.id == "simulated"
    told = engine.describe()
    assert (told["engine"], told["workers"], told["nodes"]) == ("ray", 2, 2)
    assert told["version"] == ray.__version__
    assert told["each"]["scenario"]["a"] == 0.6
    engine.bind(some[:100])
    assert same(engine.run(asked(some[:100], 8))) == plain(some[:100], 8)
    engine.bind(some[100:])  # a later bind reaches workers that run
    assert same(engine.run(asked(some[100:], 8))) == plain(some[100:], 8)
    counts = [len(keys) for keys in logged(tmp_path).values()]
    assert len(counts) == 2
    assert sum(counts) == 3200  # nothing is drawn twice
    assert min(counts) > 800
    stranger = Prompt("other", "p0", "arithmetic", (Message("user", "1 + 1?"),), ("2",))
    with pytest.raises(UserError, match=r"^the simulated engine does not know prompt .*other"):
        list(engine.run(asked([stranger], 1)))


def test_a_killed_worker_costs_only_what_it_had_not_finished(
    start: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    some = prompts(300)
    engine = start(engine_options={"log": str(tmp_path), "delay": 0.001}, queue=256)
    engine.bind(some)
    results: list[Result] = []

    def kill() -> None:
        os.kill(next(pid for pid, keys in logged(tmp_path).items() if keys), signal.SIGKILL)

    with pytest.warns(UserWarning, match=r"worker \d on .* was lost \(its process or node died\)"):
        gather(engine.run(asked(some, 8)), results, 500, kill)
    assert same(results) == plain(some, 8)
    complete(engine)
    done = logged(tmp_path)
    assert len(done) == 3  # another was started in its place
    assert sum(map(len, done.values())) - 2400 <= 256 + BLOCK  # redrawn: at most what it held
    assert capfd.readouterr().out == ""  # Ray would tell of it there


def test_a_removed_node_costs_only_what_its_worker_had_not_finished(
    start: Any, cluster: Cluster, tmp_path: Path
) -> None:
    some = prompts(200)
    nodes = [cluster.add_node(num_cpus=0, resources={"pair": 1}) for _ in range(2)]
    engine = start(
        engine_options={"log": str(tmp_path), "delay": 0.002}, queue=256, resources={"pair": 1}, patience=20
    )
    engine.bind(some)
    results: list[Result] = []
    with pytest.warns(UserWarning, match="its process or node died"):
        gather(engine.run(asked(some, 8)), results, 400, lambda: cluster.remove_node(nodes.pop()))
    assert same(results) == plain(some, 8)
    done = logged(tmp_path)
    assert len(done) == 2  # there is no room for another
    assert sum(map(len, done.values())) - 1600 <= 256 + BLOCK

    # The other node goes too: nothing is left to wait for.
    some = prompts(300)[200:]
    engine.bind(some)
    results = []
    with (
        pytest.warns(UserWarning, match="was lost"),
        pytest.raises(EngineFailure, match=r"no Ray worker is left .* none could be placed.*--resume"),
    ):
        gather(engine.run(asked(some, 8)), results, 100, lambda: cluster.remove_node(nodes.pop()))
    assert set(same(results)) <= set(plain(some, 8))
    assert len({result.key for result in results}) == len(results) < 800


@pytest.mark.slow
def test_a_poisonous_request_becomes_an_error_and_the_others_do_not(start: Any, tmp_path: Path) -> None:
    some = prompts(40)
    engine = start(engine_options={"log": str(tmp_path), "poison": "is 17 +"})
    engine.bind(some)
    with pytest.warns(UserWarning, match="was lost"):
        results = list(engine.run(asked(some, 4)))
    assert Counter(result.key for result in results) == Counter(k for r in asked(some, 4) for k in r.keys)
    failed = [result for result in results if is_error(result.finish_reason)]
    assert {result.key[1] for result in failed} == {"p17"}
    assert {result.finish_reason for result in failed} == {
        "error:worker died 3 times at this request (its process or node died)"
    }
    others = [prompt for prompt in some if prompt.prompt_id != "p17"]
    assert same(result for result in results if result.key[1] != "p17") == plain(others, 4)
    complete(engine)
    assert len(logged(tmp_path)) == 2 + TRIES


@pytest.mark.slow
def test_an_engine_that_breaks_everywhere_stops_the_run(start: Any) -> None:
    some = prompts(40)
    engine = start(engine_options={"broken": "What is"}, workers=1)
    engine.bind(some)
    with (
        pytest.warns(UserWarning, match="RuntimeError: the device is gone"),
        pytest.raises(EngineFailure, match=r"no Ray worker is left \(lost 5 times in a row: RuntimeError"),
    ):
        list(engine.run(asked(some, 2)))


@pytest.mark.slow
def test_a_fast_worker_takes_over_from_a_slow_one(start: Any, tmp_path: Path) -> None:
    some = prompts(100)
    engine = start(engine_options={"log": str(tmp_path), "delay": 0.004, "slow": 5})
    engine.bind(some)
    assert same(engine.run(asked(some, 8))) == plain(some, 8)
    counts = sorted(len(keys) for keys in logged(tmp_path).values())
    assert sum(counts) == 800  # what was handed over was not drawn twice
    assert 800 / 12 < counts[0] < 800 / 3  # an even split would be a half, the ideal is a sixth


def read_lazily(engine: Any, some: list[Prompt], n: int, queue: int) -> None:
    read = received = ahead = 0

    def counted() -> Iterator[Request]:
        nonlocal read
        for request in asked(some, n):
            read += n
            yield request

    seen: set[Key] = set()
    for result in engine.run(counted()):
        received += 1
        seen.add(result.key)
        ahead = max(ahead, read - received)
    assert len(seen) == received == n * len(some)
    assert (
        queue < ahead <= 2 * (queue + BLOCK) + 1024
    )  # the last: results that have arrived and wait to be yielded


def test_requests_are_read_only_as_far_as_the_queues_reach(start: Any) -> None:
    some = prompts(1500)
    engine = start("simulated", queue=256)
    engine.bind(some)
    read_lazily(engine, some, 8, 256)


@pytest.mark.slow
def test_a_hundred_thousand_requests_are_read_lazily(start: Any) -> None:
    some = prompts(100_000)
    engine = start("simulated", queue=512)
    engine.bind(some)
    read_lazily(engine, some, 1, 512)


@pytest.mark.slow
def test_an_abandoned_run_leaves_nothing_to_the_next(start: Any, tmp_path: Path) -> None:
    some = prompts(50)
    engine = start(engine_options={"delay": 0.01}, workers=1)
    engine.bind(some)
    run = engine.run(asked(some, 8))
    next(run)
    run.close()
    assert same(engine.run(asked(some[:5], 2))) == plain(some[:5], 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inner": "simulated", "engine_options": {"scenario": "nope"}}, "unknown scenario 'nope'"),
        ({"inner": "simulated", "engine_options": {"moon": 1}}, "has no option 'moon'"),
        ({"inner": "simulate"}, "unknown engine 'simulate'; did you mean 'simulated'"),
        ({"inner": "ray"}, "cannot hold itself"),
        ({"workers": 0}, "'workers' of engine 'ray' must be a whole number of at least 1, not 0"),
        ({"engine_options": "fast"}, "must be a mapping"),
        ({"moon": 1}, "engine 'ray' does not take it"),
        ({"resources": {"moon": 1}, "patience": 2}, "none could be placed: each asks for .*'moon': 1"),
    ],
)
def test_a_mistake_is_told_in_one_line(start: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as told:
        start(**options)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9", "nonsense"])
def test_an_address_where_no_cluster_answers(address: str) -> None:
    code = f"from gapbench.engines.ray import _connect; _connect({address!r}, 1)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert f"UserError: address {address}: Ray does not start or answer there" in done.stderr


# From the command line, on a cluster of its own.

OPTIONS = ["--engine", "ray", "--engine-option", "workers=2", "--engine-option"]
SMALL = ["run", "starter", "-m", "simulated", "-n", 4, "--limit", 10]


@pytest.mark.slow
def test_a_run_through_ray_is_the_run_without_it(cli: Cli) -> None:
    spread = document(cli(*SMALL, *OPTIONS, "engine=simulated", "--out", "spread", "--json"))
    single = document(cli(*SMALL, "--engine", "simulated", "--out", "single", "--json"))
    assert spread["estimates"] == single["estimates"]
    assert spread["run"]["engine"]["workers"] == 2
    assert spread["run"]["engine"]["each"]["engine"] == "simulated"


def marked(mark: str) -> list[int]:
    """Processes that have inherited an environment variable."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark.encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes under /proc")
def test_ctrl_c_leaves_a_resumable_run_and_no_process(tmp_path: Path, cli: Cli) -> None:
    mark = f"gapbench-{os.getpid()}-{time.time_ns()}"
    words = [
        *SMALL,
        *OPTIONS,
        "engine=simulated",
        "--engine-option",
        "engine_options={delay: 0.05}",
        "--out",
        "run",
    ]
    run = subprocess.Popen(
        command(*words), cwd=tmp_path, env={**os.environ, "MARK": mark}, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 240
    while not list((tmp_path / "run").glob("responses*/*")):
        assert time.monotonic() < deadline
        assert run.poll() is None
        time.sleep(0.2)
    assert len(marked(mark)) > 3
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "Traceback" not in said
    assert "--resume" in said
    deadline = time.monotonic() + 20
    while marked(mark) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not marked(mark)
    resumed = document(cli(*words, "--resume", "--json"))
    single = document(cli(*SMALL, "--engine", "simulated", "--out", "single", "--json"))
    assert resumed["estimates"] == single["estimates"]


@pytest.mark.model
def test_a_real_model_answers_the_same_on_two_workers(start: Any) -> None:
    alias = "smollm2-135m"
    assert alias in EMBEDDED
    some = prompts(6)
    single = start_engine(EngineSpec("transformers", alias))
    expected = {result.key: result.text for result in single.run(asked(some, 4))}
    single.close()
    engine = start_engine(EngineSpec("ray", alias, {"engine": "transformers", "workers": 2, "num_cpus": 0}))
    assert {result.key: result.text for result in engine.run(asked(some, 4))} == expected
    assert engine.model == single.model
    engine.close()
