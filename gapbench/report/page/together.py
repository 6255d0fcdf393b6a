"""What several runs say together: paired differences, scaling, and what became of a model that was trained on.

Each part holds what there is to show, or the reason why there is nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gapbench.comparing.compare import run_labels
from gapbench.report.page.paired import comparison
from gapbench.report.page.parts import Part
from gapbench.report.text import one_line
from gapbench.run import Run

LEAST_FOR_SCALING = 3
NO_COMPARISON = Part(why_not="It takes two runs or more: `gapbench report RUN RUN`.")
NO_SCALING = Part(
    why_not="A law takes three models or more of different training compute: `gapbench report RUN RUN RUN`."
)
NO_TRAJECTORY = Part(
    why_not="Where runs are of one model as it was trained, the base first, `gapbench report RUN RUN --trajectory` tells whether "
    "training gained more than the base held, and where it levels off."
)


@dataclass(frozen=True)
class Together:
    """The parts of a page that are of all its runs."""

    comparison: Part = field(default=NO_COMPARISON)
    scaling: Part = field(default=NO_SCALING)
    trajectory: Part = field(default=NO_TRAJECTORY)


def together(runs: Sequence[Run], *, trajectory: bool) -> Together:
    """Look at several runs together.

    Parameters
    ----------
    trajectory
        Whether they are checkpoints of one model, the base first.

    Raises
    ------
    UserError
        If `trajectory` is asked for and they cannot be such.
    """
    from gapbench.report.page.laws import scaling
    from gapbench.report.page.outcomes import training

    names = dict(zip(run_labels(runs), short_labels(runs), strict=True))
    return Together(
        comparison(runs, names) if len(runs) > 1 else NO_COMPARISON,
        scaling(runs) if len(runs) >= LEAST_FOR_SCALING else NO_SCALING,
        training(runs) if trajectory else NO_TRAJECTORY,
    )


def short_labels(runs: Sequence[Run]) -> list[str]:
    """What a page calls its runs: of `gapbench.comparing.compare.run_labels` as few last parts as tell each from the others."""
    parts = [label.rstrip("/").split("/") for label in run_labels(runs)]

    def short(own: list[str]) -> str:
        for count in range(1, len(own)):
            if sum(other[-count:] == own[-count:] for other in parts) == 1:
                return "/".join(own[-count:])
        return "/".join(own)

    return [one_line(short(own), 48) for own in parts]
