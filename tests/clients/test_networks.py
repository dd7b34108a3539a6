"""Strangers' networks: proxies, certificates and addresses, as the environment and people have them."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from avf_client import AsyncClient, Client, Retry, errors
from avf_client.commands import cli
from avf_client.core import addresses, network
from hypothesis import given
from hypothesis import strategies as st

ONCE = Retry(attempts=1)
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")
SESSION = {
    "id": "a" * 24, "model": "tiny", "model_digest": "0" * 16, "epoch": 1, "next_seq": 1, "seed": 1, "iterations": 2,
    "durability": "group", "observation_size": 88, "latent_size": 4, "created_at": 1.7e9, "expires_in": 3600.0,
    "audio": None, "next_sample": None,
}  # fmt: skip


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's own network."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


class Proxy(ThreadingHTTPServer):
    """A proxy that answers itself, and knows what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """Answers for sessions; tunnels to nowhere."""

    server: Proxy

    def do_GET(self) -> None:
        self.server.asked.append(self.requestline.rpartition(" ")[0])
        body = json.dumps(SESSION if "sessions" in self.path else {"models": []}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", f"{len(body)}")
        self.end_headers()
        self.wfile.write(body)

    def do_CONNECT(self) -> None:
        self.server.asked.append(self.requestline.rpartition(" ")[0])
        self.send_error(403)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """A proxy on loopback."""
    made = Proxy()
    serving = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    serving.start()
    yield made
    made.shutdown()
    serving.join()
    made.server_close()


def used_blocking(url: str) -> None:
    with Client(url, retry=ONCE) as client:
        session = client.attach(SESSION["id"])
        with pytest.raises(errors.ConnectionFailed):
            list(session.stream([None]))


def used_awaited(url: str) -> None:
    async def use() -> None:
        async with AsyncClient(url, retry=ONCE) as client:
            session = await client.attach(str(SESSION["id"]))
            with pytest.raises(errors.ConnectionFailed):
                [_ async for _ in session.stream([None])]

    asyncio.run(use())


FACES = pytest.mark.parametrize("use", [used_blocking, used_awaited])


@FACES
@pytest.mark.parametrize(
    ("variable", "scheme"), [("HTTP_PROXY", "http://"), ("ALL_PROXY", "http://"), ("ALL_PROXY", "")]
)
def test_http_and_streams_go_through_the_same_proxy(
    use: Callable[[str], None], variable: str, scheme: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that only the proxy could know: it is asked for the request, and for a tunnel."""
    monkeypatch.setenv(variable, proxy.url.replace("http://", scheme))
    use("http://avf.invalid:8000")
    asked = f"GET http://avf.invalid:8000/v1/sessions/{SESSION['id']}", "CONNECT avf.invalid:8000"
    assert tuple(proxy.asked) == asked


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY", "HTTPS_PROXY"])
def test_this_machine_is_never_asked_for_through_a_proxy(
    variable: str, host: str, server: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the variables say, of HTTP, of streams and of events."""
    monkeypatch.setenv(variable, proxy.url)
    with Client(server.replace("127.0.0.1", host), retry=ONCE) as client, client.session("tiny") as session:
        assert [estimate.seq for estimate in session.stream([None, None])] == [1, 2]
        told = session.events()
        assert next(told).kind in ("estimate", "history")
        told.close()
    assert proxy.asked == []


@pytest.mark.parametrize("names", ["avf.example", ".example", "other.org, avf.example:8000", "*"])
def test_no_proxy_is_heard(names: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By host, by domain, by host and port, and for all."""
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert network.proxy_of("http://avf.example:8000") == "http://127.0.0.1:9"
    monkeypatch.setenv("NO_PROXY", names)
    assert network.proxy_of("http://avf.example:8000") is None


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("ALL_PROXY", "socks://127.0.0.1:9/", "its scheme is socks"),
        ("HTTP_PROXY", "ftp://proxy:1", "its scheme is ftp"),
        ("HTTP_PROXY", "http://", "it names no host"),
        ("HTTP_PROXY", "http://proxy:99999", "Port out of range"),
        ("HTTP_PROXY", "proxy:port", "its host or its port is none"),
        ("HTTP_PROXY", "http://[::1", "Invalid IPv6"),
        ("HTTP_PROXY", "http://user:sekrit@[::1", "cannot be read"),
        ("HTTP_PROXY", "gopher://user:sekrit@proxy:1", "its scheme is gopher"),
        ("HTTP_PROXY", f"http://{'p' * 70}.example", "no name"),
    ],
)
def test_a_proxy_that_can_be_none_is_told(
    variable: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By both clients and by commands: which variable, what is wrong, what to do; no password; and not for loopback."""
    monkeypatch.setenv(variable, value)
    for kind in (Client, AsyncClient):
        with pytest.raises(errors.InvalidArgument, match=variable) as caught:
            kind("http://avf.example:8000")
        assert said in str(caught.value)
        assert "NO_PROXY" in str(caught.value)
        assert "sekrit" not in str(caught.value)
    assert cli.run(["sessions", "list", "--server", "http://avf.example:8000"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("avf: the proxy")
    assert told.count("\n") == 1
    Client("http://[::1]:8000").close()


@pytest.mark.parametrize("names", ["[::1]", "[", "http://[::1]:80", ",,", "\u00e9"])
def test_what_no_proxy_says_does_no_harm(names: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Words that name no host name none."""
    monkeypatch.setenv("NO_PROXY", names)
    for url in ("http://127.0.0.1:1", "http://avf.example", "https://avf.example"):
        Client(url).close()


def test_socks_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """SOCKS is spoken by packages that the base install has not."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for scheme in ("socks5", "socks5h"):
        monkeypatch.setenv("ALL_PROXY", f"{scheme}://proxy:1080")
        with pytest.raises(errors.InvalidArgument, match=r"ALL_PROXY.*pip install socksio python-socks"):
            Client("http://avf.example")


def test_what_a_way_shows_has_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy's password is used and not told."""
    monkeypatch.setenv("HTTP_PROXY", "http://user:sekrit@proxy.example:3128")
    with Client("http://avf.example") as client:
        assert client.way.proxy == "http://user:sekrit@proxy.example:3128"
        assert "sekrit" not in repr(client.way) + repr(vars(client)) + repr(client.way.http_proxy)


@pytest.mark.parametrize(
    ("variable", "content"),
    [("SSL_CERT_FILE", None), ("SSL_CERT_FILE", b""), ("SSL_CERT_FILE", b"no certificate"), ("SSLKEYLOGFILE", None)],
)
def test_certificates_that_cannot_be_read_are_told(
    variable: str, content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where TLS is spoken, and only there: a file that has gone, is empty, or holds something else."""
    path = tmp_path / ("gone/file" if variable == "SSLKEYLOGFILE" else "certificates.pem")
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv(variable, str(path))
    for kind in (Client, AsyncClient):
        with pytest.raises(errors.InvalidArgument, match=f"{variable} is .*{path.name}"):
            kind("https://avf.example")
    Client("http://avf.example").close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("localhost:8000", "write http://localhost:8000"),
        ("", "it is empty"),
        ("ws://host", "its scheme is ws"),
        ("http://host/#top", "it has a fragment"),
        ("http://host?x=1", "it has a query"),
        ("http://user:sekrit@host", "api_key"),
        ("http://user:sekrit@host:port", "api_key"),
        ("user:sekrit@host:8000", "it has no scheme"),
        ("http://host:70000", "Port out of range"),
        ("http://host:0", "its port is 0"),
        ("http://:8000", "it names no host"),
        ("http://", "it names no host"),
        ("http://ho st", "a blank"),
        ("http://host\n.example", "a control character"),
        ("http://a..b", "no name"),
        (f"http://{'h' * 64}.example", "no name"),
        ("http://[::1", "Invalid IPv6"),
    ],
)
def test_what_is_no_address_is_told(url: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """By both clients and by commands, in one line with what was expected; no password."""
    for kind in (Client, AsyncClient):
        with pytest.raises(errors.InvalidArgument, match="http://") as caught:
            kind(url)
        assert said in str(caught.value)
        assert "sekrit" not in str(caught.value)
    assert cli.run(["sessions", "list", "--server", url]) == 1
    told = capsys.readouterr().err
    assert told.startswith("avf: ")
    assert told.count("\n") == 1
    assert "sekrit" not in told


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("HTTP://Host:8000", "http://Host:8000"),
        ("Https://host/avf/", "https://host/avf"),
        (" http://host:8000\n", "http://host:8000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("http://bücher.example", "http://bücher.example"),
        ("http://my_server:80//", "http://my_server:80"),
    ],
)
def test_what_is_an_address_is_taken(url: str, meant: str) -> None:
    """In whatever case, with the line end of a file, with a path before the server's own."""
    with Client(url) as client:
        assert client.base_url == meant
    assert addresses.stream_url(url, "s").startswith(meant.replace("http", "ws", 1))


@given(st.text() | st.text().map(lambda rest: f"http://{rest}") | st.text("hpst:/@[]#?%.\\ 0a9", max_size=30))
def test_no_address_is_more_than_an_error_of_ours(url: str) -> None:
    """Any text at all is an address that both libraries take, or an InvalidArgument."""
    try:
        checked = addresses.checked_url(url)
    except errors.InvalidArgument:
        return
    with Client(checked, retry=ONCE) as client:
        assert client.base_url == checked == addresses.checked_url(checked)
    addresses.is_this_machine(checked)


@pytest.mark.parametrize("use", [Client, AsyncClient])
def test_a_host_that_nobody_knows_is_told(use: Any) -> None:
    """`.invalid` is never a name (RFC 6761)."""
    client = use("http://avf.invalid:1", retry=ONCE)
    with pytest.raises(errors.ConnectionFailed, match=r"http://avf\.invalid:1"):
        asyncio.run(client.models()) if use is AsyncClient else client.models()


def test_a_closed_client_says_so() -> None:
    """A call after `close`."""
    client = Client("http://127.0.0.1:1")
    client.close()
    with pytest.raises(errors.InvalidArgument, match="closed"):
        client.models()


@pytest.mark.parametrize(
    "answer",
    [b"", b"\xff\xfe", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", b"HTTP/1.1 99 x\r\n\r\n"],
)
def test_what_answers_and_is_no_server_is_told(answer: bytes) -> None:
    """Silence, bytes, half an answer, a status that is none: each is an error of ours."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with listening.accept()[0] as connection:
                connection.recv(65536)
                connection.sendall(answer)

        answering = threading.Thread(target=serve)
        answering.start()
        client = Client(f"http://127.0.0.1:{listening.getsockname()[1]}", retry=ONCE)
        with client, pytest.raises((errors.ConnectionFailed, errors.ProtocolError)):
            client.models()
        answering.join()


@pytest.mark.parametrize("wanted", [{"model": "\udcff"}, {"model": "tiny", "seed": 1j}, {"model": object()}])
def test_what_json_has_no_form_for_is_told(wanted: dict[str, Any]) -> None:
    """Half a character, a complex number and an object are refused before anything is sent."""
    with Client("http://127.0.0.1:1", retry=ONCE) as client, pytest.raises(errors.InvalidArgument, match="JSON"):
        client.session(**wanted)
