"""Sampling: the responses that a run still lacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from gapbench.engines.base import Key, Request, Result, Sampling, derive_seed
from gapbench.records import Prompt, Response
from gapbench.store import RunStore
from gapbench.store.finished import Finished, PromptKey


def whole(text: str) -> str:
    """Text that any file can hold: half of a surrogate pair, which a cut reply may end in, becomes `?`."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


class Sampler:
    """The responses that a run still lacks, up to `n` for each prompt.

    Parameters
    ----------
    prompts
        The run's.
    sampling
        For each task, how its tokens are drawn.
    n
        Responses wanted for each prompt.
    seed
        The run's seed; each response's own is derived from it, the task, the prompt and the response's index.

    Attributes
    ----------
    lacking
        By prompt, how many are missing.
    total
        How many are missing in all.
    seeds
        By key, the seeds of the responses that were asked for and have not come.
    """

    def __init__(
        self, store: RunStore, prompts: Sequence[Prompt], sampling: Mapping[str, Sampling], n: int, seed: int
    ) -> None:
        self.n = n
        self._prompts = prompts
        self._sampling = sampling
        self._seed = seed
        self.seeds: dict[Key, int] = {}
        self._done = Finished(store, Response)
        self.lacking = {prompt.key: len(self._missing(prompt.key)) for prompt in prompts}
        self.total = sum(self.lacking.values())

    def _missing(self, prompt: PromptKey) -> list[int]:
        done = self._done.of(prompt)
        return [index for index in range(self.n) if (index,) not in done]

    def requests(self) -> Iterator[Request]:
        """One request for each prompt that lacks responses."""
        for prompt in self._prompts:
            if not self.lacking[prompt.key]:
                continue
            keys: list[Key] = [(*prompt.key, index) for index in self._missing(prompt.key)]
            own = {key: derive_seed(self._seed, "response", *key) for key in keys}
            self.seeds.update(own)
            yield Request(
                prompt.messages, prompt.style, tuple(keys), tuple(own.values()), self._sampling[prompt.task]
            )

    def take(self, result: Result, *, seeded: bool = True) -> Response:
        """The row of a finished generation; without a seed where the engine draws from a stream of its own."""
        task, prompt_id, index = result.key
        self.lacking[task, prompt_id] -= 1
        seed = self.seeds.pop(result.key)
        return Response(
            task,
            prompt_id,
            index,
            text=whole(result.text),
            token_ids=result.token_ids,
            n_tokens=result.n_tokens,
            logprob=result.logprob,
            finish_reason=result.finish_reason,
            seed=seed if seeded else None,
        )
