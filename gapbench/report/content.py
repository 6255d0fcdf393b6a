"""What a report says, as plain values for its template: tables of estimates, limits and facts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gapbench.estimate.results import Estimate
from gapbench.report.definitions import DEFINITIONS
from gapbench.report.quality import temperatures
from gapbench.report.text import interval, number, one_line, plural
from gapbench.report.view import OVERALL, WORDS, Reading, View, drawable, read


@dataclass(frozen=True)
class Cell:
    """A number with its interval, or a word where there is none to show."""

    text: str
    interval: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Line:
    """A line of a table: its heading, its cells, what was filtered by, and the words that qualify the numbers."""

    name: str
    cells: tuple[Cell, ...]
    label: str = ""
    flags: str = ""


@dataclass(frozen=True)
class Group:
    """Lines that belong to one domain."""

    domain: str
    lines: tuple[Line, ...]


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


def heading(choice: Choice) -> str:
    """A column's heading, with the filter where it is not the headline's."""
    quantity, chosen, _ = choice
    title = DEFINITIONS[quantity].title.split(" (")[0]
    return (
        f"{title}, {chosen}" if quantity.startswith(("gap", "prompt_mix")) and chosen != "headline" else title
    )


def cell(row: Estimate | None, *, signed: bool = False) -> Cell:
    """An estimate as a cell; what is not estimable is a word."""
    if row is None or "no_verdicts" in row.flags:
        return Cell("–", kind="none")
    if not drawable(row):
        return Cell(WORDS["not_estimable"], kind="word")
    return Cell(minus(number(row.value, signed=signed)), minus(interval(row.low, row.high, signed=signed)))


def minus(text: str) -> str:
    """Hyphens before a number become minus signs; names keep theirs."""
    return re.sub(r"(?<![\w.])-(?=\d)", "\u2212", text)


def _find(view: View, domain: str, verifier: str, choice: Choice) -> Estimate | None:
    quantity, chosen, _ = choice
    if chosen == "headline":
        row = view.headline(domain, verifier, quantity)
        return row if row is not None and row.quantity == quantity else None
    return view.get(domain, quantity, verifier, filter=chosen)


def table(view: View, choices: Sequence[Choice]) -> list[Group]:
    """Every domain and all of them; a line each verifier that judged, a column each choice."""
    return [
        Group(
            _name(domain),
            tuple(
                Line(
                    one_line(verifier, 40),
                    tuple(
                        cell(_find(view, domain, verifier, choice), signed=choice[2]) for choice in choices
                    ),
                )
                for verifier in view.judging
            ),
        )
        for domain in [*view.domains, OVERALL]
    ]


def headline_table(view: View) -> list[tuple[str, Cell, str, tuple[Line, ...]]]:
    """(domain, accuracy, prompts, lines), each line a verifier's headline: accuracy after, gap, reading and the rest."""
    groups = []
    for domain in [*view.domains, OVERALL]:
        base = view.get(domain, "accuracy", filter="")
        lines = tuple(_headline_line(view, domain, verifier) for verifier in view.judging)
        groups.append((_name(domain), cell(base), f"{base.n_prompts:,}" if base else "–", lines))
    return groups


def _headline_line(view: View, domain: str, verifier: str) -> Line:
    gap = view.headline(domain, verifier)
    reading = read(gap)
    cells = [
        cell(_find(view, domain, verifier, ("accuracy", "headline", False))),
        cell(gap, signed=True) if drawable(gap) else Cell(WORDS[reading], kind="word"),
        Cell(WORDS[reading], kind=reading),
        *(cell(_find(view, domain, verifier, choice), signed=choice[2]) for choice in HEADLINE),
    ]
    if has_bounds(view):
        cells.append(_bounds(gap))
    flags = () if gap is None else (flag for flag in gap.flags if not flag.startswith("pool="))
    return Line(one_line(verifier, 40), tuple(cells), view.label(verifier), _words(flags))


def has_bounds(view: View) -> bool:
    """Whether enough responses were cut at the token limit for any headline gap to have bounds."""
    return any(row is not None and row.bound_low is not None for _, _, row in view.headlines())


def _bounds(row: Estimate | None) -> Cell:
    if row is None or not drawable(row) or row.bound_low is None or row.bound_high is None:
        return Cell("–", kind="none")
    return Cell(minus(interval(row.bound_low, row.bound_high, signed=True)))


def _words(flags: Iterable[str]) -> str:
    return ", ".join(one_line(flag.replace("_", " "), 40) for flag in flags)


def _name(domain: str) -> str:
    return "all domains" if domain == OVERALL else one_line(domain, 60)


def task_table(view: View) -> list[Line]:
    """Accuracy and headline gaps of each task; empty where every domain is one task."""
    tasks = list(dict.fromkeys((row.domain, row.task) for row in view.estimates if row.task))
    if len(tasks) == len({domain for domain, _ in tasks}):
        return []
    return [
        Line(
            f"{one_line(domain, 40)} / {one_line(task, 40)}",
            (
                cell(view.get(domain, "accuracy", filter="", task=task)),
                *(cell(view.headline(domain, v, task=task), signed=True) for v in view.judging),
            ),
        )
        for domain, task in tasks
    ]


def curve_table(view: View) -> tuple[list[int], list[Group]]:
    """The numbers behind the curves: the n of the columns, and a line each curve of each domain."""
    ns = sorted({row.n for row in view.estimates.where(quantity="pass@k") if row.n is not None})
    groups = []
    for domain in [*view.domains, OVERALL]:
        curves = [
            ("pass@n", view.curve(domain, "pass@k")),
            ("majority@n", view.curve(domain, "accuracy", family="majority")),
        ]
        for verifier in view.judging:
            rows = view.curve(domain, "accuracy", verifier, family="best")
            curves.append((f"best@n, {one_line(verifier, 40)}", rows))
        lines = []
        for name, rows in curves:
            by_n = {row.n: row for row in rows}
            lines.append(Line(name, tuple(cell(by_n.get(n)) for n in ns)))
        groups.append(Group(_name(domain), tuple(lines)))
    return ns, groups


def limits(view: View, manifest: Mapping[str, Any]) -> list[str]:
    """What the numbers do not say."""
    counts = [
        row.n_prompts for row in (view.get(domain, "accuracy", filter="") for domain in view.domains) if row
    ]
    fewest = min(counts, default=0)
    said = [
        "The prompts are a sample of these tasks. Nothing is said about other tasks of the same name, other wordings, or "
        "other ways of showing examples."
    ]
    if fewest and view.responses:
        said.append(
            f"What is rare is not seen. Something that none of a domain's {fewest} prompts showed may still happen in up "
            f"to about {min(3 / fewest, 1):.0%} of such prompts, and an answer that none of {view.responses} responses gave may have "
            f"a probability of up to about {min(3 / view.responses, 1):.0%} (three over the number of trials, at 95 %)."
        )
    if view.responses:
        said.append(
            f"Nothing was measured beyond n = {view.responses}. More responses may find more, or may reward what only looks right to the "
            "verifier; this page does not extrapolate, and does not say when the headroom would run out after training."
        )
    heats = temperatures(manifest)
    at = f" (here {', '.join(f'{value:g}' for value in heats)})" if heats else ""
    said += [
        f"The gap belongs to the sampling temperature{at}: at another one the responses differ less or more, and there is "
        "less or more to choose from.",
        "A verifier is its prompt. Another wording, another judge or more verdicts for each response can give another gap; "
        "“no gap shown” speaks of these verifiers only.",
        "Ground truth is what the grader says. A grader that misreads right answers lowers accuracy and can lower or raise "
        "the gap.",
        "A gap is what could be gained by choosing among answers. How much of it training would keep is not measured.",
    ]
    return said


def task_limits(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(task, what its own card says it cannot tell), for the tasks that say so."""
    cards = {name: task.get("card", {}).get("limits") for name, task in manifest.get("tasks", {}).items()}
    return [(one_line(name, 60), one_line(str(text), 500)) for name, text in cards.items() if text]


def simulated(manifest: Mapping[str, Any]) -> bool:
    """Whether the answers came from the simulated engine, so that no model was measured."""
    return bool(manifest.get("config", {}).get("engine") == "simulated")


def facts(view: View, manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The few facts that stand under the title."""
    counts = [
        row.n_prompts for row in (view.get(domain, "accuracy", filter="") for domain in view.domains) if row
    ]
    suite = manifest.get("suite")
    name = suite.get("name") if isinstance(suite, Mapping) else suite
    heats = temperatures(manifest)
    pairs = [
        ("Model", one_line(view.model, 100)),
        ("Suite", one_line(str(name or "not recorded"), 60)),
        ("Prompts", f"{sum(counts):,} in {plural(len(view.domains), 'domain')}"),
        ("Responses a prompt (N)", f"{view.responses}"),
        ("Verifiers", ", ".join(one_line(verifier, 40) for verifier in view.verifiers) or "none"),
    ]
    if heats:
        pairs.append(("Temperature", ", ".join(f"{value:g}" for value in heats)))
    if created := manifest.get("created"):
        pairs.append(("Run started", one_line(str(created), 40)))
    return pairs


def reading_words() -> list[tuple[Reading, str]]:
    """What each reading means."""
    return [
        ("gap", "the interval lies above zero: choosing by this verifier helps"),
        ("worse", "the interval lies below zero: choosing by this verifier does harm"),
        ("none", "the interval includes zero; that is no proof that there is no gap"),
        (
            "descriptive",
            "fewer than 20 prompts: the numbers describe these prompts and claim nothing beyond them",
        ),
        ("not_estimable", "undefined, or an interval so wide that the number would mislead"),
        (
            "no_verdicts",
            "no reply of the verifier could be read as a verdict here; it is left out, not scored as wrong",
        ),
        ("missing", "not every domain or task has this number"),
    ]
