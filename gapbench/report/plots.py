"""Figures from estimates and panels: each takes an `ax`, draws one thing and gives the `ax` back.

Nothing here touches pyplot or leaves matplotlib's settings changed, so the functions can be used inside anyone's own
figure, on any backend. What is not estimable is named in words and never drawn as a number.

`gapbench.plots` is the public way to these and to all others.

>>> figure = gap_figure(estimates)  # doctest: +SKIP
>>> save_figure(figure, "figures/gap_by_domain")  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Literal, get_args

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from gapbench.errors import UserError
from gapbench.estimate.results import Estimate, Estimates
from gapbench.panel import Float, Panel
from gapbench.report.style import (
    GREY,
    INK,
    PAPER,
    colour,
    dashes,
    domain_label,
    label,
    marker,
    right_style,
    styled,
    wrong_style,
)
from gapbench.report.view import OVERALL, WORDS, View, drawable, read

MOST_BARS = 24  # up to so many distinct scores, each has a bar of its own and ties are seen
BINS = 20
TAIL = 0.005  # share of scores at either end that the outermost bins take in, lest a few stretch the axis
FEW = 3  # verifiers whose bands can lie over each other and be told apart by their shade

Format = Literal["png", "svg", "pdf"]


@styled
def plot_gap_by_domain(data: Estimates | pd.DataFrame, ax: Axes) -> Axes:
    """Draw the headline gap of every domain and verifier with its interval.

    Domains are sorted by their largest gap, with all domains together below; a hollow marker means that the interval
    includes zero. Where there is nothing to draw, the reason stands in the row, and where a verifier judged some of the
    tasks only, how many.

    Parameters
    ----------
    data
        Estimates of one model, or their frame.
    ax
        Drawn into; about 0.2 inch of height a domain and verifier keep labels apart.

    Raises
    ------
    UserError
        If `data` holds no or several models.
    """
    view = View(data)
    domains = [*sorted(view.domains, key=lambda domain: _largest_gap(view, domain)), OVERALL]
    step = 0.8 / max(len(view.judging), 1)
    words = []
    for place, domain in enumerate(reversed(domains)):
        for index, verifier in enumerate(view.judging):
            row = view.headline(domain, verifier)
            y = place + 0.4 - step * (index + 0.5)
            if row is not None and drawable(row):
                _point(ax, row, y, index)
                if part := _part(row):
                    words.append((y, row.high, f"{part} only"))
            else:
                words.append((y, 0.0, f"{label(verifier)}: {WORDS[read(row)]}"))
    ax.axvline(0.0, color=GREY, linewidth=1.0, zorder=1.5)
    for y in np.arange(len(domains) - 1) + 0.5:
        ax.axhline(y, color=GREY, linewidth=1.2 if y == 0.5 else 0.4, alpha=0.5)
    ax.margins(x=0.05)
    for y, x, text in words:
        ax.annotate(
            text,
            (x, y),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize="small",
            fontstyle="italic",
            color=GREY,
        )
    ax.set_ylim(-0.55, len(domains) - 0.45)
    ax.set_yticks(range(len(domains)), [domain_label(domain) for domain in reversed(domains)])
    ax.tick_params(axis="y", length=0)
    ax.grid(False, axis="y")
    ax.set_xlabel("gap: accuracy after filtering − accuracy (95 % interval)")
    ax.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    ax.xaxis.set_major_formatter(
        FuncFormatter(lambda x, _: "0" if abs(x) < 1e-9 else f"{x:+.3g}".replace("-", "−"))
    )
    handles = [
        Line2D([], [], color=colour(index), marker=marker(index), label=_verifier_label(view, verifier))
        for index, verifier in enumerate(view.judging)
    ]
    handles.append(
        Line2D(
            [], [], color=GREY, marker="o", markerfacecolor=PAPER, label="hollow: no gap shown", linewidth=1.6
        )
    )
    handles += [Line2D([], [], linestyle="none", label=f"{label(name)}: no verdicts") for name in view.silent]
    ax.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)
    return ax


@styled
def plot_selection_curves(data: Estimates | pd.DataFrame, ax: Axes, *, domain: str = OVERALL) -> Axes:
    """Draw accuracy after filtering against n in one domain, with 95 % bands.

    One curve for best@n of each verifier, one for majority@n and one for pass@n, the ceiling. A verifier that sees the
    whole pool is a single point at n = N.

    Parameters
    ----------
    data
        Estimates of one model, or their frame.
    ax
        Drawn into.
    domain
        A domain's name, or `all`.

    Raises
    ------
    UserError
        If `data` holds no or several models.
    """
    view = View(data)
    shade = 0.13 if len(view.judging) <= FEW else 0.07
    _curve(ax, view.curve(domain, "pass@k"), "pass@n (any right)", GREY, "", (1, 1), shade)
    _curve(ax, view.curve(domain, "accuracy", family="majority"), "majority@n", INK, "", (6, 2, 1, 2), shade)
    words = []
    for index, verifier in enumerate(view.judging):
        rows = view.curve(domain, "accuracy", verifier, family="best")
        name = f"best@n, {label(verifier)}"
        if view.whole_pool(verifier):
            _pool_points(ax, rows, name, index)
        else:
            _curve(ax, rows, name, colour(index), marker(index), dashes(index), shade)
        if not rows:
            words.append(f"{label(verifier)}: {WORDS[read(view.headline(domain, verifier))]}")
        if absent := [str(row.n) for row in rows if not drawable(row)]:
            words.append(f"{label(verifier)}, n = {', '.join(absent)}: {WORDS['not_estimable']}")
        if part := next((_part(row) for row in rows if _part(row)), ""):
            words.append(f"{label(verifier)}: {part} only")
    base = view.get(domain, "accuracy", filter="")
    if drawable(base) and base is not None:
        ax.axhline(base.value, color=GREY, linewidth=0.8, zorder=1.5)
    if words:  # curves rise to the right, so that this corner is free
        _corner(ax, 0.02, "left", "\n".join(words))
    ticks = sorted({row.n for row in view.find(domain, "pass@k") if row.n is not None}) or [1]
    ax.set_xscale("log", base=2)
    ax.set_xlim(0.9, ticks[-1] * 1.15)
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    ax.set_title(domain_label(domain))
    return ax


@styled
def plot_score_distributions(
    panels: Sequence[Panel],
    ax: Axes,
    *,
    verifier: str,
    domain: str,
    estimates: Estimates | pd.DataFrame | None = None,
) -> Axes:
    """Draw how a verifier's scores are distributed for right and for wrong responses of one domain.

    Each of the two histograms sums to 1; a response of utility u counts u as right and 1 - u as wrong. Up to
    `MOST_BARS` distinct scores have a bar each, so that ties show as what they are. Of more, the outermost bins hold the
    lowest and the highest half per cent too.

    Parameters
    ----------
    panels
        One a task; those of other domains are passed over.
    ax
        Drawn into.
    estimates
        Gives the AUC within prompts for the title.
    """
    scores, utility, tied = _scored(panels, domain, verifier)
    title = f"{domain_label(domain, 20)} · {label(verifier, 14)}"
    auc = None if estimates is None else View(estimates).get(domain, "auc_within", verifier)
    if auc is not None:
        shown = f"{auc.value:.2f} [{auc.low:.2f}, {auc.high:.2f}]" if drawable(auc) else "not estimable"
        title += f"\nAUC within {shown}"
    ax.set_title(title, fontsize="medium", fontweight="normal")
    if not len(scores):
        ax.text(
            0.5,
            0.5,
            "no verdicts",
            transform=ax.transAxes,
            ha="center",
            va="center",
            color=GREY,
            fontstyle="italic",
        )
        ax.set(xticks=[], yticks=[])
        return ax
    levels = np.unique(scores)
    if len(levels) <= MOST_BARS:
        _bars(ax, levels, scores, utility)
    else:
        ends = np.quantile(scores, (TAIL, 1.0 - TAIL))
        low, high = ends if ends[0] < ends[1] else (levels[0], levels[-1])
        edges = np.linspace(low, high, BINS + 1).tolist()
        scores = np.clip(scores, low, high)
        for weight, style in ((utility, right_style()), (1.0 - utility, wrong_style())):
            if weight.sum() > 0:
                ax.hist(scores, edges, weights=weight / weight.sum(), histtype="stepfilled", **style)
    share = "" if tied is None else f", {100 * tied:.0f} % of pairs tied"
    _corner(ax, 0.99, "right", f"{len(levels):,} distinct{share}")
    ax.set_ylim(0, ax.get_ylim()[1] * 1.22)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.yaxis.set_major_locator(MaxNLocator(3))
    ax.grid(False, axis="x")
    return ax


def save_figure(
    figure: Figure, path: str | Path, *, formats: Sequence[Format] = ("png", "svg")
) -> tuple[Path, ...]:
    """Write a figure as `path`.png, `path`.svg and `path`.pdf, or some of them; the same figure gives the same bytes.

    No file holds a date or a random name. PNG has 150 dpi, SVG has its words as text, PDF has its fonts within (TrueType).

    Parameters
    ----------
    path
        Without a suffix; its folder is made where it is missing.
    formats
        What to write, in this order.

    Returns
    -------
    The files, one for each format.

    Raises
    ------
    UserError
        If a format is none of these.
    """
    if unknown := [one for one in formats if one not in WRITE]:
        raise UserError(f"format {unknown[0]!r}: figures are written as {', '.join(get_args(Format))}")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    written = tuple(path.with_name(f"{path.name}.{one}") for one in formats)
    for one, file in zip(formats, written, strict=True):
        WRITE[one](figure, file)
    return written


def _write_png(figure: Figure, target: Path) -> None:
    figure.savefig(target, dpi=150, metadata={"Software": None})


def write_svg(figure: Figure, target: Path | IO[bytes]) -> None:
    """Write a figure as SVG to a path or a binary file, with text as text and without date or random ids."""
    with mpl.rc_context({"svg.hashsalt": "gapbench", "svg.fonttype": "none"}):
        figure.savefig(target, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))


def _write_pdf(figure: Figure, target: Path) -> None:
    with mpl.rc_context({"pdf.fonttype": 42}):  # which publishers ask for
        figure.savefig(target, format="pdf", metadata=dict.fromkeys(("CreationDate", "Creator", "Producer")))


WRITE: dict[Format, Callable[[Figure, Path], None]] = {"png": _write_png, "svg": write_svg, "pdf": _write_pdf}


def _verifier_label(view: View, verifier: str) -> str:
    n = view.headline_n(verifier)
    return label(verifier) if n is None else f"{label(verifier)}, best@{n}"


def _part(row: Estimate) -> str:
    """How many tasks a row is of, as in `5 of 25 tasks`; empty where it is of all."""
    return next((flag.removeprefix("partial:") for flag in row.flags if flag.startswith("partial:")), "")


def _largest_gap(view: View, domain: str) -> tuple[float, str]:
    rows = [view.headline(domain, verifier) for verifier in view.judging]
    return -max((row.value for row in rows if row is not None and drawable(row)), default=-np.inf), domain


def _point(ax: Axes, row: Estimate, y: float, index: int) -> None:
    sure = row.low > 0 or row.high < 0
    ax.plot([row.low, row.high], [y, y], color=colour(index), linewidth=1.8, solid_capstyle="butt", zorder=2)
    ax.plot(
        row.value,
        y,
        marker(index),
        color=colour(index),
        markerfacecolor=colour(index) if sure else PAPER,
        markeredgewidth=1.4,
        zorder=3,
    )


def _curve(
    ax: Axes,
    rows: Sequence[Estimate],
    name: str,
    hue: str,
    sign: str,
    line: tuple[float, ...],
    shade: float,
) -> None:
    rows = [row for row in rows if drawable(row)]
    if not rows:
        return
    n = [row.n or 0 for row in rows]
    low, high = [row.low for row in rows], [row.high for row in rows]
    ax.fill_between(n, low, high, color=hue, alpha=shade, linewidth=0)
    drawn = (0, line) if line else "-"
    ax.plot(n, [row.value for row in rows], color=hue, marker=sign, markersize=4, linestyle=drawn, label=name)


def _pool_points(ax: Axes, rows: Sequence[Estimate], name: str, index: int) -> None:
    for row in filter(drawable, rows):
        n, hue = row.n or 0, colour(index)
        ax.plot([n, n], [row.low, row.high], color=hue, linewidth=1.8, zorder=3)
        ax.plot(n, row.value, marker(index), color=hue, label=f"{name} (n = N only)", zorder=4)


def _corner(ax: Axes, x: float, side: Literal["left", "right"], text: str) -> None:
    ax.text(x, 0.98, text, transform=ax.transAxes, ha=side, va="top", color=GREY, fontsize="small")


def _bars(ax: Axes, levels: Float, scores: Float, utility: Float) -> None:
    """A pair of bars side by side at each distinct score."""
    place = np.searchsorted(levels, scores)
    width = 0.4 * float(np.diff(levels).min()) if len(levels) > 1 else 0.1
    span = float(np.ptp(levels)) or 1.0
    width = max(width, 0.008 * span)
    for weight, side, style in ((utility, -0.5, right_style()), (1.0 - utility, 0.5, wrong_style())):
        if weight.sum() > 0:
            share = np.bincount(place, weights=weight, minlength=len(levels)) / weight.sum()
            ax.bar(levels + side * width, share, width, **style)


def _scored(panels: Sequence[Panel], domain: str, verifier: str) -> tuple[Float, Float, float | None]:
    """Scores and utilities of the judged responses of a domain, and the tied share of right-wrong pairs.

    Pairs are of one prompt, weighted by u(1 - u'); None where there is no such pair.
    """
    scores, utilities, tied, pairs = [np.empty(0)], [np.empty(0)], 0.0, 0.0
    for panel in panels:
        if panel.domain != domain or verifier not in panel.scores:
            continue
        score = panel.scores[verifier].mean
        for s, u in zip(score, panel.utility, strict=True):
            kept = ~(np.isnan(s) | np.isnan(u))
            s, u = s[kept], u[kept]
            scores.append(s)
            utilities.append(u)
            pairs += u.sum() * (1 - u).sum() - (u * (1 - u)).sum()
            _, level = np.unique(s, return_inverse=True)
            right, wrong = np.bincount(level, weights=u), np.bincount(level, weights=1 - u)
            tied += float(right @ wrong) - (u * (1 - u)).sum()
    return np.concatenate(scores), np.concatenate(utilities), tied / pairs if pairs > 1e-9 else None
