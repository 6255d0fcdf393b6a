"""Write the generated question files beside this script: `python tasks/data/make.py [FOLDER]`.

The files are kept in the repository so that a suite needs no build step; a test checks that this script still writes
them as they are. `capitals.jsonl` and `antonyms.jsonl` are written by hand and not touched.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROWS = 350
NUMBERS = range(10, 100)

# A word stands in one list only and fits no other one.
CATEGORIES = {
    "a fruit": "apple banana cherry grape lemon mango melon pear pineapple strawberry blueberry watermelon apricot fig papaya",
    "an animal": "dog cat horse cow pig sheep goat lion tiger elephant monkey rabbit bear wolf fox deer zebra giraffe",
    "a color": "red blue green yellow purple brown black white gray pink",
    "a tool": "hammer saw drill wrench screwdriver pliers shovel axe chisel rake",
    "a body part": "arm leg foot hand head nose ear eye mouth knee elbow shoulder finger toe neck",
    "a piece of clothing": "shirt pants hat coat dress skirt sock glove scarf jacket sweater",
    "a piece of furniture": "chair table sofa bed desk bookcase wardrobe cabinet couch stool",
    "a vehicle": "car bus truck train bicycle motorcycle airplane helicopter boat ship van tractor",
    "a musical instrument": "piano guitar violin drum flute trumpet harp clarinet cello saxophone banjo",
    "a sport": "soccer tennis basketball baseball golf hockey volleyball rugby swimming boxing wrestling",
    "a country": "France Germany Italy Spain Japan China India Brazil Canada Mexico Egypt Russia Norway Kenya",
    "a metal": "copper tin zinc lead aluminum nickel steel titanium brass platinum",
    "a job": "doctor teacher nurse lawyer farmer baker plumber carpenter pilot engineer chef dentist",
    "a kind of weather": "rain snow wind fog hail thunder storm sunshine drizzle",
    "a day of the week": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "a planet": "Mars Venus Jupiter Saturn Neptune Uranus",
    "a shape": "circle square triangle rectangle pentagon hexagon oval",
    "a vegetable": "carrot potato onion cabbage broccoli spinach celery lettuce cauliflower turnip",
}


def larger(rng: random.Random) -> Iterator[dict[str, Any]]:
    """Two different numbers of two digits, in either order."""
    while True:
        a, b = rng.sample(NUMBERS, 2)
        yield {"a": a, "b": b, "answer": max(a, b)}


def ordering(rng: random.Random) -> Iterator[dict[str, Any]]:
    """Three different numbers of two digits, to put in order."""
    while True:
        numbers = rng.sample(NUMBERS, 3)
        if numbers != sorted(numbers):
            yield {"numbers": numbers, "answer": ", ".join(map(str, sorted(numbers)))}


def category(rng: random.Random) -> Iterator[dict[str, Any]]:
    """Four words, one of them of the category asked for and each of the others of another one."""
    while True:
        kinds = rng.sample(sorted(CATEGORIES), 4)
        words = [rng.choice(CATEGORIES[kind].split()) for kind in kinds]
        options = rng.sample(words, 4)
        yield {"category": kinds[0], "choices": options, "answer": words[0]}


def odd_one_out(rng: random.Random) -> Iterator[dict[str, Any]]:
    """Three words of one category and one of another."""
    while True:
        same, other = rng.sample(sorted(CATEGORIES), 2)
        odd = rng.choice(CATEGORIES[other].split())
        options = rng.sample([*rng.sample(CATEGORIES[same].split(), 3), odd], 4)
        yield {"choices": options, "answer": odd}


def caesar(rng: random.Random) -> Iterator[dict[str, Any]]:
    """A word of three to five letters, each letter moved one place on (Z would become A)."""
    lines = (Path(__file__).parent / "antonyms.jsonl").read_text(encoding="utf-8").splitlines()
    pairs = [json.loads(line) for line in lines]
    known = [pair[side] for pair in pairs for side in ("word", "opposite")]
    known += [word for words in CATEGORIES.values() for word in words.split()]
    words = sorted({word.upper() for word in known if 3 <= len(word) <= 5})
    for word in rng.sample(words, len(words)):
        yield {"cipher": "".join(chr((ord(letter) - 64) % 26 + 65) for letter in word), "answer": word}


FILES = {
    "larger.jsonl": larger,
    "ordering.jsonl": ordering,
    "category.jsonl": category,
    "odd_one_out.jsonl": odd_one_out,
    "caesar.jsonl": caesar,
}


def make(folder: Path) -> None:
    """Write every file: at most `ROWS` different rows each, the same ones every time."""
    for name, generate in FILES.items():
        rows: dict[str, None] = {}
        for row in generate(random.Random(name)):
            rows[json.dumps(row)] = None
            if len(rows) == ROWS:
                break
        (folder / name).write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
