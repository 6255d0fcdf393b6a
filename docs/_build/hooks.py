"""What MkDocs is given beside the pages in `docs/`: generated parts, a page for each package, and figures of results/."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(Path(__file__).parent))

import generated  # noqa: E402 (found once its folder is on the path)

FIGURES = ("starter-smollm2-135m/plots/*.png", "coverage/*.png", "cross/*.png", "tokens/*.png")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the pages of the packages under Reference."""
    pages: list[dict[str, str]] = [{name: _page_of(name)} for name in generated.packages()]
    reference: list[dict[str, Any]] = next(part["Reference"] for part in config.nav or [] if "Reference" in part)
    next(part for part in reference if isinstance(part, dict) and "Python" in part)["Python"] = pages
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages of the packages, and published figures under `figures/`."""
    for name, modules in generated.packages().items():
        page = generated.python_page(name, modules)
        files.append(File.generated(config, _page_of(name), content=page))
    for pattern in FIGURES:
        for path in sorted((ROOT / "results").glob(pattern)):
            name = "-".join(path.relative_to(ROOT / "results").with_suffix("").parts)
            files.append(File.generated(config, f"figures/{name}.png", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the generated parts in their places."""
    return generated.filled(markdown)


def _page_of(package: str) -> str:
    return f"reference/python/{package}.md"
