"""Sessions but for their steps: opened, listed, copied, looked ahead of, ended."""
