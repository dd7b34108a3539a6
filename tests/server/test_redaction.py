"""Whatever a password holds, it is in no text about its address."""

import contextlib
import sys
import traceback

import pytest
from avf_server import redaction
from avf_server.problems import StartError
from avf_server.runtime import _store
from avf_server.settings import Settings
from hypothesis import example, given
from hypothesis import strategies as st

PASSWORDS = st.text(st.sampled_from("abcXYZ019:/?#@[]&=%+ü "), min_size=6, max_size=16).map(lambda t: f"Q7{t}Z9")
SHAPES = [
    "redis://:{}@127.0.0.1:1/0",
    "redis://user:{}@127.0.0.1:nonsense/0",
    "rediss+sentinel://user:{}@127.0.0.1:26379",
    "redis+cluster://:{}@[::1/0",
    "http://:{}@127.0.0.1",
    "redis://127.0.0.1:1/0?username=me&password={}",
    "redis+sentinel://127.0.0.1:1/s?sentinel_password={}",
    "unix:///no/such.sock?password={}",
    "redis://127.0.0.1:1/0?socket_timeout=abc&password={}",
]


@pytest.mark.parametrize("shape", SHAPES)
@given(password=PASSWORDS)
@example(password="Q7/a#b?c@d:eZ9")
def test_no_address_becomes_text_with_its_password(shape: str, password: str) -> None:
    """Nor with a piece of it: what comes before and after a sign that parts addresses."""
    if "password=" in shape and set("&#@?") & set(password):
        return  # where it is an option these signs end it: it would have to be escaped
    url = shape.format(password)
    assert "Q7" not in redaction.address(url)
    assert "Z9" not in redaction.address(url)
    for text in (f"cannot read {password}", f"port {password!r}", f"{url} is odd"):
        assert "Q7" not in redaction.reason(ValueError(text), url)


@pytest.mark.parametrize("shape", SHAPES)
def test_what_cannot_be_opened_says_where_and_keeps_the_secret(shape: str) -> None:
    """Addresses that cannot be parsed included."""
    url = shape.format("topsecret")
    texts = [repr(Settings(redis_url=url))]
    with contextlib.suppress(StartError):
        try:
            _store(Settings(redis_url=url), url)
        finally:
            texts.append("".join(traceback.format_exception(sys.exception())))
    assert not any("topsecret" in text for text in texts)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:pw@host:6379/0", "redis://host:6379/0"),
        ("redis://host:6379/0?ssl_ca_certs=/ca.pem", "redis://host:6379/0?ssl_ca_certs=/ca.pem"),
        ("redis://host/0?password=pw&db=1", "redis://host/0?password=***&db=1"),
        ("no address", "***"),
    ],
)
def test_what_is_no_secret_is_shown(url: str, shown: str) -> None:
    """So that whoever reads it knows which address it was."""
    assert redaction.address(url) == shown
