"""The one place where addresses that may hold secrets become text.

The law: nothing that may be a password or a key is in what comes out, also of an address that cannot be parsed: what
is not known to be harmless counts as a secret. A foreign error's text is given only where it holds no piece of one.
"""

import re
from urllib.parse import unquote

HIDDEN = "***"
SHORTEST = 3  # characters of a piece of a secret that is looked for by itself; a whole one is, however short
_SEPARATORS = re.compile(r"[:/?#@&=\[\]\s]")
_SECRET_OPTION = re.compile(r"pass|secret|token|key|cred|auth|user", re.IGNORECASE)


def address(url: str) -> str:
    """An address without user and password, and without the values of options that may be secrets."""
    head, rest, options = _parts(url)
    shown = [name + (f"={HIDDEN}" if _SECRET_OPTION.search(name) else f"={value}") for name, value in options]
    return f"{head}{rest}{'?' if shown else ''}{'&'.join(shown)}"


def reason(error: Exception, url: str) -> str:
    """What an error about this address says; its kind only, where its text holds a piece of a secret."""
    text = str(error)
    said = (text, unquote(text), repr(text))
    if not text.strip() or any(secret in form for secret in secrets(url) for form in said):
        return type(error).__name__
    return " ".join(text.split())


def secrets(url: str) -> set[str]:
    """All that may be a secret in an address, as it is written and as it is meant, whole and in pieces."""
    whole = [_user(url).partition(":")[2] or _user(url), *_user(url).split(":")]
    whole += [value for name, value in _parts(url)[2] if _SECRET_OPTION.search(name)]
    both = {form for text in whole for form in (text, unquote(text)) if form}
    pieces = {piece for text in both for piece in _SEPARATORS.split(text) if len(piece) >= SHORTEST}
    return both | pieces


def _user(url: str) -> str:
    """What may be user and password: all up to the last @, as a password may hold any other sign."""
    return url.partition("://")[2].rpartition("@")[0]


def _parts(url: str) -> tuple[str, str, list[tuple[str, str]]]:
    """The scheme with its colon and slashes, what comes after the user, and the options."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return "", HIDDEN, []
    place, _, query = rest.rpartition("@")[2].partition("?")
    options = [(name, value) for name, _, value in (part.partition("=") for part in query.split("&")) if name]
    return f"{scheme}://", place, options
