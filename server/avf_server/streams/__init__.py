"""Streams of sessions: what is said (dialects), how much at a time (flow), on what (sockets), and the conversation."""
