"""docs/gym.md is true: its code blocks run, in order, and its tables are whole."""

import re
from pathlib import Path
from typing import Any

import pytest
from avf_client.gym import FilterEnv

PAGE = Path(__file__).parents[2] / "docs" / "gym.md"


def test_the_code_blocks_run(server: str, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In one namespace, against the real server; there the tiny model stands for the zoo's."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    names: dict[str, Any] = {"URL": server}
    for block in blocks:
        code = block.replace("server=URL)\n", 'server=URL, model="tiny")\n').replace(
            '"srnn-jsb", server', '"tiny", server'
        )
        exec(compile(code, str(PAGE), "exec"), names)
    assert "(4, 4)" in capsys.readouterr().out


def test_every_field_is_documented(checkpoint: Path) -> None:
    """Of an observation and of an info."""
    env = FilterEnv(checkpoint)
    observation, info = env.reset(seed=1)
    page = PAGE.read_text()
    for name in [*observation, *info]:
        assert f"`{name}`" in page
