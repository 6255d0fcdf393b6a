"""Runs as points: the values of `estimate`, and the covariance that shared prompts give them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gapbench.errors import UserError
from gapbench.estimate.contrast import Strata
from gapbench.estimate.quantity import mean, ratio
from gapbench.estimate.resampling import Resampling
from gapbench.run import Run
from gapbench.scaling.runs import compute_of, covariance, points_from_runs
from gapbench.scaling.scale import scale
from tests.conftest import ROOT

CROSSED = ROOT / "results" / "cross"


def test_covariance_is_that_of_prompts_drawn_again() -> None:
    """Against a bootstrap of whole prompts, for a mean and a ratio that share them."""
    rng = np.random.default_rng(0)
    difficulty = rng.random(400)
    gap = 0.2 * difficulty + 0.1 * rng.random(400)
    other = 0.3 * difficulty + 0.1 * rng.random(400)
    wrong = 1 - 0.5 * difficulty
    task = Resampling(np.arange(400), seed=0, task="t")
    places = [Strata([ratio(gap, wrong)], [task], [1.0]), Strata([ratio(other, wrong)], [task], [1.0])]
    found = covariance(places)
    weights = rng.multinomial(400, np.full(400, 1 / 400), size=4000)
    drawn = np.stack([weights @ one / (weights @ wrong) for one in (gap, other)])
    assert found == pytest.approx(np.cov(drawn), rel=0.12)
    assert found[0, 1] / np.sqrt(found[0, 0] * found[1, 1]) > 0.5
    apart = Strata([mean(gap)], [Resampling(np.arange(400), seed=0, task="other")], [1.0])
    assert covariance([places[0], apart])[0, 1] == 0.0


@pytest.fixture
def runs() -> list[Run]:
    if not CROSSED.is_dir():
        pytest.skip("results/cross is not in this checkout")
    return [Run(CROSSED / name) for name in ("gemma3-270m", "smollm2-135m")]


def test_points_are_the_estimates_of_the_runs(runs: list[Run]) -> None:
    points = points_from_runs(runs, filter="best@4")
    assert points.covariance is not None
    for run in runs:
        rows = json.loads((Path(run.store.path) / "estimates.json").read_text())
        for row in rows:
            if (row["quantity"], row["verifier"], row["task"]) != ("relative_gap", "yesno", "") or row[
                "domain"
            ] == "all":
                continue
            here = points.where(domain=row["domain"])
            place = here.model.index(run.model)
            assert here.value[place] == pytest.approx(row["value"], abs=1e-9)
            assert here.se[place] == pytest.approx(row["se"], abs=1e-9)
    same = np.equal.outer(points.domain, points.domain)
    assert (points.covariance[~same] == 0).all()
    assert (points.covariance[same] != 0).all()


def test_two_models_are_too_few(runs: list[Run]) -> None:
    with pytest.raises(UserError, match="3 models"):
        scale(points_from_runs(runs))
    with pytest.raises(UserError, match="relative_gap or gap"):
        points_from_runs(runs, quantity="accuracy")
    with pytest.raises(UserError, match="both are of"):
        points_from_runs([*runs, Run(CROSSED / "smollm2-135m")])


def test_compute_is_the_catalogs_or_the_manifests() -> None:
    known = compute_of("pythia-12b")
    assert known.family == "Pythia base"
    assert known.flops == pytest.approx(6 * 11.8e9 * 3e11, rel=0.02)
    assert compute_of("simulated:pythia-12b") == ("simulated:Pythia base", known.flops)
    assert np.isnan(compute_of("simulated:nobody").flops)
    own = compute_of("mine/model", {"parameters": 10**9, "training_tokens": 10**12})
    assert own.flops == 6e21
    assert np.isnan(compute_of("mine/model", {"parameters": 10**9, "training_tokens": None}).flops)
