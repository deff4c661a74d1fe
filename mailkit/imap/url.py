"""IMAP URLs (RFC 5092): those that name a message or a part of one, with or without URLAUTH.

No I/O. Octets are kept as the client wrote them where a signature is over them.
"""

from __future__ import annotations

import datetime
import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from mailkit.hiding import hiding
from mailkit.imap.fetch import Section, parse_section
from mailkit.imap.grammar import MAX_NUMBER, Arguments, SyntaxFault, canonical

#: Octets of a URL.
MAX_URL = 4096

_PCT = rb"%[0-9A-Fa-f]{2}"
# RFC 5092 section 11
_UCHAR = rb"A-Za-z0-9\-._~!$'()*+,"
_ACHAR = rb"(?:[%b&=]|%b)" % (_UCHAR, _PCT)
_BCHAR = rb"(?:[%b&=:@/]|%b)" % (_UCHAR, _PCT)
_SERVER = re.compile(
    rb"(?i)imap://(?:(?P<user>%b+)?(?:;AUTH=(?:\*|%b+))?@)?"
    rb"(?P<host>\[[0-9a-f:.]+\]|[%b&=%%]+)(?::(?P<port>\d{0,5}))?(?=/)" % (_ACHAR, _ACHAR, _UCHAR)
)
_MESSAGE = re.compile(
    rb"(?i)/(?!/)(?P<mailbox>%b+?)(?:;UIDVALIDITY=(?P<validity>[1-9]\d{0,9}))?"
    rb"/;UID=(?P<uid>[1-9]\d{0,9})(?:/;SECTION=(?P<section>%b+?))?"
    rb"(?:/;PARTIAL=(?P<offset>\d{1,10})(?:\.(?P<length>[1-9]\d{0,9}))?)?"
    rb"(?=;EXPIRE=|;URLAUTH=|\Z)" % (_BCHAR, _BCHAR)
)
_RUMP = re.compile(
    rb"(?i)(?:;EXPIRE=(?P<expire>[0-9TZ:.+\-]{20,40}))?"
    rb";URLAUTH=(?P<access>anonymous|authuser|(?:submit|user)\+%b+)" % _ACHAR
)
_VERIFIER = re.compile(rb":(?P<mechanism>[A-Za-z0-9.\-]{1,64}):(?P<token>[0-9A-Fa-f]{32,})\Z")


class URLFault(ValueError):
    """It is no IMAP URL of a message; the text says why."""


@hiding("token")
class IMAPURL(NamedTuple):
    """A message or a part of one."""

    #: Whose mailboxes; empty for those of whoever uses the URL.
    user: str
    #: Name or address of the server; empty in a URL that begins with the path.
    host: str
    mailbox: str
    uid_validity: int | None
    uid: int
    section: Section
    #: Seconds since the epoch from which on it is not valid; None for never.
    expire: float | None = None
    #: Who may use it, as in the URL: ``anonymous``, ``authuser``, ``user+ann``, ``submit+ann``.
    access: str = ""
    #: How :attr:`token` was made, in capitals; empty without one.
    mechanism: str = ""
    token: bytes = b""
    #: What the token signs.
    rump: bytes = b""


def parse_url(url: bytes) -> IMAPURL:
    """Read a URL.

    :raises URLFault: it is none of a message.
    """
    if len(url) > MAX_URL:
        raise URLFault(f"A URL has at most {MAX_URL} octets")
    user = host = ""
    position = 0
    if server := _SERVER.match(url):
        user = _text(server["user"] or b"")
        host = _text(server["host"]).lower()
        position = server.end()
    # RFC 5092 section 7.2: relative paths are not accepted.
    message = _MESSAGE.match(url, position)
    if message is None:
        raise URLFault("It does not name a message")
    uid, validity = int(message["uid"]), message["validity"]
    if max(uid, int(validity or 1)) > MAX_NUMBER:
        raise URLFault("A number is too large")
    parsed = IMAPURL(
        user,
        host,
        canonical(_text(message["mailbox"])),
        int(validity) if validity else None,
        uid,
        _section(message),
    )
    position = message.end()
    return parsed if position == len(url) else _read_urlauth(parsed, url, position)


def _read_urlauth(parsed: IMAPURL, url: bytes, position: int) -> IMAPURL:
    rump = _RUMP.match(url, position)
    if rump is None or not parsed.host:
        raise URLFault("What stands behind the message is not URLAUTH")
    parsed = parsed._replace(
        expire=_seconds(rump["expire"]) if rump["expire"] else None,
        access=_text(rump["access"]),
        rump=url[: rump.end()],
    )
    if rump.end() == len(url):
        return parsed
    verifier = _VERIFIER.match(url, rump.end())
    if verifier is None:
        raise URLFault("What stands behind the access identifier is no authorization token")
    return parsed._replace(
        mechanism=verifier["mechanism"].decode("ascii").upper(), token=verifier["token"]
    )


def _text(octets: bytes) -> str:
    # RFC 5092 section 8: UTF-8, percent-encoded; never modified UTF-7.
    try:
        text = unquote_to_bytes(octets).decode("utf-8")
    except UnicodeDecodeError:
        raise URLFault("A name is not valid UTF-8") from None
    if any(c < " " or c == "\x7f" for c in text):
        raise URLFault("A name holds control characters")
    return text


def _section(message: re.Match[bytes]) -> Section:
    section = Section()
    if message["section"]:
        octets = unquote_to_bytes(message["section"])
        arguments = Arguments(octets + b"]")
        try:
            section = parse_section(arguments)
        except SyntaxFault as fault:
            raise URLFault(fault.text) from None
        if not arguments.at_end():
            raise URLFault("That is not a section of a message")
    if message["offset"]:
        partial = int(message["offset"]), int(message["length"] or MAX_NUMBER)
        if max(partial) > MAX_NUMBER:
            raise URLFault("A number is too large")
        section = section._replace(partial=partial)
    return section


def _seconds(octets: bytes) -> float:
    """RFC 3339 ``date-time``."""
    text = octets.decode("ascii").upper()
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)", text):
        raise URLFault("EXPIRE looks like 2030-01-31T12:00:00Z")
    # fromisoformat knows neither Z nor any number of digits before Python 3.11.
    whole, fraction, zone = re.split(r"(\.\d+)?(?=Z|[+-]\d\d:\d\d\Z)", text, maxsplit=1)
    leap = whole.endswith(":60")
    try:
        moment = datetime.datetime.fromisoformat(
            (whole[:-2] + "59" if leap else whole) + zone.replace("Z", "+00:00")
        )
    except ValueError:
        raise URLFault("EXPIRE names a day or time that does not exist") from None
    return moment.timestamp() + leap + float(fraction or 0)
