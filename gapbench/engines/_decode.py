"""Drawing many responses from a causal language model at once.

The loop of transformers' `generate` computes every prompt in full, keeps finished rows until the last one ends and
draws all rows from one random stream. Here the prefix that prompts share is computed once and kept, equal prompts are
computed once, a finished row leaves the batch, and every row draws from its own seed.

Rounding: the logits of a row differ by about 1e-5 between batches of different shape, because matrix products sum in
another order. A greedy choice between two tokens that close, or a draw that close to even between two, may therefore
fall differently in another batch; nothing else depends on the batch. That is why tokens are drawn by a race and not by
inverting the cumulative distribution, where every border behind a changed probability moves: that chose another token
in 1 of 500 draws of open text, the race in none of 8,000.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gapbench.engines._batches import Ids, common_prefix, shared_prefix
from gapbench.engines.base import Key, Sampling

# Rows of logits turned into probabilities at a time: vocabularies of 250,000 in float64 add up.
_ROWS_AT_ONCE = 64
_NUCLEUS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One response to draw.

    Attributes
    ----------
    prompt
        Token ids, at least one.
    stop_ids
        Tokens that end the response.
    labels
        For each label the token ids that spell it, as index tensors.
    """

    key: Key
    seed: int
    prompt: Ids
    sampling: Sampling
    stop_ids: frozenset[int]
    labels: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Generation:
    """What was drawn for a row; `token_ids` includes the stop token and `logprob` sums over all of them.

    `n_cached` is the number of its prompt's tokens that were not computed for it: every token that is computed counts
    for one row only.
    """

    row: Row
    token_ids: list[int]
    logprob: float
    finish_reason: str
    label_logprobs: tuple[float, ...] | None
    n_cached: int


def draw(logits: Any, noise: Sequence[np.random.Generator], sampling: Sampling) -> tuple[Any, Any]:
    """Draw one token a row, each row with noise of its own.

    Of independent exponential variables with rates p_i, the smallest is the i-th with probability p_i. The race is
    run between blocks of about sqrt(V) tokens and then within the winner, which takes 2 sqrt(V) random numbers a row
    where one race would take V.

    Parameters
    ----------
    logits
        Tensor [row, token].
    noise
        A random generator for each row.
    sampling
        Temperature 0 takes the most likely token; `top_p` keeps the smallest set of most likely tokens whose
        probability reaches it (nucleus sampling; Holtzman et al. 2020, arXiv 1904.09751).

    Returns
    -------
    tuple of tensor
        Token ids [row] and their log-probabilities [row] at temperature 1 and top_p 1, in nats.
    """
    if sampling.temperature == 0:
        tokens = logits.argmax(dim=-1)
    else:
        width = math.isqrt(logits.shape[1] - 1) + 1
        waits = torch.from_numpy(np.stack([own.standard_exponential((2, width)) for own in noise]))
        parts = zip(logits.split(_ROWS_AT_ONCE), waits.to(logits.device).split(_ROWS_AT_ONCE), strict=True)
        tokens = torch.cat([_race(_weights(part, sampling), wait) for part, wait in parts])
    logprobs = logits.gather(1, tokens[:, None])[:, 0].float() - logits.float().logsumexp(dim=-1)
    return tokens, logprobs


def _weights(logits: Any, sampling: Sampling) -> Any:
    """Probabilities [row, token] to draw from, up to a factor a row."""
    weights = torch.softmax(logits.float() / sampling.temperature, dim=-1)
    if sampling.top_p < 1:
        # The nucleus is nearly always among the first thousand, and finding those is ten times faster than sorting.
        for size in (min(_NUCLEUS, weights.shape[1]), weights.shape[1]):
            ordered, places = weights.topk(size, dim=-1)
            reached = ordered.cumsum(dim=-1)
            if bool((reached[:, -1] >= sampling.top_p).all()):
                break
        inside = ordered.masked_fill(reached - ordered >= sampling.top_p, 0)
        weights = torch.zeros_like(weights).scatter(-1, places, inside)
    return weights


def _race(weights: Any, waits: Any) -> Any:
    """Index [row] of the winner, given exponential waits [row, 2, width] with width^2 >= tokens."""
    width = waits.shape[-1]
    blocks = torch.nn.functional.pad(weights, (0, width * width - weights.shape[1])).unflatten(
        1, (width, width)
    )
    block = (blocks.sum(dim=-1) / waits[:, 0]).argmax(dim=-1)
    inside = blocks[torch.arange(len(block), device=block.device), block]
    return block * width + (inside / waits[:, 1]).argmax(dim=-1)


class Decoder:
    """Runs batches of rows through `model`, keeping the last shared prefix for the next batch.

    Parameters
    ----------
    model
        A causal language model of transformers in evaluation mode.
    pad_id
        Token that fills the masked places; any will do.
    """

    def __init__(self, model: Any, pad_id: int) -> None:
        self._model = model
        self._pad_id = pad_id
        self._prefix: Ids = ()
        self._prefix_cache: Any = None

    @torch.inference_mode()  # type: ignore[untyped-decorator, unused-ignore]
    def decode(self, rows: Sequence[Row], ended: Callable[[Row, list[int]], bool]) -> Iterator[Generation]:
        """Draw a response for each row, all with the same sampling, and yield each as it ends.

        Parameters
        ----------
        rows
            What to draw.
        ended
            Says whether a row's text, given its token ids so far, contains a stop string.
        """
        sampling = rows[0].sampling
        prompts = sorted({row.prompt for row in rows})
        place = {prompt: index for index, prompt in enumerate(prompts)}
        logits, cache, mask, shared, kept_tokens = self._prefill(prompts, sampling.max_tokens)
        # From here on `source` says which row of the cache and mask each living row continues.
        source = torch.tensor([place[row.prompt] for row in rows], device=mask.device)
        cached = _cached_tokens(rows, shared, kept_tokens)
        labels = self._label_logprobs(logits, rows, source.tolist())
        logits = logits[source]
        noise = [np.random.Generator(np.random.Philox(row.seed)) for row in rows]
        drawn: list[list[int]] = [[] for _ in rows]
        logprob = [0.0] * len(rows)
        living = list(range(len(rows)))
        for step in range(sampling.max_tokens):
            tokens, logprobs = draw(logits, [noise[index] for index in living], sampling)
            staying = []
            for slot, (index, token, value) in enumerate(
                zip(living, tokens.tolist(), logprobs.tolist(), strict=True)
            ):
                row = rows[index]
                drawn[index].append(token)
                logprob[index] += value
                stopped = token in row.stop_ids or (bool(sampling.stop) and ended(row, drawn[index]))
                if stopped or step + 1 == sampling.max_tokens:
                    reason = "stop" if stopped else "length"
                    yield Generation(row, drawn[index], logprob[index], reason, labels[index], cached[index])
                else:
                    staying.append(slot)
            if not staying:
                return
            kept = torch.tensor(staying, device=mask.device)
            if step == 0 or len(staying) < len(living):
                source = source[kept] if step == 0 else kept
                cache.batch_select_indices(source)
                mask = mask[source]
            living = [living[slot] for slot in staying]
            mask = torch.cat([mask, mask.new_ones(len(living), 1)], dim=1)
            output = self._model(
                input_ids=tokens[kept, None],
                attention_mask=mask,
                position_ids=mask.sum(dim=1, keepdim=True) - 1,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            logits = output.logits[:, -1]

    def forget(self) -> None:
        """Let go of the kept prefix."""
        self._prefix, self._prefix_cache = (), None

    def _prefill(self, prompts: list[Ids], room: int) -> tuple[Any, Any, Any, int, int]:
        """Compute the prompts.

        Returns
        -------
        tuple
            The logits after the last token, the cache and the mask, each with a row for each prompt; the tokens that all
            prompts share; and how many of those were there from the batch before.
        """
        longest = max(map(len, prompts))
        shared = shared_prefix(prompts) if self._shareable(longest + room) else 0
        kept_tokens = common_prefix(self._prefix, prompts[0][:shared])
        cache = self._shared_cache(prompts[0][:shared])
        cache.batch_repeat_interleave(len(prompts))
        ids = torch.full((len(prompts), longest - shared), self._pad_id)
        positions = torch.zeros_like(ids)
        mask = torch.zeros((len(prompts), longest), dtype=torch.long)
        mask[:, :shared] = 1
        for row, prompt in enumerate(prompts):
            padding = longest - len(prompt)
            ids[row, padding:] = torch.tensor(prompt[shared:])
            positions[row, padding:] = torch.arange(shared, len(prompt))
            mask[row, shared + padding :] = 1
        device = self._model.device
        mask = mask.to(device)
        output = self._model(
            input_ids=ids.to(device),
            attention_mask=mask,
            position_ids=positions.to(device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return output.logits[:, -1], cache, mask, shared, kept_tokens

    def _shareable(self, length: int) -> bool:
        """Whether padding may stand between a shared prefix and the rest.

        Full attention never sees it. A sliding window counts places, padding included, so that it would reach less
        far back once sequences outgrow it; and recurrent layers would run over it.
        """
        config = self._model.config.get_text_config(decoder=True)
        kinds = set(getattr(config, "layer_types", None) or ())
        window = getattr(config, "sliding_window", None)
        return kinds <= {"full_attention", "sliding_attention"} and (window is None or length <= window)

    def _shared_cache(self, prefix: Ids) -> Any:
        """Return a cache holding `prefix`, made from the kept one where they begin alike."""
        from transformers import DynamicCache

        if not prefix:
            return DynamicCache(config=self._model.config)
        kept, cache = self._prefix, self._prefix_cache
        self.forget()  # the cache is changed in place: should memory run out meanwhile, it is lost, not wrong
        alike = common_prefix(kept, prefix)
        if alike == 0:
            cache = DynamicCache(config=self._model.config)
        elif alike < len(kept):
            cache.crop(alike - len(kept))
        if alike < len(prefix):
            rest = torch.tensor([prefix[alike:]], device=self._model.device)
            self._model(input_ids=rest, past_key_values=cache, use_cache=True, logits_to_keep=1)
        self._prefix, self._prefix_cache = prefix, cache
        return copy.deepcopy(cache)

    @staticmethod
    def _label_logprobs(
        logits: Any, rows: Sequence[Row], source: list[int]
    ) -> list[tuple[float, ...] | None]:
        """For each row the log of the total first-token probability of each of its labels."""
        if not any(row.labels for row in rows):
            return [None] * len(rows)
        scores = torch.log_softmax(logits.float(), dim=-1)
        return [
            tuple(float(scores[place, ids].logsumexp(dim=0)) for ids in row.labels) if row.labels else None
            for row, place in zip(rows, source, strict=True)
        ]


def _cached_tokens(rows: Sequence[Row], shared: int, kept: int) -> list[int]:
    """For each row the tokens of its prompt that were computed for another row or another batch.

    Parameters
    ----------
    shared
        Tokens that all prompts have in common; the first row pays for them,
    kept
        but not for those that were there before.
    """
    paid: set[Ids] = set()
    found = []
    for row in rows:
        first = len(paid) == 0
        found.append(len(row.prompt) if row.prompt in paid else kept if first else shared)
        paid.add(row.prompt)
    return found
