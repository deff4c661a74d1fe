"""Text out of octets: charsets, encoded words (RFC 2047) and parameter values (RFC 2231)."""

from __future__ import annotations

import binascii
import codecs
import re
import sys
from encodings.aliases import aliases
from functools import lru_cache
from typing import cast
from urllib.parse import unquote_to_bytes

from mailkit.mime.lexical import Parameters

#: Base64 texts, each with its own padding, that may follow each other in one body.
MAX_BASE64_PIECES = 1000
#: Octets that are decoded in one go: what does not fit the charset takes a while, and all other
#: threads wait meanwhile.
DECODE_PIECE = 64 * 1024

# Codecs that are no charset of mail, take quadratic time, or differ from machine to machine.
_NO_CHARSET = frozenset(
    {"idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape", "mbcs", "oem"}
    | {"base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec"}
    | {"zlib_codec"}
)
# Only names that Python knows are ever looked up: it remembers each unknown one for good.
_CODECS = {
    name: codec
    for name, codec in (
        *((codec, codec) for codec in aliases.values()),
        *((codec, codec) for codec in ("cp737", "cp856", "cp874", "koi8_t", "koi8_u", "utf_8_sig")),
        *aliases.items(),
    )
    if codec not in _NO_CHARSET
}
# What mail calls by one name and writes in a superset of it, and names that Python lacks.
_CODECS.update(
    {
        "gb2312": "gb18030",
        "gb_2312_80": "gb18030",
        "gbk": "gb18030",
        "x_gbk": "gb18030",
        "shift_jis": "cp932",
        "x_sjis": "cp932",
        "sjis": "cp932",
        "euc_kr": "cp949",
        "ks_c_5601_1987": "cp949",
        "ksc5601": "cp949",
        "windows_874": "cp874",
        "windows_31j": "cp932",
        "iso_8859_8_i": "iso8859_8",
        "iso_8859_8_e": "iso8859_8",
        "iso_8859_6_i": "iso8859_6",
        "x_mac_roman": "mac_roman",
        "utf8mb4": "utf_8",
        "unicode_1_1_utf_7": "utf_7",
    }
)

_CHARSET_JUNK = re.compile(r"[^a-z0-9]+")
_SURROGATE = re.compile("[\ud800-\udfff]")
# Octets of an encoded word up to which its text is remembered.
_MAX_REMEMBERED = 256
# RFC 2047 section 2; lenient: blanks in the text, no white space around the word, any length.
_ENCODED_WORD = re.compile(rb"=\?([^?\s]{1,64})\?([BbQq])\?([^?]*)\?=")
#: RFC 2045 section 6.8, table 1.
BASE64_ALPHABET = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
_NOT_BASE64 = bytes(set(range(256)) - BASE64_ALPHABET)
# What the decoders of charsets with several octets a character have in common.
_MULTIBYTE: type = codecs.getincrementaldecoder("gb18030").__mro__[1]  # type: ignore[attr-defined]
_BYTE_ORDER_MARKS = {
    "utf_16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
    "utf_32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE),
}


def codec_name(charset: str | bytes | None) -> str | None:
    """Name of the Python codec of a MIME charset, or None when there is none that is safe."""
    if charset is None:
        return None
    return _find_codec(charset[:80])


@lru_cache(maxsize=256)
def _find_codec(charset: str | bytes) -> str | None:
    if isinstance(charset, bytes):
        charset = charset.decode("latin-1")
    return _CODECS.get(_CHARSET_JUNK.sub("_", charset.lower()).strip("_"))


def decode_raw(data: bytes) -> str:
    """Text whose charset nobody names: UTF-8 (RFC 6532) if it is that, else Latin-1."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def decode_charset(data: bytes, charset: str | bytes | None) -> str:
    """Decode by a MIME charset name; never raises.

    What cannot be decoded becomes U+FFFD. lenient: octets in an unknown charset, or 8-bit ones
    in US-ASCII, are read as :func:`decode_raw` does.
    """
    codec = codec_name(charset)
    if codec is None or codec == "ascii":
        return decode_raw(data)
    try:
        text = _decode_in_pieces(data, codec)
    except (LookupError, ValueError):
        return decode_raw(data)
    if codec != "utf_8" and _SURROGATE.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _decode_in_pieces(data: bytes, codec: str) -> str:
    """As ``data.decode(codec, "replace")``."""
    if len(data) <= DECODE_PIECE:
        return data.decode(codec, "replace")
    make = codecs.getincrementaldecoder(codec)
    # Those for several octets a character are fast anyway, and cannot stop everywhere.
    if issubclass(cast(type, make), _MULTIBYTE):
        return data.decode(codec, "replace")
    marks = _BYTE_ORDER_MARKS.get(codec)
    if marks and not data.startswith(marks):
        make = codecs.getincrementaldecoder(codec + ("_le" if sys.byteorder == "little" else "_be"))
    decoder = make("replace")
    pieces = [
        decoder.decode(data[start : start + DECODE_PIECE])
        for start in range(0, len(data), DECODE_PIECE)
    ]
    pieces.append(decoder.decode(b"", True))
    return "".join(pieces)


def decode_base64(data: bytes) -> bytes:
    """Decode base64, skipping whatever else is in it; never raises.

    lenient: padding may lack, and pieces that were encoded one by one may follow each other.
    """
    padding = data.find(b"=")
    if padding < 0 or not data[padding : padding + 4096].translate(None, _NOT_BASE64):
        try:
            return binascii.a2b_base64(data)
        except binascii.Error:
            # Piece by piece, then.
            pass
    pieces = data.split(b"=", MAX_BASE64_PIECES)
    return b"".join(decode_base64_piece(piece) for piece in pieces if piece)


def decode_base64_piece(piece: bytes) -> bytes:
    """Decode base64 without padding."""
    piece = piece.translate(None, _NOT_BASE64)
    spare = len(piece) % 4
    if spare == 1:
        piece = piece[:-1]  # Six bits alone make no octet.
    elif spare:
        piece += b"=" * (4 - spare)
    return binascii.a2b_base64(piece)


def decode_text(value: bytes) -> str:
    """Decode an (unfolded) unstructured value or a phrase, encoded words included; never raises."""
    if b"=?" not in value:
        return decode_raw(value)
    first = _ENCODED_WORD.search(value)
    if first is None:
        return decode_raw(value)
    if value.find(b"=?", first.end()) < 0:
        start, end = first.span()
        return decode_raw(value[:start]) + _decode_word(value[start:end]) + decode_raw(value[end:])
    pieces: list[str] = []
    charset = b""
    pending = b""
    end = 0
    for word in _ENCODED_WORD.finditer(value):
        gap = value[end : word.start()]
        name, octets = _read_word(word)
        # RFC 2047 section 6.2: white space between adjacent encoded words is not displayed.
        adjacent = end and not gap.strip()
        # lenient: a character may be split between two words of one charset.
        if adjacent and name == charset:
            pending += octets
        else:
            pieces.append(decode_charset(pending, charset))
            if not adjacent:
                pieces.append(decode_raw(gap))
            charset, pending = name, octets
        end = word.end()
    pieces.append(decode_charset(pending, charset))
    pieces.append(decode_raw(value[end:]))
    return "".join(pieces)


def _read_word(word: re.Match[bytes]) -> tuple[bytes, bytes]:
    """Charset and octets of an encoded word."""
    # RFC 2231 section 5: a language may follow the charset.
    name = word[1].partition(b"*")[0].lower()
    if word[2] in b"Qq":
        return name, binascii.a2b_qp(word[3], header=True)
    return name, decode_base64(word[3])


def _decode_word(word: bytes) -> str:
    """The text of one encoded word."""
    # Names of people, mostly: the same again and again.
    return _remembered_word(word) if len(word) <= _MAX_REMEMBERED else _decode_new_word(word)


def _decode_new_word(word: bytes) -> str:
    found = _ENCODED_WORD.fullmatch(word)
    assert found is not None
    name, octets = _read_word(found)
    return decode_charset(octets, name)


_remembered_word = lru_cache(maxsize=2048)(_decode_new_word)


def parameter_text(parameters: Parameters, name: bytes) -> str | None:
    """The decoded value of a parameter, or None.

    RFC 2231's form ``name*`` goes before the plain one. lenient: encoded words, which RFC 2047
    section 5 forbids here, are decoded too because many senders write them.
    """
    name = name.lower()
    extended = name + b"*"
    plain = None
    for known, value in parameters:
        known = known.lower()
        if known == extended:
            charset, quote, rest = value.partition(b"'")
            _, quote, text = rest.partition(b"'")
            if not quote:
                charset, text = b"", value
            return decode_charset(unquote_to_bytes(text), charset)
        if known == name and plain is None:
            plain = value
    return None if plain is None else decode_text(plain)
