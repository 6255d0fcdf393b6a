r"""Let the model reason before it gives an answer a score from 1 to 10.

>>> from gapbench.engines.base import Result
>>> CotScore().parse(Result((), "2 + 2 is 4, not 5.\nScore: 1", None, 9, None, "stop")).score
0.0
"""

from __future__ import annotations

from gapbench.engines.base import Result
from gapbench.verifiers._replies import judge_reply, read_score
from gapbench.verifiers.base import Judgement, verifiers
from gapbench.verifiers.cot_binary import MAX_TOKENS, REASON, Reasoning

INSTRUCTION = (
    "Decide how likely the proposed answer to each question is to be correct. Reason in a few sentences, then end with "
    "a line that gives only your score, a whole number: `Score: 1` for certainly wrong, up to `Score: 10` for certainly "
    "correct."
)
QUESTION = (
    "{question}\nProposed answer: {answer}\n"
    "How likely is the proposed answer to be correct? Reason first, then give your score."
)


@verifiers.register("cot-score")
class CotScore(Reasoning):
    """(k - 1) / 9 for a reply that ends in `Score: k`; options as for `cot-binary`."""

    cost = "up to 256 generated tokens (option max_tokens) for each response and replicate"
    verdicts = tuple(f"Score: {k}" for k in range(10, 0, -1))

    def __init__(
        self,
        instruction: str = INSTRUCTION,
        question: str = QUESTION,
        reason: str = REASON,
        max_tokens: int = MAX_TOKENS,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(instruction, question, reason, max_tokens, temperature)

    def parse(self, result: Result) -> Judgement:
        """Read the last score that the reply commits to."""

        def share(text: str) -> float | None:
            score = read_score(text)
            return None if score is None else (score - 1) / 9

        return judge_reply(result, share)
