"""Reports from synthetic numbers: nothing here was measured on a model."""

from __future__ import annotations

import ast
import base64
import hashlib
import io
import itertools
import math
import re
import subprocess
import sys
import unicodedata
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from rich.console import Console

import gapbench
from gapbench.errors import UserError
from gapbench.estimate.results import Estimate, Estimates
from gapbench.estimate.table import estimate_panels
from gapbench.panel import Panel, Scores
from gapbench.report import summary
from gapbench.report.costs import cost_lines, engine_share, stage_costs
from gapbench.report.definitions import DEFINITIONS
from gapbench.report.figures import report_figures, selection_figure
from gapbench.report.page import about, content, firstscreen, grids, quality
from gapbench.report.page.captions import CAPTIONS
from gapbench.report.page.cells import minus
from gapbench.report.page.examples import MOST, choose
from gapbench.report.page.html import TEMPLATES, write_report
from gapbench.report.page.pages import RunPage
from gapbench.report.page.svg import draw
from gapbench.report.plots import (
    plot_gap_by_domain,
    plot_score_distributions,
    plot_selection_curves,
    save_figure,
)
from gapbench.report.style import COLOURS, PAPER
from gapbench.report.tables import print_table
from gapbench.report.text import interval, number, one_line, visible
from gapbench.report.view import View, as_estimates, drawable, read

N, PROMPTS, M = 16, 48, 1
NS = (1, 2, 4, 8, 16)
NAN = float("nan")

# Synthetic truth a domain: accuracy, gap of `yesno` at best@8, half-width.
DOMAINS: dict[str, tuple[float, float, float]] = {
    "arithmetic": (0.50, 0.062, 0.028),
    "capitals": (0.69, 0.008, 0.031),
    "gcd": (0.41, 0.000, 0.000),  # a zero gap: the verifier cannot tell
    "multiple choice": (0.35, -0.041, 0.030),
    "ordering": (0.63, 0.091, 0.040),
    "word sorting": (0.22, 0.030, 0.700),  # too wide to be estimable
}


def row(domain: str, quantity: str, value: float, half: float, *, filter: str = "", n: int | None = None,
        verifier: str = "", flags: tuple[str, ...] = (), task: str = "", signed: bool = True) -> Estimate:  # fmt: skip
    low, high = value - half, value + half
    if not signed:
        low, high = max(low, 0.0), min(high, 1.0)
    domains = len(DOMAINS) if domain == "all" else 1
    return Estimate(
        model="synthetic-model", domain=domain, task=task, verifier=verifier, quantity=quantity, filter=filter, n=n,
        m=M if verifier else None, target="population", value=value, se=half / 2, low=low, high=high,
        n_prompts=PROMPTS * domains, n_responses=PROMPTS * domains * N, flags=flags,
    )  # fmt: skip


def domain_rows(domain: str, accuracy: float, gap: float, half: float, task: str = "") -> list[Estimate]:
    def one(quantity: str, value: float, half: float, **more: Any) -> Estimate:
        return row(domain, quantity, value, half, task=task, **more)

    wide = ("not_estimable",) if half > 0.5 else ("degenerate",) if half == 0 else ()
    rows = [one("accuracy", accuracy, 0.08, signed=False)]
    for n in NS:
        reach = math.log2(n) / 3
        ceiling = 1 - (1 - accuracy) ** (1 + reach)
        rows.append(one("pass@k", ceiling, 0.06, n=n, signed=False))
        vote = 0.05 * reach
        rows.append(one("accuracy", accuracy + vote, 0.08, filter=f"majority@{n}", n=n, signed=False))
        rows.append(one("gap", vote, 0.03 * (n > 1), filter=f"majority@{n}", n=n))
        at = {"filter": f"best@{n}", "n": n, "verifier": "yesno", "flags": wide if n > 1 else ()}
        rows.append(one("accuracy", accuracy + gap * reach, 0.08, signed=False, **at))
        rows.append(one("gap", gap * reach, half * (n > 1), **at))
    pool = {"filter": f"best@{N}", "n": N, "verifier": "majority", "flags": (f"pool={N}",)}
    for verifier, at in (
        ("yesno", {"filter": "best@8", "n": 8, "verifier": "yesno", "flags": wide}),
        ("majority", pool),
    ):
        lift = gap if verifier == "yesno" else gap / 2
        width = half if verifier == "yesno" else 0.03
        if verifier == "majority":
            rows.append(one("accuracy", accuracy + lift, 0.08, signed=False, **at))
            rows.append(one("gap", lift, width, **at))
        rows.append(one("relative_gap", lift / (1 - accuracy), width / (1 - accuracy), **at))
        rows.append(one("relative_gap_per_prompt", lift, width * 2, **at))
        rows.append(one("oracle_share", lift / 0.3, width / 0.3, **at))
        rows.append(one("shortfall", 0.3 - lift, 0.05, **at))
        rows.append(one("gap_permuted", 0.002, 0.02, **at))
        whole = {"verifier": verifier, "flags": tuple(f for f in at["flags"] if f.startswith("pool"))}
        for quantity in ("gap", "gap_pooled", "prompt_mix", "gap_permuted", "gap_pooled_permuted"):
            rows.append(one(quantity, 0.01, 0.02, filter="threshold", **whole))
            rows.append(one(quantity, 0.005, 0.01, filter="soft", **whole))
        for quantity in (
            "tpr",
            "fpr",
            "precision",
            "precision_ceiling",
            "youden",
            "verifier_gain",
            "nothing_passes",
        ):
            rows.append(one(quantity, 0.4, 0.1, filter="threshold", signed=False, **whole))
        rows.append(one("auc_within", 0.5 + 2 * lift, 0.05, signed=False, **whole))
        rows.append(one("auc_between", 0.6, 0.05, signed=False, **whole))
    mute = one("gap", NAN, NAN, verifier="mute", flags=("no_verdicts",))
    return [*rows, replace(mute, n_prompts=0, n_responses=0)]


def synthetic_estimates() -> Estimates:
    rows: list[Estimate] = []
    for domain, (accuracy, gap, half) in DOMAINS.items():
        rows += domain_rows(domain, accuracy, gap, half, task=f"{domain}-task")
        rows += domain_rows(domain, accuracy, gap, half)
    return Estimates([*rows, *domain_rows("all", 0.467, 0.025, 0.018)])


def synthetic_panels(seed: int = 0) -> list[Panel]:
    rng = np.random.default_rng(seed)
    panels = []
    for domain, (accuracy, gap, _) in DOMAINS.items():
        p = rng.beta(3 * accuracy, 3 * (1 - accuracy), PROMPTS)
        utility = (rng.random((PROMPTS, N)) < p[:, None]).astype(float)
        latent = rng.normal(size=utility.shape) + 12 * gap * utility
        share = np.round((utility * p[:, None] + (1 - utility) * (1 - p[:, None])) * N) / N
        censored = rng.random(utility.shape) < 0.01
        answers = np.where(censored, -1, utility.astype(np.int64))
        yesno = 1 / (1 + np.exp(-latent))
        yesno[0, 0] = np.nan
        scores = {
            "yesno": Scores(yesno[:, :, None]),
            "majority": Scores(share[:, :, None], whole_pool=True),
            "mute": Scores(np.full((PROMPTS, N, 1), np.nan)),
        }
        ids = tuple(f"p{i}" for i in range(PROMPTS))
        utility[1, 1] = utility[2, 2] = np.nan
        censored[1, 1], censored[2, 2] = False, True  # never drawn; lost to an error
        panels.append(
            Panel(f"{domain}-task", domain, ids, np.arange(PROMPTS), utility, censored, answers, scores)
        )
    return panels


MANIFEST: dict[str, Any] = {
    "gapbench": "0.0.1",
    "created": "2030-01-01T00:00:00+00:00",
    "suite": {"name": "synthetic", "digest": "0" * 16},
    "config": {"model": "synthetic-model", "n": N, "temperature": None},
    "tasks": {f"{domain}-task": {"sampling": {"temperature": 0.7, "stop": ["\n"]}, "card": {"limits": "made up"}} for domain in DOMAINS},
    "sessions": [
        {"stage": "sample", "started": "t", "rows": 4000, "requests": 4000, "tokens": 52000, "seconds": 300.5,
         "statuses": {"stop": 3990, "length": 10}},
        {"stage": "sample", "started": "t"},
        {"stage": "verify", "started": "t", "rows": 4600, "requests": 2100, "tokens": 2100, "seconds": 120.0,
         "statuses": {"scored": 4500, "unparsed": 100}},
    ],
}  # fmt: skip

HOSTILE = (
    '<script>alert("x")</script><img src=x onerror=alert(1)>"><svg onload=alert(2)>\n'
    "\x1b[31mred\x1b[0m \x07bell \u202eevil\u202c \u200bzero \x9b31m \ud800\n"
    "{{ 7 * 7 }} {% raw %} </pre></article></body> <!-- ]]> https://evil.example/x.js\n" + "A" * 1_000_000
)


def synthetic_examples() -> list[dict[str, Any]]:
    plain = {
        "domain": "arithmetic", "task": "arithmetic-task", "prompt_id": "p0", "response": 3,
        "why": "wrong, scored highest by yesno", "question": "What is 2 + 3?", "reference": ["5"], "text": "6",
        "answer": "6", "utility": 0.0, "status": "scored", "verdicts": {"yesno": 0.91, "mute": None},
    }  # fmt: skip
    hostile = dict.fromkeys(("question", "text", "answer", "why", "prompt_id", "status"), HOSTILE)
    return [
        plain,
        {**plain, **hostile, "reference": [HOSTILE], "verdicts": {HOSTILE: 0.5}, "domain": HOSTILE},
    ]


@pytest.fixture(scope="module")
def estimates() -> Estimates:
    return synthetic_estimates()


@pytest.fixture(scope="module")
def panels() -> list[Panel]:
    return synthetic_panels()


def first(count: int, estimates: Estimates, panels: list[Panel]) -> tuple[Estimates, list[Panel]]:
    """The first domains only, where more would only take time."""
    kept = ["all", *(panel.domain for panel in panels[:count])]
    return Estimates(each for each in estimates if each.domain in kept), panels[:count]


@pytest.fixture(scope="module")
def page(estimates: Estimates, panels: list[Panel], tmp_path_factory: pytest.TempPathFactory) -> Page:
    path = tmp_path_factory.mktemp("report") / "deep" / "report.html"
    return rendered(path, estimates, panels, MANIFEST, synthetic_examples())


def rendered(path: Path, estimates: Estimates, panels: list[Panel], manifest: dict[str, Any],
             examples: list[dict[str, Any]]) -> Page:  # fmt: skip
    written = write_report(path, [run_page(estimates, panels, manifest, examples)])
    assert written == path
    return Page(path.read_text(encoding="utf-8"))


def run_page(
    estimates: Estimates,
    panels: list[Panel],
    manifest: dict[str, Any],
    examples: list[dict[str, Any]],
    label: str = "",
) -> RunPage:
    return RunPage(
        label,
        View(estimates),
        manifest,
        quality.response_quality(panels),
        quality.verdict_quality(panels),
        examples,
        draw(report_figures(estimates, panels), label),
    )


class Page(HTMLParser):
    """Elements, attributes and text of a page, as a browser would see them."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._style = False
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._style = tag in ("style", "script")

    def handle_endtag(self, tag: str) -> None:
        self._style = False

    def handle_data(self, data: str) -> None:
        if not self._style:
            self.text += data

    def section(self, name: str) -> str:
        found = re.search(rf'<section id="{name}".*?</section>', self.source, flags=re.DOTALL)
        assert found, name
        return Page(found[0]).text


def renamed(
    estimates: Estimates, panels: list[Panel], names: dict[str, str]
) -> tuple[Estimates, list[Panel]]:
    """The same data under other domain and verifier names."""

    def name(old: str) -> str:
        return names.get(old, old)

    rows = [replace(each, domain=name(each.domain), verifier=name(each.verifier)) for each in estimates]
    boxes = [
        replace(
            each, domain=name(each.domain), scores={name(key): value for key, value in each.scores.items()}
        )
        for each in panels
    ]
    return Estimates(rows), boxes


def altered(estimates: Estimates, domain: str, verifier: str, **values: Any) -> Estimates:
    """Other values for one headline gap."""
    at = {"domain": domain, "verifier": verifier, "quantity": "gap", "task": ""}
    chosen = View(estimates).headline(domain, verifier)
    rows = [replace(each, **values) if each is chosen else each for each in estimates]
    assert chosen is not None
    assert all(getattr(chosen, key) == value for key, value in at.items())
    return Estimates(rows)


# text


@given(st.text(alphabet=st.characters(), max_size=200))
def test_visible_leaves_nothing_invisible(text: str) -> None:
    shown = visible(text)
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Cs") and c not in "\t\n"]
    shown.encode("utf-8")


def test_visible_keeps_ordinary_text_and_shows_hostile_marks() -> None:
    plain = "x² ≤ 5 → “ja”, 数学, مرحبا, é\n\tindented"
    assert visible(plain) == plain
    assert visible("\x1b[31m\x00\r\x7f\x9b\u202e\u200b\xad\ufeff\ud800\u2028") == (
        "␛[31m␀␍␡⟨U+009B⟩⟨U+202E⟩⟨U+200B⟩⟨U+00AD⟩⟨U+FEFF⟩⟨U+D800⟩⟨U+2028⟩"
    )


def test_visible_cuts_long_lines_and_texts_and_says_so() -> None:
    assert visible("a" * 1_000_000, line=10) == "a" * 10 + " … [999,990 more characters]"
    assert visible("a\nb\nc\nd", lines=2) == "a\nb\n… [2 more lines]"
    assert len(one_line("x y\n" * 1000, 20)) == 20


def test_numbers_have_no_negative_zero_and_no_nan() -> None:
    assert number(-0.0001, signed=True) == "+0.000"
    assert number(NAN) == "-"
    assert interval(-0.5, 0.25, signed=True) == "[-0.500, +0.250]"


# reading estimates


@pytest.mark.parametrize(
    ("low", "high", "flags", "word"),
    [
        (0.01, 0.05, (), "gap"),
        (-0.05, -0.01, (), "worse"),
        (-0.01, 0.05, (), "none"),
        (0.0, 0.05, (), "none"),
        (0.0, 0.0, ("degenerate",), "none"),
        (0.01, 0.05, ("descriptive",), "descriptive"),
        (0.01, 0.90, ("not_estimable",), "not_estimable"),
        (NAN, NAN, (), "not_estimable"),
        (NAN, NAN, ("no_verdicts",), "no_verdicts"),
    ],
)
def test_reading_of_an_interval(low: float, high: float, flags: tuple[str, ...], word: str) -> None:
    one = replace(row("d", "gap", 0.02, 0.0, flags=flags), low=low, high=high)
    assert read(one) == word
    assert drawable(one) == (word not in ("not_estimable", "no_verdicts"))


def test_headline_n_is_the_estimators_or_at_most_half_of_the_pool(estimates: Estimates) -> None:
    view = View(estimates)
    assert (view.headline_n("yesno"), view.headline_n("majority"), view.headline_n("mute")) == (8, 16, None)
    assert view.label("majority") == "gap[best@16, m=1, pool=N]"
    curves = View(Estimates(each for each in estimates if each.quantity in ("gap", "pass@k", "accuracy")))
    assert (curves.headline_n("yesno"), curves.headline_n("majority")) == (8, 16)
    small = View(Estimates(each for each in curves.estimates if (each.n or 0) <= 2))
    assert small.headline_n("yesno") == 2, "at n = 1 there is nothing to choose, whatever N is"


def test_a_frame_is_as_good_as_estimates(estimates: Estimates) -> None:
    back = as_estimates(estimates.to_frame())
    assert [repr(each) for each in back] == [repr(each) for each in estimates]
    with pytest.raises(UserError, match="no column 'flags'"):
        as_estimates(estimates.to_frame().drop(columns="flags"))
    flags = ("pool=16", "partial:5 of 25 tasks", "wide")
    part = Estimates(replace(each, flags=flags) for each in estimates)
    back = as_estimates(part.to_frame())
    assert {each.flags for each in back} == {flags}, "one flag has spaces of its own"


def test_one_model_at_a_time(estimates: Estimates) -> None:
    other = [replace(each, model="other") for each in estimates]
    with pytest.raises(UserError, match="2 models"):
        View(Estimates([*estimates, *other]))
    with pytest.raises(UserError, match="found none"):
        View(Estimates([]))


# words


def test_lead_counts_domains_whose_interval_excludes_zero(estimates: Estimates) -> None:
    assert summary.lead(View(estimates)) == (
        "Of 6 domains, 2 show a gap whose interval excludes zero with at least one of 2 verifiers: "
        "arithmetic and ordering."
    )
    fewer = altered(
        altered(estimates, "arithmetic", "yesno", low=-0.001), "arithmetic", "majority", low=-0.001
    )
    assert "1 shows a gap" in summary.lead(View(fewer))
    more = altered(estimates, "capitals", "yesno", low=0.001)
    assert "3 show a gap" in summary.lead(View(more))
    unsure = altered(more, "capitals", "yesno", low=0.001, flags=("descriptive",))
    assert "2 show a gap" in summary.lead(View(unsure))


def test_the_first_screen_answers_four_questions(estimates: Estimates) -> None:
    much, where, sure, when = firstscreen.cards([("", View(estimates))], [None])
    assert (much.question, much.answer) == ("How much headroom?", "+0.013 to +0.025")
    said = " ".join(text for _, text in much.said)
    assert "accuracy is 0.467" in said
    assert "+0.025 [+0.007, +0.043] (yesno, best@8) and +0.013 [−0.017, +0.042] (majority, best@16)" in said
    assert "A perfect verifier would reach 0.770 [0.710, 0.830] with the same 16 responses" in said
    assert "mute: no reply could be read as a verdict" in said
    assert where.answer == "2 of 6 domains"
    assert "arithmetic and ordering" in where.said[0][1]
    assert where.said[1][1] == "Choosing does harm by at least one verifier in: multiple choice."
    assert sure.answer == "± 0.030"
    told = " ".join(text for _, text in sure.said)
    assert "11 intervals were looked at" in told
    assert "0.6 of 11" in told
    assert "With shuffled scores the gap vanishes" in told
    assert when.answer == "not projected"
    assert "`gapbench project RUN`" in when.said[0][1]
    assert {kind for card in (much, where, sure) for kind, _ in card.said} == {"measurement"}


def test_cards_of_many_runs_stay_short(estimates: Estimates) -> None:
    two, nine = (
        firstscreen.cards([(f"run-{place}", View(estimates)) for place in range(count)], [None] * count)
        for count in (2, 9)
    )
    assert all(any("run-1: " in text for _, text in card.said) for card in two[:2])
    for card in nine:
        assert sum(len(text) for _, text in card.said) < 600
        assert not any("run-1: " in text for _, text in card.said)
    assert nine[0].answer == two[0].answer == "+0.013 to +0.025"
    said = " ".join(text for _, text in nine[0].said)
    assert "adds +0.025 (yesno) and +0.013 (majority)" in said
    assert "least and most of 2 verifiers and 9 runs" in nine[0].measure
    assert nine[1].said[0][1] == "Runs of 9 where a verifier shows a gap: arithmetic 9 and ordering 9."
    assert nine[2].said[1][1].startswith("99 intervals were looked at")


def test_what_covers_some_tasks_only_is_not_called_all_domains(estimates: Estimates) -> None:
    partial = Estimates(
        replace(each, flags=("partial:2 of 6 tasks",))
        if each.verifier == "yesno" and each.domain == "all"
        else each
        for each in estimates
    )
    much = firstscreen.cards([("", View(partial))], [None])[0]
    assert much.answer == "+0.013"
    said = [text for _, text in much.said]
    assert "yesno can judge 2 of 6 tasks only; it adds +0.025 [+0.007, +0.043] there (best@8)." in said
    last = grids.grid([("", View(partial))]).rows[-1]
    assert [one.interval for one in last[2:]] == ["[+0.007, +0.043], 2 of 6 tasks", "[−0.017, +0.042]"]


def test_the_grid_and_the_columns_of_several_runs_hold_the_same_numbers(estimates: Estimates) -> None:
    grid = grids.grid([("", View(estimates))])
    assert grid.headings == ("Domain", "Accuracy", "yesno, best@8", "majority, best@16")
    cells = {row[0].text: row[2] for row in grid.rows}
    assert (cells["arithmetic"].text, cells["arithmetic"].kind) == ("+0.062", "gap")
    assert (cells["multiple choice"].text, cells["multiple choice"].kind) == ("−0.041", "worse")
    assert (cells["word sorting"].text, cells["word sorting"].strip) == ("not estimable", None)
    strips = [row[column].strip for row in grid.rows for column in (2, 3) if row[column].strip]
    assert len({strip.zero for strip in strips}) == 1, "all on one scale"
    assert min(strip.low for strip in strips) == 0
    assert max(strip.high for strip in strips) == 100
    other = altered(estimates, "arithmetic", "yesno", value=-0.05, low=-0.08, high=-0.02)
    side = grids.side_by_side([("one", View(estimates)), ("two", View(other))])
    assert side.headings == ("Domain", "What", "one", "two")
    found = next(row for row in side.rows if (row[0].text, row[1].text) == ("arithmetic", "yesno"))
    assert [(cell.text, cell.kind) for cell in found[2:]] == [("+0.062", "gap"), ("−0.050", "worse")]
    few = Estimates(
        each for each in estimates if each.n != 16
    )  # another N: nothing at n = 16 to compare with
    apart = grids.side_by_side([("one", View(estimates)), ("two", View(few))])
    pools = [row for row in apart.rows if row[1].text == "majority"]
    assert all("best@16" in row[1].interval and row[3].text == "not measured" for row in pools)


def test_a_gap_that_another_run_leads_with_is_shown_where_it_was_measured(estimates: Estimates) -> None:
    half = Estimates(
        each
        for each in estimates
        if each.quantity != "relative_gap" and not (each.quantity == "pass@k" and (each.n or 0) > 8)
    )
    views = [("one", View(estimates)), ("two", View(half))]
    assert [view.headline_n("yesno") for _, view in views] == [8, 4]
    for table, key in (
        (grids.side_by_side(views), ("arithmetic", "yesno")),
        (grids.grid(views), ("yesno", "gap[best@8, m=1]")),
    ):
        rows = [row for row in table.rows if (row[0].text, row[1].text) == key]
        assert rows
        for row in rows:
            assert row[2].text == row[3].text != "not measured"


def test_a_loud_control_is_called_out(estimates: Estimates) -> None:
    assert all("as chance has it" in line for line in summary.control_reading(View(estimates)))
    loud = Estimates(
        replace(each, low=0.001) if each.quantity == "gap_permuted" and each.verifier == "majority" else each
        for each in estimates
    )
    quiet, shouting = summary.control_reading(View(loud))
    assert "0 of 5" in quiet
    assert "6 of 6 domain intervals exclude zero, too many for chance" in shouting


# terminal


def printed(estimates: Estimates, width: int, **more: Any) -> str:
    out = io.StringIO()
    print_table(estimates, Console(file=out, width=width, **more))
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 160])
def test_table_reads_without_colour(
    estimates: Estimates, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    text = printed(estimates, width)
    assert "\x1b" not in text
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    yesno = [line for line in lines if line.startswith(" yesno @8")]
    assert len(yesno) == 7
    words = ["gap", "no gap shown", "no gap shown*", "worse", "gap", "not estimable", "gap"]
    for line, word, number_ in zip(
        yesno, words, ["+0.062", "+0.008", "+0.000", "-0.041", "+0.091", "", "+0.025"], strict=True
    ):
        assert re.search(rf"(^|\s){re.escape(word)}(\s|$)", line), line
        assert ("no gap" in line) == word.startswith("no gap")
        assert number_ in line
    assert "+0.030" not in yesno[5], "a number that is not estimable must not be shown"
    assert "oracle" in text
    assert text.count("zero, good") == 2
    assert "mute: no reply could be read" in text.replace("\n", " ")
    assert "target: population" in text.replace("\n", " ")


def test_table_shows_names_as_they_are(estimates: Estimates, panels: list[Panel]) -> None:
    odd, _ = renamed(estimates, panels, {"gcd": "[red]g\x1b[2J", "yesno": "[/]v"})
    text = printed(odd, 160, force_terminal=False)
    assert "[red]g␛[2J" in text
    assert " [/]v @8" in text


def test_table_for_each_model_and_bounds(estimates: Estimates) -> None:
    cut = altered(estimates, "capitals", "yesno", bound_low=-0.02, bound_high=0.04, flags=("censored",))
    other = Estimates([*cut, *(replace(each, model="other") for each in estimates)])
    text = printed(other, 160)
    assert "synthetic-model:" in text
    assert "other:" in text
    assert "capitals/yesno: bounds of the gap over cut responses [-0.020, +0.040]" in text
    assert "* censored: more than 1 %" in text


# plots


def test_gap_plot_draws_what_is_estimable_and_names_the_rest(estimates: Estimates) -> None:
    ax = plot_gap_by_domain(estimates, Figure().subplots())
    points = sorted(float(line.get_xdata()[0]) for line in ax.lines if line.get_marker() in ("o", "s"))
    view = View(estimates)
    wanted = [each for _, _, each in view.headlines() if drawable(each)]
    wanted += [view.headline("all", verifier) for verifier in ("yesno", "majority")]
    assert len(wanted) == 13
    assert points == pytest.approx(sorted(each.value for each in wanted))
    assert [text.get_text() for text in ax.texts] == ["yesno: not estimable"]
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["yesno, best@8", "majority, best@16", "hollow: no gap shown", "mute: no verdicts"]
    names = [text.get_text() for text in ax.get_yticklabels()]
    assert names[0] == "all domains"
    assert names[-2:] == ["arithmetic", "ordering"]


def test_hollow_markers_are_the_intervals_that_include_zero(estimates: Estimates) -> None:
    ax = plot_gap_by_domain(estimates, Figure().subplots())
    hollow = sum(
        line.get_markerfacecolor() == "#ffffff" for line in ax.lines if line.get_marker() in ("o", "s")
    )
    assert hollow == 7  # capitals and gcd by yesno; four domains and the overall gap by majority


def test_curves_leave_out_what_is_not_estimable(estimates: Estimates) -> None:
    axes = {domain: Figure().subplots() for domain in ("arithmetic", "word sorting")}
    for domain, ax in axes.items():
        assert plot_selection_curves(estimates.to_frame(), ax, domain=domain) is ax

    def best(domain: str) -> list[float]:
        return next([*line.get_xdata()] for line in axes[domain].lines if line.get_label() == "best@n, yesno")

    assert best("arithmetic") == list(NS)
    assert best("word sorting") == [1]
    assert [text.get_text() for text in axes["word sorting"].texts] == [
        "yesno, n = 2, 4, 8, 16: not estimable"
    ]
    pool = [line for line in axes["arithmetic"].lines if "n = N only" in str(line.get_label())]
    assert [list(line.get_xdata()) for line in pool] == [[N]]


def test_score_plot_shows_ties_and_sums_to_one(estimates: Estimates, panels: list[Panel]) -> None:
    ax = plot_score_distributions(
        panels, Figure().subplots(), verifier="majority", domain="gcd", estimates=estimates
    )
    levels = np.unique(panels[2].scores["majority"].mean[~np.isnan(panels[2].utility)])
    assert len(ax.patches) == 2 * len(levels)
    heights = [patch.get_height() for patch in ax.patches]
    assert sum(heights[: len(levels)]) == pytest.approx(1)
    assert sum(heights[len(levels) :]) == pytest.approx(1)
    assert "AUC within 0.50 [0.45, 0.55]" in ax.get_title(loc="left")
    silent = plot_score_distributions(panels, Figure().subplots(), verifier="mute", domain="gcd")
    assert [text.get_text() for text in silent.texts] == ["no verdicts"]
    assert not silent.patches


def test_tied_share_of_pairs_equals_brute_force() -> None:
    rng = np.random.default_rng(5)
    utility = rng.choice([0.0, 0.3, 1.0], (4, 6))
    score = rng.choice([0.1, 0.2, 0.3], (4, 6))
    score[0, 0] = utility[1, 1] = np.nan
    panel = Panel("t", "d", tuple("abcd"), np.arange(4), utility, np.zeros((4, 6), bool), np.zeros((4, 6), int),
                  {"v": Scores(score[:, :, None])})  # fmt: skip
    tied = total = 0.0
    for s, u in zip(score, utility, strict=True):
        for i, j in itertools.permutations(range(6), 2):
            if not np.isnan([s[i], s[j], u[i], u[j]]).any():
                total += u[i] * (1 - u[j])
                tied += u[i] * (1 - u[j]) * (s[i] == s[j])
    ax = plot_score_distributions([panel], Figure().subplots(), verifier="v", domain="d")
    assert ax.texts[0].get_text() == f"3 distinct, {100 * tied / total:.0f} % of pairs tied"


def test_plots_leave_matplotlib_as_it_was(estimates: Estimates, panels: list[Panel]) -> None:
    before = dict(mpl.rcParams)
    report_figures(*first(1, estimates, panels))
    assert dict(mpl.rcParams) == before
    code = "import sys, gapbench.report.page.html, gapbench.report.figures; print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("count", [1, 8])
def test_labels_do_not_overlap(estimates: Estimates, panels: list[Panel], count: int) -> None:
    made: list[Estimate] = list(estimates.where(domain="all"))
    boxes = []
    for i in range(count):
        name = f"domain with a long name {i}"
        made += [replace(each, domain=name) for each in estimates.where(domain="capitals", task="")]
        boxes.append(replace(panels[1], domain=name, task=name))
    for figure in report_figures(Estimates(made), boxes).values():
        figure.canvas.draw()
        for ax in figure.axes:
            for labels in (ax.get_yticklabels(), ax.get_xticklabels()):
                shown = [
                    label.get_window_extent() for label in labels if label.get_text() and label.get_visible()
                ]
                inside = [box for box in shown if box.width > 0]
                assert not [1 for a, b in itertools.combinations(inside, 2) if a.overlaps(b)]
        titles = [ax._left_title.get_window_extent() for ax in figure.axes]
        drawn = [box for box in titles if box.width > 1]
        assert not [1 for a, b in itertools.combinations(drawn, 2) if a.overlaps(b)]


def test_saved_figures_are_the_same_bytes_every_time(
    estimates: Estimates, panels: list[Panel], tmp_path: Path
) -> None:
    few = first(2, estimates, panels)
    for copy in ("a", "b"):
        for name, figure in report_figures(*few).items():
            save_figure(figure, tmp_path / copy / name)
    for name in ("gap_by_domain", "selection_curves", "score_distributions"):
        for suffix in ("png", "svg"):
            one, two = ((tmp_path / copy / f"{name}.{suffix}").read_bytes() for copy in "ab")
            assert one == two
        svg = (tmp_path / "a" / f"{name}.svg").read_text(encoding="utf-8")
        assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
        assert not re.search(r"<dc:date|\b20\d\d-\d\d-\d\d\b", svg)
    png = (tmp_path / "a" / "gap_by_domain.png").read_bytes()
    assert png.startswith(b"\x89PNG")
    assert int.from_bytes(png[16:20], "big") == 7.5 * 150


# page

SECTIONS = ("headline", "domains", "curves", "verifiers", "projection", "examples", "quality", "control", "cost", "absent",
            "limits", "definitions", "manifest")  # fmt: skip


def check_inert(page: Page) -> None:
    """No script but the page's own, no handler, nothing loaded from anywhere, no hidden or direction-changing character."""
    tags = [tag for tag, _ in page.elements]
    assert set(tags).isdisjoint({"img", "iframe", "object", "embed", "base", "form", "foreignobject"})
    assert tags.count("script") == tags.count("link") == 1
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    assert f"<script>{script}</script>" in page.source
    known = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    for tag, attrs in page.elements:
        assert not [name for name in attrs if name.startswith("on")], (tag, attrs)
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            assert (attrs.get(name) or "#").startswith("#") or attrs == {"rel": "icon", "href": "data:,"}
        assert all(target.startswith("#") for target in re.findall(r"url\((.*?)\)", attrs.get("style") or ""))
        if tag == "meta" and attrs.get("http-equiv"):
            policy = dict(one.strip().split(" ", 1) for one in (attrs["content"] or "").split(";"))
            assert policy.pop("script-src") == f"'sha256-{known}'"
            assert policy.pop("style-src") == "'unsafe-inline'"
            assert policy.pop("img-src") == "data:"
            assert set(policy.values()) == {"'none'"}
            assert "default-src" in policy
    assert not re.search(r"@import|url\((?!#)", page.source)
    assert page.source.index("Content-Security-Policy") < page.source.index("<style>")
    bad = {c for c in page.source if unicodedata.category(c) in ("Cc", "Cf", "Cs")} - {"\n", "\t"}
    assert not bad
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_page_has_every_section_and_every_definition(page: Page) -> None:
    found = [attrs.get("id") for tag, attrs in page.elements if tag == "section"]
    assert found == list(SECTIONS)
    linked = {attrs["href"] for tag, attrs in page.elements if tag == "a"}
    assert linked == {f"#{name}" for name in SECTIONS}
    definitions = page.section("definitions")
    for name, definition in DEFINITIONS.items():
        assert definition.title in definitions
        assert definition.meaning in definitions
        assert name in definitions
    for source in ("2412.02674", "Stroebl et al. 2024", "2512.02304"):
        assert source in definitions
    assert sum(tag == "svg" and attrs.get("role") == "img" for tag, attrs in page.elements) == 3
    assert sum(tag == "figcaption" for tag, _ in page.elements) == 3
    assert sum(tag == "h1" for tag, _ in page.elements) == 1
    absent = page.section("absent")
    for name in ("Paired comparison of runs", "Scaling with pretraining compute", "--trajectory"):
        assert name in absent, "what takes more runs is named in one place"


def test_tables_have_captions_and_scopes(page: Page) -> None:
    tables = re.findall(r"<table.*?</table>", page.source, flags=re.DOTALL)
    assert len(tables) == 10
    for table in tables:
        inside = Page(table)
        assert sum(tag == "caption" for tag, _ in inside.elements) == 1
        heads = [attrs for tag, attrs in inside.elements if tag == "th"]
        assert heads
        assert all(attrs.get("scope") in ("col", "row", "rowgroup") for attrs in heads)


def test_hostile_examples_are_inert(page: Page) -> None:
    check_inert(page)
    examples = page.section("examples")
    assert '<script>alert("x")</script>' in examples, "shown as text"
    assert "␛[31mred" in examples
    assert "⟨U+202E⟩evil" in examples
    assert "{{ 7 * 7 }}" in examples, "never evaluated"
    assert examples.count("A" * 2000) == 2, "a long line of the question and of the response is cut"
    assert re.search(r"99\d,\d{3} more characters", examples)
    assert len(page.source) < 1_000_000


def test_hostile_names_are_inert(estimates: Estimates, panels: list[Panel], tmp_path: Path) -> None:
    names = {
        "arithmetic": '"><script>1</script>\u202e$\\frac{',
        "capitals": "]]>--><svg onload=x>$a$",
        "yesno": "<b>&amp;\x1b[31m",
    }
    odd, boxes = renamed(*first(2, estimates, panels), names)
    model = "m</title><script>2</script>"
    odd = Estimates(replace(each, model=model) for each in odd)
    manifest = {
        "<i>k</i>": HOSTILE,
        "suite": {"name": "<script>"},
        "created": HOSTILE,
        "nothing": None,
        "list": [],
    }
    hostile = rendered(tmp_path / "r.html", odd, boxes, manifest, [])
    check_inert(hostile)
    assert model in hostile.text
    assert '"><script>1</script>⟨U+202E⟩$\\frac{' in hostile.text
    for name, figure in report_figures(odd, boxes).items():
        _, svg = save_figure(figure, tmp_path / name)
        ElementTree.fromstring(svg.read_text(encoding="utf-8"))


def test_page_shows_the_numbers_and_hides_what_is_not_estimable(page: Page) -> None:
    domains = " ".join(page.section("domains").split())
    assert "arithmeticyesno gap[best@8, m=1]480.500 [0.420, 0.580]0.562" in domains
    assert "+0.062 [+0.034, +0.090]" in domains
    assert "−0.041 [−0.071, −0.011]" in domains
    assert "word sorting (yesno): not estimable" in domains
    assert "−0.670" not in page.text, "the low end of the interval that is not estimable"
    headline = page.section("headline")
    assert "Of 6 domains, 2 show a gap" in headline
    assert "not projected" in headline
    assert "mute: no reply could be read as a verdict" in headline
    assert "6 of 6" not in page.section("control")


def test_points_of_figures_say_their_numbers(estimates: Estimates, panels: list[Panel]) -> None:
    few, boxes = first(2, estimates, panels)
    gaps, curves, _ = draw(report_figures(few, boxes), "x-")
    titles = {drawn.id: set(re.findall(r"<title>(.*?)</title>", drawn.svg)) for drawn in (gaps, curves)}
    view = View(few)
    for domain in ("arithmetic", "capitals"):
        for verifier in ("yesno", "majority"):
            row = view.headline(domain, verifier)
            assert row is not None
            numbers = minus(f"{row.value:+.3f} [{row.low:+.3f}, {row.high:+.3f}]")
            assert f"{domain}, {verifier}, best@{row.n}, {numbers}" in titles["x-gap_by_domain"]
        for row in view.curve(domain, "accuracy", "yesno", family="best"):
            assert f"{domain}, best@n, yesno, {row.n}: {row.value:.3f}" in titles["x-selection_curves"]
    assert not re.search(r"\d\.\d{4}", curves.svg), "coordinates are short"


def test_examples_are_chosen_by_the_rule_they_name(panels: list[Panel]) -> None:
    panel = panels[0]
    score, utility = panel.scores["yesno"].mean, panel.utility
    chosen = choose(panel)
    assert len(chosen) == MOST
    by_rule = {why: cell for cell, why in chosen.items()}
    fooled = by_rule["wrong, scored highest by yesno"]
    assert score[fooled] == np.nanmax(score[utility == 0])
    assert utility[fooled] == 0
    missed = by_rule["right, scored lowest by yesno"]
    assert score[missed] == np.nanmin(score[utility == 1])
    assert utility[missed] == 1
    assert panel.censored[by_rule["cut at the token limit, drawn by seed"]]
    assert utility[by_rule["right, drawn by seed"]] == 1
    assert not any(np.isnan(utility[cell]) for cell in chosen), "what does not count is not shown"
    assert choose(panel) == chosen
    assert len(choose(panel, 1)) == 1
    flat = replace(panel, scores={"same": Scores(np.full((PROMPTS, N, 1), 0.5))})
    assert not [why for why in choose(flat).values() if "same" in why], "nothing was told apart"
    tiny = replace(panel, prompt_ids=("p",), utility=np.array([[1.0, np.nan]]), censored=np.zeros((1, 2), bool),
                   answers=np.zeros((1, 2), int), scores={})  # fmt: skip
    assert choose(tiny) == {(0, 0): "right, drawn by seed"}


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, contrast ratio."""

    def luminance(colour: str) -> float:
        full = colour * 2 if len(colour) == 3 else colour
        parts = [int(full[at : at + 2], 16) / 255 for at in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_colours_can_be_told_from_the_page() -> None:
    """Text at 4.5 (WCAG AA), marks and lines of figures at 3 in the dark; in the light figures keep Okabe and Ito's."""
    style = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    themes = [
        dict(re.findall(r"--([\w-]+): #(\w+)", block)) for block in re.findall(r":root \{(.*?)\}", style)
    ]
    assert len(themes) == 3
    for theme in themes:
        for text in ("ink", "quiet", "accent", "good", "bad", "warn"):
            for ground in ("paper", "panel"):
                assert contrast(theme[text], theme[ground]) >= 4.5, (text, ground, theme)
        assert contrast(theme["mark"], theme["paper"]) >= 3
    assert all(contrast(themes[1][f"series-{place}"], themes[1]["paper"]) >= 3 for place in range(6))


def test_a_page_speaks_of_what_it_has(estimates: Estimates, panels: list[Panel], tmp_path: Path) -> None:
    plain, boxes = first(1, estimates, panels)
    bare = Estimates(replace(each, flags=()) for each in plain if each.verifier != "mute")
    assert "Flags" not in content.headline_table(View(bare)).headings
    assert "Flags" in content.headline_table(View(estimates)).headings
    page = rendered(tmp_path / "r.html", bare, boxes, MANIFEST, [])
    said = page.section("domains")
    assert "the interval lies above zero" in said
    assert "fewer than 20 prompts" not in said, "no reading but those on the page is explained"


def test_a_pooled_control_stands_where_it_must_be_zero(estimates: Estimates) -> None:
    """Over several tasks a pooled gap keeps what choosing the easier task gives: that is no fault of the scores."""
    table = content.choice_table(View(estimates), content.CONTROLS, "t", "")
    pooled = [place for place, name in enumerate(table.headings) if "pooled" in name]
    assert len(pooled) == 2
    for row in table.rows:
        stands = {row[place].text != "–" for place in pooled}
        assert stands == {row[0].text != "all domains"}
        assert row[2].text != "–", "the control of the macro gap stands everywhere"


def test_facts_of_several_runs_are_said_once(estimates: Estimates) -> None:
    created = ("2026-11-23T04:13:28+00:00", "2026-11-23T06:13:28+02:00", "some day")
    runs = [
        (f"run-{place}", View(estimates), {**MANIFEST, "created": one}) for place, one in enumerate(created)
    ]
    same = dict(about.common_facts(runs))
    assert same["Prompts"] == "288 in 6 domains"
    table = about.runs_table(runs)
    assert table.headings == ("Run", "Run started")
    assert [row[1].text for row in table.rows] == ["2026-11-23 04:13 UTC"] * 2 + ["some day"]
    assert "Run started" not in same


def test_what_several_runs_share_stands_side_by_side(
    estimates: Estimates, panels: list[Panel], tmp_path: Path
) -> None:
    one = run_page(estimates, panels, MANIFEST, [])
    pages = [replace(one, label=f"run-{place}", figures=(), verifier_figures=()) for place in range(3)]
    path = write_report(tmp_path / "r.html", pages)
    page = Page(path.read_text(encoding="utf-8"))
    check_inert(page)
    assert page.section("quality").count("Responses by task") == 3
    auc = page.source[page.source.index('id="t-auc"') :].partition("</table>")[0]
    assert auc.count("run-") == 3
    assert auc.count('<th scope="row"') == 2 * 2 * 7, "two verifiers in six domains and over all"
    folded = re.findall(r"<details>\s*<summary>run-1", page.source)
    assert len(folded) == 8 - 1, "a run's own tables are closed, but for the curves of the first"


def test_hatches_follow_the_page_into_the_dark() -> None:
    figure = Figure()
    ax = figure.subplots()
    ax.barh([0], [1], facecolor=PAPER, edgecolor=COLOURS[1], hatch="////")
    CAPTIONS["hatched"] = ("Hatched", "")
    try:
        (drawn,) = draw({"hatched": figure})
    finally:
        del CAPTIONS["hatched"]
    assert "#" + PAPER[1:] not in drawn.svg
    assert not re.search(r'fill="#', drawn.svg), "an attribute cannot follow the colours of the page"
    assert '<rect x="0" y="0" width="73" height="73" style="fill: var(--paper)"' in drawn.svg
    assert 'style="fill: none"' in drawn.svg, "the ground of a figure is the page's"


def test_a_label_of_the_x_axis_stands_under_each_column(estimates: Estimates, panels: list[Panel]) -> None:
    figure = selection_figure(first(3, estimates, panels)[0])  # four panels in rows of three
    assert [bool(ax.get_xlabel()) for ax in figure.axes] == [False, True, True, True]
    assert figure.get_supxlabel() == ""


def test_no_module_draws_by_pyplot() -> None:
    for path in Path(gapbench.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert "pyplot" not in ast.unparse(node), path


def test_limits_are_computed_from_the_run(page: Page) -> None:
    limits = page.section("limits")
    assert "none of a domain's 48 prompts" in limits
    assert "up to about 6\u00a0% of such prompts" in limits
    assert "beyond n = 16" in limits
    assert "(here 0.7)" in limits
    assert "gcd-task: made up" in limits


def test_a_simulated_run_says_so_first(
    estimates: Estimates, panels: list[Panel], tmp_path: Path, page: Page
) -> None:
    manifest = {**MANIFEST, "config": {**MANIFEST["config"], "engine": "simulated"}}
    made = rendered(tmp_path / "r.html", *first(1, estimates, panels), manifest, [])
    assert "say nothing about any language model" in made.section("headline")
    assert "say nothing about any language model" not in page.text


def test_quality_and_cost_are_counted(page: Page, panels: list[Panel]) -> None:
    for counts, panel in zip(quality.response_quality(panels), panels, strict=True):
        assert (counts.prompts, counts.counted) == (PROMPTS, PROMPTS * N - 2)
        assert (counts.errors, counts.absent) == (1, 1)
        cells = [(i, j) for i in range(PROMPTS) for j in range(N)]
        assert counts.censored == sum(panel.censored[c] and panel.utility[c] >= 0 for c in cells)
        silent = [
            c for c in cells if panel.answers[c] < 0 and not panel.censored[c] and panel.utility[c] >= 0
        ]
        assert counts.no_answer == len(silent)
    verdicts = {(v.domain, v.verifier): v for v in quality.verdict_quality(panels)}
    assert verdicts["gcd", "yesno"].missing == 1
    assert verdicts["gcd", "mute"].share == 1.0
    sample, verify = stage_costs(MANIFEST)
    assert (sample.sittings, sample.unfinished, sample.tokens, sample.seconds) == (2, 1, 52000, 300.5)
    assert verify.statuses == {"scored": 4500, "unparsed": 100}
    assert "52,000" in page.section("cost")
    flat = dict(quality.flatten(MANIFEST))
    assert flat["suite.name"] == "synthetic"
    assert flat["tasks.gcd-task.sampling.stop"] == '["\\n"]'
    assert not [name for name in flat if name.startswith("sessions")]


def test_page_of_a_bare_run(estimates: Estimates, panels: list[Panel], tmp_path: Path) -> None:
    """No manifest, no examples, one domain, a verifier that never gave a verdict and nothing else."""
    only = [each for each in estimates if each.domain in ("gcd", "all") and each.verifier in ("", "mute")]
    bare = rendered(tmp_path / "r.html", Estimates(only), panels[2:3], {}, [])
    check_inert(bare)
    assert "1 domain measured; no verifier gave a verdict" in bare.section("headline")
    assert "not measured" in bare.section("headline")
    assert "no verdicts" in bare.section("domains")
    assert "The manifest records no stage" in bare.section("cost")
    assert "no reply could be read" in printed(Estimates(only), 80).replace("\n", " ")


def test_report_of_the_real_estimator(panels: list[Panel], tmp_path: Path) -> None:
    """Names of quantities and filters agree with those that `estimate_panels` gives."""
    found = estimate_panels(panels, model="synthetic-model")
    made = rendered(tmp_path / "r.html", found, panels, MANIFEST, [])
    check_inert(made)
    view = View(found)
    assert view.silent == ["mute"]
    assert view.headline_n("yesno") == 8
    for choices in (content.HEADLINE, content.FILTERS, content.QUALITY, content.CONTROLS):
        table = content.choice_table(view, choices, "t", "")
        for choice, cell in zip(choices, table.rows[0][table.heads :], strict=True):
            assert cell.kind != "none", choice
    assert {each.quantity for each in found} <= set(DEFINITIONS)
    table = printed(found, 160)
    assert " yesno @8" in table
    assert " majority @16" in table


def test_costs_of_sittings_that_told_less() -> None:
    told = {"stage": "sample", "rows": 4, "requests": 4, "tokens": 9, "prompt_tokens": 100, "seconds": 10.0}
    sessions = [
        told,  # as older releases wrote it, and as engines that say nothing of a cache are recorded
        {**told, "cached_tokens": 80, "engine_seconds": 9.0},
        {**told, "cached_tokens": None, "engine_seconds": 10.0},
        {"stage": "sample", "started": "2026-01-01T00:00:00+00:00"},
    ]
    (cost,) = stage_costs({"sessions": sessions})
    assert (cost.sittings, cost.unfinished, cost.seconds, cost.prompt_tokens) == (4, 1, 30.0, 300)
    assert cost.cache_hits == 0.8
    assert engine_share([cost]) == 0.95
    line, share = cost_lines({"sessions": sessions})
    assert "300 in prompts (80% cached), 30.0 s, interrupted sittings, not counted: 1" in line
    assert "95.0%" in share
    (silent,) = cost_lines({"sessions": [told]})
    assert "cached" not in silent
    assert cost_lines({}) == []
