"""How often the graders read an awkward reply as a person does.

`tests/data/replies.jsonl` holds replies written and labelled by hand before any grader saw them: a verdict (`right`,
`wrong`, `no_answer`) and the answer that a person takes from the reply. Its rows are split once, at random, into `mend`,
which the graders were mended on, and `heldout`, whose errors nobody looked at meanwhile.

    python benchmarks/extraction.py [--json] [--errors mend]

Four measures, with Clopper-Pearson 95 % intervals: *verdict* (all three words agree), *utility* (right or not, which is
all that a measurement uses), *extraction* (of replies with an answer: grading the reply against the labelled answer
finds it), and *false accepts* (of replies that are not right: the grader says right).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from gapbench.graders.base import Graded, graders
from gapbench.records import NO_ANSWER, Message, Prompt
from gapbench.tasks.validate import Rate

REPLIES = Path(__file__).parents[1] / "tests" / "data" / "replies.jsonl"


@dataclass(frozen=True)
class Outcome:
    """One labelled reply and what its grader made of it."""

    row: dict[str, Any]
    verdict: str
    extracted: bool | None

    @property
    def agrees(self) -> bool:
        """Whether the verdict is the person's."""
        return bool(self.verdict == self.row["verdict"])


def read_replies(path: Path = REPLIES) -> list[dict[str, Any]]:
    """The labelled replies."""
    return [json.loads(line) for line in path.open(encoding="utf-8")]


def grade(row: dict[str, Any], reference: Sequence[str]) -> Graded:
    """Grade the row's reply against `reference`."""
    metadata = {"choices": row["choices"]} if row["choices"] else {}
    prompt = Prompt(
        "replies", row["id"], "replies", (Message("user", row["question"]),), tuple(reference), metadata
    )
    return graders.get(row["grader"])(**row["options"]).grade(prompt, row["reply"])


def read(row: dict[str, Any]) -> Outcome:
    """What the grader makes of a row."""
    graded = grade(row, row["reference"])
    verdict = "no_answer" if graded.status == NO_ANSWER else "right" if graded.utility == 1 else "wrong"
    found = None if row["answer"] is None else grade(row, [row["answer"]]).utility == 1
    return Outcome(row, verdict, found)


def measures(outcomes: Iterable[Outcome]) -> dict[str, Rate]:
    """The four rates of some outcomes."""
    those = list(outcomes)
    answered = [one for one in those if one.extracted is not None]
    not_right = [one for one in those if one.row["verdict"] != "right"]
    return {
        "verdict": Rate(sum(one.agrees for one in those), len(those)),
        "utility": Rate(
            sum((one.verdict == "right") == (one.row["verdict"] == "right") for one in those), len(those)
        ),
        "extraction": Rate(sum(bool(one.extracted) for one in answered), len(answered)),
        "false_accepts": Rate(sum(one.verdict == "right" for one in not_right), len(not_right)),
    }


def grouped(outcomes: Sequence[Outcome]) -> dict[str, dict[str, Rate]]:
    """Rates over all, by split, by grader within each split, and by kind."""
    groups = {"all": measures(outcomes)}
    for split in ("mend", "heldout"):
        part = [one for one in outcomes if one.row["split"] == split]
        groups[split] = measures(part)
        for grader in sorted({one.row["grader"] for one in part}):
            groups[f"{split}: {grader}"] = measures(one for one in part if one.row["grader"] == grader)
    for kind in sorted({one.row["kind"] for one in outcomes}):
        groups[f"kind: {kind}"] = measures(one for one in outcomes if one.row["kind"] == kind)
    return groups


def main() -> None:
    parser = argparse.ArgumentParser(description="Accuracy of answer extraction on hand-labelled replies.")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--errors", choices=("mend", "heldout"), help="list what is misread in this split")
    arguments = parser.parse_args()
    outcomes = [read(row) for row in read_replies()]
    groups = grouped(outcomes)
    if arguments.json:
        print(
            json.dumps(
                {name: {key: rate.to_json() for key, rate in rates.items()} for name, rates in groups.items()}
            )
        )
        return
    table = Table("replies", *next(iter(groups.values())), box=None)
    for name, rates in groups.items():
        table.add_row(name, *(str(rate) for rate in rates.values()))
    Console(width=150).print(table)
    for one in outcomes:
        if one.row["split"] == arguments.errors and not (one.agrees and one.extracted is not False):
            read_as = f"{one.verdict}, {grade(one.row, one.row['reference']).answer!r}"
            print(
                f"{one.row['id']} {one.row['reply']!r}\n    {one.row['verdict']}, {one.row['answer']!r}; read as {read_as}"
            )


if __name__ == "__main__":
    main()
