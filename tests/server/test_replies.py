"""What is stored of a step: made of a batch at once, read in every form that a release wrote, told in every form."""

import json
import math
from pathlib import Path
from typing import Any

import avf_wire as wire
import msgspec
import numpy as np
import pytest
import redis
import torch
from avf_server.models.served import Models
from avf_server.models.setups import Setup
from avf_server.stepping import estimates
from avf_server.stepping.decisions import observation_digest
from avf_server.stepping.estimates import Told
from avf_server.stepping.replies import Reply, last_of
from avf_server.stepping.rows import Row
from avf_server.stores import replies
from avf_server.stores.base import Meta, Position, Record
from avf_wire import binary, binary_batches
from avf_wire.binary_estimates import UNKNOWN
from avf_wire.rows import Observed, RowForm

from avf_core import configuration
from avf_core.belief_rows import BeliefRows
from avf_core.filtering import Filter
from avf_core.mixtures import Mixture

SIZE = 6
X = [1.0, None, 0.1, -0.0, None, 1.0]
DIGEST = b"d" * replies.DIGEST_SIZE
SETUP = Setup(model="m", iterations=1, samples=8)
LGSSM = {"model": {"kind": "lgssm", "latent_size": 3, "observation_size": 6}, "inference": {"kind": "exact"}}


def rows_of(count: int) -> list[Row]:
    """Rows of as many sessions, each standing elsewhere."""
    return [
        Row(
            setup=SETUP,
            durability=("none", "group", "behind", "wait")[row % 4],
            belief=None,
            seed=row,
            continues=Position(row + 1, 10 * row),
            x=np.full(SIZE, np.nan if row == 1 else 1.0, dtype=np.float32),
        )
        for row in range(count)
    ]


def message_of_row(estimate: Any, row: int, like: Row, surprise: float | None) -> wire.Estimate:
    """The message of a row made of its numbers alone: a tensor's, one by one, as Python has them."""
    prediction = estimate.outlook.prediction(SETUP.samples)

    def moments(distribution: Any) -> wire.Moments:
        mean = [float(value) for value in distribution.mean[row]]
        if getattr(distribution, "discrete", not hasattr(distribution, "log_variance")):
            return wire.Moments(mean=mean)
        if isinstance(distribution, Mixture):
            return wire.Moments(mean=mean, deviation=[float(v) for v in distribution.deviation[row]])
        return wire.Moments(mean=mean, deviation=[float(v) for v in torch.exp(0.5 * distribution.log_variance)[row]])

    return wire.Estimate(
        epoch=like.continues.epoch,
        seq=like.continues.seq + 1,
        free_energy=float(estimate.free_energy[row]),
        reconstruction=float(estimate.reconstruction[row]),
        kl=float(estimate.kl[row]),
        free_energies=[float(value) for value in estimate.free_energies[row]],
        iterations=int(estimate.iterations[row]),
        prior=moments(estimate.prior),
        posterior=moments(estimate.posterior),
        prediction=moments(prediction),
        likelihood=moments(estimate.likelihood),
        prediction_at_prior_mean=moments(estimate.prediction_at_prior_mean),
        evidence_bound=float(estimate.evidence_bound[row]),
        effective_sample_size=float(estimate.effective_sample_size[row]),
        durability=like.durability,
        surprise=surprise,
    )


@pytest.fixture(params=["bernoulli", "exact"])
def filter(request: pytest.FixtureRequest, tiny: Path) -> Filter:
    """One whose likelihood has no deviation, and one whose posterior has a full covariance."""
    if request.param == "exact":
        return configuration.build(LGSSM).requires_grad_(False)
    return Models((str(tiny),), device="cpu").checkpoint("tiny").filter


def test_a_batch_becomes_the_messages_of_its_rows(filter: Filter) -> None:
    """Each is the message that is made of its row's numbers alone, in binary and, number for number, in JSON."""
    rows, p = rows_of(5), np.array([0.5, np.nan, 1e-300, 1.0, 0.1])
    with torch.no_grad():
        belief, estimate = filter.step(filter.initial(torch.arange(7)), torch.ones(7, SIZE))
        form = BeliefRows(belief, provenance={})
        batch = estimates.to_host(belief, Told.of(estimate, SETUP), form, count=5, heard=False)
    assert batch.finite.tolist() == [True] * 5
    assert [row.tobytes() for row in batch.beliefs] == [row.numpy().tobytes() for row in form.rows(belief)[:5]]
    for row, message in enumerate(estimates.to_messages(batch, rows, surprise=p)):
        alone = message_of_row(estimate, row, rows[row], None if math.isnan(p[row]) else float(p[row]))
        assert message == binary.encode(binary.estimate_of(alone))
        told = Reply(row + 1, 10 * row + 1, message, durable_seq=7).message()
        assert msgspec.json.encode(told) == msgspec.json.encode(msgspec.structs.replace(alone, durable_seq=7))
    for row, note in enumerate(estimates.to_notes(batch, rows, surprise=p)):
        entry = msgspec.json.decode(note, type=wire.HistoryEntry)
        assert entry.free_energy == float(estimate.free_energy[row])
        assert (entry.epoch, entry.seq, entry.surprise) == (row + 1, 10 * row + 1, None if row == 1 else p[row])


@pytest.mark.parametrize("name", ["posterior", "kl", "belief"])
def test_a_row_that_is_not_finite_is_found_alone(tiny: Path, name: str) -> None:
    """Whether it is the estimate or only the belief that is."""
    models = Models((str(tiny),), device="cpu")
    with torch.no_grad():
        belief, estimate = models.checkpoint("tiny").filter.step(
            models.checkpoint("tiny").filter.initial(torch.arange(3)), torch.ones(3, SIZE)
        )
    {"posterior": estimate.posterior.mean, "kl": estimate.kl[:, None], "belief": belief.model["hidden"]}[name][1, 0] = (
        math.inf
    )
    setup = models.setup("tiny")
    batch = estimates.to_host(belief, Told.of(estimate, setup), models.belief_rows(setup), count=3, heard=False)
    assert batch.finite.tolist() == [True, False, True]


def record(reply: bytes, *, seq: int = 3) -> Record:
    """A session that stands at this reply."""
    meta = Meta(id="s", owner="", model="m", seed=0, iterations=1, durability="group", created_at=0.0)
    return Record(meta=meta, position=Position(2, seq), expires_in=1.0, belief=b"", reply=reply, durable_seq=2)


ESTIMATE = wire.Estimate(
    epoch=2,
    seq=3,
    free_energy=1.25,
    reconstruction=1.0,
    kl=0.1,
    free_energies=[2.5, 1.25],
    iterations=1,
    prior=wire.Moments(mean=[0.0], deviation=[1.0]),
    posterior=wire.Moments(mean=[float(np.float32(0.1))], deviation=[0.5]),
    prediction=wire.Moments(mean=[0.5]),
    likelihood=wire.Moments(mean=[1.0]),
    durability="group",
)
OLD_FIELDS = (
    "type epoch seq free_energy reconstruction kl free_energies iterations prior posterior prediction likelihood "
    "durability surprise"
)
OF_OLD = json.dumps({key: msgspec.to_builtins(ESTIMATE)[key] for key in OLD_FIELDS.split()}).encode()
SEEN = np.array([1.0, np.nan], dtype="<f4").tobytes()
FORMS = {
    "this release": replies.pack(DIGEST, SEEN, binary.encode(binary.estimate_of(ESTIMATE))),
    "JSON": DIGEST + b"\x01" + (8).to_bytes(4, "little") + SEEN + OF_OLD,
    "JSON without the observation": DIGEST + OF_OLD,
}


@pytest.mark.parametrize("form", FORMS)
def test_a_reply_of_any_release_is_read(form: str) -> None:
    """Its digest, its observation where it was kept, and all numbers of its estimate."""
    reply = FORMS[form]
    assert replies.is_readable(reply)
    assert replies.digest_of(reply) == DIGEST
    seen = None if form.endswith("observation") else SEEN
    assert replies.observation_of(reply) == seen
    told = Reply.of(record(reply))
    assert told.message() == msgspec.structs.replace(ESTIMATE, durable_seq=2)
    assert binary.decode_server(told.binary(arrays=False)).free_energies is None  # type: ignore[union-attr]
    assert told.summary().kl == 0.1
    assert told.summary().durable_seq == 2
    shown = last_of(record(reply), RowForm(size=2))
    assert shown.observation == (msgspec.UNSET if seen is None else [1.0, None])


@pytest.mark.parametrize("version", [b"\x00", b"\x03", b"\x7f", b"["])
def test_a_reply_of_another_version_is_known_as_such(version: bytes) -> None:
    """So is one that ends before its version."""
    assert not replies.is_readable(DIGEST + version + FORMS["JSON"][17:])
    assert not replies.is_readable(DIGEST)


def test_a_message_is_completed_and_shortened_without_being_read() -> None:
    """The bytes are those of the message with that durable_seq, and of the one without arrays."""
    message = binary.encode(binary.estimate_of(ESTIMATE))
    completed = binary_batches.with_durable_seq(message, 2**53)
    assert completed == binary.encode(binary.estimate_of(ESTIMATE, durable_seq=2**53))
    assert binary_batches.without_arrays(message) == binary.encode(binary.estimate_of(ESTIMATE, arrays=False))


def test_digests_are_those_of_the_releases_before() -> None:
    """Written down from the release that stored JSON: a replay is known again after an upgrade."""
    x = np.array([np.nan if value is None else value for value in X], dtype=np.float32)
    assert observation_digest(Observed(x=x)).hex() == "6f4061315bbc80ad4a458591b5ffd0be"
    negative = x.copy().view(np.uint32)
    negative[1] |= 0x8000_0001  # another NaN
    assert observation_digest(Observed(x=negative.view(np.float32))) == observation_digest(Observed(x=x))


async def test_a_step_of_the_release_before_is_answered_after_the_upgrade(
    runtime: Any, open_session: Any, redis_server: Any
) -> None:
    """A session whose reply is in JSON in Redis: the same observation gives the stored numbers, and it goes on."""
    async with runtime() as first, runtime() as second:
        session = await open_session(first)
        before = await first.service.observe(session, seq=1, x=X, owner="")
        with redis.Redis(unix_socket_path=str(redis_server.socket)) as client:
            kept = client.hget(f"avf:{{{session}}}", "r1")
            assert kept[16:17] == b"\x02"
            assert kept.endswith(binary_batches.with_durable_seq(before.binary(), UNKNOWN))
            text = json.dumps({k: v for k, v in _told(before).items() if k != "durable_seq"}).encode()
            client.hset(f"avf:{{{session}}}", "r1", kept[:16] + b"\x01" + kept[17 : 21 + 4 * SIZE] + text)
        again = await second.service.observe(session, seq=1, x=X, owner="")
        assert _told(again) == _told(before)
        assert (await second.service.observe(session, seq=2, x=X, owner="")).seq == 2


def _told(reply: Reply) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(reply.message())
    return told
