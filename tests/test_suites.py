"""The shipped suites beyond `starter`, suites made of suites, and what a user adds."""

import csv
import itertools
import json
import re
from string import ascii_uppercase

import pytest
import yaml

from gapbench.errors import UserError
from gapbench.records import Prompt
from gapbench.tasks import list_suites, list_tasks, load_suite, sources, suites_dir
from gapbench.tasks.sources import HubSource, NotAvailable
from gapbench.verifiers.tool import Tool
from tests.test_tasks import SUMS, only, refused, task

SUITES = ["starter", "core", "math", "code", "factual", "reasoning", "science", "open", "all"]
DOWNLOADS = {"gsm8k", "math500", "nq-open", "mmlu-stem", "gpqa-diamond", "humaneval", "mbpp"}
HERE = [
    (suite, loaded.name)
    for suite, loaded in list_tasks()
    if suite in {"math", "reasoning", "open"} and loaded.name not in DOWNLOADS
]


def suite_file(folder, name, *entries, rows=None):
    """A YAML `NAME.yaml` with its own data `NAME.jsonl`."""
    folder.mkdir(exist_ok=True)
    rows = [{"n": f"{name}{i}", "answer": f"a{i}"} for i in range(20)] if rows is None else rows
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"name": name, "title": name, "tasks": list(entries)}))
    return path


def own(name, data, **fields):
    return task(name=name, source={"file": f"{data}.jsonl"}, **fields)


# what is shipped


def test_every_suite_of_the_list_is_there_and_all_has_every_task():
    assert [suite.name for suite in list_suites()] == sorted(SUITES)
    every = {loaded.name for loaded in load_suite("all").tasks}
    assert every == {one.name for _, one in list_tasks()}
    assert len(list_tasks()) == len(every)


def test_core_spans_twelve_domains_without_the_gated_questions():
    loaded = load_suite("core").tasks
    assert len({one.domain for one in loaded}) >= 12
    by_need = {one.name for one in loaded if isinstance(one.spec.source, HubSource)}
    assert by_need == DOWNLOADS - {"gpqa-diamond"}
    offline = {one.domain for one in loaded if one.name not in DOWNLOADS}
    assert {"arithmetic", "algebra", "logic", "constraint puzzles", "graph and planning"} <= offline
    assert {"language manipulation", "factual", "instructions"} <= offline
    count = {domain: sum(one.domain == domain for one in loaded) for domain in offline}
    assert max(count.values()) <= 5


def test_every_card_is_complete_and_hub_data_is_pinned():
    for _, one in list_tasks():
        card = one.spec.card.model_dump()
        assert all(str(value).strip() for value in card.values()), one.name
        source = one.spec.source
        if isinstance(source, HubSource):
            assert re.fullmatch("[0-9a-f]{40}", source.revision or ""), one.name
            assert source.local, one.name
        assert one.spec.tool in (None, "tests", "arithmetic", "constraints")


@pytest.mark.parametrize(("suite", "name"), HERE)
def test_a_task_that_needs_no_download(suite, name):
    def load(split, limit):
        return load_suite(suite, tasks=[name], split=split, limit=limit).tasks[0]

    measure, calibrate = load("measure", 40), load("calibrate", 50)
    prompts = measure.prompts
    assert len(prompts) == 40
    assert len(calibrate.prompts) == 50
    keys = [{p.question.casefold() for p in part.prompts} for part in (measure, calibrate)]
    shots = {question.casefold() for question, _ in prompts[0].shots}
    assert len(shots) == measure.spec.shots
    assert not keys[0] & keys[1]
    assert not shots & (keys[0] | keys[1])
    assert load("measure", 7).prompts == prompts[:7]
    # 4000 characters are about 1000 tokens: a context of 2048 holds the longest prompt and its answer.
    assert max(sum(len(message.content) for message in p.messages) for p in prompts) < 4000
    grader = measure.grader()
    golds = [grader.grade(p, p.reference[0]) for p in prompts]
    assert {gold.utility for gold in golds} == {1.0}
    assert all(grader.grade(p, f" {p.reference[0]}\n").utility == 1 for p in prompts[:5])
    assert max(grader.grade(p, "zzz 4242").utility for p in prompts) < 0.9
    chance = measure.spec.card.chance
    commonest = max(golds.count(gold) for gold in golds) / len(golds)
    assert commonest <= chance + 4 * (0.25 / len(golds)) ** 0.5
    others = [grader.grade(p, q.reference[0]).utility for p, q in itertools.pairwise(prompts)]
    assert sum(others) / len(others) <= chance + 0.15
    again = Prompt.from_record(prompts[0].to_record())
    assert grader.grade(again, again.reference[0]).utility == 1
    assert again.metadata.get("tool") == measure.spec.tool


def test_an_easy_task_differs_from_its_sister_in_difficulty_alone():
    specs = {one.name: one.spec for one in load_suite("reasoning").tasks}
    easy = [name for name in specs if name.endswith("-easy")]
    assert len(easy) >= 6
    for name in easy:
        one, other = specs[name].source, specs[name.removesuffix("-easy")].source
        assert one.procedural == other.procedural
        assert one.config != other.config


@pytest.mark.parametrize("name", ["countdown-easy", "countdown", "grid-path-easy", "grid-path"])
def test_puzzles_take_any_right_answer(name):
    (loaded,) = load_suite("reasoning", tasks=[name], limit=30).tasks
    grader, other = loaded.grader(), 0
    for p in loaded.prompts:
        facts = p.metadata["procedural"]["entry"]["metadata"]
        gold = p.reference[0]
        if "numbers" in facts:
            for numbers in itertools.permutations(facts["numbers"]):
                for signs in itertools.product("+-", repeat=len(numbers) - 1):
                    text = str(numbers[0]) + "".join(
                        f" {s} {n}" for s, n in zip(signs, numbers[1:], strict=True)
                    )
                    total = numbers[0] + sum(int(s + str(n)) for s, n in zip(signs, numbers[1:], strict=True))
                    if text != gold and total == facts["target"]:
                        other += grader.grade(p, text).utility == 1
                        break
            assert grader.grade(p, f"{gold} + 1").utility == 0
        else:
            steps = sorted(gold.split())
            other += any(
                " ".join(order) != gold and grader.grade(p, " ".join(order)).utility == 1
                for order in itertools.islice(itertools.permutations(steps), 50)
            )
            assert grader.grade(p, f"{gold} up down").utility == 0
    assert other >= 3


def test_a_sudoku_is_held_to_its_rules_and_not_to_a_layout():
    (loaded,) = load_suite("reasoning", tasks=["mini-sudoku"], limit=5).tasks
    grader = loaded.grader()
    for p in loaded.prompts:
        gold = p.reference[0]
        blind = json.loads(json.dumps(p.to_record()))
        metadata = json.loads(blind["metadata"])
        metadata["procedural"]["entry"]["answer"] = metadata["procedural"]["entry"]["metadata"][
            "solution"
        ] = None
        p = Prompt.from_record({**blind, "metadata": json.dumps(metadata)})
        for text in (
            gold,
            f"Here it is:\n| {gold.replace(' ', ' | ')}",
            gold.replace(" ", ", ") + "\n\nDone.",
        ):
            assert grader.grade(p, text).utility == 1, text
        rows = gold.split("\n")
        swapped = gold.translate(str.maketrans("12", "21"))  # keeps to the rules, but not to the clues
        for text in (
            "\n".join([rows[1], rows[0], *rows[2:]]),
            "\n".join(rows[:3]),
            swapped,
            gold + "\n1 2 3 4",
        ):
            assert grader.grade(p, text).utility == 0, text


def test_tools_apply_where_a_task_says_so():
    for _, one in list_tasks():
        if one.spec.tool and one.name not in DOWNLOADS:
            (loaded,) = load_suite(one.suite, tasks=[one.name], limit=2).tasks
            assert all(Tool().applies(p) for p in loaded.prompts), one.name


def _statement(text):
    some = re.fullmatch(r"(all|no|some) (\w+) are (not )?(\w+)", text.strip(" .").casefold())
    assert some, text
    return some[1] + (" not" if some[3] else ""), some[2], some[4]


def _true(statement, world):
    form, subject, predicate = statement
    seen = {predicate in kind for kind in world if subject in kind}
    return {
        "all": False not in seen,
        "no": True not in seen,
        "some": True in seen,
        "some not": False in seen,
    }[form]


def test_syllogisms_follow_or_do_not_in_modern_and_in_traditional_logic():
    rows = [json.loads(line) for line in (suites_dir() / "data" / "syllogisms.jsonl").open()]
    assert 0.45 < sum(row["answer"] == "yes" for row in rows) / len(rows) < 0.55
    known = {}
    for row in rows:
        first, second = map(_statement, row["premises"].strip(".").split(". "))
        last = _statement(row["conclusion"])
        nouns = sorted({*first[1:], *second[1:], *last[1:]})
        assert len(nouns) == 3
        mood = tuple((s[0], nouns.index(s[1]), nouns.index(s[2])) for s in (first, second, last))
        if mood not in known:
            kinds = [set(c) for size in range(4) for c in itertools.combinations(range(3), size)]
            worlds = [
                [kind for kind, there in zip(kinds, chosen, strict=True) if there]
                for chosen in itertools.product((0, 1), repeat=8)
            ]
            for existing in (False, True):
                fitting = [w for w in worlds if not existing or set(range(3)) <= set().union(*w)]
                known[mood, existing] = all(
                    _true(mood[2], w) for w in fitting if _true(mood[0], w) and _true(mood[1], w)
                )
            known[mood] = known[mood, False]
            assert known[mood, False] == known[mood, True]
        assert row["answer"] == ("yes" if known[mood] else "no"), row


def test_mmlu_from_the_local_file(shared_data):
    (loaded,) = load_suite("science", tasks=["mmlu-stem"], data_dir=shared_data).tasks
    grader = loaded.grader()
    assert len(loaded.prompts) == 500
    places = []
    for p in loaded.prompts:
        choices = p.metadata["choices"]
        place = choices.index(p.reference[0])
        right = [grader.grade(p, f" ({letter})").utility for letter in ascii_uppercase[: len(choices)]]
        assert right == [float(i == place) for i in range(4)]
        assert all(f"({letter}) " in p.question for letter in "ABCD")
        places.append(place)
    assert min(places.count(i) for i in range(4)) > 80
    for question, answer in loaded.prompts[0].shots:
        assert re.search(rf"^{re.escape(answer)} .+", question, re.MULTILINE)


def test_gpqa_shuffles_its_options_by_their_text(tmp_path):
    columns = ["Question", "Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3"]
    with (tmp_path / "gpqa_diamond.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(
            [f"Question {i}, hard?", f"right {i}", *(f"wrong {i} {j}" for j in range(3))] for i in range(99)
        )
        writer.writerow(["Alike?", "Blue", "blue.", "red", "pink"])
    (loaded,) = load_suite("science", tasks=["gpqa-diamond"], data_dir=tmp_path).tasks
    grader, places = loaded.grader(), []
    for p in loaded.prompts:
        number = re.search(r"\d+", p.question)[0]
        assert p.reference == (f"right {number}",)
        place = p.metadata["choices"].index(f"right {number}")
        assert f"\n({ascii_uppercase[place]}) right {number}" in p.question
        assert grader.grade(p, f"({ascii_uppercase[place]})").utility == 1
        places.append(place)
    assert min(places.count(i) for i in range(4)) > 5
    assert not any("Alike?" in p.question for p in loaded.prompts)


# suites made of suites


def test_a_suite_takes_in_another_or_one_task_of_it_each_once(tmp_path):
    suite_file(tmp_path, "a", own("x", "a"), own("y", "a"))
    path = suite_file(
        tmp_path / "deeper", "b", "../a.yaml/y", own("z", "b"), "../a.yaml", "starter/sums", "starter/sums"
    )
    loaded = load_suite(path, limit=3)
    assert [one.name for one in loaded.tasks] == ["y", "z", "x", "sums"]
    assert [one.suite for one in loaded.tasks] == ["a", "b", "a", "starter"]
    # Relative files are found beside the YAML that names them.
    assert [one.prompts[0].question[:2] for one in loaded.tasks[:3]] == ["Qa", "Qb", "Qa"]
    (there,) = load_suite("starter", tasks=["sums"]).tasks
    assert loaded.tasks[3].digest == there.digest


def test_the_digest_of_a_suite_covers_the_tasks_it_takes_in(tmp_path):
    suite_file(tmp_path, "a", own("x", "a"))
    path = suite_file(tmp_path, "b", "a.yaml")
    before = load_suite(path).digest
    suite_file(tmp_path, "a", own("x", "a", title="Other"))
    assert load_suite(path).digest != before


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("strter", "'strter' refers to an unknown suite 'strter'; did you mean 'starter'?"),
        ("strter/sums", "unknown suite 'strter'; did you mean 'starter'?"),
        ("starter/sum", "'starter/sum' refers to an unknown task 'sum'; did you mean 'sums'?"),
        ("none.yaml", "none.yaml: cannot be read"),
        ("a.yaml/q", "unknown task 'q'"),
        ("b.yaml", "come back to where they started (b.yaml -> b.yaml)"),
        ("c.yaml/z", "(b.yaml -> c.yaml -> b.yaml); drop one"),
        (3, "Input should be a valid dictionary"),
        ("", "field '': String should have at least 1 character"),
    ],
)
def test_a_reference_that_leads_nowhere_is_told_in_one_line(tmp_path, entry, says):
    suite_file(tmp_path, "a", own("x", "a"))
    suite_file(tmp_path, "c", own("z", "c"), "b.yaml")
    message = refused(suite_file(tmp_path, "b", own("y", "b"), entry))
    assert says in message
    assert str(tmp_path) in message


def test_two_tasks_of_one_name_are_refused(tmp_path):
    suite_file(tmp_path, "a", own("x", "a"))
    message = refused(suite_file(tmp_path, "b", own("x", "b"), "a.yaml"))
    assert "two different tasks are named 'x', in " in message
    assert "a.yaml" in message
    assert "b.yaml" in message


def test_some_tasks_of_a_suite():
    some = load_suite("starter", tasks=("sums", "capitals"))
    assert [one.name for one in some.tasks] == ["capitals", "sums"]
    assert some.digest != load_suite("starter").digest
    with pytest.raises(UserError, match="suite 'starter' has no task 'sum'; did you mean 'sums'"):
        load_suite("starter", tasks=["sum"])
    with pytest.raises(UserError, match="no task is asked for; there are: capitals"):
        load_suite("starter", tasks=[])


# data that cannot be had


@pytest.fixture
def no_hub(monkeypatch):
    """A machine without a network; counts how often the hub is asked."""
    import datasets
    import huggingface_hub

    asked = []

    class Session:
        def head(self, *args, **kwargs):
            asked.append("hub")
            raise OSError("no route to host")

    def load_dataset(*args, **kwargs):
        assert datasets.config.HF_HUB_OFFLINE
        raise ConnectionError("Couldn't reach it")

    monkeypatch.setattr(huggingface_hub, "get_session", Session)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.delenv("GAPBENCH_DATA", raising=False)
    sources._hub_answers.cache_clear()
    yield asked
    sources._hub_answers.cache_clear()


def test_tasks_without_their_data_are_left_out_on_request(no_hub, tmp_path):
    import datasets

    offline = datasets.config.HF_HUB_OFFLINE
    loaded = load_suite("math", skip_missing=True)
    assert [name for name, _ in loaded.skipped] == ["gsm8k", "math500"]
    assert all("--data" in reason and "does not answer" in reason for _, reason in loaded.skipped)
    assert {one.domain for one in loaded.tasks} == {"arithmetic", "algebra"}
    assert no_hub == ["hub"]  # once for every dataset of the process
    assert datasets.config.HF_HUB_OFFLINE is offline
    row = {"question": "One and one?", "answer": "It is 1 + 1 = 2. #### 2"}
    (tmp_path / "gsm8k_test.jsonl").write_text(json.dumps(row))
    local = load_suite("math", skip_missing=True, data_dir=tmp_path)
    assert [name for name, _ in local.skipped] == ["math500"]
    assert load_suite("starter", skip_missing=True).skipped == ()
    with pytest.raises(UserError, match="suite 'math': no task is left; dataset openai/gsm8k"):
        load_suite("math", tasks=["gsm8k"], skip_missing=True)
    with pytest.raises(UserError, match="task 'gsm8k': dataset openai/gsm8k could not be had"):
        print(load_suite("math").tasks[0].prompts)


def test_a_file_at_fault_is_never_left_out(no_hub, tmp_path):
    (tmp_path / "gsm8k_test.jsonl").write_text("{torn")
    with pytest.raises(UserError, match="line 1: not JSON"):
        load_suite("math", skip_missing=True, data_dir=tmp_path)


def test_the_hubs_rows_are_chosen_by_where(monkeypatch, tmp_path):
    import datasets

    rows = [{"n": i, "kind": "abc"[i % 3], "answer": f"a{i}"} for i in range(60)]
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: rows)
    source = {"datasets": "who/what", "split": "test", "where": {"kind": ["a", "b"]}}

    def spoken(where):
        return suite_file(tmp_path, "w", task(source={**source, "where": where}))

    assert HubSource(**source).rows(tmp_path) == [row for row in rows if row["kind"] != "c"]
    assert "no row has the field 'knd' of source.where; did you mean 'kind'?" in refused(
        spoken({"knd": ["a"]})
    )
    assert "no row's 'kind' is one of ['z']" in refused(spoken({"kind": ["z"]}))
    monkeypatch.setattr(datasets, "load_dataset", _gone)
    with pytest.raises(NotAvailable):
        HubSource(**source).rows(tmp_path)


def _gone(*args, **kwargs):
    raise ConnectionError("gone")


# questions that repeat


def test_a_question_that_a_file_answers_in_two_ways_is_an_error_with_both_rows(tmp_path):
    rows = [{"n": 1, "answer": "a"}, {"n": 2, "answer": "b"}, {"n": 1, "answer": "c"}]
    message = refused(suite_file(tmp_path, "a", own("x", "a"), rows=rows))
    assert "row 1 and row 3 ask the same ('Q1?') and answer 'a' and 'c'; drop one" in message


def test_the_hubs_conflicts_are_left_out(monkeypatch, tmp_path):
    import datasets

    rows = [{"n": i % 30, "answer": f"a{i % 30 + 5 * (i == 31)}"} for i in range(60)]
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: rows)
    source = {"datasets": "who/what", "split": "test"}
    path = suite_file(tmp_path, "a", task(source=source))
    asked = {p.question for split in ("measure", "calibrate") for p in only(path, split=split).prompts}
    assert asked == {f"Q{i}?" for i in range(30)} - {"Q1?"}


def test_a_generator_may_answer_in_two_ways_only_where_any_right_answer_counts(tmp_path):
    vague = task(source=SUMS, question="A sum of {num_terms} numbers?", grader="numeric")
    message = refused(suite_file(tmp_path, "a", vague), limit=8)
    assert "comes with the answers" in message
    assert "say more in 'question', or use grader 'procedural'" in message
    numbers = {
        "min_numbers": 2,
        "max_numbers": 2,
        "min_value": 1,
        "max_value": 3,
        "min_target": 1,
        "max_target": 6,
    }
    puzzle = task(
        source={"procedural": "countdown", "config": numbers},
        question="{numbers} to {target}",
        grader="procedural",
    )
    assert only(suite_file(tmp_path, "b", puzzle)).prompts


def test_options_that_read_alike_are_an_error(tmp_path):
    rows = [{"n": 1, "answer": 0, "options": ["Blue", "blue."]}]
    path = suite_file(tmp_path, "a", own("x", "a", choices="options", grader="choice"), rows=rows)
    assert "row 1: two of the choices ['Blue', 'blue.'] read alike; reword one" in refused(path)


# fields of a task


def test_fields_for_graders_tools_and_judges_reach_the_prompt(tmp_path):
    rows = [
        {"n": i, "answer": "a", "tests": {"f": [i, 2.5]}, "good": ["is short", f"says {i}"]} for i in range(9)
    ]
    path = suite_file(tmp_path, "a", own("x", "a", keep=["tests"], tool="tests", rubric="good"), rows=rows)
    for p in only(path).prompts:
        number = int(p.question[1:-1])
        assert p.metadata["tests"] == {"f": [number, 2.5]}
        assert p.metadata["tool"] == "tests"
        assert p.metadata["rubric"] == ["is short", f"says {number}"]
        assert Prompt.from_record(p.to_record()) == p
    fixed = suite_file(tmp_path, "a", own("x", "a", rubric=["is {short}"]), rows=rows)
    assert only(fixed).prompts[0].metadata["rubric"] == ["is {short}"]
    assert not {"tool", "rubric"} & set(only(suite_file(tmp_path, "b", own("x", "b"))).prompts[0].metadata)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"keep": ["m"]}, "row 1: there is no field 'm' to keep"),
        ({"keep": ["style"]}, "cannot hold 'style', a name that prompts use; rename the field"),
        ({"tool": "hammer"}, "field 'tool'"),
        ({"rubric": "m"}, "there is no field 'm'"),
        ({"choices": ["answer", "m"], "grader": "choice"}, "no row has the field 'm'"),
    ],
)
def test_fields_that_are_wrong_are_told_in_one_line(tmp_path, fields, says):
    assert says in refused(suite_file(tmp_path, "a", own("x", "a", **fields)))


def test_what_a_task_does_not_use_does_not_touch_its_digest(tmp_path):
    (loaded,) = load_suite(suite_file(tmp_path, "a", own("x", "a"))).tasks
    said = json.loads(loaded.spec.model_dump_json())
    assert not {"keep", "tool", "rubric"} & set(said)
    used = only(suite_file(tmp_path, "a", own("x", "a", tool="tests")))
    assert json.loads(used.spec.model_dump_json())["tool"] == "tests"
    assert used.digest != loaded.digest
    hub = HubSource(datasets="a/b", split="test")
    assert "where" not in hub.model_dump()


def test_rows_may_stand_in_the_suite_itself(tmp_path):
    rows = [{"n": i, "answer": f"a{i}"} for i in range(30)]
    inline = only(suite_file(tmp_path, "a", task(source={"rows": rows})))
    filed = only(suite_file(tmp_path, "b", own("t", "b"), rows=rows))
    assert inline.prompts == filed.prompts
    assert inline.describe()["source"] == {"rows": 30}
    other = only(suite_file(tmp_path, "a", task(source={"rows": rows[:-1]})))
    assert other.digest != inline.digest
    assert "field 'source.rows'" in refused(suite_file(tmp_path, "a", task(source={"rows": []})))


# a suite from a package


def install(folder, name, target, monkeypatch):
    """What `pip install` leaves of a package with an entry point."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[gapbench.tasks]\n{name} = {target}\n")
    monkeypatch.syspath_prepend(str(folder))


def test_a_python_function_may_return_what_the_yaml_would_say(tmp_path, monkeypatch):
    spec = {
        "name": "made",
        "title": "Made",
        "tasks": [task(source={"rows": [{"n": i, "answer": "a"} for i in range(9)]})],
    }
    (tmp_path / "gapbench_made.py").write_text(
        f"SAID = {spec!r}\ndef suite(): return SAID\ndef wrong(): return 3\n"
    )
    install(tmp_path, "made", "gapbench_made:suite", monkeypatch)
    loaded = load_suite("made", limit=2)
    assert len(loaded.tasks[0].prompts) == 2
    assert loaded.digest == load_suite("made").digest
    assert ("made", "t") in [(suite, one.name) for suite, one in list_tasks()]
    assert load_suite(suite_file(tmp_path, "b", "made/t")).tasks[0].digest == loaded.tasks[0].digest
    (tmp_path / "made-1.0.dist-info" / "entry_points.txt").write_text(
        "[gapbench.tasks]\nmade = gapbench_made:wrong\n"
    )
    assert "gapbench_made.py:wrong: is empty or no mapping" in refused("made")
