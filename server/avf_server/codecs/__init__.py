"""Codecs, one a file: forms of bodies and messages. `negotiation` chooses."""

SHARED = ("base", "negotiation")
