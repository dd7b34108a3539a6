"""The environment as orchestrators, files of variables and shells write it, and the doors that it may not open."""

import pytest
from avf_server.problems import StartError
from avf_server.settings import Settings, is_loopback, read

KEYS = {"AVF_API_KEYS": "a-key"}


@pytest.mark.parametrize(
    "environment",
    [
        {"AVF_SERVICE_HOST": "10.0.0.1", "AVF_SERVICE_PORT": "8000", "AVF_SERVICE_PORT_HTTP": "8000"},
        {
            "AVF_PORT": "tcp://10.0.0.1:8000",
            "AVF_PORT_8000_TCP": "tcp://10.0.0.1:8000",
            "AVF_PORT_8000_TCP_PROTO": "tcp",
        },
        {
            "AVF_REDIS_PORT": "tcp://10.0.0.2:6379",
            "AVF_REDIS_SERVICE_HOST": "10.0.0.2",
            "AVF_REDIS_SERVICE_PORT": "6379",
        },
        {"AVF_REDIS_PORT_6379_TCP_ADDR": "10.0.0.2", "AVF_METRICS_PORT_9000_UDP": "udp://10.0.0.3:9000"},
    ],
)
def test_variables_of_services_are_none_of_ours(environment: dict[str, str]) -> None:
    """Kubernetes writes them for every Service whose name begins with avf."""
    assert read(environment=environment) == Settings()


@pytest.mark.parametrize("name", ["AVF_MAX_BACTH", "AVF_SERVICE", "avf_typo", "AVF_PORTS", "AVF_SERVICE_HOSTS"])
def test_what_is_unknown_otherwise_is_refused(name: str) -> None:
    """A misspelt limit is never silently absent, in whatever letters."""
    with pytest.raises(StartError, match=f"unknown settings {name.upper()};"):
        read(environment={name: "3"})


@pytest.mark.parametrize(
    "value",
    ["one,two", " one , two ", "one,two,", "one\ntwo\n", '"one,two"', "'one','two'", '["one", "two"]', "one,,two"],
)
def test_lists_are_read_as_people_write_them(value: str) -> None:
    """By commas or lines, quoted or not, or as JSON."""
    assert read(environment={"AVF_API_KEYS": value}).api_keys == ("one", "two")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("AVF_MAX_BODY_BYTES", "2MiB", 2 << 20),
        ("AVF_MAX_BODY_BYTES", "3 MB", 3_000_000),
        ("AVF_MAX_BODY_BYTES", " 4096 ", 4096),
        ("AVF_SESSION_TTL_S", "5m", 300.0),
        ("AVF_SESSION_TTL_S", "1.5h", 5400.0),
        ("AVF_REDIS_TIMEOUT_S", "250ms", 0.25),
        ("AVF_REDIS_TIMEOUT_S", "'2'", 2.0),
    ],
)
def test_bytes_and_seconds_may_have_their_units(name: str, value: str, expected: float) -> None:
    """As files of variables have them."""
    settings = read(environment={name: value})
    assert getattr(settings, name.removeprefix("AVF_").lower()) == expected


@pytest.mark.parametrize("value", ["4 apples", "1e", "MiB", "5 m 3"])
def test_units_that_are_none_are_refused_by_name(value: str) -> None:
    """One line, with the setting's name."""
    with pytest.raises(StartError, match="AVF_MAX_BODY_BYTES"):
        read(environment={"AVF_MAX_BODY_BYTES": value})


def test_what_is_set_and_empty_is_absent() -> None:
    """Compose files write variables that have no value so."""
    assert read(environment={"AVF_REDIS_URL": "", "AVF_PORT": " ", "AVF_MODELS": ""}) == Settings()


@pytest.mark.parametrize("value", ["", ",", " , ", "[]", '""'])
def test_keys_that_are_set_and_none_open_no_door(value: str) -> None:
    """An empty secret is a mistake of whoever deploys, and never an open server."""
    with pytest.raises(StartError, match=r"AVF_API_KEYS is set, but holds no key.*--insecure"):
        read(environment={"AVF_API_KEYS": value})
    assert read(environment={"AVF_API_KEYS": value, "AVF_INSECURE": "1"}).insecure


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org", ""])
def test_a_server_that_others_reach_asks_for_keys(host: str) -> None:
    """Unless it is said to be open."""
    with pytest.raises(StartError, match=r"without API keys .*AVF_API_KEYS.*--insecure"):
        read({"host": host}, environment={})
    assert read({"host": host}, environment=KEYS).host == host
    assert read({"host": host, "insecure": True}, environment={}).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost", "LOCALHOST"])
def test_this_machine_is_known_by_all_its_names(host: str) -> None:
    """They reach no further."""
    assert is_loopback(host)
    assert read({"host": host}, environment={}).host == host


def test_no_secret_is_in_the_text_of_settings() -> None:
    """Neither keys nor the password of Redis."""
    settings = read(environment={"AVF_API_KEYS": "hush-hush", "AVF_REDIS_URL": "redis://:sesame@127.0.0.1/0"})
    assert "hush" not in repr(settings)
    assert "sesame" not in repr(settings)
