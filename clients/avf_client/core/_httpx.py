"""httpx without its command line, which it imports with itself, and click, rich and pygments with that.

The law: where httpx is imported already it is taken as it is; and `python -m httpx` works as ever.
"""

import sys

_COMMAND = "httpx._main"

if "httpx" in sys.modules:
    import httpx as httpx
else:
    sys.modules[_COMMAND] = None  # type: ignore[assignment] # to Python, a module that cannot be imported
    try:
        import httpx as httpx
    finally:
        sys.modules.pop(_COMMAND, None)

__all__ = ["httpx"]
