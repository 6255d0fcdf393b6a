"""One round of two arms with the real embedded model: what is trained, on what, and that it learns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("trl", reason="needs gapbench[train]")
pytest.importorskip("peft", reason="needs gapbench[train]")

from transformers import AutoTokenizer

from gapbench.engines._prompting import Prompting
from gapbench.loop.config import Arm, LoopConfig, Training
from gapbench.loop.measuring import Directory
from gapbench.loop.rounds import run_loop
from gapbench.loop.sft import tokens_of
from gapbench.models import resolve
from gapbench.run import Run

pytestmark = [pytest.mark.model, pytest.mark.slow]


def test_a_round(tmp_path: Path) -> None:
    config = LoopConfig(
        suite="starter",
        tasks=("sums",),
        arms=tuple(map(Arm.of, ("gold", "frozen:yesno"))),
        rounds=1,
        prompts=4,
        held_out=4,
        fresh=0,
        n=4,
        filter="best@2",
        training=Training(epochs=4, batch=4, examples=4, learning_rate=2e-4),
    )
    found = run_loop(config, tmp_path / "loop")
    at = Directory(found.path)
    assert len(found.points) == 2 * 2 * 2
    for arm in config.arms:
        facts = found.steps[f"{arm.folder}/round-1/train"]
        assert facts["steps"] == 4
        assert facts["last_loss"] < facts["first_loss"]
        assert facts["weights"].startswith("sha256:")
        run = Run(at.run(arm, 1, "held-out"))
        assert run.store.count("responses") == 16
        assert run.manifest["engine"]["model"]["id"] == str(at.model(arm, 1))
        assert not list(at.round(arm, 1).glob("*.part"))
    weights = {found.steps[f"{arm.folder}/round-1/train"]["weights"] for arm in config.arms}
    assert len(weights) == 2
    judges = Run(at.run(config.arms[1], 1, "practice")).manifest["judges"]
    assert judges["yesno@smollm2-135m"]["model"]["id"] == "HuggingFaceTB/SmolLM2-135M-Instruct"


def test_the_tokens_that_were_drawn_are_learnt() -> None:
    tokenizer = AutoTokenizer.from_pretrained(resolve("smollm2-135m").source)
    prompting = Prompting(tokenizer)
    turns = [{"role": "user", "content": "1 + 1?"}]
    plain = {
        "style": "plain",
        "messages": turns,
        "text": " 2",
        "finished": True,
        "stop": ["\n"],
        "token_ids": None,
    }
    prompt, response = tokens_of(plain, tokenizer, prompting)
    assert tokenizer.decode(prompt) == "Q: 1 + 1?\nA:"
    assert tokenizer.decode(response) == " 2\n"
    assert tokens_of({**plain, "token_ids": [5, 7]}, tokenizer, prompting) == (prompt, [5, 7])
    cut = tokens_of({**plain, "finished": False}, tokenizer, prompting)[1]
    assert tokenizer.decode(cut) == " 2"
    chat = tokens_of({**plain, "style": "chat", "text": "2", "stop": []}, tokenizer, prompting)
    assert tokenizer.decode(chat[0]).endswith("1 + 1?<|im_end|>\n<|im_start|>assistant\n")
    assert tokenizer.decode(chat[1]) == "2<|im_end|>"
    json.dumps(chat)
