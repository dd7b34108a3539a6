"""The sub-commands of `avf` that need the base install only. One file a command."""
