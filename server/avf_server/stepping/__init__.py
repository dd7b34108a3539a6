"""The way of one observation through a tick, from the queue to its reply."""
