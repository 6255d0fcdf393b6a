"""Ask whether an answer is correct as a multiple choice, and read the probability of the letter off the first token.

Models prefer some letters whatever the question is. Which letter stands for `Correct` therefore depends on the prompt:
half the prompts have it first, and all responses to one prompt see the same order, so that the preference moves them
all alike.

>>> from gapbench.records import Message
>>> prompt = Prompt("sums", "p0", "arithmetic", (Message("user", "2 + 2?"),), ("4",))
>>> print(Choice().messages(prompt, "5")[-1].content)
2 + 2?
Proposed answer: 5
The proposed answer is:
(A) Incorrect
(B) Correct
>>> Choice().labels_for(prompt)
('B', 'A')
"""

from __future__ import annotations

from gapbench.engines.base import Result, Sampling, derive_seed
from gapbench.records import Message, Prompt
from gapbench.verifiers._asking import LEAST_MASS, fill, judging_examples, label_share, number, template
from gapbench.verifiers.base import Judgement, ModelVerifier, verifiers

INSTRUCTION = "Decide whether the proposed answer to each question is correct. Reply A or B."
QUESTION = "{question}\nProposed answer: {answer}\nThe proposed answer is:\n(A) {A}\n(B) {B}"
LETTERS = ("A", "B")
OPTIONS = ("Correct", "Incorrect")


@verifiers.register("choice")
class Choice(ModelVerifier):
    """P(letter of Correct) / (P(A) + P(B)) of the first generated token.

    Judging examples are made of the task's worked examples as for `yesno`, with the letters in the prompt's own order.

    Parameters
    ----------
    instruction
        What the conversation opens with.
    question
        Template that shows an answer; `{question}`, `{answer}` and, for the two options, `{A}` and `{B}` are filled in.
    least_mass
        Where both letters together have less of the probability than this, the verdict is `unparsed`.

    Raises
    ------
    UserError
        If a template lacks a field, or an option is of the wrong type.
    """

    needs = frozenset({"labels"})
    cost = "1 generated token for each distinct response"
    labels = LETTERS
    sampling = Sampling(max_tokens=1, temperature=1.0)

    def __init__(
        self, instruction: str = INSTRUCTION, question: str = QUESTION, least_mass: float = LEAST_MASS
    ) -> None:
        self.instruction = template(self.name, "instruction", instruction)
        self.question = template(self.name, "question", question, "question", "answer", *LETTERS)
        self.least_mass = number(self.name, "least_mass", least_mass, 1e-9, 1)

    def labels_for(self, prompt: Prompt) -> tuple[str, ...]:
        """The letters, that of `Correct` first."""
        swapped = derive_seed("choice", prompt.task, prompt.prompt_id) % 2
        return LETTERS[::-1] if swapped else LETTERS

    def messages(self, prompt: Prompt, text: str) -> tuple[Message, ...]:
        """Instruction, judging examples, and the question with the proposed answer."""
        letters = self.labels_for(prompt)
        turns = [Message("system", self.instruction)]
        for example in judging_examples(prompt.shots):
            turns.append(Message("user", self._ask(letters, example.question, example.answer)))
            turns.append(Message("assistant", letters[0 if example.right else 1]))
        return (*turns, Message("user", self._ask(letters, prompt.question, text)))

    def parse(self, result: Result) -> Judgement:
        """Renormalise the letters' probabilities."""
        return label_share(result, self.least_mass)

    def _ask(self, letters: tuple[str, ...], question: str, answer: str) -> str:
        options = dict(zip(letters, OPTIONS, strict=True))
        return fill(self.question, question=question, answer=answer.strip(), **options)
