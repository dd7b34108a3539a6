"""Long work on the event loop, in turns with everybody else's.

The law: whoever has worked for longer than SLICE lets all others go first. A thread would be no better: what takes long
here holds the interpreter, and a thread that holds it gives it up as late as this does, or later.
"""

import asyncio
from collections.abc import Iterable
from typing import TypeVar

SLICE = 1e-3  # seconds

Item = TypeVar("Item")


async def in_turns(items: Iterable[Item], *, first: bool = True) -> list[Item]:
    """All items, made one by one; `first` is whether the first turn is ours."""
    clock = asyncio.get_running_loop().time
    found: list[Item] = []
    began = clock() if first else clock() - 2 * SLICE
    iterator = iter(items)
    while True:
        if clock() - began > SLICE:
            await asyncio.sleep(0)
            began = clock()
        try:
            found.append(next(iterator))
        except StopIteration:
            return found
