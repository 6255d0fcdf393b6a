"""Ways of judging: one protocol (`base`), one file a mechanism."""

from gapbench.verifiers.base import (
    Candidate,
    DerivedVerifier,
    Judgement,
    ModelVerifier,
    PairVerifier,
    PoolVerifier,
    ToolVerifier,
    Verifier,
    verifiers,
)

__all__ = [
    "Candidate",
    "DerivedVerifier",
    "Judgement",
    "ModelVerifier",
    "PairVerifier",
    "PoolVerifier",
    "ToolVerifier",
    "Verifier",
    "verifiers",
]
