r"""Answers that a grader must refuse, and forms of a right answer with what a person would decide about each.

By kind of grader:

=============  =======================================================  ============================================
grader         perturbed gold                                           dress of the gold
=============  =======================================================  ============================================
`exact`        another row's reference, a word dropped or added,        sentences, markdown, quotes, box, run-on,
               two letters exchanged in the middle                      second thoughts
`numeric`      one more, one less, sign, digits exchanged, point        the same, and units, currency, separators,
               moved, a thousand times                                  trailing zero, `####`, arithmetic before it
`choice`       every other option, by text and by letter                the same, and letters where the task shows them
`math`         last digit, first digit, sign                            the same, and LaTeX's own brackets
`procedural`   another entry's answer, a character changed              prefix, space, run-on only: scorers read all
`code`         `return` dropped, a constant changed                     a fence of Markdown
`checklist`    last sentence dropped, empty text                        white space only
=============  =======================================================  ============================================

Undecided (`X or Y`), denied (`not X`), refused, empty and unfinished replies are never right. A variant that does not
change what is compared, such as a sign before 0, is left out. What is told by chance, such as the other
row of a pair, depends on the prompt's place alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from string import ascii_uppercase
from typing import Any

from gapbench.graders._reply import sentences
from gapbench.graders._text import normalise
from gapbench.graders.numeric import Number, read_number
from gapbench.records import Prompt

MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Variant:
    """A reply, what was done to the gold answer to get it, and whether a person would call it right."""

    kind: str
    text: str
    right: bool


def gold(prompt: Prompt) -> str:
    """The first reference; for a choice given as a letter or a text, the option's text."""
    return prompt.reference[0]


# perturbations


def perturbed(
    grader: str, options: dict[str, Any], prompt: Prompt, others: Sequence[Prompt]
) -> list[Variant]:
    """Wrong answers near to the gold of `prompt`; `others` are prompts of the same task to borrow answers from."""
    make = _PERTURB.get(grader)
    if make is None:
        return []
    made = [
        (kind, text) for kind, text in make(prompt, options, others) if text.strip() != gold(prompt).strip()
    ]
    return [Variant(kind, text, False) for kind, text in dict.fromkeys(made)]


def _text(prompt: Prompt, _: dict[str, Any], others: Sequence[Prompt]) -> Iterator[tuple[str, str]]:
    answer, forms = gold(prompt), {normalise(reference) for reference in prompt.reference}
    words = answer.split()
    other = next(
        (gold(one) for one in others if normalise(gold(one)) not in forms and normalise(gold(one))), None
    )
    middle = len(answer) // 2
    proposals = [("another's", other)] if other else []
    if len(words) > 1:
        proposals.append(("word dropped", " ".join(words[:-1])))
    if other:
        proposals.append(("word added", f"{answer.rstrip('.!?( ')} {other.split()[0]}"))
    swap = next(
        (
            at
            for at in range(middle, len(answer) - 1)
            if answer[at] != answer[at + 1] and answer[at : at + 2].isalnum()
        ),
        None,
    )
    if swap is not None:
        proposals.append(("edited", answer[:swap] + answer[swap + 1] + answer[swap] + answer[swap + 2 :]))
    yield from ((kind, text) for kind, text in proposals if normalise(text) not in forms | {""})


def _number(prompt: Prompt, options: dict[str, Any], _: Sequence[Prompt]) -> Iterator[tuple[str, str]]:
    number = read_number(gold(prompt))
    if number is None:
        return
    value = number.value
    proposals = {
        "one more": value + 1,
        "one less": value - 1,
        "sign": -value,
        "point moved": value / 10,
        "ten times": value * 10,
        "thousand times": value * 1000,
    }
    digits = str(number)
    for at in range(len(digits) - 1):
        if digits[at : at + 2].isdigit() and digits[at] != digits[at + 1]:
            proposals["digits exchanged"] = Fraction(
                digits[:at] + digits[at + 1] + digits[at] + digits[at + 2 :]
            )
            break
    golds = [reference for text in prompt.reference if (reference := read_number(text))]
    slack = max(
        Fraction(str(options.get("abs_tol", 0))), Fraction(str(options.get("rel_tol", 1e-6))) * abs(value)
    )
    near = [reading for reference in golds for reading in reference.readings]
    for kind, changed in proposals.items():
        if all(abs(changed - reading) > slack for reading in near):
            yield kind, str(Number(changed))


def _option(prompt: Prompt, options: dict[str, Any], _: Sequence[Prompt]) -> Iterator[tuple[str, str]]:
    choices = [str(choice) for choice in prompt.metadata.get("choices", ())]
    place = _place(prompt)
    for index, choice in enumerate(choices):
        if index != place:
            yield "another option", choice
            if options.get("letters", True):
                yield "another letter", f"({ascii_uppercase[index]})"


def _expression(prompt: Prompt, _: dict[str, Any], __: Sequence[Prompt]) -> Iterator[tuple[str, str]]:
    answer = gold(prompt)
    places = [found.start() for found in re.finditer(r"\d", answer)]
    for kind, at in (("last digit", places[-1:]), ("first digit", places[:1])):
        for place in at:
            yield kind, rf"\boxed{{{answer[:place]}{(int(answer[place]) + 1) % 10}{answer[place + 1 :]}}}"
    if re.fullmatch(r"-?[\d.]*[1-9][\d.]*", answer):
        yield "sign", rf"\boxed{{{answer[1:] if answer[0] == '-' else '-' + answer}}}"
    elif "+" in answer or "-" in answer[1:]:
        last = max(answer.rfind("+"), answer.rfind("-"))
        yield "sign", rf"\boxed{{{answer[:last]}{'-' if answer[last] == '+' else '+'}{answer[last + 1 :]}}}"


def _entry(prompt: Prompt, _: dict[str, Any], others: Sequence[Prompt]) -> Iterator[tuple[str, str]]:
    answer = gold(prompt)
    yield from (("another's", gold(one)) for one in others[:1] if normalise(gold(one)) != normalise(answer))
    # The last sign: scorers look for statements, so a letter of `and` between two of them is nothing to them.
    at = next((at for at in reversed(range(len(answer))) if answer[at].isalnum()), None)
    if at is not None:
        changed = (
            str((int(answer[at]) + 1) % 10) if answer[at].isdecimal() else "b" if answer[at] == "a" else "a"
        )
        yield "edited", answer[:at] + changed + answer[at + 1 :]


def _program(prompt: Prompt, _: dict[str, Any], __: Sequence[Prompt]) -> Iterator[tuple[str, str]]:
    program = gold(prompt)
    if "return " in program:
        yield "return dropped", re.sub(r"\breturn\b[^\n]*", "return None", program)
    head, mark, tail = program.rpartition("return ")
    if found := re.search(r"\d+", tail):
        yield (
            "constant changed",
            head + mark + tail[: found.start()] + str(int(found[0]) + 1) + tail[found.end() :],
        )


def _instructed(prompt: Prompt, _: dict[str, Any], __: Sequence[Prompt]) -> Iterator[tuple[str, str]]:
    yield "empty", " "
    yield "last sentence dropped", " ".join(sentences(gold(prompt))[:-1])


_PERTURB: dict[str, Callable[[Prompt, dict[str, Any], Sequence[Prompt]], Iterator[tuple[str, str]]]] = {
    "exact": _text,
    "numeric": _number,
    "choice": _option,
    "math": _expression,
    "procedural": _entry,
    "code": _program,
    "checklist": _instructed,
}


def _place(prompt: Prompt) -> int | None:
    choices = [normalise(str(choice)) for choice in prompt.metadata.get("choices", ())]
    for reference in prompt.reference:
        if normalise(reference) in choices:
            return choices.index(normalise(reference))
    letter = ascii_uppercase.find(prompt.reference[0].strip().upper() or "?")
    return letter if 0 <= letter < len(choices) else None


# dress

_RIGHT = {
    "bare": "{}",
    "spaces": "  {} \n",
    "sentence": "The answer is {}.",
    "label": "Answer: {}",
    "final answer": "**Final answer:** {}",
    "bold": "**{}**",
    "run-on question": "{}\nQ: What comes next?\nA: 17",
    "run-on turn": "{}<|im_end|>\n<|im_start|>user\nThanks!",
    "thought": "<think>Is it 17? No, not 17.</think>\n\n{}",
    "terminal codes": "\x1b[1m{}\x1b[0m",
    "zero width": "\u200b{}\ufeff",
    "chatter": "Sure! The answer is {}. Let me know if you need anything else!",
    "second thought": "The answer is 17. Wait, that is wrong. The answer is {}.",
    "box": r"So we get $\boxed{{{}}}$.",
}
_WRONG = {
    "refusal": "I cannot answer that.",
    "apology": "I'm sorry, but I don't know.",
    "empty": "",
    "white space": " \n\t\n ",
    "unfinished thought": "<think>I believe it is {}, but let me check",
    "denied": "The answer is not {}.",
}
_NUMERIC = {
    "hashes": "First 3 + 4 = 7.\n#### {}",
    "arithmetic before": "We have 3 boxes of 4, which makes 12. So the answer is {}.",
    "unit": "The answer is {} units.",
    "because": "The answer is {}, because 3 and 4 are given.",
    "dollars": "${}$",
}
_MATHS = {
    "dollars": "${}$",
    "display": r"\[ {} \]",
    "several boxes": r"First \boxed{{17}}, then \boxed{{{}}}.",
    "hope": "Final Answer: The final answer is ${}$. I hope it is correct.",
}
_MATHS_WRONG = {"denied formula": "The answer is not ${}$.", "undecided": "The answer is ${}$ or $1723$."}
_PLAIN = ("bare", "spaces", "label", "run-on question", "run-on turn", "thought", "terminal codes")


def dressed(grader: str, options: dict[str, Any], prompt: Prompt, others: Sequence[Prompt]) -> list[Variant]:
    """The gold of `prompt` as models dress it, and replies that only look like it."""
    answer = gold(prompt)
    if grader in ("code", "checklist"):
        right = {"bare": "{}", "thought": "<think>Let me see.</think>\n{}"} | (
            {"fence": "```python\n{}\n```"} if grader == "code" else {}
        )
        nothing = {kind: _WRONG[kind] for kind in ("refusal", "empty", "white space")}
        return [*_of(right, answer, True), *_of(nothing, "", False)]
    if grader == "procedural":
        right = {kind: _RIGHT[kind] for kind in _PLAIN}
        # Scorers that look for statements in the reply do not heed a denial round them, and no model writes one.
        nothing = {kind: text for kind, text in _WRONG.items() if kind != "denied"}
        return [*_of(right, answer, True), *_of(nothing, answer, False)]
    if grader == "choice":
        answer = str(prompt.metadata["choices"][_place(prompt) or 0])
    made = [
        *_of(_RIGHT, answer, True),
        *_of(_WRONG, answer, False),
        Variant("question repeated", prompt.question, False),
    ]
    other = next((gold(one) for one in others if normalise(gold(one)) != normalise(answer)), None)
    if grader == "choice":
        made += _choices(prompt, options, answer)
    elif grader == "math":
        made += [*_of(_MATHS, answer, True), *_of(_MATHS_WRONG, answer, False)]
    elif grader == "numeric":
        made += _numbers(prompt, answer)
    elif other and grader == "exact":
        made += [
            Variant("case", answer.swapcase(), True),
            Variant("quotes", f'"{answer}"', True),
            Variant("JSON", f'{{"answer": "{answer}"}}', True),
            Variant("undecided", f"{answer} or {other}", False),
        ]
    return made


def long_reply(grader: str, prompt: Prompt) -> Variant:
    """A megabyte of chatter that ends in the answer."""
    answer = str(prompt.metadata["choices"][_place(prompt) or 0]) if grader == "choice" else gold(prompt)
    return Variant(
        "a megabyte before", "well, let us see now " * (MEGABYTE // 21) + f"\nThe answer is {answer}.", True
    )


def _of(templates: dict[str, str], answer: str, right: bool) -> list[Variant]:
    return [Variant(kind, template.format(answer), right) for kind, template in templates.items()]


def _numbers(prompt: Prompt, answer: str) -> list[Variant]:
    made = _of(_NUMERIC, answer, True)
    number = read_number(answer)
    if number is None:
        return made
    value, digits = number.value, str(number)
    made.append(Variant("undecided", f"{digits} or {Number(value + 1)}", False))
    if value.denominator == 1:
        made.append(Variant("trailing zeros", f"{digits}.00", True))
    if abs(value) >= 1000 and value.denominator == 1:
        made.append(Variant("separators", f"{int(value):,}", True))
    if value >= 0 and not number.percent:
        made.append(Variant("currency", f"${digits}", True))
    if value.denominator in range(2, 100):
        made += [
            Variant("fraction", f"{value.numerator}/{value.denominator}", True),
            Variant("LaTeX fraction", rf"\frac{{{value.numerator}}}{{{value.denominator}}}", True),
        ]
    return made


def _choices(prompt: Prompt, options: dict[str, Any], answer: str) -> list[Variant]:
    choices, place = [str(choice) for choice in prompt.metadata["choices"]], _place(prompt) or 0
    wrong = (place + 1) % len(choices)
    made = [Variant("undecided", f"{answer} or {choices[wrong]}", False)]
    if options.get("letters", True):
        letter, other = ascii_uppercase[place], ascii_uppercase[wrong]
        right = {
            "letter": letter,
            "letter in brackets": f"({letter})",
            "small letter": f"{letter.lower()}.",
            "letter and text": f"{letter}) {answer}",
            "letter boxed": rf"\boxed{{{letter}}}",
            "letter in a sentence": f"The correct answer is {letter}.",
            "letter, others refused": f"It is not {other}. The answer is {letter}.",
        }
        made += [Variant(kind, text, True) for kind, text in right.items()]
        made += [
            Variant("two letters", f"{letter} or {other}", False),
            Variant("letter of another", f"{other}) {answer}", False),
            Variant("letter outside", f"The answer is {ascii_uppercase[len(choices)]}.", False),
        ]
    return made
