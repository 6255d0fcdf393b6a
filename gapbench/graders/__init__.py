"""Ground truth: one protocol (`base`), one file a way of grading."""

from gapbench.graders.base import NOTHING, Graded, Grader, graders

__all__ = ["NOTHING", "Graded", "Grader", "graders"]
