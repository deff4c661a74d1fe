"""Delivery status notifications: what the sender is told (RFC 3461, RFC 3464, RFC 6522, RFC 6533)."""

from __future__ import annotations

import quopri
import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from email.header import Header as EncodedHeader
from email.utils import formatdate
from ipaddress import ip_address
from typing import BinaryIO, NamedTuple

from mailkit.mime import Action, Header, decode_text, parse_header
from mailkit.mime.lexical import strip_comments
from mailkit.model import ConnectionInfo, Envelope, Path, Recipient
from mailkit.queue.values import Attempt, QueuedMessage, QueuedRecipient, RecipientState
from mailkit.translation import find_language, translate
from mailkit.wire.dotstuff import has_bare_line_end
from mailkit.wire.xtext import encode_utf8_address

#: Octets of a returned message, beyond which only its header is returned.
MAX_RETURNED = 1024 * 1024
#: Octets of a returned header.
MAX_HEADER = 64 * 1024
#: Octets of what a server has said that are told to programs.
MAX_DIAGNOSTIC = 900
#: Octets of a header field with languages that are looked at.
MAX_LANGUAGES = 1000
#: Recipients that one report tells of; further ones are told of in another.
MAX_RECIPIENTS = 100


class Notice(NamedTuple):
    """What is to be told of one recipient."""

    recipient: QueuedRecipient
    action: Action
    attempt: Attempt
    #: The time is over: that after which it is given up, or after which the sender wants to hear
    #: of a delay (RFC 2852).
    expired: bool = False


@dataclass(frozen=True)
class ReportTexts:
    """What ordinary people read. ``{host}``, ``{subject}`` and so on stand for what is put in."""

    subjects: dict[Action, str] = field(
        default_factory=lambda: {
            Action.FAILED: "Your message could not be delivered",
            Action.DELAYED: "Your message is delayed",
            Action.DELIVERED: "Your message was delivered",
            Action.RELAYED: "Your message was passed on",
            Action.EXPANDED: "Your message was passed on to several addresses",
        }
    )
    openings: dict[Action, str] = field(
        default_factory=lambda: {
            Action.FAILED: "Your message could not be delivered to these recipients. It will not be"
            " tried again.",
            Action.DELAYED: "Your message could not be delivered yet to these recipients. You need"
            " not do anything: it will be tried again until {until}.",
            Action.DELIVERED: "Your message was delivered to these recipients, as you wished to be"
            " told.",
            Action.RELAYED: "Your message was passed on to the mail server of these recipients,"
            " which does not report whether they got it.",
            Action.EXPANDED: "These recipients stand for several addresses, to which your message"
            " was passed on.",
        }
    )
    message: str = "Your message:"
    replied: str = "The mail server {host} answered:"
    found: str = "The reason:"
    expired: str = "There was no success in all the time that the message had."
    closing: str = "This report was written by the mail server {hostname}."

    def __iter__(self) -> Iterator[str]:
        """All of them, for those who translate."""
        yield from (*self.subjects.values(), *self.openings.values(), self.message)
        yield from (self.replied, self.found, self.expired, self.closing)


class MailReport(NamedTuple):
    """A report, ready to be queued."""

    envelope: Envelope
    octets: bytes


class Reporter:
    """Writes reports.

    :param hostname: of this server.
    :param seconds: tells the time since the epoch.
    :param texts: what people read.
    :param language: of those whose message asks for none that we know.
    :param token: gives letters and digits that no message contains.
    :param language_of: that of an account, or None.
    """

    def __init__(
        self,
        hostname: str,
        seconds: Callable[[], float],
        texts: ReportTexts | None = None,
        token: Callable[[], str] = lambda: secrets.token_hex(12),
        language: str = "en",
        language_of: Callable[[str], str | None] | None = None,
    ) -> None:
        self._hostname = hostname
        self._seconds = seconds
        self._texts = texts or ReportTexts()
        self._token = token
        self._language = language
        self._language_of = language_of

    def wants(
        self, message: QueuedMessage, recipient: Recipient, action: Action, owed: bool = False
    ) -> bool:
        """Whether the sender is to be told (RFC 3461 section 4.1).

        Who has not logged in is told nothing, for the address may be somebody else's.

        :param owed: the sender is told of success unless NOTIFY says NEVER (RFC 2852 section 4.1.4).
        """
        envelope = message.envelope
        if envelope.reverse_path.is_null or envelope.account is None:
            return False
        notify = recipient.notify
        if action not in _FIRST:
            return "SUCCESS" in (notify or ()) or (owed and "NEVER" not in (notify or ()))
        wanted = "DELAY" if action is Action.DELAYED else "FAILURE"
        return notify is None or wanted in notify

    def write(
        self, message: QueuedMessage, notices: Sequence[Notice], content: BinaryIO | None
    ) -> list[MailReport]:
        """The reports for one message, one an action.

        :param notices: those that are wanted.
        :param content: the message; None where it is gone.
        """
        reports = []
        for action in Action:
            chosen = [notice for notice in notices if notice.action is action]
            for start in range(0, len(chosen), MAX_RECIPIENTS):
                part = chosen[start : start + MAX_RECIPIENTS]
                reports.append(self._write(message, action, part, content))
        return reports

    def _find_language(self, header: Header, account: str | None) -> str:
        """That which the sender asks for in a message, or has set; or that of the message; or ours."""
        found = find_language(accepted_languages(header))
        if found is None and account is not None and self._language_of is not None:
            found = self._language_of(account)
        return found or find_language(_list_of(header, b"content-language")) or self._language

    def write_unqueued(
        self,
        envelope: Envelope,
        told: Sequence[tuple[Recipient, Action, Attempt]],
        content: BinaryIO,
    ) -> list[MailReport]:
        """The reports that are wanted of recipients who have never been in the queue."""
        now = int(self._seconds())
        recipients = [QueuedRecipient(0, each, RecipientState.QUEUED, now) for each, _, _ in told]
        message = QueuedMessage("", envelope, 0, now, now, recipients)
        notices = [
            Notice(recipient, action, attempt)
            for recipient, (_, action, attempt) in zip(recipients, told, strict=True)
            if self.wants(message, recipient.recipient, action)
        ]
        return self.write(message, notices, content) if notices else []

    def _write(
        self,
        message: QueuedMessage,
        action: Action,
        notices: Sequence[Notice],
        content: BinaryIO | None,
    ) -> MailReport:
        original = message.envelope
        sender = original.reverse_path
        paths = [sender, *(notice.recipient.recipient.path for notice in notices)]
        # RFC 6533 section 3: addresses that are not ASCII need the other media types.
        utf8 = original.smtputf8 or not all(path.is_ascii for path in paths)
        # RFC 3461 section 4.3: only failures return a message whole.
        # RFC 8689 section 5: nor one that must not leave TLS.
        full = action is Action.FAILED and original.ret != "HDRS" and not original.require_tls
        header, whole = _read(content, full)
        boundary = f"=_{self._token()}"
        parsed = parse_header(header)
        language = self._find_language(parsed, original.account)
        parts = [
            self._text_part(message, action, notices, parsed, language),
            self._status_part(message, notices, utf8),
            _original_part(header, whole, utf8),
        ]
        head = self._header(sender, translate(self._texts.subjects[action], language), boundary)
        body = b"".join(b"--%b\r\n%b\r\n" % (boundary.encode(), part) for part in parts)
        octets = b"%b\r\n%b--%b--\r\n" % (head, body, boundary.encode())
        envelope = Envelope(
            ConnectionInfo("report"),
            self._hostname,
            Path("", ""),
            # RFC 3461 section 6.2: nobody reports about a report.
            recipients=[Recipient(sender, {"NOTIFY": "NEVER"}, frozenset({"NEVER"}))],
            body="7BIT" if octets.isascii() else "8BITMIME",
            smtputf8=utf8,
            require_tls=original.require_tls,
            # RFC 6710 section 4.6
            priority=original.priority,
        )
        return MailReport(envelope, octets)

    def _header(self, to: Path, subject: str, boundary: str) -> bytes:
        now = self._seconds()
        # RFC 3464 section 2: an address that a person may answer to.
        lines = [
            f"From: Mail Delivery System <MAILER-DAEMON@{self._hostname}>",
            f"To: <{to}>",
            f"Subject: {EncodedHeader(subject, header_name='Subject').encode(linesep=_CRLF)}",
            f"Date: {formatdate(now)}",
            f"Message-ID: <{self._token()}@{self._hostname}>",
            "Auto-Submitted: auto-replied",
            "MIME-Version: 1.0",
            f'Content-Type: multipart/report; report-type=delivery-status; boundary="{boundary}"',
        ]
        return "".join(line + "\r\n" for line in lines).encode("utf-8")

    # What people read.

    def _text_part(
        self,
        message: QueuedMessage,
        action: Action,
        notices: Sequence[Notice],
        header: Header,
        language: str,
    ) -> bytes:
        texts = self._texts
        until = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(message.expires))
        lines = [translate(texts.openings[action], language).format(until=until), ""]
        for notice in notices:
            lines.append(f"  {notice.recipient.recipient.path}")
            lines += [f"    {line}" for line in self._explain(notice, language)]
            lines.append("")
        lines += [translate(texts.message, language), ""]
        for name in (b"Subject", b"Date", b"Message-ID"):
            value = header.get(name)
            if value is not None:
                text = " ".join(decode_text(value).split())[:200]
                lines.append(f"  {name.decode()}: {text}")
        closing = translate(texts.closing, language).format(hostname=self._hostname)
        lines += ["", closing, ""]
        text = "\r\n".join(lines)
        octets = text.encode("utf-8")
        long = any(len(line) > 998 for line in octets.split(b"\r\n"))
        encoding = b"7bit"
        if long or not octets.isascii():
            encoding = b"quoted-printable"
            octets = quopri.encodestring(octets.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
        return (
            b"Content-Type: text/plain; charset=utf-8\r\nContent-Language: %b\r\n"
            b"Content-Transfer-Encoding: %b\r\n\r\n%b" % (language.encode(), encoding, octets)
        )

    def _explain(self, notice: Notice, language: str) -> list[str]:
        attempt, texts = notice.attempt, self._texts
        given_up = notice.expired and notice.action is Action.FAILED
        lines = [translate(texts.expired, language)] if given_up else []
        if notice.action not in _FIRST or not attempt.text:
            return lines
        host = _mta_name(attempt.host)
        text = translate(texts.replied if attempt.code and host else texts.found, language)
        lines.append(text.format(host=host))
        words = f"{attempt.code or ''} {attempt.enhanced} {' '.join(attempt.text.split())}"
        lines.append(f"  {words.strip()}")
        return lines

    # What programs read (RFC 3464 section 2).

    def _status_part(self, message: QueuedMessage, notices: Sequence[Notice], utf8: bool) -> bytes:
        envelope = message.envelope
        kind = "global-delivery-status" if utf8 else "delivery-status"
        lines = [f"Content-Type: message/{kind}"]
        if utf8:
            lines.append("Content-Transfer-Encoding: 8bit")
        lines.append("")
        if envelope.envid is not None:
            lines.append(f"Original-Envelope-Id: {_one_line(envelope.envid)}")
        lines += [
            f"Reporting-MTA: dns; {self._hostname}",
            f"Arrival-Date: {formatdate(message.created)}",
        ]
        if envelope.deliver_by is not None:
            # RFC 2852 section 5
            lines.append(f"Deliver-By-Date: {formatdate(envelope.deliver_by.deadline)}")
        lines.append("")
        for notice in notices:
            lines += [*self._recipient_fields(message, notice, utf8), ""]
        # The boundary brings the last empty line along.
        lines.pop()
        return "".join(line + "\r\n" for line in lines).encode("utf-8")

    @staticmethod
    def _recipient_fields(message: QueuedMessage, notice: Notice, utf8: bool) -> list[str]:
        attempt = notice.attempt
        recipient = notice.recipient.recipient
        lines = []
        if recipient.orcpt is not None:
            kind, address = recipient.orcpt
            if not utf8 and (kind.lower() == "utf-8" or not address.isascii()):
                # RFC 6533 section 3, item 3: the form for 7 bits.
                kind, address = "utf-8", encode_utf8_address(address)
            lines.append(f"Original-Recipient: {kind}; {_one_line(address)}")
        kind = "utf-8" if utf8 and not recipient.path.is_ascii else "rfc822"
        lines += [
            f"Final-Recipient: {kind}; {recipient.path}",
            f"Action: {notice.action.value}",
            f"Status: {status_code(notice)}",
        ]
        if mta := _mta_name(attempt.host):
            lines.append(f"Remote-MTA: dns; {mta}")
        if attempt.code:
            words = f"{attempt.code} {attempt.enhanced} {_one_line(attempt.text)}"
            words = words if utf8 else words.encode("ascii", "replace").decode()
            cut = words.encode("utf-8")[:MAX_DIAGNOSTIC].decode("utf-8", "ignore")
            lines.append(f"Diagnostic-Code: smtp; {cut}")
        if attempt.time:
            lines.append(f"Last-Attempt-Date: {formatdate(attempt.time)}")
        if notice.action is Action.DELAYED:
            lines.append(f"Will-Retry-Until: {formatdate(message.expires)}")
        return lines


def accepted_languages(header: Header) -> list[str]:
    """Languages that the sender of a message wants to read, the best first.

    Those of Accept-Language (RFC 3282, RFC 9110 section 12.5.4).
    """
    weighed: list[tuple[float, str]] = []
    for part in _list_of(header, b"accept-language"):
        tag, _, rest = part.partition(";")
        weight = _WEIGHT.fullmatch(rest.replace(" ", ""))
        best = 1.0 if weight is None else float(weight[1])
        if best > 0:
            weighed.append((-best, tag.strip()))
    return [tag for _, tag in sorted(weighed, key=lambda pair: pair[0])]


def _list_of(header: Header, name: bytes) -> list[str]:
    value = strip_comments((header.get(name) or b"")[:MAX_LANGUAGES]).decode("ascii", "replace")
    return [part.strip() for part in value.split(",")]


_WEIGHT = re.compile(r"q=([01](?:\.\d{0,3})?)")
_HOST_NAME = re.compile(r"[A-Za-z0-9._-]+")
_CRLF = "\r\n"
_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_FIRST = {Action.FAILED: "5", Action.DELAYED: "4"}


def status_code(notice: Notice) -> str:
    """The enhanced status code of a recipient, of the class that fits the action (RFC 3463)."""
    first = _FIRST.get(notice.action, "2")
    if notice.expired:
        # RFC 3463 section 3.5: delivery time expired.
        return f"{first}.4.7"
    enhanced = notice.attempt.enhanced
    if not _STATUS.fullmatch(enhanced):
        return f"{first}.0.0"
    return first + enhanced[1:]


def _mta_name(host: str) -> str:
    """A server as RFC 3464 section 2.1.2 names it; nothing for a socket or a URL of this site."""
    try:
        address = ip_address(host)
    except ValueError:
        return host if _HOST_NAME.fullmatch(host) else ""
    return f"[IPv6:{address}]" if address.version == 6 else f"[{address}]"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _read(content: BinaryIO | None, full: bool) -> tuple[bytes, bytes | None]:
    """The header of a message, and all of it where it is returned whole."""
    if content is None:
        return b"", None
    content.seek(0)
    start = content.read(MAX_HEADER)
    end = start.find(b"\r\n\r\n")
    header = start[: end + 2] if end >= 0 else start
    if not full:
        return header, None
    rest = content.read(MAX_RETURNED + 1 - len(start))
    whole = start + rest
    if len(whole) > MAX_RETURNED or _is_binary(whole):
        # A binary one could not be sent to a server without BINARYMIME (RFC 3030 section 3).
        return header, None
    return header, whole


def _is_binary(octets: bytes) -> bool:
    return b"\0" in octets or has_bare_line_end(octets)


def _original_part(header: bytes, whole: bytes | None, utf8: bool) -> bytes:
    """The message that the report is about, or its header."""
    octets = header if whole is None else whole
    if whole is None:
        kind = b"message/global-headers" if utf8 else b"text/rfc822-headers"
    else:
        kind = b"message/global" if utf8 else b"message/rfc822"
    fields = b"Content-Type: %b\r\n" % kind
    if _is_binary(octets):
        fields += b"Content-Transfer-Encoding: binary\r\n"
    elif not octets.isascii():
        fields += b"Content-Transfer-Encoding: 8bit\r\n"
    if not octets.endswith(b"\r\n"):
        octets += b"\r\n"
    return fields + b"\r\n" + octets
