"""The service on the corpus: a filter learned on the probations, served, and every stream sent to it row by row.

One configuration for all. The filter is an autoregression of three steps in a stream's own units (deviations of its
probation about its mean), fitted on all probations together, and filtered exactly (`kalman`); sessions listen for
novelty by the hour (`alarm_by="daily"`), whose references begin with nothing and learn as rows come. A stream's score
is the alarm's statistic, as 1 - exp(-statistic).
"""

import asyncio
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from avf_client import AsyncClient, Step
from numpy.typing import NDArray

from avf_core import checkpoints
from avf_core.autoregression import vector_autoregression
from avf_core.filtering import Filter
from avf_core.inference import kalman
from avf_core.models import lgssm
from benchmarks.nab.corpus import Stream
from benchmarks.nab.peers import scaled

ORDER = 3
NOISE = 0.05  # the part of an error's variance that is the sensor's own
EVERY = 10_000.0  # rows between false alarms
LEAST = 1e-3  # seconds by which a row that is dated at or before the last one comes after it
NAME = "nab"


def learn(streams: Sequence[Stream], folder: Path) -> Path:
    """A checkpoint of the filter that all probations together give, and nothing else."""
    known = [scaled(stream)[: stream.probation, None] for stream in streams]
    fitted = vector_autoregression([rows for rows in known if len(rows) > ORDER], range(1, ORDER + 1))
    variance = float(fitted.covariance[0, 0])
    dynamics = torch.zeros(ORDER, ORDER, dtype=torch.float64)
    dynamics[0] = torch.from_numpy(fitted.weights[0])
    dynamics[range(1, ORDER), range(ORDER - 1)] = 1.0
    first = torch.eye(1, ORDER, dtype=torch.float64)
    model = lgssm.Model.from_matrices(
        dynamics=dynamics,
        emission=first,
        initial_mean=torch.zeros(ORDER, dtype=torch.float64),
        initial_variance=torch.ones(ORDER, dtype=torch.float64),
        process_variance=torch.where(first[0] > 0.0, variance, 1e-8),
        noise_variance=torch.tensor([NOISE * variance], dtype=torch.float64),
        drift=float(fitted.offset[0]) * first[0],
    )
    settings = {
        "model": {"kind": "lgssm", "observation_size": 1, "latent_size": ORDER, "offsets": True},
        "inference": {"kind": "kalman"},
    }
    filter = Filter(model, kalman.Inference(kalman.Config(), model))
    checkpoints.save(folder / NAME, filter=filter, settings=settings, card={})
    return folder / NAME


def rows(stream: Stream) -> Iterator[Step]:
    """The rows of a stream as a client sends them; times go on, as a session's do."""
    last = -math.inf
    for value, time in zip(scaled(stream).tolist(), stream.times.tolist(), strict=True):
        last = max(time, last + LEAST)
        yield Step(np.array([value]), time=last)


async def scores(url: str, streams: Sequence[Stream]) -> dict[str, NDArray[np.float64]]:
    """The score of every row, as the server's alarms give it, all streams at once, each over its WebSocket."""
    async with AsyncClient(url, timeout=300.0) as client:

        async def one(stream: Stream) -> NDArray[np.float64]:
            options = {"durability": "none", "alarm_every": EVERY, "alarm_by": "daily", "quantiles": ()}
            async with await client.session(NAME, seed=0, **options) as session:
                said = [
                    0.0 if summary.alarm is None else 1.0 - math.exp(-summary.alarm.statistic)
                    async for summary in session.stream(rows(stream), fields="scalars")
                ]
            return np.array(said)

        found = await asyncio.gather(*map(one, streams))
    return {stream.name: said for stream, said in zip(streams, found, strict=True)}
