"""What the environment says of our settings, as operators, shells and orchestrators write it.

The laws: it is read once. What Kubernetes puts there for a Service whose name begins with `avf` (and Docker for a link)
is none of ours, and left alone. A variable that is set and empty counts as absent, except where absence would open a
door: that is for `settings` to judge.
"""

import json
import re
from collections.abc import Collection, Mapping

PREFIX = "AVF_"
CLIENT_VARIABLES = frozenset({"AVF_API_KEY", "AVF_DATA", "AVF_SERVER"})
"""Variables of the same prefix that clients read; the server leaves them alone."""

_OF_A_SERVICE = re.compile(
    r"AVF(_\w+)?_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?|ENV_\w+)"
)
_PORT_OF_A_SERVICE = re.compile(r"AVF(_\w+)?_PORT")
_ADDRESS = re.compile(r"(tcp|udp|sctp)://", re.IGNORECASE)
_UNITS: dict[str, dict[str, float]] = {
    "_bytes": {
        "": 1,
        "b": 1,
        "k": 1024,
        "kb": 1000,
        "kib": 1024,
        "m": 1 << 20,
        "mb": 10**6,
        "mib": 1 << 20,
        "gib": 1 << 30,
    },
    "_s": {"": 1, "ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400},
}
_QUANTITY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", re.IGNORECASE)


def own(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that are meant for the server, by their names in capitals."""
    found = {name.upper(): value for name, value in environment.items() if name.upper().startswith(PREFIX)}
    return {name: value for name, value in found.items() if name not in CLIENT_VARIABLES and not _foreign(name, value)}


def unknown(names: Collection[str], known: Collection[str]) -> list[str]:
    """Those that are no settings."""
    return sorted(set(names) - set(known))


def names_in(value: str) -> tuple[str, ...]:
    """A list as people write it: by commas or lines, with or without quotes and blanks, or as JSON."""
    text = _unquoted(value)
    if text.startswith("["):
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if isinstance(found, list) and all(isinstance(each, str) for each in found):
            return tuple(each.strip() for each in found if each.strip())
    return tuple(part for part in (_unquoted(each) for each in re.split(r"[,\n]", text)) if part)


def quantity(field: str, value: str) -> str | float:
    """A number of bytes or seconds, with the unit that stands behind it if any; other text as it is."""
    text = _unquoted(value)
    units = next((units for ending, units in _UNITS.items() if field.endswith(ending)), None)
    match = _QUANTITY.fullmatch(text)
    if units is None or match is None or match[2].lower() not in units:
        return text
    number = float(match[1]) * units[match[2].lower()]
    return int(number) if number.is_integer() else number


def _unquoted(value: str) -> str:
    """Without the blanks and the quotes around it, which files of variables keep."""
    text = value.strip()
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" and text[0] not in text[1:-1]
    return text[1:-1].strip() if quoted else text


def _foreign(name: str, value: str) -> bool:
    return bool(_OF_A_SERVICE.fullmatch(name) or (_PORT_OF_A_SERVICE.fullmatch(name) and _ADDRESS.match(value.strip())))
