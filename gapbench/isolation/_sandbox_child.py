"""The child's side of `gapbench.isolation.sandbox`: lock the process, then run a program in it.

A script and not a module: it runs in a bare interpreter that knows no package of ours. File descriptor `argv[1]`
holds the job as JSON. The first byte it prints is `READY`, once it is locked; without that, exit code `REFUSED` says that
a lock could not be put on and nothing was run.
"""

from __future__ import annotations

import ast
import contextlib
import ctypes
import json
import os
import platform
import resource
import signal
import struct
import sys
import types
from typing import Any

REFUSED = 97
READY = b"+"

# System calls by name: (x86_64, aarch64); None where an architecture has no such call.
ALLOWED: dict[str, tuple[int | None, int | None]] = {
    "read": (0, 63), "readv": (19, 65), "write": (1, 64), "writev": (20, 66), "close": (3, 57), "lseek": (8, 62),
    "fstat": (5, 80), "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215), "mremap": (25, 216),
    "madvise": (28, 233), "brk": (12, 214), "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139), "sigaltstack": (131, 132), "restart_syscall": (219, 128), "futex": (202, 98),
    "poll": (7, None), "ppoll": (271, 73), "select": (23, None), "pselect6": (270, 72), "sched_yield": (24, 124),
    "nanosleep": (35, 101), "clock_nanosleep": (230, 115), "clock_gettime": (228, 113), "clock_getres": (229, 114),
    "gettimeofday": (96, 169), "time": (201, None), "times": (100, 153), "getrusage": (98, 165),
    "getpid": (39, 172), "getppid": (110, 173), "gettid": (186, 178), "getuid": (102, 174), "geteuid": (107, 175),
    "getgid": (104, 176), "getegid": (108, 177), "getrandom": (318, 278), "exit": (60, 93), "exit_group": (231, 94),
}  # fmt: skip

# What no function that answers an exercise has to do. Whoever tries is killed, even if he would catch the error.
FATAL: dict[str, tuple[int | None, int | None]] = {
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281), "setsid": (112, 157),
    "setpgid": (109, 154), "unshare": (272, 97), "setns": (308, 268), "ptrace": (101, 117),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438), "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "pidfd_send_signal": (424, 424),
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200), "accept": (43, 202),
    "sendto": (44, 206), "creat": (85, None), "truncate": (76, 45), "ftruncate": (77, 46), "rename": (82, None),
    "renameat": (264, 38), "renameat2": (316, 276), "mkdir": (83, None), "mkdirat": (258, 34), "rmdir": (84, None),
    "link": (86, None), "linkat": (265, 37), "unlink": (87, None), "unlinkat": (263, 35), "symlink": (88, None),
    "symlinkat": (266, 36), "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "chown": (92, None),
    "fchownat": (260, 54), "mknod": (133, None), "mknodat": (259, 33), "mount": (165, 40), "umount2": (166, 39),
    "chroot": (161, 51), "pivot_root": (155, 41), "memfd_create": (319, 279), "bpf": (321, 280),
    "keyctl": (250, 219), "add_key": (248, 217), "io_uring_setup": (425, 425), "userfaultfd": (323, 282),
    "perf_event_open": (298, 241), "init_module": (175, 105), "finit_module": (313, 273), "reboot": (169, 142),
}  # fmt: skip

OPEN, OPENAT = (2, None), (257, 56)
CLONE, CLONE3 = (56, 220), 435
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32_BIT = 0x40000000
CLONE_THREAD = 0x10000

# linux/bpf_common.h and linux/seccomp.h
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
KILL, ERRNO, ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
NUMBER_AT, ARCH_AT, FIRST_ARG_AT = 0, 4, 16
EPERM, EAGAIN, ENOSYS = 1, 11, 38

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
SECCOMP_MODE_FILTER = 2
CAPABILITY_VERSION_3 = 0x20080522

# What a program may import. A list of what may, because importing some modules runs something.
MODULES = frozenset(
    {
        "abc", "array", "ast", "base64", "binascii", "bisect", "calendar", "cmath", "codecs", "collections", "colorsys",
        "contextlib", "contextvars", "copy", "csv", "dataclasses", "datetime", "decimal", "difflib", "enum", "errno",
        "fractions", "functools", "gc", "graphlib", "hashlib", "heapq", "hmac", "html", "inspect", "io", "itertools",
        "json", "keyword", "logging", "math", "numbers", "operator", "os", "pathlib", "pprint", "queue", "random", "re",
        "reprlib", "secrets", "signal", "statistics", "string", "struct", "sys", "textwrap", "threading", "time",
        "timeit", "token", "tokenize", "traceback", "types", "typing", "unicodedata", "urllib", "uuid", "warnings",
        "weakref", "zlib",
    }
)  # fmt: skip
# Imported by what is there from the start, but only once it is used: `Counter.most_common` imports heapq, a warning the
# module of that name, and from Python 3.12 on a division of long integers _pylong.
AT_FIRST_USE = ["_pylong", "copy", "heapq", "unicodedata", "warnings", "weakref"]
# Modules that import another only when one of their functions is called, in one version of Python or another.
LAZY = {
    "codecs": ["encodings.rot_13", "encodings.hex_codec", "encodings.latin_1"],
    "datetime": ["_strptime"],
    "logging": ["tokenize"],
    "random": ["_sha2"],
    "time": ["_strptime"],
    "traceback": ["tokenize"],
    "typing": ["inspect"],
    "uuid": ["hashlib"],
}


def filter_program(machine: str) -> bytes:
    """The seccomp filter: allowed calls pass, fatal ones kill the process, any other fails with EPERM."""
    column = list(AUDIT_ARCH).index(machine)
    steps: list[tuple[int, int, int, int]] = [
        (LOAD, 0, 0, ARCH_AT),
        (EQUAL, 1, 0, AUDIT_ARCH[machine]),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER_AT),
    ]

    def on(number: int | None, *then: tuple[int, int, int, int], test: int = EQUAL) -> None:
        if number is not None:
            steps.extend([(test, 0, len(then), number), *then])

    if machine == "x86_64":
        on(X32_BIT, (RETURN, 0, 0, KILL), test=AT_LEAST)
    for numbers in ALLOWED.values():
        on(numbers[column], (RETURN, 0, 0, ALLOW))
    for numbers in FATAL.values():
        on(numbers[column], (RETURN, 0, 0, KILL))
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
    for numbers, flags in ((OPEN, 1), (OPENAT, 2)):
        argument = (LOAD, 0, 0, FIRST_ARG_AT + 8 * flags)
        on(
            numbers[column],
            argument,
            (ANY_BIT, 0, 1, writing),
            (RETURN, 0, 0, KILL),
            (RETURN, 0, 0, ERRNO | EPERM),
        )
    # A thread fails politely, a process fatally. clone3 hides its flags in memory; without it libc asks clone.
    thread = ((LOAD, 0, 0, FIRST_ARG_AT), (ANY_BIT, 0, 1, CLONE_THREAD))
    on(CLONE[column], *thread, (RETURN, 0, 0, ERRNO | EAGAIN), (RETURN, 0, 0, KILL))
    on(CLONE3, (RETURN, 0, 0, ERRNO | ENOSYS))
    steps.append((RETURN, 0, 0, ERRNO | EPERM))
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def limit(job: dict[str, Any]) -> None:
    """Put the resource limits on; hard ones, which the program cannot lift."""
    for name, most in (
        (resource.RLIMIT_CPU, job["seconds"]),
        (resource.RLIMIT_AS, job["memory_bytes"]),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 16),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(name)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(name, (most, most))


def lock() -> None:
    """Give up capabilities, then all system calls but a few.

    Raises
    ------
    OSError
        If the kernel or the container refuses one of the locks.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def must(result: int, what: str) -> None:
        if result != 0:
            raise OSError(f"{what} failed: {os.strerror(ctypes.get_errno())}")

    header, none = struct.pack("=Ii", CAPABILITY_VERSION_3, 0), bytes(24)
    must(libc.capset(header, none), "capset")
    must(libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl(PR_SET_DUMPABLE)")
    must(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")
    program = filter_program(platform.machine())
    code = ctypes.create_string_buffer(program, len(program))
    loader = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    must(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, loader, 0, 0), "prctl(PR_SET_SECCOMP)")


def preload(texts: list[str]) -> None:
    """Import the standard modules that the programs name or may need, since nothing can be opened after `lock`."""
    _load(AT_FIRST_USE)
    for text in texts:
        with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Import):
                    _load_allowed([alias.name for alias in node.names])
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    _load_allowed([node.module, *(f"{node.module}.{alias.name}" for alias in node.names)])


def _load_allowed(names: list[str]) -> None:
    for name in names:
        top = name.partition(".")[0]
        if top in MODULES and "__" not in name:
            _load([name, *LAZY.get(top, ())])


def _load(names: list[str]) -> None:
    for name in names:
        with contextlib.suppress(Exception):  # the program's own import then says what is wrong
            __import__(name)


def prepare(job: dict[str, Any]) -> None:
    """Do all that is done before the program runs.

    Raises
    ------
    OSError
        If this process cannot be locked.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != job["parent"]:
        raise OSError("the parent is gone")
    limit(job)
    preload([job["source"], *job["scan"]])
    lock()
    with contextlib.suppress(PermissionError):
        os.close(os.open("/proc/self/environ", os.O_RDONLY))
        raise OSError("the seccomp filter has no effect")


def main() -> None:
    """Lock this process and run the job's program as `__main__`."""
    with os.fdopen(int(sys.argv[1]), "rb") as file:
        job = json.load(file)
    try:
        prepare(job)
    except (OSError, ValueError, AttributeError) as failure:
        os.write(1, str(failure).encode())
        os._exit(REFUSED)
    os.write(1, READY)
    sys.path.clear()
    sys.path_importer_cache.clear()
    sys.argv[:] = [""]
    os.environ.clear()
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    exec(compile(job["source"], "<program>", "exec", dont_inherit=True), module.__dict__)


if __name__ == "__main__":
    main()
