"""What several runs say together: paired differences, scaling, and what became of a model that was trained on.

Each part holds what there is to show, or the reason why there is nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from gapbench.comparing.compare import compare, run_labels
from gapbench.errors import UserError
from gapbench.estimate.contrast import Contrast
from gapbench.projection.results import MEASUREMENT
from gapbench.report.cells import Cell, Table, count_cell, minus, texts, value_cell, with_strips
from gapbench.report.comparison import ADJUSTMENTS
from gapbench.report.content import domain_name
from gapbench.report.outlook import Said
from gapbench.report.svg import Drawn, draw
from gapbench.report.text import number, one_line
from gapbench.report.view import OVERALL
from gapbench.run import Run

ALL_PAIRS = 4  # runs up to which every pair is compared; beyond, each against the first
LEAST_FOR_SCALING = 3


@dataclass(frozen=True)
class Part:
    """What a section holds.

    Attributes
    ----------
    said
        Sentences with the kind of statement that each is.
    why_not
        Why there is nothing else; empty where there is.
    """

    said: tuple[Said, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Drawn, ...] = ()
    why_not: str = ""


NO_COMPARISON = Part(why_not="One run has none to be compared with.")
NO_SCALING = Part(
    why_not="Not looked at: a law takes three models of different training compute, or more. Give their runs to `gapbench report`."
)
NO_TRAJECTORY = Part(
    why_not="Not looked at. Where runs are of one model as it was trained, the base first, add --trajectory: it tells whether "
    "training gained more than the base held, and where it levels off."
)


@dataclass(frozen=True)
class Together:
    """The parts of a page that are of all its runs."""

    comparison: Part = field(default=NO_COMPARISON)
    scaling: Part = field(default=NO_SCALING)
    trajectory: Part = field(default=NO_TRAJECTORY)


def together(runs: Sequence[Run], *, trajectory: bool) -> Together:
    """Look at several runs together.

    Parameters
    ----------
    trajectory
        Whether they are checkpoints of one model, the base first.

    Raises
    ------
    UserError
        If `trajectory` is asked for and they cannot be such.
    """
    return Together(
        comparison(runs) if len(runs) > 1 else NO_COMPARISON,
        scaling(runs) if len(runs) >= LEAST_FOR_SCALING else NO_SCALING,
        training(runs) if trajectory else NO_TRAJECTORY,
    )


def short_labels(runs: Sequence[Run]) -> list[str]:
    """What a page calls its runs: the last part of `gapbench.comparing.compare.run_labels`, where that tells them apart."""
    whole = run_labels(runs)
    last = [label.rstrip("/").rpartition("/")[2] for label in whole]
    return [one_line(label, 48) for label in (last if len(set(last)) == len(last) else whole)]


def comparison(runs: Sequence[Run]) -> Part:
    """Paired differences of the gap between runs, on the prompts that all of them answered."""
    names = dict(zip(run_labels(runs), short_labels(runs), strict=True))
    against = next(iter(names)) if len(runs) > ALL_PAIRS else None
    try:
        found = compare(runs, against=against)
    except UserError as why:
        return Part(why_not=f"Not compared: {one_line(str(why), 400)}.")
    differences = [_difference(row) for row in found]
    known = [
        (row.low, row.difference, row.high) if math.isfinite(one.order or 0.0) else None
        for row, one in zip(found, differences, strict=True)
    ]
    pairs = list(dict.fromkeys((row.a, row.b) for row in found))
    domains = list(dict.fromkeys(row.domain for row in found))
    several = len(pairs) > 1
    rows = [
        (
            *texts(domain_name(row.domain)),
            Cell(one_line(row.verifier, 40), ", ".join(_inside(row))),
            *texts(*[names[row.a], names[row.b]] * several),
            _plain(row.value_a),
            _plain(row.value_b),
            difference,
            _p(row.p_adjusted),
            _plain(row.mde),
            Cell(row.verdict.replace("_", " "), kind="reading"),
        )
        for row, difference in sorted(
            zip(found, with_strips(differences, known), strict=True),
            key=lambda one: (one[0].domain == OVERALL, domains.index(one[0].domain)),
        )
    ]
    a, b = ("A", "B") if several else (names[name] for name in pairs[0])
    headings = (
        *("Domain", "Verifier", *["A", "B"] * several, f"Gap of {a}", f"Gap of {b}"),
        *(f"Difference, {a} − {b}", "p, adjusted", "Detectable", f"{a} reads as"),
    )
    caption = (
        "Differences of the gap between runs, paired on common prompts, with 95 % intervals; the p-values and the words allow for "
        "there being several, the intervals and their marks do not. Tied is no proof of equality: a true difference below what is "
        "detectable (power .8) would often be missed."
    )
    said: list[Said] = [
        ("", f"Adjusted for several comparisons by {ADJUSTMENTS[found.adjust]}."),
        *(("", note) for note in found.notes),
    ]
    return Part(tuple(said), (Table("t-compare", caption, headings, tuple(rows), 2 + 2 * several),))


def scaling(runs: Sequence[Run]) -> Part:
    """How the relative gap goes with training compute."""
    from gapbench.report.scaling_plots import absolute_gap_figure, scaling_figure, slopes_figure
    from gapbench.report.scaling_text import conclusions
    from gapbench.scaling.runs import points_from_runs
    from gapbench.scaling.scale import scale
    from gapbench.scaling.slopes import ALL

    try:
        found = scale(points_from_runs(runs))
    except UserError as why:
        return Part(why_not=f"No law of scaling: {one_line(str(why), 400)}.")
    rows = tuple(
        (
            *texts(
                "mean of domains" if row.domain == ALL else one_line(row.domain, 40),
                one_line(row.family, 40) if row.family != ALL else f"all ({row.method.replace('_', ' ')})",
            ),
            value_cell(row.value, row.low, row.high, signed=True)
            if row.estimable
            else Cell("–", order=math.nan),
            _p(row.p),
            _plain(row.tau),
            count_cell(row.n_models),
        )
        for row in found.slopes
    )
    caption = "Change of the relative gap per decade of pretraining FLOPs, with 95 % intervals."
    table = Table("t-slopes", caption, ("Domain", "Family", "Slope", "p", "tau", "Models"), rows, 2)
    figures = {
        "scaling": scaling_figure(found),
        "slopes": slopes_figure(found),
        "absolute_gap": absolute_gap_figure(found),
    }
    said = tuple((MEASUREMENT, minus(one_line(line, 600))) for line in (*conclusions(found), *found.notes))
    return Part(said, (table,), draw(figures, "together-"))


def training(runs: Sequence[Run]) -> Part:
    """Whether training gained more than its base held, where it levels off, and what became of kept forecasts.

    Raises
    ------
    UserError
        If the runs cannot be checkpoints of one model.
    """
    from gapbench.report.trajectory_figures import trajectory_figures
    from gapbench.report.trajectory_text import forecast_sentences, outcome_sentences, series_sentences
    from gapbench.trajectory.outcome import trajectory
    from gapbench.trajectory.runs import checkpoints_of
    from gapbench.trajectory.scored import score_forecasts

    domains, notes = checkpoints_of(runs)
    found = trajectory(domains, seed=runs[0].config.seed)
    scores, unscored = score_forecasts(runs)
    said: list[Said] = [
        (kind, f"{one_line(one.domain, 40)}: {text}" if place else text)
        for one in found
        for place, (kind, text) in enumerate([*outcome_sentences(one), *series_sentences(one.plateau)])
    ]
    said += [*forecast_sentences(scores), *(("", note) for note in (*notes, *unscored))]
    shown = tuple((kind, minus(one_line(text, 600))) for kind, text in said)
    return Part(shown, (), draw(trajectory_figures(domains, found, scores), "together-"))


def _inside(row: Contrast) -> list[str]:
    return [word for word in (row.filter, f"m={row.m}" if row.m else "") if word]


def _difference(row: Contrast) -> Cell:
    if not all(map(math.isfinite, (row.difference, row.low, row.high))) or row.verdict == "not_estimable":
        return Cell("not estimable", kind="word", order=math.nan)
    return value_cell(row.difference, row.low, row.high, signed=True)


def _plain(value: float) -> Cell:
    return Cell(minus(number(value)), kind="num" if math.isfinite(value) else "none", order=value)


def _p(value: float) -> Cell:
    if value < 0.001:
        return Cell("<.001", kind="num", order=value)
    return _plain(value)
