"""Arrays whose headers claim what is not there, or too much: refused before memory is taken."""

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import avf_sources as sources
import numpy as np
import pytest
from avf_client.errors import SourceError
from avf_sources import Options


def header(shape: object, *, descr: str = "<f8", fortran: bool = False) -> bytes:
    """An `.npy` of this header and a hundred bytes of numbers."""
    text = f"{{'descr': {descr!r}, 'fortran_order': {fortran}, 'shape': {shape}, }}"
    padded = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded.encode() + bytes(100)


def written(path: Path, data: bytes) -> str:
    """A file of these bytes: as they are, or as the member x of an archive."""
    if path.suffix == ".npz":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", data)
    else:
        path.write_bytes(data)
    return str(path)


FORGED = {
    "more than memory": (header((10**13, 88)), "max_bytes"),
    "more than an index": (header((2**62, 4)), "max_bytes"),
    "more than 64 bits": (header((2**200, 4)), "shape"),
    "a number of 5,000 digits": (header("(" + "9" * 5000 + ", 4)"), "cannot be read"),
    "axes that hide behind one of no length": (header((10**13, 10**6, 0)), "max_bytes"),
    "negative": (header((-4, -25)), "shape"),
    "negative and huge": (header((-(10**9), 2)), "shape"),
    "more than is there": (header((4, 25)), "100 are there"),
    "one row more than is there": (header((13, 1)), "100 are there"),
    "objects": (header((4, 3), descr="|O"), "pickled"),
    "an element of 2 GiB": (header((4, 3), descr="|S2147483647"), "max_bytes"),
    "elements of no bytes": (header((10**13, 3), descr="|S0"), "max_bytes"),
    "no shape": (header("None"), "cannot be read"),
    "a type that is none": (header((2, 2), descr="<f7"), "cannot be read"),
    "an expression": (header("__import__('os').getcwd()"), "cannot be read"),
    "a nest of brackets": (header("(" * 400 + ")" * 400), "cannot be read"),
    "a header of 4 GiB": (b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(100), "header is"),
    "a version that is none": (b"\x93NUMPY\x09\x00" + header((2, 2))[8:], "cannot be read"),
}


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("kind", FORGED)
def test_a_forged_header_is_refused(tmp_path: Path, kind: str, suffix: str) -> None:
    """Whatever it claims: one error of ours, which says what is wrong."""
    data, message = FORGED[kind]
    with pytest.raises(SourceError, match=message):
        sources.read(written(tmp_path / f"x{suffix}", data))


@pytest.fixture
def bomb(tmp_path: Path) -> str:
    """An archive of some MB whose one array is 1.1 GB of zeros, as numpy itself would write it."""
    path, rows = tmp_path / "bomb.npz", 136 << 20
    start = io.BytesIO()
    np.lib.format.write_array_header_1_0(start, {"descr": "<f8", "fortran_order": False, "shape": (rows, 1)})
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("x.npy", "w", force_zip64=True) as member,
    ):
        member.write(start.getvalue())
        for _ in range(rows >> 20):
            member.write(bytes(8 << 20))
    return str(path)


def test_an_archive_that_unfolds_to_gigabytes_is_refused_unread(bomb: str) -> None:
    """In a process that may not take more than 600 MB beyond its own start."""
    assert Path(bomb).stat().st_size < 6 << 20
    script = """
import resource, sys
import avf_sources
start = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (start + (600 << 20),) * 2)
try:
    avf_sources.read(sys.argv[1])
except avf_sources.SourceError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", script, bomb], capture_output=True, text=True, check=True)
    assert "raise max_bytes" in ran.stdout


def test_a_member_that_claims_less_than_it_unfolds_to_is_cut_there(tmp_path: Path) -> None:
    """The directory says 1,000 bytes of an array of 800,000: what it hides is never unfolded."""
    path = tmp_path / "x.npz"
    np.savez_compressed(path, x=np.zeros((1000, 100)))
    data = path.read_bytes()
    assert (800_128).to_bytes(4, "little") in data
    path.write_bytes(data.replace((800_128).to_bytes(4, "little"), (1000).to_bytes(4, "little")))
    with pytest.raises(SourceError, match="cannot be read"):
        sources.read(str(path))


def test_a_member_that_claims_more_than_deflate_can_is_refused(tmp_path: Path) -> None:
    """No stream of that method has such a ratio."""
    path = tmp_path / "x.npz"
    np.savez_compressed(path, x=np.zeros((1000, 100)))
    path.write_bytes(path.read_bytes().replace((800_128).to_bytes(4, "little"), (80_012_800).to_bytes(4, "little")))
    with pytest.raises(SourceError, match="compressed ones"):
        sources.read(str(path), Options(max_bytes=1 << 40))


def test_an_archive_in_another_compression_or_with_a_password_is_told(tmp_path: Path) -> None:
    """What zipfile cannot read is one error of ours."""
    path = tmp_path / "x.npz"
    np.savez(path, x=np.zeros((2, 2)))
    plain = path.read_bytes()
    for at, value in ((6, 1), (8, 99)):  # flags: encrypted; method: AES
        changed, entry = bytearray(plain), plain.index(b"PK\x01\x02")
        changed[at] = value
        changed[entry + 2 + at] = value
        path.write_bytes(changed)
        with pytest.raises(SourceError, match="cannot be read"):
            sources.read(str(path))


def test_the_limits_are_raised_and_lowered_by_name(tmp_path: Path) -> None:
    """At the limit it is read, one below it is refused by the option's name; a limit of nothing is none."""
    np.save(tmp_path / "x.npy", np.ones((100, 3), dtype=np.uint8))
    name = str(tmp_path / "x.npy")
    assert sources.read(name, Options(max_frames=100, max_bytes=2400)).frames.shape == (100, 3)
    with pytest.raises(SourceError, match=r"100 frames, more than the 99.*--max-frames"):
        sources.read(name, Options(max_frames=99))
    with pytest.raises(SourceError, match=r"2400 bytes once decoded, more than the 2399.*--max-bytes"):
        sources.read(name, Options(max_bytes=2399))
    with pytest.raises(SourceError, match="max_frames is 0"):
        Options(max_frames=0)


def test_archives_of_piano_rolls_that_are_damaged_are_told(tmp_path: Path) -> None:
    """Offsets that go nowhere, and bits of another form."""
    bits = np.zeros((5, 11), dtype=np.uint8)
    for name, bad in {
        "backwards": (bits, np.array([3, 1])),
        "beyond": (bits, np.array([0, 9])),
        "negative": (bits, np.array([-4, 2])),
        "of another type": (bits, np.array([0.0, 2.0])),
        "of two axes": (bits, np.zeros((2, 2), dtype=int)),
        "bits of another width": (bits[:, :4], np.array([0, 2])),
        "bits of another type": (bits.astype(float), np.array([0, 2])),
    }.items():
        np.savez(tmp_path / f"{name}.npz", test_bits=bad[0], test_offsets=bad[1])
        with pytest.raises(SourceError, match="cannot be read as piano rolls"):
            sources.read(str(tmp_path / f"{name}.npz"), Options(key="test:0"))
