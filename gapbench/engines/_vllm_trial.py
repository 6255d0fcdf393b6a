"""What the installed vLLM really does, tried out on a few tokens at start: versions and devices differ."""

from __future__ import annotations

import importlib
from itertools import count
from typing import Any

# Log-probabilities of one token, asked for in two ways at once, differ by rounding alone; those after another
# temperature differ by far more.
_ROUNDING = 0.05
_TOKENS = 12


class Trial:
    """Draws a few tokens.

    Parameters
    ----------
    vllm
        The library.
    engine
        Its `LLMEngine`, idle.
    prompt
        A token to draw from.
    """

    def __init__(self, vllm: Any, engine: Any, prompt: int) -> None:
        self._vllm, self._engine, self._prompt = vllm, engine, prompt
        self._parameters = importlib.import_module("vllm.sampling_params")
        self._names = (f"trial-{number}" for number in count())

    def seeds(self) -> bool:
        """Whether a seed draws the same tokens alone and beside others, and another seed draws other tokens.

        It is tried at the highest temperature that vLLM takes, where chance hardly passes for a seed. Versions that
        forget the seeds of all where one request is greedy (the processor's, at 0.20) are found out by the one here.
        """
        wide = {"temperature": 2.0, "max_tokens": _TOKENS}
        greedy = {"temperature": 0.0, "max_tokens": _TOKENS}
        first, _, other = self._draw({**wide, "seed": 1}, greedy, {**wide, "seed": 2})
        (again,) = self._draw({**wide, "seed": 1})
        return list(first.token_ids) == list(again.token_ids) != list(other.token_ids)

    def chosen_tokens(self) -> bool:
        """Whether log-probabilities of chosen tokens can be had, and are those of the model itself.

        Some versions give those after temperature and masks, others none (0.20 does both, by device). Where that is so,
        those of the whole vocabulary have to be asked for: slower, and as exact; the best few would leave out a label
        that the model does not think of.
        """
        if not hasattr(self._parameters, "MAX_LOGPROB_TOKEN_IDS"):
            return False
        (whole,) = self._draw({"temperature": 0.0, "max_tokens": 1, "logprobs": -1})
        expected = first_token(whole.logprobs)
        ids = sorted(expected, key=expected.__getitem__)[-1:-40:-13]
        (chosen,) = self._draw({"temperature": 0.5, "max_tokens": 1, "logprob_token_ids": ids})
        found = first_token(chosen.logprobs)
        return all(token in found and abs(found[token] - expected[token]) < _ROUNDING for token in ids)

    def _draw(self, *requests: dict[str, Any]) -> list[Any]:
        """Draw together and give back what came, in order."""
        names = [next(self._names) for _ in requests]
        for name, request in zip(names, requests, strict=True):
            sampling = self._vllm.SamplingParams(
                **request,
                ignore_eos=True,
                detokenize=False,
                flat_logprobs=True,
                output_kind=self._parameters.RequestOutputKind.FINAL_ONLY,
            )
            self._engine.add_request(name, {"type": "token", "prompt_token_ids": [self._prompt]}, sampling)
        done: dict[str, Any] = {}
        while len(done) < len(names):
            done |= {output.request_id: output.outputs[0] for output in self._engine.step()}
        return [done[name] for name in names]


def first_token(logprobs: Any) -> dict[int, float]:
    """Log-probabilities of the first token drawn, by token, of vLLM's `FlatLogprobs`."""
    place = slice(logprobs.start_indices[0], logprobs.end_indices[0])
    return dict(zip(logprobs.token_ids[place], logprobs.logprobs[place], strict=True))
