"""A pretended model whose abilities are known: it answers and judges real prompts as a synthetic scenario says.

What it replies depends on its seed, the request's key, seed and text, and on nothing else: not on order, and not on
which other prompts a run has.

>>> from gapbench.records import Message, Prompt
>>> prompt = Prompt("sums", "p0", "arithmetic", (Message("user", "2 + 2?"),), ("4",))
>>> engine = SimulatedEngine(pi0=0, pi1=1)  # always right
>>> engine.bind([prompt])
>>> request = Request(prompt.messages, "plain", keys=(("sums", "p0", 0),), seeds=(7,))
>>> [result.text for result in engine.run([request])]
['4']
"""

from __future__ import annotations

import time
from bisect import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from hashlib import blake2b
from itertools import accumulate
from math import comb, exp, log, log1p
from statistics import NormalDist
from struct import unpack
from typing import Any

import numpy as np

from gapbench.engines._answerkey import AnswerKey
from gapbench.engines.base import Capabilities, Engine, Key, ModelInfo, Request, Result, Sampling, engines
from gapbench.errors import UserError
from gapbench.records import Prompt, error_status
from gapbench.registry import suggest
from gapbench.synthetic.scenario import (
    HACK,
    SCENARIOS,
    WRONG_SHARES,
    Prompts,
    Scenario,
    prompts_from,
    quantile_p,
)

_FAILURE = error_status("simulated failure")
_NORMAL = NormalDist()
_NOBODY = "simulated"  # the model when no other name is given
_SINGLE, _PAIR = ("Yes", "No"), ("A", "B")
# Without any word, letter or figure that a verdict may be.
_REASONS = (
    "Working through the question step by step.",
    "Taking the question apart and looking at each part.",
    "Comparing what is shown with what the question asks for.",
    "Checking every step before settling on anything.",
)
_UNDECIDED = "Hard to say."
_UNDECIDED_MASS = 1e-6  # probability left for each label of a reply that is none


def uniforms(*parts: object) -> tuple[float, float, float, float]:
    """Four uniform numbers in (0, 1) from any values: a thousand times cheaper than seeding a generator."""
    digest = blake2b("\x1f".join(map(str, parts)).encode(), digest_size=32).digest()
    a, b, c, d = unpack("<4Q", digest)
    return (
        ((a >> 12) + 0.5) / 2**52,
        ((b >> 12) + 0.5) / 2**52,
        ((c >> 12) + 0.5) / 2**52,
        ((d >> 12) + 0.5) / 2**52,
    )


def log_logistic(s: float) -> float:
    """Log of 1/(1 + exp(-s)) without overflow."""
    return -log1p(exp(-s)) if s > 0 else s - log1p(exp(s))


@dataclass(frozen=True, slots=True)
class _Known:
    """A prompt as the simulated model sees it: its answers, and what section 7 calls p, level and shift."""

    answers: AnswerKey
    p: float
    level: float
    shift: float
    shares: tuple[float, ...]


@engines.register("simulated")
class SimulatedEngine(Engine):
    """Pretends a model whose abilities are known, for trials.

    What a request asks for is seen from its key. (task, prompt_id, response) is answered: the reference with the
    prompt's probability p, else one of a few wrong answers. (task, prompt_id, response, verifier, replicate) is judged:
    the engine reads from the last message whether the answer shown is right and draws the latent score s, whose noise is
    the response's and the verifier's own. (task, prompt_id, first shown, second shown, verifier, replicate) is compared:
    s is the first response's score less the second's, each the same in all its comparisons.

    It replies with the first of two labels (or `Yes`, or `A`) with probability logistic(s); and where the request has L
    `verdicts`, with a sentence of reasoning and verdict number L - 1 - k on a line of its own, k ~ Binomial(L - 1,
    logistic(s)). Replicates share s and draw k anew. Words count as tokens, and so does the end of a reply.

    Parameters
    ----------
    model
        Any name. Models of other names answer with other luck and judge with noise of their own, while a prompt is as
        hard for one as for another of the same scenario and seed.
    scenario
        Name in `gapbench.synthetic.SCENARIOS`; further options replace its fields.
    seed
        Seed of the prompts' latent values and of everything drawn.
    failures
        Share of the generations that come back as an error.
    delay
        Seconds that a generation takes.
    unparsed
        Share of the judgements that commit to no verdict.
    long
        Share of the judgements by `verdicts` that are still reasoning at the token limit.

    Raises
    ------
    UserError
        For an unknown scenario or option, or a value out of range.
    """

    capabilities = Capabilities(seeds=True, logprobs=True, labels=True, prefix_cache=True)

    def __init__(
        self,
        model: str = _NOBODY,
        *,
        scenario: str = "mid",
        seed: int = 0,
        failures: float = 0.0,
        delay: float = 0.0,
        unparsed: float = 0.0,
        long: float = 0.0,
        **changes: float,
    ) -> None:
        if scenario not in SCENARIOS:
            raise UserError(f"unknown scenario '{scenario}'{suggest(str(scenario), list(SCENARIOS))}")
        own = {"seed": seed, "failures": failures, "delay": delay, "unparsed": unparsed, "long": long}
        names = [field.name for field in fields(Scenario)]
        for name in changes:
            if name not in names:
                known = ["scenario", *own, *names]
                raise UserError(f"engine 'simulated' has no option '{name}'{suggest(name, known)}")
        for name, value in {**own, **changes}.items():
            if not isinstance(value, int | float) or not abs(value) < float("inf"):
                raise UserError(f"option '{name}' of engine 'simulated' must be a number, not {value!r}")
        if not 0 <= failures <= 1 or delay < 0:
            raise UserError("engine 'simulated' needs 'failures' in [0, 1] and 'delay' at least 0")
        if not (unparsed >= 0 and long >= 0 and unparsed + long <= 1):
            raise UserError("engine 'simulated' needs 'unparsed' and 'long' that are shares of one whole")
        self.model = ModelInfo(id=_NOBODY if model == _NOBODY else f"{_NOBODY}:{model}")
        self._name = () if model == _NOBODY else (model,)
        self.scenario: Scenario = replace(SCENARIOS[scenario], **changes)  # type: ignore[arg-type]
        self._seed = seed
        self._failures = failures
        self._delay = delay
        self._unparsed = unparsed
        self._long = long
        self._known: dict[Key, _Known] = {}

    def bind(self, prompts: Sequence[Prompt]) -> None:
        """Learn the answer key; prompts bound before stay known."""
        new = [prompt for prompt in prompts if prompt.key not in self._known]
        drawn = np.array([uniforms(self._seed, "prompt", *prompt.key) for prompt in new]).reshape(-1, 4)
        z, shift_z = (np.array([_NORMAL.inv_cdf(u) for u in drawn[:, i]]) for i in (1, 2))
        p = quantile_p(self.scenario, drawn[:, 0])
        latent = prompts_from(self.scenario, p, z, shift_z, np.ones(len(new)))
        values = zip(latent.p.tolist(), latent.level.tolist(), latent.shift.tolist(), strict=True)
        for prompt, own in zip(new, values, strict=True):
            answers = AnswerKey(prompt)
            weights = WRONG_SHARES[: len(answers.wrong)]
            self._known[prompt.key] = _Known(answers, *own, tuple((weights / weights.sum()).tolist()))

    def latent(self, prompts: Sequence[Prompt]) -> Prompts:
        """The latent values of bound prompts, as `gapbench.synthetic.truth` takes them."""
        known = [self._know(prompt.key) for prompt in prompts]
        p, level, shift = (
            np.array([getattr(one, name) for one in known]) for name in ("p", "level", "shift")
        )
        return Prompts(p, level, shift, np.full(len(known), 1 / len(known)))

    def run(self, requests: Iterable[Request | None]) -> Iterator[Result]:
        """Yield one result for each key of each request, in order.

        Raises
        ------
        UserError
            If a prompt is not bound, or other than two labels are asked for.
        """
        for request in requests:
            if request is None:
                continue
            if len(request.labels) not in (0, 2):
                raise UserError(f"engine 'simulated' judges by two labels, not by {len(request.labels)}")
            for key, seed in zip(request.keys, request.seeds, strict=True):
                if self._delay:
                    time.sleep(self._delay)
                known = self._know(key[:2])
                yield (self._judge if len(key) > 3 else self._answer)(request, known, key, seed)

    def describe(self) -> dict[str, Any]:
        """Scenario and options beside the usual facts."""
        return {
            **super().describe(),
            "seed": self._seed,
            "failures": self._failures,
            "unparsed": self._unparsed,
            "long": self._long,
            "scenario": asdict(self.scenario),
        }

    def _uniforms(self, *parts: object) -> tuple[float, float, float, float]:
        return uniforms(self._seed, *parts, *self._name)

    def _know(self, key: Key) -> _Known:
        if key not in self._known:
            raise UserError(f"the simulated engine does not know prompt {key}; bind the run's prompts first")
        return self._known[key]

    def _answer(self, request: Request, known: _Known, key: Key, seed: int) -> Result:
        right, which, _, failure = self._uniforms("answer", *key, seed)
        if failure < self._failures:
            return Result(key, "", None, 0, None, _FAILURE)
        p, shares = known.p, known.shares
        greedy = request.sampling.temperature == 0
        if p > (1 - p) * shares[0] if greedy else right < p:
            return _finished(request.sampling, key, known.answers.right, log(p))
        index = 0 if greedy else min(bisect(list(accumulate(shares)), which), len(shares) - 1)
        return _finished(request.sampling, key, known.answers.wrong[index], log1p(-p) + log(shares[index]))

    def _judge(self, request: Request, known: _Known, key: Key, seed: int) -> Result:
        chance, lost, manner, failure = self._uniforms("verdict", *key, seed)
        if failure < self._failures:
            return Result(key, "", None, 0, None, _FAILURE)
        shown = request.messages[-1].content
        if len(key) > 5:
            task, prompt_id, first, second, verifier, _ = key
            right = known.answers.show_right(shown)
            scores = [
                self._score(known, (task, prompt_id, response, verifier), own)
                for response, own in zip((first, second), right, strict=True)
            ]
            s = scores[0] - scores[1]
        else:
            s = self._score(known, key[:4], known.answers.shows_right(shown))
        greedy = request.sampling.temperature == 0
        if request.verdicts and not request.labels:
            index, logprob = _drawn(s, len(request.verdicts), None if greedy else chance)
            reason = _REASONS[int(manner * len(_REASONS))]
            ending = request.verdicts[index]
            if lost < self._unparsed:
                ending = _UNDECIDED
            elif lost < self._unparsed + self._long:
                ending = " ".join([reason] * request.sampling.max_tokens)
            return _finished(request.sampling, key, f"{reason}\n{ending}", logprob)
        text = request.labels or (_PAIR if len(key) > 5 else _SINGLE)
        logprobs = log_logistic(s), log_logistic(-s)
        if lost < self._unparsed:
            few = log(_UNDECIDED_MASS)
            return _finished(
                request.sampling,
                key,
                _UNDECIDED,
                log1p(-2 * _UNDECIDED_MASS),
                (few, few) if request.labels else None,
            )
        chosen = int(s <= 0) if greedy else int(log(chance) >= logprobs[0])
        return _finished(
            request.sampling, key, text[chosen], logprobs[chosen], logprobs if request.labels else None
        )

    def _score(self, known: _Known, key: Key, right: bool) -> float:
        """The latent score s of (task, prompt_id, response, verifier)."""
        noise = _NORMAL.inv_cdf(self._uniforms("noise", *key)[0])
        s = known.level + known.shift * right + self.scenario.sd_w * noise
        if not right and self.scenario.h > 0 and self._uniforms("hack", *key[:3])[0] < self.scenario.h:
            s += HACK
        return s


def _drawn(s: float, levels: int, chance: float | None) -> tuple[int, float]:
    """Place of the verdict, the most favourable being 0, and its log-probability; the likeliest without a chance.

    The place is levels - 1 - k with k ~ Binomial(levels - 1, logistic(s)), by inversion from the favourable end.
    """
    most = levels - 1
    good, bad = log_logistic(s), log_logistic(-s)
    logprobs = [log(comb(most, place)) + (most - place) * good + place * bad for place in range(levels)]
    if chance is None:
        place = max(range(levels), key=logprobs.__getitem__)
    else:
        place = min(bisect(list(accumulate(map(exp, logprobs))), chance), most)
    return place, logprobs[place]


def _finished(
    sampling: Sampling,
    key: Key,
    text: str,
    logprob: float,
    label_logprobs: tuple[float, float] | None = None,
) -> Result:
    """Cut a reply at the first stop string and at the token limit."""
    for stop in sampling.stop:
        text = text.partition(stop)[0]
    words = text.split()
    if len(words) < sampling.max_tokens:
        return Result(key, text, None, len(words) + 1, logprob, "stop", label_logprobs)
    cut = " ".join(words[: sampling.max_tokens])
    return Result(key, cut, None, sampling.max_tokens, logprob, "length", label_logprobs)
