"""Projections of whole runs: agreement with the estimates, edge cases, forecasts kept in the run, figures."""

from __future__ import annotations

import io
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.console import Console

from gapbench.errors import UserError
from gapbench.estimate.table import estimate_panels
from gapbench.panel import Float, Panel, Scores, VerdictCounts, Verified
from gapbench.projection.forecast import forecasts_of, read_forecast, write_forecast
from gapbench.projection.project import project_panels, project_run
from gapbench.projection.results import DomainProjection, Projection, Value
from gapbench.report.projected import print_projection
from gapbench.report.projection import projection_figures
from gapbench.run import Run
from gapbench.synthetic import SCENARIOS, Scenario, draw, truth

MID = SCENARIOS["mid"]
DEMO = Path(__file__).parent.parent / "results" / "starter-demo"


def panel_of(
    scenario: Scenario = MID, prompts: int = 120, responses: int = 16, seed: int = 0, task: str = "synthetic"
) -> Panel:
    data = draw(scenario, prompts, responses, seed)
    counts = VerdictCounts(data.counts, np.full(data.counts.shape, scenario.M), scenario.M)
    scores = {"binary": counts, "probability": data.panel().scores["probability"]}
    return replace(data.panel(), task=task, domain=task, scores=scores)


def with_scores(panel: Panel, score: Float) -> Panel:
    return replace(panel, scores={"v": Scores(score[:, :, None])})


def only(projection: Projection, verifier: str) -> DomainProjection:
    row = projection.row("all", verifier)
    assert row is not None
    return row


def test_numbers_are_those_of_the_estimates() -> None:
    """Same resamples, same weights: accuracy, curve, n_star, its gap and the test agree to the last digit."""
    panels = [panel_of(seed=1, task="a"), panel_of(prompts=60, seed=2, task="b")]
    table = estimate_panels(panels, model="m", over_optimisation=True)
    for row in project_panels(panels, model="m"):
        own = table.where(domain=row.domain, task="", verifier=row.verifier)
        (base,) = table.where(domain=row.domain, task="", quantity="accuracy", filter="")
        (star,) = own.where(quantity="n_star")
        (gap,) = own.where(quantity="gap", filter="best@n_star")
        (test,) = own.where(quantity="over_optimisation")
        assert (row.accuracy.value, row.accuracy.low, row.accuracy.high) == (base.value, base.low, base.high)
        assert (row.reserve_measured.value, row.reserve_measured.low) == (gap.value, gap.low)
        assert (row.n_star, row.n_star_low, row.n_star_high) == (star.value, star.low, star.high)
        assert (row.over_optimisation.difference, row.over_optimisation.p) == (test.value, test.p)
        for point in row.curve:
            (best,) = own.where(quantity="accuracy", filter=f"best@{point.n}")
            assert (point.value, point.low, point.high) == (best.value, best.low, best.high)
        for place in row.coverage:
            if place.measured:
                (passed,) = table.where(domain=row.domain, task="", quantity="pass@k", n=place.k)
                assert (place.value, place.low) == (passed.value, passed.low)


def test_statements_say_what_they_are() -> None:
    row = only(project_panels([panel_of()], model="m", filter="best@4"), "probability")
    assert row.horizon_rounds == 2
    assert [(one.t, one.kind, one.identified) for one in row.rounds] == [
        (0, "measurement", True), (1, "projection", True), (2, "projection", True),
        (3, "scenario", False), (4, "scenario", False), (5, "scenario", False),
    ]  # fmt: skip
    assert {one.kind for one in row.coverage if one.measured} == {"measurement"}
    assert {one.kind for one in row.coverage if not one.measured} == {"projection"}
    assert {one.kind for one in row.moving_judge} == {"scenario"}
    past = row.rounds[3]
    assert math.isnan(past.fixed.value)
    assert past.held == pytest.approx(row.curve[-1].value)
    assert past.cap >= row.coverage[4].value
    assert row.rounds[2].fixed.value == pytest.approx(row.curve[-1].value)  # best@16 of 16


def test_truth_lies_within() -> None:
    data = [panel_of(prompts=400, responses=32, seed=5)]
    row = only(project_panels(data, model="m", filter="best@4", ks=[20, 1000]), "binary")
    expected = {
        "accuracy": truth(MID, "accuracy"),
        "reserve_coverage": truth(MID, "pass@k", n=32) - truth(MID, "accuracy"),
        "reserve_measured": truth(MID, "gap", "best@32"),
    }
    for name, true in expected.items():
        value: Value = getattr(row, name)
        assert value.low <= true <= value.high
    for one in row.rounds[:3]:
        assert one.fixed.low <= truth(MID, "accuracy", f"best@{4**one.t}") <= one.fixed.high
        assert one.fresh is not None
        assert one.fresh.value >= one.fixed.value - 1e-9
    assert [one.k for one in row.coverage] == [1, 2, 4, 8, 16, 20, 32, 1000]
    assert row.coverage[5].low <= truth(MID, "pass@k", n=20) <= row.coverage[5].high
    p = draw(MID, 200_000, 1, 0).prompts.p
    for signal in row.signal:
        assert signal.low <= np.mean(1 - p**signal.g - (1 - p) ** signal.g) <= signal.high
    assert row.corner is not None
    assert row.corner.floor == pytest.approx(3 / 32)


def test_a_hacked_verifier_raises_over_optimisation() -> None:
    hacked = replace(MID, h=0.05, M=16)
    honest, fooled = (
        only(project_panels([panel_of(one, 200, 32, 3)], model="m"), "binary")
        for one in (replace(MID, M=16), hacked)
    )
    assert honest.over_optimisation.p > 0.5
    assert fooled.over_optimisation.p < 0.01
    assert fooled.over_optimisation.low > 0
    assert fooled.n_star is not None
    assert fooled.n_star < 32
    assert fooled.corner is not None
    assert honest.corner is not None
    assert fooled.corner.share.value < honest.corner.share.value - 0.2


def test_top_corner_by_hand() -> None:
    """The top 1/N of all scores are as many responses as prompts; those tied at the edge share what is left."""
    rng = np.random.default_rng(0)
    panel = panel_of(prompts=30, responses=8)
    score = rng.integers(0, 4, size=panel.utility.shape).astype(float) / 3
    row = only(project_panels([with_scores(panel, score)], model="m"), "v")
    flat, right = score.ravel(), panel.utility.ravel()
    edge = np.sort(flat)[-30]
    above, tied = flat > edge, flat == edge
    left = (30 - above.sum()) / tied.sum()
    assert row.corner is not None
    assert row.corner.share.value == pytest.approx((right[above].sum() + left * right[tied].sum()) / 30)


def test_moving_judge_of_a_run() -> None:
    row = only(project_panels([panel_of(prompts=300, responses=32)], model="m"), "probability")
    frozen, quarter, half = (one.plateau for one in row.moving_judge)
    end, start = row.curve[-1].value, row.accuracy.value
    assert frozen == pytest.approx(end)
    assert quarter == pytest.approx(start + (end - start) / 0.75)
    assert half == pytest.approx(min(start + (end - start) / 0.5, row.coverage[5].value))
    for one in row.moving_judge:
        assert one.low < one.plateau < one.high
    some = only(
        project_panels([panel_of(prompts=300, responses=32)], model="m", residual=0.02), "probability"
    )
    assert some.moving_judge[1].plateau < quarter - 0.02


@pytest.mark.parametrize("label", ["best@2", "best@40", "top 0.5", "soft"])
def test_every_filter_is_projected(label: str) -> None:
    found = project_panels(
        [panel_of(seed=1, task="a"), panel_of(prompts=40, responses=32, seed=2, task="b")],
        model="m",
        filter=label,
    )
    for row in found:
        assert row.horizon_rounds is not None
        assert row.rounds[0].fixed.value == pytest.approx(row.accuracy.value)
        assert (row.horizon_rounds == 0) == (label == "best@40")
        assert len(row.rounds) >= 6
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["filter"] == label
    assert len(found.to_frame()) == 6


def _unlike(panel: Panel) -> Panel:
    """Prompts with 1, 2, ..., N responses, and one with none."""
    utility = panel.utility.copy()
    for row in range(len(utility)):
        utility[row, row % (utility.shape[1] + 1) :] = np.nan
    return replace(panel, utility=utility)


def _of(change: Callable[[Panel], Panel]) -> Panel:
    return change(panel_of(prompts=30, responses=8))


EDGES: dict[str, Callable[[Panel], Panel]] = {
    "one response": lambda p: replace(panel_of(prompts=30, responses=1)),
    "two responses": lambda p: replace(panel_of(prompts=30, responses=2)),
    "one prompt": lambda p: panel_of(prompts=1, responses=8),
    "two prompts": lambda p: panel_of(prompts=2, responses=8),
    "all right": lambda p: replace(p, utility=np.ones_like(p.utility)),
    "all wrong": lambda p: replace(p, utility=np.zeros_like(p.utility)),
    "one right": lambda p: replace(p, utility=np.eye(*p.utility.shape) * (np.arange(30) == 0)[:, None]),
    "constant scores": lambda p: with_scores(p, np.full(p.utility.shape, 0.5)),
    "zero scores": lambda p: with_scores(p, np.zeros(p.utility.shape)),
    "no verdicts": lambda p: with_scores(p, np.full(p.utility.shape, np.nan)),
    "some verdicts": lambda p: with_scores(p, np.where(np.arange(8) % 3 == 0, np.nan, p.utility)),
    "no verifier": lambda p: replace(p, scores={}),
    "lost responses": lambda p: replace(p, utility=np.where(np.arange(8) > 4, np.nan, p.utility)),
    "uneven": _unlike,
    "one cluster": lambda p: replace(p, clusters=np.zeros(30, dtype=np.int64)),
    "partial credit": lambda p: replace(p, utility=p.utility * 0.5 + 0.1),
    "pool": lambda p: replace(p, scores={"v": Scores(p.utility[:, :, None] * 0.5, whole_pool=True)}),
    "logprob": lambda p: replace(p, scores={"v": Scores(-100 * (1 - p.utility[:, :, None]), "logprob", None)}),
    "real": lambda p: replace(p, scores={"v": Scores(p.utility[:, :, None] * 9, "real", None)}),
    "case-control": lambda p: replace(
        p, verified={"binary": Verified(np.arange(8) < 5 * np.ones((30, 1)), np.ones(30, dtype=bool), 2)}
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "label", ["best@2", *(pytest.param(one, marks=pytest.mark.slow) for one in ("top 0.5", "soft"))]
)
@pytest.mark.parametrize("case", EDGES)
@pytest.mark.filterwarnings("error")
def test_edge_cases_get_flags_and_no_senseless_number(case: str, label: str) -> None:
    found = project_panels([_of(EDGES[case])], model="m", filter=label, sampled=["v"])
    json.dumps(found.to_json(), allow_nan=False)
    assert len(found.rows) >= 2
    for row in found:
        said = [
            row.accuracy,
            row.reserve_measured,
            row.reserve_coverage,
            *row.curve,
            *row.coverage,
            *row.signal,
        ]
        said += [one.expected for one in row.rounds]
        for one in said:
            assert math.isnan(one.value) or -1 <= one.value <= 1
            assert math.isnan(one.low) or one.low <= one.value + 1e-9
            assert math.isnan(one.high) or one.value <= one.high + 1e-9
            if not math.isnan(one.value) and math.isnan(one.low):
                assert one.flags or len(row.flags) > 0
        assert all(0 <= one.plateau <= 1 for one in row.moving_judge)
        values = [one.value for one in row.coverage if not math.isnan(one.value)]
        if case != "uneven":
            assert (np.diff(values) >= -1e-12).all()


def test_edge_cases_say_why() -> None:
    words = {
        "one response": "one_response", "one prompt": "descriptive", "all wrong": "not_extrapolated",
        "no verdicts": "no_verdicts", "some verdicts": "missing_verdicts", "pool": "pool=8", "case-control": "not_verified",
        "one cluster": "not_estimable",
    }  # fmt: skip
    for case, word in words.items():
        rows = project_panels([_of(EDGES[case])], model="m", sampled=["v"]).rows
        assert any(word in row.flags for row in rows), (case, rows[0].flags)
    soft = project_panels([_of(EDGES["real"])], model="m", filter="soft").rows[0]
    assert "no_soft_weight" in soft.flags
    assert soft.horizon_rounds is None
    binary = _of(EDGES["zero scores"])
    assert "fresh_not_identified" in project_panels([binary], model="m", sampled=["v"]).rows[0].flags
    assert "fresh_not_identified" not in project_panels([binary], model="m").rows[0].flags


def test_bad_requests_are_refused() -> None:
    panel = panel_of(prompts=5, responses=4)
    for options, word in (
        ({"ks": [0]}, "--k"), ({"rounds": 0}, "--rounds"), ({"rounds": 65}, "--rounds"), ({"ks": [10**30]}, "--k"), ({"residual": -0.1}, "--residual"), ({"filter": "best@1"}, "best@n"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=word):
            project_panels([panel], model="m", **options)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="graded"):
        project_panels([replace(panel, utility=np.full((5, 4), np.nan))], model="m")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Projection]:
    path = tmp_path_factory.mktemp("runs") / "demo"
    shutil.copytree(DEMO, path)
    run = Run(path)
    return run, project_run(run, ks=[1000])


def test_a_forecast_is_kept_as_it_was_made(demo: tuple[Run, Projection]) -> None:
    run, projection = demo
    first = write_forecast(run, projection, "round-0")
    before = first.read_bytes()
    second = write_forecast(run, projection, "round-0")
    assert first.read_bytes() == before
    assert (first.name, second.name) == ("round-0.json", "round-0-2.json")
    dated = write_forecast(run, projection)
    found = read_forecast(first)
    assert found.projection.to_json() == projection.to_json()
    assert found.made.tzinfo is not None
    assert found.source["tasks"]["capitals"] == "factual"
    assert found.source["prompts"]["capitals"] == 25
    assert {one.name for one in forecasts_of(run.store.path)} == {"round-0", "round-0-2", dated.stem}
    assert not [path for path in first.parent.iterdir() if path.suffix != ".json"]
    assert Run(run.store.path).panels()  # a run with forecasts is still a run


def test_a_forecast_that_was_touched_is_refused(demo: tuple[Run, Projection], tmp_path: Path) -> None:
    run, projection = demo
    path = write_forecast(run, projection, "touched")
    text = path.read_text()
    path.write_text(text.replace('"t": 1', '"t": 2', 1))
    with pytest.raises(UserError, match="changed after it was made"):
        read_forecast(path)
    path.write_text(text[: len(text) // 2])
    with pytest.raises(UserError, match="not valid JSON"):
        read_forecast(path)
    path.write_text('{"format": "other"}')
    with pytest.raises(UserError, match="format"):
        read_forecast(path)
    path.unlink()
    with pytest.raises(UserError, match="no forecast"):
        read_forecast(path)
    for name in ("../evil", "", "a/b", ".hidden"):
        with pytest.raises(UserError, match="letters"):
            write_forecast(run, projection, name)


def test_figures_are_drawn_whatever_is_missing(demo: tuple[Run, Projection]) -> None:
    for projection in (
        demo[1],
        *(
            project_panels([_of(EDGES[case])], model="m")
            for case in ("no verdicts", "all wrong", "no verifier", "one response")
        ),
    ):
        for figure in projection_figures(projection).values():
            assert isinstance(figure, Figure)
            figure.canvas.draw()


def test_the_terminal_says_which_statement_is_what(demo: tuple[Run, Projection]) -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    print_projection(demo[1], console)
    text = " ".join(console.export_text(clear=False).split())
    assert all(len(line) <= 80 for line in console.export_text().splitlines())
    for word in (
        "Measurements:",
        "Projection:",
        "Scenarios:",
        "all domains",
        "perfect distillation",
        "3/16",
        "judge gains 0.25",
    ):
        assert word in text
    print_projection(project_panels([_of(EDGES["no verdicts"])], model="\x1b[31mm"), console)
    assert "\x1b" not in console.export_text()
