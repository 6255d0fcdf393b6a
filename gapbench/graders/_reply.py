r"""What a reply in words commits to: past chatter, restated questions, second thoughts and explanations.

A reply is read as a person reads it. An explicit mark (`\boxed{}`, `<answer>`, `####`, `the answer is`) stands before all
else, the last one where there are several. Without one the first sentence that says something counts, without the
question it repeats (`The capital of Peru is Lima`, `Lima is the capital of Peru`) and without what explains the answer
(`Lima, which lies ...`). Nothing here knows the reference.

>>> commitment("Sure! The capital of Peru is Lima, which lies by the sea.", "What is the capital of Peru?")
'Lima'
>>> commitment("It is not Lima.", "What is the capital of Peru?") is None
True
"""

from __future__ import annotations

import re

from gapbench.graders._text import LONGEST_REPLY, first_line, normalise, strip_prefix

_BOX = re.compile(r"\\f?boxed\s*\{")
_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
_ANSWER_TAG = re.compile(r"<answer>([^<]*)", re.IGNORECASE)
_HASHES = re.compile(r"####[ \t]*([^\n]+)")
_JSON = re.compile(r"\"(?:final_)?answer\"\s*:\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s,}\"]+))", re.IGNORECASE)
_SAID = re.compile(
    r"\b(?:answer|r[ée]ponse|respuesta|antwort|risposta)\b(?:[^\n.!?:=]{0,40}?\b(?:is|est|es|ist|lautet)\b|[^\n.!?:=]{0,40}?[:=]|\s+[-–—]\s)"
    r"|答案[是为：:]|\brisposta è\b",
    re.IGNORECASE,
)
_SAID_TAIL = re.compile(r"[\s:=*_#>]*([^\n]*)")
_CORRECTION = re.compile(
    r"(?:^|[\s.,;(–—-])(?:wait|actually|hmm|correction|scratch that|on second thought|no, wait|let me correct(?: that)?)\b"
    r"[\s,.:;!…–—-]*(?:no\b[\s,.:;!–—-]*|sorry\b[\s,.:;!–—-]*)?",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"(?<=[\w)\]\"'”*%][.!?])[*\"”']{0,3}\s+(?=\S)|(?<=[。！？])")
_ABBREVIATED = re.compile(r"(?:^|[\s.])(?:[A-Z]|St|Mt|Dr|Mr|Mrs|Ms|Jr|Sr|Ft|No|vs|etc|[A-Za-z]\.[A-Za-z])\.$")
_CHATTER = re.compile(
    r"(?:(?:hi|hello|hey) there|sure|certainly|of course|absolutely|okay|ok|alright|right|yes|great|good|easy|hello|hi|hey|thanks?|thank you|well|indeed|hmm|"
    r"(?:that(?:'s| is) an? )?(?:great|good|excellent|interesting|nice) question|no problem|"
    r"i(?:'d| would) be (?:happy|glad) to help|i can help[^.!]{0,30}|let me (?:think|see|calculate|compute|help)[^.!]{0,40}|"
    r"let's (?:think|see|work)[^.!]{0,40}|to (?:answer|solve|find|determine) [^.!]{0,100})(?=[\s,.!?:;]|$)",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"(?:(?:i'?m|i am)? ?(?:very |so |really )?sorry|i apologi[sz]e|apologies|unfortunately|as an? (?:ai|language|large))\b"
    r"|(?:i|we)(?:'m| am|'re| are)? (?:can ?not|can'?t|could ?n[o']t|do not|don'?t|did ?n[o']t|not|unable|unsure|no idea|have no)\b"
    r"|(?:there(?:'s| is| are|) |it )?(?:is )?(?:not enough|insufficient|no way to|impossible to|unclear|unknown)\b"
    r"|(?:it|that|this|the answer) depends\b|no idea\b|unknown\b|n/a\b|none\.?$",
    re.IGNORECASE,
)
_LEAD = re.compile(
    r"(?:(?:so|thus|therefore|hence|then|well|okay|ok|now|and|probably|perhaps|maybe|likely|definitely)\b,?\s+|(?:by|in|on|at)\s+"
    r"|(?:i|we) (?:(?:would |'d )?(?:say|think|believe|guess|suppose|know|recall|am (?:\w+ )?sure)|get|have|find)\b(?:\s+(?:that|it would be))?[\s,:]+"
    r"|i'd (?:say|guess|pick|go with)\b[\s,:]+|i'm (?:\w+ )?(?:sure|certain|confident)\b(?:\s+that)?[\s,]+)",
    re.IGNORECASE,
)
_COPULA = re.compile(
    r"(?<!\w)(?:is|are|was|were|will be|would be|must be|should be|means|equals|es|est|ist|è)(?!\w)|(?<=\w)['’]s\b|是",
    re.IGNORECASE,
)
_PARTICIPLE = re.compile(r"\s*(?:\w{1,30} (?:by|in|on|at|from|as)|called|named|known as)\s+", re.IGNORECASE)
_VERB = re.compile(r"\b\w{1,30} (?:in|on|at|by)\s+", re.IGNORECASE)
_EXPLANATION = re.compile(
    r"\s*(?:[,;]\s*(?:which|who|whose|where|when|because|since|as|with|in|on|at|from|for|though|although|but|and|the|an?|not|located|"
    r"situated|founded|known|also|so|while|i|it|if|i\.e|that|this)\b|\s(?:because|since|as it|as they|although|though|even though)\b"
    r"|\s\(|\s[–—]\s|\s-\s)",
    re.IGNORECASE,
)
_NOT_BUT = re.compile(r"not\b.*\bbut\b(?:\s+rather)?\s*", re.IGNORECASE | re.DOTALL)
_UNDECIDED = re.compile(r"\bor\b|\beither\b", re.IGNORECASE)
_CONCLUSION = re.compile(
    r"(?:^|[.!?]\s|\n)[ \t*]*(?:so|thus|therefore|hence)\b,?[ \t]+([^\n]+)", re.IGNORECASE
)
_ITEM = re.compile(r"[ \t]*(?:[-*•]|\d{1,2}[.)])[ \t]+")
_LABEL = re.compile(r"[^\W\d][^:\n]{0,80}:\s+(?=\S)")
_LABEL_ALONE = re.compile(r"[^\n]{0,200}:[*_]*$|#+ [^\n]*$")
_BEFORE_MORE = """
    a an the of to in on at by for with from is are was were be and or so then that because we get have has as if set
"""
_UNFINISHED = frozenset(_BEFORE_MORE.split())
_FUNCTION_WORDS = """
    it that this they he she its their our the a an of in on at for to by with from and is are was were do does did here
    answer statement result word name number correct right final called which who what
    la le el de del du der die das von
"""
_GENERIC = frozenset(_FUNCTION_WORDS.split())
_SHORT = 6


def box(text: str) -> str | None:
    r"""Content of the last `\boxed{}` that closes, braces balanced; None where there is none."""
    for start in reversed([found.end() for found in _BOX.finditer(text)][-50:]):
        depth = 1
        for end in range(start, min(len(text), start + 1000)):
            depth += {"{": 1, "}": -1}.get(text[end], 0) * (text[end - 1] != "\\")
            if not depth:
                return text[start:end]
    return None


def marked(text: str) -> str | None:
    """What the last explicit mark of an answer is put on, to the end of its line; None where nothing is marked."""
    if (boxed := box(text)) is not None:
        return _TEXT.sub(r"\1", boxed)
    for pattern in (_ANSWER_TAG, _HASHES, _JSON):
        if found := pattern.findall(text):
            last = found[-1]
            return (last if isinstance(last, str) else last[0] or last[1]).strip()
    tails = [_SAID_TAIL.match(text, found.end()) for found in _SAID.finditer(text)]
    return tails[-1][1] if tails and tails[-1] and tails[-1][1].strip("*_ ") else None


def sentences(text: str) -> list[str]:
    """The sentences of a line; a full stop after an initial or an abbreviation ends none."""
    parts: list[str] = []
    start = 0
    for end in _SENTENCE_END.finditer(text):
        if not _ABBREVIATED.search(text, max(start, end.start() - 12), end.start()):
            parts.append(text[start : end.start()])
            start = end.end()
    return [part for part in (*parts, text[start:]) if part.strip(" *_")]


def unfinished(text: str) -> bool:
    """Whether a text of some words breaks off in the middle of a sentence."""
    words = text.rstrip("* \t\n").split()
    return len(words) > 3 and (words[-1].casefold() in _UNFINISHED or words[-1] in ("=", "+", "-", "*", "×"))


def after_correction(text: str) -> str:
    """What follows the last `wait`, `actually` and the like; all of the text where nothing does."""
    rest = text
    for found in _CORRECTION.finditer(text):
        if found.start() and (after := text[found.end() :]).strip(" .!?"):
            rest = after
    return rest


def without_question(text: str, question: str) -> str:
    """The reply without the question, where it begins with it."""
    asked = question.strip()
    return text[len(asked) :].lstrip() if asked and text.casefold().startswith(asked.casefold()) else text


def _stem(word: str) -> str:
    return word[:5] if len(word) > 5 else word.removesuffix("s") if len(word) > 3 else word


def _asked(text: str, known: frozenset[str]) -> bool:
    """Whether every word of `text` stands in the question or is a function word."""
    words = normalise(text).split()
    return bool(words) and all(_stem(word) in known or word in _GENERIC for word in words)


def _unframed(sentence: str, question: str) -> tuple[str, bool]:
    """The part of a sentence that does not repeat the question, and whether any of it did."""
    known = frozenset(_stem(word) for word in normalise(question).split())
    for copula in list(_COPULA.finditer(sentence))[:5]:
        before, after = sentence[: copula.start()], sentence[copula.end() :]
        if _asked(before, known):
            rest = after.lstrip(" :")
            if called := _PARTICIPLE.match(rest):
                rest = rest[called.end() :]
            for of in list(re.finditer(r"\b(?:of|for)\s+", rest))[:3]:
                if _asked(rest[: of.start()], known) and not rest[of.end() :].isspace():
                    return rest[of.end() :], True
            return rest, True
        clause = after.partition(",")[0]
        denied = re.match(r"\s*not\b", clause)
        if before.strip() and _asked(clause[denied.end() :] if denied else clause, known):
            return f"not {before}" if denied else before, True
    for verb in list(_VERB.finditer(sentence))[:5]:
        if _asked(sentence[: verb.start()], known):
            return sentence[verb.end() :], True
    words = sentence.split()
    for place in range(1, 0 if "or" in words else min(len(words) - 1, 8)):
        joined = words[place].casefold() in ("and", "&")  # `Trinidad and Tobago` repeats no question
        if (
            not joined
            and _asked(" ".join(words[place:]), known)
            and len(words) - place > 1
            and words[place].islower()
        ):
            return " ".join(words[:place]), True
    return sentence, False


def _said(line: str) -> str | None:
    """The first sentence of a line that says something."""
    for sentence in sentences(line):
        text = sentence.strip()
        if text.isalpha():
            return text  # one bare word is the answer, be it `right` or `good`
        while chat := _CHATTER.match(text):
            text = text[chat.end() :].lstrip(" ,.!:;—–-")
        if text.rstrip("*_ ").endswith("?"):
            continue
        if normalise(text):
            return text
    return None


def commitment(text: str, question: str, first: bool = True, lists: bool = False) -> str | None:
    """The answer in words that a cleaned reply commits to; None where it commits to none.

    Parameters
    ----------
    text
        The reply, cleaned.
    question
        What was asked; a reply often repeats it.
    first
        Whether an unmarked answer stands on the first line that is not chatter; otherwise all of the text is read.
    lists
        Whether answers are lists, so that a comma begins no explanation.
    """
    mark = marked(text[-LONGEST_REPLY:])
    text = without_question(text[:LONGEST_REPLY] if first else text[-LONGEST_REPLY:], question)
    line = mark if mark is not None else _line(text) if first else text
    if line is None:
        return None
    line = after_correction(line[:LONGEST_REPLY])
    if (item := _ITEM.match(line)) and len(line.split()) <= _SHORT:
        line = line[item.end() :]
    said = _said(line)
    if said is None:
        return None
    answer = strip_prefix(said)
    if mark is None and (refused := _REFUSAL.match(answer)):
        but = re.search(r",?\s\bbut\b\s+", answer[refused.end() :])
        if not but:
            return None
        answer = answer[refused.end() + but.end() :]
    if mark is None and unfinished(answer):
        return None
    for _ in range(4):
        lead = _LEAD.match(answer)
        if not lead:
            break
        answer = answer[lead.end() :]
    label = _LABEL.match(answer)
    if label and normalise(label[0]).startswith("here "):
        answer = answer[label.end() :]
    answer, framed = _unframed(answer, question)
    if not framed and (label := _LABEL.match(answer)):
        answer, framed = answer[label.end() :], True
    if either := _NOT_BUT.match(answer):
        answer = answer[either.end() :]
    elif (framed or mark is not None) and re.match(r"not\b", answer, re.IGNORECASE):
        return None
    if _UNDECIDED.search(answer) or (
        "/" in answer and _asked(answer.replace("/", " "), frozenset(map(_stem, normalise(question).split())))
    ):
        return None
    if not lists and (why := _EXPLANATION.search(answer)) and normalise(answer[: why.start()]):
        answer = answer[: why.start()]
    return _once(strip_prefix(answer).strip())


def _line(text: str) -> str | None:
    """The first line that is neither blank, nor chatter, nor the lead to what follows; or the conclusion of an argument."""
    for line in text.splitlines()[:200]:
        stripped = line.strip()
        if stripped and not _LABEL_ALONE.fullmatch(stripped) and _said(stripped):
            return (conclusion(text) if len(stripped.split()) > _SHORT else None) or stripped
    return None


def conclusion(text: str) -> str | None:
    """What follows the last `so` or `therefore` that begins a sentence."""
    concluded = _CONCLUSION.findall(text)
    return str(concluded[-1]) if concluded else None


def _once(text: str) -> str:
    """One of three or more repeats of the same words."""
    words = text.split()
    for size in range(1, min(5, len(words) // 3) + 1):
        if len(words) % size == 0 and words == words[:size] * (len(words) // size):
            return " ".join(words[:size])
    return text


def listed(text: str) -> str:
    """The items of a reply that is nothing but a list, with commas; else its first line."""
    lines = [line for line in text.splitlines() if line.strip()][:100]
    if len(lines) > 1 and all(_ITEM.match(line) for line in lines):
        return ", ".join(_ITEM.sub("", line, count=1).strip() for line in lines)
    return first_line(text)
