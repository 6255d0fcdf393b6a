"""`gapbench report` on runs from beginning to end: one, several, with and without a forecast."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from gapbench.comparing.compare import compare
from gapbench.projection.forecast import FOLDER, write_forecast
from gapbench.projection.project import project_run
from gapbench.report.content import domain_name
from gapbench.report.outlook import outlook_of, projection_table
from gapbench.report.publish import publish, publish_report
from gapbench.report.together import comparison, together
from gapbench.run import Run, RunConfig, execute
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
    assert "a law takes three models" in page.section("scaling")
    assert "--trajectory" in page.section("training")
    assert page.section("projection").count("Projected for this page and not kept") == 2
    assert page.section("examples").count("Verdicts as they were written") > 4
    assert not (runs[0].store.path / FOLDER).exists(), "a page keeps no forecast"


def test_the_comparison_holds_the_numbers_of_compare(runs: list[Run]) -> None:
    found = compare(runs)
    (table,) = comparison(runs).tables
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
    kinds = {kind for kind, _ in part.said}
    assert {"measurement", "projection"} <= kinds


def test_the_newest_forecast_is_shown_and_a_touched_one_is_not(runs: list[Run], tmp_path: Path) -> None:
    copy = Run(shutil.copytree(runs[0].store.path, tmp_path / "run"))
    assert outlook_of(copy, compute=False) is None
    found = project_run(copy, filter="best@2")
    write_forecast(copy, found, "first")
    newest = write_forecast(copy, found, "second")
    outlook = outlook_of(copy, compute=True)
    assert outlook is not None
    assert "“second”" in outlook.source
    assert "The newest of 2" in outlook.source
    said = outlook.long()
    assert [kind for kind, _ in said if kind] == sorted(
        (kind for kind, _ in said if kind), key=lambda kind: kind == ""
    )
    by_kind = {kind: " ".join(text for own, text in said if own == kind) for kind, _ in said}
    assert "gain" in by_kind["projection"]
    assert "would end at accuracy" in by_kind["scenario"]
    row = found.row("all", "yesno")
    assert row is not None
    assert f"{row.reserve_coverage.value:+.3f}" in by_kind["measurement"]
    table = projection_table(outlook, "t")
    assert sum("(measurement)" in one for one in table.headings) == 5
    assert sum("(projection)" in one for one in table.headings) == 1
    assert sum("(scenario)" in one for one in table.headings) == 2
    assert len(table.rows) == len(found.rows)

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
