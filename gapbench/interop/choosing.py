"""Which grader fits answers that somebody else's harness asked for, where the user does not say.

>>> from gapbench.records import Message
>>> asked = [Prompt("sums", "p0", "sums", (Message("user", "2 + 2?"),), ("4",))]
>>> choose_grader("sums", asked)[0]
'numeric'
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from gapbench.errors import UserError
from gapbench.graders.base import Grader, graders
from gapbench.records import Prompt

_NUMBER = re.compile(r"[-+−]?[$€£]?\d[\d,]*(?:\.\d+)?\s?%?")
_FORMULA = re.compile(r"\\[A-Za-z]+|\$.+\$|[\^_]\{")


def choose_grader(task: str, prompts: Sequence[Prompt], wanted: str | None = None) -> tuple[str, Grader, int]:
    """Choose by what the references look like, and try the grader on them.

    Parameters
    ----------
    prompts
        As the grader is to see them.
    wanted
        The grader that the user named.

    Returns
    -------
    tuple of str, Grader and int
        Its name, the grader, and the number of prompts whose own reference it does not accept.

    Raises
    ------
    UserError
        If a prompt has no reference, or the grader cannot be used on these.
    """
    for prompt in prompts:
        if not any(text.strip() for text in prompt.reference):
            raise UserError(
                f"task '{task}', prompt '{prompt.prompt_id}': the log has no target to grade against; take the log's own "
                "scores with --utility NAME"
            )
    names = [wanted] if wanted else _fitting(prompts)
    for name in names:
        try:
            grader = graders.get(name)()
            refused = sum(grader.grade(prompt, prompt.reference[0]).utility < 1 for prompt in prompts)
            if refused == len(prompts):
                raise UserError(f"it accepts none of the targets, such as {prompts[0].reference[0]!r:.40}")
        except (
            Exception
        ) as failure:  # a grader made for our tasks may break on what a stranger's log calls a target
            if name == names[-1]:
                why = str(failure).partition("\n")[0]
                raise UserError(
                    f"task '{task}': grader '{name}' cannot be used on it ({why:.200}); name another with --grader NAME"
                ) from None
        else:
            return name, grader, refused
    raise AssertionError("the last grader either works or is refused")


def _fitting(prompts: Sequence[Prompt]) -> list[str]:
    """Names to try, the most particular first."""
    options = [prompt.metadata.get("choices") for prompt in prompts]
    texts = [text.strip() for prompt in prompts for text in prompt.reference]
    fits = {
        "choice": all(isinstance(one, list) and len(one) > 1 for one in options),
        "numeric": all(_NUMBER.fullmatch(text) for text in texts),
        "math": any(_FORMULA.search(text) for text in texts),
        "exact": True,
    }
    return [name for name, fit in fits.items() if fit]
