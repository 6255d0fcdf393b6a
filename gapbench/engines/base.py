"""What stages ask of an engine, and what it gives back.

An engine takes an iterator of requests and yields results as they finish, each under the caller's own key.
Starting, batching, stopping and memory are its own business. It says in `capabilities` what it can do, and
stages adapt or refuse in one clear line.

The iterator may give None in place of a request: there is none at the moment, and results must come before there are
more. An engine then works on what it holds and asks again; it is never told to wait while it holds nothing.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from gapbench.records import Message, Prompt, Style
from gapbench.registry import Registry

Key = tuple[Any, ...]


def derive_seed(*parts: object) -> int:
    """A 63-bit seed from any values, well mixed, so that neighbouring rows share no noise.

    `seed + i` for neighbours, or one seed for a batch, correlates rows that the statistics take as independent.
    """
    text = "\x1f".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def render_plain(messages: Sequence[Message]) -> str:
    r"""Write a conversation as `Q:`/`A:` text that ends where the model is to answer.

    >>> render_plain([Message("user", "1 + 1?"), Message("assistant", "2"), Message("user", "2 + 2?")])
    'Q: 1 + 1?\nA: 2\n\nQ: 2 + 2?\nA:'
    """
    form = {"system": "{}\n\n", "user": "Q: {}\nA:", "assistant": " {}\n\n"}
    return "".join(form[message.role].format(message.content) for message in messages)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn. Temperature 0 is greedy."""

    max_tokens: int = 32
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt and the generations wanted from it.

    Attributes
    ----------
    keys
        One generation is drawn for each key; results carry them.
    seeds
        One seed for each key.
    labels
        Words whose probability as the first generated token is wanted (`Result.label_logprobs`).
    verdicts
        Texts that a judge may commit to, the most favourable first; only a simulated engine needs to be told.
    """

    messages: tuple[Message, ...]
    style: Style
    keys: tuple[Key, ...]
    seeds: tuple[int, ...]
    sampling: Sampling = field(default_factory=Sampling)
    labels: tuple[str, ...] = ()
    verdicts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """One finished generation.

    Attributes
    ----------
    logprob
        Sum of the generated tokens' log-probabilities at temperature 1, in nats.
    finish_reason
        `stop`, `length` or `error:<reason>`; an error carries no text.
    label_logprobs
        For each label of the request, the log of the total probability of first tokens that spell it,
        ignoring case and surrounding space; None where no labels were asked for.
    n_prompt
        Tokens of the prompt; 0 where the engine does not say.
    n_cached
        How many of them were not computed for this result, but found in a prefix cache or shared with another result;
        None where the engine does not say.
    """

    key: Key
    text: str
    token_ids: tuple[int, ...] | None
    n_tokens: int
    logprob: float | None
    finish_reason: str
    label_logprobs: tuple[float, ...] | None = None
    n_prompt: int = 0
    n_cached: int | None = None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do beyond producing text.

    Attributes
    ----------
    seeds
        Every generation is drawn from its request's own seed, whatever else is drawn beside it.
    logprobs, labels
        Results carry `logprob`, `label_logprobs`.
    prefix_cache
        What prompts share from the start is computed once.
    """

    seeds: bool = False
    logprobs: bool = False
    labels: bool = False
    prefix_cache: bool = False


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What the manifest records about a model; unknown figures stay None."""

    id: str
    revision: str | None = None
    parameters: int | None = None
    training_tokens: int | None = None
    context: int | None = None
    chat_template: bool = False
    licence: str | None = None


class Engine(ABC):
    """The protocol; see the module's text.

    Parameters
    ----------
    model
        Alias, hub id or local path.
    options
        Engine arguments of the user's, passed through.

    Raises
    ------
    UserError
        If the model cannot be found or loaded.
    """

    name: ClassVar[str]
    capabilities: Capabilities
    model: ModelInfo

    @abstractmethod
    def __init__(self, model: str, **options: Any) -> None: ...

    @abstractmethod
    def run(self, requests: Iterable[Request | None]) -> Iterator[Result]:
        """Yield one result for each key of each request, in any order and as soon as it is there.

        Raises
        ------
        UserError
            If nothing can be drawn at all, as where a server refuses the key. What concerns one request alone is that
            result's `error:<reason>`.
        """

    def bind(self, prompts: Sequence[Prompt]) -> None:  # noqa: B027 (most engines have nothing to do here)
        """Learn the prompts of the run; only a simulated engine needs the answer key."""

    def close(self) -> None:  # noqa: B027 (most engines hold nothing)
        """Give back what the engine holds."""

    def describe(self) -> dict[str, Any]:
        """Engine, version and model facts for the manifest."""
        return {"engine": self.name, "capabilities": asdict(self.capabilities), "model": asdict(self.model)}


engines: Registry[Engine] = Registry("engine", "gapbench.engines")
