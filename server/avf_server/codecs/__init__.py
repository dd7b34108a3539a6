"""Codecs, one a file: forms of bodies and messages. `bounds` counts first, `negotiation` chooses."""

SHARED = ("base", "bounds", "negotiation")
