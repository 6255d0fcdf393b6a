"""From one frozen model's run to what filtering by its verifiers could gain, and how far that can be told.

`gapbench.projection.project.project_run` does all of it; `gapbench.projection.forecast` keeps it, dated, in the run.
"""
