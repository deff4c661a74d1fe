"""What fields in the header of a message ask of the server.

``Solicitation`` (RFC 3865 section 2.5) says what a message advertises, and
``Require-Recipient-Valid-Since`` (RFC 7293 section 3.2) since when a recipient must have had the
address. The headers of messages that have neither are not read once more: see
:attr:`~mailkit.smtp.content.ContentReader.is_remarkable`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from mailkit.hooks import ChangeHeader
from mailkit.interfaces import IMessageDelivery, IOwnerVerifier
from mailkit.mime import parse_header
from mailkit.mime.addresses import parse_addresses
from mailkit.mime.dates import parse_date
from mailkit.mime.headers import MAX_HEADER_OCTETS
from mailkit.model import Envelope, Path, Recipient, ValidSince
from mailkit.smtp.extensions.soliciting import refuse_unwanted
from mailkit.smtp.header import SOLICITATION, VALID_SINCE
from mailkit.spool import Spool
from mailkit.wire.domains import canonical_domain

if TYPE_CHECKING:
    from mailkit.smtp.protocol import SMTPProtocol

#: Fields of each kind that are looked at.
MAX_FIELDS = 100

_has_field = re.compile(
    rb"\n(?i:solicitation|require-recipient-valid-since)[ \t]*:",
).search


def read_asking_header(offers: Callable[[str], bool], message: Spool) -> bytes | None:
    """The header of a message that asks something of this server; None for most.

    :param offers: tells whether the client may use an extension.
    :raises OSError: the disk refuses.
    """
    if not (offers("RRVS") or offers("NO-SOLICITING")):
        return None
    octets = message.read_start(MAX_HEADER_OCTETS)
    if octets.startswith(b"\r\n"):
        return None
    end = octets.find(b"\r\n\r\n")
    header = octets[: end + 4] if end >= 0 else octets
    return header if _has_field(b"\n" + header) else None


async def judge_header(
    connection: SMTPProtocol, delivery: IMessageDelivery, envelope: Envelope, header: bytes
) -> list[ChangeHeader]:
    """Do what the fields ask for.

    :returns: which of them are done with and leave the message, the last one first.
    :raises Refused: the message advertises what nobody here wants.
    :raises MailError: an address has changed hands, or nobody knows.
    """
    fields = parse_header(header)
    if connection.offers("NO-SOLICITING"):
        for value in fields.get_all(SOLICITATION.encode())[:MAX_FIELDS]:
            words = value.decode("ascii", "replace").split(",")
            refuse_unwanted(connection, [word.strip() for word in words])
    if not (connection.offers("RRVS") and IOwnerVerifier.providedBy(delivery)):
        return []
    done = []
    for field in _valid_since_fields(fields.get_all(VALID_SINCE.encode())[:MAX_FIELDS]):
        for recipient in envelope.recipients:
            # RFC 7293 section 5: what RCPT says goes before what the header says.
            if recipient.rrvs is None and _same(recipient.path, field.path):
                asked = Recipient(recipient.path, rrvs=ValidSince(field.since))
                if await delivery.verify_owner(recipient=asked):
                    done.append(ChangeHeader(VALID_SINCE, None, field.occurrence))
                break
    return done[::-1]


class _Field(NamedTuple):
    """One Require-Recipient-Valid-Since."""

    #: From 1.
    occurrence: int
    path: Path
    since: int


def _valid_since_fields(values: list[bytes]) -> Iterator[_Field]:
    """The fields that are right; RFC 7293 section 5.2: all others are discarded."""
    for occurrence, value in enumerate(values, 1):
        address, _, date = value.rpartition(b";")
        mailboxes = parse_addresses(address, limit=2)
        when = parse_date(date)
        if len(mailboxes) != 1 or when is None:
            continue
        local, domain = mailboxes[0].local_part or b"", mailboxes[0].domain or b""
        path = Path(local.decode("utf-8", "replace"), domain.decode("utf-8", "replace"))
        if local and domain:
            yield _Field(occurrence, path, int(when.timestamp()))


def _same(path: Path, other: Path) -> bool:
    return path.local_part.lower() == other.local_part.lower() and (
        canonical_domain(path.domain) == canonical_domain(other.domain)
    )
