"""Ask the model whether an answer is correct, and read the probability of `Yes` off its first token.

One generated token costs one forward pass over a prefix that neighbouring requests share; the probability is a whole
distribution of verdicts at the price of one (measurement.md, section 8).

>>> from gapbench.records import Message
>>> prompt = Prompt("sums", "p0", "arithmetic", (Message("user", "2 + 2?"),), ("4",))
>>> print(YesNo().messages(prompt, "5")[-1].content)
2 + 2?
Proposed answer: 5
Is the proposed answer correct?
"""

from __future__ import annotations

from math import exp
from typing import ClassVar

from gapbench.engines.base import Result, Sampling
from gapbench.records import UNPARSED, Message, Prompt, error_status, is_error
from gapbench.verifiers.base import Judgement, ModelVerifier, verifiers

INSTRUCTION = "Decide whether the proposed answer to each question is correct. Reply Yes or No."
QUESTION = "{question}\nProposed answer: {answer}\nIs the proposed answer correct?"
RIGHT, WRONG = "Yes", "No"
LEAST_MASS = 0.01


@verifiers.register("yesno")
class YesNo(ModelVerifier):
    """P(Yes) / (P(Yes) + P(No)) of the first generated token.

    The task's own worked examples become examples of judging: every other one with its right answer, the rest with the
    answer of another example, as many of one as of the other. Without two examples that differ there are none.

    Where both labels together have less than `LEAST_MASS` of the probability the model did not take the question, and
    the verdict is `unparsed`: no number is made from what is left.

    Attributes
    ----------
    instruction, question
        Templates; `{question}` and `{answer}` are filled in.
    """

    threshold = 0.5
    deterministic = True
    needs = frozenset({"labels"})
    cost = "1 generated token for each distinct response"
    labels = ("yes", "no")
    sampling = Sampling(max_tokens=1, temperature=1.0)

    instruction: ClassVar[str] = INSTRUCTION
    question: ClassVar[str] = QUESTION

    def messages(self, prompt: Prompt, text: str) -> tuple[Message, ...]:
        """Instruction, judging examples, and the question with the proposed answer."""
        turns = [Message("system", self.instruction)]
        for question, answer, verdict in judging_examples(prompt.shots):
            turns += [Message("user", self._ask(question, answer)), Message("assistant", verdict)]
        return (*turns, Message("user", self._ask(prompt.question, text)))

    def parse(self, result: Result) -> Judgement:
        """Renormalise the labels' probabilities."""
        if is_error(result.finish_reason):
            return Judgement(None, result.finish_reason)
        if result.label_logprobs is None:
            return Judgement(None, error_status("the engine gave no label probabilities"), result.text)
        yes, no = map(exp, result.label_logprobs)
        # Written so that a NaN is no verdict either.
        if not yes + no >= LEAST_MASS:
            return Judgement(None, UNPARSED, result.text)
        return Judgement(yes / (yes + no), text=result.text)

    def _ask(self, question: str, answer: str) -> str:
        return self.question.format(question=question, answer=answer.strip())


def judging_examples(shots: list[tuple[str, str]]) -> list[tuple[str, str, str]]:
    """Turn worked examples into as many right as wrong ones, in turn: (question, answer, verdict)."""
    examples: list[tuple[str, str, str]] = []
    for first, second in zip(range(0, len(shots), 2), range(1, len(shots), 2), strict=False):
        question, answer = shots[second]
        others = [other for _, other in shots if _folded(other) != _folded(answer)]
        if others:
            examples += [(*shots[first], RIGHT), (question, others[second % len(others)], WRONG)]
    return examples


def _folded(answer: str) -> str:
    return " ".join(answer.split()).casefold()
