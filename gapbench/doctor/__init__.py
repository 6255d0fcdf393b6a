"""What `gapbench doctor` looks at: libraries, engines, devices, folders, variables, and a run of known truth.

`gapbench.doctor.checkup.examine` looks at all of it.
"""
