"""A projection to look at: reserves by domain, the forecast with its horizon, coverage beyond the data, and the terminal table.

What was measured, what is projected and what is a scenario never look alike: filled and drawn through, drawn through under
assumptions, dotted on grey. What is not estimable is named in words.

>>> save_figure(forecast_figure(projection), "plots/forecast")  # doctest: +SKIP
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from gapbench.projection.judge import RHOS
from gapbench.projection.results import CoveragePoint, DomainProjection, Projection, Value
from gapbench.report.panels import label_below, legend_above, panels
from gapbench.report.style import GREY, INK, PAPER, colour, dashes, domain_label, label, marker, styled
from gapbench.report.view import OVERALL

RESERVES = (
    ("reserve_coverage", "coverage: a perfect verifier, same responses (measurement)", GREY),
    ("reserve_measured", "measured: best point of best@n (measurement)", colour(0)),
    ("reserve_identified", "identified: the loop up to its horizon (projection)", colour(1)),
)
SHADE = "#eceff2"
MARKS = dict(zip(RHOS, ("o", "^", "D"), strict=True))


@styled
def plot_reserves(projection: Projection, ax: Axes, *, verifier: str) -> Axes:
    """Draw the reserves of every domain for one verifier: by coverage, measured, and identified for the loop.

    Parameters
    ----------
    ax
        Drawn into; about 0.5 inch of height a domain keep the bars apart.
    """
    domains = _domains(projection)
    for place, domain in enumerate(reversed(domains)):
        row = projection.row(domain, verifier)
        for index, (name, _, hue) in enumerate(RESERVES):
            y = place + 0.26 * (1 - index)
            value: Value = Value() if row is None else getattr(row, name)
            if value.known:
                style = (
                    {"facecolor": hue, "alpha": 0.75} if index < 2 else {"facecolor": PAPER, "hatch": "////"}
                )
                ax.barh(y, value.value, 0.22, edgecolor=hue, linewidth=1.0, **style)
                ax.plot([value.low, value.high], [y, y], color=INK, linewidth=1.1)
            else:
                why = _why(row, value, name)
                ax.annotate(
                    why, (0, y), xytext=(4, 0), textcoords="offset points", va="center",
                    fontsize="x-small", fontstyle="italic", color=GREY,
                )  # fmt: skip
    ax.axvline(0.0, color=GREY, linewidth=1.0)
    ax.set_yticks(range(len(domains)), [domain_label(domain) for domain in reversed(domains)])
    ax.tick_params(axis="y", length=0)
    ax.grid(False, axis="y")
    ax.set_ylim(-0.55, len(domains) - 0.45)
    ax.set_title(label(verifier) or "no verifier")
    ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    return ax


@styled
def plot_forecast(projection: Projection, ax: Axes, *, domain: str) -> Axes:
    """Draw accuracy against rounds of the loop in one domain, up to the horizon and past it.

    Up to the horizon a line with its band for each verifier. Past it, on grey, scenarios: the frozen judge held at what N responses
    show (dotted), coverage as a cap (dotted grey), and at the right edge where a judge would end that improves by rho a point.

    Parameters
    ----------
    ax
        Drawn into.
    domain
        A domain's name, or `all`.
    """
    rows = [row for row in projection if row.domain == domain and row.rounds]
    ax.set_title(domain_label(domain))
    if not rows:
        return _nothing(ax, "no verifier whose rounds can be folded")
    last = max(row.rounds[-1].t for row in rows)
    horizon = min(row.horizon_rounds or 0 for row in rows)
    if horizon < last:
        ax.axvspan(horizon, last + 0.75, color=SHADE, linewidth=0, zorder=0)
        ax.axvline(horizon, color=GREY, linewidth=1.0, zorder=1)
    cap = [(one.t, one.cap) for one in rows[0].rounds if math.isfinite(one.cap)]
    if cap:
        ax.plot(
            *zip(*cap, strict=True), color=GREY, linestyle=(0, (1, 1.2)), label="cap: coverage (scenario)"
        )
    verifiers = _verifiers(projection)
    for row in rows:
        index = verifiers.index(row.verifier)
        hue = colour(index)
        seen = [one for one in row.rounds if one.identified and one.expected.known]
        if not seen:
            continue
        t = [one.t for one in seen]
        values = [one.expected for one in seen]
        ax.fill_between(
            t, [v.low for v in values], [v.high for v in values], color=hue, alpha=0.15, linewidth=0
        )
        ax.plot(
            t, [v.value for v in values], color=hue, marker=marker(index), markersize=4,
            linestyle=(0, dashes(index)) if dashes(index) else "-", label=f"{label(row.verifier)} (projection)",
        )  # fmt: skip
        past = [one for one in row.rounds if not one.identified]
        if past:
            held = [values[-1].value, *[one.held for one in past]]
            ax.plot(
                [t[-1], *[one.t for one in past]], held, color=hue, linestyle=(0, (1, 1.5)), linewidth=1.2
            )
        shift = 0.2 + 0.16 * index
        for one in row.moving_judge:
            if math.isfinite(one.plateau):
                style: dict[str, Any] = {"markerfacecolor": PAPER, "markersize": 4, "linestyle": "none"}
                ax.plot(last + shift, one.plateau, marker=MARKS[one.rho], color=hue, **style)
    ax.set_xlim(-0.15, last + 0.75)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    return ax


@styled
def plot_coverage(projection: Projection, ax: Axes, *, domain: str) -> Axes:
    """Draw pass@k in one domain: measured up to N, and beyond it the line with its band and what other models say.

    Parameters
    ----------
    ax
        Drawn into.
    domain
        A domain's name, or `all`.
    """
    ax.set_title(domain_label(domain))
    row = next((row for row in projection if row.domain == domain), None)
    inside = [one for one in row.coverage if one.measured and one.known] if row else []
    if row is None or not inside:
        return _nothing(ax, "not estimable")
    beyond = [one for one in row.coverage if not one.measured and math.isfinite(one.value)]
    hue = colour(0)
    _band(ax, inside, hue, 0.25)
    ax.plot(
        [one.k for one in inside], [one.value for one in inside], color=hue, marker="o", markersize=3.5,
        label="pass@k, 95 % (measurement)",
    )  # fmt: skip
    if beyond:
        joined = [inside[-1], *beyond]
        ax.axvspan(inside[-1].k, beyond[-1].k * 1.15, color=SHADE, linewidth=0, zorder=0)
        ax.axvline(inside[-1].k, color=GREY, linewidth=1.0, zorder=1)
        _band(ax, beyond, hue, 0.15)
        # A single point has no area.
        for one in beyond:
            if math.isfinite(one.low) and math.isfinite(one.high):
                ax.plot([one.k, one.k], [one.low, one.high], color=hue, linewidth=1.4)
        ax.plot(
            [one.k for one in joined], [one.value for one in joined], color=hue, linestyle=(0, (4, 1.5)),
            label="line beyond N, 90 % band (projection)",
        )  # fmt: skip
        for name, words, line in (
            ("beta_binomial", "beta-binomial (sensitivity)", (0, (1, 1.2))),
            ("zero_inflated", "zero-inflated (sensitivity)", (0, (3, 1.2, 1, 1.2))),
        ):
            points = [(one.k, getattr(one, name)) for one in beyond if math.isfinite(getattr(one, name))]
            if points:
                points.insert(0, (inside[-1].k, inside[-1].value))
                ax.plot(*zip(*points, strict=True), color=INK, linewidth=1.0, linestyle=line, label=words)
    else:
        ax.text(
            0.98, 0.03, "no point beyond N", transform=ax.transAxes, ha="right", color=GREY,
            fontsize="small", fontstyle="italic",
        )  # fmt: skip
    ax.set_xscale("log", base=2)
    powers = np.arange(math.log((beyond or inside)[-1].k, 4) + 1e-9)
    ax.xaxis.set_major_locator(FixedLocator((4.0**powers).tolist()))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    ax.set_ylim(top=min(1.03, ax.get_ylim()[1]))
    ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    return ax


@styled
def reserve_figure(projection: Projection) -> Figure:
    """`plot_reserves`, one panel a verifier."""
    verifiers = _verifiers(projection)
    rows = len(_domains(projection))
    figure = Figure(figsize=(1.4 + 2.6 * len(verifiers), 1.5 + 0.5 * rows))
    for ax, verifier in zip(
        figure.subplots(1, len(verifiers), squeeze=False, sharey=True, sharex=True)[0], verifiers, strict=True
    ):
        plot_reserves(projection, ax, verifier=verifier)
    figure.supxlabel("gain in accuracy (95 % interval)", fontsize="medium")
    handles = [
        Patch(facecolor=hue, edgecolor=hue, alpha=0.75, label=words)
        if index < 2
        else Patch(facecolor=PAPER, edgecolor=hue, hatch="////", label=words)
        for index, (_, words, hue) in enumerate(RESERVES)
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=1)
    return figure


@styled
def forecast_figure(projection: Projection) -> Figure:
    """`plot_forecast` for every domain and all of them, one panel each."""
    figure = _grid(projection, plot_forecast, f"rounds of {label(projection.filter)}", "accuracy")
    signs = [
        Line2D(
            [],
            [],
            color=INK,
            marker=MARKS[rho],
            markerfacecolor=PAPER,
            markersize=4,
            linestyle="none",
            label=words,
        )
        for rho, words in (
            (0.0, "judge stays as it is (scenario)"),
            *((rho, f"judge gains {rho:g} for each point (scenario)") for rho in RHOS[1:]),
        )
    ]
    signs.append(
        Line2D([], [], color=INK, linestyle=(0, (1, 1.5)), linewidth=1.2, label="held at best@N (scenario)")
    )
    legend_above(figure, 2, signs)
    return figure


@styled
def coverage_figure(projection: Projection) -> Figure:
    """`plot_coverage` for every domain and all of them, one panel each."""
    figure = _grid(projection, plot_coverage, "k, responses drawn for a prompt", "coverage, pass@k")
    legend_above(figure, 2)
    return figure


def projection_figures(projection: Projection) -> dict[str, Figure]:
    """The three figures of a projection by the name of their file."""
    return {
        "reserves": reserve_figure(projection),
        "forecast": forecast_figure(projection),
        "coverage_beyond": coverage_figure(projection),
    }


def _grid(projection: Projection, draw: Callable[..., Axes], x: str, y: str) -> Figure:
    domains = _domains(projection)
    figure, axes = panels(len(domains), 3.0 if len(domains) > 1 else 5.0, 2.2, more=1.3)
    for ax, domain in zip(axes, domains, strict=True):
        draw(projection, ax, domain=domain)
    label_below(axes, x)
    figure.supylabel(y, fontsize="medium")
    return figure


def _domains(projection: Projection) -> list[str]:
    """Domains in order of appearance, all of them last where there is more than one."""
    own = [one for one in dict.fromkeys(row.domain for row in projection) if one != OVERALL]
    return [*own, OVERALL] if len(own) > 1 else own


def _verifiers(projection: Projection) -> list[str]:
    return list(dict.fromkeys(row.verifier for row in projection))


def _why(row: DomainProjection | None, value: Value, name: str) -> str:
    """Why there is no bar."""
    if row is None:
        return "not measured"
    if "no_verdicts" in row.flags:
        return "no verdicts"
    if "not_estimable" in value.flags:
        return "not estimable"
    if name == "reserve_identified" and any(flag.startswith("pool=") for flag in row.flags):
        return "sees the whole pool: no rounds"
    return "not estimable"


def _band(ax: Axes, points: Sequence[CoveragePoint], hue: str, alpha: float) -> None:
    kept = [one for one in points if math.isfinite(one.low) and math.isfinite(one.high)]
    ends = np.array([[one.k, one.low, one.high] for one in kept]).reshape(-1, 3).T
    ax.fill_between(*ends, color=hue, alpha=alpha, linewidth=0)


def _nothing(ax: Axes, words: str) -> Axes:
    ax.text(
        0.5,
        0.5,
        words,
        transform=ax.transAxes,
        ha="center",
        va="center",
        color=GREY,
        fontstyle="italic",
        wrap=True,
    )
    ax.set(xticks=[], yticks=[])
    return ax
