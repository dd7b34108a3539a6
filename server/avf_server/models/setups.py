"""How a session is filtered: what it was opened with, and what the rows of one batch share.

The law: what a session did not ask for is its model's own, decided when it is opened, and never changes.
"""

from dataclasses import dataclass

import avf_wire as wire

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
MOST_LEVELS = 32
"""Levels of quantiles that a session may ask for."""
WIDEST = 64
"""Numbers of an observation up to which sessions have quantiles without having asked for them."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """`samples` are the draws of a prediction that has no closed form, `quantiles` the levels at which it is told."""

    model: str
    iterations: int
    particles: int = 1
    lag: int = 0
    samples: int = 1
    quantiles: tuple[float, ...] = ()
    gradient_samples: int = 0  # the most of an iteration; 0 where there are as many as the model has
    alarm_every: float = 0.0  # steps between false alarms of the session's detector; 0 where it has none
    alarm_by: wire.AlarmBy = "change"
