"""A Redis in need, and the judge: a Cluster that is all away, no program to start, a full memory, a full disk."""

from pathlib import Path

import pytest

from .needs import NEEDS, Impossible

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("chaos"), pytest.mark.timeout(300)]

MANY = 5


async def in_need(name: str, folder: Path, rounds: int) -> None:
    try:
        found = await NEEDS[name](folder, rounds)
    except Impossible as reason:
        pytest.skip(str(reason))
    assert found.violations == []
    assert found.acknowledged > 0


async def test_a_cluster_that_was_all_away_goes_on_with_what_it_had(tmp_path: Path) -> None:
    """Every node is killed and started again, by nobody but their own files; the store finds them again."""
    await in_need("cluster_away", tmp_path, 1)


async def test_an_embedded_redis_that_cannot_be_started_goes_on_once_it_can(tmp_path: Path) -> None:
    """It is killed while its program is away."""
    await in_need("no_start", tmp_path, 1)


async def test_what_a_full_redis_drops_is_unknown_and_nothing_is_silently_wrong(tmp_path: Path) -> None:
    """A session that was dropped is unknown for good; all others stand where they stood."""
    await in_need("evicting", tmp_path, 1)


async def test_a_disk_that_fills_and_frees_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """The embedded Redis ends on a full disk before it answers, and goes on once there is room."""
    await in_need("full_disk", tmp_path, 1)


@pytest.mark.long
@pytest.mark.parametrize("name", NEEDS)
async def test_a_redis_that_comes_to_it_again_and_again(name: str, tmp_path: Path) -> None:
    """The same, several times on the same sessions."""
    await in_need(name, tmp_path, MANY)
