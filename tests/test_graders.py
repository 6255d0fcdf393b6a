"""The graders against labelled replies, their own gold answers, perturbed ones and hostile text."""

import json
import random
import re
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gapbench.errors import UserError
from gapbench.graders import NOTHING, graders
from gapbench.graders.numeric import read_number
from gapbench.isolation.worker import shared_worker
from gapbench.records import NO_ANSWER, SCORED, Message, Prompt
from gapbench.tasks.gym import EVALUATES, harmless

DATA = Path(__file__).parents[2] / "shared" / "data"
CHOICES = ["chair", "apple", "cloud", "new apple"]


def prompt(*reference, **metadata):
    return Prompt("task", "p0", "domain", (Message("user", "?"),), reference, metadata)


def utility(grader, reference, text, **metadata):
    return grader.grade(prompt(*reference, **metadata), text).utility


def rows(name):
    if not (DATA / name).is_file():
        pytest.skip(f"../shared/data/{name} is not there")
    return [json.loads(line) for line in (DATA / name).open(encoding="utf-8")]


def test_every_grader_is_found_by_name():
    assert {"exact", "numeric", "choice", "math", "procedural"} <= set(graders.names())
    for name in ("exact", "numeric", "choice", "math", "procedural"):
        assert graders.get(name).name == name


# exact


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ("Paris", "Paris"),
        ("Paris", " paris.\nQ: What is the capital of Spain?\nA: Madrid"),
        ("Paris", "The answer is **Paris**."),
        ("Paris", "A: Paris"),
        ("Paris", "\x1b[31mPa\x00ris\x1b[0m"),
        ("Brasília", "Brasilia"),
        ("N'Djamena", "N’Djaména"),
        ("St. John's", "St Johns"),
        ("the Beatles", "“The Beatles”"),
        ("J. K. Rowling", "JK Rowling"),
        ("Washington, D.C.", "Washington DC"),
        ("10,000", "10000"),
        ("−5", "-5"),
        ("12", "１２"),
        ("७ दिन", "७ दिन"),
        ("go, hundred", "go,hundred"),
    ],
)
def test_exact_accepts_what_a_person_would(reference, text):
    assert utility(graders.get("exact")(), (reference,), text) == 1


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ("true", "untrue"),
        ("true", "not true"),
        ("Guinea", "Guinea-Bissau"),
        ("Hepatitis A", "Hepatitis"),
        ("A+", "A"),
        ("5", "-5"),
        ("$5", "5%"),
        ("3.14", "314"),
        ("before, the", "before"),
        ("10,000", "10,00"),
        ("C++", "C"),
    ],
)
def test_exact_refuses_what_a_person_would(reference, text):
    graded = graders.get("exact")().grade(prompt(reference), text)
    assert (graded.utility, graded.status) == (0, SCORED)


def test_exact_options_and_aliases():
    exact = graders.get("exact")
    assert utility(exact(), ("Sucre", "La Paz"), "la paz") == 1
    assert utility(exact(), ("b",), "a\nb") == 0
    assert utility(exact(first_line=False), ("a b",), "a\nb") == 1
    assert utility(exact(strip_prefix=["The capital is"]), ("Rome",), "the capital is Rome") == 1
    assert utility(exact(), ("Rome",), "the capital is Rome") == 0


def test_exact_clusters_agree_exactly_where_the_answers_do():
    exact = graders.get("exact")()
    texts = ["Paris", "paris.", "The answer is Paris", "Lyon", "Paris, Texas"]
    clusters = [exact.grade(prompt("x"), text).cluster for text in texts]
    assert len(set(clusters[:3])) == 1
    assert len(set(clusters)) == 3


@given(st.lists(st.from_regex(r"[a-zA-Z0-9]{1,8}", fullmatch=True), min_size=1, max_size=5).map(" ".join))
@settings(deadline=None)
def test_dress_does_not_change_an_answer_and_a_word_more_does(text):
    exact = graders.get("exact")()
    assert utility(exact, (text,), f"\n  **{text.upper()}**. ") == 1
    assert utility(exact, (text,), f"{text} more") == 0


# numeric


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("7", "7"),
        ("1,234.50 dollars", "1234.5"),
        ("$18", "18"),
        ("-$5", "-5"),
        ("−5", "-5"),
        ("\\$18.90", "18.9"),
        ("3/4", "0.75"),
        ("1 1/2 cups", "1.5"),
        ("1½", "1.5"),
        ("\\frac{3}{4}", "0.75"),
        ("2\\frac{1}{2}", "2.5"),
        ("1/3", "0.333333333333"),
        ("25%", "25"),
        ("25 percent", "25"),
        ("2.5 x 10^3", "2500"),
        ("2.5 \\times 10^{3}", "2500"),
        ("1e3", "1000"),
        ("10^5", "100000"),
        ("1 000 000", "1000000"),
        ("2,5", "2.5"),
        ("seven", "7"),
        ("Seven.", "7"),
        ("4 + 3 = 7", "7"),
        ("so 5 apples", "5"),
        ("5kg", "5"),
        ("It costs 3 dollars.\n#### 1,319\nBut 20 more", "1319"),
        ("\\boxed{3} no, \\boxed{42}, which is 6 * 7", "42"),
        ("The answer is 3 + 4 = 7, since 9 is too many", "7"),
        ("The answer is 18 because 9 * 2 = 18 and not 20", "18"),
        ("The answer is:\n\n18", "18"),
        ("5\n\nQ: And 6 + 6?\nA: 12", "5"),
    ],
)
def test_numbers_are_read_as_a_person_would(text, canonical):
    assert graders.get("numeric")().grade(prompt("0"), text).cluster == canonical


@pytest.mark.parametrize(
    "text",
    [
        "",
        "none",
        "x2",
        "H2O",
        "7 or 8",
        "1/0",
        "1e999999",
        "9" * 400,
        "the answer is unclear",
        "10^999999",
        "\x1b[2J",
    ],
)
def test_what_commits_to_no_number_is_no_answer(text):
    assert graders.get("numeric")().grade(prompt("2"), text) == NOTHING


def test_numeric_tolerance_percent_and_options():
    numeric = graders.get("numeric")
    assert utility(numeric(), ("1000000",), "1000001") == 0
    assert utility(numeric(), ("1/3",), "0.3333333") == 1
    assert utility(numeric(), ("1/3",), "0.333") == 0
    assert utility(numeric(abs_tol=1), ("10",), "11") == 1
    assert utility(numeric(abs_tol=1), ("10",), "11.01") == 0
    assert utility(numeric(), ("25",), "25%") == 1
    assert utility(numeric(), ("25%",), "0.25") == 1
    assert utility(numeric(), ("25%",), "0.25%") == 0
    assert utility(numeric(take="first"), ("9",), "9 is larger than 4") == 1
    assert utility(numeric(), ("9",), "9 is larger than 4") == 0
    assert utility(numeric(first_line=True), ("9",), "9\n4") == 1
    with pytest.raises(UserError, match="take"):
        numeric(take="middle")


def test_a_reference_that_is_no_number_is_the_tasks_mistake():
    with pytest.raises(UserError, match="no number"):
        graders.get("numeric")().grade(prompt("Paris"), "7")


@given(st.fractions(max_denominator=10**6))
@settings(deadline=None)
def test_any_fraction_is_read_back(value):
    number = read_number(f"the answer is {value}")
    assert number is not None
    assert number.value == value


# choice


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("apple", "apple"),
        ("It is an apple.", "apple"),
        ("new apple", "new apple"),
        ("B", "apple"),
        ("(b)", "apple"),
        ("B. apple", "apple"),
        ("The answer is (B).", "apple"),
        ("the answer is B because B is a fruit", "apple"),
        ("A chair", "chair"),
        ("The answer is a chair", "chair"),
        ("**B**", "apple"),
        ("B) chair", None),
        ("chair or apple", None),
        ("(A) or (B)", None),
        ("A or B", None),
        ("E", None),
        ("appleton", None),
        ("neither", None),
        ("", None),
    ],
)
def test_choice_commits_to_one_option_or_to_none(text, chosen):
    graded = graders.get("choice")().grade(prompt("apple", choices=CHOICES), text)
    assert graded.cluster == chosen
    assert graded.utility == (chosen == "apple")
    assert graded.status == (NO_ANSWER if chosen is None else SCORED)


def test_choice_reference_and_letters():
    choice = graders.get("choice")
    assert utility(choice(), ("B",), "5", choices=["3", "5"]) == 1
    assert utility(choice(), ("B",), "15", choices=["3", "5"]) == 0
    assert choice(letters=False).grade(prompt("apple", choices=CHOICES), "B") == NOTHING
    with pytest.raises(UserError, match="none of the options"):
        choice().grade(prompt("pear", choices=CHOICES), "pear")
    with pytest.raises(UserError, match="set 'choices'"):
        choice().grade(prompt("pear"), "pear")


# math


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        (r"\frac{1}{2}", "0.5"),
        (r"\frac{1}{2}", "The answer is 1/2."),
        ("x^2+2x+1", "(x+1)^2"),
        (r"2\sqrt{3}", r"So we get $\sqrt{12}$."),
        ("5", "x=5"),
        ("5", r"\boxed{3}, no: \boxed{5}"),
        ("5", r"\boxed 5"),
        ("10", "10 cm"),
        (r"\text{Evelyn}", "Evelyn"),
        (r"\text{(C)}", "(C)"),
        (r"\$18.90", "18.90"),
        ("2,3", "The answer is $2$ and $3$."),
        ("1,2,3", "3, 2, 1"),
        (r"x \in [-2,7]", "[-2,7]"),
        ("6", "So the total is 2*3 = 6."),
        ("5", "The answer is **5**."),
    ],
)
def test_math_accepts_other_forms(reference, text):
    assert utility(graders.get("math")(), (reference,), text) == 1


@pytest.mark.parametrize(
    ("reference", "text"),
    [("5", "-5"), ("(1,2)", "(2,1)"), (r"\text{east}", "seat"), (".0000672", "0.0000673"), ("x+1", "x-1")],
)
def test_math_refuses_other_values(reference, text):
    graded = graders.get("math")().grade(prompt(reference), text)
    assert (graded.utility, graded.status) == (0, SCORED)


def test_math_clusters_join_equal_answers_right_or_wrong():
    math = graders.get("math")()
    for group in (
        ["1/2", "0.5", r"$\frac{1}{2}$"],
        ["(x+1)^2", "x^2+2x+1"],
        [r"\sqrt{12}", r"2\sqrt{3}"],
        ["x=5", "5"],
    ):
        assert len({math.grade(prompt("7"), text).cluster for text in group}) == 1


def test_math_says_no_answer_where_there_is_none():
    for text in ("", "  ", "I do not know", r"\boxed{}", "$$"):
        assert graders.get("math")().grade(prompt("5"), text) == NOTHING


def test_math_500_gold_passes_in_every_dress_and_perturbed_gold_fails():
    math = graders.get("math")()
    answers = [row["answer"] for row in rows("math500.jsonl")]
    for dress in (
        "{}",
        "so \\boxed{{{}}}.",
        "The answer is {}.",
        "The final answer is ${}$. I hope it is correct.",
    ):
        assert [a for a in answers if utility(math, (a,), dress.format(a)) != 1] == []
    wrong, tried = [], 0
    for answer in answers:
        digits = [found.start() for found in re.finditer(r"\d", answer)]
        # math-verify leaves the base of a number and the power of a unit out of account; the task's card says so.
        if digits and not re.search(r"_\{?\d+\}?$|\}\^\d$", answer):
            tried += 1
            changed = (
                answer[: digits[-1]] + str((int(answer[digits[-1]]) + 1) % 10) + answer[digits[-1] + 1 :]
            )
            if utility(math, (answer,), f"\\boxed{{{changed}}}"):
                wrong.append((answer, changed))
    assert tried > 450
    assert wrong == []


def test_math_500_solutions_pass_and_other_problems_answers_fail():
    math = graders.get("math")()
    problems = rows("math500.jsonl")
    assert [row["answer"] for row in problems if utility(math, (row["answer"],), row["solution"]) != 1] == []
    rng = random.Random(0)
    pairs = [(row["answer"], rng.choice(problems)["answer"]) for row in problems]
    confused = [
        (gold, other) for gold, other in pairs if gold != other and utility(math, (gold,), f"${other}$")
    ]
    assert len(confused) <= 1  # `x=5` and `5` may meet, and are the same answer


# procedural


def entry(name, **config):
    settings_ = {**config, "seed": 3, "size": 100}
    made = shared_worker().call("gapbench.tasks.gym:draw", name, settings_, 0, 1, seconds=30)[0]
    return made, {"dataset": name, "config": settings_, "entry": made}


def test_procedural_gives_full_marks_only_unless_told_otherwise():
    made, source = entry("word_sorting", min_words=4, max_words=4)
    words = made["answer"].split(", ")
    half = ", ".join([words[0], words[1], words[3], words[2]])
    procedural = graders.get("procedural")
    assert utility(procedural(), (made["answer"],), made["answer"], procedural=source) == 1
    assert utility(procedural(), (made["answer"],), "Answer: " + made["answer"], procedural=source) == 1
    assert utility(procedural(), (made["answer"],), half, procedural=source) == 0
    assert 0 < utility(procedural(threshold=None), (made["answer"],), half, procedural=source) < 1
    assert utility(procedural(threshold=0.2), (made["answer"],), half, procedural=source) == 1
    assert procedural().grade(prompt("x", procedural=source), " \n") == NOTHING
    with pytest.raises(UserError, match="threshold"):
        procedural(threshold=2)
    with pytest.raises(UserError, match="procedural source"):
        procedural().grade(prompt("x"), "x")


def test_procedural_takes_any_right_answer():
    made, source = entry("countdown", min_numbers=3, max_numbers=3)
    swapped = re.sub(r"^(\d+) \+ (\d+)", r"\2 + \1", made["answer"])
    assert utility(graders.get("procedural")(), (made["answer"],), f"({swapped})", procedural=source) == 1


def test_procedural_never_evaluates_what_could_do_more_than_compute(tmp_path):
    pwned = tmp_path / "pwned"
    for name in ("countdown", "spiral_matrix", "polynomial_multiplication"):
        made, source = entry(name)
        for attack in (
            f"__import__('pathlib').Path({str(pwned)!r}).touch()",
            f"open({str(pwned)!r}, 'w')",
            "().__class__.__base__.__subclasses__()",
            "exit()",
        ):
            assert utility(graders.get("procedural")(), (made["answer"],), attack, procedural=source) < 1
    assert not pwned.exists()
    assert harmless("2*x**2 + sin(x) - [1, 2]")
    assert not harmless("open(x)")
    assert not harmless("x.__class__")


def test_the_list_of_evaluating_scorers_is_complete():
    import reasoning_gym

    # `eval` on what reasoning-gym itself made is none of ours; these evaluate only that.
    own = {
        "codeio",
        "number_sorting",
        "generators_50_99",
        "generators_00_49",
        "bitwise_arithmetic",
        "basic_arithmetic",
    }
    own |= {"propositional_logic"}  # has a parse_expr of its own
    folder = Path(reasoning_gym.__file__).parent
    calls = re.compile(r"\b(?:eval|exec|parse_expr|sympify)\(")
    found = {path.stem for path in folder.rglob("*.py") if calls.search(path.read_text(encoding="utf-8"))}
    assert found - own == set(EVALUATES)


# whatever the model writes

HOSTILE = {
    "a megabyte of one letter": "x" * 10**6,
    "a megabyte of digits": "9" * 10**6,
    "a megabyte of spaces": " " * 10**6 + "5",
    "a megabyte of lines": "\n" * 10**6,
    "many numbers": "1 " * 500_000,
    "groups of digits": "1,000," * 170_000,
    "slashes": "1/" * 500_000,
    "answers": "the answer is " * 70_000,
    "boxes": "\\boxed{" * 140_000,
    "fractions": "\\frac{" * 170_000,
    "a nest of fractions": "$" + "\\frac{1}{" * 60 + "2" + "}" * 60 + "$",
    "a nest of brackets": "(" * 400 + "1" + ")" * 400,
    "terminal codes": "\x1b[31m" * 100_000,
    "terminal codes cut": "\x1b[" * 300_000,
    "nul": "\x00" * 1000,
    "surrogate": "\ud800 5",
    "right to left": "\u202e5\u202c",
    "combining": "e" + "\u0301" * 100_000,
    "format": "{0.__class__} %s %n",
    "python": "__import__('os').system('exit 1')",
    "json": '{"value": 1.0}\n{"value": 1.0}',
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_replies_neither_raise_nor_hang(kind):
    _, source = entry("chain_sum")
    start = time.monotonic()
    for name, reference in (
        ("exact", "42"),
        ("numeric", "42"),
        ("choice", "apple"),
        ("math", "42"),
        ("procedural", "42"),
    ):
        graded = graders.get(name)().grade(
            prompt(reference, choices=CHOICES, procedural=source), HOSTILE[kind]
        )
        assert graded.utility == 0
        assert len(graded.answer or "") <= 1000
        json.dumps([graded.answer, graded.cluster])
    assert time.monotonic() - start < 300  # 5 s of processor time a call, on a busy machine


@pytest.mark.slow
@pytest.mark.parametrize(
    "bomb", ["9^{9^{9^9}}", "9**9**9**9", "100000000!", r"\sum_{i=1}^{10^{12}} i^{i}", "(1+x)^{100000}"]
)
def test_expressions_that_never_end_are_wrong_and_the_next_reply_is_graded(bomb):
    math = graders.get("math")(seconds=2)
    graded = math.grade(prompt("5"), f"The answer is ${bomb}$.")
    assert (graded.utility, graded.status) == (0, SCORED)
    assert graded.cluster is not None
    assert utility(math, ("5",), "5") == 1


@given(st.text(max_size=200) | st.text("\\\\{}$^_/().,0123456789 \nabxQA:#", max_size=60))
@settings(deadline=None, max_examples=300)
def test_any_text_is_graded(text):
    for name, reference in (("exact", "42"), ("numeric", "42"), ("choice", "apple"), ("math", "42")):
        graded = graders.get(name)().grade(prompt(reference, choices=CHOICES), text)
        assert graded == NOTHING or (graded.status == SCORED and graded.cluster and graded.answer)
        assert graded.utility in (0, 1)


def test_graders_work_off_the_main_thread_and_leave_the_alarm_alone():
    outcomes = []

    def work():
        outcomes.extend(utility(graders.get("math")(), ("1/2",), text) for text in ("0.5", "2", "0.50"))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [0.0] * 4 + [1.0] * 8


def test_importing_the_graders_loads_nothing_slow():
    code = (
        "import sys, gapbench.tasks; from gapbench.graders import graders; [graders.get(n) for n in graders.names()];"
        "print([m for m in ('torch', 'transformers', 'datasets', 'reasoning_gym', 'sympy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_gsm8k_gold_passes_and_its_neighbour_fails():
    numeric = graders.get("numeric")()
    problems = rows("gsm8k_test.jsonl")
    golds = [row["answer"].split("####")[-1].strip() for row in problems]
    assert all(
        utility(numeric, (gold,), row["answer"]) == 1 for gold, row in zip(golds, problems, strict=True)
    )
    for dress in ("{}", "${}", "The answer is {}.", "\\boxed{{{}}} dollars", "So he has {} apples."):
        assert all(utility(numeric, (gold,), dress.format(gold)) == 1 for gold in golds)
    assert not any(utility(numeric, (gold,), str(int(gold.replace(",", "")) + 1)) for gold in golds)


def test_nq_open_gold_passes_and_another_questions_fails():
    exact = graders.get("exact")()
    answers = [tuple(row["answer"]) for row in rows("nq_open_dev.jsonl")]
    every = [(gold, text) for gold in answers for text in gold]
    failing = [text for gold, text in every if utility(exact, gold, text) != 1]
    assert failing == ["---", ")", "*"]  # the data's own junk
    assert all(
        utility(exact, gold, f"The answer is {text.upper()}.") == 1
        for gold, text in every
        if text not in failing
    )
    shifted = sum(utility(exact, gold, other[0]) for gold, other in pairwise(answers))
    assert shifted <= 10  # neighbours that share an answer such as `one`
