"""An environment for every checkpoint of the zoo: `srnn-jsb` is `avf/SRNN-JSB-v0`.

The law: the zoo is listed, not loaded, and the library is found, not imported, so that this costs next to nothing.
"""

import importlib.util
from pathlib import Path

from gymnasium.envs.registration import register, registry

VERSION = 0  # of what an action, an observation and a reward are; not of the checkpoints


def zoo() -> list[str]:
    """The names of the checkpoints that ship with the library; none where it is not installed."""
    found = importlib.util.find_spec("avf_core")
    folders = found.submodule_search_locations if found is not None else None
    return sorted(path.parent.name for folder in folders or () for path in Path(folder).glob("zoo/*/config.json"))


def environment_id(checkpoint: str) -> str:
    """The identifier of a checkpoint's environment."""
    return f"avf/{checkpoint.upper()}-v{VERSION}"


def register_zoo() -> None:
    """Make every checkpoint's environment known to Gymnasium; those that it knows stay as they are."""
    for name in zoo():
        if environment_id(name) not in registry:
            register(
                environment_id(name),
                entry_point="avf_client.gym.environment:FilterEnv",
                vector_entry_point="avf_client.gym.vector:FilterVectorEnv",
                kwargs={"model": name},
            )
