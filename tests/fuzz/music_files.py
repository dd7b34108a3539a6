"""Music that is almost right: MIDI, MusicXML and archives of it, changed byte by byte, number by number, tag by tag."""

import io
import re
import struct
import zipfile
from functools import cache
from random import Random

from avf_sources import Options, read

from tests.fuzz.mutation import spoil
from tests.fuzz.readers import Kind

NUMBERS = (
    "0",
    "-1",
    "1",
    "7",
    "1e999",
    "NaN",
    "0.0000001",
    "99999",
    "999999999999",
    "9" * 400,
    "",
    " ",
    "1/3",
    "\u0663",
)
TAGS: tuple[str, ...] = (
    "chord",
    "grace",
    "cue",
    "rest",
    "backup",
    "forward",
    "repeat",
    "ending",
    "transpose",
    "divisions",
    "measure",
)
TAGS += ("part", "note", "unpitched", "score-partwise", "score-timewise", "double", "sound", "time", "barline")
DIVISIONS = {"a.mid": 480, "b.midi": (0x100 - 25) << 8 | 40}
DEEP = b"<a>" * 5000
ENTITIES = b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
ATTRIBUTES: tuple[str, ...] = (
    'direction="forward"',
    'direction="backward"',
    'times="1000"',
    'number="1, 2"',
    'dacapo="yes"',
    'dalsegno="x"',
)
ATTRIBUTES += (
    'segno="x"',
    'tocoda="y"',
    'coda="y"',
    'fine="yes"',
    'time-only="1,2,3,4"',
    'type="start"',
    'type="stop"',
)


@cache
def valid() -> dict[str, bytes]:
    """A file of each form."""
    return {
        "a.mid": _midi(_messages(), division=DIVISIONS["a.mid"]),
        "b.midi": _midi(_messages(), division=DIVISIONS["b.midi"]),
        "c.musicxml": _score().encode(),
        "d.xml": _timewise().encode("utf-16"),
        "e.mxl": _archive(_score().encode()),
    }


def change(random: Random, name: str, data: bytes) -> bytes:
    """A file with some of it changed, in the way of its form or in any."""
    form, well = name.rpartition(".")[2], random.random() < 0.8  # well: the change is within, and the form is kept
    if not well:
        return spoil(random, data)
    if form in ("mid", "midi"):
        return _change_claims(random, data) if random.random() < 0.3 else _change_messages(random, name)
    if form == "xml":
        return _change_score(random, _timewise().encode()).decode(errors="replace").encode("utf-16")
    changed = _change_score(random, _score().encode())
    return _archive(changed) if form == "mxl" else changed


def read_music(path: str, random: Random) -> object:
    """One in eight with its key found, which is slow; in frames of several lengths."""
    transpose = "jsb" if random.random() < 0.125 else "none"
    return read(path, Options(transpose=transpose, frame=random.choice((1.0, 0.25, 1 / 24))))


def _messages() -> bytes:
    events = b"\x00\xff\x51\x03\x07\xa1\x20\x00\xff\x03\x04name\x00\xc0\x05\x00\xb0\x40\x7f"
    for key in range(60, 72):
        events += bytes((0, 0x90, key, 90, 0, key + 7, 80, 0x83, 0x60, 0x80, key, 0, 0, key + 7, 0))
    return events + b"\x00\xf0\x03\x7e\x7f\xf7\x00\xe0\x00\x50\x00\xb0\x7b\x00\x00\xff\x2f\x00"


def _midi(messages: bytes, *, division: int) -> bytes:
    tracks = b"".join(b"MTrk" + struct.pack(">I", len(track)) + track for track in (messages, _messages()))
    return b"MThd" + struct.pack(">IHHH", 6, 1, 2, division) + tracks


def _timewise() -> str:
    measure = f"<measure number='1'><part id='A'>{_measure()}</part></measure>"
    return f"<score-timewise>{measure * 2}</score-timewise>"


def _measure() -> str:
    attributes = "<attributes><divisions>6</divisions><time><beats>3+2</beats><beat-type>8</beat-type></time>"
    attributes += "<transpose><chromatic>-2</chromatic><octave-change>1</octave-change></transpose></attributes>"
    pitch = "<pitch><step>{}</step><alter>1</alter><octave>4</octave></pitch><duration>{}</duration>"
    notes = "".join(f"<note>{pitch.format(step, 2 + i)}<staff>1</staff></note>" for i, step in enumerate("CDEFGAB"))
    chord = f"<note><chord/>{pitch.format('G', 4)}</note><backup><duration>6</duration></backup>"
    return (
        attributes
        + notes
        + chord
        + "<forward><duration>3</duration></forward><note><rest/><duration>3</duration></note>"
    )


def _score() -> str:
    begin = '<barline location="left"><ending number="1" type="start"/><repeat direction="forward"/></barline>'
    again = '<barline><ending number="1" type="stop"/><repeat direction="backward" times="2"/></barline>'
    jump = '<direction><direction-type><segno/></direction-type><sound segno="x" dacapo="yes" fine="yes"/></direction>'
    measures = "".join(
        f'<measure number="{i}">{left}{_measure()}{right}</measure>'
        for i, (left, right) in enumerate((("", jump), (begin, again), (jump, ""), ("", again)))
    )
    listed = '<part-list><score-part id="A"><part-name>x</part-name></score-part></part-list>'
    return f'<?xml version="1.0"?><score-partwise>{listed}<part id="A">{measures}</part></score-partwise>'


def _archive(score: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("META-INF/container.xml", '<container><rootfile full-path="a.xml"/></container>')
        archive.writestr("a.xml", score)
    return file.getvalue()


def _change_score(random: Random, data: bytes) -> bytes:
    """A score with some of its numbers, whole elements or tags changed."""
    tokens = re.findall(rb"<[^>]*>|[^<]+", data)
    numbers = [at for at, token in enumerate(tokens) if not token.startswith(b"<")]
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        at = random.randrange(len(tokens))
        match random.randrange(10):
            case 0 | 1 | 2:
                tokens[random.choice(numbers)] = random.choice(NUMBERS).encode()
            case 3 | 4:
                tokens[at] = re.sub(rb"(/?>)$", rb" %s\1" % random.choice(ATTRIBUTES).encode(), tokens[at])
            case 5 | 6:
                tokens[at] += b"<%s/>" % random.choice(TAGS).encode()
            case 7:
                begin, end = _element(tokens, at)
                tokens[begin:end] = [b"".join(tokens[begin:end]) * random.choice((0, 2, 40))]
                break  # for places are others now
            case 8:
                tokens[at] = re.sub(rb"[\w-]+", random.choice(TAGS).encode(), tokens[at], count=1)
            case _:
                tokens[at] += random.choice((DEEP, ENTITIES, b"&b;", b"<!--", b"]]>", b"\xff"))
    return b"".join(tokens)


def _element(tokens: list[bytes], at: int) -> tuple[int, int]:
    """Where the element that begins at or after a token begins and ends; what is left of the tokens where none does."""
    depth = 0
    for end in range(at, len(tokens)):
        token = tokens[end]
        depth += token.startswith(b"<") - 2 * token.startswith(b"</") - token.endswith(b"/>")
        if depth <= 0:
            return at, end + 1
    return at, len(tokens)


def _change_messages(random: Random, name: str) -> bytes:
    """A file of which one track has messages with other bytes, and is as long as it says."""
    messages = bytearray(_messages())
    for _ in range(random.choice((1, 2, 8))):
        at = random.randrange(len(messages))
        messages[at] = random.choice((random.randrange(128), random.randrange(256), messages[at] ^ 1))
    return _midi(bytes(messages), division=random.choice((DIVISIONS[name], random.randrange(1 << 16))))


def _change_claims(random: Random, data: bytes) -> bytes:
    """A file with a time, a header or a length that claims much."""
    at = random.choice((4, 8, 10, 12, 18, *range(22, len(data) - 4)))
    claim = random.choice(
        (b"\xff\xff\xff\x7f", b"\x8f\xff\xff\x7f", b"\x00" * 4, b"\x7f\xff\xff\xff", b"\x81\x80\x80\x00")
    )
    size = 2 if 8 <= at < 14 else 4
    return data[:at] + claim[:size] + data[at + random.choice((size, 1)) :]


KIND = Kind(name="music", valid=valid, spoil=change, read=read_music)
