"""The public plots: pictures against baselines, what they accept, the bytes that are saved, and the ROC curves.

Pictures are compared without their words, on axes of fixed place, so that neither fonts nor layout have a part in them; the
words are compared as words. After a change that is meant, `python -m tests.test_plots` writes the baselines anew; look at them.
The numbers are of real runs (`results/core/smollm2-135m`, `results/starter-smollm2-135m`, `results/cross`), cut down, except
for the tables in this file, which are made up.
"""

from __future__ import annotations

import inspect
import io
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.image
import matplotlib.style
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import Collection
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.spines import Spine
from matplotlib.text import Text

from gapbench import plots
from gapbench.errors import UserError
from gapbench.estimate.case_control import case_control_auc
from gapbench.estimate.discrimination import auc_within
from gapbench.estimate.roc import FPR, Scored, roc_pooled, roc_within, scored
from gapbench.estimate.selection import Order
from gapbench.panel import Panel, Scores, Verified
from gapbench.plots.frames import contrasts_of, cross_of, estimates_of, panels_of, projection_of
from gapbench.report.style import COLOURS
from gapbench.scaling.crossed import crossed_compute
from gapbench.scaling.points import points_from_frame
from gapbench.scaling.scale import scale
from gapbench.trajectory.checkpoints import Checkpoints
from gapbench.trajectory.series import project_series
from tests.conftest import ROOT

DATA = Path(__file__).parent / "data" / "plots"
SIZE, DPI = (4.4, 3.2), 60
TOLERANCE = 0.25
"""Root mean square difference of 8-bit colours: 0 between matplotlib 3.9, 3.10 and 3.11, above it for all that is left out."""

Draw = Callable[[Axes], Axes]


@cache
def estimates() -> pd.DataFrame:
    return pd.read_csv(DATA / "estimates.csv")


@cache
def scores() -> pd.DataFrame:
    return pd.read_csv(DATA / "scores.csv")


@cache
def document(name: str) -> Any:
    return json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))


@cache
def points() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    x = np.array([20.4, 21.0, 21.7, 22.3, 22.9])
    rows = [
        (domain, f"{family}-{at:g}", family, 10.0**at, 0.1 + 0.06 * slope * (at - 20) + 0.03 * rng.normal(), 0.03, 0.2 + 0.1 * (at - 20))
        for domain, slope in (("maths", 1.5), ("facts", 0.1))
        for family in ("otter", "heron", "lynx")
        for at in x + {"otter": 0.0, "heron": 0.2, "lynx": -0.15}[family]
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["domain", "model", "family", "flops", "value", "se", "accuracy"])


SERIES = pd.DataFrame(
    {
        "series": "sums",
        "t": np.arange(10.0),
        "value": [0.302, 0.418, 0.497, 0.553, 0.596, 0.618, 0.641, 0.652, 0.668, 0.671],
        "se": 0.012,
    }
)
ROUNDS = pd.DataFrame(
    {
        "arm": "gold", "prompts": "held-out", "domain": "sums", "t": [0, 1, 2, 3],
        "accuracy": [0.30, 0.38, 0.42, 0.43], "se": 0.02,
    }
)  # fmt: skip
FORETOLD = pd.DataFrame(
    [
        ("gold", "held-out", "sums", 0, 1, "filter", 0.39, 0.34, 0.44),
        ("gold", "held-out", "sums", 0, 2, "filter", 0.44, 0.38, 0.50),
        ("gold", "held-out", "sums", 1, 2, "filter", 0.43, 0.39, 0.47),
        ("gold", "held-out", "sums", 1, 3, "filter", 0.46, 0.40, 0.52),
        ("gold", "held-out", "sums", 1, 3, "last value", 0.38, np.nan, np.nan),
    ],
    columns=["arm", "prompts", "domain", "origin", "t", "method", "value", "low", "high"],
)


def share(value: float | None, half: float = 0.03) -> dict[str, float | None]:
    return {"value": value, "low": None if value is None else value - half, "high": None if value is None else value + half}  # fmt: skip


OUTCOMES = {
    "domains": [
        {
            "domain": domain,
            "verdict": verdict,
            "test": {"M": worth},
            "decomposition": {
                "gain": share(0.12), "sharpened": share(0.11), "beyond": share(beyond),
                "regressed": share(0.02, 0.01), "beyond_at_most": share(0.05),
            },
        }
        for domain, verdict, worth, beyond in (("sums", "BEYOND-BASE", 64, 0.03), ("facts", "UNDERPOWERED", 0, None))
    ]
}  # fmt: skip


def checkpoints() -> Checkpoints:
    rng = np.random.default_rng(1)
    p = rng.beta(0.4, 0.6, 60)
    tuned = np.where(p > 0.15, np.sqrt(p), 0.3 * p)
    return Checkpoints("sums", [(rng.random((60, 32)) < rate[:, None]).astype(float) for rate in (p, tuned)])


def weaker() -> pd.DataFrame:
    """The same run as if another one, for a plot of two."""
    worse = estimates().copy()
    worse[["value", "low", "high"]] = worse[["value", "low", "high"]] ** 2
    return worse


def crossed() -> Any:
    flops = {"HuggingFaceTB/SmolLM2-135M-Instruct": 1.6e21, "google/gemma-3-270m": 9.7e21}
    return crossed_compute(cross_of(document("cross")), flops.__getitem__)


DRAWN: dict[str, Draw] = {
    "gap_by_domain": lambda ax: plots.plot_gap_by_domain(estimates(), ax),
    "selection_curves": lambda ax: plots.plot_selection_curves(estimates(), ax),
    "score_distributions": lambda ax: plots.plot_score_distributions(
        scores(), ax, verifier="likelihood", domain="factual"
    ),
    "tied_scores": lambda ax: plots.plot_score_distributions(
        scores().assign(score=lambda one: one["score"].round(1)), ax, verifier="majority", domain="factual"
    ),
    "roc_within": lambda ax: plots.plot_roc(scores(), ax, domain="factual"),
    "roc_pooled": lambda ax: plots.plot_roc(
        scores(), ax, domain="factual", kind="pooled", estimates=estimates()
    ),
    "contrasts": lambda ax: plots.plot_contrasts(document("cross"), ax),
    "cross": lambda ax: plots.plot_cross(document("cross"), ax),
    "scaling": lambda ax: plots.plot_scaling(points(), ax, domain="maths"),
    "slopes": lambda ax: plots.plot_slopes(scale(points_from_frame(points())).to_frame(), ax),
    "absolute_gap": lambda ax: plots.plot_absolute_gap(points(), ax, domain="maths"),
    "crossed_compute": lambda ax: plots.plot_crossed_compute(crossed(), ax),
    "reserves": lambda ax: plots.plot_reserves(document("projection"), ax, verifier="likelihood"),
    "forecast": lambda ax: plots.plot_forecast(document("projection"), ax),
    "coverage": lambda ax: plots.plot_coverage(document("projection"), ax),
    "series": lambda ax: plots.plot_series(
        project_series(SERIES, horizon=[11.0, 13.0])[0], SERIES, ax, outcome=[(11.0, 0.68)]
    ),
    "loop": lambda ax: plots.plot_loop(ROUNDS, FORETOLD, ax, arm="gold", domain="sums"),
    "decomposition": lambda ax: plots.plot_decomposition(OUTCOMES, ax),
    "pass_crossing": lambda ax: plots.plot_pass_crossing(checkpoints(), ax),
    "pass_of_two": lambda ax: plots.plot_pass_crossing(
        estimates(), ax, tuned=weaker(), names=("one", "other")
    ),
}


def drawn(draw: Draw) -> Axes:
    with matplotlib.style.context(plots.STYLE):
        figure = Figure(figsize=SIZE, dpi=DPI, layout="none")
        ax = figure.add_axes((0.1, 0.1, 0.8, 0.8))
    assert draw(ax) is ax
    return ax


def words(ax: Axes) -> list[str]:
    """What is written, but for numbers at the axes."""
    texts = [text for text in ax.findobj(Text) if isinstance(text, Text) and text.get_visible()]
    said = [text.get_text() for text in texts]
    written = {one.replace("\n", " / ") for one in said}
    return sorted(one for one in written if re.search("[A-Za-z]", re.sub(r"\$.*?\$", "", one)))


def pixels(ax: Axes) -> Any:
    """The picture without words [row, column, colour], as numbers from 0 to 255."""
    for one in ax.findobj(lambda one: isinstance(one, Text | Legend)):
        one.set_visible(False)
    ax.tick_params(which="both", labelleft=False, labelbottom=False)
    canvas = FigureCanvasAgg(ax.figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(float)


def apart(one: Any, other: Any) -> float:
    return float(np.sqrt(((one - other) ** 2).mean())) if one.shape == other.shape else float("inf")


def baseline(name: str) -> Any:
    return np.round(255 * matplotlib.image.imread(DATA / f"{name}.png")[..., :3].astype(float))


@pytest.mark.parametrize("name", DRAWN)
def test_pictures_are_as_they_were(name: str, tmp_path: Path) -> None:
    ax = drawn(DRAWN[name])
    said, found, wanted = words(ax), pixels(ax), baseline(name)
    if apart(found, wanted) > TOLERANCE:
        matplotlib.image.imsave(tmp_path / f"{name}.png", (found / 255).clip(0, 1))
        pytest.fail(
            f"{tmp_path}/{name}.png differs from {DATA}/{name}.png by {apart(found, wanted):.2f}; if that is "
            "meant, run `python -m tests.test_plots` and look at the new baseline"
        )
    assert said == (DATA / f"{name}.txt").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_with_something_left_out_is_told_apart(name: str) -> None:
    ax = drawn(DRAWN[name])
    wanted = baseline(name)
    renderer = FigureCanvasAgg(ax.figure).get_renderer()
    parts = [
        one
        for one in ax.get_children()
        if isinstance(one, Line2D)
        or (
            isinstance(one, Collection | Patch)
            and not isinstance(one, Spine)
            and one is not ax.patch
            and one.get_window_extent(renderer).size.min() > 1  # a bar of height 0 has nothing to show
        )
    ]
    bands = [one for one in parts if isinstance(one, Collection)]
    for part in dict.fromkeys([*bands, *parts[:: max(1, len(parts) // 5)]]):
        part.set_visible(False)
        assert apart(pixels(ax), wanted) > TOLERANCE, part
        part.set_visible(True)
    assert apart(pixels(ax), wanted) <= TOLERANCE


def same(one: Draw, other: Draw) -> None:
    first, second = drawn(one), drawn(other)
    assert words(first) == words(second)
    assert apart(pixels(first), pixels(second)) == 0


def through_csv(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(frame.to_csv(index=False)))


def test_object_frame_and_document_draw_the_same() -> None:
    held = estimates_of(estimates())
    assert held.to_frame()["flags"].str.contains("partial:5 of 25 tasks").any()
    told = {"estimates": held.to_json()}
    for draw in (plots.plot_gap_by_domain, plots.plot_selection_curves):
        same(DRAWN[draw.__name__.removeprefix("plot_")], lambda ax, draw=draw: draw(held, ax))
        same(DRAWN[draw.__name__.removeprefix("plot_")], lambda ax, draw=draw: draw(told, ax))

    made = contrasts_of(document("cross"))
    same(DRAWN["contrasts"], lambda ax: plots.plot_contrasts(through_csv(made.to_frame()), ax))
    cross = cross_of(document("cross"))
    same(DRAWN["cross"], lambda ax: plots.plot_cross(through_csv(cross.to_frame()), ax))

    scaling = scale(points_from_frame(points()))
    same(DRAWN["slopes"], lambda ax: plots.plot_slopes(scaling, ax))
    same(DRAWN["slopes"], lambda ax: plots.plot_slopes(scaling.slopes, ax))
    same(DRAWN["slopes"], lambda ax: plots.plot_slopes({"slopes": scaling.slopes.to_json()}, ax))
    same(DRAWN["scaling"], lambda ax: plots.plot_scaling(scaling, ax, domain="maths"))
    table = through_csv(scaling.points.to_frame())
    same(DRAWN["scaling"], lambda ax: plots.plot_scaling(table, ax, domain="maths"))

    projection = projection_of(document("projection"))
    for name in ("forecast", "coverage"):
        draw = getattr(plots, f"plot_{name}")
        same(DRAWN[name], lambda ax, draw=draw: draw(projection, ax))
    frame = through_csv(projection.to_frame())
    same(DRAWN["reserves"], lambda ax: plots.plot_reserves(frame, ax, verifier="likelihood"))

    panels = panels_of(scores())
    same(DRAWN["roc_within"], lambda ax: plots.plot_roc(panels, ax, domain="factual"))
    curves = through_csv(plots.roc_frame(panels, domain="factual"))
    same(DRAWN["roc_within"], lambda ax: plots.plot_roc(curves, ax, domain="factual"))
    names = ["yesno", "majority", "likelihood"]
    shuffled = scores().sample(frac=1.0, random_state=0)
    shuffled = pd.concat(
        [shuffled[shuffled["verifier"] == name] for name in names]
    )  # colours go by their order
    same(DRAWN["roc_within"], lambda ax: plots.plot_roc(shuffled, ax, domain="factual", verifiers=names))


def test_a_verifier_looks_the_same_whatever_others_are_drawn() -> None:
    panels = panels_of(scores())
    all_of_them, one = (
        drawn(lambda ax, own=own: plots.plot_roc(panels, ax, domain="factual", verifiers=own))
        for own in (None, ["likelihood"])
    )
    looks = {
        line.get_label().partition(":")[0]: (line.get_color(), line.get_marker())
        for line in all_of_them.lines
    }
    (alone,) = [line for line in one.lines if not line.get_label().startswith("_")]
    assert (alone.get_color(), alone.get_marker()) == looks["likelihood"]


def test_replicates_of_one_response_are_averaged() -> None:
    once = panels_of(scores())[0]
    twice = pd.concat([scores().assign(score=scores()["score"] + by) for by in (-0.1, 0.1)])
    again = panels_of(twice)[0]
    assert once.prompt_ids == again.prompt_ids
    np.testing.assert_array_equal(once.utility, again.utility)
    for name in ("yesno", "majority", "likelihood"):
        np.testing.assert_allclose(once.scores[name].mean, again.scores[name].mean, atol=1e-12)


def test_every_public_plot_is_documented_and_takes_an_ax() -> None:
    listed = set(re.findall(r"`(\w+)`", plots.__doc__ or ""))
    for name in plots.__all__:
        assert name in listed or name == "roc_frame", name
        if name.startswith("plot_"):
            one = getattr(plots, name)
            assert inspect.getdoc(one)
            parameters = inspect.signature(one).parameters
            assert "ax" in parameters
            assert inspect.signature(one).return_annotation == "Axes"
            assert all(parameter in (one.__doc__ or "") for parameter in parameters)
    assert {f"plot_{name}" for name in DRAWN} | {"plot_roc"} >= {
        name for name in plots.__all__ if name.startswith("plot_")
    }


def test_figures_are_whole_and_leave_settings_alone() -> None:
    before = dict(matplotlib.rcParams)
    crossed_models = crossed()
    for figure, panels in (
        (plots.gap_figure(estimates()), 1),
        (plots.selection_figure(estimates()), 4),
        (plots.score_figure(scores(), estimates()[estimates()["domain"].isin(["factual", "all"])]), 5),
        (plots.roc_figure(scores(), estimates()), 1),
        (plots.contrast_figure(document("cross")), 1),
        (plots.cross_figure(document("cross")), 2),
        (plots.scaling_figure(points()), 4),
        (plots.slopes_figure(points_scaling()), 1),
        (plots.absolute_gap_figure(points()), 3),
        (plots.crossed_figure(crossed_models), 1),
        (plots.reserve_figure(document("projection")), 3),
        (plots.forecast_figure(document("projection")), 1),
        (plots.coverage_figure(document("projection")), 1),
    ):
        assert len(figure.axes) == panels
    assert dict(matplotlib.rcParams) == before


def points_scaling() -> Any:
    return scale(points_from_frame(points()))


def test_readers_without_colour_can_tell_curves_apart() -> None:
    for name in ("selection_curves", "roc_within", "scaling", "forecast"):
        legend = drawn(DRAWN[name]).get_legend()
        assert legend is not None
        looks = [
            (str(one.get_marker()), one.get_linestyle(), str(one._unscaled_dash_pattern))
            for one in legend.get_lines()
        ]
        assert len(set(looks)) == len(looks), (name, looks)


def test_the_style_file_is_one_that_matplotlib_reads() -> None:
    assert plots.STYLE.suffix == ".mplstyle"
    with matplotlib.style.context(plots.STYLE):
        assert matplotlib.rcParams["axes.spines.top"] is False
        cycle = matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]
    assert [f"#{one.lower().removeprefix('#')}" for one in cycle] == list(COLOURS)


def test_importing_gapbench_does_not_import_matplotlib() -> None:
    code = (
        "import sys, gapbench; print('matplotlib' in sys.modules); import gapbench.plots; "
        "print('matplotlib.pyplot' in sys.modules, *({'torch', 'transformers', 'vllm', 'ray', 'openai'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.split() == ["False", "False"]


def save(stem: str) -> None:
    figure = Figure()
    ax = figure.subplots()
    ax.fill_between([0, 1], [0, 1], hatch="//", label="gap in $x$")
    ax.legend()
    plots.save_figure(figure, stem, formats=("png", "svg", "pdf"))


def test_saved_files_have_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    save(str(tmp_path / "1" / "gap-0.5"))
    code = f"from tests.test_plots import save; save({str(tmp_path / '2' / 'gap-0.5')!r})"
    settings = {**os.environ, "PYTHONHASHSEED": "7", "SOURCE_DATE_EPOCH": "7"}
    subprocess.run([sys.executable, "-c", code], env=settings, cwd=ROOT, check=True)
    for kind in ("png", "svg", "pdf"):
        one, two = ((tmp_path / seed / f"gap-0.5.{kind}").read_bytes() for seed in "12")
        assert one == two
        assert not re.search(rb"CreationDate|dc:date|\b20\d\d-\d\d-\d\d\b", one)
    pdf = (tmp_path / "1" / "gap-0.5.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-")
    assert b"/Type3" not in pdf
    assert b"TrueType" in pdf or b"CIDFontType2" in pdf


def test_saving_writes_what_is_asked_for(tmp_path: Path) -> None:
    figure = Figure(figsize=(2, 1))
    assert [path.name for path in plots.save_figure(figure, tmp_path / "new" / "a.b")] == [
        "a.b.png",
        "a.b.svg",
    ]
    assert plots.save_figure(figure, tmp_path / "a", formats=("pdf",)) == (tmp_path / "a.pdf",)
    assert (tmp_path / "a.pdf").is_file()
    with pytest.raises(UserError, match=r"format 'jpg'.*png, svg, pdf"):
        plots.save_figure(figure, tmp_path / "a", formats=("jpg",))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("draw", "told"),
    [
        (lambda ax: plots.plot_gap_by_domain(estimates().drop(columns="low"), ax), "no column 'low'"),
        (lambda ax: plots.plot_gap_by_domain({"rows": []}, ax), "'estimates'"),
        (lambda ax: plots.plot_gap_by_domain(estimates().head(0), ax), "no rows"),
        (lambda ax: plots.plot_contrasts(pd.DataFrame({"a": ["x"]}), ax), "no column 'b'.*Contrasts.to_frame"),
        (lambda ax: plots.plot_roc(scores().drop(columns="utility"), ax), "no column 'utility'"),
        (lambda ax: plots.plot_roc(scores().assign(utility=3), ax), "between 0 and 1"),
        (lambda ax: plots.plot_roc(scores().assign(score="high"), ax), "row 1: score is no number"),
        (lambda ax: plots.plot_roc(scores(), ax, domain="maths"), "no domain 'maths'"),
        (lambda ax: plots.plot_roc(scores(), ax, verifiers=["oracle"]), "no verifier 'oracle'.*yesno"),
        (lambda ax: plots.plot_forecast({"model": "m"}, ax), "gapbench project RUN --json"),
        (lambda ax: plots.plot_reserves(pd.DataFrame({"domain": ["x"]}), ax, verifier="v"), "'verifier'"),
        (lambda ax: plots.plot_series(project_series(SERIES)[0], SERIES.assign(series="x"), ax), "no series"),
        (lambda ax: plots.plot_loop(ROUNDS, FORETOLD, ax, arm="judge"), "no arm 'judge'"),
        (lambda ax: plots.plot_decomposition({}, ax), "gapbench trajectory --json"),
        (lambda ax: plots.plot_pass_crossing(estimates(), ax), "tuned="),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_said_in_one_line(draw: Draw, told: str) -> None:
    with pytest.raises(UserError, match=told) as raised:
        draw(Figure().subplots())
    assert "\n" not in str(raised.value)


def some(seed: int, prompts: int = 30, responses: int = 12, levels: int = 6, signal: float = 1.0) -> Scored:
    rng = np.random.default_rng(seed)
    utility = (rng.random((prompts, responses)) < rng.random((prompts, 1))).astype(float)
    utility[rng.random(utility.shape) < 0.1] = np.nan
    score = np.round(levels * (signal * np.nan_to_num(utility) + rng.normal(size=utility.shape))) / levels
    score[rng.random(utility.shape) < 0.05] = np.nan
    return Scored(utility, score, np.arange(prompts))


def by_hand(right: Any, wrong: Any, at: float) -> tuple[float, float]:
    """TPR at an FPR by walking the corners of the curve, and its area by counting pairs."""
    corners = [(0.0, 0.0)]
    for level in sorted({*right, *wrong}, reverse=True):
        corners.append((np.mean(wrong >= level), np.mean(right >= level)))
    tpr = 0.0
    for (x0, y0), (x1, y1) in itertools.pairwise(corners):
        if x0 <= at <= x1:
            tpr = y1 if x1 == x0 else y0 + (at - x0) / (x1 - x0) * (y1 - y0)
    wins = (right[:, None] > wrong).mean() + 0.5 * (right[:, None] == wrong).mean()
    return tpr, float(wins)


def test_roc_within_is_the_pair_weighted_mean_of_the_prompts_curves() -> None:
    tasks, weights = [some(1), some(2, prompts=17, levels=1)], [1.0, 0.5]
    found = roc_within(tasks, weights)
    assert found is not None
    for place in (0, 1, 37, 100, 163, 200):
        top = bottom = area = 0.0
        for (utility, score, _, _), weight in zip(tasks, weights, strict=True):
            for u, s in zip(utility, np.where(np.isnan(score), -99.0, score), strict=True):
                right, wrong = s[u == 1], s[u == 0]
                if pairs := len(right) * len(wrong) * weight / len(utility):
                    tpr, wins = by_hand(right, wrong, FPR[place])
                    top, bottom, area = top + pairs * tpr, bottom + pairs, area + pairs * wins
        assert found.tpr[place] == pytest.approx(top / bottom, abs=1e-12)
        assert found.area == pytest.approx(area / bottom, abs=1e-12)
    assert (found.low <= found.tpr).all()
    assert (found.tpr <= found.high).all()
    assert np.trapezoid(found.tpr, FPR) == pytest.approx(found.area, abs=0.005)


def test_area_within_is_the_auc_of_the_estimates() -> None:
    utility, score, _, _ = some(3)
    for given in (utility, np.clip(utility * 0.8, 0, 1)):
        task = Scored(given, score, np.arange(len(given)))
        order = Order.of(score, ~np.isnan(given))
        assert roc_within([task]).area == pytest.approx(auc_within(order, given).value(), abs=1e-12)  # type: ignore[union-attr]
    told = plots.roc_frame(scores(), domain="factual").groupby("verifier")["auc"].first()
    assert told["majority"] > told["yesno"]


def test_pooled_roc_by_hand() -> None:
    utility, score, clusters, _ = some(4, responses=8)
    utility = np.where(np.isnan(utility), 0.0, utility)  # equal numbers, hence equal weights
    found = roc_pooled([Scored(utility, score, clusters)])
    assert found is not None
    filled = np.where(np.isnan(score), -99.0, score)
    for place in (0, 20, 77, 150, 200):
        tpr, wins = by_hand(filled[utility == 1], filled[utility == 0], FPR[place])
        assert found.tpr[place] == pytest.approx(tpr, abs=1e-12)
        assert found.area == pytest.approx(wins, abs=1e-12)


def test_a_judge_of_prompts_alone_is_blind_within_them() -> None:
    rng = np.random.default_rng(5)
    p = rng.random((60, 1))
    utility = (rng.random((60, 10)) < p).astype(float)
    task = Scored(utility, np.broadcast_to(p, utility.shape), np.arange(60))
    within, pooled = roc_within([task]), roc_pooled([task])
    assert within is not None
    assert pooled is not None
    np.testing.assert_allclose(within.tpr, FPR, atol=1e-12)
    assert pooled.area > 0.75
    assert roc_within([Scored(np.ones((3, 4)), np.zeros((3, 4)), np.arange(3))]) is None
    assert roc_pooled([Scored(np.ones((3, 4)), np.zeros((3, 4)), np.arange(3))]) is None


def test_random_scores_give_the_line_of_a_blind_verifier() -> None:
    rng = np.random.default_rng(8)
    utility = (rng.random((20_000, 7)) < rng.random((20_000, 1))).astype(float)
    found = roc_within([Scored(utility, rng.random(utility.shape), np.arange(20_000))])
    assert found is not None
    np.testing.assert_allclose(found.tpr, found.blind, atol=0.012)
    assert np.abs(found.blind - FPR).max() > 0.1, "which is not the diagonal"
    assert np.trapezoid(found.blind, FPR) == pytest.approx(0.5, abs=0.003)


def test_right_and_wrong_responses_verified_alone_give_the_area_of_all() -> None:
    whole = some(6, prompts=400, responses=16, levels=50)
    rng = np.random.default_rng(7)
    utility = np.where(np.isnan(whole.utility), 0.0, whole.utility)
    asked = np.zeros(utility.shape, dtype=bool)
    for kind in (0.0, 1.0):
        rank = np.argsort(
            np.argsort(np.where(utility == kind, rng.random(utility.shape), 2.0), axis=1), axis=1
        )
        asked |= (utility == kind) & (rank < 4)
    scores = {"judge": Scores(whole.score[:, :, None], "real", None)}
    panel = Panel(
        "t", "d", tuple(map(str, range(400))), whole.clusters, utility, np.zeros_like(asked),
        np.full(utility.shape, -1), scores, {"judge": Verified(asked, np.ones(400, dtype=bool), 4)},
    )  # fmt: skip
    everything = roc_within([Scored(utility, whole.score, whole.clusters)])
    part = roc_within([scored(panel, "judge")])
    assert everything is not None
    assert part is not None
    assert part.area == pytest.approx(everything.area, abs=0.015)
    estimated = case_control_auc(utility, whole.score, asked).value()
    assert part.area == pytest.approx(estimated, abs=1e-12)
    assert roc_pooled([scored(panel, "judge")]) is None


@pytest.mark.slow
def test_pointwise_intervals_cover() -> None:
    truth = roc_within([some(0, prompts=20_000)])
    assert truth is not None
    places = [20, 60, 120]
    held = np.zeros(len(places))
    for seed in range(1, 601):
        found = roc_within([some(seed, prompts=40)])
        assert found is not None
        held += (found.low[places] <= truth.tpr[places]) & (truth.tpr[places] <= found.high[places])
    error = np.sqrt(0.95 * 0.05 / 600)
    assert (held / 600 + 3 * error >= 0.93).all(), held / 600


def write_baselines() -> None:
    for name, draw in DRAWN.items():
        ax = drawn(draw)
        text = "".join(f"{line}\n" for line in words(ax))
        (DATA / f"{name}.txt").write_text(text, encoding="utf-8")
        matplotlib.image.imsave(DATA / f"{name}.png", pixels(ax) / 255)


if __name__ == "__main__":
    write_baselines()
