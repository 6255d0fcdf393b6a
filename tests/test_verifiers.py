"""What verifiers ask and what they make of the replies; nothing is ever made up."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapbench.engines.base import Result, render_plain
from gapbench.errors import UserError
from gapbench.isolation.worker import shared_worker
from gapbench.judging import VerifierSpec, make_verifier
from gapbench.records import NO_ANSWER, SCORED, UNPARSED, Message, Prompt, is_error
from gapbench.verifiers._arithmetic import MOST_EQUATIONS, equations
from gapbench.verifiers._asking import LEAST_MASS, fill, judging_examples
from gapbench.verifiers.base import (
    AskingVerifier,
    Candidate,
    DerivedVerifier,
    ModelVerifier,
    PairVerifier,
    PoolVerifier,
    ToolVerifier,
    verifiers,
)
from gapbench.verifiers.choice import Choice
from gapbench.verifiers.cot_binary import CotBinary
from gapbench.verifiers.cot_score import CotScore
from gapbench.verifiers.likelihood import Likelihood
from gapbench.verifiers.likelihood_sum import LikelihoodSum
from gapbench.verifiers.majority import Majority
from gapbench.verifiers.pairwise import Pairwise
from gapbench.verifiers.rubric import Rubric
from gapbench.verifiers.rubric_gate import RubricGate
from gapbench.verifiers.rubric_group import RubricGroup
from gapbench.verifiers.tool import CONSTRAINTS, Tool
from gapbench.verifiers.tournament import Tournament
from gapbench.verifiers.yesno import YesNo

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
    kinds = {
        "yesno": ModelVerifier,
        "choice": ModelVerifier,
        "cot-binary": ModelVerifier,
        "cot-score": ModelVerifier,
        "pairwise": PairVerifier,
        "tournament": PairVerifier,
        "majority": PoolVerifier,
        "likelihood": PoolVerifier,
        "likelihood-sum": PoolVerifier,
        "rubric": DerivedVerifier,
        "rubric-gate": DerivedVerifier,
        "rubric-group": DerivedVerifier,
        "ensemble": DerivedVerifier,
        "tool": ToolVerifier,
    }
    assert verifiers.names() == sorted(kinds)
    for name, kind in kinds.items():
        verifier = verifiers.get(name)
        assert issubclass(verifier, kind)
        assert verifier.name == name
        assert "\n" not in verifier.cost
    by_label = {name for name in kinds if verifiers.get(name).needs == {"labels"}}
    assert by_label == {"yesno", "choice", "pairwise", "tournament"}
    assert all(member.needs == {"labels"} for member in Rubric().members)
    assert verifiers.get("likelihood").needs == verifiers.get("likelihood-sum").needs == {"logprobs"}
    whole = {name for name in kinds if verifiers.get(name).whole_pool}
    assert whole == {"majority", "pairwise", "tournament", "rubric-group"}
    assert {name for name in kinds if not verifiers.get(name).deterministic} == {"cot-binary", "cot-score"}


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
    short = YesNo(instruction="Right?", question="{question} = {answer} {x}")
    asked = "Right?\n\nQ: Capital of France? = Lyon {x}\nA:"
    assert render_plain(short.messages(capitals([]), "Lyon")) == asked


@given(st.lists(st.tuples(WEIRD, WEIRD), max_size=7))
def test_examples_are_balanced_true_and_in_turn(shots: list[tuple[str, str]]) -> None:
    examples = judging_examples(shots)
    assert [example.right for example in examples] == [True, False] * (len(examples) // 2)
    answers = {answer for _, answer in shots}
    for example in examples:
        assert (example.question, example.reference) in shots
        assert example.answer in answers
        assert (example.answer == example.reference) == example.right


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
    summed = LikelihoodSum().judge(capitals([]), candidates)
    assert [judgement.score for judgement in summed] == [-3.0, -3.0, 0.0, None, None, None, None]


ASKING = [YesNo, Choice, CotBinary, CotScore, Pairwise, Tournament, Rubric]


@pytest.mark.parametrize("kind", ASKING)
def test_templates_are_checked_and_options_too(kind):
    name = kind.name
    with pytest.raises(UserError, match=r"template 'question' lacks \{question\}"):
        kind(question="Is {answer} {first} {second} {criterion} {A} {B} right?")
    with pytest.raises(UserError, match=f"verifier '{name}': option 'instruction' must be a text"):
        kind(instruction=["Judge."])
    option = "max_tokens" if "max_tokens" in inspect.signature(kind).parameters else "least_mass"
    for value in ("1", True, -1, float("nan"), None):
        with pytest.raises(UserError, match=f"option '{option}' must be"):
            kind(**{option: value})


def test_values_go_in_as_they_are():
    assert fill("{a} {b} {c}", a="{b}", b="{a.__class__}") == "{b} {a.__class__} {c}"


@given(WEIRD, WEIRD)
def test_any_answer_is_shown_unchanged(first, second):
    prompt = replace(capitals(SHOTS), metadata={"rubric": [second.strip() or "x"]})
    for verifier in (Choice(), CotBinary(), CotScore(), Rubric().members[0]):
        assert f": {first.strip()}\n" in verifier.messages(prompt, first)[-1].content
    shown = Pairwise().messages(prompt, first, second)[-1].content
    assert f"Answer A: {first.strip()}\nAnswer B: {second.strip()}\n" in shown


def test_the_choice_as_plain_text():
    prompts = [replace(capitals(SHOTS[:2]), prompt_id=f"p{i}") for i in range(40)]
    swapped = [Choice().labels_for(prompt) == ("B", "A") for prompt in prompts]
    assert 10 < sum(swapped) < 30
    first, second = prompts[swapped.index(False)], prompts[swapped.index(True)]
    assert render_plain(Choice().messages(first, " Lyon\n")) == (
        "Decide whether the proposed answer to each question is correct. Reply A or B.\n"
        "\n"
        "Q: Capital of Italy?\nProposed answer: Rome\nThe proposed answer is:\n(A) Correct\n(B) Incorrect\nA: A\n"
        "\n"
        "Q: Capital of Spain?\nProposed answer: Rome\nThe proposed answer is:\n(A) Correct\n(B) Incorrect\nA: B\n"
        "\n"
        "Q: Capital of France?\nProposed answer: Lyon\nThe proposed answer is:\n(A) Correct\n(B) Incorrect\nA:"
    )
    turns = Choice().messages(second, "Lyon")
    assert [turn.content for turn in turns if turn.role == "assistant"] == ["B", "A"]
    assert all("(A) Incorrect\n(B) Correct" in turn.content for turn in turns if turn.role == "user")
    # Label probabilities come in the order of `labels_for`: the first is that of `Correct`.
    assert Choice().parse(reply(0.6, 0.2)).score == pytest.approx(0.75)


def test_reasoning_as_plain_text():
    assert render_plain(CotBinary().messages(capitals(SHOTS[:2]), "Lyon")) == (
        "Decide whether the proposed answer to each question is correct. Reason in a few sentences, then end with a line "
        "that gives only your verdict: `Verdict: correct` or `Verdict: incorrect`.\n"
        "\n"
        "Q: Capital of Italy?\nProposed answer: Rome\n"
        "Is the proposed answer correct? Reason first, then give your verdict.\n"
        "A: The right answer is Rome. The proposed answer is Rome.\nVerdict: correct\n"
        "\n"
        "Q: Capital of Spain?\nProposed answer: Rome\n"
        "Is the proposed answer correct? Reason first, then give your verdict.\n"
        "A: The right answer is Madrid. The proposed answer is Rome.\nVerdict: incorrect\n"
        "\n"
        "Q: Capital of France?\nProposed answer: Lyon\n"
        "Is the proposed answer correct? Reason first, then give your verdict.\nA:"
    )
    assistant = [m.content for m in CotScore().messages(capitals(SHOTS), "Lyon") if m.role == "assistant"]
    assert [text.rpartition("\n")[2] for text in assistant] == ["Score: 10", "Score: 1"] * 2
    sampling = CotBinary(max_tokens=64, temperature=0.7).sampling
    assert (sampling.max_tokens, sampling.temperature, sampling.stop) == (64, 0.7, ("\nQ:",))


def test_a_comparison_as_plain_text():
    assert render_plain(Pairwise().messages(capitals(SHOTS), "Lyon", " Paris ")) == (
        "Decide which of two proposed answers to each question is better. Reply A or B.\n"
        "\n"
        "Q: Capital of Spain?\nAnswer A: Madrid\nAnswer B: Lima\nWhich answer is better?\nA: A\n"
        "\n"
        "Q: Capital of Japan?\nAnswer A: Rome\nAnswer B: Tokyo\nWhich answer is better?\nA: B\n"
        "\n"
        "Q: Capital of France?\nAnswer A: Lyon\nAnswer B: Paris\nWhich answer is better?\nA:"
    )
    assert Pairwise().parse(reply(0.1, 0.3)).score == pytest.approx(0.25)
    assert Tournament().messages(capitals(SHOTS), "a", "b") == Pairwise().messages(capitals(SHOTS), "a", "b")


@given(st.sets(st.integers(0, 200), max_size=24).map(sorted), st.integers(1, 6), st.integers(0, 24))
def test_pairs_connect_alternate_and_only_grow(entrants, opponents, first):
    verifier = Pairwise(opponents=opponents)
    pairs = verifier.pairs(entrants, {})
    unordered = [(min(pair), max(pair)) for pair in pairs]
    assert len(set(unordered)) == len(pairs) == sum(min(k, opponents) for k in range(len(entrants)))
    assert abs(2 * sum(a > b for a, b in pairs) - len(pairs)) <= 1
    group = {entrant: entrant for entrant in entrants}
    for a, b in unordered:
        group = {entrant: group[a] if own == group[b] else own for entrant, own in group.items()}
    assert len(set(group.values())) <= 1
    # Responses that come later neither change nor turn around what was asked before.
    early = verifier.pairs(entrants[:first], {})
    assert pairs[: len(early)] == early
    won = {(min(pair), max(pair)): 0.5 for pair in early}
    assert verifier.pairs(entrants, won) == pairs[len(early) :]
    assert verifier.pairs(entrants, dict.fromkeys(unordered, math.nan)) == []


def test_pairwise_scores_by_hand():
    won = {(3, 5): 0.8, (3, 9): 0.6, (5, 9): math.nan, (3, 77): 0.0}
    rates = Pairwise(scores="win-rate").scores([3, 5, 9, 12], won)
    assert rates[:3] == pytest.approx([0.7, 0.2, 0.4])
    assert np.isnan(rates[3])
    fitted = Pairwise().scores([3, 5, 9, 12], won)
    assert fitted[0] > fitted[2] > fitted[1] > 0, "losing to the best is no shame"
    assert np.isnan(fitted[3])
    assert np.isnan(Pairwise().scores([4], {})).all()
    assert Pairwise().scores([], {}).shape == (0,)
    with pytest.raises(UserError, match="bradley-terry or win-rate"):
        Pairwise(scores="elo")
    with pytest.raises(UserError, match="whole number"):
        Pairwise(opponents=2.5)


def test_bradley_terry_finds_the_order_and_the_strengths():
    rng = np.random.default_rng(5)
    strength = rng.normal(size=40)
    entrants = list(range(40))
    won = {
        (min(pair), max(pair)): 1 / (1 + math.exp(strength[max(pair)] - strength[min(pair)]))
        for pair in Pairwise(opponents=8).pairs(entrants, {})
    }
    scores = Pairwise(opponents=8).scores(entrants, won)
    assert np.corrcoef(np.log(scores / (1 - scores)), strength)[0, 1] > 0.99
    rates = Pairwise(opponents=8, scores="win-rate").scores(entrants, won)
    assert np.corrcoef(rates, strength)[0, 1] < np.corrcoef(scores, strength)[0, 1]


def bracket(names, beats):
    """The obvious way: play a round, then the rest. Rounds survived by each."""
    if len(names) < 2:
        return dict.fromkeys(names, 0)
    left, bye = (names[:-1], names[-1:]) if len(names) % 2 else (names, [])
    through = bye + [b if beats(b, a) else a for a, b in zip(left[::2], left[1::2], strict=True)]
    later = bracket(through, beats)
    return {name: later[name] + 1 if name in through else 0 for name in names}


def play(entrants, outcome):
    """Compare what is asked for until nothing is; also the number of sittings."""
    cup, won, shown, sittings = Tournament(), {}, [], 0
    while pairs := cup.pairs(entrants, won):
        sittings += 1
        shown += pairs
        for a, b in pairs:
            assert (min(a, b), max(a, b)) not in won
            won[min(a, b), max(a, b)] = outcome(min(a, b), max(a, b))
    return cup.scores(entrants, won), shown, sittings, won


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 8])
def test_a_tournament_is_what_anyone_would_play(size):
    rng = np.random.default_rng(size)
    for _ in range(60):
        entrants = sorted(rng.choice(50, size, replace=False).tolist())
        table = rng.choice([0.0, 0.2, 0.5, 0.9, math.nan], size=(50, 50))
        scores, shown, sittings, _ = play(entrants, lambda a, b, table=table: table[a, b])

        def beats(one, other, table=table):
            result = table[min(one, other), max(one, other)]
            if math.isnan(result) or result == 0.5:
                return one < other
            return (result > 0.5) == (one < other)

        rounds = math.ceil(math.log2(size))
        expected = bracket(entrants, beats)
        assert scores.tolist() == [expected[e] / rounds if rounds else 1.0 for e in entrants]
        assert sorted(scores)[-1] == 1.0
        assert (scores == 1.0).sum() == 1
        assert len(shown) == size - 1
        assert sittings == rounds


def test_a_tournament_shows_half_of_its_pairs_swapped():
    for size in (8, 16, 23, 64):
        _, shown, _, _ = play(list(range(size)), lambda a, b: 0.9)
        assert abs(2 * sum(a > b for a, b in shown) - len(shown)) <= math.ceil(math.log2(size))


def test_a_longer_tournament_asks_only_what_is_new():
    _, _, _, won = play(list(range(8)), lambda a, b: 0.9)
    assert Tournament().pairs(list(range(12)), won) == [(8, 9), (11, 10)]
    half = Tournament().scores(list(range(8)), {(0, 1): 0.9})
    assert half.tolist() == [1 / 3, *[0.0] * 7]


def rubric_prompt(*criteria, question="Write a line."):
    return Prompt("odes", "p0", "writing", (Message("user", question),), ("",), {"rubric": list(criteria)})


def test_the_rubric_as_plain_text():
    prompt = rubric_prompt("It rhymes.", "It is short. {answer}")
    members = [member for member in Rubric().members if member.applies(prompt)]
    assert [member.name for member in members] == ["rubric.1", "rubric.2"]
    assert render_plain(members[1].messages(prompt, "Roses")) == (
        "Decide whether the response to each question meets the criterion. Reply Yes or No.\n\n"
        "Q: Write a line.\nResponse: Roses\nCriterion: It is short. {answer}\n"
        "Does the response meet the criterion?\nA:"
    )


def test_which_rubric_applies():
    assert not Rubric().applies(capitals([]))
    own = Rubric(criteria=["It is polite."], most=3)
    assert [member.applies(capitals([])) for member in own.members] == [True, False, False]
    assert [member.applies(rubric_prompt("a", "b")) for member in own.members] == [True, True, False]
    with pytest.raises(UserError, match="has 4 criteria; set verifier option 'most'"):
        own.applies(rubric_prompt("a", "b", "c", "d"))
    for wrong in ("It rhymes.", ["a", 3], ["a", " "]):
        with pytest.raises(UserError, match="list of texts"):
            Rubric().applies(replace(capitals([]), metadata={"rubric": wrong}))
        with pytest.raises(UserError, match="list of texts"):
            Rubric(criteria=wrong)


def test_one_name_means_one_question():
    kinds = (Rubric, RubricGate, RubricGroup)
    for options in ({}, {"most": 3}, {"question": "{question} {answer} {criterion}"}, {"criteria": ["x"]}):
        members = [kind(**options).members for kind in kinds]
        assert [[vars(m) for m in own] for own in members] == [[vars(m) for m in members[0]]] * 3
    names = {Rubric(**options).members[0].name for options in ({}, {"most": 3}, {"criteria": ["x"]})}
    assert len(names) == 3
    # So all three beside each other ask nothing twice.
    specs = [VerifierSpec(name=kind.name, verifier=kind.name) for kind in kinds]
    assert len({member.name for spec in specs for member in make_verifier(spec).members}) == 8


def test_rubric_scores_by_hand():
    nan = math.nan
    scores = {
        # Prompt 0 has two criteria, prompt 1 has one, prompt 2 has none.
        "rubric.1": np.array([[0.9, 0.4, nan, 0.8], [0.6, 0.5, 0.1, 0.2], [nan] * 4]),
        "rubric.2": np.array([[0.7, 0.8, 0.9, 0.5], [nan] * 4, [nan] * 4]),
    }
    dense = Rubric().combine(scores)
    np.testing.assert_allclose(dense[0], [0.8, 0.6, 0.9, 0.65])
    np.testing.assert_allclose(dense[1], [0.6, 0.5, 0.1, 0.2])
    gate = RubricGate().combine(scores)
    np.testing.assert_array_equal(gate, [[1, 0, nan, 1], [1, 1, 0, 0], [nan] * 4])
    np.testing.assert_array_equal(RubricGroup().combine(scores), gate)
    strict = RubricGroup(at_least=0.6).combine(scores)
    np.testing.assert_array_equal(strict, [[1, 0, nan, 1], [0, 0, 0, 0], [nan] * 4])


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("3 + 4 = 7", [True]),
        ("3+4=8", [False]),
        ("2 + 3 * 4 = 14, and (2 + 3) * 4 = 20.", [True, True]),
        ("10 - 4 - 3 = 3", [True]),
        ("8 / 2 / 2 = 2", [True]),
        ("2 - -3 = 5", [True]),
        ("1,200 * 2 = 2,400", [True]),
        ("48/2 = <<48/2=24>>24", [True]),
        ("$5 * 3 = $15", [True]),
        ("3 x 4 = 12 and 3 × 4 = 13", [True, False]),
        ("10 / 3 = 3.33", [True]),
        ("10 / 3 = 3.34", [False]),
        ("10 / 3 = 3", [False]),
        ("10 / 3 ≈ 3", [True]),
        ("1/2 = 0.5", [True]),
        ("1 + 2 = 3 + 4 = 7", [False, True]),
        ("7 = 3 + 4", [True]),
        ("x = 3 + 4 = 7", [True]),
        ("1. 3 + 4 = 7\n2. 3 + 5 = 9", [True, False]),
        ("- 3 + 4 = 7", [True]),
        ("The total is 3 + 4 = 7.", [True]),
        ("7 − 3 = 4", [True]),
        ("12 / 4 = 3 each", [True]),
        ("0.1 + 0.2 = 0.3", [True]),
        # What may be part of something else is left alone.
        ("7", []),
        ("x = 5", []),
        ("5 = 5", []),
        ("2x + 3 = 7", []),
        ("3 + 4 = 7x", []),
        ("a2 + 3 = 5", []),
        ("3 apples + 4 = 7", []),
        ("apples - 3 * 2 = 4", []),
        ("f(3) + 4 = 9", []),
        ("2 ^ 3 + 1 = 9", []),
        ("2^3 = 8", []),
        ("sqrt 9 + 1 = 4", []),
        ("10 mod 3 + 1 = 2", []),
        ("3 + 4 = 7 * y", []),
        ("3 + 4 = 9 - x", []),
        ("3 + 4 = 70%", []),
        ("2 + 3 = 5 thousand", []),
        ("20% of 50 = 10", []),
        ("3 + = 7", []),
        ("(3 + 4 = 7", []),
        ("3 + 4 = ", []),
        ("= 7", []),
        ("1 / 0 = 5", []),
        ("3 + 4 == 7", []),
        ("so 7\n3 + 4 = 7\nthousand", [True]),
        ("", []),
    ],
)
def test_equations_by_hand(text, held):
    assert equations(text) == held


@given(st.text("0123456789+-*/()=.,x $\n", max_size=60))
def test_no_text_breaks_the_arithmetic(text):
    assert all(isinstance(held, bool) for held in equations(text))


@given(
    st.lists(st.tuples(st.sampled_from("+-*/"), st.integers(1, 99)), min_size=1, max_size=6),
    st.integers(1, 99),
)
def test_sums_are_what_python_says(steps, first):
    text = str(first) + "".join(f" {sign} {number}" for sign, number in steps)
    value = eval(
        "".join(f"Fraction({t})" if t.isdigit() else t for t in text.split()), {"Fraction": Fraction}
    )
    assert equations(f"{text} = {value}") == [True]
    assert equations(f"So {text} = {value + 1}.") == [False]


@pytest.mark.parametrize("piece", ["3 + 4 = 7\n", "1+", "(", "=", "1 ", "9", "3 + ", " ", "1,", "-", "mod "])
def test_a_megabyte_of_arithmetic(piece):
    assert len(equations(piece * (10**6 // len(piece)))) <= MOST_EQUATIONS


def tool_prompt(kind, **metadata):
    return replace(capitals([]), metadata={"tool": kind, **metadata})


def test_the_arithmetic_tool():
    tool, prompt = Tool(), tool_prompt("arithmetic")
    assert tool.applies(prompt)
    assert not tool.applies(capitals([]))
    assert tool.check(prompt, "3 + 4 = 7 and 1 + 1 = 3").score == 0.5
    assert tool.check(prompt, "<think>1 + 1 = 3</think>3 + 4 = 7").score == 1.0
    assert tool.check(prompt, "<think>3 + 4 = 7").status == NO_ANSWER
    assert tool.check(prompt, "7").status == NO_ANSWER
    with pytest.raises(UserError, match="'tool' must be one of tests, arithmetic, constraints"):
        tool.applies(tool_prompt("guess"))


CODE = {"visible_tests": ["assert add(1, 2) == 3"], "tests": ["assert False"], "entry_point": "add"}


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("def add(a, b):\n    return a + b", 1.0),
        ("Sure!\n```python\ndef add(a, b):\n    return a + b\n```", 1.0),
        ("def add(a, b):\n    return a - b", 0.0),
        ("I cannot.", 0.0),
    ],
)
def test_the_tool_runs_visible_tests_and_no_others(reply, score):
    tool, prompt = Tool(), tool_prompt("tests", **CODE)
    assert tool.applies(prompt)
    assert not tool.applies(tool_prompt("tests", tests=CODE["tests"]))
    assert tool.check(prompt, reply).score == score


def test_constraints_only_where_the_scorer_needs_no_reference():
    for dataset in ("chain_sum", "zebra_puzzles", None):
        with pytest.raises(UserError, match="leave it out"):
            Tool().applies(tool_prompt("constraints", procedural={"dataset": dataset}))


@pytest.mark.parametrize("dataset", sorted(CONSTRAINTS))
def test_the_tool_scores_puzzles_without_the_answer(dataset):
    config = {"seed": 3, "size": 8}
    entries = shared_worker().call("gapbench.tasks.gym:draw", dataset, config, 0, 2, seconds=60)
    for entry, other in zip(entries, reversed(entries), strict=True):
        source = {"dataset": dataset, "config": config, "entry": entry}
        prompt = tool_prompt("constraints", procedural=source)
        assert Tool().applies(prompt)
        assert Tool().check(prompt, str(entry["answer"])).score == 1.0
        assert Tool().check(prompt, "none").score == 0.0
        if dataset != "puzzle24":  # its scorer asks for four numbers that make 24, not for these four
            assert Tool().check(prompt, str(other["answer"])).score == 0.0
        forged = tool_prompt("constraints", procedural={**source, "entry": {**entry, "answer": "none"}})
        assert Tool().check(forged, "none").score == 0.0, "the reference is not looked at"


def test_what_asks_a_model_says_how_it_replies():
    for name in verifiers.names():
        kind = verifiers.get(name)
        if issubclass(kind, AskingVerifier):
            verifier = kind()
            assert bool(verifier.labels) != bool(verifier.verdicts)
            assert verifier.labels_for(capitals([])) in (verifier.labels, verifier.labels[::-1])


def test_a_blank_line_ends_a_plain_reply_where_examples_end_so() -> None:
    verifier = CotBinary()
    assert verifier.sampling_for(capitals(SHOTS)).stop == ("\nQ:", "\n\n")
    assert verifier.sampling_for(capitals([])).stop == ("\nQ:",), "without examples nothing says so"
    chat = replace(capitals(SHOTS), metadata={"style": "chat"})
    assert verifier.sampling_for(chat).stop == ("\nQ:",), "a chat model reasons in paragraphs"
