"""Inference procedures, one a file; the file's name is the procedure's name."""
