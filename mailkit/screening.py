"""A quick look at the octets of a message: what is certainly in none of its texts.

Taking a message apart and decoding its texts costs ten times as much as looking through its octets.
Most messages in which something is searched do not contain it, and most of them show that as they
stand: as text, as quoted-printable, in UTF-8. Where that is not certain the answer is "perhaps", and
the message is taken apart (:mod:`mailkit.matching`). Nothing is ever missed.
"""

from __future__ import annotations

import binascii
import re
import unicodedata
from functools import lru_cache

from mailkit.mime import Octets, decode_text, unfold

# Transfer encodings that are understood here; a message with others is taken apart.
_ENCODING = re.compile(rb"content-transfer-encoding\s*:\s*([a-z0-9-]+)[ \t]*\r?\n")
_PLAIN = frozenset((b"7bit", b"8bit", b"binary"))
# Charsets in which ASCII is what it is. The 3d is what quoted-printable makes of HTML's.
_CHARSET = re.compile(
    rb'charset=(?:3d)?"?(?:(us-ascii|utf-8)|(?:iso-8859-[0-9]{1,2}|windows-125[0-9]))["\s;>]'
)
_BLANKS_AT_END = re.compile(rb"=[ \t]+(?:\r?\n|\Z)")
_BLANK_LINE = re.compile(rb"\n\r?\n")
_CONTENT_TYPE = re.compile(rb"content-type\s*:\s*(?:application|audio|font|image|model|video)/")
# The end of a header field, or of a line of a body that is none.
_END_OF_FIELD = re.compile(rb"\n(?![ \t])")
_ASCII = bytes(range(128))
# Octets of a field up to which its folded text is remembered.
_MAX_REMEMBERED = 256


@lru_cache(maxsize=4096)
def _fold(character: str) -> str:
    """One character as :func:`mailkit.folding.fold` folds it."""
    return unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())


@lru_cache(maxsize=4096)
def _hidden_ascii(character: str) -> bytes:
    """The ASCII in what a character folds to; nothing if that is a letter with marks behind it."""
    folded = _fold(character)
    letters = [place for place, each in enumerate(folded) if each.isascii() and not each.isspace()]
    if letters == [0] and len(folded) > 1:
        return b""
    return "".join([folded[place] for place in letters]).encode("ascii")


def _fold_field(field: bytes) -> bytes:
    return "".join(map(_fold, decode_text(unfold(field)))).encode("utf-8", "replace")


@lru_cache(maxsize=2048)
def _remembered_field(field: bytes) -> bytes:
    return _fold_field(field)


class Screen:
    """The octets of one message.

    :param texts: they, in lower case, in all forms in which their texts may stand.
    """

    __slots__ = ("_ascii", "_hidden", "_looked", "_octets", "_texts", "_words")

    def __init__(self, octets: bytes, texts: list[bytes]) -> None:
        self._octets = octets
        self._texts = texts
        self._ascii = all(text.isascii() for text in texts)
        self._looked = False
        self._hidden: frozenset[int] | None = None
        #: By field name, folded; None for all fields.
        self._words: dict[bytes | None, list[bytes]] = {}

    def lacks(self, token: bytes, headers: bool, name: bytes | None = None) -> bool:
        """Whether no text of the message, folded, contains the token.

        :param token: folded, without white space and colons: they may differ from what stands there.
        :param headers: header fields are among the texts.
        :param name: only those of this lower-case name count.
        """
        if not token:
            return False
        if self._ascii:
            if any(token in text for text in self._texts):
                return False
        else:
            # The last letter may have marks behind it, and be one character with them.
            start = token[:-1]
            if not token.isascii() or any(start in text for text in self._texts):
                return False
            hidden = self._find_hidden()
            if hidden is None or not hidden.isdisjoint(token):
                return False
        return not (headers and self._in_words(token, name))

    def _find_hidden(self) -> frozenset[int] | None:
        """ASCII to which characters fold that do not look like it; None when that is not known."""
        if not self._looked:
            self._looked = True
            hidden: set[int] = set()
            try:
                for text in self._texts:
                    # Whole, as what stands between may part what is no UTF-8.
                    text.decode("utf-8")
                    for character in set(text.translate(None, _ASCII).decode("utf-8")):
                        hidden.update(_hidden_ascii(character))
            except UnicodeDecodeError:
                return None
            self._hidden = frozenset(hidden)
        return self._hidden

    def _in_words(self, token: bytes, name: bytes | None) -> bool:
        """Whether a field with encoded words (RFC 2047) may contain the token."""
        words = self._words.get(name)
        if words is None:
            words = self._words[name] = []
            for field in _fields_with_words(self._octets):
                if name is None or field.partition(b":")[0].rstrip().lower() == name:
                    # Who writes, and to whom, is the same again and again.
                    short = len(field) <= _MAX_REMEMBERED
                    words.append(_remembered_field(field) if short else _fold_field(field))
        # Marks that are typed in another order, and the like: only what is ASCII is certain.
        return any(token in text or not token.isascii() for text in words)


def screen(octets: Octets, header_alone: bool) -> Screen | None:
    """Look at a message; None when only taking it apart tells anything.

    :param header_alone: these are header fields, without a body.
    """
    if not isinstance(octets, bytes):
        return None
    lower = octets.lower()
    if header_alone:
        return Screen(octets, [lower])
    encodings = _matches(_ENCODING, b"content-transfer-encoding", lower)
    charsets = _matches(_CHARSET, b"charset", lower)
    if encodings is None or charsets is None:
        return None
    texts = [lower]
    kinds = {found[1] for found in encodings} - _PLAIN
    if b"quoted-printable" in kinds:
        kinds.remove(b"quoted-printable")
        if _BLANKS_AT_END.search(lower):
            # Added on the way, they hide that the line goes on.
            return None
        texts.append(binascii.a2b_qp(octets).lower())
    if b"base64" in kinds:
        kinds.remove(b"base64")
        if not all(_is_no_text(lower, found) for found in encodings if found[1] == b"base64"):
            return None
    if kinds:
        return None
    if not all(found[1] for found in charsets) and not all(text.isascii() for text in texts):
        # Some are neither ASCII nor UTF-8.
        return None
    return Screen(octets, texts)


def _matches(pattern: re.Pattern[bytes], word: bytes, lower: bytes) -> list[re.Match[bytes]] | None:
    """The places where a word stands; None if at one of them the pattern does not match.

    Searching for the pattern would take ten times as long.
    """
    found = []
    place = lower.find(word)
    while place >= 0:
        match = pattern.match(lower, place)
        if match is None:
            return None
        found.append(match)
        place = lower.find(word, match.end())
    return found


def _is_no_text(lower: bytes, encoding: re.Match[bytes]) -> bool:
    """Whether a part in base64 is of a type that is not searched."""
    # The header around the field, from a delimiter or an empty line on.
    begin = max(
        lower.rfind(before, 0, encoding.start()) for before in (b"\n--", b"\n\n", b"\n\r\n")
    )
    end = _BLANK_LINE.search(lower, encoding.end() - 2)
    block = lower[max(begin, 0) : end.end() if end else len(lower)]
    # A bare CR may be the end of a line, too.
    return (
        block.count(b"content-type") == 1
        and _CONTENT_TYPE.search(block) is not None
        and block.count(b"\r") == block.count(b"\r\n")
    )


def _fields_with_words(octets: bytes) -> list[bytes]:
    """Header fields, and lines of bodies, that may have encoded words (RFC 2047) in them."""
    fields = []
    place = octets.find(b"=?")
    while place >= 0:
        # Back over the lines of which it is a continuation.
        begin = octets.rfind(b"\n", 0, place) + 1
        while begin and octets[begin : begin + 1] in (b" ", b"\t"):
            begin = octets.rfind(b"\n", 0, begin - 1) + 1
        end = _END_OF_FIELD.search(octets, place)
        stop = end.start() if end else len(octets)
        fields.append(octets[begin:stop])
        place = octets.find(b"=?", stop)
    return fields
