"""What may and may not be concluded from scaling laws, generated from the numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from gapbench.report.text import interval, listing, number, plural, span
from gapbench.scaling.contrasts import SlopeContrast
from gapbench.scaling.control import Control
from gapbench.scaling.saturating import Saturating
from gapbench.scaling.scale import Scaling
from gapbench.scaling.slopes import ALL, FEW, Slope

ALPHA = 0.05
NAMES = {"relative_gap": "relative gap", "gap": "gap"}


def conclusions(scaling: Scaling) -> list[str]:
    """Sentences for the reader, those on what does not follow among them.

    Parameters
    ----------
    scaling
        As `gapbench.scaling.scale.scale` gives it.
    """
    return [*readings(scaling), *limits(scaling)]


def readings(scaling: Scaling) -> list[str]:
    """What the numbers say."""
    return [
        *_pooled(scaling),
        *_together(line for domain in _domains(scaling) for line in _domain(scaling, domain)),
        *_differences(scaling),
        *_control(scaling),
    ]


def _domains(scaling: Scaling) -> list[str]:
    return list(dict.fromkeys(row.domain for row in scaling.slopes))


def _pooled_rows(scaling: Scaling) -> list[Slope]:
    return [row for row in scaling.slopes if row.family == ALL and row.method != "two_stage"]


def _pooled(scaling: Scaling) -> Iterator[str]:
    """The pooled slopes by what they read as, with the numbers of all domains or of an only one."""
    name = NAMES[scaling.points.quantity]
    groups: dict[str, list[Slope]] = {}
    for row in _pooled_rows(scaling):
        if row.estimable:
            groups.setdefault(_reads(row), []).append(row)
    for reading, rows in groups.items():
        told = f" ({_numbers(rows[-1])}; {plural(rows[-1].n_models, 'model')})"
        told *= len(rows) == 1 or rows[-1].domain == ALL
        yield f"Within families the {name} {reading} {_places(row.domain for row in rows)}{told}."


def _places(domains: Iterable[str]) -> str:
    """Where, as in `in a and b, and over all domains`."""
    names = list(domains)
    own = [name for name in names if name != ALL]
    places = [f"in {listing(own)}"] if own else []
    return ", and ".join(places + ["over all domains"] * (ALL in names))


def _together(found: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Sentences about domains, those of equal words as one."""
    groups: dict[str, list[str]] = {}
    for domain, text in found:
        groups.setdefault(text, []).append(domain)
    for text, domains in groups.items():
        where = _places(domains)
        yield f"{where[0].upper()}{where[1:]} {text}"


def _domain(scaling: Scaling, domain: str) -> Iterator[tuple[str, str]]:
    """(domain, what is said of it) for what is not in the numbers of the slope."""
    name = NAMES[scaling.points.quantity]
    rows = scaling.slopes.where(domain=domain)
    pooled = next(row for row in _pooled_rows(scaling) if row.domain == domain)
    if not pooled.estimable:
        yield domain, f"no slope of the {name} can be told: {_why(pooled)}."
        return
    for row in rows:
        if row.method != "two_stage":
            continue
        if row.estimable:
            new = interval(row.new_low, row.new_high, signed=True)
            yield (
                domain,
                f"{_across(row)} ({_numbers(row)}, {row.n_families} families; a new family's slope: {new}).",
            )
        else:
            yield (
                domain,
                "nothing can be said of other families: that takes 3 with slopes of their own, and there "
                f"{'is' if row.n_families == 1 else 'are'} {row.n_families}.",
            )
    if "one_family" in pooled.flags:
        yield domain, "one family was measured: that the law holds in others does not follow."
    bad = [row.family for row in rows if "forward_misfit" in row.flags and row.family != ALL]
    if bad or "forward_misfit" in pooled.flags:
        names = listing(bad) if bad else "all families together"
        yield domain, f"the smaller models foretell the largest badly for {names}: do not extend the line."
    elif pooled.n_models < FEW:
        yield (
            domain,
            f"{pooled.n_models} models are too few to extend the line by more than half a decade.",
        )
    if pooled.saturating is not None:
        yield domain, _ceiling(pooled.saturating, name)


def _ceiling(law: Saturating, name: str) -> str:
    better = "the line" if law.aicc_linear <= law.aicc else "the saturating law"
    told = (
        f"AICc is lower for {better} ({number(min(law.aicc, law.aicc_linear), digits=1)} against "
        f"{number(max(law.aicc, law.aicc_linear), digits=1)}), which at few models does not tell which is true."
    )
    if law.flags:
        return f"no ceiling is identified: whether the {name} levels off cannot be told from these models; {told}"
    ends = interval(law.low, law.high, signed=True)
    return f"the {name} rises by {number(law.ceiling, signed=True)} {ends} in all if it levels off; {told}"


def _reads(row: Slope | Control) -> str:
    if row.p <= ALPHA:
        return "rises with compute" if row.value > 0 else "falls with compute"
    return "is not shown to change with compute"


def _across(row: Slope) -> str:
    if not row.p <= ALPHA:
        return "it is not established that this holds across families"
    return f"it {'rises' if row.value > 0 else 'falls'} on average across families"


def _numbers(row: Slope | Control) -> str:
    return (
        f"{number(row.value, signed=True)} per decade {interval(row.low, row.high, signed=True)}, {_p(row.p)}"
    )


def _p(p: float) -> str:
    if math.isnan(p):
        return "no p"
    return "p < .001" if p < 0.001 else f"p = {number(p)}"


def _why(row: Slope) -> str:
    if "equal_flops" in row.flags:
        return "within families all models have the same compute"
    if "perfect_fit" in row.flags:
        return "the points lie on a line exactly"
    return f"{plural(row.n_models, 'model')} with another of the family are too few"


def _differences(scaling: Scaling) -> Iterator[str]:
    """Every established difference; those that are not, domains in one sentence and families where only one has a slope."""
    tied = [row for row in scaling.domain_contrasts if row.verdict == "not_established"]
    if len(tied) > 1:
        mdes = [row.mde for row in tied]
        yield (
            f"That domains differ is not established for {len(tied)} pairs (least adjusted "
            f"{_p(min(row.p_adjusted for row in tied))}); true differences below {span(mdes)} would often be missed, so they "
            "are not shown to be equal either."
        )
    for row in (*scaling.domain_contrasts, *scaling.family_contrasts):
        if row.verdict == "not_estimable" or (row in tied and len(tied) > 1):
            continue
        where, that = (f"In {row.within}, ", "that") if row.by == "family" else ("", "That")
        numbers = (
            f"difference {number(row.value, signed=True)} per decade {interval(row.low, row.high, signed=True)}, "
            f"{_p(row.p)}, adjusted {_p(row.p_adjusted)}"
        )
        if row.verdict in ("larger", "smaller"):
            verb = "steeper" if row.verdict == "larger" else "less steep"
            yield f"{where}{row.a} is {verb} than {row.b} ({numbers})."
        elif row.by == "domain" or row.p <= 0.1:
            yield (
                f"{where}{that} {row.a} and {row.b} differ is not established ({numbers}); a true difference below "
                f"{number(row.mde)} would often be missed, so they are not shown to be equal either."
            )
    unequal = list(_one_of_two(scaling))
    if unequal:
        yield (
            "One slope that differs from 0 beside one that does not is no evidence that they differ: "
            f"{listing(unequal)}."
        )


def _one_of_two(scaling: Scaling) -> Iterator[str]:
    """Pairs of which exactly one slope is significant and whose difference is not."""
    found = {(row.domain, row.family): row.p for row in scaling.slopes if row.method != "two_stage"}

    def key(row: SlopeContrast, name: str) -> tuple[str, str]:
        return (name, ALL) if row.by == "domain" else (row.within, name)

    for row in (*scaling.domain_contrasts, *scaling.family_contrasts):
        ps = [found.get(key(row, name), float("nan")) for name in (row.a, row.b)]
        if row.verdict == "not_established" and sum(p <= ALPHA for p in ps) == 1:
            yield f"{row.a} against {row.b}" + (f" in {row.within}" if row.by == "family" else "")


def _control(scaling: Scaling) -> Iterator[str]:
    if scaling.points.quantity != "relative_gap":
        return
    pooled = {row.domain: row for row in _pooled_rows(scaling) if row.estimable}
    others: dict[str, list[Control]] = {}
    for row in scaling.control:
        if row.term != "gap" or math.isnan(row.p) or row.domain not in pooled:
            continue
        above = pooled[row.domain]
        if above.p <= ALPHA and above.value > 0 and not (row.p <= ALPHA and row.value > 0):
            yield (
                f"In {row.domain} the absolute gap is not shown to rise ({_numbers(row)}): the rise of the relative gap may be its "
                "denominator, 1 − accuracy, which shrinks as models grow."
            )
        else:
            others.setdefault(_reads(row), []).append(row)
    for reading, rows in others.items():
        told = f" ({_numbers(rows[0])})" if len(rows) == 1 else ""
        yield f"The absolute gap {reading} {_places(row.domain for row in rows)}{told}."


def limits(scaling: Scaling) -> Iterator[str]:
    """What no law says."""
    methods = {row.method for row in scaling.slopes}
    if "ols" in methods:
        yield (
            "Without standard errors, error of measurement and differences between models cannot be told apart: give se, or "
            "runs, which have it."
        )
    if "reml_kh" in methods:
        yield (
            "Points are taken to have independent errors; models measured on the same prompts do not. Give the runs, and their "
            "joint covariance is used."
        )
    yield (
        "Compute goes with data, age and recipe: a slope within families says how released models differ, not what more "
        "compute alone would do."
    )
