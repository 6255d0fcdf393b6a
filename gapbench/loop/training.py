"""A round's training: the examples it is given, and the process that does it.

Torch, TRL and PEFT live in a child process (`gapbench.loop.sft`), which gives all memory back when it ends; the sampling
engine is closed before. Whatever takes a `Job` and leaves a model in `job.out` can stand in for it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gapbench.errors import EngineFailure, UserError
from gapbench.loop.config import GOLD, LoopConfig, Training
from gapbench.loop.filtering import dealt, kept
from gapbench.loop.measuring import panels_of, scores_of
from gapbench.progress import Progress
from gapbench.projection.loops import BestLoop, TopLoop
from gapbench.records import Prompt
from gapbench.run import Run
from gapbench.store.jsonfile import write_atomic

LIBRARIES = ("torch", "transformers", "trl", "peft")
REMOTE = ("simulated", "openai")


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes
    ----------
    model
        What is trained: alias, hub id or directory.
    examples
        JSON Lines as `write_examples` makes them.
    out
        Directory for the trained model in Hugging Face layout; it is not there yet.
    seed
        Of adapters and order.
    device
        Torch device that the user wants; None leaves it to accelerate.
    """

    model: str
    examples: Path
    out: Path
    seed: int
    settings: Training
    device: str | None = None

    def to_json(self) -> str:
        """One line of JSON, for the child."""
        said = {**asdict(self), "settings": self.settings.model_dump()}
        return json.dumps(said, default=str)


Trainer = Callable[[Job], dict[str, Any]]
"""Trains, and says what is worth keeping of it (steps, losses)."""


def check_trainable(config: LoopConfig) -> None:
    """Check that what the engine runs can be trained here.

    Raises
    ------
    UserError
        If the engine has no weights of its own, or a library is missing.
    """
    if config.engine in REMOTE:
        raise UserError(
            f"--engine {config.engine}: has no weights that could be trained; use transformers or vllm"
        )
    for name in LIBRARIES:
        if importlib.util.find_spec(name) is None:
            raise UserError(f"a loop needs the library '{name}': pip install 'gapbench[train]'")


class NothingKept(UserError):
    """A round has nothing to train on; its arm ends there, and the others go on."""


def write_examples(
    run: Run, verifier: str, loop: BestLoop | TopLoop, most: int, seed: int, path: Path
) -> dict[str, Any]:
    """Keep responses of a run by a verifier's scores and write them down for training.

    Parameters
    ----------
    verifier
        `gold` keeps by utility; a prompt of which nothing is right then contributes nothing.
    most
        Examples at most, over all tasks.
    path
        JSON Lines: the key, the conversation, its style, the response as text and as the tokens that were drawn, what ends
        it, its utility and score.

    Returns
    -------
    What to keep of it: examples, prompts with an example, and the mean utility of the examples.

    Raises
    ------
    NothingKept
        If no response is.
    """
    rng = np.random.default_rng(seed)
    prompts = {prompt.key: prompt for prompt in run.store.rows(Prompt)}
    found: list[tuple[int, list[int]]] = []
    keys: list[tuple[str, str]] = []
    utility: list[np.ndarray] = []
    scores: list[np.ndarray] = []
    for panel in panels_of(run):
        score = scores_of(panel, verifier)
        if verifier == GOLD:
            score = np.where((panel.utility > 0).any(axis=1, keepdims=True), score, np.nan)
        found += [(len(keys) + place, own) for place, own in kept(panel.utility, score, loop, rng)]
        keys += [(panel.task, prompt_id) for prompt_id in panel.prompt_ids]
        utility += list(panel.utility)
        scores += list(score)
    chosen = dealt(found, most, rng)
    if not chosen:
        why = "nothing is right" if verifier == GOLD else f"'{verifier}' scored nothing"
        raise NothingKept(
            f"{run.store.path}: no response is kept, for {why}; take easier tasks or another arm"
        )
    wanted = [(*keys[place], response) for place, response in chosen]
    drawn = run.store.find("responses", set(wanted), ["text", "token_ids", "finish_reason"])
    sampling = run.sampling()
    lines = []
    for (place, response), key in zip(chosen, wanted, strict=True):
        prompt, own = prompts[keys[place]], drawn[key]
        given = float(scores[place][response])
        example = {
            "task": prompt.task,
            "prompt_id": prompt.prompt_id,
            "response": response,
            "style": prompt.style,
            "messages": [asdict(message) for message in prompt.messages],
            "text": own["text"],
            "token_ids": own["token_ids"],
            "finished": own["finish_reason"] == "stop",
            "stop": list(sampling[prompt.task].stop),
            "utility": float(utility[place][response]),
            "score": given if np.isfinite(given) else None,
        }
        lines.append(json.dumps(example, allow_nan=False))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, "\n".join(lines) + "\n")
    right = float(np.mean([utility[place][response] for place, response in chosen]))
    return {
        "examples": len(chosen),
        "prompts": len({place for place, _ in chosen}),
        "mean_utility": round(right, 6),
    }


def train_in_child(job: Job) -> dict[str, Any]:
    """Train in a process of its own, with progress on standard error.

    Raises
    ------
    EngineFailure
        If it fails; its whole output is in `training.log` beside the examples.
    """
    log = job.examples.with_name("training.log")
    facts: dict[str, Any] = {}
    with log.open("w", encoding="utf-8") as errors:
        child = subprocess.Popen(
            [sys.executable, "-m", "gapbench.loop.sft"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            with Progress(["train"], [0]) as progress:
                # The pipe stays open: its end tells the child that nobody waits for it any more.
                child.stdin.write(job.to_json() + "\n")
                child.stdin.flush()
                for line in child.stdout:
                    said = _said(line)
                    if "steps" in said:
                        progress.expect("train", int(said["steps"]))
                    elif "step" in said:
                        progress.advance("train")
                    facts |= said.get("facts", {})
        except BrokenPipeError:
            pass  # it ended before it had read the job: its status and log say why
        except BaseException:
            child.kill()
            raise
        finally:
            with contextlib.suppress(BrokenPipeError):
                child.stdin.close()
            status = child.wait()
    if status or not job.out.is_dir():
        raise EngineFailure(f"training failed ({_last(log)}); {log} has all of it, and --resume tries again")
    return facts


def _said(line: str) -> dict[str, Any]:
    """What a line of the child says; nothing where it is some library's."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _last(log: Path) -> str:
    lines: Sequence[str] = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it was killed")[:300]
