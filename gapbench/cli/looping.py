"""`loop`: the self-improvement that projections are about, run for real."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from gapbench.cli._completing import arm_names, model_names, suite_names, task_names
from gapbench.cli._shared import KEPT, AsJson, command, engine_options_of, note
from gapbench.errors import UserError
from gapbench.models import DEFAULT_MODEL

ARMS = ("gold", "frozen:yesno", "self:likelihood")
OPTIONS = {  # where the option is not the field's name
    "suite": "SUITE",
    "n": "-n",
    "examples": "--most",
    "data_dir": "--data",
}


@command(loads="gapbench.loop.rounds", stopped=f"{KEPT} and --resume")
def loop(
    suite: Annotated[
        str,
        typer.Argument(
            help="A suite's name (see `gapbench ls suites`) or a YAML file.", autocompletion=suite_names
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            "-m", "--model", help="Embedded alias, hub id or local path.", autocompletion=model_names
        ),
    ] = DEFAULT_MODEL,
    arm: Annotated[
        list[str] | None,
        typer.Option(
            "--arm",
            metavar="ARM",
            help="gold, frozen:VERIFIER[@MODEL] or self:VERIFIER, repeatable; VERIFIER may be a YAML file. "
            f"Default: {', '.join(ARMS)}.",
            autocompletion=arm_names,
        ),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            "-t",
            "--task",
            metavar="NAME",
            help="Only this task of the suite; repeatable.",
            autocompletion=task_names,
        ),
    ] = None,
    rounds: Annotated[int, typer.Option("--rounds", help="Times to train.")] = 5,
    prompts: Annotated[
        int,
        typer.Option("--prompts", help="Practice prompts of each task, at most; the same in every round."),
    ] = 64,
    held_out: Annotated[
        int, typer.Option("--held-out", help="Prompts of each task that are only measured, at most.")
    ] = 64,
    fresh: Annotated[
        int, typer.Option("--fresh", help="Prompts of each task that are new in every round; 0 for none.")
    ] = 10,
    n: Annotated[int, typer.Option("-n", help="Responses for each prompt.")] = 16,
    filter: Annotated[str, typer.Option("--filter", help="What a round keeps: best@n or top q.")] = "best@4",
    verdicts: Annotated[
        int, typer.Option("--verdicts", help="Verdicts for each response, for sampling verifiers.")
    ] = 8,
    temperature: Annotated[
        float, typer.Option("--temperature", help="Of the responses; below 1 each round sharpens of itself.")
    ] = 1.0,
    epochs: Annotated[float, typer.Option("--epochs", help="Passes over what was kept.")] = 2.0,
    learning_rate: Annotated[float, typer.Option("--learning-rate", help="Of AdamW.")] = 5e-4,
    batch: Annotated[int, typer.Option("--batch", help="Examples in a training step.")] = 16,
    rank: Annotated[int, typer.Option("--rank", help="Of the low-rank adapters.")] = 16,
    most: Annotated[int, typer.Option("--most", help="Training examples in a round, at most.")] = 256,
    engine: Annotated[
        str, typer.Option("--engine", help="What draws: transformers or vllm.")
    ] = "transformers",
    engine_option: Annotated[
        list[str] | None,
        typer.Option("--engine-option", metavar="KEY=VALUE", help="Passed to the engine; repeatable."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", envvar="GAPBENCH_DATA", help="Folder with local copies of hub data sets."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Decides every draw.")] = 0,
    keep_models: Annotated[
        str, typer.Option("--keep-models", help="all, or last: each arm's last one alone.")
    ] = "last",
    out: Annotated[
        Path | None, typer.Option("--out", help="The loop's directory; default loops/SUITE-MODEL.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the loop that is there, or start it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Sample, verify, keep, fine-tune, repeat; forecast every round beforehand, and score the forecasts.

    Example: gapbench loop starter -t sums -t reversal --rounds 3 --out loops/try
    """
    from gapbench.loop.config import Arm, LoopConfig
    from gapbench.loop.rounds import run_loop
    from gapbench.report.loop import print_loop, write_loop

    arms = tuple(map(Arm.of, arm or ARMS))
    try:
        config = LoopConfig(
            suite=suite,
            tasks=tuple(task or ()),
            data_dir=None if data is None else str(data),
            model=model,
            engine=engine,
            engine_options=engine_options_of(engine_option or []),
            arms=arms,
            rounds=rounds,
            prompts=prompts,
            held_out=held_out,
            fresh=fresh,
            n=n,
            verdicts=verdicts,
            filter=filter,
            seed=seed,
            temperature=temperature,
            training={
                "epochs": epochs,
                "learning_rate": learning_rate,
                "batch": batch,
                "rank": rank,
                "examples": most,
            },
            keep_models=keep_models,
        )
    except ValueError as bad:
        first = bad.errors()[0]  # type: ignore[attr-defined]
        field = str(first["loc"][-1])
        option = OPTIONS.get(field, "--" + field.replace("_", "-"))
        raise UserError(f"{option}: {first['msg'].lower()} (got {first['input']!r})") from None
    path = out or Path("loops") / f"{Path(suite).stem}-{Path(model).name}"
    result = run_loop(config, path, resume=resume, tell=lambda step: note(f"step    {step}"))
    for file in write_loop(result):
        if file.suffix != ".svg":
            note(f"written {file}")
    if as_json:
        print(json.dumps(result.to_json(), allow_nan=False))
    else:
        print_loop(result, Console())
