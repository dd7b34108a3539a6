"""Which codec reads a request, and which writes its answer: media types become codecs here.

The law: a type that no codec has is refused, with the types there are; where the client has no wish, it is JSON.
"""

from functools import cache

from avf_core.plugins import available, plugin
from avf_server import codecs
from avf_server.codecs.base import Codec, MessageCodec
from avf_server.problems import NotAcceptableError, UnsupportedMediaTypeError

DEFAULT = "json"


@cache
def readers() -> dict[str, Codec]:
    """Every codec by its media type; the default one first."""
    names = sorted(available(codecs), key=lambda name: (name != DEFAULT, name))
    found: list[Codec] = [plugin(codecs, name).codec for name in names]
    return {codec.media_type: codec for codec in found}


@cache
def writers() -> dict[str, MessageCodec]:
    """The codecs of all messages by their media types; the default one first."""
    return {name: codec for name, codec in readers().items() if isinstance(codec, MessageCodec)}


def reader(content_type: str) -> Codec:
    """The codec of observations in a body of this type. Raises UnsupportedMediaTypeError."""
    media_type = media_type_of(content_type)
    if media_type not in readers():
        raise _unsupported(media_type, list(readers()))
    return readers()[media_type]


def message_reader(content_type: str) -> MessageCodec:
    """The codec of a message in a body of this type. Raises UnsupportedMediaTypeError."""
    media_type = media_type_of(content_type)
    if media_type not in writers():
        raise _unsupported(media_type, list(writers()))
    return writers()[media_type]


def check(content_type: str, *, expected: str) -> None:
    """Raise UnsupportedMediaTypeError unless a body is of this type."""
    media_type = media_type_of(content_type)
    if media_type != expected:
        raise _unsupported(media_type, [expected])


def writer(accept: str) -> MessageCodec:
    """The codec of the answer to a request with this header `Accept`. Raises NotAcceptableError."""
    if not accept.strip():
        return next(iter(writers().values()))
    ranges = _ranges(accept)
    best = max(writers().values(), key=lambda codec: _quality(codec.media_type, ranges))
    if _quality(best.media_type, ranges) <= 0.0:
        raise NotAcceptableError(f"no answer is {accept}; there are {', '.join(writers())}")
    return best


def _unsupported(media_type: str, expected: list[str]) -> UnsupportedMediaTypeError:
    given = media_type or "of no stated type"
    return UnsupportedMediaTypeError(f"the body is {given}, expected {' or '.join(expected)}")


def media_type_of(header: str) -> str:
    """The media type of a header `Content-Type`, without its parameters."""
    return header.partition(";")[0].strip().lower()


def _ranges(accept: str) -> dict[str, float]:
    """The media ranges of a header `Accept` with their weights (RFC 9110, section 12.5.1)."""
    found = {}
    for part in accept.split(","):
        media_range, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weights = [value for name, _, value in (p.partition("=") for p in parameters) if name.strip() == "q"]
        try:
            found[media_range] = float(weights[0]) if weights else 1.0
        except ValueError:
            found[media_range] = 0.0  # a weight that is no number asks for nothing
    return found


def _quality(media_type: str, ranges: dict[str, float]) -> float:
    """The weight of the most specific range that holds this type; 0 where there is none."""
    kind = media_type.partition("/")[0]
    return next((ranges[name] for name in (media_type, f"{kind}/*", "*/*") if name in ranges), 0.0)
