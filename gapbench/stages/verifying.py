"""Verifying: the verdicts and comparisons that a run still lacks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan, nan

import numpy as np

from gapbench.engines.base import Engine, Key, Request, Result, derive_seed
from gapbench.errors import UserError
from gapbench.records import Comparison, Message, Prompt, Verdict, error_status
from gapbench.savings import Savings
from gapbench.stages.jobs import Jobs
from gapbench.stages.pools import Drawn
from gapbench.stages.sampling import whole
from gapbench.store import RunStore
from gapbench.store.finished import Finished
from gapbench.verifiers.base import (
    AskingVerifier,
    Judgement,
    ModelVerifier,
    Pair,
    PairVerifier,
    ToolVerifier,
    Verifier,
)


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

    Attributes
    ----------
    waiting
        Rows that have been asked for and not yet been given to the engine.
    seeds
        By key, the seeds of the generations that were asked for and have not come.
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
        self._done = Finished(store, Verdict)
        self._compared = Finished(store, Comparison, "score")
        self._matches: dict[Key, _Match] = {}
        self._queues: dict[str, deque[Request]] = {name: deque() for name in self.verifiers}
        self.seeds: dict[Key, int] = {}
        self._lead: dict[Key, Key] = {}
        self.waiting = 0

    @property
    def by_grade(self) -> bool:
        """Whether the grades decide what is worth a verdict."""
        return any(not self._savings.of(verifier).none for verifier in self.verifiers.values())

    def expected(self, pool: int) -> int:
        """Rows that a prompt with so many responses may need: one for each response and replicate."""
        return pool * sum(self._replicates.values())

    def open(
        self, prompt: Prompt, pool: Sequence[Drawn], jobs: Jobs, then: Callable[[Sequence[Verdict]], None]
    ) -> int:
        """Take up a prompt whose responses are there.

        Parameters
        ----------
        jobs, then
            Where tools run, and what takes their verdicts.

        Returns
        -------
        int
            Rows that will come of it, comparisons of later rounds not counted.
        """
        done = self._done.of(prompt.key)
        before, checked = self.waiting, 0
        for name, verifier in self.verifiers.items():
            if not verifier.applies(prompt):
                continue
            texts: dict[str, list[int]] = {}
            for one in self._chosen(verifier, prompt, pool):
                texts.setdefault(one.text.strip(), []).append(one.response)
            if isinstance(verifier, PairVerifier):
                self._open_match(name, verifier, prompt, texts)
            for text, indexes in texts.items():
                keys: list[Key] = [
                    (*prompt.key, index, name, replicate)
                    for index in indexes
                    for replicate in range(self._replicates[name])
                    if (index, name, replicate) not in done
                ]
                if keys and isinstance(verifier, ToolVerifier):
                    checked += len(keys)
                    self._check(verifier, prompt, text, keys, jobs, then)
                elif keys and isinstance(verifier, ModelVerifier):
                    self._ask(verifier, prompt, verifier.messages(prompt, text), keys)
        return self.waiting - before + checked

    def _check(
        self,
        verifier: ToolVerifier,
        prompt: Prompt,
        text: str,
        keys: Sequence[Key],
        jobs: Jobs,
        then: Callable[[Sequence[Verdict]], None],
    ) -> None:
        def hand_on(judgement: Judgement) -> None:
            then([self._verdict(key, judgement, 0, "tool", None) for key in keys])

        jobs.do(lambda: _attempt(lambda: verifier.check(prompt, text)), hand_on, waits=True)

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
        self.seeds.update(zip(keys, seeds, strict=True))
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

    def take(self, result: Result, judge: str, *, seeded: bool = True) -> tuple[Verdict | Comparison, bool]:
        """The row of a finished generation, and whether tokens were spent for it alone.

        Parameters
        ----------
        judge
            Id of the model that was asked.
        seeded
            Whether it was drawn from the request's own seed.
        """
        seed = self.seeds.pop(result.key)
        own_seed = seed if seeded else None
        if len(result.key) > 5:
            return self._take_comparison(result, judge, own_seed), True
        verifier = self.verifiers[result.key[3]]
        assert isinstance(verifier, ModelVerifier)
        # One forward pass answers every key of a deterministic request; its token is counted once.
        shared = self._lead.pop(result.key) != result.key and verifier.deterministic
        tokens = 0 if shared else result.n_tokens
        judgement = _attempt(lambda: verifier.parse(result))
        return self._verdict(result.key, judgement, tokens, judge, own_seed), not shared

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
        known = {
            (a, b): score
            for (a, b, judge, _), score in self._compared.of(prompt.key).items()
            if judge == name
        }
        self._matches[key] = _Match(prompt, entrants, known)
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

    def _take_comparison(self, result: Result, judge: str, seed: int | None) -> Comparison:
        task, prompt_id, first, second, name, replicate = result.key
        verifier = self.verifiers[name]
        assert isinstance(verifier, PairVerifier)
        judgement = _attempt(lambda: verifier.parse(result))
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
            seed=seed,
        )


def _attempt(judge: Callable[[], Judgement]) -> Judgement:
    """What a verifier finds."""
    try:
        return judge()
    except UserError:
        raise
    except Exception as failure:  # a plug-in's verifier may break on one reply; that must not cost the run
        return Judgement(None, error_status(f"verifier {type(failure).__name__}: {failure}"))


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
