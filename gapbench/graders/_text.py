"""What every grader does to a reply before it looks for the answer."""

from __future__ import annotations

import re
import unicodedata

from gapbench.thinking import strip_thinking

LONGEST_ANSWER = 1000
LONGEST_REPLY = 20_000

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060\ufeff]")
_TURN_END = re.compile(
    r"<\|(?:im_end|eot_id|endoftext|end|end_of_text|return|eom_id|im_start|start_header_id|END_OF_TURN_TOKEN)\|>"
    r"|</s>|<eos>|<end_of_turn>|<turn\|>|<｜end▁of▁sentence｜>"
)
_NEXT_QUESTION = re.compile(
    r"^[ \t]*(?:Q|Question|Problem|User|Human|Instruction|### ?(?:Question|Problem|Instruction))[ \t]*\d*[ \t]*:",
    re.MULTILINE,
)
_EMOJI = re.compile(r"[\u2600-\u27bf\ufe0f\U0001f000-\U0001faff]")
_PREFIX = re.compile(
    r"(?:(?:so|thus|therefore|hence)\b[\s,]*)?(?:(?:the|my)\s+)?(?:(?:final|correct)\s+)?answer\s*(?:is\b|:|=)[\s:=]*|a\s*:\s*",
    re.IGNORECASE,
)
_LATIN_ACCENT = re.compile(r"([a-z])[\u0300-\u036f]+")
_JOINED = re.compile(r"(?<=\d),(?=\d{3}(?!\d))|\.(?!\d)|['\u2019\u02bc`]")
_MINUS = re.compile(r"(?<![\w)])-(?=[\d.])")
_INITIALS = re.compile(r"\b([^\W\d]) (?=[^\W\d]\b)")
_SEPARATORS = frozenset(("Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sk", "Zs", "Zl", "Zp", "Cc"))
_ARTICLE = re.compile(r"(?<!\w)(?:a|an|the) (?=\S)")


def clean(reply: str) -> str:
    """Drop what no reader takes for the answer.

    That is terminal codes, control and invisible characters, thinking, and all that follows the end of the turn: a special
    token, or a next question or user's turn that the model went on to write itself. A reply cut off while still
    thinking is empty.
    """
    text = _CONTROL.sub("", _ANSI.sub("", reply.replace("\r\n", "\n")))
    text, still_thinking = strip_thinking(text)
    if still_thinking:
        return ""
    if end := _TURN_END.search(text):
        text = text[: end.start()]
    text = text.strip()
    following = _NEXT_QUESTION.search(text, 1)  # at the very start it is the question repeated
    return (text[: following.start()] if following else text).strip()


def first_line(text: str) -> str:
    """The first line that is not blank."""
    return text.lstrip().partition("\n")[0].strip()


def strip_prefix(text: str, phrases: tuple[str, ...] = ()) -> str:
    """Drop `The answer is`, `A:` and the like, and any of `phrases`, from the front."""
    text = text.lstrip("*_ \t")
    while True:
        found = _PREFIX.match(text)
        rest = text[found.end() :] if found else text
        for phrase in phrases:
            if rest.casefold().startswith(phrase.casefold()):
                rest = rest[len(phrase) :].lstrip()
        if rest == text:
            return text
        text = rest


def normalise(text: str) -> str:
    """The form in which two answers that a person would call the same are equal.

    Unicode NFKC, case folded, accents off Latin letters, punctuation to spaces (dropped inside numbers and words),
    articles dropped where a word follows (not in `the, old` or `Hepatitis A`), initials joined. Mathematical and currency
    signs stay.

    >>> normalise("The U.S.A."), normalise("1,000"), normalise("N'Djaména"), normalise("-5")
    ('usa', '1000', 'ndjamena', '-5')
    """
    text = text[:LONGEST_ANSWER]
    text = _EMOJI.sub("", text) or text
    folded = unicodedata.normalize("NFKD", text).casefold().replace("\u2212", "-")
    folded = unicodedata.normalize("NFKC", _LATIN_ACCENT.sub(r"\1", folded))
    folded = " ".join(_MINUS.sub("\ue000", _JOINED.sub("", folded)).split())
    folded = _ARTICLE.sub("", _INITIALS.sub(r"\1", folded))
    kept = (" " if unicodedata.category(char) in _SEPARATORS and char != "." else char for char in folded)
    return " ".join("".join(kept).replace("\ue000", "-").split())
