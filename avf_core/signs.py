"""What a step may be told by beside its cost: numbers that a model gives, in groups that are listened to together."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Sign:
    """A group of `size` numbers of every step. `memory`: over how many steps their mean runs before it is judged.

    Few steps for what is plain at once, more for what only shows when it goes on.
    """

    name: str
    size: int
    memory: float = 1.0
