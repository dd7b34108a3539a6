"""What a server knows of sessions without asking their store: what never changes, and what follows from it.

The law: it is found out once a session, and not at each of its steps.
"""

from collections import OrderedDict
from functools import lru_cache

import msgspec
from avf_wire.rows import RowForm

from avf_core.models.base import ObservationSpec
from avf_server.models.served import Models
from avf_server.models.setups import Setup
from avf_server.sessions import options
from avf_server.stores.base import Meta


class Known(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A session's meta, what its model may observe and takes with it, and how it is filtered."""

    meta: Meta
    spec: ObservationSpec
    form: RowForm
    setup: Setup


class KnownSessions:
    """At most so many; those that were found the longest ago make room."""

    def __init__(self, models: Models, *, most: int) -> None:
        self._models = models
        self._most = most
        self._metas: OrderedDict[str, Meta] = OrderedDict()
        self._known: dict[str, Known] = {}

    def remember(self, meta: Meta) -> None:
        """A session was opened, or found."""
        self._metas[meta.id] = meta
        self._metas.move_to_end(meta.id)
        if len(self._metas) > self._most:
            self._known.pop(self._metas.popitem(last=False)[0], None)

    def forget(self, session: str) -> None:
        """A session has ended, or may have."""
        self._metas.pop(session, None)
        self._known.pop(session, None)

    def meta(self, session: str) -> Meta | None:
        """What never changes about a session; None where it is not known here."""
        return self._metas.get(session)

    def get(self, session: str) -> Known | None:
        """A session; None where it is not known here. Raises UnknownModelError."""
        known = self._known.get(session)
        if known is None and (meta := self._metas.get(session)) is not None:
            known = self._known[session] = self.of(meta)
        return known

    def of(self, meta: Meta) -> Known:
        """A session of this meta. Raises UnknownModelError."""
        models = self._models
        spec = models.checkpoint(meta.model).filter.model.observation
        setup = _shared(options.setup_of(meta, models))
        return Known(meta=meta, spec=spec, form=options.form_of(meta, models), setup=setup)


@lru_cache(1024)
def _shared(setup: Setup) -> Setup:
    """The same object for all that are filtered alike, which are told apart at every tick."""
    return setup
