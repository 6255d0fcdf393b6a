"""Runs from other people's files, and the other way round."""
