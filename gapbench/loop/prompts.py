"""Which questions a loop trains on and which it is measured on: sets that share no question, in any round.

Practice prompts come from the questions that a suite sets aside (`split: calibrate`). They stay the same in every round, as
the forecasts assume. Held-out prompts are the first of the split `measure`, the same for every arm and round, so that
contrasts are paired. Fresh prompts follow them, other ones in every round and the same for every arm: nothing has ever been
chosen by their outcome.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from gapbench.errors import UserError
from gapbench.loop.config import LoopConfig
from gapbench.records import Prompt
from gapbench.tasks import Suite, load_suite

Split = Literal["measure", "calibrate"]


@dataclass(frozen=True)
class PromptSets:
    """The prompts of a loop; use `load_prompts`.

    Attributes
    ----------
    practice_suite, measure_suite
        The suite at its two splits.
    """

    config: LoopConfig
    practice_suite: Suite
    measure_suite: Suite

    def suite(self, place: str) -> tuple[Suite, Split]:
        """The suite, at the split that a set is drawn from."""
        if place == "practice":
            return self.practice_suite, "calibrate"
        return self.measure_suite, "measure"

    def prompts(self, place: str, number: int) -> list[Prompt]:
        """The prompts of a set in a round."""
        config = self.config
        first = config.held_out + config.fresh * number
        window = {
            "practice": slice(0, config.prompts),
            "held-out": slice(0, config.held_out),
            "fresh": slice(first, first + config.fresh),
        }[place]
        return [prompt for task in self.suite(place)[0].tasks for prompt in task.prompts[window]]

    @cached_property
    def digests(self) -> dict[str, str]:
        """What identifies the questions."""
        return {"practice": self.practice_suite.digest, "measure": self.measure_suite.digest}


def load_prompts(config: LoopConfig) -> PromptSets:
    """Load the sets and check that there are questions enough.

    Raises
    ------
    UserError
        For an unknown suite or task, data at fault, or a task that has too few questions for fresh ones in every round.
    """
    sets = PromptSets(config, *(_suite(config, split) for split in ("calibrate", "measure")))
    wanted = config.held_out + config.fresh * (config.rounds + 1)
    for task in sets.measure_suite.tasks:
        if config.fresh and len(task.prompts) < wanted:
            raise UserError(
                f"task '{task.name}' has {len(task.prompts)} questions to measure on; --held-out {config.held_out} and "
                f"--fresh {config.fresh} in each of {config.rounds + 1} measurements need {wanted}: lower one of them"
            )
    for task in sets.practice_suite.tasks:
        task.prompts  # noqa: B018 (reading them is the test)
    return sets


def _suite(config: LoopConfig, split: Split) -> Suite:
    return load_suite(config.suite, split=split, data_dir=config.data_dir, tasks=config.tasks or None)
