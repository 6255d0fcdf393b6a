"""Suites: what loads, what is refused and how it is told, and that no question is in two places."""

import gzip
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from gapbench.engines.base import Sampling, render_plain
from gapbench.errors import UserError
from gapbench.records import Prompt
from gapbench.tasks import list_suites, list_tasks, load_suite, sources, suites_dir
from gapbench.tasks import suite as tasks
from gapbench.tasks.template import render, values

DATA = Path(__file__).parents[2] / "shared" / "data"
CARD = {"source": "s", "licence": "l", "answer_space": "a", "chance": 0.0, "limits": "none"}
SUMS = {
    "procedural": "chain_sum",
    "seed": 1,
    "config": {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1},
}


def task(**fields):
    return {
        "name": "t",
        "domain": "d",
        "title": "T",
        "source": {"file": "rows.jsonl"},
        "question": "Q{n}?",
        "reference": "answer",
        "grader": "exact",
        "card": CARD,
        **fields,
    }


def write(folder, *tasks, rows=60, name="mine", text=None):
    """A suite of one's own, with `rows` rows of data (a number, or the rows)."""
    path = folder / "mine.yaml"
    path.write_text(text or yaml.safe_dump({"name": name, "title": "Mine", "tasks": list(tasks)}))
    made = [{"n": i, "answer": f"a{i}"} for i in range(rows)] if isinstance(rows, int) else rows
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made))
    return path


def only(path, **options):
    (loaded,) = load_suite(path, **options).tasks
    return loaded


def refused(path, **options):
    """The one line that says why."""
    with pytest.raises(UserError) as caught:
        [loaded.prompts for loaded in load_suite(path, **options).tasks]
    message = str(caught.value)
    assert "\n" not in message
    return message


# the suites that are shipped


def test_the_shipped_suites_are_listed():
    assert suites_dir().name in ("tasks", "suites")
    named = {"starter", "core", "math", "code", "factual", "reasoning", "science", "open", "all"}
    assert named <= {suite.name for suite in list_suites()}
    assert all(path.stem == suite.name for suite in list_suites() for path in [suite.path])
    assert ("math", "gsm8k") in [(suite, task.name) for suite, task in list_tasks()]


def test_starter_spans_five_domains_and_has_enough_of_each():
    measure, calibrate = load_suite("starter"), load_suite("starter", split="calibrate")
    assert len({task.domain for task in measure.tasks}) >= 5
    few = {"sums"}  # so many one-digit questions there are
    for task, other in zip(measure.tasks, calibrate.tasks, strict=True):
        assert len(task.prompts) >= (100 if task.name in few else 130), task.name
        assert len(other.prompts) >= (30 if task.name in few else 50), task.name
        for part in (task, other):
            grader = part.grader()
            for prompt in part.prompts:
                assert grader.grade(prompt, prompt.reference[0]).utility == 1, prompt.question
                assert grader.grade(prompt, f" {prompt.reference[-1]}.\n").utility == 1, prompt.question
                assert grader.grade(prompt, "zzz 4242").utility == 0, prompt.question
                assert "{" not in prompt.question


def test_no_question_is_in_both_splits_or_repeats_a_shot():
    for name in ("starter",):
        for task, other in zip(
            load_suite(name).tasks, load_suite(name, split="calibrate").tasks, strict=True
        ):
            shots = {question.casefold() for prompt in task.prompts for question, _ in prompt.shots}
            measured = [prompt.question.casefold() for prompt in task.prompts]
            calibrated = [prompt.question.casefold() for prompt in other.prompts]
            assert shots == {question.casefold() for question, _ in other.prompts[0].shots}
            assert len(shots) == 4
            assert len(measured) == len(set(measured))
            assert not shots & {*measured, *calibrated}
            assert not set(measured) & set(calibrated)


def test_another_process_makes_the_same_prompts():
    code = (
        "import json; from gapbench.tasks import load_suite; s = load_suite('starter', limit=8);"
        "print(json.dumps([s.digest, [[p.to_record() for p in t.prompts] for t in s.tasks]]))"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in "12"
    }
    assert len(runs) == 1
    digest, records = json.loads(runs.pop())
    suite = load_suite("starter", limit=8)
    assert digest == suite.digest
    assert records == json.loads(json.dumps([[p.to_record() for p in t.prompts] for t in suite.tasks]))


def test_a_longer_run_begins_with_a_shorter_ones_prompts():
    for short, long in zip(
        load_suite("starter", limit=5).tasks, load_suite("starter", limit=40).tasks, strict=True
    ):
        assert [p.prompt_id for p in long.prompts[:5]] == [p.prompt_id for p in short.prompts]
        assert len(long.prompts) == 40
        assert short.digest == long.digest


def test_every_card_is_honest_about_guessing():
    for task in load_suite("starter").tasks:
        golds = [task.grader().grade(p, p.reference[0]).cluster for p in task.prompts]
        commonest = max(golds.count(gold) for gold in set(golds)) / len(golds)
        assert commonest <= task.spec.card.chance + 0.05, task.name


def test_the_generated_files_are_what_their_script_writes(tmp_path):
    folder = suites_dir() / "data"
    subprocess.run([sys.executable, str(folder / "make.py"), str(tmp_path)], check=True)
    for made in tmp_path.iterdir():
        assert made.read_bytes() == (folder / made.name).read_bytes(), made.name


def test_generated_answers_are_right():
    def data(name):
        return [json.loads(line) for line in (suites_dir() / "data" / name).open()]

    assert all(row["answer"] == row["number"] + 1 for row in data("successor.jsonl"))
    for row in data("category.jsonl"):
        assert len(set(row["choices"])) == 4
        assert row["choices"].count(row["answer"]) == 1
    words = [row["word"] for row in data("antonyms.jsonl")]
    assert len(words) == len(set(words))
    assert not any(row["word"] in [row["opposite"], *row["aliases"]] for row in data("antonyms.jsonl"))


@pytest.mark.parametrize(
    ("suite", "name", "file", "rows"),
    [
        ("math", "gsm8k", "gsm8k_test.jsonl", 1319),
        ("math", "math500", "math500.jsonl", 500),
        ("factual", "nq-open", "nq_open_dev.jsonl", 3610),
    ],
)
def test_public_data_loads_from_a_local_folder(suite, name, file, rows, tmp_path, monkeypatch):
    if not (DATA / file).is_file():
        pytest.skip(f"../shared/data/{file} is not there")
    measure, calibrate = (
        next(t for t in load_suite(suite, data_dir=DATA, split=split).tasks if t.name == name)
        for split in ("measure", "calibrate")
    )
    assert len(measure.prompts) == min(500, sum(1 for _ in measure.prompts)) >= 400
    questions = [{p.question for p in part.prompts} for part in (measure, calibrate)]
    assert not questions[0] & questions[1]
    assert sum(map(len, questions)) <= rows
    prompt = measure.prompts[0]
    assert len(prompt.shots) >= 4
    assert Prompt.from_record(prompt.to_record()) == prompt
    grader = measure.grader()
    failing = [p.reference[0] for p in measure.prompts if grader.grade(p, p.reference[0]).utility != 1]
    assert set(failing) <= {"---", ")"}  # junk in NQ-open itself
    # The worked examples are written as the model should answer: the grader reads each as a right answer.
    for question, answer in prompt.shots:
        asked = Prompt("t", "p", "d", prompt.messages, (answer.split("####")[-1],))
        if name != "math500":
            assert grader.grade(asked, answer).utility == 1, question
    monkeypatch.setenv("GAPBENCH_DATA", str(DATA))
    assert next(t for t in load_suite(suite, limit=1).tasks if t.name == name).prompts == measure.prompts[:1]


def test_a_hub_that_cannot_be_reached_is_one_line_with_the_cure(monkeypatch, tmp_path):
    import datasets

    def offline(*args, **kwargs):
        raise ConnectionError("Couldn't reach the Hub\nat all")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    monkeypatch.delenv("GAPBENCH_DATA", raising=False)
    message = refused("math")
    assert message.startswith("task 'gsm8k': dataset openai/gsm8k could not be had")
    assert "gsm8k_test.jsonl" in message
    assert "--data" in message
    assert f"{tmp_path} has no gsm8k_test.jsonl" in refused("math", data_dir=tmp_path)


def test_the_hub_is_asked_for_the_pinned_revision(monkeypatch, tmp_path):
    import datasets

    asked = []

    def load_dataset(*args, **kwargs):
        asked.append((args, kwargs))
        return [{"n": i, "answer": f"a{i}"} for i in range(30)]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    source = {"datasets": "who/what", "config": "c", "split": "test", "revision": "abc", "local": "rows.csv"}
    path = write(tmp_path, task(source=source))
    assert len(only(path).prompts) > 10
    assert asked == [(("who/what", "c"), {"split": "test", "revision": "abc"})]


# what a task may be


def test_prompts_carry_what_the_contract_says(tmp_path):
    path = write(tmp_path, task(shots=2, system="Be brief."))
    prompt = only(path).prompts[0]
    assert [message.role for message in prompt.messages] == ["system", *["user", "assistant"] * 2, "user"]
    assert prompt.style == "plain"
    assert re.fullmatch("[0-9a-f]{12}", prompt.prompt_id)
    assert prompt.cluster == prompt.prompt_id
    assert re.fullmatch(
        r"Be brief\.\n\n(Q: Q\d+\?\nA: a\d+\n\n){2}Q: Q\d+\?\nA:", render_plain(prompt.messages)
    )
    chat = only(write(tmp_path, task(style="chat", cluster="{answer}")))
    assert chat.prompts[0].style == "chat"
    assert chat.prompts[0].cluster == chat.prompts[0].reference[0]
    assert chat.sampling == Sampling(max_tokens=32, stop=())
    assert only(write(tmp_path, task())).sampling.stop == ("\n",)
    assert only(write(tmp_path, task(sampling={"stop": ["X"], "max_tokens": 3}))).sampling == Sampling(
        3, stop=("X",)
    )


@pytest.mark.parametrize("wrapped", [False, True])
def test_an_installed_package_adds_a_suite(tmp_path, monkeypatch, wrapped):
    path = write(tmp_path, task())

    class Point:
        name = "theirs"

        @staticmethod
        def load():
            return (lambda: str(path)) if wrapped else path

    monkeypatch.setattr(tasks, "entry_points", lambda group: [Point] if group == "gapbench.tasks" else [])
    assert only("theirs", limit=1).prompts
    assert "did you mean 'theirs'?" in refused("their")
    assert ("mine", "t") in [(suite, loaded.name) for suite, loaded in list_tasks()]


def test_every_row_is_measured_calibrated_or_a_shot(tmp_path):
    path = write(tmp_path, task(shots=3, calibrate=0.4))
    measure, calibrate = only(path), only(path, split="calibrate")
    questions = [{p.question for p in part.prompts} for part in (measure, calibrate)]
    shots = {question for question, _ in measure.prompts[0].shots}
    assert len(questions[0]) + len(questions[1]) + len(shots) == 60
    assert questions[0] | questions[1] | shots == {f"Q{i}?" for i in range(60)}


def test_the_split_of_a_question_does_not_depend_on_the_other_rows(tmp_path):
    path = write(tmp_path, task(), rows=60)
    before = {p.question for p in only(path).prompts}
    rows = [{"n": i, "answer": f"a{i}"} for i in range(200)]
    after = {p.question for p in only(write(tmp_path, task(), rows=rows[::-1])).prompts}
    assert before == after & {f"Q{i}?" for i in range(60)}


def test_repeated_questions_are_dropped_and_shots_are_never_asked(tmp_path):
    rows = [{"n": i % 10, "answer": f"a{i % 10}" + " " * (i % 3)} for i in range(40)]
    shots = [{"question": "q3?", "answer": "a3"}]
    path = write(tmp_path, task(shots=shots), rows=rows)
    asked = [p for split in ("measure", "calibrate") for p in only(path, split=split).prompts]
    assert sorted(p.question for p in asked) == [f"Q{i}?" for i in range(10) if i != 3]
    assert all(p.reference == (f"a{p.question[1:-1]}",) for p in asked)


def test_procedural_questions_fill_the_limit_although_many_repeat(tmp_path):
    path = write(tmp_path, task(source=SUMS, question="What is {expression}?", grader="numeric", shots=4))
    loaded = only(path, limit=120)
    assert len(loaded.prompts) == 120
    assert len(only(path).prompts) <= 200  # all there are, found without drawing for ever
    assert len({p.prompt_id for p in loaded.prompts}) == 120


def test_procedural_splits_use_seeds_that_are_far_apart(tmp_path):
    # reasoning-gym draws question i from seed + i, so neighbouring seeds would give the same questions.
    path = write(tmp_path, task(source=SUMS, question="What is {expression}?", grader="numeric"))
    seeds = [
        only(path, split=split, limit=1).prompts[0].metadata["procedural"]["config"]["seed"]
        for split in ("measure", "calibrate")
    ]
    assert abs(seeds[0] - seeds[1]) > sources.DRAW_MOST


def test_procedural_prompts_are_scored_after_a_round_trip_through_the_store(tmp_path):
    source = {"procedural": "word_sorting", "config": {"min_words": 2, "max_words": 2}}
    loaded = only(write(tmp_path, task(source=source, question="{question}", grader="procedural")), limit=5)
    for prompt in loaded.prompts:
        again = Prompt.from_record(prompt.to_record())
        assert loaded.grader().grade(again, again.reference[0]).utility == 1


def test_references_aliases_and_choices(tmp_path):
    rows = [{"n": i, "answer": [f"a{i}", "b"], "also": ["c"], "csv": "d|e"} for i in range(20)]
    assert only(write(tmp_path, task(aliases="also"), rows=rows)).prompts[0].reference[1:] == ("b", "c")
    assert only(write(tmp_path, task(aliases="csv"), rows=rows)).prompts[0].reference[1:] == ("b", "d", "e")
    rows = [{"n": i, "answer": f"because #### 3 #### {i}"} for i in range(20)]
    assert all(
        f"Q{p.reference[0]}?" == p.question
        for p in only(write(tmp_path, task(after="####"), rows=rows)).prompts
    )
    rows = [{"n": i, "answer": i % 2, "options": ["yes", "no"]} for i in range(20)]
    for prompt in only(write(tmp_path, task(choices="options", grader="choice"), rows=rows)).prompts:
        assert prompt.reference == (("yes", "no")[int(prompt.question[1:-1]) % 2],)
        assert prompt.metadata["choices"] == ["yes", "no"]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_every_format_gives_the_same_prompts(tmp_path, kind, packed):
    rows = [{"n": str(i), "answer": f"ä, {i}"} for i in range(20)]
    expected = only(write(tmp_path, task(), rows=rows)).prompts
    path = tmp_path / f"rows.{kind}"
    if kind == "csv":
        path.write_text(
            "\ufeffn,answer\r\n" + "".join(f'{r["n"]},"{r["answer"]}"\r\n' for r in rows), encoding="utf-8"
        )
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    if packed:
        path = path.with_name(path.name + ".gz")
        path.write_bytes(gzip.compress(path.with_suffix("").read_bytes()))
    assert only(write(tmp_path, task(source={"file": path.name}), rows=rows)).prompts == expected


def test_templates_reach_nothing_but_the_row():
    row = {"x": "a", "words": ["go", "hundred"], "deep": {"k": [1, 2]}}
    assert render("{{{x}}} {words} {words[1]} {deep[k][0]}", row) == "{a} go, hundred hundred 1"
    assert values(row, "words") == ("go", "hundred")
    for bad in (
        "{x.__class__}",
        "{x!r}",
        "{x:>9}",
        "{}",
        "{x[0].y}",
        "{y}",
        "{words[9]}",
        "{deep[z]}",
        "{x",
        "x}",
    ):
        with pytest.raises(UserError):
            render(bad, row)


def test_digests_change_with_the_text_the_data_and_nothing_else(tmp_path):
    def digests(*args, limit=None, split="measure", **kwargs):
        suite = load_suite(write(tmp_path, *args, **kwargs), limit=limit, split=split)
        return suite.digest, suite.tasks[0].digest

    base = digests(task())
    assert digests(task()) == base
    assert digests(task(), limit=3) == digests(task(), split="calibrate") == base
    assert not set(digests(task(), rows=61)) & set(base)
    assert not set(digests(task(title="U"))) & set(base)
    suite, first = digests(task(), task(name="u"))
    assert suite != base[0]
    assert first == base[1]


def test_a_task_describes_itself_in_plain_values(tmp_path):
    said = only(
        write(
            tmp_path,
            task(grader={"name": "numeric", "options": {"take": "first"}}, question="{n}"),
            rows=[{"n": f"x{i}", "answer": i} for i in range(9)],
        )
    ).describe()
    assert json.loads(json.dumps(said)) == said
    assert said["grader"] == {"name": "numeric", "options": {"take": "first"}}
    assert Sampling(**{**said["sampling"], "stop": tuple(said["sampling"]["stop"])}) == Sampling(
        32, stop=("\n",)
    )


# what a task may not be


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"quesion": "x"}, "task 't': unknown key 'quesion'; did you mean 'question'?"),
        ({"sampling": {"max_token": 3}}, "unknown key 'sampling.max_token'; did you mean 'max_tokens'?"),
        (
            {"sampling": {"max_tokens": 0}},
            "field 'sampling.max_tokens': Input should be greater than or equal to 1, not 0",
        ),
        ({"source": {"file": "rows.jsonl", "sed": 1}}, "unknown key 'source.sed'"),
        ({"source": {"path": "rows.jsonl"}}, "'source' needs one of procedural, datasets, file and rows"),
        ({"source": {"datasets": "a/b"}}, "'source.split' is missing"),
        ({"shots": [{"question": "q", "anser": "a"}]}, "did you mean 'answer'"),
        ({"shots": -1}, "field 'shots'"),
        ({"shots": 59}, "of 59 shots are set aside"),
        ({"card": {**CARD, "chance": 7}}, "field 'card.chance'"),
        ({"card": {"source": "s"}}, "'card.licence' is missing"),
        ({"grader": "exakt"}, "unknown grader 'exakt'; did you mean 'exact'?"),
        (
            {"grader": {"name": "exact", "options": {"firstline": 1}}},
            "has no option 'firstline'; did you mean 'first_line'?",
        ),
        ({"grader": {"name": "procedural", "options": {"threshold": 9}}}, "threshold"),
        ({"grader": "numeric", "reference": "n", "question": "{answer}", "style": "loud"}, "field 'style'"),
        ({"grader": "choice"}, "set 'choices'"),
        ({"grader": "numeric"}, "grader 'numeric' fails references such as 'a"),
        ({"grader": "procedural"}, "needs a procedural source"),
        ({"question": "no field"}, "names no field"),
        ({"question": "{m}?"}, "row 1: there is no field 'm'"),
        ({"question": "{n.__class__}"}, "row 1: '{n.__class__}' is no field"),
        ({"reference": "anser"}, "did you mean 'answer'?"),
        ({"aliases": "alias"}, "no row has the field 'alias'"),
        ({"after": "("}, "field 'after': is no regular expression"),
        ({"after": "####"}, "row 1: nothing follows '####'"),
        ({"name": "T"}, "task 'T': field 'name'"),
        ({"source": {"procedural": "chain_summ"}}, "did you mean 'chain_sum'?"),
        (
            {"source": {"procedural": "chain_sum", "config": {"min_terms": 0}}},
            "refuses config {'min_terms': 0}",
        ),
        ({"source": {"procedural": "chain_sum", "config": {"mn": 0}}}, "refuses config {'mn': 0}"),
        ({"source": {"procedural": "propositional_logic"}, "question": "{question}"}, "no reference answers"),
        (
            {"source": {"procedural": "rearc"}, "question": "{question}", "grader": "procedural"},
            "fails references",
        ),
    ],
)
def test_a_mistake_is_told_in_one_line(tmp_path, fields, says):
    message = refused(write(tmp_path, task(**fields)), limit=8)
    assert says in message
    assert "task 't'" in message.lower()


def test_a_generator_that_never_ends_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "DRAW_SECONDS", 3.0)
    narrow = {"procedural": "base_conversion", "config": {"min_base": 2, "max_base": 2}}
    message = refused(write(tmp_path, task(source=narrow, question="{question}")))
    assert "widen the ranges" in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("just text", "no mapping"),
        ("name: x\n  bad: [", "line 2"),
        ("name: x\ntitle: t\ntasks: []", "field 'tasks'"),
        ("name: x\ntitle: t\ntasks: [{name: a}]", "task 'a': 'domain' is missing"),
        ("!!python/object/apply:os.system [exit 1]", "not YAML"),
    ],
)
def test_a_yaml_that_is_no_suite_is_told_in_one_line(tmp_path, text, says):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    message = refused(path)
    assert message.startswith(str(path))
    assert says in message


def test_names_paths_and_numbers_that_are_wrong(tmp_path):
    assert "did you mean 'starter'?" in refused("startr")
    assert "No such file" in refused(tmp_path / "none.yaml")
    assert "no such folder" in refused("starter", data_dir=tmp_path / "none")
    assert "limit must be 1 or more" in refused("starter", limit=0)
    assert "split must be" in refused("starter", split="test")
    assert "is there twice" in refused(write(tmp_path, task(), task()))
    text = yaml.safe_dump({"name": "mine", "title": "Mine", "task": [task()]})
    assert "unknown key 'task'; did you mean 'tasks'?" in refused(write(tmp_path, text=text))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("rows.jsonl", b"", "is empty"),
        ("rows.jsonl", b"\n \n", "is empty"),
        ("rows.jsonl", b'{"n": 1, "answer": "a"}\n{"n": 2, "ans', "line 2: not JSON"),
        ("rows.jsonl", b'{"n": 1, "answer": "a"}\n[1]\n', "line 2: is not an object"),
        ("rows.jsonl", b'{"n": 1, "answer": "a"}\n{"n": 2, "answer": "\xff"}\n', "line 2: not UTF-8"),
        (
            "rows.jsonl",
            b'{"n": 1, "answer": "a"}\n{"n": 2, "answer": null}\n',
            "row 2: field 'answer' is empty",
        ),
        (
            "rows.jsonl",
            b'{"n": 1, "answer": "a"}\n{"n": 2, "answer": " "}\n',
            "row 2: field 'answer' is empty",
        ),
        ("rows.jsonl", b'{"n": 1, "answer": "a"}\n{"n": 2}\n', "row 2: there is no field 'answer'"),
        ("rows.jsonl", b'{"n": 1, "answer": []}\n', "row 1: field 'answer' is an empty list"),
        ("rows.csv", b"n,answer\n1,a\n2\n", "line 3: 1 values for 2 columns"),
        ("rows.csv", b'n,answer\n1,"a\n', "line 2: not CSV"),
        ("rows.csv", b"n,n\n1,2\n", "columns must have names, each once"),
        ("rows.csv", b"n,answer\n", "has no rows"),
        ("rows.parquet", b"PAR1 torn", "not a whole Parquet file"),
        ("rows.jsonl.gz", gzip.compress(b'{"n": 1, "answer": "a"}\n', mtime=0)[:-9], "not a whole gzip file"),
        ("rows.jsonl.gz", b"plain", "not a whole gzip file"),
        ("rows.txt", b"x", "format '.txt' is not known"),
        ("rows.pkl", b"x", "format '.pkl' is not known"),
    ],
)
def test_bad_data_files_are_told_in_one_line(tmp_path, name, content, says):
    path = write(tmp_path, task(source={"file": name}))
    (tmp_path / name).write_bytes(content)
    message = refused(path)
    assert "task 't'" in message
    assert says in message


def test_a_missing_data_file_is_told_in_one_line(tmp_path):
    message = refused(write(tmp_path, task(source={"file": "none.jsonl"})))
    assert "none.jsonl" in message
    assert "No such file" in message


def test_too_few_rows_for_a_split(tmp_path):
    rows = [{"n": i, "answer": "a"} for i in range(3)]
    path = write(tmp_path, task(shots=[{"question": f"Q{i}?", "answer": "a"} for i in range(3)]), rows=rows)
    assert "no question is left" in refused(path)


def test_the_share_set_aside_is_the_one_asked_for(tmp_path):
    path = write(tmp_path, task(calibrate=0.3, prompts=10**6), rows=3000)
    share = len(only(path, split="calibrate").prompts) / 3000
    assert abs(share - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 3000)
