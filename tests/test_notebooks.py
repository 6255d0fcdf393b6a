"""The notebooks run as committed, from top to bottom, and still say what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ROOT

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

MODEL_DEPENDENT = "nbval-ignore-output"
"""The tag, nbval's, of a cell that shows what a real model said: another processor rounds otherwise and may draw other words."""

Shown = tuple[tuple[str, ...], str]


def shown(cell: nbformat.NotebookNode) -> list[Shown]:
    """Kinds and text of each of a cell's outputs; what was printed in pieces is one."""
    found: list[Shown] = []
    for output in cell.get("outputs", []):
        kinds, text = tuple(sorted(output.get("data", {}))), output.get("data", {}).get("text/plain", "")
        if output.output_type == "stream":
            kinds, text = (output.name,), output.text
            if found and found[-1][0] == kinds:
                text = found.pop()[1] + text
        found.append((kinds, text))
    return found


def run(path: Path) -> nbformat.NotebookNode:
    """A fresh copy of a notebook, executed without what it showed before."""
    fresh = nbformat.read(path, as_version=4)
    for cell in fresh.cells:
        if cell.cell_type == "code":
            cell.update(outputs=[], execution_count=None)
    # A real model on a busy machine takes its time; pytest's own limit is the one that counts.
    nbclient.NotebookClient(fresh, timeout=None, resources={"metadata": {"path": path.parent}}).execute()
    return fresh


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "GAPBENCH_DATA" in path.read_text():
        monkeypatch.setenv("GAPBENCH_DATA", str(request.getfixturevalue("shared_data")))
    committed = nbformat.read(path, as_version=4)
    fresh = run(path)
    for was, now in zip(committed.cells, fresh.cells, strict=True):
        if MODEL_DEPENDENT in was.metadata.get("tags", []):
            assert [kinds for kinds, _ in shown(now)] == [kinds for kinds, _ in shown(was)], was.source
        else:
            assert shown(now) == shown(was), was.source
    last = [cell for cell in fresh.cells if cell.cell_type == "code"][-1]
    assert any("image/png" in kinds for kinds, _ in shown(last)), "a notebook ends in a figure"
