"""Size of the slope test and coverage of its interval, in the scenarios of projection.md section 1."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import pytest

from tests.conftest import ROOT

SETS = 1000
MOST, LEAST = 0.08, 0.92


def benchmark() -> ModuleType:
    """The study of benchmarks/, which is no package."""
    path = ROOT / "benchmarks" / "scaling_size.py"
    spec = importlib.util.spec_from_file_location("scaling_size", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["scaling_size"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("place", range(6))
def test_size_and_coverage(place: int) -> None:
    module = benchmark()
    scenario = module.SCENARIOS[place]
    trusted = "two_stage" if scenario.spread else "family_intercepts_kh"
    broken = "family_intercepts_kh" if scenario.spread else "known_se_z"
    rows = {row["method"]: row for row in module.study(scenario, SETS, 1, (trusted, broken))}
    assert rows[trusted]["size"] <= MOST
    assert rows[trusted]["coverage"] >= LEAST
    assert rows[broken]["size"] > 0.15, "the study could not fail"
