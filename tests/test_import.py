"""Tables as runs: what comes out is what was put in, and a table that is wrong is told where and how to mend it."""

from __future__ import annotations

import gzip
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from gapbench.errors import UserError
from gapbench.estimate.table import estimate_panels
from gapbench.interop.table import Imported, import_table
from gapbench.panel import Panel, Scores, VerdictCounts
from gapbench.records import Grade, Prompt, Response, Verdict
from gapbench.run import Run
from gapbench.store import RunStore
from gapbench.synthetic import SCENARIOS, draw
from tests.conftest import Cli, document

P, N, M = 30, 8, 8
DATA = draw(SCENARIOS["mid"], P, N, seed=5)
LAST = P * N - 1


def responses() -> pd.DataFrame:
    prompt, index = np.divmod(np.arange(P * N), N)
    return pd.DataFrame(
        {
            "domain": "made", "task": "sums", "prompt_id": [f"p{i}" for i in prompt], "response": index,
            "utility": DATA.utility.ravel(), "answer": [f"a{code}" for code in DATA.answers.ravel()],
            "model": "m1",
        }
    )  # fmt: skip


def verdicts(name: str = "judge", score: Any = None) -> pd.DataFrame:
    cell, replicate = np.divmod(np.arange(P * N * M), M)
    return pd.DataFrame(
        {
            "task": "sums", "prompt_id": [f"p{i}" for i in cell // N], "response": cell % N, "verifier": name,
            "replicate": replicate, "score": DATA.verdicts.ravel().astype(float) if score is None else score,
        }
    )  # fmt: skip


def save(frame: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    return path


def imported(folder: Path, own: pd.DataFrame, judged: pd.DataFrame | None = None, **options: Any) -> Imported:
    files = [save(own, folder / "r.parquet")]
    if judged is not None:
        files.append(save(judged, folder / "v.parquet"))
    return import_table(*files, out=folder / "run", **options)


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_a_table_gives_what_its_arrays_give(tmp_path: Path, suffix: str) -> None:
    shuffled = verdicts().sample(frac=1, random_state=1)
    made = import_table(
        save(responses().sample(frac=1, random_state=0), tmp_path / f"r{suffix}"),
        save(shuffled, tmp_path / f"v{suffix}"),
        out=tmp_path / "run",
    )
    (panel,) = made.run.panels()
    order = [panel.prompt_ids.index(f"p{i}") for i in range(P)]
    assert (panel.utility[order] == DATA.utility).all()
    counts = panel.scores["judge"]
    assert isinstance(counts, VerdictCounts), "0/1 verdicts are kept as counts"
    assert (counts.yes[order] == DATA.counts).all()
    assert (counts.valid == M).all()
    assert not panel.censored.any()
    same = panel.answers[order][:, :, None] == panel.answers[order][:, None]
    assert (same == (DATA.answers[:, :, None] == DATA.answers[:, None])).all()

    direct = Panel(
        "sums", "made", panel.prompt_ids, np.arange(P), panel.utility, panel.censored, panel.answers,
        {"judge": Scores(DATA.verdicts.astype(float)[np.argsort(order)])},
    )  # fmt: skip
    wanted = estimate_panels([direct], model="m1", verdict_counts=True, over_optimisation=True)
    assert made.run.estimate().to_json() == wanted.to_json()


def test_the_run_reads_like_any_other(cli: Cli, tmp_path: Path) -> None:
    save(responses(), tmp_path / "r.csv")
    save(verdicts(), tmp_path / "v.csv")
    done = cli("import", "r.csv", "v.csv", "--from", "table", "--out", "run")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    found = document(cli("estimate", "run", "--json"))
    assert set(found) == {"run", "estimates"}
    assert {row["model"] for row in found["estimates"]} == {"m1"}
    accuracy = next(row for row in found["estimates"] if row["quantity"] == "accuracy" and not row["filter"])
    assert accuracy["value"] == pytest.approx(DATA.utility.mean())
    manifest = found["run"]
    assert manifest["imported"]["responses"]["rows"] == P * N
    assert len(manifest["imported"]["verdicts"]["sha256"]) == 64
    assert manifest["config"]["engine"] == manifest["engine"]["engine"] == "imported"
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
    for stage in ("sample", "grade", "verify"):
        refused = cli(stage, "run")
        assert refused.returncode == 2
        assert "imported from r.csv" in refused.stderr
    again = cli("import", "r.csv", "--out", "run")
    assert again.returncode == 2
    assert again.stderr == "gapbench: --out run: a run is already there; name another\n"


def test_rows_are_typed_rows(tmp_path: Path) -> None:
    run = imported(tmp_path, responses().assign(n_tokens=7, cluster="c"), verdicts()).run
    rows = run.store.rows(Response)
    assert len(rows) == len(run.store.rows(Grade)) == P * N
    assert {(row.n_tokens, row.finish_reason) for row in rows} == {(7, "stop")}
    assert {row.cluster for row in run.store.rows(Prompt)} == {"c"}
    verdict = run.store.rows(Verdict)[0]
    assert (verdict.verifier, verdict.status, verdict.text) == ("judge", "scored", "")
    assert set(run.panels()[0].clusters) == {0}


def test_what_a_status_counts_as(tmp_path: Path) -> None:
    own = responses().assign(status="scored").iloc[: 2 * N].copy()
    own.loc[0, ["status", "utility"]] = ["no_answer", 0.7]
    own.loc[1, ["status", "utility"]] = ["truncated", np.nan]
    own.loc[2, ["status", "utility"]] = ["error:out of memory", np.nan]
    own.loc[3, "status"] = None
    judged = verdicts().assign(status="scored").iloc[: 2 * N * M].copy()
    judged.loc[:M, "status"] = "unparsed"  # all of response 0, and one of response 1
    judged.loc[0, "score"] = np.nan
    made = imported(tmp_path, own, judged)
    (panel,) = made.run.panels()
    assert panel.utility[0, :2].tolist() == [0.0, 0.0]
    assert np.isnan(panel.utility[0, 2])
    assert panel.utility[0, 3] == DATA.utility[0, 3]
    assert panel.censored[0].tolist() == [False, True, True] + [False] * (N - 3)
    counts = panel.scores["judge"]
    assert isinstance(counts, VerdictCounts)
    assert counts.valid[0, :3].tolist() == [0, M - 1, M]
    assert np.isnan(counts.mean[0, 0])
    assert made.flags["utility_set_to_0"] == 1
    assert made.flags["score_dropped"] == M, "the ninth had none"
    assert made.statuses == {"no_answer": 1, "truncated": 1, "error": 1, "scored": 2 * N - 3}
    accuracy = made.run.estimate().where(quantity="accuracy", filter="", task="sums")[0]
    assert accuracy.n_responses == 2 * N - 1


def test_scores_on_a_scale_of_their_own_rank_and_nothing_more(tmp_path: Path) -> None:
    rating = np.round(1 + 9 * verdicts()["score"] * 0.7)
    both = pd.concat([verdicts(), verdicts("rating", rating), verdicts("graded", rating / 10)])
    made = imported(tmp_path, responses(), both, thresholds={"graded": 0.65})
    assert {name: (one.scale, one.threshold) for name, one in made.verifiers.items()} == {
        "judge": ("probability", 0.5), "rating": ("real", None), "graded": ("probability", 0.65),
    }  # fmt: skip
    found = made.run.estimate()
    kept = {row.quantity: row for row in found.where(verifier="rating", domain="all")}
    assert {"gap", "auc_within", "auc_between", "oracle_share"} <= set(kept)
    filters = {row.filter for row in found.where(verifier="rating")}
    assert not filters & {"soft", "threshold"}
    assert {"soft", "threshold"} <= {row.filter for row in found.where(verifier="graded")}
    by_rank = [
        found.where(verifier=one, quantity="auc_within", task="sums")[0].value for one in ("judge", "rating")
    ]
    assert by_rank[0] == pytest.approx(by_rank[1]), "a monotone rescaling"
    given = import_table(
        tmp_path / "r.parquet", tmp_path / "v.parquet", out=tmp_path / "two", thresholds={"rating": 5}
    )
    rates = {
        one: given.run.estimate().where(verifier=one, quantity="tpr", task="sums")[0].value
        for one in ("rating", "judge")
    }
    assert 0 < rates["rating"] < 1


def test_equal_scores_stay_equal_in_whatever_order_they_came(tmp_path: Path) -> None:
    scores = np.array([[0.1, 0.2, 0.3], [0.3, 0.1, 0.2], [0.2, 0.3, 0.1]])
    assert len(set(scores.sum(axis=1))) > 1, "sums of floats depend on their order"
    assert len(set(Scores(scores[None]).mean[0])) == 1


def test_what_limits_a_table_is_counted(tmp_path: Path) -> None:
    own = responses()
    single = imported(tmp_path, own[own["response"] == 0])
    assert single.flags == {"one_response": P}
    assert single.run.manifest["imported"]["flags"] == single.flags
    assert any("one response" in line and str(P) in line for line in single.lines())
    row = single.run.estimate().where(quantity="accuracy", filter="", task="sums")[0]
    assert row.n_prompts == P

    (tmp_path / "two").mkdir()
    alike = imported(tmp_path / "two", own.assign(utility=1.0), verdicts())
    assert alike.flags == {"unanimous": P}
    gaps = alike.run.estimate().where(quantity="gap", verifier="judge", task="sums")
    assert gaps
    assert {gap.value for gap in gaps} == {0.0}
    assert all("degenerate" in gap.flags for gap in gaps)


Change = Callable[[pd.DataFrame], pd.DataFrame]


def put(column: str, row: int, value: Any) -> Change:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame.astype({column: object})
        frame.loc[row, column] = value
        return frame

    return change


BAD_RESPONSES: dict[str, tuple[Change, str]] = {
    "missing column": (lambda f: f.rename(columns={"utility": "utilty"}), r"no column 'utility'; did you mean 'utilty'"),
    "duplicate": (put("response", 5, 4), r"row 6\b.*\('sums', 'p0', 4\) is in row 5 already"),
    "utility too large": (put("utility", 7, 1.5), r"row 8\b.*'utility' is 1.5; it must lie in \[0, 1\]"),
    "utility negative": (put("utility", LAST, -0.1), rf"row {LAST + 1}\b.*must lie in \[0, 1\]"),
    "utility empty": (put("utility", 9, None), r"row 10\b.*'utility' is empty or NaN"),
    "utility NaN": (put("utility", 9, "NaN"), r"row 10\b.*'utility' is empty or NaN"),
    "word for a number": (put("utility", 11, "yes"), r"row 12\b.*'utility' holds numbers, and 'yes' is not one"),
    "half a response": (put("response", 3, 1.5), r"row 4\b.*'response' is 1.5; it must be a whole number"),
    "negative response": (put("response", 3, -1), r"row 4\b.*'response' is -1; it must be a whole number"),
    "huge response": (put("response", 3, 2_000_000_000), r"row 4\b.*'response' is 2000000000; number the responses"),
    "no prompt": (put("prompt_id", 12, ""), r"row 13\b.*'prompt_id' is empty"),
    "two domains": (put("domain", 20, "other"), r"row 21\b.*task 'sums' is of domain 'other' here and of 'made'"),
    "two models": (put("model", 20, "m2"), r"row 21\b.*model 'm2'.*a file for each model"),
    "status": (lambda f: put("status", 4, "trunctated")(f.assign(status="")), r"row 5\b.*did you mean 'truncated'"),
    "two clusters": (
        lambda f: put("cluster", 4, "b")(f.assign(cluster="a")),
        r"row 5\b.*prompt \('sums', 'p0'\) is of cluster 'b' here and of 'a'",
    ),
    "tokens": (lambda f: put("n_tokens", 4, -2)(f.assign(n_tokens=5)), r"row 5\b.*'n_tokens' is no whole number from 0"),
}  # fmt: skip
BAD_VERDICTS: dict[str, tuple[Change, str]] = {
    "missing column": (lambda f: f.drop(columns="replicate"), r"no column 'replicate'"),
    "NaN": (put("score", 6, "NaN"), r"row 7\b.*'score' is empty or NaN.*'unparsed'"),
    "infinite": (put("score", 6, "inf"), r"row 7\b.*'score' is infinite"),
    "word": (put("score", 6, "bad"), r"row 7\b.*'bad' is not one"),
    "replicate": (put("replicate", 2, -1), r"row 3\b.*'replicate' is -1; it must be a whole number"),
    "far replicate": (put("replicate", 2, 2_000_000_000), r"row 3\b.*'replicate' is 2000000000; number the verdicts"),
    "twice": (put("replicate", 2, 1), r"row 3\b.*verifier 'judge' has that replicate"),
    "no such response": (put("response", 2, N), rf"row 3\b.*has no response \('sums', 'p0', {N}\)"),
    "no such prompt": (put("prompt_id", 2, "q"), r"row 3\b.*has no response \('sums', 'q', 0\)"),
    "no such task": (put("task", 2, "t"), r"row 3\b.*has no response \('t', 'p0', 0\)"),
    "status": (lambda f: put("status", 4, "fine")(f.assign(status="")), r"row 5\b.*'fine' is no status"),
}  # fmt: skip


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("kind", ["responses", "verdicts"])
def test_a_bad_table_is_one_line_with_file_row_and_fix(tmp_path: Path, kind: str, suffix: str) -> None:
    bad = BAD_RESPONSES if kind == "responses" else BAD_VERDICTS
    for name, (change, told) in bad.items():
        frames = {"responses": responses(), "verdicts": verdicts()}
        frames[kind] = change(frames[kind])
        files = {}
        for table, frame in frames.items():
            # A Parquet column has one type: a cell of another makes it a column of words, as in CSV.
            columns = {
                column: frame[column].map(lambda cell: None if cell is None else str(cell))
                for column in frame.columns[[kind.kind == "O" for kind in frame.dtypes]]
            }
            files[table] = save(frame.assign(**columns), tmp_path / f"{table}.{suffix}")
        with pytest.raises(UserError) as mistake:
            import_table(files["responses"], files["verdicts"], out=tmp_path / "run")
        text = str(mistake.value)
        assert re.search(told, text), (name, text)
        assert str(files[kind]) in text, name
        assert "\n" not in text, name
        if suffix == "csv" and (found := re.match(r"row (\d+)", told)):
            row = int(found[1])
            assert f"row {row} (line {row + 1})" in text, name
        assert not (tmp_path / "run").exists(), name
        assert not list(tmp_path.glob("*.importing")), name


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


HEADER = b"domain,task,prompt_id,response,utility\n"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("r.csv", b"", "is empty; the first line must name the columns"),
        ("r.csv", HEADER, "has no rows"),
        ("r.csv", HEADER.replace(b",", b";") + b"d;t;p;0;1\n", "with ';' in it: save the table with commas"),
        ("r.csv", HEADER.replace(b",", b"\t") + b"d\tt\tp\t0\t1\n", "save the table with commas"),
        ("r.csv", HEADER + b"d,t,p,0,1\nd,t,p,1,0,5\n", "row 2 (line 3): has 6 columns where the header has 5"),
        ("r.csv", HEADER + b"d,t,p,0,1\nd,t,p\xff,1,0\n", "row 2 (line 3): is not UTF-8"),
        ("r.csv", HEADER + b'd,t,"p\nq",0,1\n\nd,t,p,1,no\n', "row 2 (line 5)"),
        ("r.csv.gz", gzip.compress(HEADER + b"d,t,p,0,1\nd,t,p,1,1.5\n", mtime=0), "row 2 (line 3)"),
        ("r.csv.gz", gzip.compress(HEADER + b"d,t,p,0,1\n" * 9, mtime=0)[:-12], "cut short"),
        ("r.csv", HEADER.replace(b"domain", b"utility") + b"0,t,p,0,1\n", "'domain'"),
        ("r.csv", b"domain,task,task,prompt_id,response,utility\nd,t,t,p,0,1\n", "'task' is there twice"),
        ("r.csv", HEADER + b'd,t,"p,0,1\nd,t,p,1,1\nd,t,p,2,1\n', "r.csv"),
        ("r.csv", HEADER.replace(b"\n", b",answer\n") + b'd,t,p,0,1,"a\nd,t,p,1,1,b\n', "opened and never closed"),
        ("r.parquet", b"PAR1 and then nothing", "not readable as Parquet"),
        ("r.parquet", b"", "not readable as Parquet"),
        ("r.xlsx", b"PK\x03\x04", "neither .csv, .csv.gz nor .parquet; save the table as one of them"),
        ("r.jsonl", b"{}", "neither .csv, .csv.gz nor .parquet; read a log with --from"),
        ("r.csv", gzip.compress(HEADER), "is packed with gzip; unpack it, or let its name end in .csv.gz"),
        ("r.csv", (HEADER + b"d,t,p,0,1\n").decode().encode("utf-16"), "is UTF-16 text; save the table as UTF-8"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_table_is_told(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(UserError) as mistake:
        import_table(path, out=tmp_path / "run")
    assert told in str(mistake.value)
    assert str(path) in str(mistake.value)
    assert "\n" not in str(mistake.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("column", "values", "told"),
    [
        ("task", pa.array([b"sums", b"\xff"]), "row 2: column 'task' holds bytes that are no UTF-8 text"),
        ("task", pa.array([["sums"], ["sums"]]), r"row 1: column 'task' holds list<.*>, not text; save it as text"),
        ("task", pa.array([True, False]), "row 1: column 'task' holds bool, not text"),
        ("utility", pa.array([{"a": 1}, {"a": 2}]), r"row 1: column 'utility' holds struct<.*>, not numbers"),
        ("utility", pa.array([b"1", b"\xff"]), "row 2: column 'utility' holds numbers, and .* is not one"),
        ("n_tokens", pa.array([1.0, 3e9]), "row 2: 'n_tokens' is no whole number from 0"),
        ("n_tokens", pa.array([1.0, math.inf]), "row 2: 'n_tokens' is no whole number from 0"),
        ("n_tokens", pa.array([1.5, 2.0]), "row 1: 'n_tokens' is no whole number from 0"),
        ("response", pa.array([0, 2**64 - 1], pa.uint64()), "row 2: 'response' is 1.84467e\\+19"),
    ],
)  # fmt: skip
def test_a_column_of_another_kind_is_told(tmp_path: Path, column: str, values: pa.Array, told: str) -> None:
    table = pa.Table.from_pandas(responses().assign(n_tokens=1).head(2), preserve_index=False)
    table = table.set_column(table.schema.get_field_index(column), column, values)
    pq.write_table(table, tmp_path / "r.parquet")
    with pytest.raises(UserError, match=f"r.parquet, {told}"):
        import_table(tmp_path / "r.parquet", out=tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["r.parquet"]


def test_a_torn_parquet_file_is_told(tmp_path: Path) -> None:
    path = save(responses(), tmp_path / "r.parquet")
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"PAR1" + b"\x00" * 200 + whole[204:]):
        write(path, content)
        with pytest.raises(UserError, match="not readable as Parquet"):
            import_table(path, out=tmp_path / "run")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("r.csv", "--out", "run", "--from", "xls"), "there are: table"),
        (("nowhere.csv", "--out", "run"), "nowhere.csv: no such file"),
        (("r.csv", "v.csv", "--out", "run", "--threshold", "judeg=1"), "did you mean 'judge'"),
        (("r.csv", "v.csv", "--out", "run", "--threshold", "judge"), "VERIFIER=SCORE"),
        (("r.csv", "v.csv", "--out", "run", "--threshold", "judge=nan"), "give a finite number"),
        (("r.csv", "--out", "run", "--threshold", "judge=1"), "there are no verdicts at all"),
        (("r.csv",), "--out"),
        (("bad.csv", "--out", "run"), "bad.csv, row 3 (line 4)"),
    ],
)
def test_a_mistake_on_the_command_line(cli: Cli, tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    save(responses(), tmp_path / "r.csv")
    save(verdicts(), tmp_path / "v.csv")
    save(put("utility", 2, 3)(responses()), tmp_path / "bad.csv")
    done = cli("import", *words)
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not (tmp_path / "run").exists()


def test_ids_and_numbers_of_other_types_are_read(tmp_path: Path) -> None:
    own = responses().assign(
        prompt_id=np.repeat(np.arange(P), N),
        utility=DATA.utility.ravel() == 1,
        response=lambda f: f["response"].astype(float),
    )
    judged = verdicts().assign(prompt_id=lambda f: f["prompt_id"].str[1:].astype("category"))
    found = {}
    for suffix in (".csv", ".parquet"):
        out = tmp_path / suffix[1:]
        files = save(own, tmp_path / f"r{suffix}"), save(judged, tmp_path / f"v{suffix}")
        (panel,) = import_table(*files, out=out).run.panels()
        assert (panel.utility == DATA.utility).all()
        found[suffix] = panel.scores["judge"].mean
    assert (found[".csv"] == DATA.counts / M).all()
    assert (found[".parquet"] == DATA.counts / M).all()


def test_two_tasks_of_different_size_and_depth_share_a_file(tmp_path: Path) -> None:
    own = pd.concat([responses(), responses().query("response < 5").assign(task="caps", domain="facts")])
    judged = pd.concat(
        [verdicts(), verdicts().query("response < 5 and replicate < 3").assign(task="caps")]
    ).sample(frac=1, random_state=2)
    panels = {panel.task: panel for panel in imported(tmp_path, own, judged).run.panels()}
    assert panels["caps"].utility.shape == (P, 5)
    assert panels["caps"].scores["judge"].replicates == 3
    order = [panels["caps"].prompt_ids.index(f"p{i}") for i in range(P)]
    assert (panels["caps"].utility[order] == DATA.utility[:, :5]).all()
    yes = panels["caps"].scores["judge"].mean[order] * 3
    assert np.allclose(yes, DATA.verdicts[:, :5, :3].sum(axis=2))
    assert panels["sums"].scores["judge"].replicates == M


def test_a_key_that_stands_twice_in_a_run_is_found(tmp_path: Path) -> None:
    run = imported(tmp_path, responses(), verdicts()).run
    for table in ("responses", "grades", "verdicts"):
        folder = run.store.path / table
        rows = run.store.read(table).slice(3, 1)
        pq.write_table(rows, folder / "000002.parquet")
        key = "'sums', 'p0', 3" if table != "verdicts" else "'sums', 'p0', 0, 'judge', 3"
        with pytest.raises(UserError) as mistake:
            Run(run.store.path).panels()
        assert f"{folder}: the key ({key}) stands there twice" in str(mistake.value)
        (folder / "000002.parquet").unlink()


def test_a_few_rows_are_found_by_key(tmp_path: Path) -> None:
    store = imported(tmp_path, responses()).run.store
    keys = [("sums", "p3", 2), ("sums", "p7", 0), ("sums", "none", 0)]
    found = store.find("grades", keys, ["answer"])
    wanted = {key: f"a{DATA.answers[int(key[1][1:]), key[2]]}" for key in keys[:2]}
    assert {key: row["answer"] for key, row in found.items()} == wanted


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_one_bad_row_among_ten_million_is_named(tmp_path: Path, suffix: str) -> None:
    size, width, bad = 10_000_000, 1000, 9_876_543
    prompt, index = np.divmod(np.arange(size, dtype=np.int32), width)
    ids = pa.DictionaryArray.from_arrays(prompt, [f"p{i}" for i in range(size // width)])
    same = pa.DictionaryArray.from_arrays(np.zeros(size, np.int32), ["t"])
    utility = (index % 2).astype(float)
    utility[bad] = 1.5
    columns = {"domain": same, "task": same, "prompt_id": ids, "response": index, "utility": utility}
    path = tmp_path / f"r{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
    else:
        pa.csv.write_csv(
            pa.table({name: pa.array(column) for name, column in columns.items()}), path,
            pa.csv.WriteOptions(quoting_style="none"),
        )  # fmt: skip
    with pytest.raises(UserError) as mistake:
        import_table(path, out=tmp_path / "run")
    line = f" (line {bad + 2})" if suffix == ".csv" else ""
    assert str(mistake.value).startswith(f"{path}, row {bad + 1}{line}: 'utility' is 1.5")


def test_importing_needs_no_torch() -> None:
    probe = (
        "import sys; import gapbench.interop.table; "
        "sys.exit(bool({'torch', 'transformers', 'vllm', 'datasets', 'reasoning_gym'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", probe]).returncode == 0


def test_no_half_of_a_run_is_left_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="exists and is not a run"):
        imported(tmp_path, responses())
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"
    (tmp_path / "run" / "notes.txt").unlink()
    (tmp_path / "run.importing").mkdir()
    (tmp_path / "run.importing" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"run\.importing: is in the way; rename it, or name another --out"):
        imported(tmp_path, responses())
    assert (tmp_path / "run.importing" / "notes.txt").read_text() == "mine"
    shutil.rmtree(tmp_path / "run.importing")
    assert RunStore(imported(tmp_path, responses()).run.store.path).exists
