"""The tables of a report as plain values for its template.

A page is of one run or of several: tables take (label, view) pairs, and labels are shown where there is more than one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gapbench.estimate.results import Estimate
from gapbench.report.cells import Cell, Table, cell, count_cell, ends, gap_cell, minus, texts, with_strips
from gapbench.report.definitions import DEFINITIONS
from gapbench.report.text import interval, number, one_line
from gapbench.report.view import OVERALL, WORDS, View, drawable, read

Views = Sequence[tuple[str, View]]
Choice = tuple[str, str, bool]  # quantity, filter ("headline" for the verifier's own n), signed

QUALITY: tuple[Choice, ...] = (
    ("auc_within", "", False),
    ("auc_between", "", False),
    ("tpr", "threshold", False),
    ("fpr", "threshold", False),
    ("youden", "threshold", True),
    ("precision", "threshold", False),
    ("precision_ceiling", "threshold", False),
    ("verifier_gain", "threshold", True),
    ("nothing_passes", "threshold", False),
)
HEADLINE: tuple[Choice, ...] = (
    ("relative_gap", "headline", True),
    ("oracle_share", "headline", True),
)
FILTERS: tuple[Choice, ...] = (
    ("relative_gap_per_prompt", "headline", True),
    ("shortfall", "headline", False),
    ("gap", "threshold", True),
    ("gap_pooled", "threshold", True),
    ("prompt_mix", "threshold", True),
    ("gap", "soft", True),
    ("gap_pooled", "soft", True),
    ("prompt_mix", "soft", True),
)
CONTROLS: tuple[Choice, ...] = (
    ("gap_permuted", "headline", True),
    ("gap_permuted", "threshold", True),
    ("gap_pooled_permuted", "threshold", True),
    ("gap_pooled_permuted", "soft", True),
)

FILTERS_CAPTION = (
    "Other ratios at the headline n, and the gap under other filters. Macro gaps average over prompts; pooled ones put all "
    "responses in one pool and so include the prompt mix, which is choosing easy prompts, not better answers."
)
QUALITY_CAPTION = (
    "Discrimination of each verifier, with 95 % intervals. A per-prompt filter lives on AUC within; TPR, FPR and precision are "
    "at the verifier's threshold, which was fixed beforehand, and are missing where it has none."
)
CONTROLS_CAPTION = "Gaps after permuting the scores, with 95 % intervals."


def heading(choice: Choice) -> str:
    """A column's heading, with the filter where it is not the headline's."""
    quantity, chosen, _ = choice
    title = DEFINITIONS[quantity].title.split(" (")[0]
    return (
        f"{title}, {chosen}" if quantity.startswith(("gap", "prompt_mix")) and chosen != "headline" else title
    )


def find(view: View, domain: str, verifier: str, choice: Choice) -> Estimate | None:
    """The row of a choice."""
    quantity, chosen, _ = choice
    if chosen == "headline":
        row = view.headline(domain, verifier, quantity)
        return row if row is not None and row.quantity == quantity else None
    return view.get(domain, quantity, verifier, filter=chosen)


def domain_name(domain: str) -> str:
    """A domain as a heading."""
    return "all domains" if domain == OVERALL else one_line(domain, 60)


def run_heading(views: Views) -> tuple[str, ...]:
    """The heading of the column that names the run, where there are several."""
    return ("Run",) if len(views) > 1 else ()


def run_cells(views: Views, label: str) -> tuple[Cell, ...]:
    """The cell that names the run, where there are several."""
    return texts(label) if len(views) > 1 else ()


def choice_table(views: Views, choices: Sequence[Choice], id: str, caption: str) -> Table:
    """Every domain and all of them; a line each verifier that judged, a column each choice."""
    rows = [
        (
            *run_cells(views, label),
            *texts(domain_name(domain), one_line(verifier, 40)),
            *(cell(find(view, domain, verifier, one), signed=one[2]) for one in choices),
        )
        for label, view in views
        for domain in [*view.domains, OVERALL]
        for verifier in view.judging
    ]
    headings = (*run_heading(views), "Domain", "Verifier", *map(heading, choices))
    return Table(id, caption, headings, tuple(rows), len(headings) - len(choices))


def headline_table(views: Views) -> Table:
    """A line each domain and verifier: accuracy before and after, the gap with its strip, its reading and the rest."""
    bounds = any(has_bounds(view) for _, view in views)
    rows: list[tuple[Cell, ...]] = []
    gaps: list[Estimate | None] = []
    for label, view in views:
        for domain in [*view.domains, OVERALL]:
            base = view.get(domain, "accuracy", filter="")
            prompts = count_cell(base.n_prompts) if base else Cell("–", kind="none")
            start = (*run_cells(views, label), *texts(domain_name(domain)))
            if not view.judging:
                rest = 5 + len(HEADLINE) + bounds
                rows.append((*start, *texts("no verdicts"), prompts, cell(base), *texts(*["–"] * (rest - 1))))
                gaps.append(None)
            for verifier in view.judging:
                rows.append((*start, *_headline_cells(view, domain, verifier, prompts, cell(base), bounds)))
                gaps.append(view.headline(domain, verifier))
    place = len(run_heading(views)) + 5
    drawn = with_strips([row[place] for row in rows], [*map(ends, gaps)])
    rows = [(*row[:place], one, *row[place + 1 :]) for row, one in zip(rows, drawn, strict=True)]
    headings = (
        *run_heading(views),
        *("Domain", "Verifier", "Prompts", "Accuracy", "Accuracy after", "Gap", "Reads as"),
        *map(heading, HEADLINE),
        *["Bounds of the gap"] * bounds,
        "Flags",
    )
    caption = (
        "The headline gap of each verifier in each domain, with 95 % intervals. m is the number of verdicts behind a "
        "score; gaps compare only at equal filter, n and m. The mark beside a gap is its interval against zero: a full "
        "dot where it excludes zero, a hollow one where it does not."
    )
    return Table("t-headline", caption, headings, tuple(rows), len(run_heading(views)) + 2)


def _headline_cells(
    view: View, domain: str, verifier: str, prompts: Cell, base: Cell, bounds: bool
) -> tuple[Cell, ...]:
    gap = view.headline(domain, verifier)
    reading = read(gap)
    flags = () if gap is None else (flag for flag in gap.flags if not flag.startswith("pool="))
    return (
        Cell(one_line(verifier, 40), view.label(verifier)),
        prompts,
        base,
        cell(find(view, domain, verifier, ("accuracy", "headline", False))),
        gap_cell(gap),
        Cell(WORDS[reading], kind=reading),
        *(cell(find(view, domain, verifier, one), signed=one[2]) for one in HEADLINE),
        *[_bounds(gap)] * bounds,
        Cell(_words(flags), kind="quiet"),
    )


def has_bounds(view: View) -> bool:
    """Whether enough responses were cut at the token limit for any headline gap to have bounds."""
    return any(row is not None and row.bound_low is not None for _, _, row in view.headlines())


def _bounds(row: Estimate | None) -> Cell:
    if row is None or not drawable(row) or row.bound_low is None or row.bound_high is None:
        return Cell("–", kind="none", order=float("nan"))
    return Cell(minus(interval(row.bound_low, row.bound_high, signed=True)), order=row.bound_low)


def _words(flags: Iterable[str]) -> str:
    return ", ".join(one_line(flag.replace("_", " "), 40) for flag in flags) or "–"


def task_table(views: Views) -> Table | None:
    """Accuracy and headline gaps of each task; None where every domain is one task."""
    rows = []
    for label, view in views:
        tasks = list(dict.fromkeys((row.domain, row.task) for row in view.estimates if row.task))
        if len(tasks) == len({domain for domain, _ in tasks}):
            continue
        for domain, task in tasks:
            start = (*run_cells(views, label), *texts(one_line(domain, 40), one_line(task, 40)))
            base = cell(view.get(domain, "accuracy", filter="", task=task))
            rows += [
                (*start, Cell(one_line(v, 40)), base, gap_cell(view.headline(domain, v, task=task)))
                for v in view.judging
            ]
    if not rows:
        return None
    caption = "The tasks behind the domains: accuracy, and the headline gap of each verifier. Tasks of a domain weigh equally."
    headings = (*run_heading(views), "Domain", "Task", "Verifier", "Accuracy", "Gap")
    return Table("t-tasks", caption, headings, tuple(rows), len(headings) - 2)


def curve_table(views: Views) -> Table:
    """The numbers behind the curves: a column each n, and a line each curve of each domain."""
    ns = sorted(
        {row.n for _, view in views for row in view.estimates.where(quantity="pass@k") if row.n is not None}
    )
    rows = []
    for label, view in views:
        for domain in [*view.domains, OVERALL]:
            curves = [
                ("pass@n", view.curve(domain, "pass@k")),
                ("majority@n", view.curve(domain, "accuracy", family="majority")),
                *(
                    (f"best@n, {one_line(v, 40)}", view.curve(domain, "accuracy", v, family="best"))
                    for v in view.judging
                ),
            ]
            for name, points in curves:
                by_n = {row.n: row for row in points}
                start = (*run_cells(views, label), *texts(domain_name(domain), name))
                rows.append((*start, *(cell(by_n.get(n)) for n in ns)))
    headings = (*run_heading(views), "Domain", "Curve", *(f"n = {n}" for n in ns))
    caption = "Accuracy after choosing among n responses, with 95 % intervals."
    return Table("t-curves", caption, headings, tuple(rows), len(headings) - len(ns))


def chosen_table(views: Views) -> Table | None:
    """Where the curve of best@n is highest, and whether it has fallen since; None where no verifier has several n."""
    rows = []
    for label, view in views:
        for domain in [*view.domains, OVERALL]:
            for verifier in view.judging:
                star, fall = (view.get(domain, one, verifier) for one in ("n_star", "over_optimisation"))
                if star is None or not drawable(star):
                    continue
                p = None if fall is None else fall.p
                tested = Cell("–", kind="none", order=float("nan"))
                if p is not None:
                    tested = Cell("<.001" if p < 0.001 else number(p), kind="num", order=p)
                found = Cell(
                    f"{star.value:g}", f"[{star.low:g}, {star.high:g}]", kind="num", order=star.value
                )
                rows.append(
                    (
                        *run_cells(views, label),
                        *texts(domain_name(domain), one_line(verifier, 40)),
                        found,
                        cell(fall, signed=True),
                        tested,
                    )
                )
    if not rows:
        return None
    caption = (
        "Over-optimisation: n* is where the measured curve of best@n is highest. p is one-sided, that accuracy at n = N is "
        "below accuracy at n*, cross-fitted: a small p says that choosing harder by this verifier does harm."
    )
    headings = (
        *run_heading(views),
        "Domain",
        "Verifier",
        "n*",
        heading(("over_optimisation", "", True)),
        "p",
    )
    return Table("t-chosen", caption, headings, tuple(rows), len(headings) - 3)
