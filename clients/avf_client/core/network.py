"""The way to a server as the environment has it: a proxy, and whom TLS trusts. Reads it; opens no connection.

The law: HTTP and streams go the same way. What is meant for this machine goes through no proxy. What the environment
says and nobody can follow is refused where the client is made, by one line that names the variable.
"""

import importlib.util
import os
import ssl
import urllib.request
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from avf_client.core import addresses
from avf_client.core._httpx import httpx
from avf_client.errors import InvalidArgument

PROXIES = ("http", "https", "socks5", "socks5h")
SOCKS = ("socksio", "python_socks")  # what httpx and websockets need for it
_DO = "correct it, unset it, or name the server's host in NO_PROXY"


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a server is reached.

    proxy  its address, which may hold a password, so repr does not tell it; None where there is none
    tls    for the server, and for a proxy that speaks it
    """

    proxy: str | None = field(repr=False)
    tls: ssl.SSLContext

    @property
    def http_proxy(self) -> httpx.Proxy | None:
        """The proxy, as httpx takes it."""
        return None if self.proxy is None else httpx.Proxy(self.proxy, ssl_context=self.proxy_tls)

    @property
    def proxy_tls(self) -> ssl.SSLContext | None:
        """What is trusted at the proxy, where it speaks TLS."""
        return self.tls if self.proxy is not None and self.proxy.startswith("https:") else None


def way_to(url: str) -> Way:
    """The way to the server at this address. Raises InvalidArgument."""
    proxy = proxy_of(url)
    return Way(proxy=proxy, tls=_tls(any(each is not None and each.startswith("https:") for each in (url, proxy))))


def proxy_of(url: str) -> str | None:
    """The proxy of this address by the environment, or the system's settings. Raises InvalidArgument."""
    parts = urlsplit(url)
    if addresses.is_this_machine(url) or urllib.request.proxy_bypass(parts.netloc):
        return None
    found = urllib.request.getproxies()
    name = next((name for name in (parts.scheme, "all") if found.get(name)), None)
    if name is None:
        return None
    proxy = found[name] if "://" in found[name] else f"http://{found[name]}"
    fault = addresses.fault_of_place(proxy, PROXIES) or _missing(proxy)
    if fault is not None:
        told = addresses.told(found[name])
        raise InvalidArgument(f"the proxy {name.upper()}_PROXY is {told!r}: {fault}; {_DO}")
    return proxy


def _missing(proxy: str) -> str | None:
    """What a proxy needs that is not installed."""
    if not proxy.startswith("socks") or all(importlib.util.find_spec(name) for name in SOCKS):
        return None
    return "SOCKS needs two more packages, pip install socksio python-socks"


def _tls(wanted: bool) -> ssl.SSLContext:
    """Whom TLS trusts: by SSL_CERT_FILE or SSL_CERT_DIR, else as httpx does; nobody where nothing speaks it."""
    if not wanted:
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        return httpx.create_ssl_context()
    except (OSError, ValueError) as error:
        names = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")
        given = ", ".join(f"{name} is {os.environ[name]!r}" for name in names if os.environ.get(name))
        raise InvalidArgument(f"certificates cannot be read: {error}; {given or 'none is set'}: correct it") from error
