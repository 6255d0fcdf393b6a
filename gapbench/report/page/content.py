"""The tables of a report as plain values for its template.

What several runs have in common stands in tables of their own, `gapbench.report.page.together` and `gapbench.report.page.firstscreen`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from gapbench.estimate.results import Estimate
from gapbench.report.definitions import DEFINITIONS
from gapbench.report.page.cells import (
    NOTHING,
    Cell,
    Table,
    cell,
    count_cell,
    ends,
    gap_cell,
    minus,
    p_cell,
    texts,
    with_strips,
)
from gapbench.report.text import interval, one_line
from gapbench.report.view import OVERALL, WORDS, Reading, View, drawable, read

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
CONTROLS_CAPTION = (
    "Gaps after permuting the scores, with 95 % intervals. Pooled ones stand where a domain is one task: over several, choosing "
    "more from the easier task is part of a pooled gap, and no shuffling within tasks takes it away."
)


def heading(choice: Choice) -> str:
    """A column's heading, with the filter where it is not the headline's."""
    quantity, chosen, _ = choice
    title = DEFINITIONS[quantity].title.split(" (")[0]
    return (
        f"{title}, {chosen}" if quantity.startswith(("gap", "prompt_mix")) and chosen != "headline" else title
    )


def find(view: View, domain: str, verifier: str, choice: Choice) -> Estimate | None:
    """The row of a choice; None for the control of a pooled gap over several tasks, which measures the tasks."""
    quantity, chosen, _ = choice
    if quantity == "gap_pooled_permuted" and len(tasks_of(view).get(domain, [])) != 1:
        return None
    if chosen == "headline":
        row = view.headline(domain, verifier, quantity)
        return row if row is not None and row.quantity == quantity else None
    return view.get(domain, quantity, verifier, filter=chosen)


def domain_name(domain: str) -> str:
    """A domain as a heading."""
    return "all domains" if domain == OVERALL else one_line(domain, 60)


def choice_table(view: View, choices: Sequence[Choice], id: str, caption: str) -> Table:
    """Every domain and all of them; a line each verifier that judged, a column each choice."""
    rows = [
        (
            *texts(domain_name(domain), one_line(verifier, 40)),
            *(cell(find(view, domain, verifier, one), signed=one[2]) for one in choices),
        )
        for domain in [*view.domains, OVERALL]
        for verifier in view.judging
    ]
    return Table(id, caption, ("Domain", "Verifier", *map(heading, choices)), tuple(rows), 2)


def headline_table(view: View, id: str = "t-headline") -> Table:
    """A line each domain and verifier: accuracy before and after, the gap with its strip, its reading and the rest."""
    bounds, flags = has_bounds(view), any(map(_flags, _gaps(view)))
    rows: list[tuple[Cell, ...]] = []
    gaps: list[Estimate | None] = []
    for domain in [*view.domains, OVERALL]:
        base = view.get(domain, "accuracy", filter="")
        prompts = count_cell(base.n_prompts) if base else NOTHING
        name = Cell(domain_name(domain))
        if not view.judging:
            rest = 4 + len(HEADLINE) + bounds + flags
            rows.append((name, Cell("no verdicts"), prompts, cell(base), *texts(*["–"] * (rest - 1))))
            gaps.append(None)
        for verifier in view.judging:
            rows.append((name, *_headline_cells(view, domain, verifier, prompts, cell(base), bounds, flags)))
            gaps.append(view.headline(domain, verifier))
    place = 5
    drawn = with_strips([row[place] for row in rows], [*map(ends, gaps)])
    rows = [(*row[:place], one, *row[place + 1 :]) for row, one in zip(rows, drawn, strict=True)]
    headings = (
        *("Domain", "Verifier", "Prompts", "Accuracy", "Accuracy after", "Gap", "Reads as"),
        *map(heading, HEADLINE),
        *["Bounds of the gap"] * bounds,
        *["Flags"] * flags,
    )
    caption = (
        "The headline gap of each verifier in each domain, with 95 % intervals. m is the number of verdicts behind a "
        "score; gaps compare only at equal filter, n and m. The mark beside a gap is its interval against zero: a full "
        "dot where it excludes zero, a hollow one where it does not."
    )
    return Table(id, caption, headings, tuple(rows), 2)


def _gaps(view: View) -> list[Estimate | None]:
    return [view.headline(domain, name) for domain in [*view.domains, OVERALL] for name in view.judging]


def _headline_cells(
    view: View, domain: str, verifier: str, prompts: Cell, base: Cell, bounds: bool, flags: bool
) -> tuple[Cell, ...]:
    gap = view.headline(domain, verifier)
    reading = read(gap)
    return (
        Cell(one_line(verifier, 40), view.label(verifier)),
        prompts,
        base,
        cell(find(view, domain, verifier, ("accuracy", "headline", False))),
        gap_cell(gap),
        Cell(WORDS[reading], kind=reading),
        *(cell(find(view, domain, verifier, one), signed=one[2]) for one in HEADLINE),
        *[_bounds(gap)] * bounds,
        *[Cell(_words(_flags(gap)), kind="quiet")] * flags,
    )


def readings(view: View) -> set[Reading]:
    """What the headline gaps of a view read as."""
    return {read(gap) for gap in _gaps(view)}


def has_bounds(view: View) -> bool:
    """Whether enough responses were cut at the token limit for any headline gap to have bounds."""
    return any(row is not None and row.bound_low is not None for _, _, row in view.headlines())


def _bounds(row: Estimate | None) -> Cell:
    if row is None or not drawable(row) or row.bound_low is None or row.bound_high is None:
        return NOTHING
    return Cell(minus(interval(row.bound_low, row.bound_high, signed=True)), order=row.bound_low)


def _flags(row: Estimate | None) -> list[str]:
    return [] if row is None else [flag for flag in row.flags if not flag.startswith("pool=")]


def _words(flags: Iterable[str]) -> str:
    return ", ".join(one_line(flag.replace("_", " "), 40) for flag in flags) or "–"


def task_table(view: View, id: str = "t-tasks") -> Table | None:
    """Accuracy and headline gaps of each task; None where every domain is one task."""
    tasks = tasks_of(view)
    if all(len(own) == 1 for own in tasks.values()):
        return None
    rows = tuple(
        (
            *texts(one_line(domain, 40), one_line(task, 40), one_line(verifier, 40)),
            cell(view.get(domain, "accuracy", filter="", task=task)),
            gap_cell(view.headline(domain, verifier, task=task)),
        )
        for domain, own in tasks.items()
        for task in own
        for verifier in view.judging
    )
    caption = "The tasks behind the domains: accuracy, and the headline gap of each verifier. Tasks of a domain weigh equally."
    return Table(id, caption, ("Domain", "Task", "Verifier", "Accuracy", "Gap"), rows, 3) if rows else None


def tasks_of(view: View) -> dict[str, list[str]]:
    """The tasks of each domain that has rows of tasks."""
    found: dict[str, list[str]] = {}
    for domain, task in dict.fromkeys((row.domain, row.task) for row in view.estimates if row.task):
        found.setdefault(domain, []).append(task)
    return found


def curve_table(view: View, id: str = "t-curves") -> Table:
    """The numbers behind the curves: a column each n, and a line each curve of each domain."""
    ns = sorted({row.n for row in view.estimates.where(quantity="pass@k") if row.n is not None})
    rows = []
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
            rows.append((*texts(domain_name(domain), name), *(cell(by_n.get(n)) for n in ns)))
    headings = ("Domain", "Curve", *(f"n = {n}" for n in ns))
    return Table(
        id, "Accuracy after choosing among n responses, with 95 % intervals.", headings, tuple(rows), 2
    )


def chosen_table(view: View, id: str = "t-chosen") -> Table | None:
    """Where the curve of best@n is highest, and whether it has fallen since; None where no verifier has several n."""
    rows = []
    for domain in [*view.domains, OVERALL]:
        for verifier in view.judging:
            star, fall = (view.get(domain, one, verifier) for one in ("n_star", "over_optimisation"))
            if star is None or not drawable(star):
                continue
            found = Cell(f"{star.value:g}", f"[{star.low:g}, {star.high:g}]", kind="num", order=star.value)
            tested = p_cell(math.nan if fall is None or fall.p is None else fall.p)
            rows.append(
                (
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
    fell = heading(("over_optimisation", "", True))
    return Table(id, caption, ("Domain", "Verifier", "n*", fell, "p"), tuple(rows), 2)
