"""What a run's manifest says of its model beyond what the engine knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gapbench.catalog.entries import Catalog


def complete_model(model: Mapping[str, Any], catalog: Catalog) -> dict[str, Any]:
    """Fill what an engine does not know of its model, for the manifest.

    Parameters
    ----------
    model
        `gapbench.engines.base.ModelInfo` as a mapping, as `Engine.describe()["model"]` has it.

    Returns
    -------
    `model` with `family`, `kind`, `active_parameters` and `sources` beside its own keys. The engine's figures stay; those it
    leaves None come from the catalog. `sources` tells of each known figure where it comes from.
    """
    found = catalog.candidates(str(model["id"]))
    entry = found[0] if len(found) == 1 else None
    done = {**model, "family": None, "kind": None, "active_parameters": model.get("parameters")}
    sources = {
        figure: f"{how} by the engine"
        for figure, how in (("parameters", "counted"), ("training_tokens", "given"))
        if model.get(figure) is not None
    }
    if entry is not None:
        done |= {"family": entry.family, "kind": entry.kind}
        for figure, listed, where in (
            ("parameters", entry.parameters, "parameters"),
            ("training_tokens", entry.tokens, "tokens"),
        ):
            if listed is None:
                continue
            if done.get(figure) is None:
                done[figure] = listed
                sources[figure] = entry.sources[where]
            elif done[figure] != listed:
                sources[figure] += f"; the catalog has {listed:_}"
        if entry.active_parameters != entry.parameters:
            done["active_parameters"] = entry.active_parameters
            sources["active_parameters"] = entry.sources["active_parameters"]
        else:
            done["active_parameters"] = done["parameters"]
    return {**done, "sources": sources}
