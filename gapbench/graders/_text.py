"""What every grader does to a reply before it looks for the answer."""

from __future__ import annotations

import re
import unicodedata

LONGEST_ANSWER = 1000
LONGEST_REPLY = 20_000

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060\ufeff]")
_NEXT_QUESTION = re.compile(r"^[ \t]*(?:Q|Question|Problem)[ \t]*\d*[ \t]*:", re.MULTILINE)
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
    """Drop terminal codes, control and invisible characters, and a next question the model went on to ask itself."""
    text = _CONTROL.sub("", _ANSI.sub("", reply.replace("\r\n", "\n")))
    following = _NEXT_QUESTION.search(text)
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
    folded = unicodedata.normalize("NFKD", text[:LONGEST_ANSWER]).casefold().replace("\u2212", "-")
    folded = unicodedata.normalize("NFKC", _LATIN_ACCENT.sub(r"\1", folded))
    folded = " ".join(_MINUS.sub("\ue000", _JOINED.sub("", folded)).split())
    folded = _ARTICLE.sub("", _INITIALS.sub(r"\1", folded))
    kept = (" " if unicodedata.category(char) in _SEPARATORS and char != "." else char for char in folded)
    return " ".join("".join(kept).replace("\ue000", "-").split())
