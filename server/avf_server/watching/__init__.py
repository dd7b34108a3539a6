"""What becomes of sessions, told to those who wait for it."""
