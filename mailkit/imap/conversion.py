"""CONVERT: what is to become of parts of messages, and texts in another charset (RFC 5259).

No I/O, and no other conversion than that of charsets.
"""

from __future__ import annotations

import base64
import codecs
import quopri
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from mailkit.imap.fetch import Section, parse_section
from mailkit.imap.grammar import Arguments, SyntaxFault
from mailkit.mime import imap_string
from mailkit.mime.words import codec_name, decode_base64
from mailkit.wire.chars import ALPHA, DIGIT

#: Items of one CONVERT.
MAX_ITEMS = 20
#: Conversion parameters.
MAX_PARAMETERS = 20
#: Octets of what stands for a character that the charset lacks.
MAX_REPLACEMENT = 16
#: Octets of a header whose encoded words are converted.
MAX_HEADER = 64 * 1024
#: Characters that are converted in one go: a replacement costs as much time as what follows it.
PIECE = 1024
#: RFC 2047 section 2: characters of an encoded word.
MAX_WORD = 75

#: RFC 5259 section 7.1: media types whose charset can be converted, into themselves.
TYPES = frozenset(f"text/{kind}" for kind in ("plain", "html", "css", "csv", "enriched", "xml"))
CHARSET, REPLACEMENT = "charset", "unknown-character-replacement"
#: What text is converted to where nobody says it.
DEFAULT_CHARSET = b"utf-8"

_NAME = rb"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
_is_type = re.compile(rb"%b/%b" % (_NAME, _NAME)).fullmatch
_is_pattern = re.compile(rb"\*|%b/(?:\*|%b)" % (_NAME, _NAME)).fullmatch
_is_charset = re.compile(rb"[A-Za-z0-9._:+-]{1,64}").fullmatch
_ITEM = re.compile(rb"[A-Za-z.]+")
_PLAIN = ALPHA | DIGIT | frozenset(b"!*+-/")
_WORD = re.compile(rb"=\?([^?*\s]{1,64})(?:\*[^?\s]*)?\?([bBqQ])\?([^?\s]*)\?=")


class Request(NamedTuple):
    """What parts are to be converted to."""

    #: Media type in lower case; None for the server's choice.
    target: str | None
    #: Conversion parameters by name in lower case.
    parameters: Mapping[str, bytes]


class Item(NamedTuple):
    """What is to be told of a converted part."""

    #: BINARY, BINARY.SIZE, BODYPARTSTRUCTURE, AVAILABLECONVERSIONS, BODY or UID.
    kind: bytes
    #: What the response calls it.
    name: bytes
    section: Section = Section()


UID = Item(b"UID", b"UID")


class ConversionError(Exception):
    """A part cannot be converted.

    :param text: the reason, for a person.
    :param bad: names of the parameters that are wrong.
    """

    def __init__(self, text: str, bad: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.text = text
        self.bad = bad


# Reading a request (section 10).


def parse_request(arguments: Arguments) -> Request:
    """``("text/plain" ("charset" "utf-8"))``"""
    arguments.expect(b"(")
    target = arguments.nstring()
    if target is not None and not _is_type(target):
        raise SyntaxFault("A media type is named as in: text/plain")
    parameters: dict[str, bytes] = {}
    if arguments.accept(b" "):
        pairs = arguments.parenthesized(lambda: arguments.astring("A conversion parameter"))
        if len(pairs) % 2 or len(pairs) > 2 * MAX_PARAMETERS:
            raise SyntaxFault(f"CONVERT takes at most {MAX_PARAMETERS} parameters with values")
        for name, value in zip(pairs[::2], pairs[1::2], strict=True):
            parameters[arguments.text(name, "A conversion parameter").lower()] = value
    arguments.expect(b")")
    return Request(None if target is None else target.decode("ascii").lower(), parameters)


def parse_items(arguments: Arguments) -> list[Item]:
    """One item or several in parentheses, without repetitions."""
    if arguments.looking_at(b"("):
        items = arguments.parenthesized(lambda: _parse_item(arguments))
    else:
        items = [_parse_item(arguments)]
    # RFC 5259 section 8.1: the UID is told first.
    return sorted(dict.fromkeys(items), key=lambda item: item.kind != b"UID")


def _parse_item(arguments: Arguments) -> Item:
    match = _ITEM.match(arguments.data, arguments.position)
    kind = match.group().upper() if match else b""
    if match is not None:
        arguments.position = match.end()
    if kind == b"UID":
        return Item(kind, kind)
    if kind not in (b"BINARY", b"BINARY.SIZE", b"BODYPARTSTRUCTURE", b"AVAILABLECONVERSIONS",
                    b"BODY"):  # fmt: skip
        raise SyntaxFault("That is not an item that can be converted")
    arguments.expect(b"[")
    section = parse_section(arguments)
    wants_header = kind == b"BODY"
    if section.fields or (section.kind in (b"HEADER", b"MIME")) != wants_header:
        raise SyntaxFault("BODY takes a header, and all other items a part")
    if section.kind == b"TEXT" or (section.partial is not None and kind != b"BINARY"):
        raise SyntaxFault("That is not a section that can be converted")
    numbers = b".".join([*(b"%d" % part for part in section.parts), *filter(None, [section.kind])])
    first = b"<%d>" % section.partial[0] if section.partial else b""
    return Item(kind, b"%b[%b]%b" % (kind, numbers, first), section)


def parse_pattern(arguments: Arguments) -> re.Pattern[str]:
    """``*``, ``text/*`` or ``text/plain``, as something that media types match."""
    octets = arguments.astring("A media type")
    if not _is_pattern(octets):
        raise SyntaxFault("A media type is named as in: text/plain, text/* or *")
    parts = map(re.escape, octets.decode("ascii").lower().split("*"))
    return re.compile(".*".join(parts))


# Errors (section 9).


def render_error(
    error: ConversionError, text: bytes, source: str | None, target: str, request: Request
) -> bytes:
    """The phrase that stands in the place of what was asked for.

    :param text: the reason, in the client's language.
    :param source: media type of the part; None where there is none.
    """
    pairs = [
        b"%b %b" % (imap_string(name.encode("utf-8")), imap_string(request.parameters[name]))
        for name in error.bad
    ]
    return b"(ERROR %b BADPARAMETERS %b %b%b)" % (
        imap_string(text),
        b"NIL" if source is None else b'"%b"' % source.encode("ascii", "replace"),
        b'"%b"' % target.encode("ascii"),
        b" (%b)" % b" ".join(pairs) if pairs else b"",
    )


# Converting.


def check(request: Request, source: str) -> str:
    """The media type that a part will have.

    :param source: the one that it has.
    :raises ConversionError: there is no such conversion, or not with these parameters.
    """
    target = request.target or source
    if source not in TYPES or target != source:
        raise ConversionError("There is no conversion between these types here")
    _check_parameters(request)
    return target


def _check_parameters(request: Request) -> None:
    unknown = [name for name in request.parameters if name not in (CHARSET, REPLACEMENT)]
    if unknown:
        raise ConversionError("Some of the parameters are not known here", unknown)


def target_codec(request: Request) -> str:
    """Name of Python's codec for the charset that is wanted.

    :raises ConversionError: there is none, or the replacement is too long or not in it.
    """
    wanted = request.parameters.get(CHARSET, DEFAULT_CHARSET)
    codec = codec_name(wanted) if _is_charset(wanted) else None
    if codec is None:
        raise ConversionError("The charset is not known here", [CHARSET])
    replacement = request.parameters.get(REPLACEMENT, b"")
    if len(replacement) > MAX_REPLACEMENT:
        raise ConversionError("The replacement of unknown characters is too long", [REPLACEMENT])
    try:
        replacement.decode("utf-8").encode(codec)
    except UnicodeError:
        raise ConversionError("The replacement is not in the charset", [REPLACEMENT]) from None
    return codec


def convert(
    octets: Iterable[bytes], charset: str | bytes | None, request: Request
) -> Iterator[bytes]:
    """A text in another charset, some at a time.

    :param octets: the text without its transfer encoding.
    :param charset: its charset; None where none is named.
    :raises ConversionError: it cannot be done.
    """
    target = target_codec(request)
    # RFC 2045 section 5.2
    source = codec_name(charset or "us-ascii")
    if source is None:
        raise ConversionError("The charset of the part is not known here")
    replacement = request.parameters.get(REPLACEMENT)
    spare = None if replacement is None else replacement.decode("utf-8")
    decoder = codecs.getincrementaldecoder(source)("strict" if spare is None else "replace")
    encoder = codecs.getincrementalencoder(target)()
    try:
        for piece in octets:
            yield _encode(decoder.decode(piece), encoder, spare)
        yield _encode(decoder.decode(b"", True), encoder, spare) + encoder.encode("", True)
    except UnicodeDecodeError:
        raise ConversionError("The part is not in the charset that it names") from None


def _encode(text: str, encoder: codecs.IncrementalEncoder, spare: str | None) -> bytes:
    parts = []
    for start in range(0, len(text), PIECE):
        rest = text[start : start + PIECE]
        while rest:
            state = encoder.getstate()
            try:
                parts.append(encoder.encode(rest))
                break
            except UnicodeEncodeError as error:
                encoder.setstate(state)
                if spare is None:
                    raise ConversionError(
                        "Some of the characters are not in that charset", [CHARSET]
                    ) from None
                parts.append(
                    encoder.encode(rest[: error.start] + spare * (error.end - error.start))
                )
                rest = rest[error.end :]
    return b"".join(parts)


def convert_header(octets: bytes, request: Request) -> bytes:
    """The fields of a header with their encoded words in another charset (section 6).

    :raises ConversionError: it cannot be done.
    """
    _check_parameters(request)
    codec = target_codec(request)
    if len(octets) > MAX_HEADER:
        raise ConversionError("The header is too large to be converted")
    return _WORD.sub(lambda word: _convert_word(word, request, codec), octets)


def _convert_word(word: re.Match[bytes], request: Request, codec: str) -> bytes:
    charset, encoding, text = word.groups()
    octets = decode_base64(text) if encoding in b"bB" else quopri.decodestring(text, header=True)
    try:
        converted = b"".join(convert([octets], charset, request))
    except ConversionError as error:
        if error.bad:
            raise
        # RFC 5259 section 6: what is not understood stays as it is.
        return word.group()
    wanted = request.parameters.get(CHARSET, DEFAULT_CHARSET)
    encode = _base64 if encoding in b"bB" else _q_encoding
    begin = b"=?%b?%b?" % (wanted, encoding.upper())
    return b"\r\n ".join(
        begin + each + b"?="
        for each in _split(converted.decode(codec), codec, encode, MAX_WORD - len(begin) - 2)
    )


def _split(text: str, codec: str, encode: Callable[[bytes], bytes], room: int) -> Iterator[bytes]:
    """Encoded texts that are short enough each (RFC 2047 section 2), of whole characters."""
    start = 0
    while start < len(text):
        end = start + 1
        while end < len(text) and len(encode(text[start : end + 1].encode(codec))) <= room:
            end += 1
        yield encode(text[start:end].encode(codec))
        start = end


def _base64(octets: bytes) -> bytes:
    return base64.b64encode(octets)


def _q_encoding(octets: bytes) -> bytes:
    # RFC 2047 section 5, rule (3): what may stand in a phrase too.
    return b"".join(bytes((octet,)) if octet in _PLAIN else b"=%02X" % octet for octet in octets)
