"""What is known of models that are not measured here: parameters, training tokens, lineage, each with its source.

The shipped list is `models.yaml` beside this file; files that `GAPBENCH_MODELS` or the command line name add models to
it, or change single figures. Unknown figures are None, never guessed.

>>> entry = find_model("pythia-12b")
>>> entry.family, f"{entry.flops:.1e}", entry.sources["tokens"]
('Pythia', '2.1e+22', 'Pythia, arXiv 2304.01373: 299,892,736,000 tokens')
"""

from gapbench.catalog.entries import Catalog, ModelEntry, training_flops
from gapbench.catalog.listing import find_model, load_catalog
from gapbench.catalog.manifest import complete_model

__all__ = ["Catalog", "ModelEntry", "complete_model", "find_model", "load_catalog", "training_flops"]
