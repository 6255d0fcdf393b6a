"""All that gapbench draws, in one place: functions that take an `ax`, draw one thing, and give the `ax` back.

>>> import matplotlib.pyplot as plt
>>> from gapbench import plots
>>> figure, ax = plt.subplots()
>>> plots.plot_gap_by_domain(frame, ax)  # doctest: +SKIP
>>> plots.save_figure(figure, "gap", formats=("png", "pdf"))  # doctest: +SKIP

| plot | of | takes |
|---|---|---|
| `plot_gap_by_domain` | gap of every domain and verifier with its interval | estimates |
| `plot_selection_curves` | best@n, majority@n and pass@n of one domain | estimates |
| `plot_roc` | ROC curves of the verifiers in one domain, within prompts or pooled | scores |
| `plot_score_distributions` | scores of right and of wrong responses | scores |
| `plot_contrasts` | differences between runs, verifiers, filters or domains | contrasts |
| `plot_cross` | matrix of generators and judges, a heat-map | cross |
| `plot_scaling` | a quantity against pretraining FLOPs, lines with bands | points |
| `plot_slopes` | slopes per decade by family and domain, a forest | slopes |
| `plot_absolute_gap` | the absolute gap against p(1 - p) | points |
| `plot_crossed_compute` | gap against the judge's compute | `CrossedCompute` |
| `plot_reserves` | reserves by domain: coverage, measured, identified | projection, also its frame |
| `plot_forecast` | accuracy by rounds of the loop, the horizon, scenarios | projection |
| `plot_coverage` | pass@k within and beyond the responses drawn | projection |
| `plot_series` | a series of checkpoints, its forecast, plateau and arrival | `SeriesProjection` and the table |
| `plot_loop` | rounds of a loop over their frozen forecasts | points and scores of the loop |
| `plot_decomposition` | parts of a gain: sharpened, beyond, regressed | outcomes |
| `plot_pass_crossing` | pass@k of base and tuned model | `Checkpoints`, or estimates of both |

What they take, each as an object, as its frame (also one that was written to CSV and read again), or as the document that
the command prints with `--json`:

| | object | frame | document |
|---|---|---|---|
| estimates | `Run(path).estimate()` | `.to_frame()` | `gapbench estimate RUN --json` |
| scores | `Run(path).panels()` | responses joined to verdicts: `domain, prompt_id, utility, verifier, score` | |
| contrasts | `compare([run, run])` | `.to_frame()` | `gapbench compare RUN RUN --json` |
| cross | `cross([run, run])` | `.to_frame()` | `gapbench cross RUN RUN --json` |
| points | `scale(points)`, or the points | the table of points, `Points.to_frame()` | |
| slopes | `scale(points)` | `.to_frame()` | `gapbench scale --json` |
| projection | `project_run(run)` | | `gapbench project RUN --json` |
| outcomes | `trajectory(checkpoints)` | | `gapbench trajectory RUN RUN --json` |

Beside each stands the whole figure in a fitting size, with a panel a domain where there are several (`gap_figure`,
`selection_figure`, `roc_figure`, `score_figure`, `contrast_figure`, `cross_figure`, `scaling_figure`, `slopes_figure`,
`absolute_gap_figure`, `crossed_figure`, `reserve_figure`, `forecast_figure`, `coverage_figure`). `save_figure` writes PNG, SVG
and PDF, the same bytes for the same figure.

All have one look: the style file `STYLE`. For figures of your own, `with plt.style.context(plots.STYLE): ...`. Colours are
those of Okabe and Ito (2008), and what differs in colour differs in marker, dashes or hatching too. Nothing here imports
pyplot or leaves matplotlib's settings changed. What is not estimable is named in words and never drawn as a number.
"""

from gapbench.plots.ahead import (
    coverage_figure,
    forecast_figure,
    plot_coverage,
    plot_forecast,
    plot_reserves,
    reserve_figure,
)
from gapbench.plots.compared import contrast_figure, cross_figure, plot_contrasts, plot_cross
from gapbench.plots.laws import (
    absolute_gap_figure,
    crossed_figure,
    plot_absolute_gap,
    plot_crossed_compute,
    plot_scaling,
    plot_slopes,
    scaling_figure,
    slopes_figure,
)
from gapbench.plots.measured import (
    gap_figure,
    plot_gap_by_domain,
    plot_roc,
    plot_score_distributions,
    plot_selection_curves,
    roc_figure,
    roc_frame,
    score_figure,
    selection_figure,
)
from gapbench.plots.training import plot_decomposition, plot_loop, plot_pass_crossing, plot_series
from gapbench.report.plots import save_figure
from gapbench.report.style import STYLE

__all__ = [
    "STYLE",
    "absolute_gap_figure",
    "contrast_figure",
    "coverage_figure",
    "cross_figure",
    "crossed_figure",
    "forecast_figure",
    "gap_figure",
    "plot_absolute_gap",
    "plot_contrasts",
    "plot_coverage",
    "plot_cross",
    "plot_crossed_compute",
    "plot_decomposition",
    "plot_forecast",
    "plot_gap_by_domain",
    "plot_loop",
    "plot_pass_crossing",
    "plot_reserves",
    "plot_roc",
    "plot_scaling",
    "plot_score_distributions",
    "plot_selection_curves",
    "plot_series",
    "plot_slopes",
    "reserve_figure",
    "roc_figure",
    "roc_frame",
    "save_figure",
    "scaling_figure",
    "score_figure",
    "selection_figure",
    "slopes_figure",
]
