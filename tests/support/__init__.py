"""What tests of several folders share: processes, servers, models, Redis of every kind, and how to wait."""
