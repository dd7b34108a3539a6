"""`ast.parse`, by one thread at a time.

Python before 3.11.8 and 3.12.2 counts how deep it is in one place for all threads (gh-106905): of two that parse at the
same time one gets a SystemError. A server under test parses where it writes a traceback, and Hypothesis where it shows
what it found. The law: whoever parses here, anywhere in this process, waits for its turn.
"""

import ast
import functools
import threading
from collections.abc import Callable
from typing import Any


def in_turns() -> None:
    """From now on."""
    parse: Callable[..., Any] = ast.parse
    if hasattr(parse, "__wrapped__"):
        return
    lock = threading.RLock()

    @functools.wraps(parse)
    def parsed(*arguments: Any, **options: Any) -> Any:
        with lock:
            return parse(*arguments, **options)

    vars(ast)["parse"] = parsed
