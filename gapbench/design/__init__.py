"""What to draw: the price of an interval, from a pilot to a plan to a run that grows until it is known well enough."""
