"""Thinking told from answer, in every convention that today's open models use."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapbench.thinking import strip_thinking


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Paris", "Paris"),
        ("", ""),
        ("<think>\nIs it Lyon? No.\n</think>\n\nParis", "Paris"),
        ("<think>\n\n</think>\n\nParis", "Paris"),
        ("Is it Lyon? No.\n</think>\n\nParis", "Paris"),
        ("<think>a <think> b</think>Paris", "Paris"),
        ("<think>a</think>no, b</think>Paris", "Paris"),
        ("<think>a</think>Paris<think>b</think>France", "Paris\nFrance"),
        ("<THINK>a</Think> Paris", "Paris"),
        ("<think>a</thinking>Paris", "Paris"),
        ("<thinking>a</thinking>Paris", "Paris"),
        ("<reasoning>a</reasoning><verdict>yes</verdict>", "<verdict>yes</verdict>"),
        ("<seed:think>a<seed:cot_budget_reflect>b</seed:cot_budget_reflect></seed:think>Paris", "Paris"),
        ("[THINK]a[/THINK]Paris", "Paris"),
        ("◁think▷a◁/think▷Paris", "Paris"),
        ("<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>Paris<|END_RESPONSE|>", "Paris"),
        (
            "<|begin_of_thought|>a<|end_of_thought|>\n<|begin_of_solution|>\nParis\n<|end_of_solution|>",
            "Paris",
        ),
        ("<|channel>thought\na<channel|>Paris", "Paris"),
        (
            "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>Paris<|return|>",
            "Paris",
        ),
        ("<|channel|>final<|message|>Paris", "Paris"),
        (
            "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary<|message|>b<|end|>"
            "<|start|>assistant<|channel|>final <|constrain|>json<|message|>Paris",
            "Paris",
        ),
        ("analysisUser asks for a capital. It is Paris?assistantfinalParis", "Paris"),
    ],
)
def test_closed_thinking_is_left_out(text, answer):
    assert strip_thinking(text) == (answer, False)


@pytest.mark.parametrize(
    ("text", "before"),
    [
        ("<think>\nThe answer is Paris, or", ""),
        ("<think>", ""),
        ("Paris\n<think>or is it", "Paris"),
        ("<think>a</think>Paris. Wait.<thinking>or", "Paris. Wait."),
        ("[THINK]Paris", ""),
        ("<|channel>thought\nParis", ""),
        ("<|channel|>analysis<|message|>Paris", ""),
        ("<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary<|message|>b", ""),
        ("analysisUser asks for a capital. It is", ""),
    ],
)
def test_thinking_left_open_commits_to_nothing(text, before):
    assert strip_thinking(text) == (before, True)


@pytest.mark.parametrize(
    "text",
    [
        "I think the answer is Paris",
        "analysis shows that it is 4",
        "Analysis of variance",
        "x < think > y",
        "the reason is <b>Paris</b>",
        "a thought experiment",
        "THINK again",
    ],
)
def test_words_of_thinking_are_no_tags(text):
    assert strip_thinking(text) == (text, False)


@given(st.text(max_size=60), st.text("abc 123\n", max_size=20))
def test_whatever_was_thought_only_the_answer_is_left(thought, answer):
    assert strip_thinking(f"<think>{thought}</think>{answer}</think>{answer}") == (answer.strip(), False)


@pytest.mark.parametrize(
    "piece",
    ["<think>", "</think>", "<think></think>", "<|channel|>", "<|channel|>final<|message|>", "<", "["],
)
def test_a_megabyte_takes_no_time(piece):
    start = time.monotonic()
    strip_thinking(piece * (10**6 // len(piece)))
    assert time.monotonic() - start < 5
