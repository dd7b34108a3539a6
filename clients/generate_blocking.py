"""Makes the client's blocking face from its asynchronous one: `make format` writes it, `make lint` compares.

    python clients/generate_blocking.py [--check]

The law: what is said twice is written once. A file of FILES is read, the words of WORDS are exchanged, `await` is left
out, and ruff puts the rest in order. What the two faces do in different ways stands in `_carrier` and `streaming`,
which each of them has under the same names.
"""

import re
import subprocess
import sys
from pathlib import Path

CLIENT = Path(__file__).parent / "avf_client"
FILES = ("client", "connection", "session", "watching")
WORDS = {
    "AsyncClient": "Client",
    "AsyncConnection": "Connection",
    "AsyncGenerator": "Generator",
    "AsyncIterator": "Iterator",
    "AsyncSession": "Session",
    "AsyncStreaming": "Streaming",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "aclose": "close",
    "aclosing": "closing",
    "aread": "read",
    "asynccontextmanager": "contextmanager",
    "asynchronous": "blocking",
    "task": "thread",
    "tasks": "threads",
}
"""Whole words of the asynchronous face, and what they are in the other."""
_LEFT_OUT = re.compile(r"\b(?:async|await) ")
_WORD = re.compile(rf"\b(?:{'|'.join(WORDS)})\b")


def blocking(source: str) -> str:
    """The blocking form of an asynchronous module."""
    return _ordered(_WORD.sub(lambda word: WORDS[word[0]], _LEFT_OUT.sub("", source)))


def main(arguments: list[str]) -> int:
    """Write the files, or with `--check` only name those that are not as they would be written; gives the exit code."""
    different = []
    for name in FILES:
        made = blocking((CLIENT / "asynchronous" / f"{name}.py").read_text())
        path = CLIENT / "blocking" / f"{name}.py"
        if not path.exists() or path.read_text() != made:
            different.append(path)
            if "--check" not in arguments:
                path.write_text(made)
    if different and "--check" in arguments:
        names = ", ".join(str(path.relative_to(CLIENT.parent)) for path in different)
        sys.stderr.write(f"not made from the asynchronous face: {names}; change that one and run make format\n")
        return 1
    return 0


def _ordered(source: str) -> str:
    """The source with its imports sorted, and formatted."""
    for arguments in (["check", "--select", "I,RUF022", "--fix", "--quiet"], ["format", "--quiet"]):
        command = [
            sys.executable,
            "-m",
            "ruff",
            *arguments,
            "--stdin-filename",
            str(CLIENT / "blocking" / "made.py"),
            "-",
        ]
        source = subprocess.run(command, input=source, capture_output=True, text=True, check=True).stdout
    return source


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
