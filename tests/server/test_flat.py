"""A batch is told alike whether its step is taken in one piece, by the native executor, or as tensors."""

from pathlib import Path

import numpy as np
import pytest
from avf_server.models.served import Models
from avf_server.models.thread import ModelThread
from avf_server.problems import ProblemError
from avf_server.stepping.engine import Engine
from avf_server.stepping.rows import Row, Stepped
from avf_server.stores.base import Position

from avf_core import flat
from tests.support.native import needed

ROWS = 5
SHIPPED = ("srnn-jsb", "srnn-jsb-direct", "vrnn-speech-small", "speech")


def rows_of(engine: Engine, name: str, beliefs: list[bytes | None], seq: int) -> list[Row]:
    setup = engine._models.setup(name)
    spec = engine._models.checkpoint(name).filter.model.observation
    drawn = np.random.default_rng(seq).random((len(beliefs), spec.size)).astype(np.float32)
    x = (drawn > 0.9).astype(np.float32) if spec.low == 0.0 else 0.1 * drawn
    return [
        Row(setup=setup, durability="group", belief=belief, seed=i, continues=Position(1, seq), x=x[i])
        for i, belief in enumerate(beliefs)
    ]


def stepped(found: list[Stepped | ProblemError]) -> list[Stepped]:
    assert all(isinstance(one, Stepped) for one in found), found
    return [one for one in found if isinstance(one, Stepped)]


@pytest.mark.parametrize("name", SHIPPED)
def test_both_ways_give_the_same_bytes(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Beliefs and estimates of two steps; the flat way is the one that is taken."""
    needed()
    engine = Engine(Models([name], device="cpu"), ModelThread(threads=1), max_batch=ROWS)
    taken: list[bool] = []

    def counted(*arguments: object, **options: object) -> flat.FlatStep | None:
        taken.append(True)
        return way(*arguments, **options)  # type: ignore[arg-type]

    way = flat.step
    monkeypatch.setattr(flat, "step", counted)
    beliefs: list[bytes | None] = [None] * ROWS
    for seq in range(2):
        rows = rows_of(engine, name, beliefs, seq)
        ours = stepped(engine._step(rows))
        with monkeypatch.context() as context:
            context.setattr(flat, "step", lambda *arguments, **options: None)
            theirs = stepped(engine._step(rows))
        assert [one.belief for one in ours] == [one.belief for one in theirs]
        assert [one.estimate for one in ours] == [one.estimate for one in theirs]
        beliefs = [one.belief for one in ours]
    assert len(taken) == 2
    engine._thread.close()


def test_a_batch_with_something_missing_goes_as_tensors() -> None:
    """What is missing is imputed there, and only there."""
    needed()
    engine = Engine(Models(["srnn-jsb"], device="cpu"), ModelThread(threads=1), max_batch=ROWS)
    rows = rows_of(engine, "srnn-jsb", [None] * 2, 0)
    rows[1].x[3] = np.nan
    whole, torn = stepped(engine._step(rows))
    alone = stepped(engine._step(rows[:1]))[0]
    assert whole.belief == alone.belief
    assert torn.belief != whole.belief
    engine._thread.close()
