"""A run as a data set folder for the Hugging Face hub: Parquet tables, and a card that says what is in them.

The folder can be uploaded as it is, and read from the disk:

>>> datasets.load_dataset("folder", "responses", split="train")  # doctest: +SKIP

`data/responses.parquet` and `data/verdicts.parquet` are tables that `gapbench import --from table` reads.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

import gapbench
from gapbench.estimate.results import Estimate, Estimates
from gapbench.interop.export_table import left_out, write_tables
from gapbench.interop.folders import new_folder
from gapbench.interop.logs import Exported, Log
from gapbench.records import Prompt
from gapbench.report.text import interval, number, one_line
from gapbench.run import Run

_SIZES = (
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
)
_SHOWN = 40
_WHAT = {
    "prompts": "what was asked: messages, reference, metadata (JSON), cluster",
    "responses": "what the model said, its utility in [0, 1], its status and the normal form of its answer",
    "verdicts": "what each verifier said of each response",
    "estimates": "every quantity of the run with its standard error and 95 % interval",
}


def export_hub(run: Run, log: Log, out: str | Path) -> Exported:
    """Write the folder.

    Parameters
    ----------
    run
        The run, for its estimates and prompts.
    log
        The same run as a log.
    out
        The folder to make.

    Raises
    ------
    UserError
        If something is at `out`.
    """
    notes = [*log.notes, *left_out(log)]
    estimates = run.estimate()
    with new_folder(Path(out)) as folder:
        data = folder / "data"
        data.mkdir()
        pq.write_table(run.store.read(Prompt.table), data / "prompts.parquet", compression="zstd")
        names = ["prompts.parquet", *write_tables(log, data), "estimates.parquet"]
        estimates.to_frame().to_parquet(data / "estimates.parquet", index=False)
        rows = pq.read_metadata(data / "responses.parquet").num_rows
        card = _header(log, [name.partition(".")[0] for name in names], rows) + _body(
            run, log, estimates, notes, names
        )
        (folder / "README.md").write_text(card, encoding="utf-8")
    files = (Path(out) / "README.md", *(Path(out) / "data" / name for name in names))
    return Exported(Path(out), files, tuple(notes))


def _header(log: Log, tables: Sequence[str], rows: int) -> str:
    """The YAML that the hub reads."""
    size = next((name for limit, name in _SIZES if rows < limit), "n>10M")
    facts = {
        "pretty_name": one_line(f"gapbench: {log.model}", 120),
        # Whoever publishes the folder knows under what terms its prompts may be passed on.
        "license": "unknown",
        "task_categories": ["text-generation"],
        "size_categories": [size],
        "tags": ["gapbench", "evaluation", "generation-verification-gap"],
        "configs": [
            {"config_name": name, "data_files": f"data/{name}.parquet"}
            | ({"default": True} if name == "responses" else {})
            for name in tables
        ],
    }
    return f"---\n{yaml.safe_dump(facts, sort_keys=False, allow_unicode=False)}---\n\n"


def _body(run: Run, log: Log, estimates: Estimates, notes: Sequence[str], files: Sequence[str]) -> str:
    tasks = run.manifest["tasks"]
    sources = [(task.name, task.domain, tasks[task.name].get("card", {})) for task in log.tasks]
    lines = [
        f"# {_plain(log.model)}: responses and verdicts",
        "",
        f"Made by gapbench {gapbench.__version__}: responses of a language model, their ground truth, and what verifiers "
        "said of them, to measure how much the model could gain by judging its own answers.",
        "",
        "| table | what is in it |",
        "|---|---|",
        *(f"| `{name}` | {what} |" for name, what in _WHAT.items() if f"{name}.parquet" in files),
        "",
        "A response is `scored`, has `no_answer`, was `truncated` (both utility 0), or is an `error:REASON`, which has no "
        "utility and does not count. A verdict without a score is missing, never a no.",
        "",
        "## Estimates",
        "",
        "Accuracy and gaps over all domains, with 95 % intervals (the prompts are a sample).",
        "",
        "| domain | verifier | quantity | value | interval |",
        "|---|---|---|---|---|",
        *(_row(one) for one in _headlines(estimates)),
        "",
        "## Sources",
        "",
        "Set `license` above before publishing; the prompts have terms of their own:",
        "",
        "| task | domain | source | licence |",
        "|---|---|---|---|",
        *(
            f"| {_plain(name)} | {_plain(domain)} | {_plain(card.get('source', 'not known'))} | "
            f"{_plain(card.get('licence', 'not known'))} |"
            for name, domain, card in sources
        ),
        "",
    ]
    if notes:
        lines += ["## Left out", "", *(f"- {_plain(note)}" for note in notes), ""]
    return "\n".join(lines)


def _headlines(estimates: Estimates) -> list[Estimate]:
    wanted = [
        one
        for one in estimates
        if not one.task
        and one.quantity in ("accuracy", "gap")
        and (one.quantity == "gap" or not one.filter)
        and "degenerate" not in one.flags
        and one.filter != "soft"
    ]
    return wanted[:_SHOWN]


def _row(one: Estimate) -> str:
    label = one.quantity + (
        f"[{one.filter}, m={one.m}]" if one.m else f"[{one.filter}]" if one.filter else ""
    )
    told = "not estimable" if "not_estimable" in one.flags else interval(one.low, one.high)
    cells = (one.domain, one.verifier or "-", label, number(one.value), told)
    return f"| {' | '.join(_plain(cell) for cell in cells)} |"


def _plain(text: Any) -> str:
    """A stranger's words inside Markdown: one line, no markup."""
    return re.sub(r"([\\`*_{}\[\]<>|#!$~&])", r"\\\1", one_line(str(text), 200))
