"""What later checkpoints say: laws of a series, plateau, forecast, and whether a gain was bootstrapping."""
