"""The build hook: wheels carry the native executor for every set of instructions that the compiler here knows.

Without a C++ compiler the wheel is pure, and torch computes everything. An editable install builds for this machine
only, into the user's cache, where every checkout of the same sources finds it.
"""

import importlib.util
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CustomBuildHook(BuildHookInterface):
    """Compiles what lies in avf_core/native/source."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build, and put what was built into the wheel."""
        build = _by_path(Path(self.root) / "avf_core" / "native" / "build.py")
        if version == "editable":
            build.build(build.here(), build.cache())
            return
        built = build.build(list(build.VARIANTS), Path(self.root) / "build" / "native") if build.fitting() else []
        for path in built:
            build_data["force_include"][str(path)] = f"avf_core/native/lib/{path.name}"
        if built:
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{platform}"  # of any Python: the library knows none


def _by_path(path: Path) -> ModuleType:
    """A module that stands on the standard library alone, while its package is not installed."""
    spec = importlib.util.spec_from_file_location("avf_native_build", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
