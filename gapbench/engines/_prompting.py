"""From a conversation to token ids, by a model's own tokenizer: what every engine that runs a model itself needs.

No text is sent where ids can be: a text that went through a chat template is given a second opening token when it is
tokenized again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from gapbench.engines.base import Request, render_plain
from gapbench.records import Style

Ids = tuple[int, ...]

CONTEXT = 4
"""Tokens of a prompt that are decoded before a response."""


class Prompting:
    """One model's way from messages to tokens.

    Parameters
    ----------
    tokenizer
        A tokenizer of transformers.
    end_ids
        Tokens at which the model's own configuration ends a text, beside the tokenizer's.

    Attributes
    ----------
    stop_ids
        By style, the tokens that end a response: those that end a text and, in chat style, the one that the template
        puts after a reply.
    has_template
        Whether the model has a chat template; without one, chat is rendered as plain text.
    """

    def __init__(self, tokenizer: Any, end_ids: Iterable[int | None] = ()) -> None:
        self._tokenizer = tokenizer
        self.has_template = bool(tokenizer.chat_template)
        ends = frozenset({tokenizer.eos_token_id, *end_ids} - {None})
        self.stop_ids: dict[Style, frozenset[int]] = {"plain": ends, "chat": ends | self._end_of_reply()}
        self._spellings: dict[str, list[int]] = {}

    def encode(self, request: Request) -> Ids:
        """Token ids of a conversation: the model's own template in chat style, where it has one.

        Raises
        ------
        jinja2.TemplateError
            If the chat template refuses the messages.
        """
        if request.style == "chat" and self.has_template and request.messages:
            turns = [{"role": message.role, "content": message.content} for message in request.messages]
            ids = self._tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
        else:
            ids = self._tokenizer(render_plain(request.messages)).input_ids
        # A model must be given something to continue.
        return tuple(ids) or (min(self.stop_ids["plain"], default=0),)

    def text(self, before: Sequence[int], ids: Sequence[int]) -> str:
        """Decode `ids` as the continuation of `before`, so that a leading space is neither lost nor invented."""
        options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
        context = list(before[-CONTEXT:])
        known = self._tokenizer.decode(context, **options)
        whole: str = self._tokenizer.decode([*context, *ids], **options)
        return whole[len(known) :]

    def reply(self, prompt: Ids, ids: Sequence[int], stop_ids: Collection[int], stops: Sequence[str]) -> str:
        """The text of a finished response: without the token that ended it, up to the first stop string."""
        text = self.text(prompt, ids[:-1] if ids and ids[-1] in stop_ids else ids)
        ends = [place for stop in stops if (place := text.find(stop)) >= 0]
        return text[: min(ends, default=len(text))]

    def spelled(self, label: str) -> list[int]:
        """The tokens that spell `label`, ignoring case and surrounding space."""
        if not self._spellings:
            self._spellings = defaultdict(list)
            pieces = self._tokenizer.batch_decode([[token] for token in range(len(self._tokenizer))])
            for token, piece in enumerate(pieces):
                self._spellings[piece.strip().casefold()].append(token)
        return self._spellings.get(label.strip().casefold(), [])

    def _end_of_reply(self) -> frozenset[int]:
        if not self.has_template:
            return frozenset()
        reply = "gapbench"
        turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": reply}]
        after = self._tokenizer.apply_chat_template(turns, tokenize=False).rpartition(reply)[2]
        special = [
            token
            for token in self._tokenizer(after, add_special_tokens=False).input_ids
            if token in self._tokenizer.all_special_ids or token in self._tokenizer.added_tokens_decoder
        ]
        return frozenset(special[:1])


def context_refusal(tokens: int, context: int | None, max_tokens: int) -> str | None:
    """Say why a prompt does not fit, or None where it does.

    Parameters
    ----------
    tokens
        Of the prompt.
    context
        Tokens that prompt and reply may have together; None where that is not known.
    max_tokens
        Of the reply.
    """
    if context is None or tokens + max_tokens <= context:
        return None
    return f"prompt longer than the context ({tokens} tokens, limit {context - max_tokens})"
