r"""From a reply to a program. Parses what a model wrote, so `gapbench.isolation.worker.Worker` alone imports this module.

>>> extract("Sure!\n```python\ndef add(a, b):\n    return a + b\n```\nHope it helps.", "", "add")
'def add(a, b):\n    return a + b'
"""

from __future__ import annotations

import ast
import re
import sys
import warnings
from collections.abc import Iterator
from hashlib import blake2b

_FENCE = re.compile(r"^[ \t]*(?:```|~~~)[^\n`]*$", re.MULTILINE)
_STARTS = re.compile(r"(?:import |from \w|def |async def |class |@\w|\w+ *(?::[^=\n]{1,80})?=(?!=))")
_MOST_CUTS = 60
_MOST_STARTS = 20
_INDENT = 4


def extract(reply: str, header: str, entry_point: str | None) -> str | None:
    """The program that a reply stands for.

    The code is in the last complete fenced block that defines the entry point, else in the last one, else in the
    reply itself. It is a program that defines the entry point, or else what follows the header, whether or not its first
    line has lost its indentation. It ends before the first line that is not code.

    Parameters
    ----------
    header
        Code before a completion: imports, helpers, the line with `def`, perhaps a docstring.
    entry_point
        Name of the function; None where any will do.

    Returns
    -------
    str or None
        Header and code together, None where there is no code.
    """
    base = complete(header)
    for block in _blocks(reply, entry_point):
        text = _without_prompts(block.expandtabs(_INDENT)).strip("\n")
        whole = _definition(text, entry_point)
        if whole:
            return f"{base}\n\n{whole}".strip("\n")
        body = text[: found.start()] if (found := _def_line(text, entry_point)) else text
        program = _continued(header.rstrip(), body) if header else _prefix("", text)
        if program:
            return program
    return None


def complete(header: str) -> str:
    """A header as a program of its own: a `def` line without a docstring gets a body."""
    return header if _fault(header) is None else f"{header.rstrip()}\n{' ' * _INDENT}pass\n"


def normal_form(program: str) -> str:
    """A digest in which programs are equal that differ in comments, docstrings, annotations and layout only."""
    tree = ast.parse(program)
    last = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    tree.body = [
        node
        for node in tree.body
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or last[node.name] is node
    ]
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and len(body) > 1 and _is_text(body[0]):
            del body[0]
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
        # A run may be resumed under another Python, so all have to spell a tree as 3.11 does.
        if not getattr(node, "type_params", True):
            del node.type_params  # type: ignore[attr-defined]
    if sys.version_info >= (3, 13):
        text = ast.dump(tree, show_empty=True)
    else:
        text = ast.dump(tree)
    return blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _blocks(reply: str, entry_point: str | None) -> Iterator[str]:
    """Where to look for code, the best place first."""
    fences = list(_FENCE.finditer(reply))
    pairs = zip(fences[::2], fences[1::2], strict=False)
    blocks = [reply[opening.end() : closing.start()] for opening, closing in pairs]
    blocks.reverse()
    yield from sorted(blocks, key=lambda block: not _def_line(block, entry_point))
    # A stop string, or the reply's end, may have cut off the closing fence; and a fence may close what the prompt opened.
    if len(fences) % 2:
        yield (
            reply[fences[-1].end() :]
            if reply[: fences[-1].start()].strip() == ""
            else reply[: fences[-1].start()]
        )
    if not fences:
        yield reply


def _without_prompts(text: str) -> str:
    """The input lines of an interactive session; text that is not one stays as it is."""
    if not text.lstrip().startswith(">>> "):
        return text
    lines = [line.lstrip() for line in text.split("\n")]
    return "\n".join(line[4:] for line in lines if line.startswith((">>> ", "... ")))


def _fault(program: str) -> int | None:
    """Line of the first thing that is not Python, from 1; None where all is."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `"\d"` in a reply is no concern of ours
            compile(program, "<reply>", "exec", dont_inherit=True)
    except SyntaxError as fault:
        return fault.lineno or 1
    except (ValueError, RecursionError, MemoryError):
        return 1
    return None


def _prefix(before: str, text: str) -> str:
    """The longest run of the text's first lines that is code after `before`, with it; empty where there is none.

    A syntax error names a line; what stands from there on is cut and the rest is tried again. Where the error is only seen
    later than it is made (a bracket that stays open), that takes several cuts, of which there is a limit.
    """
    lines = text.rstrip().split("\n")
    above = before.count("\n") + 1 if before else 0
    for _ in range(_MOST_CUTS):
        if not "".join(lines).strip():
            return ""
        program = f"{before}\n" * bool(before) + "\n".join(lines)
        fault = _fault(program)
        if fault is None:
            return _without_words(program)
        del lines[max(0, min(fault - above, len(lines)) - 1) :]
    return ""


def _without_words(program: str) -> str:
    """Drop single words at the end, which are code only by the letter, such as `Done`."""
    body = ast.parse(program).body
    while body and isinstance(body[-1], ast.Expr) and isinstance(body[-1].value, ast.Name | ast.Constant):
        program = "\n".join(program.split("\n")[: body.pop().lineno - 1])
    return program.rstrip()


def _def_line(text: str, entry_point: str | None) -> re.Match[str] | None:
    name = re.escape(entry_point) if entry_point else r"\w+"
    return re.search(rf"^([ \t]*)(?:async )?def {name}\b", text, re.MULTILINE)


def _definition(text: str, entry_point: str | None) -> str:
    """A program in the text that defines the entry point, without what stands before it; else empty."""
    found = _def_line(text, entry_point)
    if not found:
        return ""
    if _fault(text) is None:
        return text.rstrip()
    lines = text.split("\n")
    at = text.count("\n", 0, found.start())
    lines = [line.removeprefix(found[1]) for line in lines]
    starts = [number for number in range(at + 1) if _STARTS.match(lines[number])]
    for start in starts[:_MOST_STARTS] + starts[-1:]:
        program = _prefix("", "\n".join(lines[start:]))
        if program.count("\n") > at - start or (program and at == start):
            return program
    return ""


def _continued(header: str, text: str) -> str:
    """The header with the text as the rest of it; empty where the text is no code however it is indented."""
    lines = text.split("\n")
    for start in range(min(len(lines), _MOST_STARTS)):
        rest = lines[start:]
        if not rest[0].strip():
            continue
        programs = [_prefix(header, "\n".join(version)) for version in _indented(rest)]
        best = max(programs, key=lambda program: program.count("\n"))
        if best and best.count("\n") > header.count("\n"):
            return best
    return ""


def _indented(lines: list[str]) -> Iterator[list[str]]:
    """The lines as they may have been meant: as they are, with the first line's indentation given back, all indented."""
    first, *others = lines
    if first[0].isspace():
        yield lines
    margin = " " * _INDENT
    yield [margin + first.lstrip(), *others]
    indents = {len(line) - len(line.lstrip()) for line in others if line.strip()} - {0}
    if indents and (least := min(indents)) != _INDENT:  # a body of another indentation than its header's
        yield [
            margin + first.lstrip(),
            *(margin + line[least:] if line[:least].isspace() else line for line in others),
        ]
    yield [margin + line for line in lines]
