"""Amortized variational filtering: models, inference procedures, filters, training. Knows nothing of servers."""
