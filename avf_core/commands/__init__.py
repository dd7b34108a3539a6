"""Sub-commands of `avf` that need the library: train, evaluate, models."""
