"""What a client gets, with numpy arrays."""
