"""Write the generated question files beside this script: `python tasks/data/make.py [FOLDER]`.

The files are kept in the repository so that a suite needs no build step; a test checks that this script still writes
them as they are. `capitals.jsonl`, `antonyms.jsonl` and `topics.json` are written by hand and not touched.
"""

from __future__ import annotations

import json
import random
import re
import sys
from collections.abc import Iterator
from itertools import product
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


NOUNS = [
    "actors",
    "bakers",
    "climbers",
    "dancers",
    "doctors",
    "farmers",
    "lawyers",
    "painters",
    "pilots",
    "poets",
    "sailors",
    "singers",
    "teachers",
    "writers",
    "artists",
    "cats",
    "dogs",
    "horses",
    "birds",
    "lions",
    "tigers",
    "whales",
    "insects",
    "spiders",
    "reptiles",
]
FORMS = {"A": "all {} are {}", "E": "no {} are {}", "I": "some {} are {}", "O": "some {} are not {}"}


def _holds(form: str, subject: int, predicate: int, world: list[tuple[bool, ...]]) -> bool:
    both = any(kind[subject] and kind[predicate] for kind in world)
    only = any(kind[subject] and not kind[predicate] for kind in world)
    return {"A": not only, "E": not both, "I": both, "O": only}[form]


def _follows(premises: list[tuple[str, int, int]], conclusion: tuple[str, int, int], existing: bool) -> bool:
    """Whether no world of three kinds of things makes the premises true and the conclusion false.

    `existing` asks for one thing of each kind at least, as traditional logic does.
    """
    kinds = list(product((False, True), repeat=3))
    for there in product((False, True), repeat=len(kinds)):
        world = [kind for kind, is_there in zip(kinds, there, strict=True) if is_there]
        if existing and not all(any(kind[i] for kind in world) for i in range(3)):
            continue
        if all(_holds(*premise, world) for premise in premises) and not _holds(*conclusion, world):
            return False
    return True


def syllogisms(rng: random.Random) -> Iterator[dict[str, Any]]:
    """Two premises that share a term and a conclusion on the other two; as many follow as do not.

    Only those on which traditional and modern logic agree: from `all A are B` the old one alone concludes `some A are B`.
    """
    moods: dict[bool, list[Any]] = {True: [], False: []}
    for forms in product("AEIO", repeat=3):
        for first, second, last in product([(0, 1), (1, 0)], [(1, 2), (2, 1)], [(0, 2), (2, 0)]):
            premises = [(forms[0], *first), (forms[1], *second)]
            conclusion = (forms[2], *last)
            modern, traditional = (_follows(premises, conclusion, existing) for existing in (False, True))
            if modern == traditional:
                moods[modern].append((*premises, conclusion))
    right = False
    while True:
        right = not right
        nouns = rng.sample(NOUNS, 3)
        texts = [FORMS[form].format(nouns[a], nouns[b]) for form, a, b in rng.choice(moods[right])]
        yield {
            "premises": ". ".join(text.capitalize() for text in texts[:2]) + ".",
            "conclusion": texts[2],
            "choices": ["yes", "no"],
            "answer": "yes" if right else "no",
        }


NUMBER = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight"]
COMMON = ["the", "is", "are", "and", "of", "in", "a", "it", "they", "for", "to"]
BY_FREQUENCY = "etaoinsrhldcumfpgwybvkxjqz"
EXCLAMATIONS = ["How nice", "What a surprise", "So it goes", "Think of that"]


def instructions(rng: random.Random) -> Iterator[dict[str, Any]]:
    """A short text to write on a topic, under three to five checks that the reference passes.

    The reference comes first, from sentences on the topic, and the checks are chosen among those that it passes, so that they
    can be met together.
    """
    topics = json.loads((Path(__file__).parent / "topics.json").read_text(encoding="utf-8"))
    for number in range(12):
        for topic, sentences in topics.items():
            yield _instruction(rng, topic, sentences, as_list=number % 4 == 3, with_phrase=number % 4 == 2)


def _instruction(
    rng: random.Random, topic: str, sentences: list[str], as_list: bool, with_phrase: bool
) -> dict[str, Any]:
    chosen = rng.sample(sentences, rng.randint(3, 4) if as_list else rng.randint(1, 3))
    demands: list[tuple[str, str, dict[str, Any]]] = []  # what is asked, what a judge is told, the check
    if as_list:
        count = NUMBER[len(chosen)]
        reference = "\n".join(f"- {sentence}" for sentence in chosen)
        opening = f"Write a list of {count} facts about {topic}, one on each line, with a dash before each."
        told = f"The reply is a list of exactly {count} lines, each with a dash before it."
        demands.append((opening, told, {"kind": "items", "count": len(chosen)}))
    else:
        if with_phrase:
            phrase, times = rng.choice(EXCLAMATIONS), rng.randint(1, 2)
            for _ in range(times):
                chosen.insert(rng.randint(1, len(chosen)), f"{phrase}.")
            often = ("once", "twice")[times - 1]
            said = f'Use the phrase "{phrase.lower()}" exactly {often}.'
            told = f'The phrase "{phrase.lower()}" stands in the reply exactly {often}.'
            demands.append((said, told, {"kind": "repeats", "text": phrase.lower(), "count": times}))
        if rng.random() < 0.4:
            chosen[-1] = chosen[-1][:-1] + "!"
        reference = " ".join(chosen)
        count = f"{NUMBER[len(chosen)]} sentence{'s' * (len(chosen) > 1)}"
        told = f"The reply has exactly {count}."
        demands.insert(
            0, (f"Write {count} about {topic}.", told, {"kind": "sentences", "count": len(chosen)})
        )
        if reference.endswith("!"):
            said, told = "End with an exclamation mark.", "The reply ends with an exclamation mark."
            demands.append((said, told, {"kind": "ends", "text": "!"}))
    if not as_list and rng.random() < 0.2:
        reference = reference.lower()
        said, told = "Write in lower case only.", "The reply has no capital letters."
        demands.append((said, told, {"kind": "lower_case"}))
    others = _further(rng, topic, reference)
    demands += rng.sample(others, min(len(others), rng.randint(3, 5) - len(demands)))
    rest = rng.sample(demands[1:], len(demands) - 1)
    return {
        "topic": topic,
        "question": " ".join(said for said, _, _ in [demands[0], *rest]),
        "answer": reference,
        "checks": [check for _, _, check in [demands[0], *rest]],
        "rubric": [told for _, told, _ in [demands[0], *rest]],
    }


def _further(rng: random.Random, topic: str, reference: str) -> list[tuple[str, str, dict[str, Any]]]:
    """What else can be asked of a reference: one demand of each kind that it meets."""
    words = re.findall(r"[a-z]+", reference.lower())
    telling = sorted({word for word in words if len(word) > 4} - set(topic.split()))
    spread = rng.randint(1, 3)
    least, most = max(1, len(words) - spread), len(words) + spread
    absent = rng.choice([letter for letter in BY_FREQUENCY if letter not in "".join(words)][:5])
    found = [
        (
            f"Use between {least} and {most} words.",
            f"The reply has at least {least} and at most {most} words.",
            {"kind": "words", "least": least, "most": most},
        ),
        (
            f"Do not use the letter {absent}.",
            f"The letter {absent} does not stand in the reply.",
            {"kind": "avoids_letter", "letter": absent},
        ),
    ]
    if telling:
        word = rng.choice(telling)
        found.append(
            (
                f'Use the word "{word}".',
                f'The reply has the word "{word}".',
                {"kind": "contains", "text": word},
            )
        )
    if unused := [word for word in COMMON if word not in words]:
        word = rng.choice(unused)
        found.append(
            (
                f'Do not use the word "{word}".',
                f'The reply does not have the word "{word}".',
                {"kind": "avoids", "text": word},
            )
        )
    if not reference.startswith("-"):
        word = words[0]
        found.append(
            (
                f'Begin with the word "{word}".',
                f'The first word is "{word}".',
                {"kind": "starts", "text": word},
            )
        )
    return found


FILES = {
    "successor.jsonl": successor,
    "category.jsonl": category,
    "syllogisms.jsonl": syllogisms,
    "instructions.jsonl": instructions,
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
