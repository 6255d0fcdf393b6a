"""Several verifiers as one: conjunction, mean, and votes weighted without labels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logsumexp

from gapbench.errors import UserError
from gapbench.verifiers._votes import dawid_skene, mean_of_valid, rank_share
from gapbench.verifiers.ensemble import Ensemble

NAN = np.nan


def simulate(rng, items, tpr, fpr, prevalence, missing=0.0):
    """Votes [member, item] that are independent given the truth, and the truth."""
    truth = rng.random(items) < prevalence
    rates = np.where(truth, np.array(tpr)[:, None], np.array(fpr)[:, None])
    votes = (rng.random(rates.shape) < rates).astype(float)
    votes[rng.random(rates.shape) < missing] = NAN
    return votes, truth


def log_likelihood(parameters, votes, prior):
    """Marginal log-likelihood of prevalence, true and false positive rates (as logits), with pseudo-counts."""
    members = len(votes)
    yes, no = log_expit(parameters), log_expit(-parameters)
    parts = []
    for share, rates in ((yes[0], slice(1, members + 1)), (no[0], slice(members + 1, None))):
        each = np.where(votes == 1, yes[rates, None], no[rates, None])
        parts.append(share + np.where(np.isnan(votes), 0.0, each).sum(axis=0))
    return logsumexp(parts, axis=0).sum() + prior * (yes + no).sum()


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_em_climbs_to_the_highest_likelihood(missing):
    rng = np.random.default_rng(3)
    votes, _ = simulate(rng, 200, [0.85, 0.75, 0.7, 0.6], [0.1, 0.3, 0.2, 0.4], 0.4, missing)
    best = None
    for _ in range(5):
        start = rng.normal(size=9)
        found = minimize(lambda x: -log_likelihood(x, votes, 0.1), start, method="BFGS")
        best = found if best is None or found.fun < best.fun else best
    share, tpr, fpr = expit(best.x[0]), expit(best.x[1:5]), expit(best.x[5:])
    if (tpr - fpr).sum() < 0:
        share, tpr, fpr = 1 - share, fpr, tpr
    each = np.where(votes == 1, np.log(tpr / fpr)[:, None], np.log((1 - tpr) / (1 - fpr))[:, None])
    odds = np.log(share / (1 - share)) + np.where(np.isnan(votes), 0.0, each).sum(axis=0)
    np.testing.assert_allclose(dawid_skene(votes, prior=0.1), expit(odds), atol=2e-3)


def test_accuracies_are_found_without_labels():
    rng = np.random.default_rng(7)
    tpr, fpr = np.array([0.95, 0.75, 0.7, 0.65, 0.65]), np.array([0.05, 0.3, 0.3, 0.35, 0.35])
    votes, truth = simulate(rng, 20_000, tpr, fpr, 0.3)
    posterior = dawid_skene(votes)
    # The estimate implied by the posterior, the rule that knows the rates, and a plain majority.
    found = votes @ posterior / posterior.sum()
    # Over data sets the errors are 0 on average, with a standard deviation of .01 for the first rate.
    np.testing.assert_allclose(found, tpr, atol=0.04)
    np.testing.assert_allclose(votes @ (1 - posterior) / (1 - posterior).sum(), fpr, atol=0.02)
    assert posterior.mean() == pytest.approx(0.3, abs=0.02)
    each = np.where(votes == 1, np.log(tpr / fpr)[:, None], np.log((1 - tpr) / (1 - fpr))[:, None])
    ideal = (np.log(0.3 / 0.7) + each.sum(axis=0) > 0) == truth
    fitted = (posterior > 0.5) == truth
    majority = (votes.mean(axis=0) > 0.5) == truth
    assert fitted.mean() > ideal.mean() - 0.005
    assert fitted.mean() > majority.mean() + 0.05
    # What it calls 80 % right is right in 80 % of cases.
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        inside = (posterior >= low) & (posterior < low + 0.2)
        if inside.sum() > 300:
            assert truth[inside].mean() == pytest.approx(posterior[inside].mean(), abs=0.06)


def test_members_that_vote_the_wrong_way_are_turned_round():
    rng = np.random.default_rng(11)
    votes, truth = simulate(rng, 5000, [0.9, 0.85, 0.8, 0.2], [0.1, 0.2, 0.15, 0.7], 0.5)
    alone = ((dawid_skene(votes[:3]) > 0.5) == truth).mean()
    assert ((dawid_skene(votes) > 0.5) == truth).mean() > alone


def test_votes_without_a_signal_do_no_harm_and_silence_is_silence():
    rng = np.random.default_rng(1)
    votes, _ = simulate(rng, 500, [0.5] * 3, [0.5] * 3, 0.5)
    votes[:, 0] = NAN
    posterior = dawid_skene(votes)
    assert np.isnan(posterior[0])
    assert ((posterior[1:] >= 0) & (posterior[1:] <= 1)).all()
    for constant in (0.0, 1.0):
        assert np.isfinite(dawid_skene(np.full((3, 20), constant))).all()
    assert np.isnan(dawid_skene(np.full((3, 4), NAN))).all()
    order = rng.permutation(500)
    np.testing.assert_allclose(dawid_skene(votes[:, order]), posterior[order], atol=1e-6)


def test_means_and_ranks_by_hand():
    scores = np.array([[0.1, 0.5, NAN, 0.5], [NAN, 0.9, NAN, 0.1]])
    np.testing.assert_allclose(mean_of_valid(scores), [0.1, 0.7, NAN, 0.3])
    np.testing.assert_allclose(rank_share(scores), [[1 / 6, 2 / 3, NAN, 2 / 3], [NAN, 0.75, NAN, 0.25]])


def scores(**by_name):
    return {name.replace("_", "-"): np.array(rows, dtype=float) for name, rows in by_name.items()}


def test_and_by_hand():
    ensemble = Ensemble(members=["yesno", "choice"], how="and")
    found = ensemble.combine(
        scores(
            yesno=[[0.5, 0.4, 0.9, NAN], [0.9, 0.1, 0.2, 0.7], [NAN] * 4],
            choice=[[0.5, 0.9, NAN, 0.9], [NAN] * 4, [NAN] * 4],
        )
    )
    np.testing.assert_array_equal(found, [[1, 0, NAN, NAN], [1, 0, 0, 1], [NAN] * 4])
    np.testing.assert_array_equal(ensemble.combine(scores(choice=[[0.7, 0.3]])), [[1, 0]])


def test_mean_by_hand():
    probabilities = Ensemble(members=["yesno", "choice"])
    found = probabilities.combine(scores(yesno=[[0.5, NAN]], choice=[[0.7, 0.2]]))
    np.testing.assert_allclose(found, [[0.6, 0.2]])
    mixed = Ensemble(members=["yesno", "likelihood"])
    one = scores(yesno=[[0.5, 0.9], [0.1, 0.2]], likelihood=[[-3.0, -1.0], [-2.0, -9.0]])
    np.testing.assert_allclose(mixed.combine(one), [[0.5, 0.875], [0.375, 0.25]])
    # Rescaling a member monotonically changes nothing.
    two = {"yesno": one["yesno"] ** 3, "likelihood": np.exp(one["likelihood"])}
    np.testing.assert_array_equal(mixed.combine(one), mixed.combine(two))
    assert mixed.scale == "probability"


def test_weighted_is_by_task_and_falls_back_to_a_share():
    rng = np.random.default_rng(2)
    names = ["yesno", "choice", "majority"]
    ensemble = Ensemble(members=names, how="weighted")
    votes, truth = simulate(rng, 4000, [0.9, 0.7, 0.7], [0.1, 0.3, 0.3], 0.5)
    panel = {name: own.reshape(100, 40) for name, own in zip(names, votes, strict=True)}
    found = ensemble.combine(panel)
    np.testing.assert_allclose(found.ravel(), dawid_skene(votes))
    assert ((found.ravel() > 0.5) == truth).mean() > 0.85
    share = ensemble.combine(scores(yesno=[[0.9, 0.9, NAN]], choice=[[0.9, 0.2, 0.1]]))
    np.testing.assert_array_equal(share, [[1, 0.5, 0]])
    assert ensemble.whole_pool
    assert not Ensemble(members=["yesno", "choice"]).whole_pool


def test_members_are_made_with_their_options():
    strict = {"name": "strict", "verifier": "yesno", "options": {"instruction": "Exactly right?"}}
    ensemble = Ensemble(members=["yesno", strict])
    assert [member.name for member in ensemble.members] == ["yesno", "strict"]
    assert ensemble.members[1].instruction == "Exactly right?"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "must list 2 verifiers"),
        ({"members": ["yesno"]}, "must list 2 verifiers"),
        ({"members": "yesno"}, "must list 2 verifiers"),
        ({"members": ["yesno", "choice"], "how": "weighted"}, "must list 3 verifiers"),
        ({"members": ["yesno", "choice"], "how": "or"}, "must be and, mean, weighted"),
        ({"members": ["yesno", "yesno"]}, "two members have one name"),
        ({"members": ["yesno", "yes"]}, "unknown verifier 'yes'"),
        ({"members": ["yesno", "choice@gpt2"]}, "names a judge"),
        ({"members": ["yesno", {"verifier": "choice"}]}, "must be a name"),
        ({"members": ["yesno", 3]}, "must be a name"),
        ({"members": ["yesno", "likelihood"], "how": "and"}, "has no threshold"),
        (
            {"members": ["choice", {"name": "yesno", "verifier": "yesno", "options": {"least_mass": 0.5}}]},
            "give it another name",
        ),
    ],
)
def test_a_bad_ensemble_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        Ensemble(**options)
