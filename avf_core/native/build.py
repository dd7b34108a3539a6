"""Building the executor: the C++ sources, one library for each set of instructions, by the system's compiler.

    python -m avf_core.native.build [--all] [--into FOLDER]

A library's name holds a digest of sources and flags, so that one of other sources is never taken for it. It lies in
this package where a wheel brought it, else in the user's cache, which checkouts of the same sources share. Without a
compiler nothing is built, and torch computes everything.
"""

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "source"
PACKAGED = HERE / "lib"
COMMON = ("-std=c++17", "-O3", "-fPIC", "-shared", "-pthread", "-fno-math-errno", "-fno-trapping-math")
AVX2 = ("-mavx2", "-mfma")
AVX512 = (*AVX2, "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mprefer-vector-width=512")
# The best first; the flags of /proc/cpuinfo that each needs, and those that the compiler is given.
VARIANTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "amx": (("amx_tile", "amx_bf16", "avx512_bf16"), (*AVX512, "-mavx512bf16", "-mamx-tile", "-mamx-bf16")),
    "avx512bf16": (("avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_bf16"), (*AVX512, "-mavx512bf16")),
    "avx512": (("avx512f", "avx512bw", "avx512vl", "avx512dq"), AVX512),
    "avx2": (("avx2", "fma"), AVX2),
}


def fitting() -> list[str]:
    """The variants that this machine can run, the best first; none where it is of another kind."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return []
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    flags = set(next((line for line in lines if line.startswith("flags")), "").split())
    return [name for name, (needed, _) in VARIANTS.items() if flags.issuperset(needed)]


def here() -> list[str]:
    """The variants to build for this machine: the best, and where a kernel may keep tiles from it, the next."""
    found = fitting()
    return found[: 2 if found[:1] == ["amx"] else 1]


def digest() -> str:
    """Of the sources and the flags."""
    hashed = hashlib.sha256(repr((COMMON, VARIANTS)).encode())
    for path in sorted(SOURCE.glob("*.?pp")):
        hashed.update(path.name.encode() + path.read_bytes())
    return hashed.hexdigest()[:16]


def cache() -> Path:
    """The user's folder for libraries that were built here."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "avf" / "native"


def library_name(variant: str) -> str:
    """The file that a variant of these sources is."""
    return f"avf-{digest()}-{variant}.so"


def compiler() -> str | None:
    """The C++ compiler: $CXX, c++, g++ or clang++."""
    candidates = (os.environ.get("CXX"), "c++", "g++", "clang++")
    return next((found for name in candidates if name and (found := shutil.which(name))), None)


def build(variants: Sequence[str], folder: Path) -> list[Path]:
    """Build what is not there yet. A variant that the compiler does not know is left out."""
    made = compiler()
    if made is None:
        return []
    import fcntl  # of Unix only, as are the machines that fit

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # others wait, and find it built
        paths = [folder / library_name(variant) for variant in variants]
        return [
            path
            for path, variant in zip(paths, variants, strict=True)
            if path.exists() or _compile(made, variant, path)
        ]


def _compile(made: str, variant: str, path: Path) -> bool:
    """Compile one variant; into place only when it is whole."""
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        out = Path(scratch) / path.name
        command = [made, *COMMON, *VARIANTS[variant][1], str(SOURCE / "native.cpp"), "-o", str(out)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{variant} is left out: {made} says\n{done.stderr[-2000:]}")
            return False
        out.replace(path)
    return True


def main() -> None:
    """Build the variants for this machine, or all, and say where they are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="also for other machines")
    parser.add_argument("--into", type=Path, default=cache())
    options = parser.parse_args()
    variants = list(VARIANTS) if options.all else here()
    if compiler() is None:
        print("no C++ compiler (c++, g++ or clang++): nothing is built, and torch computes everything")
    for path in build(variants, options.into):
        print(path)


if __name__ == "__main__":
    main()
