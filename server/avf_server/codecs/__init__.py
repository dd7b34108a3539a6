"""Forms of bodies and messages: one file a form. `negotiation` chooses."""

SHARED = ("base", "negotiation")
