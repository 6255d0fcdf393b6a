"""A run of a pretended model, from suite to estimates, checked against what is known of that model."""

from __future__ import annotations

import math
import time
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from gapbench.engines.simulated import SimulatedEngine
from gapbench.estimate.results import Estimates
from gapbench.judging import read_spec
from gapbench.records import Prompt
from gapbench.run import RunConfig, execute
from gapbench.synthetic import Prompts, Scenario, truth

SUITE, PROMPTS, RESPONSES, VERDICTS = "starter", 40, 8, 4
ERRORS = 4.5
"""Standard errors by which an estimate may miss the truth: a sound one does so once in 150,000 times.

The draws are the same everywhere, so that the outcome of a sound installation is, too.
"""


@dataclass(frozen=True, slots=True)
class _Known:
    """An estimate of the run, and the verdicts m for which its truth is known: no end of them behind a probability."""

    quantity: str
    filter: str
    n: int | None
    verifier: str = ""
    m: int | None = None
    truth_m: float | None = None


_KNOWN = (
    _Known("accuracy", "", None),
    _Known("pass@k", "", 4),
    _Known("gap", "best@4", 4, "yesno", 1, math.inf),
    _Known("auc_within", "", None, "yesno", 1, math.inf),
    _Known("gap", "best@4", 4, "cot-binary", VERDICTS, VERDICTS),
)


@dataclass(frozen=True, slots=True)
class Check:
    """One estimate beside what it estimates.

    Attributes
    ----------
    label
        The quantity with its filter and verifier.
    value, se
        The estimate and its standard error.
    truth
        What a perfect estimate would be, for these prompts.
    """

    label: str
    value: float
    se: float
    truth: float

    @property
    def ok(self) -> bool:
        """Whether the estimate is as near to the truth as its error allows; a standard error of 0 or none is not."""
        return self.se > 0 and abs(self.value - self.truth) <= ERRORS * self.se


@dataclass(frozen=True, slots=True)
class SelfTest:
    """What came of it.

    Attributes
    ----------
    failure
        Why it did not come to its end; nothing where it did.
    """

    checks: tuple[Check, ...]
    seconds: float
    failure: str = ""

    @property
    def ok(self) -> bool:
        """Whether it came to its end and every estimate is right."""
        return not self.failure and bool(self.checks) and all(check.ok for check in self.checks)


def self_test() -> SelfTest:
    """Sample, grade, verify and estimate in a temporary folder, and compare with the known truth.

    Never raises for what is wrong with the installation: that is what it reports.
    """
    began = time.monotonic()
    try:
        with TemporaryDirectory(prefix="gapbench-doctor-") as folder, redirect_stderr(StringIO()):
            checks = _checked(Path(folder))
    except Exception as failure:  # a broken installation fails in any way, and this is where it is told
        return SelfTest((), time.monotonic() - began, f"{type(failure).__name__}: {failure}")
    return SelfTest(checks, time.monotonic() - began)


def _checked(folder: Path) -> tuple[Check, ...]:
    config = RunConfig(
        suite=SUITE,
        model="simulated",
        engine="simulated",
        n=RESPONSES,
        limit=PROMPTS,
        verdicts=VERDICTS,
        verifiers=(read_spec("yesno"), read_spec("cot-binary")),
    )
    run = execute(config, folder / "run")
    prompts = run.store.rows(Prompt)
    engine = SimulatedEngine()
    engine.bind(prompts)
    known = engine.latent(prompts)
    found = run.estimate(target="benchmark")
    return tuple(_check(found, one, engine.scenario, known) for one in _KNOWN)


def _check(found: Estimates, one: _Known, scenario: Scenario, prompts: Prompts) -> Check:
    (row,) = found.where(
        domain="all", quantity=one.quantity, filter=one.filter, n=one.n, verifier=one.verifier, m=one.m
    )
    right = truth(scenario, one.quantity, one.filter, n=one.n, m=one.truth_m, prompts=prompts)
    words = one.quantity.replace("@k", f"@{one.n}"), one.filter, one.verifier
    return Check(" ".join(filter(None, words)), row.value, row.se, right)
