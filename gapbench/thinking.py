r"""The part of a reply in which a reasoning model thinks aloud, told from the part it gives as its answer.

Conventions of today's open models, as their chat templates and the reasoning parsers of vLLM and SGLang have them:

=============================  ==================================================================
Qwen3, QwQ, GLM, Nemotron,     ``<think>...</think>``
DeepSeek-R1, MiniMax, Olmo 3   the opening tag often stands in the prompt: only ``</think>`` shows
Seed-OSS                       ``<seed:think>...</seed:think>``
Magistral                      ``[THINK]...[/THINK]``
Kimi-VL                        ``◁think▷...◁/think▷``
Command A Reasoning            ``<|START_THINKING|>...<|END_THINKING|>``
OpenThinker, Sky-T1            ``<|begin_of_thought|>...<|end_of_thought|>``
Gemma 4                        ``<|channel>thought...<channel|>``
gpt-oss                        ``<|channel|>analysis<|message|>...<|end|>``, and the answer in ``final``;
                               ``analysis...assistantfinal...`` where special tokens were left out
prompted                       ``<thinking>``, ``<thought>``, ``<reason>``, ``<reasoning>``, ``<analysis>``,
                               ``<scratchpad>``, ``<reflection>``
=============================  ==================================================================

>>> strip_thinking("<think>2 and 2, is it 5?</think>\n4")
('4', False)
>>> strip_thinking("is it 5? No.</think>4")
('4', False)
>>> strip_thinking("<think>Let me see, 5 or")
('', True)
"""

from __future__ import annotations

import re

_WORDS = "think|thinking|thoughts?|reason|reasoning|analysis|scratchpad|reflection|seed:think"
_TAG = re.compile(
    rf"""(?P<open><(?:{_WORDS})>|\[THINK\]|◁think▷|<\|START_THINKING\|>|<\|begin_of_thought\|>|<\|channel>thought\b)
    |(?P<close></(?:{_WORDS})>|\[/THINK\]|◁/think▷|<\|END_THINKING\|>|<\|end_of_thought\|>|<channel\|>)""",
    re.IGNORECASE | re.VERBOSE,
)
_SOLUTION = re.compile(r"<\|(?:begin|end)_of_solution\|>|<\|(?:START|END)_RESPONSE\|>")
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)")
_MESSAGE = "<|message|>"
_MESSAGE_END = re.compile(r"<\|(?:end|return|call|start|channel)\|>")
_BARE_CHANNEL = re.compile(r"\s*analysis(?=[A-Z\"'“])")
_BARE_FINAL = "assistantfinal"


def strip_thinking(text: str) -> tuple[str, bool]:
    """Take the thinking out of a reply.

    Parameters
    ----------
    text
        The reply as the model wrote it.

    Returns
    -------
    tuple of str and bool
        What stands outside every closed span, without outer white space; and whether a span was left open, which
        means that the model had not got to its answer: the text then ends before that span. A closing tag that
        nothing opened closes a span that began in the prompt.
    """
    if "<|channel|>" in text:
        return _harmony(text)
    if bare := _BARE_CHANNEL.match(text):
        _, final, answer = text.rpartition(_BARE_FINAL)
        return (answer.strip(), False) if final else (text[: bare.start()].strip(), True)
    kept: list[str] = []
    outside, start = True, 0
    for tag in _TAG.finditer(text):
        if tag["open"]:
            if outside:
                kept.append(text[start : tag.start()])
            outside = False
        else:
            if outside:
                kept.clear()
            outside, start = True, tag.end()
    if outside:
        kept.append(text[start:])
    parts = (_SOLUTION.sub("", part).strip() for part in kept)
    return "\n".join(part for part in parts if part), not outside


def _harmony(text: str) -> tuple[str, bool]:
    """Messages in gpt-oss's response format: only the channel `final` is meant for the reader."""
    finals: list[str] = []
    still_open = False
    for head in _CHANNEL.finditer(text):
        start = text.find(_MESSAGE, head.end(), head.end() + 200)
        end = _MESSAGE_END.search(text, head.end())
        if head[1] == "final" and start >= 0:
            finals.append(text[start + len(_MESSAGE) : end.start() if end else None].strip())
        still_open = end is None and head[1] != "final"
    return "\n".join(finals), still_open
