"""Servers and their Redis under fire: real processes, seeded faults, and a checker of what clients were told."""
