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

from gapbench.engines.base import Result, Sampling
from gapbench.records import Message, Prompt
from gapbench.verifiers._asking import LEAST_MASS, fill, judging_examples, label_share, number, template
from gapbench.verifiers.base import Judgement, ModelVerifier, verifiers

INSTRUCTION = "Decide whether the proposed answer to each question is correct. Reply Yes or No."
QUESTION = "{question}\nProposed answer: {answer}\nIs the proposed answer correct?"


@verifiers.register("yesno")
class YesNo(ModelVerifier):
    """P(Yes) / (P(Yes) + P(No)) of the first generated token.

    The task's own worked examples become examples of judging: every other one with its right answer, the rest with the
    answer of another example, as many of one as of the other. Without two examples that differ there are none.

    Parameters
    ----------
    instruction
        What the conversation opens with.
    question
        Template that shows an answer; `{question}` and `{answer}` are filled in.
    least_mass
        Where both labels together have less of the probability than this, the verdict is `unparsed`.

    Raises
    ------
    UserError
        If a template lacks a field, or an option is of the wrong type.
    """

    needs = frozenset({"labels"})
    cost = "1 generated token for each distinct response"
    labels = ("yes", "no")
    sampling = Sampling(max_tokens=1, temperature=1.0)

    def __init__(
        self, instruction: str = INSTRUCTION, question: str = QUESTION, least_mass: float = LEAST_MASS
    ) -> None:
        self.instruction = template(self.name, "instruction", instruction)
        self.question = template(self.name, "question", question, "question", "answer")
        self.least_mass = number(self.name, "least_mass", least_mass, 1e-9, 1)

    def messages(self, prompt: Prompt, text: str) -> tuple[Message, ...]:
        """Instruction, judging examples, and the question with the proposed answer."""
        turns = [Message("system", self.instruction)]
        for example in judging_examples(prompt.shots):
            turns.append(Message("user", self._ask(example.question, example.answer)))
            turns.append(Message("assistant", "Yes" if example.right else "No"))
        return (*turns, Message("user", self._ask(prompt.question, text)))

    def parse(self, result: Result) -> Judgement:
        """Renormalise the labels' probabilities."""
        return label_share(result, self.least_mass)

    def _ask(self, question: str, answer: str) -> str:
        return fill(self.question, question=question, answer=answer.strip())
