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
NUMBERS = range(2, 500)

# A word stands in one list only and fits no other one.
CATEGORIES = {
    "fruit": "apple banana cherry grape lemon mango melon pear pineapple strawberry blueberry watermelon apricot fig papaya",
    "animal": "dog cat horse cow pig sheep goat lion tiger elephant monkey rabbit bear wolf fox deer zebra giraffe",
    "color": "red blue green yellow purple brown black white gray pink",
    "tool": "hammer saw drill wrench screwdriver pliers shovel axe chisel rake",
    "body part": "arm leg foot hand head nose ear eye mouth knee elbow shoulder finger toe neck",
    "clothing": "shirt pants hat coat dress skirt sock glove scarf jacket sweater",
    "furniture": "chair table sofa bed desk bookcase wardrobe cabinet couch stool",
    "vehicle": "car bus truck train bicycle motorcycle airplane helicopter boat ship van tractor",
    "instrument": "piano guitar violin drum flute trumpet harp clarinet cello saxophone banjo",
    "sport": "soccer tennis basketball baseball golf hockey volleyball rugby swimming boxing wrestling",
    "country": "France Germany Italy Spain Japan China India Brazil Canada Mexico Egypt Russia Norway Kenya",
    "metal": "copper tin zinc lead aluminum nickel steel titanium brass platinum",
    "job": "doctor teacher nurse lawyer farmer baker plumber carpenter pilot engineer chef dentist",
    "weather": "rain snow wind fog hail thunder storm sunshine drizzle",
    "day": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "planet": "Mars Venus Jupiter Saturn Neptune Uranus",
    "shape": "circle square triangle rectangle pentagon hexagon oval",
    "vegetable": "carrot potato onion cabbage broccoli spinach celery lettuce cauliflower turnip",
}


def successor(rng: random.Random) -> Iterator[dict[str, Any]]:
    """A number of up to three digits and the next one."""
    for number in rng.sample(NUMBERS, len(NUMBERS)):
        yield {"number": number, "answer": number + 1}


def category(rng: random.Random) -> Iterator[dict[str, Any]]:
    """Every word once, its own kind among three others."""
    words = [(word, kind) for kind, words in CATEGORIES.items() for word in words.split()]
    for word, kind in rng.sample(words, len(words)):
        others = rng.sample(sorted(set(CATEGORIES) - {kind}), 3)
        yield {"word": word, "choices": rng.sample([kind, *others], 4), "answer": kind}


FILES = {
    "successor.jsonl": successor,
    "category.jsonl": category,
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
