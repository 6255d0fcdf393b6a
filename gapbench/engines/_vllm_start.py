"""Starting vLLM: its arguments, its environment, what it prints meanwhile, and why it did not start."""

from __future__ import annotations

import dataclasses
import importlib
import json
import logging
import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from gapbench.engines._childguard import ChildGuard
from gapbench.engines._childlog import ChildLog
from gapbench.engines.base import ModelInfo
from gapbench.errors import UserError
from gapbench.models import ResolvedModel, resolve
from gapbench.registry import suggest

# Arguments of LLM that would make the engine do other than it says.
_OURS = {
    "model": "name the model with -m",
    "skip_tokenizer_init": "prompts are made with the model's tokenizer",
    "hf_token": "what is given here is kept in the manifest; put it into the environment as HF_TOKEN",
    "logprobs_mode": "log-probabilities are those of the model itself, before temperature and masks",
}
# Of what vLLM warns of at start, what our own defaults on a processor bring about.
_OWN_DOING = ("disabling chunked prefill", "Enforce eager set", "Inductor compilation was disabled")
_LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter's folder, as PEFT writes it, and what identifies its weights."""

    path: Path
    rank: int
    digest: str

    @classmethod
    def read(cls, given: object) -> Adapter:
        """Look at the folder that option `lora` names.

        Raises
        ------
        UserError
            If there is no adapter.
        """
        path = Path(str(given)).expanduser()
        try:
            rank = json.loads((path / "adapter_config.json").read_text("utf-8"))["r"]
            weights = next(path.glob("adapter_model.*")).read_bytes()
        except (OSError, ValueError, KeyError, TypeError, StopIteration) as failure:
            raise UserError(
                f"--engine-option lora={given}: name a folder with an adapter in it "
                "(adapter_config.json and adapter_model.safetensors, as PEFT saves them)"
            ) from failure
        return cls(path.resolve(), int(rank), sha256(weights).hexdigest()[:12])


@dataclass(frozen=True, slots=True)
class Started:
    """A vLLM engine that runs.

    Attributes
    ----------
    vllm
        The library.
    llm
        Its `LLM`.
    log
        Where it and its processes print; still to be told that all is well.
    guard
        Ends its processes, should this one be killed.
    on_cpu
        Whether it runs on a processor.
    seed
        Of the engine.
    """

    vllm: Any
    llm: Any
    log: ChildLog
    guard: ChildGuard
    model: ModelInfo
    on_cpu: bool
    seed: int


def start(model: str, options: Mapping[str, Any], adapter: Adapter | None) -> Started:
    """Load a model.

    Parameters
    ----------
    model
        Alias of an embedded model, directory, or hub id.
    options
        Arguments of vLLM's, beside our defaults.
    adapter
        LoRA adapter to load with it.

    Raises
    ------
    UserError
        If the model cannot be found or loaded, or vLLM has no such option.
    """
    resolved = resolve(model)
    verbose = "VLLM_LOGGING_LEVEL" in os.environ
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    os.environ["VLLM_LOGGING_STREAM"] = "ext://sys.stderr"
    log, guard = ChildLog(verbose, _OWN_DOING), ChildGuard()
    failure: Exception | None = None
    with log.capture():
        try:
            vllm = importlib.import_module("vllm")
            _check(options, vllm.__version__)
            on_cpu = bool(importlib.import_module("vllm.platforms").current_platform.is_cpu())
            arguments = _arguments(options, adapter, on_cpu)
            llm = vllm.LLM(resolved.source, **arguments)
        except Exception as raised:  # every release raises others; the user is told the cause in one line
            failure = raised
    if failure is not None:
        guard.close()
        told = log.cause()
        if isinstance(failure, UserError):
            raise failure
        second_hand = isinstance(failure, RuntimeError) and "core" in str(failure)
        cause = (told if second_hand else None) or _message(failure)
        given = "".join(f" --engine-option {name}={value}" for name, value in options.items())
        raise UserError(f"vLLM does not start with '{model}'{given}: {cause}") from failure
    guard.started()
    for handler in logging.getLogger("vllm").handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stdout:
            handler.setStream(sys.stderr)
    return Started(vllm, llm, log, guard, _describe(model, resolved, llm, adapter), on_cpu, arguments["seed"])


def _check(options: Mapping[str, Any], version: str) -> None:
    """Refuse what vLLM would misunderstand, before a minute of loading.

    Raises
    ------
    UserError
        For an argument that vLLM does not have or that is not the user's to set.
    """
    known = [
        one.name for one in dataclasses.fields(importlib.import_module("vllm.engine.arg_utils").EngineArgs)
    ]
    for name, value in options.items():
        if name in _OURS:
            raise UserError(f"--engine-option {name}: it cannot be set ({_OURS[name]})")
        if name not in known:
            near = suggest(name, known).partition(" there are")[0]
            raise UserError(
                f"--engine-option {name}={value}: vLLM {version} has no such argument{near.rstrip(';')}"
            )
    parallel = options.get("data_parallel_size", 1)
    if parallel != 1:
        raise UserError(
            f"--engine-option data_parallel_size={parallel}: one process of vLLM runs one copy of a model; "
            "run the copies side by side with engine 'ray', or split one over devices with tensor_parallel_size"
        )


def _arguments(options: Mapping[str, Any], adapter: Adapter | None, on_cpu: bool) -> dict[str, Any]:
    """The user's options over our defaults."""
    arguments: dict[str, Any] = {
        # vLLM's own default is 0 at every start, which would repeat the noise of the start before.
        "seed": secrets.randbits(32),
        "max_logprobs": -1,
    }
    if on_cpu:
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
        # Compiling takes longer than most runs on a processor. A block is what prompts can share; its default of 128
        # tokens is longer than many prompts, and it must be a multiple of 32. Of chunks, see `VllmEngine`.
        arguments |= {
            "dtype": "float32",
            "enforce_eager": True,
            "block_size": 32,
            "enable_chunked_prefill": False,
        }
    if adapter is not None:
        rank = next((rank for rank in _LORA_RANKS if rank >= adapter.rank), adapter.rank)
        arguments |= {"enable_lora": True, "max_lora_rank": rank, "max_loras": 1}
    return arguments | dict(options)


def _message(failure: BaseException) -> str:
    """One line of an exception; of pydantic's, what it says of the value and not how many errors there are."""
    lines = [line.strip() for line in str(failure).splitlines() if line.strip()] or [type(failure).__name__]
    if "validation error" in lines[0] and len(lines) > 1:
        lines = [line for line in lines[1:] if " " in line] or lines
    return lines[0].partition(" [type=")[0].removeprefix("Value error, ").rstrip(".")[:300]


def _describe(name: str, resolved: ResolvedModel, llm: Any, adapter: Adapter | None) -> ModelInfo:
    known, config = resolved.embedded, llm.model_config.hf_config
    base = known.id if known else name
    revision = resolved.revision
    if adapter is not None:
        base = f"{base}+{adapter.path.name}"
        revision = f"{revision or ''} lora sha256:{adapter.digest}".strip()
    return ModelInfo(
        id=base,
        revision=revision,
        parameters=known.parameters if known else _parameters(config),
        training_tokens=known.training_tokens if known else None,
        context=llm.model_config.max_model_len,
        chat_template=bool(getattr(llm.get_tokenizer(), "chat_template", None)),
        licence=known.licence if known else None,
    )


def _parameters(config: Any) -> int | None:
    """Count the weights without loading them a second time; vLLM's own are split over devices and fused."""
    try:
        torch, transformers = importlib.import_module("torch"), importlib.import_module("transformers")
        with torch.device("meta"):
            return int(transformers.AutoModelForCausalLM.from_config(config).num_parameters())
    except Exception:  # what transformers does not know fails in many ways; the figure is not worth the run
        return None
