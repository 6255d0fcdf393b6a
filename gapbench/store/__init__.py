"""The run directory: shards of rows, a list of them, a manifest and a lock."""

from gapbench.store.jsonfile import write_atomic
from gapbench.store.run_store import RunStore, Writer, refuse_twice

__all__ = ["RunStore", "Writer", "refuse_twice", "write_atomic"]
