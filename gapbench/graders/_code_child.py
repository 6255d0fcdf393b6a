"""Solution and tests in two locked processes: what runs inside `gapbench.isolation.sandbox` when code is graded.

The solver holds the model's program and answers calls; the examiner holds the tests and asks. They exchange lines of JSON
that spell plain values. So the solution never sees a test or what it expects, and its result is compared as data: an object
that equals everything, a changed `assert` or an early exit does not reach the examiner.

This file's text is the program of both, followed by `solve()` or `examine()`; it imports nothing of ours.
"""

from __future__ import annotations

import ast
import builtins
import json
import os
import random
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

LONGEST_LINE = 1 << 23
MOST_ITEMS = 100_000
_EXACT_BITS = 1000


class Opaque:
    """A result that is no plain value, such as an object of the solution's own class; it equals nothing."""


class Gone(BaseException):
    """The solver ended, or answered what is no answer. Not an `Exception`: tests must not catch it."""


def encode(value: Any) -> Any:
    """A plain value as JSON can carry it, exactly.

    Raises
    ------
    RecursionError
        If it contains itself.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value) if value.bit_length() < _EXACT_BITS else ["int", hex(value)]
    if isinstance(value, float):
        return ["float", float.hex(value)]
    if isinstance(value, complex):
        return ["complex", float.hex(value.real), float.hex(value.imag)]
    if isinstance(value, bytes | bytearray):
        return ["bytes", value.hex()]
    if isinstance(value, range):
        return ["range", value.start, value.stop, value.step]
    if isinstance(value, dict):
        return ["dict", *([encode(key), encode(own)] for key, own in value.items())]
    for kind in (list, tuple, set, frozenset):
        if isinstance(value, kind):
            return [kind.__name__, *map(encode, value)]
    if isinstance(value, Iterator):
        return ["iterator", *(encode(own) for own, _ in zip(value, range(MOST_ITEMS)))]  # noqa: B905 (may be endless)
    return ["opaque"]


def decode(value: Any) -> Any:
    """The inverse of `encode`; lists of a shape it does not make raise."""
    if not isinstance(value, list):
        return value
    kind, *parts = value
    if kind == "opaque":
        return Opaque()
    if kind == "int":
        return int(parts[0], 16)
    if kind == "bytes":
        return bytes.fromhex(parts[0])
    if kind in ("float", "complex"):
        numbers = [float.fromhex(part) for part in parts]
        return numbers[0] if kind == "float" else complex(*numbers)
    if kind == "range":
        return range(*parts)
    if kind == "dict":
        return {decode(key): decode(own) for key, own in parts}
    makers: dict[str, Callable[[Any], Any]] = {
        "list": list,
        "tuple": tuple,
        "set": set,
        "frozenset": frozenset,
        "iterator": iter,
    }
    return makers[kind]([decode(part) for part in parts])


class Line:
    """Lines of JSON over two pipes."""

    def __init__(self, reading: int, writing: int) -> None:
        self._reading = reading
        self._writing = writing
        self._rest = b""

    def send(self, value: Any) -> None:
        """Write one line."""
        data = memoryview(json.dumps(value).encode() + b"\n")
        while data:
            data = data[os.write(self._writing, data) :]

    def receive(self) -> Any:
        """Read one line.

        Raises
        ------
        EOFError
            If there is none.
        ValueError
            If it is too long or not JSON.
        """
        parts = [self._rest]
        size = len(self._rest)
        while b"\n" not in parts[-1]:
            parts.append(os.read(self._reading, 1 << 16))
            size += len(parts[-1])
            if not parts[-1]:
                raise EOFError
            if size > LONGEST_LINE:
                raise ValueError("the line is too long")
        line, _, self._rest = b"".join(parts).partition(b"\n")
        return json.loads(line)


def solve() -> None:
    """Run the program from standard input, then answer calls of its functions until there are no more."""
    job = json.load(sys.stdin)
    line = Line(*job["fds"])
    module = types.ModuleType("solution")
    sys.modules["solution"] = module
    exec(compile(job["program"], "<solution>", "exec", dont_inherit=True), module.__dict__)
    while True:
        name, arguments = line.receive()
        args, kwargs = decode(arguments)
        try:
            reply = {"value": encode(getattr(module, name)(*args, **kwargs))}
        except Exception as failure:
            reply = {"raised": type(failure).__name__}
        line.send(reply)


class Stub:
    """A function of the solution, as the tests call it."""

    def __init__(self, line: Line, name: str) -> None:
        self._line = line
        self.__name__ = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it over there; plain values only go and come, and a change to an argument stays there."""
        try:
            self._line.send([self.__name__, encode([list(args), kwargs])])
            reply = self._line.receive()
            if "raised" not in reply:
                return decode(reply["value"])
            kind = getattr(builtins, str(reply["raised"]), Exception)
            # Inside `all(map(f, ...))` a StopIteration ends the tests as if all had been asked.
            kind = RuntimeError if kind is StopIteration else kind
        except Exception as failure:  # whatever a hostile reply breaks, the solver has nothing more to say
            raise Gone from failure
        raise (kind if isinstance(kind, type) and issubclass(kind, Exception) else Exception)(self.__name__)


class Marks:
    """Which `assert` statements held, and which failed."""

    def __init__(self, keep_on: bool) -> None:
        self.held: set[int] = set()
        self.failed: set[int] = set()
        self._keep_on = keep_on

    def hold(self, number: int) -> None:
        """Called after a statement."""
        self.held.add(number)

    def fail(self, number: int) -> None:
        """Called when a statement raised; ends the tests unless the rest is to be counted too."""
        self.failed.add(number)
        if not self._keep_on:
            raise  # it is called where an exception is being handled


class Marking(ast.NodeTransformer):
    """Tells `Marks` of every `assert`."""

    def __init__(self) -> None:
        self.count = 0

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        """Wrap one statement."""
        text = f"try: __marks__.hold({self.count})\nexcept Exception: __marks__.fail({self.count})"
        attempt = ast.parse(text).body[0]
        assert isinstance(attempt, ast.Try)
        attempt.body.insert(0, node)
        self.count += 1
        return attempt


def free_names(tree: ast.AST, known: dict[str, Any]) -> set[str]:
    """Names that tests use and nothing defines: the solution's functions."""
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    defined = {node.id for node in names if not isinstance(node.ctx, ast.Load)}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            defined |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.arg):
            defined.add(node.arg)
    return {node.id for node in names} - defined - set(known) - set(dir(builtins))


def examine() -> None:
    """Run the tests from standard input against the solver and print the report as one line of JSON."""
    job = json.load(sys.stdin)
    line = Line(*job["fds"])
    report: dict[str, Any] = {"passed": False, "share": 0.0, "gone": False}
    sys.stdout = None  # what tests print is not the report
    marks, marking = Marks(job["keep_on"]), Marking()
    names: dict[str, Any] = {"__name__": "tests"}
    try:
        exec(compile(job["header"], "<header>", "exec", dont_inherit=True), names)
        tree = ast.parse(job["tests"])
        entry = job["entry_point"]
        for name in free_names(tree, names) | ({entry} if entry else set()):
            names[name] = Stub(line, name)
        if entry:
            names["candidate"] = names[entry]
        code = compile(ast.fix_missing_locations(marking.visit(tree)), "<tests>", "exec")
        if not marking.count:
            raise ValueError("they assert nothing")
    except Exception as failure:  # any: the mistake is the task's, and the parent says so
        report["broken"] = f"{type(failure).__name__}: {failure}"[:300]
    else:
        names["__marks__"] = marks
        random.seed(0)
        try:
            exec(code, names)
            if callable(names.get("check")):
                names["check"](names["candidate"])
            report["passed"] = bool(marks.held) and not marks.failed
        except Exception:
            report["passed"] = False
        except Gone:
            report["gone"] = True
        report["share"] = 1.0 if report["passed"] else len(marks.held - marks.failed) / marking.count
    os.write(1, json.dumps(report).encode())
    os._exit(0)
