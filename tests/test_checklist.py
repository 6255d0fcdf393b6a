"""The grader `checklist` and the instructions it grades."""

import json
import random
import time

import pytest

from gapbench.errors import UserError
from gapbench.graders.checklist import CHECKS, Checklist
from gapbench.records import NO_ANSWER, SCORED, Message, Prompt
from gapbench.tasks import load_suite, suites_dir

ROWS = [json.loads(line) for line in (suites_dir() / "data" / "instructions.jsonl").open()]


def prompt(*checks):
    return Prompt("t", "p", "d", (Message("user", "Write."),), ("",), {"checks": list(checks)})


def share(text, *checks, **options):
    return Checklist(**options).grade(prompt(*checks), text).utility


@pytest.mark.parametrize(
    ("check", "passes", "fails"),
    [
        (
            {"kind": "contains", "text": "stone"},
            ["A stone.", "STONE", "a-stone's"],
            ["stones", "milestone", "x"],
        ),
        ({"kind": "avoids", "text": "the"}, ["Then they go.", "x"], ["The end", "Is this the end?"]),
        (
            {"kind": "repeats", "text": "so it goes", "count": 2},
            ["So it goes. Rain. So it goes!"],
            ["So it goes.", "so it goes so it goes so it goes", "so it goesso it goes"],
        ),
        ({"kind": "avoids_letter", "letter": "z"}, ["abc"], ["a zoo", "ZOO"]),
        (
            {"kind": "sentences", "count": 2},
            ["One. Two.", "One! Two?", "One... Two", 'He said "no." Then left.', "It is 3.5 m. Long."],
            ["One.", "One. Two. Three.", "no end", "One.Two."],
        ),
        ({"kind": "words", "least": 2, "most": 3}, ["one two", "it's well-known now"], ["one", "a b c d"]),
        ({"kind": "starts", "text": "rivers"}, ["Rivers run.", "rivers, all"], ["Riversides", "The rivers"]),
        ({"kind": "ends", "text": "!"}, ["Yes!", "Yes!  \n"], ["Yes", "Yes! No."]),
        ({"kind": "lower_case"}, ["all small, 3", "ä"], ["One", "oK"]),
        (
            {"kind": "items", "count": 2},
            ["- a\n- b", "* a\n\n* b", "• a\n  - b"],
            ["- a", "Here:\n- a\n- b", "-a\n-b"],
        ),
        ({"kind": "lines", "count": 2}, ["a\nb", "a\n\n b\n"], ["a", "a\nb\nc"]),
    ],
)
def test_each_check_passes_and_fails_as_its_words_say(check, passes, fails):
    assert [share(text, check) for text in passes] == [1.0] * len(passes)
    assert [share(text, check) for text in fails] == [0.0] * len(fails)


def test_every_kind_of_check_is_tried_above_and_used_by_the_task():
    tried = {mark.args[1][i][0]["kind"] for mark in _marks() for i in range(len(mark.args[1]))}
    assert tried == set(CHECKS)
    assert {check["kind"] for row in ROWS for check in row["checks"]} == set(CHECKS) - {"lines"}


def _marks():
    return test_each_check_passes_and_fails_as_its_words_say.pytestmark


def test_utility_is_the_share_of_checks_or_all_of_them():
    checks = [{"kind": "contains", "text": text} for text in ("red", "green", "blue")]
    assert share("red and green", *checks) == pytest.approx(2 / 3)
    assert share("red and green", *checks, all=True) == 0
    assert share("red, green and blue", *checks, all=True) == 1


def test_silence_is_no_answer_and_does_not_pass_what_it_avoids():
    graded = Checklist().grade(prompt({"kind": "avoids_letter", "letter": "z"}), " \n")
    assert (graded.utility, graded.status) == (0.0, NO_ANSWER)
    assert Checklist().grade(prompt({"kind": "lower_case"}), "x").status == SCORED


def test_agreement_is_on_the_whole_text():
    check = {"kind": "lower_case"}
    clusters = [Checklist().grade(prompt(check), text).cluster for text in ("a b", "a\n b", "a c")]
    assert clusters[0] == clusters[1] != clusters[2]


@pytest.mark.parametrize(
    ("checks", "says"),
    [
        (None, "needs a list of checks"),
        ([], "needs a list of checks"),
        ([{"kind": "contain", "text": "x"}], "did you mean 'contains'?"),
        (["contains"], "unknown check contains"),
        ([{"kind": "contains"}], "check 'contains' needs text, not []"),
        ([{"kind": "words", "least": 1}], "check 'words' needs least and most, not ['least']"),
        ([{"kind": "words", "least": "1", "most": 2}], "check 'words' refuses"),
        ([{"kind": "ends", "text": 3}], "check 'ends' refuses"),
    ],
)
def test_a_task_whose_checks_are_wrong_is_told_in_one_line(checks, says):
    asked = Prompt(
        "t", "p", "d", (Message("user", "?"),), ("",), {"checks": checks} if checks is not None else {}
    )
    with pytest.raises(UserError, match="task 't'") as caught:
        Checklist().grade(asked, "text")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("unit", [".", "!)", "- \t", "a'", "\n- a", "so it ", ".\t", "\x1b[", "‎", "İ"])
def test_a_megabyte_of_anything_is_graded_at_once(unit):
    checks = [check for row in ROWS[:12] for check in row["checks"]]
    start = time.process_time()
    assert 0 <= share(unit * (10**6 // len(unit)), *checks) <= 1
    assert time.process_time() - start < 2


def test_every_reference_passes_and_the_question_tells_every_check():
    for row in ROWS:
        assert 3 <= len(row["checks"]) == len(row["rubric"]) <= 5
        assert share(row["answer"], *row["checks"], all=True) == 1, row
        told = row["question"].casefold()
        for check in row["checks"]:
            for word in (
                str(check.get("text", "")),
                str(check.get("letter", "")),
                str(check.get("least", "")),
            ):
                assert word in told or word == "!", row
        assert len(row["rubric"]) == len(set(row["rubric"]))
        assert row["topic"] in told


def test_the_card_tells_what_the_answer_to_another_question_scores():
    (task,) = load_suite("open").tasks
    grader, rng = task.grader(), random.Random(0)
    others = [row["answer"] for row in ROWS]
    scores = [grader.grade(p, rng.choice(others)).utility for p in task.prompts for _ in range(20)]
    assert sum(scores) / len(scores) == pytest.approx(task.spec.card.chance, abs=0.02)


def test_the_task_gives_judges_its_criteria_and_the_grader_its_checks():
    (task,) = load_suite("open", limit=5).tasks
    by_question = {row["question"]: row for row in ROWS}
    for asked in task.prompts:
        row = by_question[asked.question]
        assert asked.metadata["rubric"] == row["rubric"]
        assert asked.metadata["checks"] == row["checks"]
        assert Prompt.from_record(asked.to_record()) == asked
        utilities = {round(task.grader().grade(asked, text).utility, 2) for text in (row["answer"], "No.")}
        assert 1 in utilities
