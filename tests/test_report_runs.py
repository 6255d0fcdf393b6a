"""`gapbench report` on runs from beginning to end: one, several, with and without a forecast."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from gapbench.comparing.compare import compare, run_labels
from gapbench.projection.forecast import FOLDER, write_forecast
from gapbench.projection.project import project_run
from gapbench.report.page.cells import minus
from gapbench.report.page.content import domain_name
from gapbench.report.page.outlook import outlook_of, overall_table, projection_table
from gapbench.report.page.paired import comparison
from gapbench.report.page.together import short_labels, together
from gapbench.report.publish import publish, publish_report
from gapbench.run import Run, RunConfig, execute
from gapbench.trajectory.scored import counted, score_forecasts
from tests.conftest import Cli, document
from tests.test_report import Page, check_inert

TASKS = ("sums", "capitals")


def simulated(folder: Path, name: str, seed: int) -> Run:
    config = RunConfig(
        suite="starter",
        model=name,
        engine="simulated",
        tasks=TASKS,
        n=8,
        limit=24,
        seed=seed,
        verifiers=("yesno", "majority"),
    )
    return execute(config, folder / name)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    folder = tmp_path_factory.mktemp("runs")
    return [simulated(folder, name, seed) for seed, name in enumerate(("small", "large"))]


def test_several_runs_on_one_page(runs: list[Run], tmp_path: Path) -> None:
    told: list[str] = []
    path = publish_report(runs, tmp_path / "deep" / "both.html", tell=told.append)
    page = Page(path.read_text(encoding="utf-8"))
    check_inert(page)
    assert len(told) == 3
    assert "How much could the models of 2 runs gain" in page.text
    assert "Simulated: " in page.section("headline")
    ids = [attrs["id"] for _, attrs in page.elements if attrs.get("id", "").startswith("figure-")]  # type: ignore[union-attr]
    assert len(ids) == 2 * 7, "four figures of what was measured and three of the projection, for each run"
    assert "A law takes three models" in page.section("absent")
    assert "--trajectory" in page.section("absent")
    assert page.section("projection").count("Projected for this page and not kept") == 2
    assert page.section("examples").count("Verdicts as they were written") > 4
    assert not (runs[0].store.path / FOLDER).exists(), "a page keeps no forecast"


def test_the_comparison_holds_the_numbers_of_compare(runs: list[Run]) -> None:
    found = compare(runs)
    labels = run_labels(runs)
    (table,) = comparison(runs, dict(zip(labels, labels, strict=True))).tables
    assert len(table.rows) == len(found)
    small, large = ("simulated:small", "simulated:large")
    assert table.headings[2:5] == (f"Gap of {small}", f"Gap of {large}", f"Difference, {small} − {large}")
    cells = {(row[0].text, row[1].text): row for row in table.rows}
    for row in found:
        own = cells[domain_name(row.domain), row.verifier]
        assert own[4].order == pytest.approx(row.difference)
        assert (own[4].strip is None) == (own[4].text == "not estimable")
        assert own[7].text == row.verdict.replace("_", " ")
    names = [row[0].text for row in table.rows]
    assert names == sorted(names, key=names.index), "a domain's rows stand together"
    assert names[-1] == "all domains"
    alone = together(runs[:1], trajectory=False)
    assert alone.comparison.why_not
    assert not alone.comparison.tables


def test_checkpoints_are_judged_where_that_is_asked_for(runs: list[Run]) -> None:
    part = together(runs, trajectory=True).trajectory
    assert {"decomposition", "pass_crossing", "checkpoints"} <= {
        one.id.removeprefix("together-") for one in part.figures
    }
    outcomes = part.tables[0]
    assert {row[0].text for row in outcomes.rows} == {"arithmetic", "factual"}
    assert all(row[2].interval for row in outcomes.rows), "a gain has its interval"
    verdicts = {row[1].text.partition("@")[0] for row in outcomes.rows}
    said = " ".join(text for _, text in part.said)
    assert all(f"{verdict}: " in said for verdict in verdicts), "every verdict on the page is explained"
    ((_, guards),) = part.folded
    failed = {(row[0].text, row[1].text) for row in guards.rows if row[2].text.startswith("FAILS")}
    assert all(f"{domain}: Guard, {name}: FAILS" in said for domain, name in failed), (
        "not only in what is folded"
    )


def test_kept_forecasts_are_a_table(tmp_path: Path, runs: list[Run]) -> None:
    base = Run(shutil.copytree(runs[0].store.path, tmp_path / "base"))
    write_forecast(base, project_run(base, filter="best@2"), "loop")
    tuned = simulated(tmp_path, "tuned", 0)
    told = tuned.store.path / "manifest.json"  # begun well after the forecast was made
    told.write_text(json.dumps({**json.loads(told.read_text()), "created": "2999-01-01T00:00:00+00:00"}))
    tuned = Run(tuned.store.path)
    part = together([base, tuned], trajectory=True).trajectory
    (scores, _) = score_forecasts([base, tuned])
    assert scores
    title, table = part.folded[-1]
    assert title.startswith(f"Each of {len(scores)} forecasts")
    assert len(table.rows) == len(scores)
    assert [row[6].order for row in table.rows] == pytest.approx([one.error for one in scores])
    kept = counted(scores)
    origins = part.tables[1]
    for row in origins.rows:
        own = [one for one in kept if one.verifier == row[0].text]
        assert row[2].order == len(own)
        assert row[3].order == pytest.approx(sum(abs(one.error) for one in own) / len(own))
    assert not [text for _, text in part.said if "forecast loop from" in text], "no sentence for each"


class Named(Run):
    """A run of which nothing but its name counts."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def model(self) -> str:
        return self._name


def test_a_run_is_called_by_what_tells_it_from_the_others() -> None:
    loop = [Named("org/base"), *(Named(f"/somewhere/loop/round-{place}/model") for place in (1, 2))]
    assert short_labels(loop) == ["base", "round-1/model", "round-2/model"]
    assert short_labels([Named("a/x"), Named("b/x")]) == ["a/x", "b/x"]
    assert short_labels([Named("org/one")]) == ["one"]


def test_scaling_of_six_runs_on_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [
        {
            "id": f"simulated:{family}-{size}",
            "family": family,
            "kind": "base",
            "parameters": size,
            "tokens": "1T",
        }
        for family in ("Alder", "Birch")
        for size in ("100M", "1B", "10B")
    ]
    (tmp_path / "models.yaml").write_text(yaml.safe_dump({"models": entries}))
    monkeypatch.setenv("GAPBENCH_MODELS", str(tmp_path / "models.yaml"))
    runs = [simulated(tmp_path, str(one["id"]).partition(":")[2], 0) for one in entries]
    part = together(runs, trajectory=False).scaling
    assert not part.why_not
    assert part.lead == "Of the relative gap by yesno, best@4."
    (slopes,) = part.tables
    assert {row[1].text for row in slopes.rows} <= {"Alder base", "Birch base", "pooled"}, (
        "no names of methods"
    )
    assert {row[0].text for row in slopes.rows} == {"arithmetic", "factual", "mean of domains"}
    said = [text for _, text in part.said]
    assert sum("nothing can be said of other families" in text for text in said) == 1
    assert len(set(said)) == len(said) < 10
    assert {title for title, _ in part.folded} >= {
        "Differences of slopes between domains",
        "Control: the absolute gap",
    }


def test_the_newest_forecast_is_shown_and_a_touched_one_is_not(runs: list[Run], tmp_path: Path) -> None:
    copy = Run(shutil.copytree(runs[0].store.path, tmp_path / "run"))
    assert "Projected for this page and not kept" in outlook_of(copy).source
    found = project_run(copy, filter="best@2")
    write_forecast(copy, found, "first")
    newest = write_forecast(copy, found, "second")
    outlook = outlook_of(copy)
    assert "“second”" in outlook.source
    assert "The newest of 2" in outlook.source
    said = outlook.long()
    by_kind = {kind: " ".join(text for own, text in said if own == kind) for kind, _ in said}
    assert "The gain of rounds of best@2 up to the horizon" in by_kind["projection"]
    assert "Past the horizon nothing is known" in by_kind["scenario"]
    assert len(set(said)) == len(said), "nothing is said twice"
    table = projection_table(outlook, "t")
    assert sum("(projection)" in one for one in table.headings) == 1
    assert sum("(scenario)" in one for one in table.headings) == 2
    assert len(table.rows) == len(found.rows)
    row = found.row("all", "yesno")
    assert row is not None
    cells = next(
        own for own in table.rows if (own[0].text, own[1].text.rstrip("*")) == ("all domains", "yesno")
    )
    assert minus(f"{row.reserve_coverage.value:+.3f}") in [one.text for one in cells]
    shown = overall_table([("one", outlook), ("two", outlook)])
    assert [own[2:] for own in shown.rows if own[0].text == "two" and own[1].text == "yesno"] == [cells[2:]]

    publish(copy)
    page = Page((copy.store.path / "report.html").read_text(encoding="utf-8"))
    assert "“second”" in page.section("projection")
    assert "ahead" in page.section("headline")
    newest.write_text(newest.read_text().replace("best@2", "best@4", 1))
    publish(copy)
    page = Page((copy.store.path / "report.html").read_text(encoding="utf-8"))
    assert "changed after it was made" in page.section("projection")
    assert "not projected" in page.section("headline")


def test_the_command_and_its_mistakes(runs: list[Run], cli: Cli, tmp_path: Path) -> None:
    own = shutil.copytree(runs[0].store.path, tmp_path / "own")
    done = cli("report", own, "--json")
    told = document(done)
    assert told["report"] == str(own / "report.html")
    assert [run["path"] for run in told["runs"]] == [str(own)]
    assert "report  " in done.stderr
    for words, wrong in (
        ((own, "--trajectory"), "one run is no trajectory"),
        ((own, "--out", tmp_path), "is a folder; name an HTML file"),
        ((tmp_path / "nothing",), "no run here"),
    ):
        refused = cli("report", *words)
        assert refused.returncode == 2
        assert wrong in refused.stderr
        assert refused.stderr.count("\n") <= 2
        assert not refused.stdout
    assert json.loads((own / "manifest.json").read_text())["config"]["model"] == "small"
