"""httpx, and httpx_sse over it, without its command line, which it imports with itself, and click and rich with that.

The law: where httpx is imported already it is taken as it is; and `python -m httpx` works as ever.
"""

import sys

_COMMAND = "httpx._main"
_there = "httpx" in sys.modules

if not _there:
    sys.modules[_COMMAND] = None  # type: ignore[assignment] # to Python, a module that cannot be imported
try:
    import httpx as httpx
    from httpx_sse import EventSource as EventSource
    from httpx_sse import ServerSentEvent as ServerSentEvent
finally:
    if not _there:
        sys.modules.pop(_COMMAND, None)

__all__ = ["EventSource", "ServerSentEvent", "httpx"]
