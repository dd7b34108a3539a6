"""What the two faces share: all decisions of the client, and no I/O."""
