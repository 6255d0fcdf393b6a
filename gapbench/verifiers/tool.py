"""Run what can be run in place of asking a model: an external anchor, not self-verification.

>>> from gapbench.records import Message
>>> prompt = Prompt("sums", "p0", "arithmetic", (Message("user", "..."),), ("14",), {"tool": "arithmetic"})
>>> [Tool().check(prompt, text).score for text in ("3 + 4 = 7, 7 * 2 = 14", "3 + 4 = 7, 7 * 2 = 15", "14")]
[1.0, 0.5, None]
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from gapbench.errors import UserError
from gapbench.graders.code import Code
from gapbench.graders.procedural import Procedural
from gapbench.records import NO_ANSWER, Prompt
from gapbench.thinking import strip_thinking
from gapbench.verifiers._arithmetic import equations
from gapbench.verifiers.base import Judgement, ToolVerifier, verifiers

KINDS = ("tests", "arithmetic", "constraints")
# Puzzles whose scorer reads the question alone, so that it can score without the reference.
CONSTRAINTS = frozenset(
    {
        "countdown",
        "jugs",
        "kakurasu",
        "mini_sudoku",
        "palindrome_generation",
        "puzzle24",
        "simple_integration",
        "sokoban",
        "word_ladder",
    }
)


@verifiers.register("tool")
class Tool(ToolVerifier):
    """A program's verdict on a reply. What to run stands in the task's YAML as `tool`, one of three.

    - `tests`: runs the reply's program on tests that its author may see, a field of the prompt. Score 1 if all pass.
    - `arithmetic`: computes the equations that the reply writes out. Score: the share that hold; a reply without one is
      `no_answer`.
    - `constraints`: holds the reply against the puzzle, with reasoning-gym's own scorer, where that reads the question
      alone. Score 1 if all is met. Such a puzzle is hard to solve and cheap to verify, and there the tool coincides
      with the grader by design: its gap is the ceiling of what verification can give.

    It never sees the reference answer or the tests that grade, or it would be the grader under another name. (Visible
    tests that are among those that grade make it partly that: keep them apart in the task's data.)

    Parameters
    ----------
    tests
        Field of the prompt's metadata with the visible tests.
    header, setup, entry_point
        Fields of the prompt's metadata, as for grader `code`.
    first_line
        Hold the first line that is not blank against the puzzle, not the whole reply.
    """

    cost: ClassVar[str] = "no tokens; a program run for each distinct response"

    def __init__(
        self,
        tests: str = "visible_tests",
        header: str = "prompt",
        setup: str | None = None,
        entry_point: str = "entry_point",
        first_line: bool = False,
    ) -> None:
        self.tests = tests
        self._code = Code(header=header, tests=tests, setup=setup, entry_point=entry_point)
        self._puzzle = Procedural(first_line=first_line)

    def applies(self, prompt: Prompt) -> bool:
        """Whether the task says what to run, and the prompt has what that takes.

        Raises
        ------
        UserError
            If the task names another kind of tool, or constraints of a puzzle that cannot do without the reference.
        """
        kind = prompt.metadata.get("tool")
        if kind is None:
            return False
        if kind not in KINDS:
            raise UserError(f"task '{prompt.task}': 'tool' must be one of {', '.join(KINDS)}, not {kind!r}")
        if kind == "tests":
            return bool(prompt.metadata.get(self.tests))
        if kind == "constraints":
            dataset = (prompt.metadata.get("procedural") or {}).get("dataset")
            if dataset not in CONSTRAINTS:
                raise UserError(
                    f"task '{prompt.task}': 'tool: constraints' works for the procedural sources "
                    f"{', '.join(sorted(CONSTRAINTS))}, not for {dataset!r}; leave it out"
                )
        return True

    def check(self, prompt: Prompt, text: str) -> Judgement:
        """Run it on the part of a reply that is not thinking; one whose thinking was cut has no such part."""
        reply, cut = strip_thinking(text)
        if cut:
            return Judgement(None, NO_ANSWER)
        if prompt.metadata["tool"] == "arithmetic":
            held = equations(reply)
            return Judgement(sum(held) / len(held)) if held else Judgement(None, NO_ANSWER)
        if prompt.metadata["tool"] == "tests":
            program = self._code.program(prompt, reply)
            passed = program is not None and self._code.try_out(prompt, program, self.tests).passed
            return Judgement(float(passed))
        source = prompt.metadata["procedural"]
        # Without the answer in it, the entry cannot tell the scorer what is right.
        blind = {**source, "entry": {**source["entry"], "answer": None}}
        question = replace(prompt, metadata={**prompt.metadata, "procedural": blind}, reference=())
        return Judgement(self._puzzle.grade(question, reply).utility)
