"""Arrays to estimates: numpy and scipy only, no rows, no engines."""
