"""What we ask of reasoning-gym. Its import is slow and some of it never ends, so `worker.Worker` calls this module.

Several of its scorers pass the reply to `eval` or to sympy's `parse_expr`, which evaluates too. For those a reply
must first pass `harmless`.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

import reasoning_gym
from reasoning_gym.factory import DATASETS

EVALUATES = frozenset(
    {
        "binary_matrix",
        "countdown",
        "intermediate_integration",
        "n_queens",
        "polynomial_multiplication",
        "puzzle24",
        "simple_integration",
        "spiral_matrix",
        "string_insertion",
    }
)
_FUNCTIONS = "abs acos acosh asin asinh atan atanh cos cosh cot csc exp ln log pi sec sin sinh sqrt tan tanh"
_NAMES = frozenset(_FUNCTIONS.split())


def harmless(reply: str) -> bool:
    """Whether evaluating a reply can only compute: numbers, operators, one-letter names, functions of mathematics."""
    names = re.findall(r"[^\W\d]\w*", reply)
    return "_" not in reply and all(len(name) == 1 or name in _NAMES for name in names)


@lru_cache(maxsize=64)
def _dataset(name: str, config: str) -> Any:
    return reasoning_gym.create_dataset(name, **json.loads(config))


def names() -> list[str]:
    """Every dataset that reasoning-gym has."""
    return sorted(DATASETS)


def draw(name: str, config: dict[str, Any], start: int, count: int) -> list[dict[str, Any]]:
    """Entries `start` to `start + count` of a dataset; `config` holds its seed and a size that is large enough."""
    dataset = _dataset(name, json.dumps(config, sort_keys=True))
    return [dataset[index] for index in range(start, start + count)]


def _fills_mini_sudoku(entry: dict[str, Any], reply: str) -> bool:
    """Whether the lines of four digits in a reply fill the puzzle by its rules; the solution is not looked at."""
    puzzle = entry["metadata"]["puzzle"]
    rows = [[int(digit) for digit in re.findall("[0-9]", line)] for line in reply.split("\n")]
    rows = [row for row in rows if len(row) == 4]
    if len(rows) != 4:
        return False
    columns = [list(column) for column in zip(*rows, strict=True)]
    blocks = [rows[i][j : j + 2] + rows[i + 1][j : j + 2] for i in (0, 2) for j in (0, 2)]
    keeps = all(
        clue in (0, cell)
        for clues, row in zip(puzzle, rows, strict=True)
        for clue, cell in zip(clues, row, strict=True)
    )
    return keeps and all(sorted(group) == [1, 2, 3, 4] for group in (*rows, *columns, *blocks))


def score(name: str, config: dict[str, Any], entry: dict[str, Any], reply: str) -> float:
    """What the dataset's own scorer gives a reply, in [0, 1]; many give partial credit.

    The mini sudoku is scored here by its rules: the scorer there compares with the solution, and with its layout.
    """
    if name == "mini_sudoku":
        return float(_fills_mini_sudoku(entry, reply))
    if name in EVALUATES and not harmless(reply):
        return float(reply == entry["answer"])
    dataset = _dataset(name, json.dumps(config, sort_keys=True))
    return float(dataset.score_answer(answer=reply, entry=entry))
