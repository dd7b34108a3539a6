"""What Redis answers, as records of sessions and summaries of them."""

from typing import Any

from avf_server.stores.base import Position, Record, Summary, meta_of


def record(session: str, values: list[bytes | None], ttl_ms: int, reply: bytes | None) -> Record | None:
    meta, epoch, seq, belief, rest = values[:5]
    if meta is None or epoch is None or seq is None:
        return None
    return Record(
        meta=meta_of(meta, session),
        position=Position(int(epoch), int(seq)),
        belief=belief,
        reply=reply,
        rest=_rest(rest, b"%s.%s." % (epoch, seq)),
        expires_in=max(0, ttl_ms) / 1000,
    )


def _rest(kept: bytes | None, at: bytes) -> bytes:
    """What was left over, if it was kept where the session stands."""
    return kept[len(at) :] if kept is not None and kept.startswith(at) else b""


def summary(
    session: str, values: list[bytes | None], ttl_ms: int, newest: list[tuple[bytes, dict[bytes, bytes]]]
) -> Summary | None:
    meta, epoch, seq = values
    if meta is None or epoch is None or seq is None:
        return None
    return Summary(
        meta=meta_of(meta, session),
        position=Position(int(epoch), int(seq)),
        expires_in=max(0, ttl_ms) / 1000,
        note=newest[0][1][b"n"] if newest else None,
    )


def checked(answer: Any) -> Any:
    """The answer to one of many commands; raised where it is an error."""
    if isinstance(answer, Exception):
        raise answer
    return answer
