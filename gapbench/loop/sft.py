"""Supervised fine-tuning with TRL and PEFT, as a process of its own: `python -m gapbench.loop.sft`, a job on standard input.

The model is given the very tokens that it was asked with and the very tokens that it answered with, the end of the answer
included, and learns the answer alone. Low-rank adapters are merged into the model, which is saved whole.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import Any

from gapbench.engines._prompting import Prompting
from gapbench.engines.base import Request
from gapbench.loop.config import Training
from gapbench.models import resolve
from gapbench.records import Message

IGNORED = -100  # the label that torch's loss leaves out


def tokens_of(example: dict[str, Any], tokenizer: Any, prompting: Prompting) -> tuple[list[int], list[int]]:
    """Token ids of the prompt, and of the response with what ends it.

    Where the engine did not say which tokens it drew, the text is tokenized, and ended as the task ends its replies.
    """
    style = example["style"]
    messages = tuple(Message(**message) for message in example["messages"])
    prompt = prompting.encode(Request(messages, style, (), ()))
    if example["token_ids"]:
        return list(prompt), list(example["token_ids"])
    stop = next(iter(example["stop"]), "") if example["finished"] else ""
    ids = list(tokenizer(example["text"] + stop, add_special_tokens=False).input_ids)
    if example["finished"] and not stop:
        own = prompting.stop_ids[style]
        template = own - prompting.stop_ids["plain"] if style == "chat" else frozenset[int]()
        ids += [min(template or own)]
    return list(prompt), ids


def train(job: dict[str, Any]) -> None:
    """Train as a `gapbench.loop.training.Job` says, and tell each step on standard output."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

    trl: Any = import_module("trl")
    settings, out = Training.model_validate(job["settings"]), Path(job["out"])
    on_cpu = not torch.cuda.is_available() or str(job["device"]).startswith("cpu")
    source = resolve(job["model"]).source
    tokenizer = AutoTokenizer.from_pretrained(source)
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    ends = model.generation_config.eos_token_id
    prompting = Prompting(tokenizer, ends if isinstance(ends, list) else [ends])
    rows = []
    with Path(job["examples"]).open(encoding="utf-8") as lines:
        for line in lines:
            prompt, response = tokens_of(json.loads(line), tokenizer, prompting)
            rows.append({"input_ids": prompt + response, "labels": [IGNORED] * len(prompt) + response})
    steps = math.ceil(math.ceil(len(rows) / settings.batch) * settings.epochs)
    losses: list[float] = []

    class Telling(TrainerCallback):  # type: ignore[misc]
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **rest: Any) -> None:
            if "loss" in (logs or {}):
                losses.append(float(logs["loss"]))
                _tell(step=state.global_step)

    _tell(steps=steps)
    scratch = out.with_name(out.name + ".part")
    shutil.rmtree(scratch, ignore_errors=True)
    trainer = trl.SFTTrainer(
        model=model,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(rows),
        peft_config=LoraConfig(
            r=settings.rank,
            lora_alpha=2 * settings.rank,
            lora_dropout=0.0,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        ),
        callbacks=[Telling()],
        args=trl.SFTConfig(
            output_dir=str(scratch),
            max_steps=steps,
            per_device_train_batch_size=settings.batch,
            learning_rate=settings.learning_rate,
            lr_scheduler_type="constant",
            max_length=None,
            seed=int(job["seed"]) % 2**32,
            bf16=not on_cpu,
            use_cpu=on_cpu,
            gradient_checkpointing=not on_cpu,  # on a processor time is dearer than memory
            dataloader_pin_memory=not on_cpu,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
    )
    trainer.train()
    merged = trainer.model.merge_and_unload()
    shutil.rmtree(scratch, ignore_errors=True)
    merged.save_pretrained(scratch)
    tokenizer.save_pretrained(scratch)
    scratch.rename(out)
    digest = hashlib.sha256()
    for path in sorted(out.glob("*.safetensors")):
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    _tell(
        facts={
            "steps": len(losses),
            "first_loss": losses[0] if losses else None,
            "last_loss": losses[-1] if losses else None,
            "tokens": sum(sum(label != IGNORED for label in row["labels"]) for row in rows),
            "weights": f"sha256:{digest.hexdigest()}",
        }
    )


def _tell(**said: Any) -> None:
    print(json.dumps(said), flush=True)


def _end_with_parent() -> None:
    """Standard input ends when whoever started this is gone, however that came about."""
    while os.read(0, 1):
        pass
    os._exit(1)


def main() -> None:
    """Read a job and do it."""
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    train(job)


if __name__ == "__main__":
    main()
