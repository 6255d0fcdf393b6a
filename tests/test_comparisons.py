"""Win rates by counting, Bradley-Terry against a general optimiser."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, log_expit

from gapbench.errors import UserError
from gapbench.estimate.comparisons import Games, bradley_terry, win_rate

NAN = float("nan")


def random_games(seed: int, prompts: int = 6, responses: int = 7, each: int = 30) -> tuple[Games, np.ndarray]:
    rng = np.random.default_rng(seed)
    strength = 1.5 * rng.standard_normal((prompts, responses))
    prompt = np.repeat(np.arange(prompts), each)
    a = rng.integers(responses - 1, size=len(prompt))
    b = (a + 1 + rng.integers(responses - 2, size=len(prompt))) % (responses - 1)  # the last one never plays
    won = (rng.random(len(prompt)) < expit(strength[prompt, a] - strength[prompt, b])).astype(float)
    won[rng.random(len(won)) < 0.2] = 0.5
    shuffle = rng.permutation(len(won))
    games = Games.of(prompt[shuffle], a[shuffle], b[shuffle], won[shuffle], (prompts, responses))
    return games, strength


def test_win_rate_counts() -> None:
    games = Games.of([0, 0, 1, 1], [0, 1, 0, 2], [1, 2, 1, 0], [1.0, 0.5, 0.0, NAN], (2, 3))
    np.testing.assert_array_equal(win_rate(games), [[1.0, 0.25, 0.5], [0.0, 1.0, NAN]])


def test_bradley_terry_is_the_penalised_maximum() -> None:
    games, _ = random_games(0)
    found = bradley_terry(games)
    assert np.isnan(found[:, -1]).all()
    for prompt in range(games.shape[0]):
        own = games.a // 7 == prompt
        a, b, won = games.a[own] % 7, games.b[own] % 7, games.won[own]

        def loss(s: np.ndarray, a: np.ndarray = a, b: np.ndarray = b, won: np.ndarray = won) -> float:
            gap = s[a] - s[b]
            fit = won * log_expit(gap) + (1 - won) * log_expit(-gap)
            return -float(fit.sum() + 0.5 * (log_expit(s) + log_expit(-s)).sum())

        best = minimize(loss, np.zeros(7), tol=1e-12).x
        np.testing.assert_allclose(found[prompt, :6], best[:6], atol=1e-4)


def test_winless_and_unconnected_responses_are_finite() -> None:
    games = Games.of([0] * 6, [0, 0, 0, 3, 3, 3], [1, 1, 2, 4, 4, 4], [1, 1, 1, 1, 1, 1], (1, 5))
    found = bradley_terry(games)[0]
    assert np.isfinite(found).all()
    assert found[0] > found[2] > found[1]
    assert found[3] > 0 > found[4]


def test_ties_alone_say_that_all_are_equal() -> None:
    games = Games.of([0, 0], [0, 1], [1, 2], [0.5, 0.5], (1, 3))
    np.testing.assert_allclose(bradley_terry(games), 0.0, atol=1e-12)


def test_order_of_a_pair_does_not_matter() -> None:
    games, _ = random_games(1)
    turned = Games(games.b, games.a, 1 - games.won, games.shape)
    np.testing.assert_allclose(bradley_terry(turned), bradley_terry(games), atol=1e-9)
    np.testing.assert_allclose(win_rate(turned), win_rate(games), atol=1e-12)


def test_many_games_recover_the_strengths() -> None:
    games, strength = random_games(2, prompts=3, each=60_000)
    won = np.where(games.won == 0.5, NAN, games.won)  # without the ties, which pull together
    rows = games.a // 7
    found = bradley_terry(Games.of(rows, games.a % 7, games.b % 7, won, games.shape))[:, :6]
    want = strength[:, :6]
    np.testing.assert_allclose(
        found - found.mean(axis=1, keepdims=True), want - want.mean(axis=1, keepdims=True), atol=0.1
    )


def test_batches_of_prompts_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    games, _ = random_games(3)
    whole = bradley_terry(games)
    monkeypatch.setattr("gapbench.estimate.comparisons.CELLS_PER_BATCH", 100)
    np.testing.assert_allclose(bradley_terry(games), whole, atol=1e-9)


@pytest.mark.parametrize(
    ("a", "b", "won"), [([0], [0], [1.0]), ([0], [3], [1.0]), ([-1], [0], [1.0]), ([0], [1], [2.0])]
)
def test_bad_comparisons_are_told(a: list[int], b: list[int], won: list[float]) -> None:
    with pytest.raises(UserError, match="comparison 0 "):
        Games.of([0], a, b, won, (1, 3))
