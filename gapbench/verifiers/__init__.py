"""Ways of judging: one protocol (`base`), one file a mechanism."""

from gapbench.verifiers.base import Candidate, Judgement, ModelVerifier, PoolVerifier, Verifier, verifiers

__all__ = ["Candidate", "Judgement", "ModelVerifier", "PoolVerifier", "Verifier", "verifiers"]
