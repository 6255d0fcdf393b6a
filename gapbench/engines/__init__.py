"""Where text comes from: one protocol (`base`), one file an engine."""

from gapbench.engines.base import Engine, Request, Result, Sampling, engines

__all__ = ["Engine", "Request", "Result", "Sampling", "engines"]
