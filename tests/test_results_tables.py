"""The tables of README.md and results/README.md are those of the committed estimates, to the last digit.

A table that is held against a run stands below a comment that names it, `<!-- of: starter-demo -->`, or one for each model that its
headings name, `<!-- of: SmolLM2=core/smollm2-135m Gemma=core/gemma3-270m -->`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import ROOT

TABLE = re.compile(r"<!-- of: (.+) -->\n\n(\|.+\n)\|[-|]+\n((?:\|.+\n)+)")
PAGES = ("README.md", "results/README.md")


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def estimated(run: str) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Accuracy before a filter and gaps after one, by domain, verifier and filter."""
    rows = json.loads((ROOT / "results" / run / "estimates.json").read_text("utf-8"))
    return {
        (row["domain"], row["verifier"], row["filter"]): row
        for row in rows
        if row["quantity"] == ("gap" if row["filter"] else "accuracy")
        and not row["task"]
        and row["m"] in (None, 1)
    }


def columns(runs: str, head: list[str]) -> Iterator[tuple[str, str, str]]:
    """Run, verifier and filter of each heading but the first; a model that is named holds for the headings after it."""
    named = dict(one.split("=") for one in runs.split()) if "=" in runs else {"": runs}
    model = ""
    for heading in head[1:]:
        if ": " in heading:
            model = heading.split(": ")[0]
        verifier, filter_ = re.search(r"`(\w+)`", heading), re.search(r"\w+@\d+", heading)
        yield named[model], verifier[1] if verifier else "", filter_[0] if filter_ else ""


def written(row: dict[str, Any]) -> str:
    """How the pages write an estimate: two digits, a sign before a gap, bold where zero lies outside."""
    sign = "+" if row["quantity"] == "gap" else ""
    value, low, high = (format(row[key], f"{sign}.2f").replace("-", "−") for key in ("value", "low", "high"))
    text = f"{value} [{low}, {high}]"
    return f"**{text}**" if sign and not row["low"] <= 0 <= row["high"] else text


@pytest.mark.parametrize("page", PAGES)
def test_every_number_is_the_one_that_was_estimated(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    found = TABLE.findall(text)
    assert len(found) == text.count("<!-- of: ") > 0
    for runs, head, body in found:
        about = list(columns(runs, cells(head)))
        for line in body.splitlines():
            domain, *said = cells(line)
            name = "all" if "all domains" in domain else re.sub(r" \(\d+\)$", "", domain)
            told = [written(estimated(run)[name, verifier, filter_]) for run, verifier, filter_ in about]
            assert said == told, f"{page}: {domain}"
