"""The graders against replies labelled by hand: what is read from them, and that the labels agree with themselves."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.extraction import grouped, read, read_replies
from gapbench.graders._reply import commitment, sentences

ROWS = read_replies()


def test_the_set_is_large_varied_and_consistent():
    assert len(ROWS) >= 300
    assert len({row["id"] for row in ROWS}) == len(ROWS)
    assert len({(row["question"], row["reply"]) for row in ROWS}) == len(ROWS)
    assert len({row["kind"] for row in ROWS}) >= 25
    assert min(Counter(row["grader"] for row in ROWS).values()) >= 75
    assert 0.25 <= sum(row["split"] == "heldout" for row in ROWS) / len(ROWS) <= 0.3
    assert min(Counter(row["verdict"] for row in ROWS).values()) >= 60
    for row in ROWS:
        assert row["verdict"] in ("right", "wrong", "no_answer")
        assert (row["answer"] is None) == (row["verdict"] == "no_answer")
        assert bool(row["choices"]) == (row["grader"] == "choice")


@pytest.mark.parametrize("row", [row for row in ROWS if row["answer"] is not None], ids=lambda row: row["id"])
def test_a_label_is_right_exactly_where_its_answer_is_a_reference(row):
    bare = {**row, "reply": row["answer"]}
    assert read(bare).verdict == row["verdict"] or row["id"] in EXCEPT


# The grader takes a percentage for the number before its sign, which here is what makes the answer wrong.
EXCEPT = {row["id"] for row in ROWS if row["answer"] == "0.75%"}


def test_measured_accuracy_is_kept():
    rates = grouped([read(row) for row in ROWS])
    # Before its errors were read, `heldout` stood at .911 (verdict) and .943 (utility); before the graders were mended, the
    # whole set at .645 and .718.
    assert rates["mend"]["verdict"].value >= 0.98
    assert rates["heldout"]["verdict"].value >= 0.91
    assert rates["all"]["utility"].value >= 0.97
    assert rates["all"]["extraction"].value >= 0.96
    assert rates["all"]["false_accepts"].count <= 1  # the percentage


@pytest.mark.parametrize(
    ("reply", "question", "answer"),
    [
        ("The capital of Panama is Panama City.", "What is the capital of Panama?", "Panama City."),
        ("It was founded by J. K. Rowling", "Who founded it?", "J. K. Rowling"),
        ("Not Bonn but Berlin.", "What is the capital of Germany?", "Berlin."),
        ("Berlin, not Bonn.", "What is the capital of Germany?", "Berlin"),
        ("I'm not sure, but Berlin.", "What is the capital of Germany?", "Berlin."),
        ("The answer is not Berlin.", "What is the capital of Germany?", None),
        ("Berlin or Bonn", "What is the capital of Germany?", None),
        ("I do not know Berlin well.", "What is the capital of Germany?", None),
        ("Berlin is not the capital of Germany.", "What is the capital of Germany?", None),
    ],
)
def test_what_a_reply_commits_to(reply, question, answer):
    assert commitment(reply, question) == answer


def test_initials_and_abbreviations_end_no_sentence():
    assert sentences("J. K. Rowling. She is British.") == ["J. K. Rowling.", "She is British."]
    assert sentences("St. John's. It is windy.") == ["St. John's.", "It is windy."]
