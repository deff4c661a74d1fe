"""Message submission (RFC 6409): mail from our own users, who log in first.

RFC 6409 section 4.2 wants every domain of the envelope fully qualified: the delivery knows which
are ours and refuses all others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from twisted.cred.portal import Portal

from mailkit._typing import override
from mailkit.errors import MessageRefused, SenderRefused
from mailkit.interfaces import ISenderPolicy, IURLResolver
from mailkit.mime.addresses import parse_addresses
from mailkit.mime.headers import MAX_HEADER_OCTETS
from mailkit.model import Envelope, Path
from mailkit.smtp import replies
from mailkit.smtp.content import ContentReader
from mailkit.smtp.grammar import Refused
from mailkit.smtp.protocol import BareLineEnds, SMTPFactory, SMTPProtocol
from mailkit.spool import Spool

#: Authors that a message may have.
MAX_AUTHORS = 100

# RFC 5322 section 2.2, with the blank before the colon of section 4.5.
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)\r\n")
# What stands before each message in an mbox file (RFC 4155): a sender and a time, in many forms.
# No longer than a line may be (RFC 5322 section 2.1.1).
_FROM_LINE = re.compile(rb"(?=[^\r\n]{0,998}\r)>?From [^\r\n]*\r\n")
_TIME_OF_DAY = re.compile(rb"\d:\d\d")
_MESSAGE_ID = re.compile(rb"<[^<>@\s]+@[^<>\s]+>")

# Bcc names people whom the others shall not see (RFC 5322 section 3.6.3); Return-Path is for the
# server of final delivery alone (RFC 5321 section 4.4).
_REMOVED = frozenset((b"bcc", b"resent-bcc", b"return-path"))
_AUTHORS = frozenset((b"from", b"sender"))
# One of these, with an address or an identifier, is in each header that was a message's.
_USUAL = _REMOVED | {b"from", b"to", b"cc", b"subject", b"date", b"message-id", b"received"}


class SubmissionReader(ContentReader):
    """Holds the header back until it is complete, and completes it (RFC 6409 section 8)."""

    def __init__(
        self,
        spool: Spool,
        max_size: int,
        max_received: int,
        *,
        normalise: bool,
        max_header: int,
        additions: dict[bytes, bytes],
    ) -> None:
        # This one finds the end of the header by itself; the other limit is for what has none.
        limit = max(max_header, MAX_HEADER_OCTETS)
        super().__init__(spool, max_size, max_received, normalise, limit)
        #: Values of From and Sender, unfolded.
        self.authors: list[bytes] = []
        self.has_from = False
        #: The Date is one of the additions.
        self.date_added = False
        self._max_header = max_header
        self._additions = additions
        self._header: bytearray | None = bytearray()

    @override
    def write(self, content: bytes) -> None:
        held = self._header
        if held is None:
            super().write(content)
            return
        # The empty line may be cut between two pieces.
        start = max(0, len(held) - 3)
        held += content
        if held.startswith(b"\r\n") or held.find(b"\r\n\r\n", start) >= 0:
            self._finish_header(bytes(held))
        elif len(held) > self._max_header:
            lines = b"".join(held.rpartition(b"\r\n")[:2])
            if _fields_end(lines, _from_line_end(lines)) < len(lines):
                # There is a line that is no field, so the header ends before it.
                self._finish_header(bytes(held))
            else:
                self._refuse_header()

    @override
    def end(self) -> None:
        if (octets := self._header) is not None:
            lines = bytes(octets.removesuffix(b"\r") + b"\r\n")
            if _fields_end(lines, _from_line_end(lines)) == len(lines):
                # A message by BDAT may end within its last field; nothing is added to a body.
                self._finish_header(lines)
            else:
                self._finish_header(bytes(octets))

    def _refuse_header(self) -> None:
        self.refuse(replies.header_too_large(self._max_header))

    def _finish_header(self, octets: bytes) -> None:
        # lenient: as scripts send it that read mbox files. With that line in front nothing is a
        # header, and Bcc would be seen.
        octets = octets[_from_line_end(octets) :]
        end = _fields_end(octets)
        if end > self._max_header:
            self._refuse_header()
            return
        self._header = None
        fields = []
        missing = dict(self._additions)
        for name, value, field in _split_fields(octets[:end]):
            if name in _AUTHORS:
                self.authors.append(value.replace(b"\r\n", b""))
                self.has_from = self.has_from or name == b"from"
            # RFC 6409 section 8.3: a Message-ID that is none is replaced.
            useless = name == b"message-id" and not _MESSAGE_ID.search(value)
            if name not in _REMOVED and not useless:
                fields.append(field)
                missing.pop(name, None)
        fields += missing.values()
        self.date_added = b"date" in missing
        if b"from" in missing:
            self.has_from = True
            self.authors.append(missing[b"from"].partition(b":")[2])
        body = octets[end:]
        if not body.startswith(b"\r\n"):
            # lenient: a text without header, as scripts send it, or no empty line behind one.
            fields.append(b"\r\n")
        super().write(b"".join(fields) + body)


def _from_line_end(octets: bytes) -> int:
    """Where the line of an mbox file ends; 0 where there is none, or no header behind it."""
    found = _FROM_LINE.match(octets)
    if found is None or not _TIME_OF_DAY.search(octets, 0, found.end()):
        return 0
    header = octets[found.end() : _fields_end(octets, found.end())]
    for name, value, _ in _split_fields(header):
        # What a user writes may begin with "From Berlin at 10:30" and go on with "To: see you".
        if name in _REMOVED or (name in _USUAL and b"@" in value):
            return found.end()
    return 0


def _fields_end(octets: bytes, end: int = 0) -> int:
    while found := _FIELD.match(octets, end):
        end = found.end()
    return end


def _split_fields(octets: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Name in lower case, value and the whole, of each field."""
    for found in _FIELD.finditer(octets):
        yield found[1].lower(), found[2], found[0]


class SubmissionProtocol(SMTPProtocol):
    """A user who sends mail."""

    factory: SubmissionFactory
    protocol_name = "submission"
    is_submission = True

    @override
    def check_client(self) -> None:
        if self.session.account is not None:
            return
        if self.can_start_tls and not self.may_send_plaintext_passwords():
            # RFC 3207 section 4
            raise Refused(530, "5.7.0", "Must issue a STARTTLS command first")
        # RFC 6409 section 4.3
        raise Refused(*replies.AUTHENTICATION_REQUIRED)

    @override
    def new_content(self, spool: Spool) -> ContentReader:
        factory, envelope = self.factory, self.session.envelope
        assert envelope is not None
        additions = {
            # RFC 6409 section 8.2 and 8.3
            b"date": f"Date: {factory.date()}\r\n".encode(),
            b"message-id": (
                f"Message-ID: <{envelope.transaction_id}@{factory.hostname}>\r\n".encode()
            ),
        }
        if not envelope.reverse_path.is_null:
            # lenient: mail from scripts that know no header. The delivery has accepted this
            # address as the user's.
            additions[b"from"] = f"From: {envelope.reverse_path}\r\n".encode()
        return SubmissionReader(
            spool,
            factory.max_size,
            factory.max_received,
            normalise=factory.bare_line_ends == "normalise",
            max_header=factory.max_header,
            additions=additions,
        )

    @override
    async def check_content(self, envelope: Envelope, content: ContentReader) -> None:
        """RFC 6409 section 6.1: whom the message says it is from must be the user."""
        assert isinstance(content, SubmissionReader)
        envelope.date_added = content.date_added
        if not self.factory.check_from:
            return
        authors = [path for value in content.authors for path in _author_paths(value)]
        if not authors or not content.has_from:
            raise MessageRefused("The message has no From field with an address")
        if len(authors) > MAX_AUTHORS:
            raise MessageRefused("The message has too many authors")
        policy = ISenderPolicy(self.delivery, None)
        if policy is None:
            return
        for path in authors:
            if not await policy.owns_address(path=path):
                raise SenderRefused(f"The From address {path} does not belong to your account")


def _author_paths(value: bytes) -> Iterator[Path]:
    for address in parse_addresses(value, limit=MAX_AUTHORS + 1):
        if not address.is_mailbox:
            continue
        try:
            local_part = (address.local_part or b"").decode("utf-8")
            domain = (address.domain or b"").decode("utf-8")
        except UnicodeDecodeError:
            raise MessageRefused("An address of the From field is not UTF-8") from None
        # RFC 6409 section 5.1
        if not local_part or not domain:
            raise MessageRefused("An address of the From field is not complete")
        yield Path(local_part, domain)


class SubmissionFactory(SMTPFactory):
    """Takes mail from users who have logged in (RFC 6409): ports 587 and, under TLS, 465.

    :param portal: gives an ``IMessageDelivery`` for users; one that provides ``ISenderPolicy`` is
        asked whether From and Sender belong to the user.
    :param max_header: octets of a message's header.
    :param check_from: refuse a message whose From or Sender is not the user's.
    :param bare_line_ends: as of :class:`~mailkit.smtp.protocol.SMTPFactory`; mail clients are
        helped here.
    :param url_resolver: finds what clients name by BURL (RFC 4468); None to not offer it.
    :param settings: as of :class:`~mailkit.smtp.protocol.SMTPFactory`.
    """

    connection_class: type[SMTPProtocol] = SubmissionProtocol

    def __init__(
        self,
        portal: Portal | None = None,
        *,
        max_header: int = 256 * 1024,
        check_from: bool = True,
        bare_line_ends: BareLineEnds = "normalise",
        url_resolver: IURLResolver | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(portal, bare_line_ends=bare_line_ends, max_header=max_header, **settings)
        self.url_resolver = url_resolver
        self.check_from = check_from
