r"""What a judge who reasons in words has committed to, or nothing.

A judge thinks aloud, quotes its instructions, weighs one verdict against the other and changes its mind. So a verdict
is never a word found in a text. It is the last *commitment*: a line such as `Verdict: correct`, or failing that a last
sentence or a whole reply that says nothing but the verdict. Words are whole words (`untrue` is not `true`), a negation
turns a verdict, and whatever is not plainly one thing is nothing:

>>> [read_verdict(text) for text in ("5 is prime. Verdict: correct", "Verdict: correct\nNo. Verdict: not correct")]
[1.0, 0.0]
>>> [read_verdict(text) for text in ("It is correct. Or incorrect.", "Verdict: correct/incorrect", "Verdict: true?")]
[None, None, None]
>>> [read_score(text) for text in ("Score: **7**/10", "Score: 7-8", "Score: 11")]
[7.0, None, None]

Every search is linear in the length of the reply.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gapbench.engines.base import Result
from gapbench.records import TRUNCATED, UNPARSED, is_error
from gapbench.thinking import strip_thinking
from gapbench.verifiers.base import Judgement

Reader = Callable[[str], float | None]
LONGEST_LINE = 2000


@dataclass(frozen=True)
class _Grammar:
    """How one kind of verdict is announced and written.

    Attributes
    ----------
    marker
        What announces it; group `sure` is there where the form announces nothing else.
    value
        Reads what follows a marker on its line.
    whole
        Reads a reply, or a line below a marker, that is nothing but the verdict.
    sentence
        Reads a sentence that is nothing but the verdict.
    """

    marker: re.Pattern[str]
    value: Reader
    whole: Reader
    sentence: Reader


def judge_reply(result: Result, read: Reader) -> Judgement:
    """Judgement of a reply by what `read` finds outside its thinking; the whole text is kept.

    A reply cut within its thinking is `truncated`. So is one cut at the token limit, unless it has a commitment on a
    line that was complete: the last line is not read, for `Verdict: correct` might have gone on as `or incorrect`.
    """
    if is_error(result.finish_reason):
        return Judgement(None, result.finish_reason)
    answer, still_thinking = strip_thinking(result.text)
    if still_thinking:
        return Judgement(None, TRUNCATED, result.text)
    cut = result.finish_reason == "length"
    if cut and not result.text.endswith("\n"):
        answer = answer.rpartition("\n")[0]
    score = read(answer)
    if score is None:
        return Judgement(None, TRUNCATED if cut else UNPARSED, result.text)
    return Judgement(score, text=result.text)


def read_verdict(text: str) -> float | None:
    """1 for a reply that commits to `correct`, 0 for `incorrect`, None for one that commits to neither."""
    return _committed(_plain(text), _VERDICT)


def read_score(text: str) -> float | None:
    """The whole number from 1 to 10 that a reply commits to, or None."""
    return _committed(_plain(text), _SCORE)


def _committed(text: str, grammar: _Grammar) -> float | None:
    last: tuple[float, int] | None = None
    for found in reversed([*grammar.marker.finditer(text)]):
        if _mentioned(found):
            continue
        value = grammar.value(_line(text, found.end()))
        if last is not None:
            # Two different verdicts with nothing between them are a list of options, not a change of mind.
            between, _, bullet = text[found.end() : last[1]].rpartition("\n")
            listed = grammar.whole(between if not bullet.strip(_BULLETS) else between + bullet) is not None
            return None if listed and value != last[0] else last[0]
        if value is None and found["sure"] is None:
            continue
        if value is None or _OR.search(text, max(0, found.start() - 20), found.start()):
            return None
        if _RETRACTED.search(text, found.end()) or _contradicted(text[found.end() :], value, grammar):
            return None
        last = value, found.start()
    return last[0] if last else _closing(text, grammar)


def _line(text: str, start: int) -> str:
    """What stands on the line from `start` on; if nothing does, the next line that is not empty."""
    opening = _OPENING.match(text, start)
    assert opening is not None
    return text[opening.end() : opening.end() + LONGEST_LINE].partition("\n")[0]


def _mentioned(marker: re.Match[str]) -> bool:
    """Whether a marker is quoted, other than as a key of JSON, or made conditional by the words before it."""
    start = marker.start()
    before = marker.string[max(0, start - 200) : start].rpartition("\n")[2]
    quoted = before.endswith(_QUOTES) and re.search(r"\w", before) is not None and '"' not in marker[0]
    return quoted or _CONDITION.search(re.split(r"[.!?;]", before)[-1]) is not None


def _sentences(text: str) -> Iterator[str]:
    return (part for part in re.split(r"(?<=[.!?])\s|\n", text) if part.strip())


def _contradicted(rest: str, value: float, grammar: _Grammar) -> bool:
    """Whether a line or a sentence after a commitment says the opposite and nothing else."""
    lines = (grammar.whole(line) for line in rest.split("\n"))
    said = (grammar.sentence(sentence) for sentence in _sentences(rest))
    return any(other not in (None, value) for both in (lines, said) for other in both)


def _closing(text: str, grammar: _Grammar) -> float | None:
    """The verdict of a reply without a marker: all of it, or a last sentence that no other one denies."""
    whole = grammar.whole(text)
    if whole is not None:
        return whole
    *earlier, last = _sentences(text) if text.strip() else ("",)
    value = grammar.sentence(last)
    if value is None or (earlier and not earlier[-1].rstrip(" \t\"'`”)").endswith((".", "!"))):
        return None
    denied = any(grammar.sentence(one) not in (None, value) for one in earlier)
    return None if denied else value


def _plain(text: str) -> str:
    """Small letters without marks of emphasis, invisible characters, symbols and LaTeX around words."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
        odd = {char for char in set(text) if unicodedata.category(char) in ("Cf", "Cs", "So", "Mn")}
        text = text.translate({ord(char): None for char in odd} | {ord("’"): "'", ord("‘"): "'"})
    lines = "\n".join(text.casefold().splitlines())
    return re.sub(r"\\(?:boxed|text|textbf|mathrm|mathbf)\b|[*_#$\x00-\x08\x0e-\x1f\x7f]", "", lines)


def _reader(pattern: str, scores: Callable[[re.Match[str]], float]) -> Reader:
    compiled = re.compile(pattern)

    def read(text: str) -> float | None:
        found = compiled.fullmatch(text.strip(_CLOSING))
        return scores(found) if found else None

    return read


_QUOTES = ('"', "'", "`", "“", "”", "«", "「")
_BULLETS = " \t0123456789.)•–-"
_CLOSING = " \t\n\"'`“”«»()[]{}.!"
_OPENING = re.compile(r"[\s\"'`“”«»()\[\]{}]*")
_OR = re.compile(r"(?:\b(?:or|nor|either|neither|vs)\b|[/|])[\s\"'`“”(\[]*$")
_CONDITION = re.compile(
    r"\b(?:if|whether|when|unless|else|otherwise|should|would|could|write|say|output|end with|reply|respond)\b"
)
_RETRACTED = re.compile(
    r"""(?:^|[.!?,;\n—-])\s?(?:wait|hm+|hold\son|actually|on\s(?:second\sthought|reflection)|(?:scratch|strike)\sthat
        |correction|oops|let\sme|i\s(?:now\s)?(?:take\s(?:that|it|this)\sback|changed?\smy\smind|withdraw|retract))\b
    |\b(?:but|however|though|although)\b[^.!?\n]{0,80}\b(?:(?:is|was|it's)\snot|isn't|wasn't|doubts?|(?:may|might|could)\s(?:\w+\s)?be)\b
    |\b(?:or|maybe|perhaps|possibly)\snot\b
    |\bnot\s(?:(?:entirely|completely|totally|really|so|at\sall)\s)?(?:sure|certain|clear)\b
    |\b(?:unsure|uncertain|unclear|undecided|undetermined|hard\sto\ssay|(?:don't|do\snot)\sknow)\b
    |\b(?:can't|cannot|can\snot|couldn't)\s(?:tell|say|decide|determine|verify|be\ssure)\b""",
    re.VERBOSE | re.MULTILINE,
)
_AFTER_MARKER = (
    r"""["'`”)\]]{0,3}[ \t]?(?:\([^()\n]{0,60}\)|(?:out[ \t])?of[ \t]10)?[ \t]*(?::|=|>|–|—|-[ \t])"""
)
# What may follow a verdict: the end, a pause, or a reason. A slash, a hyphen and `?` leave it open.
_PAUSE = r"""(?=[\s"'`”»)\]}]*(?:$|[.,;:!(<—]|\s[–-]\s|\s(?:because|since|as|given|due)\b))"""


def _markers(word: str) -> re.Pattern[str]:
    return re.compile(
        rf"""(?P<sure>(?<!/)\b(?:{word}){_AFTER_MARKER}|^[ \t]*(?:final[ \t]|my[ \t])?(?:{word})[ \t]*$)
        |\b(?:{word})[ \t](?:is|of)\b:?""",
        re.MULTILINE | re.VERBOSE,
    )


_GOOD, _BAD = "correct|right", "incorrect|wrong"
_ALL_GOOD, _ALL_BAD = f"{_GOOD}|true|valid|accurate|yes", f"{_BAD}|false|untrue|invalid|inaccurate|no"
_NOT = r"(?P<not>not\s)?"
_SUBJECT = r"""(?:(?:(?:so|thus|therefore|hence|overall|in\sconclusion),?\s)?(?:it\sis|it's|that\sis|that's|this\sis
    |(?:the|this|that)\s(?:(?:proposed|given|final)\s)?(?:answer|response|solution)\sis)\s
    (?:(?:clearly|definitely|completely|entirely|fully|therefore|thus|indeed|absolutely)\s)?)"""
_SUBJECT = re.sub(r"\s*\n\s*", "", _SUBJECT)


def _polar(good: str, bad: str) -> str:
    # Of a bad word there is no negation: `not wrong` need not mean correct.
    return rf"(?:{_NOT}(?P<good>{good})|(?P<bad>{bad}))"


def _sign(found: re.Match[str]) -> float:
    return float(found["good"] is not None and found["not"] is None)


_VALUE = re.compile(
    rf"(?:[–•-]\s?)?{_SUBJECT}?(?:(?:definitely|clearly|completely|entirely|fully)\s)?{_polar(_ALL_GOOD, _ALL_BAD)}"
    rf"(?!\W*\b(?:if|unless|assuming|provided|depending|partially|partly|mostly|except|apart\sfrom|save\sfor|other\sthan|or|maybe|perhaps|possibly|probably)\b)"
    rf"{_PAUSE}"
)
# Other verdicts on the line count where they are said of something: `wrong.`, but not `the correct answer`.
_SAID = re.compile(
    rf"(?<![\w'-]){_polar(_GOOD, _BAD)}(?=[\s\"'`”)]*(?:$|[^\w\s\"'`”)'-]|(?:or|and|but|nor)\b))"
    rf"|[.,;:!(<—/]\s?(?:(?P<yes>yes|true)|(?P<no>no|false))(?![\w'-])"
)


def _verdict_value(line: str) -> float | None:
    found = _VALUE.match(line)
    if not found or "?" in line:
        return None
    value = _sign(found)
    for other in _SAID.finditer(line, found.end()):
        said = _sign(other) if other["good"] or other["bad"] else float(other["yes"] is not None)
        if said != value:
            return None
    return value


_TEN = r"(?P<score>10|[1-9])(?:\.0+)?(?:\s?/\s?10(?:\.0+)?|\s(?:out\s)?of\s10)?"
_POINTS = re.compile(rf"{_TEN}(?![.,;:!(—–\s-]*\d){_PAUSE}")
_RANGE = re.compile(
    r"\b(?:or|maybe|perhaps|possibly)\W{1,3}(?:\w{1,9}\W{1,3}){0,2}\d|[,;.]\s?no\b\W{1,3}\d|!\s?=|[,(]\s?(?:and|(?:up\s)?to)\s\d"
)


def _score_value(line: str) -> float | None:
    found = _POINTS.match(line)
    if not found or "?" in line or _RANGE.search(line, found.end()):
        return None
    return float(found["score"])


_VERDICT = _Grammar(
    _markers("verdict|judge?ment"),
    _verdict_value,
    _reader(_polar(_ALL_GOOD, _ALL_BAD), _sign),
    _reader(f"{_SUBJECT}?{_polar(_GOOD, _BAD)}", _sign),
)
_SCORE = _Grammar(
    _markers("score|rating"),
    _score_value,
    _reader(_TEN, lambda found: float(found["score"])),
    lambda sentence: None,
)
