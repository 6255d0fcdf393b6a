"""The code grader: where it finds code in a reply, right and wrong programs, and programs that cheat."""

import ast
import copy
import gzip
import json
import shutil
import subprocess
import sys
import time
import uuid

import pytest

from gapbench.errors import UserError
from gapbench.graders import NOTHING, graders
from gapbench.graders._code_child import Opaque, decode, encode
from gapbench.graders._code_text import extract, normal_form
from gapbench.graders.code import Code, try_out
from gapbench.isolation import sandbox
from gapbench.isolation.sandbox import Limits
from gapbench.records import Message, Prompt
from gapbench.tasks import load_suite, suites_dir

from .test_sandbox import ENDLESS, FORBIDDEN, REFUSED, running

linux = pytest.mark.skipif(sys.platform != "linux", reason="code is run on Linux only")

HEADER = 'from typing import List\n\n\ndef add(a: int, b: int) -> int:\n    """Return the sum.\n\n    >>> add(1, 2)\n    3\n    """\n'
TESTS = "def check(candidate):\n    assert candidate(1, 2) == 3\n    assert candidate(-4, 4) == 0\n    assert candidate(10, 5) == 15\n"
SMALL = Limits(seconds=1, wall=4, memory_bytes=256 << 20, output_bytes=100_000)


def prompt(header=HEADER, tests=TESTS, entry_point="add", **more):
    metadata = {"prompt": header, "tests": tests, "entry_point": entry_point, **more}
    return Prompt("task", "p0", "code", (Message("user", header or "?"),), ("return a + b",), metadata)


def utility(text, **options):
    return Code(**options).grade(prompt(), text).utility


# where the code is


RIGHT = {
    "body": "    return a + b",
    "body without its indentation": "return a + b",
    "body of several lines, the first without its indentation": "total = a\n    total += b\n    return total",
    "body of two spaces": "total = a\n  total += b\n  return total",
    "body all without indentation": "total = a\nfor _ in range(b):\n    total += 1\nif b < 0:\n    total += b\nreturn total",
    "body that starts with a block": "if a:\n        return a + b\n    return b",
    "body with tabs": "\ttotal = a\n\treturn total + b",
    "body and run-on text": "    return a + b\n\nThis function returns the sum of its arguments. It's simple.",
    "body and another function": "    return a + b\n\n\ndef sub(a, b):\n    return a - b\n\n# Test\nprint(add(1, 2))",
    "body and an unfinished function": "    return a + b\n\n\ndef sub(a, b):\n    return (a -",
    "body and examples": "    return a + b\n\n>>> add(1, 2)\n3",
    "body and a lone word": "    return a + b\n\nDone",
    "body after chatter": "Here is the body of the function:\n\n    return a + b",
    "whole function": "def add(a, b):\n    return a + b",
    "whole function with imports": "import math\nfrom typing import List\n\ndef add(a, b):\n    return int(math.fsum([a, b]))",
    "whole function with a helper and a constant": "ZERO = 0\n\ndef plus(a, b):\n    return a + b + ZERO\n\ndef add(a, b):\n    return plus(a, b)",
    "whole function among chatter": "Sure, I can do that!\n\ndef add(a, b):\n    return a + b\n\nI hope this helps you.",
    "one line": "def add(*xs): return sum(xs)",
    "fence": "```python\ndef add(a, b):\n    return a + b\n```",
    "fence among chatter": "Let's see. We do this:\n```python\ndef add(a, b):\n    return a + b\n```\nIt works: `add(1, 2)` is 3.",
    "fence with a body": "```\n    return a + b\n```",
    "several fences, the last corrected": "```python\ndef add(a, b):\n    return a - b\n```\nNo, wrong:\n```python\ndef add(a, b):\n    return a + b\n```",
    "fence and then a usage": "```python\ndef add(a, b):\n    return a + b\n```\nUse it:\n```python\nprint(add(1, 2))\n```",
    "fence in a list": "1. Write it:\n   ```python\n   def add(a, b):\n       return a + b\n   ```",
    "open fence": "```python\ndef add(a, b):\n    return a + b\n",
    "fence that closes the prompt's": "    return a + b\n```\nThis adds the two numbers.",
    "session": ">>> def add(a, b):\n...     return a + b\n...\n>>> add(1, 2)\n3",
    "thinking first": "<think>\ndef add(a, b):\n    return a - b\n</think>\n```python\ndef add(a, b):\n    return a + b\n```",
    "windows lines": "def add(a, b):\r\n    return a + b\r\n",
    "it prints": "print('adding')\n    return a + b",
}


@linux
@pytest.mark.parametrize("name", RIGHT)
def test_a_right_program_is_found_and_passes(name):
    graded = Code().grade(prompt(), RIGHT[name])
    assert graded.utility == 1, graded.answer
    assert graded.cluster


@pytest.mark.parametrize(
    "text", ["", " \n ", "I do not know how to do that.", "```\n```", "Sorry, no!", "```python\nfoo bar\n```"]
)
def test_a_reply_without_code_is_no_answer(text):
    assert Code().grade(prompt(), text) == NOTHING


WRONG = {
    "other result": "return a - b",
    "no return": "a + b",
    "nothing": "pass",
    "text of the result": "return str(a + b)",
    "raises": "raise ValueError",
    "another name": "def plus(a, b):\n    return a + b",
    "syntax": "```python\ndef add(a, b)\n    return a + b\n```",
    "needs an argument more": "def add(a, b, c):\n    return a + b",
    "right for the example only": "return 3",
    "a name that nothing defines": "return a + c",
    "fails on import": "import numpy as np\ndef add(a, b):\n    return a + b",
    "a class without equality": "class Int(int): pass\ndef add(a, b):\n    return object()",
    "generator": "yield a + b",
    "a list of it": "return [a + b]",
    "not a number": "return float('nan')",
}


@linux
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_program_does_not_pass(name):
    assert utility(WRONG[name]) == 0


@linux
def test_partial_credit_is_the_share_of_assertions():
    assert utility("return a + b if a < 10 else 0", partial=True) == pytest.approx(2 / 3)
    assert utility("return a + b if a < 10 else 0") == 0
    assert utility(
        "if a == 10:\n        while True: pass\n    return a + b", partial=True, seconds=1
    ) == pytest.approx(2 / 3)
    assert utility("return a + b", partial=True) == 1
    assert utility("return None", partial=True) == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("return a + b", "return a + b  # the sum", True),
        ("return a + b", "def add(a, b):\n    return (a + b)", True),
        (
            "return a + b",
            "```python\ndef add(a: int, b: int) -> int:\n    '''Sum.'''\n    return a + b\n```",
            True,
        ),
        ("return a + b", "return b + a", False),
        ("return a + b", "return a - b", False),
    ],
)
def test_programs_agree_when_their_syntax_trees_do(one, other, same):
    forms = [normal_form(extract(text, HEADER, "add")) for text in (one, other)]
    assert (forms[0] == forms[1]) == same


def test_every_python_spells_a_program_the_same():
    program = (
        "class Sum(list, metaclass=type):\n    async def add(self, *, a=None, **b) -> int:\n"
        "        return f'{a!r:>3}' if (lambda: [])() else {**b}\n\ndef add(a, b): return a + b\n"
    )
    assert normal_form(program) == "9d198aa0e9b804b3eba47e3f8591b81e"  # of Python 3.11


HOSTILE_TEXT = ["(" * 20_000, "[" * 10_000 + "]" * 10_000, "-" * 20_000 + "1", "x." * 10_000 + "y", "```" * 6000, "\n" * 20_000,
                "def add(a, b):\n" * 1000, "import x\n" * 2000, "'''" * 5000, "def add(a, b):\n    return '\udce9'", "\0" * 50, "a=" * 9000 + "1",
                "lambda: " * 2000 + "0", "if a:\n" + "".join(" " * n + "if a:\n" for n in range(1, 150)), "f'{" * 3000, "9" * 20_000]  # fmt: skip


@linux
@pytest.mark.parametrize("number", range(len(HOSTILE_TEXT)))
def test_hostile_text_is_graded_in_bounded_time(number):
    start = time.monotonic()
    assert utility(HOSTILE_TEXT[number], seconds=1) == 0
    assert time.monotonic() - start < 30


# values between the processes


VALUES = [10**5000, None, True, False, 0, -5, 2**200, 0.1, -0.0, float("inf"), 1e-320, 1 + 2j, "", "é\ud800\n", b"\x00\xff", [], (), [1, (2, [3])],
          {1, 2}, frozenset({"a"}), {}, {"a": [1], 2: None, (1, 2): {3}}, range(2, 9, 3), ["list", 1], {"value": ["opaque"]}, set()]  # fmt: skip


@pytest.mark.parametrize("number", range(len(VALUES)))
def test_plain_values_come_back_as_they_went(number):
    value = VALUES[number]
    there = decode(json.loads(json.dumps(encode(value))))
    assert there == value
    assert type(there) is type(value)
    if number:  # nothing prints the huge integer
        assert repr(there) == repr(value)


def test_what_is_no_plain_value_equals_nothing():
    class Same:
        def __eq__(self, other):
            return True

        __hash__ = None

    there = decode(encode([Same(), lambda: 0, ...]))
    assert [type(own) for own in there] == [Opaque] * 3
    assert there[0] != 3
    assert list(decode(encode(iter("ab")))) == ["a", "b"]
    loop = []
    loop.append(loop)
    with pytest.raises(RecursionError):
        encode(loop)


# programs that cheat


@pytest.fixture
def cheats(tmp_path, monkeypatch):
    """Grade a program and check that it neither passes nor leaves anything behind."""
    mark = f"mark-{uuid.uuid4().hex}"
    script = tmp_path / f"{mark}.py"
    shutil.copy(sandbox._CHILD, script)
    monkeypatch.setattr(sandbox, "_CHILD", script)
    grader = Code(seconds=1, wall=3)
    monkeypatch.setenv("SECRET", mark)

    def check(program):
        text = f"```python\n{program.replace('LURE', str(tmp_path / 'lure')).replace('HERE', str(tmp_path))}\n```"
        assert grader.program(prompt(), text) is not None
        start = time.monotonic()
        graded = grader.grade(prompt(), text)
        assert graded.utility == 0
        assert time.monotonic() - start < 13
        assert running(mark) == []
        assert [path.name for path in tmp_path.iterdir()] == [script.name]

    return check


def inside(attack):
    """A function that is right, but attacks first."""
    return "def add(a, b):\n" + "".join(f"    {line}\n" for line in attack.split("\n")) + "    return a + b"


@linux
@pytest.mark.parametrize("name", FORBIDDEN)
def test_an_attack_costs_even_a_right_function_its_pass(cheats, name):
    cheats(inside(FORBIDDEN[name]))


@linux
@pytest.mark.parametrize("name", ["fork bomb", "write a file", "kill the parent", "socket"])
def test_an_attack_before_the_function_costs_its_pass(cheats, name):
    cheats(f"{FORBIDDEN[name]}\n{inside('pass')}")


@linux
@pytest.mark.parametrize("name", [name for name in REFUSED if "import" not in name])
def test_what_is_refused_raises_in_a_right_function_too(cheats, name):
    cheats(inside(REFUSED[name]))


@linux
@pytest.mark.parametrize(
    "name",
    [
        name if name in ("output", "memory") else pytest.param(name, marks=pytest.mark.slow)
        for name in ENDLESS
        if name != "loop at exit"
    ],
)
def test_what_never_ends_does_not_pass(cheats, name):
    cheats(inside(ENDLESS[name][0]))


WRONG_ADD = "def add(a, b):\n    return 0\n"
REPORT = '{"passed": true, "share": 1.0, "gone": false}'
EARLY = {
    "exit at the top": "def add(a, b):\n    return a + b\nimport sys; sys.exit(0)",
    "exit": "import sys\ndef add(a, b):\n    sys.exit(0)",
    "SystemExit": "def add(a, b):\n    raise SystemExit(0)",
    "KeyboardInterrupt": "def add(a, b):\n    raise KeyboardInterrupt",
    "GeneratorExit": "def add(a, b):\n    raise GeneratorExit",
    "_exit at the top": "import os; os._exit(0)\ndef add(a, b):\n    return a + b",
    "_exit": "import os\ndef add(a, b):\n    os._exit(0)",
    "exit in a thread": "import os, threading\nthreading.Timer(0, os._exit, [0]).start()\n" + WRONG_ADD,
    "exit on deletion": "import os\nclass A:\n    def __del__(self): os._exit(0)\ndef add(a, b):\n    A()",
    "exit in a handler": "import os, signal\nsignal.signal(signal.SIGXCPU, lambda *_: os._exit(0))\ndef add(a, b):\n    while True: pass",
    "atexit": f"import sys\nsys.modules['atexit'] if 'atexit' in sys.modules else None\nimport atexit\natexit.register(print, '{REPORT}')\n"
    + WRONG_ADD,
    "crash": "import ctypes\ndef add(a, b):\n    ctypes.string_at(0)",
    "crash of the stack": "import sys\nsys.setrecursionlimit(10**9)\ndef add(a, b):\n    return add(a, b)",
}
FAKES = {
    "print the report": f"print('{REPORT}', flush=True)\n{WRONG_ADD}",
    "print the report when called": f"def add(a, b):\n    print('{REPORT}', flush=True)",
    "write the report everywhere": f"import os\nfor fd in range(300):\n    try: os.write(fd, b'{REPORT}\\n')\n    except OSError: pass\n{WRONG_ADD}",
    "answer before the question": "import os\nfor fd in range(1, 300):\n    try: os.write(fd, b'{\"value\": true}\\n' * 99)\n    except OSError: pass\n"
    + WRONG_ADD,
    "equal to everything": "class Same:\n    def __eq__(self, other): return True\n    def __ne__(self, other): return False\n"
    "    __hash__ = None\ndef add(a, b):\n    return Same()",
    "an int equal to everything": "class Same(int):\n    def __eq__(self, other): return True\n    __hash__ = None\ndef add(a, b):\n    return Same()",
    "a float that is near everything": "class Near(float):\n    def __sub__(self, other): return 0.0\n    __rsub__ = __sub__\n    def __eq__(self, other): return True\n"
    "    __hash__ = None\ndef add(a, b):\n    return Near()",
    "a text equal to everything": "class Same(str):\n    def __eq__(self, other): return True\n    __hash__ = None\ndef add(a, b):\n    return Same('x')",
    "change the builtins": "import builtins\nfor name in ('AssertionError', 'Exception', 'BaseException'):\n    setattr(builtins, name, SystemError)\n"
    "builtins.isinstance = lambda *_: True\nbuiltins.getattr = lambda *_: (lambda *a: 0)\n" + WRONG_ADD,
    "change the harness": "import sys\nmain = sys.modules['__main__']\nmain.encode = lambda value: True\nmain.json.dumps = lambda value: '{\"value\": true}'\n"
    + WRONG_ADD,
    "change json": 'import json\njson.dumps = lambda value: \'{"value": ["same"]}\'\n' + WRONG_ADD,
    "change frames": "import sys\nframe = sys._getframe()\nwhile frame:\n    for scope in (frame.f_globals, frame.f_locals):\n"
    "        scope['passed'] = scope['share'] = True\n        scope['Marks'] = scope['ast'] = None\n    frame = frame.f_back\n"
    + WRONG_ADD,
    "change all objects": "import gc\nfor own in gc.get_objects():\n    if isinstance(own, dict):\n        for key in list(own):\n"
    "            if key in ('passed', 'share', 'tests', 'expected'): own[key] = 1.0\n" + WRONG_ADD,
    "look for the tests": "import gc\ndef hunt(needle):\n"
    "    return [1 for own in gc.get_objects() if isinstance(own, (list, tuple, dict)) and needle in str(own)]\n"
    "found = hunt(''.join(reversed(')2 ,1(etadidnac')))\ndef add(a, b):\n    return a + b if found else 0",
    "a reply that is no JSON": "import os\nfor fd in range(3, 300):\n    try: os.write(fd, b'[' * 50000 + b'\\n')\n    except OSError: pass\n"
    + WRONG_ADD,
    "a reply of another shape": 'import os\nfor fd in range(3, 300):\n    try: os.write(fd, b\'{"value": ["set", ["list"]]}\\n\')\n    except OSError: pass\n'
    + WRONG_ADD,
    "a reply that names no exception": "class print(Exception): pass\ndef add(a, b):\n    raise print",
    "a reply without end": "import os\ndef add(a, b):\n    while True:\n        for fd in range(3, 300):\n            try: os.write(fd, b'9' * 4096)\n            except OSError: pass",
    "a huge result": "def add(a, b):\n    return 'x' * (1 << 26)",
    "a deep result": "def add(a, b):\n    x = []\n    for _ in range(10**5): x = [x]\n    return x",
    "a result in itself": "def add(a, b):\n    x = []\n    x.append(x)\n    return x",
    "an endless result": "def add(a, b):\n    return iter(int, 1)",
    "close everything": "import os\nfor fd in range(300):\n    try: os.close(fd)\n    except OSError: pass\n"
    + WRONG_ADD,
    "close everything and go on": "import os\ndef add(a, b):\n    os.closerange(0, 300)\n    while True: pass",
    "swallow everything": "def add(a, b):\n    try: return 1 / 0\n    except BaseException: pass\n    finally: return None",
    "read the environment": "import os\ndef add(a, b):\n    return a + b if os.environ['SECRET'] else 0",
    "a secret of the environment": "import os\ndef add(a, b):\n    return a + b if os.environ.get('SECRET') or os.environ.get('PATH') or os.environ.get('HOME') else 0",
}


@linux
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow)
        if name in ("exit in a handler", "crash of the stack")
        else name
        for name in EARLY
    ],
)
def test_an_early_end_does_not_pass(cheats, name):
    cheats(EARLY[name])


@linux
@pytest.mark.parametrize("name", FAKES)
def test_a_feigned_pass_does_not_pass(cheats, name):
    cheats(FAKES[name])


@linux
@pytest.mark.parametrize(
    "tests",
    [
        "assert all(map(lambda n: add(n, 1) == n + 1, [1, 2]))",
        "assert not any(map(lambda n: add(n, 1) != n + 1, [1, 2]))",
        "assert list(filter(lambda n: add(n, 1) != n + 1, [1, 2])) == []",
    ],
)
def test_an_exception_that_ends_a_loop_of_the_tests_does_not_pass(tests):
    assert not try_out("def add(a, b):\n    raise StopIteration", tests, limits=SMALL).passed
    assert try_out("def add(a, b):\n    return a + b", tests, limits=SMALL).passed


@linux
def test_how_a_program_ended_is_told():
    def status(body):
        return try_out(f"def add(a, b):\n    {body}", TESTS, entry_point="add", limits=SMALL).status

    assert status("return a + b") == status("return 0") == status("raise ValueError") == "ok"
    assert status("while True: pass") == "time"
    assert status("open('/tmp/x', 'w')") == "forbidden"
    assert status("while True: print('x' * 1000)") == "output"
    assert status("raise SystemExit(2)") == "error"


# tests of every form


@linux
def test_the_forms_of_tests():
    add = "def add(a, b):\n    return a + b"
    assert try_out(add, "assert add(1, 2) == 3\nassert add('a', 'b') == 'ab'").passed
    assert try_out(add, "import math\nassert math.isclose(add(.1, .2), .3)").passed
    assert try_out(add, "assert candidate(1, 2) == 3", entry_point="add").passed
    assert not try_out(add, "assert add(1, 2) == 3\nassert add(1, 2) == 4").passed
    assert not try_out(add, "assert minus(1, 2) == 3").passed
    assert try_out(add, "assert twice(add(1, 2)) == 6", header="def twice(x):\n    return 2 * x").passed
    loop = "for n in range(5):\n    try:\n        add(n, 'x')\n    except TypeError:\n        assert add(n, n) == 2 * n\n    else:\n        assert False"
    assert try_out(add, loop).passed


@linux
@pytest.mark.parametrize("tests", ["assert add(1, 2) ==", "x = 1", "def check(candidate):\n    pass"])
def test_tests_that_do_not_run_are_the_tasks_mistake(tests):
    with pytest.raises(UserError, match=r"task 'task', prompt p0: the tests do not run"):
        Code().grade(prompt(tests=tests), "return a + b")
    with pytest.raises(UserError, match=r"no field 'test'; add it to 'keep'"):
        Code(tests="test").grade(prompt(), "return a + b")


@linux
def test_equal_programs_are_run_once():
    before = try_out.cache_info().hits
    for text in ("return a + b + 0", "    return a + b + 0\n"):
        assert utility(text) == 1
    assert try_out.cache_info().hits == before + 1


def test_bad_options_are_told():
    with pytest.raises(UserError, match="0 < seconds <= wall"):
        Code(seconds=5, wall=1)
    assert "code" in graders.names()
    code = "import sys, gapbench.graders.code; print('torch' in sys.modules or 'datasets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


# gold solutions, and the same with something broken


def basics():
    return [json.loads(line) for line in (suites_dir() / "data" / "code.jsonl").open()]


def basic(row):
    return prompt(row["prompt"], row["tests"], row["entry_point"], visible_tests=row["visible_tests"])


def humaneval(folder):
    if not (folder / "HumanEval.jsonl.gz").is_file():
        pytest.skip("../shared/data/HumanEval.jsonl.gz is not here")
    with gzip.open(folder / "HumanEval.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


SWAPS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.FloorDiv: ast.Mult, ast.Div: ast.Mult, ast.Mod: ast.Mult,
         ast.Pow: ast.Mult, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.GtE, ast.Gt: ast.LtE, ast.LtE: ast.Gt,
         ast.GtE: ast.Lt, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And}  # fmt: skip


def _change(node):
    """Break one node; whether that was possible."""
    if isinstance(node, ast.Return) and node.value is not None:
        node.value = ast.Constant(None)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        node.value = not node.value
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        node.value += 1
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        node.value += "x"
    elif isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in SWAPS:
        node.op = SWAPS[type(node.op)]()
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        node.ops[0] = SWAPS[type(node.ops[0])]()
    else:
        return False
    return True


def mutants(header, solution, entry_point):
    """Every program that differs from the gold one in one place of the function's body."""
    tree = ast.parse(header + solution)
    places = [number for number, node in enumerate(ast.walk(tree)) if not isinstance(node, ast.Module)]
    for place in places:
        other = copy.deepcopy(tree)
        function = next(n for n in other.body if isinstance(n, ast.FunctionDef) and n.name == entry_point)
        inner = {id(node) for own in function.body for node in ast.walk(own)}
        docstring = function.body[0]
        if isinstance(docstring, ast.Expr) and isinstance(docstring.value, ast.Constant):
            inner -= {id(docstring.value)}
        node = list(ast.walk(other))[place]
        if id(node) in inner and _change(node):
            yield ast.unparse(ast.fix_missing_locations(other))


@linux
def test_small_gold_solutions_pass_and_broken_ones_fail():
    grader = Code(seconds=1)
    for row in basics()[::20]:
        own = basic(row)
        assert grader.grade(own, row["solution"].strip()).utility == 1, row["entry_point"]
        assert grader.try_out(own, row["prompt"] + row["solution"], "visible_tests").passed
        broken = next(mutants(row["prompt"], row["solution"], row["entry_point"]))
        assert grader.grade(own, f"```\n{broken}\n```").utility == 0, broken


def test_the_small_functions_are_well_formed():
    rows = basics()
    assert len(rows) == 100
    assert len({row["entry_point"] for row in rows}) == 100
    for row in rows:
        assert row["prompt"].startswith(f"def {row['entry_point']}(")
        assert row["visible_tests"].count("assert") == row["prompt"].count(">>>") >= 1
        shown = {
            line.replace(row["entry_point"], "candidate", 1) for line in row["visible_tests"].splitlines()
        }
        assert shown < set(row["tests"].splitlines())
        calls = [ast.parse(line).body[0].test for line in row["tests"].splitlines()]
        assert len({ast.dump(call.comparators[0]) for call in calls}) > 1, "a constant would pass"


@linux
@pytest.mark.slow
def test_every_small_gold_solution_passes_and_every_broken_one_fails():
    grader = Code(seconds=1)
    survivors = []
    for row in basics():
        assert grader.grade(basic(row), row["solution"].strip()).utility == 1, row["entry_point"]
        for program in mutants(row["prompt"], row["solution"], row["entry_point"]):
            if grader.grade(basic(row), f"```\n{program}\n```").utility:
                survivors.append((row["entry_point"], program))
    # A change may leave what the function computes the same.
    assert {name for name, _ in survivors} <= EQUIVALENT, survivors


EQUIVALENT = {"divisors"}  # it may ask n + 1 too, which never divides n


@linux
@pytest.mark.slow
def test_humaneval_gold_passes_and_without_its_results_fails(shared_data):
    grader = Code(tests="test")
    for row in humaneval(shared_data):
        own = prompt(row["prompt"], None, row["entry_point"], test=row["test"])
        assert grader.grade(own, row["canonical_solution"].strip()).utility == 1, row["task_id"]
        tree = ast.parse(row["prompt"] + row["canonical_solution"])
        for node in ast.walk(tree):
            if isinstance(node, ast.Return):
                node.value = None
        assert grader.grade(own, f"```\n{ast.unparse(tree)}\n```").utility == 0, row["task_id"]


@linux
def test_the_code_suite_loads(shared_data):
    humaneval(shared_data)
    basics_task, humaneval_task = load_suite("code", limit=3, data_dir=shared_data).tasks[:2]
    for task in (basics_task, humaneval_task):
        for own in task.prompts:
            assert task.grader().grade(own, own.reference[0]).utility == 1
    assert basics_task.prompts[0].metadata["tool"] == "tests"


@linux
def test_a_row_of_mbpp_is_graded(tmp_path):
    row = {
        "source_file": "x", "task_id": 2, "prompt": "Write a function to find the shared elements from the given two lists.",
        "code": "def similar_elements(test_tup1, test_tup2):\n  res = tuple(set(test_tup1) & set(test_tup2))\n  return (res) ",
        "test_imports": ["import math"],
        "test_list": ["assert set(similar_elements((3, 4, 5, 6),(5, 7, 4, 10))) == set((4, 5))", "assert set(similar_elements((1, 2),(2, 3))) == {2}"],
    }  # fmt: skip
    (tmp_path / "mbpp_sanitized.jsonl").write_text(json.dumps(row))
    task = load_suite("code", data_dir=tmp_path).tasks[2]
    assert task.name == "mbpp"
    items = [*task._items("measure"), *task._items("calibrate")]
    own = task._prompt(items[0])
    assert task.grader().grade(own, own.reference[0]).utility == 1
    assert task.grader().grade(own, own.reference[0].replace("&", "|")).utility == 0
