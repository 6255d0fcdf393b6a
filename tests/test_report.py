"""Reports from synthetic numbers: nothing here was measured on a model."""

from __future__ import annotations

import io
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.console import Console

from gapbench.errors import UserError
from gapbench.estimate.results import Estimate, Estimates
from gapbench.panel import Panel, Scores

N, PROMPTS, M = 16, 48, 1
NS = (1, 2, 4, 8, 16)
NAN = float("nan")

# Synthetic truth a domain: accuracy, gap of `yesno` at best@8, half-width.
DOMAINS: dict[str, tuple[float, float, float]] = {
    "arithmetic": (0.50, 0.062, 0.028),
    "capitals": (0.69, 0.008, 0.031),
    "gcd": (0.41, 0.000, 0.000),  # a zero gap: the verifier cannot tell
    "multiple choice": (0.35, -0.041, 0.030),
    "ordering": (0.63, 0.091, 0.040),
    "word sorting": (0.22, 0.030, 0.700),  # too wide to be estimable
}


def row(domain: str, quantity: str, value: float, half: float, *, filter: str = "", n: int | None = None,
        verifier: str = "", flags: tuple[str, ...] = (), task: str = "", signed: bool = True) -> Estimate:  # fmt: skip
    low, high = value - half, value + half
    if not signed:
        low, high = max(low, 0.0), min(high, 1.0)
    domains = len(DOMAINS) if domain == "all" else 1
    return Estimate(
        model="synthetic-model", domain=domain, task=task, verifier=verifier, quantity=quantity, filter=filter, n=n,
        m=M if verifier else None, target="population", value=value, se=half / 2, low=low, high=high,
        n_prompts=PROMPTS * domains, n_responses=PROMPTS * domains * N, flags=flags,
    )  # fmt: skip


def domain_rows(domain: str, accuracy: float, gap: float, half: float, task: str = "") -> list[Estimate]:
    def one(quantity: str, value: float, half: float, **more: Any) -> Estimate:
        return row(domain, quantity, value, half, task=task, **more)

    wide = ("not_estimable",) if half > 0.5 else ("degenerate",) if half == 0 else ()
    rows = [one("accuracy", accuracy, 0.08, signed=False)]
    for n in NS:
        reach = math.log2(n) / 3
        ceiling = 1 - (1 - accuracy) ** (1 + reach)
        rows.append(one("pass@k", ceiling, 0.06, n=n, signed=False))
        vote = 0.05 * reach
        rows.append(one("accuracy", accuracy + vote, 0.08, filter=f"majority@{n}", n=n, signed=False))
        rows.append(one("gap", vote, 0.03 * (n > 1), filter=f"majority@{n}", n=n))
        at = {"filter": f"best@{n}", "n": n, "verifier": "yesno", "flags": wide if n > 1 else ()}
        rows.append(one("accuracy", accuracy + gap * reach, 0.08, signed=False, **at))
        rows.append(one("gap", gap * reach, half * (n > 1), **at))
    pool = {"filter": f"best@{N}", "n": N, "verifier": "majority", "flags": (f"pool={N}",)}
    for verifier, at in (
        ("yesno", {"filter": "best@8", "n": 8, "verifier": "yesno", "flags": wide}),
        ("majority", pool),
    ):
        lift = gap if verifier == "yesno" else gap / 2
        width = half if verifier == "yesno" else 0.03
        if verifier == "majority":
            rows.append(one("accuracy", accuracy + lift, 0.08, signed=False, **at))
            rows.append(one("gap", lift, width, **at))
        rows.append(one("relative_gap", lift / (1 - accuracy), width / (1 - accuracy), **at))
        rows.append(one("relative_gap_per_prompt", lift, width * 2, **at))
        rows.append(one("oracle_share", lift / 0.3, width / 0.3, **at))
        rows.append(one("shortfall", 0.3 - lift, 0.05, **at))
        rows.append(one("gap_permuted", 0.002, 0.02, **at))
        whole = {"verifier": verifier, "flags": tuple(f for f in at["flags"] if f.startswith("pool"))}
        for quantity in ("gap", "gap_pooled", "prompt_mix", "gap_permuted", "gap_pooled_permuted"):
            rows.append(one(quantity, 0.01, 0.02, filter="threshold", **whole))
            rows.append(one(quantity, 0.005, 0.01, filter="soft", **whole))
        for quantity in (
            "tpr",
            "fpr",
            "precision",
            "precision_ceiling",
            "youden",
            "verifier_gain",
            "nothing_passes",
        ):
            rows.append(one(quantity, 0.4, 0.1, filter="threshold", signed=False, **whole))
        rows.append(one("auc_within", 0.5 + 2 * lift, 0.05, signed=False, **whole))
        rows.append(one("auc_between", 0.6, 0.05, signed=False, **whole))
    mute = one("gap", NAN, NAN, verifier="mute", flags=("no_verdicts",))
    return [*rows, replace(mute, n_prompts=0, n_responses=0)]


def synthetic_estimates() -> Estimates:
    rows: list[Estimate] = []
    for domain, (accuracy, gap, half) in DOMAINS.items():
        rows += domain_rows(domain, accuracy, gap, half, task=f"{domain}-task")
        rows += domain_rows(domain, accuracy, gap, half)
    return Estimates([*rows, *domain_rows("all", 0.467, 0.025, 0.018)])


def synthetic_panels(seed: int = 0) -> list[Panel]:
    rng = np.random.default_rng(seed)
    panels = []
    for domain, (accuracy, gap, _) in DOMAINS.items():
        p = rng.beta(3 * accuracy, 3 * (1 - accuracy), PROMPTS)
        utility = (rng.random((PROMPTS, N)) < p[:, None]).astype(float)
        latent = rng.normal(size=utility.shape) + 12 * gap * utility
        share = np.round((utility * p[:, None] + (1 - utility) * (1 - p[:, None])) * N) / N
        censored = rng.random(utility.shape) < 0.01
        answers = np.where(censored, -1, utility.astype(np.int64))
        yesno = 1 / (1 + np.exp(-latent))
        yesno[0, 0] = np.nan
        scores = {
            "yesno": Scores(yesno[:, :, None]),
            "majority": Scores(share[:, :, None], whole_pool=True),
            "mute": Scores(np.full((PROMPTS, N, 1), np.nan)),
        }
        ids = tuple(f"p{i}" for i in range(PROMPTS))
        utility[1, 1] = np.nan
        panels.append(
            Panel(f"{domain}-task", domain, ids, np.arange(PROMPTS), utility, censored, answers, scores)
        )
    return panels


MANIFEST: dict[str, Any] = {
    "gapbench": "0.0.1",
    "created": "2030-01-01T00:00:00+00:00",
    "suite": {"name": "synthetic", "digest": "0" * 16},
    "config": {"model": "synthetic-model", "n": N, "temperature": None},
    "tasks": {f"{domain}-task": {"sampling": {"temperature": 0.7}} for domain in DOMAINS},
    "sessions": [
        {"stage": "sample", "started": "t", "rows": 4000, "requests": 4000, "tokens": 52000, "seconds": 300.5,
         "statuses": {"stop": 3990, "length": 10}},
        {"stage": "sample", "started": "t"},
        {"stage": "verify", "started": "t", "rows": 4600, "requests": 2100, "tokens": 2100, "seconds": 120.0,
         "statuses": {"scored": 4500, "unparsed": 100}},
    ],
}  # fmt: skip

HOSTILE = (
    '<script>alert("x")</script><img src=x onerror=alert(1)>"><svg onload=alert(2)>\n'
    "\x1b[31mred\x1b[0m \x07bell \u202eevil\u202c \u200bzero \x9b31m \ud800\n"
    "{{ 7 * 7 }} {% raw %} </pre></article></body> <!-- ]]> https://evil.example/x.js\n" + "A" * 1_000_000
)


def synthetic_examples() -> list[dict[str, Any]]:
    plain = {
        "domain": "arithmetic", "task": "arithmetic-task", "prompt_id": "p0", "response": 3,
        "why": "wrong, scored highest by yesno", "question": "What is 2 + 3?", "reference": ["5"], "text": "6",
        "answer": "6", "utility": 0.0, "status": "scored", "verdicts": {"yesno": 0.91, "mute": None},
    }  # fmt: skip
    hostile = {name: HOSTILE for name in ("question", "text", "answer", "why", "prompt_id", "status")}
    return [
        plain,
        {**plain, **hostile, "reference": [HOSTILE], "verdicts": {HOSTILE: 0.5}, "domain": HOSTILE},
    ]
