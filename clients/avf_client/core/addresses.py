"""Addresses of servers: what people write, as what is asked. No I/O.

The law: what can be no server's address is refused where it enters, by one line that says what is wrong with it and
that tells no user and no password in it.
"""

import socket
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from avf_client.core._httpx import httpx
from avf_client.errors import InvalidArgument

SCHEMES = ("http", "https")
_EXPECTED = "expected http://host:port or https://host"


def checked_url(base_url: str) -> str:
    """The address of a server, without a slash at its end. Raises InvalidArgument where it is no http address."""
    text = base_url.strip()
    scheme, mark, rest = text.partition("://")
    if not mark:
        hint = f"write http://{told(text)}" if text and "/" not in text.split("@")[-1].split(":")[0] else _EXPECTED
        raise _refused(text, f"it has no scheme, {hint}" if text else f"it is empty, {_EXPECTED}")
    url = f"{scheme.lower()}://{rest}".rstrip("/")
    fault = _fault(url) or fault_of_place(url, SCHEMES)
    if fault is not None:
        raise _refused(text, f"{fault}, {_EXPECTED}")
    return url


def stream_url(base_url: str, session_id: str, query: Mapping[str, str] | None = None) -> str:
    """The address of a session's WebSocket."""
    url = "ws" + checked_url(base_url).removeprefix("http") + session_path(session_id, "stream")
    return f"{url}?{urlencode(query)}" if query else url


def session_path(session_id: str, *tail: str) -> str:
    """The path of a session. Raises InvalidArgument."""
    if not session_id:
        raise InvalidArgument("the session's identifier is empty")
    return "/".join(["/v1/sessions", segment(session_id, "the session's identifier"), *tail])


def segment(name: str, what: str) -> str:
    """A name as one segment of a path, which it cannot leave. Raises InvalidArgument."""
    try:
        return quote(name, safe="")
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"{what} is no text: {error}") from error


def is_this_machine(url: str) -> bool:
    """Whether an address is of this machine: its loopback, or the 0.0.0.0 of a server that listens everywhere."""
    host = (urlsplit(url).hostname or "").removesuffix(".")
    address = _number(host)
    if address is None:
        return host == "localhost" or host.endswith(".localhost")
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback or address.is_unspecified


def told(url: str) -> str:
    """An address without the user and the password in it."""
    before, mark, after = url.rpartition("@")
    scheme, slashes, _ = before.partition("//")
    return f"{scheme}//***@{after}" if mark and slashes else f"***@{after}" if mark else url


def fault_of_place(url: str, schemes: tuple[str, ...]) -> str | None:
    """What is wrong with the scheme, the host or the port of an address."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        return f"its host or its port is none ({_unquoted(error, url)})"
    if parts.scheme not in schemes:
        return f"its scheme is {parts.scheme}"
    if port == 0:
        return "its port is 0"
    return _fault_of_host(host)


def _fault(url: str) -> str | None:
    """What an address of a server has that it should not have."""
    parts = _split(url)
    if any(character <= " " or character == "\x7f" for character in url):
        return "it holds a blank or a control character"
    if parts is not None and "@" in parts.netloc:
        return "it holds a user or a password, which belong nowhere: a key is given as api_key"
    for mark, name in (("?", "a query"), ("#", "a fragment")):
        if mark in url:
            return f"it has {name}"
    return None


def _fault_of_host(host: str | None) -> str | None:
    if not host:
        return "it names no host"
    try:
        host.encode("idna")
        httpx.URL(scheme="http", host=host)
    except (UnicodeError, httpx.InvalidURL) as error:
        return f"its host can be no name ({error})"
    return None


def _number(host: str) -> IPv4Address | IPv6Address | None:
    """The number that a host is written as, in the short forms of old too: 127.1 is 127.0.0.1."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):  # no number, or no ASCII
        return None


def _split(url: str) -> SplitResult | None:
    try:
        return urlsplit(url)
    except ValueError:
        return None


def _unquoted(error: ValueError, url: str) -> str:
    """The error, but where it repeats what stands before an @."""
    return "it cannot be read" if "@" in url else str(error)


def _refused(text: str, fault: str) -> InvalidArgument:
    return InvalidArgument(f"{told(text)!r} is no server's address: {fault}")
