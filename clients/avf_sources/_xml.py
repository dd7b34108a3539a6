"""XML of users' files, element by element and within bounds.

The law: nothing is expanded and nothing is fetched: a file that declares entities is refused, and a DTD that it names
is not looked for. Depth and number of elements are bounded while they come, and an element is forgotten once it has
been handed out, so that memory is that of one measure.
"""

import codecs
import re
from collections.abc import Iterable, Iterator
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from avf_sources._limits import Limits
from avf_sources._piece import DamagedError

DEEPEST = 64
"""Levels of elements; music has a dozen."""
ELEMENT_BYTES = 256
"""Of memory that an element takes, about."""
_NATIVE = {"utf-8", "utf8", "utf-16", "iso-8859-1", "us-ascii", "ascii"}  # what expat knows by itself
_KNOWN = re.compile(
    r"(windows-|cp)\d+|iso-8859-\d+|latin-?\d+|shift[_-]jis|euc[_-](jp|kr)|gbk|gb2312|gb18030|big5|koi8-[ru]|"
    r"mac-?(roman|cyrillic)|utf-16[bl]e",
    re.IGNORECASE,
)
_DECLARED = re.compile(rb"""<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")

Found = tuple[tuple[Element, ...], Element]
"""An element that has ended, after those that it stands in, outermost first."""


def walk(name: str, chunks: Iterable[bytes], limits: Limits, *, wanted: frozenset[str]) -> Iterator[Found]:
    """The elements of the second and third level with these tags, and the root, as each ends.

    Raises DamagedError, and SourceError where there are more than the limits allow.
    """
    tree = None
    for data, encoding in _utf8(chunks):
        tree = tree or _Tree(name, encoding, limits, wanted)
        yield from tree.feed(data)
    if tree is None:
        raise DamagedError("it holds no XML")
    yield from tree.feed(b"", last=True)


class _Tree:
    """The elements that are open, and those that have ended since they were last handed out."""

    def __init__(self, name: str, encoding: str | None, limits: Limits, wanted: frozenset[str]) -> None:
        self._name, self._limits, self._wanted = name, limits, wanted
        self._most = limits.max_bytes // ELEMENT_BYTES
        self._builder, self._count = TreeBuilder(), 0
        self._open: list[Element] = []
        self._ended: list[Found] = []
        self._parser = expat.ParserCreate(encoding)
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._builder.data
        self._parser.EntityDeclHandler = _refuse_entities

    def feed(self, data: bytes, *, last: bool = False) -> Iterator[Found]:
        """What ends within these bytes."""
        try:
            self._parser.Parse(data, last)
        except expat.ExpatError as error:
            raise DamagedError(f"it may be truncated, export it again ({error})") from error
        for path, element in self._ended:
            yield path, element
            element.clear()
        self._ended.clear()

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if len(self._open) == DEEPEST:
            raise DamagedError(f"its elements are nested more than {DEEPEST} deep")
        self._count += 1
        if self._count > self._most:
            self._limits.check_bytes(self._name, self._count * ELEMENT_BYTES)
        self._open.append(self._builder.start(tag, attributes))

    def _end(self, tag: str) -> None:
        self._builder.end(tag)
        element = self._open.pop()
        if not self._open or (len(self._open) <= 2 and tag in self._wanted):
            self._ended.append((tuple(self._open), element))


def _utf8(chunks: Iterable[bytes]) -> Iterator[tuple[bytes, str | None]]:
    """The chunks with the encoding that expat is to take for them: its own choice, or UTF-8 made of another one."""
    decoder = None
    for number, chunk in enumerate(chunks):
        if number == 0 and (found := _DECLARED.match(chunk.removeprefix(codecs.BOM_UTF8))):
            declared = found[1].decode()
            if declared.lower() not in _NATIVE:
                decoder = _decoder(declared)
        if decoder is None:
            yield chunk, None
        else:
            try:
                yield decoder.decode(chunk).encode(), "utf-8"
            except UnicodeDecodeError as error:
                raise DamagedError(f"it is not in the encoding that it names ({error})") from error


def _decoder(declared: str) -> codecs.IncrementalDecoder:
    if not _KNOWN.fullmatch(declared):
        raise DamagedError(f"it is in an unknown encoding, {declared}: export it as UTF-8")
    try:
        return codecs.getincrementaldecoder(declared)()
    except LookupError as error:
        raise DamagedError(f"it is in an unknown encoding, {declared}: export it as UTF-8") from error


def _refuse_entities(*declared: object) -> None:
    raise DamagedError("it declares entities, which music has none of: export it again")
