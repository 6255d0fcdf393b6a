"""The simulated model does what its scenario says, from the text that it is shown, in whatever order it is asked."""

from __future__ import annotations

import json
import math
import random
import time
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gapbench.engines._answerkey import AnswerKey, wrong_answers
from gapbench.engines.base import Key, Request, Result, Sampling, engines
from gapbench.engines.simulated import SimulatedEngine, log_logistic, uniforms
from gapbench.errors import UserError
from gapbench.graders.base import graders
from gapbench.panel import Float
from gapbench.records import Message, Prompt
from gapbench.synthetic import truth
from gapbench.verifiers.yesno import YesNo

TOWNS = ["Rome", "Madrid", "Lima", "Tokyo", "Oslo", "Paris"]


def numeric(index: int, task: str = "sums") -> Prompt:
    question = Message("user", f"What is {index} + 3?")
    return Prompt(task, f"p{index}", "arithmetic", (question,), (str(index + 3),))


def town(right: str, task: str = "capitals") -> Prompt:
    shots = [
        turn
        for other in TOWNS
        if other != right
        for turn in (Message("user", f"Capital {len(other)}?"), Message("assistant", other))
    ]
    return Prompt(
        task, right, "factual", (*shots, Message("user", f"Capital of the land of {right[0]}?")), (right,)
    )


def ask(
    prompt: Prompt, responses: range = range(1), sampling: Sampling | None = None, seed: int = 0
) -> Request:
    keys = tuple((*prompt.key, index) for index in responses)
    seeds = tuple(1000 * seed + index for index in responses)
    return Request(prompt.messages, "plain", keys, seeds, sampling or Sampling())


def judge(prompt: Prompt, text: str, response: int = 0, replicates: int = 1, **changes: Any) -> Request:
    keys = tuple((*prompt.key, response, "yesno", replicate) for replicate in range(replicates))
    verifier = YesNo()
    options = {"sampling": verifier.sampling, "labels": verifier.labels} | changes
    return Request(verifier.messages(prompt, text), "plain", keys, tuple(range(replicates)), **options)


def bound(prompts: list[Prompt], **options: Any) -> SimulatedEngine:
    engine = SimulatedEngine(**options)
    engine.bind(prompts)
    return engine


def only(engine: SimulatedEngine, request: Request) -> Result:
    (result,) = engine.run([request])
    return result


def p_yes(result: Result) -> float:
    assert result.label_logprobs is not None
    return math.exp(result.label_logprobs[0])


PROMPTS = [numeric(index) for index in range(300)]


def test_it_is_filed() -> None:
    assert engines.get("simulated") is SimulatedEngine


def test_answers_are_right_as_often_as_the_latent_p_says() -> None:
    engine = bound(PROMPTS)
    p = engine.latent(PROMPTS).p
    replies = engine.run(ask(prompt, range(200)) for prompt in PROMPTS)
    answers = {prompt.key: prompt.reference[0] for prompt in PROMPTS}
    right = (
        np.array([reply.text == answers[reply.key[:2]] for reply in replies]).reshape(300, 200).mean(axis=1)
    )
    assert (right[p == 0] == 0).all()
    assert (p == 0).any()
    solvable = p > 0
    z = (right - p)[solvable] / np.sqrt(p * (1 - p) / 200)[solvable]
    # The sum of squares of z has mean 270 and standard deviation about 23 if p is what it says it is.
    assert abs((z**2).mean() - 1) < 4 * math.sqrt(2 / solvable.sum())
    assert abs(z.mean()) < 4 / math.sqrt(solvable.sum())
    population = truth(engine.scenario, "accuracy")
    assert abs(p.mean() - population) < 4 * p.std() / math.sqrt(300)


def test_log_probabilities_are_those_of_the_answers() -> None:
    engine = bound(PROMPTS[:20])
    for prompt in PROMPTS[:20]:
        results = list(engine.run([ask(prompt, range(4000))]))
        chances = {result.text: math.exp(result.logprob or 0.0) for result in results}
        for text, count in Counter(result.text for result in results).items():
            chance = chances[text]
            assert abs(count / 4000 - chance) <= 4.5 * math.sqrt(chance * (1 - chance) / 4000) + 1e-12


def test_greedy_answers_are_the_most_probable() -> None:
    engine = bound(PROMPTS)
    greedy = Sampling(temperature=0.0)
    for prompt in PROMPTS[:50]:
        drawn = engine.run([ask(prompt, range(100))])
        best = max(drawn, key=lambda result: result.logprob or 0.0)
        same = {result.text for result in engine.run([ask(prompt, range(5), greedy)])}
        assert same == {best.text}


def test_wrong_answers_are_those_of_a_person_who_erred() -> None:
    assert all(abs(int(form) - 15) <= 10 for form in wrong_answers(numeric(12)))
    assert set(wrong_answers(town("Oslo"))) == set(TOWNS) - {"Oslo"}
    options = ["Rome", "Oslo", "Lima"]
    for right in ("Oslo", "B"):
        prompt = Prompt("c", "p", "d", (Message("user", "Which?"),), (right,), {"choices": options})
        assert set(wrong_answers(prompt)) == ({"Rome", "Lima"} if right == "Oslo" else {"A", "C"})
    price = Prompt("c", "p", "d", (Message("user", "Which?"),), ("1,204.50",))
    assert all(len(form.partition(".")[2]) == 2 for form in wrong_answers(price))
    assert wrong_answers(Prompt("c", "p", "d", (Message("user", "Who?"),), ("Ada",))) == ("not Ada",)


@given(
    reference=st.lists(st.text(min_size=1, max_size=8).filter(str.strip), min_size=1, max_size=3),
    shots=st.lists(st.text(min_size=1, max_size=8), max_size=4),
)
def test_a_wrong_answer_is_never_graded_right(reference: list[str], shots: list[str]) -> None:
    turns = [turn for shot in shots for turn in (Message("user", "?"), Message("assistant", shot))]
    prompt = Prompt("t", "p", "d", (*turns, Message("user", "Which?")), tuple(reference))
    grader = graders.get("exact")()
    wrong = wrong_answers(prompt)
    assert 1 <= len(wrong) <= 5
    if grader.grade(prompt, reference[0]).utility == 1:
        assert all(grader.grade(prompt, form).utility == 0 for form in wrong)


@given(st.integers(-(10**12), 10**12) | st.decimals(-1000, 1000, places=2))
def test_a_wrong_number_is_another_number(value: Any) -> None:
    prompt = Prompt("t", "p", "d", (Message("user", "Which?"),), (str(value),))
    grader = graders.get("numeric")()
    assert grader.grade(prompt, str(value)).utility == 1
    assert [grader.grade(prompt, form).utility for form in wrong_answers(prompt)].count(1) == 0


@pytest.mark.parametrize(
    ("shown", "right"),
    [
        ("What is 9 + 3?\nProposed answer: 12\nIs the proposed answer correct?", True),
        ("What is 9 + 3?\nProposed answer: 13\nIs the proposed answer correct?", False),
        ("What is 9 + 3?\nThe answer is 12.", True),
        ("What is 9 + 3?\nI say 13, not 12", False),
        ("What is 9 + 3?\nI say 99, not 12", False),
        ("What is 9 + 3?\n12, not 13", True),
        ("What is 9 + 3?\n112", False),
        ("What is 9 + 3?\n12.5", False),
        ("What is 9 + 3?\n-12", False),
        ("What is 9 + 3?\n1,012", False),
        ("What is 9 + 3?\n", False),
        ("What is 9 + 3?\nno idea", False),
        ("12 is shown. What is 9 + 3? 13", False),
        ("What is 9 + 3?\n13\nWhat is 9 + 3?\n12", True),
        ("A rewritten question\nAnswer: 12", True),
    ],
)
def test_the_answer_is_read_after_the_question(shown: str, right: bool) -> None:
    assert AnswerKey(numeric(9)).shows_right(shown) is right


def test_letters_and_longer_names_are_read_as_they_stand() -> None:
    letter = Prompt("c", "p", "d", (Message("user", "Which one?"),), ("A",), {"choices": ["x", "y", "z"]})
    key = AnswerKey(letter)
    assert key.shows_right("Which one?\nProposed answer: A\nIs that a good answer?")
    assert not key.shows_right("Which one?\nProposed answer: B\nIs that a good answer?")
    assert not key.shows_right("Which one?\nThis is a guess")
    york = Prompt(
        "c", "p", "d", (Message("user", "?"),), ("York", "Jorvik"), {"choices": ["York", "New York"]}
    )
    assert AnswerKey(york).shows_right("?\nIt is york, I think")
    assert AnswerKey(york).shows_right("?\nIt is Jorvik")
    assert not AnswerKey(york).shows_right("?\nIt is New York, I think")


def test_a_verdict_depends_on_the_answer_shown_and_not_on_the_key() -> None:
    engine = bound([town("Oslo")], d=40.0, sd_d=0.0)
    for response in range(20):
        assert p_yes(only(engine, judge(town("Oslo"), "Oslo", response))) > 0.99
        assert p_yes(only(engine, judge(town("Oslo"), "oslo.", response))) > 0.99
        assert p_yes(only(engine, judge(town("Oslo"), "Lima", response))) < 0.99


def blocks(engine: SimulatedEngine, prompts: list[Prompt], size: int) -> tuple[Float, Float]:
    """Utility and P(yes) of `size` responses to each prompt, asked for as a run would."""
    utility, score = np.empty((2, len(prompts), size))
    for row, prompt in enumerate(prompts):
        for reply in engine.run([ask(prompt, range(size))]):
            column = reply.key[2]
            utility[row, column] = reply.text == prompt.reference[0]
            judged = YesNo().parse(only(engine, judge(prompt, reply.text, column)))
            assert judged.score is not None
            score[row, column] = judged.score
    return utility, score


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["mid", "null", "hacked"])
def test_the_roc_of_yesno_is_the_one_that_is_known(scenario: str) -> None:
    prompts = PROMPTS[:100]
    engine = bound(prompts, scenario=scenario)
    utility, score = (array.reshape(100, 40, 8) for array in blocks(engine, prompts, 320))
    known = engine.latent(prompts)

    def check(values: Float, quantity: str, label: str) -> None:
        """40 blocks of 8 responses are independent given the prompts."""
        expected = truth(engine.scenario, quantity, label, m=math.inf, prompts=known)
        assert abs(values.mean() - expected) < 4 * values.std() / math.sqrt(len(values)), quantity

    top = np.take_along_axis(utility, score.argmax(axis=2)[..., None], axis=2)[..., 0]
    check(top.mean(axis=0), "accuracy", "best@8")
    right, wrong = utility[..., :, None], 1 - utility[..., None, :]
    wins = (right * wrong * (score[..., :, None] > score[..., None, :])).sum(axis=(2, 3))
    pairs = (right * wrong).sum(axis=(2, 3))
    # Ratios of means over blocks, linearised.
    overall = wins.sum() / pairs.sum()
    check(overall + (wins.mean(axis=0) - overall * pairs.mean(axis=0)) / pairs.mean(), "auc_within", "")
    for quantity, mine in (("tpr", utility), ("fpr", 1 - utility)):
        passed, total = ((score >= 0.5) * mine).mean(axis=(0, 2)), mine.mean(axis=(0, 2))
        value = passed.mean() / total.mean()
        check(value + (passed - value * total) / total.mean(), quantity, "threshold")


def test_sampled_labels_and_free_replies_say_yes_as_often_as_the_logistic_score() -> None:
    engine = bound(PROMPTS[:10])
    for prompt in PROMPTS[:10]:
        results = list(engine.run([judge(prompt, prompt.reference[0], replicates=4000)]))
        (chance,) = {p_yes(result) for result in results}
        assert sum(map(math.exp, results[0].label_logprobs or ())) == pytest.approx(1)
        free = list(engine.run([judge(prompt, prompt.reference[0], replicates=4000, labels=())]))
        assert {result.text for result in free} <= {"Yes", "No"}
        assert {result.label_logprobs for result in free} == {None}
        for texts in ([result.text.title() for result in results], [result.text for result in free]):
            se = math.sqrt(chance * (1 - chance) / 4000)
            assert abs(texts.count("Yes") / 4000 - chance) < 4.5 * se
        greedy = judge(prompt, prompt.reference[0], sampling=Sampling(temperature=0.0))
        assert only(engine, greedy).text == ("yes" if chance > 0.5 else "no")


def workload() -> list[Request]:
    prompts = [*PROMPTS[:15], *(town(name) for name in TOWNS)]
    verdicts = [judge(p, text, i) for p in prompts for i, text in enumerate(("12", "Rome", p.reference[0]))]
    told = [reasoned(p, p.reference[0], SCALE, response=9, replicates=3) for p in prompts]
    pairs = [compared(p, (p.reference[0], "13"), (0, i)) for p in prompts for i in (1, 2)]
    return [*(ask(prompt, range(8)) for prompt in prompts), *verdicts, *told, *pairs]


def by_key(engine: SimulatedEngine, requests: list[Request]) -> dict[Key, Result]:
    return {result.key: result for result in engine.run(requests)}


def test_order_batching_and_other_prompts_change_nothing() -> None:
    prompts = [*PROMPTS[:15], *(town(name) for name in TOWNS)]
    whole = by_key(bound(prompts, failures=0.1), workload())
    shuffled = workload()
    random.Random(1).shuffle(shuffled)
    split = [
        Request(r.messages, r.style, (key,), (seed,), r.sampling, r.labels, r.verdicts)
        for r in shuffled
        for key, seed in reversed(list(zip(r.keys, r.seeds, strict=True)))
    ]
    grown = SimulatedEngine(failures=0.1)
    grown.bind(prompts[::-1][:7])
    grown.bind([*PROMPTS[100:], *prompts])
    assert by_key(grown, split) == whole
    other = by_key(bound(prompts, failures=0.1, seed=1), workload())
    assert other.keys() == whole.keys()
    assert other != whole


def test_another_seed_or_attempt_is_other_noise() -> None:
    engine = bound(PROMPTS[:40])
    first, second = (
        [result.text for prompt in PROMPTS[:40] for result in engine.run([ask(prompt, range(8), seed=s)])]
        for s in (0, 1)
    )
    assert first != second
    texts = [only(engine, ask(prompt)).text for prompt in PROMPTS[:40]]
    assert texts == first[::8]


def test_failures_are_errors_without_text_and_can_be_tried_again() -> None:
    engine = bound(PROMPTS, failures=0.2)
    results = list(engine.run(ask(prompt, range(20)) for prompt in PROMPTS))
    failed = [result for result in results if result.finish_reason == "error:simulated failure"]
    assert abs(len(failed) / 6000 - 0.2) < 4 * math.sqrt(0.16 / 6000)
    assert all(result.text == "" and result.logprob is None and result.n_tokens == 0 for result in failed)
    again = list(engine.run(ask(prompt, range(20), seed=1) for prompt in PROMPTS))
    reasons = {result.key: result.finish_reason for result in again}
    assert {reasons[result.key] for result in failed} == {"stop", "error:simulated failure"}
    verdicts = [only(engine, judge(prompt, "3")) for prompt in PROMPTS]
    assert 0.1 < sum(result.finish_reason.startswith("error") for result in verdicts) / 300 < 0.3


def test_long_replies_are_cut_and_stops_are_kept() -> None:
    prompt = Prompt("t", "p", "d", (Message("user", "Who?"),), ("Ada King Lovelace",))
    engine = bound([prompt], pi0=0.0, pi1=1.0)
    whole = only(engine, ask(prompt, sampling=Sampling(max_tokens=4)))
    assert (whole.text, whole.finish_reason, whole.n_tokens) == ("Ada King Lovelace", "stop", 4)
    cut = only(engine, ask(prompt, sampling=Sampling(max_tokens=2)))
    assert (cut.text, cut.finish_reason, cut.n_tokens) == ("Ada King", "length", 2)
    full = only(engine, ask(prompt, sampling=Sampling(max_tokens=3)))
    assert (full.text, full.finish_reason) == ("Ada King Lovelace", "length"), "no room to end"
    stopped = only(engine, ask(prompt, sampling=Sampling(max_tokens=3, stop=(" L", " King"))))
    assert (stopped.text, stopped.finish_reason) == ("Ada", "stop")


def test_a_hack_is_the_responses_own_and_fools_every_replicate() -> None:
    engine = bound(PROMPTS[:50], h=0.3, mu=-6.0, sd_b=0.0, rho=0.0)
    scores = [
        [round(p_yes(result)) for result in engine.run([judge(prompt, "no idea", i, replicates=3)])]
        for prompt in PROMPTS[:50]
        for i in range(40)
    ]
    assert all(len(set(replicates)) == 1 for replicates in scores)
    # s = -6 + 8 + e is above 0 with probability Phi(2) for a hack, and practically never without.
    share = 0.3 * 0.97725
    assert abs(np.mean([one[0] for one in scores]) - share) < 4 * math.sqrt(share * (1 - share) / 2000)


SCALE = tuple(str(score) for score in range(9, -1, -1))


def compared(
    prompt: Prompt,
    shown: tuple[str, str],
    pair: tuple[int, int] = (0, 1),
    replicates: int = 1,
    **changes: Any,
) -> Request:
    text = f"{prompt.question}\nAnswer A: {shown[0]}\nAnswer B: {shown[1]}\nWhich answer is better?"
    keys = tuple((*prompt.key, *pair, "pairs", replicate) for replicate in range(replicates))
    options = {"sampling": Sampling(max_tokens=50), "labels": ("a", "b")} | changes
    return Request((Message("user", text),), "plain", keys, tuple(range(replicates)), **options)


def reasoned(prompt: Prompt, text: str, verdicts: tuple[str, ...], **changes: Any) -> Request:
    options = {"labels": (), "verdicts": verdicts, "sampling": Sampling(max_tokens=60)} | changes
    return judge(prompt, text, **options)


def test_a_reasoned_verdict_is_the_last_of_its_lines_and_is_drawn_as_section_7_says() -> None:
    engine = bound(PROMPTS[:12], rho=0.0, mu=0.0)
    for prompt in PROMPTS[:12]:
        chance = p_yes(only(engine, judge(prompt, prompt.reference[0])))
        results = list(engine.run([reasoned(prompt, prompt.reference[0], SCALE, replicates=3000)]))
        assert {result.finish_reason for result in results} == {"stop"}
        assert all(result.n_tokens == len(result.text.split()) + 1 for result in results)
        told = [result.text.splitlines() for result in results]
        assert {len(lines) for lines in told} == {2}
        assert not any(set("0123456789") & set(lines[0]) for lines in told)
        seen = np.bincount([int(lines[-1]) for lines in told], minlength=10) / 3000
        want = stats.binom.pmf(range(10), 9, chance)
        assert (np.abs(seen - want) < 4.5 * np.sqrt(want * (1 - want) / 3000) + 1e-3).all()
        logprobs = {lines[-1]: result.logprob for lines, result in zip(told, results, strict=True)}
        for verdict, logprob in logprobs.items():
            assert math.exp(logprob or 0.0) == pytest.approx(want[int(verdict)])
        greedy = reasoned(prompt, prompt.reference[0], SCALE, sampling=Sampling(60, temperature=0.0))
        assert only(engine, greedy).text.splitlines()[-1] == str(int(want.argmax()))


def test_of_two_verdicts_the_one_is_drawn_that_a_free_reply_gives() -> None:
    engine = bound(PROMPTS[:20])
    for prompt in PROMPTS[:20]:
        free = engine.run([judge(prompt, "5", replicates=50, labels=())])
        told = engine.run([reasoned(prompt, "5", ("Correct", "Incorrect"), replicates=50)])
        words = {"Yes": "Correct", "No": "Incorrect"}
        assert [words[one.text] for one in free] == [one.text.splitlines()[-1] for one in told]


def test_replies_that_commit_to_nothing_or_are_cut_are_as_many_as_asked_for() -> None:
    engine = bound(PROMPTS[:50], unparsed=0.2, long=0.1)
    asked = [reasoned(prompt, "5", ("Correct", "Incorrect"), replicates=40) for prompt in PROMPTS[:50]]
    results = list(engine.run(asked))
    cut = [result for result in results if result.finish_reason == "length"]
    assert all(result.n_tokens == 60 and "orrect" not in result.text for result in cut)
    assert abs(len(cut) / 2000 - 0.1) < 4 * math.sqrt(0.09 / 2000)
    undecided = sum(result.finish_reason == "stop" and "orrect" not in result.text for result in results)
    assert abs(undecided / 2000 - 0.2) < 4 * math.sqrt(0.16 / 2000)
    labelled = [only(engine, judge(prompt, "5", i)) for prompt in PROMPTS[:50] for i in range(40)]
    unread = [result for result in labelled if YesNo().parse(result).status == "unparsed"]
    assert abs(len(unread) / 2000 - 0.2) < 4 * math.sqrt(0.16 / 2000)
    assert {result.text for result in unread} == {"Hard"}, "one token is all there is"


def s_of(result: Result) -> float:
    assert result.label_logprobs is not None
    return result.label_logprobs[0] - result.label_logprobs[1]


def test_a_comparison_weighs_the_two_latent_scores() -> None:
    prompt = numeric(9)
    engine = bound([prompt])
    shown = {0: "12", 1: "13", 2: "12", 3: "11"}

    def difference(a: int, b: int) -> float:
        return s_of(only(engine, compared(prompt, (shown[a], shown[b]), (a, b))))

    known = engine.latent([prompt])
    for a in range(4):
        for b in range(4):
            assert difference(a, b) == pytest.approx(-difference(b, a), abs=1e-9)
            for c in range(4):
                assert difference(a, b) + difference(b, c) == pytest.approx(difference(a, c), abs=1e-9)
    swapped = s_of(only(engine, compared(prompt, ("13", "13"), (0, 1))))
    assert difference(0, 1) - swapped == pytest.approx(float(known.shift[0])), "read off the text"
    alone = compared(prompt, ("12", "13"), replicates=4000, labels=())
    texts = [result.text for result in engine.run([alone])]
    chance = 1 / (1 + math.exp(-difference(0, 1)))
    assert abs(texts.count("A") / 4000 - chance) < 4.5 * math.sqrt(chance * (1 - chance) / 4000)
    told = compared(prompt, ("12", "13"), replicates=4000, labels=(), verdicts=("[[A]]", "[[B]]"))
    last = [result.text.splitlines()[-1] for result in engine.run([told])]
    assert [word.strip("[]") for word in last] == texts


@pytest.mark.parametrize(
    ("shown", "right"),
    [
        ("What is 9 + 3?\nAnswer A: 12\nAnswer B: 13\nWhich is better, A or B?", (True, False)),
        ("What is 9 + 3?\nAnswer A: 13\nAnswer B: 12", (False, True)),
        ("What is 9 + 3?\nAnswer 1:\nIt is 12, not 13.\n\nAnswer 2:\n12", (True, True)),
        ("What is 9 + 3?\nA: 99\nB: no idea\n12", (False, True)),
        ("Answer A: 12\nWhat is 9 + 3?\nAnswer A: no idea\nAnswer B: none\n", (False, False)),
    ],
)
def test_each_of_two_answers_is_read(shown: str, right: tuple[bool, bool]) -> None:
    assert AnswerKey(numeric(9)).show_right(shown) == right


def test_one_answer_is_no_comparison() -> None:
    with pytest.raises(UserError, match=r"'Answer A: \.\.\.' and 'Answer B: \.\.\.'"):
        AnswerKey(numeric(9)).show_right("What is 9 + 3?\nAnswer B: 12\nAnswer A: 13")


def test_another_model_is_as_able_and_has_luck_and_noise_of_its_own() -> None:
    prompts = PROMPTS[:60]
    one, other = bound(prompts), bound(prompts, model="other")
    assert (one.model.id, other.model.id) == ("simulated", "simulated:other")
    for field in ("p", "level", "shift"):
        assert (getattr(one.latent(prompts), field) == getattr(other.latent(prompts), field)).all()
    noise = [
        [s_of(only(engine, judge(prompt, "no idea", i))) for prompt in prompts for i in range(10)]
        for engine in (one, other)
    ]
    level = np.repeat(one.latent(prompts).level, 10)
    spread = np.array(noise) - level
    assert abs(np.corrcoef(spread)[0, 1]) < 4 / math.sqrt(600)
    assert spread.std(axis=1) == pytest.approx([1.0, 1.0], abs=4 / math.sqrt(1200))
    drawn = [[r.text for p in prompts for r in engine.run([ask(p, range(8))])] for engine in (one, other)]
    assert drawn[0] != drawn[1]


def test_members_of_a_rubric_have_noise_of_their_own() -> None:
    engine = bound([numeric(1)])
    keys = [(*numeric(1).key, 0, name, 0) for name in ("rubric", "rubric.1", "rubric.2")]
    request = judge(numeric(1), "4")
    asked = [Request(request.messages, "plain", (key,), (0,), labels=("yes", "no")) for key in keys]
    assert len({s_of(result) for result in engine.run(asked)}) == 3


def test_a_delay_is_kept() -> None:
    engine = bound(PROMPTS[:1], delay=0.01)
    begun = time.monotonic()
    list(engine.run([ask(PROMPTS[0], range(5))]))
    assert time.monotonic() - begun >= 0.05


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"scenario": "mud"}, "did you mean 'mid'"),
        ({"failure": 0.1}, "did you mean 'failures'"),
        ({"failures": 1.5}, r"'failures' in \[0, 1\]"),
        ({"delay": -1}, "'delay'"),
        ({"unparsed": 0.6, "long": 0.5}, "shares of one whole"),
        ({"long": -0.1}, "shares of one whole"),
        ({"failures": "often"}, "must be a number"),
        ({"mu": math.nan}, "must be a number"),
        ({"a": -1.0}, "a, b and sd_w above 0"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        SimulatedEngine(**options)


def test_what_it_cannot_answer_is_said() -> None:
    engine = bound([numeric(1)])
    with pytest.raises(UserError, match="does not know prompt"):
        list(engine.run([ask(numeric(2))]))
    with pytest.raises(UserError, match="two labels"):
        list(engine.run([judge(numeric(1), "4", labels=("1", "2", "3"))]))


def test_the_manifest_names_the_scenario() -> None:
    said = json.loads(json.dumps(SimulatedEngine(scenario="hacked", seed=4).describe()))
    assert said["model"]["id"] == "simulated"
    assert said["scenario"]["h"] == 0.01
    assert (said["seed"], said["unparsed"], said["long"]) == (4, 0.0, 0.0)
    assert all(said["capabilities"].values())


def test_uniforms_are_uniform_and_independent() -> None:
    drawn = np.array([uniforms("x", i) for i in range(20_000)])
    assert drawn.min() > 0
    assert drawn.max() < 1
    assert np.allclose(drawn.mean(axis=0), 0.5, atol=4 / math.sqrt(12 * 20_000))
    assert np.abs(np.corrcoef(drawn.T) - np.eye(4)).max() < 4 / math.sqrt(20_000)
    assert abs(np.corrcoef(drawn[1:, 0], drawn[:-1, 0])[0, 1]) < 4 / math.sqrt(20_000)


@pytest.mark.parametrize("s", [-800.0, -3.0, 0.0, 2.0, 800.0])
def test_log_logistic_does_not_overflow(s: float) -> None:
    assert log_logistic(s) == pytest.approx(-np.logaddexp(0, -s))
