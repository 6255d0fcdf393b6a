"""What each stage asks for and makes of it: sampling, grading, verifying.

A stage looks only at the store for what is missing, never at what another has in memory; that is what makes each of
them run alone, and what makes a killed run resumable. `gapbench.flow` lets them run at once over one engine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan, nan

import numpy as np

from gapbench.engines.base import Engine, Key, Request, Result, Sampling, derive_seed
from gapbench.errors import UserError
from gapbench.graders.base import Grader
from gapbench.records import (
    TRUNCATED,
    Comparison,
    Grade,
    Message,
    Prompt,
    Response,
    Verdict,
    error_status,
    is_error,
)
from gapbench.savings import Savings
from gapbench.store import RunStore
from gapbench.verifiers.base import (
    AskingVerifier,
    Judgement,
    ModelVerifier,
    Pair,
    PairVerifier,
    ToolVerifier,
    Verifier,
)

PromptKey = tuple[str, str]


@dataclass
class Session:
    """What one stage of one sitting did; recorded in the manifest.

    Attributes
    ----------
    rows
        Rows appended.
    requests, tokens
        Generations asked of the engine, and tokens it generated for them.
    seconds
        Wall time. Where stages run at once, the wait for each row counts for the stage that the row belongs to.
    """

    stage: str
    rows: int = 0
    requests: int = 0
    tokens: int = 0
    seconds: float = 0.0
    statuses: dict[str, int] = field(default_factory=dict)

    def count(self, status: str) -> None:
        """Add one row of this status; errors are counted under the word alone."""
        self.rows += 1
        word = "error" if is_error(status) else status
        self.statuses[word] = self.statuses.get(word, 0) + 1


def whole(text: str) -> str:
    """Text that any file can hold: half of a surrogate pair, which a cut reply may end in, becomes `?`."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


class Sampler:
    """The responses that a run still lacks, up to `n` for each prompt.

    Parameters
    ----------
    sampling
        For each task, how its tokens are drawn.
    n
        Responses wanted for each prompt.
    seed
        The run's seed; each response's own is derived from it, the task, the prompt and the response's index.
    """

    def __init__(self, store: RunStore, sampling: Mapping[str, Sampling], n: int, seed: int) -> None:
        self.n = n
        self._prompts = store.rows(Prompt)
        self._sampling = sampling
        self._seed = seed
        self._seeds: dict[Key, int] = {}
        done = store.keys(Response)
        self.missing: dict[PromptKey, set[int]] = {
            (p.task, p.prompt_id): {i for i in range(n) if (p.task, p.prompt_id, i) not in done}
            for p in self._prompts
        }

    @property
    def total(self) -> int:
        """Responses that are missing."""
        return sum(map(len, self.missing.values()))

    def requests(self) -> Iterator[Request]:
        """One request for each prompt that lacks responses."""
        for prompt in self._prompts:
            keys: list[Key] = [
                (prompt.task, prompt.prompt_id, i)
                for i in sorted(self.missing[prompt.task, prompt.prompt_id])
            ]
            if not keys:
                continue
            own = {key: derive_seed(self._seed, "response", *key) for key in keys}
            self._seeds.update(own)
            yield Request(
                prompt.messages, prompt.style, tuple(keys), tuple(own.values()), self._sampling[prompt.task]
            )

    def take(self, result: Result) -> Response:
        """The row of a finished generation."""
        task, prompt_id, index = result.key
        self.missing[task, prompt_id].discard(index)
        return Response(
            task,
            prompt_id,
            index,
            text=whole(result.text),
            token_ids=result.token_ids,
            n_tokens=result.n_tokens,
            logprob=result.logprob,
            finish_reason=result.finish_reason,
            seed=self._seeds.pop(result.key),
        )


def grade_one(grader: Grader, prompt: Prompt, response: Response) -> Grade:
    """Grade one response.

    An engine's error stays an error and leaves N; a reply cut at the token limit is `truncated`, utility 0, whatever
    stands in it, because an answer inside an unfinished reply is not one the model committed to.
    """
    key = response.task, response.prompt_id, response.response
    if is_error(response.finish_reason):
        return Grade(*key, answer=None, cluster=None, utility=None, status=response.finish_reason)
    if response.finish_reason == "length":
        return Grade(*key, answer=None, cluster=None, utility=0.0, status=TRUNCATED)
    try:
        graded = grader.grade(prompt, response.text)
    except Exception as failure:  # a plug-in's grader may break on one reply; that must not cost the run
        return Grade(*key, None, None, None, error_status(f"grader {type(failure).__name__}: {failure}"))
    return Grade(*key, graded.answer, graded.cluster, graded.utility, graded.status)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A response as the verifying stage needs it; `utility` is NaN where it has none."""

    response: int
    text: str
    finish_reason: str
    utility: float

    @property
    def judged(self) -> bool:
        """Whether there is anything to judge: an empty reply and an error get no verdict."""
        return bool(self.text.strip()) and not is_error(self.finish_reason)


def read_pools(store: RunStore) -> dict[PromptKey, list[Drawn]]:
    """Every prompt's responses, in order."""
    graded = store.read("grades", ["task", "prompt_id", "response", "utility"])
    columns = (graded[name].to_pylist() for name in graded.column_names)
    utility = {(t, p, r): u for t, p, r, u in zip(*columns, strict=True)}
    pools: dict[PromptKey, list[Drawn]] = {}
    names = ["task", "prompt_id", "response", "text", "finish_reason"]
    drawn = store.read("responses", names)
    for task, prompt_id, index, text, reason in zip(
        *(drawn[name].to_pylist() for name in names), strict=True
    ):
        own = utility.get((task, prompt_id, index))
        one = Drawn(index, text, reason, nan if own is None else own)
        pools.setdefault((task, prompt_id), []).append(one)
    for pool in pools.values():
        pool.sort(key=lambda one: one.response)
    return pools


@dataclass
class _Match:
    """The comparisons of one prompt by one verifier: what is known, and what is on its way."""

    prompt: Prompt
    texts: dict[int, str]
    won: dict[Pair, float]
    asked: set[Pair] = field(default_factory=set)


class Judging:
    """The verdicts and comparisons that a run still lacks; it grows as responses come, and as comparisons do.

    Responses with the same text share one request: a deterministic verifier would be asked the same thing twice, and
    the replicates of a sampling one still have seeds of their own. Empty replies and errors get no verdict.

    Parameters
    ----------
    store
        The run.
    verifiers
        Those that ask the engine's model, and tools.
    verdicts
        Replicates for each response; a deterministic verifier gives one.
    seed
        The run's seed.
    savings
        Which responses are worth a verdict.
    """

    def __init__(
        self, store: RunStore, verifiers: Sequence[Verifier], verdicts: int, seed: int, savings: Savings
    ) -> None:
        self.verifiers = {verifier.name: verifier for verifier in verifiers}
        self._replicates = {
            name: 1 if verifier.deterministic else verdicts for name, verifier in self.verifiers.items()
        }
        self._seed = seed
        self._savings = savings
        self._done = store.keys(Verdict)
        self._compared: dict[Key, dict[Pair, float]] = {}
        for row in store.rows(Comparison):
            known = self._compared.setdefault((row.task, row.prompt_id, row.verifier), {})
            known[row.response_a, row.response_b] = nan if row.score is None else row.score
        self._matches: dict[Key, _Match] = {}
        self._queues: dict[str, deque[Request]] = {name: deque() for name in self.verifiers}
        self._seeds: dict[Key, int] = {}
        self._lead: dict[Key, Key] = {}
        self.waiting = 0

    @property
    def by_grade(self) -> bool:
        """Whether the grades decide what is worth a verdict."""
        return any(not self._savings.of(verifier).none for verifier in self.verifiers.values())

    def expected(self, pool: int) -> int:
        """Rows that a prompt with so many responses may need: one for each response and replicate."""
        return pool * sum(self._replicates.values())

    def open(self, prompt: Prompt, pool: Sequence[Drawn]) -> tuple[list[Verdict], int]:
        """Take up a prompt whose responses are there.

        Returns
        -------
        list of Verdict
            What tools found, at once.
        int
            Rows that were asked of a model.
        """
        found: list[Verdict] = []
        before = self.waiting
        for name, verifier in self.verifiers.items():
            if not verifier.applies(prompt):
                continue
            chosen = self._chosen(verifier, prompt, pool)
            texts: dict[str, list[int]] = {}
            for one in chosen:
                texts.setdefault(one.text.strip(), []).append(one.response)
            if isinstance(verifier, PairVerifier):
                self._open_match(name, verifier, prompt, texts)
            for text, indexes in texts.items():
                keys = [
                    (prompt.task, prompt.prompt_id, index, name, replicate)
                    for index in indexes
                    for replicate in range(self._replicates[name])
                ]
                keys = [key for key in keys if key not in self._done]
                if keys and isinstance(verifier, ToolVerifier):
                    judgement = verifier.check(prompt, text)
                    found += [self._verdict(key, judgement, 0, "tool", None) for key in keys]
                elif keys and isinstance(verifier, ModelVerifier):
                    self._ask(verifier, prompt, verifier.messages(prompt, text), keys)
        return found, self.waiting - before

    def _chosen(self, verifier: Verifier, prompt: Prompt, pool: Sequence[Drawn]) -> list[Drawn]:
        saved = self._savings.of(verifier)
        if saved.none:
            return [one for one in pool if one.judged]
        utility = np.full((1, 1 + max((one.response for one in pool), default=0)), nan)
        for one in pool:
            utility[0, one.response] = one.utility
        mask = saved.chosen(utility, prompt.task, [prompt.prompt_id])[0]
        return [one for one in pool if mask[one.response] and one.judged]

    def _ask(
        self, verifier: AskingVerifier, prompt: Prompt, messages: tuple[Message, ...], keys: list[Key]
    ) -> None:
        kind = "comparison" if isinstance(verifier, PairVerifier) else "verdict"
        seeds = tuple(derive_seed(self._seed, kind, *key) for key in keys)
        self._seeds.update(zip(keys, seeds, strict=True))
        self._lead.update(dict.fromkeys(keys, keys[0]))
        self._queues[verifier.name].append(
            Request(
                messages,
                prompt.style,
                tuple(keys),
                seeds,
                verifier.sampling_for(prompt),
                verifier.labels_for(prompt),
                verifier.verdicts,
            )
        )
        self.waiting += len(keys)

    def ready(self) -> Iterator[Request]:
        """Every request that waits, one verifier's after the other's: neighbours share the longest prefix."""
        for queue in self._queues.values():
            while queue:
                request = queue.popleft()
                self.waiting -= len(request.keys)
                yield request

    def take(self, result: Result, judge: str) -> tuple[Verdict | Comparison, bool]:
        """The row of a finished generation, and whether tokens were spent for it alone.

        Parameters
        ----------
        judge
            Id of the model that was asked.
        """
        if len(result.key) > 5:
            return self._take_comparison(result, judge), True
        verifier = self.verifiers[result.key[3]]
        assert isinstance(verifier, ModelVerifier)
        # One forward pass answers every key of a deterministic request; its token is counted once.
        shared = self._lead.pop(result.key) != result.key and verifier.deterministic
        tokens = 0 if shared else result.n_tokens
        seed = self._seeds.pop(result.key)
        return self._verdict(result.key, verifier.parse(result), tokens, judge, seed), not shared

    def _verdict(self, key: Key, judgement: Judgement, tokens: int, judge: str, seed: int | None) -> Verdict:
        task, prompt_id, index, name, replicate = key
        return Verdict(
            task,
            prompt_id,
            index,
            name,
            replicate,
            score=judgement.score,
            status=judgement.status,
            text=whole(judgement.text),
            n_tokens=tokens,
            judge=judge,
            seed=seed,
        )

    def _open_match(
        self, name: str, verifier: PairVerifier, prompt: Prompt, texts: Mapping[str, Sequence[int]]
    ) -> None:
        key = (prompt.task, prompt.prompt_id, name)
        entrants = {indexes[0]: text for text, indexes in texts.items()}
        self._matches[key] = _Match(prompt, entrants, dict(self._compared.get(key, {})))
        self._next_round(key, verifier)

    def _next_round(self, key: Key, verifier: PairVerifier) -> None:
        match = self._matches[key]
        for first, second in verifier.pairs(sorted(match.texts), match.won):
            pair = min(first, second), max(first, second)
            if pair in match.asked:
                continue
            match.asked.add(pair)
            # The order in the key is the order shown.
            keys: list[Key] = [(*key[:2], first, second, verifier.name, 0)]
            messages = verifier.messages(match.prompt, match.texts[first], match.texts[second])
            self._ask(verifier, match.prompt, messages, keys)
        if match.asked <= match.won.keys():
            del self._matches[key]

    def _take_comparison(self, result: Result, judge: str) -> Comparison:
        task, prompt_id, first, second, name, replicate = result.key
        verifier = self.verifiers[name]
        assert isinstance(verifier, PairVerifier)
        judgement = verifier.parse(result)
        a, b = min(first, second), max(first, second)
        score = judgement.score
        if score is not None and first == b:
            score = 1.0 - score
        match = self._matches[task, prompt_id, name]
        match.won[a, b] = nan if score is None else score
        if match.asked <= match.won.keys():
            self._next_round((task, prompt_id, name), verifier)
        del self._lead[result.key]
        return Comparison(
            task,
            prompt_id,
            a,
            b,
            name,
            replicate,
            first_shown="a" if first == a else "b",
            preferred=_preferred(score),
            score=score,
            status=judgement.status,
            text=whole(judgement.text),
            n_tokens=result.n_tokens,
            judge=judge,
            seed=self._seeds.pop(result.key),
        )


def _preferred(score: float | None) -> str | None:
    if score is None or isnan(score):
        return None
    return "tie" if score == 0.5 else "a" if score > 0.5 else "b"


def check_needs(engine: Engine | type[Engine], verifiers: Sequence[Verifier]) -> None:
    """Refuse before any model time what the engine cannot do.

    Raises
    ------
    UserError
        If a verifier needs something the engine does not offer.
    """
    for verifier in verifiers:
        for need in sorted(verifier.needs):
            if not getattr(engine.capabilities, need):
                raise UserError(
                    f"verifier '{verifier.name}' needs {need}, which engine '{engine.name}' cannot give"
                )
