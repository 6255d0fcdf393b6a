"""What the numbers say, in sentences: where there is a gap, how sure that is, and whether the control is quiet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from scipy.stats import binom

from gapbench.report.text import interval, listing, number, one_line, plural
from gapbench.report.view import OVERALL, WORDS, Reading, View, drawable, read

CHANCE = 0.05  # share of 95 % intervals that miss the truth
MISTRUST_BELOW = 0.01  # probability, under chance alone, of so many controls that are not zero


def shown_domains(view: View, reading: Reading = "gap") -> list[str]:
    """Domains of which any verifier's headline interval says this."""
    found = {domain for domain, _, row in view.headlines() if read(row) == reading}
    return [domain for domain in view.domains if domain in found]


def lead(view: View) -> str:
    """One sentence: in how many domains does any verifier show a gap."""
    total, judging = len(view.domains), len(view.judging)
    shown = shown_domains(view)
    if not judging:
        return f"{plural(total, 'domain')} measured; no verifier gave a verdict, so there is no gap to show."
    using = "the verifier" if judging == 1 else f"at least one of {judging} verifiers"
    verb = "shows" if len(shown) == 1 else "show"
    where = f": {view.names(shown)}" if shown else ""
    return (
        f"Of {plural(total, 'domain')}, {len(shown) or 'none'} {verb} a gap whose interval excludes zero "
        f"with {using}{where}."
    )


def half_widths(view: View) -> list[float]:
    """Half of the width of every domain's headline interval."""
    return [(row.high - row.low) / 2 for _, _, row in view.headlines() if row is not None and drawable(row)]


def chance_note(views: Sequence[View]) -> str:
    """How many of the intervals would mislead by chance; empty where there is one or none."""
    rows = [row for view in views for _, _, row in view.headlines() if row is not None and drawable(row)]
    count = sum("descriptive" not in row.flags for row in rows)
    if count < 2:
        return ""
    return (
        f"{count} intervals were looked at. Where there is truly no gap, about 1 in 20 such intervals "
        f"excludes zero by chance: {CHANCE * count:.1f} of {count} if there were no gap anywhere."
    )


def control_reading(view: View) -> list[str]:
    """Whether the permuted-score control is quiet, a sentence a verifier."""
    sentences = []
    for verifier, (loud, drawn) in _controls(view).items():
        overall = view.headline(OVERALL, verifier, "gap_permuted")
        verdict = "too many for chance: mistrust this run" if _mistrusted(loud, drawn) else "as chance has it"
        where = (
            ""
            if overall is None or not drawable(overall)
            else (
                f" Overall {number(overall.value, signed=True)} {interval(overall.low, overall.high, signed=True)}."
            )
        )
        sentences.append(
            f"{one_line(verifier, 40)}: with shuffled scores {loud} of {drawn} domain intervals exclude zero, {verdict}.{where}"
        )
    return sentences


def control_verdict(view: View) -> str:
    """The control in one sentence; empty where there is none."""
    found = _controls(view)
    if not found:
        return ""
    loud = [one_line(verifier, 40) for verifier, counts in found.items() if _mistrusted(*counts)]
    if loud:
        return f"With shuffled scores more intervals than chance allows exclude zero for {listing(loud)}: mistrust this run."
    return "With shuffled scores the gap vanishes, as it must."


def _controls(view: View) -> dict[str, tuple[int, int]]:
    """By verifier, how many domains' control intervals exclude zero, and of how many."""
    counts = {}
    for verifier in view.judging:
        rows = [view.headline(domain, verifier, "gap_permuted") for domain in view.domains]
        found = Counter(read(row) for row in rows if row is not None and row.quantity == "gap_permuted")
        drawn = sum(found[word] for word in ("gap", "worse", "none"))
        if drawn:
            counts[verifier] = found["gap"] + found["worse"], drawn
    return counts


def _mistrusted(loud: int, drawn: int) -> bool:
    return bool(binom.sf(loud - 1, drawn, CHANCE) < MISTRUST_BELOW)


def not_drawn(view: View, domains: list[str] | None = None) -> list[str]:
    """`domain (verifier): reading` for each headline gap that has no number to draw."""
    return [
        f"{one_line(domain, 40)} ({one_line(verifier, 40)}): {WORDS[read(row)]}"
        for domain, verifier, row in view.headlines()
        if not drawable(row) and (domains is None or domain in domains)
    ]


def interval_note(view: View) -> str:
    """What the intervals are, in a sentence."""
    if view.target == "benchmark":
        return (
            "Intervals: 95 %, for these very prompts with other responses and verdicts (target: benchmark)."
        )
    return (
        "Intervals: 95 %, for prompts like these (target: population): the hull of the cluster-t interval and the "
        "studentised bootstrap over prompts."
    )


def counts_note(view: View) -> str:
    """N, m, prompts and responses, in a line."""
    rows = [
        row for row in (view.get(domain, "accuracy", filter="") for domain in view.domains) if row is not None
    ]
    if not rows:
        return ""
    prompts = [row.n_prompts for row in rows]
    span = f"{prompts[0]}" if len(set(prompts)) == 1 else f"{min(prompts)}-{max(prompts)}"
    judged = listing(
        [
            f"{one_line(v, 40)} n={view.headline_n(v)}"
            for v in view.verifiers
            if view.headline_n(v) is not None
        ]
        or ["none"]
    )
    return (
        f"N = {view.responses} responses a prompt; {span} prompts a domain ({sum(prompts):,} in all, "
        f"{sum(row.n_responses for row in rows):,} responses); gaps at {judged}."
    )
