"""Which of two answers is better, asked with one generated token: what `pairwise` and `tournament` share."""

from __future__ import annotations

from gapbench.engines.base import Result, Sampling
from gapbench.records import Message, Prompt
from gapbench.verifiers._asking import LEAST_MASS, fill, judging_examples, label_share, number, template
from gapbench.verifiers.base import Judgement, PairVerifier

INSTRUCTION = "Decide which of two proposed answers to each question is better. Reply A or B."
QUESTION = "{question}\nAnswer A: {first}\nAnswer B: {second}\nWhich answer is better?"


class LabelledPairs(PairVerifier):
    """Compares by P(A) / (P(A) + P(B)), A being the answer shown first.

    The task's own worked examples become examples of comparing, the right answer first in half of them.

    Parameters
    ----------
    instruction
        What the conversation opens with.
    question
        Template that shows two answers; `{question}`, `{first}` and `{second}` are filled in.
    least_mass
        Where both labels together have less of the probability than this, the comparison is `unparsed`.

    Raises
    ------
    UserError
        If a template lacks a field, or an option is of the wrong type.
    """

    needs = frozenset({"labels"})
    labels = ("A", "B")
    sampling = Sampling(max_tokens=1, temperature=1.0)

    def __init__(
        self, instruction: str = INSTRUCTION, question: str = QUESTION, least_mass: float = LEAST_MASS
    ) -> None:
        self.instruction = template(self.name, "instruction", instruction)
        self.question = template(self.name, "question", question, "question", "first", "second")
        self.least_mass = number(self.name, "least_mass", least_mass, 1e-9, 1)

    def messages(self, prompt: Prompt, first: str, second: str) -> tuple[Message, ...]:
        """Instruction, examples, and the question with both answers."""
        turns = [Message("system", self.instruction)]
        for place, example in enumerate(judging_examples(prompt.shots)[1::2]):
            shown = example.reference, example.answer
            turns.append(Message("user", self._ask(example.question, *(shown[::-1] if place % 2 else shown))))
            turns.append(Message("assistant", self.labels[place % 2]))
        return (*turns, Message("user", self._ask(prompt.question, first, second)))

    def parse(self, result: Result) -> Judgement:
        """Renormalise the labels' probabilities."""
        return label_share(result, self.least_mass)

    def _ask(self, question: str, first: str, second: str) -> str:
        return fill(self.question, question=question, first=first.strip(), second=second.strip())
