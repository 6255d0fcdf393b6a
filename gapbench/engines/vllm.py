"""A local model through vLLM, the engine to fill GPUs with; on a processor too, for trying things out.

>>> from gapbench.records import Message
>>> question = Request((Message("user", "1 + 1?"),), "plain", keys=(("a",),), seeds=(7,))
>>> engine = VllmEngine("smollm2-135m", max_model_len=2048)  # doctest: +SKIP
>>> [result.text for result in engine.run([question])]  # doctest: +SKIP
[' 2']
"""

from __future__ import annotations

import gc
import importlib
import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import count
from math import exp, inf, log
from typing import Any

import jinja2

from gapbench.engines._prompting import Ids, Prompting, context_refusal
from gapbench.engines._vllm_start import Adapter, start
from gapbench.engines._vllm_trial import Trial, first_token
from gapbench.engines.base import Capabilities, Engine, Key, Request, Result, engines
from gapbench.errors import UserError
from gapbench.records import error_status

# Importing vLLM takes many seconds and prints; only starting an engine does it.
if find_spec("vllm") is None:
    raise ModuleNotFoundError("No module named 'vllm'", name="vllm")


@dataclass(frozen=True, slots=True, eq=False)
class _Draw:
    """One generation that is asked for, and whose it is."""

    keys: tuple[Key, ...]
    seed: int
    request: Request
    prompt: Ids


@engines.register("vllm")
class VllmEngine(Engine):
    """Local model through vLLM (0.20 to 0.33): a queue that never drains, prefix cache, tensor parallel, LoRA.

    Requests go in between steps for as long as the engine has room, one for each response, so that each is there as
    soon as it is finished; what prompts share is computed once (vLLM's prefix cache).

    Every response is drawn from its request's own seed, which is tried at start. Where that does not work, or with
    `request_seeds=false`, all are drawn from the engine's seed, which is fresh at every start, so that what is added to
    a run later repeats no noise; `seed=N` fixes it, and repeats the noise wherever it is given again. On a processor
    a seeded request whose prompt is computed in chunks ends the engine: after each chunk vLLM winds the request's
    generator back, which a processor's cannot do. Prompts are therefore not cut there, and with
    `enable_chunked_prefill=true` no request has a seed.

    Parameters
    ----------
    model
        Alias of an embedded model, directory, or hub id.
    lora
        Folder of a LoRA adapter to use with the model.
    request_seeds
        Whether each request is drawn from its own seed, where that works. Without, vLLM samples faster.
    choice
        Let requests with labels draw nothing but a label. It is done by `allowed_token_ids` and not by
        `StructuredOutputsParams(choice=...)`, whose mask vLLM applies before it takes log-probabilities: those of the
        labels stay the model's own.
    options
        Any other engine argument of vLLM's, such as `tensor_parallel_size`, `max_model_len`, `gpu_memory_utilization`.

    Raises
    ------
    UserError
        If the model cannot be found or loaded, or vLLM has no such option.
    """

    capabilities = Capabilities(seeds=True, logprobs=True, labels=True, prefix_cache=True)

    def __init__(
        self,
        model: str,
        *,
        lora: str | None = None,
        request_seeds: bool = True,
        choice: bool = False,
        **options: Any,
    ) -> None:
        for name, value in (("request_seeds", request_seeds), ("choice", choice)):
            if not isinstance(value, bool):
                raise UserError(f"--engine-option {name}={value}: write true or false")
        self._adapter = Adapter.read(lora) if lora is not None else None
        started = start(model, options, self._adapter)
        self._vllm, self._llm = started.vllm, started.llm
        self._log, self._guard = started.log, started.guard
        self._engine = self._llm.llm_engine
        self.model, self._seed, self._choice, self._options = started.model, started.seed, choice, options
        self._kind = importlib.import_module("vllm.sampling_params").RequestOutputKind.FINAL_ONLY
        self._tokenizer = self._llm.get_tokenizer()
        self._prompting = Prompting(self._tokenizer, _ends(self._llm.model_config))
        self._vocabulary = self._llm.model_config.get_vocab_size()
        config = self._engine.vllm_config
        # As many again wait inside vLLM as it computes at once: it is never short of work between steps.
        self._depth = 2 * config.scheduler_config.max_num_seqs
        self._ids = map(str, count())
        self._lora = None
        if self._adapter is not None:
            request = importlib.import_module("vllm.lora.request").LoRARequest
            self._lora = request(self._adapter.path.name, 1, str(self._adapter.path))
        chunked = started.on_cpu and config.scheduler_config.enable_chunked_prefill
        trial = Trial(self._vllm, self._engine, min(self._prompting.stop_ids["plain"], default=0))
        try:
            seeds = request_seeds and not chunked and trial.seeds()
            self._by_ids = trial.chosen_tokens()
        except Exception as failure:  # whatever ends the engine at its first tokens is told in one line
            self.close()
            raise UserError(
                f"vLLM {self._vllm.__version__} loads '{model}' and fails at the first tokens: "
                f"{self._log.cause() or failure}"
            ) from failure
        self._log.loaded()
        self.capabilities = replace(
            VllmEngine.capabilities,
            seeds=seeds,
            prefix_cache=bool(config.cache_config.enable_prefix_caching),
        )

    def run(self, requests: Iterable[Request | None]) -> Iterator[Result]:
        """Yield one result for each key of each request, as it finishes."""
        source = iter(requests)
        waiting: deque[_Draw] = deque()
        flying: dict[str, _Draw] = {}
        more = True
        try:
            while more or waiting or flying:
                asking = more
                while asking and len(waiting) + len(flying) < self._depth:
                    try:
                        request = next(source)
                    except StopIteration:
                        more = asking = False
                        continue
                    if request is None:
                        asking = False
                    else:
                        yield from self._read(request, waiting)
                while waiting and len(flying) < self._depth:
                    yield from self._send(waiting.popleft(), flying)
                if flying:
                    yield from self._step(flying)
        except GeneratorExit:
            # Whoever stops reading must find an idle engine next time.
            self._engine.abort_request(list(flying))
            raise

    def close(self) -> None:
        """End vLLM's processes and free what it holds."""
        engine, self._engine, self._llm = self._engine, None, None
        logger = logging.getLogger("vllm")
        level = logger.level
        # That its process is slow to end, and is killed, is nothing to be warned of.
        logger.setLevel(logging.ERROR)
        engine.engine_core.shutdown()
        logger.setLevel(level)
        del engine
        gc.collect()
        self._guard.close()
        self._log.close()

    def describe(self) -> dict[str, Any]:
        """Engine, versions, arguments, where seeds come from, and model facts for the manifest."""
        config = self._engine.vllm_config
        return {
            **super().describe(),
            "version": self._vllm.__version__,
            "torch": importlib.import_module("torch").__version__,
            "device": str(config.device_config.device_type),
            "dtype": str(config.model_config.dtype).removeprefix("torch."),
            "options": self._options,
            "seeds": "request" if self.capabilities.seeds else "engine",
            "engine_seed": self._seed,
            "choice": self._choice,
            "lora": None if self._adapter is None else str(self._adapter.path),
        }

    def _read(self, request: Request, waiting: deque[_Draw]) -> Iterator[Result]:
        """Make a request's draws, or say why there are none."""
        refusal = None
        prompt: Ids = ()
        try:
            prompt = self._prompting.encode(request)
            refusal = context_refusal(len(prompt), self.model.context, request.sampling.max_tokens)
        except jinja2.TemplateError as failure:
            refusal = f"the chat template refuses the messages: {failure}"
        if refusal is not None:
            yield from _failed(request.keys, refusal)
        elif request.labels and request.sampling.max_tokens == 1:
            # What is asked for is the same for every key: the labels' probabilities.
            waiting.append(_Draw(request.keys, request.seeds[0], request, prompt))
        else:
            pairs = zip(request.keys, request.seeds, strict=True)
            waiting.extend(_Draw((key,), seed, request, prompt) for key, seed in pairs)

    def _send(self, draw: _Draw, flying: dict[str, _Draw]) -> Iterator[Result]:
        """Give a draw to vLLM, or say why it does not take it."""
        own = next(self._ids)
        prompt = {"type": "token", "prompt_token_ids": list(draw.prompt)}
        try:
            self._engine.add_request(own, prompt, self._parameters(draw), lora_request=self._lora)
        except ValueError as refusal:
            yield from _failed(draw.keys, f"vLLM refuses the request: {refusal}")
        else:
            flying[own] = draw

    def _step(self, flying: dict[str, _Draw]) -> Iterator[Result]:
        """Let vLLM work once."""
        for output in self._engine.step():
            draw = flying.pop(output.request_id, None)
            if draw is not None:  # not one of a run that was given up
                yield from self._results(draw, output)

    def _parameters(self, draw: _Draw) -> Any:
        """How vLLM is to draw: ends, log-probabilities and text are ours."""
        sampling, labels = draw.request.sampling, self._spelled(draw.request.labels)
        asked: dict[str, Any] = {"logprobs": 0}
        if labels and self._by_ids:
            asked = {"logprob_token_ids": labels}
        elif labels:
            asked = {"logprobs": -1}
        if labels and self._choice and sampling.max_tokens == 1:
            asked["allowed_token_ids"] = labels
        return self._vllm.SamplingParams(
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=draw.seed if self.capabilities.seeds and sampling.temperature > 0 else None,
            stop=list(sampling.stop),
            stop_token_ids=sorted(self._prompting.stop_ids[draw.request.style]),
            ignore_eos=True,
            detokenize=bool(sampling.stop),
            flat_logprobs=True,
            output_kind=self._kind,
            **asked,
        )

    def _spelled(self, labels: Sequence[str]) -> list[int]:
        """Every token that spells one of `labels`."""
        ids = {token for label in labels for token in self._prompting.spelled(label)}
        return sorted(token for token in ids if token < self._vocabulary)

    def _results(self, draw: _Draw, output: Any) -> Iterator[Result]:
        """What came of a draw, for each of its keys."""
        completion = output.outputs[0]
        reason = completion.finish_reason
        if reason == "abort":
            # Not a fact about the response: it is drawn when the run goes on.
            raise RuntimeError("vLLM was told to stop and gave up what it was working on")
        if reason not in ("stop", "length"):
            yield from _failed(draw.keys, f"vLLM ended the request: {reason}")
            return
        ids = tuple(completion.token_ids)
        stop_ids = self._prompting.stop_ids[draw.request.style]
        labels = None
        if draw.request.labels:
            try:
                labels = self._label_logprobs(draw.request.labels, first_token(completion.logprobs))
            except KeyError as missing:
                yield from _failed(draw.keys, f"vLLM gave no log-probability of token {missing}, a label's")
                return
        result = Result(
            key=draw.keys[0],
            text=self._prompting.reply(draw.prompt, ids, stop_ids, draw.request.sampling.stop),
            token_ids=ids,
            n_tokens=len(ids),
            logprob=completion.cumulative_logprob,
            finish_reason=reason,
            label_logprobs=labels,
            n_prompt=len(draw.prompt),
            n_cached=output.num_cached_tokens,
        )
        yield result
        for key in draw.keys[1:]:
            yield replace(result, key=key, n_cached=result.n_prompt)

    def _label_logprobs(self, labels: Sequence[str], found: Mapping[int, float]) -> tuple[float, ...]:
        """For each label the log of the total probability of the tokens that spell it."""
        return tuple(_log_sum([found[token] for token in self._spelled([label])]) for label in labels)


def _failed(keys: Iterable[Key], reason: str) -> Iterator[Result]:
    for key in keys:
        yield Result(key, "", None, 0, None, error_status(reason))


def _log_sum(logs: Sequence[float]) -> float:
    most = max(logs, default=-inf)
    return most if most == -inf else most + log(sum(exp(value - most) for value in logs))


def _ends(config: Any) -> list[int | None]:
    """Tokens that end a text by the model's own configuration; the tokenizer knows one more."""
    generation = config.try_get_generation_config()
    ends = generation.get("eos_token_id", getattr(config.hf_text_config, "eos_token_id", None))
    return list(ends) if isinstance(ends, list | tuple) else [ends]
