"""Rows to dense arrays: the only bridge between the store and the statistics.

A `Panel` holds one task of one run as arrays [prompt, response] and [prompt, response, replicate] with NaN for what
is missing, so that everything under `estimate` sees arrays and never rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gapbench.errors import UserError
from gapbench.records import Prompt
from gapbench.store import RunStore
from gapbench.verifiers.base import Candidate, PoolVerifier, Verifier

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]


Scale = Literal["probability", "logprob"]


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
        """Mean over valid replicates [prompt, response]; NaN where there is none."""
        valid = ~np.isnan(self.values)
        count = valid.sum(axis=2)
        total = np.where(valid, self.values, 0.0).sum(axis=2)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

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
    """

    task: str
    domain: str
    prompt_ids: tuple[str, ...]
    clusters: Int
    utility: Float
    censored: Bool
    answers: Int
    scores: Mapping[str, Scores | VerdictCounts] = field(default_factory=dict)


def build_panels(store: RunStore, verifiers: Sequence[Verifier]) -> list[Panel]:
    """Read a run into one panel a task, in the order the tasks first appear.

    Verifiers that compute scores from the pool of responses are computed here and never stored: a pool that is topped
    up would leave their old scores stale.

    Parameters
    ----------
    store
        The run.
    verifiers
        Those to read or compute; a model verifier without any verdict yields scores that are all missing.

    Raises
    ------
    UserError
        If the run has no responses yet, or a key stands in a table twice.
    """
    prompts = store.rows(Prompt)
    responses = _joined(store)
    if responses.empty:
        raise UserError(f"{store.path}: no graded responses yet; go on with `gapbench run ... --resume`")
    verdicts = _keyed(store, "verdicts", ["verifier", "replicate", "score"])
    panels = []
    for task in dict.fromkeys(prompt.task for prompt in prompts):
        of_task = [prompt for prompt in prompts if prompt.task == task]
        rows = responses[responses["task"] == task]
        if not rows.empty:
            panels.append(_panel(of_task, rows, verdicts[verdicts["task"] == task], verifiers))
    return panels


def _keyed(store: RunStore, table: str, values: list[str]) -> pd.DataFrame:
    frame: pd.DataFrame = store.read(table, ["task", "prompt_id", "response", *values]).to_pandas()
    key = ["task", "prompt_id", "response", *(name for name in values if name in ("verifier", "replicate"))]
    twice = frame.duplicated(key)
    if twice.any():
        raise UserError(
            f"{store.path / table}: the key {tuple(frame.loc[twice.idxmax(), key])} stands there twice"
        )
    return frame


def _joined(store: RunStore) -> pd.DataFrame:
    drawn = _keyed(store, "responses", ["text", "n_tokens", "logprob", "finish_reason"])
    graded = _keyed(store, "grades", ["cluster", "utility", "status"])
    return pd.merge(drawn, graded, on=["task", "prompt_id", "response"])


def _panel(
    prompts: Sequence[Prompt], rows: pd.DataFrame, verdicts: pd.DataFrame, verifiers: Sequence[Verifier]
) -> Panel:
    ids = tuple(prompt.prompt_id for prompt in prompts)
    index = pd.Index(ids)
    p = index.get_indexer(pd.Index(rows["prompt_id"]))
    r = rows["response"].to_numpy()
    shape = len(ids), int(r.max()) + 1
    utility = np.full(shape, np.nan)
    utility[p, r] = rows["utility"].to_numpy(dtype=float, na_value=np.nan)
    censored = np.zeros(shape, dtype=bool)
    censored[p, r] = ((rows["finish_reason"] == "length") | rows["utility"].isna()).to_numpy()
    answers = np.full(shape, -1, dtype=np.int64)
    answers[p, r] = pd.factorize(rows["cluster"])[0]
    scores: dict[str, Scores | VerdictCounts] = {}
    for verifier in verifiers:
        if isinstance(verifier, PoolVerifier):
            values = _pool_scores(verifier, prompts, rows, shape)
        else:
            own = verdicts[verdicts["verifier"] == verifier.name]
            at = (
                index.get_indexer(pd.Index(own["prompt_id"])),
                own["response"].to_numpy(),
                own["replicate"].to_numpy(),
            )
            values = np.full((*shape, int(at[2].max()) + 1 if len(own) else 1), np.nan)
            values[at] = own["score"].to_numpy(dtype=float, na_value=np.nan)
        scores[verifier.name] = Scores(values, verifier.scale, verifier.threshold, verifier.whole_pool)
    clusters = pd.factorize(
        np.array([prompt.cluster or prompt.prompt_id for prompt in prompts], dtype=object)
    )[0]
    return Panel(prompts[0].task, prompts[0].domain, ids, clusters, utility, censored, answers, scores)


def _pool_scores(
    verifier: PoolVerifier, prompts: Sequence[Prompt], rows: pd.DataFrame, shape: tuple[int, int]
) -> Float:
    by_id = {prompt.prompt_id: (position, prompt) for position, prompt in enumerate(prompts)}
    values = np.full((*shape, 1), np.nan)
    counted = rows[rows["utility"].notna()]
    for prompt_id, own in counted.groupby("prompt_id", sort=False):
        position, prompt = by_id[str(prompt_id)]
        candidates = [_candidate(record) for record in own.to_dict("records")]
        for candidate, judgement in zip(candidates, verifier.judge(prompt, candidates), strict=True):
            values[position, candidate.response, 0] = np.nan if judgement.score is None else judgement.score
    return values


def _candidate(record: Mapping[Any, Any]) -> Candidate:
    cluster, logprob = record["cluster"], record["logprob"]
    return Candidate(
        response=int(record["response"]),
        text=str(record["text"]),
        cluster=None if pd.isna(cluster) else str(cluster),
        logprob=None if pd.isna(logprob) else float(logprob),
        n_tokens=int(record["n_tokens"]),
    )
