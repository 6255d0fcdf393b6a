"""A program that passes its tests.

The reply is a function's body that goes on after a header, or a whole program, perhaps among prose. It and the tests
run in two processes of `gapbench.isolation.sandbox`: the tests call the function through a pipe and compare plain values, so that
nothing the program does to Python reaches them (`gapbench.graders._code_child`). To pass, it has to answer every call.

What that costs: a function is judged by what it returns, not by what it does to its arguments; objects of classes of its
own come back as something that equals nothing; and it can use the standard library's modules of calculation alone.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from gapbench.errors import UserError
from gapbench.graders._text import LONGEST_REPLY, clean
from gapbench.graders.base import NOTHING, Graded, Grader, graders
from gapbench.isolation.sandbox import Limits, Sandboxed, Status, finish
from gapbench.isolation.worker import CallFailed, WorkerDied, shared_worker
from gapbench.records import Prompt

_TEXT = "gapbench.graders._code_text"
_HARNESS = Path(__file__).with_name("_code_child.py")
_PARSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Trial:
    """What tests found in a program.

    Attributes
    ----------
    passed
        Whether all tests passed.
    share
        Share of the tests' `assert` statements that held.
    status
        How the program's process ended; `ok` where it answered to the end, right or wrong.
    """

    passed: bool
    share: float
    status: Status


@lru_cache(maxsize=1 << 14)
def try_out(
    program: str,
    tests: str,
    *,
    header: str = "",
    entry_point: str | None = None,
    partial: bool = False,
    limits: Limits = Limits(),
) -> Trial:
    """Run tests on a program; equal ones are run once.

    Parameters
    ----------
    program
        Source that nobody trusts.
    tests
        Source with `assert` statements: at top level, or in a function `check(candidate)`. What they call and nothing
        defines is looked up in the program.
    header
        Source whose helpers the tests may use.
    entry_point
        The function that the tests call `candidate`.
    partial
        Go on after a failure, so that `share` counts every statement.

    Raises
    ------
    UserError
        If the tests do not run, or this system has no sandbox.
    """
    ask, answer = os.pipe(), os.pipe()
    fds = [*ask, *answer]
    solver_job = {"program": program, "fds": [ask[0], answer[1]]}
    tests_job = {
        "header": header,
        "tests": tests,
        "entry_point": entry_point,
        "keep_on": partial,
        "fds": [answer[0], ask[1]],
    }
    try:
        with (
            _start("solve", solver_job, limits, [program]) as solver,
            _start("examine", tests_job, limits, [header, tests]) as examiner,
        ):
            while fds:
                os.close(fds.pop())
            finish([examiner, solver], limits.wall)
            report = examiner.outcome()
            found = json.loads(report.stdout) if report.status == "ok" else {"gone": True}
            if "broken" in found:
                raise UserError(f"the tests do not run ({found['broken']}); mend the task's data")
            if not found["gone"]:
                return Trial(found["passed"], found["share"], "ok")
            solver.leave()
            ended = solver.outcome().status
    finally:
        for fd in fds:
            os.close(fd)
    # A solver that answers to the end but with what keeps the tests busy for ever has used up their time.
    return Trial(False, found.get("share", 0.0), "time" if report.status != "ok" else ended)


def _start(role: str, job: dict[str, Any], limits: Limits, scan: list[str]) -> Sandboxed:
    source = f"{_HARNESS.read_text(encoding='utf-8')}\n{role}()\n"
    return Sandboxed(source, limits, stdin=json.dumps(job), scan=scan, fds=job["fds"])


@graders.register("code")
class Code(Grader):
    """Utility 1 for a program that passes all tests, else 0.

    The options `header`, `tests`, `setup` and `entry_point` name fields of `prompt.metadata` (see `keep` in a task's
    YAML).

    Parameters
    ----------
    header
        Code that stands before a completion; a prompt without that field is answered by whole programs.
    tests
        The tests: source, or a list of it.
    setup
        Source, or a list of it, that runs before the tests, such as imports.
    entry_point
        Name of the function; where a prompt has none, the tests call it by name.
    partial
        Take the share of `assert` statements that hold as utility.
    seconds, wall
        Processor time, and time on the clock, for all tests of one program.
    """

    waits = True

    def __init__(
        self,
        header: str = "prompt",
        tests: str = "tests",
        setup: str | None = None,
        entry_point: str = "entry_point",
        partial: bool = False,
        seconds: float = 4.0,
        wall: float = 30.0,
    ) -> None:
        if not 0 < seconds <= wall:
            raise UserError(f"grader 'code': options must have 0 < seconds <= wall, not {seconds} and {wall}")
        self.header = header
        self.tests = tests
        self.setup = setup
        self.entry_point = entry_point
        self.partial = partial
        self.limits = Limits(seconds=seconds, wall=wall)

    def grade(self, prompt: Prompt, text: str) -> Graded:
        """Run the reply's program; the cluster is a digest of its syntax tree.

        Raises
        ------
        UserError
            If the prompt has no tests, they do not run, or this system has no sandbox.
        """
        program = self.program(prompt, text)
        if program is None:
            return NOTHING
        trial = self.try_out(prompt, program, self.tests)
        try:
            form = str(shared_worker().call(f"{_TEXT}:normal_form", program, seconds=_PARSE_SECONDS))
        except (CallFailed, WorkerDied):
            form = program
        answer = program.removeprefix(self._field(prompt, self.header).rstrip()).strip("\n")
        return Graded(answer, form, trial.share if self.partial else float(trial.passed))

    def program(self, prompt: Prompt, text: str) -> str | None:
        """The program that a reply stands for, its header included; None where there is no code in it."""
        header, entry_point = self._field(prompt, self.header), self._field(prompt, self.entry_point)
        call = shared_worker().call
        try:
            found = call(
                f"{_TEXT}:extract",
                clean(text)[:LONGEST_REPLY],
                header,
                entry_point or None,
                seconds=_PARSE_SECONDS,
            )
        except (CallFailed, WorkerDied):
            return None
        return None if found is None else str(found)

    def try_out(self, prompt: Prompt, program: str, tests: str) -> Trial:
        """Run a field of tests on a program: the hidden ones, or `visible_tests`, which a verifier may see.

        Raises
        ------
        UserError
            If the prompt has no such field, the tests do not run, or this system has no sandbox.
        """
        source = self._field(prompt, tests)
        if not source:
            raise UserError(
                f"task '{prompt.task}': prompt {prompt.prompt_id} has no field '{tests}'; add it to 'keep'"
            )
        setup = self._field(prompt, self.setup) + "\n" if self.setup else ""
        header = self._field(prompt, self.header)
        try:
            return try_out(
                program,
                setup + source,
                header=_complete(header),
                entry_point=self._field(prompt, self.entry_point) or None,
                partial=self.partial,
                limits=self.limits,
            )
        except UserError as wrong:
            raise UserError(f"task '{prompt.task}', prompt {prompt.prompt_id}: {wrong}") from wrong

    def _field(self, prompt: Prompt, name: str) -> str:
        value = prompt.metadata.get(name) or ""
        return value if isinstance(value, str) else "\n".join(map(str, value))


@lru_cache(maxsize=1 << 10)
def _complete(header: str) -> str:
    completed: str = shared_worker().call(f"{_TEXT}:complete", header, seconds=_PARSE_SECONDS)
    return completed
