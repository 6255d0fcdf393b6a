"""Ask about each criterion of a rubric by itself, and combine: `rubric`, `rubric-gate` and `rubric-group`.

The criteria are the prompt's (`rubric` in a task's YAML) or the verifier's own. The three differ only in what they make
of the same verdicts, so that a run with all of them pays once.

>>> from gapbench.records import Message
>>> prompt = Prompt("odes", "p0", "writing", (Message("user", "Write a line."),), ("",),
...                 {"rubric": ["It rhymes.", "It is short."]})
>>> members = [member for member in Rubric().members if member.applies(prompt)]
>>> print(members[1].messages(prompt, "Roses are red")[-1].content)
Write a line.
Response: Roses are red
Criterion: It is short.
Does the response meet the criterion?
>>> scores = {"rubric.1": np.array([[0.9, 0.2]]), "rubric.2": np.array([[0.7, 0.8]])}
>>> Rubric().combine(scores).round(2).tolist()
[[0.8, 0.5]]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from gapbench.engines.base import Result, Sampling, derive_seed
from gapbench.errors import UserError
from gapbench.records import Message, Prompt
from gapbench.verifiers._asking import LEAST_MASS, fill, label_share, number, template
from gapbench.verifiers._votes import mean_of_valid
from gapbench.verifiers.base import DerivedVerifier, Judgement, ModelVerifier, verifiers

INSTRUCTION = "Decide whether the response to each question meets the criterion. Reply Yes or No."
QUESTION = "{question}\nResponse: {answer}\nCriterion: {criterion}\nDoes the response meet the criterion?"
MOST = 8

Float = NDArray[np.float64]


class Criterion(ModelVerifier):
    """P(Yes) / (P(Yes) + P(No)) for one criterion of a rubric.

    Attributes
    ----------
    place
        Which criterion, from 1.
    """

    needs = frozenset({"labels"})
    cost = "1 generated token for each distinct response"
    labels = ("yes", "no")
    sampling = Sampling(max_tokens=1, temperature=1.0)

    def __init__(
        self,
        place: int,
        most: int,
        instruction: str,
        question: str,
        criteria: tuple[str, ...],
        least_mass: float,
    ) -> None:
        self.place = place
        self.most = most
        self.instruction = instruction
        self.question = question
        self.criteria = criteria
        self.least_mass = least_mass

    def applies(self, prompt: Prompt) -> bool:
        """Whether the prompt's rubric has that many criteria.

        Raises
        ------
        UserError
            If the rubric is no list of texts, or has more of them than are asked about.
        """
        return self.place <= len(self._rubric(prompt))

    def messages(self, prompt: Prompt, text: str) -> tuple[Message, ...]:
        """Instruction, question, response and, last, the criterion."""
        asked = fill(
            self.question,
            question=prompt.question,
            answer=text.strip(),
            criterion=self._rubric(prompt)[self.place - 1].strip(),
        )
        return (Message("system", self.instruction), Message("user", asked))

    def parse(self, result: Result) -> Judgement:
        """Renormalise the labels' probabilities."""
        return label_share(result, self.least_mass)

    def _rubric(self, prompt: Prompt) -> Sequence[str]:
        own = prompt.metadata.get("rubric")
        if own is None:
            return self.criteria
        if not isinstance(own, list | tuple) or not all(isinstance(one, str) and one.strip() for one in own):
            raise UserError(f"task '{prompt.task}': the rubric of {prompt.prompt_id} must be a list of texts")
        if len(own) > self.most:
            raise UserError(
                f"task '{prompt.task}': the rubric of {prompt.prompt_id} has {len(own)} criteria; set verifier option "
                f"'most' (now {self.most}) to as many, at the same value wherever a rubric is used"
            )
        return own


@verifiers.register("rubric")
class Rubric(DerivedVerifier):
    """Mean probability of meeting a criterion, over the criteria with a verdict: a dense score.

    Its members are `rubric.1`, `rubric.2` and so on. With other options than the default ones their name carries a
    digest of these, so that one name always means one question.

    Parameters
    ----------
    instruction
        What the conversation opens with.
    question
        Template that shows a response; `{question}`, `{answer}` and `{criterion}` are filled in.
    criteria
        For prompts without a rubric of their own; without these it does not apply to them.
    most
        Most criteria that a rubric may have.
    least_mass
        Where both labels together have less of the probability than this, a verdict is `unparsed`.

    Raises
    ------
    UserError
        If a template lacks a field, or an option is of the wrong type.
    """

    cost = "1 generated token for each distinct response and criterion"

    def __init__(
        self,
        instruction: str = INSTRUCTION,
        question: str = QUESTION,
        criteria: Sequence[str] = (),
        most: int = MOST,
        least_mass: float = LEAST_MASS,
    ) -> None:
        texts = isinstance(criteria, list | tuple) and all(
            isinstance(one, str) and one.strip() for one in criteria
        )
        if not texts:
            raise UserError(
                f"verifier '{self.name}': option 'criteria' must be a list of texts, not {criteria!r}"
            )
        most = int(number(self.name, "most", most, 1, 100, whole=True))
        if len(criteria) > most:
            raise UserError(f"verifier '{self.name}': option 'criteria' has more than 'most' = {most} texts")
        asked = (
            most,
            template(self.name, "instruction", instruction),
            template(self.name, "question", question, "question", "answer", "criterion"),
            tuple(criteria),
            number(self.name, "least_mass", least_mass, 1e-9, 1),
        )
        default = asked == (MOST, INSTRUCTION, QUESTION, (), LEAST_MASS)
        prefix = "rubric" if default else f"rubric-{derive_seed(*asked) % 16**6:06x}"
        members = []
        for place in range(1, most + 1):
            member = Criterion(place, *asked)
            member.name = f"{prefix}.{place}"
            members.append(member)
        self.members = tuple(members)

    def applies(self, prompt: Prompt) -> bool:
        """Whether there is a criterion to judge by."""
        return self.members[0].applies(prompt)

    def combine(self, scores: Mapping[str, Float]) -> Float:
        """Average over the criteria that have a verdict."""
        met, _ = self._criteria(scores)
        return mean_of_valid(met)

    def _criteria(self, scores: Mapping[str, Float]) -> tuple[Float, NDArray[np.bool_]]:
        """Scores [criterion, prompt, response], and which criteria each prompt has [criterion, prompt].

        A prompt has all criteria up to the last one with a verdict on any of its responses.
        """
        met = np.stack([scores[member.name] for member in self.members if member.name in scores])
        judged = ~np.isnan(met).all(axis=2)
        has = np.flip(np.maximum.accumulate(np.flip(judged, axis=0), axis=0), axis=0)
        return met, has


def gate(met: Float, has: NDArray[np.bool_], threshold: float = 0.5) -> Float:
    """1 where each criterion that the prompt has is met, else 0; NaN where one has no verdict [prompt, response]."""
    wanted = has[:, :, None]
    missing = (np.isnan(met) & wanted).any(axis=0) | ~wanted.any(axis=0)
    passed = ((met >= threshold) | ~wanted).all(axis=0)
    return np.where(missing, np.nan, passed.astype(float))
