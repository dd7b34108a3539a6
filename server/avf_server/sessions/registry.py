"""Sessions but for their steps: opened, looked at, reset, ended.

The laws: nobody sees another's session: whatever is not the caller's does not exist for the caller;
identifiers are unguessable. Open sessions are not harmed by new ones: past the limit, new ones are refused.
"""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import avf_wire as wire
import msgspec
from avf_wire.rows import RowForm

from avf_core.errors import ConfigurationError
from avf_server import problems
from avf_server.metrics.telemetry import Telemetry
from avf_server.models.catalogue import agreed_audio
from avf_server.models.served import Models
from avf_server.models.setups import Setup
from avf_server.models.thread import ModelThread
from avf_server.problems import StoreError
from avf_server.sessions import messages, options
from avf_server.sessions.audience import Audience
from avf_server.sessions.known import Known, KnownSessions
from avf_server.stores.base import META_VERSION, REST_WIDTH, Meta, Outcome, Record, Store, Summary
from avf_server.stores.durability import StoresByDurability
from avf_server.stores.replies import is_readable

MAX_SEED = 2**63 - 1
RESET_ATTEMPTS = 8  # each one lost means that another server has gone on meanwhile


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Settings of the same names: docs/server.md."""

    session_ttl_s: float
    max_sessions: int
    max_sessions_per_key: int
    hot_sessions: int
    retry_after_s: int


class Sessions:
    """All sessions this server can reach: those of Redis, and those in its own memory."""

    def __init__(
        self,
        limits: Limits,
        most: options.Limits,
        models: Models,
        thread: ModelThread,
        stores: StoresByDurability,
        audience: Audience,
        telemetry: Telemetry,
        *,
        drop: Callable[[str], None],
    ) -> None:
        """`most` is what a session may ask for.

        `drop` forgets what else is held of a session on this server: its cached belief.
        """
        self._limits = limits
        self._most = most
        self._telemetry = telemetry
        self.models = models
        self._thread = thread
        self.stores = stores
        self.audience = audience
        self._drop = drop
        self._known = KnownSessions(models, most=max(limits.max_sessions, limits.hot_sessions))
        self._seen: OrderedDict[str, float] = OrderedDict()  # when this server last used a session

    def store(self, session: str) -> Store:
        """The store that keeps a session."""
        return self.stores.store(session)

    def store_of(self, durability: wire.Durability) -> Store:
        """The store of the sessions of this durability."""
        return self.stores.store_of(durability)

    async def create(self, request: wire.CreateSession, *, owner: str, belief: bytes | None = None) -> wire.Session:
        """Open a session, at the prior or with a saved belief.

        Raises UnknownModelError, InvalidSettingError, OverloadedError.
        """
        checkpoint = self.models.checkpoint(request.model)
        seed = secrets.randbits(53) if request.seed is None else request.seed
        if not 0 <= seed <= MAX_SEED:
            raise problems.InvalidSettingError(f"seed is {seed}, expected a number in [0, {MAX_SEED}]")
        setup = await self.granted(request)
        meta = Meta(
            id=secrets.token_hex(12),  # no "-", which a command line would take for an option
            owner=owner,
            model=request.model,
            seed=seed,
            iterations=setup.iterations,
            durability=request.durability,
            created_at=time.time(),
            audio=agreed_audio(request.audio, checkpoint),
            deadline_s=options.deadline(request),
            particles=setup.particles,
            lag=setup.lag,
            prediction_samples=setup.samples,
            quantiles=setup.quantiles,
            alarm_every=setup.alarm_every or None,
            alarm_by=setup.alarm_by,
        )
        self._admit()
        try:
            if await self.stores.count(owner, meta.durability) >= self._limits.max_sessions_per_key:
                raise problems.OverloadedError(
                    f"{self._limits.max_sessions_per_key} sessions of this key are open, which is the limit",
                    retry_after=self._limits.retry_after_s,
                )
            await self.store_of(meta.durability).create(meta, belief=belief)
        except StoreError as error:
            raise self.unavailable(error) from error
        self.touch([meta.id])
        self._known.remember(meta)
        opened = messages.session_of(meta, self.models, epoch=1, next_seq=1, expires_in=self._limits.session_ttl_s)
        self.audience.opened(owner, opened)
        return opened

    async def granted(self, request: wire.CreateSession) -> Setup:
        """What is granted of what a session asks for. Raises InvalidSettingError."""
        setup = options.granted(request, self.models, self._most)
        if (setup.particles, setup.lag) != (1, 0):
            options.check_size(self.models.row_bytes(setup.model) * setup.particles, setup, self._most)
            try:
                form = await self._thread.aside(lambda: self.models.belief_rows(setup))
            except ConfigurationError as error:  # of what the procedure cannot do, such as look back without particles
                raise problems.InvalidSettingError(str(error)) from error
            options.check_size(form.width, setup, self._most)
        return setup

    def model(self, name: str) -> wire.ModelInfo:
        """A model as clients see it, and what its sessions may ask for. Raises UnknownModelError."""
        info, most = self.models.info(name), options.most_particles(name, self.models, self._most)
        return msgspec.structs.replace(info, max_particles=most, max_lag=self._most.max_lag)

    async def session(self, session: str, *, owner: str) -> wire.Session:
        """Where a session stands. Raises UnknownSessionError."""
        record = await self.record(session, owner=owner)
        return self.describe(record)

    async def reset(self, session: str, *, owner: str) -> wire.Session:
        """Begin a new epoch at the prior. Raises UnknownSessionError."""
        for _ in range(RESET_ATTEMPTS):
            record = await self.record(session, owner=owner)
            try:
                outcome = await self.store(session).reset(session, epoch=record.position.epoch)
            except StoreError as error:
                raise self.unavailable(error, session=session) from error
            finally:
                self._drop(session)
            if outcome is Outcome.GONE:
                raise self.unknown(session)
            if outcome is Outcome.APPLIED:
                self.touch([session])
                return messages.session_of(
                    record.meta,
                    self.models,
                    epoch=record.position.epoch + 1,
                    next_seq=1,
                    expires_in=self._limits.session_ttl_s,
                )
        raise problems.SessionMovedError("others reset the session at the same time; ask again", session=session)

    async def delete(self, session: str, *, owner: str) -> None:
        """End a session. Raises UnknownSessionError."""
        await self.meta(session, owner=owner)
        try:
            found = await self.store(session).delete(session)
        except StoreError as error:
            raise self.unavailable(error, session=session) from error
        self.forget([session])
        self.audience.ended(owner, session)
        if not found:
            raise self.unknown(session)

    async def meta(self, session: str, *, owner: str) -> Meta:
        """What never changes about a session. Raises UnknownSessionError, also where it is another's."""
        meta = self._known.meta(session)
        if meta is None:
            return (await self.record(session, owner=owner)).meta
        if meta.owner != owner:
            raise self.unknown(session)
        return meta

    def at_hand(self, session: str, *, owner: str) -> Known | None:
        """What is known of a session without asking its store; None where nothing is.

        Raises UnknownSessionError where it is another's, UnknownModelError.
        """
        meta = self._known.meta(session)
        if meta is not None and meta.owner != owner:
            raise self.unknown(session)
        return self._known.get(session)

    async def known(self, session: str, *, owner: str) -> Known:
        """What is known of a session, once its store was asked. Raises UnknownSessionError, UnknownModelError."""
        return self._known.of(await self.meta(session, owner=owner))

    async def form(self, session: str, *, owner: str) -> RowForm:
        """What a session takes with each observation. Raises UnknownSessionError, UnknownModelError."""
        return options.form_of(await self.meta(session, owner=owner), self.models)

    async def record(self, session: str, *, owner: str, seq: int | None = None) -> Record:
        """A session with its reply to `seq`, or its last one, from the store, and what is safe of it by now.

        Raises UnknownSessionError.
        """
        try:
            (record,) = await self.store(session).load([(session, seq)])
        except StoreError as error:
            raise self.unavailable(error, session=session) from error
        if record is None:
            self.forget([session])
        if record is not None and record.meta.version != META_VERSION:
            raise problems.BeliefUnreadableError(
                f"what is kept of the session has version {record.meta.version}, expected {META_VERSION}: "
                "use the release that wrote it",
                session=session,
            )
        if record is None or record.meta.owner != owner:
            raise self.unknown(session)
        if record.reply is not None and not is_readable(record.reply):
            record = replace(record, reply=None)  # of another release: it is not given out, the session goes on
        self._known.remember(record.meta)
        safe = await self.stores.durable_seq(record.meta, record.position)
        return replace(record, durable_seq=safe)

    def touch(self, sessions: Sequence[str]) -> None:
        """Note that sessions were used just now."""
        now = time.monotonic()
        for session in sessions:
            self._seen[session] = now
            self._seen.move_to_end(session)
        self.audience.changed(sessions)

    def forget(self, sessions: Iterable[str]) -> None:
        """Drop all that this server remembers of sessions; the store is not touched."""
        for session in sessions:
            self._drop(session)
            self._known.forget(session)
            self._seen.pop(session, None)
            self.audience.changed([session])

    def unknown(self, session: str) -> problems.UnknownSessionError:
        """The problem of a session that does not exist, for this caller."""
        return problems.UnknownSessionError("no such session: it ended, expired, or never was", session=session)

    def unavailable(self, error: StoreError, *, session: str | None = None) -> problems.StoreUnavailableError:
        """The problem of a store that does not answer."""
        self._telemetry.store_errors.inc()
        return problems.StoreUnavailableError(
            f"{error}. Send the same again", session=session, retry_after=self._limits.retry_after_s
        )

    def expire(self) -> None:
        """Forget sessions that were not used here for as long as any may live: they have ended, or live elsewhere."""
        over = time.monotonic() - self._limits.session_ttl_s
        while self._seen and next(iter(self._seen.values())) <= over:
            self.forget([next(iter(self._seen))])

    def _admit(self) -> None:
        """Make sure that one more session may be opened."""
        self.expire()
        if len(self._seen) >= self._limits.max_sessions:
            raise problems.OverloadedError(
                f"{len(self._seen)} sessions are open, which is the limit",
                retry_after=self._limits.retry_after_s,
            )

    @property
    def seen(self) -> int:
        """How many open sessions this server has seen."""
        return len(self._seen)

    def holds(self, model: str) -> bool:
        """Whether there is a model of this name on this server."""
        return model in self.models

    def describe(self, found: Summary) -> wire.Session:
        """A session as it was found in the store. Raises UnknownModelError."""
        return messages.session_of(
            found.meta,
            self.models,
            epoch=found.position.epoch,
            next_seq=found.position.seq + 1,
            expires_in=found.expires_in,
            rest=len(found.rest) // REST_WIDTH if isinstance(found, Record) else 0,
        )
