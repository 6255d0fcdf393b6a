"""The same numbers side by side: domains by verifiers for one run, verifiers and domains by runs for several."""

from __future__ import annotations

from collections.abc import Sequence

from gapbench.estimate.results import Estimate
from gapbench.report.page.cells import Cell, Table, cell, ends, gap_cell, texts, with_strips
from gapbench.report.page.content import Choice, Views, domain_name, find
from gapbench.report.text import one_line
from gapbench.report.view import OVERALL, View


def grid(views: Views) -> Table:
    """Domains by verifiers for one run; for several, verifiers over all domains by runs."""
    return _domain_grid(views[0][1]) if len(views) == 1 else _run_grid(views)


def _domain_grid(view: View) -> Table:
    domains = [*view.domains, *[OVERALL] * (len(view.domains) > 1)]
    found = [[view.headline(domain, verifier) for verifier in view.judging] for domain in domains]
    rows = tuple(
        (Cell(domain_name(domain)), cell(view.get(domain, "accuracy", filter="")), *cells)
        for domain, cells in zip(domains, _gap_lines(found), strict=True)
    )
    headings = tuple(f"{one_line(name, 40)}, best@{view.headline_n(name)}" for name in view.judging)
    caption = (
        "Gap by domain and verifier: what choosing the best of n responses by its score adds to accuracy, with 95 % intervals. "
        "A full dot: the interval excludes zero. A hollow dot: no gap shown, which is no proof that there is none."
    )
    return Table("t-grid", caption, ("Domain", "Accuracy", *headings), rows)


def _run_grid(views: Views) -> Table:
    names = _led_with(views)
    rows: list[tuple[Cell, ...]] = [
        (
            *texts("accuracy", "one response"),
            *(cell(view.get(OVERALL, "accuracy", filter="")) for _, view in views),
        )
    ]
    gaps = [[_gap_of(view, OVERALL, *key) for _, view in views] for key in names]
    for (name, label, _), own in zip(names, _gap_lines(gaps), strict=True):
        rows.append((Cell(one_line(name, 40)), Cell(label), *own))
    rows.append(
        (
            *texts("a perfect verifier", "pass@N"),
            *(cell(view.get(OVERALL, "pass@k", n=view.responses)) for _, view in views),
        )
    )
    caption = (
        "Over all domains: accuracy of one response, the gap of each verifier, and coverage, with 95 % intervals. Only equal filter, "
        "n and m compare. A full dot: the interval excludes zero. Whether runs differ is a question of its own: see the "
        "paired comparison."
    )
    return Table(
        "t-grid", caption, ("Over all domains", "What", *(label for label, _ in views)), tuple(rows), 2
    )


def side_by_side(views: Views) -> Table:
    """Every domain and verifier, with a column for each run."""
    domains = list(dict.fromkeys(domain for _, view in views for domain in view.domains))
    names = _led_with(views)
    keys = [(domain, *key) for domain in [*domains, OVERALL] for key in names]
    found = [[_gap_of(view, *key) for _, view in views] for key in keys]
    rows = []
    for (domain, name, label, n), gaps, cells in zip(keys, found, _gap_lines(found), strict=True):
        if (name, label, n) == names[0]:
            own = (cell(view.get(domain, "accuracy", filter="")) for _, view in views)
            rows.append((*texts(domain_name(domain), "accuracy"), *own))
        if any(gaps):
            rows.append((Cell(domain_name(domain)), Cell(one_line(name, 40), label), *cells))
    caption = (
        "Domains side by side: accuracy, and the headline gap of each verifier, with 95 % intervals, a column each run. All marks "
        "are on one scale. Overlapping intervals do not say that runs are equal: they share prompts, and their paired "
        "difference follows from neither."
    )
    return Table("t-side", caption, ("Domain", "What", *(label for label, _ in views)), tuple(rows), 2)


def by_run(views: Views, choice: Choice, id: str, caption: str) -> Table:
    """A quantity of each domain and verifier, with a column for each run."""
    names = list(dict.fromkeys(name for _, view in views for name in view.judging))
    domains = list(dict.fromkeys(domain for _, view in views for domain in view.domains))
    rows = [
        (
            *texts(domain_name(domain), one_line(name, 40)),
            *(cell(find(view, domain, name, choice), signed=choice[2]) for _, view in views),
        )
        for domain in [*domains, OVERALL]
        for name in names
    ]
    return Table(id, caption, ("Domain", "Verifier", *(label for label, _ in views)), tuple(rows), 2)


def _led_with(views: Views) -> list[tuple[str, str, int | None]]:
    """(verifier, label, n) of every gap that some run leads with."""
    return list(
        dict.fromkeys(
            (name, view.label(name), view.headline_n(name)) for _, view in views for name in view.judging
        )
    )


def _gap_of(view: View, domain: str, verifier: str, label: str, n: int | None) -> Estimate | None:
    """That gap in a run, which may lead with another n itself and have this one all the same."""
    if view.label(verifier) == label:
        return view.headline(domain, verifier)
    if n is None or view.label(verifier, n) != label:
        return None
    return view.get(domain, "gap", verifier, filter=f"best@{n}", n=n)


def _gap_lines(found: Sequence[Sequence[Estimate | None]]) -> list[list[Cell]]:
    """Gaps as lines of cells, all strips on one scale."""
    flat = [row for line in found for row in line]
    drawn = iter(with_strips([*map(gap_cell, flat)], [*map(ends, flat)]))
    return [[next(drawn) for _ in line] for line in found]
