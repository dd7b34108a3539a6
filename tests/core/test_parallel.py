"""Data-parallel training: two processes under torchrun are one process with the same batches."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from avf_client.commands import cli

from avf_core import checkpoints
from avf_core.training.em import Clip
from avf_core.training.parallel import Group

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shapes_unchecked")]

SMALL = [
    "--set", "model.hidden_size=8", "--set", "model.latent_size=4", "--set", "model.prior_widths=[8]",
    "--set", "model.decoder_widths=[8]", "--set", "training.clip_length=6", "--set", "inference.units=8",
    "--set", "training.epochs=2", "--set", "training.validate_every=1", "--set", "training.batch_size=6",
    "--set", "training.kl_anneal_epochs=0", "--precision", "float32", "--threads", "1", "--device", "cpu",
]  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Piano rolls: 13 for training, so that the last batch of 6 has one row, fewer than there are processes."""
    generator = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for split, count in (("train", 13), ("valid", 4)):
        arrays[f"{split}_bits"] = np.packbits(generator.random((12 * count, 88)) > 0.95, axis=1)
        arrays[f"{split}_offsets"] = 12 * np.arange(count + 1)
    np.savez(tmp_path / "rolls.npz", **arrays)
    return tmp_path / "rolls.npz"


def train(data: Path, out: Path, *options: str, processes: int, stop: bool = False) -> list[float]:
    """`avf train` on so many processes, one being this; the validation free energies it wrote."""
    limits = ["--max-minutes", "1e-9"] if stop else []
    arguments = ["train", "paper-jsb", "--data", str(data), "--out", str(out), *SMALL, *options, *limits]
    if processes == 1:
        assert cli.run(arguments) == 0
    else:
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        command = [sys.executable, *launcher, "-m", "avf_client", *arguments]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        finished = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
        assert finished.returncode == 0, finished.stderr
    path = out / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line)["valid"]["free_energy_pooled"] for line in lines]


@pytest.mark.parametrize("phi_steps", ["online", pytest.param("clip", marks=pytest.mark.long)])
def test_two_processes_have_the_curve_of_one(data: Path, tmp_path: Path, phi_steps: str) -> None:
    """The same validation free energies and weights, to the tolerance of float32; also when stopped and resumed."""
    option = ("--set", f"training.phi_steps={phi_steps}")
    alone = train(data, tmp_path / "alone", *option, processes=1)
    train(data, tmp_path / "two", *option, processes=2, stop=True)
    together = train(data, tmp_path / "two", *option, processes=2)
    assert len(alone) == 2
    assert together == pytest.approx(alone, rel=1e-4)
    one, two = (checkpoints.load(tmp_path / name).filter.state_dict() for name in ("alone", "two"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-3, atol=1e-4)


LEAVE = """
import os, torch
from avf_core.training.parallel import Group

group = Group("cpu")
weight = torch.ones(3, requires_grad=True)
optimizer = torch.optim.Adam([weight])
weight.sum().backward()
group.sums([weight.grad.sum()])
optimizer.step()
group.close()
print([open(f"/proc/self/task/{task}/comm").read() for task in os.listdir("/proc/self/task")])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="threads have names in /proc on Linux")
def test_no_thread_of_the_group_outlives_it(tmp_path: Path) -> None:
    """One that did could abort the process while the interpreter ends."""
    (tmp_path / "leave.py").write_text(LEAVE)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    finished = subprocess.run(
        [*command, str(tmp_path / "leave.py")], capture_output=True, text=True, timeout=120, check=True
    )
    assert finished.stdout.count("python") >= 2
    assert "gloo" not in finished.stdout


def test_rows_are_dealt_out_whole() -> None:
    """Every row is some process's, and a process without one has a row that counts for nothing."""
    real = torch.ones(3, 5, dtype=torch.bool)
    clip = Clip.whole(torch.rand(3, 5, 2), real, torch.arange(5))
    group = Group("cpu")
    assert group.rows(clip) is clip
    group.size = 7
    seeds, frames = [], 0
    for group.rank in range(7):
        part = group.rows(clip)
        frames += int(part.real.sum())
        seeds += part.seeds[part.real.any(0)].tolist()
        assert int(part.frames) == 15
    assert sorted(seeds) == [0, 1, 2, 3, 4]
    assert frames == 15
