"""`gapbench validate`: it passes what is sound, and finds each way in which a grader can be wrong."""

from __future__ import annotations

import json

import pytest
from scipy.stats import binomtest

from gapbench.errors import UserError
from gapbench.graders.base import NOTHING, Graded, Grader, graders
from gapbench.records import Message, Prompt
from gapbench.tasks import list_tasks, load_suite
from gapbench.tasks.perturb import dressed, gold, perturbed
from gapbench.tasks.validate import Rate, examine, tasks_named, validate
from tests.conftest import document


def prompts(*references, **metadata):
    return [
        Prompt(
            "task", f"p{place}", "domain", (Message("user", f"Question {place}?"),), (reference,), metadata
        )
        for place, reference in enumerate(references)
    ]


class Lenient(Grader):
    name = "exact"

    def grade(self, prompt: Prompt, text: str) -> Graded:
        if not text.strip():
            return NOTHING
        return Graded(text, text, float(prompt.reference[0].casefold() in text.casefold()))


class Literal(Grader):
    name = "exact"

    def grade(self, prompt: Prompt, text: str) -> Graded:
        return Graded(text, text, float(text.strip() == prompt.reference[0]))


class Refusing(Grader):
    name = "exact"

    def grade(self, prompt: Prompt, text: str) -> Graded:
        return NOTHING


CITIES = ("Lima", "Quito", "La Paz", "Mexico City", "Rome")


def test_a_sound_grader_is_found_sound():
    for name, references in (
        ("exact", CITIES),
        ("numeric", ("75", "-3", "0.75", "1134")),
        ("math", (r"\frac{2}{3}", "x+1", "7")),
    ):
        found = examine(prompts(*references), graders.get(name)(), {})
        assert (found.verdict, found.misses) == ("sound", ())
    options = prompts("bird", "fruit", choices=["bird", "fruit", "metal"])
    assert examine(options, graders.get("choice")(), {}).misses == ()


@pytest.mark.parametrize(
    ("grader", "reason"),
    [
        (Lenient(), "perturbed references pass"),
        (Literal(), "are misread"),
        (Refusing(), "5 of 5 references fail"),
    ],
)
def test_each_way_of_being_wrong_is_found(grader, reason):
    found = examine(prompts(*CITIES), grader, {})
    assert found.verdict == "faulty"
    assert any(reason in said for said in found.reasons)


def test_a_wrong_tolerance_is_found():
    found = examine(prompts("75", "80"), graders.get("numeric")(abs_tol=5), {})
    assert found.false_accepts["one more"].count == 2
    assert examine(prompts("75", "80"), graders.get("numeric")(abs_tol=5), {"abs_tol": 5}).verdict == "sound"


def test_no_perturbation_is_the_reference_or_an_alias():
    for grader, references in (
        ("exact", CITIES),
        ("numeric", ("0", "11", "100", "50%", "1/3")),
        ("math", ("0", "-7", "a+1")),
    ):
        group = prompts(*references)
        for prompt in group:
            made = perturbed(grader, {}, prompt, [other for other in group if other is not prompt])
            assert made
            assert all(not variant.right and variant.text != gold(prompt) for variant in made)
    assert {variant.text for variant in perturbed("numeric", {}, prompts("0")[0], [])} == {"1", "-1"}


def test_dress_says_of_every_reply_whether_it_is_right():
    for grader in ("exact", "numeric", "math", "procedural", "code", "checklist"):
        made = dressed(grader, {}, prompts("7")[0], prompts("8"))
        assert {variant.right for variant in made} == {True, False}
        assert all(variant.text.strip() for variant in made if variant.right)


@pytest.mark.parametrize(("count", "trials"), [(0, 10), (10, 10), (3, 10), (8, 489)])
def test_intervals_are_clopper_and_pearsons(count, trials):
    rate, exact = Rate(count, trials), binomtest(count, trials).proportion_ci(method="exact")
    assert (rate.low, rate.high) == pytest.approx((exact.low, exact.high))


def test_words_that_name_tasks():
    assert [task.name for task in tasks_named("starter")[0]] == [
        task.name for task in load_suite("starter").tasks
    ]
    assert [task.name for task in tasks_named("starter/sums")[0]] == ["sums"]
    assert [task.name for task in tasks_named("successor")[0]] == ["successor"]
    for word, said in (("startr", "starter"), ("starter/sum", "sums"), ("nowhere/sums", "neither")):
        with pytest.raises(UserError, match=said):
            tasks_named(word)


def test_the_command_prints_one_document(cli):
    done = document(cli("validate", "starter", "--limit", 3, "--json"))
    assert done["verdict"] == "sound"
    assert {task["task"] for task in done["tasks"]} >= {"capitals", "sums", "reversal"}
    assert all(task["golds"]["count"] == task["golds"]["trials"] == 3 for task in done["tasks"])


def test_a_faulty_task_ends_in_one_line_and_code_2(cli, tmp_path):
    rows = [
        {"question": f"What is {i}?", "answer": f"{i} or {i + 1}" if i % 2 else f"{i}"} for i in range(2, 30)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "bad.yaml").write_text(
        "name: bad\ntitle: bad\ntasks:\n  - name: undecided\n    domain: d\n    title: t\n    source: {file: rows.jsonl}\n"
        "    calibrate: 0\n    question: '{question}'\n    grader: {name: numeric, options: {abs_tol: 0.5}}\n"
        "    card: {source: s, licence: l, answer_space: a, chance: 0, limits: l}\n"
    )
    done = cli("validate", tmp_path / "bad.yaml")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "undecided" in done.stderr


@pytest.mark.slow
def test_every_task_that_needs_no_download_is_sound():
    for suite, task in list_tasks():
        if task.suite in ("", suite) and not task.missing:
            found = validate(task, limit=40)
            assert found.verdict == "sound", (suite, found.reasons, found.misses[:3])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "golds"), [("gsm8k", (1319, 1319)), ("math500", (500, 500)), ("nq-open", (3608, 3610))]
)
def test_public_data_are_sound(shared_data, task, golds):
    ((one,), _) = tasks_named(task, shared_data)
    found = validate(one)
    assert (found.golds.count, found.golds.trials) == golds
    assert found.verdict == "sound"
