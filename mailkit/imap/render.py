"""Responses as octets (RFC 3501 section 7). No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import compress, islice
from operator import sub

from mailkit.imap.grammar import STAR, SequenceSet
from mailkit.mime.dates import format_imap_datetime
from mailkit.mime.nstring import imap_string
from mailkit.model import SYSTEM_FLAGS, Flags
from mailkit.rights import ALL_RIGHTS, Rights, right_for
from mailkit.wire import utf7
from mailkit.wire.chars import ASTRING_CHAR, ATOM_CHAR, octet_class

#: Keywords that are told in FLAGS before anybody has used them: what mail clients agree on.
COMMON_KEYWORDS = (
    "$Forwarded",
    "$MDNSent",
    "$Junk",
    "$NotJunk",
    "$Phishing",
    "$Important",
    "Junk",
    "NonJunk",
)

#: Extensions with which a client takes names of mailboxes in UTF-8.
UTF8_NAMES = frozenset((b"IMAP4rev2", b"UTF8=ACCEPT"))

_SYSTEM_ORDER = {flag: number for number, flag in enumerate(SYSTEM_FLAGS)}
_DAY = 86400
# Made once: to format numbers takes much longer than to look up what they look like.
_MINUTES = tuple(b" %02d:%02d:" % divmod(minute, 60) for minute in range(1440))
_SECONDS = tuple(b"%02d +0000" % second for second in range(60))


# RFC 3501 section 9: flag-keyword and flag-extension. A backend may know others, which would end the
# flag, the response code or the response.
is_attribute = re.compile(rf"\\?[{octet_class(ATOM_CHAR).decode('ascii')}]+").fullmatch


def _told(flags: Iterable[str]) -> bytes:
    """Flags with a space between; those that have no name here are left out."""
    return " ".join(filter(is_attribute, flags)).encode("ascii")


@lru_cache(maxsize=4096)
def render_flags(flags: Flags) -> bytes:
    """``\\Answered \\Seen $Forwarded``: system flags first, without parentheses."""
    return _told(sort_flags(flags))


@lru_cache(maxsize=1024)
def render_recent_flags(flags: Flags) -> bytes:
    """The same for a message that is \\Recent in this session."""
    told = render_flags(flags)
    return b"\\Recent " + told if told else b"\\Recent"


def sort_flags(flags: Iterable[str]) -> list[str]:
    """System flags in the standard's order, then keywords by name."""
    return sorted(flags, key=lambda flag: (_SYSTEM_ORDER.get(flag, len(_SYSTEM_ORDER)), flag))


@lru_cache(maxsize=1024)
def _render_day(day: int) -> bytes:
    return format_imap_datetime(day * _DAY)[:11]


class _Days(dict[int, bytes]):
    """Those that have been asked for; a call for each date takes longer."""

    def __missing__(self, day: int) -> bytes:
        rendered = self[day] = _render_day(day)
        return rendered


@lru_cache(maxsize=8192)
def render_internal_date(epoch: int) -> bytes:
    """INTERNALDATE without its quotes, in UTC.

    RFC 3501 section 9: the day is two characters, ``" 1"`` or ``"01"``.
    """
    day, second = divmod(epoch, _DAY)
    hour, second = divmod(second, 3600)
    return b"%b %02d:%02d:%02d +0000" % (_render_day(day), hour, second // 60, second % 60)


def render_internal_dates(epochs: Iterable[int]) -> list[bytes]:
    """The same of many messages, hardly two of which came in one second."""
    days = _Days()
    return [
        days[epoch // _DAY] + _MINUTES[epoch // 60 % 1440] + _SECONDS[epoch % 60]
        for epoch in epochs
    ]


def astring(value: bytes) -> bytes:
    """An atom where that is possible, else a string."""
    if value and ASTRING_CHAR.issuperset(value) and value.upper() != b"NIL":
        return value
    return imap_string(value)


def literal(data: bytes) -> bytes:
    """A literal; NUL, which none may hold (RFC 3501 section 4.3), becomes 0x80."""
    return b"{%d}\r\n%b" % (len(data), data.replace(b"\0", b"\x80") if b"\0" in data else data)


def mailbox(name: str, utf8: bool = False) -> bytes:
    """A mailbox name, quoted: old clients do not expect an atom.

    :param utf8: in UTF-8 (RFC 9051 section 5.1, RFC 6855 section 3), not in modified UTF-7.
    """
    if not utf8:
        return imap_string(utf7.encode(name))
    octets = name.encode("utf-8", "replace")
    if name.isascii() or not name.isprintable():
        return imap_string(octets)
    return b'"%b"' % octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


def uid_set(uids: Iterable[int]) -> bytes:
    """UIDs as the shortest set that keeps their order: ``3:7,9`` (RFC 4315 section 3)."""
    if not isinstance(uids, Sequence):
        uids = list(uids)
    count = len(uids)
    if not count:
        return b""
    if isinstance(uids, range) and uids.step == 1:
        return _range(uids[0], uids[-1])
    # Looked at one by one, a hundred thousand take long.
    steps = map(sub, islice(uids, 1, None), uids)
    starts = list(compress(range(1, count), map((1).__ne__, steps)))
    ends = [*starts, count]
    return b",".join(
        [_range(uids[start], uids[end - 1]) for start, end in zip([0, *starts], ends, strict=True)]
    )


def _range(first: int, last: int) -> bytes:
    return b"%d" % first if first == last else b"%d:%d" % (first, last)


def sequence_set(ranges: SequenceSet) -> bytes:
    """A sequence set as it was written."""
    return b",".join(
        _end(low) if low == high else b"%b:%b" % (_end(low), _end(high)) for low, high in ranges
    )


def _end(number: int) -> bytes:
    return b"*" if number == STAR else b"%d" % number


@lru_cache(maxsize=256)
def line(text: str) -> bytes:
    """Text for a person, fit for one response line (RFC 3501 section 9, ``text``)."""
    clean = text
    if not (text.isascii() and text.isprintable()):
        clean = "".join(c if " " <= c <= "~" else "?" for c in text)
    # It may not be empty, nor look like a response code.
    return clean.lstrip("[ ").encode("ascii") or b"-"


def utf8_line(text: str) -> bytes:
    """The same in UTF-8 (RFC 5255 section 3.5, ``resp-text``)."""
    clean = "".join(c if c.isprintable() else "?" for c in text)
    return clean.lstrip("[ ").encode("utf-8", "replace") or b"-"


def flag_line(keywords: Sequence[str]) -> bytes:
    """The FLAGS response for the system flags and some keywords."""
    return b"* FLAGS (%b)\r\n" % _told((*SYSTEM_FLAGS, *keywords))


_DEFINED = " ".join((*SYSTEM_FLAGS, *COMMON_KEYWORDS)).encode("ascii")


def selected_flags(keywords: Sequence[str], writable: bool, rights: Rights = ALL_RIGHTS) -> bytes:
    """What SELECT and EXAMINE say of flags (RFC 3501 section 7.1, PERMANENTFLAGS).

    :param keywords: those in use besides the common ones.
    :param rights: what may be done in the mailbox.
    """
    flags = _DEFINED
    if keywords:
        flags = _told((*SYSTEM_FLAGS, *COMMON_KEYWORDS, *keywords))
    if not writable or not rights & {"s", "w", "t"}:
        return b"* FLAGS (%b)\r\n* OK [PERMANENTFLAGS ()] No flags can be changed\r\n" % flags
    if rights != ALL_RIGHTS:
        return b"* FLAGS (%b)\r\n%b" % (flags, _permanent_flags(keywords, rights))
    return (
        b"* FLAGS (%b)\r\n* OK [PERMANENTFLAGS (%b \\*)] Keywords of your own are welcome\r\n"
        % (flags, flags)
    )


def _permanent_flags(keywords: Sequence[str], rights: Rights) -> bytes:
    """RFC 4314 section 5.1.1: what may be changed here."""
    flags = [*SYSTEM_FLAGS, *COMMON_KEYWORDS, *keywords]
    names = _told(flag for flag in flags if right_for(flag) in rights)
    if right_for("\\*") in rights:
        names += b" \\*"
    return b"* OK [PERMANENTFLAGS (%b)] You may change these\r\n" % names


def nstring8(value: bytes | None) -> bytes:
    """A string or NIL; a literal8 where there is NUL in it, which no other can hold."""
    if value is not None and b"\0" in value:
        return b"~{%d}\r\n%b" % (len(value), value)
    return imap_string(value)
