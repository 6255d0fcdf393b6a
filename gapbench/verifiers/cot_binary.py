r"""Let the model reason before it says whether an answer is correct.

>>> from gapbench.records import Message
>>> prompt = Prompt("sums", "p0", "arithmetic", (Message("user", "2 + 2?"),), ("4",))
>>> print(CotBinary().messages(prompt, "5")[-1].content)
2 + 2?
Proposed answer: 5
Is the proposed answer correct? Reason first, then give your verdict.
>>> from gapbench.engines.base import Result
>>> CotBinary().parse(Result((), "2 + 2 is 4, not 5.\nVerdict: incorrect", None, 9, None, "stop")).score
0.0
"""

from __future__ import annotations

from dataclasses import replace

from gapbench.engines.base import Result, Sampling
from gapbench.records import Message, Prompt
from gapbench.verifiers._asking import Example, fill, judging_examples, number, template
from gapbench.verifiers._replies import judge_reply, read_verdict
from gapbench.verifiers.base import Judgement, ModelVerifier, verifiers

INSTRUCTION = (
    "Decide whether the proposed answer to each question is correct. Reason in a few sentences, then end with a line "
    "that gives only your verdict: `Verdict: correct` or `Verdict: incorrect`."
)
QUESTION = (
    "{question}\nProposed answer: {answer}\n"
    "Is the proposed answer correct? Reason first, then give your verdict."
)
REASON = "The right answer is {reference}. The proposed answer is {answer}."
MAX_TOKENS = 256


class Reasoning(ModelVerifier):
    """A judge that writes its reasons and then commits to one of `verdicts`.

    The task's own worked examples become examples of judging, half of them of wrong answers; their reason is a template
    too. Each replicate is a sample of its own. A reply cut at the token limit is `truncated` unless a line with the
    verdict was complete; one that commits to nothing is `unparsed`.

    Parameters
    ----------
    instruction
        What the conversation opens with; it has to ask for the line that the parser reads.
    question
        Template that shows an answer; `{question}` and `{answer}` are filled in.
    reason
        Template of the reason in a judging example; `{reference}` and `{answer}` may stand in it.
    max_tokens
        Most tokens of a reply, its thinking included.
    temperature
        At which it is sampled.

    Raises
    ------
    UserError
        If a template lacks a field, or an option is of the wrong type.
    """

    deterministic = False

    def __init__(
        self, instruction: str, question: str, reason: str, max_tokens: int, temperature: float
    ) -> None:
        self.instruction = template(self.name, "instruction", instruction)
        self.question = template(self.name, "question", question, "question", "answer")
        self.reason = template(self.name, "reason", reason)
        most = int(number(self.name, "max_tokens", max_tokens, 1, 1_000_000, whole=True))
        # A base model goes on to ask itself the next question.
        self.sampling = Sampling(most, number(self.name, "temperature", temperature, 0, 10), stop=("\nQ:",))

    def messages(self, prompt: Prompt, text: str) -> tuple[Message, ...]:
        """Instruction, judging examples, and the question with the proposed answer."""
        turns = [Message("system", self.instruction)]
        for example in judging_examples(prompt.shots):
            turns.append(Message("user", self._ask(example.question, example.answer)))
            turns.append(Message("assistant", self._explain(example)))
        return (*turns, Message("user", self._ask(prompt.question, text)))

    def sampling_for(self, prompt: Prompt) -> Sampling:
        """Where plain examples show that a blank line ends a reply, one does: a base model knows no other end."""
        if prompt.style == "plain" and judging_examples(prompt.shots):
            return replace(self.sampling, stop=(*self.sampling.stop, "\n\n"))
        return self.sampling

    def _ask(self, question: str, answer: str) -> str:
        return fill(self.question, question=question, answer=answer.strip())

    def _explain(self, example: Example) -> str:
        reason = fill(self.reason, reference=example.reference.strip(), answer=example.answer.strip())
        return f"{reason}\n{self.verdicts[0 if example.right else -1]}"


@verifiers.register("cot-binary")
class CotBinary(Reasoning):
    """1 for a reply that ends in `Verdict: correct`, 0 for `Verdict: incorrect`."""

    cost = "up to 256 generated tokens (option max_tokens) for each response and replicate"
    verdicts = ("Verdict: correct", "Verdict: incorrect")

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
        """Read the last verdict that the reply commits to."""
        return judge_reply(result, read_verdict)
