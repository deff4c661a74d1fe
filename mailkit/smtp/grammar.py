"""SMTP command lines to values, and replies to octets (RFC 5321 section 4.1 and 4.2). No I/O.

Addresses follow the ABNF, with the additions of RFC 6531 section 3.3; where this module is lenient
it says so.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from mailkit.model import Path
from mailkit.wire.chars import ALPHA, ATEXT, DIGIT, QTEXT_SMTP, VCHAR, octet_class

#: Octets of a reply line, code and line end included (RFC 5321 section 4.5.3.1.5).
MAX_REPLY_LINE = 512
#: Lines of one reply; a longer text is cut.
MAX_REPLY_LINES = 100


class Limits(NamedTuple):
    """How long the parts of a command may be, in octets unless said otherwise."""

    #: A command line with its line end. RFC 5321 section 4.5.3.1.4 asks for 512; the parameters of
    #: extensions add to it, most of all SOLICIT (RFC 3865: 1007) and ORCPT (RFC 3461: 500).
    line: int = 4096
    #: An AUTH command, or a line of its exchange (RFC 4954 section 4).
    auth_line: int = 12288
    #: RFC 5321 section 4.5.3.1.3, angle brackets included.
    path: int = 256
    #: RFC 5321 section 4.5.3.1.1.
    local_part: int = 64
    #: RFC 5321 section 4.5.3.1.2; also of the name in HELO and EHLO.
    domain: int = 255
    #: Number of parameters of one command.
    parameters: int = 32


#: The limits where nothing else is said.
LIMITS = Limits()


class Reply(NamedTuple):
    """A reply; the enhanced status code stands in each line (RFC 2034 section 4)."""

    code: int
    #: Enhanced status code (RFC 3463), or nothing where the standard allows none.
    enhanced: str
    #: Lines of text.
    text: str

    def render(self) -> bytes:
        """The octets to send, no line longer than :data:`MAX_REPLY_LINE`."""
        code, enhanced, text = self
        status = f"{enhanced} " if enhanced else ""
        width = MAX_REPLY_LINE - len(f"{code}-{status}\r\n")
        if len(text) <= width and text.isascii() and text.isprintable():
            return f"{code} {status}{text}\r\n".encode("ascii")
        return self._render_lines(status, width)

    # The answer to EHLO is the same for most clients.
    @lru_cache(maxsize=64)  # noqa: B019
    def _render_lines(self, status: str, width: int) -> bytes:
        code, _, text = self
        lines = [part for line in text.splitlines() or [""] for part in _wrap(line, width)]
        del lines[MAX_REPLY_LINES:]
        first = "".join(f"{code}-{status}{line}\r\n" for line in lines[:-1])
        return f"{first}{code} {status}{lines[-1]}\r\n".encode("ascii")


@lru_cache(maxsize=64)
def rendered(code: int, enhanced: str, text: str) -> bytes:
    """The octets of a reply that each client gets."""
    return Reply(code, enhanced, text).render()


class Refused(Exception):
    """The command gets this reply and has no effect.

    :param close: the connection ends after the reply.
    """

    def __init__(self, code: int, enhanced: str, text: str, *, close: bool = False) -> None:
        super().__init__(code, enhanced, text)
        self.reply = Reply(code, enhanced, text)
        self.close = close


_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


def _wrap(line: str, width: int) -> list[str]:
    # RFC 5321 section 4.2: textstring is HT, SP and printable ASCII; RFC 6531 section 3.7.4.2
    # forbids UTF-8 in replies that the client did not ask for.
    if not (line.isascii() and line.isprintable()):
        line = _UNPRINTABLE.sub("?", line.replace("\t", " "))
    parts = []
    while len(line) > width:
        cut = line.rfind(" ", width // 2, width + 1)
        cut = cut if cut > 0 else width
        parts.append(line[:cut])
        line = line[cut:].lstrip(" ")
    return [*parts, line]


# Command lines.

_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
# Octets of a line, or of an argument, up to which it is remembered what it means; and how lines begin
# that tell no secrets.
_SHORT = 80
_OPEN = frozenset((b"EHLO", b"LHLO", b"MAIL", b"RCPT", b"DATA", b"RSET", b"QUIT"))


def parse_command(line: bytes) -> tuple[bytes, bytes]:
    """Split a line (without its line end) into the verb in capitals and the argument.

    :raises Refused: control octets, or nothing at all.
    """
    if len(line) <= _SHORT and line[:4] in _OPEN:
        return _recall_command(line)
    return _parse_command(line)


def _parse_command(line: bytes) -> tuple[bytes, bytes]:
    if _CONTROL.search(line):
        raise Refused(500, "5.5.2", "Control characters are not allowed in commands")
    # RFC 5321 section 4.1.1: trailing white space is tolerated.
    verb, _, argument = line.rstrip(b" \t").partition(b" ")
    if not verb:
        raise Refused(500, "5.5.2", "A command was expected")
    # lenient: several spaces before the argument, as people type them.
    return verb.upper(), argument.lstrip(b" ")


_recall_command = lru_cache(maxsize=1024)(_parse_command)


# RFC 5321 section 4.1.2, with the non-ASCII octets that RFC 6531 section 3.3 adds; whether they
# are UTF-8 is seen when they are decoded.
_NON_ASCII = frozenset(range(0x80, 0x100))
_ATOM = rb"[%b]+" % octet_class(ATEXT | _NON_ASCII)
_DOT_STRING = rb"%b(?:\.%b)*" % (_ATOM, _ATOM)
_QUOTED_CONTENT = rb"(?:[%b]|\\[ -~])*" % octet_class(QTEXT_SMTP | _NON_ASCII)
_LET_DIG = rb"[%b]+" % octet_class(ALPHA | DIGIT | _NON_ASCII)
_SUB_DOMAIN = rb"%b(?:-+%b)*" % (_LET_DIG, _LET_DIG)
_DOMAIN = rb"%b(?:\.%b)*" % (_SUB_DOMAIN, _SUB_DOMAIN)
_LITERAL = rb"\[[!-Z^-~]+\]"
_MAILBOX = rb'(?:(%b)|("%b"))@(?:(%b)|(%b))' % (_DOT_STRING, _QUOTED_CONTENT, _DOMAIN, _LITERAL)
# RFC 5321 section 3.3: source routes are recognised and ignored.
_ADDRESS = rb"(?:@%b(?:,@%b)*:)?%b" % (_DOMAIN, _DOMAIN, _MAILBOX)
# lenient: blanks after the colon, which many clients and people at a terminal send.
_MAIL = re.compile(rb"(?i:FROM:) *(<(?:%b)?>)(?: +(.*))?" % _ADDRESS)
# RFC 5321 section 4.5.1: Postmaster without a domain is always a recipient.
_RCPT = re.compile(rb"(?i:TO:) *(<(?:((?i:postmaster))|%b)>)(?: +(.*))?" % _ADDRESS)
_LONE_MAILBOX = re.compile(_MAILBOX)
_QUOTED_PAIR = re.compile(rb"\\(.)")
_NULL_PATH = Path("", "")

_PARAMETER = re.compile(
    rb"[A-Za-z0-9][A-Za-z0-9-]*(?:=[%b]+)?"
    % octet_class((frozenset(range(0x21, 0x7F)) - {0x3D}) | _NON_ASCII)
)

Parameters = Mapping[str, "str | None"]

_MAIL_SYNTAX = "Syntax: MAIL FROM:<address> [parameters]"
_RCPT_SYNTAX = "Syntax: RCPT TO:<address> [parameters]"


def parse_mail(argument: bytes, limits: Limits = LIMITS) -> tuple[Path, Parameters]:
    """The argument of MAIL: reverse-path and parameters by keyword in capitals.

    :raises Refused: the reply to give.
    """
    path, rest = (_recall_mail if len(argument) <= _SHORT else _parse_mail)(argument, limits)
    return path, _parse_parameters(rest, limits) if rest else {}


def _parse_mail(argument: bytes, limits: Limits) -> tuple[Path, bytes | None]:
    """The path, and what stands behind it."""
    found = _MAIL.fullmatch(argument)
    if found is None:
        raise _bad_path(argument, b"FROM:", "5.1.7", _MAIL_SYNTAX)
    whole, dotted, quoted, domain, literal, rest = found.groups()
    if whole == b"<>":
        path = _NULL_PATH
    else:
        if len(whole) > limits.local_part:
            _check_lengths(whole, dotted or quoted, domain or literal, limits, "5.1.7")
        path = _make_path(dotted, quoted, domain, literal, "5.1.7")
    return path, rest


# The same senders and recipients come again and again.
_recall_mail = lru_cache(maxsize=512)(_parse_mail)


def parse_rcpt(argument: bytes, limits: Limits = LIMITS) -> tuple[Path, Parameters]:
    """The argument of RCPT: forward-path and parameters by keyword in capitals.

    :raises Refused: the reply to give.
    """
    path, rest = (_recall_rcpt if len(argument) <= _SHORT else _parse_rcpt)(argument, limits)
    return path, _parse_parameters(rest, limits) if rest else {}


def _parse_rcpt(argument: bytes, limits: Limits) -> tuple[Path, bytes | None]:
    """The path, and what stands behind it."""
    found = _RCPT.fullmatch(argument)
    if found is None:
        raise _bad_path(argument, b"TO:", "5.1.3", _RCPT_SYNTAX)
    whole, postmaster, dotted, quoted, domain, literal, rest = found.groups()
    if postmaster is not None:
        path = Path(postmaster.decode("ascii"), "")
    else:
        if len(whole) > limits.local_part:
            _check_lengths(whole, dotted or quoted, domain or literal, limits, "5.1.3")
        path = _make_path(dotted, quoted, domain, literal, "5.1.3")
    return path, rest


_recall_rcpt = lru_cache(maxsize=1024)(_parse_rcpt)


def parse_mailbox(octets: bytes, limits: Limits = LIMITS) -> Path:
    """A mailbox without angle brackets.

    :raises ValueError: it is none.
    """
    found = _LONE_MAILBOX.fullmatch(octets)
    if found is None:
        raise ValueError("not a mailbox")
    dotted, quoted, domain, literal = found.groups()
    try:
        _check_lengths(octets, dotted or quoted, domain or literal, limits, "5.1.7")
        return _make_path(dotted, quoted, domain, literal, "5.1.7")
    except Refused as refusal:
        raise ValueError(refusal.reply.text) from None


def _bad_path(argument: bytes, keyword: bytes, enhanced: str, syntax: str) -> Refused:
    after = argument[len(keyword) :].lstrip()
    if argument[: len(keyword)].upper() != keyword or not after:
        return Refused(501, "5.5.4", syntax)
    if not after.startswith(b"<"):
        return Refused(501, enhanced, f"The address must stand in angle brackets. {syntax}")
    return Refused(501, enhanced, f"Bad address syntax. {syntax}")


def _check_lengths(
    whole: bytes, local: bytes, domain: bytes, limits: Limits, enhanced: str
) -> None:
    # RFC 5321 section 4.5.3.1.9: 501 Path too long.
    # lenient: where a server has rewritten a reverse-path (SRS), the whole address of the sender is
    # in the local part of the address that reports come to.
    rewritten = local[:4].upper() in (b"SRS0", b"SRS1")
    if len(local) > limits.local_part and not rewritten:
        text = f"The part before @ is longer than {limits.local_part} octets"
    elif len(domain) > limits.domain:
        text = f"The domain is longer than {limits.domain} octets"
    elif len(whole) > limits.path:
        text = f"The address is longer than {limits.path} octets"
    else:
        return
    raise Refused(501, enhanced, text)


def _make_path(
    dotted: bytes | None,
    quoted: bytes | None,
    domain: bytes | None,
    literal: bytes | None,
    enhanced: str,
) -> Path:
    if literal is not None:
        _check_literal(literal[1:-1].decode("ascii"), enhanced)
    # RFC 5321 section 4.1.2: all quoted forms are equivalent, so only the content counts.
    local = dotted or _QUOTED_PAIR.sub(rb"\1", (quoted or b"")[1:-1])
    try:
        return Path(local.decode("utf-8"), (domain or literal or b"").decode("utf-8"))
    except UnicodeDecodeError:
        raise Refused(501, enhanced, "Bad address syntax: it is not UTF-8") from None


_SNUM = r"(?:25[0-5]|2[0-4]\d|[01]?\d?\d)"
_IPV4 = re.compile(rf"{_SNUM}(?:\.{_SNUM}){{3}}", re.ASCII)
_GENERAL = re.compile(r"[A-Za-z0-9-]*[A-Za-z0-9]:[!-Z^-~]+")


def _check_literal(content: str, enhanced: str) -> None:
    """RFC 5321 section 4.1.3; an address family that we do not know passes as it is."""
    if content[:5].upper() == "IPV6:":
        good = _is_ipv6(content[5:])
    else:
        good = bool(_IPV4.fullmatch(content) or _GENERAL.fullmatch(content))
    if not good:
        raise Refused(501, enhanced, "Bad address literal")


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    head, double, tail = text.partition("::")
    # RFC 5321 section 4.1.3: "::" stands for two groups at least; zone identifiers are unknown.
    groups = [group for side in (head, tail) if side for group in side.split(":")]
    count = len(groups) + (1 if "." in text else 0)
    return "%" not in text and (not double or count <= 6)


def _parse_parameters(rest: bytes, limits: Limits) -> dict[str, str | None]:
    parameters: dict[str, str | None] = {}
    # lenient: several spaces between parameters.
    for part in filter(None, rest.split(b" ")):
        if _PARAMETER.fullmatch(part) is None:
            raise Refused(501, "5.5.4", "Bad parameter syntax, expected KEYWORD or KEYWORD=value")
        try:
            keyword, _, value = part.decode("utf-8").partition("=")
        except UnicodeDecodeError:
            raise Refused(501, "5.5.4", "The value of a parameter is not UTF-8") from None
        keyword = keyword.upper()
        if keyword in parameters:
            raise Refused(501, "5.5.4", f"{keyword} is given twice")
        if len(parameters) == limits.parameters:
            raise Refused(501, "5.5.4", "Too many parameters")
        parameters[keyword] = value or None
    return parameters


# Values of parameters.

# RFC 1870 section 3: 1*20DIGIT.
_SIZE = re.compile(r"\d{1,20}", re.ASCII)
# RFC 3461 section 4.
_XTEXT = re.compile(rb"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")
_HEX_CHARACTER = re.compile(rb"\+([0-9A-F]{2})")


def parse_size(value: str | None) -> int:
    """The value of SIZE, octets.

    :raises ValueError: it is none.
    """
    if value is None or not _SIZE.fullmatch(value):
        raise ValueError("SIZE wants a number of octets")
    return int(value)


def parse_xtext(value: str) -> bytes:
    """What an xtext stands for.

    :raises ValueError: it is none.
    """
    octets = value.encode("utf-8")
    if not _XTEXT.fullmatch(octets):
        raise ValueError("not xtext")
    return _HEX_CHARACTER.sub(lambda found: bytes((int(found[1], 16),)), octets)


# HELO and EHLO.

# lenient: underscores and the like are common in host names, and the name only goes to the
# Received field: all printable characters but those that mean something there.
_HELO_NAME = re.compile(rb"[%b]+" % octet_class(VCHAR - frozenset(b'()<>"\\,;@')))
_LETTER_OR_DIGIT = re.compile(rb"[A-Za-z0-9]")
_NAME_IN_BRACKETS = re.compile(r"[A-Za-z0-9._-]+")
_PAIRED = re.compile(r"[^][]*(\[[^][]*\][^][]*)*")
_LETTER = re.compile(r"[A-Za-z]")


def parse_helo(argument: bytes, limits: Limits = LIMITS) -> str:
    """The name that a client gives itself.

    :raises Refused: nothing, or nothing that could be a name.
    """
    # RFC 5321 section 4.1.1.1: be prepared for information behind the name.
    name = argument.split(b" ", 1)[0]
    if not name:
        raise Refused(501, "5.5.4", "Say who you are: your.host.name is missing")
    if len(name) > limits.domain:
        raise Refused(501, "5.5.4", f"The name is longer than {limits.domain} octets")
    if not (_HELO_NAME.fullmatch(name) and _LETTER_OR_DIGIT.search(name)):
        raise Refused(501, "5.5.4", "That is not a host name")
    text = name.decode("ascii")
    if text[0] == "[" and text[-1] == "]":
        _check_helo_literal(text[1:-1])
    elif text[0] == "[" or not _PAIRED.fullmatch(text):
        raise Refused(501, "5.5.4", "An address literal is written like this: [192.0.2.1]")
    return text


def _check_helo_literal(content: str) -> None:
    """lenient: IPv6 without its tag, and with a zone, as some programs tell their own addresses.

    A host's name, too, which other servers take (RFC 5321 section 4.1.4): for checks to judge.
    """
    if _NAME_IN_BRACKETS.fullmatch(content) and _LETTER.search(content):
        return
    address = content[5:] if content[:5].upper() == "IPV6:" else content
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        _check_literal(content, "5.5.4")
