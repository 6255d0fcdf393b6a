"""Rows to dense arrays: the only bridge between the store and the statistics.

A `Panel` holds one task of one run as arrays [prompt, response] and [prompt, response, replicate] with NaN for what
is missing, so that everything under `estimate` sees arrays and never rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gapbench.errors import UserError
from gapbench.keys import NONE, PromptNumbers
from gapbench.records import Prompt
from gapbench.scatter import KEY, Judged, read_pool, read_verdicts
from gapbench.store import RunStore
from gapbench.verifiers.base import Candidate, DerivedVerifier, Pair, PairVerifier, PoolVerifier, Verifier

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]


Scale = Literal["probability", "logprob", "real"]

CELLS_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class Scores:
    """One verifier's verdicts on a task.

    Attributes
    ----------
    values
        Scores [prompt, response, replicate]; NaN where there is no valid verdict.
    scale, threshold, whole_pool
        As declared by the verifier (see `gapbench.verifiers.base.Verifier`).
    """

    values: Float
    scale: Scale = "probability"
    threshold: float | None = 0.5
    whole_pool: bool = False

    @property
    def replicates(self) -> int:
        """Number of verdicts M that a response may have."""
        return int(self.values.shape[2])

    @property
    def mean(self) -> Float:
        """Mean over valid replicates [prompt, response]; NaN where there is none.

        A sum of floats depends on their order. Replicates are sorted first, so that responses with the same scores
        tie whatever order those came in.
        """
        mean = np.empty(self.values.shape[:2])
        at_once = max(1, CELLS_AT_ONCE // max(self.values[0].size, 1)) if len(mean) else 1
        for first in range(0, len(mean), at_once):
            ordered = np.sort(self.values[first : first + at_once], axis=2)
            count = (~np.isnan(ordered)).sum(axis=2)
            total = np.nansum(ordered, axis=2)
            mean[first : first + at_once] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        return mean

    @property
    def counts(self) -> VerdictCounts | None:
        """The same verdicts as counts where all are 0 or 1, else None."""
        valid = ~np.isnan(self.values)
        yes = self.values == 1
        if not (yes | (self.values == 0) | ~valid).all():
            return None
        return VerdictCounts(yes.sum(axis=2), valid.sum(axis=2), self.replicates, self.threshold)


@dataclass(frozen=True)
class VerdictCounts:
    """One verifier's yes/no verdicts on a task as counts: 2 bytes a response in place of 8 a verdict.

    Attributes
    ----------
    yes, valid
        How many of a response's verdicts say yes, and how many it has [prompt, response], of any integer type.
    replicates
        Number of verdicts M that a response may have.
    threshold
        Share of yes from which a response passes.
    """

    yes: NDArray[np.integer[Any]]
    valid: NDArray[np.integer[Any]]
    replicates: int
    threshold: float | None = 0.5
    scale: Scale = field(default="probability", init=False)
    whole_pool: bool = field(default=False, init=False)

    @property
    def mean(self) -> Float:
        """Share of yes among the valid verdicts [prompt, response]; NaN where there is none."""
        share = np.full(self.yes.shape, np.nan)
        np.divide(self.yes, self.valid, out=share, where=self.valid > 0, dtype=float)
        return share

    @property
    def counts(self) -> VerdictCounts:
        """Itself."""
        return self


@dataclass(frozen=True, eq=False)
class Verified:
    """What one verifier was to judge, where that was not everything (see `gapbench.savings`).

    Attributes
    ----------
    responses
        Responses to be asked about [prompt, response]. What was asked without an answer is missing; the rest is not.
    prompts
        Prompts of the verified share, drawn without sight of anything, whether or not they had a verdict [prompt].
    most
        As many right and as many wrong responses of a prompt were to be judged; None where all were.
    control
        The verifier whose scores steady the estimates.
    """

    responses: Bool
    prompts: Bool
    most: int | None = None
    control: str | None = None


@dataclass(frozen=True)
class Panel:
    """One task of one run.

    Attributes
    ----------
    utility
        Ground truth [prompt, response] in [0, 1]; NaN where the response does not count (absent or an error).
    censored
        True where the response was cut at the token limit, or asked for and lost to an error (its utility is NaN)
        [prompt, response]: rows whose true utility is unknown, which the bounds set to their worst and best.
    answers
        Code of the answer cluster [prompt, response], equal within a prompt when the answers agree; -1 for none.
    clusters
        Code of each prompt's cluster [prompt].
    scores
        Verifier name to its scores.
    verified
        Verifier name to what it was to judge; all responses for a verifier that is not here.
    """

    task: str
    domain: str
    prompt_ids: tuple[str, ...]
    clusters: Int
    utility: Float
    censored: Bool
    answers: Int
    scores: Mapping[str, Scores | VerdictCounts] = field(default_factory=dict)
    verified: Mapping[str, Verified] = field(default_factory=dict)


def build_panels(store: RunStore, verifiers: Sequence[Verifier]) -> list[Panel]:
    """Read a run into one panel a task, in the order the tasks first appear.

    Scores that follow from other rows are computed here and never stored, since a pool that is topped up would leave
    them stale: those from the pool of responses, from comparisons, and from the scores of other verifiers. Tables are
    read in batches and scattered into arrays, so that memory is that of the arrays: two bytes for each verdict while
    all of a verifier's are 0 or 1, else nine.

    Parameters
    ----------
    store
        The run.
    verifiers
        Those to read or compute; one without any verdict yields scores that are all missing, and one that does not
        apply to any prompt of a task is left out of that task's panel.

    Raises
    ------
    UserError
        If the run has no responses yet, or a key stands in a table twice.
    """
    tasks: dict[str, list[Prompt]] = {}
    for prompt in store.rows(Prompt):
        tasks.setdefault(prompt.task, []).append(prompt)
    # Numbered task by task, so that the cells of a task lie side by side and are an array [prompt, response].
    numbers = PromptNumbers(prompt.key for own in tasks.values() for prompt in own)
    sizes = [len(own) for own in tasks.values()]
    pool = read_pool(store, numbers, sizes)
    needed = _with_members(verifiers)
    computed = (PoolVerifier, PairVerifier, DerivedVerifier)
    stored = [name for name, verifier in needed.items() if not isinstance(verifier, computed)]
    judged = read_verdicts(store, numbers, pool.cells, stored)
    by_text = any(isinstance(verifier, PoolVerifier | PairVerifier) for verifier in needed.values())
    texts = _texts(store) if by_text else {}
    comparing = [name for name, verifier in needed.items() if isinstance(verifier, PairVerifier)]
    won = _outcomes(store, comparing) if comparing else {}
    panels = []
    bounds = pairwise(np.cumsum([0, *sizes]))
    for (task, own), (first, last) in zip(tasks.items(), bounds, strict=True):
        block = slice(pool.cells.start[first], pool.cells.start[last])
        shape = len(own), int(pool.cells.width[first])
        if not pool.counted[block].any():
            continue
        scores: dict[str, Scores | VerdictCounts] = {}
        for name, verifier in needed.items():
            if not any(verifier.applies(prompt) for prompt in own):
                continue
            if isinstance(verifier, PoolVerifier):
                scores[name] = _kept(verifier, _pool_scores(verifier, own, texts[task], shape))
            elif isinstance(verifier, PairVerifier):
                scores[name] = _kept(verifier, _pair_scores(verifier, own, texts[task], won, shape))
            elif isinstance(verifier, DerivedVerifier):
                means = {one.name: scores[one.name].mean for one in verifier.members if one.name in scores}
                values = verifier.combine(means) if means else np.full(shape, np.nan)
                scores[name] = _kept(verifier, np.where(pool.counted[block].reshape(shape), values, np.nan))
            else:
                scores[name] = _scores(judged[name], verifier, block, shape)
        clusters = pd.factorize(
            np.array([prompt.cluster or prompt.prompt_id for prompt in own], dtype=object)
        )[0]
        ids = tuple(prompt.prompt_id for prompt in own)
        panels.append(
            Panel(
                task,
                own[0].domain,
                ids,
                clusters,
                pool.utility[block].reshape(shape),
                pool.censored[block].reshape(shape),
                pool.answers[block].reshape(shape),
                {verifier.name: scores[verifier.name] for verifier in verifiers if verifier.name in scores},
            )
        )
    if not panels:
        raise UserError(f"{store.path}: no graded responses yet; go on with `gapbench run ... --resume`")
    return panels


def _with_members(verifiers: Sequence[Verifier]) -> dict[str, Verifier]:
    """Verifiers by name, the members of each before it."""
    needed: dict[str, Verifier] = {}
    for verifier in verifiers:
        if isinstance(verifier, DerivedVerifier):
            needed |= {
                name: one for name, one in _with_members(verifier.members).items() if name not in needed
            }
        needed.setdefault(verifier.name, verifier)
    return needed


def _kept(verifier: Verifier, values: Float) -> Scores:
    """Scores [prompt, response] that were computed: one replicate each."""
    return Scores(values[:, :, None], verifier.scale, verifier.threshold, verifier.whole_pool)


def _scores(
    judged: Judged, verifier: Verifier, block: slice, shape: tuple[int, int]
) -> Scores | VerdictCounts:
    """The verdicts on the cells of one task: as counts where all are 0 or 1 on a scale of probabilities."""
    score = judged.score[: judged.replicates(block), block].reshape(-1, *shape)
    if judged.binary and verifier.scale == "probability" and not verifier.whole_pool:
        small = np.min_scalar_type(len(score))
        yes, valid = ((score == one).sum(axis=0, dtype=small) for one in (1, 0))
        return VerdictCounts(yes, valid + yes, len(score), verifier.threshold)
    values = np.where(score == NONE, np.nan, score) if judged.binary else score
    return Scores(np.moveaxis(values, 0, 2), verifier.scale, verifier.threshold, verifier.whole_pool)


def _texts(store: RunStore) -> dict[str, pd.DataFrame]:
    """By task, what a verifier may see of the responses that are graded."""
    drawn = store.read("responses", [*KEY, "text", "n_tokens", "logprob"]).to_pandas()
    graded = store.read("grades", [*KEY, "cluster", "utility"]).to_pandas()
    return {str(task): rows for task, rows in pd.merge(drawn, graded, on=KEY).groupby("task", sort=False)}


def _pool_scores(
    verifier: PoolVerifier, prompts: Sequence[Prompt], rows: pd.DataFrame, shape: tuple[int, int]
) -> Float:
    by_id = {prompt.prompt_id: (position, prompt) for position, prompt in enumerate(prompts)}
    values = np.full(shape, np.nan)
    counted = rows[rows["utility"].notna()]
    for prompt_id, own in counted.groupby("prompt_id", sort=False):
        position, prompt = by_id[str(prompt_id)]
        candidates = [_candidate(record) for record in own.to_dict("records")]
        for candidate, judgement in zip(candidates, verifier.judge(prompt, candidates), strict=True):
            values[position, candidate.response] = np.nan if judgement.score is None else judgement.score
    return values


def _outcomes(store: RunStore, names: Sequence[str]) -> dict[tuple[str, str, str], dict[Pair, float]]:
    """By (task, prompt_id, verifier), how probably a is better than b in each comparison (a, b)."""
    columns = ["task", "prompt_id", "verifier", "response_a", "response_b", "score"]
    rows = store.read("comparisons", columns)
    won: dict[tuple[str, str, str], dict[Pair, float]] = {}
    for task, prompt_id, name, a, b, score in zip(*(rows[one].to_pylist() for one in columns), strict=True):
        if name in names:
            won.setdefault((task, prompt_id, name), {})[a, b] = np.nan if score is None else score
    return won


def _pair_scores(
    verifier: PairVerifier,
    prompts: Sequence[Prompt],
    rows: pd.DataFrame,
    won: Mapping[tuple[str, str, str], Mapping[Pair, float]],
    shape: tuple[int, int],
) -> Float:
    """Scores from comparisons: responses of one text entered once and share a score."""
    place = {prompt.prompt_id: position for position, prompt in enumerate(prompts)}
    values = np.full(shape, np.nan)
    for prompt_id, own in rows[rows["utility"].notna()].groupby("prompt_id", sort=False):
        position = place[str(prompt_id)]
        outcomes = won.get((prompts[position].task, str(prompt_id), verifier.name), {})
        texts: dict[str, list[int]] = {}
        for text, response in sorted(zip(own["text"], own["response"], strict=True), key=lambda one: one[1]):
            if text.strip():
                texts.setdefault(text.strip(), []).append(int(response))
        # A text without a rival is not compared, and no choice among its copies gains anything.
        entrants = [indexes[0] for indexes in texts.values()]
        if len(entrants) == 1:
            values[position, texts.popitem()[1]] = verifier.threshold or 0.0
        elif outcomes:
            for indexes, score in zip(texts.values(), verifier.scores(entrants, outcomes), strict=True):
                values[position, indexes] = score
    return values


def _candidate(record: Mapping[Any, Any]) -> Candidate:
    cluster, logprob, tokens = record["cluster"], record["logprob"], record["n_tokens"]
    # Tables and logs may not tell a response's length; without it no verifier has a score per token to give.
    return Candidate(
        response=int(record["response"]),
        text=str(record["text"]),
        cluster=None if pd.isna(cluster) else str(cluster),
        logprob=None if pd.isna(logprob) else float(logprob),
        n_tokens=0 if pd.isna(tokens) else int(tokens),
    )
