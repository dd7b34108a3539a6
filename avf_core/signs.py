"""What a step may be told by beside its cost: numbers that a model gives, in groups that are listened to together."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Sign:
    """A group of `size` numbers of every step. `memory`: over how many steps their mean runs before it is judged.

    Few steps for what is plain at once, more for what only shows when it goes on. `above`: of one number that is
    strange where it is large alone. `weight`: how much its surprise counts beside that of others. `bins`: the model
    gives a spectrum of so many, and the one number of the group is how sure a tone is by all spectra so far
    (`avf_core.tones`).
    """

    name: str
    size: int
    memory: float = 1.0
    above: bool = False
    weight: float = 1.0
    bins: int = 0

    @property
    def given(self) -> int:
        """Numbers that a model gives of it."""
        return self.bins or self.size
