"""Sessions that begin with a belief: forks of a session, and sessions restored from a snapshot.

The laws: a belief is a value, so a copy goes on without touching what it was copied from; what is copied is what was
committed, never what is hot. A snapshot comes from outside: it is bounded, holds no pickle, and is checked against the
model (digest, version, names, shapes, types, finite numbers) before anything begins with it.
"""

import base64
import binascii
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import avf_wire as wire
import msgspec
import torch

from avf_core import beliefs
from avf_core.beliefs import Belief
from avf_core.errors import BeliefFormatError
from avf_core.trees import finite_rows
from avf_server import problems
from avf_server.models.setups import Setup
from avf_server.models.thread import ModelThread
from avf_server.problems import InvalidSnapshotError
from avf_server.sessions import options
from avf_server.sessions.registry import MAX_SEED, Sessions
from avf_server.stores import kept
from avf_server.stores.base import Record
from avf_server.stores.kept import Kept

MAX_STEP = 2**62  # observations filtered; a counter that never runs over


class _Header(msgspec.Struct, rename={"metadata": "__metadata__"}):
    """What a safetensors file says of itself."""

    metadata: dict[str, str] = {}


class _Asked(msgspec.Struct, frozen=True):
    """What the session of a snapshot had been opened with."""

    particles: int = 1
    lag: int = 0
    prediction_samples: int | None = None
    quantiles: tuple[float, ...] | None = None
    alarm_every: float | None = None
    alarm_by: wire.AlarmBy = "change"


class Branches:
    """Beliefs as values: out of sessions, and into new ones."""

    def __init__(self, thread: ModelThread, sessions: Sessions) -> None:
        self._thread = thread
        self._models = sessions.models
        self._sessions = sessions

    async def snapshot(self, session: str, *, owner: str) -> bytes:
        """The belief of a session as a safetensors file. Raises UnknownSessionError, BeliefUnreadableError."""
        record = await self._sessions.record(session, owner=owner)
        self._models.checkpoint(record.meta.model)
        return await self._thread.aside(lambda: self._snapshot(record))

    async def restore(self, data: bytes, wanted: wire.Branch, *, owner: str) -> wire.Session:
        """A new session that goes on from a snapshot. Raises InvalidSnapshotError, InvalidSettingError."""
        metadata = metadata_of(data)
        digest = metadata.get("model", "")
        found = self._models.of_digest(digest)
        if found is None:
            known = ", ".join(f"{name} ({self._models.checkpoint(name).digest})" for name in self._models)
            raise InvalidSnapshotError(
                f"the snapshot is of model {metadata.get('name', 'unknown')} with weights {digest or 'unknown'}; "
                f"this server has {known}"
            )
        _check_seed(wanted)
        name, asked = found.name, _asked(metadata.get("setup"))
        request = wire.CreateSession(
            model=name,
            iterations=_number(metadata.get("iterations")) if wanted.iterations is None else wanted.iterations,
            durability=wanted.durability or "group",
            audio=_audio(metadata.get("audio")),
            deadline_s=_deadline(metadata.get("deadline_s")),
            particles=asked.particles,
            lag=asked.lag,
            prediction_samples=asked.prediction_samples,
            quantiles=asked.quantiles,
            alarm_every=asked.alarm_every,
            alarm_by=asked.alarm_by,
        )
        setup = await self._sessions.granted(request)
        time = _time(metadata.get("time")) if options.timed(name, asked.alarm_by, self._models) else None
        beside = Kept(None, time, _listening(metadata.get("detector")))
        saved, seed = await self._thread.aside(lambda: self._pack(self._read(data, setup), name, wanted, beside))
        return await self._sessions.create(msgspec.structs.replace(request, seed=seed), owner=owner, belief=saved)

    async def fork(self, session: str, wanted: wire.Branch, *, owner: str) -> wire.Session:
        """A new session that goes on from where a session stands, and leaves it.

        Raises UnknownSessionError, InvalidSettingError, BeliefUnreadableError.
        """
        record = await self._sessions.record(session, owner=owner)
        meta, saved = record.meta, record.belief
        self._models.checkpoint(meta.model)
        _check_seed(wanted)
        if saved is not None and wanted.seed is not None:
            beside = kept.unpack(saved)
            saved, _ = await self._thread.aside(lambda: self._pack(self._own(record), meta.model, wanted, beside))
        request = wire.CreateSession(
            model=meta.model,
            seed=meta.seed if wanted.seed is None else wanted.seed,
            iterations=meta.iterations if wanted.iterations is None else wanted.iterations,
            durability=wanted.durability or meta.durability,
            audio=meta.audio,
            deadline_s=meta.deadline_s,
            particles=meta.particles,
            lag=meta.lag,
            prediction_samples=meta.prediction_samples,
            quantiles=meta.quantiles,
            alarm_every=meta.alarm_every,
            alarm_by=meta.alarm_by,
        )
        return await self._sessions.create(request, owner=owner, belief=saved)

    def _own(self, record: Record) -> Belief:
        """The belief that a session of this server stands at."""
        setup = options.setup_of(record.meta, self._models)
        return self._models.belief(setup, kept.unpack(record.belief).belief, seed=record.meta.seed)

    def _snapshot(self, record: Record) -> bytes:
        meta, at = record.meta, record.position
        provenance = {
            "model": self._models.checkpoint(meta.model).digest,
            "name": meta.model,
            "iterations": str(meta.iterations),
            "epoch": str(at.epoch),
            "seq": str(at.seq),
        }
        asked = _Asked(
            meta.particles, meta.lag, meta.prediction_samples, meta.quantiles, meta.alarm_every, meta.alarm_by
        )
        provenance["setup"] = msgspec.json.encode(asked).decode()
        beside = kept.unpack(record.belief)
        if beside.time is not None:
            provenance["time"] = repr(beside.time)
        if beside.beside is not None:
            provenance["detector"] = base64.b64encode(beside.beside).decode()
        if meta.deadline_s is not None:
            provenance["deadline_s"] = repr(meta.deadline_s)
        if meta.audio is not None:
            provenance["audio"] = msgspec.json.encode(meta.audio).decode()
        return beliefs.to_bytes(self._own(record), provenance=provenance)

    def _read(self, data: bytes, setup: Setup) -> Belief:
        """The belief of a snapshot, checked."""
        try:
            belief = beliefs.from_bytes(data, expected={"model": self._models.checkpoint(setup.model).digest})
        except (BeliefFormatError, RecursionError) as error:
            raise InvalidSnapshotError(str(error)) from error
        self._check_form(belief, self._models.belief(setup, None, seed=0))
        return belief

    def _pack(self, belief: Belief, model: str, wanted: wire.Branch, beside: Kept) -> tuple[bytes | None, int]:
        """The belief as it is stored, with what is kept beside, and the new seed where one is given; and its seed."""
        if wanted.seed is not None:
            belief = replace(belief, seed=torch.full_like(belief.seed, wanted.seed))
        digest = self._models.checkpoint(model).digest
        file = beliefs.to_bytes(belief, provenance={"model": digest})
        return kept.pack(beside._replace(belief=file)), int(belief.seed[0])

    def _check_form(self, belief: Belief, example: Belief) -> None:
        """Raises InvalidSnapshotError unless a belief is one row of the example's form, with numbers in range."""
        found, expected = _form(belief), _form(example)
        if found != expected:
            odd = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
            raise InvalidSnapshotError(f"the snapshot is no belief of this model: {', '.join(odd)} is not as expected")
        in_range = 0 <= int(belief.seed[0]) <= MAX_SEED and 0 <= int(belief.step[0]) <= MAX_STEP
        if not in_range or not bool(finite_rows(belief)[0]):
            raise InvalidSnapshotError("the snapshot holds numbers that are not finite, or out of range")


def metadata_of(data: bytes) -> Mapping[str, str]:
    """What a snapshot says of itself. Raises InvalidSnapshotError."""
    length, none = int.from_bytes(data[:8], "little"), f"these {len(data)} bytes are no snapshot: no safetensors header"
    if length > len(data) - 8:
        raise InvalidSnapshotError(none)
    if length > wire.LONGEST_CONTROL:
        raise InvalidSnapshotError(f"the snapshot's header has {length} bytes, expected at most {wire.LONGEST_CONTROL}")
    try:
        return msgspec.json.decode(data[8 : 8 + length], type=_Header).metadata
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidSnapshotError(none) from error


def _form(belief: Belief) -> dict[str, Any]:
    """Shapes and types of a belief's tensors, by name."""
    return {name: (tensor.shape, tensor.dtype) for name, tensor in beliefs.named(belief).items()}


def _number(text: str | None) -> int | None:
    """A number of a header; None where it is none."""
    return int(text) if text is not None and text.isdecimal() and len(text) < 10 else None


def _time(text: str | None) -> float | None:
    """What a header says of the time of the last observation; None where it says none, or where that is unreadable."""
    return _finite(text)


def _listening(text: str | None) -> bytes | None:
    """What a session's steps are judged by, as a header says; None where it says none, or where that is unreadable."""
    try:
        return None if text is None else base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _deadline(text: str | None) -> float | None:
    """The seconds that an answer may take, as a header says; None where it says none, or none that make sense."""
    seconds = _finite(text)
    return seconds if seconds is not None and seconds > 0.0 else None


def _finite(text: str | None) -> float | None:
    try:
        number = math.nan if text is None else float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _asked(text: str | None) -> _Asked:
    """What a header says of how its session was opened; of a release before, or where that is unreadable, nothing."""
    try:
        return _Asked() if text is None else msgspec.json.decode(text, type=_Asked)
    except (msgspec.DecodeError, RecursionError):
        return _Asked()


def _audio(text: str | None) -> wire.Audio | None:
    """What a header says of the sound that its session took; None where it took none, or where that is unreadable."""
    try:
        return None if text is None else msgspec.json.decode(text, type=wire.Audio)
    except (msgspec.DecodeError, RecursionError):
        return None


def _check_seed(wanted: wire.Branch) -> None:
    """Raises InvalidSettingError for a seed out of range."""
    if wanted.seed is not None and not 0 <= wanted.seed <= MAX_SEED:
        raise problems.InvalidSettingError(f"seed is {wanted.seed}, expected a number in [0, {MAX_SEED}]")
