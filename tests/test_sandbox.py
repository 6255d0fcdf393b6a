"""The sandbox against programs that try to get out, to stay, to harm or to learn."""

import os
import platform
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from gapbench.errors import UserError
from gapbench.isolation import sandbox
from gapbench.isolation.sandbox import Limits, run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox needs Linux")

SMALL = Limits(seconds=1, wall=4, memory_bytes=256 << 20, output_bytes=100_000)


def running(mark):
    """Process ids whose command line has the mark; a forked process keeps its parent's."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark in (entry / "cmdline").read_bytes().decode("utf-8", "replace"):
                found.append(int(entry.name))
        except OSError:  # it ended meanwhile
            continue
    return found


@pytest.fixture
def contained(tmp_path, monkeypatch):
    """Run a program and check that nothing of it is left: no process, no file, no time beyond the limits."""
    mark = f"mark-{uuid.uuid4().hex}"
    script = tmp_path / f"{mark}.py"
    shutil.copy(sandbox._CHILD, script)
    monkeypatch.setattr(sandbox, "_CHILD", script)
    lure = Path("/dev/shm" if os.path.isdir("/dev/shm") else "/tmp") / mark

    def check(source, limits=SMALL, **options):
        start = time.monotonic()
        outcome = run(source.replace("LURE", str(lure)).replace("HERE", str(tmp_path)), limits, **options)
        assert time.monotonic() - start < limits.wall + 8  # a busy machine starts a process slowly
        assert running(mark) == []
        assert not lure.exists()
        assert [path.name for path in tmp_path.iterdir()] == [script.name]
        return outcome

    return check


# what it lets a program do


def test_a_program_computes_and_prints(contained):
    outcome = contained("import math, random\nprint(math.factorial(20), input())", stdin="in\n")
    assert (outcome.status, outcome.stdout) == ("ok", "2432902008176640000 in\n")


def test_the_standard_library_of_calculation_is_there(contained):
    from gapbench.isolation._sandbox_child import MODULES

    names = sorted(MODULES)
    uses = """
from datetime import datetime
assert datetime.strptime("2020-02-03", "%Y-%m-%d").day == 3
assert hashlib.md5(b"a").hexdigest().startswith("0cc1") and hashlib.sha256(b"").hexdigest()
assert codecs.encode("a", "rot_13") == "n" and "é".encode("latin-1")
assert decimal.Decimal(1) / 3 and fractions.Fraction(1, 3) and statistics.stdev([1, 2, 4])
assert re.findall(r"a+", "aab") == ["aa"] and textwrap.wrap("a b") and calendar.monthrange(2024, 2)
assert random.sample(range(9), 3) and unicodedata.name("a") and uuid.uuid4() and secrets.token_hex()
@dataclasses.dataclass
class Point:
    x: int
assert Point(1) == Point(1) and collections.Counter("aab")["a"] == 2
time.sleep(0.01)
print("done")
"""
    outcome = contained("\n".join(f"import {name}" for name in names) + uses)
    assert (outcome.status, outcome.stdout) == ("ok", "done\n")


# What imports a module only once it is used; which ones do depends on the version of Python.
AT_FIRST_USE = {
    "most common": "from collections import Counter\nprint(Counter('aab').most_common(1))",
    "mode": "import statistics\nprint(statistics.mode([1, 2, 2]))",
    "copy": "from collections import UserDict\nclass Own(UserDict): pass\nprint(Own(a=1).copy())",
    "dispatch": "from functools import singledispatch\n@singledispatch\ndef f(x): return 1\nprint(f(2))",
    "seed": "import random\nrandom.seed('abc')\nprint(random.random())",
    "split": "import re\nprint(re.split('a', 'bab', 1), re.findall('[[a]', 'a'))",
    "protocol": "from typing import SupportsIndex\nprint(isinstance(3, SupportsIndex))",
    "traceback": "import traceback\ntry: lenn\nexcept NameError: print(traceback.format_exc())",
    "log": "import logging\ntry: 1 / 0\nexcept ZeroDivisionError: logging.exception('no')\nprint(1)",
    "long division": "print(7**30000 // 3**20000 % 7)",
    "long text": "import sys\nsys.set_int_max_str_digits(0)\nprint(len(str(10**50000)), int('7' * 50000) % 7)",
    "name": "exec('é = 1')\nprint(eval(r\"'\\N{BULLET}'\"))",
    "digest": "import uuid\nprint(uuid.uuid5(uuid.NAMESPACE_DNS, 'a'))",
    "hexadecimal": "import codecs\nprint(codecs.encode(b'a', 'hex'))",
}


@pytest.mark.parametrize("name", AT_FIRST_USE)
def test_what_the_library_imports_at_first_use_is_there(name):
    outcome = run(AT_FIRST_USE[name])
    assert outcome.status == "ok"
    assert outcome.stdout


def test_sets_come_in_the_same_order_every_time():
    source = "print(list({'apple', 'pear', 'fig', 'plum'}))"
    assert len({run(source).stdout for _ in range(3)}) == 1


@pytest.mark.parametrize(
    "source", ["raise ValueError", "import sys; sys.exit(3)", "x = (", "import os; os._exit(97)"]
)
def test_a_program_that_fails_has_status_error(contained, source):
    assert contained(source).status == "error"


# what it does not


FORBIDDEN = {
    "fork": "import os; os.fork()",
    "fork bomb": "import os\nwhile True:\n    try: os.fork()\n    except BaseException: pass",
    "daemon": "import os\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        while True: pass",
    "setsid": "import os; os.setsid()",
    "system": "import os; os.system('touch LURE')",
    "spawn": "import os; os.posix_spawn('/bin/sh', ['sh', '-c', 'touch LURE'], {})",
    "exec": "import os; os.execv('/bin/sh', ['sh', '-c', 'touch LURE'])",
    "raw fork": "import ctypes; ctypes.CDLL(None).fork()",
    "raw vfork": "import ctypes; ctypes.CDLL(None).vfork()",
    "write a file": "open('LURE', 'w').write('x')",
    "append to a file": "open('HERE/new', 'a').write('x')",
    "make a folder": "import os; os.mkdir('LURE')",
    "make a link": "import os; os.symlink('/etc/passwd', 'LURE')",
    "remove": "import os; os.unlink('HERE')",
    "rename": "import os; os.rename('HERE', 'LURE')",
    "change mode": "import os; os.chmod('HERE', 0)",
    "memory file": "import os; os.memfd_create('x')",
    "kill the parent": "import os; os.kill(os.getppid(), 9)",
    "kill everything": "import os; os.kill(-1, 9)",
    "stop itself": "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
    "socket": "import ctypes; ctypes.CDLL(None).socket(2, 1, 0)",
    "connect": "import ctypes; ctypes.CDLL(None).connect(0, b'', 0)",
    "ptrace": "import ctypes, os; ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0)",
    "mount": "import ctypes; ctypes.CDLL(None).mount(b'none', b'/tmp', b'tmpfs', 0, None)",
    "namespaces": "import ctypes; ctypes.CDLL(None).unshare(0x10000000)",
    "io_uring": "import ctypes; ctypes.CDLL(None).syscall(425, 8, 0)",
    "abort": "import os; os.abort()",
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_what_a_solution_never_needs_kills_it(contained, name):
    outcome = contained(FORBIDDEN[name] + "\nprint('reached')")
    assert (outcome.status, outcome.stdout) == ("forbidden", "")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="x86 has two more ways to make a system call")
@pytest.mark.parametrize("code", ["b8390000400f05c3", "b802000000cd80c3"])
def test_a_system_call_of_another_convention_kills_it(contained, code):
    # The fork of the x32 convention, and that of 32-bit x86 through int 0x80.
    outcome = contained(
        f"import ctypes\ncode = bytes.fromhex('{code}')\nlibc = ctypes.CDLL(None)\nlibc.mmap.restype = ctypes.c_void_p\n"
        "at = libc.mmap(None, 4096, 7, 0x22, -1, 0)\nctypes.memmove(at, code, len(code))\n"
        "ctypes.CFUNCTYPE(ctypes.c_long)(at)()\nprint('reached')"
    )
    assert outcome.status in ("forbidden", "crashed")
    assert outcome.stdout == ""


REFUSED = {
    "read a file": "open('/etc/passwd')",
    "read the parent's environment": "import os; open(f'/proc/{os.getppid()}/environ')",
    "read its own": "open('/proc/self/environ')",
    "list a folder": "import os; os.listdir('/')",
    "look at a file": "import os; os.stat('/etc/passwd')",
    "inherit a file": "import os; [os.write(fd, b'x') for fd in range(3, 200)]",
    "lift a limit": "import resource; resource.setrlimit(resource.RLIMIT_CPU, (99, 99))",
    "alarm": "import signal; signal.setitimer(signal.ITIMER_REAL, 1)",
    "start a thread": "import threading; threading.Thread(target=print).start()",
    "import a package": "import numpy",
    "import a module of networking": "import socket; socket.create_connection(('127.0.0.1', 80))",
    "import what runs something": "import antigravity",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_raises(contained, name):
    outcome = contained(REFUSED[name] + "\nprint('reached')")
    assert (outcome.status, outcome.stdout) == ("error", "")


ENDLESS = {
    "loop": ("while True: pass", "time"),
    "loop in C": ("9 ** 9 ** 9", "time"),
    "loop with signals off": (
        "import signal\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n    except Exception: pass\n"
        "while True: pass",
        "time",
    ),
    "loop that catches": (
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
        "time",
    ),
    "loop at exit": (
        "import sys, weakref\nclass A:\n    def __del__(self):\n        while True: pass\na = A()",
        "time",
    ),
    "sleep": ("import time\ntime.sleep(10 ** 6)", "time"),
    "sleep with output closed": ("import os, time\nos.close(1)\nos.close(2)\ntime.sleep(10 ** 6)", "time"),
    "output": ("while True: print('x' * 1000)", "output"),
    "raw output": ("import os\nwhile True: os.write(1, b'x' * 1000)", "output"),
    "memory": ("x = []\nwhile True: x.append(bytearray(10 ** 7))", "error"),
    "memory at once": ("x = [0] * 10 ** 10", "error"),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in ("loop in C", "loop at exit") else name
        for name in ENDLESS
    ],
)
def test_what_would_never_end_is_ended(contained, name):
    source, status = ENDLESS[name]
    wall = 2 if "sleep" in name else 30  # on a busy machine a second of processor time takes long
    outcome = contained(source, Limits(seconds=1, wall=wall, memory_bytes=256 << 20, output_bytes=100_000))
    assert outcome.status == status
    assert len(outcome.stdout) <= 100_000


def test_the_environment_stays_outside(tmp_path):
    """The caller has a secret in its real environment, which /proc shows; a program must not find it anywhere."""
    secret = uuid.uuid4().hex
    hunt = (
        "import os, sys, gc\nprint(dict(os.environ), sys.argv, sys.path)\n"
        "for pid in (os.getppid(), 'self', 1):\n"
        "    for name in ('environ', 'cmdline', 'mem', 'fd'):\n"
        "        try: print(open(f'/proc/{pid}/{name}').read())\n"
        "        except OSError as no: print(type(no).__name__)\n"
        "import ctypes\nprint(ctypes.CDLL(None).getenv(b'SECRET'), os.popen)\n"
        "environ = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), 'environ')\n"
        "print([environ[0]] if environ else [])"
    )
    caller = f"from gapbench.isolation.sandbox import run; print(run({hunt!r}))"
    done = subprocess.run(
        [sys.executable, "-c", caller],
        env={**os.environ, "SECRET": secret},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "PermissionError" in done.stdout, done.stderr
    assert "status='ok'" in done.stdout
    assert secret not in done.stdout


def test_a_program_dies_with_its_parent(tmp_path):
    mark = f"mark-{uuid.uuid4().hex}"
    script = tmp_path / f"{mark}.py"
    shutil.copy(sandbox._CHILD, script)
    caller = (
        "import os, pathlib\nfrom gapbench.isolation import sandbox\n"
        f"sandbox._CHILD = pathlib.Path({str(script)!r})\n"
        "with sandbox.Sandboxed('import time; time.sleep(600)', sandbox.Limits()) as program:\n"
        "    while not program.read(): pass\n"  # it runs now
        "    os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", caller], cwd=Path(__file__).parents[1], timeout=60, check=True)
    deadline = time.monotonic() + 10
    while running(mark) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert running(mark) == []


def test_without_locks_nothing_is_run(monkeypatch, tmp_path):
    broken = sandbox._CHILD.read_text().replace("PR_SET_SECCOMP, SECCOMP_MODE_FILTER", "PR_SET_SECCOMP, 77")
    script = tmp_path / "child.py"
    script.write_text(broken)
    monkeypatch.setattr(sandbox, "_CHILD", script)
    with pytest.raises(UserError, match=r"cannot be locked .*PR_SET_SECCOMP"):
        run("print('ran')")


def test_a_filter_without_effect_is_noticed(monkeypatch, tmp_path):
    script = tmp_path / "child.py"
    script.write_text(sandbox._CHILD.read_text().replace("    lock()\n", ""))
    monkeypatch.setattr(sandbox, "_CHILD", script)
    with pytest.raises(UserError, match="no effect"):
        run("print('ran')")


@pytest.mark.parametrize(("system", "machine"), [("darwin", "arm64"), ("linux", "riscv64")])
def test_another_system_is_refused(monkeypatch, system, machine):
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    with pytest.raises(UserError, match="only in a sandbox of Linux"):
        run("print(1)")


def test_nothing_is_left_open():
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        run("print(1)")
    assert len(os.listdir("/proc/self/fd")) == before
