"""gapbench: measure the generation-verification gap of language models."""

__version__ = "0.1.0"
