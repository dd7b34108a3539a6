"""Random and mutated messages at every door of a running server, from a seed: `python -m tests.fuzz --count 100000`.

The laws held here: whatever comes, the server answers or closes as docs/protocol.md says, with no fault of its own and
no crash; its memory stays bounded; and a session that does none of this notices nothing.
"""
