"""An owner's sessions, page by page, and the history of one.

The law: what is listed is the caller's own; pages are bounded; a cursor names the last entry that was given, so that
what comes or goes meanwhile neither repeats nor hides others.
"""

from collections.abc import AsyncIterator, Sequence
from typing import get_args

import avf_wire as wire
import msgspec

from avf_server import problems
from avf_server.problems import StoreError
from avf_server.sessions.registry import Sessions
from avf_server.stores.base import MAX_SEQ, Position, Summary, place, position_of

FEWEST = 100  # entries of a page where no other number is asked for

_note: msgspec.json.Decoder[wire.HistoryEntry] = msgspec.json.Decoder(wire.HistoryEntry)


class Listing:
    """Pages of sessions and of histories."""

    def __init__(self, sessions: Sessions, *, max_page: int) -> None:
        self._max_page = max_page
        self._sessions = sessions

    async def sessions(self, owner: str, *, cursor: str | None, limit: int | None) -> wire.Sessions:
        """An owner's sessions after `cursor`, the last opened first. Raises InvalidSettingError for the limit."""
        count = self.limit(limit)
        found, following = await self._page(owner, cursor, count)
        return wire.Sessions(sessions=[self.summary(each) for each in found], cursor=following)

    async def everything(self, owner: str, *, most: int) -> tuple[list[Summary], bool]:
        """An owner's last opened sessions, at most so many, and whether these are all."""
        found: list[Summary] = []
        async for page in self._pages(owner):
            found += page
            if len(found) >= most:
                return found[:most], False
        return found, True

    async def history(
        self, session: str, *, owner: str, cursor: str | None, limit: int | None, newest: bool = False
    ) -> list[tuple[str, bytes]]:
        """Notes of a session's steps after the one that `cursor` names, each with its id, in order.

        Raises UnknownSessionError, InvalidSettingError.
        """
        count = self.limit(limit)
        if cursor is not None:
            check_cursor(cursor)
        await self._sessions.record(session, owner=owner)
        return await self.notes(session, after=cursor, count=count, newest=newest)

    async def notes(
        self, session: str, *, after: str | None, count: int, newest: bool = False
    ) -> list[tuple[str, bytes]]:
        """The same for those who know that the session is theirs. Raises StoreUnavailableError."""
        try:
            return await self._sessions.store(session).history(session, after=after, count=count, newest=newest)
        except StoreError as error:
            raise self._sessions.unavailable(error, session=session) from error

    def summary(self, found: Summary) -> wire.SessionSummary:
        """A session as it stands in a list."""
        last = None if found.note is None else _note.decode(found.note)
        used_at = found.meta.created_at if last is None else last.at
        return wire.SessionSummary(session=self._sessions.describe(found), last=last, used_at=used_at)

    def limit(self, limit: int | None) -> int:
        """The most entries of a page, where `limit` was asked for. Raises InvalidSettingError."""
        most = self._max_page
        if limit is None:
            return min(FEWEST, most)
        if not 1 <= limit <= most:
            raise problems.InvalidSettingError(f"limit is {limit}, expected a number in [1, {most}]")
        return limit

    async def _pages(self, owner: str) -> AsyncIterator[list[Summary]]:
        cursor: str | None = None
        while True:
            page, cursor = await self._page(owner, cursor, self._max_page)
            yield page
            if cursor is None:
                return

    async def _page(self, owner: str, cursor: str | None, count: int) -> tuple[list[Summary], str | None]:
        """A page of all stores' sessions; those of models that this server does not hold are left out."""
        stores = dict.fromkeys(self._sessions.store_of(durability) for durability in get_args(wire.Durability))
        try:
            pages = [await store.owned(owner, cursor=cursor, count=count) for store in stores]
        except StoreError as error:
            raise self._sessions.unavailable(error) from error
        found, following = merge(pages, count=count)
        return [each for each in found if self._sessions.holds(each.meta.model)], following


def merge(pages: Sequence[tuple[list[Summary], str | None]], *, count: int) -> tuple[list[Summary], str | None]:
    """One page, of at most `count`, from a page of every store; and the cursor of the next one.

    Nothing is given beyond the end of a store's page, where more of that store may come in between.
    """
    reach = max((cursor for _, cursor in pages if cursor is not None), default=None)
    furthest: dict[str, Summary] = {}
    for summary in (each for page, _ in pages for each in page):
        known = furthest.get(place(summary.meta))
        if known is None or _order(summary.position) > _order(known.position):
            furthest[place(summary.meta)] = summary
    places = sorted((at for at in furthest if reach is None or at >= reach), reverse=True)
    if len(places) > count:
        return [furthest[at] for at in places[:count]], places[count - 1]
    return [furthest[at] for at in places], reach


def check_cursor(text: str) -> Position:
    """The position that a history's cursor names. Raises InvalidSettingError."""
    try:
        at = position_of(text)
    except ValueError as error:
        raise problems.InvalidSettingError(str(error)) from error
    if max(at.epoch, at.seq) > MAX_SEQ:
        raise problems.InvalidSettingError(f"{text!r} is no id of a history: its numbers are too large")
    return at


def _order(position: Position) -> tuple[int, int]:
    return position.epoch, position.seq
