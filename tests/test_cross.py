"""The matrix of generators and judges: its cells are those of `estimate`, its differences those of the prompts."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import yaml
from matplotlib.figure import Figure
from rich.console import Console
from scipy import stats

from gapbench.comparing.compare import compare
from gapbench.comparing.cross import Cross, cross
from gapbench.comparing.judged_runs import judges_of
from gapbench.errors import UserError
from gapbench.estimate.multiplicity import adjusted
from gapbench.estimate.selection import BestOf, Order
from gapbench.judging import VerifierSpec, read_spec
from gapbench.panel import Float
from gapbench.report.cross import cross_figure, plot_cross, print_cross
from gapbench.report.plots import save_figure
from gapbench.run import Run, RunConfig, execute
from tests.conftest import ROOT, Cli, document

STRONG, WEAK, ALONE = "simulated:strong", "simulated:weak", "simulated:alone"
ABLE = {"strong": {"d": 3.0, "pi0": 0.0}, "weak": {"d": 0.0, "sd_d": 0.0, "pi0": 0.0}, "alone": {"d": -2.0}}


def suite(folder: Path) -> Path:
    """Two of the starter's tasks, in two domains."""
    starter = yaml.safe_load((ROOT / "tasks" / "starter.yaml").read_text())
    kept = [task for task in starter["tasks"] if task["name"] in ("sums", "reversal")]
    path = folder / "pair.yaml"
    path.write_text(yaml.safe_dump({**starter, "name": "pair", "tasks": kept}))
    return path


def generate(path: Path, model: str, *judges: str, limit: int = 30) -> Run:
    """A run of a simulated model that judges itself, and is judged by others of known ability."""
    others = [
        VerifierSpec(name=f"yesno@{judge}", verifier="yesno", judge=judge, engine_options=ABLE[judge])
        for judge in judges
    ]
    config = RunConfig(
        suite=str(suite(path.parent)),
        model=model,
        engine="simulated",
        engine_options=ABLE[model],
        n=8,
        limit=limit,
        verifiers=(VerifierSpec.model_validate("yesno"), *others),
    )
    return execute(config, path)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    folder = tmp_path_factory.mktemp("runs")
    return {
        "strong": generate(folder / "strong", "strong", "weak"),
        "weak": generate(folder / "weak", "weak", "strong"),
        "alone": generate(folder / "alone", "alone", limit=8),
    }


@pytest.fixture(scope="module")
def square(runs: dict[str, Run]) -> Cross:
    return cross([runs["strong"], runs["weak"]])


def gaps(run: Run, verifier: str, n: int = 4) -> dict[str, Float]:
    """Gap of best@n of each prompt, by task, straight from the panels."""
    found = {}
    for panel in run.panels():
        order = Order.of(panel.scores[verifier].mean, ~np.isnan(panel.utility))
        found[panel.task] = order.rank(panel.utility).gap([BestOf(n)])[:, 0]
    return found


def test_cells_are_the_estimates_of_each_verifier(runs: dict[str, Run], square: Cross) -> None:
    assert (square.generators, square.judges) == ((STRONG, WEAK), (STRONG, WEAK))
    assert square.filter == "best@4"
    names = {(STRONG, STRONG): "yesno", (STRONG, WEAK): "yesno@weak", (WEAK, WEAK): "yesno"}
    names[WEAK, STRONG] = "yesno@strong"
    estimates = {STRONG: runs["strong"].estimate(), WEAK: runs["weak"].estimate()}
    assert len(square.cells) == 4 * 3
    for cell in square.cells:
        assert cell.verifier == names[cell.generator, cell.judge]
        assert cell.itself == (cell.generator == cell.judge)
        (row,) = estimates[cell.generator].where(
            domain=cell.domain, task="", verifier=cell.verifier, quantity="gap", filter="best@4"
        )
        mine = (cell.value, cell.se, cell.low, cell.high)
        assert mine == pytest.approx((row.value, row.se, row.low, row.high))
        assert (cell.n, cell.m, cell.n_prompts, cell.flags) == (row.n, row.m, row.n_prompts, row.flags)


def test_the_better_judge_is_better_on_both_generators(square: Cross) -> None:
    for generator in (STRONG, WEAK):
        assert square.cell(generator, STRONG).low > 0.1
        assert square.cell(generator, WEAK).low < 0 < square.cell(generator, WEAK).high
    preference = {row.model: row for row in square.self_preference if row.domain == "all"}
    assert (preference[STRONG].a, preference[STRONG].b, preference[STRONG].verdict) == (
        STRONG,
        WEAK,
        "higher",
    )
    assert (preference[WEAK].a, preference[WEAK].b, preference[WEAK].verdict) == (WEAK, STRONG, "lower")
    between = {row.verifier: row for row in square.between_generators if row.domain == "all"}
    assert {row.verdict for row in between.values()} == {"tied"}
    assert set(between) == {f"yesno@{STRONG}", f"yesno@{WEAK}"}


def test_differences_are_those_of_the_prompts(runs: dict[str, Run], square: Cross) -> None:
    """Against the textbook paired t on gaps of single prompts; the tasks of this suite are its domains."""
    strong = {judge: gaps(runs["strong"], name) for judge, name in ((STRONG, "yesno"), (WEAK, "yesno@weak"))}
    weak = {judge: gaps(runs["weak"], name) for judge, name in ((WEAK, "yesno"), (STRONG, "yesno@strong"))}
    domain_of = {panel.domain: panel.task for panel in runs["strong"].panels()}
    pairs = [(square.between_judges, STRONG, "", strong[STRONG], strong[WEAK])]
    pairs += [(square.between_judges, WEAK, "", weak[WEAK], weak[STRONG])]
    for judge in (STRONG, WEAK):
        pairs.append((square.between_generators, "", f"yesno@{judge}", strong[judge], weak[judge]))
    for contrasts, model, verifier, one, other in pairs:
        rows = [row for row in contrasts if row.model == model and verifier in ("", row.verifier)]
        assert len(rows) == 3
        for row in rows:
            tasks = [domain_of[row.domain]] if row.domain != "all" else list(one)
            difference = {task: one[task] - other[task] for task in tasks}
            assert row.difference == pytest.approx(np.mean([d.mean() for d in difference.values()]))
            se = np.sqrt(sum(stats.sem(d) ** 2 for d in difference.values())) / len(difference)
            assert row.se == pytest.approx(se)
            assert row.low <= row.difference - stats.t.ppf(0.975, row.df) * row.se + 1e-9
            assert row.n_prompts == sum(map(len, difference.values()))
            assert row.difference == pytest.approx(row.value_a - row.value_b)


def test_all_generators_are_one_family(square: Cross) -> None:
    for contrasts in (square.between_judges, square.between_generators, square.self_preference):
        for broad in (False, True):
            rows = [row for row in contrasts if (row.domain == "all") is broad]
            p = adjusted([row.p for row in rows])
            assert [row.p_adjusted for row in rows] == pytest.approx(p.tolist(), nan_ok=True)
    overall = [row for row in square.self_preference if row.domain == "all"]
    assert [row.p_adjusted for row in overall] == pytest.approx(
        [max(2 * min(r.p for r in overall), row.p) for row in overall]
    )


def test_a_missing_judge_leaves_a_hole_and_not_a_zero(runs: dict[str, Run]) -> None:
    found = cross([runs["strong"], runs["weak"], runs["alone"]])
    assert found.judges == (STRONG, WEAK, ALONE)
    holes = {(c.generator, c.judge) for c in found.cells if "missing" in c.flags}
    assert holes == {(STRONG, ALONE), (WEAK, ALONE), (ALONE, STRONG), (ALONE, WEAK)}
    for cell in found.cells:
        if "missing" in cell.flags:
            assert np.isnan([cell.value, cell.low, cell.high, cell.se]).all()
            assert (cell.verifier, cell.n_prompts) == ("", 0)
    assert found.cell(ALONE, ALONE).high < 0
    told = json.loads(json.dumps(found.to_json(), allow_nan=False))
    missing = [cell for cell in told["cells"] if "missing" in cell["flags"]]
    assert len(missing) == 4 * 3
    assert {cell["value"] for cell in missing} == {None}
    assert {row.model for row in found.self_preference} == {STRONG, WEAK}
    frame = found.to_frame()
    assert frame.loc[frame["flags"].str.contains("missing"), "value"].isna().all()
    assert len(frame) == 9 * 3


def test_two_generators_are_held_together_on_their_common_prompts(
    runs: dict[str, Run], tmp_path: Path
) -> None:
    few = generate(tmp_path / "few", "weak", "strong", limit=8)
    found = cross([runs["strong"], few])
    assert {row.n_prompts for row in found.between_generators if row.domain == "all"} == {16}
    assert found.cell(STRONG, STRONG).n_prompts == 60
    assert any("16 prompts" in note for note in found.notes)
    one, other = gaps(runs["strong"], "yesno"), gaps(few, "yesno@strong")
    (row,) = [r for r in found.between_generators if r.domain == "all" and r.verifier == f"yesno@{STRONG}"]
    ids = {panel.task: panel.prompt_ids for panel in runs["strong"].panels()}
    differences = []
    for panel in few.panels():
        places = [ids[panel.task].index(prompt_id) for prompt_id in panel.prompt_ids]
        differences.append((one[panel.task][places] - other[panel.task]).mean())
    assert row.difference == pytest.approx(np.mean(differences))
    assert "common_prompts" in row.flags


def test_one_run_and_its_judges_agree_with_compare(runs: dict[str, Run]) -> None:
    found = cross([runs["strong"]], quantity="auc_within")
    wanted = compare([runs["strong"]], quantity="auc_within", verifiers=["yesno", "yesno@weak"])
    for mine, theirs in zip(found.between_judges, wanted, strict=True):
        assert (mine.domain, mine.filter) == (theirs.domain, theirs.filter)
        assert (mine.difference, mine.low, mine.p) == pytest.approx(
            (theirs.difference, theirs.low, theirs.p), nan_ok=True
        )
    assert len(found.between_generators) == 0


def test_another_filter_is_that_of_every_cell_and_difference(runs: dict[str, Run]) -> None:
    found = cross([runs["strong"], runs["weak"]], filter="best@2")
    assert {cell.filter for cell in found.cells} == {"best@2"}
    assert {row.filter for row in (*found.between_judges, *found.between_generators)} == {"best@2"}
    top = cross([runs["strong"], runs["weak"]], filter="threshold@2")
    assert {cell.filter for cell in top.cells} == {"threshold@2"}


def test_judges_who_compare_are_crossed_at_the_whole_pool(tmp_path: Path) -> None:
    runs = []
    for own, other in (("strong", "weak"), ("weak", "strong")):
        judge = VerifierSpec(
            name=f"tournament@{other}", verifier="tournament", judge=other, engine_options=ABLE[other]
        )
        config = RunConfig(
            suite=str(suite(tmp_path)),
            model=own,
            engine="simulated",
            engine_options=ABLE[own],
            n=8,
            limit=30,
            verifiers=(VerifierSpec.model_validate("tournament"), judge),
        )
        runs.append(execute(config, tmp_path / own))
    found = cross(runs, mechanism="tournament")
    assert {(cell.filter, cell.n) for cell in found.cells} == {("best@8", 8)}
    assert {row.filter for row in (*found.between_judges, *found.between_generators)} == {"best@8"}
    for row in found.self_preference:
        if row.domain == "all":
            assert row.verdict == ("higher" if row.model == STRONG else "lower")


def test_a_verifier_file_names_its_judge_and_the_mechanism_by_its_name(
    tmp_path: Path,
) -> None:
    file = tmp_path / "strict.yaml"
    file.write_text(
        yaml.safe_dump(
            {"name": "strict", "verifier": "yesno", "judge": "strong", "engine_options": ABLE["strong"]}
        )
    )
    specs = tuple(map(read_spec, ("yesno", "yesno@strong", str(file))))
    config = RunConfig(
        suite=str(suite(tmp_path)), model="weak", engine="simulated", n=4, limit=3, verifiers=specs
    )
    run = execute(config, tmp_path / "run")
    assert judges_of(run, "yesno") == {WEAK: "yesno", STRONG: "yesno@strong"}
    assert judges_of(run, "strict") == {STRONG: "strict"}
    both = replace_verifiers(run, "lenient", "strict")
    with pytest.raises(UserError, match="judges as lenient and strict"):
        judges_of(both, "yesno")
    found = cross([run], mechanism="strict")
    assert found.cell(WEAK, STRONG).verifier == "strict"


def replace_verifiers(run: Run, *names: str) -> Run:
    """A run that says it has these verifiers, all of them Yes/No of its own model."""
    other = Run(run.store.path)
    specs = tuple(VerifierSpec(name=name, verifier="yesno") for name in names)
    other.config = other.config.model_copy(update={"verifiers": specs})
    return other


def test_a_judge_that_says_nothing_is_left_out_and_told(
    runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    panels = []
    for place, panel in enumerate(runs["weak"].panels()):
        quiet = panel.scores["yesno@strong"]
        values = np.full_like(quiet.values, np.nan)  # type: ignore[union-attr]
        scores = {**panel.scores, "yesno@strong": replace(quiet, values=values)} if place else panel.scores
        panels.append(replace(panel, scores=scores))
    silent = Run(runs["weak"].store.path)
    monkeypatch.setattr(silent, "panels", lambda: panels)
    found = cross([runs["strong"], silent])
    assert sum("no verdict on task" in note for note in found.notes) == len(panels) - 1
    by_domain = [cell for cell in found.cells if (cell.generator, cell.judge) == (WEAK, STRONG)]
    assert ["missing" in cell.flags for cell in by_domain] == [False, *[True] * (len(panels) - 1), False]
    assert by_domain[-1].value == pytest.approx(by_domain[0].value)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"mechanism": "yesnoo"}, "no verdicts by 'yesnoo'.*did you mean 'yesno'"),
        ({"quantity": "gip"}, "no quantity 'gip'"),
        ({"filter": "best@16"}, "best@16"),
        ({"filter": "best"}, "best"),
    ],
)
def test_what_cannot_be_crossed_is_refused(runs: dict[str, Run], options: dict[str, str], told: str) -> None:
    with pytest.raises(UserError, match=told):
        cross([runs["strong"], runs["weak"]], **options)  # type: ignore[arg-type]


def test_runs_are_named_once_and_same_models_by_directory(runs: dict[str, Run], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="name one RUN"):
        cross([])
    with pytest.raises(UserError, match="named twice"):
        cross([runs["strong"], runs["strong"]])
    again = generate(tmp_path / "again", "strong", "weak", limit=8)
    found = cross([runs["strong"], again])
    assert found.judges == (STRONG, WEAK)
    assert all(name.startswith(f"{STRONG} (") for name in found.generators)
    assert all(found.cell(name, STRONG).itself for name in found.generators)
    assert {row.model for row in found.self_preference} == set(found.generators)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_the_heat_map_shows_every_value_with_its_half_width(square: Cross, tmp_path: Path) -> None:
    figure = cross_figure(square)
    for cell in (square.cell(g, j) for g in square.generators for j in square.judges):
        assert f"{cell.value:+.3f}".replace("-", "−") in texts(figure)
        assert f"± {(cell.high - cell.low) / 2:.3f}" in texts(figure)
    ax = figure.axes[0]
    including_zero = [c for c in square.cells if c.domain == "all" and c.low <= 0 <= c.high]
    assert len(ax.lines) == len(including_zero) == 2
    frames = [patch for patch in ax.patches if not patch.get_fill()]
    assert len(frames) == 2
    before = dict(mpl.rcParams)
    png, svg = save_figure(figure, tmp_path / "heat")
    assert png.stat().st_size > 5000
    assert STRONG in svg.read_text()
    assert dict(mpl.rcParams) == before
    own = Figure()
    axes = own.subplots()
    assert plot_cross(square, axes, domain="arithmetic") is axes


def test_what_was_not_judged_is_left_white(runs: dict[str, Run]) -> None:
    found = cross([runs["strong"], runs["alone"]])
    figure = cross_figure(found)
    assert texts(figure).count("not judged") == 3
    faces = [patch.get_facecolor()[:3] for patch in figure.axes[0].patches if patch.get_fill()]
    assert faces.count((1.0, 1.0, 1.0)) == 3
    values = {cell.judge: cell.value for cell in found.cells if cell.domain == "all" and cell.itself}
    blue, orange = (faces[place] for place in (0, 5))
    assert values[STRONG] > 0 > values[ALONE]
    assert blue[2] > blue[0], "purple above the centre"
    assert orange[0] > orange[2], "orange below it"


def test_the_terminal_says_it_in_words(runs: dict[str, Run], square: Cross) -> None:
    console = Console(width=110, record=True, no_color=True)
    print_cross(cross([runs["strong"], runs["weak"], runs["alone"]]), console)
    printed = console.export_text()
    for word in ("not judged", "all domains", "self-preference", "generators under the same judge", "Holm"):
        assert word in printed
    assert re.search(r"\+0\.\d+ \[\+0\.\d+, \+0\.\d+\] s", printed)
    assert "other judges" not in printed, "all pairs of judges have the generator itself in them"


def test_command_line(cli: Cli, runs: dict[str, Run], tmp_path: Path) -> None:
    strong, weak = (runs[name].store.path for name in ("strong", "weak"))
    found = document(cli("cross", strong, weak, "--json", "--filter", "best@2", "--out", "plots/heat.png"))
    assert [run["model"] for run in found["runs"]] == [STRONG, WEAK]
    assert found["filter"] == "best@2"
    cells = [cell for cell in found["cells"] if cell["domain"] == "all"]
    assert len(cells) == 4
    for cell, path in zip(cells, (strong, strong, weak, weak), strict=True):
        rows = (
            Run(path)
            .estimate()
            .where(domain="all", task="", verifier=cell["verifier"], quantity="gap", filter="best@2")
        )
        assert cell["value"] == pytest.approx(rows[0].value)
    assert {"between_judges", "between_generators", "self_preference", "notes"} <= set(found)
    assert (tmp_path / "plots" / "heat.png").exists()
    assert (tmp_path / "plots" / "heat.svg").exists()
    refused = cli("cross", strong, "--mechanism", "pairwise")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert len(refused.stderr.strip().splitlines()) == 1
