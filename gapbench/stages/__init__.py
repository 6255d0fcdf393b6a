"""The stages of a run, sample, grade and verify: what each still lacks, and how they run at once over one engine.

A stage looks only at the store for what is missing, never at what another has in memory; that is what makes each of
them run alone, and what makes a killed run resumable.
"""

from gapbench.stages.flow import Flow
from gapbench.stages.sampling import Sampler
from gapbench.stages.verifying import Judging, check_needs

__all__ = ["Flow", "Judging", "Sampler", "check_needs"]
