"""Sound in chunks of any length, cut into observations."""
