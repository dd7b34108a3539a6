"""Filters as Gymnasium environments, and environments whose observations are a filter's beliefs.

    import avf_client.gym
    env = gymnasium.make("avf/SRNN-JSB-v0")

The law: importing this registers an environment for every checkpoint of the zoo and imports no torch; the library is
imported where a filter is opened in this process, and not where it runs on a server.
"""

try:
    import gymnasium as _gymnasium  # noqa: F401 - before the modules below, so that its absence is told by one message
except ModuleNotFoundError as error:
    from avf_client.errors import MissingExtra

    raise MissingExtra("avf_client.gym", "gym") from error

from avf_client.gym.belief import BeliefObservation, VectorBeliefObservation
from avf_client.gym.environment import FilterEnv
from avf_client.gym.filters import Estimates, Filters, Spec
from avf_client.gym.opening import open_filters
from avf_client.gym.vector import FilterVectorEnv
from avf_client.gym.zoo import register_zoo

__all__ = [
    "BeliefObservation",
    "Estimates",
    "FilterEnv",
    "FilterVectorEnv",
    "Filters",
    "Spec",
    "VectorBeliefObservation",
    "open_filters",
]

register_zoo()
