"""Variational filtering EM: presets, schedule, the loop, and its state on disk."""
