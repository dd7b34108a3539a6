"""Files of MusicXML: encodings, archives, and what is refused with its place.

The truth: what the MusicXML 4.0 and container specifications say a file may be.
"""

import zipfile
from pathlib import Path

import avf_sources as sources
import pytest
from avf_sources import Options, SourceError

from tests.support.scores import DIVISIONS, HEAD, heard, measures, read, score, sound

PLAIN = score(measures(sound("C") + sound("D")))


@pytest.mark.parametrize(
    "encoding",
    ["UTF-8", "UTF-16", "ISO-8859-1", "windows-1252", "Shift_JIS", "EUC-KR", "GB18030", "KOI8-R", "US-ASCII"],
)
def test_encodings_that_a_file_names_are_known(tmp_path: Path, encoding: str) -> None:
    """Titles in them, too, where the encoding has the letters."""
    letters = {"UTF-8": "Für", "UTF-16": "日本", "ISO-8859-1": "Für", "windows-1252": "Für", "Shift_JIS": "日本"}
    letters |= {"EUC-KR": "한국", "GB18030": "中国", "KOI8-R": "Россия", "US-ASCII": "For"}
    title = f"<work><work-title>{letters[encoding]}</work-title></work><part-list>"
    written = PLAIN.replace("UTF-8", encoding).replace("<part-list>", title)
    recording = read(tmp_path, written, encoding=encoding)
    assert recording.name == letters[encoding]
    assert len(recording.frames) == 2


def test_a_dtd_is_named_and_not_fetched(tmp_path: Path) -> None:
    """As all files before MusicXML 4 do; and bytes before it that say that it is UTF-8."""
    dtd = '<!DOCTYPE score-partwise PUBLIC "-//Recordare//DTD MusicXML 3.1 Partwise//EN" "http://127.0.0.1:9/partwise.dtd">'
    assert heard(tmp_path, "\ufeff" + PLAIN.replace("?>", "?>" + dtd, 1)) == [[60], [62]]


def archive(folder: Path, members: dict[str, str], how: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(folder / "x.mxl", "w", how) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return folder / "x.mxl"


def container(*files: tuple[str, str]) -> str:
    roots = "".join(f'<rootfile full-path="{path}"{kind}/>' for path, kind in files)
    return f"{HEAD}<container><rootfiles>{roots}</rootfiles></container>"


@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_container_names_the_score_of_an_archive(tmp_path: Path, how: int) -> None:
    """Not what lies there beside it, nor other forms of it that stand before it; a lone score needs no container."""
    pdf, xml = (' media-type="application/pdf"', ' media-type="application/vnd.recordare.musicxml+xml"')
    other = score(measures(sound("G")))
    members = {"META-INF/container.xml": container(("a.pdf", pdf), ("deep/b.xml", xml), ("c.xml", "")), "c.xml": other}
    path = archive(tmp_path, {**members, "a.pdf": "%PDF", "deep/b.xml": PLAIN}, how)
    assert len(sources.read(str(path), Options(transpose="none")).frames) == 2
    path = archive(tmp_path, {"only.musicxml": PLAIN, "picture.png": "x"}, how)
    assert len(sources.read(str(path), Options(transpose="none")).frames) == 2


def test_what_a_file_is_says_its_beginning(tmp_path: Path) -> None:
    """An archive that is called .xml, and a score that is called .mxl."""
    path = archive(tmp_path, {"only.xml": PLAIN}).rename(tmp_path / "x.xml")
    assert len(sources.read(str(path), Options(transpose="none")).frames) == 2
    (tmp_path / "y.mxl").write_text(PLAIN)
    assert len(sources.read(str(tmp_path / "y.mxl"), Options(transpose="none")).frames) == 2


def broken(old: str, new: str) -> str:
    assert old in PLAIN
    return PLAIN.replace(old, new, 1)


REFUSED = {
    "another kind of XML": ("<html><body/></html>", "no score: it begins with <html>"),
    "a list of scores": (f"{HEAD}<opus><title/></opus>", "no score: it begins with <opus>"),
    "cut": (PLAIN[: len(PLAIN) // 2], "may be truncated"),
    "a step that is none": (broken("<step>C", "<step>H"), r"measure 1 of part P0: .*'H', expected one of C D"),
    "no step": (broken("<step>C</step>", ""), "the step ''"),
    "an octave that is none": (broken("<octave>4", "<octave>four"), "<octave> is 'four', expected a whole number"),
    "a duration that is none": (broken("<duration>1", "<duration>1e9"), "<duration> is '1e9', expected a number"),
    "a duration without end": (broken("<duration>1", "<duration>" + "9" * 5000), "<duration> is '999"),
    "a duration below nothing": (broken("<duration>1", "<duration>-1"), "expected 0 or more"),
    "no duration": (broken("<duration>1</duration>", ""), "a missing number"),
    "no divisions": (broken(DIVISIONS.format(1), ""), "before the divisions"),
    "divisions of nothing": (broken("<divisions>1", "<divisions>0"), "0 divisions"),
    "divisions beyond reason": (broken("<divisions>1", "<divisions>1000001"), "1000001 divisions"),
    "an encoding that is none": (broken("UTF-8", "punycode"), "unknown encoding, punycode"),
    "times beyond reason": (
        broken("</measure>", '<barline><repeat direction="backward" times="1001"/></barline></measure>'),
        "'1001' times",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_broken_scores_are_refused(tmp_path: Path, name: str) -> None:
    """One sentence that names the file, the place, and what was expected."""
    written, message = REFUSED[name]
    with pytest.raises(SourceError, match=rf"x\.musicxml cannot be read as MusicXML: .*{message}"):
        read(tmp_path, written)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a.xml": PLAIN, "b.xml": PLAIN}, "no META-INF/container.xml, and 2 scores"),
        ({"META-INF/container.xml": container(("absent.xml", ""))}, "absent.xml"),
        ({"META-INF/container.xml": container()}, "names no score"),
        ({"META-INF/container.xml": "<container>"}, "truncated"),
    ],
)
def test_broken_archives_are_refused(tmp_path: Path, members: dict[str, str], message: str) -> None:
    """Nothing is guessed where the archive does not say which score it is."""
    with pytest.raises(SourceError, match=message):
        sources.read(str(archive(tmp_path, members)))
