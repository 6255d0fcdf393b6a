"""The first screen in words, computed from the numbers: how much headroom, where, how sure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from gapbench.estimate.results import Estimate
from gapbench.report.text import interval, listing, number, one_line, plural
from gapbench.report.view import OVERALL, WORDS, Reading, View, drawable, read

CHANCE = 0.05  # share of 95 % intervals that miss the truth
MISTRUST_BELOW = 0.01  # probability, under chance alone, of so many controls that are not zero


@dataclass(frozen=True)
class VerifierSummary:
    """One verifier over all domains.

    Attributes
    ----------
    label
        The headline quantity, such as `gap[best@8, m=1]`.
    readings
        Domain to what its headline interval says.
    overall
        The headline gap over all domains, which weigh equally.
    """

    verifier: str
    label: str
    readings: dict[str, Reading]
    overall: Estimate | None

    def domains(self, reading: Reading) -> list[str]:
        """Domains with this reading."""
        return [domain for domain, found in self.readings.items() if found == reading]


def by_verifier(view: View) -> list[VerifierSummary]:
    """One summary a verifier, in the order of the estimates."""
    return [
        VerifierSummary(
            verifier,
            view.label(verifier),
            {domain: read(view.headline(domain, verifier)) for domain in view.domains},
            view.headline(OVERALL, verifier),
        )
        for verifier in view.judging
    ]


def lead(view: View) -> str:
    """One sentence: in how many domains does any verifier show a gap."""
    summaries = by_verifier(view)
    total = len(view.domains)
    shown = [domain for domain in view.domains if any(s.readings[domain] == "gap" for s in summaries)]
    if not summaries:
        return f"{plural(total, 'domain')} measured; no verifier gave a verdict, so there is no gap to show."
    using = "the verifier" if len(summaries) == 1 else f"at least one of {len(summaries)} verifiers"
    verb = "shows" if len(shown) == 1 else "show"
    where = f": {view.names(shown)}" if shown else ""
    return (
        f"Of {plural(total, 'domain')}, {len(shown) or 'none'} {verb} a gap whose interval excludes zero "
        f"with {using}{where}."
    )


def details(view: View) -> list[str]:
    """One paragraph a verifier: overall movement, then every domain under what its interval says."""
    silent = [one_line(verifier, 40) for verifier in view.silent]
    left_out = [
        f"{name}: no reply could be read as a verdict; it is left out, not scored." for name in silent
    ]
    return [_detail(view, summary) for summary in by_verifier(view)] + left_out


def _detail(view: View, summary: VerifierSummary) -> str:
    name = one_line(summary.verifier, 40)
    parts = [f"{name}, {summary.label}: {_overall(view, summary)}"]
    for reading in WORDS:
        if names := summary.domains(reading):
            parts.append(f"{WORDS[reading]} in {len(names)} of {len(view.domains)} ({view.names(names)})")
    return "; ".join(parts) + "."


def _overall(view: View, summary: VerifierSummary) -> str:
    row, base = summary.overall, view.get(OVERALL, "accuracy", filter="")
    if row is None or not drawable(row):
        return "no overall number, because not every domain has one"
    gap = f"{number(row.value, signed=True)} {interval(row.low, row.high, signed=True)}"
    if base is None or not drawable(base):
        return f"over all domains the gap is {gap}"
    return f"over all domains accuracy goes from {number(base.value)} to {number(base.value + row.value)}, gap {gap}"


def how_sure(view: View) -> list[str]:
    """What the intervals are worth: their width, and how many would mislead by chance."""
    rows = [row for _, _, row in view.headlines() if row is not None and drawable(row)]
    read_rows = [row for row in rows if "descriptive" not in row.flags]
    sentences = []
    if rows:
        width = float(np.median([(row.high - row.low) / 2 for row in rows]))
        prompts = sorted({row.n_prompts for row in rows})
        span = f"{prompts[0]}" if len(prompts) == 1 else f"{prompts[0]} to {prompts[-1]}"
        sentences.append(
            f"With {span} prompts a domain the typical interval is the value ± {number(width)}: a gap smaller than that "
            "cannot be told from none here, so “no gap shown” does not mean “no gap”."
        )
    if len(read_rows) > 1:
        expected = CHANCE * len(read_rows)
        sentences.append(
            f"{len(read_rows)} intervals were looked at. Where there is truly no gap, about 1 in 20 such intervals "
            f"excludes zero by chance: {expected:.1f} of {len(read_rows)} if there were no gap anywhere."
        )
    return sentences


def control_reading(view: View) -> list[str]:
    """Whether the permuted-score control is quiet, a sentence a verifier."""
    sentences = []
    for verifier in view.judging:
        rows = [view.headline(domain, verifier, "gap_permuted") for domain in view.domains]
        found = Counter(read(row) for row in rows if row is not None)
        drawn = sum(found[word] for word in ("gap", "worse", "none"))
        if not drawn:
            continue
        loud = found["gap"] + found["worse"]
        usual = binom.sf(loud - 1, drawn, CHANCE) >= MISTRUST_BELOW
        overall = view.headline(OVERALL, verifier, "gap_permuted")
        verdict = "as chance has it" if usual else "too many for chance: mistrust this run"
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
