"""What may and may not be concluded from scaling laws, generated from the numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gapbench.report.text import interval, listing, number, plural
from gapbench.scaling.contrasts import SlopeContrast
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
    return [
        *(line for domain in _domains(scaling) for line in _domain(scaling, domain)),
        *_differences(scaling),
        *_control(scaling),
        *_limits(scaling),
    ]


def _domains(scaling: Scaling) -> list[str]:
    return list(dict.fromkeys(row.domain for row in scaling.slopes))


def _domain(scaling: Scaling, domain: str) -> Iterator[str]:
    where = "Over all domains" if domain == ALL else f"In {domain}"
    name = NAMES[scaling.points.quantity]
    rows = scaling.slopes.where(domain=domain)
    pooled = next(row for row in rows if row.family == ALL and row.method != "two_stage")
    stages = [row for row in rows if row.method == "two_stage"]
    if not pooled.estimable:
        yield f"{where} no slope of the {name} can be told: {_why(pooled)}."
        return
    yield f"{where} the {name} {_reads(pooled)} within families ({_numbers(pooled)}; {plural(pooled.n_models, 'model')})."
    for row in stages:
        if row.estimable:
            yield (
                f"{where} {_across(row)} ({_numbers(row)}, {row.n_families} families; a new family's slope: "
                f"{interval(row.new_low, row.new_high, signed=True)})."
            )
        else:
            yield (
                f"{where} nothing can be said of other families: that takes 3 with slopes of their own, and there "
                f"{'is' if row.n_families == 1 else 'are'} {row.n_families}."
            )
    if "one_family" in pooled.flags:
        yield f"{where} one family was measured: that the law holds in others does not follow."
    bad = [row.family for row in rows if "forward_misfit" in row.flags and row.family != ALL]
    if bad or "forward_misfit" in pooled.flags:
        names = listing(bad) if bad else "all families together"
        yield f"{where} the smaller models foretell the largest badly for {names}: do not extend the line."
    elif pooled.n_models < FEW:
        yield f"{where} {pooled.n_models} models are too few to extend the line by more than half a decade."
    if pooled.saturating is not None:
        yield f"{where} {_ceiling(pooled.saturating, name)}"


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


def _reads(row: Slope) -> str:
    if row.p <= ALPHA:
        return "rises with compute" if row.value > 0 else "falls with compute"
    return "is not shown to change with compute"


def _across(row: Slope) -> str:
    if not row.p <= ALPHA:
        return "it is not established that this holds across families"
    return f"it {'rises' if row.value > 0 else 'falls'} on average across families"


def _numbers(row: Slope) -> str:
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
    """Every established difference; those that are not, domains always and families where only one has a slope."""
    for row in (*scaling.domain_contrasts, *scaling.family_contrasts):
        if row.verdict == "not_estimable":
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
    for row in scaling.control:
        if row.term != "gap" or math.isnan(row.p):
            continue
        pooled = next((one for one in scaling.slopes if (one.domain, one.family) == (row.domain, ALL)), None)
        if pooled is None or not pooled.estimable:
            continue
        numbers = f"{number(row.value, signed=True)} per decade {interval(row.low, row.high, signed=True)}"
        if pooled.p <= ALPHA and pooled.value > 0 and not (row.p <= ALPHA and row.value > 0):
            yield (
                f"In {row.domain} the absolute gap is not shown to rise ({numbers}): the rise of the relative gap may be its "
                "denominator, 1 - accuracy, which shrinks as models grow."
            )
        else:
            yield f"In {row.domain} the absolute gap changes by {numbers}."


def _limits(scaling: Scaling) -> Iterator[str]:
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
