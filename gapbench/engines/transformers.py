"""A local model through Hugging Face transformers: float32 on a processor, bfloat16 on a CUDA device.

>>> from gapbench.records import Message
>>> question = Request((Message("user", "1 + 1?"),), "plain", keys=(("a",),), seeds=(7,))
>>> engine = TransformersEngine("smollm2-135m")  # doctest: +SKIP
>>> [result.text for result in engine.run([question])]  # doctest: +SKIP
[' 2']
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import jinja2
import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer

from gapbench.engines._batches import Ids, cut
from gapbench.engines._decode import Decoder, Generation, Row
from gapbench.engines._prompting import CONTEXT, Prompting, context_refusal
from gapbench.engines.base import Capabilities, Engine, Key, ModelInfo, Request, Result, engines
from gapbench.errors import UserError
from gapbench.models import ResolvedModel, resolve, unknown_model
from gapbench.records import error_status

# One more decoding step costs, beside its rows, about as much as prefilling this many tokens (measured on 2 cores).
_STEP_PRICE = 64
_CPU_CACHE_BYTES = 2 << 30


@engines.register("transformers")
class TransformersEngine(Engine):
    """Runs a model of the hub, of a folder or of a package with transformers.

    Parameters
    ----------
    model
        Alias of an embedded model, directory, or hub id.
    device
        Torch device; by default `cuda` where there is one, else `cpu`.
    max_rows
        Responses drawn at once, before memory limits them further.

    Raises
    ------
    UserError
        If the model cannot be found or loaded.
    """

    capabilities = Capabilities(seeds=True, logprobs=True, labels=True, prefix_cache=True)

    def __init__(self, model: str, *, device: str | None = None, max_rows: int = 256) -> None:
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        if self._device.type == "cpu":
            _keep_memory()
        self._max_rows = max_rows
        resolved = resolve(model)
        if resolved.embedded:
            transformers.utils.logging.disable_progress_bar()  # a bar for half a second, on the user's terminal
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(resolved.source)
            self._network: Any = AutoModelForCausalLM.from_pretrained(
                resolved.source, dtype=torch.bfloat16 if self._device.type == "cuda" else torch.float32
            )
        except (OSError, ValueError, ImportError, SafetensorError) as failure:
            if resolved.embedded:
                raise UserError(
                    f"{resolved.source}: the converted model is damaged; delete that folder and run again to remake it"
                ) from failure
            raise unknown_model(model, str(failure)) from failure
        self._network.to(self._device).eval()
        self.model = _describe(model, resolved, self._network, self._tokenizer)
        ends = self._network.generation_config.eos_token_id
        self._prompting = Prompting(self._tokenizer, ends if isinstance(ends, list) else [ends])
        self._label_ids: dict[str, Any] = {}
        pad = self._tokenizer.pad_token_id
        self._decoder = Decoder(self._network, pad_id=0 if pad is None else pad)
        self._token_bytes = _cache_bytes_per_token(self._network)

    def run(self, requests: Iterable[Request | None]) -> Iterator[Result]:
        """Yield one result for each key of each request, as it finishes.

        Requests are read as far as one window of rows reaches, so that results come while requests are still made.
        """
        window: list[Row] = []
        longest = 0
        for request in requests:
            if request is None:
                yield from self._finish(window)
                window, longest = [], 0
                continue
            try:
                prompt = self._prompting.encode(request)
            except jinja2.TemplateError as refusal:
                yield from _failures(request.keys, f"the chat template refuses the messages: {refusal}")
                continue
            too_long = context_refusal(len(prompt), self.model.context, request.sampling.max_tokens)
            if too_long:
                yield from _failures(request.keys, too_long)
                continue
            for key, seed in zip(request.keys, request.seeds, strict=True):
                longest = max(longest, len(prompt) + request.sampling.max_tokens)
                if window and not self._fits(len(window) + 1, longest):
                    yield from self._finish(window)
                    window, longest = [], len(prompt) + request.sampling.max_tokens
                window.append(self._row(request, prompt, key, seed))
        yield from self._finish(window)

    def close(self) -> None:
        """Free the model."""
        del self._network, self._decoder
        gc.collect()
        torch.cuda.empty_cache()

    def describe(self) -> dict[str, Any]:
        """Engine, versions, device and model facts for the manifest."""
        return {
            **super().describe(),
            "version": transformers.__version__,
            "torch": torch.__version__,
            "device": str(self._device),
            "dtype": str(self._network.dtype).removeprefix("torch."),
        }

    def _fits(self, rows: int, length: int) -> bool:
        """Whether `rows` sequences of `length` tokens may be in the cache at once."""
        budget = _CPU_CACHE_BYTES
        if self._device.type == "cuda":
            budget = torch.cuda.mem_get_info(self._device)[0] // 2
        return rows <= self._max_rows and rows * length * self._token_bytes <= budget

    def _row(self, request: Request, prompt: Ids, key: Key, seed: int) -> Row:
        labels = tuple(self._spelled(label) for label in request.labels)
        return Row(key, seed, prompt, request.sampling, self._prompting.stop_ids[request.style], labels)

    def _spelled(self, label: str) -> Any:
        """The tokens that spell `label`, as an index tensor."""
        if label not in self._label_ids:
            ids = self._prompting.spelled(label)
            self._label_ids[label] = torch.tensor(ids, dtype=torch.long, device=self._device)
        return self._label_ids[label]

    def _finish(self, window: list[Row]) -> Iterator[Result]:
        """Draw every row of the window, in batches of equal sampling that share prefixes."""
        groups: dict[Any, dict[Ids, list[Row]]] = defaultdict(lambda: defaultdict(list))
        for row in window:
            groups[row.sampling][row.prompt].append(row)
        for sampling, group in groups.items():
            for prompts in cut(list(group), price=_STEP_PRICE * sampling.max_tokens):
                yield from self._attempt([row for prompt in prompts for row in group[prompt]])

    def _attempt(self, batch: list[Row]) -> Iterator[Result]:
        """Draw a batch; where memory runs out, go on with halves of what is left."""
        waiting = [batch]
        while waiting:
            rows = waiting.pop()
            left = list(rows)
            exhausted = False
            try:
                for generation in self._decoder.decode(rows, self._stopped):
                    left.remove(generation.row)
                    yield self._result(generation)
            except (RuntimeError, MemoryError) as failure:
                if not _is_out_of_memory(failure):
                    raise
                exhausted = True
            if not exhausted:
                continue
            # Only outside the handler are the tensors of the failed attempt free.
            self._decoder.forget()
            gc.collect()
            torch.cuda.empty_cache()
            if len(rows) == 1:
                yield from _failures(
                    [rows[0].key], f"out of memory at one prompt of {len(rows[0].prompt)} tokens"
                )
                continue
            self._max_rows = max(1, len(rows) // 2)
            half = (len(left) + 1) // 2
            waiting += [part for part in (left[half:], left[:half]) if part]

    def _stopped(self, row: Row, ids: list[int]) -> bool:
        """Whether the text so far contains a stop string; the last tokens are looked at first, as that is quick."""
        # A stop string of b bytes is in the last b tokens; the rest allows for tokens that decode to nothing.
        reach = max(len(stop.encode()) for stop in row.sampling.stop) + CONTEXT
        recent = self._prompting.text((*row.prompt[-CONTEXT:], *ids[:-reach]), ids[-reach:])
        return any(stop in recent for stop in row.sampling.stop) and any(
            stop in self._prompting.text(row.prompt, ids) for stop in row.sampling.stop
        )

    def _result(self, generation: Generation) -> Result:
        row, ids = generation.row, generation.token_ids
        return Result(
            key=row.key,
            text=self._prompting.reply(row.prompt, ids, row.stop_ids, row.sampling.stop),
            token_ids=tuple(ids),
            n_tokens=len(ids),
            logprob=generation.logprob,
            finish_reason=generation.finish_reason,
            label_logprobs=generation.label_logprobs,
            n_prompt=len(row.prompt),
            n_cached=generation.n_cached,
        )


def _keep_memory() -> None:
    """Have glibc keep freed memory, where there is glibc.

    Every decoding step needs a few blocks as large as the logits, and by default each is fetched from the system and
    given back: with a vocabulary of 262,144 tokens the page faults took a third of all time.
    """
    mmap_max, trim_threshold = -4, -1  # names of malloc.h
    with contextlib.suppress(OSError, AttributeError, TypeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, 2**31 - 1)


def _failures(keys: Iterable[Key], reason: str) -> Iterator[Result]:
    for key in keys:
        yield Result(key, "", None, 0, None, error_status(reason))


def _is_out_of_memory(failure: BaseException) -> bool:
    """Torch tells of an exhausted processor memory only in words."""
    words = ("can't allocate memory", "not enough memory", "out of memory")
    return isinstance(failure, MemoryError) or any(word in str(failure).lower() for word in words)


def _describe(name: str, resolved: ResolvedModel, network: Any, tokenizer: Any) -> ModelInfo:
    config = network.config.get_text_config(decoder=True)
    known = resolved.embedded
    return ModelInfo(
        id=known.id if known else name,
        revision=resolved.revision,  # transformers' own configurations say it no longer
        parameters=network.num_parameters(),
        training_tokens=known.training_tokens if known else None,
        context=getattr(config, "max_position_embeddings", None),
        chat_template=bool(tokenizer.chat_template),
        licence=known.licence if known else None,
    )


@torch.inference_mode()  # type: ignore[untyped-decorator, unused-ignore]
def _cache_bytes_per_token(network: Any) -> int:
    """Measure what the key-value cache grows by with one token of one row."""
    cache = network(
        torch.zeros((1, 1), dtype=torch.long, device=network.device), use_cache=True
    ).past_key_values
    tensors = (tensor for layer in cache.layers for tensor in (layer.keys, layer.values))
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors if tensor is not None)
