"""A quick look at the octets of a message: what is certainly in none of its texts.

Taking a message apart and decoding its texts costs ten times as much as looking through its octets.
Most messages in which something is searched do not contain it, and most of them show that as they
stand: as text, as quoted-printable, in UTF-8. Where that is not certain the answer is "perhaps", and
the message is taken apart (:mod:`mailkit.matching`). Nothing is ever missed.
"""

from __future__ import annotations

import binascii
import re
import sys
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate

from mailkit.folding import fold
from mailkit.mime import Octets, decode_text, unfold

# How the fields that tell about a text begin: one search finds both.
_CONTENT_T = b"\ncontent-t"
# Transfer encodings that are understood here; a message with others is taken apart.
_ENCODING = re.compile(rb"content-transfer-encoding\s*:\s*([a-z0-9-]+)[ \t]*\r?\Z")
# What a field says: that only taking the message apart tells, that a text is in this encoding, or
# in a charset that is neither ASCII nor UTF-8, and that there may be parts.
_NOTHING, _QUOTED, _BASE64, _NOT_UTF8, _PARTS = 1, 2, 4, 8, 16
_ENCODINGS = {
    b"7bit": 0,
    b"8bit": 0,
    b"binary": 0,
    b"quoted-printable": _QUOTED,
    b"base64": _BASE64,
}
# Charsets in which ASCII is what it is.
_CHARSET = re.compile(
    rb'charset="?(?:(us-ascii|utf-8)|(?:iso-8859-[0-9]{1,2}|windows-125[0-9]))(?:["\s;]|\Z)'
)
_BLANKS_AT_END = re.compile(rb"=[ \t]+(?:\r?\n|\Z)")
_BLANK_LINE = re.compile(rb"\n\r?\n")
# Types without parts.
_SINGLE = re.compile(rb"content-type\s*:\s*(?:application|audio|font|image|model|text|video)/")
_CONTENT_TYPE = re.compile(rb"content-type\s*:\s*(?:application|audio|font|image|model|video)/")
_ASCII = bytes(range(128))
_BLANK = (b" ", b"\t")
# Encoded words without anything between them, and white space behind the last one.
_RUN = re.compile(
    rb"=\?[^?\s]{1,64}\?[BbQq]\?[^?\n]*\?="
    rb"(?:\s+=\?[^?\s]{1,64}\?[BbQq]\?[^?\n]*\?=)*(?=\s|\Z)"
)
# What may stand before them.
_AROUND = (b" ", b"\t", b"\n", b":")
_EQUALS = 0x3D
# What an equals sign begins that may hide something: encoded words with nothing but white space
# between and around them, octets in quoted-printable, and a line that goes on; or else a broken word.
_ESCAPE = re.compile(
    rb"=(?:(?<=[ \t\n:]=)\?[^?\s]{1,64}\?[BbQq]\?[^?\n]*\?="
    rb"(?:\s+=\?[^?\s]{1,64}\?[BbQq]\?[^?\n]*\?=)*(?=\s|\Z)"
    rb"|[0-9A-Fa-f]{2}(?:=[0-9A-Fa-f]{2})*|[ \t]*\r?(?:\n|\Z)|\r|\?)"
)
_SOFT_LINE_ENDS = (b"=\r\n", b"=\n")
_SIGNS = re.compile(rb"[=?]")
_HEXADECIMAL = frozenset(b"%c" % octet for octet in b"0123456789ABCDEFabcdef")
# The fields that tell about a text.
_CONTENT_FIELD = re.compile(rb"\ncontent-t[^\n]*(?:\n[ \t][^\n]*)*")
# Escapes that a sieve remembers.
_MAX_JUDGED = 4096
# What stands in texts, and in names, least often; how many of them are looked at one by one.
_RARE = re.compile(rb"[jqxz@#$%&*+/\\^`{|}~]")
_MAX_RARE = 8
# Question marks that are looked at one by one.
_MAX_QUESTIONS = 32
# Octets of a field, or of a part's header, beyond which the message is taken apart.
_MAX_FIELD = 4096
# Octets of a field up to which its folded text is remembered.
_MAX_REMEMBERED = 256


@lru_cache(maxsize=4096)
def _fold(character: str) -> str:
    """One character as :func:`mailkit.folding.fold` folds it, remembered."""
    return fold(character)


@lru_cache(maxsize=4096)
def _hidden_ascii(character: str) -> bytes:
    """The ASCII in what a character folds to; nothing if that is a letter with marks behind it."""
    folded = _fold(character)
    letters = [place for place, each in enumerate(folded) if each.isascii() and not each.isspace()]
    if letters == [0] and len(folded) > 1:
        return b""
    return "".join([folded[place] for place in letters]).encode("ascii")


def _stands_in(token: bytes, text: bytes) -> bool:
    """Whether lower-case octets contain others."""
    start = 0
    if (rare := _RARE.search(token)) is not None:
        # One octet is found ten times as fast as several, where it is rare in fact.
        before, octet = rare.span()[0], rare[0]
        for _ in range(_MAX_RARE):
            start = text.find(octet, start)
            if start < 0:
                return False
            if text.startswith(token, start - before) and start >= before:
                return True
            start += 1
        start = max(start - before, 0)
    return text.find(token, start) >= 0


def _fold_word(octets: bytes) -> bytes:
    """The folded text of a field, or of some words in it."""
    # Who writes, and to whom, is the same again and again.
    short = len(octets) <= _MAX_REMEMBERED
    return _remembered_field(octets) if short else _fold_field(octets)


def _fold_field(field: bytes) -> bytes:
    return "".join(map(_fold, decode_text(unfold(field)))).encode("utf-8", "replace")


@lru_cache(maxsize=2048)
def _remembered_field(field: bytes) -> bytes:
    return _fold_field(field)


@lru_cache(maxsize=2048)
def _hidden_in(octets: bytes) -> frozenset[int]:
    """The ASCII in what characters fold to, in UTF-8 without the ASCII beside them."""
    return frozenset(b"".join(map(_hidden_ascii, set(octets.decode("utf-8")))))


class Screen:
    """The octets of one message.

    :param texts: they, in lower case, in all forms in which their texts may stand.
    :param words_to: where the last header may end.
    """

    __slots__ = ("_hidden", "_looked", "_octets", "_texts", "_words", "_words_to")

    def __init__(self, octets: bytes, texts: list[bytes], words_to: int = sys.maxsize) -> None:
        self._octets = octets
        self._texts = texts
        self._words_to = words_to
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
        for text in self._texts:
            if text.isascii():
                if _stands_in(token, text):
                    return False
            # The last letter may have marks behind it, and be one character with them.
            elif not token.isascii() or _stands_in(token[:-1], text):
                return False
            else:
                hidden = self._find_hidden()
                if hidden is None or not hidden.isdisjoint(token):
                    return False
        return not (headers and self._in_words(token, name))

    def _find_hidden(self) -> frozenset[int] | None:
        """ASCII to which characters fold that do not look like it; None when that is not known."""
        if not self._looked:
            self._looked = True
            hidden: frozenset[int] = frozenset()
            try:
                for text in self._texts:
                    if text.isascii():
                        continue
                    # Whole, as what stands between may part what is no UTF-8.
                    text.decode("utf-8")
                    others = text.translate(None, _ASCII)
                    if len(others) > _MAX_REMEMBERED:
                        others = "".join(set(others.decode("utf-8"))).encode("utf-8")
                    hidden |= _hidden_in(others)
            except UnicodeDecodeError:
                return None
            self._hidden = hidden
        return self._hidden

    def _in_words(self, token: bytes, name: bytes | None) -> bool:
        """Whether a field with encoded words (RFC 2047) may contain the token."""
        words = self._words.get(name)
        if words is None:
            words = self._words[name] = list(_words(self._octets, self._words_to, name))
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
    told = _look_at_fields(lower)
    if told is None:
        return None
    quoted, only_utf8, words_to = told
    texts = [lower]
    if quoted >= 0:
        if _BLANKS_AT_END.search(lower, quoted):
            # Added on the way, they hide that the line goes on.
            return None
        texts.append(binascii.a2b_qp(memoryview(octets)[quoted:]).lower())
    if not only_utf8 and not all(text.isascii() for text in texts):
        return None
    return Screen(octets, texts, words_to)


def _look_at_fields(lower: bytes) -> tuple[int, bool, int] | None:
    """What the fields that tell about texts say, in whatever header or text they stand.

    :returns: from where on something is in quoted-printable, or -1; whether all that is not ASCII is
        UTF-8; where the last header may end. None if the message is to be taken apart.
    """
    # A message without parts has no other header than its first.
    limit = _end_of_header(lower)
    quoted, told = -1, 0
    place = 0 if lower.startswith(_CONTENT_T[1:]) else lower.find(_CONTENT_T, 0, limit) + 1 or -1
    while place >= 0:
        end = _end_of_field(lower, place)
        if end - place > _MAX_FIELD:
            return None
        says = _judge_field(lower[place:end])
        if says:
            if says & _NOTHING or (says & _BASE64 and not _is_no_text(lower, place, end)):
                return None
            if says & _QUOTED and quoted < 0:
                quoted = place
            if says & _PARTS:
                limit = len(lower)
            told |= says
        place = lower.find(_CONTENT_T, end, limit) + 1 or -1
    return quoted, not told & _NOT_UTF8, limit


def _end_of_field(octets: bytes, place: int) -> int:
    """Where the field, or line, ends that a place is in."""
    end = octets.find(b"\n", place)
    while end >= 0 and octets[end + 1 : end + 2] in _BLANK:
        end = octets.find(b"\n", end + 1)
    return len(octets) if end < 0 else end


@lru_cache(maxsize=1024)
def _judge_field(field: bytes) -> int:
    """What a field says that begins as Content-Type and Content-Transfer-Encoding do."""
    if field.startswith(b"content-transfer-encoding"):
        encoding = _ENCODING.match(field)
        return _ENCODINGS.get(encoding[1], _NOTHING) if encoding else _NOTHING
    told = 0 if _SINGLE.match(field) else _PARTS
    place = field.find(b"charset")
    while place >= 0:
        charset = _CHARSET.match(field, place)
        if charset is None:
            return _NOTHING
        if charset[1] is None:
            told |= _NOT_UTF8
        place = field.find(b"charset", charset.end())
    return told


def _end_of_header(lower: bytes) -> int:
    """Where the empty line behind the first fields is."""
    end = lower.find(b"\n\r\n")
    if end < 0:
        end = len(lower)
    other = lower.find(b"\n\n", 0, end)
    return end if other < 0 else other


def _is_no_text(lower: bytes, start: int, stop: int) -> bool:
    """Whether a part in base64 is of a type that is not searched.

    :param start: of the field that says so, and where it ends.
    """
    # The header around the field, from a delimiter or an empty line on.
    first = max(start - _MAX_FIELD, 0)
    begin = max(lower.rfind(before, first, start) for before in (b"\n--", b"\n\n", b"\n\r\n"))
    end = _BLANK_LINE.search(lower, stop, stop + _MAX_FIELD)
    if (begin < 0 and first) or (end is None and stop + _MAX_FIELD < len(lower)):
        return False
    block = lower[max(begin, 0) : end.end() if end else len(lower)]
    # A bare CR may be the end of a line, too.
    return (
        block.count(b"content-type") == 1
        and _CONTENT_TYPE.search(block) is not None
        and block.count(b"\r") == block.count(b"\r\n")
    )


def may_contain(headers: Sequence[bytes], name: bytes, token: bytes) -> set[int]:
    """Which of several headers may have a field that contains a token; of the others it is certain.

    :param name: of the field, in lower case.
    :param token: as :meth:`Screen.lacks` takes it, not empty.
    :returns: their places in the sequence.
    """
    # All in one go: a header takes no step of its own. The empty lines end their last fields.
    octets = b"\n" + b"\n\n".join(headers)
    starts = list(accumulate((len(header) + 2 for header in headers), initial=1))
    lower = octets.lower()
    found: set[int] = set()
    if not lower.isascii():
        for number, header in enumerate(headers):
            if not header.isascii() and not Screen(header, [header.lower()]).lacks(
                token, True, name
            ):
                found.add(number)
    # Perhaps of a longer name: no harm.
    sought = b"\n" + name
    place = lower.find(sought)
    while place >= 0:
        end = _end_of_field(lower, place + 1)
        field = lower[place:end]
        if token in field or (b"=?" in field and _in_words(octets[place + 1 : end], token)):
            number = bisect_right(starts, place + 1) - 1
            found.add(number)
            end = starts[number + 1] - 2
        place = lower.find(sought, end)
    return found


def _in_words(octets: bytes, token: bytes) -> bool:
    """Whether an encoded word (RFC 2047), with what is around it, may contain the token."""
    # Marks that are typed in another order, and the like: only what is ASCII is certain.
    return any(not token.isascii() or token in word for word in _words(octets, len(octets), None))


def _words(octets: bytes, limit: int, name: bytes | None) -> Iterator[bytes]:
    """The folded texts of encoded words (RFC 2047), each with what a token may share with it.

    :param limit: where to stop looking for the next one.
    :param name: only those in header fields of this lower-case name.
    """
    place, named_to = _find_word(octets, 0, limit), 0
    while place >= 0:
        if name is not None and place >= named_to:
            named_to = _end_of_field(octets, place)
            if _field_name(octets, place) != name:
                place = _find_word(octets, named_to, limit)
                continue
        if (run := _RUN.match(octets, place)) and octets[place - 1 : place] in _AROUND:
            # White space on both sides: nothing else is a part of the same token.
            end = run.end()
            yield _fold_word(run[0])
        else:
            end = _end_of_field(octets, place)
            yield _fold_word(octets[_start_of_field(octets, place) : end])
        place = _find_word(octets, end, limit)


def _field_name(octets: bytes, place: int) -> bytes:
    """The name, in lower case, of the field that a place is in."""
    start = _start_of_field(octets, place)
    return octets[start : octets.find(b":", start)].rstrip().lower()


def _start_of_field(octets: bytes, place: int) -> int:
    """Where the field, or line, begins that a place is in."""
    start = octets.rfind(b"\n", 0, place) + 1
    # Back over the lines of which it is a continuation.
    while start and octets[start : start + 1] in _BLANK:
        start = octets.rfind(b"\n", 0, start - 1) + 1
    return start


def _find_word(octets: bytes, start: int, limit: int) -> int:
    """The next place where an encoded word may begin, or -1."""
    # One octet is found ten times as fast as two, and there are few questions.
    for _ in range(_MAX_QUESTIONS):
        place = octets.find(b"?", start, limit)
        if place < 0:
            return -1
        if place and octets[place - 1] == _EQUALS:
            return place - 1
        start = place + 1
    return octets.find(b"=?", start, limit)


class Sieve:
    """Looks at several messages at once: which of them may contain something.

    What is looked for is mostly in none of them, and then one look shows it; a look at each takes three
    times as long. Where there is any doubt about a message, it is to be looked at by itself.

    :param token: as :meth:`Screen.lacks` takes it.
    :param headers: header fields are among the texts.
    """

    def __init__(self, token: bytes, headers: bool) -> None:
        self._headers = headers
        self._token = token
        # The last letter may have marks behind it, and be one character with them.
        self._short = token[:-1]
        # In quoted-printable, two equals signs may be one; encoded words end with a question mark, and
        # with what may begin a soft line end.
        self._tells = bool(self._short) and token.isascii() and not _SIGNS.search(token)
        # Whether escapes are without harm.
        self._judged: dict[bytes, bool] = {}

    def sift(self, messages: Sequence[bytes]) -> Collection[int]:
        """The places of those messages that may contain the token in a text; of the others it is certain."""
        everything = range(len(messages))
        if not self._tells:
            return everything
        octets = b"\n" + b"\n\n".join(messages)
        starts = list(accumulate((len(message) + 2 for message in messages), initial=1))
        lower = octets.lower()
        found: set[int] = set()
        place = lower.find(self._short)
        while place >= 0:
            number = bisect_right(starts, place) - 1
            found.add(number)
            place = lower.find(self._short, starts[number + 1])
        if len(found) * 2 > len(messages):
            return everything
        if not lower.isascii():
            found.update(number for number in everything if not messages[number].isascii())
        places, escapes = self._look_at_escapes(octets)
        places += _find_untold(lower, any(map(_is_high, escapes)))
        found.update(bisect_right(starts, place) - 1 for place in places)
        if not escapes.isdisjoint(_SOFT_LINE_ENDS):
            found.update(self._find_broken(messages, lower))
        return found

    def _look_at_escapes(self, octets: bytes) -> tuple[list[int], set[bytes]]:
        """Where the token may be hidden, and all escapes there are."""
        escapes = set(_ESCAPE.findall(octets))
        quoted = [escape for escape in escapes if escape[1:2] in _HEXADECIMAL]
        harmful = {escape for escape in escapes.difference(quoted) if not self._is_harmless(escape)}
        if not self._are_other_octets(quoted):
            harmful.update(escape for escape in quoted if not self._are_other_octets((escape,)))
        if not harmful:
            return [], escapes
        found = _ESCAPE.finditer(octets)
        return [match.start() for match in found if match[0] in harmful], escapes

    def _is_harmless(self, escape: bytes) -> bool:
        """Whether an escape that is not just octets hides no part of the token."""
        harmless = self._judged.get(escape)
        if harmless is None:
            harmless = self._judge(escape)
            if len(self._judged) >= _MAX_JUDGED:
                self._judged.clear()
            if len(escape) <= _MAX_REMEMBERED:
                self._judged[escape] = harmless
        return harmless

    def _judge(self, escape: bytes) -> bool:
        if not escape.startswith(b"=?"):
            # White space before the line end was added on the way; behind a bare CR octets are lost.
            return escape in _SOFT_LINE_ENDS
        if self._headers and (escape == b"=?" or self._token in _fold_word(escape)):
            return False
        # It may stand in a body as well. There is a question mark before each line end in it.
        quoted = []
        for inner in _ESCAPE.findall(escape, 2):
            if inner[1:2] in _HEXADECIMAL:
                quoted.append(inner)
            elif inner.startswith(b"=?"):
                if inner != b"=?" and not self._is_harmless(inner):
                    return False
            elif inner[-1:] not in b"=\n":
                return False
        return self._are_other_octets(quoted)

    def _are_other_octets(self, escapes: Sequence[bytes]) -> bool:
        """Whether octets in quoted-printable are UTF-8, and no part of the token."""
        try:
            text = binascii.unhexlify(b"=20".join(escapes).replace(b"=", b"")).decode("utf-8")
        except UnicodeDecodeError:
            return False
        hidden = b"".join(
            character.lower().encode() if character.isascii() else _hidden_ascii(character)
            for character in set(text)
        )
        return set(hidden).isdisjoint(self._token)

    def _find_broken(self, messages: Sequence[bytes], lower: bytes) -> Iterator[int]:
        """Messages that may have the token in a line that goes on."""
        if lower.count(self._short) < _join_lines(lower).count(self._short):
            for number, message in enumerate(messages):
                if self._short in _join_lines(message.lower()):
                    yield number


def _join_lines(octets: bytes) -> bytes:
    for line_end in _SOFT_LINE_ENDS:
        octets = octets.replace(line_end, b"")
    return octets


def _is_high(escape: bytes) -> bool:
    """Whether this may be something else than ASCII in quoted-printable."""
    if escape.startswith(b"=?"):
        return b"=" in escape[2:-2]
    return escape[1:2] in b"89abcdefABCDEF"


def _find_untold(lower: bytes, is_high: bool) -> list[int]:
    """Where a field says that only taking the message apart tells anything.

    :param is_high: something is not ASCII in quoted-printable.
    """
    found = []
    # Most are the same in all messages.
    for field in set(_CONTENT_FIELD.findall(lower)):
        says = _judge_field(field[1:]) if len(field) <= _MAX_FIELD else _NOTHING
        if not (says & _NOTHING or says & _BASE64 or (says & _NOT_UTF8 and is_high)):
            continue
        place = lower.find(field)
        while place >= 0:
            end = place + len(field)
            if says & (_NOTHING | _NOT_UTF8) or not _is_no_text(lower, place + 1, end):
                found.append(place + 1)
            place = lower.find(field, end)
    return found
