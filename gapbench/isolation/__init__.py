"""Other processes: for libraries that may never end, and for programs that a model wrote."""
