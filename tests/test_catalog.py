"""The model registry: its figures hold together, names are found, files of one's own add and override."""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import yaml

from gapbench.catalog import complete_model, find_model, load_catalog, training_flops
from gapbench.catalog.listing import SHIPPED
from gapbench.engines.base import ModelInfo
from gapbench.errors import UserError
from gapbench.models import EMBEDDED

CATALOG = load_catalog()
FAMILIES = {
    "Qwen1.5", "Qwen2", "Qwen2.5", "Qwen3", "Llama-2", "Llama-3", "Llama-3.1", "Llama-3.2", "Gemma", "Gemma-2",
    "Gemma-3", "Yi-1.5", "Mistral", "Phi", "OLMo", "OLMo-2", "Pythia", "SmolLM", "SmolLM2", "DeepSeek-R1-Distill",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _only_shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GAPBENCH_MODELS", raising=False)


def write(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_enough_models_of_every_family() -> None:
    assert len(CATALOG) >= 80
    assert {entry.family for entry in CATALOG} >= FAMILIES
    assert {entry.kind for entry in CATALOG} == {"base", "post-trained"}


def test_every_figure_has_a_source_and_every_unknown_a_note() -> None:
    for entry in CATALOG:
        assert entry.parameters is not None, entry.id
        for figure in ("parameters", "tokens"):
            known = getattr(entry, figure) is not None
            assert known == (figure in entry.sources), (entry.id, figure)
            assert known or "not published" in entry.notes, (entry.id, figure)
        for source in entry.sources.values():
            assert " " in source, f"{entry.id}: '{source}' is no word of the table of sources"


def test_every_word_of_the_table_of_sources_is_used() -> None:
    words = yaml.safe_load(SHIPPED.read_text())["sources"].values()
    used = {source.rpartition("as ")[2] for entry in CATALOG for source in entry.sources.values()}
    assert not [word for word in words if not any(word.endswith(one) for one in used)]


def test_names_mean_one_model_each() -> None:
    names = Counter(name.lower() for entry in CATALOG for name in (entry.id, *entry.aliases))
    assert [name for name, times in names.items() if times > 1] == []
    for name in names:
        assert CATALOG.find(name) is not None


def test_children_are_as_large_as_their_parents_and_of_their_family() -> None:
    children = [entry for entry in CATALOG if entry.parent]
    assert len(children) > 60
    for entry in children:
        parent = CATALOG.get(entry.parent or "")
        assert entry.kind == "post-trained"
        assert entry.tokens == parent.tokens, entry.id
        if entry.family == "DeepSeek-R1-Distill":  # fine-tuned models of other makers
            assert entry.family != parent.family
        else:
            assert entry.family == parent.family, entry.id
            assert entry.parameters == pytest.approx(parent.parameters, rel=0.02), entry.id


def test_the_distilled_model_with_an_output_matrix_of_its_own() -> None:
    entry = CATALOG.get("DeepSeek-R1-Distill-Qwen-1.5B")
    parent = CATALOG.get(entry.parent or "")
    assert (entry.parameters or 0) - (parent.parameters or 0) == 151_936 * 1_536
    assert entry.active_parameters == entry.parameters


def test_sizes_agree_with_what_the_names_say() -> None:
    """A slipped digit would show: names state the size to within a fifth, with few known exceptions."""
    loose = {
        "gemma-7b",
        "gemma-7b-it",
        "gemma-2b",
        "gemma-2b-it",
        "gemma-2-2b",
        "gemma-2-2b-it",
    }  # 2.5, 8.5, 2.6
    for entry in CATALOG:
        short = entry.id.rpartition("/")[2]
        match = re.search(r"[-_](\d+(?:\.\d+)?)([bm])(?![a-z])", short.lower())
        if match is None or "mixtral" in short.lower():
            continue
        said = float(match[1]) * {"b": 1e9, "m": 1e6}[match[2]]
        tolerance = 0.35 if short in loose else 0.21
        if short.startswith("OLMo-2-0425-1B"):
            tolerance = 0.5  # 1.48B with untied embeddings
        if short.startswith("Llama-3.2-1B"):
            tolerance = 0.24
        assert entry.parameters == pytest.approx(said, rel=tolerance), short


@pytest.mark.parametrize(
    ("name", "published", "tolerance"),
    [
        ("Llama-3.1-405B", 3.8e25, 0.01),  # arXiv 2407.21783, section 1
        ("pythia-12b", 2.2e22, 0.05),  # of the order of 6 x 12e9 x 300e9
        ("Llama-2-70b-hf", 8.4e23, 0.03),  # 6 x 70e9 x 2e12
        ("SmolLM-1.7B", 1.03e22, 0.01),  # 6 x 1.71e9 x 1e12
        ("gemma-3-270m", 9.72e21, 0.01),  # 6 x 270e6 x 6e12
    ],
)
def test_compute_agrees_with_published_figures(name: str, published: float, tolerance: float) -> None:
    assert CATALOG.get(name).flops == pytest.approx(published, rel=tolerance)


@pytest.mark.parametrize(
    ("name", "total", "active"),
    [
        ("Mixtral-8x7B-v0.1", 46.7e9, 12.9e9),  # mistral.ai/news/mixtral-of-experts
        ("Mixtral-8x22B-v0.1", 141e9, 39e9),
        ("Qwen3-30B-A3B", 30.5e9, 3.3e9),  # model card
        ("Qwen3-235B-A22B", 235e9, 22e9),
        ("Qwen2-57B-A14B", 57.4e9, 14e9),
    ],
)
def test_mixtures_count_what_a_token_passes_through(name: str, total: float, active: float) -> None:
    entry = CATALOG.get(name)
    assert entry.parameters == pytest.approx(total, rel=0.01)
    assert entry.active_parameters == pytest.approx(active, rel=0.03)
    if entry.tokens:
        assert entry.flops == pytest.approx(6 * (entry.active_parameters or 0) * entry.tokens, rel=1e-12)


def test_exact_counts_of_model_cards() -> None:
    """Pythia's card prints weights without embeddings; what is left are two matrices of vocabulary x width."""
    card = {
        "70m": (18_915_328, 50_304, 512),
        "410m": (302_311_424, 50_304, 1024),
        "1b": (805_736_448, 50_304, 2048),
        "1.4b": (1_208_602_624, 50_304, 2048),
        "2.8b": (2_517_652_480, 50_304, 2560),
        "12b": (11_327_027_200, 50_688, 5120),
    }
    for size, (body, vocabulary, width) in card.items():
        assert CATALOG.get(f"pythia-{size}").parameters == body + 2 * vocabulary * width


def test_the_embedded_models_are_listed_with_the_engine_s_figures() -> None:
    for alias, embedded in EMBEDDED.items():
        entry = find_model(alias)
        assert entry is not None
        assert (entry.id, entry.parameters, entry.tokens) == (
            embedded.id,
            embedded.parameters,
            embedded.training_tokens,
        )


def test_figures_agree_with_the_released_tables_of_arxiv_2512_02304(shared_data: Path) -> None:
    """Sizes and tokens as another group compiled them, for the families whose names translate.

    They give Llama 3.2's 1B and 3B the tokens of Llama 3, where the model card says up to 9T.
    """
    checked = 0
    with (shared_data / "self_verification_gsm8k.csv").open() as stream:
        for row in csv.DictReader(stream):
            name = row["model"]
            if name.startswith("Qwen2.5"):
                name = name.removesuffix("-Base") if name.endswith("-Base") else f"{name}-Instruct"
            elif not name.startswith("Qwen3"):
                continue
            entry = CATALOG.get(f"Qwen/{name}")
            assert entry.parameters == pytest.approx(float(row["parameters_b"]) * 1e9, rel=0.02), name
            assert entry.tokens == float(row["tokens_t"]) * 1e12, name
            checked += 1
    assert checked >= 20


@pytest.mark.parametrize(
    ("name", "means"),
    [
        ("qwen/qwen2.5-7b", "Qwen/Qwen2.5-7B"),
        ("QWEN2.5-7B-INSTRUCT", "Qwen/Qwen2.5-7B-Instruct"),
        ("meta-llama/Meta-Llama-3.1-8B", "meta-llama/Llama-3.1-8B"),
        ("Meta-Llama-3-8B-Instruct", "meta-llama/Meta-Llama-3-8B-Instruct"),
        ("smollm2-135m", "HuggingFaceTB/SmolLM2-135M-Instruct"),
    ],
)
def test_names_are_found(name: str, means: str) -> None:
    found = find_model(name)
    assert found is not None
    assert found.id == means


@pytest.mark.parametrize("name", ["somebody/Qwen2.5-7B", "./Qwen2.5-7B", "Qwen2.5-7B-AWQ", ""])
def test_what_is_not_listed_is_none(name: str) -> None:
    assert find_model(name) is None


def test_an_ambiguous_name_is_refused_with_its_candidates(tmp_path: Path) -> None:
    path = write(tmp_path, "models:\n- {id: me/Qwen2.5-7B, family: Mine, kind: base}\n")
    with pytest.raises(UserError, match=r"Qwen2\.5-7B' may mean Qwen/Qwen2\.5-7B, me/Qwen2\.5-7B; write one"):
        find_model("Qwen2.5-7B", extra=[path])
    found = find_model("Qwen/Qwen2.5-7B", extra=[path])
    assert found is not None
    assert found.family == "Qwen2.5"
    with pytest.raises(UserError, match="SmolLM2-135M, HuggingFaceTB/SmolLM2-135M-Instruct"):
        find_model("SmolLM2-135M")  # the embedded alias in other letters, and the base model


def test_a_misspelt_name_gets_a_suggestion() -> None:
    with pytest.raises(UserError, match=r"did you mean 'Qwen2\.5-7B-Instruct'"):
        CATALOG.get("Qwen2.5-7B-Instuct")
    with pytest.raises(UserError, match="did you mean 'allenai/OLMo-2-1124-7B'"):
        CATALOG.get("allenai/OLMo2-1124-7B")
    with pytest.raises(UserError, match="`gapbench ls models` lists them"):
        CATALOG.get("nothing-like-it")


def test_a_file_adds_and_overrides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = write(
        tmp_path,
        """
        sources: {guess: a guess of mine}
        models:
        - {id: mistralai/Mistral-7B-v0.1, tokens: {value: 8T, source: guess}}
        - {id: me/tiny, family: Tiny, kind: base, parameters: 15M, tokens: 2.5e9}
        - {id: me/tiny-chat, kind: post-trained, parent: me/tiny}
        - {id: me/tiny-tuned, kind: post-trained, parent: me/tiny-chat, tokens: null}
        """,
    )
    two = write(tmp_path, "models: [{id: me/tiny, tokens: 3_000_000_000}]", "two.yaml")
    monkeypatch.setenv("GAPBENCH_MODELS", str(one))
    catalog = load_catalog([two])
    assert len(catalog) == len(CATALOG) + 3
    mistral = catalog.get("Mistral-7B-v0.1")
    assert (mistral.tokens, mistral.sources["tokens"]) == (8 * 10**12, "a guess of mine")
    assert mistral.parameters == CATALOG.get("Mistral-7B-v0.1").parameters
    assert catalog.get("Mistral-7B-Instruct-v0.1").tokens == 8 * 10**12
    tiny, chat, tuned = (catalog.get(f"me/{name}") for name in ("tiny", "tiny-chat", "tiny-tuned"))
    assert (tiny.parameters, tiny.tokens, tiny.sources["tokens"]) == (15_000_000, 3_000_000_000, str(two))
    assert tiny.sources["parameters"] == str(one)
    assert (chat.family, chat.flops) == ("Tiny", 6 * 15e6 * 3e9)
    assert chat.sources["tokens"] == f"as me/tiny: {two}"
    assert tuned.parameters == 15_000_000
    assert tuned.tokens is None
    assert tuned.flops is None
    assert find_model("me/tiny") is not None
    assert len(load_catalog()) == len(CATALOG) + 3
    assert CATALOG.get("Mistral-7B-v0.1").tokens is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("models: [", r"line 1: not YAML; check"),
        ("- a\n- b\n", "needs a list under the key 'models'"),
        ("models: []\nmodel: []", "'model' is not known; did you mean 'models'"),
        ("sources: [a]\nmodels: []", "'sources' must map words to texts"),
        ("models: [just-a-name]", "entry 'number 1': "),
        ("models: [{family: x}]", "entry 'number 1': 'id': Field required"),
        ("models: [{id: a/b, kind: base}]", "entry 'a/b': needs 'family'"),
        ("models: [{id: a/b, family: x}]", "entry 'a/b': needs 'kind': base or post-trained"),
        ("models: [{id: a/b, family: x, kind: chat}]", "entry 'a/b': 'kind': Input should be 'base' or"),
        ("models: [{id: a/b, token: 2T}]", "entry 'a/b': 'token': Extra inputs .*; did you mean 'tokens'"),
        ("models: [{id: a/b, tokens: many}]", "entry 'a/b': 'tokens': must be a count, such as 18T"),
        ("models: [{id: a/b, tokens: 1.5}]", "entry 'a/b': 'tokens': must be a whole count above 0"),
        ("models: [{id: a/b, tokens: 0}]", "entry 'a/b': 'tokens': must be a whole count above 0"),
        ("models: [{id: a/b, tokens: -2T}]", "entry 'a/b': 'tokens': must be a count"),
        ("models: [{id: a/b, tokens: true}]", "entry 'a/b': 'tokens': must be a count"),
        ("models: [{id: a/b, kind: base, parent: Qwen/Qwen2-9B}]", "parent 'Qwen/Qwen2-9B' is not listed"),
        ("models: [{id: a/b, kind: base, parent: a/b}]", "entry 'a/b': is among its own ancestors"),
        (
            "models: [{id: a/b, kind: base, parent: a/c}, {id: a/c, kind: base, parent: a/b}]",
            "is among its own ancestors",
        ),
        ("models: [{id: Qwen/Qwen2-7B}, {id: Qwen/Qwen2-7B}]", "'Qwen/Qwen2-7B' is there twice"),
        (
            "models: [{id: a/b, family: x, kind: base, parameters: 1B, active_parameters: 2B}]",
            "entry 'a/b': 'active_parameters' are more than 'parameters'",
        ),
    ],
)
def test_a_bad_file_gets_one_line_that_names_it(tmp_path: Path, text: str, told: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UserError, match=told) as caught:
        load_catalog([path])
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message


def test_a_file_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAPBENCH_MODELS", str(tmp_path / "none.yaml"))
    with pytest.raises(UserError, match=r"none\.yaml: cannot be read \(No such file"):
        load_catalog()


def test_the_frame_is_sorted_by_family_and_size() -> None:
    frame = CATALOG.to_frame()
    assert len(frame) == len(CATALOG)
    assert list(frame["family"].str.lower()) == sorted(frame["family"].str.lower())
    for _, family in frame.groupby("family"):
        assert family["parameters"].is_monotonic_increasing
    known = frame.dropna(subset="tokens")
    np.testing.assert_allclose(
        known["flops"].astype(float),
        6.0 * known["active_parameters"].astype(float) * known["tokens"].astype(float),
    )
    assert frame.loc[frame["family"] == "Mistral", "flops"].isna().all()
    text = CATALOG.to_text().splitlines()
    assert len(text) == len(CATALOG) + 1
    assert max(map(len, text)) < 120
    listed = {row["id"]: row for row in CATALOG.to_json()}
    assert listed["Qwen/Qwen2.5-0.5B"]["flops"] == 6 * 494_032_768 * 18e12
    assert listed["mistralai/Mistral-7B-v0.1"]["tokens"] is None


def test_a_manifest_prefers_what_the_engine_counted() -> None:
    measured = ModelInfo(id="Qwen/Qwen2.5-0.5B-Instruct", parameters=494_032_768)
    done = complete_model(asdict(measured), CATALOG)
    assert done["training_tokens"] == 18 * 10**12
    assert done["sources"]["parameters"] == "counted by the engine"
    assert done["sources"]["training_tokens"].startswith("as Qwen/Qwen2.5-0.5B: Qwen2.5 Technical Report")
    assert (done["family"], done["kind"], done["active_parameters"]) == (
        "Qwen2.5",
        "post-trained",
        494_032_768,
    )

    other = complete_model(asdict(ModelInfo(id="Qwen/Qwen2.5-0.5B", parameters=500_000_000)), CATALOG)
    assert other["parameters"] == other["active_parameters"] == 500_000_000
    assert other["sources"]["parameters"] == "counted by the engine; the catalog has 494_032_768"


def test_a_manifest_takes_from_the_catalog_what_the_engine_does_not_know() -> None:
    done = complete_model({"id": "Qwen/Qwen3-30B-A3B"}, CATALOG)
    entry = CATALOG.get("Qwen/Qwen3-30B-A3B")
    assert (done["parameters"], done["active_parameters"]) == (entry.parameters, entry.active_parameters)
    assert done["sources"]["parameters"] == entry.sources["parameters"]
    assert training_flops(done["active_parameters"], done["training_tokens"]) == entry.flops


def test_a_manifest_of_an_unknown_or_ambiguous_model_says_only_what_the_engine_does() -> None:
    for name in ("somebody/else", "SmolLM2-135M"):
        done = complete_model(asdict(ModelInfo(id=name, parameters=7)), CATALOG)
        assert (done["parameters"], done["active_parameters"], done["training_tokens"]) == (7, 7, None)
        assert (done["family"], done["kind"]) == (None, None)
        assert done["sources"] == {"parameters": "counted by the engine"}
    embedded = EMBEDDED["gemma3-270m"]
    info = ModelInfo(id=embedded.id, parameters=embedded.parameters, training_tokens=embedded.training_tokens)
    assert complete_model(asdict(info), CATALOG)["sources"]["training_tokens"] == "given by the engine"
