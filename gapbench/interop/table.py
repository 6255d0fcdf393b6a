"""Anyone's table of responses, with or without verdicts on them, as a run that every analysis reads.

The columns are those of measurement.md section 2. All rows are checked, in batches, and the first bad one is named; of a
table that does not pass nothing is left behind.

>>> import_table("responses.csv", "verdicts.parquet", out="runs/mine").flags  # doctest: +SKIP
{'unanimous': 12}
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gapbench
from gapbench.errors import UserError
from gapbench.interop.folders import new_folder
from gapbench.interop.reading import Source
from gapbench.interop.responses import ResponseRows
from gapbench.interop.rows import Shards
from gapbench.interop.verdicts import ImportedVerifier, VerdictRows, check_thresholds
from gapbench.run import IMPORTED, Run, RunConfig, hardware, libraries, now
from gapbench.store import RunStore


@dataclass(frozen=True)
class Imported:
    """What was imported.

    Attributes
    ----------
    statuses
        Status to number of responses that have it.
    verifiers
        By name.
    flags
        What is allowed but limits what can be said, with counts: `one_response` (prompts with one response that
        counts), `unanimous` (prompts whose responses all have the same utility, where there is nothing to choose),
        `utility_set_to_0` (responses `truncated` or with `no_answer` that had another utility) and `score_dropped`
        (verdicts with a score and a status that says there is none).
    """

    run: Run
    prompts: int
    responses: int
    statuses: dict[str, int]
    verifiers: dict[str, ImportedVerifier]
    flags: dict[str, int]

    def lines(self) -> list[str]:
        """The same in words."""
        said = [f"{self.responses:,} responses to {self.prompts:,} prompts"]
        for name, one in self.verifiers.items():
            scores = f"scores from {one.low:g} to {one.high:g}" if one.low <= one.high else "no score"
            threshold = "no threshold" if one.threshold is None else f"threshold {one.threshold:g}"
            said.append(
                f"verifier {name}: {one.verdicts:,} verdicts, {one.missing:,} of them missing; {scores}, read as "
                f"{one.scale}, {threshold}"
            )
        return said + [f"{FLAGS[name]}: {count:,}" for name, count in self.flags.items()]


FLAGS = {
    "one_response": "prompts with one response, where there is nothing to choose from",
    "unanimous": "prompts whose responses all have the same utility, whose gap is 0 whatever the scores",
    "utility_set_to_0": "responses without an answer, or truncated, whose utility was set to 0",
    "score_dropped": "verdicts whose score was dropped because their status says there is none",
}


def import_table(
    responses: str | Path,
    verdicts: str | Path | None = None,
    *,
    out: str | Path,
    thresholds: Mapping[str, float] | None = None,
) -> Imported:
    """Make a run of a table of responses, and of one of verdicts on them.

    Parameters
    ----------
    responses
        CSV or Parquet with the columns domain, task, prompt_id, response, utility, and optionally answer, cluster (of
        the prompt), n_tokens, status, model.
    verdicts
        CSV or Parquet with the columns task, prompt_id, response, verifier, replicate, score, and optionally status,
        judge.
    out
        The run directory.
    thresholds
        Verifier to the score from which a response passes; 0.5 where scores are probabilities and none is given.

    Raises
    ------
    UserError
        If a table breaks the contract: the file, the row and the remedy are named.
    """
    start, begun = time.monotonic(), now()
    check_vacant(out)
    wanted = dict(thresholds or {})
    with new_folder(Path(out), "importing") as folder:
        pool = ResponseRows(Path(responses))
        judged = None if verdicts is None else VerdictRows(Path(verdicts), pool)
        with Shards(folder) as shards:
            pool.read(shards)
            if judged is not None:
                judged.read(shards)
        verifiers = {} if judged is None else judged.verifiers
        check_thresholds(wanted, verifiers)
        for name, one in verifiers.items():
            one.threshold = wanted.get(name, 0.5 if one.scale == "probability" else None)
        flags = pool.flags() | (judged.flags() if judged is not None else {})
        flags = {name: count for name, count in flags.items() if count}
        RunStore(folder).write_manifest(
            _manifest(pool, judged, flags)
            | {
                "created": begun,
                "sessions": [
                    {
                        "stage": "import",
                        "started": begun,
                        "rows": pool.rows + (judged.rows if judged is not None else 0),
                        "seconds": round(time.monotonic() - start, 3),
                        "statuses": pool.statuses,
                    }
                ],
            }
        )
    return Imported(Run(out), len(pool.prompts), pool.rows, pool.statuses, verifiers, flags)


def check_vacant(out: str | Path) -> None:
    """Check that a run can be made here.

    Raises
    ------
    UserError
        If something is there already.
    """
    store = RunStore(out)
    if store.exists:
        raise UserError(f"--out {out}: a run is already there; name another")
    store.check_vacant()


def _manifest(pool: ResponseRows, judged: VerdictRows | None, flags: dict[str, int]) -> dict[str, Any]:
    name = pool.source.path.name
    model = pool.model or name.partition(".")[0]
    verifiers = {} if judged is None else judged.verifiers
    config = RunConfig(
        suite=name,
        model=model,
        engine=IMPORTED,
        n=int(pool.cells.width.max()),
        verifiers=tuple(verifiers),
        verdicts=max((one.replicates for one in verifiers.values()), default=1),
    )
    files = {"responses": _facts(pool.source, pool.rows)}
    if judged is not None:
        files["verdicts"] = _facts(judged.source, judged.rows)
    return {
        "gapbench": gapbench.__version__,
        "config": config.model_dump(mode="json"),
        "engine": {"engine": IMPORTED, "model": {"id": model}},
        "imported": {"from": "table", **files, "flags": flags},
        "verifiers": {
            name: {"scale": one.scale, "threshold": one.threshold, "whole_pool": False}
            for name, one in verifiers.items()
        },
        "suite": {"name": name, "digest": files["responses"]["sha256"]},
        "tasks": {task: {"domain": domain, "title": task} for task, domain in pool.domains.items()},
        "hardware": hardware(),
        "libraries": libraries(),
    }


def _facts(source: Source, rows: int) -> dict[str, Any]:
    return {
        "file": str(source.path),
        "sha256": source.digest(),
        "bytes": source.path.stat().st_size,
        "rows": rows,
    }
