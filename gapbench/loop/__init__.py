"""The self-improvement loop itself, run so that projections can be held against what happens (projection.md, section 5).

`gapbench.loop.rounds.run_loop` samples, verifies, keeps by a filter, fine-tunes and repeats, freezes forecasts before each
round and scores them when the rounds are over.
"""
