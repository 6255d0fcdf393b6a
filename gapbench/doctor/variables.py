"""Every environment variable that gapbench reads, and those of its libraries that a user of it meets: the one list.

>>> [variable.name for variable in OWN]
['GAPBENCH_CACHE', 'GAPBENCH_DATA', 'GAPBENCH_MODELS', 'GAPBENCH_STALL']
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

Shown = Literal["value", "address", "set"]


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable.

    Attributes
    ----------
    meaning
        What it does, and what holds without it.
    shown
        How much of it may be printed: all, an address without user, password and query, or only that it is set.
    """

    name: str
    meaning: str
    shown: Shown = "value"

    @property
    def value(self) -> str | None:
        """What it is set to, without anything secret; None where it is not set."""
        said = os.environ.get(self.name)
        if said is None or self.shown == "value":
            return said
        return "(set)" if self.shown == "set" else _public(said)


OWN = (
    Variable(
        "GAPBENCH_CACHE",
        "folder of the converted embedded models; default: gapbench in XDG_CACHE_HOME or ~/.cache",
    ),
    Variable("GAPBENCH_DATA", "folder with local copies of hub data sets, as --data; default: the hub alone"),
    Variable(
        "GAPBENCH_MODELS",
        "YAML files of models beyond those known, separated as in PATH (see `gapbench ls models`)",
    ),
    Variable(
        "GAPBENCH_STALL",
        "seconds an engine may give nothing before it is stopped, 0 for no limit; default: 1800",
    ),
)
"""What gapbench alone reads."""

RESPECTED = (
    Variable("HF_HOME", "folder of Hugging Face's caches and token; default: ~/.cache/huggingface"),
    Variable("HF_HUB_CACHE", "folder of models from the hub; default: hub in HF_HOME"),
    Variable("HF_DATASETS_CACHE", "folder of prepared data sets; default: datasets in HF_HOME"),
    Variable("HF_HUB_OFFLINE", "1 takes models and data sets from those folders alone"),
    Variable("HF_ENDPOINT", "address of a mirror of the hub", "address"),
    Variable("HF_TOKEN", "key for models and data sets behind a gate", "set"),
    Variable("CUDA_VISIBLE_DEVICES", "the GPUs that engines may use; empty for none"),
    Variable("OPENAI_API_KEY", "key of a hosted model, for engine openai", "set"),
    Variable("OPENAI_BASE_URL", "address of the server, for engine openai; default: OpenAI's own", "address"),
    Variable("OMP_NUM_THREADS", "threads of a model on the processor; default: one for each core"),
    Variable("VLLM_CPU_KVCACHE_SPACE", "GB of vLLM's cache on a processor; default: 2"),
    Variable("VLLM_LOGGING_LEVEL", "what vLLM prints; default: warnings, and errors of its start"),
    Variable("NO_COLOR", "any value switches colours off"),
    Variable("TMPDIR", "folder of temporary files"),
)
"""What the libraries below gapbench read, and gapbench leaves to them."""


def _public(address: str) -> str:
    try:
        parts = urlsplit(address)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "(set, and no address)"
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
