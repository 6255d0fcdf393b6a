"""What verifiers ask and what they make of the replies; nothing is ever made up."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapbench.engines.base import Result, render_plain
from gapbench.records import NO_ANSWER, SCORED, UNPARSED, Message, Prompt, is_error
from gapbench.verifiers.base import Candidate, ModelVerifier, PoolVerifier, verifiers
from gapbench.verifiers.likelihood import Likelihood
from gapbench.verifiers.majority import Majority
from gapbench.verifiers.yesno import LEAST_MASS, YesNo, judging_examples

WEIRD = st.text(max_size=40) | st.sampled_from(
    ["{", "}", "{question}", "{0}", "%s", "\n\nQ: x\nA: Yes", "\x00", "Is the proposed answer correct?", ""]
)


def capitals(
    shots: list[tuple[str, str]], question: str = "Capital of France?", answer: str = "Paris"
) -> Prompt:
    turns = [
        turn for q, a in shots for turn in (Message("user", q), Message("assistant", a))
    ]  # fmt: skip
    return Prompt("capitals", "p0", "factual", (*turns, Message("user", question)), (answer,))


SHOTS = [
    ("Capital of Italy?", "Rome"),
    ("Capital of Spain?", "Madrid"),
    ("Capital of Peru?", "Lima"),
    ("Capital of Japan?", "Tokyo"),
]


def reply(yes: float, no: float, text: str = "Yes", reason: str = "length") -> Result:
    """A judge's reply with these probabilities of the labels."""
    logs = tuple(math.log(p) if p > 0 else -math.inf for p in (yes, no))
    return Result(("t", "p", 0, "yesno", 0), text, None, 1, 0.0, reason, label_logprobs=logs)


def test_every_verifier_is_filed_and_says_what_it_costs() -> None:
    kinds = {"yesno": ModelVerifier, "majority": PoolVerifier, "likelihood": PoolVerifier}
    for name, kind in kinds.items():
        verifier = verifiers.get(name)
        assert issubclass(verifier, kind)
        assert verifier.name == name
        assert verifier.cost
    assert verifiers.get("yesno").needs == {"labels"}
    assert verifiers.get("likelihood").needs == {"logprobs"}
    assert verifiers.get("majority").whole_pool


def test_the_question_as_plain_text() -> None:
    assert render_plain(YesNo().messages(capitals(SHOTS), " Lyon\n")) == (
        "Decide whether the proposed answer to each question is correct. Reply Yes or No.\n"
        "\n"
        "Q: Capital of Italy?\nProposed answer: Rome\nIs the proposed answer correct?\nA: Yes\n"
        "\n"
        "Q: Capital of Spain?\nProposed answer: Lima\nIs the proposed answer correct?\nA: No\n"
        "\n"
        "Q: Capital of Peru?\nProposed answer: Lima\nIs the proposed answer correct?\nA: Yes\n"
        "\n"
        "Q: Capital of Japan?\nProposed answer: Rome\nIs the proposed answer correct?\nA: No\n"
        "\n"
        "Q: Capital of France?\nProposed answer: Lyon\nIs the proposed answer correct?\nA:"
    )


def test_the_question_as_a_chat_without_examples() -> None:
    assert YesNo().messages(capitals([]), "Lyon") == (
        Message("system", "Decide whether the proposed answer to each question is correct. Reply Yes or No."),
        Message("user", "Capital of France?\nProposed answer: Lyon\nIs the proposed answer correct?"),
    )


def test_templates_can_be_replaced() -> None:
    class Short(YesNo):
        instruction = "Right?"
        question = "{question} = {answer}"

    assert (
        render_plain(Short().messages(capitals([]), "Lyon")) == "Right?\n\nQ: Capital of France? = Lyon\nA:"
    )


@given(st.lists(st.tuples(WEIRD, WEIRD), max_size=7))
def test_examples_are_balanced_true_and_in_turn(shots: list[tuple[str, str]]) -> None:
    examples = judging_examples(shots)
    verdicts = [verdict for _, _, verdict in examples]
    assert verdicts == ["Yes", "No"] * (len(examples) // 2)
    answers = {answer for _, answer in shots}
    for question, answer, verdict in examples:
        if verdict == "Yes":
            assert (question, answer) in shots
        else:
            assert answer in answers
            own = [right for asked, right in shots if asked == question]
            assert any(right.casefold() != answer.casefold() for right in own)


def test_without_two_different_answers_there_are_no_examples() -> None:
    assert judging_examples([("a", "yes"), ("b", " Yes ")]) == []
    assert judging_examples([("a", "yes")]) == []
    assert len(judging_examples([("a", "1"), ("b", "2"), ("c", "3")])) == 2


@given(WEIRD, WEIRD)
def test_any_text_is_put_in_as_it_is_and_last(question: str, answer: str) -> None:
    prompt = capitals(SHOTS, question=question)
    first, second = YesNo().messages(prompt, answer), YesNo().messages(prompt, "other")
    assert first[:-1] == second[:-1], "neighbours share everything before the answer"
    asked = first[-1].content
    assert asked == f"{question}\nProposed answer: {answer.strip()}\nIs the proposed answer correct?"


@given(WEIRD, st.lists(WEIRD, min_size=1, max_size=3))
def test_the_ground_truth_is_not_shown(answer: str, reference: list[str]) -> None:
    prompt = replace(capitals(SHOTS), reference=("Paris",))
    other = replace(prompt, reference=tuple(reference), metadata={"solution": "Paris"}, cluster="c")
    assert YesNo().messages(prompt, answer) == YesNo().messages(other, answer)
    shown = " ".join(message.content for message in YesNo().messages(prompt, "Lyon"))
    assert "Paris" not in shown


@pytest.mark.parametrize(
    ("yes", "no", "score"), [(0.6, 0.2, 0.75), (0.0, 0.5, 0.0), (0.5, 0.0, 1.0), (0.005, 0.005, 0.5)]
)
def test_the_score_is_the_share_of_yes(yes: float, no: float, score: float) -> None:
    judgement = YesNo().parse(reply(yes, no))
    assert judgement.status == SCORED
    assert judgement.score == pytest.approx(score)


@pytest.mark.parametrize("mass", [0.0, 1e-300, LEAST_MASS * 0.99])
def test_a_judge_that_does_not_take_the_question_gives_no_verdict(mass: float) -> None:
    for yes in (mass, 0.0, mass / 2):
        judgement = YesNo().parse(reply(yes, mass - yes, text="The"))
        assert (judgement.score, judgement.status, judgement.text) == (None, UNPARSED, "The")


def test_a_nan_is_no_verdict() -> None:
    broken = replace(reply(0.5, 0.5), label_logprobs=(math.nan, -1.0))
    assert YesNo().parse(broken).status == UNPARSED


def test_errors_stay_errors() -> None:
    failed = replace(reply(0.5, 0.5, text="", reason="error:out of memory"), label_logprobs=None)
    assert YesNo().parse(failed).status == "error:out of memory"
    silent = YesNo().parse(replace(reply(0.5, 0.5), label_logprobs=None))
    assert is_error(silent.status)
    assert silent.score is None


@given(st.floats(max_value=0.0), st.floats(max_value=0.0), WEIRD)
def test_a_verdict_is_a_probability_or_nothing(yes: float, no: float, text: str) -> None:
    judgement = YesNo().parse(replace(reply(0.5, 0.5, text), label_logprobs=(yes, no)))
    assert (judgement.score is None) == (judgement.status != SCORED)
    assert judgement.score is None or 0 <= judgement.score <= 1
    assert judgement.text == text


def pool(*clusters: str | None) -> list[Candidate]:
    return [Candidate(i, cluster or "", cluster, None, 1) for i, cluster in enumerate(clusters)]


@pytest.mark.parametrize(
    ("clusters", "scores"),
    [
        (("a", "a", "b", None), (2 / 3, 2 / 3, 1 / 3, 0.0)),
        (("a", "b", "b", "a"), (0.5, 0.5, 0.5, 0.5)),
        ((None, None), (0.0, 0.0)),
        (("a", None, None), (1.0, 0.0, 0.0)),
        (("", "", "b"), (2 / 3, 2 / 3, 1 / 3)),
        ((), ()),
    ],
)
def test_majority_by_hand(clusters: tuple[str | None, ...], scores: tuple[float, ...]) -> None:
    judged = Majority().judge(capitals([]), pool(*clusters))
    assert [judgement.score for judgement in judged] == pytest.approx(list(scores))
    assert all(judgement.status == SCORED for judgement in judged)


@given(st.lists(st.none() | st.sampled_from("abc"), max_size=12))
def test_agreement_sums_to_one_over_answers_and_silence_changes_nothing(clusters: list[str | None]) -> None:
    judged = Majority().judge(capitals([]), pool(*clusters))
    by_answer = {c: j.score for c, j in zip(clusters, judged, strict=True) if c is not None}
    assert sum(by_answer.values(), 0.0) == pytest.approx(1.0 if by_answer else 0.0)  # type: ignore[arg-type]
    most = Counter(cluster for cluster in clusters if cluster is not None)
    assert all(
        (by_answer[a] > by_answer[b]) == (most[a] > most[b])
        for a in by_answer
        for b in by_answer  # type: ignore[operator]
    )
    silent = Majority().judge(capitals([]), pool(*clusters, None, None))
    assert silent[: len(judged)] == judged


def test_likelihood_by_hand() -> None:
    candidates = [
        Candidate(0, "a b", "a b", logprob=-3.0, n_tokens=3),
        Candidate(1, "a", "a", logprob=-3.0, n_tokens=1),
        Candidate(2, "a", "a", logprob=0.0, n_tokens=2),
        Candidate(3, "a", "a", logprob=None, n_tokens=2),
        Candidate(4, "", None, logprob=0.0, n_tokens=0),
        Candidate(5, "a", "a", logprob=math.nan, n_tokens=2),
        Candidate(6, "a", "a", logprob=-math.inf, n_tokens=2),
    ]
    judged = Likelihood().judge(capitals([]), candidates)
    assert [judgement.score for judgement in judged] == [-1.0, -3.0, 0.0, None, None, None, None]
    assert [judgement.status for judgement in judged[:3]] == [SCORED] * 3
    assert judged[4].status == NO_ANSWER
    assert all(is_error(judged[i].status) for i in (3, 5, 6))
