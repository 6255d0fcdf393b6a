"""Stages that run at once: what is asked when, by which judge, and what is left of it after a kill."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from gapbench.engines.base import Capabilities, Engine, ModelInfo, Request, Result, engines
from gapbench.errors import UserError
from gapbench.judging import VerifierSpec, make_verifier, read_spec
from gapbench.records import UNPARSED, Comparison, Message, Prompt, Response, Verdict
from gapbench.run import Run, RunConfig, execute
from gapbench.stages import flow, pools
from gapbench.stages.pools import read_pools
from gapbench.verifiers.base import (
    DerivedVerifier,
    Judgement,
    ModelVerifier,
    Pair,
    PairVerifier,
    ToolVerifier,
    verifiers,
)
from gapbench.verifiers.yesno import YesNo

OPENED: list[str] = []
CLOSED: list[str] = []
KILL_AFTER: list[int] = []


class Scripted(Engine):
    """Answers with a number that the key decides; judges a text by its last digit. Keeps a log of what it was asked."""

    capabilities = Capabilities(seeds=True, logprobs=True, labels=True)

    def __init__(self, model: str, window: int = 4) -> None:
        self.model = ModelInfo(id=model)
        self.window = window
        self.log: list[str] = []
        OPENED.append(model)
        LOGS[model] = self.log

    def close(self) -> None:
        CLOSED.append(self.model.id)

    def run(self, requests: Iterable[Request | None]) -> Iterator[Result]:
        waiting: list[Request] = []
        for request in requests:  # as the transformers engine: a window is read before any of it is answered
            if request is None:
                assert waiting, "told to work on what it holds while it holds nothing"
            else:
                waiting.append(request)
            if request is None or len(waiting) >= self.window:
                yield from self._answer(waiting)
                waiting = []
        yield from self._answer(waiting)

    def _answer(self, requests: list[Request]) -> Iterator[Result]:
        for request in requests:
            for key in request.keys:
                if KILL_AFTER:
                    KILL_AFTER[0] -= 1
                    if KILL_AFTER[0] == 0:
                        raise KeyboardInterrupt
                self.log.append({3: "sample", 5: "verdict", 6: "comparison"}[len(key)])
                if len(key) == 3:
                    text = f"{(len(key[1]) + key[2] * 7) % 5}"
                    yield Result(key, text, None, 2, -1.0, "stop")
                    continue
                shown = [line for line in request.messages[-1].content.splitlines() if line.startswith(">")]
                digits = [int(line[-1]) for line in shown]
                high = digits[0] / 10 if len(digits) == 1 else 0.5 + (digits[0] - digits[1]) / 20
                yield Result(
                    key, "x", None, 1, -1.0, "length", (np.log(high + 1e-9), np.log(1 - high + 1e-9))
                )


LOGS: dict[str, list[str]] = {}


class Digit(ModelVerifier):
    """P of the first label, which the scripted engine makes of the last digit."""

    labels = ("yes", "no")
    cost = "1 token"

    def messages(self, prompt: Prompt, text: str) -> tuple[Message, ...]:
        return (Message("user", f"{prompt.question}\n> {text}"),)

    def parse(self, result: Result) -> Judgement:
        assert result.label_logprobs is not None
        return Judgement(float(np.exp(result.label_logprobs[0])), text=result.text)


class Knockout(PairVerifier):
    """The champion so far meets the next entrant: each comparison waits for the one before."""

    labels = ("a", "b")
    cost = "1 token a comparison"

    def messages(self, prompt: Prompt, first: str, second: str) -> tuple[Message, ...]:
        return (Message("user", f"{prompt.question}\n> {first}\n> {second}"),)

    def parse(self, result: Result) -> Judgement:
        assert result.label_logprobs is not None
        return Judgement(float(np.exp(result.label_logprobs[0])))

    def _champion(self, entrants: Sequence[int], won: Mapping[Pair, float]) -> tuple[int, int | None]:
        best = entrants[0]
        for other in entrants[1:]:
            pair = min(best, other), max(best, other)
            if pair not in won:
                return best, other
            best = pair[0] if won[pair] >= 0.5 else pair[1]
        return best, None

    def pairs(self, entrants: Sequence[int], won: Mapping[Pair, float]) -> list[Pair]:
        best, other = self._champion(entrants, won)
        return [] if other is None else [(other, best)]

    def scores(self, entrants: Sequence[int], won: Mapping[Pair, float]) -> NDArray[np.float64]:
        best, _ = self._champion(entrants, won)
        return np.array([float(one == best) for one in entrants])


class Ruler(ToolVerifier):
    """Measures; has nothing to say of prompts about even numbers."""

    cost = "no tokens"

    def applies(self, prompt: Prompt) -> bool:
        return prompt.task == "odd"

    def check(self, prompt: Prompt, text: str) -> Judgement:
        return Judgement(None, UNPARSED, text) if text == "0" else Judgement(int(text) / 10)


class Both(DerivedVerifier):
    """The mean of its members."""

    cost = "that of its members"

    def __init__(self) -> None:
        first, second = Digit(), Digit()
        first.name, second.name = "digit", "digit.2"
        self.members = (first, second)

    def combine(self, scores: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        return np.mean([scores[member.name] for member in self.members], axis=0)


@pytest.fixture(scope="module", autouse=True)
def _plugins() -> Iterator[None]:
    """File the classes above for these tests only."""
    ours = {"digit": Digit, "knockout": Knockout, "ruler": Ruler, "both": Both}
    for name, verifier in ours.items():
        verifiers.register(name)(verifier)
    engines.register("scripted")(Scripted)
    yield
    for name in (*ours, "digit.2"):
        verifiers._classes.pop(name, None)
    engines._classes.pop("scripted")


@pytest.fixture(autouse=True)
def _fresh() -> None:
    for log in (OPENED, CLOSED, KILL_AFTER):
        log.clear()
    LOGS.clear()


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Two tasks of twelve prompts."""
    task = {
        "domain": "numbers",
        "title": "Numbers",
        "question": "{q}",
        "reference": "a",
        "calibrate": 0.0,
        "grader": "exact",
        "card": {
            "source": "made up",
            "licence": "none",
            "answer_space": "digits",
            "chance": 0.2,
            "limits": "none",
        },
    }
    for name in ("odd", "even"):
        rows = "".join(f'{{"q": "{name} {"x" * i}", "a": "3"}}\n' for i in range(12))
        (tmp_path / f"{name}.jsonl").write_text(rows)
    path = tmp_path / "numbers.yaml"
    tasks = [{**task, "name": name, "source": {"file": f"{name}.jsonl"}} for name in ("odd", "even")]
    path.write_text(yaml.safe_dump({"name": "numbers", "title": "Numbers", "tasks": tasks}))
    return path


Make = Callable[..., RunConfig]


@pytest.fixture
def config(suite: Path) -> Make:
    """A configuration over the scripted engine."""

    def make(*names: str, **others: Any) -> RunConfig:
        return RunConfig(
            suite=str(suite), model="m", engine="scripted", n=others.pop("n", 5), verifiers=names, **others
        )

    return make


def rows(run: Run, kind: Any) -> list[Any]:
    return sorted(run.store.rows(kind), key=lambda row: row.key)


def test_verification_starts_while_sampling_still_runs(
    tmp_path: Path, config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "BURST", 10)
    run = execute(config("digit"), tmp_path / "run")
    log = LOGS["m"]
    first_verdict, last_sample = log.index("verdict"), len(log) - 1 - log[::-1].index("sample")
    assert first_verdict < last_sample
    assert log.count("sample") == 24 * 5 == len(run.store.rows(Response))
    assert len(run.store.rows(Verdict)) == 24 * 5
    assert OPENED == CLOSED == ["m"], "one engine, started once and closed"


def test_what_is_drawn_does_not_depend_on_how_stages_overlap(
    tmp_path: Path, config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = execute(config("digit", "knockout"), tmp_path / "whole")
    monkeypatch.setattr(flow, "BURST", 3)
    burst = execute(config("digit", "knockout"), tmp_path / "burst")
    apart = execute(config("digit", "knockout"), tmp_path / "apart", upto="sample")
    for stage in ("grade", "verify"):
        apart.advance(only=stage)
    for kind in (Response, Verdict, Comparison):
        assert rows(whole, kind) == rows(burst, kind) == rows(apart, kind)
        assert len(rows(whole, kind)) > 0


@pytest.mark.parametrize("after", [1, 30, 90, 150, 220, 280])
def test_a_kill_anywhere_loses_and_repeats_nothing(
    tmp_path: Path, config: Make, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    monkeypatch.setattr(flow, "BURST", 7)
    names = ("digit", "knockout", "ruler", "both")
    whole = execute(config(*names), tmp_path / "whole")
    KILL_AFTER.append(after)
    with pytest.raises(KeyboardInterrupt):
        execute(config(*names), tmp_path / "cut")
    KILL_AFTER.clear()
    again = execute(config(*names), tmp_path / "cut", resume=True)
    for kind in (Response, Verdict, Comparison):
        assert rows(whole, kind) == rows(again, kind)
    asked = len(LOGS["m"])
    execute(config(*names), tmp_path / "cut", resume=True)
    assert len(LOGS["m"]) == asked, "a finished run asks nothing"


def test_comparisons_that_wait_for_each_other(tmp_path: Path, config: Make) -> None:
    run = execute(config("knockout"), tmp_path / "run")
    compared = rows(run, Comparison)
    # Answers 0..4 stand once each in a pool of five: four comparisons a prompt, each against the champion.
    assert len(compared) == 24 * 4
    assert all(row.response_a < row.response_b for row in compared)
    assert {row.first_shown for row in compared} == {"a", "b"} or {row.first_shown for row in compared} == {
        "b"
    }
    for row in compared:
        assert row.score is not None
        assert row.preferred == ("a" if row.score > 0.5 else "b")
    for panel in run.panels():
        values = panel.scores["knockout"].mean
        texts = {
            (r.prompt_id, r.response): int(r.text) for r in run.store.rows(Response) if r.task == panel.task
        }
        for place, prompt_id in enumerate(panel.prompt_ids):
            best = max(range(5), key=lambda j: texts[prompt_id, j])
            assert values[place].tolist() == [float(j == best) for j in range(5)]


def test_a_tool_has_its_say_where_it_applies(tmp_path: Path, config: Make) -> None:
    run = execute(config("ruler", "digit"), tmp_path / "run")
    judged = [row for row in run.store.rows(Verdict) if row.verifier == "ruler"]
    assert {row.task for row in judged} == {"odd"}
    assert {(row.status, row.judge, row.n_tokens) for row in judged} == {
        ("scored", "tool", 0),
        (UNPARSED, "tool", 0),
    }
    panels = {panel.task: panel for panel in run.panels()}
    assert set(panels["odd"].scores) == {"ruler", "digit"}
    assert set(panels["even"].scores) == {"digit"}
    assert np.isnan(panels["odd"].scores["ruler"].mean).any()


def test_members_are_asked_for_and_not_shown(tmp_path: Path, config: Make) -> None:
    run = execute(config("both", "digit"), tmp_path / "run")
    assert {row.verifier for row in run.store.rows(Verdict)} == {"digit", "digit.2"}
    for panel in run.panels():
        assert list(panel.scores) == ["both", "digit"]
        np.testing.assert_allclose(panel.scores["both"].mean, panel.scores["digit"].mean)


def test_other_judges_come_one_by_one_after_the_run_s_own_model(tmp_path: Path, config: Make) -> None:
    run = execute(config("digit", "digit@other", "both@third"), tmp_path / "run")
    assert OPENED == CLOSED == ["m", "other", "third"]
    judges = {(row.verifier, row.judge) for row in run.store.rows(Verdict)}
    assert judges == {
        ("digit", "m"),
        ("digit@other", "other"),
        ("digit@third", "third"),
        ("digit.2@third", "third"),
    }
    manifest = Run(run.store.path).manifest
    assert manifest["judges"]["digit@other"]["model"]["id"] == "other"
    assert [session.get("judge") for session in manifest["sessions"]] == [None, None, None, "other", "third"]
    assert {panel_name for panel in run.panels() for panel_name in panel.scores} == {
        "digit",
        "digit@other",
        "both@third",
    }


def test_verifiers_from_yaml(tmp_path: Path, config: Make) -> None:
    path = tmp_path / "strict.yaml"
    path.write_text(
        "name: strict\nverifier: yesno\njudge: other\noptions:\n  question: '{question} -> {answer}?'\n"
    )
    spec = read_spec(str(path))
    assert (spec.name, spec.verifier, spec.judge) == ("strict", "yesno", "other")
    verifier = make_verifier(spec)
    assert isinstance(verifier, YesNo)
    prompt = Prompt("t", "p", "d", (Message("user", "2 + 2"),), ("4",))
    assert verifier.messages(prompt, "5")[-1].content == "2 + 2 -> 5?"
    kept = RunConfig.model_validate(
        config("digit").model_dump(mode="json") | {"verifiers": [spec.model_dump()]}
    )
    assert kept.verifiers == (spec,)


def test_a_manifest_says_the_name_where_that_says_it_all() -> None:
    assert VerifierSpec.model_validate("yesno").model_dump() == "yesno"
    assert VerifierSpec.model_validate("yesno@other").model_dump() == "yesno@other"
    full = VerifierSpec(name="strict", verifier="yesno", options={"least_mass": 0.1})
    assert VerifierSpec.model_validate(full.model_dump()) == full


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("yesnoo", "unknown verifier 'yesnoo'; did you mean 'yesno'?"),
        ("majority@other", "asks no model"),
        ("", "write NAME or NAME@MODEL"),
        ("yesno\n", "write NAME or NAME@MODEL"),
        ("yesno@", "names no model after @"),
        ("yesno@ ", "names no model after @"),
        ("nowhere.yaml", "nowhere.yaml: cannot be read"),
    ],
)
def test_a_wrong_word_gets_a_line(word: str, said: str) -> None:
    with pytest.raises(UserError, match=said.replace("?", r"\?")):
        read_spec(word)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("verifier: yesno\n", "'name': field required"),
        ("name: a\nverifier: yesno\nquestoin: x\n", "questoin"),
        (
            "name: a\nverifier: yesno\noptions: {questoin: x}\n",
            "no option 'questoin'; did you mean 'question'?",
        ),
        ("- a\n", "needs the keys name and verifier"),
        ("name: majority\nverifier: yesno\n", "cannot be called 'majority'"),
        ("name: a\nverifier: yesno\njudge: ''\n", "'judge'"),
        ("name: [\n", "not YAML"),
    ],
)
def test_a_wrong_file_gets_a_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as refused:
        read_spec(str(path))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_two_questions_under_one_name_are_refused(tmp_path: Path, config: Make) -> None:
    class Other(Digit):
        def __init__(self) -> None:
            self.tone = "harsh"

    verifiers.register("digit.2")(Other)
    with pytest.raises(UserError, match=r"another question under the name 'digit.2'"):
        execute(config("both", "digit.2"), tmp_path / "run")


def test_pools_that_a_top_up_tore_apart_are_read_in_little_memory(
    tmp_path: Path, config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(config("digit", n=3), tmp_path / "run", upto="grade")
    run = execute(config("digit", n=5), tmp_path / "run", resume=True, upto="grade")
    sizes = {prompt.key: 5 for prompt in run.store.rows(Prompt)}
    at_once = dict(read_pools(run.store, sizes, graded=True))
    monkeypatch.setattr(pools, "HELD_BYTES", 10 * (1 + pools._ROW_BYTES))  # ten responses of one character
    readings: list[int] = []
    batches = run.store.batches
    monkeypatch.setattr(
        run.store, "batches", lambda table, names: readings.append(1) or batches(table, names)
    )
    in_turns = list(read_pools(run.store, sizes, graded=False))
    assert len(readings) > 5
    assert len(in_turns) == len(at_once) == 24
    for key, pool in in_turns:
        assert [(one.response, one.text) for one in pool] == [
            (one.response, one.text) for one in at_once[key]
        ]
    monkeypatch.setattr(pools, "HELD_BYTES", 0)  # one prompt at a time
    assert dict(read_pools(run.store, sizes, graded=False)).keys() == at_once.keys()


def test_a_slow_tool_is_not_the_engine_s_silence(
    tmp_path: Path, config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(config("digit"), tmp_path / "run")
    monkeypatch.setenv("GAPBENCH_STALL", "0.5")
    check = Ruler.check
    monkeypatch.setattr(Ruler, "check", lambda *args: time.sleep(0.05) or check(*args))
    run = execute(config("digit", "ruler", n=6), tmp_path / "run", resume=True)
    assert len([row for row in run.store.rows(Verdict) if row.verifier == "ruler"]) == 12 * 6
    (session,) = [one for one in run.manifest["sessions"][3:] if one["stage"] == "verify"]
    assert session["seconds"] > session["engine_seconds"]
