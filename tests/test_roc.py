"""Every kind of verifier recovers the ROC of measurement.md section 7 on the simulated engine."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import yaml
from scipy.special import expit, ndtr

from gapbench.engines.base import Key, Request
from gapbench.engines.simulated import SimulatedEngine
from gapbench.judging import read_spec
from gapbench.panel import Float
from gapbench.records import Message, Prompt
from gapbench.run import RunConfig, execute
from gapbench.synthetic import Prompts as Latent
from gapbench.synthetic import truth
from gapbench.synthetic.scenario import WRONG_SHARES
from gapbench.verifiers.base import (
    AskingVerifier,
    DerivedVerifier,
    ModelVerifier,
    Pair,
    PairVerifier,
    verifiers,
)
from tests.conftest import ROOT

BLOCK = 4
"""Responses that stand for the n of best@n; blocks of them are independent given the prompts."""


def prompts_of(count: int) -> list[Prompt]:
    question = "What is {} + 3?"
    return [
        Prompt("sums", f"p{i}", "arithmetic", (Message("user", question.format(i)),), (str(i + 3),))
        for i in range(count)
    ]


class Drawn(NamedTuple):
    """Responses to the prompts, with what is known of these."""

    engine: SimulatedEngine
    prompts: list[Prompt]
    known: Latent
    texts: list[list[str]]
    utility: Float


def draw(prompts: int, responses: int, **options: float | str) -> Drawn:
    engine = SimulatedEngine(**options)  # type: ignore[arg-type]
    asked = prompts_of(prompts)
    engine.bind(asked)
    texts = [
        [
            result.text
            for result in engine.run(
                [
                    Request(
                        prompt.messages,
                        "plain",
                        tuple((*prompt.key, index) for index in range(responses)),
                        tuple(range(responses)),
                    )
                ]
            )
        ]
        for prompt in asked
    ]
    right = np.array(
        [[text == prompt.reference[0] for text in own] for prompt, own in zip(asked, texts, strict=True)]
    )
    return Drawn(engine, asked, engine.latent(asked), texts, right.astype(float))


def request(
    verifier: AskingVerifier, prompt: Prompt, messages: tuple[Message, ...], keys: list[Key]
) -> Request:
    """As the stages make it."""
    return Request(
        messages,
        "plain",
        tuple(keys),
        tuple(range(len(keys))),
        verifier.sampling,
        verifier.labels_for(prompt),
        verifier.verdicts,
    )


def judge(drawn: Drawn, verifier: ModelVerifier, replicates: int = 1) -> Float:
    """Scores [prompt, response, replicate]."""
    scores = np.empty((*drawn.utility.shape, replicates))
    for row, (prompt, texts) in enumerate(zip(drawn.prompts, drawn.texts, strict=True)):
        for column, text in enumerate(texts):
            keys: list[Key] = [(*prompt.key, column, verifier.name, r) for r in range(replicates)]
            asked = request(verifier, prompt, verifier.messages(prompt, text), keys)
            for place, result in enumerate(drawn.engine.run([asked])):
                judgement = verifier.parse(result)
                assert judgement.score is not None, judgement
                scores[row, column, place] = judgement.score
    return scores


def meet(drawn: Drawn, verifier: PairVerifier) -> Float:
    """Scores [prompt, response] where every block of responses is a pool of its own."""
    scores = np.empty(drawn.utility.shape)
    for row, (prompt, texts) in enumerate(zip(drawn.prompts, drawn.texts, strict=True)):
        for start in range(0, len(texts), BLOCK):
            entrants = list(range(start, start + BLOCK))
            won: dict[Pair, float] = {}
            while pairs := verifier.pairs(entrants, won):
                for first, second in pairs:
                    messages = verifier.messages(prompt, texts[first], texts[second])
                    keys: list[Key] = [(*prompt.key, first, second, verifier.name, 0)]
                    (result,) = drawn.engine.run([request(verifier, prompt, messages, keys)])
                    score = verifier.parse(result).score
                    assert score is not None
                    low, high = min(first, second), max(first, second)
                    won[low, high] = score if first == low else 1 - score
            scores[row, entrants] = verifier.scores(entrants, won)
    return scores


def close(top: Float, bottom: Float, expected: float, *, within: float = 0.05) -> None:
    """Hold sum(top)/sum(bottom) against the truth, within 4 standard errors over the draws of each prompt.

    Parameters
    ----------
    top, bottom
        [prompt, draw]; draws are independent given the prompt, which is held fixed.
    within
        Largest difference that may go unnoticed, so that the test can fail.
    """
    value = top.sum() / bottom.sum()
    influence = top - value * bottom
    draws = top.shape[1]
    se = math.sqrt(influence.var(axis=1, ddof=1).sum() / draws) / bottom.mean(axis=1).sum()
    assert 4 * se < within
    assert abs(value - expected) < 4 * se, f"{value:.4f} is not {expected:.4f} (se {se:.4f})"


def blocks(values: Float) -> Float:
    return values.reshape(len(values), -1, BLOCK)


def best(utility: Float, score: Float) -> Float:
    """Utility of the response with the highest score in each block, ties averaged."""
    utility, score = blocks(utility), blocks(score)
    top = score == score.max(axis=2, keepdims=True)
    return np.asarray((utility * top).sum(axis=2) / top.sum(axis=2))


def check_roc(drawn: Drawn, score: Float, m: float, threshold: float = 0.5) -> None:
    """TPR, FPR, AUC within prompts and best@n against the closed forms."""
    scenario, known, utility = drawn.engine.scenario, drawn.known, drawn.utility
    passed = (score >= threshold).astype(float)

    def true(quantity: str, label: str) -> float:
        return truth(scenario, quantity, label, m=m, threshold=threshold, prompts=known)

    close(passed * utility, utility, true("tpr", "threshold"), within=0.07)
    close(passed * (1 - utility), 1 - utility, true("fpr", "threshold"))
    own, mine = blocks(utility), blocks(score)
    pairs = own[..., :, None] * (1 - own[..., None, :])
    higher = np.sign(mine[..., :, None] - mine[..., None, :]) / 2 + 0.5
    close((pairs * higher).sum(axis=(2, 3)), pairs.sum(axis=(2, 3)), true("auc_within", ""), within=0.06)
    found = best(utility, score)
    close(found, np.ones_like(found), true("accuracy", f"best@{BLOCK}"), within=0.04)


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    return draw(80, 96)


@pytest.mark.parametrize("name", ["yesno", "choice"])
def test_label_probabilities_are_the_score_itself(drawn: Drawn, name: str) -> None:
    verifier = verifiers.get(name)()
    assert isinstance(verifier, ModelVerifier)
    check_roc(drawn, judge(drawn, verifier)[..., 0], math.inf)


def test_reasoned_verdicts_are_binomial(drawn: Drawn) -> None:
    verifier = verifiers.get("cot-binary")()
    assert isinstance(verifier, ModelVerifier)
    scores = judge(drawn, verifier, replicates=8)
    assert set(np.unique(scores)) == {0.0, 1.0}
    for m in (1, 4, 8):
        check_roc(drawn, scores[..., :m].mean(axis=2), m)


def test_reasoned_scores_are_as_many_verdicts_as_they_have_steps(drawn: Drawn) -> None:
    verifier = verifiers.get("cot-score")()
    assert isinstance(verifier, ModelVerifier)
    scores = judge(drawn, verifier)[..., 0]
    assert len(np.unique(scores)) == 10
    check_roc(drawn, scores, 9)


def test_a_hacked_judge_has_the_roc_of_a_hacked_judge() -> None:
    hacked = draw(80, 96, h=0.1)
    verifier = verifiers.get("yesno")()
    assert isinstance(verifier, ModelVerifier)
    score = judge(hacked, verifier)[..., 0]
    check_roc(hacked, score, math.inf)
    honest = hacked._replace(engine=SimulatedEngine())
    with pytest.raises(AssertionError, match="is not"):
        check_roc(honest, score, math.inf)


@pytest.mark.parametrize("name", ["pairwise", "tournament"])
def test_comparisons_find_the_highest_latent_score(drawn: Drawn, name: str) -> None:
    """A comparison says P = logistic(s - s'), so that the pool's best is the one that endless verdicts would find."""
    verifier = verifiers.get(name)()
    assert isinstance(verifier, PairVerifier)
    found = best(drawn.utility, meet(drawn, verifier))
    expected = truth(drawn.engine.scenario, "accuracy", f"best@{BLOCK}", m=math.inf, prompts=drawn.known)
    close(found, np.ones_like(found), expected, within=0.04)
    worse = truth(drawn.engine.scenario, "accuracy", f"best@{BLOCK}", m=1, prompts=drawn.known)
    with pytest.raises(AssertionError, match="is not"):
        close(found, np.ones_like(found), worse, within=0.04)


def monte_carlo(drawn: Drawn, members: int, draws: int = 8000) -> dict[str, float]:
    """TPR, FPR and best@n of the mean of `members` scores logistic(s), each with noise of its own, from the latent model."""
    rng = np.random.default_rng(7)
    known = drawn.known
    right = rng.random((len(known.p), draws)) < known.p[:, None]
    s = (known.level[:, None] + known.shift[:, None] * right)[None] + rng.standard_normal(
        (members, len(known.p), draws)
    )
    score = expit(s).mean(axis=0)
    passed = score >= 0.5
    top = score.reshape(len(score), -1, BLOCK).argmax(axis=2)[..., None]
    chosen = np.take_along_axis(right.reshape(len(score), -1, BLOCK), top, axis=2)
    return {
        "tpr": (passed & right).sum() / right.sum(),
        "fpr": (passed & ~right).sum() / (~right).sum(),
        "best": chosen.mean(),
    }


def rates(drawn: Drawn, score: Float, tpr: float, fpr: float) -> None:
    passed = (score >= 0.5).astype(float)
    close(passed * drawn.utility, drawn.utility, tpr, within=0.07)
    close(passed * (1 - drawn.utility), 1 - drawn.utility, fpr)


def by_member(drawn: Drawn, verifier: DerivedVerifier) -> dict[str, Float]:
    scores = {}
    for member in verifier.members:
        if member.applies(drawn.prompts[0]):
            assert isinstance(member, ModelVerifier)
            scores[member.name] = judge(drawn, member)[..., 0]
    return scores


def all_pass(drawn: Drawn, members: int) -> tuple[float, float]:
    """TPR and FPR of being passed by each of several judges, independent given prompt and truth: Phi(s)^members."""
    known, responses = drawn.known, drawn.utility.shape[1]
    right = drawn.utility.sum(axis=1) / responses  # the share drawn, of which the rates are taken
    hits, alarms = ndtr(known.level + known.shift) ** members, ndtr(known.level) ** members
    return float(right @ hits / right.sum()), float((1 - right) @ alarms / (1 - right).sum())


def test_criteria_of_a_rubric_and_what_is_made_of_them(drawn: Drawn) -> None:
    criteria = ["It is a number.", "It follows.", "It is short."]
    rubric, gate = (verifiers.get(name)(criteria=criteria) for name in ("rubric", "rubric-gate"))  # type: ignore[call-arg]
    assert isinstance(rubric, DerivedVerifier)
    assert isinstance(gate, DerivedVerifier)
    scores = by_member(drawn, rubric)
    assert len(scores) == 3
    for score in scores.values():
        check_roc(drawn, score, math.inf)
    combined, expected = rubric.combine(scores), monte_carlo(drawn, members=3)
    rates(drawn, combined, expected["tpr"], expected["fpr"])
    found = best(drawn.utility, combined)
    close(found, np.ones_like(found), expected["best"], within=0.04)
    rates(drawn, gate.combine(scores), *all_pass(drawn, 3))


def test_the_mean_of_an_ensemble_and_the_vote_of_all_its_members(drawn: Drawn) -> None:
    mean, both = (verifiers.get("ensemble")(members=["yesno", "choice"], how=how) for how in ("mean", "and"))  # type: ignore[call-arg]
    assert isinstance(mean, DerivedVerifier)
    assert isinstance(both, DerivedVerifier)
    scores, expected = by_member(drawn, mean), monte_carlo(drawn, members=2)
    combined = mean.combine(scores)
    rates(drawn, combined, expected["tpr"], expected["fpr"])
    found = best(drawn.utility, combined)
    close(found, np.ones_like(found), expected["best"], within=0.04)
    rates(drawn, both.combine(scores), *all_pass(drawn, 2))


# Runs


def sums(folder: Path) -> Path:
    """A suite of one of the starter's tasks."""
    starter = yaml.safe_load((ROOT / "tasks" / "starter.yaml").read_text())
    kept = [task for task in starter["tasks"] if task["name"] == "sums"]
    path = folder / "one.yaml"
    path.write_text(yaml.safe_dump({**starter, "name": "one", "tasks": kept}))
    return path


def pooled_truth(known: Latent, responses: int, repeats: int = 600) -> tuple[float, float]:
    """Mean and standard deviation of best@N over prompts, where responses with the same text share one score.

    The right text is chosen where it was drawn and has a higher s than every wrong text that was.
    """
    rng = np.random.default_rng(8)
    shape = (repeats, len(known.p), responses)
    right = rng.random(shape) < known.p[:, None]
    which = rng.choice(len(WRONG_SHARES), size=shape, p=WRONG_SHARES)
    s = known.level[:, None] + rng.standard_normal((repeats, len(known.p), len(WRONG_SHARES)))
    drawn = np.stack([((which == place) & ~right).any(axis=2) for place in range(len(WRONG_SHARES))], axis=2)
    wrong = np.where(drawn, s, -np.inf).max(axis=2)
    own = known.level + known.shift + rng.standard_normal(wrong.shape)
    accuracy = (right.any(axis=2) & (own > wrong)).mean(axis=1)
    return float(accuracy.mean()), float(accuracy.std())


def test_runs_recover_the_gaps_of_all_verifiers(tmp_path: Path) -> None:
    """From the command line's words to estimates, with the benchmark target's standard errors."""
    responses = 16
    panel = tmp_path / "panel.yaml"
    panel.write_text(
        yaml.safe_dump(
            {
                "name": "panel",
                "verifier": "ensemble",
                "options": {"members": ["yesno", "choice"], "how": "mean"},
            }
        )
    )
    words = ["yesno", "choice", "cot-binary", "cot-score", "pairwise", "tournament", str(panel)]
    config = RunConfig(
        suite=str(sums(tmp_path)),
        model="simulated",
        engine="simulated",
        n=responses,
        limit=50,
        verdicts=2,
        verifiers=tuple(map(read_spec, words)),
    )
    run = execute(config, tmp_path / "run")
    engine = SimulatedEngine()
    prompts = run.store.rows(Prompt)
    engine.bind(prompts)
    known = engine.latent(prompts)
    found = run.estimate(target="benchmark")
    for name, m in (("yesno", math.inf), ("choice", math.inf), ("cot-binary", 2), ("cot-score", 18)):
        expected = truth(engine.scenario, "gap", f"best@{BLOCK}", m=m, prompts=known)
        rows = found.where(
            verifier=name, quantity="gap", filter=f"best@{BLOCK}", domain="all", m=2 if m in (2, 18) else 1
        )
        assert abs(rows[0].value - expected) < 4 * rows[0].se < 0.2, name
    pooled, spread = pooled_truth(known, responses)
    for name in ("pairwise", "tournament"):
        (row,) = run.estimate().where(
            verifier=name, quantity="accuracy", filter=f"best@{responses}", domain="all", task=""
        )
        assert abs(row.value - pooled) < 4 * spread < 0.25, name
    as_drawn = Drawn(engine, prompts, known, [], np.empty(0))
    (row,) = found.where(verifier="panel", quantity="accuracy", filter=f"best@{BLOCK}", domain="all", task="")
    assert abs(row.value - monte_carlo(as_drawn, members=2)["best"]) < 4 * row.se < 0.25


def test_replies_without_a_verdict_are_counted_and_are_no_votes(tmp_path: Path) -> None:
    config = RunConfig(
        suite=str(sums(tmp_path)),
        model="simulated",
        engine="simulated",
        engine_options={"unparsed": 0.2, "long": 0.1},
        n=8,
        limit=25,
        verdicts=4,
        verifiers=(read_spec("cot-binary"), read_spec("tournament")),
    )
    run = execute(config, tmp_path / "run")
    verdicts = run.store.read("verdicts", ["status", "score"]).to_pandas()
    share = verdicts["status"].value_counts(normalize=True)
    for status, wanted in (("unparsed", 0.2), ("truncated", 0.1)):
        assert abs(share[status] - wanted) < 4 * math.sqrt(wanted * (1 - wanted) / len(verdicts))
    assert (verdicts["score"].isna() == (verdicts["status"] != "scored")).all()
    compared = run.store.read("comparisons", ["status", "score"]).to_pandas()
    unread = (compared["status"] == "unparsed").mean()
    assert abs(unread - 0.2) < 4 * math.sqrt(0.16 / len(compared))
    assert (compared["score"].isna() == (compared["status"] == "unparsed")).all()
