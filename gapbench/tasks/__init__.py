"""What models are asked: suites and tasks from YAML and rows of data, their checks included."""

from gapbench.tasks.suite import (
    Split,
    Suite,
    Task,
    list_suites,
    list_tasks,
    load_suite,
    named_suites,
    suites_dir,
)

__all__ = [
    "Split",
    "Suite",
    "Task",
    "list_suites",
    "list_tasks",
    "load_suite",
    "named_suites",
    "suites_dir",
]
