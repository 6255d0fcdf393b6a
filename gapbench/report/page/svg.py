"""Figures as part of a page: SVG that follows its light or dark colours, with values under the pointer."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup, escape
from matplotlib.figure import Figure

from gapbench.report.page.captions import CAPTIONS
from gapbench.report.page.hover import mark, titled
from gapbench.report.plots import save_figure, write_svg
from gapbench.report.projection import SHADE
from gapbench.report.style import COLOURS, GREY, GRID, INK, PAPER

PAGE_COLOURS = {
    INK: "currentColor",
    GREY: "var(--quiet)",
    PAPER: "var(--paper)",
    GRID: "var(--line)",
    SHADE: "var(--panel)",
    **{hue: f"var(--series-{place})" for place, hue in enumerate(COLOURS)},
}

BACKGROUND = re.compile(rf'(<path d="[^"]*") style="fill: {PAPER}"/>')  # of a figure and of its axes
DECIMALS = re.compile(r"""(?<=[\s"(,])(-?\d+\.\d\d)\d+(?=[\s")(,])""")


@dataclass(frozen=True)
class Drawn:
    """A figure of a page."""

    id: str
    title: str
    caption: str
    svg: Markup


def draw(figures: Mapping[str, Figure], prefix: str = "", folder: Path | None = None) -> tuple[Drawn, ...]:
    """Figures by the name of their file, as a page shows them.

    Parameters
    ----------
    prefix
        Of the ids, which are unique on a page.
    folder
        Where the figures are written too, as PNG and SVG.
    """
    drawn = []
    for name, figure in figures.items():
        words = mark(figure)
        if folder is None:
            raw = io.BytesIO()
            write_svg(figure, raw)
            svg = raw.getvalue().decode("utf-8")
        else:
            save_figure(figure, folder / name)
            svg = (folder / f"{name}.svg").read_text(encoding="utf-8")
        title, caption = CAPTIONS[name]
        drawn.append(Drawn(prefix + name, title, caption, inline(titled(svg, words), prefix + name, title)))
    return tuple(drawn)


def inline(svg: str, name: str, title: str) -> Markup:
    """An SVG file of matplotlib's as an element of a page.

    The ids that something refers to get `name` as a prefix, since several figures share a page; its size becomes a maximum.
    What a page does not need goes: other ids, backgrounds, the names of fonts, space between elements, and decimals of a point
    beyond two.
    """
    head, _, body = svg[svg.index("<svg") :].partition(">")
    box = re.search(r'viewBox="[\d. -]+"', head)
    width = re.search(r'width="([\d.]+)pt"', head)
    if box is None or width is None:
        raise ValueError("matplotlib's SVG has no viewBox or width")
    body = re.sub(r"<(style|metadata).*?</\1>", "", body, flags=re.DOTALL)
    body = BACKGROUND.sub(r'\1 style="fill: none"/>', body)
    body = re.sub(
        r' fill="(#[0-9a-f]{6})"', r' style="fill: \1"', body
    )  # of a hatch; attributes take no var()
    used = set(re.findall(r'(?:href="|url\()#([\w.-]+)', body))
    body = re.sub(
        r' id="([^"]*)"', lambda found: f' id="{name}-{found[1]}"' if found[1] in used else "", body
    )
    body = re.sub(r'xlink:href="#', f'href="#{name}-', body).replace("url(#", f"url(#{name}-")
    body = re.sub(r"""font-family: [^;"]*(; )?""", "", body)
    body = re.sub(r' transform="rotate\(-?0 [^"]*"', "", body)
    body = re.sub(r"<[^>]*>", lambda tag: DECIMALS.sub(r"\1", tag[0]), body)
    body = re.sub(r">\s+<", "><", body)
    body = re.sub(r"\s*\n\s*", " ", body)
    for colour, variable in PAGE_COLOURS.items():
        body = body.replace(f": {colour}", f": {variable}")
    style = f"--width: {width[1]}pt"
    return Markup(f'<svg role="img" aria-label="{escape(title)}" {box[0]} style="{style}">') + Markup(body)
