"""What a server of the OpenAI protocol replied, made into results; nothing in a reply is taken on trust.

>>> top = [("Yes", log(0.5)), (" yes", log(0.25)), ("Maybe", log(0.125))]
>>> [round(exp(one), 3) for one in label_logprobs(("yes", "no"), top)]
[0.75, 0.125]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, fsum, isfinite, log, nan
from typing import Any

from gapbench.engines.base import Key, Request, Result, Sampling
from gapbench.records import error_status

Listed = Sequence[tuple[str, float]]
"""Tokens as text and their log-probabilities."""

# Text that no number of tokens within the limit could have been: the longest tokens in use are runs of 128 spaces.
_LONGEST_TOKEN = 256
_LONGEST_PREFACE = 1 << 16

# Probabilities come from float32 arithmetic: what is left beside those listed is not known more closely.
_ROUNDING = 1e-7


class BadReply(Exception):
    """A reply that is not what the protocol says, or holds nothing; another try may mend it."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of a call as the server counts them; None where it does not say."""

    prompt: int | None
    cached: int | None
    completion: int | None


def read_usage(reply: dict[str, Any]) -> Usage:
    """Take the counts from a reply."""
    usage = _mapping(reply.get("usage"))
    cached = _mapping(usage.get("prompt_tokens_details")).get("cached_tokens")
    return Usage(_count(usage.get("prompt_tokens")), _count(cached), _count(usage.get("completion_tokens")))


def read_choices(reply: dict[str, Any]) -> list[dict[str, Any]]:
    """Take the generations from a reply, in the order of their index.

    Raises
    ------
    BadReply
        If there are none.
    """
    choices = reply.get("choices")
    found = [one for one in choices if isinstance(one, dict)] if isinstance(choices, list) else []
    if not found:
        raise BadReply("a reply without choices")
    return found


def read_results(request: Request, keys: Sequence[Key], reply: dict[str, Any]) -> list[Result]:
    """Make results of a reply's generations, for as many of `keys` as there are generations.

    The tokens of a generation are those whose log-probabilities are listed; else the call's count where the call was for
    one generation; else the call's count shared out by the length of the texts. A sum of log-probabilities that does not
    cover the generation (a server may hide what a model reasons) is no log-probability of it, and is left out.

    Raises
    ------
    BadReply
        If there is no generation.
    """
    usage = read_usage(reply)
    choices = read_choices(reply)
    texts = [_text(choice) for choice in choices]
    counts = _share_out(usage.completion or 0, [len(text.encode("utf-8", "replace")) + 1 for text in texts])
    results = []
    for place, (key, choice, text, tokens) in enumerate(zip(keys, choices, texts, counts, strict=False)):
        logprobs = read_logprobs(choice)
        logprob = None
        if logprobs:
            hidden = len(choices) == 1 and (usage.completion or 0) > len(logprobs) + 1
            tokens = tokens if hidden else len(logprobs)
            logprob = None if hidden else fsum(value for _, value in logprobs)
        text, reason = _finish(choice, text, request.sampling)
        failed = reason.startswith("error:")
        results.append(
            Result(
                key,
                text="" if failed else text,
                token_ids=None,
                n_tokens=tokens,
                logprob=None if failed or logprob is None or not isfinite(logprob) else logprob,
                finish_reason=reason,
                label_logprobs=label_logprobs(request.labels, read_first(choice)) if request.labels else None,
                n_prompt=usage.prompt or 0,
                # The prompt of a call is computed once, whatever the number of its generations.
                n_cached=usage.cached if place == 0 else usage.prompt,
            )
        )
    return results


def read_logprobs(choice: dict[str, Any]) -> list[tuple[str, float]]:
    """The generated tokens with their log-probabilities, in either of the protocol's forms; none where not all are given.

    Chat has a list of tokens, completions have columns; llama.cpp answers both with the list.
    """
    told = _mapping(choice.get("logprobs"))
    if isinstance(listed := told.get("content"), list):
        pairs = [(_mapping(one).get("token"), _mapping(one).get("logprob")) for one in listed]
    else:
        tokens, values = told.get("tokens"), told.get("token_logprobs")
        if not isinstance(tokens, list) or not isinstance(values, list):
            return []
        pairs = list(zip(tokens, values, strict=False))
    found = _numbers(pairs)
    return found if len(found) == len(pairs) else []


def read_first(choice: dict[str, Any]) -> list[tuple[str, float]]:
    """The likeliest first tokens with their log-probabilities, in either form."""
    told = _mapping(choice.get("logprobs"))
    if isinstance(listed := told.get("content"), list):
        first = _mapping(listed[0]).get("top_logprobs") if listed else None
        entries = first if isinstance(first, list) else []
        return _numbers([(_mapping(one).get("token"), _mapping(one).get("logprob")) for one in entries])
    tops = told.get("top_logprobs")
    return _numbers(list(_mapping(tops[0]).items())) if isinstance(tops, list) and tops else []


def label_logprobs(labels: Sequence[str], top: Listed) -> tuple[float, ...] | None:
    """Log-probability of each label as the first token, from the likeliest tokens alone.

    A label's probability is the sum over listed tokens that spell it. One that is not listed is no likelier than the
    least of those listed, nor than all that is left beside them; that upper bound stands for it. As a listed label is at
    least as probable as the bound, two labels together are overstated by no more than a factor of two, and only where
    the listed one is the least of the list. Where no label is listed there is nothing to hold a bound against: all are
    NaN, of which a verifier makes no verdict.

    Parameters
    ----------
    labels
        Compared ignoring case and surrounding space.
    top
        The likeliest first tokens.

    Returns
    -------
    tuple of float or None
        In nats; None where nothing is listed.
    """
    if not top:
        return None
    total: dict[str, float] = {}
    for token, value in top:
        word = token.strip().casefold()
        total[word] = total.get(word, 0.0) + exp(value)
    found = [total.get(label.strip().casefold()) for label in labels]
    if all(one is None for one in found):
        return (nan,) * len(labels)
    left = max(1.0 - fsum(total.values()), _ROUNDING)
    bound = min(exp(min(value for _, value in top)), left)
    return tuple(log(max(bound if one is None else min(one, 1.0), 1e-300)) for one in found)


def _text(choice: dict[str, Any]) -> str:
    """What a generation says; reasoning that the server set apart is put back in front, in tags that parsing ignores."""
    message = choice.get("message")
    if not isinstance(message, dict):
        return _string(choice.get("text"))
    content = _string(message.get("content")) or _string(message.get("refusal"))
    thought = _string(message.get("reasoning_content")) or _string(message.get("reasoning"))
    if not thought:
        return content
    # Cut off amid its thoughts it never closed them.
    closed = bool(content) or choice.get("finish_reason") != "length"
    return f"<think>{thought}</think>{content}" if closed else f"<think>{thought}"


def _finish(choice: dict[str, Any], text: str, sampling: Sampling) -> tuple[str, str]:
    """The text up to the first stop string, and why it ended."""
    if len(text) > sampling.max_tokens * _LONGEST_TOKEN + _LONGEST_PREFACE:
        return "", error_status(
            f"a reply of {len(text)} characters, for at most {sampling.max_tokens} tokens"
        )
    reason = choice.get("finish_reason")
    ends = [place for stop in sampling.stop if (place := text.find(stop)) >= 0]
    if ends:  # a server that takes no stop strings
        return text[: min(ends)], "stop"
    if reason in ("stop", "length"):
        return text, reason
    if reason == "content_filter":
        return "", error_status("the server's content filter withheld the reply")
    if reason in ("tool_calls", "function_call"):
        return "", error_status("the model called a tool in place of answering")
    return "", error_status(f"the server ended the reply for the reason {str(reason)[:40]!r}")


def _share_out(total: int, weights: Sequence[int]) -> list[int]:
    """Whole numbers in proportion to `weights` that sum to `total`."""
    whole, so_far, marks = sum(weights), 0, [0]
    for weight in weights:
        so_far += weight
        marks.append(total * so_far // whole)
    return [after - before for before, after in pairwise(marks)]


def _numbers(pairs: Sequence[tuple[Any, Any]]) -> list[tuple[str, float]]:
    """Those pairs that are a text and a log-probability."""
    return [
        (token, min(float(value), 0.0))
        for token, value in pairs
        if isinstance(token, str)
        and isinstance(value, int | float)
        and not isinstance(value, bool)
        and isfinite(value)
    ]


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
